/**
 * A `CacheStore` that many processes share, over Effect's `Redis` (5 or later). One round trip for each operation.
 *
 * To clear is to take from all entries what makes them readable: at once, for every process, and in the same time for any
 * number of them. Redis drops them when they would have expired, or when it needs the memory: give it a `maxmemory` and
 * `allkeys-lru`, and a database that no quotas are in, as those must not be evicted. All keys are in one slot of a cluster. A
 * failover may forget the last commands, a `clear` among them.
 *
 * An entry of a newer version is a miss and stays. One that cannot be read, or is too large, is a miss, deleted and counted
 * (`ballast_cache_corrupt_total`). How many there are is not known (`size`).
 */
import { createHash, randomUUID } from "node:crypto"
import type * as Config from "effect/Config"
import * as Clock from "effect/Clock"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import { Redis } from "effect/persistence/Redis"
import { CacheStore, type Entry, type Partition, type Service } from "./CacheStore.ts"
import { entryOf, isNewer, type Limits, maxTextBytes, textOf } from "./internal/cacheText.ts"
import { type Configurable, configured } from "./internal/configurable.ts"
import * as lua from "./internal/lua/cache.ts"
import { finiteMillis, integer } from "./internal/options.ts"
import type { StoreUnavailable } from "./internal/reasons.ts"
import { Commands, script } from "./internal/redisCommands.ts"
import * as Metrics from "./Metrics.ts"

/** Where entries lie in Redis, and how large they may be. */
export interface Options {
  /** What all keys begin with. Default `"ballast"`. */
  readonly prefix?: string | undefined
  /** How long a command may take. Default 250 milliseconds. */
  readonly commandTimeout?: Duration.Input | undefined
  /** What one entry weighs at most, as JSON; a larger one is not stored, and not read. Default 1 MiB. */
  readonly maxEntryBytes?: number | undefined
  /** Compresses entries of 1 KiB and more with gzip. Both kinds are read, whatever it is. Default `false`. */
  readonly compress?: boolean | undefined
}

/** Needs no Redis that answers. Bad options throw a `RangeError`. */
export const make = (options: Options = {}): Effect.Effect<Service, never, Redis> => {
  const { commandTimeout = 250, compress = false, maxEntryBytes = 2 ** 20, prefix = "ballast" } = options
  const millis = finiteMillis("RedisCacheStore.make: commandTimeout", commandTimeout)
  const limits = { compress, maxEntryBytes: integer("RedisCacheStore.make: maxEntryBytes", maxEntryBytes, 1) }
  return Effect.map(Redis, (redis) => new Store(new Commands(redis, millis), new Keys(prefix), limits))
}

/** `make` as a layer: needs no Redis that answers to be built. Bad options throw when it is made. */
export const layer = (options?: Options): Layer.Layer<CacheStore, never, Redis> =>
  Layer.effect(CacheStore, make(options))

/** The same options, any of them as a `Config`; options that can never work are a `ConfigError`. */
export const layerConfig = (options: Configurable<Options>): Layer.Layer<CacheStore, Config.ConfigError, Redis> =>
  Layer.effect(CacheStore, configured(options, make))

/** Whether it is what it should be, and the text. */
type Found = readonly [isOurs: boolean, text: string]

const get = script(lua.get, (reply: unknown): Found | undefined => {
  if (!Array.isArray(reply)) return undefined
  const [kind, text]: ReadonlyArray<unknown> = reply
  return typeof text === "string" ? [kind === 0, text] : undefined
})
const set = script(lua.set, () => {})

class Store implements Service {
  readonly external = true
  readonly size = Effect.succeed({ entries: undefined, bytes: undefined })
  private readonly commands: Commands
  private readonly keys: Keys
  private readonly limits: Limits
  private readonly corrupt = Metrics.cacheCorrupt("redis")

  constructor(commands: Commands, keys: Keys, limits: Limits) {
    this.commands = commands
    this.keys = keys
    this.limits = limits
  }

  readonly get: Service["get"] = (key, partition) => {
    const keys = this.keys.of(key, partition)
    const found = this.commands.run("get", get, ["3", ...keys, `${maxTextBytes(this.limits)}`])
    return Effect.flatMap(found, (found) => (found === undefined ? Effect.undefined : this.read(found, keys[0])))
  }

  readonly set: Service["set"] = (key, entry, partition) =>
    Effect.gen({ self: this }, function* () {
      const now = yield* Clock.currentTimeMillis
      const made = yield* textOf(entry, now, this.limits)
      if (made === undefined) {
        yield* this.delete(key, partition)
        return
      }
      const keys = this.keys.of(key, partition)
      const life = Math.ceil(made.expiresAt - now)
      yield* this.commands.run("set", set, ["3", ...keys, randomUUID(), `${life}`, made.text])
    })

  readonly delete: Service["delete"] = (key, partition) => this.unlink("delete", this.keys.of(key, partition)[0])

  readonly clear: Service["clear"] = (only) =>
    this.unlink("clear", only === undefined ? this.keys.all : this.keys.partition(only.partition))

  private read([isOurs, text]: Found, key: string): Effect.Effect<Entry | undefined, StoreUnavailable> {
    if (!isOurs && isNewer(text)) return Effect.undefined
    return Effect.gen({ self: this }, function* () {
      const entry = isOurs ? yield* entryOf(text, this.limits) : undefined
      if (entry !== undefined) return entry.expiresAt > (yield* Clock.currentTimeMillis) ? entry : undefined
      yield* Metric.update(this.corrupt, 1)
      yield* Effect.ignore(this.unlink("delete", key))
      return undefined
    })
  }

  private unlink(operation: string, key: string): Effect.Effect<void, StoreUnavailable> {
    return Effect.asVoid(this.commands.send(operation, "UNLINK", key))
  }
}

/** Names of keys: an entry is `<prefix>:{cache}:entry/<key>/<partition>`. A partition that has a name begins with `=`. */
class Keys {
  /** The token of the whole cache. */
  readonly all: string
  private readonly before: string

  constructor(prefix: string) {
    this.before = `${encode(prefix)}:{cache}:`
    this.all = `${this.before}all`
  }

  /** The token of a partition. */
  partition(partition: Partition): string {
    return `${this.before}partition/${partition === undefined ? "" : `=${encode(partition)}`}`
  }

  /** As the scripts take them. */
  of(key: string, partition: Partition): readonly [entry: string, all: string, partition: string] {
    const token = this.partition(partition)
    const entry = `${this.before}entry/${encode(key)}/${token.slice(this.before.length + "partition/".length)}`
    return [entry, this.all, token]
  }
}

/** Longer names are hashed; `#` is in no other name. */
const maxLength = 200

/** Percent-encoded by UTF-16 units, so that texts which are no Unicode have a name of their own, too. */
const encode = (text: string): string => {
  const name = text.replace(/[^\w.:~-]/g, (unit) => `%${unit.charCodeAt(0).toString(16).padStart(4, "0")}`)
  return name.length <= maxLength ? name : `#${createHash("sha256").update(name).digest("hex")}`
}
