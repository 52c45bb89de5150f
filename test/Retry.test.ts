import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Fiber, Schedule, Schema, Stream } from "effect"
import { AiError } from "effect/ai"
import { TestClock } from "effect/testing"
import * as Attempts from "effect-ballast/Attempts"
import * as Deadline from "effect-ballast/Deadline"
import * as LlmError from "effect-ballast/LlmError"
import * as LlmProvider from "effect-ballast/LlmProvider"
import { makeUnsafe } from "effect-ballast/LlmRequest"
import * as Retry from "effect-ballast/Retry"
import { TestProvider } from "effect-ballast/testing"
import { Allowance } from "../src/internal/allowance.ts"

const request = makeUnsafe("hi")

const internal = new AiError.InternalProviderError({ description: "boom" })

const failure = (
  reason: LlmError.Reason,
  more: { phase?: LlmError.Phase; retryAfter?: Duration.Duration; shouldRetry?: boolean } = {}
) => new LlmError.LlmError({ provider: "test", model: "m", reason, ...more })

const limited = (retryAfter: Duration.Input) =>
  failure(new AiError.RateLimitError({}), { retryAfter: Duration.fromInputUnsafe(retryAfter), phase: "sent" })

/** Runs to the end however long it waits, and gives the virtual milliseconds it took. */
const timed = <A, E>(self: Effect.Effect<A, E>) =>
  Effect.gen(function* () {
    const began = yield* Effect.clockWith((clock) => clock.currentTimeMillis)
    const fiber = yield* Effect.forkChild(
      Effect.flatMap(Effect.exit(self), (exit) =>
        Effect.map(
          Effect.clockWith((clock) => clock.currentTimeMillis),
          (now) => ({ exit, took: now - began })
        )
      )
    )
    yield* TestClock.adjust("1 hour")
    return yield* Fiber.join(fiber)
  })

const setup = (steps: ReadonlyArray<TestProvider.Step>, options?: Retry.Options) => {
  const provider = TestProvider.make({ steps })
  return { provider, retrying: Retry.make(options)(provider) }
}

describe("Retry", () => {
  it.effect("asks again until an answer comes", () =>
    Effect.gen(function* () {
      const { provider, retrying } = setup([internal, internal, "finally"])
      const { exit } = yield* timed(retrying.generate(request))
      assert.strictEqual((yield* exit).text, "finally")
      assert.strictEqual(provider.calls.length, 3)
    })
  )

  it.effect("makes one call when it succeeds, and no other", () =>
    Effect.gen(function* () {
      const { provider, retrying } = setup(["at once"])
      assert.strictEqual((yield* retrying.generate(request)).text, "at once")
      assert.strictEqual(provider.calls.length, 1)
    })
  )

  it.effect("gives up after `times` retries with the last error", () =>
    Effect.gen(function* () {
      const { provider, retrying } = setup([internal], { times: 2 })
      const { exit } = yield* timed(retrying.generate(request))
      const error = yield* Effect.flip(exit)
      assert.strictEqual(error.reason, internal)
      assert.strictEqual(provider.calls.length, 3)
    })
  )

  it.effect("times 0 asks once", () =>
    Effect.gen(function* () {
      const { provider, retrying } = setup([internal], { times: 0 })
      yield* Effect.flip(retrying.generate(request))
      assert.strictEqual(provider.calls.length, 1)
    })
  )

  it.effect("running the same effect again starts afresh", () =>
    Effect.gen(function* () {
      const { provider, retrying } = setup([internal], { times: 1 })
      const call = retrying.generate(request)
      yield* timed(call)
      yield* timed(call)
      assert.strictEqual(provider.calls.length, 4)
    })
  )

  it.effect.prop("waits between half and all of the doubled time, up to the cap", [Schema.Int], () =>
    Effect.gen(function* () {
      const { provider, retrying } = setup([internal], { times: 4, base: "1 second", cap: "3 seconds" })
      yield* timed(retrying.generate(request))
      const waits = provider.calls.slice(1).map((call, i) => call.startedAt - (provider.calls[i]?.startedAt ?? 0))
      for (const [i, full] of [1000, 2000, 3000, 3000].entries()) {
        assert.isAtLeast(waits[i] ?? 0, full / 2)
        assert.isAtMost(waits[i] ?? Infinity, full)
      }
    })
  )

  it.effect("a defect and an interruption are not retried", () =>
    Effect.gen(function* () {
      const { provider, retrying } = setup([Effect.die("bug")])
      const { exit } = yield* timed(retrying.generate(request))
      assert.strictEqual(exit._tag, "Failure")
      assert.strictEqual(provider.calls.length, 1)
      const hung = setup([TestProvider.hanging])
      const fiber = yield* Effect.forkChild(hung.retrying.generate(request))
      yield* Effect.yieldNow
      yield* Fiber.interrupt(fiber)
      assert.strictEqual(hung.provider.calls.length, 1)
    })
  )

  it.effect("an interrupted wait makes no further call", () =>
    Effect.gen(function* () {
      const { provider, retrying } = setup([internal])
      const fiber = yield* Effect.forkChild(retrying.generate(request))
      yield* TestClock.adjust("100 millis")
      yield* Fiber.interrupt(fiber)
      yield* TestClock.adjust("1 hour")
      assert.strictEqual(provider.calls.length, 1)
    })
  )

  it.effect("asks for no more than `maxAttempts` in all, whoever made the others", () =>
    Effect.gen(function* () {
      const { provider, retrying } = setup([internal], { times: 20, maxAttempts: 3 })
      yield* timed(retrying.generate(request))
      assert.strictEqual(provider.calls.length, 3)
      const ledger = Attempts.make(5)
      ledger.used = 4
      yield* timed(Effect.provideService(retrying.generate(request), Attempts.Current, ledger))
      assert.strictEqual(provider.calls.length, 3 + 2)
      assert.strictEqual(ledger.used, 5)
    })
  )

  it.effect("an attempt that may not wait is not retried", () =>
    Effect.gen(function* () {
      const { provider, retrying } = setup([internal])
      yield* Effect.flip(Effect.provideService(retrying.generate(request), Attempts.MayWait, false))
      assert.strictEqual(provider.calls.length, 1)
    })
  )
})

describe("which errors are retried", () => {
  const tags = Object.entries(LlmError.consequences)
  it("each row of the table has a retry column", () => {
    assert.isTrue(tags.every(([, row]) => ["yes", "lost", "no"].includes(row.retry)))
  })

  it.effect("a lost call is retried once, though more retries are left", () =>
    Effect.gen(function* () {
      const lost = new AiError.NetworkError({ reason: "TransportError", method: "POST", url: "https://a.example" })
      const { provider, retrying } = setup([failure(lost, { phase: "sent" })])
      yield* timed(retrying.generate(request))
      assert.strictEqual(provider.calls.length, 2)
      const unsent = setup([failure(lost, { phase: "connecting" })])
      yield* timed(unsent.retrying.generate(request))
      assert.strictEqual(unsent.provider.calls.length, 5)
      const twice = setup([failure(lost, { phase: "sent" })], { lostRetries: 2 })
      yield* timed(twice.retrying.generate(request))
      assert.strictEqual(twice.provider.calls.length, 3)
    })
  )

  it.effect("`while` decides instead of the table, but not against the provider's own word", () =>
    Effect.gen(function* () {
      const invalid = new AiError.InvalidRequestError({})
      const { provider, retrying } = setup([invalid], { while: () => true, times: 2 })
      yield* timed(retrying.generate(request))
      assert.strictEqual(provider.calls.length, 3)
      const never = setup([failure(internal, { shouldRetry: false })], { while: () => true })
      yield* timed(never.retrying.generate(request))
      assert.strictEqual(never.provider.calls.length, 1)
    })
  )
})

describe("retryAfter", () => {
  it.effect.prop("is never cut short, and spread upward by at most a quarter and a second", [Schema.Int], () =>
    Effect.gen(function* () {
      const { provider, retrying } = setup([limited("10 seconds"), "ok"])
      yield* timed(retrying.generate(request))
      const wait = (provider.calls[1]?.startedAt ?? 0) - (provider.calls[0]?.startedAt ?? 0)
      assert.isAtLeast(wait, 10_000)
      assert.isAtMost(wait, 13_500)
    })
  )

  it.effect("of a minute is waited for, of a millisecond more is not", () =>
    Effect.gen(function* () {
      const within = setup([limited("60 seconds"), "ok"])
      assert.strictEqual((yield* timed(within.retrying.generate(request))).exit._tag, "Success")
      const beyond = setup([limited(60_001), "ok"])
      const { exit, took } = yield* timed(beyond.retrying.generate(request))
      assert.strictEqual(exit._tag, "Failure")
      assert.strictEqual(took, 0)
      assert.strictEqual(beyond.provider.calls.length, 1)
    })
  )

  it.effect("beyond the deadline fails at once", () =>
    Effect.gen(function* () {
      const { provider, retrying } = setup([limited("30 seconds"), "ok"])
      const { exit, took } = yield* timed(Deadline.within(retrying.generate(request), "30 seconds"))
      assert.strictEqual(exit._tag, "Failure")
      assert.strictEqual(took, 0)
      assert.strictEqual(provider.calls.length, 1)
      const inTime = setup([limited("30 seconds"), "ok"])
      const { exit: answered } = yield* timed(Deadline.within(inTime.retrying.generate(request), 30_001))
      assert.strictEqual(answered._tag, "Success")
    })
  )

  it.effect("no wait at all reaches past the deadline", () =>
    Effect.gen(function* () {
      const { provider, retrying } = setup([internal], { base: "10 seconds" })
      const { took } = yield* timed(Deadline.within(retrying.generate(request), "4 seconds"))
      assert.strictEqual(took, 0)
      assert.strictEqual(provider.calls.length, 1)
    })
  )
})

describe("a schedule of the user's own", () => {
  it.effect("says how long to wait, and may end first", () =>
    Effect.gen(function* () {
      const schedule = Schedule.max([Schedule.spaced("5 seconds"), Schedule.recurs(2)])
      const { provider, retrying } = setup([internal], { schedule })
      const { took } = yield* timed(retrying.generate(request))
      assert.strictEqual(provider.calls.length, 3)
      assert.strictEqual(took, 10_000)
    })
  )

  it.effect("that never ends is bounded by `times`", () =>
    Effect.gen(function* () {
      const { provider, retrying } = setup([internal], { schedule: Schedule.forever, times: 3 })
      yield* timed(retrying.generate(request))
      assert.strictEqual(provider.calls.length, 4)
    })
  )

  it.effect("that never lets go is no wait", () =>
    Effect.gen(function* () {
      const { provider, retrying } = setup([internal], { schedule: Schedule.spaced(Duration.infinity) })
      assert.strictEqual((yield* timed(retrying.generate(request))).took, 0)
      assert.strictEqual(provider.calls.length, 1)
    })
  )
})

describe("streams", () => {
  it.effect("are retried before the first visible part, and the failed attempt leaves no trace", () =>
    Effect.gen(function* () {
      const begun = TestProvider.broken(TestProvider.paced("never seen"), 1, internal)
      const { provider, retrying } = setup([begun, "one two"])
      const { exit } = yield* timed(Stream.runCollect(retrying.stream(request)))
      const types = (yield* exit).map((part) => part.type)
      assert.deepStrictEqual(types, ["text-start", "text-delta", "text-delta", "text-end", "finish"])
      assert.strictEqual(provider.calls.length, 2)
    })
  )

  it.effect("are never retried after it", () =>
    Effect.gen(function* () {
      const { provider, retrying } = setup([TestProvider.broken(TestProvider.paced("a b c"), 2, internal), "again"])
      const { exit } = yield* timed(Stream.runCollect(retrying.stream(request)))
      assert.strictEqual((yield* Effect.flip(exit)).reason, internal)
      assert.strictEqual(provider.calls.length, 1)
    })
  )

  it.effect("that nobody reads ask for nothing", () =>
    Effect.gen(function* () {
      const { provider, retrying } = setup(["a"])
      retrying.stream(request)
      yield* Stream.runDrain(Stream.take(retrying.stream(request), 0))
      assert.strictEqual(provider.calls.length, 0)
    })
  )
})

describe("the retry budget", () => {
  it.effect("keeps an outage from being amplified", () =>
    Effect.gen(function* () {
      const { provider, retrying } = setup([internal])
      // ten minutes of outage, 1,000 calls
      const load = Effect.forEach(
        Array.from({ length: 1000 }, (_, i) => i),
        (i) => Effect.andThen(Effect.sleep(i * 600), Effect.exit(retrying.generate(request))),
        { concurrency: "unbounded", discard: true }
      )
      yield* timed(load)
      assert.isAtMost(provider.calls.length, 1000 + 0.2 * 1000 + 10 * (600 / 10 + 1) + 100)
      assert.isAtLeast(provider.calls.length, 1200)
    })
  )

  it.effect("can be turned off", () =>
    Effect.gen(function* () {
      const { provider, retrying } = setup([internal], { budget: false, times: 4 })
      yield* timed(Effect.replicateEffect(Effect.exit(retrying.generate(request)), 20))
      assert.strictEqual(provider.calls.length, 100)
    })
  )

  it("gives one retry for every five calls, beside ten in ten seconds", () => {
    const allowance = new Allowance({ ratio: 0.2, floor: 10, perMillis: 10_000 })
    const taken = (now: number) => {
      let count = 0
      while (allowance.take(now)) count++
      return count
    }
    assert.strictEqual(taken(0), 10)
    assert.strictEqual(taken(999), 0)
    assert.strictEqual(taken(1000), 1)
    for (let i = 0; i < 5; i++) allowance.deposit()
    assert.strictEqual(taken(1000), 1)
    for (let i = 0; i < 1_000_000; i++) allowance.deposit()
    assert.strictEqual(taken(1000), 100)
  })
})

describe("options that can never work", () => {
  it.each<[string, Retry.Options, RegExp]>([
    ["a negative number of times", { times: -1 }, /Retry\.make: times must be an integer >= 0, got -1/],
    ["half a time", { times: 0.5 }, /times/],
    ["NaN times", { times: Number.NaN }, /times/],
    ["no base", { base: 0 }, /Retry\.make: base must be a duration > 0/],
    ["a NaN base", { base: Number.NaN }, /base/],
    ["a negative cap", { cap: "-1 seconds" }, /cap/],
    ["a cap that is no duration", { cap: "soon" as unknown as Duration.Input }, /cap/],
    ["a negative maxRetryAfter", { maxRetryAfter: -1 }, /maxRetryAfter/],
    ["no attempts", { maxAttempts: 0 }, /maxAttempts must be an integer >= 1/],
    ["a ratio above one", { budget: { ratio: 1.5 } }, /budget\.ratio must be a number from 0 to 1/],
    ["a budget without time", { budget: { per: 0 } }, /budget\.per/]
  ])("%s throws when the policy is made", (_, options, expected) => {
    assert.throws(() => Retry.make(options), RangeError)
    assert.throws(() => Retry.make(options), expected)
  })
})

describe("withRetry", () => {
  it.effect("retries the provider of a layer", () =>
    Effect.gen(function* () {
      const { exit } = yield* timed(
        LlmProvider.generateText("hi").pipe(
          Effect.provide(TestProvider.layer({ steps: [internal, "ok"] }).pipe(Retry.withRetry()))
        )
      )
      assert.strictEqual(yield* exit, "ok")
    })
  )
})
