/** One connection of `node:sqlite` as Effect's SQL wants it: errors with their code, and no more statements than are used. */
import { DatabaseSync, type SQLInputValue, type StatementSync } from "node:sqlite"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import { SafeIntegers } from "effect/sql/SqlClient"
import type { Connection } from "effect/sql/SqlConnection"
import { classifySqliteError, SqlError } from "effect/sql/SqlError"
import * as Stream from "effect/Stream"

/** Most statements that stay prepared; the one that was not used for the longest time goes first. */
const maxStatements = 200

type Rows = ReadonlyArray<object>
type TransformRows = Parameters<Connection["execute"]>[2]

export class SqliteConnection implements Connection {
  private readonly db: DatabaseSync
  private readonly statements = new Map<string, StatementSync>()

  private readonly lockTimeout: number

  /** Throws what `node:sqlite` throws. Nothing in it blocks for a lock: what meets one is tried again for so long. */
  constructor(filename: string, readOnly: boolean, lockTimeout: number) {
    this.db = new DatabaseSync(filename, { readOnly, timeout: 0, enableForeignKeyConstraints: true })
    this.lockTimeout = lockTimeout
  }

  get isTransaction(): boolean {
    return this.db.isOpen && this.db.isTransaction
  }

  close(): void {
    this.statements.clear()
    if (this.db.isOpen) this.db.close()
  }

  execute(sql: string, params: ReadonlyArray<unknown>, transformRows: TransformRows) {
    const rows = this.all(params, () => this.prepared(sql))
    return transformRows === undefined ? rows : Effect.map(rows, transformRows)
  }

  executeUnprepared(sql: string, params: ReadonlyArray<unknown>, transformRows: TransformRows) {
    const rows = this.all(params, () => this.db.prepare(sql))
    return transformRows === undefined ? rows : Effect.map(rows, transformRows)
  }

  executeRaw(sql: string, params: ReadonlyArray<unknown>) {
    return this.act(
      () => this.prepared(sql),
      (statement) => {
        const values = params.map(valueOf)
        return statement.columns().length > 0 ? statement.all(...values) : statement.run(...values)
      }
    )
  }

  executeValues(sql: string, params: ReadonlyArray<unknown>) {
    return this.values(params, () => this.prepared(sql))
  }

  executeValuesUnprepared(sql: string, params: ReadonlyArray<unknown>) {
    return this.values(params, () => this.db.prepare(sql))
  }

  /** All rows are read at once: the connection is nobody else's meanwhile, and reading does not wait. */
  executeStream(sql: string, params: ReadonlyArray<unknown>, transformRows: TransformRows) {
    return Stream.fromIterableEffect(this.execute(sql, params, transformRows))
  }

  private all(params: ReadonlyArray<unknown>, prepare: () => StatementSync) {
    return this.act(prepare, (statement): Rows => statement.all(...params.map(valueOf)))
  }

  private values(params: ReadonlyArray<unknown>, prepare: () => StatementSync) {
    return this.act(prepare, (statement): ReadonlyArray<ReadonlyArray<unknown>> => {
      statement.setReturnArrays(true)
      try {
        // as the statement was told above
        return statement.all(...params.map(valueOf)) as unknown as ReadonlyArray<ReadonlyArray<unknown>>
      } finally {
        statement.setReturnArrays(false)
      }
    })
  }

  private act<A>(prepare: () => StatementSync, run: (statement: StatementSync) => A): Effect.Effect<A, SqlError> {
    const once = Effect.withFiber<A, SqlError>((fiber) =>
      attempt("execute", () => {
        const statement = prepare()
        statement.setReadBigInts(fiber.getRef(SafeIntegers))
        return run(statement)
      })
    )
    return Effect.catchIf(once, isLocked, () => Effect.retry(once, untilUnlocked(this.lockTimeout)))
  }

  private prepared(sql: string): StatementSync {
    const known = this.statements.get(sql)
    const statement = known ?? this.db.prepare(sql)
    if (known !== undefined) this.statements.delete(sql)
    else if (this.statements.size >= maxStatements) {
      const [oldest = ""] = this.statements.keys()
      this.statements.delete(oldest)
    }
    this.statements.set(sql, statement)
    return statement
  }
}

/** Pauses of 1 to 24 milliseconds: a lock is held for less, as a rule. */
const untilUnlocked = (lockTimeout: number) => {
  const pauses = Schedule.min([Schedule.exponential("1 millis", 1.5), Schedule.spaced("20 millis")])
  const schedule = Schedule.upTo(Schedule.jittered(pauses), { duration: Duration.millis(lockTimeout) })
  return { schedule, while: isLocked }
}

const isLocked = ({ reason }: SqlError): boolean => reason._tag === "LockTimeoutError"

export const attempt = <A>(operation: string, act: () => A): Effect.Effect<A, SqlError> =>
  Effect.try({ try: act, catch: (cause) => errorOf(cause, operation) })

/** The classifier reads `errno` and `code`; `node:sqlite` has the code of SQLite in `errcode`. */
const errorOf = (cause: unknown, operation: string): SqlError => {
  if (cause instanceof Error && "errcode" in cause) Object.assign(cause, { errno: cause.errcode, code: undefined })
  return new SqlError({
    reason: classifySqliteError(cause, { message: `SqliteClient: could not ${operation}`, operation })
  })
}

/** As SQLite stores it: a boolean is a number, an instant its ISO text, nothing is `NULL`. */
const valueOf = (value: unknown): SQLInputValue => {
  if (value === undefined || value === null) return null
  if (typeof value === "boolean") return value ? 1 : 0
  if (value instanceof Date) return value.toISOString()
  return value as SQLInputValue // anything else is refused by SQLite itself, as an error
}
