import { assert, describe, it } from "@effect/vitest"
import { Duration } from "effect"
import { AiError } from "effect/ai"
import * as LlmError from "effect-ballast/LlmError"

const failed = (reason: LlmError.Reason, retryAfter?: Duration.Duration) =>
  new LlmError.LlmError({ provider: "openai", model: "gpt", reason, retryAfter })

const budget = new LlmError.BudgetExceeded({ budget: "all", window: "day", limit: 10, remaining: 1, requested: 2 })
const rejected = new LlmError.InputRejected({ guard: "maxLength", description: "too long" })
const refused = new AiError.ContentPolicyError({ description: "secret-of-the-provider" })
const internal = new AiError.InternalProviderError({ description: "secret-of-the-provider" })
const slow = new LlmError.TimedOut({ phase: "total", after: Duration.seconds(1) })

describe("LlmError.toProblem", () => {
  it("tells what a guard or a budget refuses in their words, and nothing of what a provider said", () => {
    const told = [rejected, refused, budget, slow, internal].map((reason) => LlmError.toProblem(failed(reason)))
    assert.deepStrictEqual(
      told.map(({ detail, status, title }) => [status, title, detail]),
      [
        [422, "Unprocessable Content", "Guard maxLength rejected the input: too long"],
        [422, "Unprocessable Content", "The model refuses to answer that"],
        [429, "Too Many Requests", "Daily budget exceeded (all)"],
        [504, "Gateway Timeout", "The model takes too long to answer"],
        [503, "Service Unavailable", "The model does not answer"]
      ]
    )
    assert.isTrue(told.every((problem) => problem.type === "about:blank" && !("retryAfter" in problem)))
  })

  it("says after how many whole seconds to come again, and never too early", () => {
    assert.strictEqual(LlmError.toProblem(failed(budget, Duration.millis(1001))).retryAfter, 2)
    assert.strictEqual(LlmError.toProblem(failed(budget, Duration.millis(1000))).retryAfter, 1)
  })

  it("knows the error inside of an AiError, and takes anything else for an outage", () => {
    const carried = LlmError.toAiError(failed(budget), { module: "test", method: "generate" })
    assert.strictEqual(LlmError.toProblem(carried).status, 429)
    const down = {
      type: "about:blank",
      status: 503,
      title: "Service Unavailable",
      detail: "A part of the service is down"
    }
    for (const error of [new Error("secret"), undefined, "secret"])
      assert.deepStrictEqual(LlmError.toProblem(error), down)
  })
})
