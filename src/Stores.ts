/**
 * All stores at once, so that a program goes from a test to one machine and from there to a fleet by swapping one layer.
 *
 * Limits, budgets, circuits and caches find their stores in it. What a store promises is said in its own module.
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { Redis } from "effect/persistence/Redis"
import type { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import * as CacheStore from "./CacheStore.ts"
import * as CircuitBreakerStore from "./CircuitBreakerStore.ts"
import type * as Ledger from "./Ledger.ts"
import { StoreUnavailable } from "./LlmError.ts"
import * as QuotaStore from "./QuotaStore.ts"
import * as RedisCacheStore from "./RedisCacheStore.ts"
import * as RedisCircuitBreakerStore from "./RedisCircuitBreakerStore.ts"
import * as RedisQuotaStore from "./RedisQuotaStore.ts"
import * as SqlCacheStore from "./SqlCacheStore.ts"
import * as RedisVectorIndex from "./RedisVectorIndex.ts"
import * as SqliteClient from "./SqliteClient.ts"
import * as SqlQuotaStore from "./SqlQuotaStore.ts"
import * as SqlVectorIndex from "./SqlVectorIndex.ts"
import * as VectorIndex from "./VectorIndex.ts"

/** All that policies keep something in: quotas and money, circuits, answers, vectors. */
export type Stores =
  | QuotaStore.QuotaStore
  | CircuitBreakerStore.CircuitBreakerStore
  | CacheStore.CacheStore
  | VectorIndex.VectorIndex

/** In this process: a restart begins anew. */
export const layerMemory: Layer.Layer<Stores> = Layer.mergeAll(
  QuotaStore.layerMemory,
  CircuitBreakerStore.layerMemory,
  CacheStore.layerMemory(),
  VectorIndex.layerMemory()
)

/**
 * Limits, budgets and answers in a database, of whatever `SqlClient` is given, `@effect/sql-pg` for one; circuits in this process,
 * where a decision must cost nothing.
 */
export const layerSql = (options?: SqlQuotaStore.Options): Layer.Layer<Stores, StoreUnavailable, SqlClient> =>
  Layer.mergeAll(
    SqlQuotaStore.layer(options),
    SqlCacheStore.layer(common(options)),
    SqlVectorIndex.layer(common(options)),
    CircuitBreakerStore.layerMemory
  )

const common = ({ commandTimeout, prefix }: RedisOptions & SqlQuotaStore.Options = {}) => ({
  commandTimeout,
  prefix
})

/** The file, and what lies in it. `prefix` and `commandTimeout` are those of all stores. */
export interface SqliteOptions extends SqliteClient.Options, SqlQuotaStore.Options {}

/** The same in a file of SQLite, which is made where there is none: one host, and money that survives a restart. */
export const layerSqlite = (file: string | SqliteOptions): Layer.Layer<Stores, StoreUnavailable> => {
  const options = typeof file === "string" ? { filename: file } : file
  const client = Layer.catchTag(SqliteClient.layer(options), "SqlError", (error) =>
    Layer.effectContext(unopened(error))
  )
  return Layer.provide(layerSql(options), client)
}

const unopened = ({ reason }: SqlError) =>
  Effect.fail(new StoreUnavailable({ store: "sqlite", operation: "open", description: reason._tag }))

/** What all stores in Redis have in common. */
export interface RedisOptions {
  /** What all keys begin with. Default `"ballast"`. */
  readonly prefix?: string | undefined
  /** How long a command may take. Default 250 milliseconds. */
  readonly commandTimeout?: Duration.Input | undefined
  /** Where charges are kept that Redis may lose. See `layerRedisSql`. */
  readonly ledger?: Ledger.Durable | undefined
}

/** In Redis, for a fleet: all of it is shared. Money is only as safe as Redis keeps its data. */
export const layerRedis = (options?: RedisOptions): Layer.Layer<Stores, StoreUnavailable, Redis> =>
  Layer.mergeAll(
    RedisQuotaStore.layer(options),
    RedisCircuitBreakerStore.layer(options),
    RedisCacheStore.layer(common(options)),
    RedisVectorIndex.layer(common(options))
  )

/**
 * In Redis, and every charge in a database behind it: when Redis has lost its counters, those of budgets are made again from
 * the charges before anything else is admitted.
 */
export const layerRedisSql = (
  options: Omit<RedisOptions, "ledger"> & Pick<SqlQuotaStore.Options, "retention"> = {}
): Layer.Layer<Stores, StoreUnavailable, Redis | SqlClient> =>
  Layer.unwrap(
    Effect.map(SqlQuotaStore.make({ retention: options.retention }), ({ ledger }) => layerRedis({ ...options, ledger }))
  )

/** Which stores answer. Circuits are not told of: without its store each process goes on with circuits of its own. */
export interface Health {
  readonly quotas: boolean
  readonly cache: boolean
  readonly vectors: boolean
}

const probed = { key: "ballast:health", quota: { _tag: "Concurrency", limit: 1 } } as const

const answers = (asked: Effect.Effect<unknown, unknown>) => Effect.isSuccess(Effect.timeout(asked, "1 second"))

/** Asks each of them for something that is not there, at the same time; one that takes longer than a second is down. */
export const health: Effect.Effect<
  Health,
  never,
  QuotaStore.QuotaStore | CacheStore.CacheStore | VectorIndex.VectorIndex
> = Effect.gen(function* () {
  const quotas = yield* QuotaStore.QuotaStore
  const cache = yield* CacheStore.CacheStore
  const vectors = yield* VectorIndex.VectorIndex
  const asked = {
    quotas: answers(quotas.read([probed])),
    cache: answers(cache.get(probed.key, undefined)),
    vectors: answers(vectors.nearest(probed.key, [1], { limit: 1, atLeast: 1 }))
  }
  return yield* Effect.all(asked, { concurrency: "unbounded" })
})
