import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema, Stream } from "effect"
import * as Response from "effect/ai/Response"
import * as LlmRequest from "effect-ballast/LlmRequest"
import { collectParts, type LlmPart, type Usage } from "effect-ballast/LlmResponse"
import { ChunkDecoder, partsUnsafe } from "../src/internal/openaiResponse.ts"
import { chunk, completion, events, json, provider, serve } from "./fixtures/openai/server.ts"

const http = { status: 200, headers: { "x-request-id": "r" } }

const request = LlmRequest.makeUnsafe("hi")

const metadata = {
  type: "response-metadata",
  id: "chatcmpl-1",
  modelId: "gpt-test-2026-01-01",
  timestamp: "2025-11-23T12:00:00.000Z"
} as const

const usage = {
  inputTokens: { total: 100, uncached: 70, cacheRead: 30 },
  outputTokens: { total: 20, text: 15, reasoning: 5 }
}

const decoded = (chunks: ReadonlyArray<unknown>): ReadonlyArray<LlmPart> => {
  const decoder = new ChunkDecoder(http, 1_000_000)
  return [...chunks.flatMap((one) => decoder.push(one)), ...decoder.end()]
}

const call = (id: string, name: string, args: string, index?: number) => ({
  ...(index === undefined ? {} : { index }),
  id,
  type: "function",
  function: { name, arguments: args }
})

describe("a whole answer", () => {
  it("gives its text, reasoning, sources, calls, usage and what surrounds them", () => {
    const citation = {
      type: "url_citation",
      url_citation: { url: "https://a.example/", title: "A", start_index: 0, end_index: 1 }
    }
    const nowhere = { type: "url_citation", url_citation: { url: "nowhere", title: "B" } }
    const message = {
      content: "Once",
      reasoning_content: "Hm",
      annotations: [citation, nowhere],
      tool_calls: [call("c1", "f", '{"a":1}'), call("c2", "g", "")]
    }
    const body = completion(message, { service_tier: "flex", system_fingerprint: "fp" })
    assert.deepStrictEqual(partsUnsafe(body, http), [
      metadata,
      { type: "reasoning", text: "Hm" },
      { type: "text", text: "Once" },
      { type: "source", sourceType: "url", id: "source_0", url: "https://a.example/", title: "A" },
      { type: "tool-call", id: "c1", name: "f", params: { a: 1 } },
      { type: "tool-call", id: "c2", name: "g", params: {} },
      {
        type: "finish",
        reason: "tool-calls",
        usage,
        response: http,
        metadata: { openai: { serviceTier: "flex", systemFingerprint: "fp" } }
      }
    ])
  })

  it("that is a refusal finishes as content-filter and has no text", () => {
    const parts = partsUnsafe(completion({ refusal: "I cannot." }), http)
    assert.deepStrictEqual(parts, [
      metadata,
      { type: "finish", reason: "content-filter", usage, response: http, metadata: { openai: { refusal: true } } }
    ])
  })

  it.each<[unknown, Response.FinishReason]>([
    ["stop", "stop"],
    ["length", "length"],
    ["tool_calls", "tool-calls"],
    ["function_call", "tool-calls"],
    ["content_filter", "content-filter"],
    ["error", "error"],
    ["eos", "other"],
    [null, "unknown"]
  ])("finishes with %s as %s", (given, expected) => {
    const choices = [{ index: 0, message: { content: "a" }, finish_reason: given }]
    assert.include(partsUnsafe({ choices }, http).at(-1), { type: "finish", reason: expected })
  })

  it.each<[string, unknown, Usage]>([
    ["no usage", undefined, { inputTokens: {}, outputTokens: {} }],
    ["null", null, { inputTokens: {}, outputTokens: {} }],
    [
      "no details",
      { prompt_tokens: 3, completion_tokens: 4 },
      { inputTokens: { total: 3, uncached: 3 }, outputTokens: { total: 4, text: 4 } }
    ],
    [
      "a cache that was written",
      { prompt_tokens: 10, completion_tokens: 1, prompt_tokens_details: { cached_tokens: 4, cache_write_tokens: 5 } },
      { inputTokens: { total: 10, uncached: 1, cacheRead: 4, cacheWrite: 5 }, outputTokens: { total: 1, text: 1 } }
    ],
    [
      "details that exceed the total",
      { prompt_tokens: 1, completion_tokens: 1, completion_tokens_details: { reasoning_tokens: 9 } },
      { inputTokens: { total: 1, uncached: 1 }, outputTokens: { total: 1, text: 0, reasoning: 9 } }
    ],
    ["nonsense", { prompt_tokens: "3", completion_tokens: -1.5 }, { inputTokens: {}, outputTokens: {} }]
  ])("counts tokens from %s", (_, given, expected) => {
    const finish = partsUnsafe(completion({ content: "a" }, { usage: given }), http).at(-1)
    assert.deepStrictEqual(finish?.type === "finish" && finish.usage, expected)
  })

  it("reads arguments that are an object, and calls without ids", () => {
    const body = completion({ tool_calls: [{ function: { name: "f", arguments: { a: 1 } } }] })
    assert.deepInclude(partsUnsafe(body, http), { type: "tool-call", id: "call_0", name: "f", params: { a: 1 } })
  })

  it("does not let arguments reach a prototype", () => {
    const body = completion({ tool_calls: [call("c", "f", '{"__proto__":{"admin":true}}')] })
    assert.throws(() => partsUnsafe(body, http), /not JSON/)
  })

  it.effect("reaches the program with the headers of its limits", () =>
    Effect.gen(function* () {
      const headers = { "x-ratelimit-remaining-tokens": "17", "set-cookie": "session=1" }
      const server = yield* serve((response, { body }) =>
        body["stream"] === true
          ? events(response, [chunk({ content: "hi" }, "stop")], headers)
          : json(response, completion({ content: "hi" }), 200, headers)
      )
      const self = yield* provider(server, { name: "gateway" })
      const response = yield* self.generate(request)
      assert.strictEqual(response.provider, "gateway")
      assert.strictEqual(response.model, "gpt-test")
      assert.strictEqual(response.text, "hi")
      const streamed = (yield* Stream.runCollect(self.stream(request))).at(-1)
      for (const finish of [response.finish, streamed]) {
        assert(finish?.type === "finish")
        assert.deepStrictEqual(finish.response, { status: 200, headers: { "x-ratelimit-remaining-tokens": "17" } })
      }
    })
  )
})

describe("a stream", () => {
  it("gives blocks, interleaved calls and one finish part, in order", () => {
    const chunks = [
      chunk({ role: "assistant", content: "" }),
      chunk({ reasoning: "H" }),
      chunk({ reasoning: "m" }),
      chunk({ content: "On" }),
      chunk({ content: "ce" }),
      chunk({ tool_calls: [call("c1", "f", "", 0), call("c2", "g", '{"b"', 1)] }),
      chunk({ tool_calls: [{ index: 1, function: { arguments: ":2}" } }] }),
      chunk({ tool_calls: [{ index: 0, function: { arguments: '{"a":1}' } }] }),
      chunk({}, "tool_calls"),
      { ...chunk({}), choices: [], usage: completion({}).usage }
    ]
    assert.deepStrictEqual(decoded(chunks), [
      metadata,
      { type: "reasoning-start", id: "0" },
      { type: "reasoning-delta", id: "0", delta: "H" },
      { type: "reasoning-delta", id: "0", delta: "m" },
      { type: "reasoning-end", id: "0" },
      { type: "text-start", id: "1" },
      { type: "text-delta", id: "1", delta: "On" },
      { type: "text-delta", id: "1", delta: "ce" },
      { type: "text-end", id: "1" },
      { type: "tool-params-start", id: "c1", name: "f" },
      { type: "tool-params-start", id: "c2", name: "g" },
      { type: "tool-params-delta", id: "c2", delta: '{"b"' },
      { type: "tool-params-delta", id: "c2", delta: ":2}" },
      { type: "tool-params-delta", id: "c1", delta: '{"a":1}' },
      { type: "tool-params-end", id: "c1" },
      { type: "tool-call", id: "c1", name: "f", params: { a: 1 } },
      { type: "tool-params-end", id: "c2" },
      { type: "tool-call", id: "c2", name: "g", params: { b: 2 } },
      { type: "finish", reason: "tool-calls", usage, response: http }
    ])
  })

  it("keeps calls apart that a server numbers alike", () => {
    const chunks = [
      chunk({ tool_calls: [call("c1", "f", "{}", 0)] }),
      chunk({ tool_calls: [call("c2", "f", "{}", 0)] }, "stop")
    ]
    const calls = decoded(chunks).filter((part) => part.type === "tool-call")
    assert.deepStrictEqual(
      calls.map((part) => part.id),
      ["c1", "c2"]
    )
  })

  it("reads the first choice only", () => {
    const other = { index: 1, delta: { content: "other" }, finish_reason: "length" }
    const both = {
      ...chunk({ content: "first" }, "stop"),
      choices: [other, ...chunk({ content: "first" }, "stop").choices]
    }
    const parts = collectParts(decoded([both]))
    assert.deepInclude(parts, { type: "text", text: "first" })
    assert.include(parts.at(-1), { reason: "stop" })
  })

  it.effect("ends with the finish part, whether or not [DONE] follows, and asks for the usage", () =>
    Effect.gen(function* () {
      const data = [
        chunk({ content: "hi" }),
        chunk({}, "stop"),
        { ...chunk({}), choices: [], usage: completion({}).usage }
      ]
      const server = yield* serve((response, { body }) =>
        events(response, body["seed"] === 1 ? [...data, "[DONE]"] : data)
      )
      const self = yield* provider(server)
      for (const seed of [1, 2]) {
        const parts = yield* Stream.runCollect(self.stream({ ...request, seed }))
        assert.deepStrictEqual(parts.at(-1), {
          type: "finish",
          reason: "stop",
          usage,
          response: { status: 200, headers: {} }
        })
        assert.strictEqual(parts.filter((part) => part.type === "finish").length, 1)
      }
      assert.deepInclude(server.requests[0]?.body, { stream: true, stream_options: { include_usage: true } })
    })
  )

  it.effect("that a server answers with plain JSON is the same answer", () =>
    Effect.gen(function* () {
      const server = yield* serve((response) => json(response, completion({ content: "hi" })))
      const self = yield* provider(server)
      const parts = yield* Stream.runCollect(self.stream(request))
      assert.deepStrictEqual(collectParts(parts), (yield* self.generate(request)).parts)
    })
  )
})

const Piece = Schema.String.check(Schema.isMaxLength(8))
/** `__proto__` is refused, as it should be. */
const Key = Schema.String.check(Schema.makeFilter((key) => key !== "__proto__"))
const Call = Schema.Struct({
  name: Schema.NonEmptyString,
  params: Schema.Record(Key, Schema.Union([Schema.Int, Schema.String, Schema.Null])),
  pieces: Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 40 })))
})
const Count = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 1000 }))
const Answer = Schema.Struct({
  reasoning: Schema.Array(Piece),
  text: Schema.Array(Piece),
  refused: Schema.Boolean,
  calls: Schema.Array(Call).check(Schema.isMaxLength(4)),
  interleave: Schema.Boolean,
  tokens: Schema.Struct({ input: Count, cached: Count, output: Count, reasoning: Count })
})

/** The text cut at the places given, in order. */
const cut = (text: string, places: ReadonlyArray<number>): ReadonlyArray<string> => {
  const at = [0, ...places.filter((place) => place < text.length).toSorted((a, b) => a - b), text.length]
  return at.slice(1).map((end, i) => text.slice(at[i], end))
}

const callId = (i: number) => `call-${i}`

const wholeOf = (answer: typeof Answer.Type) => {
  const { calls, reasoning, refused, text, tokens } = answer
  return completion(
    {
      content: text.join("") === "" ? null : text.join(""),
      reasoning_content: reasoning.join(""),
      refusal: refused ? "No." : null,
      tool_calls: calls.map((one, i) => call(callId(i), one.name, JSON.stringify(one.params)))
    },
    {
      usage: {
        prompt_tokens: tokens.input + tokens.cached,
        completion_tokens: tokens.output + tokens.reasoning,
        prompt_tokens_details: { cached_tokens: tokens.cached },
        completion_tokens_details: { reasoning_tokens: tokens.reasoning }
      }
    }
  )
}

/** The same answer in chunks, split as drawn; calls one after another or in turns. */
const chunksOf = (answer: typeof Answer.Type): ReadonlyArray<object> => {
  const perCall = answer.calls.map((one, index) => {
    const [first = "", ...others] = cut(JSON.stringify(one.params), one.pieces)
    return [
      { tool_calls: [call(callId(index), one.name, first, index)] },
      ...others.map((piece) => ({ tool_calls: [{ index, function: { arguments: piece } }] }))
    ]
  })
  const turns = Math.max(0, ...perCall.map((deltas) => deltas.length))
  const inTurns = Array.from({ length: turns }, (_, turn) => perCall.flatMap((deltas) => deltas.slice(turn, turn + 1)))
  return [
    chunk({ role: "assistant", content: "", refusal: null }),
    ...answer.reasoning.map((piece) => chunk({ reasoning_content: piece })),
    ...answer.text.map((piece) => chunk({ content: piece })),
    ...(answer.refused ? [chunk({ refusal: "No" }), chunk({ refusal: "." })] : []),
    // the first deltas come in order: it is they that number the calls
    ...(answer.interleave ? inTurns : perCall).flat().map((delta) => chunk(delta)),
    chunk({}, "stop"),
    { ...chunk({}), choices: [], usage: wholeOf(answer).usage }
  ]
}

describe("property", () => {
  it.effect.prop("a whole answer loses nothing", [Answer], ([answer]) =>
    Effect.sync(() => {
      const parts = partsUnsafe(wholeOf(answer), http)
      const textOf = (type: string) =>
        parts.flatMap((part) =>
          (part.type === "text" || part.type === "reasoning") && part.type === type ? [part.text] : []
        )
      assert.strictEqual(textOf("text").join(""), answer.text.join(""))
      assert.strictEqual(textOf("reasoning").join(""), answer.reasoning.join(""))
      assert.deepStrictEqual(
        parts.flatMap((part) => (part.type === "tool-call" ? [[part.id, part.name, JSON.stringify(part.params)]] : [])),
        answer.calls.map((one, i) => [callId(i), one.name, JSON.stringify(one.params)])
      )
      const finish = parts.at(-1)
      assert(finish?.type === "finish")
      const { tokens } = answer
      assert.deepStrictEqual(finish.usage, {
        inputTokens: { total: tokens.input + tokens.cached, uncached: tokens.input, cacheRead: tokens.cached },
        outputTokens: { total: tokens.output + tokens.reasoning, text: tokens.output, reasoning: tokens.reasoning }
      })
      assert.strictEqual(finish.reason === "content-filter", answer.refused)
    })
  )

  it.effect.prop("a stream, however it is split, is the whole answer", [Answer], ([answer]) =>
    Effect.sync(() => {
      const parts = decoded(chunksOf(answer))
      assert.deepStrictEqual(collectParts(parts), partsUnsafe(wholeOf(answer), http))
      assert.deepStrictEqual(
        parts.filter((part) => part.type === "finish"),
        parts.slice(-1)
      )
      // what streams are made of: the schema of effect/ai takes every part
      Schema.decodeUnknownSync(Schema.Array(Response.StreamPart()))(parts)
    })
  )
})
