/**
 * A `QuotaStore` that keeps its counters, its leases and its ledger in a database, over Effect's `SqlClient`: in Postgres
 * for many hosts, or in a file of SQLite for the processes of one host. What was acknowledged survives a restart.
 *
 * Each operation is one transaction: exact, and as durable as the database is told to be (Postgres with
 * `synchronous_commit` on, as it is by default). Times are those of the server in Postgres and of the host in SQLite. The
 * tables are made and brought up to date when the store is. Every lease must be settled: until then this process renews it.
 *
 * SQLite computes a report in this thread: a million lines take seconds, in which nothing else runs.
 *
 * Not within a transaction of the same SQLite client: the store would wait for its caller, and fail.
 */
import type * as Config from "effect/Config"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { SqlClient } from "effect/sql/SqlClient"
import { type Configurable, configured } from "./internal/configurable.ts"
import { between, finiteMillis } from "./internal/options.ts"
import type { StoreUnavailable } from "./internal/reasons.ts"
import { open } from "./internal/sqlOpen.ts"
import type * as Ledger from "./Ledger.ts"
import { type LedgerStore, QuotaStore, type Service } from "./QuotaStore.ts"

/** Where quotas lie in the database, and how long lines of money are kept. */
export interface Options {
  /** What the names of all tables begin with: lower-case letters, digits and `_`, at most 40. Default `"ballast"`. */
  readonly prefix?: string | undefined
  /** How long an operation may take; a question over many lines has 30 seconds. Default 250 milliseconds. */
  readonly commandTimeout?: Duration.Input | undefined
  /** How long lines of the ledger are kept: from one day to 100 years. Default 400 days. */
  readonly retention?: Duration.Input | undefined
}

/** A store whose ledger outlives it, and may keep the lines of another store as well. */
export interface SqlStore extends Service {
  readonly ledger: LedgerStore & Ledger.Durable
}

/**
 * Fails with `StoreUnavailable` where the tables cannot be made, are of a newer version, or the database is neither Postgres
 * nor SQLite. Bad options throw a `RangeError`.
 */
export const make = (options: Options = {}): Effect.Effect<SqlStore, StoreUnavailable, SqlClient | Scope.Scope> => {
  const { commandTimeout = 250, prefix = "ballast", retention = "400 days" } = options
  if (!/^[a-z_][a-z0-9_]{0,39}$/.test(prefix))
    throw new RangeError(`SqlQuotaStore.make: prefix must match [a-z_][a-z0-9_]* and have at most 40, got ${prefix}`)
  const settings = {
    prefix,
    commandTimeout: finiteMillis("SqlQuotaStore.make: commandTimeout", commandTimeout),
    retention:
      day *
      between(
        "SqlQuotaStore.make: retention in days",
        finiteMillis("SqlQuotaStore.make: retention", retention) / day,
        1,
        36_525
      ),
    offset: () => 0
  }
  return Effect.flatMap(SqlClient, (sql) => open(sql, settings))
}

const day = Duration.toMillis("1 day")

/** As `make`. Closing it tries for the last time to settle what could not be settled. */
export const layer = (options?: Options): Layer.Layer<QuotaStore, StoreUnavailable, SqlClient> =>
  Layer.effect(QuotaStore, make(options))

/** The same options, any of them as a `Config`; options that can never work are a `ConfigError`. */
export const layerConfig = (
  options: Configurable<Options>
): Layer.Layer<QuotaStore, StoreUnavailable | Config.ConfigError, SqlClient> =>
  Layer.effect(QuotaStore, configured(options, make))
