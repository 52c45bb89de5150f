/** Through both bridges and back: a provider as a `LanguageModel` as a provider loses nothing. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema, Stream } from "effect"
import { AiError, OpenAiStructuredOutput, Prompt, Response } from "effect/ai"
import * as LlmError from "effect-ballast/LlmError"
import * as LlmProvider from "effect-ballast/LlmProvider"
import * as LlmRequest from "effect-ballast/LlmRequest"
import { collectParts } from "effect-ballast/LlmResponse"
import { TestProvider } from "effect-ballast/testing"

const there = (step: TestProvider.Step) =>
  Effect.gen(function* () {
    const inner = TestProvider.make({ steps: [step] })
    const model = yield* LlmProvider.toLanguageModel(inner)
    const provider = LlmProvider.makeFromLanguageModel(model, { provider: "bridged", model: "m" })
    return { calls: inner.calls, provider }
  })

const Metadata = Schema.optionalKey(Schema.Record(Schema.String, Schema.Struct({ signature: Schema.String })))
const Tokens = Schema.optionalKey(Schema.Int)
const ToolName = Schema.Literals(["Weather", "Clock", "Undeclared"])

const Text = Schema.Struct({ type: Schema.Literal("text"), text: Schema.String, metadata: Metadata })
const Reasoning = Schema.Struct({ type: Schema.Literal("reasoning"), text: Schema.String, metadata: Metadata })
const Call = Schema.Struct({
  type: Schema.Literal("tool-call"),
  id: Schema.String,
  name: ToolName,
  params: Schema.Record(Schema.String, Schema.Union([Schema.String, Schema.Int, Schema.Null])),
  metadata: Metadata
})
/** A tool that the provider ran itself. */
const Result = Schema.Struct({
  type: Schema.Literal("tool-result"),
  id: Schema.String,
  name: Schema.Literals(["Weather", "Clock"]),
  result: Schema.Union([Schema.String, Schema.Null, Schema.Record(Schema.String, Schema.Int)]),
  isFailure: Schema.Boolean,
  providerExecuted: Schema.Literal(true),
  metadata: Metadata
})
const Bytes = Schema.Struct({ type: Schema.Literal("file"), mediaType: Schema.String, bytes: Schema.Uint8Array })
const Source = Schema.Struct({
  type: Schema.Literal("source"),
  sourceType: Schema.Literal("url"),
  id: Schema.String,
  url: Schema.Literals(["https://example.com/a", "https://example.com/b?c=d"]),
  title: Schema.String
})
const Finish = Schema.Struct({
  type: Schema.Literal("finish"),
  reason: Response.FinishReason,
  usage: Schema.Struct({
    inputTokens: Schema.Struct({ total: Tokens, uncached: Tokens, cacheRead: Tokens, cacheWrite: Tokens }),
    outputTokens: Schema.Struct({ total: Tokens, text: Tokens, reasoning: Tokens })
  }),
  metadata: Metadata
})
const Content = Schema.Array(Schema.Union([Text, Reasoning, Call, Result, Bytes, Source]))

const base64 = Schema.encodeSync(Schema.Uint8ArrayFromBase64)

const encoded = (part: (typeof Content.Type)[number]): Response.PartEncoded =>
  part.type === "file" ? { type: "file", mediaType: part.mediaType, data: base64(part.bytes) } : part

/** Parts with their defaults written out, so that `{}` equals no metadata. */
const full = Schema.decodeUnknownSync(Schema.Array(Response.Part()))

const declared = ["Weather", "Clock"].map((name): LlmRequest.Tool => ({ name, parameters: {} }))
const request = LlmRequest.makeUnsafe({ prompt: "Hello?", tools: declared })

const Tools = Schema.Array(
  Schema.Struct({
    description: Schema.UndefinedOr(Schema.String),
    parameters: Schema.Record(Schema.String, Schema.Union([Schema.String, Schema.Array(Schema.String)])),
    strict: Schema.UndefinedOr(Schema.Boolean)
  })
)
const Choice = Schema.Literals(["auto", "none", "required", "named"])

const prompt = Prompt.make([
  { role: "system", content: "Be short.", options: { anthropic: { cacheControl: { type: "ephemeral" } } } },
  {
    role: "user",
    content: [
      { type: "text", text: "What is this?" },
      { type: "file", mediaType: "image/png", data: new Uint8Array([1, 2]), fileName: "a.png" },
      { type: "file", mediaType: "image/*", data: new URL("https://example.com/b.png") }
    ]
  },
  {
    role: "assistant",
    content: [
      { type: "reasoning", text: "hm", options: { anthropic: { signature: "s" } } },
      { type: "tool-call", id: "1", name: "Weather", params: { city: "Kiel" }, providerExecuted: false }
    ]
  },
  {
    role: "tool",
    content: [{ type: "tool-result", id: "1", name: "Weather", isFailure: true, result: { why: "closed" } }]
  }
])

describe("both bridges", () => {
  it.effect.prop("an answer loses nothing", [Content, Finish], ([content, finish]) =>
    Effect.gen(function* () {
      const parts = [...content.map(encoded), finish]
      const { provider } = yield* there(parts)
      assert.deepStrictEqual(full((yield* provider.generate(request)).parts), full(parts))
    })
  )

  it.effect.prop("a stream loses nothing", [Content, Finish], ([content, finish]) =>
    Effect.gen(function* () {
      const parts = [...content.map(encoded), finish]
      const { provider } = yield* there(parts)
      const streamed = yield* Stream.runCollect(provider.stream(request))
      assert.deepStrictEqual(full(collectParts(streamed)), full(parts))
    })
  )

  it.effect.prop("a request loses nothing", [Tools, Choice], ([specs, choice]) =>
    Effect.gen(function* () {
      const tools = specs.map((spec, i): LlmRequest.Tool => ({ name: `tool-${i}`, ...spec }))
      const toolChoice = choice === "named" ? (tools[0] === undefined ? "auto" : { tool: "tool-0" }) : choice
      const { calls, provider } = yield* there("ok")
      const asked = LlmRequest.makeUnsafe({ prompt, tools, toolChoice })
      yield* provider.generate(asked)
      yield* Stream.runDrain(provider.stream(asked))
      for (const { request } of calls) {
        assert.strictEqual(request.prompt, prompt)
        assert.deepStrictEqual(request, tools.length === 0 ? { prompt } : { prompt, tools, toolChoice })
      }
      assert.strictEqual(calls.length, 2)
    })
  )

  it.effect("a tool result that looks like an error of effect/ai stays as it was written", () =>
    Effect.gen(function* () {
      const error = AiError.make({ module: "m", method: "f", reason: new AiError.UnknownError({ description: "no" }) })
      const result = yield* Schema.encodeEffect(AiError.AiError)(error)
      const { provider } = yield* there([
        { type: "tool-result", id: "1", name: "Weather", isFailure: true, providerExecuted: true, result },
        { type: "finish", reason: "stop", usage: { inputTokens: {}, outputTokens: {} } }
      ])
      const [part] = (yield* provider.generate(request)).parts
      assert.deepStrictEqual(part?.type === "tool-result" ? part.result : undefined, result)
    })
  )

  it.effect("a failure is the very same, whose provider it names", () =>
    Effect.gen(function* () {
      const reason = new AiError.NetworkError({ reason: "TransportError", method: "POST", url: "https://example.com" })
      const failure = new LlmError.LlmError({ provider: "openai", model: "gpt", reason, phase: "connecting" })
      const { provider } = yield* there(failure)
      assert.strictEqual(yield* Effect.flip(provider.generate(request)), failure)
      assert.strictEqual(yield* Effect.flip(Stream.runDrain(provider.stream(request))), failure)
    })
  )

  it.effect("structured output comes back through a provider's own codec", () =>
    Effect.gen(function* () {
      const inner = TestProvider.make({ steps: ['{"name":"Ada","born":null}'] })
      const model = yield* LlmProvider.toLanguageModel({
        ...inner,
        codecTransformer: OpenAiStructuredOutput.toCodecOpenAI
      })
      const provider = LlmProvider.makeFromLanguageModel(model, { provider: "bridged", model: "m" })
      const Person = Schema.Struct({ name: Schema.String, born: Schema.optional(Schema.Int) })
      const person = LlmProvider.generateObject("Who?", Person)
      assert.deepStrictEqual(yield* Effect.provideService(person, LlmProvider.LlmProvider, provider), { name: "Ada" })
    })
  )
})
