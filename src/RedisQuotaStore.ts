/**
 * A `QuotaStore` that many processes share, over Effect's `Redis` (5 or later): exact on one primary that keeps its data.
 *
 * One round trip for each operation, by the server's clock. A failover may forget what was acknowledged last, and a lost key
 * is a full quota. All keys of a group are in one slot, which is what makes a reservation over several of them atomic; one
 * group is as fast as one primary. Every lease must be settled: until then this process renews it.
 *
 * Money has lines beside its counters (`ledger`), which one command writes with them, and an epoch: a key that is lost when
 * they are. Without it no money is granted. Where `ledger` is given, the counters are then given back what its lines sum up
 * to; what was booked in the last second and not yet moved there is lost. Otherwise every process that knew the old counters
 * refuses money until it is restarted, and the one that starts next begins with empty ones. What open calls cost is booked all
 * the same. What a failover forgets without the epoch nobody notices. Without `ledger`, counters that began before the oldest
 * line that Redis still keeps are not checked.
 *
 * Give the client a bound of its own as well, `NodeRedis.layer({ commandsQueueMaxLength: 10_000 })`, and no memory policy
 * that evicts: `allkeys-*` is refused.
 */
import * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { Redis } from "effect/persistence/Redis"
import { type Configurable, config } from "./internal/configurable.ts"
import { finiteMillis } from "./internal/options.ts"
import type { StoreUnavailable } from "./internal/reasons.ts"
import { Keys } from "./internal/redisQuotas.ts"
import { checkEviction, Store } from "./internal/redisQuotaStore.ts"
import type * as Ledger from "./Ledger.ts"
import { QuotaStore, type Service } from "./QuotaStore.ts"

/** Where quotas lie in Redis, and what becomes of lines of money. */
export interface Options {
  /** What all keys begin with. Default `"ballast"`. */
  readonly prefix?: string | undefined
  /** What is counted together: reservations can only be atomic within one group. Default `"quotas"`. */
  readonly group?: string | undefined
  /** How long a command may take. Default 250 milliseconds. */
  readonly commandTimeout?: Duration.Input | undefined
  /**
   * Where the lines of money are kept, the same for all processes of a group. Redis keeps them until they are moved there,
   * which is tried every second; while 100,000 wait, money is refused. Default: Redis keeps the last 100,000 lines, and sums
   * of each day for 400 days.
   */
  readonly ledger?: Ledger.Durable | undefined
}

/** Fails with `StoreUnavailable` if Redis does not answer or may evict quotas. Bad options throw a `RangeError`. */
export const make = (options: Options = {}): Effect.Effect<Service, StoreUnavailable, Redis | Scope.Scope> => {
  const { commandTimeout = 250, group = "quotas", ledger, prefix = "ballast" } = options
  const millis = finiteMillis("RedisQuotaStore.make: commandTimeout", commandTimeout)
  const keys = new Keys(prefix, group)
  return Effect.gen(function* () {
    const redis = yield* Redis
    yield* checkEviction(redis, millis)
    const context = yield* Effect.context()
    const store = new Store({ redis, keys, commandTimeout: millis, offset: () => 0, ledger }, context)
    yield* Effect.addFinalizer(() => store.close)
    yield* store.start
    return store
  })
}

/** As `make`. Closing it tries for the last time to settle what could not be settled. */
export const layer = (options?: Options): Layer.Layer<QuotaStore, StoreUnavailable, Redis> =>
  Layer.effect(QuotaStore, make(options))

/** The same options, any of them as a `Config`; options that can never work are a `ConfigError`. */
export const layerConfig = (
  options: Configurable<Options>
): Layer.Layer<QuotaStore, StoreUnavailable | Config.ConfigError, Redis> =>
  Layer.effect(
    QuotaStore,
    Effect.flatMap(config(options), (options) =>
      Effect.flatten(Effect.try({ try: () => make(options), catch: invalid }))
    )
  )

const invalid = (cause: unknown) =>
  new Config.ConfigError(
    new ConfigProvider.SourceError({ message: cause instanceof Error ? cause.message : String(cause) })
  )
