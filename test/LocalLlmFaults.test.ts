/** Everything LocalLlm can be told to do wrong, as a client sees it over real HTTP. */
import { setImmediate } from "node:timers/promises"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Layer, Scope, Stream } from "effect"
import { pipe } from "effect/Function"
import * as TestClock from "effect/testing/TestClock"
import * as LlmProvider from "effect-ballast/LlmProvider"
import * as LocalLlm from "effect-ballast/LocalLlm"

interface Seen {
  readonly status: number
  readonly headers: Headers
  readonly text: string
  /** Whether the body broke off. */
  readonly broken: boolean
}

const fields = { model: "m", messages: [{ role: "user", content: "Who barks?" }] }

/** A request whose interruption aborts it; fails where no status line came. */
const ask = (more: object = {}, onText: (text: string) => void = () => undefined) =>
  Effect.flatMap(LocalLlm.LocalLlm, ({ url }) =>
    Effect.tryPromise(async (signal): Promise<Seen> => {
      const response = await fetch(`${url}/chat/completions`, {
        method: "POST",
        headers: { authorization: "Bearer any" },
        body: JSON.stringify({ ...fields, ...more }),
        signal
      })
      const { headers, status } = response
      let text = ""
      try {
        for await (const chunk of (response.body ?? assert.fail("no body")).pipeThrough(new TextDecoderStream())) {
          text += chunk
          onText(text)
        }
      } catch {
        return { status, headers, text, broken: true }
      }
      return { status, headers, text, broken: false }
    })
  )

const stream = { stream: true }

const eventsOf = ({ text }: { readonly text: string }) => text.split("\n\n").filter((event) => event !== "")

/** Lets sockets work until something holds; the clock of the test stands still. */
const until = (check: () => boolean) =>
  Effect.promise(async () => {
    for (let turn = 0; turn < 100_000 && !check(); turn++) await setImmediate()
    assert.isTrue(check(), "it never came to hold")
  })

const arrived = Effect.gen(function* () {
  const server = yield* LocalLlm.LocalLlm
  yield* until(() => Effect.runSync(server.requests).length > 0)
})

const closed = Effect.gen(function* () {
  const server = yield* LocalLlm.LocalLlm
  yield* until(() => Effect.runSync(server.requests).at(-1)?.closed === true)
})

const told = (...steps: ReadonlyArray<LocalLlm.Behaviour>) =>
  Effect.flatMap(LocalLlm.LocalLlm, (server) => server.script(...steps))

describe("LocalLlm.script", () => {
  it.layer(LocalLlm.layer())((it) => {
    it.effect("treats one request by one step, then goes on as before", () =>
      Effect.gen(function* () {
        const { behave, script } = yield* LocalLlm.LocalLlm
        yield* script(LocalLlm.status(500), LocalLlm.answer("scripted"))
        const [first, second, third] = yield* Effect.all([ask(), ask(), ask()])
        assert.strictEqual(first.status, 500)
        assert.include(second.text, '"content":"scripted"')
        assert.include(third.text, "This is LocalLlm")

        yield* behave(LocalLlm.status(503))
        yield* script(LocalLlm.status(500))
        const statuses = yield* Effect.all([ask(), ask(), ask()])
        assert.deepStrictEqual(
          statuses.map(({ status }) => status),
          [500, 503, 503]
        )
        yield* behave(undefined)
        assert.strictEqual((yield* ask()).status, 200)

        yield* script(LocalLlm.status(500), LocalLlm.status(500))
        yield* script()
        assert.strictEqual((yield* ask()).status, 200)
      })
    )
  })
})

describe("LocalLlm misbehaves", () => {
  it.layer(LocalLlm.layer())((it) => {
    it.effect("with a status and an error in OpenAI's form, or any body", () =>
      Effect.gen(function* () {
        yield* told(
          LocalLlm.status(429, { code: "insufficient_quota", message: "Pay." }),
          LocalLlm.status(503),
          LocalLlm.status(502, "<html>Bad gateway</html>"),
          LocalLlm.status(200, { message: "An error after all." })
        )
        const quota = yield* ask()
        assert.strictEqual(quota.status, 429)
        const error = { message: "Pay.", type: "invalid_request_error", param: null, code: "insufficient_quota" }
        assert.deepStrictEqual(JSON.parse(quota.text), { error })
        assert.deepInclude(JSON.parse((yield* ask(stream)).text).error, { type: "server_error", code: null })
        const html = yield* ask()
        assert.strictEqual(html.status, 502)
        assert.strictEqual(html.text, "<html>Bad gateway</html>")
        assert.strictEqual(html.headers.get("content-type"), "text/html")
        const fine = yield* ask()
        assert.strictEqual(fine.status, 200)
        assert.include(fine.text, '{"error":{"message":"An error after all."')
      })
    )

    it.effect("with rate limits, in the answer's headers", () =>
      Effect.gen(function* () {
        const limits = {
          requests: { limit: 60, remaining: 0, reset: "120 millis" },
          tokens: { limit: 90_000, remaining: 17, reset: 83_909_144 }
        } as const
        yield* told(
          LocalLlm.rateLimited("1500 millis"),
          LocalLlm.withRateLimits(LocalLlm.normal, limits),
          pipe(
            LocalLlm.status(503),
            LocalLlm.withHeaders({ "X-Should-Retry": "false" }),
            LocalLlm.withRetryAfter("2 seconds")
          )
        )
        const limited = yield* ask()
        assert.strictEqual(limited.status, 429)
        assert.strictEqual(limited.headers.get("retry-after"), "2")
        assert.strictEqual(limited.headers.get("retry-after-ms"), "1500")
        const { headers, status } = yield* ask()
        assert.strictEqual(status, 200)
        assert.strictEqual(headers.get("x-ratelimit-limit-requests"), "60")
        assert.strictEqual(headers.get("x-ratelimit-remaining-requests"), "0")
        assert.strictEqual(headers.get("x-ratelimit-reset-requests"), "120ms")
        assert.strictEqual(headers.get("x-ratelimit-remaining-tokens"), "17")
        assert.strictEqual(headers.get("x-ratelimit-reset-tokens"), "23h18m29.144s")
        const down = yield* ask()
        assert.strictEqual(down.status, 503)
        assert.strictEqual(down.headers.get("retry-after"), "2")
        assert.strictEqual(down.headers.get("x-should-retry"), "false")
      })
    )

    it.effect("with a scripted answer or tool call, whole and streamed", () =>
      Effect.gen(function* () {
        const call = LocalLlm.toolCall("clock", { zone: "UTC" })
        yield* told(LocalLlm.answer("two words"), LocalLlm.answer("two words"), call, call)
        assert.include((yield* ask()).text, '"content":"two words"')
        const streamed = yield* ask(stream)
        assert.include(streamed.text, '{"content":"two"}')
        assert.include(streamed.text, '{"content":" words"}')
        assert.include((yield* ask()).text, String.raw`"name":"clock","arguments":"{\"zone\":\"UTC\"}"`)
        assert.include((yield* ask(stream)).text, '"finish_reason":"tool_calls"')
      })
    )

    it.effect("with an answer that ends too early as if that were all", () =>
      Effect.gen(function* () {
        yield* told(LocalLlm.truncateAfter(3), LocalLlm.truncateAfter(0), LocalLlm.truncateAfter(2))
        const three = yield* ask(stream)
        assert.strictEqual(eventsOf(three).length, 3)
        assert.isFalse(three.broken)
        assert.notInclude(three.text, "[DONE]")
        const nothing = yield* ask(stream)
        assert.strictEqual(nothing.status, 200)
        assert.strictEqual(nothing.text, "")
        assert.strictEqual((yield* ask()).text.length, 128)
      })
    )

    it.effect("with an error in the middle of a stream, or instead of a whole answer", () =>
      Effect.gen(function* () {
        const error = { message: "Overloaded.", code: "server_error" }
        yield* told(LocalLlm.errorAfter(2, error), LocalLlm.errorAfter(2, error))
        const events = eventsOf(yield* ask(stream))
        assert.strictEqual(events.length, 3)
        assert.include(events[1], '"content":"This"')
        assert.include(events[2], 'data: {"error":{"message":"Overloaded."')
        const whole = yield* ask()
        assert.strictEqual(whole.status, 200)
        assert.deepInclude(JSON.parse(whole.text).error, error)
      })
    )

    it.effect("with garbage", () =>
      Effect.gen(function* () {
        yield* told(LocalLlm.garbage(), LocalLlm.garbage(), LocalLlm.garbage("<html>"))
        assert.strictEqual((yield* ask()).text, '{"choices": [')
        assert.strictEqual((yield* ask(stream)).text, 'data: {"choices": [\n\n')
        assert.strictEqual((yield* ask()).headers.get("content-type"), "text/html")
      })
    )

    it.effect("with a connection that is reset, before or after a few chunks", () =>
      Effect.gen(function* () {
        const server = yield* LocalLlm.LocalLlm
        yield* told(LocalLlm.resetAfter(0), LocalLlm.resetAfter(2))
        assert.isTrue(Exit.isFailure(yield* Effect.exit(ask(stream))))
        const two = yield* ask(stream)
        assert.isTrue(two.broken)
        assert.isAtMost(eventsOf(two).length, 2)
        const requests = yield* server.requests
        assert.isFalse(requests.at(-1)?.closed)
      })
    )
  })

  it.effect("with silence, until the client leaves, which is recorded", () =>
    Effect.gen(function* () {
      const server = yield* LocalLlm.LocalLlm
      yield* told(LocalLlm.hang)
      const fiber = yield* Effect.forkChild(ask())
      yield* arrived
      assert.isFalse((yield* server.requests)[0]?.closed)
      assert.isUndefined(fiber.pollUnsafe())
      yield* Fiber.interrupt(fiber)
      yield* closed
      assert.strictEqual((yield* ask()).status, 200)
    }).pipe(Effect.provide(LocalLlm.layer()))
  )

  it.effect("with silence after a few chunks", () =>
    Effect.gen(function* () {
      yield* told(LocalLlm.hangAfter(2))
      let seen = ""
      const fiber = yield* Effect.forkChild(ask(stream, (text) => void (seen = text)))
      yield* until(() => eventsOf({ text: seen }).length === 2)
      assert.isUndefined(fiber.pollUnsafe())
      yield* Fiber.interrupt(fiber)
      yield* closed
      assert.strictEqual(eventsOf({ text: seen }).length, 2)
    }).pipe(Effect.provide(LocalLlm.layer()))
  )

  it.effect("with a delay by the clock of the layer", () =>
    Effect.gen(function* () {
      yield* told(LocalLlm.withDelay(LocalLlm.status(500), "1 second"))
      const fiber = yield* Effect.forkChild(ask())
      yield* arrived
      yield* TestClock.adjust("999 millis")
      assert.isUndefined(fiber.pollUnsafe())
      yield* TestClock.adjust("1 millis")
      assert.strictEqual((yield* Fiber.join(fiber)).status, 500)
    }).pipe(Effect.provide(LocalLlm.layer()))
  )

  it.effect("with a pause between the events of a stream", () =>
    Effect.gen(function* () {
      let seen = ""
      const fiber = yield* Effect.forkChild(ask(stream, (text) => void (seen = text)))
      const count = () => eventsOf({ text: seen }).length
      yield* until(() => count() === 1)
      yield* TestClock.adjust("49 millis")
      assert.strictEqual(count(), 1)
      yield* TestClock.adjust("1 millis")
      yield* until(() => count() === 2)
      yield* Fiber.interrupt(fiber)
      yield* closed
    }).pipe(Effect.provide(LocalLlm.layer({ chunkDelay: "50 millis" })))
  )

  it.effect("and ends every socket at once when its layer closes, hung ones too", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const context = yield* Scope.provide(Layer.build(LocalLlm.layer()), scope)
      const hung = yield* Effect.gen(function* () {
        yield* told(LocalLlm.hang, LocalLlm.hangAfter(1))
        const silent = yield* Effect.forkChild(Effect.exit(ask()))
        yield* arrived
        let seen = ""
        const half = yield* Effect.forkChild(ask(stream, (text) => void (seen = text)))
        yield* until(() => seen !== "")
        return { silent, half }
      }).pipe(Effect.provide(context))
      yield* Scope.close(scope, Exit.void)
      assert.isTrue(Exit.isFailure(yield* Fiber.join(hung.silent)))
      assert.isTrue((yield* Fiber.join(hung.half)).broken)
      assert.isTrue(Exit.isFailure(yield* Effect.exit(Effect.provide(ask(), context))))
    })
  )
})

describe("LocalLlm's faults, through the provider", () => {
  const failure = (behaviour: LocalLlm.Behaviour, run: Effect.Effect<unknown, unknown, LlmProvider.LlmProvider>) =>
    Effect.andThen(told(behaviour), Effect.flip(run))
  const generated = LlmProvider.generate("Who barks?")
  const streamed = Stream.runDrain(LlmProvider.stream("Who barks?"))

  it.layer(LocalLlm.layerProvider())((it) => {
    it.effect.each<readonly [string, LocalLlm.Behaviour, reason: string, whole: boolean]>([
      ["a rate limit", LocalLlm.rateLimited("2 seconds"), "RateLimitError", true],
      ["an overload", LocalLlm.status(503), "InternalProviderError", true],
      ["a bad key", LocalLlm.status(401, { code: "invalid_api_key" }), "AuthenticationError", true],
      ["a reset", LocalLlm.resetAfter(0), "NetworkError", true],
      ["garbage", LocalLlm.garbage("<html>"), "InvalidResponseError", true],
      ["a truncated stream", LocalLlm.truncateAfter(3), "InternalProviderError", false],
      ["an error in a stream", LocalLlm.errorAfter(2, { type: "server_error" }), "InternalProviderError", false]
    ])("%s is a typed error", ([, behaviour, reason, whole]) =>
      Effect.gen(function* () {
        const error = yield* failure(behaviour, whole ? generated : streamed)
        assert.nestedPropertyVal(error, "reason._tag", reason)
        assert.strictEqual((yield* generated).finishReason, "stop")
      })
    )
  })

  it.effect("leaving a call or a stream is seen by the server", () =>
    Effect.gen(function* () {
      const { requests } = yield* LocalLlm.LocalLlm
      yield* told(LocalLlm.hang, LocalLlm.hangAfter(3))
      const fiber = yield* Effect.forkChild(generated)
      yield* arrived
      yield* Fiber.interrupt(fiber)
      yield* closed
      const words = yield* Stream.mkString(Stream.take(LlmProvider.streamText("Who barks?"), 2))
      assert.strictEqual(words, "This is")
      yield* closed
      assert.deepStrictEqual(
        (yield* requests).map((request) => request.closed),
        [true, true]
      )
    }).pipe(Effect.provide(LocalLlm.layerProvider()))
  )
})

describe("Behaviours that can never be", () => {
  it.each<readonly [string, () => unknown]>([
    ["LocalLlm.status: status must be an integer from 200 to 599, got 199", () => LocalLlm.status(199)],
    ["LocalLlm.status: status must be an integer from 200 to 599, got 600", () => LocalLlm.status(600)],
    ["LocalLlm.truncateAfter: count must be an integer >= 0, got -1", () => LocalLlm.truncateAfter(-1)],
    ["LocalLlm.resetAfter: count must be an integer >= 0, got 0.5", () => LocalLlm.resetAfter(0.5)],
    ["LocalLlm.hangAfter: count must be an integer >= 0, got NaN", () => LocalLlm.hangAfter(Number.NaN)],
    ["LocalLlm.errorAfter: count must be an integer >= 0, got -1", () => LocalLlm.errorAfter(-1)],
    ["LocalLlm.withDelay: delay must be a duration >= 0, got -1", () => LocalLlm.withDelay(LocalLlm.normal, -1)],
    ["LocalLlm.withRetryAfter: retryAfter must be finite", () => LocalLlm.rateLimited(Infinity)],
    ["LocalLlm.withHeaders", () => LocalLlm.withHeaders(LocalLlm.normal, { "a b": "c" })],
    ["LocalLlm.withHeaders", () => LocalLlm.withHeaders(LocalLlm.normal, { a: "b\r\nc: d" })],
    ["LocalLlm.toolCall: arguments must be JSON", () => LocalLlm.toolCall("f", undefined)]
  ])("throw %s", (message, make) => {
    assert.throws(make, RangeError, message)
  })
})
