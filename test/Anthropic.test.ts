import { inspect } from "node:util"
import { LLMock } from "@copilotkit/aimock"
import { assert, describe, it, vi } from "@effect/vitest"
import { ConfigProvider, Deferred, Duration, Effect, Exit, Fiber, Layer, Redacted, Schema, Stream } from "effect"
import * as TestClock from "effect/testing/TestClock"
import * as Anthropic from "effect-ballast/Anthropic"
import { LlmError } from "effect-ballast/LlmError"
import * as LlmProvider from "effect-ballast/LlmProvider"
import * as LlmRequest from "effect-ballast/LlmRequest"
import * as LlmResponse from "effect-ballast/LlmResponse"
import {
  type Block,
  events,
  json,
  message,
  options,
  provider,
  secret,
  serve,
  started,
  stopped,
  streamed,
  text,
  toolUse,
  usage,
  write
} from "./fixtures/anthropic/server.ts"

const request = LlmRequest.makeUnsafe("hello")

const thinking = { type: "thinking", thinking: "Let me see.", signature: "c2lnbmF0dXJl" }
const redacted = { type: "redacted_thinking", data: "ZW5jcnlwdGVk" }
const cited = {
  type: "text",
  text: "It is so.",
  citations: [
    {
      type: "web_search_result_location",
      url: "https://a.example/x",
      title: "X",
      cited_text: "so",
      encrypted_index: "i"
    }
  ]
}
const blocks: ReadonlyArray<Block> = [
  thinking,
  redacted,
  text("Here:"),
  cited,
  toolUse("toolu_1", "weather", { city: "Tirana" }),
  { type: "server_tool_use", id: "srv_1", name: "web_search", input: { query: "q" } },
  { type: "web_search_tool_result", tool_use_id: "srv_1", content: [{ type: "web_search_result", url: "u" }] },
  { type: "a_block_of_tomorrow", data: 1 }
]

const parts = [
  { type: "response-metadata", id: "msg_1", modelId: "claude-test-20260101" },
  { type: "reasoning", text: "Let me see.", metadata: { anthropic: { signature: "c2lnbmF0dXJl" } } },
  { type: "reasoning", text: "", metadata: { anthropic: { redactedData: "ZW5jcnlwdGVk" } } },
  { type: "text", text: "Here:" },
  { type: "text", text: "It is so.", metadata: { anthropic: { citations: cited.citations } } },
  { type: "source", sourceType: "url", id: "source-0", url: "https://a.example/x", title: "X" },
  { type: "tool-call", id: "toolu_1", name: "weather", params: { city: "Tirana" } },
  { type: "tool-call", id: "srv_1", name: "web_search", params: { query: "q" }, providerExecuted: true },
  {
    type: "tool-result",
    id: "srv_1",
    name: "web_search",
    result: [{ type: "web_search_result", url: "u" }],
    isFailure: false,
    providerExecuted: true,
    metadata: { anthropic: { type: "web_search_tool_result" } }
  }
]

const counted = {
  inputTokens: { total: 45, uncached: 10, cacheRead: 30, cacheWrite: 5 },
  outputTokens: { total: 20, text: 12, reasoning: 8 }
}

const withoutFinish = (answer: ReadonlyArray<{ readonly type: string }>) =>
  answer.filter(({ type }) => type !== "finish")

describe("generate", () => {
  it.effect("gives every block, the usage, the limits and the request id", () =>
    Effect.gen(function* () {
      const server = yield* serve((response) =>
        json(response, message(blocks, { stop_reason: "tool_use" }), 200, {
          "request-id": "req_1",
          "anthropic-ratelimit-tokens-remaining": "9",
          "set-cookie": "a=b"
        })
      )
      const answer = yield* (yield* provider(server)).generate(request)
      assert.deepStrictEqual(withoutFinish(answer.parts), parts)
      assert.deepStrictEqual(answer.usage, counted)
      assert.strictEqual(answer.finishReason, "tool-calls")
      assert.deepStrictEqual(answer.finish?.response, {
        status: 200,
        headers: { "request-id": "req_1", "anthropic-ratelimit-tokens-remaining": "9" }
      })
      assert.strictEqual(answer.provider, "anthropic")
      assert.strictEqual(answer.model, "claude-test")
    })
  )

  it.effect.each([
    ["end_turn", "stop"],
    ["stop_sequence", "stop"],
    ["max_tokens", "length"],
    ["model_context_window_exceeded", "length"],
    ["tool_use", "tool-calls"],
    ["refusal", "content-filter"],
    ["pause_turn", "pause"],
    ["tomorrow", "other"],
    [null, "unknown"]
  ] as const)("%s ends as %s", ([stop_reason, expected]) =>
    Effect.gen(function* () {
      const server = yield* serve((response) => json(response, message([text("a")], { stop_reason })))
      assert.strictEqual((yield* (yield* provider(server)).generate(request)).finishReason, expected)
    })
  )

  it.effect("says which stop sequence ended it, and why it was refused", () =>
    Effect.gen(function* () {
      const rest = { stop_reason: "refusal", stop_sequence: "END", stop_details: { type: "refusal", category: "bio" } }
      const server = yield* serve((response) => json(response, message([text("a")], rest)))
      const { finish } = yield* (yield* provider(server)).generate(request)
      assert.deepStrictEqual(finish?.metadata, { anthropic: { usage, stopSequence: "END", refusal: "bio" } })
    })
  )

  it.effect("interruption closes the connection, and the provider can be asked again", () =>
    Effect.gen(function* () {
      let silent = true
      const server = yield* serve((response) => {
        if (!silent) json(response, message([text("back")]))
      })
      const anthropic = yield* provider(server)
      const fiber = yield* Effect.forkChild(anthropic.generate(request))
      yield* Deferred.await(server.arrived)
      assert.isUndefined(fiber.pollUnsafe())
      yield* Fiber.interrupt(fiber)
      yield* Deferred.await(server.closed)
      silent = false
      assert.strictEqual((yield* anthropic.generate(request)).text, "back")
    })
  )

  it.effect("a server that never answers is TimedOut after requestTimeout, and its connection is closed", () =>
    Effect.gen(function* () {
      const server = yield* serve(() => undefined)
      const fiber = yield* Effect.forkChild(Effect.flip((yield* provider(server)).generate(request)))
      yield* Deferred.await(server.arrived)
      yield* TestClock.adjust(Duration.millis(599_999))
      assert.isUndefined(fiber.pollUnsafe())
      yield* TestClock.adjust("1 millis")
      const error = yield* Fiber.join(fiber)
      assert.strictEqual(error.reason._tag === "TimedOut" && error.reason.phase, "attempt")
      assert.strictEqual(error.phase, "sent")
      yield* Deferred.await(server.closed)
    })
  )

  it.effect("an answer larger than maxAnswerBytes is refused by name", () =>
    Effect.gen(function* () {
      const server = yield* serve((response) => json(response, message([text("x".repeat(10 * 1024 * 1024))])))
      const error = yield* Effect.flip((yield* provider(server)).generate(request))
      assert.strictEqual(error.reason._tag, "InvalidResponseError")
      assert.include(error.message, "maxAnswerBytes (8388608)")
    })
  )

  it.effect("a refused connection never was sent, a broken one was, a broken answer had begun", () =>
    Effect.gen(function* () {
      const gone = yield* Effect.scoped(serve(() => undefined))
      const refused = yield* Effect.flip((yield* provider(gone)).generate(request))
      assert.strictEqual(refused.reason._tag, "NetworkError")
      assert.strictEqual(refused.phase, "connecting")
      assert.include(refused.message, "ECONNREFUSED")

      const resets = yield* serve((response) => response.socket?.destroy())
      const reset = yield* Effect.flip((yield* provider(resets)).generate(request))
      assert.strictEqual(reset.reason._tag, "NetworkError")
      assert.strictEqual(reset.phase, "sent")

      const breaks = yield* serve((response) => {
        response.writeHead(200, { "content-type": "application/json", "content-length": "999" })
        response.write('{"content":', () => response.socket?.destroy())
      })
      const broken = yield* Effect.flip((yield* provider(breaks)).generate(request))
      assert.strictEqual(broken.reason._tag, "NetworkError")
      assert.strictEqual(broken.phase, "answered")
    })
  )
})

describe("stream", () => {
  const whole = [
    started,
    { type: "ping" },
    ...blocks.flatMap((block, i) => streamed(i, block, [3, 5])),
    ...stopped("tool_use")
  ]

  it.effect("gives the parts as they arrive, which add up to what generate gives", () =>
    Effect.gen(function* () {
      const server = yield* serve((response) => events(response, whole, { "request-id": "req_1" }))
      const stream = yield* Stream.runCollect((yield* provider(server)).stream(request))
      const answer = new LlmResponse.LlmResponse({
        provider: "",
        model: "",
        parts: LlmResponse.collectParts(stream)
      })
      assert.deepStrictEqual(withoutFinish(answer.parts), parts)
      assert.deepStrictEqual(answer.usage, counted)
      assert.strictEqual(answer.finishReason, "tool-calls")
      assert.deepStrictEqual(answer.finish?.response, { status: 200, headers: { "request-id": "req_1" } })
      assert.strictEqual(stream.at(-1)?.type, "finish")
      assert.strictEqual(stream.filter(({ type }) => type === "finish").length, 1)
      assert.strictEqual(stream[0]?.type, "response-metadata")
      const params = stream.flatMap((part) =>
        part.type === "tool-params-delta" && part.id === "toolu_1" ? [part.delta] : []
      )
      assert.deepStrictEqual(params, ['{"c', "it", 'y":"Tirana"}'])
    })
  )

  it.effect("ends at its last event, though the server keeps the connection open", () =>
    Effect.gen(function* () {
      const server = yield* serve((response) => write(response, [started, ...streamed(0, text("a")), ...stopped()]))
      const stream = yield* Stream.runCollect((yield* provider(server)).stream(request))
      assert.strictEqual(stream.at(-1)?.type, "finish")
      yield* Deferred.await(server.closed)
    })
  )

  it.effect("one that ends after its stop reason is whole, one that ends before is not", () =>
    Effect.gen(function* () {
      const body = [started, ...streamed(0, text("a"))]
      const whole = yield* serve((response) => events(response, [...body, ...stopped().slice(0, 1)]))
      const stream = yield* Stream.runCollect((yield* provider(whole)).stream(request))
      assert.strictEqual(stream.at(-1)?.type, "finish")
      for (const end of [[], stopped(null)]) {
        const cut = yield* serve((response) => events(response, [...body, ...end]))
        const error = yield* Effect.flip(Stream.runDrain((yield* provider(cut)).stream(request)))
        assert.strictEqual(error.reason._tag, "InternalProviderError")
        assert.include(error.message, "the stream ended without a finish part")
        assert.strictEqual(error.phase, "answered")
      }
    })
  )

  it.effect("a server that answers with plain JSON is understood", () =>
    Effect.gen(function* () {
      const server = yield* serve((response) => json(response, message(blocks)))
      const stream = yield* Stream.runCollect((yield* provider(server)).stream(request))
      assert.deepStrictEqual(withoutFinish(LlmResponse.collectParts(stream)), parts)
    })
  )

  it.effect("asks nothing before it is pulled, and leaving it closes the connection", () =>
    Effect.gen(function* () {
      const server = yield* serve((response) => write(response, [started, ...streamed(0, text("first"))]))
      const stream = (yield* provider(server)).stream(request)
      assert.strictEqual(server.requests.length, 0)
      const taken = yield* Stream.runCollect(Stream.take(stream, 3))
      assert.deepStrictEqual(
        taken.map(({ type }) => type),
        ["response-metadata", "text-start", "text-delta"]
      )
      yield* Deferred.await(server.closed)
    })
  )

  it.effect("interruption between two events closes the connection", () =>
    Effect.gen(function* () {
      const first = yield* Deferred.make<void>()
      const server = yield* serve((response) => write(response, [started, ...streamed(0, text("first"))]))
      const fiber = yield* (yield* provider(server)).stream(request).pipe(
        Stream.runForEach((part) => (part.type === "text-end" ? Deferred.succeed(first, undefined) : Effect.void)),
        Effect.forkChild
      )
      yield* Deferred.await(first)
      yield* Fiber.interrupt(fiber)
      yield* Deferred.await(server.closed)
    })
  )

  it.effect("silence between two events is TimedOut after requestTimeout", () =>
    Effect.gen(function* () {
      const first = yield* Deferred.make<void>()
      const server = yield* serve((response) => write(response, [started, ...streamed(0, text("first"))]))
      const anthropic = yield* provider(server, { requestTimeout: "5 seconds" })
      const fiber = yield* anthropic.stream(request).pipe(
        Stream.runForEach((part) => (part.type === "text-end" ? Deferred.succeed(first, undefined) : Effect.void)),
        Effect.flip,
        Effect.forkChild
      )
      yield* Deferred.await(first)
      yield* TestClock.adjust("5 seconds")
      const error = yield* Fiber.join(fiber)
      assert.strictEqual(error.reason._tag === "TimedOut" && error.reason.phase, "idle")
      yield* Deferred.await(server.closed)
    })
  )

  it.effect("more than maxAnswerBytes is refused, in one line or in many", () =>
    Effect.gen(function* () {
      const long = text("x".repeat(2000))
      for (const cuts of [[], Array.from({ length: 200 }, (_, i) => i * 10)]) {
        const server = yield* serve((response) => events(response, [started, ...streamed(0, long, cuts), ...stopped()]))
        const anthropic = yield* provider(server, { maxAnswerBytes: 1000 })
        const error = yield* Effect.flip(Stream.runDrain(anthropic.stream(request)))
        assert.strictEqual(error.reason._tag, "InvalidResponseError")
        assert.include(error.message, "maxAnswerBytes (1000)")
      }
    })
  )

  it.effect("a connection that breaks had begun to answer", () =>
    Effect.gen(function* () {
      const server = yield* serve((response) => {
        write(response, [started, ...streamed(0, text("a"))])
        response.write(": \n", () => response.socket?.destroy())
      })
      const error = yield* Effect.flip(Stream.runDrain((yield* provider(server)).stream(request)))
      assert.strictEqual(error.reason._tag, "NetworkError")
      assert.strictEqual(error.phase, "answered")
    })
  )
})

describe("a tool loop", () => {
  it.effect("sends thinking, citations and tools back as they came", () =>
    Effect.gen(function* () {
      const server = yield* serve((response) => json(response, message(blocks.slice(0, -1))))
      const anthropic = yield* provider(server)
      const first = yield* anthropic.generate(request)
      const prompt = [
        ...request.prompt.content,
        ...LlmResponse.toPrompt(first).content,
        ...LlmRequest.makeUnsafe({
          prompt: [
            {
              role: "tool",
              content: [
                { type: "tool-result", id: "toolu_1", name: "weather", isFailure: false, result: { sun: true } }
              ]
            }
          ]
        }).prompt.content
      ]
      yield* anthropic.generate(LlmRequest.makeUnsafe({ prompt }))
      assert.deepStrictEqual(server.requests[1]?.body["messages"], [
        { role: "user", content: [{ type: "text", text: "hello" }] },
        { role: "assistant", content: blocks.slice(0, -1).map(replayed) },
        { role: "user", content: [{ type: "tool_result", tool_use_id: "toolu_1", content: '{"sun":true}' }] }
      ])
    })
  )

  const replayed = (block: Block): unknown => {
    const { citations, ...fields } = block
    return citations === null || citations === undefined ? fields : block
  }
})

describe("what is sent", () => {
  it.effect("goes to /v1/messages with the key of the call, and with no header from the environment", () =>
    Effect.gen(function* () {
      vi.stubEnv("ANTHROPIC_CUSTOM_HEADERS", "x-team: a\nanthropic-beta: b\nx-api-key: c\nauthorization: d")
      vi.stubEnv("ANTHROPIC_AUTH_TOKEN", "other")
      vi.stubEnv("ANTHROPIC_BASE_URL", "http://127.0.0.1:1")
      vi.stubEnv("ANTHROPIC_LOG", "debug")
      yield* Effect.addFinalizer(() => Effect.sync(() => vi.unstubAllEnvs()))
      const server = yield* serve((response) => json(response, message([text("a")])))
      yield* (yield* provider(server)).generate(request)
      const headers = server.requests[0]?.headers ?? {}
      assert.strictEqual(server.requests[0]?.url, "/v1/messages")
      assert.strictEqual(headers.authorization, `Bearer ${secret}`)
      assert.strictEqual(headers["anthropic-version"], "2026-10-21")
      for (const name of ["x-team", "anthropic-beta", "x-api-key"]) assert.isUndefined(headers[name])
    })
  )

  it.effect("names the API version and the betas that were asked for", () =>
    Effect.gen(function* () {
      const server = yield* serve((response) => json(response, message([text("a")])))
      const anthropic = yield* provider(server, { apiVersion: "2023-06-01" })
      const providerOptions = { anthropic: { betas: ["fast-mode-2026-02-01", "other"] } }
      yield* anthropic.generate(LlmRequest.makeUnsafe({ prompt: "a", temperature: 0, topP: 0.5, providerOptions }))
      const sent = server.requests[0]
      assert.strictEqual(sent?.headers["anthropic-version"], "2023-06-01")
      assert.strictEqual(sent?.headers["anthropic-beta"], "fast-mode-2026-02-01,other")
      assert.deepStrictEqual(sent?.body, {
        stream: false,
        model: "claude-test",
        max_tokens: 4096,
        temperature: 0,
        top_p: 0.5,
        messages: [{ role: "user", content: [{ type: "text", text: "a" }] }]
      })
    })
  )

  it.effect("reads a key that is an effect for each call", () =>
    Effect.gen(function* () {
      const server = yield* serve((response) => json(response, message([text("a")])))
      let n = 0
      const apiKey = Effect.sync(() => Redacted.make(`key-${++n}`))
      const anthropic = yield* Anthropic.make({ ...options(server), apiKey })
      yield* anthropic.generate(request)
      yield* anthropic.generate(request)
      assert.deepStrictEqual(
        server.requests.map(({ headers }) => headers.authorization),
        ["Bearer key-1", "Bearer key-2"]
      )
      assert.strictEqual(anthropic.credential, "rotating")
    })
  )

  it.effect.each([
    ["", "MissingKey"],
    ["a\nb", "InvalidKey"]
  ] as const)("a key that cannot be sent is refused before anything is: %j", ([key, kind]) =>
    Effect.gen(function* () {
      const server = yield* serve((response) => json(response, message([])))
      const anthropic = yield* Anthropic.make({ ...options(server), apiKey: Effect.succeed(Redacted.make(key)) })
      const error = yield* Effect.flip(anthropic.generate(request))
      assert.strictEqual(error.reason._tag === "AuthenticationError" && error.reason.kind, kind)
      assert.strictEqual(error.phase, "refused")
      assert.strictEqual(server.requests.length, 0)
    })
  )

  it.effect("a key that cannot be read fails the call with its own error", () =>
    Effect.gen(function* () {
      const server = yield* serve((response) => json(response, message([])))
      const failed = new LlmError({
        provider: "vault",
        model: "none",
        reason: yield* Effect.flip(LlmRequest.make("")),
        phase: "refused"
      })
      const anthropic = yield* Anthropic.make({ ...options(server), apiKey: Effect.fail(failed) })
      assert.strictEqual(yield* Effect.flip(Stream.runDrain(anthropic.stream(request))), failed)
    })
  )
})

describe("structured output", () => {
  it.effect("asks for the schema in Anthropic's dialect and decodes the answer", () =>
    Effect.gen(function* () {
      const Person = Schema.Struct({ name: Schema.String, age: Schema.optionalKey(Schema.Int) })
      const server = yield* serve((response) => json(response, message([text('{"name":"Ada","age":null}')])))
      const answer = yield* LlmProvider.generateObject("Who?", Person).pipe(
        Effect.provideService(LlmProvider.LlmProvider, yield* provider(server))
      )
      assert.deepStrictEqual(answer, { name: "Ada" })
      const config = server.requests[0]?.body["output_config"] as {
        format: { type: string; schema: { required: unknown } }
      } // as asserted
      assert.strictEqual(config.format.type, "json_schema")
      assert.deepStrictEqual(config.format.schema.required, ["name", "age"])
    })
  )
})

describe("options", () => {
  const good = { model: "claude-test", apiKey: Redacted.make(secret) }

  it.each([
    [{ model: " " }, "model must not be empty"],
    [{ baseUrl: "nope" }, 'baseUrl must be an absolute http or https URL, got "nope"'],
    [{ baseUrl: "http://api.example" }, "baseUrl must be https"],
    [{ apiKey: Redacted.make("") }, "apiKey must not be empty"],
    [{ name: "" }, "name must not be empty"],
    [{ requestTimeout: 0 }, "requestTimeout must be a duration > 0, got 0"],
    [{ requestTimeout: Duration.infinity }, "requestTimeout must be finite"],
    [{ maxAnswerBytes: 0 }, "maxAnswerBytes must be an integer >= 1, got 0"],
    [{ maxOutputTokens: 0.5 }, "maxOutputTokens must be an integer >= 1, got 0.5"]
  ])("%j can never work and says why", (wrong, why) => {
    assert.throws(() => Anthropic.make({ ...good, ...wrong }), `Anthropic.make: ${why}`)
    assert.throws(() => Anthropic.layer({ ...good, ...wrong }), RangeError)
  })

  it.effect("the endpoint is the protocol, the base URL and the model; the credential is a digest", () =>
    Effect.gen(function* () {
      const one = yield* Anthropic.make(good)
      assert.strictEqual(one.provider, "anthropic")
      assert.strictEqual(one.endpoint, "anthropic|https%3A%2F%2Fapi.anthropic.com|claude-test")
      assert.match(one.credential, /^[0-9a-f]{12}$/)
      const other = yield* Anthropic.make({
        ...good,
        baseUrl: "https://gateway.example/x/",
        credentialId: "team",
        name: "g"
      })
      assert.notStrictEqual(other.endpoint, one.endpoint)
      assert.strictEqual(other.credential, "team")
      assert.strictEqual(other.provider, "g")
    })
  )

  it.effect("no secret is in the layer or the service", () =>
    Effect.gen(function* () {
      const layer = Anthropic.layer(good)
      const service = yield* Anthropic.make(good)
      for (const value of [layer, service]) {
        assert.notInclude(inspect(value, { depth: 10, showHidden: true }), secret)
        assert.notInclude(JSON.stringify(value), secret)
      }
    })
  )

  it.effect("a path of the base URL is kept", () =>
    Effect.gen(function* () {
      const server = yield* serve((response) => json(response, message([text("a")])))
      const baseUrl = `${new URL(server.url).origin}/gateway/`
      yield* (yield* Anthropic.make({ ...options(server), baseUrl })).generate(request)
      assert.strictEqual(server.requests[0]?.url, "/gateway/v1/messages")
    })
  )

  const configured = (env: Record<string, string>, more: Partial<Parameters<typeof Anthropic.layerConfig>[0]> = {}) =>
    LlmProvider.LlmProvider.pipe(
      Effect.provide(Anthropic.layerConfig({ model: "claude-test", ...more })),
      Effect.provide(Layer.succeed(ConfigProvider.ConfigProvider, ConfigProvider.fromEnv({ env })))
    )

  it.effect("layerConfig reads the key and the base URL", () =>
    Effect.gen(function* () {
      const env = { ANTHROPIC_API_KEY: secret, ANTHROPIC_BASE_URL: "https://gateway.example" }
      assert.include((yield* configured(env)).endpoint, "gateway.example")
      for (const unset of [{}, { ANTHROPIC_BASE_URL: "" }]) {
        assert.include((yield* configured({ ANTHROPIC_API_KEY: secret, ...unset })).endpoint, "api.anthropic.com")
      }
      assert.include((yield* configured(env, { baseUrl: "https://own.example" })).endpoint, "own.example")
      assert.strictEqual((yield* configured({}, { apiKey: Redacted.make(secret) })).provider, "anthropic")
    })
  )

  it.effect.each<readonly [Record<string, string>, string]>([
    [{}, "ANTHROPIC_API_KEY"],
    [{ ANTHROPIC_API_KEY: "" }, "ANTHROPIC_API_KEY"],
    [{ ANTHROPIC_API_KEY: secret, ANTHROPIC_BASE_URL: "nope" }, "ANTHROPIC_BASE_URL"],
    [{ ANTHROPIC_API_KEY: secret, ANTHROPIC_BASE_URL: "http://api.example" }, "ANTHROPIC_BASE_URL"],
    [{ ANTHROPIC_API_KEY: `${secret}\n` }, "ANTHROPIC_API_KEY"]
  ])("layerConfig with %j fails with a ConfigError that names the variable", ([env, name]) =>
    Effect.gen(function* () {
      const exit = yield* Effect.exit(configured(env))
      assert.isTrue(Exit.isFailure(exit))
      const error = yield* Effect.flip(configured(env))
      assert.strictEqual(error._tag, "ConfigError")
      assert.include(String(error), name)
      assert.notInclude(inspect(error, { depth: 10 }), secret)
    })
  )
})

it.effect("a missing package is a defect that says what to install", () =>
  Effect.gen(function* () {
    vi.doMock("@anthropic-ai/sdk", () => {
      throw new Error("Cannot find package")
    })
    yield* Effect.addFinalizer(() => Effect.sync(() => vi.doUnmock("@anthropic-ai/sdk")))
    const exit = yield* Effect.exit(Anthropic.make({ model: "claude-test", apiKey: Redacted.make(secret) }))
    assert.include(String(exit), "npm install @anthropic-ai/sdk")
  })
)

describe("a mock that we did not write", () => {
  const mock = Effect.acquireRelease(
    Effect.promise(async () => {
      const llmock = new LLMock({ port: 0 })
      llmock.onMessage("capital", { content: "Tirana.", reasoning: "Albania.", reasoningSignature: "sig" })
      llmock.onMessage("weather", { toolCalls: [{ name: "weather", arguments: '{"city":"Tirana"}', id: "toolu_9" }] })
      await llmock.start()
      return llmock
    }),
    (llmock) => Effect.promise(() => llmock.stop())
  )

  it.effect("text, thinking, tools and errors, whole and streamed", () =>
    Effect.gen(function* () {
      const llmock = yield* mock
      const anthropic = yield* provider({ url: llmock.url })
      const tools = [{ name: "weather", parameters: { type: "object", properties: { city: { type: "string" } } } }]
      const ask = (prompt: string) => {
        const asked = LlmRequest.makeUnsafe({ prompt, tools })
        return Effect.all([
          anthropic.generate(asked),
          Effect.map(
            Stream.runCollect(anthropic.stream(asked)),
            (stream) =>
              new LlmResponse.LlmResponse({ provider: "", model: "", parts: LlmResponse.collectParts(stream) })
          )
        ])
      }
      for (const answer of yield* ask("The capital?")) {
        assert.strictEqual(answer.text, "Tirana.")
        assert.strictEqual(answer.reasoningText, "Albania.")
        assert.strictEqual(answer.finishReason, "stop")
        assert.isNumber(answer.usage.outputTokens.total)
      }
      for (const { finishReason, toolCalls } of yield* ask("The weather?")) {
        assert.deepStrictEqual(toolCalls, [
          { type: "tool-call", id: "toolu_9", name: "weather", params: { city: "Tirana" } }
        ])
        assert.strictEqual(finishReason, "tool-calls")
      }
      llmock.nextRequestError(529, { message: "Overloaded", type: "overloaded_error" })
      const error = yield* Effect.flip(anthropic.generate(request))
      assert.strictEqual(error.reason._tag, "InternalProviderError")
    })
  )
})
