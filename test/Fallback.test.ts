import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Exit, Fiber, Layer, Stream } from "effect"
import { AiError } from "effect/ai"
import { TestClock } from "effect/testing"
import * as Attempts from "effect-ballast/Attempts"
import * as Deadline from "effect-ballast/Deadline"
import * as Fallback from "effect-ballast/Fallback"
import * as LlmError from "effect-ballast/LlmError"
import * as LlmProvider from "effect-ballast/LlmProvider"
import { makeUnsafe } from "effect-ballast/LlmRequest"
import * as Retry from "effect-ballast/Retry"
import { TestProvider } from "effect-ballast/testing"
import { ask, counts, methods, scripted, timed } from "./support/providers.ts"
import { errorOf, rows } from "./support/reasons.ts"

const request = makeUnsafe("hi")

const internal = new AiError.InternalProviderError({ description: "boom" })

const failure = (
  reason: LlmError.Reason,
  more: { provider?: string; phase?: LlmError.Phase; retryAfter?: Duration.Duration; shouldRetry?: boolean } = {}
) => new LlmError.LlmError({ provider: "test", model: "m", reason, ...more })

const overflow = (limit?: number) => new LlmError.ContextOverflow({ limit })

const moves = (row: (typeof rows)[number]) => {
  const { next } = LlmError.consequences[row]
  return next === "yes" || next === "larger-window"
}

describe.each(methods)("Fallback, %s", (method) => {
  it.effect("asks only the first provider while it answers, under its name", () =>
    Effect.gen(function* () {
      const [first, second] = [scripted("first", ["one"]), scripted("second", ["two"])]
      const provider = Fallback.make()([first, second])
      assert.strictEqual((yield* ask(provider, method, request)).text, "one")
      assert.deepStrictEqual(counts(first, second), [1, 0])
      assert.strictEqual(provider.endpoint, first.endpoint)
    })
  )

  it.effect.each(rows)("after %s does what the table says", (row) =>
    Effect.gen(function* () {
      const error = errorOf(row)
      const first = scripted("first", [error], { contextWindow: 100 })
      const second = scripted("second", ["two"], { contextWindow: 200 })
      const exit = yield* Effect.exit(ask(Fallback.make()([first, second]), method, request))
      assert.deepStrictEqual(counts(first, second), [1, moves(row) ? 1 : 0])
      assert.deepStrictEqual(
        Exit.match(exit, { onSuccess: ({ text }) => text, onFailure: () => "failed" }),
        moves(row) ? "two" : "failed"
      )
      if (!moves(row)) assert.strictEqual(yield* Effect.flip(exit), error)
    })
  )

  it.effect("`when` stands in place of the table, for windows too", () =>
    Effect.gen(function* () {
      const only = (tag: LlmError.Reason["_tag"]) => ({ when: (error: LlmError.LlmError) => error.reason._tag === tag })
      const second = scripted("second", ["two"])
      const policy = Fallback.make(only("ContentPolicyError"))
      yield* ask(policy([scripted("first", [errorOf("ContentPolicyError")]), second]), method, request)
      assert.deepStrictEqual(counts(second), [1])
      yield* Effect.flip(ask(policy([scripted("first", [internal]), second]), method, request))
      assert.deepStrictEqual(counts(second), [1])
      const small = scripted("small", ["fits"], { contextWindow: 1 })
      const overflowing = scripted("first", [overflow()], { contextWindow: 9 })
      yield* ask(Fallback.make(only("ContextOverflow"))([overflowing, small]), method, request)
      assert.deepStrictEqual(counts(small), [1])
    })
  )

  it.effect("the provider's word against retrying is no word against another provider", () =>
    Effect.gen(function* () {
      const first = scripted("first", [failure(internal, { shouldRetry: false })])
      const second = scripted("second", ["two"])
      assert.strictEqual((yield* ask(Fallback.make()([first, second]), method, request)).text, "two")
    })
  )

  it.effect("a request that does not fit goes to the next larger window, past equal, smaller and unknown ones", () =>
    Effect.gen(function* () {
      const providers = [
        scripted("first", [overflow()], { contextWindow: 100 }),
        scripted("equal", ["no"], { contextWindow: 100 }),
        scripted("unknown", ["no"]),
        scripted("larger", [overflow(150)], { contextWindow: 101 }),
        scripted("smaller", ["no"], { contextWindow: 149 }),
        scripted("largest", [internal], { contextWindow: 151 }),
        // also after another kind of failure
        scripted("small again", ["no"], { contextWindow: 120 }),
        scripted("last", ["fits"], { contextWindow: 1000 })
      ] as const
      assert.strictEqual((yield* ask(Fallback.make()(providers), method, request)).text, "fits")
      assert.deepStrictEqual(counts(...providers), [1, 0, 0, 1, 0, 1, 0, 1])
    })
  )

  it.effect("where no window is known to be larger, the request stays refused", () =>
    Effect.gen(function* () {
      const [first, second] = [scripted("first", [overflow()]), scripted("second", ["no"], { contextWindow: 1e6 })]
      const error = yield* Effect.flip(ask(Fallback.make()([first, second]), method, request))
      assert.strictEqual(error.reason._tag, "ContextOverflow")
      assert.deepStrictEqual(counts(first, second), [1, 0])
    })
  )

  it.effect("when all fail, the error is the last one of a provider that was called", () =>
    Effect.gen(function* () {
      const open = LlmError.refuse("third", "m", new LlmError.CircuitOpen({ circuit: "c" }))
      const providers = [
        scripted("first", [internal]),
        scripted("second", [errorOf("RateLimitError", "second")]),
        scripted("third", [open])
      ] as const
      const error = yield* Effect.flip(ask(Fallback.make()(providers), method, request))
      assert.strictEqual(error.provider, "second")
      assert.deepStrictEqual(counts(...providers), [1, 1, 1])
    })
  )

  it.effect("when all refuse, the error is the last refusal, to be tried again when the first may", () =>
    Effect.gen(function* () {
      const open = (provider: string, seconds: number) =>
        LlmError.refuse(
          provider,
          "m",
          new LlmError.CircuitOpen({ circuit: "c", retryAfter: Duration.seconds(seconds) })
        )
      const providers = [
        scripted("first", [open("first", 30)]),
        scripted("second", [open("second", 5)]),
        scripted("third", [open("third", 60)])
      ] as const
      const error = yield* Effect.flip(ask(Fallback.make()(providers), method, request))
      assert.strictEqual(error.provider, "third")
      assert.strictEqual(error.phase, "refused")
      assert.deepStrictEqual(error.retryAfter, Duration.seconds(5))
    })
  )

  it.effect("`maxAttempts` bounds how many are asked", () =>
    Effect.gen(function* () {
      const providers = [scripted("a", [internal]), scripted("b", [internal]), scripted("c", ["late"])] as const
      const bounded = (maxAttempts: number) => ask(Fallback.make({ maxAttempts })(providers), method, request)
      yield* Effect.flip(bounded(2))
      assert.deepStrictEqual(counts(...providers), [1, 1, 0])
      assert.strictEqual((yield* bounded(3)).text, "late")
    })
  )

  it.effect("one ledger bounds retries and fallbacks together", () =>
    Effect.gen(function* () {
      const [first, second] = [scripted("first", [internal]), scripted("second", [internal])]
      const retrying = Retry.make({ times: 3 })
      const provider = Fallback.make({ maxAttempts: 5 })([retrying(first), retrying(second)])
      yield* timed(ask(provider, method, request))
      assert.deepStrictEqual(counts(first, second), [4, 1])
      const ledger = Attempts.make(2)
      yield* timed(Effect.provideService(ask(provider, method, request), Attempts.Current, ledger))
      assert.deepStrictEqual(counts(first, second), [6, 1])
      assert.strictEqual(ledger.used, 2)
    })
  )

  it.effect("nobody else is asked once the deadline has passed", () =>
    Effect.gen(function* () {
      const slow = scripted("slow", [TestProvider.failing(internal, "10 seconds")])
      const second = scripted("second", ["two"])
      const provider = Fallback.make()([slow, second])
      const { exit } = yield* timed(Deadline.within(ask(provider, method, request), "10 seconds"))
      assert.isTrue(Exit.isFailure(exit))
      assert.deepStrictEqual(counts(slow, second), [1, 0])
      const { exit: inTime } = yield* timed(Deadline.within(ask(provider, method, request), 10_001))
      assert.isTrue(Exit.isSuccess(inTime))
    })
  )

  it.effect("a defect does not move on", () =>
    Effect.gen(function* () {
      const [first, second] = [scripted("first", [Effect.die("bug")]), scripted("second", ["two"])]
      const exit = yield* Effect.exit(ask(Fallback.make()([first, second]), method, request))
      assert.isTrue(Exit.hasDies(exit))
      assert.deepStrictEqual(counts(first, second), [1, 0])
    })
  )

  it.effect("an interruption ends the current provider and does not move on", () =>
    Effect.gen(function* () {
      const first = scripted("first", [internal])
      const hung = scripted("hung", [TestProvider.failing(internal, "1 hour")])
      const third = scripted("third", ["three"])
      const fiber = yield* Effect.forkChild(ask(Fallback.make()([first, hung, third]), method, request))
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(counts(first, hung, third), [1, 1, 0])
      yield* Fiber.interrupt(fiber)
      assert.deepStrictEqual(counts(first, hung, third), [1, 1, 0])
      assert.strictEqual(hung.calls[0]?.outcome, "interrupted")
      assert.strictEqual(hung.live.open, 0)
    })
  )

  it.effect("running the same call again starts afresh", () =>
    Effect.gen(function* () {
      const [first, second] = [scripted("first", [internal]), scripted("second", [internal, "two"])]
      const call = ask(Fallback.make({ maxAttempts: 2 })([first, second]), method, request)
      yield* Effect.flip(call)
      assert.strictEqual((yield* call).text, "two")
      assert.deepStrictEqual(counts(first, second), [2, 2])
    })
  )

  it.effect("a single provider is not charged for attempts that it cannot make", () =>
    Effect.gen(function* () {
      const only = scripted("only", [internal])
      const ledger = Attempts.make(1)
      const call = ask(Fallback.make()([only]), method, request)
      assert.strictEqual((yield* Effect.flip(Effect.provideService(call, Attempts.Current, ledger))).reason, internal)
      assert.deepStrictEqual(counts(only), [1])
    })
  )
})

describe("who answered", () => {
  it.effect("is said by the response, and by the finish part of a stream", () =>
    Effect.gen(function* () {
      const provider = Fallback.make()([scripted("first", [internal]), scripted("second", ["two"])])
      assert.strictEqual((yield* provider.generate(request)).provider, "second")
      const { by } = yield* ask(provider, "stream", request)
      assert.deepStrictEqual(by, { provider: "second", model: "test-model" })
    })
  )

  it.effect("is what the innermost fallback says, beside the provider's own metadata", () =>
    Effect.gen(function* () {
      const finish = {
        type: "finish",
        reason: "stop",
        usage: { inputTokens: {}, outputTokens: {} },
        metadata: { openai: { tier: "flex" } }
      } as const
      const answer = TestProvider.paced([{ type: "text", text: "three" }, finish])
      const inner = Fallback.make()([scripted("second", [internal]), scripted("third", [answer])])
      const outer = Fallback.make()([scripted("first", [internal]), inner])
      const last = (yield* Stream.runCollect(outer.stream(request))).at(-1)
      assert.deepStrictEqual(last, {
        ...finish,
        metadata: { openai: { tier: "flex" }, ballast: { provider: "third", model: "test-model" } }
      })
    })
  )

  it("a prefill is promised only where every provider continues it", () => {
    const [able, unable] = [scripted("a", [], { continuesAnswers: true }), scripted("b", [])]
    assert.strictEqual(Fallback.make()([able, able]).continuesAnswers, true)
    assert.strictEqual(Fallback.make()([able, unable]).continuesAnswers, false)
  })
})

describe("withFallbacks", () => {
  it.effect("puts the providers of other layers behind that of a layer", () =>
    Effect.gen(function* () {
      const layerOf = (name: string, step: TestProvider.Step) =>
        Layer.succeed(LlmProvider.LlmProvider, TestProvider.make({ provider: name, steps: [step] }))
      const layer = layerOf("first", internal).pipe(
        Fallback.withFallbacks([layerOf("second", internal), layerOf("third", "three")])
      )
      const response = yield* LlmProvider.generate("hi").pipe(Effect.provide(layer))
      assert.strictEqual(response.provider, "third")
    })
  )
})

describe("options that can never work", () => {
  it.each([0, -1, 1.5, Number.NaN, Infinity])("maxAttempts %s", (maxAttempts) => {
    assert.throws(
      () => Fallback.make({ maxAttempts }),
      RangeError,
      `Fallback.make: maxAttempts must be an integer >= 1, got ${maxAttempts}`
    )
  })
})
