import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import { AiError } from "effect/ai"
import { LlmProvider } from "effect-ballast"
import { TestProvider } from "effect-ballast/testing"

const summary = LlmProvider.generateText("Summarise it.").pipe(
  Effect.catchReason("LlmError", "RateLimitError", () => Effect.succeed("Later, please."))
)

it.effect("answers politely when the provider is busy", () =>
  Effect.gen(function* () {
    assert.strictEqual(yield* summary, "Later, please.")
    assert.strictEqual(yield* summary, "A summary.")
  }).pipe(Effect.provide(TestProvider.layer({ steps: [new AiError.RateLimitError({}), "A summary."] })))
)
