import { assert, describe, it } from "@effect/vitest"
import { Config, ConfigProvider, Duration, Effect, Fiber, Layer, Result } from "effect"
import { SqlClient } from "effect/sql"
import { TestClock } from "effect/testing"
import type { Line } from "effect-ballast/Ledger"
import { QuotaStoreContract } from "effect-ballast/testing"
import { QuotaStore, type Service } from "effect-ballast/QuotaStore"
import * as SqliteClient from "effect-ballast/SqliteClient"
import * as SqlQuotaStore from "effect-ballast/SqlQuotaStore"
import { answered, bucket, concurrency, money, newFile, of, sqlite, subject, timed, year } from "./support/sql.ts"
import * as fleet from "./support/sqlFleet.ts"

const ttl = Duration.minutes(1)
const day = 86_400_000
const start = Date.UTC(2026, 10, 24, 12, 0, 3, 7)

const inMemory = Effect.flatMap(sqlite(":memory:"), (sql) => timed(sql))
const leftOf = (store: Service, { key, quota }: { readonly key: string; readonly quota: typeof bucket }) =>
  Effect.map(store.read([{ key, quota }]), ([state]) => state?.remaining)

describe.each([":memory:", "a file"])("the contract, in SQLite: %s", (where) => {
  for (const { name, renews, run } of QuotaStoreContract.cases)
    it.effect(name, () =>
      Effect.gen(function* () {
        yield* TestClock.setTime(start)
        const { pass, quiet, store } = yield* timed(yield* sqlite(where === ":memory:" ? where : yield* newFile))
        const inSteps = Effect.fnUntraced(function* (millis: number) {
          for (let left = millis; left > 0; left -= 20_000)
            yield* Effect.andThen(TestClock.adjust(Math.min(left, 20_000)), quiet)
        })
        yield* run({ store, advance: renews ? inSteps : pass })
      })
    )
})

describe("a file that is locked", () => {
  const locked = Effect.gen(function* () {
    const file = yield* newFile
    const one = yield* timed(yield* sqlite(file))
    const other = yield* sqlite(file)
    const release = yield* Effect.forkChild(
      other.withTransaction(Effect.andThen(other`select 1`, Effect.never)).pipe(Effect.ignore),
      { startImmediately: true }
    )
    return { ...one, release: Fiber.interrupt(release) }
  })

  it.effect("makes a reservation fail when its time is over, and keeps no other fiber", () =>
    Effect.gen(function* () {
      const { release, store } = yield* locked
      let ticks = 0
      const ticking = Effect.forever(
        Effect.andThen(
          Effect.sleep("1 millis"),
          Effect.sync(() => ticks++)
        )
      )
      yield* Effect.forkChild(ticking)
      const asked = yield* Effect.forkChild(Effect.result(store.reserve("lease", [of(concurrency)], ttl)))
      for (let i = 0; i < 249; i++) yield* TestClock.adjust(1)
      assert.isUndefined(asked.pollUnsafe())
      assert.strictEqual(ticks, 249)
      yield* TestClock.adjust(1)
      const answer = yield* Fiber.join(asked)
      assert.isTrue(Result.isFailure(answer))
      if (Result.isFailure(answer)) {
        const expected = {
          _tag: "StoreUnavailable",
          store: "sqlite",
          operation: "reserve",
          description: "no answer within 250 ms"
        }
        assert.deepStrictEqual(JSON.parse(JSON.stringify(answer.failure)), expected)
      }
      yield* release
      yield* store.settle("lease", [0])
      assert.strictEqual(yield* leftOf(store, of(concurrency)), 10)
      assert.strictEqual((yield* store.reserve("lease", [of(concurrency)], ttl))._tag, "Denied")
    })
  )

  it.effect("is told a settle later, with its charge", () =>
    Effect.gen(function* () {
      const file = yield* newFile
      const { quiet, store } = yield* timed(yield* sqlite(file))
      yield* store.reserve("lease", [money(5)], ttl)
      const other = yield* sqlite(file)
      const holder = yield* Effect.forkChild(other.withTransaction(Effect.never), { startImmediately: true })
      const settled = yield* Effect.forkChild(store.settle("lease", [3], answered))
      for (let i = 0; i < 250; i++) yield* TestClock.adjust(1)
      yield* Fiber.join(settled)
      assert.strictEqual(store.size.outbox, 1)
      yield* Fiber.interrupt(holder)
      for (let i = 0; i < 50; i++) yield* TestClock.adjust(100)
      yield* quiet
      assert.strictEqual(store.size.outbox, 0)
      assert.deepStrictEqual(idsOf(yield* store.ledger.lines()), ["lease"])
      assert.deepStrictEqual(yield* store.ledger.check, [])
    })
  )

  it.effect("is told when the store closes", () =>
    Effect.gen(function* () {
      const file = yield* newFile
      const prefix = yield* Effect.scoped(
        Effect.gen(function* () {
          const { prefix, store } = yield* timed(yield* sqlite(file))
          yield* store.reserve("lease", [money(5)], ttl)
          const other = yield* sqlite(file)
          const holder = yield* Effect.forkChild(other.withTransaction(Effect.never), { startImmediately: true })
          const settled = yield* Effect.forkChild(store.settle("lease", [3], answered))
          for (let i = 0; i < 250; i++) yield* TestClock.adjust(1)
          yield* Fiber.join(settled)
          yield* Fiber.interrupt(holder)
          return prefix
        })
      )
      const { store } = yield* timed(yield* sqlite(file), { prefix })
      assert.deepStrictEqual(idsOf(yield* store.ledger.lines()), ["lease"])
    })
  )
})

describe("leases", () => {
  it.effect("of one process are renewed by one command, and by none when they are settled", () =>
    Effect.gen(function* () {
      const { count, quiet, store } = yield* inMemory
      const leases = Array.from({ length: 50 }, (_, i) => `${i}`)
      yield* Effect.forEach(leases, (lease) => store.reserve(lease, [of(concurrency, 0)], ttl))
      assert.strictEqual(yield* count("leases", "until = 60000"), 50)
      yield* Effect.andThen(TestClock.adjust(20_000), quiet)
      assert.strictEqual(yield* count("leases", "until = 80000"), 50)
      assert.strictEqual(store.shared.instances(), 1)
      yield* Effect.forEach(leases, (lease) => store.settle(lease, []))
      yield* Effect.andThen(TestClock.adjust(20_000), quiet)
      assert.strictEqual(yield* count("instances", "until > 80000"), 0)
    })
  )

  it.effect("tell how many processes hold any, and forget those that ended", () =>
    Effect.gen(function* () {
      const file = yield* newFile
      const first = yield* timed(yield* sqlite(file))
      const second = yield* timed(yield* sqlite(file), { prefix: first.prefix })
      assert.strictEqual(first.store.shared.name, "sqlite")
      assert.isUndefined(first.store.shared.instances())
      yield* first.store.reserve("first", [of(bucket)], ttl)
      yield* second.store.reserve("second", [of(bucket)], ttl)
      const round = Effect.andThen(TestClock.adjust(20_000), Effect.andThen(first.quiet, second.quiet))
      yield* Effect.andThen(round, round)
      assert.deepStrictEqual([first.store.shared.instances(), second.store.shared.instances()], [2, 2])
      yield* second.store.settle("second", [1])
      for (let i = 0; i < 4; i++) yield* round
      assert.strictEqual(first.store.shared.instances(), 1)
    })
  )

  it.effect("that ended take nothing again when their holder wakes up", () =>
    Effect.gen(function* () {
      const { pass, quiet, store } = yield* inMemory
      yield* store.reserve("stays", [of(concurrency, 1)], Duration.hours(1))
      yield* store.reserve("stopped", [of(concurrency, 9)], ttl)
      yield* pass(Duration.toMillis(ttl))
      assert.strictEqual((yield* store.reserve("next", [of(concurrency, 9)], ttl))._tag, "Granted")
      yield* Effect.andThen(TestClock.adjust(20_000), quiet)
      assert.strictEqual((yield* store.reserve("third", [of(concurrency, 1)], ttl))._tag, "Denied")
      yield* store.settle("stopped", [])
      assert.strictEqual(yield* leftOf(store, of(concurrency)), 0)
      yield* store.settle("next", [])
      assert.strictEqual(yield* leftOf(store, of(concurrency)), 9)
    })
  )

  it.effect("are forgotten when they are denied or settled, or end without an answer", () =>
    Effect.gen(function* () {
      const { store } = yield* inMemory
      yield* store.reserve("denied", [of(concurrency, 11)], ttl)
      assert.strictEqual(store.size.held, 0)
      yield* store.reserve("granted", [of(concurrency)], ttl)
      assert.strictEqual(store.size.held, 1)
      yield* store.settle("granted", [])
      assert.deepStrictEqual(store.size, { held: 0, outbox: 0, running: 0 })
    })
  )

  it.effect("that expire together are seen to a hundred at a time, each as one line", () =>
    Effect.gen(function* () {
      const { count, pass, store } = yield* inMemory
      for (let i = 0; i < 250; i++) yield* store.reserve(`${i}`, [money(1, 1000)], ttl)
      yield* pass(Duration.toMillis(ttl))
      for (const expired of [100, 200, 250]) {
        yield* store.take([])
        assert.strictEqual(yield* count("charges", "outcome = 'expired'"), expired)
      }
      assert.deepStrictEqual(yield* store.ledger.check, [])
    })
  )
})

describe("tables", () => {
  it.effect("are made once by eight that begin at the same time", () =>
    Effect.gen(function* () {
      const file = yield* newFile
      const clients = yield* Effect.forEach(Array(8).keys(), () => sqlite(file))
      const stores = yield* Effect.forEach(clients, (sql) => timed(sql, { prefix: "one" }), {
        concurrency: "unbounded"
      })
      for (const [i, { store }] of stores.entries()) yield* store.take([of(bucket, 1, `${i % 2}`)])
      assert.strictEqual(yield* stores[0]?.count("migrations") ?? Effect.succeed(0), 1)
      assert.strictEqual(yield* stores[0]?.count("accounts") ?? Effect.succeed(0), 2)
    })
  )

  it.effect("of a newer version are refused", () =>
    Effect.gen(function* () {
      const { prefix, sql } = yield* inMemory
      yield* sql.unsafe(`insert into ${prefix}_migrations (migration_id, name) values (7, 'later')`)
      const failure = yield* Effect.flip(timed(sql, { prefix }))
      assert.strictEqual(
        failure.message,
        "Store sqlite is unavailable (start): the tables are of version 7, this knows 1: update it"
      )
    })
  )

  it.effect("let nobody change or delete a line", () =>
    Effect.gen(function* () {
      const { prefix, sql, store } = yield* inMemory
      yield* store.reserve("lease", [money(5)], ttl)
      yield* store.settle("lease", [3], answered)
      for (const statement of [
        `update ${prefix}_charges set amount = 0`,
        `update ${prefix}_charges set outcome = 'saved'`,
        `delete from ${prefix}_charges`,
        `update ${prefix}_postings set amount = 0`,
        `delete from ${prefix}_postings`
      ]) {
        const error = yield* Effect.flip(sql.unsafe(statement))
        assert.match(String(error.reason.cause), /never changed/, statement)
      }
      const [line] = yield* store.ledger.lines()
      assert.deepStrictEqual([line?.amount, line?.postings.length], [3, 1])
    })
  )

  it.effect("give back what is of no use, in passing: counters, marks, and lines that are too old", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(start)
      const { count, quiet, store } = yield* timed(yield* sqlite(":memory:"), { retention: 2 * day })
      const hour = { ...year, startsAt: start, endsAt: start + 3_600_000 }
      for (let i = 0; i < 600; i++) {
        yield* store.reserve(`${i}`, [of(bucket, 1, `${i}`), { ...money(1), quota: hour, key: `${i}` }], ttl)
        yield* store.settle(`${i}`, [0, 1], answered)
      }
      yield* store.reserve("open", [of(concurrency, 3)], Duration.days(30))
      yield* quiet
      const sizes = Effect.all([count("accounts"), count("leases"), count("charges"), count("postings")])
      assert.deepStrictEqual(yield* sizes, [1201, 601, 600, 600])
      yield* TestClock.adjust(day + 1)
      yield* store.take([])
      yield* quiet
      assert.deepStrictEqual(yield* sizes, [1, 1, 600, 600])
      yield* TestClock.adjust(day)
      yield* store.take([])
      yield* quiet
      assert.deepStrictEqual(yield* sizes, [1, 1, 0, 0])
      assert.strictEqual(yield* leftOf(store, of(concurrency)), 7)
    })
  )
})

describe("the ledger", { timeout: 60_000 }, () => {
  it.effect("sums up a million charges to the last nano-USD", () =>
    Effect.gen(function* () {
      const { prefix, sql, store } = yield* inMemory
      const append = (amount: number, id: string): Line => ({
        ...subject,
        ...answered,
        id,
        at: start,
        amount,
        postings: [{ account: "0-9000000000000/all", slot: 0, endsAt: 9_000_000_000_000, amount }]
      })
      const appended = Array.from({ length: 10_000 }, (_, i) => append(9_000_000_000 + (i % 7), `line ${i}`))
      yield* store.ledger.append(appended)
      yield* store.ledger.append(appended.slice(0, 1000))
      // the rest by one statement each, as one by one would take minutes
      yield* sql.unsafe(`insert into ${prefix}_charges (id, at, "call", provider, model, day, prices, amount, outcome)
        with recursive n(i) as (select 10000 union all select i + 1 from n where i < 999999)
        select 'line ' || i, i, 'call', 'p', 'm', '2026-11-29', '1', 9000000000 + i % 7, 'answered' from n`)
      yield* sql.unsafe(`insert into ${prefix}_postings (charge, position, counter, slot, ends_at, amount, own)
        select id, 0, 'W:0-9000000000000/all', 0, 9000000000000, amount, 0 from ${prefix}_charges where at < 1000000`)
      let expected = 0n
      for (let i = 0; i < 1_000_000; i++) expected += BigInt(9_000_000_000 + (i % 7))
      assert.isBelow(Number(expected), Number.MAX_SAFE_INTEGER)
      const [sum] = yield* store.ledger.report({ by: [] })
      assert.deepStrictEqual([sum?.charges, BigInt(sum?.amount ?? 0)], [1_000_000, expected])
      const totals = yield* store.ledger.totals(start)
      assert.deepStrictEqual(totals, [
        { account: "0-9000000000000/all", slot: 0, endsAt: 9_000_000_000_000, amount: Number(expected) }
      ])
      const days = yield* store.ledger.report({ by: ["day"] })
      assert.deepStrictEqual(
        days.map(({ charges, day }) => [day, charges]),
        [
          ["2026-11-29", 990_000],
          ["2026-11-28", 10_000]
        ]
      )
    })
  )

  it.effect("keeps the lines of another store, once, and does not compare them with its own counters", () =>
    Effect.gen(function* () {
      const { store } = yield* inMemory
      const names = ["1-2/a", "10000*6/b", "1-2/\0\ud800\\ä😀", `1-2/${"x".repeat(10_000)}`]
      const line: Line = {
        ...subject,
        tenant: "\0\\ud800 \udc00ä",
        outcome: "adjusted",
        note: "by hand",
        id: "a",
        at: 5,
        amount: -7,
        postings: names.map((account, i) => ({ account, slot: i, endsAt: 1000 + i, amount: i }))
      }
      yield* store.ledger.append([line, line])
      yield* store.ledger.append([{ ...line, amount: 9 }])
      assert.deepStrictEqual(yield* store.ledger.lines(), [line])
      const totals = yield* store.ledger.totals(1000)
      assert.deepStrictEqual(totals.map(({ account }) => account).sort(), names.slice(1).sort())
      assert.deepStrictEqual(yield* store.ledger.check, [])
      yield* store.ledger.forget("\0\\ud800 \udc00ä")
      const [forgotten] = yield* store.ledger.lines()
      assert.isUndefined(forgotten?.tenant)
      assert.deepStrictEqual(forgotten?.postings, line.postings)
    })
  )

  it.effect("shows at most a thousand lines", () =>
    Effect.gen(function* () {
      const { store } = yield* inMemory
      const line = (i: number): Line => ({ ...subject, ...answered, id: `${i}`, at: i, amount: 1, postings: [] })
      yield* store.ledger.append(Array.from({ length: 1001 }, (_, i) => line(i)))
      assert.strictEqual((yield* store.ledger.lines(5000)).length, 1000)
      assert.strictEqual((yield* store.ledger.lines()).length, 100)
      assert.deepStrictEqual(yield* store.ledger.lines(0), [])
    })
  )
})

describe("processes on one file", { timeout: 60_000 }, () => {
  it.live("never spend more than a window holds, and every charge is counted once", () =>
    Effect.gen(function* () {
      const file = yield* newFile
      const { run } = yield* fleet.make(4, file, "fleet")
      const reports = yield* run({ fibers: 8, limit: 2000 })
      const { store } = yield* timed(yield* sqlite(file, { lockTimeout: "10 seconds" }), { prefix: "fleet" })
      yield* fleet.agrees(store, reports, 2000)
    })
  )

  it.live("lose no settled charge when one of them is killed, and charge what it held", () =>
    Effect.gen(function* () {
      const file = yield* newFile
      const { workers } = yield* fleet.make(2, file, "fleet")
      for (const worker of workers) worker.begin({ fibers: 8, limit: 1e9 })
      yield* Effect.promise(() => Promise.all(workers.map((worker) => worker.killAfter(100))))
      const one = yield* timed(yield* sqlite(file), { prefix: "fleet", commandTimeout: 10_000 })
      yield* fleet.survives(
        one,
        workers.flatMap(({ settled }) => settled)
      )
    })
  )
})

describe("the options", () => {
  it("that can never work are refused when the store is made", () => {
    for (const prefix of ["", "A", "a-b", "1a", "a;", `a${"b".repeat(40)}`])
      assert.throws(() => SqlQuotaStore.layer({ prefix }), /^SqlQuotaStore.make: prefix must match/)
    for (const commandTimeout of [0, -1, Number.NaN, Infinity])
      assert.throws(() => SqlQuotaStore.layer({ commandTimeout }), /^SqlQuotaStore.make: commandTimeout must be/)
    for (const retention of [0, "1 hour", "101 years", Infinity] as const)
      assert.throws(
        () => SqlQuotaStore.layer({ retention: retention === "101 years" ? 101 * 366 * day : retention }),
        /retention/
      )
  })

  it.effect("may come from a Config, where they are a ConfigError", () =>
    Effect.gen(function* () {
      const env = ConfigProvider.layer(ConfigProvider.fromEnv({ env: { PREFIX: "Quotas" } }))
      const layer = SqlQuotaStore.layerConfig({ prefix: Config.String("PREFIX") })
      const client = SqliteClient.layer({ filename: ":memory:" })
      const failure = yield* Effect.flip(Layer.build(layer.pipe(Layer.provide([env, client]))))
      assert.match(String(failure), /prefix must match/)
    })
  )

  it.effect("name the tables", () =>
    Effect.gen(function* () {
      const store = yield* QuotaStore
      yield* store.take([of(bucket)])
      const sql = yield* SqlClient.SqlClient
      assert.strictEqual((yield* sql`select * from mine_accounts`).length, 1)
    }).pipe(
      Effect.provide(
        SqlQuotaStore.layer({ prefix: "mine" }).pipe(Layer.provideMerge(SqliteClient.layer({ filename: ":memory:" })))
      )
    )
  )
})

const idsOf = (lines: ReadonlyArray<Line>): ReadonlyArray<string> => lines.map(({ id }) => id)
