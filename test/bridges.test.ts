/** Through both bridges and back: a provider as a `LanguageModel` as a provider loses nothing. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Encoding, Schema, Stream } from "effect"
import { Prompt, Response } from "effect/ai"
import * as LlmError from "effect-ballast/LlmError"
import * as LlmProvider from "effect-ballast/LlmProvider"
import * as LlmRequest from "effect-ballast/LlmRequest"
import { collectParts, type LlmPart } from "effect-ballast/LlmResponse"
import { TestProvider } from "effect-ballast/testing"

const there = (step: TestProvider.Step) =>
  Effect.gen(function* () {
    const inner = TestProvider.make({ steps: [step] })
    const model = yield* LlmProvider.toLanguageModel(inner)
    const provider = LlmProvider.makeFromLanguageModel(model, { provider: "bridged", model: "m" })
    return { calls: inner.calls, provider }
  })

const Metadata = Schema.optionalKey(Schema.Record(Schema.String, Schema.Struct({ signature: Schema.String })))
const Tokens = Schema.optionalKey(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 1_000_000 })))
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
const Content = Schema.Array(Schema.Union([Text, Reasoning, Call, Bytes, Source]))

const encoded = (part: (typeof Content.Type)[number]): Response.PartEncoded =>
  part.type === "file"
    ? { type: "file", mediaType: part.mediaType, data: Encoding.encodeBase64(part.bytes) }
    : part

/** Parts with their defaults written out, so that `{}` equals no metadata. */
const full = Schema.decodeUnknownSync(Schema.Array(Response.Part()))

const tool = (name: string): LlmRequest.Tool => ({ name, description: undefined, parameters: {}, strict: undefined })
const request = LlmRequest.makeUnsafe({ prompt: "Hello?", tools: [tool("Weather"), tool("Clock")] })

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
      const { calls, provider } = yield* there([...content.map(encoded), finish])
      const model = yield* LlmProvider.toLanguageModel(TestProvider.make({ steps: [[...content.map(encoded), finish]] }))
      assert.isDefined(model)
      const streamed = yield* Stream.runCollect(provider.stream(request))
      assert.deepStrictEqual(full(collectParts(streamed)), full([...content.map(encoded), finish]))
      assert.strictEqual(calls.length, 1)
    })
  )
})
