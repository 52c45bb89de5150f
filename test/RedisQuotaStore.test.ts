import { inspect } from "node:util"
import { assert, describe, it } from "@effect/vitest"
import { Config, ConfigProvider, Context, Duration, Effect, Fiber, Latch, Layer, Result, Schedule } from "effect"
import { Redis } from "effect/persistence"
import { TestClock } from "effect/testing"
import { QuotaStoreContract } from "effect-ballast/testing"
import { type Entry, type Quota, QuotaStore, type Service } from "effect-ballast/QuotaStore"
import * as RedisQuotaStore from "effect-ballast/RedisQuotaStore"
import { Keys } from "../src/internal/redisQuotas.ts"
import { Store } from "../src/internal/redisQuotaStore.ts"
import * as fleet from "./support/fleet.ts"
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

describeRedis("the contract, in Redis", () => {
  it.layer(client().pipe(Layer.provideMerge(anyServer)))((it) => {
    for (const { name, renews, run } of QuotaStoreContract.cases)
      it.effect(name, () =>
        Effect.gen(function* () {
          const { pass, redis, store } = yield* timed()
          yield* warm(redis)
          const renewAndPass = (millis: number) =>
            Effect.andThen(Effect.andThen(TestClock.adjust(millis), redis.send("PING")), pass(millis))
          const inSteps = Effect.fnUntraced(function* (millis: number) {
            for (let left = millis; left > 0; left -= third) yield* renewAndPass(Math.min(left, third))
          })
          const advance = renews ? inSteps : pass
          yield* run({ store, advance: (millis) => Effect.orDie(advance(millis)) })
        })
      )
  })
})

const bucket: Quota = { _tag: "Bucket", capacity: 10, refillPerSecond: 1e-3 }
const concurrency: Quota = { _tag: "Concurrency", limit: 10 }
const rolling: Quota = { _tag: "Rolling", limit: 10, span: Duration.hours(1), slots: 6 }
const year: Quota = { _tag: "Window", limit: 10, startsAt: 0, endsAt: Date.UTC(2200, 0) }
const every = [bucket, rolling, year, concurrency]

const of = (quota: Quota, amount = 1, key = "key"): Entry => ({ key, amount, quota })
const leftOf = (store: Service, quota: Quota, key = "key") =>
  Effect.map(store.read([{ key, quota }]), ([state]) => state?.remaining)

describeRedis("a fleet", { timeout: 60_000 }, () => {
  it.layer(
    client().pipe(Layer.provideMerge(anyServer)),
    live
  )((it) => {
    it.effect("of 4 processes with 200 fibers each never gets more than one of them would", () =>
      Effect.gen(function* () {
        const { url } = yield* RedisServer
        const { run } = yield* fleet.make(4, url, newGroup())
        const { bucket, rolling } = fleet.quotas

        const inBucket = yield* run({ quota: "bucket", fibers: 200, millis: 1500 })
        const taken = grants(inBucket)
        assert.isAbove(taken.length, bucket.capacity + bucket.refillPerSecond)
        // over all intervals: the most that what was granted exceeds what was refilled since
        let sinceWorst = Infinity
        taken.forEach((at, i) => {
          const refilled = (at * bucket.refillPerSecond) / 1000
          sinceWorst = Math.min(sinceWorst, i - refilled)
          assert.isAtMost(i + 1 - refilled - sinceWorst, bucket.capacity + 1e-3)
        })

        const inSpans = yield* run({ quota: "rolling", fibers: 200, millis: 1500 })
        const counted = grants(inSpans)
        const span = Duration.toMillis(rolling.span)
        assert.isAbove(counted.length, 2 * rolling.limit)
        counted.forEach((at, i) => {
          const before = counted[i - rolling.limit]
          if (before !== undefined) assert.isAtLeast(at - before, span)
        })
      })
    )

    it.effect("frees what a killed process held when its lease ends, and not before", () =>
      Effect.gen(function* () {
        const { url } = yield* RedisServer
        const { group, pass, store } = yield* timed()
        const { begin, kill } = yield* fleet.make(1, url, group)
        const take = [{ key: "fleet", amount: 1, quota: fleet.quotas.concurrency }]
        yield* begin({ quota: "concurrency", fibers: 20, millis: 60_000 })
        const left = leftOf(store, fleet.quotas.concurrency, "fleet")
        yield* Effect.repeat(left, { until: (left) => left === 0, schedule: Schedule.spaced("10 millis"), times: 500 })
        yield* kill
        yield* pass(Duration.toMillis(ttl) - 5000)
        assert.strictEqual((yield* store.reserve("early", take, ttl))._tag, "Denied")
        yield* pass(5000)
        const answer = yield* store.reserve("late", take, ttl)
        assert.deepStrictEqual(answer._tag === "Granted" && answer.remaining, [9])
      })
    )
  })
})

/** The store as a program makes it, in a group of its own. */
const made = (options?: RedisQuotaStore.Options) =>
  Effect.map(Layer.build(RedisQuotaStore.layer({ group: newGroup(), ...options })), (services) =>
    Context.get(services, QuotaStore)
  )

const one = [of(bucket), of(rolling), of(year), of(concurrency)]

describeRedis("one round trip", () => {
  it.layer(
    client().pipe(Layer.provideMerge(anyServer)),
    live
  )((it) => {
    it.effect("is all that a reservation of four quotas costs, and all that its settle costs", () =>
      Effect.gen(function* () {
        const store = yield* made()
        yield* store.reserve("warm", one, ttl)
        yield* store.settle("warm", [1, 1, 1, 0])
        yield* store.take([of(bucket)])
        yield* store.take(one)
        const before = yield* calls
        assert.strictEqual((yield* store.reserve("lease", one, ttl))._tag, "Granted")
        yield* store.settle("lease", [0, 0, 0, 0])
        const after = yield* calls
        assert.strictEqual((after.get("evalsha") ?? 0) - (before.get("evalsha") ?? 0), 2)
        assert.strictEqual(yield* scriptCalls(store.take([of(bucket, 1, "other")])), 1)
        assert.strictEqual(yield* scriptCalls(store.take(one)), 1)
        assert.strictEqual(after.get("eval") ?? 0, before.get("eval") ?? 0)
      })
    )
  })
})

describeOwnRedis("a cluster", () => {
  it.layer(
    client().pipe(Layer.provideMerge(cluster)),
    live
  )((it) => {
    it.effect("takes keys of any tenant, since all of a group are in one slot", () =>
      Effect.gen(function* () {
        const store = yield* made({ group: "}{x" })
        const entries = every.map((quota) => of(quota, 1, "tenant:}{x"))
        assert.strictEqual((yield* store.reserve("lease", entries, ttl))._tag, "Granted")
        yield* store.settle("lease", [0, 0, 0, 0])
        assert.strictEqual(yield* leftOf(store, bucket, "tenant:}{x"), 10)
      })
    )
  })
})

describeOwnRedis("a server that fails", { timeout: 30_000 }, () => {
  it.layer(
    client().pipe(Layer.provideMerge(own())),
    live
  )((it) => {
    it.effect("may forget the scripts", () =>
      Effect.gen(function* () {
        const store = yield* made()
        yield* store.reserve("first", one, ttl)
        yield* (yield* Redis.Redis).send("SCRIPT", "FLUSH")
        assert.strictEqual((yield* store.reserve("second", one, ttl))._tag, "Granted")
        yield* store.settle("second", [1, 1, 1, 0])
        assert.strictEqual(yield* leftOf(store, concurrency), 9)
      })
    )

    it.effect("is unavailable while it hangs, and a reservation that came late is undone by its settle", () =>
      Effect.gen(function* () {
        const store = yield* made({ commandTimeout: "100 millis" })
        yield* store.reserve("warm", one, ttl)
        yield* (yield* Redis.Redis).send("CLIENT", "PAUSE", "600")
        const failure = yield* Effect.flip(store.reserve("late", one, ttl))
        assert.deepStrictEqual([failure._tag, failure.operation], ["StoreUnavailable", "reserve"])
        yield* store.settle("late", [0, 0, 0, 0])
        const left = Effect.orElseSucceed(leftOf(store, concurrency), () => undefined)
        yield* Effect.repeat(left, { until: (n) => n === 9, schedule: Schedule.spaced("50 millis"), times: 100 })
        assert.strictEqual(yield* left, 9)
      })
    )

    it.effect("is unavailable while it is gone, and serves again when it is back", () =>
      Effect.gen(function* () {
        const server = yield* RedisServer
        const store = yield* made({ commandTimeout: "100 millis" })
        yield* store.reserve("before", one, ttl)
        yield* server.kill
        assert.strictEqual((yield* Effect.flip(store.reserve("gone", one, ttl)))._tag, "StoreUnavailable")
        yield* server.start
        const again = Effect.exit(store.reserve("back", one, ttl))
        const answer = yield* Effect.repeat(again, {
          until: (exit) => exit._tag === "Success",
          schedule: Schedule.spaced("50 millis"),
          times: 200
        })
        assert.strictEqual(answer._tag, "Success")
      })
    )
  })

  it.layer(
    client().pipe(Layer.provideMerge(own("--maxmemory", "20mb", "--maxmemory-policy", "allkeys-lru"))),
    live
  )((it) => {
    it.effect("that may evict quotas is refused at the start", () =>
      Effect.gen(function* () {
        const failure = yield* Effect.flip(made())
        assert.match(failure.message, /allkeys/)
      })
    )
  })
})

/** The store over a connection that can be broken, in a group of its own. */
const breakable = Effect.gen(function* () {
  const redis = yield* Redis.Redis
  const group = newGroup()
  let broken: Effect.Effect<never, Redis.RedisError> | undefined
  const failing: Redis.Redis["Service"] = {
    ...redis,
    send: (...command) => broken ?? redis.send(...command)
  }
  const layer = RedisQuotaStore.layer({ group }).pipe(Layer.provide(Layer.succeed(Redis.Redis, failing)))
  const store = Context.get(yield* Layer.build(layer), QuotaStore)
  yield* store.settle("warm", [])
  const answers = {
    never: Effect.sync(() => void (broken = Effect.never)),
    failing: Effect.sync(() => void (broken = Effect.fail(new Redis.RedisError({ cause: new Error("closed") })))),
    again: Effect.sync(() => void (broken = undefined))
  }
  return { redis, group, store, answers }
})

/** Calls of scripts by what the effect does. */
const scriptCalls = Effect.fnUntraced(function* <E>(effect: Effect.Effect<unknown, E>) {
  const before = yield* calls
  yield* effect
  return ((yield* calls).get("evalsha") ?? 0) - (before.get("evalsha") ?? 0)
})

describeRedis("leases", () => {
  it.layer(client().pipe(Layer.provideMerge(anyServer)))((it) => {
    it.effect("of one process are renewed by one command, and by none when they are settled", () =>
      Effect.gen(function* () {
        const { redis, store } = yield* timed()
        yield* warm(redis)
        const leases = Array.from({ length: 50 }, (_, i) => `${i}`)
        yield* Effect.forEach(leases, (lease) => store.reserve(lease, [of(concurrency, 0)], ttl))
        assert.strictEqual(yield* scriptCalls(TestClock.adjust(third)), 1)
        yield* Effect.forEach(leases, (lease) => store.settle(lease, []))
        assert.strictEqual(yield* scriptCalls(TestClock.adjust(third)), 0)
        assert.strictEqual(yield* scriptCalls(TestClock.adjust("1 hour")), 0)
      })
    )

    it.effect("tell how many processes hold any, once they are renewed, and forget those that ended", () =>
      Effect.gen(function* () {
        const { group, pass, redis, store } = yield* timed()
        yield* warm(redis)
        const settings = { redis, keys: new Keys("ballast", group), commandTimeout: 250, offset: () => 0 }
        const other = new Store(settings, yield* Effect.context())
        assert.strictEqual(store.shared.name, "redis")
        assert.isUndefined(store.shared.instances())
        yield* store.reserve("lease", [of(bucket)], ttl)
        yield* other.reserve("other", [of(bucket)], ttl)
        yield* TestClock.adjust(third)
        yield* redis.send("PING")
        yield* TestClock.adjust(third)
        yield* redis.send("PING")
        assert.deepStrictEqual([store.shared.instances(), other.shared.instances()], [2, 2])
        yield* other.settle("other", [1])
        yield* other.close
        yield* pass(Duration.toMillis(ttl))
        yield* TestClock.adjust(third)
        yield* redis.send("PING")
        assert.strictEqual(store.shared.instances(), 1)
        yield* store.settle("lease", [1])
      })
    )

    it.effect("of a shorter ttl are renewed sooner while there are any, also when others wait for their turn", () =>
      Effect.gen(function* () {
        const { pass, redis, store } = yield* timed()
        yield* warm(redis)
        yield* store.reserve("long", [of(concurrency, 1)], ttl)
        yield* store.reserve("short", [of(concurrency, 2)], Duration.seconds(6))
        for (let i = 0; i < 5; i++) {
          yield* TestClock.adjust("2 seconds")
          yield* redis.send("PING")
          yield* pass(2000)
        }
        assert.strictEqual(yield* leftOf(store, concurrency), 7)
        yield* store.settle("short", [])
        yield* TestClock.adjust("2 seconds")
        yield* redis.send("PING")
        assert.strictEqual(yield* scriptCalls(TestClock.adjust("19 seconds")), 0)
        assert.strictEqual(yield* scriptCalls(TestClock.adjust("1 seconds")), 1)
      })
    )

    it.effect("that ended take nothing again when their holder wakes up", () =>
      Effect.gen(function* () {
        const { pass, redis, store } = yield* timed()
        yield* warm(redis)
        yield* store.reserve("stays", [of(concurrency, 1)], Duration.hours(1))
        yield* store.reserve("stopped", [of(concurrency, 9)], ttl)
        yield* pass(Duration.toMillis(ttl))
        assert.strictEqual((yield* store.reserve("next", [of(concurrency, 9)], ttl))._tag, "Granted")
        yield* TestClock.adjust(third)
        yield* redis.send("PING")
        assert.strictEqual((yield* store.reserve("third", [of(concurrency, 1)], ttl))._tag, "Denied")
        yield* store.settle("stopped", [])
        assert.strictEqual(yield* leftOf(store, concurrency), 0)
        yield* store.settle("next", [])
        assert.strictEqual(yield* leftOf(store, concurrency), 9)
      })
    )

    it.effect("are forgotten when they are denied or settled, or end without an answer", () =>
      Effect.gen(function* () {
        const { redis, store } = yield* timed()
        yield* store.reserve("denied", [of(concurrency, 11)], ttl)
        assert.strictEqual(store.size.held, 0)
        yield* store.reserve("granted", [of(concurrency)], ttl)
        yield* Fiber.interrupt(yield* Effect.forkChild(store.reserve("unknown", one, ttl), { startImmediately: true }))
        assert.strictEqual(store.size.held, 2)
        yield* store.settle("granted", [])
        yield* TestClock.adjust(ttl)
        yield* redis.send("PING")
        assert.deepStrictEqual(store.size, { held: 0, outbox: 0 })
      })
    )

    it.effect("leave no key that lives for ever, before and after their settle", () =>
      Effect.gen(function* () {
        const { group, redis, store } = yield* timed()
        const never: Quota = { _tag: "Bucket", capacity: 10, refillPerSecond: 0 }
        const lives = Effect.gen(function* () {
          const keys = yield* redis.send<ReadonlyArray<string>>("KEYS", `ballast:{${group}}:*`)
          return yield* Effect.forEach(keys, (key) => redis.send<number>("PTTL", key))
        })
        yield* store.reserve("lease", [...one, of(never, 1, "never")], ttl)
        yield* store.observe(of(bucket, 1, "observed"))
        const held = yield* lives
        assert.strictEqual(held.length, 7)
        yield* store.settle("lease", [1, 1, 1, 1, 1])
        yield* store.settle("unknown", [])
        const settled = yield* lives
        assert.strictEqual(settled.length, 7)
        for (const life of [...held, ...settled]) assert.isAbove(life, 0)
      })
    )

    it.effect("are settled when all that was known of them is evicted, and no quota holds more than before", () =>
      Effect.gen(function* () {
        for (const what of ["*", "lease:*", "C:*", "B:*", "R:*", "W:*"]) {
          const { group, redis, store } = yield* timed()
          yield* store.reserve("lease", one, ttl)
          const keys = yield* redis.send<ReadonlyArray<string>>("KEYS", `ballast:{${group}}:${what}`)
          assert.isNotEmpty(keys)
          yield* redis.send("DEL", ...keys)
          yield* store.settle("lease", [0, 0, 0, 0])
          const states = yield* store.read(one)
          // what a lost lease took stays taken: until it refills, its window ends or it expires
          const left = what === "lease:*" ? 9 : 10
          assert.deepStrictEqual(
            states.map(({ remaining }) => remaining),
            [left, left, left, left]
          )
        }
      })
    )
  })
})

describeRedis("a settle that Redis does not answer", () => {
  it.layer(client().pipe(Layer.provideMerge(anyServer)))((it) => {
    it.effect("does not fail, and is told again when the lease is over, too", () =>
      Effect.gen(function* () {
        const { answers, store } = yield* breakable
        yield* store.reserve("lease", one, ttl)
        yield* answers.failing
        yield* store.settle("lease", [0, 0, 0, 0])
        yield* TestClock.adjust("5 minutes")
        yield* answers.again
        assert.strictEqual(yield* leftOf(store, concurrency), 9)
        yield* TestClock.adjust("5 seconds")
        const states = yield* store.read(one)
        assert.deepStrictEqual(
          states.map(({ remaining }) => remaining),
          [10, 10, 10, 10]
        )
      })
    )

    it.effect("is told again though who settled was interrupted", () =>
      Effect.gen(function* () {
        const { answers, store } = yield* breakable
        yield* store.reserve("lease", one, ttl)
        yield* answers.never
        const settled = yield* Effect.forkChild(store.settle("lease", [0, 0, 0, 0]), { startImmediately: true })
        const interrupted = yield* Effect.forkChild(Fiber.interrupt(settled), { startImmediately: true })
        // a fiber may yield before it sets its alarm, and the clock must not have passed it by then
        const ended = Effect.map(TestClock.adjust("250 millis"), () => interrupted.pollUnsafe() !== undefined)
        yield* Effect.repeat(ended, { until: (ended) => ended, times: 100 })
        yield* answers.again
        // what is told again needs real time, too
        const left = Effect.andThen(TestClock.adjust("200 millis"), leftOf(store, concurrency))
        assert.strictEqual(yield* Effect.repeat(left, { until: (left) => left === 10, times: 100 }), 10)
      })
    )

    it.effect("is told when the store closes", () =>
      Effect.gen(function* () {
        const { group, redis } = yield* Effect.scoped(
          Effect.gen(function* () {
            const { answers, store, ...rest } = yield* breakable
            yield* store.reserve("lease", one, ttl)
            yield* answers.failing
            yield* store.settle("lease", [0, 0, 0, 0])
            yield* answers.again
            return rest
          })
        )
        const settings = { redis, keys: new Keys("ballast", group), commandTimeout: 250, offset: () => 0 }
        assert.strictEqual(yield* leftOf(new Store(settings, yield* Effect.context()), concurrency), 10)
      })
    )
  })
})

describeOwnRedis("a server that hangs", () => {
  it.layer(client().pipe(Layer.provideMerge(own())))((it) => {
    it.effect("keeps nobody for longer than the command timeout, whether or not it can be interrupted", () =>
      Effect.gen(function* () {
        const store = yield* made()
        const admin = Context.get(yield* Layer.build(Layer.fresh(client())), Redis.Redis)
        yield* store.settle("warm", [])
        yield* store.reserve("lease", one, ttl)
        yield* admin.send("CLIENT", "PAUSE", "60000", "WRITE")
        const asked = yield* Effect.forkChild(Effect.uninterruptible(Effect.flip(store.reserve("late", one, ttl))))
        const settled = yield* Effect.forkChild(store.settle("lease", [0, 0, 0, 0]))
        const interrupted = yield* Effect.forkChild(store.reserve("interrupted", one, ttl))
        yield* TestClock.adjust("249 millis")
        assert.isUndefined(asked.pollUnsafe())
        assert.isUndefined(settled.pollUnsafe())
        yield* Fiber.interrupt(interrupted)
        yield* TestClock.adjust("1 millis")
        const { message } = yield* Fiber.join(asked)
        assert.strictEqual(message, "Store redis is unavailable (reserve): no answer within 250 ms")
        yield* Fiber.join(settled)
        yield* Effect.forkChild(store.settle("late", [0, 0, 0, 0]))
        yield* Effect.forkChild(store.settle("interrupted", [0, 0, 0, 0]))
        yield* TestClock.adjust("1 millis")
        yield* admin.send("CLIENT", "UNPAUSE")
        const states = yield* store.read(one)
        assert.deepStrictEqual(
          states.map(({ remaining }) => remaining),
          [10, 10, 10, 10]
        )
      })
    )
  })
})

describeOwnRedis("what went wrong", () => {
  it.layer(client().pipe(Layer.provideMerge(own())))((it) => {
    it.effect("is told by its code, without names, keys and passwords", () =>
      Effect.gen(function* () {
        const redis = yield* Redis.Redis
        yield* redis.send("ACL", "SETUSER", "alice", "on", ">secret", "~*", "+@all", "-info", "-evalsha")
        const limited = Layer.fresh(client({ username: "alice", password: "secret" }))
        const context = yield* Layer.build(RedisQuotaStore.layer().pipe(Layer.provide(limited)))
        const failure = yield* Effect.flip(Context.get(context, QuotaStore).reserve("lease", one, ttl))
        const expected = { _tag: "StoreUnavailable", store: "redis", operation: "reserve", description: "NOPERM" }
        assert.deepStrictEqual(JSON.parse(JSON.stringify(failure)), expected)
        assert.notMatch(inspect(failure, { depth: 10 }), /alice|secret|key/)
      })
    )

    it.effect("with one settle does not keep the others", () =>
      Effect.gen(function* () {
        const { group, redis, store } = yield* timed()
        yield* store.reserve("poisoned", [of(bucket, 1, "poison")], ttl)
        yield* redis.send("DEL", `ballast:{${group}}:B:poison`)
        yield* redis.send("LPUSH", `ballast:{${group}}:B:poison`, "no string")
        yield* store.settle("poisoned", [0])
        assert.strictEqual(store.size.outbox, 1)
        yield* store.reserve("lease", one, ttl)
        yield* store.settle("lease", [0, 0, 0, 0])
        assert.strictEqual(yield* leftOf(store, concurrency), 10)
        const failure = yield* Effect.flip(store.read([of(bucket, 1, "poison")]))
        assert.strictEqual(failure.description, "WRONGTYPE")
      })
    )
  })
})

describeOwnRedis("a server that is killed and started again in mid-load", { timeout: 30_000 }, () => {
  it.layer(
    client().pipe(Layer.provideMerge(own())),
    live
  )((it) => {
    it.effect("makes calls fail with StoreUnavailable alone, and everything taken is free in the end", () =>
      Effect.gen(function* () {
        const server = yield* RedisServer
        const store = yield* made()
        const held: Quota = { _tag: "Concurrency", limit: 20 }
        const entries = [of(held), of({ ...bucket, capacity: 1e6 }, 1, "wide")]
        let [granted, failed, longest] = [0, 0, 0]
        const end = { reached: false }
        const enough = yield* Latch.make()
        const down = yield* Latch.make()
        const back = yield* Latch.make()
        const once = Effect.fnUntraced(function* (lease: string) {
          const [took, answer] = yield* Effect.timed(Effect.result(store.reserve(lease, entries, ttl)))
          longest = Math.max(longest, Duration.toMillis(took))
          if (Result.isFailure(answer)) {
            assert.strictEqual(answer.failure._tag, "StoreUnavailable")
            if (++failed === 60) yield* down.open
          } else if (answer.success._tag === "Granted" && ++granted >= 500) {
            yield* failed === 0 ? enough.open : granted >= 2000 ? back.open : Effect.void
          }
          yield* store.settle(lease, [0, 0])
          yield* Effect.sleep("1 millis")
        })
        const caller = Effect.fnUntraced(function* (id: number) {
          for (let i = 0; !end.reached; i++) yield* once(`${id}.${i}`)
        })
        const load = yield* Effect.forkChild(
          Effect.forEach(Array(50).keys(), caller, { concurrency: "unbounded", discard: true })
        )
        yield* Effect.raceFirst(enough.await, Fiber.join(load))
        yield* server.kill
        yield* Effect.raceFirst(down.await, Fiber.join(load))
        yield* server.start
        granted = 500
        yield* Effect.raceFirst(back.await, Fiber.join(load))
        end.reached = true // not interrupted: whoever is, and does not settle, leaves it to the lease
        yield* Fiber.join(load)
        assert.isBelow(longest, 2000)
        const left = leftOf(store, held)
        yield* Effect.repeat(left, { until: (n) => n === 20, schedule: Schedule.spaced("50 millis"), times: 100 })
        assert.strictEqual(yield* left, 20)
      })
    )
  })
})

describe("keys", () => {
  const keys = new Keys("}{a", "b}{")

  it("have one hash tag, whatever is in them, and are short", () => {
    for (const text of ["}{x", "{", "", "a b\n", "\ud800", "é", "x".repeat(10_000)])
      for (const key of [keys.instances, keys.lease(text), ...every.map((quota) => keys.entry({ key: text, quota }))])
        assert.match(key, /^%007d%007ba:\{b%007d%007b\}:(instances|(lease|[BRWC]):[\w.:~%#*/-]{0,240})$/)
  })

  it("differ where their texts do", () => {
    const texts = ["a", "%0061", "é", "e\u0301", "\ud800", "\udfff", "x".repeat(201), "x".repeat(202)]
    assert.strictEqual(new Set(texts.map((text) => keys.lease(text))).size, texts.length)
  })
})

describe("the options", () => {
  it("that can never work are refused when the store is made", () => {
    for (const commandTimeout of [0, -1, Number.NaN, Infinity])
      assert.throws(() => RedisQuotaStore.layer({ commandTimeout }), /^RedisQuotaStore.make: commandTimeout must be/)
  })

  it.effect("may come from a Config, where they are a ConfigError", () =>
    Effect.gen(function* () {
      const layer = RedisQuotaStore.layerConfig({ commandTimeout: Config.Number("TIMEOUT"), group: "g" })
      const env = ConfigProvider.layer(ConfigProvider.fromEnv({ env: { TIMEOUT: "0" } }))
      const never = Layer.succeed(Redis.Redis, {} as Redis.Redis["Service"]) // is not asked
      const failure = yield* Effect.flip(Layer.build(layer.pipe(Layer.provide([env, never]))))
      assert.match(String(failure), /commandTimeout must be a duration > 0, got 0/)
    })
  )
})

/** Of all processes, in order. */
const grants = (reports: ReadonlyArray<fleet.Report>): ReadonlyArray<number> => {
  for (const { denied } of reports) assert.isAbove(denied, 0)
  return reports.flatMap(({ granted }) => granted).sort((a, b) => a - b)
}
