/** An attempt without gates is told of by a shorter way: what it tells is the same as behind a gate. */
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Exit, Fiber } from "effect"
import { AiError } from "effect/ai"
import { TestClock } from "effect/testing"
import type * as Gate from "effect-ballast/Gate"
import * as Guard from "effect-ballast/Guard"
import { LlmError, TimedOut } from "effect-ballast/LlmError"
import { makeUnsafe } from "effect-ballast/LlmRequest"
import * as Resilient from "effect-ballast/Resilient"
import { TestProvider } from "effect-ballast/testing"
import { watching } from "./support/telemetry.ts"

const request = makeUnsafe("What is ballast?")

const open: Gate.Gate = {
  _tag: "Admitting",
  name: "open",
  admit: () => Exit.succeed({ settle: () => Effect.void })
}

const finish = (reason: "stop" | "error", input = 3): TestProvider.Step => [
  { type: "finish", reason, usage: { inputTokens: { total: input }, outputTokens: { total: 2 } } }
]

const failed = new LlmError({
  provider: "test",
  model: "test-model",
  reason: new AiError.InternalProviderError({ description: "no" }),
  phase: "sent"
})
const refused = new LlmError({
  provider: "test",
  model: "test-model",
  reason: new TimedOut({ phase: "total", after: Duration.zero }),
  phase: "refused"
})

const endings: Readonly<Record<string, TestProvider.Step>> = {
  "an answer": "an answer",
  "an answer after a while": TestProvider.paced("slow", { firstPart: "2 seconds" }),
  "an empty answer that was charged": finish("stop"),
  "an answer that ended in an error": finish("error"),
  "usage that is no number": finish("stop", Number.NaN),
  "a failure": failed,
  "a failure after a while": TestProvider.failing(failed, "3 seconds"),
  "a failure before it was sent": refused,
  "a failure after a while, before it was sent": TestProvider.failing(refused, "3 seconds"),
  "a defect": Effect.die(new Error("a bug")),
  "a caller who leaves": Effect.never
}

const attemptsOf = (step: TestProvider.Step, gates: ReadonlyArray<Gate.Gate>) =>
  Effect.gen(function* () {
    const watched = watching()
    const stack = Resilient.make({ gates, telemetry: { onReceipt: watched.onReceipt } }, 1)
    const provider = stack([TestProvider.make({ steps: [step] })])
    const from = yield* Effect.clockWith((clock) => clock.currentTimeMillis)
    const fiber = yield* Effect.forkChild(provider.generate(request))
    yield* TestClock.adjust("1 minute")
    yield* Fiber.interrupt(fiber)
    const attempts = watched.receipts.flatMap(({ attempts }) => attempts)
    return {
      exit: JSON.stringify(yield* Fiber.await(fiber)).replaceAll(/"(startedAt|fiberId)":[\d.]+/g, ""),
      attempts: attempts.map((one) => Object.assign({}, one, { startedAt: one.startedAt - from })),
      metrics: ["llm_attempts_total", "llm_tokens_total", "llm_requests_total"].map((id) => watched.metric(id))
    }
  }).pipe(Effect.scoped)

describe("an attempt is told of as behind a gate", () => {
  it.effect.each(Object.entries(endings))("when it ends with %s", ([, step]) =>
    Effect.gen(function* () {
      const gated = yield* attemptsOf(step, [open])
      assert.isNotEmpty(gated.attempts)
      assert.deepStrictEqual(yield* attemptsOf(step, []), gated)
    })
  )
})

it.effect("behind a race, the next attempt follows the winner and not the loser", () =>
  Effect.gen(function* () {
    const watched = watching()
    const slow = TestProvider.make({ steps: [TestProvider.paced("slow", { firstPart: "1 minute" }), "{}"] })
    const fast = TestProvider.make({ provider: "second", steps: ["no JSON"] })
    const guard = Guard.jsonSchema({ schema: { type: "object" }, repair: true })
    const provider = Resilient.make(
      { hedge: { delay: "1 second" }, outputGuard: { guards: [guard] }, telemetry: { onReceipt: watched.onReceipt } },
      2
    )([slow, fast])
    const fiber = yield* Effect.forkChild(provider.generate(request).pipe(Effect.provide(watched.layer)))
    yield* TestClock.adjust("1 minute")
    assert.strictEqual((yield* Fiber.join(fiber)).text, "{}")
    assert.deepStrictEqual(
      watched.receipts[0]?.attempts.map(({ lostRace, provider }) => [provider, lostRace]),
      [
        ["second", false],
        ["test", true],
        ["test", false]
      ]
    )
    assert.strictEqual(watched.metric("llm_fallbacks_total", { from: "second/test-model", to: "test/test-model" }), 1)
    assert.isUndefined(watched.metric("llm_retries_total"))
  })
)
