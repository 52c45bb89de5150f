import { inspect } from "node:util"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Deferred, Duration, Effect, Exit, Fiber, Redacted, Stream } from "effect"
import * as TestClock from "effect/testing/TestClock"
import * as LlmError from "effect-ballast/LlmError"
import type * as LlmProvider from "effect-ballast/LlmProvider"
import * as LlmRequest from "effect-ballast/LlmRequest"
import * as OpenAi from "effect-ballast/OpenAi"
import { toLlmError } from "../src/internal/openaiErrors.ts"
import { inBand, type Row, rows } from "./fixtures/openai/errors.ts"
import { chunk, completion, events, json, provider, secret, serve, shown } from "./fixtures/openai/server.ts"

const request = LlmRequest.makeUnsafe("What is the airspeed velocity of an unladen swallow?")

const drain = (self: LlmProvider.Service) => Stream.runDrain(self.stream(request))

/** Both ways of asking must fail alike. */
const failures = (self: LlmProvider.Service) =>
  Effect.all([Effect.flip(self.generate(request)), Effect.flip(drain(self))])

const consequencesOf: { readonly [row: string]: LlmError.Consequence } = LlmError.consequences

const check = (failure: LlmError.LlmError, row: Omit<Row, "status">) => {
  assert.strictEqual(failure.reason._tag, row.tag)
  const facts: { readonly [field: string]: unknown } = { ...failure.reason }
  for (const [field, value] of Object.entries(row.facts ?? {})) assert.strictEqual(facts[field], value)
  const expected = consequencesOf[row.row ?? row.tag]
  assert.isDefined(expected)
  const retry = row.shouldRetry === false ? { retry: "no" } : {}
  assert.deepStrictEqual(LlmError.consequence(failure), { ...expected, ...retry })
  assert.strictEqual(failure.shouldRetry, row.shouldRetry)
  assert.strictEqual(failure.retryAfter && Duration.toMillis(failure.retryAfter), row.retryAfterMillis)
  if (failure.reason._tag === "RateLimitError") assert.deepStrictEqual(failure.reason.retryAfter, failure.retryAfter)
}

describe("an HTTP status", () => {
  it.effect.each(rows)("$name is $tag", (row) =>
    Effect.gen(function* () {
      const server = yield* serve((response) => {
        if (typeof row.body === "string") response.writeHead(row.status, { ...row.headers }).end(row.body)
        else json(response, row.body, row.status, row.headers)
      })
      for (const failure of yield* failures(yield* provider(server))) {
        check(failure, row)
        assert.strictEqual(failure.phase, "sent")
        assert.strictEqual(failure.provider, "openai")
        assert.strictEqual(failure.model, "gpt-test")
      }
      assert.strictEqual(server.requests.length, 2)
    })
  )

  it.effect("shows its limits and its request id, and neither body nor cookies", () =>
    Effect.gen(function* () {
      const headers = { "x-ratelimit-limit-requests": "60", "x-request-id": "req_1", "set-cookie": "session=1" }
      const server = yield* serve((response) =>
        json(response, { error: { message: "no", code: "slow_down" } }, 429, headers)
      )
      for (const { reason } of yield* failures(yield* provider(server))) {
        assert(reason._tag === "RateLimitError")
        assert.deepStrictEqual(reason.http, {
          response: { status: 429, headers: { "x-ratelimit-limit-requests": "60", "x-request-id": "req_1" } }
        })
        assert.deepStrictEqual(reason.metadata, { openai: { code: "slow_down" } })
      }
    })
  )

  it.effect("tells when a quota is available again", () =>
    Effect.gen(function* () {
      const body = { error: { message: "no", code: "insufficient_quota" } }
      const server = yield* serve((response) => json(response, body, 429, { "retry-after": "60" }))
      yield* TestClock.adjust("1 hour")
      for (const { reason } of yield* failures(yield* provider(server))) {
        assert(reason._tag === "QuotaExhaustedError")
        assert.strictEqual(reason.resetAt?.epochMilliseconds, 3_660_000)
      }
    })
  )
})

describe("an error within an answer", () => {
  it.effect.each(inBand)("of HTTP 200, $name, is $tag", (row) =>
    Effect.gen(function* () {
      const server = yield* serve((response) => json(response, row.body))
      for (const failure of yield* failures(yield* provider(server))) {
        check(failure, row)
        assert.strictEqual(failure.phase, "answered")
      }
    })
  )

  it.effect.each(inBand)("of a stream, $name, is $tag", (row) =>
    Effect.gen(function* () {
      const server = yield* serve((response) => events(response, [chunk({ content: "Once" }), row.body]))
      const failure = yield* Effect.flip(drain(yield* provider(server)))
      check(failure, row)
      assert.strictEqual(failure.phase, "answered")
    })
  )

  it.effect("named by the event is found too", () =>
    Effect.gen(function* () {
      const server = yield* serve(
        (response) =>
          void response
            .writeHead(200, { "content-type": "text/event-stream" })
            .end('event: error\ndata: {"message":"Overloaded","code":"server_is_overloaded"}\n\n')
      )
      const failure = yield* Effect.flip(drain(yield* provider(server)))
      assert.strictEqual(failure.reason._tag, "InternalProviderError")
    })
  )
})

describe("an answer that is none", () => {
  const html = "<html>Please log in to swordfish</html>"
  it.effect.each<[string, string, string]>([
    ["a web page", "text/html", html],
    ["text", "text/plain", html],
    ["broken JSON", "application/json", '{"swordfish": '],
    ["an empty body", "application/json", ""],
    ["a list", "application/json", "[]"],
    ["an object without choices", "application/json", "{}"],
    ["a choice without a message", "application/json", '{"choices":[{}]}']
  ])("%s is InvalidResponseError, and is not shown", ([, type, body]) =>
    Effect.gen(function* () {
      const server = yield* serve((response) => void response.writeHead(200, { "content-type": type }).end(body))
      const failure = yield* Effect.flip((yield* provider(server)).generate(request))
      assert.strictEqual(failure.reason._tag, "InvalidResponseError")
      assert.strictEqual(failure.phase, "answered")
      assert.notInclude(shown(inspect, failure), "swordfish")
    })
  )

  it.effect("a web page for a stream is InvalidResponseError", () =>
    Effect.gen(function* () {
      const server = yield* serve((response) => void response.writeHead(200, { "content-type": "text/html" }).end(html))
      const failure = yield* Effect.flip(drain(yield* provider(server)))
      assert.strictEqual(failure.reason._tag, "InvalidResponseError")
    })
  )

  it.effect("no choice at all is InternalProviderError", () =>
    Effect.gen(function* () {
      const server = yield* serve((response) => json(response, { ...completion({}), choices: [] }))
      for (const failure of yield* failures(yield* provider(server))) {
        assert.strictEqual(failure.reason._tag, "InternalProviderError")
        assert.strictEqual(LlmError.consequence(failure).charge, "lost")
      }
    })
  )

  it.effect.each<[string, ReadonlyArray<unknown>, string]>([
    ["without a finish reason", [chunk({ content: "Once" }), "[DONE]"], "InternalProviderError"],
    ["without any event", [], "InternalProviderError"],
    ["with garbage in an event", [chunk({ content: "Once" }), '{"id": "swordfish', "[DONE]"], "InvalidResponseError"],
    ["with an event that is no chunk", ["5"], "InvalidResponseError"]
  ])("a stream %s fails", ([, data, tag]) =>
    Effect.gen(function* () {
      const server = yield* serve((response) => events(response, data))
      const failure = yield* Effect.flip(drain(yield* provider(server)))
      assert.strictEqual(failure.reason._tag, tag)
      assert.strictEqual(failure.phase, "answered")
      assert.notInclude(shown(inspect, failure), "swordfish")
      if (tag === "InternalProviderError") assert.include(failure.message, "the stream ended without a finish part")
    })
  )

  it.effect("tool arguments that are not JSON are InvalidOutputError with the usage", () =>
    Effect.gen(function* () {
      const call = { index: 0, id: "c", type: "function", function: { name: "f", arguments: '{"swordfish' } }
      const { usage } = completion({})
      const server = yield* serve((response, { body }) =>
        body["stream"] === true
          ? events(response, [chunk({ tool_calls: [call] }), chunk({}, "tool_calls", { usage })])
          : json(response, completion({ tool_calls: [call] }))
      )
      for (const failure of yield* failures(yield* provider(server))) {
        assert(failure.reason._tag === "InvalidOutputError")
        assert.deepStrictEqual(failure.reason.usage, { promptTokens: 100, completionTokens: 20 })
        assert.notInclude(shown(inspect, failure), "swordfish")
      }
    })
  )
})

describe("a connection", () => {
  it.effect("that is refused was never used", () =>
    Effect.gen(function* () {
      const url = yield* Effect.scoped(
        Effect.map(
          serve(() => undefined),
          (server) => server.url
        )
      )
      for (const failure of yield* failures(yield* provider({ url }))) {
        assert(failure.reason._tag === "NetworkError")
        assert.strictEqual(failure.reason.description, "ECONNREFUSED")
        assert.strictEqual(failure.reason.url, `${url}/chat/completions`)
        assert.strictEqual(failure.phase, "connecting")
        assert.deepStrictEqual(LlmError.consequence(failure), LlmError.consequences["NetworkError/connecting"])
      }
    })
  )

  it.effect("to a host that does not exist was never used", () =>
    Effect.gen(function* () {
      const failure = yield* Effect.flip((yield* provider({ url: "https://ballast.invalid/v1" })).generate(request))
      assert.strictEqual(failure.reason._tag, "NetworkError")
      assert.strictEqual(failure.phase, "connecting")
    })
  )

  it.effect("that breaks before the answer may have been used", () =>
    Effect.gen(function* () {
      const server = yield* serve((response) => void response.destroy())
      for (const failure of yield* failures(yield* provider(server))) {
        assert.strictEqual(failure.reason._tag, "NetworkError")
        assert.strictEqual(failure.phase, "sent")
        assert.deepStrictEqual(LlmError.consequence(failure), LlmError.consequences.NetworkError)
      }
    })
  )

  it.effect("that breaks within the answer has been used", () =>
    Effect.gen(function* () {
      const server = yield* serve((response, { body }) => {
        response.writeHead(200, { "content-type": body["stream"] === true ? "text/event-stream" : "application/json" })
        const begun = body["stream"] === true ? `data: ${JSON.stringify(chunk({ content: "Once" }))}\n\n` : '{"id":'
        response.write(begun, () => response.destroy())
      })
      for (const failure of yield* failures(yield* provider(server))) {
        assert.strictEqual(failure.reason._tag, "NetworkError")
        assert.strictEqual(failure.phase, "answered")
        assert.deepStrictEqual(LlmError.consequence(failure), LlmError.consequences.NetworkError)
      }
    })
  )
})

describe("anything else that is thrown", () => {
  it("is UnknownError without the key and the prompt", () => {
    const context = { provider: "p", model: "m", url: "https://a.example", request, key: secret, now: 0 }
    const failure = toLlmError(new Error(`No ${secret}, What is the airspeed velocity of an unladen swallow?`), context)
    assert.strictEqual(failure.message, "p/m: No <redacted>, <prompt>")
    assert.strictEqual(failure.reason._tag, "UnknownError")
    assert.strictEqual(toLlmError("thrown text", context).message, "p/m: Unknown error")
  })
})

describe("a server that never answers", () => {
  it.effect("is left after requestTimeout, and sees the connection close", () =>
    Effect.gen(function* () {
      const server = yield* serve(() => undefined)
      const self = yield* provider(server)
      const fiber = yield* Effect.forkChild(self.generate(request))
      yield* Deferred.await(server.arrived)
      yield* TestClock.adjust("599999 millis")
      assert.isUndefined(fiber.pollUnsafe())
      yield* TestClock.adjust("1 millis")
      const failure = yield* Effect.flip(Fiber.join(fiber))
      assert(failure.reason._tag === "TimedOut")
      assert.strictEqual(failure.reason.phase, "attempt")
      assert.deepStrictEqual(failure.reason.after, Duration.minutes(10))
      assert.deepStrictEqual(LlmError.consequence(failure), LlmError.consequences.TimedOut)
      yield* Deferred.await(server.closed)
    })
  )

  it.effect("after its first events is left by the stream, which has passed on what came", () =>
    Effect.gen(function* () {
      const server = yield* serve((response) => {
        response.writeHead(200, { "content-type": "text/event-stream" })
        response.write(`data: ${JSON.stringify(chunk({ content: "Once" }))}\n\n`)
      })
      const self = yield* provider(server, { requestTimeout: "30 seconds" })
      const delivered = yield* Deferred.make<void>()
      const fiber = yield* self.stream(request).pipe(
        Stream.tap((part) => (part.type === "text-delta" ? Deferred.done(delivered, Exit.void) : Effect.void)),
        Stream.runDrain,
        Effect.forkChild
      )
      yield* Deferred.await(delivered)
      yield* TestClock.adjust("29999 millis")
      assert.isUndefined(fiber.pollUnsafe())
      yield* TestClock.adjust("1 millis")
      const failure = yield* Effect.flip(Fiber.join(fiber))
      assert(failure.reason._tag === "TimedOut")
      assert.strictEqual(failure.reason.phase, "idle")
      yield* Deferred.await(server.closed)
    })
  )

  it.effect("sees the connection close when the call is interrupted", () =>
    Effect.gen(function* () {
      const server = yield* serve(() => undefined)
      const fiber = yield* Effect.forkChild((yield* provider(server)).generate(request))
      yield* Deferred.await(server.arrived)
      yield* Fiber.interrupt(fiber)
      yield* Deferred.await(server.closed)
      assert.isTrue(Exit.hasInterrupts(yield* Fiber.await(fiber)))
    })
  )

  it.effect("sees the connection close when the body of an answer is interrupted", () =>
    Effect.gen(function* () {
      const server = yield* serve((response) => {
        response.writeHead(200, { "content-type": "application/json" }).write('{"id":')
      })
      const fiber = yield* Effect.forkChild((yield* provider(server)).generate(request))
      yield* Deferred.await(server.arrived)
      yield* Fiber.interrupt(fiber)
      yield* Deferred.await(server.closed)
      assert.strictEqual(server.requests.length, 1)
    })
  )

  it.effect("sees the connection close when the stream is dropped after a part", () =>
    Effect.gen(function* () {
      const server = yield* serve((response) => {
        response.writeHead(200, { "content-type": "text/event-stream" })
        response.write(`data: ${JSON.stringify(chunk({ content: "Once" }))}\n\n`)
      })
      const self = yield* provider(server)
      const parts = yield* Stream.runCollect(Stream.take(self.stream(request), 3))
      assert.deepStrictEqual(parts.at(2), { type: "text-delta", id: "0", delta: "Once" })
      yield* Deferred.await(server.closed)
    })
  )
})

describe("an answer of 10 MB", () => {
  const long = "x".repeat(10_000_000)
  it.effect("is InvalidResponseError that names maxAnswerBytes", () =>
    Effect.gen(function* () {
      const server = yield* serve((response) => json(response, completion({ content: long })))
      const failure = yield* Effect.flip((yield* provider(server)).generate(request))
      assert.strictEqual(failure.reason._tag, "InvalidResponseError")
      assert.include(failure.message, "the answer is larger than maxAnswerBytes (8388608)")
      yield* Deferred.await(server.closed)
    })
  )

  it.effect("is accepted where maxAnswerBytes says so", () =>
    Effect.gen(function* () {
      const server = yield* serve((response) => json(response, completion({ content: long })))
      const response = yield* (yield* provider(server, { maxAnswerBytes: 11_000_000 })).generate(request)
      assert.strictEqual(response.text.length, long.length)
    })
  )

  it.effect("is refused in one event and in many", () =>
    Effect.gen(function* () {
      const ten = Array.from({ length: 10 }, () => chunk({ content: "é".repeat(50_000) }))
      const server = yield* serve((response, { body }) =>
        events(response, [...(body["seed"] === 1 ? [chunk({ content: long })] : ten), chunk({}, "stop")])
      )
      const within = yield* provider(server, { maxAnswerBytes: 1_000_000 })
      yield* drain(within)
      for (const [seed, maxAnswerBytes] of [
        [1, 8_388_608],
        [2, 999_999]
      ] as const) {
        const self = yield* provider(server, { maxAnswerBytes })
        const failure = yield* Effect.flip(Stream.runDrain(self.stream({ ...request, seed })))
        assert.strictEqual(failure.reason._tag, "InvalidResponseError")
        assert.include(failure.message, `maxAnswerBytes (${maxAnswerBytes})`)
      }
    })
  )
})

describe("a secret", () => {
  it.effect("of the caller that the server repeats is not in the error", () =>
    Effect.gen(function* () {
      const message = `Bad key ${secret}; you asked: What is the airspeed velocity of an unladen swallow?`
      const server = yield* serve((response) =>
        json(response, { error: { message, code: "unsupported_value", param: message } }, 400, { "x-request-id": "r" })
      )
      for (const failure of yield* failures(yield* provider(server))) {
        const text = shown(inspect, failure) + inspect(failure, { depth: 20, showHidden: true })
        assert.notInclude(text, secret)
        assert.notInclude(text, "unladen swallow")
        assert.include(failure.message, "Bad key <redacted>; you asked: <prompt>")
      }
    })
  )

  it.effect("is not in the provider, its layer or a defect", () =>
    Effect.gen(function* () {
      const options: OpenAi.Options = { model: "m", apiKey: Redacted.make(secret), baseUrl: "http://127.0.0.1:9/v1" }
      const self = yield* OpenAi.make(options)
      const layer = OpenAi.layer(options)
      const exit = yield* Effect.exit(self.generate(request))
      const cause = Exit.isFailure(exit) ? Cause.pretty(exit.cause) : ""
      assert.include(cause, "TransportError")
      for (const value of [self, layer, exit]) assert.notInclude(shown(inspect, value), secret)
      assert.notInclude(inspect([self, layer, exit], { depth: 20, showHidden: true }), secret)
      assert.notInclude(cause, secret)
    })
  )
})
