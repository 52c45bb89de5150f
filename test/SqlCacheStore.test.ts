import { closeSync, openSync, writeSync } from "node:fs"
import { DatabaseSync } from "node:sqlite"
import { inspect } from "node:util"
import { assert, describe, it } from "@effect/vitest"
import { Clock, Config, ConfigProvider, Context, Effect, Fiber, Layer, Metric, Result, Schedule } from "effect"
import { SqlClient } from "effect/sql"
import { TestClock } from "effect/testing"
import { CacheStoreContract } from "effect-ballast/testing"
import { CacheStore, type NewEntry, type Service } from "effect-ballast/CacheStore"
import * as Metrics from "effect-ballast/Metrics"
import * as SqlCacheStore from "effect-ballast/SqlCacheStore"
import { open, type Settings } from "../src/internal/sqlCacheStore.ts"
import { statementsOf } from "../src/internal/sqlCacheTables.ts"
import { anyServer, client, describeOwnPostgres, describePostgres, own, PostgresServer } from "./support/postgres.ts"
import { newFile, newPrefix, sqlite } from "./support/sql.ts"

const start = Date.UTC(2026, 10, 24, 12, 0, 3, 7)
const forever = { createdAt: 0, expiresAt: Number.MAX_SAFE_INTEGER }
const of = (value: unknown): NewEntry => ({ ...forever, value })
const mebibyte = 2 ** 20

/** Tests of processes and connections run in real time. */
const live = { excludeTestServices: true }

const defaults = { maxBytes: 2 ** 30, maxEntryBytes: mebibyte, commandTimeout: 250, compress: false }

const made = Effect.fnUntraced(function* (sql: SqlClient.SqlClient, given: Partial<Settings> = {}) {
  const prefix = given.prefix ?? newPrefix()
  const store = yield* open(sql, { ...defaults, ...given, prefix })
  const texts = (statement: string) =>
    sql.unsafe<Record<string, unknown>>(statement.replaceAll("cache", `${prefix}_cache`))
  const turn = Effect.promise(() => new Promise<void>((resolve) => setImmediate(resolve)))
  const quiet = Effect.repeat(turn, { until: () => !store.sweeping })
  return { store, prefix, sql, run: texts, quiet }
})

const inMemory = (given?: Partial<Settings>) => Effect.flatMap(sqlite(":memory:"), (sql) => made(sql, given))
const corrupt = (store: string) =>
  Effect.map(Metric.value(Metrics.cacheCorrupt(store)), (state) => (state as { readonly count: number }).count) // it is a counter of numbers
const advance = (millis: number) => TestClock.adjust(millis)

/** The only failure there is, and nothing of what was stored in it. */
const unavailable = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.result(effect), (result) => {
    assert.isTrue(Result.isFailure(result), "it fails")
    if (!Result.isFailure(result)) return undefined
    assert.propertyVal(result.failure, "_tag", "StoreUnavailable")
    assert.notInclude(inspect(result.failure, { depth: 10 }), "secret")
    assert.notInclude(JSON.stringify(result.failure), "secret")
    return result.failure
  })

describe.each([":memory:", "a file"])("the contract, in SQLite: %s", (where) => {
  describe.each([false, true])("compressed: %s", (compress) => {
    for (const { name, run } of CacheStoreContract.cases)
      it.effect(name, () =>
        Effect.gen(function* () {
          yield* TestClock.setTime(start)
          const { store } = yield* made(yield* sqlite(where === ":memory:" ? where : yield* newFile), { compress })
          yield* run({ store, advance })
        })
      )
  })
})

describe("in SQLite", () => {
  it.effect("what one process stored another one finds, and after a restart", () =>
    Effect.gen(function* () {
      const file = yield* newFile
      const prefix = yield* Effect.scoped(
        Effect.gen(function* () {
          const one = yield* made(yield* sqlite(file))
          const other = yield* made(yield* sqlite(file), { prefix: one.prefix })
          yield* one.store.set("key", of("found"), "a")
          assert.strictEqual((yield* other.store.get("key", "a"))?.value, "found")
          yield* other.store.clear({ partition: "a" })
          assert.isUndefined(yield* one.store.get("key", "a"))
          yield* one.store.set("key", of("kept"), "a")
          return one.prefix
        })
      )
      const again = yield* made(yield* sqlite(file), { prefix })
      assert.strictEqual((yield* again.store.get("key", "a"))?.value, "kept")
      assert.isTrue(again.store.external)
    })
  )

  it.effect("finds its rows by indexes", () =>
    Effect.gen(function* () {
      const { prefix, sql } = yield* inMemory()
      const statements = statementsOf(prefix, false)
      for (const name of ["get", "delete", "clearPartition", "expire", "shrink", "size"] as const) {
        const plan = yield* sql.unsafe<{ detail: string }>(
          `explain query plan ${statements[name]}`,
          ["1", "1", "1"].slice(0, new Set(statements[name].match(/\?\d/g)).size)
        )
        const scans = plan.map(({ detail }) => detail).filter((detail) => detail.startsWith("SCAN"))
        for (const scan of scans)
          assert.match(scan, name === "size" ? /USING COVERING INDEX/ : /^SCAN (?:\(subq|sums|next|\w+ USING INDEX)/)
      }
    })
  )
})

describe("what is stored", () => {
  it.effect("is compressed where that is shorter, and read by who does not compress", () =>
    Effect.gen(function* () {
      const { prefix, run, sql, store } = yield* inMemory({ compress: true })
      const random = Array.from({ length: 2000 }, (_, i) => String.fromCharCode(33 + ((i * i * 7919) % 90))).join("")
      yield* store.set("long", of("same ".repeat(10_000)), undefined)
      yield* store.set("short", of("short"), undefined)
      const rows = yield* run(
        "select substr(value, 1, 4) as head, octet_length(value) as bytes from cache order by bytes"
      )
      assert.deepStrictEqual(
        rows.map(({ head }) => head),
        ["b1 j", "b1 z"]
      )
      assert.isBelow(Number(rows[1]?.["bytes"]), 1000)
      yield* store.set("random", of(random), undefined)
      const { store: plain } = yield* made(sql, { prefix })
      assert.strictEqual((yield* plain.get("long", undefined))?.value, "same ".repeat(10_000))
      assert.strictEqual((yield* plain.get("random", undefined))?.value, random)
    })
  )

  it.effect("is what fits `maxEntryBytes` to the byte, as UTF-8", () =>
    Effect.gen(function* () {
      const { store } = yield* inMemory({ maxEntryBytes: 1000 })
      yield* store.set("fits", of("é".repeat(499)), undefined)
      assert.isDefined(yield* store.get("fits", undefined))
      yield* store.set("more", of(`${"é".repeat(499)}x`), undefined)
      assert.isUndefined(yield* store.get("more", undefined))
    })
  )

  it.effect("is a miss, deleted and counted where it cannot be read", () =>
    Effect.gen(function* () {
      const { run, store } = yield* inMemory()
      const zipped = (text: string) => `b1 z 0 9007199254740991 ${text}`
      const broken: ReadonlyArray<string> = [
        "",
        "garbage",
        "b1",
        "b1 ",
        "b0 j 0 9007199254740991 1",
        "b1 j 0 9007199254740991 ",
        "b1 j 0 9007199254740991 {",
        "b1 j x 9007199254740991 1",
        "b1 k 0 9007199254740991 1",
        zipped("garbage"),
        zipped("H4sIAAAAAAAAAwMAAAAAAAAAAAA="),
        `b1 j 0 9007199254740991 "${"x".repeat(mebibyte + 100)}"`,
        "x".repeat(2 * mebibyte)
      ]
      const before = yield* corrupt("sqlite")
      for (const [i, text] of broken.entries()) {
        yield* store.set("key", of(1), undefined)
        yield* run(`update cache set value = '${text}'`)
        assert.isTrue((yield* store.get("key", undefined)) === undefined, text.slice(0, 50))
        assert.strictEqual(yield* corrupt("sqlite"), before + i + 1, text.slice(0, 50))
        assert.deepStrictEqual(yield* run("select 1 from cache"), [])
      }
      yield* store.set("key", of(1), undefined)
      yield* run(`update cache set value = x'ff00ff'`)
      assert.isUndefined(yield* store.get("key", undefined))
      assert.deepStrictEqual(yield* run("select 1 from cache"), [])
    })
  )

  it.effect("is never unpacked to more than an entry may be", () =>
    Effect.gen(function* () {
      const { prefix, sql, store } = yield* inMemory({ compress: true, maxEntryBytes: 100 * mebibyte })
      yield* store.set("key", of("x".repeat(50 * mebibyte)), undefined)
      const { store: smaller } = yield* made(sql, { prefix })
      assert.isUndefined(yield* smaller.get("key", undefined))
      assert.deepStrictEqual((yield* store.size).entries, 0)
    })
  )

  it.effect("by a newer version is a miss and left alone, however long it is", () =>
    Effect.gen(function* () {
      const { run, store } = yield* inMemory()
      const before = yield* corrupt("sqlite")
      for (const text of ["b2 anything", `b10 ${"x".repeat(2 * mebibyte)}`]) {
        yield* store.set("key", of(1), undefined)
        yield* run(`update cache set value = '${text}'`)
        assert.isUndefined(yield* store.get("key", undefined))
        assert.deepStrictEqual(yield* run("select 1 as n from cache"), [{ n: 1 }])
      }
      assert.strictEqual(yield* corrupt("sqlite"), before)
    })
  )

  it.effect("is not 50 MB, and reading as much is neither an error nor a wait", () =>
    Effect.gen(function* () {
      const { run, store } = yield* inMemory()
      yield* store.set("key", of("x".repeat(50 * mebibyte)), undefined)
      assert.isUndefined(yield* store.get("key", undefined))
      yield* store.set("key", of(1), undefined)
      yield* run(`update cache set value = 'b1 j 0 9007199254740991 ' || hex(zeroblob(${25 * mebibyte}))`)
      assert.isUndefined(yield* store.get("key", undefined))
      assert.strictEqual((yield* store.size).entries, 0)
    })
  )
})

describe("what is stored, tidied up", () => {
  it.effect("loses what has expired behind a write, five minutes after the last time", () =>
    Effect.gen(function* () {
      const { quiet, store } = yield* inMemory()
      const put = (key: string, expiresAt: number) => store.set(key, { value: 1, createdAt: 0, expiresAt }, undefined)
      yield* Effect.andThen(put("first", Number.MAX_SAFE_INTEGER), quiet)
      for (let i = 0; i < 1200; i++) yield* put(`${i}`, 1000)
      yield* advance(299_999)
      yield* Effect.andThen(put("second", Number.MAX_SAFE_INTEGER), quiet)
      assert.strictEqual((yield* store.size).entries, 1202)
      yield* advance(1)
      yield* Effect.andThen(put("third", Number.MAX_SAFE_INTEGER), quiet)
      assert.strictEqual((yield* store.size).entries, 3)
    })
  )

  it.effect("loses what has expired behind the first write of a process", () =>
    Effect.gen(function* () {
      const { prefix, sql, store } = yield* inMemory()
      yield* store.set("key", { value: 1, createdAt: 0, expiresAt: 1000 }, undefined)
      yield* advance(1000)
      const another = yield* made(sql, { prefix })
      yield* Effect.andThen(another.store.set("new", of(1), undefined), another.quiet)
      assert.strictEqual((yield* store.size).entries, 1)
    })
  )

  const orders = { "in any order": (n: number) => (n * 1709) % 3000, "the last ones first": (n: number) => 2999 - n }

  it.effect.each(Object.entries(orders))("loses what would expire next above its bytes, and no more: %s", ([, at]) =>
    Effect.gen(function* () {
      const { quiet, store } = yield* inMemory({ maxBytes: 1_000_000 })
      for (let n = 0; n < 3000; n++) {
        const i = at(n)
        yield* store.set(`${i}`, { value: "x".repeat(1000), createdAt: 0, expiresAt: 10_000 + i }, undefined)
        if (i % 10 === 0) yield* quiet
        assert.isAtMost((yield* store.size).bytes, 1_000_000 * (1 + 1 / 16) + 20_000)
      }
      yield* quiet
      const { bytes } = yield* store.size
      assert.isAbove(bytes, 900_000)
      for (let i = 2500; i < 3000; i++) assert.isTrue((yield* store.get(`${i}`, undefined)) !== undefined, `${i}`)
      assert.isTrue((yield* store.get("1000", undefined)) === undefined)
    })
  )

  it.effect("is counted with all of its bytes", () =>
    Effect.gen(function* () {
      const { run, store } = yield* inMemory()
      yield* store.set("key", of("é".repeat(1000)), "partition")
      const [row] = yield* run(
        "select octet_length(value) + octet_length(id) + octet_length(partition_id) as n from cache"
      )
      assert.deepStrictEqual(yield* store.size, { entries: 1, bytes: Number(row?.["n"]) + 100 })
    })
  )

  it.effect("is cleared in steps, all of it", () =>
    Effect.gen(function* () {
      const { store } = yield* inMemory()
      for (let i = 0; i < 1700; i++) yield* store.set(`${i}`, of(1), i % 2 === 0 ? "a" : "b")
      yield* store.clear({ partition: "a" })
      assert.strictEqual((yield* store.size).entries, 850)
      yield* store.clear()
      assert.strictEqual((yield* store.size).entries, 0)
    })
  )
})

describe("a file of SQLite", () => {
  it.effect("that is locked makes a set fail in time, and a get go on", () =>
    Effect.gen(function* () {
      const file = yield* newFile
      const { store } = yield* made(yield* sqlite(file))
      yield* store.set("key", of("old"), undefined)
      const other = yield* sqlite(file)
      const holder = yield* Effect.forkChild(other.withTransaction(Effect.never), { startImmediately: true })
      const set = yield* Effect.forkChild(unavailable(store.set("key", of("secret"), "secret")))
      for (let i = 0; i < 249; i++) yield* advance(1)
      assert.isUndefined(set.pollUnsafe())
      yield* advance(1)
      assert.propertyVal(yield* Fiber.join(set), "description", "no answer within 250 ms")
      assert.strictEqual((yield* store.get("key", undefined))?.value, "old")
      yield* Fiber.interrupt(holder)
      yield* store.set("key", of("new"), undefined)
      assert.strictEqual((yield* store.get("key", undefined))?.value, "new")
    })
  )

  it.effect("that is full refuses more, and keeps answering", () =>
    Effect.gen(function* () {
      const { run, sql, store } = yield* Effect.flatMap(newFile, (file) => Effect.flatMap(sqlite(file), made))
      yield* store.set("key", of("old"), undefined)
      const [pages] = yield* run("pragma page_count")
      yield* sql.unsafe(`pragma max_page_count = ${Number(pages?.["page_count"]) + 4}`)
      const filled = Effect.forEach(Array.from({ length: 50 }), (_, i) =>
        store.set(`secret ${i}`, of("secret".repeat(1000)), undefined)
      )
      yield* unavailable(filled)
      assert.strictEqual((yield* store.get("key", undefined))?.value, "old")
      yield* store.clear()
      yield* store.set("key", of("new"), undefined)
      assert.strictEqual((yield* store.get("key", undefined))?.value, "new")
    })
  )

  it.effect("that was damaged answers with a miss or a failure, never with a defect", () =>
    Effect.gen(function* () {
      const file = yield* newFile
      const prefix = yield* Effect.scoped(
        Effect.gen(function* () {
          const { prefix, sql, store } = yield* made(yield* sqlite(file))
          for (let i = 0; i < 200; i++) yield* store.set(`${i}`, of("secret".repeat(300)), undefined)
          yield* sql.unsafe("pragma wal_checkpoint(truncate)")
          return prefix
        })
      )
      const descriptor = openSync(file, "r+")
      for (let page = 8; page < 60; page += 2) writeSync(descriptor, Buffer.alloc(4096, page), 0, 4096, page * 4096)
      closeSync(descriptor)
      const asked = Effect.gen(function* () {
        const { store } = yield* made(yield* sqlite(file), { prefix })
        const counts = { found: 0, missed: 0, failed: 0 }
        for (let i = 0; i < 200; i++) {
          const result = yield* Effect.result(store.get(`${i}`, undefined))
          if (Result.isFailure(result)) {
            assert.strictEqual(result.failure._tag, "StoreUnavailable")
            counts.failed++
          } else counts[result.success === undefined ? "missed" : "found"]++
        }
        yield* Effect.result(store.set("key", of(1), undefined))
        yield* Effect.result(store.clear())
        return counts
      })
      const counts = yield* asked
      assert.isAbove(counts.failed + counts.missed, 0)
    })
  )

  it.effect("whose table is gone fails", () =>
    Effect.gen(function* () {
      const { run, store } = yield* inMemory()
      yield* run("drop table cache")
      for (const asked of [store.get("secret", "secret"), store.set("secret", of("secret"), "secret"), store.clear()])
        yield* unavailable(asked)
      yield* unavailable(store.size)
    })
  )

  it.effect("with a table of a newer version is refused", () =>
    Effect.gen(function* () {
      const { prefix, run, sql } = yield* inMemory()
      yield* run("insert into cache_migrations (migration_id, name) values (2, 'newer')")
      const failure = yield* unavailable(made(sql, { prefix }))
      assert.propertyVal(failure, "description", "the tables are of version 2, this knows 1: update it")
    })
  )

  it.live("may be made by many at the same time", () =>
    Effect.gen(function* () {
      const file = yield* newFile
      const prefix = newPrefix()
      const clients = yield* Effect.forEach(Array.from({ length: 8 }), () => sqlite(file))
      const stores = yield* Effect.forEach(clients, (sql) => made(sql, { prefix }), { concurrency: "unbounded" })
      yield* Effect.forEach(stores, ({ store }, i) => store.set(`${i}`, of(i), undefined))
      for (const { store } of stores) assert.strictEqual((yield* store.size).entries, 8)
    })
  )
})

describe("options", () => {
  it("that can never work are refused", () => {
    const make = (options: SqlCacheStore.Options) => () => SqlCacheStore.make(options)
    assert.throws(make({ prefix: "A" }), RangeError, "SqlCacheStore.make: prefix must match")
    assert.throws(make({ maxBytes: 0 }), RangeError, "SqlCacheStore.make: maxBytes must be an integer >= 1, got 0")
    assert.throws(make({ maxEntryBytes: 0.5 }), RangeError, "maxEntryBytes")
    assert.throws(make({ commandTimeout: Infinity }), RangeError, "commandTimeout")
  })

  it.effect("may come from Config", () =>
    Effect.gen(function* () {
      const layerOf = (prefix: string) =>
        SqlCacheStore.layerConfig({ prefix: Config.String("PREFIX"), compress: true }).pipe(
          Layer.provide(Layer.effect(SqlClient.SqlClient, sqlite(":memory:"))),
          Layer.provide(ConfigProvider.layer(ConfigProvider.fromUnknown({ PREFIX: prefix })))
        )
      const store: Service = Context.get(yield* Layer.build(layerOf("mine")), CacheStore)
      yield* store.set("key", of(1), undefined)
      assert.strictEqual((yield* store.get("key", undefined))?.value, 1)
      const refused = yield* Effect.result(Layer.build(layerOf("NOT GOOD")))
      assert.isTrue(Result.isFailure(refused) && refused.failure._tag === "ConfigError")
    })
  )
})

const any = client().pipe(Layer.provideMerge(anyServer))
const inPostgres = (given?: Partial<Settings>) => Effect.flatMap(SqlClient.SqlClient, (sql) => made(sql, given))

describePostgres("the contract, in Postgres", { timeout: 20_000 }, () => {
  it.layer(any)((it) => {
    for (const { name, run } of CacheStoreContract.cases)
      it.effect(name, () =>
        Effect.gen(function* () {
          const { store } = yield* inPostgres({ compress: name.includes("every kind") })
          yield* run({ store, advance })
        })
      )

    it.effect("keeps within its bytes, with the same rules as SQLite", () =>
      Effect.gen(function* () {
        const { quiet, store } = yield* inPostgres({ maxBytes: 100_000 })
        const now = yield* Clock.currentTimeMillis
        for (let n = 0; n < 300; n++) {
          const i = (n * 77) % 300
          yield* store.set(`${i}`, { value: "x".repeat(1000), createdAt: 0, expiresAt: now + 10_000 + i }, undefined)
          yield* quiet
          assert.isAtMost((yield* store.size).bytes, 100_000 * (1 + 1 / 16) + 2000)
        }
        assert.isAbove((yield* store.size).bytes, 90_000)
        for (let i = 250; i < 300; i++) assert.isDefined(yield* store.get(`${i}`, undefined))
        yield* advance(300_000)
        yield* Effect.andThen(store.set("new", of(1), undefined), quiet)
        assert.strictEqual((yield* store.size).entries, 1)
      })
    )

    it.effect("is a miss, deleted and counted where it cannot be read, and left alone where it is newer", () =>
      Effect.gen(function* () {
        const { run, store } = yield* inPostgres()
        const before = yield* corrupt("postgres")
        for (const text of ["'garbage'", `repeat('x', ${50 * mebibyte})`, "'b1 j 0 1 {'"]) {
          yield* store.set("key", of(1), undefined)
          yield* run(`update cache set value = ${text}`)
          assert.isUndefined(yield* store.get("key", undefined))
          assert.strictEqual((yield* store.size).entries, 0)
        }
        assert.strictEqual(yield* corrupt("postgres"), before + 3)
        yield* store.set("key", of(1), undefined)
        yield* run(`update cache set value = 'b2 ' || repeat('x', ${2 * mebibyte})`)
        assert.isUndefined(yield* store.get("key", undefined))
        assert.strictEqual((yield* store.size).entries, 1)
      })
    )

    it.effect("may be made, cleared and tidied by many at the same time", () =>
      Effect.gen(function* () {
        const prefix = newPrefix()
        const stores = yield* Effect.forEach(
          Array.from({ length: 6 }),
          () => inPostgres({ prefix, maxBytes: 200_000, commandTimeout: 10_000 }),
          { concurrency: "unbounded" }
        )
        const use = ({ store }: (typeof stores)[number], n: number) =>
          Effect.gen(function* () {
            for (let i = 0; i < 100; i++) {
              yield* store.set(`${n} ${i}`, of("x".repeat(2000)), i % 2 === 0 ? "a" : "b")
              if (i % 20 === 19) yield* store.clear({ partition: "b" })
            }
          })
        yield* Effect.forEach(stores, use, { concurrency: "unbounded" })
        yield* Effect.forEach(stores, ({ quiet }) => quiet)
        const first = stores[0] ?? assert.fail()
        assert.isAtMost((yield* first.store.size).bytes, 200_000 * (1 + 6 / 16) + 6 * 3000)
        yield* first.store.clear()
        assert.deepStrictEqual(yield* first.store.size, { entries: 0, bytes: 0 })
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
        const { store } = yield* inPostgres()
        yield* store.set("key", of("kept"), undefined)
        yield* server.kill
        for (const asked of [store.get("key", "secret"), store.set("key", of("secret"), "secret"), store.clear()])
          yield* unavailable(asked)
        yield* server.start
        const back = Effect.repeat(Effect.result(store.get("key", undefined)), {
          until: Result.isSuccess,
          schedule: Schedule.spaced("50 millis"),
          times: 200
        })
        yield* back
        assert.strictEqual((yield* store.get("key", undefined))?.value, "kept")
      })
    )
  })
})

describe("a file that is no database", () => {
  it.effect("is refused when it is opened", () =>
    Effect.gen(function* () {
      const file = yield* newFile
      const descriptor = openSync(file, "w")
      writeSync(descriptor, "garbage ".repeat(1000))
      closeSync(descriptor)
      assert.throws(() => new DatabaseSync(file).exec("select * from sqlite_master"))
      const result = yield* Effect.result(Effect.flatMap(sqlite(file), (sql) => made(sql)))
      assert.isTrue(Result.isFailure(result) && result.failure._tag === "SqlError")
    })
  )
})
