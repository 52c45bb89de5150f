/** Receipts, metrics and the ledger of a budget tell the same sums, however calls end. */
import { assert, it } from "@effect/vitest"
import { Effect, Fiber, Layer, Schema, Stream } from "effect"
import { AiError } from "effect/ai"
import { TestClock } from "effect/testing"
import * as Budget from "effect-ballast/Budget"
import * as LlmProvider from "effect-ballast/LlmProvider"
import { makeUnsafe } from "effect-ballast/LlmRequest"
import * as Pricing from "effect-ballast/Pricing"
import * as Resilient from "effect-ballast/Resilient"
import * as Stores from "effect-ballast/Stores"
import { TestProvider } from "effect-ballast/testing"
import { usage } from "./support/budgets.ts"
import { watching } from "./support/telemetry.ts"

const internal = new AiError.InternalProviderError({ description: "boom" })
const lost = new AiError.NetworkError({ reason: "TransportError", method: "POST", url: "https://example.com" })

const Ending = Schema.Literals(["answer", "long", "fails", "lost", "breaks", "empty", "slow", "secret"])
const Call = Schema.Struct({
  method: Schema.Literals(["generate", "stream"]),
  prompt: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 4 })),
  /** After how many seconds its caller leaves; 9 is never. */
  leaves: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 9 }))
})
const Run = Schema.Struct({
  first: Schema.Array(Ending),
  second: Schema.Array(Ending),
  calls: Schema.Array(Call),
  drains: Schema.Boolean
})

const steps = (endings: ReadonlyArray<typeof Ending.Type>): ReadonlyArray<TestProvider.Step> => [
  ...endings.map((ending, i): TestProvider.Step => {
    const answer = TestProvider.paced("an answer in words", { every: "1 second", usage: usage(10 + i, 20 + i) })
    switch (ending) {
      case "answer":
        return answer
      case "long":
        return TestProvider.paced("x", { usage: usage(1000, 5000) })
      case "fails":
        return internal
      case "lost":
        return TestProvider.failing(lost, "1 second")
      case "breaks":
        return TestProvider.broken(answer, 3, internal)
      case "empty":
        return TestProvider.paced([], { usage: usage(5, 0) })
      case "slow":
        return TestProvider.paced("slow", { firstPart: "20 seconds" })
      default:
        return TestProvider.paced("write to jane@example.com", { usage: usage(7, 8) })
    }
  }),
  "the last one"
]

it.effect.prop("tokens and money are the same everywhere", [Run], ([{ calls, drains, first, second }]) =>
  Effect.gen(function* () {
    const watched = watching()
    const Llm = Resilient.layer({
      providers: [
        TestProvider.layer({ provider: "a", model: "m1", steps: steps(first) }),
        TestProvider.layer({ provider: "b", model: "m2", steps: steps(second) })
      ],
      retry: { times: 2, base: "1 second" },
      timeouts: { attempt: "15 seconds", total: "1 minute" },
      cache: {},
      outputGuard: {},
      budget: { limits: [{ usd: 1 }], ...(drains ? { onLost: "drain" as const } : {}) },
      rateLimiter: { requestsPerMinute: 20, onLimit: "fail" as const },
      telemetry: { onReceipt: watched.onReceipt }
    }).pipe(
      Layer.provide(Pricing.layerTable({ m1: { input: 1, output: 2 }, m2: { input: 3, output: 4 } }, { base: "none" })),
      Layer.provide(Layer.fresh(Stores.layerMemory))
    )
    const { lines, sums } = yield* Effect.gen(function* () {
      const { generate, stream } = yield* LlmProvider.LlmProvider
      const budget = yield* Budget.Budget
      const fibers: Array<Fiber.Fiber<unknown, unknown>> = []
      for (const { leaves, method, prompt } of calls) {
        const request = makeUnsafe({ prompt: `question ${prompt}`, maxOutputTokens: 100 })
        const call = method === "generate" ? generate(request) : Stream.runDrain(stream(request))
        const timed = leaves === 9 ? call : Effect.timeoutOption(call, `${leaves} seconds`)
        fibers.push(yield* Effect.forkChild(Effect.exit(timed)))
        yield* TestClock.adjust("1 second")
      }
      yield* TestClock.adjust("10 minutes")
      for (const fiber of fibers) yield* Fiber.join(fiber)
      return { sums: yield* Budget.report({ by: ["model"] }), lines: yield* budget.lines(1000) }
    }).pipe(Effect.provide(Layer.provideMerge(Llm, watched.layer)))

    const attempts = watched.receipts.flatMap((receipt) => receipt.attempts)
    for (const model of ["m1", "m2"]) {
      const ledger = sums.find((line) => line.model === model)
      const written = lines.filter((line) => line.model === model)
      const those = attempts.filter((attempt) => attempt.model === model)
      const sum = (of: "inputTokens" | "outputTokens" | "cost") => those.reduce((all, one) => all + (one[of] ?? 0), 0)
      const metric = (id: string, labels: Record<string, string> = {}) => watched.metric(id, { model, ...labels }) ?? 0
      assert.strictEqual(sum("cost"), ledger?.amount ?? 0)
      for (const [of, tokens] of [
        ["inputTokens", "input"],
        ["outputTokens", "output"]
      ] as const)
        assert.strictEqual(
          sum(of),
          written.reduce((all, line) => all + (line.tokens?.[tokens] ?? 0), 0)
        )
      assert.closeTo(metric("llm_cost_usd_total"), sum("cost") / 1e9, 1e-12)
      assert.strictEqual(metric("llm_tokens_total", { type: "input" }), sum("inputTokens"))
      assert.strictEqual(metric("llm_tokens_total", { type: "output" }), sum("outputTokens"))
      assert.strictEqual(metric("llm_attempts_total"), those.length)
    }
    assert.strictEqual(watched.receipts.length, calls.length)
  })
)
