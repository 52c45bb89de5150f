/**
 * An answer is given again to a text of the same meaning, and not to one that is near but of other facts. The embeddings are
 * LocalLlm's, which are no model's: with a real one the similarities are others, so measure them in `mode: "shadow"` first.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Console, Effect, Layer } from "effect"
import { EmbeddingModel } from "effect/ai"
import { LlmProvider, OpenAi, Resilient, SemanticCache } from "effect-ballast"
import * as LocalLlm from "effect-ballast/LocalLlm"
import * as Stores from "effect-ballast/Stores"

const Embeddings = LocalLlm.layerEmbeddings()

const Model = Resilient.layer({
  providers: [LocalLlm.layerUnless("OPENAI_API_KEY", OpenAi.layerConfig({ model: "gpt-5-mini" }))],
  semanticCache: { threshold: 0.65, sample: 0 } // 0.95 is the default, for embeddings of a model
}).pipe(Layer.provideMerge(Embeddings), Layer.provide(Stores.layerMemory))

const pairs = [
  ["What is Python?", "Can you explain Python?"],
  ["What is Python?", "What is Ruby?"],
  ["How tall is the Eiffel Tower?", "What is the height of the Eiffel Tower?"],
  ["What is 2 + 2?", "What is 2 + 3?"],
  ["Why is ballast heavy?", "Why is ballast not heavy?"],
  ['What does "trim" mean?', 'What does "list" mean?']
] as const

const similarity = (first: string, second: string) =>
  Effect.gen(function* () {
    const model = yield* EmbeddingModel.EmbeddingModel
    const { embeddings } = yield* model.embedMany([first, second])
    const [a = [], b = []] = embeddings.map(({ vector }) => vector)
    const dot = (x: ReadonlyArray<number>, y: ReadonlyArray<number>) =>
      x.reduce((sum, value, i) => sum + value * (y[i] ?? 0), 0)
    return dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b))
  })

const program = Effect.gen(function* () {
  const cache = yield* SemanticCache.SemanticCache
  for (const [first, second] of pairs) {
    yield* cache.clear()
    yield* LlmProvider.generateText(first)
    const before = yield* cache.stats
    yield* LlmProvider.generateText(second)
    const { gated, hits } = yield* cache.stats
    const verdict = hits > before.hits ? "hit" : gated > before.gated ? "stopped by the gate" : "not near enough"
    const near = (yield* similarity(first, second)).toFixed(3)
    yield* Console.log(`${near}  ${verdict.padEnd(19)}  ${first}  |  ${second}`)
  }
  yield* Console.log(JSON.stringify(yield* cache.stats))
})

NodeRuntime.runMain(program.pipe(Effect.provide(Model)))
