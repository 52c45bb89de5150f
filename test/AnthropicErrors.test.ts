import { assert, describe, it, vi } from "@effect/vitest"
import { DateTime, Duration, Effect, Stream } from "effect"
import { inspect } from "node:util"
import * as LlmError from "effect-ballast/LlmError"
import * as LlmRequest from "effect-ballast/LlmRequest"
import {
  events,
  failure,
  json,
  message,
  provider,
  secret,
  serve,
  shown,
  started,
  streamed,
  text
} from "./fixtures/anthropic/server.ts"

const request = LlmRequest.makeUnsafe("What is the capital of the country whose king was Zog the First?")

interface Row {
  readonly name: string
  readonly status: number
  readonly body: unknown
  readonly headers?: Record<string, string>
  readonly tag: LlmError.Reason["_tag"]
  readonly row: keyof typeof LlmError.consequences
  readonly see?: (error: LlmError.LlmError) => void
}

const rows: ReadonlyArray<Row> = [
  {
    name: "a rate limit",
    status: 429,
    body: failure("rate_limit_error", "This request would exceed the rate limit for your organization"),
    headers: { "retry-after": "7" },
    tag: "RateLimitError",
    row: "RateLimitError",
    see: ({ reason, retryAfter }) => {
      assert.strictEqual(retryAfter && Duration.toMillis(retryAfter), 7000)
      assert.strictEqual("retryAfter" in reason && reason.retryAfter && Duration.toMillis(reason.retryAfter), 7000)
    }
  },
  {
    name: "a ramp limit, which passes",
    status: 429,
    body: failure("rate_limit_error", "slower", { error_code: "ramp_limit_exceeded" }),
    tag: "RateLimitError",
    row: "RateLimitError"
  },
  {
    name: "a rate limit that says only when its buckets are full again",
    status: 429,
    body: failure("rate_limit_error", "too many tokens"),
    headers: {
      "anthropic-ratelimit-input-tokens-remaining": "0",
      "anthropic-ratelimit-input-tokens-reset": "1970-01-01T00:00:12Z",
      "anthropic-ratelimit-requests-remaining": "3",
      "anthropic-ratelimit-requests-reset": "1970-01-01T00:01:00Z"
    },
    tag: "RateLimitError",
    row: "RateLimitError",
    see: ({ retryAfter }) => assert.strictEqual(retryAfter && Duration.toMillis(retryAfter), 12_000)
  },
  {
    name: "a spend limit dressed as a rate limit",
    status: 429,
    body: failure("rate_limit_error", "spend limit", { error_code: "enforced_spend_limit_reached" }),
    tag: "QuotaExhaustedError",
    row: "QuotaExhaustedError"
  },
  {
    name: "a contract's spend limit",
    status: 429,
    body: failure("rate_limit_error", "spend limit", { error_code: "contract_spend_limit_reached" }),
    tag: "QuotaExhaustedError",
    row: "QuotaExhaustedError"
  },
  {
    name: "usage limits dressed as a bad request, with the day they end",
    status: 400,
    body: failure(
      "invalid_request_error",
      "You have reached your specified API usage limits. You will regain access on 2026-12-01 at 00:00 UTC."
    ),
    tag: "QuotaExhaustedError",
    row: "QuotaExhaustedError",
    see: ({ reason }) =>
      assert.strictEqual(
        reason._tag === "QuotaExhaustedError" && reason.resetAt && DateTime.formatIso(reason.resetAt),
        "2026-12-01T00:00:00.000Z"
      )
  },
  {
    name: "a bill that is not paid",
    status: 402,
    body: failure("billing_error", "Your payment method was declined"),
    tag: "QuotaExhaustedError",
    row: "QuotaExhaustedError"
  },
  {
    name: "a wrong key",
    status: 401,
    body: failure("authentication_error", "invalid x-api-key"),
    tag: "AuthenticationError",
    row: "AuthenticationError",
    see: ({ reason }) => assert.strictEqual("kind" in reason && reason.kind, "InvalidKey")
  },
  {
    name: "an expired key",
    status: 401,
    body: failure("authentication_error", "OAuth token has expired"),
    tag: "AuthenticationError",
    row: "AuthenticationError",
    see: ({ reason }) => assert.strictEqual("kind" in reason && reason.kind, "ExpiredKey")
  },
  {
    name: "no key, as a proxy sees it",
    status: 401,
    body: failure("authentication_error", "x-api-key header is required"),
    tag: "AuthenticationError",
    row: "AuthenticationError",
    see: ({ reason }) => assert.strictEqual("kind" in reason && reason.kind, "MissingKey")
  },
  {
    name: "a key without permission",
    status: 403,
    body: failure("permission_error", "Your API key does not have permission to use the specified resource"),
    tag: "AuthenticationError",
    row: "AuthenticationError/InsufficientPermissions"
  },
  {
    name: "an organization on hold, dressed as a bad request",
    status: 400,
    body: failure("invalid_request_error", "This organization has been disabled.", {
      error_code: "organization_on_hold"
    }),
    tag: "AuthenticationError",
    row: "AuthenticationError/InsufficientPermissions"
  },
  {
    name: "an unknown model",
    status: 404,
    body: failure("not_found_error", "model: claude-test"),
    tag: "ModelUnavailable",
    row: "ModelUnavailable"
  },
  {
    name: "another thing that is not found",
    status: 404,
    body: failure("not_found_error", "File not found: file_1"),
    tag: "InvalidRequestError",
    row: "InvalidRequestError"
  },
  {
    name: "a prompt that is too long, with the window",
    status: 400,
    body: failure("invalid_request_error", "prompt is too long: 208310 tokens > 200000 maximum"),
    tag: "ContextOverflow",
    row: "ContextOverflow",
    see: ({ reason }) => assert.strictEqual(reason._tag === "ContextOverflow" && reason.limit, 200_000)
  },
  {
    name: "a prompt and max_tokens that do not fit together",
    status: 400,
    body: failure(
      "invalid_request_error",
      "input length and `max_tokens` exceed context limit: 197202 + 21333 > 200000, decrease input length or `max_tokens`"
    ),
    tag: "ContextOverflow",
    row: "ContextOverflow",
    see: ({ reason }) => assert.strictEqual(reason._tag === "ContextOverflow" && reason.limit, 200_000)
  },
  {
    name: "a body that is too large",
    status: 413,
    body: failure("request_too_large", "Request exceeds the maximum size"),
    tag: "ContextOverflow",
    row: "ContextOverflow"
  },
  {
    name: "a bad request, with its field",
    status: 400,
    body: failure("invalid_request_error", "messages.0.content: Field required"),
    tag: "InvalidRequestError",
    row: "InvalidRequestError",
    see: ({ reason }) => assert.strictEqual("parameter" in reason && reason.parameter, "messages.0.content")
  },
  {
    name: "an answer that was blocked",
    status: 400,
    body: failure("invalid_request_error", "Output blocked by content filtering policy"),
    tag: "ContentPolicyError",
    row: "ContentPolicyError"
  },
  {
    name: "another 4xx",
    status: 422,
    body: failure("invalid_request_error", "no"),
    tag: "InvalidRequestError",
    row: "InvalidRequestError"
  },
  {
    name: "a 4xx that may be tried again",
    status: 422,
    body: failure("invalid_request_error", "no"),
    headers: { "x-should-retry": "true" },
    tag: "InternalProviderError",
    row: "InternalProviderError",
    see: ({ shouldRetry }) => assert.strictEqual(shouldRetry, true)
  },
  {
    name: "an overloaded server",
    status: 529,
    body: failure("overloaded_error", "Overloaded"),
    headers: { "retry-after-ms": "1500" },
    tag: "InternalProviderError",
    row: "InternalProviderError",
    see: ({ retryAfter }) => assert.strictEqual(retryAfter && Duration.toMillis(retryAfter), 1500)
  },
  {
    name: "a server's own fault",
    status: 500,
    body: failure("api_error", "Internal server error"),
    tag: "InternalProviderError",
    row: "InternalProviderError"
  },
  {
    name: "a gateway without JSON",
    status: 502,
    body: "<html>Bad gateway</html>",
    tag: "InternalProviderError",
    row: "InternalProviderError"
  },
  {
    name: "a request timeout",
    status: 408,
    body: undefined,
    tag: "InternalProviderError",
    row: "InternalProviderError"
  },
  {
    name: "a conflict",
    status: 409,
    body: failure("conflict_error", "x"),
    tag: "InternalProviderError",
    row: "InternalProviderError"
  },
  {
    name: "a JSON body that is no object",
    status: 500,
    body: [1],
    tag: "InternalProviderError",
    row: "InternalProviderError"
  }
]

describe("an HTTP status", () => {
  it.effect.each(rows)("$name is $tag", ({ body, headers, row, see, status, tag }) =>
    Effect.gen(function* () {
      const server = yield* serve((response) =>
        typeof body === "object"
          ? json(response, body, status, headers)
          : response.writeHead(status, { "content-type": "text/html", ...headers }).end(body)
      )
      const anthropic = yield* provider(server)
      const whole = yield* Effect.flip(anthropic.generate(request))
      const stream = yield* Effect.flip(Stream.runDrain(anthropic.stream(request)))
      for (const error of [whole, stream]) {
        assert.strictEqual(error.reason._tag, tag)
        assert.strictEqual(error.phase, "sent")
        assert.strictEqual(error.provider, "anthropic")
        assert.strictEqual(error.model, "claude-test")
        const { retry: _, ...expected } = LlmError.consequences[row]
        const { retry: __, ...found } = LlmError.consequence(error)
        assert.deepStrictEqual(found, expected)
        see?.(error)
      }
      assert.strictEqual(server.requests.length, 2)
    })
  )

  it.effect("x-should-retry: false stands above the table", () =>
    Effect.gen(function* () {
      const server = yield* serve((response) =>
        json(response, failure("overloaded_error", "Overloaded"), 529, { "x-should-retry": "false" })
      )
      const error = yield* Effect.flip((yield* provider(server)).generate(request))
      assert.strictEqual(error.shouldRetry, false)
      assert.strictEqual(LlmError.consequence(error).retry, "no")
    })
  )

  it.effect("shows the limits and the request id of the answer, and nothing else of its headers", () =>
    Effect.gen(function* () {
      const server = yield* serve((response) =>
        json(response, failure("api_error", "no"), 500, { "request-id": "req_9", "set-cookie": "a=b" })
      )
      const { reason } = yield* Effect.flip((yield* provider(server)).generate(request))
      assert.deepStrictEqual("http" in reason && reason.http?.response, {
        status: 500,
        headers: { "request-id": "req_9" }
      })
      assert.isUndefined("http" in reason && reason.http?.body)
    })
  )

  it.effect("repeats neither the key nor the prompt", () =>
    Effect.gen(function* () {
      const server = yield* serve((response) =>
        json(response, failure("invalid_request_error", `key ${secret}: the country whose king was Zog the First`), 400)
      )
      const error = yield* Effect.flip((yield* provider(server)).generate(request))
      assert.notInclude(shown(inspect, error), secret)
      assert.notInclude(shown(inspect, error), "Zog")
    })
  )
})

describe("a connection", () => {
  const codes = [
    ["UND_ERR_CONNECT_TIMEOUT", "Connect Timeout Error", "connecting"],
    ["ENOTFOUND", "getaddrinfo ENOTFOUND a.example", "connecting"],
    ["CERT_HAS_EXPIRED", "certificate has expired", "connecting"],
    ["UND_ERR_HEADERS_TIMEOUT", "Headers Timeout Error", "sent"],
    ["UND_ERR_SOCKET", "other side closed", "sent"]
  ] as const

  it.effect.each(codes)("that fails with %s (%s) was %s", ([code, text, phase]) =>
    Effect.gen(function* () {
      const cause = Object.assign(new Error(text), { code })
      vi.stubGlobal("fetch", () => Promise.reject(new TypeError("fetch failed", { cause })))
      yield* Effect.addFinalizer(() => Effect.sync(() => vi.unstubAllGlobals()))
      const error = yield* Effect.flip((yield* provider({ url: "https://a.example" })).generate(request))
      assert.strictEqual(error.reason._tag, "NetworkError")
      assert.strictEqual(error.phase, phase)
      assert.include(error.message, code)
    })
  )
})

describe("an error inside an answer", () => {
  const kinds = [
    ["overloaded_error", "InternalProviderError"],
    ["api_error", "InternalProviderError"],
    ["something_new", "InternalProviderError"],
    ["rate_limit_error", "RateLimitError"],
    ["invalid_request_error", "InvalidRequestError"],
    ["billing_error", "QuotaExhaustedError"],
    ["request_too_large", "ContextOverflow"]
  ] as const

  it.effect.each(kinds)("%s in a stream is %s, after what had come", ([type, tag]) =>
    Effect.gen(function* () {
      const body = failure(type, "no")
      const server = yield* serve((response) =>
        events(response, [started, ...streamed(0, text("half")), { ...body, type: "error" }])
      )
      const seen: Array<string> = []
      const error = yield* (yield* provider(server)).stream(request).pipe(
        Stream.runForEach((part) => Effect.sync(() => seen.push(part.type))),
        Effect.flip
      )
      assert.strictEqual(error.reason._tag, tag)
      assert.strictEqual(error.phase, "answered")
      assert.include(seen, "text-delta")
      assert.notInclude(seen, "finish")
    })
  )

  it.effect.each(kinds)("%s as the body of a 200 is %s", ([type, tag]) =>
    Effect.gen(function* () {
      const server = yield* serve((response) => json(response, failure(type, "no")))
      const anthropic = yield* provider(server)
      for (const error of [
        yield* Effect.flip(anthropic.generate(request)),
        yield* Effect.flip(Stream.runDrain(anthropic.stream(request)))
      ]) {
        assert.strictEqual(error.reason._tag, tag)
        assert.strictEqual(error.phase, "answered")
      }
    })
  )

  it.effect("one that is not JSON is the provider's fault", () =>
    Effect.gen(function* () {
      const server = yield* serve((response) =>
        response.writeHead(200, { "content-type": "text/event-stream" }).end("event: error\ndata: oops\n\n")
      )
      const error = yield* Effect.flip(Stream.runDrain((yield* provider(server)).stream(request)))
      assert.strictEqual(error.reason._tag, "InternalProviderError")
      assert.strictEqual(LlmError.consequence(error).charge, "lost")
    })
  )
})

describe("an answer that is none", () => {
  const bodies: ReadonlyArray<readonly [string, string, string]> = [
    ["a page", "text/html", "<html>Welcome</html>"],
    ["broken JSON", "application/json", '{"content": [{"type": "text", "te'],
    ["nothing", "application/json", ""],
    ["null", "application/json", "null"],
    ["no content", "application/json", JSON.stringify({ ...message([]), content: null })],
    ["a block that is no object", "application/json", JSON.stringify(message([7]))],
    ["a text that is no string", "application/json", JSON.stringify(message([{ type: "text", text: 7 }]))]
  ]
  it.effect.each(bodies)("%s is InvalidResponseError and is not repeated", ([, type, body]) =>
    Effect.gen(function* () {
      const server = yield* serve((response) => response.writeHead(200, { "content-type": type }).end(body))
      const error = yield* Effect.flip((yield* provider(server)).generate(request))
      assert.strictEqual(error.reason._tag, "InvalidResponseError")
      assert.strictEqual(error.phase, "answered")
      assert.notInclude(shown(inspect, error), "Welcome")
    })
  )

  const streams: ReadonlyArray<readonly [string, string]> = [
    ["broken JSON", 'event: message_start\ndata: {"secret\n\n'],
    ["an event that is no object", "event: message_start\ndata: 7\n\n"],
    [
      "a delta of no block",
      `event: content_block_delta\ndata: {"type":"content_block_delta","index":3,"delta":{}}\n\n`
    ],
    ["a start without a message", `event: message_start\ndata: {"type":"message_start"}\n\n`]
  ]
  it.effect.each(streams)("%s in a stream is InvalidResponseError", ([, body]) =>
    Effect.gen(function* () {
      const server = yield* serve((response) =>
        response.writeHead(200, { "content-type": "text/event-stream" }).end(body)
      )
      const error = yield* Effect.flip(Stream.runDrain((yield* provider(server)).stream(request)))
      assert.strictEqual(error.reason._tag, "InvalidResponseError")
      assert.notInclude(shown(inspect, error), "secret")
    })
  )

  it.effect("a page in place of a stream is InvalidResponseError", () =>
    Effect.gen(function* () {
      const server = yield* serve((response) =>
        response.writeHead(200, { "content-type": "text/html" }).end("<html>Welcome</html>")
      )
      const error = yield* Effect.flip(Stream.runDrain((yield* provider(server)).stream(request)))
      assert.strictEqual(error.reason._tag, "InvalidResponseError")
    })
  )

  it.effect("tool arguments that are not JSON, or poison a prototype, are InvalidOutputError", () =>
    Effect.gen(function* () {
      for (const json of ['{"city": "Tir', '{"__proto__": {"admin": true}}']) {
        const server = yield* serve((response) =>
          events(response, [
            started,
            {
              type: "content_block_start",
              index: 0,
              content_block: { type: "tool_use", id: "t", name: "f", input: {} }
            },
            { type: "content_block_delta", index: 0, delta: { type: "input_json_delta", partial_json: json } },
            { type: "content_block_stop", index: 0 }
          ])
        )
        const error = yield* Effect.flip(Stream.runDrain((yield* provider(server)).stream(request)))
        assert.strictEqual(error.reason._tag, "InvalidOutputError")
        assert.notInclude(shown(inspect, error), "Tir")
      }
    })
  )
})
