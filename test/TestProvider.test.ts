import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Fiber, Stream } from "effect"
import { AiError } from "effect/ai"
import { TestClock } from "effect/testing"
import * as LlmError from "effect-ballast/LlmError"
import * as LlmProvider from "effect-ballast/LlmProvider"
import { makeUnsafe } from "effect-ballast/LlmRequest"
import { TestProvider } from "effect-ballast/testing"

const request = makeUnsafe("hi")
const overloaded = new AiError.InternalProviderError({ description: "overloaded" })

describe("TestProvider", () => {
  it.effect("takes its steps one per call and stays at the last", () =>
    Effect.gen(function* () {
      const provider = TestProvider.make({ steps: [overloaded, "second", Effect.succeed("third"), () => "fourth"] })
      const failure = yield* Effect.flip(provider.generate(request))
      assert.strictEqual(failure.reason, overloaded)
      const texts = yield* Effect.replicateEffect(provider.generate(request), 4)
      assert.deepStrictEqual(
        texts.map((response) => response.text),
        ["second", "third", "fourth", "fourth"]
      )
      assert.deepStrictEqual(
        provider.calls.map((call) => call.outcome),
        ["failure", "success", "success", "success", "success"]
      )
    })
  )

  it.effect("paces its parts by the clock", () =>
    Effect.gen(function* () {
      const steps = [TestProvider.paced("a b", { firstPart: "2 seconds", every: "1 second" })]
      const provider = TestProvider.make({ steps })
      const seen: Array<string> = []
      const fiber = yield* Effect.forkChild(
        Stream.runForEach(provider.stream(request), (part) => Effect.sync(() => seen.push(part.type)))
      )
      yield* TestClock.adjust("1999 millis")
      assert.deepStrictEqual(seen, [])
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual(seen, ["text-start"])
      yield* TestClock.adjust("4 seconds")
      yield* Fiber.join(fiber)
      assert.deepStrictEqual(seen, ["text-start", "text-delta", "text-delta", "text-end", "finish"])
      assert.strictEqual(provider.calls[0]?.endedAt, 6000)
    })
  )

  it.effect("breaks a stream where it is told, with a failure or by just ending", () =>
    Effect.gen(function* () {
      const whole = TestProvider.paced("a b c")
      const provider = TestProvider.make({
        steps: [TestProvider.broken(whole, 2, overloaded), TestProvider.broken(whole, 2)]
      })
      const failure = yield* Effect.flip(Stream.runDrain(provider.stream(request)))
      assert.strictEqual(failure.reason, overloaded)
      assert.strictEqual((yield* Stream.runCollect(provider.stream(request))).length, 2)
      const truncated = yield* Effect.flip(provider.generate(request))
      assert.strictEqual(truncated.reason._tag, "InternalProviderError")
    })
  )

  it.effect("fails after a while, with an LlmError as it is given", () =>
    Effect.gen(function* () {
      const given = new LlmError.LlmError({ provider: "p", model: "m", reason: overloaded, shouldRetry: false })
      const provider = TestProvider.make({ steps: [TestProvider.failing(given, "3 seconds")] })
      const fiber = yield* Effect.forkChild(Effect.flip(provider.generate(request)))
      yield* TestClock.adjust(Duration.seconds(3))
      assert.strictEqual(yield* Fiber.join(fiber), given)
    })
  )

  it.effect("says how long to wait, where the reason of a failure does", () =>
    Effect.gen(function* () {
      const retryAfter = Duration.seconds(7)
      const provider = TestProvider.make({ steps: [new AiError.RateLimitError({ retryAfter })] })
      assert.deepStrictEqual((yield* Effect.flip(provider.generate(request))).retryAfter, retryAfter)
    })
  )

  it.effect("records that a call was interrupted", () =>
    Effect.gen(function* () {
      const { calls } = yield* TestProvider.TestProvider
      const fiber = yield* Effect.forkChild(LlmProvider.generate("hi"))
      yield* Effect.yieldNow
      yield* Fiber.interrupt(fiber)
      assert.strictEqual(calls[0]?.outcome, "interrupted")
    }).pipe(Effect.provide(TestProvider.layer({ steps: [TestProvider.paced("late", { firstPart: "1 hour" })] })))
  )
})
