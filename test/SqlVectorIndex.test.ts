import { closeSync, openSync, writeSync } from "node:fs"
import { inspect } from "node:util"
import { assert, describe, it } from "@effect/vitest"
import { Config, ConfigProvider, Context, Effect, Fiber, Layer, Metric, Result, Schedule } from "effect"
import { SqlClient } from "effect/sql"
import { TestClock } from "effect/testing"
import { VectorIndexContract } from "effect-ballast/testing"
import * as Metrics from "effect-ballast/Metrics"
import * as SqlVectorIndex from "effect-ballast/SqlVectorIndex"
import { type Item, type Service, VectorIndex } from "effect-ballast/VectorIndex"
import { open, type Settings } from "../src/internal/sqlVectorIndex.ts"
import { statementsOf } from "../src/internal/sqlVectorTables.ts"
import { anyServer, client, describeOwnPostgres, describePostgres, own, PostgresServer } from "./support/postgres.ts"
import { newFile, newPrefix, sqlite } from "./support/sql.ts"
import { clustered, cosine, type Numbers } from "./support/vectors.ts"

const start = Date.UTC(2026, 10, 24, 12, 0, 3, 7)
const of = (id: string, vector: Numbers, expiresAt = Number.MAX_SAFE_INTEGER): Item => ({
  id,
  vector,
  data: id,
  expiresAt
})
const all = { limit: 100, atLeast: -1 }
const ids = (index: Service, vector: Numbers = [1, 0], partition = "p") =>
  Effect.map(index.nearest(partition, vector, all), (matches) => matches.map(({ id }) => id).toSorted())

/** Tests of processes and connections run in real time. */
const live = { excludeTestServices: true }

const defaults = { maxBytes: 2 ** 30, maxEntries: 2000, commandTimeout: 250 }

const made = Effect.fnUntraced(function* (sql: SqlClient.SqlClient, given: Partial<Settings> = {}) {
  const prefix = given.prefix ?? newPrefix()
  const index = yield* open(sql, { ...defaults, ...given, prefix })
  const run = (statement: string) =>
    sql.unsafe<Record<string, unknown>>(statement.replaceAll("vectors", `${prefix}_vectors`))
  const turn = Effect.promise(() => new Promise<void>((resolve) => setImmediate(resolve)))
  const quiet = Effect.repeat(turn, { until: () => !index.sweeping })
  return { index, prefix, sql, run, quiet }
})

const inMemory = (given?: Partial<Settings>) => Effect.flatMap(sqlite(":memory:"), (sql) => made(sql, given))
const corrupt = (store: string) =>
  Effect.map(Metric.value(Metrics.cacheCorrupt(store)), (state) => (state as { readonly count: number }).count) // it is a counter of numbers
const advance = (millis: number) => TestClock.adjust(millis)

/** The failure of an index that does not answer, and nothing of what was stored in it. */
const unavailable = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.result(effect), (result) => {
    if (!Result.isFailure(result)) return assert.fail("it fails")
    assert.propertyVal(result.failure, "_tag", "StoreUnavailable")
    assert.notInclude(inspect(result.failure, { depth: 10 }), "secret")
    assert.notInclude(JSON.stringify(result.failure), "secret")
    return result.failure
  })

const everything = (index: Service) => [
  index.nearest("secret", [1, 0], all),
  index.add("secret", of("secret", [1, 0]), "secret"),
  index.remove("secret", "secret"),
  index.clear({ tenant: "secret" }),
  index.clear(),
  index.size
]

describe.each([":memory:", "a file"])("the contract, in SQLite: %s", (where) => {
  for (const { name, run } of VectorIndexContract.cases)
    it.effect(name, () =>
      Effect.gen(function* () {
        yield* TestClock.setTime(start)
        const { index } = yield* made(yield* sqlite(where === ":memory:" ? where : yield* newFile))
        yield* run({ index, advance })
      })
    )
})

describe("in SQLite", () => {
  it.effect("what one process added another one finds, and after a restart", () =>
    Effect.gen(function* () {
      const file = yield* newFile
      const prefix = yield* Effect.scoped(
        Effect.gen(function* () {
          const one = yield* made(yield* sqlite(file))
          const other = yield* made(yield* sqlite(file), { prefix: one.prefix })
          yield* one.index.add("p", of("x", [1, 0]), "a")
          assert.deepStrictEqual(yield* ids(other.index), ["x"])
          yield* other.index.clear({ tenant: "a" })
          assert.deepStrictEqual(yield* ids(one.index), [])
          yield* one.index.add("p", of("kept", [1, 0]), "a")
          return one.prefix
        })
      )
      const again = yield* made(yield* sqlite(file), { prefix })
      assert.deepStrictEqual(yield* ids(again.index), ["kept"])
      assert.isTrue(again.index.external)
    })
  )

  it.effect("finds its rows by indexes", () =>
    Effect.gen(function* () {
      const { prefix, sql } = yield* inMemory()
      const statements = statementsOf(prefix, false)
      const texts = ["page", "text", "remove", "clearTenant", "expire", "shrink", "size", "trim", "add"] as const
      for (const name of texts) {
        const params = new Set(statements[name].match(/\?\d/g)).size
        const plan = yield* sql.unsafe<{ detail: string }>(
          `explain query plan ${statements[name]}`,
          Array.from({ length: params }, () => "1")
        )
        const details = plan.map(({ detail }) => detail)
        for (const scan of details.filter((detail) => detail.startsWith("SCAN")))
          assert.match(scan, /COVERING INDEX|^SCAN (?:\(subq|sums|next|places|CONSTANT|\w+ USING INDEX)/)
        if (name === "page" || name === "add")
          assert.notInclude(details.join(), "TEMP B-TREE", `${name} needs no order of its own`)
      }
    })
  )

  it.effect("finds among pages of vectors what a whole search finds, those that expire last", () =>
    Effect.gen(function* () {
      const { index } = yield* inMemory({ maxEntries: 700 })
      const { around, vectors } = clustered(800, 1536, 20)
      for (const [i, vector] of vectors.entries()) yield* index.add("p", of(`${i}`, vector, 1000 + i), undefined)
      for (let n = 0; n < 5; n++) {
        const query = around(vectors[(n * 171) % 800] ?? [], 0.2)
        const wanted = vectors
          .map((vector, i) => ({ id: `${i}`, similarity: cosine(query, vector) }))
          .slice(100)
          .toSorted((a, b) => b.similarity - a.similarity)
        const found = yield* index.nearest("p", query, { limit: 10, atLeast: 0.1 })
        assert.deepStrictEqual(
          found.map(({ id }) => id),
          wanted.slice(0, 10).map(({ id }) => id)
        )
        for (const [i, match] of found.entries()) assert.closeTo(match.similarity, wanted[i]?.similarity ?? 0, 2e-6)
      }
    })
  )

  it.effect("a row that cannot be read is none, deleted and counted", () =>
    Effect.gen(function* () {
      const { index, run } = yield* inMemory()
      const broken = [
        "vector = x''",
        "vector = x'00'",
        "vector = 'garbage!'",
        "vector = zeroblob(50000000)",
        "vector = x'0000c07f0000c07f'",
        "vector = x'ffff7f7fffff7f7f'",
        "value = ''",
        "value = 'garbage'",
        "value = '[1, 2]'",
        `value = '["x"]'`,
        "value = x'ff00'",
        "value = hex(zeroblob(1000000))"
      ]
      for (const [i, change] of broken.entries()) {
        const before = yield* corrupt("sqlite")
        yield* index.add("p", of("x", [1, 0]), undefined)
        yield* run(`update vectors set ${change}`)
        assert.deepStrictEqual(yield* ids(index), [], change)
        assert.strictEqual(yield* corrupt("sqlite"), before + 1, `${i}: ${change}`)
        assert.deepStrictEqual(yield* run("select 1 from vectors"), [], change)
      }
    })
  )
})

describe("what is indexed, tidied up", () => {
  it.effect("loses what has expired behind a write, and what is too much of a partition", () =>
    Effect.gen(function* () {
      const { index, quiet } = yield* inMemory({ maxEntries: 10 })
      yield* Effect.andThen(index.add("q", of("first", [1, 0]), undefined), quiet)
      for (let i = 0; i < 600; i++) yield* index.add("p", of(`${i}`, [1, i], 1000), undefined)
      for (let i = 0; i < 600; i++) yield* index.add("r", of(`${i}`, [1, i], 900_000 + i), undefined)
      yield* advance(299_999)
      yield* Effect.andThen(index.add("q", of("second", [1, 0]), undefined), quiet)
      assert.strictEqual((yield* index.size).entries, 1202)
      yield* advance(1)
      yield* Effect.andThen(index.add("q", of("third", [1, 0]), undefined), quiet)
      assert.strictEqual((yield* index.size).entries, 13)
      assert.deepStrictEqual(
        yield* ids(index, [1, 0], "r"),
        Array.from({ length: 10 }, (_, i) => `${590 + i}`)
      )
    })
  )

  it.effect("loses what would expire next above its bytes", () =>
    Effect.gen(function* () {
      const { index, quiet } = yield* inMemory({ maxBytes: 1_000_000 })
      for (let n = 0; n < 1000; n++) {
        const i = (n * 171) % 1000
        yield* index.add(
          `${i}`,
          of(
            "x",
            Float32Array.from({ length: 500 }, () => 1),
            10_000 + i
          ),
          undefined
        )
        yield* quiet
        assert.isAtMost((yield* index.size).bytes, 1_000_000 * (1 + 1 / 16) + 5000)
      }
      assert.isAbove((yield* index.size).bytes, 900_000)
      for (let i = 900; i < 1000; i++)
        assert.deepStrictEqual(
          yield* ids(
            index,
            Float32Array.from({ length: 500 }, () => 1),
            `${i}`
          ),
          ["x"]
        )
    })
  )

  it.effect("is cleared in steps, all of it", () =>
    Effect.gen(function* () {
      const { index } = yield* inMemory()
      for (let i = 0; i < 1300; i++) yield* index.add(`${i % 3}`, of(`${i}`, [1, i]), i % 2 === 0 ? "a" : "b")
      yield* index.clear({ tenant: "a" })
      assert.strictEqual((yield* index.size).entries, 650)
      yield* index.clear()
      assert.deepStrictEqual(yield* index.size, { entries: 0, bytes: 0 })
    })
  )
})

describe("a file of SQLite", () => {
  it.effect("that is locked makes an add fail in time, and a search go on", () =>
    Effect.gen(function* () {
      const file = yield* newFile
      const { index } = yield* made(yield* sqlite(file))
      yield* index.add("p", of("old", [1, 0]), undefined)
      const other = yield* sqlite(file)
      const holder = yield* Effect.forkChild(other.withTransaction(Effect.never), { startImmediately: true })
      const add = yield* Effect.forkChild(unavailable(index.add("secret", of("secret", [1, 0]), "secret")))
      for (let i = 0; i < 249; i++) yield* advance(1)
      assert.isUndefined(add.pollUnsafe())
      yield* advance(1)
      assert.propertyVal(yield* Fiber.join(add), "description", "no answer within 250 ms")
      assert.deepStrictEqual(yield* ids(index), ["old"])
      yield* Fiber.interrupt(holder)
      yield* index.add("p", of("new", [1, 0]), undefined)
      assert.deepStrictEqual(yield* ids(index), ["new", "old"])
    })
  )

  it.effect("that was damaged answers with a miss or a failure, never with a defect", () =>
    Effect.gen(function* () {
      const file = yield* newFile
      const prefix = yield* Effect.scoped(
        Effect.gen(function* () {
          const { index, prefix, sql } = yield* made(yield* sqlite(file))
          const { vectors } = clustered(200, 400, 10)
          for (const [i, vector] of vectors.entries()) yield* index.add(`${i % 20}`, of(`${i}`, vector), "secret")
          yield* sql.unsafe("pragma wal_checkpoint(truncate)")
          return prefix
        })
      )
      const descriptor = openSync(file, "r+")
      for (let page = 12; page < 100; page += 2) writeSync(descriptor, Buffer.alloc(4096, page), 0, 4096, page * 4096)
      closeSync(descriptor)
      const { index } = yield* made(yield* sqlite(file), { prefix })
      const query = Float32Array.from({ length: 400 }, () => 1)
      let lost = 0
      for (let i = 0; i < 20; i++) {
        const result = yield* Effect.result(index.nearest(`${i}`, query, all))
        if (Result.isFailure(result)) assert.strictEqual(result.failure._tag, "StoreUnavailable")
        if (Result.isFailure(result) || result.success.length < 10) lost++
      }
      assert.isAbove(lost, 0)
      for (const asked of everything(index)) {
        const result = yield* Effect.result(asked)
        assert.isTrue(Result.isSuccess(result) || result.failure._tag === "StoreUnavailable")
      }
    })
  )

  it.effect("whose table is gone fails", () =>
    Effect.gen(function* () {
      const { index, run } = yield* inMemory()
      yield* run("drop table vectors")
      for (const asked of everything(index)) yield* unavailable(asked)
    })
  )

  it.effect("with a table of a newer version is refused", () =>
    Effect.gen(function* () {
      const { prefix, run, sql } = yield* inMemory()
      yield* run("insert into vectors_migrations (migration_id, name) values (2, 'newer')")
      const failure = yield* unavailable(made(sql, { prefix }))
      assert.propertyVal(failure, "description", "the tables are of version 2, this knows 1: update it")
    })
  )

  it.live("may be made by many at the same time", () =>
    Effect.gen(function* () {
      const file = yield* newFile
      const prefix = newPrefix()
      const clients = yield* Effect.forEach(Array.from({ length: 8 }), () => sqlite(file))
      const indexes = yield* Effect.forEach(clients, (sql) => made(sql, { prefix }), { concurrency: "unbounded" })
      yield* Effect.forEach(indexes, ({ index }, i) => index.add("p", of(`${i}`, [1, i]), undefined))
      for (const { index } of indexes) assert.strictEqual((yield* index.size).entries, 8)
    })
  )
})

describe("options", () => {
  it("that can never work are refused", () => {
    const make = (options: SqlVectorIndex.Options) => () => SqlVectorIndex.make(options)
    assert.throws(make({ prefix: "A" }), RangeError, "SqlVectorIndex.make: prefix must match")
    assert.throws(make({ maxBytes: 0 }), RangeError, "SqlVectorIndex.make: maxBytes must be an integer >= 1, got 0")
    assert.throws(make({ maxEntries: 0.5 }), RangeError, "maxEntries")
    assert.throws(make({ commandTimeout: Infinity }), RangeError, "commandTimeout")
  })

  it.effect("may come from Config", () =>
    Effect.gen(function* () {
      const layerOf = (prefix: string) =>
        SqlVectorIndex.layerConfig({ prefix: Config.String("PREFIX") }).pipe(
          Layer.provide(Layer.effect(SqlClient.SqlClient, sqlite(":memory:"))),
          Layer.provide(ConfigProvider.layer(ConfigProvider.fromUnknown({ PREFIX: prefix })))
        )
      const index: Service = Context.get(yield* Layer.build(layerOf("mine")), VectorIndex)
      yield* index.add("p", of("x", [1, 0]), undefined)
      assert.deepStrictEqual(yield* ids(index), ["x"])
      const refused = yield* Effect.result(Layer.build(layerOf("NOT GOOD")))
      assert.isTrue(Result.isFailure(refused) && refused.failure._tag === "ConfigError")
    })
  )
})

const any = client().pipe(Layer.provideMerge(anyServer))
const inPostgres = (given?: Partial<Settings>) => Effect.flatMap(SqlClient.SqlClient, (sql) => made(sql, given))

describePostgres("the contract, in Postgres", { timeout: 20_000 }, () => {
  it.layer(any)((it) => {
    for (const { name, run } of VectorIndexContract.cases)
      it.effect(name, () =>
        Effect.gen(function* () {
          const { index } = yield* inPostgres()
          yield* run({ index, advance })
        })
      )

    it.effect("keeps within its bounds, with the same rules as SQLite", () =>
      Effect.gen(function* () {
        const { index, quiet } = yield* inPostgres({ maxBytes: 100_000, maxEntries: 20 })
        const now = Date.now()
        for (let n = 0; n < 200; n++) {
          const i = (n * 77) % 200
          const vector = Float32Array.from({ length: 200 }, (_, j) => i + j)
          yield* index.add(`${i % 10}`, of(`${i}`, vector, now + i), undefined)
          yield* quiet
          assert.isAtMost((yield* index.size).bytes, 100_000 * (1 + 1 / 16) + 2000)
        }
        assert.isAbove((yield* index.size).bytes, 80_000)
        yield* index.clear()
        for (let i = 0; i < 50; i++) yield* index.add("p", of(`${10 + i}`, [1, i], now + i), undefined)
        assert.deepStrictEqual(
          yield* ids(index),
          Array.from({ length: 20 }, (_, i) => `${40 + i}`)
        )
        yield* advance(300_000)
        yield* Effect.andThen(index.add("p", of("60", [1, 0]), undefined), quiet)
        assert.strictEqual((yield* index.size).entries, 20)
      })
    )

    it.effect("a row that cannot be read is none, deleted and counted", () =>
      Effect.gen(function* () {
        const { index, run } = yield* inPostgres()
        const before = yield* corrupt("postgres")
        const broken = ["vector = '\\x00'", "vector = '\\x0000c07f0000c07f'", "value = 'garbage'"]
        for (const change of broken) {
          yield* index.add("p", of("x", [1, 0]), undefined)
          yield* run(`update vectors set ${change}`)
          assert.deepStrictEqual(yield* ids(index), [], change)
          assert.strictEqual((yield* index.size).entries, 0, change)
        }
        assert.strictEqual(yield* corrupt("postgres"), before + broken.length)
      })
    )

    it.effect("may be made, cleared and tidied by many at the same time", () =>
      Effect.gen(function* () {
        const prefix = newPrefix()
        const many = yield* Effect.forEach(
          Array.from({ length: 6 }),
          () => inPostgres({ prefix, maxBytes: 200_000, maxEntries: 100, commandTimeout: 10_000 }),
          { concurrency: "unbounded" }
        )
        const use = ({ index }: (typeof many)[number], n: number) =>
          Effect.gen(function* () {
            for (let i = 0; i < 100; i++) {
              const vector = Float32Array.from({ length: 300 }, (_, j) => i + j)
              yield* index.add(`${i % 3}`, of(`${n} ${i}`, vector), i % 2 === 0 ? "a" : "b")
              if (i % 20 === 19) yield* index.clear({ tenant: "b" })
            }
          })
        yield* Effect.forEach(many, use, { concurrency: "unbounded" })
        yield* Effect.forEach(many, ({ quiet }) => quiet)
        const first = many[0] ?? assert.fail()
        assert.isAtMost((yield* first.index.size).bytes, 200_000 * (1 + 6 / 16) + 6 * 3000)
        yield* first.index.clear()
        assert.deepStrictEqual(yield* first.index.size, { entries: 0, bytes: 0 })
      })
    )
  })
})

describeOwnPostgres("a Postgres that is killed", { timeout: 60_000 }, () => {
  it.layer(
    client().pipe(Layer.provideMerge(own)),
    live
  )((it) => {
    it.effect("fails what is asked, in time, and answers again when it is back", () =>
      Effect.gen(function* () {
        const server = yield* PostgresServer
        const { index } = yield* inPostgres()
        yield* index.add("p", of("kept", [1, 0]), undefined)
        yield* server.kill
        for (const asked of everything(index).slice(0, 4)) yield* unavailable(asked)
        yield* server.start
        yield* Effect.repeat(Effect.result(ids(index)), {
          until: Result.isSuccess,
          schedule: Schedule.spaced("50 millis"),
          times: 200
        })
        assert.deepStrictEqual(yield* ids(index), ["kept"])
      })
    )
  })
})
