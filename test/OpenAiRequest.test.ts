import { Buffer } from "node:buffer"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import type * as Prompt from "effect/ai/Prompt"
import * as LlmRequest from "effect-ballast/LlmRequest"
import { paramsUnsafe } from "../src/internal/openaiRequest.ts"
import { completion, json, provider, serve } from "./fixtures/openai/server.ts"

const sent = (input: LlmRequest.Input) => paramsUnsafe(LlmRequest.makeUnsafe(input), "openai", "gpt-test")

/** What goes over the wire. */
const body = (input: LlmRequest.Input): unknown => JSON.parse(JSON.stringify(sent(input)))

const refusal = (messages: Iterable<Prompt.MessageEncoded>): unknown => {
  try {
    return sent({ prompt: messages })
  } catch (error) {
    return error
  }
}

const bytes = new Uint8Array([1, 2, 255])
const parameters = { type: "object", properties: { b: { type: "string" }, a: { type: "number" } }, required: ["a"] }

describe("a request", () => {
  it("with nothing but text is the model and the text", () => {
    assert.deepStrictEqual(body("hi"), { model: "gpt-test", messages: [{ role: "user", content: "hi" }] })
  })

  it("carries every setting", () => {
    const tools = [
      { name: "f", description: "does f", parameters, strict: true },
      { name: "g", parameters: {} }
    ]
    const answer = body({
      prompt: "hi",
      maxOutputTokens: 9,
      temperature: 0.5,
      topP: 0.9,
      seed: 7,
      stop: ["END"],
      reasoningEffort: "low",
      tools,
      toolChoice: "required",
      responseFormat: { type: "json", name: "answer", description: "an answer", schema: parameters }
    })
    assert.deepStrictEqual(answer, {
      model: "gpt-test",
      messages: [{ role: "user", content: "hi" }],
      max_completion_tokens: 9,
      temperature: 0.5,
      top_p: 0.9,
      seed: 7,
      stop: ["END"],
      reasoning_effort: "low",
      tools: [
        { type: "function", function: { name: "f", description: "does f", parameters, strict: true } },
        { type: "function", function: { name: "g", parameters: {} } }
      ],
      tool_choice: "required",
      response_format: {
        type: "json_schema",
        json_schema: { name: "answer", description: "an answer", schema: parameters, strict: true }
      }
    })
  })

  it("keeps the order of a schema's properties", () => {
    const [tool] = sent({ prompt: "hi", tools: [{ name: "f", parameters }] }).tools ?? []
    assert.include(JSON.stringify(tool), JSON.stringify(parameters))
  })

  it.each<[string, LlmRequest.ToolChoice, unknown]>([
    ["auto", "auto", "auto"],
    ["none", "none", "none"],
    ["one tool", { tool: "f" }, { type: "function", function: { name: "f" } }],
    [
      "some tools",
      { oneOf: ["f"] },
      { type: "allowed_tools", allowed_tools: { mode: "auto", tools: [{ type: "function", function: { name: "f" } }] } }
    ],
    [
      "one of some tools",
      { mode: "required", oneOf: ["f"] },
      {
        type: "allowed_tools",
        allowed_tools: { mode: "required", tools: [{ type: "function", function: { name: "f" } }] }
      }
    ]
  ])("chooses %s", (_, toolChoice, expected) => {
    const params = sent({ prompt: "hi", tools: [{ name: "f", parameters }], toolChoice })
    assert.deepStrictEqual<unknown>(params.tool_choice, expected)
  })

  it("without tools leaves out the list and the choice that the API would refuse", () => {
    assert.deepStrictEqual(body({ prompt: "hi", tools: [], toolChoice: "auto" }), body("hi"))
  })

  it("does not ask for strictness where the format does not want it", () => {
    const format = { type: "json", name: "answer", schema: parameters, strict: false } as const
    const { response_format } = sent({ prompt: "hi", responseFormat: format })
    assert.isFalse(response_format?.type === "json_schema" && response_format.json_schema.strict)
  })

  it("takes the provider's own options last, but never another model or other messages", () => {
    const openai = { service_tier: "flex", temperature: 1, model: "dear", messages: [] }
    const answer = body({ prompt: "hi", temperature: 0, providerOptions: { openai, anthropic: { thinking: true } } })
    assert.deepStrictEqual(answer, {
      model: "gpt-test",
      messages: [{ role: "user", content: "hi" }],
      temperature: 1,
      service_tier: "flex"
    })
  })

  it.effect("does not let options turn a call into a stream", () =>
    Effect.gen(function* () {
      const server = yield* serve((response) => json(response, completion({ content: "ok" })))
      const self = yield* provider(server)
      const request = LlmRequest.makeUnsafe({ prompt: "hi", providerOptions: { openai: { stream: true } } })
      assert.strictEqual((yield* self.generate(request)).text, "ok")
      assert.deepStrictEqual<unknown>(server.requests[0]?.body, body("hi"))
    })
  )
})

describe("messages", () => {
  it("of every role arrive in their order, with their options", () => {
    const messages: ReadonlyArray<Prompt.MessageEncoded> = [
      { role: "system", content: "Be brief.", options: { openai: { name: "boss" } } },
      {
        role: "user",
        content: [
          { type: "text", text: "Look:", options: { openai: { prompt_cache_breakpoint: { mode: "explicit" } } } },
          { type: "file", mediaType: "image/png", data: bytes, options: { openai: { x: 1 }, other: { y: 2 } } },
          { type: "file", mediaType: "image/*", data: "AQL/" },
          { type: "file", mediaType: "image/png", data: new URL("https://example.com/a.png") },
          { type: "file", mediaType: "image/png", data: "https://example.com/b.png" },
          { type: "file", mediaType: "image/png", data: "data:image/png;base64,AQL/" },
          { type: "file", mediaType: "audio/wav", data: bytes },
          { type: "file", mediaType: "audio/mpeg", data: "data:audio/mpeg;base64,AQL/" },
          { type: "file", mediaType: "application/pdf", fileName: "a.pdf", data: bytes },
          { type: "file", mediaType: "application/pdf", data: "AQL/" }
        ]
      },
      {
        role: "assistant",
        content: [
          { type: "reasoning", text: "I think." },
          { type: "text", text: "Let me see." },
          { type: "tool-call", id: "c1", name: "f", params: { a: 1 } },
          { type: "tool-call", id: "c2", name: "g", params: undefined }
        ],
        options: { openai: { reasoning_content: "I think." } }
      },
      {
        role: "tool",
        content: [
          { type: "tool-result", id: "c1", name: "f", isFailure: false, result: { ok: true } },
          { type: "tool-result", id: "c2", name: "g", isFailure: true, result: "no" }
        ]
      }
    ]
    assert.deepStrictEqual(body({ prompt: messages }), {
      model: "gpt-test",
      messages: [
        { role: "system", content: "Be brief.", name: "boss" },
        {
          role: "user",
          content: [
            { type: "text", text: "Look:", prompt_cache_breakpoint: { mode: "explicit" } },
            { type: "image_url", image_url: { url: "data:image/png;base64,AQL/" }, x: 1 },
            { type: "image_url", image_url: { url: "data:image/jpeg;base64,AQL/" } },
            { type: "image_url", image_url: { url: "https://example.com/a.png" } },
            { type: "image_url", image_url: { url: "https://example.com/b.png" } },
            { type: "image_url", image_url: { url: "data:image/png;base64,AQL/" } },
            { type: "input_audio", input_audio: { data: "AQL/", format: "wav" } },
            { type: "input_audio", input_audio: { data: "AQL/", format: "mp3" } },
            { type: "file", file: { filename: "a.pdf", file_data: "data:application/pdf;base64,AQL/" } },
            { type: "file", file: { filename: "document.pdf", file_data: "data:application/pdf;base64,AQL/" } }
          ]
        },
        {
          role: "assistant",
          content: "Let me see.",
          tool_calls: [
            { id: "c1", type: "function", function: { name: "f", arguments: '{"a":1}' } },
            { id: "c2", type: "function", function: { name: "g", arguments: "null" } }
          ],
          reasoning_content: "I think."
        },
        { role: "tool", tool_call_id: "c1", content: '{"ok":true}' },
        { role: "tool", tool_call_id: "c2", content: "no" }
      ]
    })
  })

  it("take what a tool made for the model instead of its result", () => {
    const modelOutput = [
      { type: "text", text: "sunny" },
      { type: "file", mediaType: "image/png", data: bytes }
    ] as const
    const result = { type: "tool-result", id: "c", name: "f", isFailure: false, result: { t: 1 }, modelOutput } as const
    const messages: ReadonlyArray<Prompt.MessageEncoded> = [
      { role: "user", content: "hi" },
      { role: "tool", content: [result] }
    ]
    assert.deepStrictEqual<unknown>(sent({ prompt: messages }).messages[1], {
      role: "tool",
      tool_call_id: "c",
      content: "sunny\n[image/png omitted]"
    })
  })

  it("put the results of tools that another provider ran behind their calls", () => {
    const messages: ReadonlyArray<Prompt.MessageEncoded> = [
      {
        role: "assistant",
        content: [
          { type: "tool-call", id: "c", name: "search", params: {}, providerExecuted: true },
          { type: "tool-result", id: "c", name: "search", isFailure: false, result: "found", providerExecuted: true },
          { type: "text", text: "Found it." }
        ]
      }
    ]
    assert.deepStrictEqual<unknown>(sent({ prompt: messages }).messages, [
      { role: "assistant", tool_calls: [{ id: "c", type: "function", function: { name: "search", arguments: "{}" } }] },
      { role: "tool", tool_call_id: "c", content: "found" },
      { role: "assistant", content: "Found it." }
    ])
  })

  it.each<[string, string, Prompt.MessageEncoded]>([
    [
      "a video",
      "prompt[1].content[0].mediaType",
      { role: "user", content: [{ type: "file", mediaType: "video/mp4", data: bytes }] }
    ],
    [
      "a PDF by URL",
      "prompt[1].content[1].data",
      {
        role: "user",
        content: [
          { type: "text", text: "a" },
          { type: "file", mediaType: "application/pdf", data: new URL("https://example.com/a.pdf") }
        ]
      }
    ],
    [
      "a sound by URL",
      "prompt[1].content[0].data",
      { role: "user", content: [{ type: "file", mediaType: "audio/wav", data: "https://example.com/a.wav" }] }
    ],
    [
      "a file of the assistant",
      "prompt[1].content[0]",
      { role: "assistant", content: [{ type: "file", mediaType: "image/png", data: bytes }] }
    ],
    [
      "arguments that JSON cannot hold",
      "prompt[1].content[0].params",
      { role: "assistant", content: [{ type: "tool-call", id: "c", name: "f", params: { big: 1n } }] }
    ],
    [
      "a result that JSON cannot hold",
      "prompt[1].content[0].result",
      { role: "tool", content: [{ type: "tool-result", id: "c", name: "f", isFailure: false, result: { big: 1n } }] }
    ]
  ])("with %s are refused with the place", (_, parameter, message) => {
    const error = refusal([{ role: "user", content: "hi" }, message])
    assert.include(error, { _tag: "InvalidRequestError", parameter })
  })

  it.effect("that cannot be expressed are never sent", () =>
    Effect.gen(function* () {
      const server = yield* serve((response) => json(response, completion({ content: "ok" })))
      const prompt: ReadonlyArray<Prompt.MessageEncoded> = [
        { role: "user", content: [{ type: "file", mediaType: "video/mp4", data: bytes }] }
      ]
      const failure = yield* Effect.flip((yield* provider(server)).generate(LlmRequest.makeUnsafe({ prompt })))
      assert.strictEqual(failure.reason._tag, "InvalidRequestError")
      assert.strictEqual(failure.phase, "refused")
      assert.strictEqual(server.requests.length, 0)
    })
  )
})

const Text = Schema.Struct({ type: Schema.Literal("text"), text: Schema.String })
const File = Schema.Struct({
  type: Schema.Literal("file"),
  mediaType: Schema.Literals(["image/png", "image/webp", "audio/wav", "audio/mpeg", "application/pdf"]),
  data: Schema.Uint8Array
})
const Call = Schema.Struct({
  type: Schema.Literal("tool-call"),
  id: Schema.String,
  name: Schema.String,
  params: Schema.Record(Schema.String, Schema.Json)
})
const Result = Schema.Struct({
  type: Schema.Literal("tool-result"),
  id: Schema.String,
  name: Schema.String,
  isFailure: Schema.Boolean,
  result: Schema.Json
})
const Message = Schema.Union([
  Schema.Struct({ role: Schema.Literal("system"), content: Schema.String }),
  Schema.Struct({ role: Schema.Literal("user"), content: Schema.Array(Schema.Union([Text, File])) }),
  Schema.Struct({ role: Schema.Literal("assistant"), content: Schema.Array(Schema.Union([Text, Call, Result])) }),
  Schema.Struct({ role: Schema.Literal("tool"), content: Schema.Array(Result) })
])

type Leaf = readonly [kind: string, ...facts: ReadonlyArray<string>]

/** What a prompt says, in order, with no shape around it. */
const said = (message: typeof Message.Type): ReadonlyArray<Leaf> => {
  if (typeof message.content === "string") return [[message.role, message.content]]
  return message.content.map((part): Leaf => {
    switch (part.type) {
      case "text":
        return [message.role, part.text]
      case "file":
        return ["file", Buffer.from(part.data).toString("base64")]
      case "tool-call":
        return ["call", part.id, part.name, JSON.stringify(part.params)]
      default:
        return ["result", part.id, typeof part.result === "string" ? part.result : JSON.stringify(part.result)]
    }
  })
}

/** The same of what was sent. */
const heard = (message: ReturnType<typeof sent>["messages"][number]): ReadonlyArray<Leaf> => {
  const { content } = message
  if (message.role === "tool") return [["result", message.tool_call_id, typeof content === "string" ? content : ""]]
  const parts = Array.isArray(content)
    ? content
    : typeof content === "string"
      ? [{ type: "text" as const, text: content }]
      : []
  const leaves = parts.map((part): Leaf => {
    switch (part.type) {
      case "text":
        return [message.role, part.text]
      case "image_url":
        return ["file", part.image_url.url.split("base64,")[1] ?? ""]
      case "input_audio":
        return ["file", part.input_audio.data]
      case "file":
        return ["file", part.file.file_data?.split("base64,")[1] ?? ""]
      default:
        return [part.type]
    }
  })
  const calls = message.role === "assistant" ? (message.tool_calls ?? []) : []
  return [
    ...leaves,
    ...calls.map((call): Leaf => {
      return call.type === "function" ? ["call", call.id, call.function.name, call.function.arguments] : [call.type]
    })
  ]
}

/** A user message without parts is sent as an empty text; calls go behind the texts of their message. */
const sorted = (leaves: ReadonlyArray<Leaf>) => leaves.map((leaf) => JSON.stringify(leaf)).toSorted()

describe("property", () => {
  it.effect.prop("no text, file, call or result of a prompt is lost, or made up", [Schema.Array(Message)], ([drawn]) =>
    Effect.sync(() => {
      const messages = drawn.filter((message) => message.role !== "user" || message.content.length > 0)
      const prompt = [...messages, { role: "user" as const, content: "." }]
      const expected = [...messages.flatMap(said), ["user", "."] as const]
      assert.deepStrictEqual(sorted(sent({ prompt }).messages.flatMap(heard)), sorted(expected))
    })
  )

  it.effect.prop("user, system and tool messages keep their order", [Schema.Array(Message)], ([drawn]) =>
    Effect.sync(() => {
      const messages = drawn.filter(
        ({ content, role }) => role !== "assistant" && (role !== "user" || content.length > 0)
      )
      const prompt = [...messages, { role: "user" as const, content: "." }]
      assert.deepStrictEqual(sent({ prompt }).messages.flatMap(heard), [...messages.flatMap(said), ["user", "."]])
    })
  )
})
