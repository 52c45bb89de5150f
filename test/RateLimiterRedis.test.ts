/** Limiters of several processes on one Redis, each with a connection and a store of its own. */
import process from "node:process"
import { assert, it } from "@effect/vitest"
import { Context, Duration, Effect, Exit, Fiber, Layer, Logger, Schedule } from "effect"
import { AiError } from "effect/ai"
import { RateLimiter } from "effect-ballast"
import * as Gate from "effect-ballast/Gate"
import { LlmError } from "effect-ballast/LlmError"
import * as RedisQuotaStore from "effect-ballast/RedisQuotaStore"
import { TestProvider } from "effect-ballast/testing"
import { left, request } from "./support/limiters.ts"
import { anyServer, calls, client, describeOwnRedis, describeRedis, own, RedisServer } from "./support/redis.ts"

const live = { excludeTestServices: true }

let groups = 0
const newGroup = () => `limiter-${process.pid}-${groups++}`

/** One process of a fleet. */
const instance = (options: RateLimiter.Options, group: string, commandTimeout: Duration.Input = "10 seconds") =>
  Effect.map(
    Layer.build(
      RateLimiter.layer(options).pipe(
        Layer.provide(Layer.fresh(RedisQuotaStore.layer({ group, commandTimeout }))),
        Layer.provide(
          Layer.fresh(
            client({ disableOfflineQueue: true, socket: { connectTimeout: 500, reconnectStrategy: () => 50 } })
          )
        )
      )
    ),
    (services) => Context.get(services, RateLimiter.RateLimiter)
  )

const until = <A, E, R>(self: Effect.Effect<A, E, R>, done: (a: A) => boolean) =>
  Effect.repeat(self, { until: done, schedule: Schedule.spaced("20 millis"), times: 500 })

describeRedis("a fleet", () => {
  it.layer(
    client().pipe(Layer.provideMerge(anyServer)),
    live
  )((it) => {
    it.effect("shares what it waits for: together its processes go no faster than one", () =>
      Effect.gen(function* () {
        const limit = { count: "requests", limit: 10, per: "1 second", algorithm: "rolling" } as const
        const group = newGroup()
        const fleet = yield* Effect.forEach([1, 2, 3], () => instance({ limits: [limit] }, group))
        const times: Array<number> = []
        const call = (limits: RateLimiter.Service) =>
          limits.withPermits({ key: "key" })(Effect.sync(() => void times.push(performance.now())))
        const callers = fleet.flatMap((limits) => Array.from({ length: 10 }, () => call(limits)))
        yield* Effect.all(callers, { concurrency: "unbounded" })
        assert.strictEqual(times.length, 30)
        // two more periods after the first; who is granted something may be late to note it
        assert.isAtLeast(Math.max(...times) - Math.min(...times), 2 * 1000 - 500)
      })
    )

    it.effect("pays one round trip to admit a call through all of its limits, and one to settle it", () =>
      Effect.gen(function* () {
        const limits = yield* instance(
          {
            requestsPerMinute: 60,
            tokensPerMinute: 90_000,
            requestsPerDay: 1000,
            concurrency: 5,
            scopes: [{ by: "tenant", requestsPerMinute: 10 }]
          },
          newGroup()
        )
        const provider = Gate.through([limits.gate])(TestProvider.make())
        yield* provider.generate(request)
        const before = yield* calls
        yield* provider.generate(request)
        const after = yield* calls
        const count = (name: string) => (after.get(name) ?? 0) - (before.get(name) ?? 0)
        assert.deepStrictEqual([count("evalsha"), count("eval")], [2, 0])
      })
    )

    it.effect("hears of a place that another process gave back", () =>
      Effect.gen(function* () {
        const group = newGroup()
        const [first = assert.fail(), second = assert.fail()] = yield* Effect.forEach([1, 2], () =>
          instance({ concurrency: 1 }, group)
        )
        const holder = yield* Effect.forkChild(first.withPermits({ key: "key" })(Effect.never), {
          startImmediately: true
        })
        yield* until(left(second, { key: "key" }, "concurrency"), (free) => free === 0)
        const waiting = yield* Effect.forkChild(second.withPermits({ key: "key" })(Effect.succeed("ran")))
        yield* Effect.sleep("100 millis")
        assert.isUndefined(waiting.pollUnsafe())
        yield* Fiber.interrupt(holder)
        assert.strictEqual(yield* Fiber.join(waiting), "ran")
      })
    )

    it.effect("pauses as a whole after a 429 that one of its processes was told", () =>
      Effect.gen(function* () {
        const group = newGroup()
        const [first = assert.fail(), second = assert.fail()] = yield* Effect.forEach([1, 2], () =>
          instance({ requestsPerMinute: 600 }, group)
        )
        const reason = new AiError.RateLimitError({})
        const retryAfter = Duration.millis(700)
        const busy = new LlmError({ provider: "test", model: "m", reason, phase: "sent", retryAfter })
        const through = (limits: RateLimiter.Service, steps: ReadonlyArray<TestProvider.Step>) =>
          Gate.through([limits.gate])(TestProvider.make({ steps }))
        const both = Effect.andThen(
          Effect.flip(through(first, [busy]).generate(request)),
          through(second, ["ok"]).generate(request)
        )
        const [took] = yield* Effect.timed(both)
        assert.isAtLeast(Duration.toMillis(took), 700)
      })
    )
  })
})

describeOwnRedis("a store that is gone", { timeout: 30_000 }, () => {
  it.layer(
    own(),
    live
  )((it) => {
    it.effect("leaves each process its share, says so once, and takes over again by itself", () =>
      Effect.gen(function* () {
        const server = yield* RedisServer
        const lines: Array<string> = []
        const logger = Logger.make<unknown, void>(({ message }) => void lines.push(String(message)))
        yield* Effect.gen(function* () {
          const limits = yield* instance({ requestsPerDay: 12, expectedInstances: 3 }, newGroup(), "200 millis")
          assert.isTrue(yield* limits.tryAcquire("key"))
          yield* server.kill
          const granted: Array<boolean> = []
          for (let i = 0; i < 8; i++) granted.push(yield* limits.tryAcquire("key"))
          assert.deepStrictEqual(granted, [true, true, true, true, false, false, false, false])
          yield* server.start
          // it is asked again ten seconds after the last failure; it forgot all but what was taken meanwhile
          const remaining = Effect.orElseSucceed(left(limits, { key: "key" }, "requestsPerDay"), () => undefined)
          yield* Effect.sleep("10 seconds")
          yield* until(Effect.andThen(limits.tryAcquire("other"), remaining), (free) => free === 8)
        }).pipe(Effect.provide(Logger.layer([logger])))
        assert.strictEqual(lines.filter((line) => /share/.test(line)).length, 1)
      })
    )

    it.effect("fails the call, or lets it go, where the limiter is told so", () =>
      Effect.gen(function* () {
        const server = yield* RedisServer
        const failing = yield* instance({ requestsPerMinute: 1, onStoreError: "fail" }, newGroup(), "200 millis")
        const letting = yield* instance({ requestsPerMinute: 1, onStoreError: "allow" }, newGroup(), "200 millis")
        yield* server.kill
        for (let i = 0; i < 3; i++) {
          assert.strictEqual((yield* Effect.flip(failing.acquire("key")))._tag, "StoreUnavailable")
          assert.isTrue(Exit.isSuccess(yield* Effect.exit(letting.acquire("key"))))
        }
        yield* server.start
      })
    )
  })
})
