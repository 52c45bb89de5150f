import { inspect } from "node:util"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import type { Response } from "effect/ai"
import * as LlmResponse from "effect-ballast/LlmResponse"

const finish: Response.FinishPartEncoded = {
  type: "finish",
  reason: "stop",
  usage: { inputTokens: { total: 3 }, outputTokens: { total: 2 } }
}

const response = (parts: ReadonlyArray<Response.PartEncoded>) =>
  new LlmResponse.LlmResponse({ provider: "test", model: "m", parts })

describe("LlmResponse", () => {
  it("answers the usual questions", () => {
    const call: Response.ToolCallPartEncoded = { type: "tool-call", id: "1", name: "add", params: { a: 1 } }
    const answer = response([
      { type: "reasoning", text: "hm" },
      { type: "text", text: "Hello " },
      call,
      { type: "text", text: "there" },
      finish
    ])
    assert.strictEqual(answer.text, "Hello there")
    assert.strictEqual(answer.reasoningText, "hm")
    assert.deepStrictEqual(answer.toolCalls, [call])
    assert.strictEqual(answer.finishReason, "stop")
    assert.deepStrictEqual(answer.usage, finish.usage)
  })

  it("says unknown where there is no finish part", () => {
    assert.strictEqual(response([]).finishReason, "unknown")
    assert.deepStrictEqual(response([]).usage, LlmResponse.noUsage)
  })

  it("never shows the answer when it is printed", () => {
    const answer = response([{ type: "text", text: "the-secret-answer" }, finish])
    assert.notInclude(JSON.stringify(answer), "the-secret-answer")
    assert.notInclude(inspect(answer, { depth: 9 }), "the-secret-answer")
  })

  it("puts an answer behind its prompt", () => {
    const prompt = LlmResponse.toPrompt(
      response([{ type: "text", text: "hi" }, { type: "tool-call", id: "1", name: "add", params: { a: 1 } }, finish])
    )
    assert.deepStrictEqual(
      prompt.content.map((message) => message.role),
      ["assistant"]
    )
  })
})

describe("isVisible", () => {
  it.each<[boolean, LlmResponse.LlmPart]>([
    [true, { type: "text-delta", id: "0", delta: "a" }],
    [false, { type: "text-delta", id: "0", delta: "" }],
    [true, { type: "reasoning-delta", id: "0", delta: "a" }],
    [false, { type: "reasoning-delta", id: "0", delta: "" }],
    [true, { type: "tool-params-start", id: "0", name: "t" }],
    [true, { type: "tool-call", id: "0", name: "t", params: {} }],
    [true, { type: "file", mediaType: "image/png", data: "" }],
    [true, { type: "source", sourceType: "url", id: "0", url: "https://a.example", title: "a" }],
    [false, { type: "response-metadata" }],
    [false, { type: "text-start", id: "0" }],
    [false, finish]
  ])("is %s for %o", (expected, part) => {
    assert.strictEqual(LlmResponse.isVisible(part), expected)
  })
})

const Text = Schema.Struct({ type: Schema.Literals(["text", "reasoning"]), text: Schema.String })
const Call = Schema.Struct({
  type: Schema.Literal("tool-call"),
  id: Schema.String,
  name: Schema.String,
  params: Schema.Json
})

describe("collectParts", () => {
  it.effect.prop("gives back what toStreamParts took apart", [Schema.Array(Schema.Union([Text, Call]))], ([parts]) =>
    Effect.sync(() => {
      assert.deepStrictEqual(LlmResponse.collectParts(LlmResponse.toStreamParts(parts)), parts)
    })
  )

  it("puts interleaved blocks together by id, in the order in which they began", () => {
    const parts = LlmResponse.collectParts([
      { type: "text-start", id: "a" },
      { type: "reasoning-start", id: "a" },
      { type: "text-delta", id: "a", delta: "1" },
      { type: "reasoning-delta", id: "a", delta: "x" },
      { type: "text-delta", id: "a", delta: "2" },
      { type: "reasoning-end", id: "a", metadata: { anthropic: { signature: "s" } } },
      finish
    ])
    assert.deepStrictEqual(parts, [
      { type: "text", text: "12" },
      { type: "reasoning", text: "x", metadata: { anthropic: { signature: "s" } } },
      finish
    ])
  })
})
