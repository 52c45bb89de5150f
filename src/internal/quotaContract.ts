/** What the cases of the quota store's contract are written with. */
import { ok, strictEqual } from "node:assert/strict"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { Denied, Entry, Granted, Quota, Service, State } from "../QuotaStore.ts"
import type { StoreUnavailable } from "./reasons.ts"

/** What a case is run with. */
export interface Env {
  /** Nothing is in it, and nothing else uses it. */
  readonly store: Service
  /** Lets so many milliseconds pass on the store's clock, and its renewals run. */
  readonly advance: (millis: number) => Effect.Effect<void>
}

/** One promise of the store. */
export interface Case {
  /** The promise, as a sentence. */
  readonly name: string
  /** Whether the store renews the leases it gives, or lets them expire as those of a process that died. */
  readonly renews: boolean
  /** Dies with an `AssertionError` where the store breaks the promise, and fails where it does not answer. */
  readonly run: (env: Env) => Effect.Effect<void, StoreUnavailable>
}

type Run = (store: Kit, advance: Env["advance"]) => Generator<Effect.Effect<unknown, StoreUnavailable>, void>

const caseOf =
  (renews: boolean) =>
  (name: string, run: Run): Case => ({
    name,
    renews,
    run: ({ advance, store }) => Effect.gen(() => run(new Kit(store), advance))
  })

export const promise = caseOf(true)
export const whenHoldersDie = caseOf(false)

export const ttl = Duration.minutes(1)
export const slack = 2000

/** A store whose answers are checked. */
class Kit {
  readonly raw: Service

  constructor(raw: Service) {
    this.raw = raw
  }

  /** Effects that ask when they are run, whatever the store does when it is called. */
  reserve(lease: string, ...entries: ReadonlyArray<Entry>): Effect.Effect<Granted | Denied, StoreUnavailable> {
    return Effect.suspend(() => this.raw.reserve(lease, entries, ttl))
  }

  take(...entries: ReadonlyArray<Entry>): Effect.Effect<Granted | Denied, StoreUnavailable> {
    return Effect.suspend(() => this.raw.take(entries))
  }

  observe(entry: Entry): Effect.Effect<void, StoreUnavailable> {
    return Effect.suspend(() => this.raw.observe(entry))
  }

  settle(lease: string, ...actual: ReadonlyArray<number>): Effect.Effect<void, StoreUnavailable> {
    return Effect.suspend(() => this.raw.settle(lease, actual))
  }

  granted(lease: string, ...entries: ReadonlyArray<Entry>): Effect.Effect<ReadonlyArray<number>, StoreUnavailable> {
    return Effect.map(this.reserve(lease, ...entries), (answer) => {
      strictEqual(answer._tag, "Granted", `${lease} is granted`)
      return answer.remaining
    })
  }

  taken(...entries: ReadonlyArray<Entry>): Effect.Effect<ReadonlyArray<number>, StoreUnavailable> {
    return Effect.map(this.take(...entries), (answer) => {
      strictEqual(answer._tag, "Granted")
      return answer.remaining
    })
  }

  /** Denied, by the entry with that index, with a wait of so many milliseconds or with none. */
  denied(lease: string, entries: ReadonlyArray<Entry>, entry: number, wait: number | undefined) {
    return Effect.map(this.reserve(lease, ...entries), (answer) => refused(answer, entry, wait))
  }

  /** The same for what would be taken for good. */
  notTaken(entries: ReadonlyArray<Entry>, entry: number, wait: number | undefined) {
    return Effect.map(this.take(...entries), (answer) => refused(answer, entry, wait))
  }

  /** What is left of one quota. */
  left(entry: Pick<Entry, "key" | "quota">): Effect.Effect<number, StoreUnavailable> {
    return Effect.map(this.state(entry), ({ remaining }) => remaining)
  }

  state(entry: Pick<Entry, "key" | "quota">): Effect.Effect<State, StoreUnavailable> {
    return Effect.suspend(() =>
      Effect.map(this.raw.read([entry]), (states) => {
        const [state] = states
        ok(state !== undefined && states.length === 1)
        return state
      })
    )
  }

  /** The store's clock. */
  readonly now = Effect.suspend(() => Effect.map(this.raw.reserve("now", [], ttl), ({ now }) => now)).pipe(
    Effect.tap(() => this.settle("now"))
  )
}

const refused = (answer: Granted | Denied, entry: number, wait: number | undefined) => {
  ok(answer._tag === "Denied", "it is denied")
  strictEqual(answer.entry, entry)
  if (wait === undefined) strictEqual(answer.retryAfter, undefined)
  else near(answer.retryAfter, wait)
  return answer.remaining
}

/** As long as that, less what passed meanwhile. */
export const near = (duration: Duration.Duration | undefined, millis: number) => {
  ok(duration !== undefined, "there is a wait")
  const actual = Duration.toMillis(duration)
  ok(actual <= millis && actual > millis - slack, `waits ${actual} ms, expected ${millis}`)
}

export const seconds = (n: number) => n * 1000

/** Ten units, one more every ten seconds. */
export const bucket = { _tag: "Bucket", capacity: 10, refillPerSecond: 0.1 } satisfies Quota
/** Ten units in any minute, counted in steps of ten seconds. */
export const rolling = { _tag: "Rolling", limit: 10, span: Duration.minutes(1), slots: 6 } satisfies Quota
export const concurrency = { _tag: "Concurrency", limit: 2 } satisfies Quota
export const hourFrom = (startsAt: number): Extract<Quota, { readonly _tag: "Window" }> => ({
  _tag: "Window",
  limit: 10,
  startsAt,
  endsAt: startsAt + 3_600_000
})

export const of =
  (quota: Quota, key = "a") =>
  (amount: number): Entry => ({ key, amount, quota })
