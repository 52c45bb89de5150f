import process from "node:process"
import { assert, it } from "@effect/vitest"
import { Context, Duration, Effect, Layer, Schedule } from "effect"
import { Redis } from "effect/persistence"
import { TestClock } from "effect/testing"
import { QuotaStoreContract } from "effect-ballast/testing"
import { type Entry, type Quota, QuotaStore, type Service } from "effect-ballast/QuotaStore"
import * as RedisQuotaStore from "effect-ballast/RedisQuotaStore"
import { Keys, scripts } from "../src/internal/redisQuotas.ts"
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

const ttl = Duration.minutes(1)

/** Tests of processes and connections run in real time. */
const live = { excludeTestServices: true }

let groups = 0

/** A group that no other test uses, of a process that no other test run is. */
const newGroup = () => `test-${process.pid}-${groups++}`

/** A store in a group of its own whose time passes when it is told to, and the time of its renewals with it. */
const timed = Effect.gen(function* () {
  const redis = yield* Redis.Redis
  const group = newGroup()
  let offset = 0
  const settings = { redis, keys: new Keys("ballast", group), commandTimeout: 250, offset: () => offset }
  const store = new Store(settings, yield* Effect.context())
  yield* Effect.addFinalizer(() => store.close)
  const pass = (millis: number) =>
    Effect.andThen(
      redis.send("EVAL", moveExpiries, "0", `ballast:{${group}}:*`, `${millis}`),
      Effect.sync(() => void (offset += millis))
    )
  return { store, pass, redis, group }
})

/** What a key has yet to live is shorter by so much. */
const moveExpiries = `
for _, key in ipairs(redis.call("KEYS", ARGV[1])) do
  redis.call("PEXPIRE", key, redis.call("PTTL", key) - ARGV[2])
end`

const third = Duration.toMillis(ttl) / 3

describeRedis("the contract, in Redis", () => {
  it.layer(client().pipe(Layer.provideMerge(anyServer)))((it) => {
    for (const { name, renews, run } of QuotaStoreContract.cases)
      it.effect(name, () =>
        Effect.gen(function* () {
          const { pass, redis, store } = yield* timed
          yield* redis.eval(scripts.renew)([], ["0"])
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
        const { group, pass, store } = yield* timed
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
        const before = yield* calls
        assert.strictEqual((yield* store.reserve("lease", one, ttl))._tag, "Granted")
        yield* store.settle("lease", [0, 0, 0, 0])
        const after = yield* calls
        assert.strictEqual((after.get("evalsha") ?? 0) - (before.get("evalsha") ?? 0), 2)
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

/** Of all processes, in order. */
const grants = (reports: ReadonlyArray<fleet.Report>): ReadonlyArray<number> => {
  for (const { denied, granted } of reports) {
    assert.isAbove(granted.length, 0)
    assert.isAbove(denied, 0)
  }
  return reports.flatMap(({ granted }) => granted).sort((a, b) => a - b)
}
