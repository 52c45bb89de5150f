/** An index of vectors in Chroma: a collection for each partition, which any process may drop at any time. */
import { Buffer } from "node:buffer"
import { createHash } from "node:crypto"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import * as Metrics from "../Metrics.ts"
import type { Service, Tenant } from "../VectorIndex.ts"
import { type Chroma, type Collection, type Found, type Gone, type Named, Refused, unavailable } from "./chroma.ts"
import type { StoreUnavailable } from "./reasons.ts"
import { accepted, Best, instant, maxTextBytes, otherDimensions, readText, unitOf, written } from "./vectors.ts"

export interface Settings {
  /** Of the names of all collections. */
  readonly prefix: string
  readonly millis: number
  readonly maxEntries: number
}

/** A collection that was there when it was last asked for. */
interface Known {
  readonly id: string
  /** By this process, since it was last tidied up. */
  adds: number
}

/** Collections that are remembered; times that one is asked for while others drop it; requests at the same time; to clear. */
const maxKnown = 1000
const attempts = 3
const concurrency = 8
const clearMillis = 30_000

export class ChromaIndex implements Service {
  readonly external = true
  readonly size = Effect.succeed({ entries: undefined, bytes: undefined })
  private readonly chroma: Chroma
  private readonly settings: Settings
  private readonly known = new Map<string, Known>()
  private readonly corrupt = Metrics.cacheCorrupt("chroma")
  /** Where the list of all collections is looked through for empty ones. */
  private cursor = 0

  constructor(chroma: Chroma, settings: Settings) {
    this.chroma = chroma
    this.settings = settings
  }

  readonly add: Service["add"] = (partition, item, tenant) =>
    Effect.gen({ self: this }, function* () {
      const ready = yield* written(item)
      if (ready === undefined) {
        yield* this.remove(partition, item.id)
        return
      }
      const { now, text, unit } = ready
      const name = this.nameOf(partition)
      const record = {
        ids: [digest(item.id)],
        embeddings: [Array.from(unit)],
        documents: [text],
        metadatas: [{ tenant: tenantOf(tenant), expiresAt: instant(item.expiresAt) }]
      }
      const known = yield* within("add", this.settings.millis, this.put(name, record, unit.length, now))
      if (known.adds++ > 0 && known.adds <= this.settings.maxEntries / 16) return
      known.adds = 1
      yield* Effect.ignore(within("add", this.settings.millis, this.tidy(name, known.id, now)))
    })

  readonly nearest: Service["nearest"] = (partition, vector, options) =>
    Effect.gen({ self: this }, function* () {
      const unit = yield* accepted(unitOf(vector))
      const best = new Best<readonly [id: string, data: unknown]>(options)
      if (best.limit === 0) return []
      const now = yield* Clock.currentTimeMillis
      const name = this.nameOf(partition)
      const body = { query_embeddings: [Array.from(unit)], n_results: best.limit, where: { expiresAt: { $gt: now } } }
      const search = this.using("nearest", name, (id) =>
        Effect.flatMap(this.chroma.query("nearest", id, body), (found) => this.read(id, found, now, best))
      )
      yield* within("nearest", this.settings.millis, this.unlessOther("nearest", name, unit.length, search))
      return best.found.map(({ similarity, value: [id, data] }) => ({ id, similarity, data }))
    })

  readonly remove: Service["remove"] = (partition, id) =>
    within(
      "remove",
      this.settings.millis,
      this.using("remove", this.nameOf(partition), (of) => this.chroma.delete("remove", of, { ids: [digest(id)] }))
    )

  readonly clear: Service["clear"] = (only) => {
    const one = ({ id, name }: Named) =>
      only === undefined
        ? this.chroma.drop("clear", name)
        : this.chroma.delete("clear", id, { where: { tenant: tenantOf(only.tenant) } })
    const all = Effect.flatMap(this.chroma.list("clear"), (collections) =>
      Effect.forEach(
        collections.filter(({ name }) => this.isOurs(name)),
        (named) => Effect.catchTag(one(named), "Gone", () => Effect.void),
        { concurrency, discard: true }
      )
    )
    return within("clear", clearMillis, all)
  }

  /** Another process may drop the collection at any time. */
  private put(name: string, record: { readonly ids: ReadonlyArray<string> }, dimensions: number, now: number) {
    const { chroma } = this
    const once = Effect.gen({ self: this }, function* () {
      const known = this.known.get(name) ?? this.remember(name, yield* byCosine("add", chroma.open("add", name)))
      yield* chroma.upsert("add", known.id, record)
      return known
    })
    const made = Effect.catchTag(once, "Refused", () =>
      Effect.gen({ self: this }, function* () {
        const { dimension, id } = yield* chroma.find("add", name)
        if (dimension === dimensions || typeof dimension !== "number") return yield* new Refused()
        const live = yield* chroma.get("add", id, { where: { expiresAt: { $gt: now } }, limit: 1, include: [] })
        if (live.ids.length > 0) return yield* otherDimensions(dimensions)
        yield* chroma.drop("add", name)
        this.known.delete(name)
        return yield* once
      })
    )
    const forgetting = Effect.tapError(made, () => Effect.sync(() => this.known.delete(name)))
    return Effect.retry(forgetting, { while: (error) => error._tag === "Gone", times: attempts - 1 })
  }

  /** With the collection, or not at all where there is none. */
  private using<A, E>(operation: string, name: string, use: (id: string) => Effect.Effect<A, E | Gone>) {
    const asked = Effect.flatMap(byCosine(operation, this.chroma.find(operation, name)), (found) =>
      use(this.remember(name, found).id)
    )
    const known = this.known.get(name)
    const either = known === undefined ? asked : Effect.catchIf(use(known.id), isGone, () => asked)
    return Effect.catchIf(either, isGone, () => Effect.sync(() => void this.known.delete(name)))
  }

  /** Nothing is near to a vector of other dimensions. */
  private unlessOther<A, E>(
    operation: string,
    name: string,
    dimensions: number,
    search: Effect.Effect<A, E | Refused>
  ) {
    return Effect.catchIf(search, isRefused, () =>
      Effect.flatMap(this.chroma.find(operation, name), ({ dimension }) =>
        dimension === dimensions ? Effect.fail(new Refused()) : Effect.void
      )
    )
  }

  private read(
    collection: string,
    { distances, documents, ids, metadatas }: Found,
    now: number,
    best: Best<readonly [id: string, data: unknown]>
  ): Effect.Effect<void> {
    const broken: Array<string> = []
    for (const [i, id] of ids[0].entries()) {
      const similarity = 1 - (distances[0][i] ?? Number.NaN)
      const expiresAt = metadatas[0][i]?.["expiresAt"]
      const text = documents[0][i] ?? ""
      const item = Buffer.byteLength(text) <= maxTextBytes ? readText(text) : undefined
      if (item === undefined || typeof expiresAt !== "number" || !(Math.abs(similarity) < 1.001)) broken.push(id)
      else if (expiresAt > now && best.takes(similarity)) best.add(item, similarity)
    }
    if (broken.length === 0) return Effect.void
    const deleted = Effect.ignore(this.chroma.delete("remove", collection, { ids: broken }))
    return Effect.andThen(Metric.update(this.corrupt, broken.length), deleted)
  }

  /** The collection, and one of all others. */
  private tidy(name: string, id: string, now: number) {
    return Effect.gen({ self: this }, function* () {
      yield* this.tidyOne({ name, id }, now)
      const [next] = yield* this.chroma.list("add", `?limit=1&offset=${this.cursor}`)
      this.cursor = next === undefined ? 0 : this.cursor + 1
      if (next !== undefined && next.name !== name && this.isOurs(next.name)) yield* this.tidyOne(next, now)
    })
  }

  private tidyOne({ id, name }: Named, now: number) {
    const { chroma } = this
    const { maxEntries } = this.settings
    return Effect.gen(function* () {
      yield* chroma.delete("add", id, { where: { expiresAt: { $lte: now } } })
      const count = yield* chroma.count("add", id)
      if (count === 0) yield* chroma.drop("add", name)
      if (count <= maxEntries) return
      const { ids, metadatas } = yield* chroma.get("add", id, { include: ["metadatas"] })
      const ends = ids.map((id, i) => ({ id, at: Number(metadatas?.[i]?.["expiresAt"] ?? 0) }))
      const tooMany = ends.toSorted((a, b) => a.at - b.at).slice(0, Math.max(0, ids.length - maxEntries))
      yield* chroma.delete("add", id, { ids: tooMany.map(({ id }) => id) })
    })
  }

  private remember(name: string, { id }: Named): Known {
    const known = { id, adds: 0 }
    this.known.delete(name)
    this.known.set(name, known)
    if (this.known.size > maxKnown) for (const oldest of this.known.keys()) if (this.known.delete(oldest)) break
    return known
  }

  private nameOf(partition: string): string {
    return this.settings.prefix + digest(partition)
  }

  private isOurs(name: string): boolean {
    const { prefix } = this.settings
    return name.startsWith(prefix) && /^[0-9a-f]{64}$/.test(name.slice(prefix.length))
  }
}

const isGone = (error: unknown): error is Gone => hasTag(error, "Gone")
const isRefused = (error: unknown): error is Refused => hasTag(error, "Refused")
const hasTag = (error: unknown, tag: string) =>
  typeof error === "object" && error !== null && "_tag" in error && error._tag === tag

/** What is compared in another way is not answered from. */
const byCosine = <E>(operation: string, asked: Effect.Effect<Collection, E>) =>
  Effect.filterOrFail(
    asked,
    ({ configuration_json: { hnsw, spann } }) => (hnsw ?? spann)?.space === "cosine",
    () => unavailable(operation, "the collection does not compare by cosine", true)
  )

/** In time, and with a failure that says why. */
const within = <A, E>(
  operation: string,
  millis: number,
  effect: Effect.Effect<A, E | Gone | Refused>
): Effect.Effect<A, Exclude<E, Gone | Refused> | StoreUnavailable> =>
  Effect.timeoutOrElse(effect, {
    duration: millis,
    orElse: () => Effect.fail(unavailable(operation, `no answer within ${millis} ms`))
  }).pipe(
    Effect.catchIf(isGone, () => Effect.fail(unavailable(operation, "no such database or collection", true))),
    Effect.catchIf(isRefused, () => Effect.fail(unavailable(operation, "refused", true)))
  ) as Effect.Effect<A, Exclude<E, Gone | Refused> | StoreUnavailable> // both are caught

const tenantOf = (tenant: Tenant): string => (tenant === undefined ? "-" : digest(tenant))

/** By UTF-16 units, so that texts which are no Unicode have one of their own, too. In hex, as names may not begin with `-`. */
const digest = (text: string): string => createHash("sha256").update(Buffer.from(text, "utf16le")).digest("hex")
