import { it } from "@effect/vitest"
import { Effect, Schema, Stream } from "effect"
import * as LocalLlm from "../src/LocalLlm.ts"
import * as OpenAi from "../src/OpenAi.ts"
import * as LlmProvider from "../src/LlmProvider.ts"
import * as EmbeddingModel from "effect/ai/EmbeddingModel"

const log = (...a: unknown[]) => Effect.sync(() => console.log(...a))
it.effect("x", () =>
  Effect.gen(function* () {
    const { url } = yield* LocalLlm.LocalLlm
    const c = (body: string) =>
      Effect.promise(() =>
        fetch(`${url}/chat/completions`, { method: "POST", headers: { authorization: "Bearer x" }, body }).then((r) =>
          r.text()
        )
      ).pipe(Effect.flatMap(log))
    yield* c(
      '{"model":"m","messages":[{"role":"user","content":"What does ballast keep upright?\\n\\nContext: Ballast is weight low in a ship. It keeps the ship upright when the wind gusts."}]}'
    )
    yield* c(
      '{"model":"m","stream":true,"stream_options":{"include_usage":true},"messages":[{"role":"user","content":"Hello?"}]}'
    )
    yield* c('{"model":"m","messages":[]}')
    yield* c('{"model":"m","messages":[{"role":"bot"}]}')
    yield* c('{"messages":[{"role":"bot"}]}')
    yield* c("[]")
    yield* c('{"model":"m","max_completion_tokens":100000000,"messages":[{"role":"user","content":"x"}]}')
    yield* c('{"model":"m","tools":[{"type":"function","function":{}}],"messages":[{"role":"user","content":"x"}]}')
    yield* c(
      '{"model":"m","tool_choice":{"type":"function","function":{"name":"u"}},"tools":[{"type":"function","function":{"name":"t"}}],"messages":[{"role":"user","content":"x"}]}'
    )
    yield* c(
      '{"model":"m","tools":[{"type":"function","function":{"name":"get_weather","description":"The weather of a city","parameters":{"type":"object","properties":{"city":{"type":"string"},"days":{"type":"integer"}},"required":["city","days"]}}}],"messages":[{"role":"user","content":"What is the weather in New York for 3 days?"}]}'
    )
    yield* c("nope")
    const Ticket = Schema.Struct({
      title: Schema.String,
      severity: Schema.Literals(["low", "medium", "high"]),
      affectedUsers: Schema.optional(Schema.Int)
    }).annotate({ identifier: "Ticket" })
    const report = "Since 9:00 the checkout page shows an error for 120 users. The severity is high."
    yield* log(yield* LlmProvider.generateObject(`Make a support ticket of this report: ${report}`, Ticket))
    const Person = Schema.Struct({
      name: Schema.String,
      born: Schema.Int,
      city: Schema.String,
      tags: Schema.Array(Schema.String),
      email: Schema.String
    })
    yield* log(
      yield* LlmProvider.generateObject(
        `Extract the person: She is called Ada Lovelace, was born in 1815 in London, mail ada@example.com.`,
        Person
      )
    )
    for (const q of [
      "Summarise this text:\n\nText: One fish. Two fish. Red fish.",
      "Use the context.\n\n[1] Cats sleep all day.\n[2] Dogs bark at night.\n\nQuestion: Who barks?",
      "Was ist Ballast?",
      "What is the capital of France?\n\nContext: Cats sleep."
    ])
      yield* log(yield* LlmProvider.generateText(q))
    yield* LlmProvider.stream({ prompt: "Hello?", reasoningEffort: "low" }).pipe(Stream.runForEach(log))
    const r = yield* LlmProvider.generate({ prompt: "Hello?", maxOutputTokens: 100_000_000 }).pipe(
      Effect.catchReason("LlmError", "InvalidRequestError", (reason) => Effect.succeed(reason.message))
    )
    yield* log(r)
  }).pipe(
    Effect.provide(LocalLlm.layerProvider()),
    Effect.andThen(
      Effect.gen(function* () {
        const m = yield* EmbeddingModel.EmbeddingModel
        const { embeddings } = yield* m.embedMany([
          "What is Python?",
          "Can you explain Python?",
          "How do I bake bread?",
          "Baking bread at home",
          "Python snakes"
        ])
        const v = embeddings.map((e) => e.vector)
        yield* log(
          v[0]!.length,
          v.map((a) => v.map((b) => a.reduce((s, x, i) => s + x * b[i]!, 0).toFixed(2)).join(" ")).join("\n")
        )
      }).pipe(Effect.provide(LocalLlm.layerEmbeddings()))
    )
  )
)
