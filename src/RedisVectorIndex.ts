/**
 * A `VectorIndex` that many processes share, over Effect's `Redis` (5 or later). Needs no module of Redis: the vectors of a
 * partition are in one hash, and a search reads all of them into this process, 8 KiB for each of 1536 dimensions.
 *
 * An `add` is one round trip, and so is a search that finds nothing; one that finds something takes two. To clear takes one
 * for each partition and one for each hundred, and what is added meanwhile may stay. Items go when they have expired. All keys
 * are in one slot of a cluster. Give it a Redis with `noeviction`: where Redis evicts what it likes, items of a tenant may
 * be left that nobody finds to clear.
 *
 * What cannot be read is none, deleted and counted (`ballast_cache_corrupt_total`). How many there are is not known (`size`).
 */
import { Buffer } from "node:buffer"
import { createHash } from "node:crypto"
import * as Clock from "effect/Clock"
import type * as Config from "effect/Config"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import { Redis } from "effect/persistence/Redis"
import { type Configurable, configured } from "./internal/configurable.ts"
import * as lua from "./internal/lua/vectors.ts"
import { finiteMillis, integer } from "./internal/options.ts"
import type { StoreUnavailable } from "./internal/reasons.ts"
import { Commands, script } from "./internal/redisCommands.ts"
import {
  accepted,
  Best,
  bytesOf,
  dot,
  fromBytes,
  instant,
  isUnit,
  maxTextBytes,
  otherDimensions,
  readText,
  unitOf,
  written
} from "./internal/vectors.ts"
import * as Metrics from "./Metrics.ts"
import { type Match, type Service, type Tenant, VectorIndex } from "./VectorIndex.ts"

/** Where vectors lie in Redis, and how many of them. */
export interface Options {
  /** What all keys begin with. Default `"ballast"`. */
  readonly prefix?: string | undefined
  /** How long a command may take. Default 250 milliseconds. */
  readonly commandTimeout?: Duration.Input | undefined
  /** Most items of a partition, those that expire last: so many vectors are read by each search. Default `1_000`. */
  readonly maxEntries?: number | undefined
}

/** Needs no Redis that answers. Bad options throw a `RangeError`. */
export const make = (options: Options = {}): Effect.Effect<Service, never, Redis> => {
  const { commandTimeout = 250, maxEntries = 1000, prefix = "ballast" } = options
  const millis = finiteMillis("RedisVectorIndex.make: commandTimeout", commandTimeout)
  const most = integer("RedisVectorIndex.make: maxEntries", maxEntries, 1)
  return Effect.map(Redis, (redis) => new Index(new Commands(redis, millis), new Keys(prefix), most))
}

/** `make` as a layer: needs no Redis that answers to be built. Bad options throw when it is made. */
export const layer = (options?: Options): Layer.Layer<VectorIndex, never, Redis> =>
  Layer.effect(VectorIndex, make(options))

/** The same options, any of them as a `Config`; options that can never work are a `ConfigError`. */
export const layerConfig = (options: Configurable<Options>): Layer.Layer<VectorIndex, Config.ConfigError, Redis> =>
  Layer.effect(VectorIndex, configured(options, make))

const textsOf = (reply: unknown): ReadonlyArray<string> =>
  Array.isArray(reply) && reply.every((one: unknown) => typeof one === "string") ? reply : []

const add = script(lua.add, (reply: unknown) => reply !== 0)
const nearest = script(lua.nearest, textsOf)
const texts = script(lua.texts, textsOf)
const remove = script(lua.remove, () => {})
const clear = script(lua.clear, () => {})

/** Partitions that are cleared after one look, and the looks after which clearing gives up. */
const partitions = 100
const maxSteps = 100_000

class Index implements Service {
  readonly external = true
  readonly size = Effect.succeed({ entries: undefined, bytes: undefined })
  private readonly commands: Commands
  private readonly keys: Keys
  private readonly maxEntries: number
  private readonly corrupt = Metrics.cacheCorrupt("redis")

  constructor(commands: Commands, keys: Keys, maxEntries: number) {
    this.commands = commands
    this.keys = keys
    this.maxEntries = maxEntries
  }

  readonly add: Service["add"] = (partition, item, tenant) =>
    Effect.gen({ self: this }, function* () {
      const ready = yield* written(item)
      if (ready === undefined) {
        yield* this.remove(partition, item.id)
        return
      }
      const { now, text, unit } = ready
      const name = digest(partition)
      const keys = [...this.keys.partition(name), this.keys.all, this.keys.tenant(tenant)]
      const numbers = [now, instant(item.expiresAt), this.maxEntries, unit.length].map(String)
      const bytes = bytesOf(unit).toString("base64")
      const args = [digest(item.id), ...numbers, tenantOf(tenant), bytes, text, name]
      const kept = yield* this.commands.run("add", add, ["5", ...keys, ...args])
      if (!kept) yield* otherDimensions(unit.length)
    })

  readonly nearest: Service["nearest"] = (partition, vector, options) =>
    Effect.gen({ self: this }, function* () {
      const unit = yield* accepted(unitOf(vector))
      const best = new Best<string>(options)
      const name = digest(partition)
      const [vectors, bodies, ends] = this.keys.partition(name)
      const numbers = [yield* Clock.currentTimeMillis, this.maxEntries, unit.length, 6 * unit.length + 200]
      const found = yield* this.commands.run("nearest", nearest, ["2", vectors, ends, ...numbers.map(String)])
      for (let i = 0; i + 1 < found.length; i += 2)
        if (!compare(found[i] ?? "", found[i + 1] ?? "", unit, best)) yield* this.forget(name, found[i] ?? "")
      if (best.found.length === 0) return []
      const ids = best.found.map(({ value }) => value)
      const read = yield* this.commands.run("nearest", texts, ["1", bodies, `${maxTextBytes}`, ...ids])
      const matches: Array<Match> = []
      for (const [i, { similarity, value }] of best.found.entries()) {
        const item = readText(read[i] ?? "")
        if (item === undefined) yield* this.forget(name, value)
        else matches.push({ id: item[0], similarity, data: item[1] })
      }
      return matches
    })

  readonly remove: Service["remove"] = (partition, id) => this.unlink(digest(partition), digest(id))

  readonly clear: Service["clear"] = (only) => {
    const list = only === undefined ? this.keys.all : this.keys.tenant(only.tenant)
    const owner = only === undefined ? "" : tenantOf(only.tenant)
    const look = Effect.map(this.commands.send("clear", "ZRANGE", list, "0", `${partitions - 1}`), textsOf)
    const some = Effect.tap(look, (names) =>
      Effect.forEach(
        names,
        (name) => this.commands.run("clear", clear, ["4", ...this.keys.partition(name), list, name, owner]),
        { discard: true }
      )
    )
    return Effect.asVoid(Effect.repeat(some, { until: (names) => names.length < partitions, times: maxSteps }))
  }

  /** It cannot be read. */
  private forget(partition: string, id: string): Effect.Effect<void> {
    return Effect.andThen(Metric.update(this.corrupt, 1), Effect.ignore(this.unlink(partition, id)))
  }

  private unlink(partition: string, id: string): Effect.Effect<void, StoreUnavailable> {
    return this.commands.run("remove", remove, ["3", ...this.keys.partition(partition), id])
  }
}

/** Whether it can be read. */
const compare = (id: string, text: string, unit: Float32Array, best: Best<string>): boolean => {
  const [, base64 = ""] = text.split(" ", 2)
  const vector = fromBytes(Buffer.from(base64, "base64"), unit.length)
  const similarity = vector === undefined ? Number.NaN : dot(unit, vector, 0)
  if (vector === undefined || Number.isNaN(similarity)) return false
  if (!best.takes(similarity)) return true
  if (!isUnit(vector)) return false
  best.add(id, similarity)
  return true
}

/** Names of keys: `<prefix>:{vectors}:<kind>/<digest>`, so that neither texts nor tenants are in them. */
class Keys {
  /** All partitions. */
  readonly all: string
  private readonly before: string

  constructor(prefix: string) {
    this.before = `${prefix}:{vectors}:`
    this.all = `${this.before}all`
  }

  /** Of a digest. */
  partition(name: string): readonly [vectors: string, texts: string, ends: string] {
    return [`${this.before}vectors/${name}`, `${this.before}texts/${name}`, `${this.before}ends/${name}`]
  }

  /** The partitions that a tenant has something in. */
  tenant(tenant: Tenant): string {
    return `${this.before}tenant/${tenantOf(tenant)}`
  }
}

const tenantOf = (tenant: Tenant): string => (tenant === undefined ? "-" : digest(tenant))

/** By UTF-16 units, so that texts which are no Unicode have one of their own, too. */
const digest = (text: string): string => createHash("sha256").update(Buffer.from(text, "utf16le")).digest("base64url")
