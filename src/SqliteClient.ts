/**
 * Effect's `SqlClient` on the SQLite that is part of Node: one connection to one file, or to memory (`":memory:"`).
 *
 * SQLite runs in this thread, and a statement blocks it for as long as it takes: no wait for a lock does, a locked file is
 * asked again from time to time. Transactions begin with `BEGIN IMMEDIATE` and wait for each other. Other processes of the
 * same host may use the file at the same time; never one on another host, through a network's file system.
 *
 * A file is written ahead (WAL): what was committed survives a process that is killed. A power cut or a crash of the system
 * may take back the last transactions, and never leaves one in part, unless `synchronous` is `"full"`.
 */
import type * as Config from "effect/Config"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Reactivity from "effect/reactivity/Reactivity"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import * as SqlClient from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import { makeCompilerSqlite } from "effect/sql/Statement"
import { type Configurable, configured } from "./internal/configurable.ts"
import { finiteMillis } from "./internal/options.ts"
import { attempt, SqliteConnection } from "./internal/sqliteConnection.ts"

/** Which file, and how safe it is to write to it. */
export interface Options {
  /** A path, or `":memory:"`. The folder must be there. */
  readonly filename: string
  /** Only reads; the file must be there. Default `false`. */
  readonly readOnly?: boolean | undefined
  /** How long a transaction or a statement waits for a lock that somebody else holds on the file. Default 2 seconds. */
  readonly lockTimeout?: Duration.Input | undefined
  /** `"full"`: what was committed survives a power cut, at the price of a flush of the disk each. Default `"normal"`. */
  readonly synchronous?: "normal" | "full" | undefined
}

/** Fails with an `SqlError` where the file cannot be opened or is none of SQLite. Bad options throw a `RangeError`. */
export const make = (
  options: Options
): Effect.Effect<SqlClient.SqlClient, SqlError, Scope.Scope | Reactivity.Reactivity> => {
  const lockTimeout = finiteMillis("SqliteClient.make: lockTimeout", options.lockTimeout ?? "2 seconds")
  return Effect.flatMap(open(options, lockTimeout), clientOf)
}

/** `make` as a layer, which fails to build as `make` does and closes the file when it ends. Bad options throw at once. */
export const layer = (options: Options): Layer.Layer<SqlClient.SqlClient, SqlError> => layerOf(make(options))

/** The same options, any of them as a `Config`; options that can never work are a `ConfigError`. */
export const layerConfig = (
  options: Configurable<Options>
): Layer.Layer<SqlClient.SqlClient, SqlError | Config.ConfigError> => layerOf(configured(options, make))

const layerOf = <E>(made: Effect.Effect<SqlClient.SqlClient, E, Scope.Scope | Reactivity.Reactivity>) =>
  Layer.provide(Layer.effect(SqlClient.SqlClient, made), Reactivity.layer)

const open = ({ filename, readOnly = false, synchronous = "normal" }: Options, lockTimeout: number) =>
  Effect.gen(function* () {
    const connection = yield* Effect.acquireRelease(
      attempt("open", () => new SqliteConnection(filename, readOnly, lockTimeout)),
      (connection) => Effect.sync(() => connection.close())
    )
    const pragma = (setting: string) => connection.executeUnprepared(`PRAGMA ${setting}`, [], undefined)
    // one that only reads takes the journal as it is; asking for the schema tells whether it is a database
    yield* pragma(readOnly ? "schema_version" : "journal_mode = WAL")
    yield* pragma(`synchronous = ${synchronous}`)
    return connection
  })

let clients = 0

const clientOf = Effect.fnUntraced(function* (connection: SqliteConnection) {
  const transactionService: SqlClient.SqlClient["transactionService"] = Context.Service(
    `ballast/SqliteClient/Transaction/${clients++}`
  )
  const spanAttributes = [["db.system.name", "sqlite"]] as const
  const acquirers = SqlClient.makeSqliteAcquirers({
    connection: Effect.succeed(connection),
    semaphore: Semaphore.makeUnsafe(1),
    isTransaction: ({ isTransaction }) => isTransaction
  })
  const compiler = makeCompilerSqlite()
  const client = yield* SqlClient.make({
    ...acquirers,
    compiler,
    driver: "node-sqlite",
    transactionService,
    spanAttributes
  })
  const run = (statement: string) => Effect.asVoid(connection.execute(statement, [], undefined))
  const whileOpen = (statement: string) =>
    Effect.suspend(() => (connection.isTransaction ? run(statement) : Effect.void))
  // it begins as part of the wait for the connection, as only that can be interrupted
  const begun = Effect.tap(acquirers.transactionAcquirer, () =>
    Effect.andThen(
      Effect.addFinalizer(() => Effect.orDie(whileOpen("ROLLBACK"))),
      run("BEGIN IMMEDIATE")
    )
  )
  const withTransaction = SqlClient.makeWithTransaction({
    transactionService,
    spanAttributes,
    acquireConnection: (restore) => restore(begun),
    begin: () => Effect.void,
    savepoint: (_, id) => run(`SAVEPOINT ballast_${id}`),
    releaseSavepoint: (_, id) => whileOpen(`RELEASE SAVEPOINT ballast_${id}`),
    rollbackSavepoint: (_, id) => whileOpen(`ROLLBACK TO SAVEPOINT ballast_${id}`),
    commit: () => run("COMMIT"),
    onCommitFailure: acquirers.onCommitFailure,
    rollback: () => whileOpen("ROLLBACK")
  })
  return Object.assign(client, { withTransaction })
})
