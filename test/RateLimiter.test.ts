import { assert, describe, it } from "@effect/vitest"
import { Clock, Config, ConfigProvider, Deferred, Effect, Exit, Fiber, Layer, Metric } from "effect"
import { TestClock } from "effect/testing"
import { Caller, Deadline, Metrics, QuotaStore, RateLimiter } from "effect-ballast"
import { failureOf, isWaiting, left, limiter, Log } from "./support/limiters.ts"

const fork = <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.forkChild(self, { startImmediately: true })

/** Starts one caller after the other, each of whom notes when it got through. */
const callers = Effect.fnUntraced(function* <E>(
  log: Log,
  names: ReadonlyArray<string | number>,
  get: (name: string | number) => Effect.Effect<unknown, E>
) {
  const fibers: Array<Fiber.Fiber<void, E>> = []
  for (const name of names) fibers.push(yield* fork(Effect.andThen(get(name), log.note(name))))
  return fibers
})

describe("acquire", () => {
  it.effect("lets the burst go at once and the others the moment there is room, in their order", () =>
    Effect.gen(function* () {
      const limits = yield* limiter({ requestsPerMinute: 60, burst: "3 seconds" })
      const log = yield* Log.make
      yield* callers(log, [1, 2, 3, 4, 5, 6], () => limits.acquire("key"))
      assert.deepStrictEqual(log.times, [0, 0, 0])
      yield* TestClock.adjust("999 millis")
      assert.deepStrictEqual(log.times, [0, 0, 0])
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(log.names, [1, 2, 3, 4, 5, 6])
      assert.deepStrictEqual(log.times, [0, 0, 0, 1000, 2000, 3000])
    })
  )

  it.effect("keeps keys apart, of any length", () =>
    Effect.gen(function* () {
      const limits = yield* limiter({ requestsPerMinute: 1 })
      for (const key of ["a", "b", "", "}{x", "x".repeat(10_000), `${"x".repeat(10_000)}y`])
        assert.deepStrictEqual([yield* limits.tryAcquire(key), yield* limits.tryAcquire(key)], [true, false])
    })
  )

  it.effect("takes what it costs, of every limit together or of none", () =>
    Effect.gen(function* () {
      const limits = yield* limiter({ requestsPerMinute: 10, tokensPerMinute: 100, outputTokensPerMinute: 60 })
      yield* limits.acquire("key", { requests: 2, inputTokens: 30, outputTokens: 50 })
      const remaining = Effect.map(limits.state({ key: "key" }), (states) => states.map((state) => state.remaining))
      assert.deepStrictEqual(yield* remaining, [8, 20, 10])
      assert.isFalse(yield* limits.tryAcquire("key", { requests: 1, inputTokens: 5, outputTokens: 11 }))
      assert.deepStrictEqual(yield* remaining, [8, 20, 10])
      assert.isTrue(yield* limits.tryAcquire("key", { requests: 1, inputTokens: 5, outputTokens: 10 }))
    })
  )

  it.effect("fails at once where there can never be room, and names the limit", () =>
    Effect.gen(function* () {
      const limits = yield* limiter({ requestsPerMinute: 10 })
      const failure = yield* Effect.flip(limits.acquire("key", 11))
      assert.deepInclude(failure, { _tag: "RateLimitExceeded", limit: "requestsPerMinute", why: "larger-than-limit" })
      assert.strictEqual(failure.message, "Rate limit requestsPerMinute refused the call (larger-than-limit)")
      assert.strictEqual(yield* left(limits, { key: "key" }, "requestsPerMinute"), 10)
    })
  )

  it("refuses costs that cannot be counted", () =>
    Effect.runPromise(
      Effect.scoped(
        Effect.gen(function* () {
          const limits = yield* limiter({ requestsPerMinute: 10 })
          for (const cost of [-1, 0.5, Number.NaN, Infinity]) {
            assert.throws(() => limits.acquire("key", cost), /^RateLimiter: cost.requests must be an integer >= 0/)
            assert.throws(() => limits.tryAcquire("key", { inputTokens: cost }), /cost.inputTokens/)
            assert.throws(() => limits.withPermits({ key: "key", cost: { outputTokens: cost } }), /cost.outputTokens/)
          }
        })
      )
    ))

  it.effect("through the service", () =>
    Effect.gen(function* () {
      yield* RateLimiter.acquire("key")
      assert.isTrue(yield* RateLimiter.tryAcquire("key"))
      assert.isFalse(yield* RateLimiter.tryAcquire("key"))
      assert.strictEqual((yield* RateLimiter.state({ key: "key" }))[0]?.remaining, 0)
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(yield* RateLimiter.withPermits({ key: "key" })(Effect.succeed(7)), 7)
    }).pipe(Effect.provide(RateLimiter.layer({ requestsPerMinute: 2 }).pipe(Layer.provide(QuotaStore.layerMemory))))
  )
})

describe("a queue", () => {
  it.effect("fails who would have to wait for longer than maxWait, at once and with the wait", () =>
    Effect.gen(function* () {
      const limits = yield* limiter({ requestsPerMinute: 2, maxWait: "30 seconds" })
      yield* limits.acquire("key", 2)
      const exact = yield* fork(limits.acquire("key"))
      assert.isTrue(isWaiting(exact))
      const failure = yield* Effect.flip(limits.acquire("other", 2).pipe(Effect.andThen(limits.acquire("other", 2))))
      assert.deepInclude(failure, { limit: "requestsPerMinute", why: "wait-too-long" })
      assert.match(failure.message, /Retry after 1m$/)
      yield* TestClock.adjust("29999 millis")
      assert.isTrue(isWaiting(exact))
      yield* TestClock.adjust("1 millis")
      yield* Fiber.join(exact)
    })
  )

  it.effect("fails who waited for maxWait behind others", () =>
    Effect.gen(function* () {
      const limits = yield* limiter({ concurrency: 1, maxWait: "30 seconds" })
      yield* fork(limits.withPermits({ key: "key" })(Effect.never))
      const waiting = yield* fork(limits.withPermits({ key: "key" })(Effect.void))
      yield* TestClock.adjust("29999 millis")
      assert.isTrue(isWaiting(waiting))
      yield* TestClock.adjust("1 millis")
      assert.deepInclude(failureOf(waiting), { limit: "concurrency", why: "wait-too-long" })
    })
  )

  it.effect("is never waited in past the deadline", () =>
    Effect.gen(function* () {
      const limits = yield* limiter({ requestsPerMinute: 1 })
      yield* limits.acquire("key")
      yield* TestClock.adjust("50 seconds")
      const late = yield* Effect.flip(Deadline.within(limits.acquire("key"), "10 seconds"))
      assert.deepInclude(late, { why: "wait-too-long" })
      const inTime = yield* fork(Deadline.within(limits.acquire("key"), "10001 millis"))
      yield* TestClock.adjust("10 seconds")
      yield* Fiber.join(inTime)
    })
  )

  it.effect("is full with maxQueue waiters, and with maxQueuePerTenant of one tenant", () =>
    Effect.gen(function* () {
      const limits = yield* limiter({ requestsPerMinute: 60, burst: "1 second", maxQueue: 5, maxQueuePerTenant: 2 })
      yield* limits.acquire("key")
      const of = (tenant?: string) =>
        fork(Effect.provideService(limits.acquire("key"), Caller.Caller, tenant === undefined ? {} : { tenant }))
      const queued = [yield* of("a"), yield* of("a"), yield* of(), yield* of()]
      const third = yield* of("a")
      queued.push(yield* of())
      const sixth = yield* of("b")
      assert.isTrue(queued.every(isWaiting))
      for (const refused of [third, sixth]) assert.deepInclude(failureOf(refused), { why: "queue-full" })
      yield* TestClock.adjust("1 second")
      const next = yield* of("b")
      assert.isTrue(isWaiting(next))
      yield* TestClock.adjust("10 seconds")
      assert.isFalse([...queued, next].some(isWaiting))
    })
  )

  it.effect("of none makes nobody wait", () =>
    Effect.gen(function* () {
      const limits = yield* limiter({ requestsPerMinute: 1, maxQueue: 0 })
      yield* limits.acquire("key")
      assert.deepInclude(yield* Effect.flip(limits.acquire("key")), { why: "queue-full" })
    })
  )

  it.effect("goes by priority, then tenant by tenant, then by arrival", () =>
    Effect.gen(function* () {
      const limits = yield* limiter({ requestsPerMinute: 60, burst: "1 second" })
      const log = yield* Log.make
      yield* limits.acquire("key")
      const names = ["low", "a1", "a2", "a3", "b1", "b2", "none", "high1", "high2"]
      const who = (name: string | number): Caller.Identity => {
        const text = String(name)
        if (text.startsWith("high")) return { priority: "high" }
        if (text === "low") return { priority: "low" }
        return text === "none" ? {} : { tenant: text.slice(0, 1) }
      }
      yield* callers(log, names, (name) => Effect.provideService(limits.acquire("key"), Caller.Caller, who(name)))
      for (let i = 0; i < 9; i++) yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(log.names, ["high1", "high2", "a1", "b1", "none", "a2", "b2", "a3", "low"])
      assert.deepStrictEqual(log.times, [1000, 2000, 3000, 4000, 5000, 6000, 7000, 8000, 9000])
    })
  )

  it.effect("is not overtaken by who comes when there is room", () =>
    Effect.gen(function* () {
      const limits = yield* limiter({ tokensPerMinute: 60 })
      const log = yield* Log.make
      const take = (tokens: number) => limits.acquire("key", { inputTokens: tokens })
      yield* take(60)
      yield* callers(log, ["large", "small"], (name) => take(name === "large" ? 20 : 1))
      yield* TestClock.adjust("5 seconds")
      assert.isFalse(yield* limits.tryAcquire("key", { inputTokens: 1 }))
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(log.entries, [
        ["large", 20_000],
        ["small", 21_000]
      ])
    })
  )

  it.effect("loses nothing to a waiter who leaves: the others get through at the very same times", () =>
    Effect.gen(function* () {
      const times = (leaving: ReadonlyArray<number>, after: number) =>
        Effect.gen(function* () {
          const limits = yield* limiter({ requestsPerMinute: 60, burst: "2 seconds" })
          const log = yield* Log.make
          const fibers = yield* callers(log, [0, 1, 2, 3, 4, 5, 6, 7], () => limits.acquire("key"))
          yield* TestClock.adjust(after)
          for (const i of leaving) yield* Fiber.interrupt(fibers[i] ?? assert.fail())
          yield* TestClock.adjust("1 minute")
          return log.times
        })
      const undisturbed = [0, 0, 1000, 2000, 3000, 4000, 5000, 6000]
      assert.deepStrictEqual(yield* times([], 500), undisturbed)
      // the first of the queue, the last, and several: those behind move up, and no moment is lost
      for (const leaving of [[2], [7], [3], [2, 3, 4], [2, 4, 6]])
        assert.deepStrictEqual(yield* times(leaving, 500), undisturbed.slice(0, 8 - leaving.length))
    })
  )

  it.effect("asks again when somebody gives back, and not only when it had planned to", () =>
    Effect.gen(function* () {
      const limits = yield* limiter({ concurrency: 1 })
      const log = yield* Log.make
      const release = yield* Deferred.make<void>()
      const holder = yield* fork(limits.withPermits({ key: "key" })(Deferred.await(release)))
      yield* callers(log, [1, 2], () => limits.withPermits({ key: "key" })(Effect.sleep("3 seconds")))
      yield* TestClock.adjust("7 seconds")
      assert.deepStrictEqual(log.names, [])
      yield* Deferred.succeed(release, undefined)
      yield* Fiber.join(holder)
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(log.times, [10_000, 13_000])
    })
  )

  it.effect("sleeps once for each who waits at most, and polls never", () =>
    Effect.gen(function* () {
      const clock = yield* Clock.Clock
      let sleeps = 0
      const counting: Clock.Clock = {
        ...clock,
        currentTimeMillisUnsafe: () => clock.currentTimeMillisUnsafe(),
        currentTimeNanosUnsafe: () => clock.currentTimeNanosUnsafe(),
        sleep: (duration) => {
          sleeps++
          return clock.sleep(duration)
        }
      }
      yield* Effect.gen(function* () {
        const limits = yield* limiter({ requestsPerMinute: 60, burst: "1 second", maxWait: "10 minutes" })
        const log = yield* Log.make
        yield* callers(
          log,
          Array.from({ length: 101 }, (_, i) => i),
          () => limits.acquire("key")
        )
        assert.strictEqual(log.times.length, 1)
        yield* TestClock.adjust("10 seconds")
        assert.strictEqual(log.times.length, 11)
        yield* TestClock.adjust("10 minutes")
        assert.strictEqual(log.times.length, 101)
      }).pipe(Effect.provideService(Clock.Clock, counting))
      assert.isAtMost(sleeps, 102)
    })
  )

  it.effect("is empty when everybody is gone", () =>
    Effect.gen(function* () {
      const limits = yield* limiter({ concurrency: 1 })
      const holder = yield* fork(limits.withPermits({ key: "key" })(Effect.never))
      const waiting = yield* fork(limits.withPermits({ key: "key" })(Effect.never))
      yield* Fiber.interrupt(waiting)
      yield* Fiber.interrupt(holder)
      assert.strictEqual(yield* limits.withPermits({ key: "key" })(Effect.succeed(1)), 1)
    })
  )
})

describe("withPermits", () => {
  it.effect("holds its place until the effect ends, however it ends", () =>
    Effect.gen(function* () {
      const limits = yield* limiter({ concurrency: 1, requestsPerMinute: 100 })
      const ends = [Effect.void, Effect.fail("no"), Effect.die("no"), Effect.interrupt]
      for (const end of ends) {
        yield* Effect.exit(limits.withPermits({ key: "key" })(end as Effect.Effect<void>)) // each ends in its own way
        assert.strictEqual(yield* left(limits, { key: "key" }, "concurrency"), 1)
      }
      const running = yield* fork(limits.withPermits({ key: "key" })(Effect.never))
      assert.strictEqual(yield* left(limits, { key: "key" }, "concurrency"), 0)
      yield* Fiber.interrupt(running)
      assert.strictEqual(yield* left(limits, { key: "key" }, "concurrency"), 1)
      assert.strictEqual(yield* left(limits, { key: "key" }, "requestsPerMinute"), 95)
    })
  )

  it.effect("takes nothing where it never ran", () =>
    Effect.gen(function* () {
      const limits = yield* limiter({ concurrency: 1, requestsPerMinute: 100 })
      yield* fork(limits.withPermits({ key: "key" })(Effect.never))
      const waiting = yield* fork(limits.withPermits({ key: "key" })(Effect.never))
      yield* Fiber.interrupt(waiting)
      assert.strictEqual(yield* left(limits, { key: "key" }, "requestsPerMinute"), 99)
    })
  )
})

describe("onLimit: fail", () => {
  it.effect("fails at once, and says when to come back", () =>
    Effect.gen(function* () {
      const limits = yield* limiter({ requestsPerMinute: 60, burst: "1 second", onLimit: "fail" })
      yield* limits.acquire("key")
      const failure = yield* Effect.flip(limits.acquire("key"))
      assert.deepInclude(failure, { limit: "requestsPerMinute", why: "limited" })
      assert.match(failure.message, /Retry after 1s$/)
    })
  )
})

describe("rolling", () => {
  it.effect("admits no more than the limit in any minute, and a bucket twice as much in its first", () =>
    Effect.gen(function* () {
      const admitted = (algorithm: RateLimiter.Algorithm) =>
        Effect.gen(function* () {
          const limits = yield* limiter({ requestsPerMinute: 60, algorithm })
          const times: Array<number> = []
          for (let second = 0; second < 180; second++) {
            while (yield* limits.tryAcquire("key")) times.push(second)
            yield* TestClock.adjust("1 second")
          }
          return Math.max(...times.map((at) => times.filter((other) => other >= at && other < at + 60).length))
        })
      assert.strictEqual(yield* admitted("rolling"), 60)
      assert.strictEqual(yield* admitted("bucket"), 119)
    })
  )

  it.effect("is how a day is counted", () =>
    Effect.gen(function* () {
      const limits = yield* limiter({ requestsPerDay: 2 })
      assert.deepStrictEqual([yield* limits.tryAcquire("key"), yield* limits.tryAcquire("key", 2)], [true, false])
      yield* TestClock.adjust("12 hours")
      assert.deepStrictEqual([yield* limits.tryAcquire("key"), yield* limits.tryAcquire("key")], [true, false])
    })
  )
})

describe("scopes", () => {
  const as = (identity: Caller.Identity) => Caller.provide(identity)

  it.effect("limit each tenant for itself, those without one together, beside what holds for all", () =>
    Effect.gen(function* () {
      const limits = yield* limiter({ requestsPerMinute: 100, scopes: [{ by: "tenant", requestsPerMinute: 2 }] })
      const take = (identity: Caller.Identity, key = "key") => limits.tryAcquire(key).pipe(as(identity))
      const counts: Record<string, number> = {}
      for (const tenant of ["a", "b", "", "undefined"])
        for (let i = 0; i < 3; i++) if (yield* take({ tenant }, `key ${i}`)) counts[tenant] = (counts[tenant] ?? 0) + 1
      assert.deepStrictEqual(counts, { a: 2, b: 2, "": 2, undefined: 2 })
      assert.deepStrictEqual([yield* take({}), yield* take({}), yield* take({ user: "u" })], [true, true, false])
    })
  )

  it.effect("of one tenant do not hold up the others", () =>
    Effect.gen(function* () {
      const limits = yield* limiter({
        requestsPerMinute: 6000,
        scopes: [{ by: "tenant", requestsPerMinute: 60, burst: "1 second" }]
      })
      const log = yield* Log.make
      yield* callers(log, ["a1", "a2", "a3", "b1", "b2"], (name) =>
        limits.acquire("key").pipe(as({ tenant: String(name).slice(0, 1) }))
      )
      assert.deepStrictEqual(log.names, ["a1", "b1"])
      yield* TestClock.adjust("2 seconds")
      assert.deepStrictEqual(log.entries.slice(2), [
        ["a2", 1000],
        ["b2", 1000],
        ["a3", 2000]
      ])
    })
  )

  it.effect("are named by who had to wait for them", () =>
    Effect.gen(function* () {
      const limits = yield* limiter({
        requestsPerMinute: 6000,
        scopes: [{ by: "tenant", requestsPerMinute: 60, burst: "1 second" }],
        maxWait: "1500 millis"
      })
      const take = () => fork(limits.acquire("key").pipe(as({ tenant: "a" })))
      const fibers = [yield* take(), yield* take(), yield* take()]
      yield* TestClock.adjust("1500 millis")
      const last = fibers[2] ?? assert.fail()
      assert.deepInclude(failureOf(last), { limit: "tenant.requestsPerMinute", why: "wait-too-long" })
    })
  )

  it.effect("wait behind the limit of all when their own has room, and the other way round, without a deadlock", () =>
    Effect.gen(function* () {
      const limits = yield* limiter({
        limits: [{ count: "requests", limit: 3, per: "1 second", burst: "1 millis" }],
        scopes: [{ by: "tenant", limits: [{ count: "requests", limit: 1, per: "1 second" }] }],
        maxWait: "1 hour"
      })
      const log = yield* Log.make
      const names = Array.from({ length: 40 }, (_, i) => `${"abcd"[i % 4]}${i}`)
      yield* callers(log, names, (name) => limits.acquire("key").pipe(as({ tenant: String(name).slice(0, 1) })))
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(log.names.length, 40)
      for (const tenant of "abcd") {
        const own = log.entries.filter(([name]) => String(name).startsWith(tenant))
        const numbers = own.map(([name]) => Number(String(name).slice(1)))
        assert.deepStrictEqual(
          numbers,
          numbers.toSorted((a, b) => a - b)
        )
        own.slice(1).forEach(([, at], i) => assert.isAtLeast(at - (own[i]?.[1] ?? 0), 1000))
      }
      log.times.slice(1).forEach((at, i) => assert.isAtLeast(at - (log.times[i] ?? 0), 333))
    })
  )

  it.effect("tell users of two tenants apart, and are whatever a function says", () =>
    Effect.gen(function* () {
      const limits = yield* limiter({
        scopes: [
          { by: "user", requestsPerMinute: 1 },
          { by: ({ feature }) => feature, name: "beta", requestsPerMinute: 1 }
        ]
      })
      const take = (identity: Caller.Identity) => limits.tryAcquire("key").pipe(as(identity))
      assert.isTrue(yield* take({ tenant: "a", user: "u" }))
      assert.isTrue(yield* take({ tenant: "b", user: "u" }))
      assert.isFalse(yield* take({ tenant: "a", user: "u" }))
      assert.isTrue(yield* take({ user: "1", feature: "x" }))
      assert.isFalse(yield* take({ user: "2", feature: "x" }))
      assert.isTrue(yield* take({ user: "2", feature: "y" }))
    })
  )
})

describe("mode: shadow", () => {
  it.effect("stops nothing, and counts what it would have stopped", () =>
    Effect.gen(function* () {
      const limits = yield* limiter({ requestsPerMinute: 1, mode: "shadow" })
      for (let i = 0; i < 3; i++) {
        yield* limits.acquire("key")
        assert.isTrue(yield* limits.tryAcquire("key"))
        assert.strictEqual(yield* limits.withPermits({ key: "key", cost: 5 })(Effect.succeed(i)), i)
      }
      assert.strictEqual(yield* left(limits, { key: "key" }, "requestsPerMinute"), 0)
    })
  )
})

describe("metrics", () => {
  it.effect("say how many wait, for how long they did, and why others were refused", () =>
    Effect.gen(function* () {
      const limits = yield* limiter({ requestsPerMinute: 60, burst: "1 second", maxQueue: 2 })
      const waits = Effect.map(Metric.value(Metrics.rateLimiterWait), ({ count, sum }) => [count, sum])
      const [count = 0, sum = 0] = yield* waits
      const queue = Effect.map(Metric.value(Metrics.rateLimiterQueue), ({ value }) => value)
      const full = Metric.value(Metric.withAttributes(Metrics.rateLimiterRefused, { why: "queue-full" }))
      const before = [yield* queue, (yield* full).count]
      const fibers = yield* Effect.forEach([1, 2, 3, 4], () => fork(Effect.exit(limits.acquire("key"))))
      assert.deepStrictEqual([yield* queue, (yield* full).count], [Number(before[0]) + 2, Number(before[1]) + 1])
      yield* TestClock.adjust("2 seconds")
      assert.isFalse(fibers.some(isWaiting))
      assert.deepStrictEqual(yield* queue, before[0])
      assert.deepStrictEqual(yield* waits, [count + 2, sum + 3])
    })
  )
})

describe("options", () => {
  const refused: ReadonlyArray<readonly [RateLimiter.Options, RegExp]> = [
    [{}, /^RateLimiter.make: needs at least one limit/],
    [{ limits: [] }, /needs at least one limit/],
    [{ requestsPerMinute: 0 }, /^RateLimiter.make: requestsPerMinute must be an integer >= 1, got 0/],
    [{ requestsPerMinute: -1 }, /requestsPerMinute must be an integer >= 1, got -1/],
    [{ tokensPerDay: 1.5 }, /tokensPerDay must be an integer >= 1, got 1.5/],
    [{ tokensPerMinute: Number.NaN }, /tokensPerMinute/],
    [{ inputTokensPerMinute: Infinity }, /inputTokensPerMinute/],
    [{ outputTokensPerMinute: 1e300 }, /outputTokensPerMinute/],
    [{ concurrency: 0 }, /concurrency must be an integer >= 1/],
    [{ requestsPerMinute: 1, burst: 0 }, /burst must be a duration > 0/],
    [{ limits: [{ count: "requests", limit: 1, per: 0 }] }, /limits\[0\].per must be a duration > 0/],
    [{ limits: [{ count: "requests", limit: 1, per: Infinity }] }, /limits\[0\].per in milliseconds/],
    [{ limits: [{ count: "tokens", limit: 0, per: "1 second" }] }, /limits\[0\].limit must be an integer >= 1/],
    [{ requestsPerMinute: 1, maxWait: -1 }, /maxWait must be a duration >= 0/],
    [{ requestsPerMinute: 1, maxWait: Infinity }, /maxWait must be finite/],
    [{ requestsPerMinute: 1, maxQueue: -1 }, /maxQueue must be an integer >= 0/],
    [{ requestsPerMinute: 1, maxQueuePerTenant: 0.5 }, /maxQueuePerTenant/],
    [{ requestsPerMinute: 1, pause: 0 }, /pause must be a duration > 0/],
    [{ requestsPerMinute: 1, expectedInstances: 0 }, /expectedInstances must be an integer >= 1/],
    [{ scopes: [{ by: "tenant" }] }, /scopes\[0\] needs at least one limit/],
    [{ scopes: [{ by: "tenant", requestsPerMinute: 0 }] }, /scopes\[0\].requestsPerMinute/],
    [{ scopes: [{ by: () => "x", requestsPerMinute: 1 }] }, /scopes\[0\].name is needed/]
  ]

  it.each(refused)("%j are refused when the limiter is made", (options, message) => {
    assert.throws(() => RateLimiter.layer(options), message)
  })

  it.effect("may come from a Config, where they are a ConfigError", () =>
    Effect.gen(function* () {
      const layer = RateLimiter.layerConfig({ requestsPerMinute: Config.Number("RPM") }).pipe(
        Layer.provide(QuotaStore.layerMemory)
      )
      const read = (RPM: string) =>
        Effect.exit(
          Layer.build(layer.pipe(Layer.provide(ConfigProvider.layer(ConfigProvider.fromEnv({ env: { RPM } })))))
        )
      assert.isTrue(Exit.isSuccess(yield* read("60")))
      const exit = yield* read("0")
      assert.match(Exit.isFailure(exit) ? String(exit.cause) : "", /requestsPerMinute must be an integer >= 1, got 0/)
    })
  )

  it.effect("that are absurdly large are counted all the same", () =>
    Effect.gen(function* () {
      const limits = yield* limiter({ tokensPerMinute: Number.MAX_SAFE_INTEGER })
      assert.isTrue(yield* limits.tryAcquire("key", { inputTokens: Number.MAX_SAFE_INTEGER }))
      assert.isFalse(yield* limits.tryAcquire("key", { inputTokens: Number.MAX_SAFE_INTEGER }))
    })
  )
})
