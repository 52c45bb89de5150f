/**
 * A `CacheStore` in a database, over Effect's `SqlClient`: in Postgres for many hosts, or in a file of SQLite for the processes
 * of one host. What is cached survives a restart.
 *
 * Each operation is one statement, and no read writes. The table is made when the store is. Behind writes it is tidied up, a few
 * rows at a time: what has expired goes, and while the rest weighs more than `maxBytes`, what would expire next. The bound
 * may be exceeded by a sixteenth for each process that writes. The file of SQLite is used again but does not shrink.
 *
 * An entry of a newer version is a miss and stays. One that cannot be read, or is too large, is a miss, deleted and counted
 * (`ballast_cache_corrupt_total`). Not within a transaction of the same SQLite client: the store would wait for its caller, and
 * fail.
 */
import type * as Config from "effect/Config"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { SqlClient } from "effect/sql/SqlClient"
import { CacheStore, type Service } from "./CacheStore.ts"
import { type Configurable, configured } from "./internal/configurable.ts"
import { finiteMillis, integer } from "./internal/options.ts"
import type { StoreUnavailable } from "./internal/reasons.ts"
import { open } from "./internal/sqlCacheStore.ts"

/** Where entries lie in the database, and how large they may be. */
export interface Options {
  /** What the names of all tables begin with: lower-case letters, digits and `_`, at most 40. Default `"ballast"`. */
  readonly prefix?: string | undefined
  /** How long an operation may take; to clear and to sum up have 30 seconds. Default 250 milliseconds. */
  readonly commandTimeout?: Duration.Input | undefined
  /** What all entries weigh together. Default 1 GiB. */
  readonly maxBytes?: number | undefined
  /** What one entry weighs at most, as JSON; a larger one is not stored, and not read. Default 1 MiB. */
  readonly maxEntryBytes?: number | undefined
  /** Compresses entries of 1 KiB and more with gzip. Both kinds are read, whatever it is. Default `false`. */
  readonly compress?: boolean | undefined
}

/**
 * Fails with `StoreUnavailable` where the table cannot be made, is of a newer version, or the database is neither Postgres nor
 * SQLite. Bad options throw a `RangeError`.
 */
export const make = (options: Options = {}): Effect.Effect<Service, StoreUnavailable, SqlClient | Scope.Scope> => {
  const { commandTimeout = 250, compress = false, maxBytes = 2 ** 30, maxEntryBytes = 2 ** 20 } = options
  const { prefix = "ballast" } = options
  if (!/^[a-z_][a-z0-9_]{0,39}$/.test(prefix))
    throw new RangeError(`SqlCacheStore.make: prefix must match [a-z_][a-z0-9_]* and have at most 40, got ${prefix}`)
  const settings = {
    prefix,
    compress,
    commandTimeout: finiteMillis("SqlCacheStore.make: commandTimeout", commandTimeout),
    maxBytes: integer("SqlCacheStore.make: maxBytes", maxBytes, 1),
    maxEntryBytes: integer("SqlCacheStore.make: maxEntryBytes", maxEntryBytes, 1)
  }
  return Effect.flatMap(SqlClient, (sql) => open(sql, settings))
}

/** `make` as a layer, which fails to build as `make` does. Bad options throw when it is made. */
export const layer = (options?: Options): Layer.Layer<CacheStore, StoreUnavailable, SqlClient> =>
  Layer.effect(CacheStore, make(options))

/** The same options, any of them as a `Config`; options that can never work are a `ConfigError`. */
export const layerConfig = (
  options: Configurable<Options>
): Layer.Layer<CacheStore, StoreUnavailable | Config.ConfigError, SqlClient> =>
  Layer.effect(CacheStore, configured(options, make))
