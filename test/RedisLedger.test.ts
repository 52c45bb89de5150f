import { fork } from "node:child_process"
import { once } from "node:events"
import { fileURLToPath } from "node:url"
import { assert, it } from "@effect/vitest"
import { Context, Duration, Effect, Exit, Fiber, Layer, Schedule } from "effect"
import { Redis } from "effect/persistence"
import { TestClock } from "effect/testing"
import type { Charge, Line, Subject } from "effect-ballast/Ledger"
import { type Entry, type Post, type Quota, QuotaStore, type Service } from "effect-ballast/QuotaStore"
import * as RedisQuotaStore from "effect-ballast/RedisQuotaStore"
import { ledger } from "../src/internal/quotaContractLedger.ts"
import { nameOf } from "../src/internal/quotas.ts"
import type { Store } from "../src/internal/redisQuotaStore.ts"
import { DurableLedger } from "./support/durableLedger.ts"
import {
  anyServer,
  calls,
  client,
  cluster,
  describeOwnRedis,
  describeRedis,
  own,
  RedisServer
} from "./support/redis.ts"
import { live, newGroup, third, timed, ttl, warm } from "./support/redisStores.ts"

const year: Quota = { _tag: "Window", limit: 1000, startsAt: 0, endsAt: Date.UTC(2200, 0) }
const wide = { ...year, limit: 1_000_000 }
const rolling: Quota = { _tag: "Rolling", limit: 1000, span: Duration.hours(1), slots: 6 }
const concurrency: Quota = { _tag: "Concurrency", limit: 1000 }
const bucket: Quota = { _tag: "Bucket", capacity: 1000, refillPerSecond: 1 }

const subject: Subject = {
  call: "call",
  provider: "openai",
  model: "m",
  day: "2026-11-28",
  prices: "p",
  tenant: "acme"
}

const money = (amount: number, quota: Quota = year, of: Partial<Subject> = {}, key = "money"): Entry => ({
  key,
  amount,
  quota,
  subject: { ...subject, ...of }
})

const answered: Charge = { outcome: "answered", tokens: { input: 10, output: 2 } }

const post = (id: string, amount: number, quota: Quota = year, of: Partial<Subject> = {}): Post => ({
  id,
  amount,
  subject: { ...subject, ...of },
  charge: { outcome: "adjusted" },
  entries: [{ key: "money", amount, quota }]
})

const ledgerOf = (store: Service) => store.ledger ?? assert.fail("it has a ledger")

const summary = (lines: ReadonlyArray<Line>) => lines.map(({ amount, id, outcome }) => `${id} ${outcome} ${amount}`)

const leftOf = (store: Service, quota: Quota = year, key = "money") =>
  Effect.map(store.read([{ key, quota }]), ([state]) => state?.remaining)

/** One call that is paid. */
const pay = (store: Service, lease: string, used: number, entry = money(5)) =>
  Effect.andThen(store.reserve(lease, [entry], ttl), store.settle(lease, [used], answered))

const agree = (store: Service) => Effect.map(ledgerOf(store).check, (found) => assert.deepStrictEqual(found, []))

const until = <E>(asked: Effect.Effect<boolean, E>) =>
  Effect.repeat(asked, { until: (is) => is, schedule: Schedule.spaced("20 millis"), times: 500 })

/** Draws the same numbers each time. */
const random = (seed: number) => () => {
  seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648
  return seed / 2_147_483_648
}

/**
 * Two processes that reserve, settle, book and die at random, until nothing is open: with limits of more than one kind, and
 * leases that expire.
 */
const interleaving = Effect.fnUntraced(function* (seed: number, ledger?: DurableLedger) {
  const { another, pass, store } = yield* timed(ledger === undefined ? {} : { ledger })
  const stores = [store, yield* another]
  const draw = random(seed)
  const upTo = (n: number) => Math.floor(draw() * n)
  const open: Array<{ readonly store: Store; readonly lease: string }> = []
  for (let i = 0; i < 120; i++) {
    const store = stores[upTo(2)] ?? assert.fail()
    const what = draw()
    if (what < 0.5) {
      const entries = [
        money(upTo(20)),
        { ...money(0), quota: concurrency, subject: undefined },
        money(upTo(9), rolling)
      ]
      const answer = yield* store.reserve(`${i}`, entries, ttl)
      if (answer._tag === "Granted") open.push({ store, lease: `${i}` })
    } else if (what < 0.85) {
      const [settled] = open.splice(upTo(open.length), 1)
      const charge = draw() < 0.7 ? answered : undefined
      if (settled !== undefined) yield* settled.store.settle(settled.lease, [upTo(30), 0, upTo(9)], charge)
    } else if (what < 0.95)
      yield* ledgerOf(store).post(post(`post ${upTo(20)}`, upTo(30) - 15, draw() < 0.5 ? year : rolling))
    else yield* pass(upTo(40_000))
    if (i % 20 === 0) yield* agree(store)
  }
  for (const { lease, store } of open.splice(0, open.length / 2)) yield* store.settle(lease, [1, 0, 1], answered)
  yield* pass(Duration.toMillis(ttl))
  yield* agree(store)
  const lines = yield* ledgerOf(store).lines(1000)
  assert.strictEqual(new Set(lines.map(({ id }) => id)).size, lines.length)
  const counted = lines.flatMap(({ postings }) => postings).filter(({ account }) => account.includes("-"))
  const sum = counted.reduce((sum, { amount }) => sum + amount, 0)
  assert.strictEqual(yield* leftOf(store), 1000 - sum)
})

describeRedis("the contract of ledgers, in Redis with a durable one", () => {
  it.layer(client().pipe(Layer.provideMerge(anyServer)))((it) => {
    for (const { name, renews, run } of ledger)
      it.effect(name, () =>
        Effect.gen(function* () {
          const { pass, redis, store } = yield* timed({ ledger: new DurableLedger() })
          yield* warm(redis)
          const inSteps = Effect.fnUntraced(function* (millis: number) {
            for (let left = millis; left > 0; left -= third) {
              yield* TestClock.adjust(Math.min(left, third))
              yield* redis.send("PING")
              yield* pass(Math.min(left, third))
            }
          })
          const advance = renews ? inSteps : pass
          yield* run({ store, advance: (millis) => Effect.orDie(advance(millis)) })
        })
      )
  })
})

describeRedis("lines and counters", () => {
  it.layer(client().pipe(Layer.provideMerge(anyServer)))((it) => {
    it.effect("agree after any interleaving of two processes that may die", () =>
      Effect.forEach(Array(8).keys(), (seed) => interleaving(seed))
    )

    it.effect("agree in the same way where a durable ledger has the lines", () =>
      Effect.forEach(Array(8).keys(), (seed) => interleaving(100 + seed, new DurableLedger()))
    )

    it.effect("are of any names", () =>
      Effect.gen(function* () {
        const { pass, store } = yield* timed()
        const names = ["}{x", "a b:c", 'quo"te\\', "line\nfeed", "\ud800", "\u0000", "é😀", "x".repeat(300)]
        for (const [i, name] of names.entries()) {
          const of = { tenant: name, model: name, user: name, feature: name, run: name, provider: name, call: name }
          yield* pay(store, `${i} ${name}`, 3, money(5, year, of, name))
          yield* store.reserve(`dies ${name}`, [money(2, rolling, of, name)], ttl)
        }
        yield* pass(Duration.toMillis(ttl))
        const lines = yield* ledgerOf(store).lines()
        assert.strictEqual(lines.length, 2 * names.length)
        for (const [i, name] of names.entries()) {
          const line = lines.find(({ id }) => id === `${i} ${name}`)
          assert.deepStrictEqual([line?.tenant, line?.model, line?.run], [name, name, name])
          assert.strictEqual(line?.postings[0]?.account, nameOf({ key: name, quota: year }))
          assert.isTrue(
            lines.some(({ amount, id, tenant }) => id === `dies ${name}` && amount === 2 && tenant === name)
          )
          yield* ledgerOf(store).forget(name)
        }
        yield* agree(store)
        const [all, ...others] = yield* ledgerOf(store).report({ by: ["tenant"] })
        assert.deepStrictEqual([all?.amount, all?.charges, others], [5 * names.length, 2 * names.length, []])
      })
    )

    it.effect("cost one command to reserve and one to settle, with limits of every kind", () =>
      Effect.gen(function* () {
        const { group, redis, store } = yield* timed()
        const entries = [
          { key: "b", amount: 1, quota: bucket },
          money(5),
          money(5, rolling),
          { ...money(1), quota: concurrency, subject: undefined }
        ]
        const once = (lease: string) =>
          Effect.andThen(store.reserve(lease, entries, ttl), store.settle(lease, [1, 4, 4, 0], answered))
        yield* once("warm")
        const before = yield* calls
        yield* once("lease")
        const after = yield* calls
        assert.strictEqual(yield* redis.send("ZCARD", `ballast:{${group}}:money:expiries`), 0)
        const more = (command: string) => (after.get(command) ?? 0) - (before.get(command) ?? 0)
        assert.deepStrictEqual([more("evalsha"), more("eval")], [2, 0])
      })
    )

    it.effect("know money only in windows and rolling quotas", () =>
      Effect.gen(function* () {
        const { store } = yield* timed()
        for (const quota of [bucket, concurrency]) {
          const exit = yield* Effect.exit(store.reserve("lease", [money(1, quota)], ttl))
          assert.isTrue(Exit.hasDies(exit))
        }
      })
    )
  })
})

describeRedis("what is kept in Redis", () => {
  it.layer(client().pipe(Layer.provideMerge(anyServer)))((it) => {
    it.effect("is the last lines, and the sums of all of them", () =>
      Effect.gen(function* () {
        const { redis, group, store } = yield* timed({ maxLines: 10 })
        for (let i = 1; i <= 25; i++) yield* pay(store, `${i}`, i, money(30, year, { user: `${i % 3}` }))
        const lines = yield* ledgerOf(store).lines(1000)
        assert.deepStrictEqual(
          lines.map(({ id }) => id),
          Array.from({ length: 10 }, (_, i) => `${25 - i}`)
        )
        assert.strictEqual(yield* redis.send("HLEN", `ballast:{${group}}:money:lines`), 12)
        const sums = yield* ledgerOf(store).report({ by: [] })
        assert.deepStrictEqual(sums, [{ charges: 25, amount: 325, saved: 0, tokens: { input: 250, output: 50 } }])
        // of a counter whose first lines are gone nothing can be said
        yield* agree(store)
      })
    )

    it.effect("is no more than 100,000 fields a day, and what finds no room is summed without a name", () =>
      Effect.gen(function* () {
        const { group, redis, store } = yield* timed()
        yield* pay(store, "known", 1)
        const fill = 'for i = 1, 100000 do redis.call("HSET", KEYS[1], "x" .. i, 1) end'
        const key = `ballast:{${group}}:money:day:"2026-11-28"`
        yield* redis.send("EVAL", fill, "1", key)
        const before = yield* redis.send<number>("HLEN", key)
        yield* pay(store, "known too", 2)
        yield* pay(store, "unknown", 4, money(5, year, { tenant: "another" }))
        yield* pay(store, "unknown, too", 8, money(5, year, { tenant: "a third" }))
        assert.isAtMost((yield* redis.send<number>("HLEN", key)) - before, 5)
        yield* redis.send("EVAL", 'for i = 1, 100000 do redis.call("HDEL", KEYS[1], "x" .. i) end', "1", key)
        const sums = yield* ledgerOf(store).report({ by: ["tenant"] })
        assert.deepStrictEqual(
          sums.map(({ amount, tenant }) => [tenant, amount]),
          [
            [undefined, 12],
            ["acme", 3]
          ]
        )
      })
    )

    it.effect("is nothing that lives for ever but the epoch", () =>
      Effect.gen(function* () {
        const { group, pass, redis, store } = yield* timed()
        yield* store.reserve("dies", [money(5), money(5, rolling)], ttl)
        yield* pass(Duration.toMillis(ttl))
        yield* pay(store, "paid", 3)
        yield* store.reserve("open", [money(5)], ttl)
        yield* ledgerOf(store).post(post("post", 1))
        const keys = yield* redis.send<ReadonlyArray<string>>("KEYS", `ballast:{${group}}:*`)
        assert.isAbove(keys.length, 8)
        for (const key of keys)
          if (!key.endsWith(":epoch")) assert.isAbove(yield* redis.send<number>("PTTL", key), 0, key)
      })
    )

    it.effect("is expired lease after expired lease, a few by each command", () =>
      Effect.gen(function* () {
        const { pass, redis, group, store } = yield* timed()
        for (let i = 0; i < 50; i++) yield* store.reserve(`${i}`, [money(2)], ttl)
        yield* pass(Duration.toMillis(ttl))
        const open = redis.send<number>("ZCARD", `ballast:{${group}}:money:expiries`)
        yield* store.reserve("next", [money(1)], ttl)
        assert.strictEqual(yield* open, 31)
        assert.strictEqual((yield* ledgerOf(store).lines()).length, 50)
        assert.strictEqual(yield* open, 1)
        assert.strictEqual(yield* leftOf(store), 899)
        yield* agree(store)
      })
    )

    it.effect("is charged by renewals, which keep what lives", () =>
      Effect.gen(function* () {
        const { another, pass, redis, store } = yield* timed()
        yield* warm(redis)
        const dead = yield* another
        yield* dead.reserve("dies", [money(2)], ttl)
        yield* dead.close
        yield* store.reserve("lives", [money(3)], ttl)
        for (let i = 0; i < 4; i++) {
          yield* TestClock.adjust(third)
          yield* redis.send("PING")
          yield* pass(third)
        }
        assert.deepStrictEqual(summary(yield* ledgerOf(store).lines()), ["dies expired 2"])
        yield* store.settle("lives", [1], answered)
        assert.deepStrictEqual(summary(yield* ledgerOf(store).lines()), ["lives answered 1", "dies expired 2"])
        yield* agree(store)
      })
    )

    it.effect("is forgotten of a tenant in thousands of lines, which stay in their order", () =>
      Effect.gen(function* () {
        const { store } = yield* timed()
        const ids = Array.from({ length: 1200 }, (_, i) => `${i}`)
        const book = (id: string) =>
          ledgerOf(store).post(post(id, 1, year, { tenant: `t${Number(id) % 2}`, user: id, run: "r" }))
        yield* Effect.forEach(ids, book)
        yield* ledgerOf(store).forget("t0")
        const lines = yield* ledgerOf(store).lines(1000)
        assert.deepStrictEqual(
          lines.map(({ id }) => id),
          ids.slice(200).toReversed()
        )
        for (const { id, run, tenant, user } of lines)
          assert.deepStrictEqual(
            [tenant, user, run],
            Number(id) % 2 === 0 ? [undefined, undefined, undefined] : ["t1", id, "r"]
          )
        const sums = yield* ledgerOf(store).report({ by: ["tenant"] })
        assert.deepStrictEqual(sums.map(({ amount, tenant }) => `${tenant} ${amount}`).sort(), [
          "t1 600",
          "undefined 600"
        ])
        assert.strictEqual((yield* ledgerOf(store).report({ by: ["user"] })).length, 601)
      })
    )
  })
})

/** The store as a program makes it. */
const made = (options?: RedisQuotaStore.Options) =>
  Effect.map(Layer.build(RedisQuotaStore.layer(options)), (services) => Context.get(services, QuotaStore))

describeRedis("a process that is killed", () => {
  it.layer(
    client().pipe(Layer.provideMerge(anyServer)),
    live
  )((it) => {
    it.effect("is charged what it had reserved", () =>
      Effect.gen(function* () {
        const { url } = yield* RedisServer
        const { group, pass, store } = yield* timed()
        const entry = money(7, year, { user: "bob" })
        const worker = fileURLToPath(new URL("fixtures/redis-money-worker.ts", import.meta.url))
        const child = fork(worker, [url, group, JSON.stringify(entry)], { execArgv: [] })
        yield* Effect.addFinalizer(() => Effect.sync(() => child.kill("SIGKILL")))
        const [answer] = yield* Effect.promise(() => once(child, "message"))
        assert.strictEqual(answer, "Granted")
        child.kill("SIGKILL")
        yield* Effect.promise(() => once(child, "exit"))
        yield* pass(Duration.toMillis(ttl) - 5000)
        assert.deepStrictEqual(yield* ledgerOf(store).lines(), [])
        yield* pass(5000)
        const [line, ...others] = yield* ledgerOf(store).lines()
        assert.deepStrictEqual([line?.id, line?.outcome, line?.amount, line?.user], ["killed", "expired", 7, "bob"])
        assert.deepStrictEqual(others, [])
        assert.strictEqual(yield* leftOf(store), 993)
        yield* agree(store)
      })
    )
  })
})

describeRedis("a check", () => {
  it.layer(
    client().pipe(Layer.provideMerge(anyServer)),
    live
  )((it) => {
    for (const ledger of [undefined, new DurableLedger()])
      it.effect(
        `finds nothing while calls come and go${ledger === undefined ? "" : ", and their lines are moved"}`,
        () =>
          Effect.gen(function* () {
            const { another, store } = yield* timed(ledger === undefined ? {} : { ledger })
            const stores = [store, yield* another]
            const end = { reached: false }
            const call = Effect.fnUntraced(function* (id: number) {
              const store = stores[id % 2] ?? assert.fail()
              for (let i = 0; !end.reached; i++) yield* pay(store, `${id}.${i}`, 1, money(2, wide, {}, `${id % 3}`))
            })
            const calls = yield* Effect.forkChild(Effect.forEach(Array(8).keys(), call, { concurrency: 8 }))
            for (let i = 0; i < 40; i++) yield* agree(store)
            end.reached = true
            yield* Fiber.join(calls)
            yield* agree(store)
            const spent = yield* Effect.forEach(["0", "1", "2"], (key) => leftOf(store, wide, key))
            const [sum] = yield* ledgerOf(store).report({ by: [] })
            assert.strictEqual(3 * wide.limit - spent.reduce<number>((sum, left) => sum + (left ?? 0), 0), sum?.amount)
          })
      )
  })
})

describeOwnRedis("a cluster, with money", () => {
  it.layer(
    client().pipe(Layer.provideMerge(cluster)),
    live
  )((it) => {
    it.effect("has all that belongs to a group in one slot", () =>
      Effect.gen(function* () {
        const store = yield* made({ group: "}{x" })
        yield* pay(store, "}{x", 3, money(5, year, { tenant: "}{x" }, "tenant:}{x"))
        yield* ledgerOf(store).post(post("}{y", 2))
        yield* ledgerOf(store).forget("}{x")
        assert.deepStrictEqual(summary(yield* ledgerOf(store).lines()), ["}{y adjusted 2", "}{x answered 3"])
        yield* agree(store)
      })
    )
  })
})

describeOwnRedis("lost counters", { timeout: 30_000 }, () => {
  it.layer(
    client().pipe(Layer.provideMerge(own())),
    live
  )((it) => {
    it.effect("are money refused until the process is restarted, and limits go on", () =>
      Effect.gen(function* () {
        const redis = yield* Redis.Redis
        const group = newGroup()
        const store = yield* made({ group })
        yield* pay(store, "before", 400, money(400))
        yield* store.reserve("open", [money(5)], ttl)
        yield* redis.send("FLUSHALL")
        for (let i = 0; i < 3; i++) {
          const { description, operation } = yield* Effect.flip(store.reserve("refused", [money(1)], ttl))
          assert.strictEqual(operation, "reserve")
          assert.match(description ?? "", /lost the counters of money: restart/)
        }
        const failure = yield* Effect.flip(ledgerOf(store).post(post("refused", 1)))
        assert.match(failure.message, /lost the counters of money/)
        const limit = { key: "limit", amount: 1, quota: bucket }
        assert.strictEqual((yield* store.reserve("limited", [limit], ttl))._tag, "Granted")
        const restarted = yield* made({ group })
        assert.strictEqual((yield* restarted.reserve("granted", [money(1000)], ttl))._tag, "Granted")
        assert.strictEqual(
          (yield* Effect.flip(store.reserve("still refused", [money(1)], ttl)))._tag,
          "StoreUnavailable"
        )
        // what was open then was paid all the same
        yield* store.settle("open", [4], answered)
        yield* store.settle("open", [4], answered)
        yield* restarted.settle("granted", [0])
        assert.deepStrictEqual(summary(yield* ledgerOf(restarted).lines()), ["open answered 4"])
        assert.strictEqual(yield* leftOf(restarted), 996)
        yield* agree(restarted)
      })
    )

    it.effect("are given back by a durable ledger before the next call, and what was open then is booked once", () =>
      Effect.gen(function* () {
        const redis = yield* Redis.Redis
        const [group, ledger] = [newGroup(), new DurableLedger()]
        const stores = [yield* made({ group, ledger }), yield* made({ group, ledger })] as const
        const [store, other] = stores
        for (let i = 0; i < 700; i++) yield* pay(store, `${i}`, 1, money(5, year, {}, `tenant ${i % 600}`))
        yield* pay(other, "before", 400, money(400))
        yield* pay(other, "rolling", 30, money(30, rolling))
        yield* store.reserve("open", [money(5)], ttl)
        yield* store.reserve("open, too", [money(5)], ttl)
        yield* ledgerOf(store).report({ by: [] }) // moves the lines
        yield* redis.send("FLUSHALL")
        yield* store.settle("open", [4], answered)
        const both = Effect.forEach(stores, (store, i) => store.reserve(`next ${i}`, [money(1)], ttl), {
          concurrency: 2
        })
        for (const answer of yield* both) assert.strictEqual(answer._tag, "Granted")
        yield* store.settle("open, too", [3], answered)
        yield* until(Effect.map(leftOf(store), (left) => left === 1000 - 400 - 4 - 3 - 2))
        yield* store.settle("open", [9], answered)
        assert.strictEqual(yield* leftOf(store), 1000 - 400 - 4 - 3 - 2)
        assert.strictEqual(yield* leftOf(store, rolling), 970)
        for (const i of [0, 99, 100, 599])
          assert.strictEqual(yield* leftOf(store, year, `tenant ${i}`), i < 100 ? 998 : 999)
        for (const i of [0, 1]) yield* stores[i === 0 ? 0 : 1].settle(`next ${i}`, [1], answered)
        yield* agree(other)
        yield* agree(store)
        const all = [...ledger.all.keys()]
        for (const id of ["open", "open, too", "next 0", "next 1"]) assert.include(all, id)
        assert.strictEqual(all.length, 706)
      })
    )

    it.effect("are given back after a restart of a server that keeps nothing", () =>
      Effect.gen(function* () {
        const server = yield* RedisServer
        const [group, ledger] = [newGroup(), new DurableLedger()]
        const store = yield* made({ group, ledger })
        yield* pay(store, "before", 900, money(900))
        yield* until(Effect.sync(() => ledger.all.size === 1))
        yield* server.kill
        assert.strictEqual((yield* Effect.flip(store.reserve("gone", [money(1)], ttl)))._tag, "StoreUnavailable")
        yield* server.start
        const again = Effect.match(store.reserve("back", [money(200)], ttl), {
          onSuccess: ({ _tag }) => _tag === "Denied",
          onFailure: () => false
        })
        assert.isTrue(yield* until(again))
        assert.strictEqual((yield* store.reserve("small", [money(100)], ttl))._tag, "Granted")
        assert.strictEqual(yield* leftOf(store), 0)
      })
    )
  })

  it.layer(client().pipe(Layer.provideMerge(own())))((it) => {
    it.effect("keep nobody for longer than the command timeout, and are given back behind him", () =>
      Effect.gen(function* () {
        const ledger = new DurableLedger()
        const { redis, store } = yield* timed({ ledger })
        yield* pay(store, "before", 900, money(900))
        yield* ledgerOf(store).lines()
        yield* redis.send("FLUSHALL")
        ledger.before = Effect.sleep("2 seconds")
        const refused = Effect.uninterruptible(Effect.flip(store.reserve("refused", [money(1)], ttl)))
        const waiting = yield* Effect.forkChild(refused, { startImmediately: true })
        for (let i = 0; i < 20 && ledger.before !== Effect.void; i++) yield* redis.send("PING")
        yield* TestClock.adjust("249 millis")
        yield* redis.send("PING")
        assert.isUndefined(waiting.pollUnsafe())
        yield* TestClock.adjust("250 millis")
        yield* redis.send("PING")
        yield* TestClock.adjust("250 millis")
        assert.match((yield* Fiber.join(waiting)).message, /being rebuilt from the ledger/)
        const restored = Effect.gen(function* () {
          yield* TestClock.adjust("500 millis")
          yield* redis.send("PING")
          return (yield* leftOf(store)) === 100
        })
        assert.isTrue(yield* Effect.repeat(restored, { until: (is) => is, times: 50 }))
        ledger.before = Effect.void
        assert.strictEqual((yield* store.reserve("next", [money(101)], ttl))._tag, "Denied")
        assert.strictEqual((yield* store.reserve("last", [money(100)], ttl))._tag, "Granted")
      })
    )
  })
})

describeRedis("a durable ledger", () => {
  it.layer(client().pipe(Layer.provideMerge(anyServer)))((it) => {
    it.effect("gets every line a second later, once, from two processes that move at the same time", () =>
      Effect.gen(function* () {
        const ledger = new DurableLedger()
        const { another, group, redis, store } = yield* timed({ ledger })
        const other = yield* another
        const ids = Array.from({ length: 1300 }, (_, i) => `${i}`)
        yield* Effect.forEach(ids, (id) => ledgerOf(Number(id) % 2 === 0 ? store : other).post(post(id, 1)))
        assert.strictEqual(ledger.all.size, 0)
        const seen = [ledgerOf(store).lines(1), ledgerOf(other).lines(1)]
        yield* Effect.all(seen, { concurrency: 2 })
        assert.deepStrictEqual([...ledger.all.keys()].toSorted(), ids.toSorted())
        assert.strictEqual(ledger.most, 500)
        assert.strictEqual(yield* redis.send("HLEN", `ballast:{${group}}:money:lines`), 2)
        yield* ledgerOf(store).post(post("later", 1))
        const moved = Effect.gen(function* () {
          yield* TestClock.adjust("1 second")
          yield* redis.send("PING")
          return ledger.all.has("later")
        })
        assert.isTrue(yield* Effect.repeat(moved, { until: (is) => is, times: 20 }))
        assert.strictEqual(yield* redis.send("HLEN", `ballast:{${group}}:money:lines`), 2)
        yield* agree(store)
      })
    )

    it.effect("that is down costs nothing until too many lines wait, and gets all of them when it is back", () =>
      Effect.gen(function* () {
        const ledger = new DurableLedger()
        ledger.before = DurableLedger.down
        const { redis, store } = yield* timed({ ledger, maxLines: 20 })
        // a process begins when its ledger answers
        assert.strictEqual((yield* Effect.flip(store.reserve("0", [money(5)], ttl))).description, "down")
        ledger.before = Effect.void
        yield* store.reserve("last", [money(5)], ttl)
        ledger.before = DurableLedger.down
        for (let i = 1; i <= 20; i++) yield* pay(store, `${i}`, 1)
        const { message } = yield* Effect.flip(store.reserve("refused", [money(5)], ttl))
        assert.match(message, /too many charges wait for the durable ledger/)
        assert.match((yield* Effect.flip(ledgerOf(store).post(post("refused", 1)))).message, /too many charges wait/)
        assert.strictEqual((yield* Effect.flip(ledgerOf(store).report({ by: [] }))).description, "down")
        yield* store.settle("last", [2], answered)
        assert.strictEqual(ledger.all.size, 0)
        ledger.before = Effect.void
        const moved = Effect.gen(function* () {
          yield* TestClock.adjust("1 second")
          yield* redis.send("PING")
          return ledger.all.size === 21
        })
        assert.isTrue(yield* Effect.repeat(moved, { until: (is) => is, times: 20 }))
        assert.strictEqual((yield* store.reserve("granted", [money(5)], ttl))._tag, "Granted")
        yield* agree(store)
      })
    )

    it.effect("gets what is left when the store closes", () =>
      Effect.gen(function* () {
        const ledger = new DurableLedger()
        yield* Effect.scoped(Effect.flatMap(timed({ ledger }), ({ store }) => pay(store, "last", 3)))
        assert.deepStrictEqual(summary([...ledger.all.values()]), ["last answered 3"])
      })
    )

    it.effect("gets it also where the store closes while it does not answer", () =>
      Effect.gen(function* () {
        const ledger = new DurableLedger()
        let asked = false
        yield* Effect.scoped(
          Effect.gen(function* () {
            const { redis, store } = yield* timed({ ledger })
            yield* pay(store, "last", 3)
            ledger.before = Effect.andThen(
              Effect.sync(() => void (asked = true)),
              Effect.never
            )
            yield* TestClock.adjust("1 second")
            yield* Effect.repeat(redis.send("PING"), { until: () => asked, times: 100 })
            assert.isTrue(asked)
            ledger.before = Effect.void
          })
        )
        assert.deepStrictEqual(summary([...ledger.all.values()]), ["last answered 3"])
      })
    )

    it.effect("lowers no counter that is still there when only the epoch was lost", () =>
      Effect.gen(function* () {
        const { group, redis, store } = yield* timed({ ledger: new DurableLedger() })
        yield* pay(store, "paid", 300, money(300))
        yield* store.reserve("open", [money(500), money(10, rolling)], ttl)
        yield* redis.send("DEL", `ballast:{${group}}:money:epoch`)
        assert.strictEqual((yield* store.reserve("too much", [money(201)], ttl))._tag, "Denied")
        yield* redis.send("DEL", `ballast:{${group}}:money:epoch`)
        yield* store.settle("open", [400, 4], answered)
        assert.strictEqual((yield* store.reserve("too much again", [money(301)], ttl))._tag, "Denied")
        assert.deepStrictEqual(summary(yield* ledgerOf(store).lines()), ["open answered 400", "paid answered 300"])
        assert.strictEqual(yield* leftOf(store, rolling), 996)
        yield* agree(store)
      })
    )

    it.effect("is what is read and forgotten", () =>
      Effect.gen(function* () {
        const ledger = new DurableLedger()
        const { store } = yield* timed({ ledger })
        yield* pay(store, "1", 3)
        yield* pay(store, "2", 4, money(5, year, { tenant: "other" }))
        yield* ledgerOf(store).forget("acme")
        assert.deepStrictEqual(
          (yield* ledgerOf(store).lines()).map(({ tenant }) => tenant),
          ["other", undefined]
        )
        const sums = yield* ledgerOf(store).report({ by: ["tenant"] })
        assert.deepStrictEqual(
          sums.map(({ amount, tenant }) => [tenant, amount]),
          [
            ["other", 4],
            [undefined, 3]
          ]
        )
      })
    )

    it.effect("that joins later gets the last lines, which are all that Redis had kept", () =>
      Effect.gen(function* () {
        const ledger = new DurableLedger()
        const { group, redis, store } = yield* timed({ maxLines: 10 })
        for (let i = 1; i <= 1200; i++) yield* ledgerOf(store).post(post(`${i}`, 0))
        const layer = RedisQuotaStore.layer({ group, ledger }).pipe(Layer.provide(Layer.succeed(Redis.Redis, redis)))
        const joined = Context.get(yield* Layer.build(layer), QuotaStore)
        assert.strictEqual((yield* joined.reserve("next", [money(5)], ttl))._tag, "Granted")
        yield* joined.settle("next", [5], answered)
        yield* ledgerOf(joined).lines()
        const last = Array.from({ length: 10 }, (_, i) => `${1191 + i}`)
        assert.deepStrictEqual([...ledger.all.keys()], [...last, "next"])
      })
    )
  })
})
