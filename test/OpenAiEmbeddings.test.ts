import { inspect } from "node:util"
import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Effect, Redacted } from "effect"
import * as EmbeddingModel from "effect/ai/EmbeddingModel"
import * as LlmError from "effect-ballast/LlmError"
import * as OpenAi from "effect-ballast/OpenAi"
import { json, type Received, secret, serve, shown } from "./fixtures/openai/server.ts"

const apiKey = Redacted.make(secret)

const inputsOf = ({ body }: Received): ReadonlyArray<string> =>
  Array.isArray(body["input"]) ? body["input"].map(String) : []

const embedMany = (inputs: ReadonlyArray<string>) =>
  Effect.flatMap(EmbeddingModel.EmbeddingModel, (model) => model.embedMany(inputs))

const numbers = (count: number) => Array.from({ length: count }, (_, i) => String(i))

/** Embeds a number as itself, and answers in reverse. */
const echoing = serve((response, received) => {
  const data = inputsOf(received).map((text, index) => ({ object: "embedding", index, embedding: [Number(text)] }))
  json(response, { object: "list", data: data.toReversed(), usage: { prompt_tokens: data.length, total_tokens: 0 } })
})

describe("OpenAi.embeddings", () => {
  it.effect("keeps the order of the texts and sums the tokens over requests of 2,048 texts", () =>
    Effect.gen(function* () {
      const server = yield* echoing
      const layer = OpenAi.embeddings({ model: "e", apiKey, baseUrl: server.url, dimensions: 1 })
      const answer = yield* Effect.provide(embedMany(numbers(2049)), layer)
      assert.deepStrictEqual(
        answer.embeddings.map((one) => one.vector[0]),
        numbers(2049).map(Number)
      )
      assert.strictEqual(answer.usage.inputTokens, 2049)
      assert.deepStrictEqual(
        server.requests.map((request) => inputsOf(request).length),
        [2048, 1]
      )
      assert.deepInclude(server.requests[0]?.body, { model: "e", dimensions: 1, encoding_format: "float" })
      assert.strictEqual(server.requests[0]?.url, "/v1/embeddings")
    })
  )

  it.effect("fits 2,048 texts into one request", () =>
    Effect.gen(function* () {
      const server = yield* echoing
      const layer = OpenAi.embeddings({ model: "e", apiKey, baseUrl: server.url })
      yield* Effect.provide(embedMany(numbers(2048)), layer)
      assert.strictEqual(server.requests.length, 1)
      assert.notProperty(server.requests[0]?.body, "dimensions")
    })
  )

  it.effect("fails with an AiError that carries the whole LlmError, and neither text nor key", () =>
    Effect.gen(function* () {
      const text = "a long private text that nobody may see"
      const message = `Too many tokens in "${text}" for ${secret}`
      const server = yield* serve((response) =>
        json(response, { error: { message, code: "slow_down" } }, 503, { "retry-after": "3" })
      )
      const layer = OpenAi.embeddings({ model: "e", apiKey, baseUrl: server.url })
      const failure = yield* Effect.flip(Effect.provide(embedMany([text]), layer))
      assert.strictEqual(failure.reason._tag, "RateLimitError")
      assert.strictEqual(failure.method, "embedMany")
      const whole = LlmError.fromAiError(failure)
      assert.strictEqual(whole.provider, "openai")
      assert.strictEqual(whole.model, "e")
      for (const part of [text, secret]) assert.notInclude(shown(inspect, failure), part)
    })
  )

  it.effect.each<[string, unknown]>([
    ["no list", { data: 1 }],
    ["nothing", null],
    ["too few", { data: [{ index: 0, embedding: [1] }] }],
    ["one index twice", { data: [0, 0].map((index) => ({ index, embedding: [1] })) }],
    ["an index too high", { data: [1, 2].map((index) => ({ index, embedding: [1] })) }],
    ["a vector that is none", { data: [0, 1].map((index) => ({ index, embedding: ["1"] })) }],
    ["an empty vector", { data: [0, 1].map((index) => ({ index, embedding: [] })) }]
  ])("does not accept %s as an answer", ([, body]) =>
    Effect.gen(function* () {
      const server = yield* serve((response) => json(response, body))
      const layer = OpenAi.embeddings({ model: "e", apiKey, baseUrl: server.url })
      const failure = yield* Effect.flip(Effect.provide(embedMany(["a", "b"]), layer))
      assert.strictEqual(failure.reason._tag, "InvalidResponseError")
    })
  )

  it.effect("finds an error within HTTP 200", () =>
    Effect.gen(function* () {
      const server = yield* serve((response) =>
        json(response, { error: { message: "no", code: "insufficient_quota" } })
      )
      const layer = OpenAi.embeddings({ model: "e", apiKey, baseUrl: server.url })
      const failure = yield* Effect.flip(Effect.provide(embedMany(["a"]), layer))
      assert.strictEqual(failure.reason._tag, "QuotaExhaustedError")
    })
  )

  it.effect("reads its key and its URL from the environment", () =>
    Effect.gen(function* () {
      const server = yield* echoing
      const env = ConfigProvider.fromUnknown({ OPENAI_API_KEY: secret, OPENAI_BASE_URL: server.url })
      const layer = OpenAi.embeddingsConfig({ model: "e", dimensions: 2 })
      yield* embedMany(["1"]).pipe(Effect.provide(layer), Effect.provideService(ConfigProvider.ConfigProvider, env))
      assert.strictEqual(server.requests[0]?.headers.authorization, `Bearer ${secret}`)
      assert.strictEqual(server.requests[0]?.body["dimensions"], 2)
    })
  )

  it("refuses dimensions that no vector has", () => {
    assert.throws(
      () => OpenAi.embeddings({ model: "e", apiKey, dimensions: 0 }),
      RangeError,
      "OpenAi.embeddings: dimensions must be an integer >= 1, got 0"
    )
  })
})
