import { inspect } from "node:util"
import { assert, describe, it } from "@effect/vitest"
import { Context, Duration, Effect, Fiber, Latch, Layer, Redacted, Result, Schedule } from "effect"
import { PgClient } from "@effect/sql-pg"
import { SqlClient, SqlError } from "effect/sql"
import { TestClock } from "effect/testing"
import { QuotaStoreContract } from "effect-ballast/testing"
import type { Entry, Quota, Service } from "effect-ballast/QuotaStore"
import { Again, Commands } from "../src/internal/sqlCommands.ts"
import { anyServer, client, describeOwnPostgres, describePostgres, own, PostgresServer } from "./support/postgres.ts"
import { answered, bucket, concurrency, money, newPrefix, of, subject, timed, year } from "./support/sql.ts"
import * as fleet from "./support/sqlFleet.ts"

const ttl = Duration.minutes(1)
const third = Duration.toMillis(ttl) / 3

/** Tests of processes and connections run in real time. */
const live = { excludeTestServices: true }

const any = client().pipe(Layer.provideMerge(anyServer))

const made = (given?: Parameters<typeof timed>[1]) => Effect.flatMap(SqlClient.SqlClient, (sql) => timed(sql, given))

/** A pool of its own on the same server. */
const pool = (options?: Parameters<typeof client>[0]) =>
  Effect.map(Layer.build(Layer.fresh(client(options))), (services) => Context.get(services, SqlClient.SqlClient))

const leftOf = (store: Service, { key, quota }: Pick<Entry, "key" | "quota">) =>
  Effect.map(store.read([{ key, quota }]), ([state]) => state?.remaining)

const eventually = <A, E, R>(effect: Effect.Effect<A, E, R>, until: (a: A) => boolean) =>
  Effect.repeat(effect, { until, schedule: Schedule.spaced("20 millis"), times: 500 })

describePostgres("the contract, in Postgres", { timeout: 20_000 }, () => {
  it.layer(any)((it) => {
    for (const { name, renews, run } of QuotaStoreContract.cases)
      it.effect(name, () =>
        Effect.gen(function* () {
          const { pass, quiet, store } = yield* made()
          const renewAndPass = (millis: number) =>
            Effect.andThen(Effect.andThen(TestClock.adjust(millis), quiet), pass(millis))
          const inSteps = Effect.fnUntraced(function* (millis: number) {
            for (let left = millis; left > 0; left -= third) yield* renewAndPass(Math.min(left, third))
          })
          yield* run({ store, advance: renews ? inSteps : pass })
        })
      )
  })
})

describePostgres("leases", () => {
  it.layer(any)((it) => {
    it.effect("tell how many processes hold any, once they are renewed, and forget those that ended", () =>
      Effect.gen(function* () {
        const first = yield* made()
        const second = yield* made({ prefix: first.prefix })
        assert.strictEqual(first.store.shared.name, "postgres")
        assert.isUndefined(first.store.shared.instances())
        yield* first.store.reserve("first", [of(bucket)], ttl)
        yield* second.store.reserve("second", [of(bucket)], ttl)
        const round = Effect.andThen(TestClock.adjust(third), Effect.andThen(first.quiet, second.quiet))
        yield* Effect.andThen(round, round)
        assert.deepStrictEqual([first.store.shared.instances(), second.store.shared.instances()], [2, 2])
        yield* second.store.settle("second", [1])
        yield* first.pass(Duration.toMillis(ttl))
        yield* round
        assert.strictEqual(first.store.shared.instances(), 1)
      })
    )

    it.effect("that expire are seen to by one of many that ask at the same time", () =>
      Effect.gen(function* () {
        const { count, pass, store } = yield* made({ commandTimeout: 10_000 })
        for (let i = 0; i < 20; i++) yield* store.reserve(`${i}`, [money(1, 1000), of(concurrency, 0)], ttl)
        yield* pass(Duration.toMillis(ttl))
        const takes = Array.from({ length: 20 }, () => store.take([of(bucket, 0)]))
        yield* Effect.all(takes, { concurrency: "unbounded" })
        assert.strictEqual(yield* count("charges", "outcome = 'expired'"), 20)
        assert.deepStrictEqual(yield* store.ledger.check, [])
      })
    )
  })
})

describePostgres("tables", () => {
  it.layer(any)((it) => {
    it.effect("are made once by eight that begin at the same time", () =>
      Effect.gen(function* () {
        const prefix = newPrefix()
        const clients = yield* Effect.forEach(Array(8).keys(), () => pool())
        const stores = yield* Effect.forEach(clients, (sql) => timed(sql, { prefix }), { concurrency: "unbounded" })
        for (const { store } of stores) yield* store.take([of(bucket)])
        const { count, store } = yield* made({ prefix })
        assert.strictEqual(yield* count("migrations"), 1)
        assert.strictEqual(yield* leftOf(store, of(bucket)), 2)
      })
    )

    it.effect("of a newer version are refused", () =>
      Effect.gen(function* () {
        const { prefix, sql } = yield* made()
        yield* sql.unsafe(`insert into ${prefix}_migrations (migration_id, name) values (7, 'later')`)
        const { message } = yield* Effect.flip(made({ prefix }))
        assert.match(message, /^Store postgres is unavailable \(start\): the tables are of version 7/)
      })
    )

    it.effect("let nobody change or delete a line", () =>
      Effect.gen(function* () {
        const { prefix, sql, store } = yield* made()
        yield* store.reserve("lease", [money(5)], ttl)
        yield* store.settle("lease", [3], answered)
        for (const statement of [
          `update ${prefix}_charges set amount = 0`,
          `delete from ${prefix}_charges`,
          `truncate ${prefix}_charges cascade`,
          `update ${prefix}_postings set amount = 0`,
          `delete from ${prefix}_postings`
        ]) {
          const error = yield* Effect.flip(sql.unsafe(statement))
          assert.match(inspect(error.reason.cause), /never changed/, statement)
        }
        const [line] = yield* store.ledger.lines()
        assert.deepStrictEqual([line?.amount, line?.postings.length], [3, 1])
      })
    )

    it.effect("give back what is of no use, in passing", () =>
      Effect.gen(function* () {
        const { count, pass, quiet, store } = yield* made({ retention: 2 * 86_400_000, commandTimeout: 10_000 })
        const fast: Quota = { _tag: "Bucket", capacity: 10, refillPerSecond: 1 }
        for (let i = 0; i < 20; i++) {
          yield* store.reserve(`${i}`, [of(fast, 1, `${i}`)], ttl)
          yield* store.settle(`${i}`, [0])
        }
        yield* store.ledger.post({ id: "old", amount: 1, subject, charge: answered, entries: [money(1)] })
        yield* store.reserve("open", [of(concurrency, 3)], Duration.days(30))
        const sizes = Effect.all([count("accounts"), count("leases"), count("charges"), count("postings")])
        assert.deepStrictEqual(yield* sizes, [22, 21, 1, 1])
        const later = Effect.gen(function* () {
          yield* pass(Duration.toMillis("25 hours"))
          yield* TestClock.adjust("5 minutes")
          yield* store.take([])
          yield* quiet
          return yield* sizes
        })
        assert.deepStrictEqual(yield* later, [2, 1, 1, 1])
        assert.deepStrictEqual(yield* later, [2, 1, 0, 0])
        assert.strictEqual(yield* leftOf(store, of(concurrency)), 7)
      })
    )
  })
})

describePostgres("another transaction in the way", { timeout: 20_000 }, () => {
  it.layer(
    any,
    live
  )((it) => {
    /** A transaction of somebody else that has locked the counter and goes on when it is let. */
    const locking = Effect.fnUntraced(function* (prefix: string, then: Effect.Effect<unknown, unknown> = Effect.void) {
      const sql = yield* pool()
      const [inside, leave] = [yield* Latch.make(), yield* Latch.make()]
      const holder = sql.withTransaction(
        Effect.gen(function* () {
          yield* sql.unsafe(`select 1 from ${prefix}_accounts where id = 'B:b' for update`)
          yield* inside.open
          yield* leave.await
          yield* then
        })
      )
      const fiber = yield* Effect.forkChild(holder)
      yield* inside.await
      return { sql, release: Effect.andThen(leave.open, Effect.ignore(Fiber.join(fiber))) }
    })

    it.effect("that holds a lock for too long is a StoreUnavailable, and nothing of the step stays", () =>
      Effect.gen(function* () {
        const { prefix, store } = yield* made({ commandTimeout: 10_000 })
        yield* store.take([of(bucket, 1, "b")])
        const { release } = yield* locking(prefix)
        const failure = yield* Effect.flip(store.reserve("lease", [of(bucket, 1, "a"), of(bucket, 1, "b")], ttl))
        assert.strictEqual(failure.description, "LockTimeoutError 55P03")
        yield* release
        yield* store.settle("lease", [0, 0])
        assert.strictEqual(yield* leftOf(store, of(bucket, 0, "a")), 10)
        assert.strictEqual(yield* leftOf(store, of(bucket, 0, "b")), 9)
      })
    )

    it.effect("is not waited for longer than a command may take, and the connection is free afterwards", () =>
      Effect.gen(function* () {
        const sql = yield* pool({ maxConnections: 1 })
        const { prefix, store } = yield* timed(sql, { commandTimeout: 100 })
        yield* Effect.retry(store.take([of(bucket, 1, "b")]), { times: 5 })
        const { release } = yield* locking(prefix)
        const failure = yield* Effect.flip(store.reserve("lease", [of(bucket, 1, "b")], ttl))
        assert.strictEqual(failure.description, "no answer within 100 ms")
        yield* release
        yield* eventually(Effect.result(leftOf(store, of(bucket, 0, "b"))), Result.isSuccess)
        yield* store.settle("lease", [0])
        yield* eventually(
          Effect.sync(() => store.size.outbox),
          (n) => n === 0
        )
        const [left] = yield* Effect.retry(store.read([of(bucket, 0, "b")]), { times: 5 })
        assert.strictEqual(left?.remaining, 9)
        const [row] = yield* sql`select count(*)::int as n from pg_stat_activity where state like 'idle in transaction%'
          and pid = pg_backend_pid()`
        assert.strictEqual(row?.["n"], 0)
      })
    )

    it.effect("does not keep who is interrupted, and a settle undoes what he may have taken", () =>
      Effect.gen(function* () {
        const { prefix, store } = yield* made({ commandTimeout: 10_000 })
        yield* store.take([of(bucket, 1, "b")])
        const { release } = yield* locking(prefix)
        const asked = yield* Effect.forkChild(store.reserve("lease", [of(bucket, 4, "b")], ttl), {
          startImmediately: true
        })
        yield* Fiber.interrupt(asked)
        assert.strictEqual(store.size.held, 1)
        const settled = yield* Effect.forkChild(store.settle("lease", [0]), { startImmediately: true })
        yield* release
        yield* Fiber.join(settled)
        assert.strictEqual(store.size.held, 0)
        yield* eventually(
          Effect.sync(() => store.size),
          ({ outbox, running }) => outbox === 0 && running === 0
        )
        assert.strictEqual(yield* leftOf(store, of(bucket, 0, "b")), 9)
        assert.strictEqual((yield* store.reserve("lease", [of(bucket, 4, "b")], ttl))._tag, "Denied")
      })
    )

    it.effect("that deadlocks with a reservation makes it begin anew", () =>
      Effect.gen(function* () {
        const { prefix, sql, store } = yield* made({ commandTimeout: 10_000 })
        yield* store.take([of(bucket, 1, "a"), of(bucket, 1, "b")])
        const other = yield* pool()
        const inside = yield* Latch.make()
        const blocked = eventually(
          sql<{ n: number }>`select count(*)::int as n from pg_locks where not granted`,
          ([row]) => (row?.n ?? 0) > 0
        )
        // it locks the other way round and never looks for a deadlock itself
        const holder = other.withTransaction(
          Effect.gen(function* () {
            yield* other`set local deadlock_timeout = '10s'`
            yield* other.unsafe(`select 1 from ${prefix}_accounts where id = 'B:b' for update`)
            yield* inside.open
            yield* blocked
            yield* other.unsafe(`select 1 from ${prefix}_accounts where id = 'B:a' for update`)
          })
        )
        const deadlocks = Effect.map(
          sql<{ n: number }>`select deadlocks::int as n from pg_stat_database where datname = current_database()`,
          ([row]) => row?.n ?? 0
        )
        const before = yield* deadlocks
        const fiber = yield* Effect.forkChild(holder)
        yield* inside.await
        const answer = yield* store.reserve("lease", [of(bucket, 1, "a"), of(bucket, 1, "b")], ttl)
        yield* Fiber.join(fiber)
        assert.deepStrictEqual(answer._tag === "Granted" && answer.remaining, [8, 8])
        yield* eventually(deadlocks, (n) => n > before)
        assert.strictEqual(yield* deadlocks, before + 1)
      })
    )

    it.effect("that the caller is in is not that of the store", () =>
      Effect.gen(function* () {
        const { sql, store } = yield* made({ commandTimeout: 10_000 })
        yield* Effect.ignore(sql.withTransaction(Effect.andThen(store.take([of(bucket, 4)]), Effect.fail("no"))))
        assert.strictEqual(yield* leftOf(store, of(bucket)), 6)
      })
    )
  })
})

describe("steps that conflict", () => {
  const conflict = new SqlError.SqlError({ reason: new SqlError.SerializationError({ cause: { code: "40001" } }) })
  const steps = (failures: number, error: SqlError.SqlError | Again) => {
    let runs = 0
    const step = Effect.suspend(() => (++runs <= failures ? Effect.fail(error) : Effect.succeed(runs)))
    // of the client only the key of its transactions is needed
    const sql = { transactionService: Context.Service("none") } as unknown as SqlClient.SqlClient
    return new Commands(sql, "postgres").run("take", 250, step)
  }

  it.effect("begin anew three times, and then the store is unavailable", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* steps(3, conflict), 4)
      const { message } = yield* Effect.flip(steps(4, conflict))
      assert.strictEqual(message, "Store postgres is unavailable (take): SerializationError 40001")
    })
  )

  it.effect("begin anew eight times where something else had to be done first", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* steps(8, new Again()), 9)
      const { message } = yield* Effect.flip(steps(9, new Again()))
      assert.strictEqual(message, "Store postgres is unavailable (take): another transaction was in the way")
    })
  )
})

describePostgres("the ledger", { timeout: 60_000 }, () => {
  it.layer(
    any,
    live
  )((it) => {
    it.effect("sums up a million charges to the last nano-USD", () =>
      Effect.gen(function* () {
        const { prefix, sql, store } = yield* made({ commandTimeout: 10_000 })
        const line = (i: number) => ({
          ...subject,
          ...answered,
          id: `line ${i}`,
          at: i,
          amount: 9_000_000_000 + (i % 7)
        })
        const endsAt = 9_000_000_000_000
        const counter = { account: `0-${endsAt}/all`, slot: 0, endsAt }
        const lines = Array.from({ length: 5000 }, (_, i) => {
          const { amount, ...rest } = line(i)
          return { ...rest, amount, postings: [{ ...counter, amount }] }
        })
        yield* store.ledger.append(lines)
        yield* store.ledger.append(lines.slice(0, 1000))
        // the rest by one statement each, as one by one would take minutes
        yield* sql.unsafe(`insert into ${prefix}_charges (id, at, "call", provider, model, day, prices, amount, outcome)
          select 'line ' || i, i, 'call', 'p', 'm', '2026-11-29', '1', 9000000000 + i % 7, 'answered'
          from generate_series(5000, 999999) i`)
        yield* sql.unsafe(`insert into ${prefix}_postings (charge, position, counter, slot, ends_at, amount, own)
          select id, 0, 'W:0-${endsAt}/all', 0, ${endsAt}, amount, 0 from ${prefix}_charges where at >= 900000`)
        let [expected, posted] = [0n, 0n]
        for (let i = 0; i < 1_000_000; i++) {
          expected += BigInt(line(i).amount)
          if (i < 5000 || i >= 900_000) posted += BigInt(line(i).amount)
        }
        const [sum] = yield* store.ledger.report({ by: [] })
        assert.deepStrictEqual([sum?.charges, BigInt(sum?.amount ?? 0)], [1_000_000, expected])
        const totals = yield* store.ledger.totals(0)
        assert.deepStrictEqual(totals, [{ ...counter, amount: Number(posted) }])
        const days = yield* store.ledger.report({ by: ["day"], from: "2026-11-28", until: "2026-11-28" })
        assert.deepStrictEqual(
          days.map(({ charges, day }) => [day, charges]),
          [["2026-11-28", 5000]]
        )
      })
    )

    it.effect("takes any text, and forgets it", () =>
      Effect.gen(function* () {
        const { store } = yield* made({ commandTimeout: 10_000 })
        const names = ["1-2/a", "10000*6/b", "1-2/\0\ud800\\ä😀", `1-2/${"x".repeat(10_000)}`]
        const line = {
          ...subject,
          tenant: `\0\\ud800 \udc00ä${Array.from({ length: 2000 }, (_, i) => i).join()}`,
          ...answered,
          id: "a\0",
          at: 5,
          amount: -7,
          postings: names.map((account, i) => ({ account, slot: i, endsAt: 1000 + i, amount: i }))
        }
        yield* store.ledger.append([line, line])
        yield* store.ledger.append([{ ...line, amount: 9 }])
        assert.deepStrictEqual(yield* store.ledger.lines(), [line])
        assert.deepStrictEqual(yield* store.ledger.check, [])
        yield* store.ledger.forget(line.tenant)
        const [forgotten] = yield* store.ledger.lines()
        assert.isUndefined(forgotten?.tenant)
        assert.deepStrictEqual(forgotten?.postings, line.postings)
      })
    )

    it.effect("books a post once that many make at the same time", () =>
      Effect.gen(function* () {
        const { store } = yield* made({ commandTimeout: 10_000 })
        const post = (i: number) =>
          store.ledger.post({ id: "one", amount: 1, subject, charge: answered, entries: [money(1, 10, `${i}`)] })
        yield* Effect.forEach(Array(6).keys(), post, { concurrency: "unbounded" })
        const left = yield* Effect.forEach(Array(6).keys(), (i) => leftOf(store, money(0, 10, `${i}`)))
        assert.deepStrictEqual(
          left.sort((a, b) => (a ?? 0) - (b ?? 0)),
          [9, 10, 10, 10, 10, 10]
        )
        assert.deepStrictEqual(yield* store.ledger.check, [])
      })
    )
  })
})

describePostgres("a fleet", { timeout: 60_000 }, () => {
  it.layer(
    any,
    live
  )((it) => {
    it.effect("of 8 processes never spends more than a window holds, and every charge is counted once", () =>
      Effect.gen(function* () {
        const { url } = yield* PostgresServer
        const prefix = newPrefix()
        const { run } = yield* fleet.make(8, url, prefix)
        const reports = yield* run({ fibers: 8, limit: 2000 })
        const { store } = yield* made({ prefix, commandTimeout: 10_000 })
        yield* fleet.agrees(store, reports, 2000)
      })
    )

    it.effect("loses no settled charge when its processes are killed, and charges what they held", () =>
      Effect.gen(function* () {
        const { url } = yield* PostgresServer
        const prefix = newPrefix()
        const { workers } = yield* fleet.make(2, url, prefix)
        for (const worker of workers) worker.begin({ fibers: 8, limit: 1e9 })
        yield* Effect.promise(() => Promise.all(workers.map((worker) => worker.killAfter(100))))
        const one = yield* made({ prefix, commandTimeout: 10_000 })
        // the server has noticed that they are gone
        yield* eventually(
          one.sql<{
            n: number
          }>`select count(*)::int as n from pg_stat_activity where state like 'idle in transaction%'`,
          ([row]) => row?.n === 0
        )
        yield* fleet.survives(
          one,
          workers.flatMap(({ settled }) => settled)
        )
      })
    )
  })
})

describeOwnPostgres("a server that is killed and started again", { timeout: 30_000 }, () => {
  it.layer(
    client().pipe(Layer.provideMerge(own)),
    live
  )((it) => {
    it.effect("makes reservations fail, and is told all settles when it is back", () =>
      Effect.gen(function* () {
        const server = yield* PostgresServer
        const { store } = yield* made({ commandTimeout: 1000 })
        const leases = Array.from({ length: 20 }, (_, i) => `${i}`)
        for (const lease of leases) yield* store.reserve(lease, [money(5, 1000), of(concurrency, 0)], ttl)
        yield* server.kill
        const failure = yield* Effect.flip(store.reserve("gone", [money(5, 1000)], ttl))
        assert.deepStrictEqual([failure._tag, failure.operation], ["StoreUnavailable", "reserve"])
        yield* Effect.forEach(leases, (lease) => store.settle(lease, [3, 0], answered), { concurrency: "unbounded" })
        yield* store.settle("gone", [0])
        assert.strictEqual(store.size.outbox, 21)
        yield* server.start
        yield* eventually(
          Effect.sync(() => store.size.outbox),
          (n) => n === 0
        )
        assert.strictEqual(yield* leftOf(store, money(0, 1000)), 940)
        const [sum] = yield* store.ledger.report({ by: [] })
        assert.deepStrictEqual([sum?.amount, sum?.charges], [60, 20])
        assert.deepStrictEqual(yield* store.ledger.check, [])
      })
    )
  })
})

describePostgres("what went wrong", () => {
  it.layer(
    any,
    live
  )((it) => {
    it.effect("is told by its kind and code, without statements, keys and passwords", () =>
      Effect.gen(function* () {
        const { prefix, sql } = yield* made()
        const { url } = yield* PostgresServer
        yield* sql.unsafe(`create role "alice_${prefix}" login password 'secret'`)
        const address = new URL(url)
        address.username = `alice_${prefix}`
        address.password = "secret"
        const limited = Layer.fresh(PgClient.layer({ url: Redacted.make(address.href) }))
        const other = Context.get(yield* Layer.build(limited), SqlClient.SqlClient)
        const failure = yield* Effect.flip(timed(other, { prefix }))
        assert.deepStrictEqual([failure.store, failure.operation], ["postgres", "start"])
        yield* sql.unsafe(`grant select on ${prefix}_migrations to "alice_${prefix}"`)
        const { store } = yield* timed(other, { prefix, commandTimeout: 10_000 })
        const refused = yield* Effect.flip(store.reserve("lease", [of(year, 1, "a key")], ttl))
        assert.deepStrictEqual(JSON.parse(JSON.stringify(refused)), {
          _tag: "StoreUnavailable",
          store: "postgres",
          operation: "reserve",
          description: "AuthorizationError 42501"
        })
        assert.notMatch(inspect([failure, refused], { depth: 10 }), /alice|secret|a key|select|insert/i)
      })
    )
  })
})
