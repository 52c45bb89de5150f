import { inspect } from "node:util"
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Fiber, Layer, Schema, Stream } from "effect"
import { AiError, LanguageModel, OpenAiStructuredOutput, Prompt, type Response, Tool } from "effect/ai"
import * as TestClock from "effect/testing/TestClock"
import * as LlmError from "effect-ballast/LlmError"
import * as LlmProvider from "effect-ballast/LlmProvider"
import * as LlmRequest from "effect-ballast/LlmRequest"
import { toStreamParts } from "effect-ballast/LlmResponse"

const finish: Response.FinishPartEncoded = {
  type: "finish",
  reason: "stop",
  usage: { inputTokens: { total: 7 }, outputTokens: { total: 5 } }
}

interface Script {
  readonly parts?: ReadonlyArray<Response.PartEncoded> | undefined
  readonly stream?: ReadonlyArray<Response.StreamPartEncoded> | undefined
  /** Comes instead of the answer, or after the parts of `stream`. */
  readonly failure?: AiError.AiErrorReason | undefined
  readonly codecTransformer?: LanguageModel.CodecTransformer | undefined
}

/** A provider over another library's model that answers by the script, and the record of what that model was asked. */
const over = (script: Script) =>
  Effect.gen(function* () {
    const asked: Array<LanguageModel.ProviderOptions> = []
    const { parts = [{ type: "text", text: "ok" }, finish], stream = toStreamParts(parts) } = script
    const failed = script.failure && AiError.make({ module: "Other", method: "generateText", reason: script.failure })
    const model = yield* LanguageModel.make({
      codecTransformer: script.codecTransformer,
      generateText: (options) =>
        Effect.suspend(() => {
          asked.push(options)
          return failed === undefined ? Effect.succeed([...parts]) : Effect.fail(failed)
        }),
      streamText: (options) =>
        Stream.suspend(() => {
          asked.push(options)
          return Stream.concat(Stream.fromIterable(stream), failed === undefined ? Stream.empty : Stream.fail(failed))
        })
    })
    const provider = LlmProvider.makeFromLanguageModel(model, { provider: "other", model: "large" })
    return { asked, provider }
  })

const ask = (fields: Partial<LlmRequest.Fields> = {}) => LlmRequest.makeUnsafe({ prompt: "Hello?", ...fields })

const weather: LlmRequest.Tool = {
  name: "Weather",
  description: "Looks up the weather",
  parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
  strict: true
}

const both = (provider: LlmProvider.Service, request: LlmRequest.LlmRequest) => [
  Effect.flip(provider.generate(request)),
  Effect.flip(Stream.runDrain(provider.stream(request)))
]

describe("LlmProvider.fromLanguageModel", () => {
  it.effect("answers and streams, and says who it is", () =>
    Effect.gen(function* () {
      const { asked, provider } = yield* over({})
      const request = ask()
      const answer = yield* provider.generate(request)
      assert.deepStrictEqual([answer.provider, answer.model, answer.text], ["other", "large", "ok"])
      assert.strictEqual(answer.usage.inputTokens.total, 7)
      const parts = yield* Stream.runCollect(provider.stream(request))
      assert.deepStrictEqual(
        parts.map(({ type }) => type),
        ["text-start", "text-delta", "text-end", "finish"]
      )
      assert.strictEqual(provider.endpoint, "effect-ai|other|large")
      assert.strictEqual(provider.credential, "other")
      assert.strictEqual(asked[0]?.prompt, request.prompt)
    })
  )

  it.effect("is a layer over a LanguageModel", () =>
    Effect.gen(function* () {
      const model = yield* LanguageModel.make({
        generateText: () => Effect.succeed([{ type: "text", text: "from afar" }, finish]),
        streamText: () => Stream.empty
      })
      const Provider = LlmProvider.fromLanguageModel({
        provider: "other",
        model: "large",
        endpoint: "afar",
        credential: "team-a"
      }).pipe(Layer.provide(Layer.succeed(LanguageModel.LanguageModel, model)))
      yield* Effect.gen(function* () {
        assert.strictEqual(yield* LlmProvider.generateText("Hello?"), "from afar")
        const { credential, endpoint } = yield* LlmProvider.LlmProvider
        assert.deepStrictEqual([endpoint, credential], ["afar", "team-a"])
      }).pipe(Effect.provide(Provider))
    })
  )

  it.effect("throws for a provider or model without a name", () =>
    Effect.gen(function* () {
      const model = yield* LanguageModel.make({
        generateText: () => Effect.succeed([]),
        streamText: () => Stream.empty
      })
      for (const names of [
        { provider: "", model: "m" },
        { provider: "p", model: " " }
      ]) {
        assert.throws(
          () => LlmProvider.makeFromLanguageModel(model, names),
          RangeError,
          /fromLanguageModel: (provider|model) must be/
        )
      }
    })
  )

  it.effect("passes tools on with their JSON Schema and hands their calls back, also to tools nobody declared", () =>
    Effect.gen(function* () {
      const calls: ReadonlyArray<Response.ToolCallPartEncoded> = [
        { type: "tool-call", id: "1", name: "Weather", params: { city: 7 } },
        { type: "tool-call", id: "2", name: "Undeclared", params: "anything" }
      ]
      const { asked, provider } = yield* over({ parts: [...calls, finish] })
      const request = ask({ tools: [weather], toolChoice: { oneOf: ["Weather"] } })
      const answer = yield* provider.generate(request)
      const streamed = yield* Stream.runCollect(provider.stream(request))
      for (const parts of [answer.parts, streamed]) {
        assert.deepStrictEqual(
          parts.flatMap((part) => (part.type === "tool-call" ? [[part.name, part.params]] : [])),
          [
            ["Weather", { city: 7 }],
            ["Undeclared", "anything"]
          ]
        )
      }
      const [tool] = asked[0]?.tools ?? []
      assert(tool !== undefined)
      assert.strictEqual(Tool.getJsonSchema(tool), weather.parameters)
      assert.deepStrictEqual(
        [tool.name, tool.description, Tool.getStrictMode(tool)],
        ["Weather", weather.description, true]
      )
      assert.deepStrictEqual(asked[0]?.toolChoice, { mode: "auto", oneOf: ["Weather"] })
      assert.strictEqual(asked[1]?.tools[0], tool)
    })
  )

  it.effect("hands calls back where no tool was declared", () =>
    Effect.gen(function* () {
      const { provider } = yield* over({ parts: [{ type: "tool-call", id: "1", name: "Any", params: {} }, finish] })
      assert.strictEqual((yield* provider.generate(ask())).toolCalls[0]?.name, "Any")
    })
  )

  it.effect("interrupting the call interrupts the model", () =>
    Effect.gen(function* () {
      let interrupted = 0
      const hang = Effect.onInterrupt(Effect.never, () => Effect.sync(() => interrupted++))
      const model = yield* LanguageModel.make({ generateText: () => hang, streamText: () => Stream.fromEffect(hang) })
      const provider = LlmProvider.makeFromLanguageModel(model, { provider: "other", model: "large" })
      for (const run of [provider.generate(ask()), Stream.runDrain(provider.stream(ask()))]) {
        const fiber = yield* Effect.forkChild(run)
        yield* TestClock.adjust("1 minute")
        yield* Fiber.interrupt(fiber)
      }
      assert.strictEqual(interrupted, 2)
    })
  )
})

describe("what cannot be passed on", () => {
  const lost: ReadonlyArray<readonly [string, Partial<LlmRequest.Fields>]> = [
    ["maxOutputTokens", { maxOutputTokens: 10 }],
    ["temperature", { temperature: 0 }],
    ["topP", { topP: 1 }],
    ["seed", { seed: 1 }],
    ["stop", { stop: ["."] }],
    ["reasoningEffort", { reasoningEffort: "low" }],
    ["providerOptions.other", { providerOptions: { other: { tier: "flex" } } }],
    [
      "responseFormat",
      { tools: [weather], responseFormat: { type: "json", name: "a", schema: { type: "object", properties: {} } } }
    ]
  ]

  it.effect.each(lost.map(([name, fields]) => ({ name, fields })))("$name is refused by name", ({ fields, name }) =>
    Effect.gen(function* () {
      const { asked, provider } = yield* over({})
      for (const run of both(provider, ask(fields))) {
        const failure = yield* run
        assert.strictEqual(failure.reason._tag === "InvalidRequestError" ? failure.reason.parameter : "", name)
        assert.deepStrictEqual([failure.phase, failure.provider, failure.model], ["refused", "other", "large"])
      }
      assert.strictEqual(asked.length, 0)
    })
  )

  it.effect("options for another provider are none of its business", () =>
    Effect.gen(function* () {
      const { provider } = yield* over({})
      const answer = yield* provider.generate(ask({ providerOptions: { openai: { service_tier: "flex" } } }))
      assert.strictEqual(answer.text, "ok")
    })
  )

  it.effect("an approved call whose tool has not run", () =>
    Effect.gen(function* () {
      const prompt = Prompt.make([
        { role: "user", content: "Weather?" },
        {
          role: "assistant",
          content: [
            { type: "tool-call", id: "1", name: "Weather", params: {}, providerExecuted: false },
            { type: "tool-approval-request", approvalId: "a", toolCallId: "1" }
          ]
        },
        { role: "tool", content: [{ type: "tool-approval-response", approvalId: "a", approved: true }] }
      ])
      const { asked, provider } = yield* over({})
      for (const run of both(provider, ask({ prompt, tools: [weather] }))) {
        const { reason } = yield* run
        assert.strictEqual(reason._tag === "InvalidRequestError" ? reason.parameter : reason._tag, "prompt")
      }
      assert.strictEqual(asked.length, 0)
    })
  )
})

describe("a JSON response format", () => {
  const Person = Schema.Struct({ name: Schema.String, born: Schema.optional(Schema.Int) }).annotate({
    identifier: "Person"
  })
  const json = (schema: object, description?: string) =>
    ask({ responseFormat: { type: "json", name: "answer", schema: { ...schema }, description } })
  const person = { type: "object", properties: { name: { type: "string" } }, required: ["name"] }

  it.effect("becomes generateObject under its name, and its answer a stream in one piece", () =>
    Effect.gen(function* () {
      const { asked, provider } = yield* over({ parts: [{ type: "text", text: '{"name":"Ada","x":1}' }, finish] })
      assert.strictEqual((yield* provider.generate(json(person, "who"))).text, '{"name":"Ada"}')
      const parts = yield* Stream.runCollect(provider.stream(json(person)))
      assert.deepStrictEqual(
        parts.map((part) => (part.type === "text-delta" ? part.delta : part.type)),
        ["text-start", '{"name":"Ada"}', "text-end", "finish"]
      )
      const format = asked[0]?.responseFormat
      assert.strictEqual(format?.type === "json" ? format.objectName : "", "answer")
    })
  )

  it.effect("gives generateObject its value also where the model's provider writes optional fields as null", () =>
    Effect.gen(function* () {
      const { asked, provider } = yield* over({
        parts: [{ type: "text", text: '{"name":"Ada","born":null}' }, finish],
        codecTransformer: OpenAiStructuredOutput.toCodecOpenAI
      })
      const value = yield* LlmProvider.generateObject("Who?", Person).pipe(
        Effect.provideService(LlmProvider.LlmProvider, provider)
      )
      assert.deepStrictEqual(value, { name: "Ada" })
      const format = asked[0]?.responseFormat
      assert(format?.type === "json")
      const { jsonSchema } = OpenAiStructuredOutput.toCodecOpenAI(format.schema)
      assert.deepStrictEqual(jsonSchema["required"], ["name", "born"])
      assert.strictEqual(jsonSchema["additionalProperties"], false)
    })
  )

  it.effect("keeps the properties of schemas put together by allOf", () =>
    Effect.gen(function* () {
      const born = { type: "object", properties: { born: { type: "integer" } }, required: ["born"] }
      const { provider } = yield* over({ parts: [{ type: "text", text: '{"name":"Ada","born":1815}' }, finish] })
      const answer = yield* provider.generate(json({ type: "object", allOf: [person, born] }))
      assert.deepStrictEqual(JSON.parse(answer.text), { name: "Ada", born: 1815 })
    })
  )

  it.effect.each([
    { type: "object", properties: { a: { type: "string", pattern: "^a" } } },
    { type: "object", properties: { a: { $ref: "https://example.com/a" } } },
    { if: { type: "string" }, then: { minLength: 1 } }
  ])("refuses a schema that cannot be imported: %j", (schema) =>
    Effect.gen(function* () {
      const { asked, provider } = yield* over({})
      for (const run of both(provider, json(schema))) {
        const failure = yield* run
        assert.deepStrictEqual([failure.reason._tag, failure.phase], ["UnsupportedSchemaError", "refused"])
      }
      assert.strictEqual(asked.length, 0)
    })
  )

  it.effect("an answer that does not fit fails without being repeated", () =>
    Effect.gen(function* () {
      const { provider } = yield* over({ parts: [{ type: "text", text: '{"name":["top-secret"]}' }, finish] })
      for (const run of both(provider, json(person))) {
        const failure = yield* run
        assert.strictEqual(failure.reason._tag, "StructuredOutputError")
        assert.notInclude(inspect(failure, { depth: 9 }) + JSON.stringify(failure), "top-secret")
      }
    })
  )
})

const key = "sk-proj-abcdefghijklmnop"
const echo = "Hello? this is the prompt that must not be seen"

const http = {
  body: `{"error":"${echo}"}`,
  response: { status: 400, headers: { "x-request-id": "r-1", "set-cookie": key } }
}

const foreign: ReadonlyArray<AiError.AiErrorReason> = [
  new AiError.RateLimitError({ http }),
  new AiError.InternalProviderError({ description: `failed on ${echo} with ${key}`, http }),
  new AiError.InvalidRequestError({ parameter: "p", description: `bad ${echo}`, http }),
  new AiError.ContentPolicyError({ description: echo, http }),
  new AiError.UnknownError({ description: `Bearer ${key}`, http }),
  new AiError.InvalidOutputError({ description: `got "${echo}"` }),
  new AiError.StructuredOutputError({ description: echo, responseText: echo }),
  new AiError.ToolParameterValidationError({ toolName: "t", description: echo }),
  new AiError.ToolResultEncodingError({ toolName: "t", toolResult: echo, description: echo }),
  new AiError.NetworkError({
    reason: "TransportError",
    method: "POST",
    url: `https://example.com/v1?key=${key}`,
    description: `${key} refused`,
    cause: new Error(key)
  })
]

describe("errors", () => {
  it.effect.each(foreign.map((reason) => ({ tag: reason._tag, reason })))(
    "$tag keeps its kind and loses prompt, answer, body and key",
    ({ reason }) =>
      Effect.gen(function* () {
        const { provider } = yield* over({ failure: reason, stream: [] })
        for (const run of both(provider, ask({ prompt: echo }))) {
          const failure = yield* run
          assert.strictEqual(failure.reason._tag, reason._tag)
          assert.strictEqual(Object.getPrototypeOf(failure.reason), Object.getPrototypeOf(reason))
          assert.deepStrictEqual([failure.provider, failure.model], ["other", "large"])
          assert.isUndefined(failure.reason.cause)
          const encoded = yield* Schema.encodeEffect(Schema.toCodecJson(LlmError.LlmError))(failure)
          const seen = [
            inspect([failure, { ...failure.reason }], { depth: 9 }),
            failure.message,
            JSON.stringify([failure, encoded])
          ].join("\n")
          for (const secret of [key, "must not be seen", "set-cookie"]) assert.notInclude(seen, secret)
        }
      })
  )

  it.effect("a rate limit keeps its hint to wait, and the headers that a limiter reads", () =>
    Effect.gen(function* () {
      const { provider } = yield* over({
        failure: new AiError.RateLimitError({ retryAfter: Duration.seconds(3), http })
      })
      const failure = yield* Effect.flip(provider.generate(ask()))
      assert.deepStrictEqual(failure.retryAfter, Duration.seconds(3))
      assert.deepStrictEqual(failure.reason._tag === "RateLimitError" ? failure.reason.http?.response : undefined, {
        status: 400,
        headers: { "x-request-id": "r-1" }
      })
    })
  )

  it.effect("a failure after the first part says that the answer had begun, and what came before it is delivered", () =>
    Effect.gen(function* () {
      const stream = toStreamParts([{ type: "text", text: "so far" }])
      const breaks: ReadonlyArray<readonly [Script, string]> = [
        [{ stream }, "the stream ended without a finish part"],
        [{ stream, failure: new AiError.InternalProviderError({ description: "reset" }) }, "reset"],
        [{ stream: [...stream, { type: "error", error: { message: `down ${key}` } }, finish] }, "down <redacted>"],
        [{ stream: [...stream, { type: "error", error: "?" }] }, "the stream carried an error"]
      ]
      for (const [script, description] of breaks) {
        const { provider } = yield* over(script)
        const seen: Array<string> = []
        const failure = yield* provider.stream(ask()).pipe(
          Stream.runForEach((part) => Effect.sync(() => seen.push(part.type))),
          Effect.flip
        )
        assert.deepStrictEqual(seen, ["text-start", "text-delta", "text-end"])
        assert.strictEqual(failure.phase, "answered")
        assert.strictEqual(failure.reason._tag, "InternalProviderError")
        assert.include(failure.reason.message, description)
      }
    })
  )

  it.effect("an empty stream is a failure", () =>
    Effect.gen(function* () {
      const { provider } = yield* over({ stream: [] })
      const failure = yield* Effect.flip(Stream.runDrain(provider.stream(ask())))
      assert.deepStrictEqual([failure.reason._tag, failure.phase], ["InternalProviderError", "answered"])
    })
  )
})
