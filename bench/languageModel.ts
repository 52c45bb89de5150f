/** What all policies together add to a call through the `LanguageModel` of `effect/ai`. */
import { Effect, Layer, Scope } from "effect"
import { LanguageModel } from "effect/ai"
import { LlmProvider, Pricing, Resilient } from "../src/index.ts"
import * as Stores from "../src/Stores.ts"
import { inFiber, type Suite } from "./harness.ts"
import { sync } from "./policies.ts"

const provider = Layer.succeed(LlmProvider.LlmProvider, { ...sync, model: "m" })

const Llm = Resilient.layer({
  providers: [provider],
  retry: {},
  circuitBreaker: {},
  rateLimiter: { requestsPerMinute: 1e9 },
  budget: { limits: [{ usd: 1e6 }] },
  inputGuard: {},
  outputGuard: {},
  degrade: { static: "sorry" }
}).pipe(Layer.provide(Stores.layerMemory), Layer.provide(Pricing.layerTable({ m: { input: 1, output: 1 } })))

const asking = async <E>(layer: Layer.Layer<LlmProvider.LlmProvider, E>): Promise<Effect.Effect<unknown, unknown>> => {
  const built = Layer.buildWithScope(Layer.provide(LlmProvider.languageModel, layer), Effect.runSync(Scope.make()))
  return Effect.provide(LanguageModel.generateText({ prompt: "What is ballast?" }), await Effect.runPromise(built))
}

export const languageModelSuite: Suite = {
  name: "LanguageModel.generateText of effect/ai",
  base: "the bare provider",
  cases: [inFiber("the bare provider", await asking(provider)), inFiber("Ballast, every policy on", await asking(Llm))]
}
