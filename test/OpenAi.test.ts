/** Against aimock, a server that neither we nor OpenAI wrote, through the real `openai` client. */
import { LLMock } from "@copilotkit/aimock"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted, Schema, Stream } from "effect"
import * as EmbeddingModel from "effect/ai/EmbeddingModel"
import * as LlmProvider from "effect-ballast/LlmProvider"
import * as OpenAi from "effect-ballast/OpenAi"

const mocked = (prepare: (mock: LLMock) => void) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const mock = new LLMock({ port: 0, chunkSize: 4 })
      prepare(mock)
      await mock.start()
      return mock
    }),
    (mock) => Effect.promise(() => mock.stop())
  )

const optionsFor = (mock: LLMock) => ({
  model: "gpt-4o-mini",
  apiKey: Redacted.make("mock-key"),
  baseUrl: `${mock.url}/v1`
})

const layerFor = (mock: LLMock) => OpenAi.layer(optionsFor(mock))

const weather = {
  name: "weather",
  parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] }
}

describe("OpenAi, on a third party's server", () => {
  it.effect("answers a call with its usage", () =>
    Effect.gen(function* () {
      const usage = { prompt_tokens: 11, completion_tokens: 3, total_tokens: 14 }
      const mock = yield* mocked((server) => server.onMessage("hello", { content: "Hi there!", usage }))
      const response = yield* Effect.provide(LlmProvider.generate("hello"), layerFor(mock))
      assert.strictEqual(response.text, "Hi there!")
      assert.strictEqual(response.finishReason, "stop")
      assert.strictEqual(response.usage.inputTokens.total, 11)
      assert.strictEqual(response.usage.outputTokens.total, 3)
      const { body, headers } = mock.getRequests()[0] ?? assert.fail("nothing arrived")
      assert.deepInclude(body, { model: "gpt-4o-mini", messages: [{ role: "user", content: "hello" }] })
      assert.notInclude(JSON.stringify(headers), "stated-per-call")
    })
  )

  it.effect("streams the same text in pieces, with usage in one finish part", () =>
    Effect.gen(function* () {
      const usage = { prompt_tokens: 11, completion_tokens: 3, total_tokens: 14 }
      const mock = yield* mocked((server) =>
        server.onMessage("hello", { content: "Hi there, you!", reasoning: "A greeting.", usage })
      )
      const parts = yield* Stream.runCollect(LlmProvider.stream("hello")).pipe(Effect.provide(layerFor(mock)))
      const deltas = (type: string) =>
        parts.flatMap((part) => ("delta" in part && part.type === type ? [part.delta] : []))
      assert.isAbove(deltas("text-delta").length, 1)
      assert.strictEqual(deltas("text-delta").join(""), "Hi there, you!")
      assert.strictEqual(deltas("reasoning-delta").join(""), "A greeting.")
      const finish = parts.at(-1)
      assert(finish?.type === "finish")
      assert.strictEqual(finish.usage.inputTokens.total, 11)
    })
  )

  it.effect("calls a tool, and answers with its result", () =>
    Effect.gen(function* () {
      const mock = yield* mocked((server) => {
        const toolCalls = [{ id: "call_7", name: "weather", arguments: '{"city":"Oslo"}' }]
        server.onToolResult("call_7", { content: "Cold." })
        server.onMessage("weather", { toolCalls })
      })
      const ask = { prompt: "What is the weather?", tools: [weather], toolChoice: { tool: "weather" } } as const
      const layer = layerFor(mock)
      const response = yield* Effect.provide(LlmProvider.generate(ask), layer)
      const expected = { type: "tool-call", id: "call_7", name: "weather", params: { city: "Oslo" } } as const
      assert.deepStrictEqual(response.toolCalls, [expected])
      assert.strictEqual(response.finishReason, "tool-calls")
      const streamed = yield* Stream.runCollect(LlmProvider.stream(ask)).pipe(Effect.provide(layer))
      assert.deepStrictEqual(
        streamed.filter((part) => part.type === "tool-call"),
        [expected]
      )
      const answer = yield* LlmProvider.generateText({
        prompt: [
          { role: "user", content: "What is the weather?" },
          { role: "assistant", content: response.toolCalls },
          {
            role: "tool",
            content: [{ type: "tool-result", id: "call_7", name: "weather", isFailure: false, result: { celsius: -5 } }]
          }
        ]
      }).pipe(Effect.provide(layer))
      assert.strictEqual(answer, "Cold.")
    })
  )

  it.effect("answers with a value of a schema", () =>
    Effect.gen(function* () {
      const mock = yield* mocked((server) => server.onMessage("Who?", { content: '{"name":"Ada","nick":null}' }))
      const Person = Schema.Struct({ name: Schema.String, nick: Schema.optionalKey(Schema.String) })
      const person = yield* Effect.provide(LlmProvider.generateObject("Who?", Person), layerFor(mock))
      assert.deepStrictEqual(person, { name: "Ada" })
      const sent = JSON.stringify(mock.getLastRequest()?.body)
      // strict mode wants every property required: optional ones become nullable
      assert.include(sent, '"strict":true')
      assert.include(sent, '"required":["name","nick"]')
    })
  )

  it.effect("fails once, and asks once", () =>
    Effect.gen(function* () {
      const mock = yield* mocked((server) => {
        server.nextRequestError(503, { message: "Overloaded", code: "server_is_overloaded" })
        server.onMessage("hello", { content: "Hi there!" })
      })
      const layer = layerFor(mock)
      const failure = yield* Effect.flip(Effect.provide(LlmProvider.generate("hello"), layer))
      assert.strictEqual(failure.reason._tag, "InternalProviderError")
      assert.strictEqual(mock.getRequests().length, 1)
      assert.strictEqual(yield* Effect.provide(LlmProvider.generateText("hello"), layer), "Hi there!")
    })
  )

  it.effect.each([
    ["malformed JSON", { malformedRate: 1 }, "InvalidResponseError"],
    ["a closed connection", { disconnectRate: 1 }, "NetworkError"],
    ["a 429", { rateLimitRate: 1 }, "RateLimitError"],
    ["a 500", { dropRate: 1 }, "InternalProviderError"]
  ] as const)("survives chaos: %s", ([, chaos, tag]) =>
    Effect.gen(function* () {
      const mock = yield* mocked((server) => server.onMessage("hello", { content: "Hi there!" }).setChaos(chaos))
      const failure = yield* Effect.flip(Effect.provide(LlmProvider.generate("hello"), layerFor(mock)))
      assert.strictEqual(failure.reason._tag, tag)
    })
  )

  it.effect("embeds texts", () =>
    Effect.gen(function* () {
      const mock = yield* mocked((server) => server.onEmbedding(/./, { embedding: [0.5, -0.25, 1] }))
      const program = Effect.flatMap(EmbeddingModel.EmbeddingModel, (model) => model.embedMany(["a", "b"]))
      const options = { ...optionsFor(mock), model: "text-embedding-3-small" }
      const answer = yield* Effect.provide(program, OpenAi.embeddings(options))
      assert.deepStrictEqual(
        answer.embeddings.map((one) => one.vector),
        [
          [0.5, -0.25, 1],
          [0.5, -0.25, 1]
        ]
      )
    })
  )
})
