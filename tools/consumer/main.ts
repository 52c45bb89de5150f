/** A program of somebody who installed the package: everything it imports comes from the tarball. */
import assert from "node:assert/strict"
import { AiError } from "effect/ai"
import { Effect, Layer, Stream } from "effect"
import { LlmProvider, Pricing, Resilient } from "effect-ballast"
import * as LlmRequest from "effect-ballast/LlmRequest"
import * as OpenAi from "effect-ballast/OpenAi"
import * as Stores from "effect-ballast/Stores"
import { TestProvider } from "effect-ballast/testing"

const Model = TestProvider.layer({ steps: [new AiError.RateLimitError({}), "Weight low in a ship."] })
const Llm = Resilient.layer({
  providers: [Model],
  retry: { base: "1 millis" },
  budget: { limits: [{ usd: 1 }] },
  cache: { isolation: "shared" },
  circuitBreaker: {},
  inputGuard: {},
  outputGuard: {},
  rateLimiter: { requestsPerMinute: 60 }
}).pipe(
  Layer.provide([Stores.layerSqlite("ballast.sqlite"), Pricing.layerTable({ "test-model": { input: 1, output: 2 } })])
)

const program = Effect.gen(function* () {
  const request = LlmRequest.makeUnsafe({ prompt: "What is ballast?", maxOutputTokens: 100 })
  const answer = yield* LlmProvider.generate(request)
  const again = yield* LlmProvider.streamText(request).pipe(Stream.mkString)
  return { text: answer.text, attempts: answer.receipt?.attempts.length, again }
})

const told = await Effect.runPromise(program.pipe(Effect.provide(Llm)))
assert.deepEqual(told, { text: "Weight low in a ship.", attempts: 2, again: "Weight low in a ship." })

// the vendor's client is not installed here: only its layer says so
const failure = await Effect.runPromise(
  Effect.flip(Effect.scoped(Layer.build(OpenAi.layerConfig({ model: "gpt-5-mini" })))).pipe(Effect.map(String))
)
assert.match(failure, /openai/i)
console.log(`${process.version}: ${told.text}`)
