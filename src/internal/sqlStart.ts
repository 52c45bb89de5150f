/** How a store in a database begins: with a dialect that it speaks, and with tables of the version that it knows. */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Migrator from "effect/sql/Migrator"
import * as SqlClient from "effect/sql/SqlClient"
import { isSqlError, SqlError, UnknownError } from "effect/sql/SqlError"
import { StoreUnavailable } from "./reasons.ts"
import { Commands } from "./sqlCommands.ts"

export type Name = "sqlite" | "postgres"

export interface Schema {
  /** The table that remembers which migrations were made. */
  readonly migrations: string
  /** Of the first migration, the number in front. */
  readonly name: string
  readonly create: ReadonlyArray<string>
  /** The version that the code writes and reads. */
  readonly version: number
}

/** Milliseconds until the tables must be there. */
const startTimeout = 30_000

export const dialectOf = (sql: SqlClient.SqlClient): Effect.Effect<Name, StoreUnavailable> => {
  const unknown = (name: string) => () => unusable(name, "a store needs the dialect of Postgres or of SQLite")
  return sql.onDialect({
    sqlite: () => Effect.succeed("sqlite" as const),
    pg: () => Effect.succeed("postgres" as const),
    mysql: unknown("mysql"),
    mssql: unknown("mssql"),
    clickhouse: unknown("clickhouse")
  })
}

/** Makes the tables where they are missing; fails where a newer version has made them. */
export const start = (
  sql: SqlClient.SqlClient,
  commands: Commands,
  schema: Schema
): Effect.Effect<void, StoreUnavailable> =>
  Effect.flatMap(commands.run("start", startTimeout, migrate(sql, schema)), (found) =>
    found <= schema.version
      ? Effect.void
      : unusable(commands.store, `the tables are of version ${found}, this knows ${schema.version}: update it`)
  )

/** A store with its tables, until the scope ends. */
export const opened = <S extends { readonly close: Effect.Effect<void> }>(
  client: SqlClient.SqlClient,
  schemaOf: (isPostgres: boolean) => Schema,
  make: (sql: SqlClient.SqlClient, commands: Commands, context: Context.Context<never>) => S
): Effect.Effect<S, StoreUnavailable, Scope.Scope> =>
  Effect.gen(function* () {
    const sql = client.withoutTransforms()
    const name = yield* dialectOf(sql)
    const commands = new Commands(sql, name)
    yield* start(sql, commands, schemaOf(name === "postgres"))
    const store = make(sql, commands, yield* Effect.context())
    yield* Effect.addFinalizer(() => store.close)
    return store
  })

const unusable = (store: string, description: string): Effect.Effect<never, StoreUnavailable> =>
  Effect.fail(new StoreUnavailable({ store, operation: "start", description }))

/**
 * Several processes may do this at the same time. Answers the version that the tables have then. Where they are there, to
 * read is all that is needed.
 */
const migrate = (sql: SqlClient.SqlClient, { create, migrations, name, version }: Schema) => {
  const last = Effect.map(sql.unsafe<{ id: unknown }>(`select max(migration_id) as id from ${migrations}`), ([row]) =>
    Number(row?.id)
  )
  const created = Effect.forEach(create, (statement) => sql.unsafe(statement), { discard: true })
  const migrated = Migrator.make({})({ loader: Migrator.fromRecord({ [name]: created }), table: migrations }).pipe(
    Effect.provideService(SqlClient.SqlClient, sql),
    Effect.mapError((error) => (isSqlError(error) ? error : isSqlError(error.cause) ? error.cause : failed(error)))
  )
  return Effect.flatMap(
    Effect.orElseSucceed(last, () => 0),
    (found) => (found >= version ? Effect.succeed(found) : Effect.andThen(migrated, last))
  )
}

const failed = (cause: Migrator.MigrationError) => new SqlError({ reason: new UnknownError({ cause }) })
