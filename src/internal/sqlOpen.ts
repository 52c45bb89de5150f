/** Makes a SQL store: its dialect, its tables, and what must be done when it closes. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { SqlClient } from "effect/sql/SqlClient"
import type { StoreUnavailable } from "./reasons.ts"
import { Commands } from "./sqlCommands.ts"
import { Postgres } from "./sqlPostgres.ts"
import { Store } from "./sqlQuotaStore.ts"
import { Sqlite } from "./sqlSqlite.ts"
import { dialectOf, start } from "./sqlStart.ts"
import { schemaOf, tablesOf } from "./sqlTables.ts"

export interface OpenSettings {
  readonly prefix: string
  /** Milliseconds. */
  readonly commandTimeout: number
  readonly retention: number
  /** Milliseconds that are added to the time of the store: tests let time pass with them. */
  readonly offset: () => number
}

export const open = (client: SqlClient, settings: OpenSettings): Effect.Effect<Store, StoreUnavailable, Scope.Scope> =>
  Effect.gen(function* () {
    const sql = client.withoutTransforms()
    const { commandTimeout, offset, prefix, retention } = settings
    const tables = tablesOf(prefix)
    const name = yield* dialectOf(sql)
    const pg = name === "postgres"
    const dialect = pg ? new Postgres(sql, tables, offset) : new Sqlite(sql, tables, offset)
    yield* start(sql, new Commands(sql, name), schemaOf(tables, pg))
    const store = new Store({ sql, tables, dialect, commandTimeout, retention }, yield* Effect.context())
    yield* Effect.addFinalizer(() => store.close)
    return store
  })
