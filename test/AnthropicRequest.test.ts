import { assert, describe, it } from "@effect/vitest"
import { Effect, Result, Schema } from "effect"
import * as LlmRequest from "effect-ballast/LlmRequest"
import * as LlmResponse from "effect-ballast/LlmResponse"
import { type Body, type Dialect, toParams } from "../src/internal/anthropicRequest.ts"
import { EventDecoder, partsUnsafe } from "../src/internal/anthropicResponse.ts"
import { message, started, stopped, streamed } from "./fixtures/anthropic/server.ts"

const dialect: Dialect = { name: "anthropic", model: "claude-opus-5", maxOutputTokens: 4096, sampling: false }

const paramsOf = (input: LlmRequest.Input, more: Partial<Dialect> = {}) =>
  Result.getOrThrow(toParams(LlmRequest.makeUnsafe(input), { ...dialect, ...more }))

const bodyOf = (input: LlmRequest.Input, more?: Partial<Dialect>): Body => paramsOf(input, more).body

const refusalOf = (input: LlmRequest.Input, more: Partial<Dialect> = {}) => {
  const result = toParams(LlmRequest.makeUnsafe(input), { ...dialect, ...more })
  return Result.isFailure(result) ? `${result.failure.parameter} ${result.failure.constraint}` : "accepted"
}

const file = (mediaType: string, data: string | Uint8Array | URL, fileName?: string) => ({
  role: "user" as const,
  content: [{ type: "file" as const, mediaType, data, ...(fileName === undefined ? {} : { fileName }) }]
})

const blockOf = (prompt: NonNullable<Exclude<LlmRequest.Input, string>["prompt"]>): unknown => {
  const content = bodyOf({ prompt }).messages[0]?.content
  return typeof content === "string" ? content : content?.[0]
}

describe("messages", () => {
  it("system messages become blocks, in their order, wherever they stand", () => {
    const body = bodyOf({
      prompt: [
        { role: "system", content: "first" },
        { role: "user", content: "hi" },
        {
          role: "system",
          content: "second",
          options: { anthropic: { cacheControl: { type: "ephemeral", ttl: "1h" } } }
        }
      ]
    })
    assert.deepStrictEqual(body.system, [
      { type: "text", text: "first" },
      { type: "text", text: "second", cache_control: { type: "ephemeral", ttl: "1h" } }
    ])
    assert.strictEqual(body.messages.length, 1)
  })

  it("neighbours of one role are one turn, with the results of tools before all else", () => {
    const body = bodyOf({
      prompt: [
        { role: "user", content: "a" },
        { role: "user", content: "b" },
        {
          role: "assistant",
          content: [{ type: "tool-call", id: "t1", name: "f", params: { x: 1 }, providerExecuted: false }]
        },
        { role: "assistant", content: [{ type: "text", text: "c" }] },
        { role: "user", content: "d" },
        { role: "tool", content: [{ type: "tool-result", id: "t1", name: "f", isFailure: true, result: "no" }] }
      ]
    })
    assert.deepStrictEqual(body.messages, [
      {
        role: "user",
        content: [
          { type: "text", text: "a" },
          { type: "text", text: "b" }
        ]
      },
      {
        role: "assistant",
        content: [
          { type: "tool_use", id: "t1", name: "f", input: { x: 1 } },
          { type: "text", text: "c" }
        ]
      },
      {
        role: "user",
        content: [
          { type: "tool_result", tool_use_id: "t1", content: "no", is_error: true },
          { type: "text", text: "d" }
        ]
      }
    ])
  })

  it.each([
    ["image/png", new Uint8Array([1, 2, 3]), { type: "base64", media_type: "image/png", data: "AQID" }],
    ["image/webp", "AQID", { type: "base64", media_type: "image/webp", data: "AQID" }],
    ["image/png", "data:image/png;base64,AQID", { type: "base64", media_type: "image/png", data: "AQID" }],
    ["image/*", new URL("https://a.example/x"), { type: "url", url: "https://a.example/x" }]
  ])("an image of type %s is sent: %j", (mediaType, data, source) => {
    assert.deepStrictEqual(blockOf([file(mediaType, data)]), { type: "image", source })
  })

  it.each([
    ["application/pdf", new Uint8Array([1, 2, 3]), { type: "base64", media_type: "application/pdf", data: "AQID" }],
    ["application/pdf", new URL("https://a.example/x.pdf"), { type: "url", url: "https://a.example/x.pdf" }],
    ["text/plain", new TextEncoder().encode("žluť"), { type: "text", media_type: "text/plain", data: "žluť" }]
  ])("a document of type %s is sent with its name: %j", (mediaType, data, source) => {
    assert.deepStrictEqual(blockOf([file(mediaType, data, "x.pdf")]), { type: "document", source, title: "x.pdf" })
  })

  it.each([
    ["image/tiff", "AQID", "prompt[0].content[0].mediaType"],
    ["image/*", "AQID", "prompt[0].content[0].mediaType"],
    ["audio/mp3", "AQID", "prompt[0].content[0].mediaType"],
    ["text/plain", "https://a.example", "prompt[0].content[0].mediaType"],
    ["image/png", "file:///etc/passwd", "prompt[0].content[0].data"],
    ["text/plain", "!", "prompt[0].content[0].data"]
  ])("a file of type %s with %s is refused by its place", (mediaType, data, place) => {
    assert.include(refusalOf({ prompt: [file(mediaType, data)] }), place)
  })

  it("a file in an assistant's message is refused by its place", () => {
    const content = [{ type: "file" as const, mediaType: "image/png", data: "AQID" }]
    const prompt = [
      { role: "user" as const, content: "a" },
      { role: "assistant" as const, content }
    ]
    assert.include(refusalOf({ prompt }), "prompt[1].content[0] cannot be a file")
  })

  it("a prompt of system messages only is refused", () => {
    assert.include(refusalOf({ prompt: [{ role: "system", content: "a" }] }), "prompt must hold more")
  })

  it("a result of a tool may have images and failed results are marked", () => {
    const modelOutput = [
      { type: "text" as const, text: "see" },
      { type: "file" as const, mediaType: "image/png", data: "AQID" }
    ]
    const result = { type: "tool-result" as const, id: "t", name: "f", isFailure: false, result: { a: 1 }, modelOutput }
    assert.deepStrictEqual(blockOf([{ role: "tool", content: [result] }]), {
      type: "tool_result",
      tool_use_id: "t",
      content: [
        { type: "text", text: "see" },
        { type: "image", source: { type: "base64", media_type: "image/png", data: "AQID" } }
      ]
    })
  })

  it("thinking that Anthropic did not sign stays away", () => {
    const body = bodyOf({
      prompt: [
        { role: "user", content: "a" },
        {
          role: "assistant",
          content: [
            { type: "reasoning", text: "of another" },
            { type: "reasoning", text: "mine", options: { anthropic: { signature: "s" } } },
            { type: "text", text: "b  " }
          ]
        }
      ]
    })
    assert.deepStrictEqual(body.messages[1]?.content, [
      { type: "thinking", thinking: "mine", signature: "s" },
      { type: "text", text: "b" }
    ])
  })

  it("cache marks go to a part, to the end of a message, and to the provider's own name", () => {
    const mark = { cacheControl: { type: "ephemeral" } }
    const body = bodyOf(
      {
        prompt: [
          {
            role: "user",
            content: [
              { type: "text", text: "a", options: { mine: mark } },
              { type: "text", text: "b" },
              { type: "text", text: "c" }
            ],
            options: { anthropic: { cache_control: { type: "ephemeral", ttl: "1h" } } }
          }
        ]
      },
      { name: "mine" }
    )
    assert.deepStrictEqual(body.messages[0]?.content, [
      { type: "text", text: "a", cache_control: { type: "ephemeral" } },
      { type: "text", text: "b" },
      { type: "text", text: "c", cache_control: { type: "ephemeral", ttl: "1h" } }
    ])
  })
})

describe("settings", () => {
  it("of the request go before those of the layer, and the provider's own go before all but model and messages", () => {
    assert.strictEqual(bodyOf("a").max_tokens, 4096)
    const body = bodyOf({
      prompt: "a",
      maxOutputTokens: 7,
      stop: ["END"],
      reasoningEffort: "high",
      responseFormat: { type: "json", name: "x", schema: { type: "object" } },
      providerOptions: {
        anthropic: { metadata: { user_id: "u" }, model: "x", messages: [], output_config: { effort: "max" } },
        openai: { service_tier: "flex" }
      }
    })
    assert.deepStrictEqual<unknown>(body, {
      max_tokens: 7,
      stop_sequences: ["END"],
      thinking: { type: "adaptive" },
      output_config: { effort: "max", format: { type: "json_schema", schema: { type: "object" } } },
      metadata: { user_id: "u" },
      model: "claude-opus-5",
      messages: [{ role: "user", content: [{ type: "text", text: "a" }] }]
    })
  })

  it.each([
    [{ seed: 1 }, "seed cannot be passed"],
    [{ temperature: 0 }, "temperature cannot be passed to Anthropic since API version 2026-10-21"],
    [{ topP: 1 }, "topP cannot be passed to Anthropic since API version 2026-10-21"]
  ])("%j is refused by its name", (fields, why) => {
    assert.include(refusalOf({ prompt: "a", ...fields }), why)
  })

  it("temperature and topP are for the old version, seed is for none", () => {
    const old = { sampling: true }
    assert.strictEqual(bodyOf({ prompt: "a", temperature: 0.5 }, old).temperature, 0.5)
    assert.strictEqual(bodyOf({ prompt: "a", topP: 0.5 }, old).top_p, 0.5)
    assert.include(refusalOf({ prompt: "a", seed: 1 }, old), "seed")
  })

  it.each([
    ["none", "claude-opus-5", { thinking: { type: "disabled" } }],
    ["minimal", "claude-opus-5", { thinking: { type: "adaptive" }, output_config: { effort: "low" } }],
    ["xhigh", "claude-sonnet-4-6", { thinking: { type: "adaptive" }, output_config: { effort: "xhigh" } }],
    ["high", "claude-haiku-4-5", { thinking: { type: "enabled", budget_tokens: 3276 } }],
    ["low", "claude-opus-4-1-20250805", { thinking: { type: "enabled", budget_tokens: 1024 } }]
  ] as const)("effort %s for %s", (reasoningEffort, model, expected) => {
    const { output_config, thinking } = bodyOf({ prompt: "a", reasoningEffort }, { model })
    assert.deepStrictEqual<unknown>({ thinking, ...(output_config === undefined ? {} : { output_config }) }, expected)
  })

  it("thinking with a budget needs room for it", () => {
    const asked = (maxOutputTokens: number) => ({ prompt: "a", reasoningEffort: "low" as const, maxOutputTokens })
    const model = { model: "claude-haiku-4-5" }
    assert.include(refusalOf(asked(1024), model), "maxOutputTokens must be above 1024")
    assert.strictEqual(refusalOf(asked(1025), model), "accepted")
  })
})

describe("tools", () => {
  const tools = [
    { name: "a", description: "does a", parameters: { properties: { x: { type: "string" } } }, strict: true },
    { name: "b", parameters: { type: "object" } }
  ]

  it("have their schema, and options of their own", () => {
    const toolOptions = { b: { cacheControl: { type: "ephemeral" }, defer_loading: true } }
    const body = bodyOf({ prompt: "x", tools, providerOptions: { anthropic: { toolOptions } } })
    assert.deepStrictEqual(body.tools, [
      {
        name: "a",
        description: "does a",
        input_schema: { type: "object", properties: { x: { type: "string" } } },
        strict: true
      },
      { name: "b", input_schema: { type: "object" }, cache_control: { type: "ephemeral" }, defer_loading: true }
    ])
    assert.isUndefined(body.tool_choice)
  })

  it.each<[LlmRequest.ToolChoice, unknown, ReadonlyArray<string>]>([
    ["auto", { type: "auto" }, ["a", "b"]],
    ["none", { type: "none" }, ["a", "b"]],
    ["required", { type: "any" }, ["a", "b"]],
    [{ tool: "a" }, { type: "tool", name: "a" }, ["a", "b"]],
    [{ oneOf: ["b"], mode: "required" }, { type: "tool", name: "b" }, ["b"]],
    [{ oneOf: ["a", "b"], mode: "required" }, { type: "any" }, ["a", "b"]],
    [{ oneOf: ["b"] }, { type: "auto" }, ["b"]]
  ])("choice %j", (toolChoice, expected, offered) => {
    const body = bodyOf({ prompt: "x", tools, toolChoice })
    assert.deepStrictEqual<unknown>(body.tool_choice, expected)
    assert.deepStrictEqual(
      body.tools?.map((tool) => ("name" in tool ? tool.name : "")),
      offered
    )
  })

  it("a choice without tools is not sent, since the API refuses it", () => {
    assert.isUndefined(bodyOf({ prompt: "x", toolChoice: "none" }).tool_choice)
  })
})

const Word = Schema.String.check(Schema.isPattern(/\S/))
const Id = Schema.String.check(Schema.isPattern(/^[a-z]{3,8}$/))
const Input = Schema.Record(Id, Schema.Union([Schema.String, Schema.Finite, Schema.Boolean, Schema.Null]))

const Turn = Schema.Union([
  Schema.Struct({ role: Schema.Literal("system"), content: Word }),
  Schema.Struct({
    role: Schema.Literal("user"),
    content: Schema.NonEmptyArray(
      Schema.Union([
        Schema.Struct({ type: Schema.Literal("text"), text: Word }),
        Schema.Struct({ type: Schema.Literal("file"), mediaType: Schema.Literal("image/png"), data: Id })
      ])
    )
  }),
  Schema.Struct({
    role: Schema.Literal("assistant"),
    content: Schema.NonEmptyArray(
      Schema.Union([
        Schema.Struct({ type: Schema.Literal("text"), text: Word }),
        Schema.Struct({ type: Schema.Literal("tool-call"), id: Id, name: Id, params: Input })
      ])
    )
  }),
  Schema.Struct({
    role: Schema.Literal("tool"),
    content: Schema.NonEmptyArray(
      Schema.Struct({
        type: Schema.Literal("tool-result"),
        id: Id,
        name: Id,
        isFailure: Schema.Boolean,
        result: Input
      })
    )
  })
])

const textBlock = (value: string) => ({ type: "text", text: value })

/** The block in which a part must be found again. */
const blockOfPart = (part: Exclude<typeof Turn.Type, { role: "system" }>["content"][number]): unknown => {
  switch (part.type) {
    case "text":
      return textBlock(part.text)
    case "file":
      return { type: "image", source: { type: "base64", media_type: part.mediaType, data: part.data } }
    case "tool-call":
      return { type: "tool_use", id: part.id, name: part.name, input: part.params }
    default: {
      const failed = part.isFailure ? { is_error: true } : {}
      return { type: "tool_result", tool_use_id: part.id, content: JSON.stringify(part.result), ...failed }
    }
  }
}

const Block = Schema.Union([
  Schema.Struct({ type: Schema.Literal("text"), text: Schema.String }),
  Schema.Struct({ type: Schema.Literal("thinking"), thinking: Schema.String, signature: Id }),
  Schema.Struct({ type: Schema.Literal("redacted_thinking"), data: Id }),
  Schema.Struct({ type: Schema.Literal("tool_use"), id: Id, name: Id, input: Input })
])

const partOfBlock = (block: typeof Block.Type): unknown => {
  switch (block.type) {
    case "text":
      return { type: "text", text: block.text }
    case "thinking":
      return { type: "reasoning", text: block.thinking, metadata: { anthropic: { signature: block.signature } } }
    case "redacted_thinking":
      return { type: "reasoning", text: "", metadata: { anthropic: { redactedData: block.data } } }
    default:
      // through JSON, which has no -0
      return { type: "tool-call", id: block.id, name: block.name, params: JSON.parse(JSON.stringify(block.input)) }
  }
}

describe("nothing is lost", () => {
  it.effect.prop("on the way to the API", [Schema.Array(Turn)], ([turns]) =>
    Effect.sync(() => {
      const body = bodyOf({ prompt: [{ role: "user", content: "start" }, ...turns, { role: "user", content: "end" }] })
      const found: ReadonlyArray<unknown> = [
        ...(Array.isArray(body.system) ? body.system : []),
        ...body.messages.flatMap(({ content }): ReadonlyArray<unknown> => (Array.isArray(content) ? content : []))
      ]
      const expected = turns.flatMap((turn): ReadonlyArray<unknown> =>
        turn.role === "system" ? [textBlock(turn.content)] : turn.content.map(blockOfPart)
      )
      const sorted = (list: ReadonlyArray<unknown>) => list.map((block) => JSON.stringify(block)).sort()
      assert.deepStrictEqual(sorted(found), sorted([textBlock("start"), ...expected, textBlock("end")]))
      for (const [i, { role }] of body.messages.entries()) assert.notStrictEqual(role, body.messages[i + 1]?.role)
    })
  )

  it.effect.prop(
    "on the way back, however the stream is cut",
    [Schema.Array(Block), Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 1000 })))],
    ([blocks, cuts]) =>
      Effect.sync(() => {
        const http = { status: 200, headers: {} }
        const decoder = new EventDecoder(http, Number.POSITIVE_INFINITY)
        const parts = [started, ...blocks.flatMap((block, i) => streamed(i, block, cuts)), ...stopped()].flatMap(
          (event) => decoder.push(event)
        )
        const whole = partsUnsafe(message(blocks), http)
        assert.deepStrictEqual(LlmResponse.collectParts(parts), whole)
        assert.isTrue(decoder.done)
        const expected = blocks.map(partOfBlock)
        assert.deepStrictEqual<unknown>(whole.slice(1, -1), expected)
      })
  )
})
