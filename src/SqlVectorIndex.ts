/**
 * A `VectorIndex` in a database, over Effect's `SqlClient`: in Postgres for many hosts, or in a file of SQLite for the processes
 * of one host. Needs no extension: vectors are bytes, and a search reads all vectors of its partition into this process. What
 * is indexed survives a restart.
 *
 * The table is made when the index is. Behind writes it is tidied up, a few rows at a time: what has expired goes, then what
 * is more than `maxEntries` of a partition, and while the rest weighs more than `maxBytes`, what would expire next. The
 * bounds may be exceeded by what one process writes in five minutes, but by no more than a sixteenth of `maxBytes`.
 *
 * A row that cannot be read is none, deleted and counted (`ballast_cache_corrupt_total`). Two processes that begin a partition
 * with different dimensions at the same moment may both be taken; each finds its own. Not within a transaction of the same
 * SQLite client: the index would wait for its caller, and fail.
 */
import type * as Config from "effect/Config"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { SqlClient } from "effect/sql/SqlClient"
import { type Configurable, configured } from "./internal/configurable.ts"
import { finiteMillis, integer } from "./internal/options.ts"
import type { StoreUnavailable } from "./internal/reasons.ts"
import { open } from "./internal/sqlVectorIndex.ts"
import { type Service, VectorIndex } from "./VectorIndex.ts"

/** Where vectors lie in the database, and how many of them. */
export interface Options {
  /** What the names of all tables begin with: lower-case letters, digits and `_`, at most 40. Default `"ballast"`. */
  readonly prefix?: string | undefined
  /** How long an operation may take, a whole search too; to clear and to sum up have 30 seconds. Default 250 milliseconds. */
  readonly commandTimeout?: Duration.Input | undefined
  /**
   * Most items of a partition, those that expire last: so many vectors are read by each search, 6 KiB for each of 1536
   * dimensions. Default `2_000`.
   */
  readonly maxEntries?: number | undefined
  /** What all items weigh together. Default 1 GiB. */
  readonly maxBytes?: number | undefined
}

/**
 * Fails with `StoreUnavailable` where the table cannot be made, is of a newer version, or the database is neither Postgres nor
 * SQLite. Bad options throw a `RangeError`.
 */
export const make = (options: Options = {}): Effect.Effect<Service, StoreUnavailable, SqlClient | Scope.Scope> => {
  const { commandTimeout = 250, maxBytes = 2 ** 30, maxEntries = 2000, prefix = "ballast" } = options
  if (!/^[a-z_][a-z0-9_]{0,39}$/.test(prefix))
    throw new RangeError(`SqlVectorIndex.make: prefix must match [a-z_][a-z0-9_]* and have at most 40, got ${prefix}`)
  const settings = {
    prefix,
    commandTimeout: finiteMillis("SqlVectorIndex.make: commandTimeout", commandTimeout),
    maxEntries: integer("SqlVectorIndex.make: maxEntries", maxEntries, 1),
    maxBytes: integer("SqlVectorIndex.make: maxBytes", maxBytes, 1)
  }
  return Effect.flatMap(SqlClient, (sql) => open(sql, settings))
}

/** `make` as a layer, which fails to build as `make` does. Bad options throw when it is made. */
export const layer = (options?: Options): Layer.Layer<VectorIndex, StoreUnavailable, SqlClient> =>
  Layer.effect(VectorIndex, make(options))

/** The same options, any of them as a `Config`; options that can never work are a `ConfigError`. */
export const layerConfig = (
  options: Configurable<Options>
): Layer.Layer<VectorIndex, StoreUnavailable | Config.ConfigError, SqlClient> =>
  Layer.effect(VectorIndex, configured(options, make))
