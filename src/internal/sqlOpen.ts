/** Makes a SQL store: its dialect, its tables, and what must be done when it closes. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { SqlClient } from "effect/sql/SqlClient"
import { StoreUnavailable } from "./reasons.ts"
import { Commands } from "./sqlCommands.ts"
import type { Dialect } from "./sqlDialect.ts"
import { Postgres } from "./sqlPostgres.ts"
import { Store } from "./sqlQuotaStore.ts"
import { Sqlite } from "./sqlSqlite.ts"
import { migrate, type Tables, tablesOf, version } from "./sqlTables.ts"

export interface OpenSettings {
  readonly prefix: string
  /** Milliseconds. */
  readonly commandTimeout: number
  readonly retention: number
  /** Milliseconds that are added to the time of the store: tests let time pass with them. */
  readonly offset: () => number
}

/** Milliseconds until the tables must be there. */
const startTimeout = 30_000

export const open = (client: SqlClient, settings: OpenSettings): Effect.Effect<Store, StoreUnavailable, Scope.Scope> =>
  Effect.gen(function* () {
    const sql = client.withoutTransforms()
    const { commandTimeout, offset, prefix, retention } = settings
    const tables = tablesOf(prefix)
    const dialect = yield* dialectOf(sql, tables, offset)
    yield* start(sql, tables, dialect)
    const store = new Store({ sql, tables, dialect, commandTimeout, retention }, yield* Effect.context())
    yield* Effect.addFinalizer(() => store.close)
    return store
  })

const dialectOf = (sql: SqlClient, tables: Tables, offset: () => number): Effect.Effect<Dialect, StoreUnavailable> => {
  const unknown = (name: string) => () =>
    Effect.fail(failed(name, "a store needs the dialect of Postgres or of SQLite"))
  return sql.onDialect({
    sqlite: () => Effect.succeed(new Sqlite(sql, tables, offset)),
    pg: () => Effect.succeed(new Postgres(sql, tables, offset)),
    mysql: unknown("mysql"),
    mssql: unknown("mssql"),
    clickhouse: unknown("clickhouse")
  })
}

const failed = (store: string, description: string) => new StoreUnavailable({ store, operation: "start", description })

const start = (sql: SqlClient, tables: Tables, { name }: Dialect): Effect.Effect<void, StoreUnavailable> => {
  const started = new Commands(sql, name).run("start", startTimeout, migrate(sql, tables))
  return Effect.flatMap(started, (found) =>
    found <= version
      ? Effect.void
      : Effect.fail(failed(name, `the tables are of version ${found}, this knows ${version}: update it`))
  )
}
