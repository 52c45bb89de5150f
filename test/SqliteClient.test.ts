import { mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Config, ConfigProvider, Duration, Effect, Exit, Fiber, Layer, Latch, Result, Stream } from "effect"
import { SqlClient, type SqlError } from "effect/sql"
import { TestClock } from "effect/testing"
import * as SqliteClient from "effect-ballast/SqliteClient"
import { folder, newFile, sqlite } from "./support/sql.ts"

const reasonOf = (error: SqlError.SqlError) => error.reason._tag

const counted = Effect.gen(function* () {
  const sql = yield* sqlite(":memory:")
  yield* sql`create table t (n integer not null)`
  yield* sql`insert into t values (0)`
  const n = Effect.map(sql<{ n: number }>`select n from t`, ([row]) => row?.n ?? -1)
  return { sql, n }
})

describe("a connection", () => {
  it.effect("answers rows, values and streams, and stores what it is given", () =>
    Effect.gen(function* () {
      const sql = yield* sqlite(":memory:")
      yield* sql`create table t (a, b, c, d, e)`
      const bytes = new Uint8Array([1, 2])
      yield* sql`insert into t values (${true}, ${undefined}, ${new Date(0)}, ${bytes}, ${1.5})`
      const [row] = yield* sql`select * from t`
      assert.deepStrictEqual({ ...row }, { a: 1, b: null, c: "1970-01-01T00:00:00.000Z", d: bytes, e: 1.5 })
      assert.deepStrictEqual(yield* sql`select a, e from t`.values, [[1, 1.5]])
      assert.strictEqual((yield* sql`select a from t`.unprepared).length, 1)
      assert.strictEqual((yield* Stream.runCollect(sql`select * from t`.stream)).length, 1)
      assert.deepInclude(yield* sql`insert into t (a) values (7)`.raw, { changes: 1 })
    })
  )

  it.effect("answers large integers as bigint where that is asked for, and an error elsewhere", () =>
    Effect.gen(function* () {
      const sql = yield* sqlite(":memory:")
      const large = sql`select ${2n ** 53n + 1n} as n`
      const rows = yield* Effect.provideService(large, SqlClient.SafeIntegers, true)
      assert.deepStrictEqual(
        rows.map(({ n }) => n),
        [2n ** 53n + 1n]
      )
      assert.strictEqual(reasonOf(yield* Effect.flip(large)), "UnknownError")
      assert.deepStrictEqual(yield* sql`select 1 as n`.values, [[1]])
    })
  )

  it.effect("knows more statements than it keeps prepared", () =>
    Effect.gen(function* () {
      const sql = yield* sqlite(":memory:")
      for (let round = 0; round < 2; round++)
        for (let i = 0; i < 500; i++) assert.deepStrictEqual(yield* sql.unsafe(`select ${i} as n`).values, [[i]])
    })
  )

  it.effect("says of which kind an error is", () =>
    Effect.gen(function* () {
      const sql = yield* sqlite(":memory:")
      yield* sql`create table t (id integer primary key, parent integer references t (id), name text unique)`
      yield* sql`insert into t values (1, null, 'a')`
      const unique = yield* Effect.flip(sql`insert into t values (2, null, 'a')`)
      assert.deepStrictEqual(
        [reasonOf(unique), "constraint" in unique.reason && unique.reason.constraint],
        ["UniqueViolation", "t.name"]
      )
      assert.strictEqual(reasonOf(yield* Effect.flip(sql`insert into t values (2, 7, 'b')`)), "ConstraintError")
      assert.strictEqual(reasonOf(yield* Effect.flip(sql`select nothing`)), "UnknownError")
    })
  )

  it.effect("is closed with its scope", () =>
    Effect.gen(function* () {
      const sql = yield* Effect.scoped(sqlite(":memory:"))
      assert.strictEqual(reasonOf(yield* Effect.flip(sql`select 1`)), "UnknownError")
    })
  )
})

describe("transactions", () => {
  it.effect("run one after the other, whatever they wait for", () =>
    Effect.gen(function* () {
      const { n, sql } = yield* counted
      const increase = sql.withTransaction(
        Effect.flatMap(n, (n) => Effect.andThen(Effect.yieldNow, sql`update t set n = ${n + 1}`))
      )
      yield* Effect.forEach(Array(200).keys(), () => increase, { concurrency: "unbounded", discard: true })
      assert.strictEqual(yield* n, 200)
    })
  )

  it.effect("leave nothing when they fail or are interrupted, and who waits for one takes nothing", () =>
    Effect.gen(function* () {
      const { n, sql } = yield* counted
      const set = (value: number) => sql`update t set n = ${value}`
      yield* Effect.exit(sql.withTransaction(Effect.andThen(set(1), Effect.fail("no"))))
      assert.strictEqual(yield* n, 0)
      const inside = yield* Latch.make()
      const open = sql.withTransaction(Effect.andThen(set(2), Effect.andThen(inside.open, Effect.never)))
      const fiber = yield* Effect.forkChild(open)
      yield* inside.await
      const waiting = yield* Effect.forkChild(sql.withTransaction(set(3)), { startImmediately: true })
      yield* Fiber.interrupt(waiting)
      yield* Fiber.interrupt(fiber)
      assert.strictEqual(yield* n, 0)
      yield* sql.withTransaction(set(4))
      assert.strictEqual(yield* n, 4)
    })
  )

  it.effect("within another one undo only what is theirs", () =>
    Effect.gen(function* () {
      const { n, sql } = yield* counted
      const add = sql`update t set n = n + 1`
      yield* sql.withTransaction(
        Effect.gen(function* () {
          yield* add
          yield* Effect.exit(sql.withTransaction(Effect.andThen(add, Effect.fail("no"))))
          yield* sql.withTransaction(add)
        })
      )
      assert.strictEqual(yield* n, 2)
    })
  )

  it.effect("that cannot be committed are undone, and the connection goes on", () =>
    Effect.gen(function* () {
      const sql = yield* sqlite(":memory:")
      yield* sql`create table p (id integer primary key)`
      yield* sql`create table c (p integer references p (id) deferrable initially deferred)`
      const error = yield* Effect.flip(sql.withTransaction(sql`insert into c values (1)`))
      assert.strictEqual(reasonOf(error), "ConstraintError")
      yield* sql.withTransaction(sql`insert into p values (1)`)
      assert.deepStrictEqual(yield* sql`select (select count(*) from c), (select count(*) from p)`.values, [[0, 1]])
    })
  )
})

/** A connection to a file on which another one holds the lock. */
const locked = Effect.gen(function* () {
  const file = yield* newFile
  const [sql, other] = [yield* sqlite(file), yield* sqlite(file)]
  yield* sql`create table t (n)`
  const holder = yield* Effect.forkChild(other.withTransaction(Effect.never), { startImmediately: true })
  return { sql, release: Fiber.interrupt(holder) }
})

describe("a lock that somebody else holds", () => {
  it.effect("is waited for without blocking, by transactions and statements, until it is free", () =>
    Effect.gen(function* () {
      const { release, sql } = yield* locked
      const insert = sql`insert into t values (1)`
      const both = yield* Effect.forkChild(Effect.andThen(sql.withTransaction(insert), insert))
      for (let i = 0; i < 1000; i++) yield* TestClock.adjust(1)
      assert.isUndefined(both.pollUnsafe())
      assert.deepStrictEqual(yield* release, undefined)
      yield* TestClock.adjust(100)
      yield* Fiber.join(both)
      assert.deepStrictEqual(yield* sql`select count(*) from t`.values, [[2]])
    })
  )

  it.effect("is given up after two seconds, as a LockTimeoutError", () =>
    Effect.gen(function* () {
      const { sql } = yield* locked
      for (const act of [sql.withTransaction(sql`insert into t values (1)`), sql`insert into t values (1)`]) {
        const asked = yield* Effect.forkChild(Effect.result(act))
        for (let i = 0; i < 1900; i++) yield* TestClock.adjust(1)
        assert.isUndefined(asked.pollUnsafe())
        for (let i = 0; i < 200; i++) yield* TestClock.adjust(1)
        const answer = yield* Fiber.join(asked)
        assert.strictEqual(Result.isFailure(answer) ? reasonOf(answer.failure) : "none", "LockTimeoutError")
      }
    })
  )

  it.effect("does not keep who is interrupted, nor those who read", () =>
    Effect.gen(function* () {
      const { sql } = yield* locked
      const waiting = yield* Effect.forkChild(sql.withTransaction(sql`select 1`), { startImmediately: true })
      yield* TestClock.adjust(50)
      assert.isUndefined(waiting.pollUnsafe())
      yield* Fiber.interrupt(waiting)
      assert.deepStrictEqual(yield* sql`select count(*) from t`.values, [[0]])
    })
  )
})

describe("a file", () => {
  it.effect("is written ahead and keeps what was committed", () =>
    Effect.gen(function* () {
      const file = yield* newFile
      yield* Effect.scoped(Effect.flatMap(sqlite(file), (sql) => sql`create table t as select 7 as n`))
      const sql = yield* sqlite(file, { synchronous: "full" })
      assert.deepStrictEqual(yield* sql`select n from t`.values, [[7]])
      assert.deepStrictEqual(yield* sql`pragma journal_mode`.values, [["wal"]])
      assert.deepStrictEqual(yield* sql`pragma synchronous`.values, [[2]])
      assert.deepStrictEqual(yield* (yield* sqlite(file))`pragma synchronous`.values, [[1]])
    })
  )

  it.effect("that cannot be opened is an SqlError", () =>
    Effect.gen(function* () {
      const path = yield* folder
      mkdirSync(join(path, "folder"))
      writeFileSync(join(path, "other.db"), "not a database, and longer than the head of one".repeat(100))
      const open = (filename: string, readOnly = false) =>
        Effect.exit(Effect.scoped(sqlite(join(path, filename), { readOnly })))
      for (const [exit, reason] of [
        [yield* open("folder"), "ConnectionError"],
        [yield* open("none/quotas.db"), "ConnectionError"],
        [yield* open("none.db", true), "ConnectionError"],
        [yield* open("other.db"), "UnknownError"],
        [yield* open("other.db", true), "UnknownError"]
      ] as const) {
        assert.isTrue(Exit.isFailure(exit) && !Exit.hasDies(exit))
        const error = Exit.isFailure(exit) ? Cause.findError(exit.cause) : undefined
        assert.strictEqual(error !== undefined && Result.isSuccess(error) && reasonOf(error.success), reason)
      }
    })
  )

  it.effect("that is opened to be read refuses to be written", () =>
    Effect.gen(function* () {
      const file = yield* newFile
      yield* (yield* sqlite(file))`create table t (n)`
      const sql = yield* sqlite(file, { readOnly: true })
      assert.deepStrictEqual(yield* sql`select * from t`, [])
      assert.strictEqual(reasonOf(yield* Effect.flip(sql`insert into t values (1)`)), "UnknownError")
    })
  )
})

describe("the options", () => {
  it("that can never work are refused when the client is made", () => {
    for (const lockTimeout of [0, -1, Number.NaN, Duration.infinity])
      assert.throws(() => SqliteClient.layer({ filename: ":memory:", lockTimeout }), /^SqliteClient.make: lockTimeout/)
  })

  it.effect("may come from a Config, where they are a ConfigError", () =>
    Effect.gen(function* () {
      const env = (lockTimeout: string) =>
        ConfigProvider.layer(ConfigProvider.fromEnv({ env: { FILE: ":memory:", LOCK: lockTimeout } }))
      const layer = SqliteClient.layerConfig({ filename: Config.String("FILE"), lockTimeout: Config.Number("LOCK") })
      const select = Effect.flatMap(SqlClient.SqlClient, (sql) => sql`select 1`.values)
      assert.deepStrictEqual(yield* Effect.provide(select, Layer.provide(layer, env("5"))), [[1]])
      const failure = yield* Effect.flip(Layer.build(Layer.provide(layer, env("0"))))
      assert.match(String(failure), /lockTimeout must be a duration > 0/)
    })
  )
})
