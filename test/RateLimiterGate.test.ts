import { assert, describe, it } from "@effect/vitest"
import { Context, Duration, Effect, Fiber, Layer, Stream } from "effect"
import { AiError } from "effect/ai"
import { TestClock } from "effect/testing"
import { Attempts, Caller, LlmProvider, LlmRequest, QuotaStore, RateLimiter, Resilient, Tokens } from "effect-ballast"
import * as Gate from "effect-ballast/Gate"
import { CircuitOpen, LlmError, type Phase, type Reason } from "effect-ballast/LlmError"
import type { Usage } from "effect-ballast/LlmResponse"
import { TestProvider } from "effect-ballast/testing"
import { isWaiting, left, limited, limiter, Log, request } from "./support/limiters.ts"
import { ask, counts, type Method, methods } from "./support/providers.ts"

const fork = <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.forkChild(self, { startImmediately: true })

const short = LlmRequest.makeUnsafe({ prompt: "What is ballast?", maxOutputTokens: 100 })
const input = Tokens.approximate.estimate(short).input

const usage = (input: number, output: number, cacheRead = 0): Usage => ({
  inputTokens: { total: input, uncached: input - cacheRead, cacheRead },
  outputTokens: { total: output }
})

const failing = (reason: Reason, phase: Phase, retryAfter?: Duration.Duration) =>
  new LlmError({ provider: "test", model: "test-model", reason, phase, retryAfter })

const rateLimited = (retryAfter?: Duration.Duration) => failing(new AiError.RateLimitError({}), "sent", retryAfter)

const overloaded = new AiError.InternalProviderError({ description: "overloaded" })

/** The finish part of an answer with headers. */
const answering = (headers: Record<string, string>): TestProvider.Step => [
  { type: "text", text: "ok" },
  {
    type: "finish",
    reason: "stop",
    usage: usage(input, 5),
    // only the headers are read
    response: { status: 200, headers }
  }
]

const network = { reason: "TransportError", method: "POST", url: "https://example.com" } as const

const limits = { requestsPerMinute: 100, tokensPerMinute: 10_000 }

describe("what a call leaves taken", () => {
  const refusing: Gate.Admitting = {
    _tag: "Admitting",
    name: "closed",
    admit: () => Effect.fail(new CircuitOpen({ circuit: "c" }))
  }
  const none: Usage = { inputTokens: {}, outputTokens: {} }
  const rows: ReadonlyArray<
    readonly [name: string, step: TestProvider.Step, requests: number, tokens: number, gates?: ReadonlyArray<Gate.Gate>]
  > = [
    ["an answer with its usage", TestProvider.paced("ok", { usage: usage(7, 3) }), 1, 10],
    ["an answer that was longer than expected", TestProvider.paced("ok", { usage: usage(70, 500) }), 1, 570],
    ["an answer without usage", TestProvider.paced("ok", { usage: none }), 1, input + 100],
    ["a refused connection", failing(new AiError.NetworkError(network), "connecting"), 0, 0],
    ["a lost connection", failing(new AiError.NetworkError(network), "sent"), 1, input + 100],
    ["a 429", rateLimited(), 1, 0],
    ["a 500", failing(overloaded, "sent"), 1, 0],
    ["a failure in the answer", failing(overloaded, "answered"), 1, input + 100],
    ["a content filter", TestProvider.paced("", { finishReason: "content-filter", usage: usage(8, 1) }), 1, 9],
    ["another gate's refusal", "ok", 0, 0, [refusing]],
    ["a defect", Effect.die("bug"), 1, input + 100]
  ]
  for (const [name, step, requests, tokens, gates = []] of rows)
    it.effect.each(methods)(`${name}, by %s`, (method: Method) =>
      Effect.gen(function* () {
        const limiting = yield* limiter(limits)
        const inner = TestProvider.make({ steps: [step] })
        yield* Effect.exit(ask(Gate.through([limiting.gate, ...gates])(inner), method, short))
        assert.strictEqual(yield* left(limiting, { provider: inner }, "requestsPerMinute"), 100 - requests)
        assert.strictEqual(yield* left(limiting, { provider: inner }, "tokensPerMinute"), 10_000 - tokens)
      })
    )

  it.effect("an interrupted call: its estimate", () =>
    Effect.gen(function* () {
      const { inner, limits: limiting, provider } = yield* limited(limits, [TestProvider.hanging])
      const call = yield* fork(provider.generate(short))
      yield* Fiber.interrupt(call)
      assert.strictEqual(yield* left(limiting, { provider: inner }, "tokensPerMinute"), 10_000 - input - 100)
    })
  )

  it.effect("a stream that its reader leaves: its estimate; one that nobody reads: nothing", () =>
    Effect.gen(function* () {
      const { inner, limits: limiting, provider } = yield* limited(limits, ["one two three"])
      const remaining = left(limiting, { provider: inner }, "tokensPerMinute")
      yield* Stream.runDrain(Stream.take(provider.stream(short), 0))
      assert.strictEqual(yield* remaining, 10_000)
      yield* Stream.runDrain(Stream.take(provider.stream(short), 2))
      assert.strictEqual(yield* remaining, 10_000 - input - 100)
      yield* Stream.runDrain(provider.stream(short))
      assert.strictEqual(yield* remaining, 10_000 - input - 100 - 10 - 5)
    })
  )

  it.effect("a stream holds its place among the concurrent ones until its end", () =>
    Effect.gen(function* () {
      const script = TestProvider.paced("a b", { every: "1 second" })
      const { inner, limits: limiting, provider } = yield* limited({ concurrency: 1 }, [script])
      const free = left(limiting, { provider: inner }, "concurrency")
      const reading = yield* fork(Stream.runDrain(provider.stream(request)))
      yield* TestClock.adjust("3 seconds")
      assert.strictEqual(yield* free, 0)
      yield* TestClock.adjust("10 seconds")
      yield* Fiber.join(reading)
      assert.strictEqual(yield* free, 1)
    })
  )
})

describe("what is expected", () => {
  it.effect("is 500 tokens of output, and then what 95 in 100 answers of the feature had", () =>
    Effect.gen(function* () {
      const step = TestProvider.paced("ok", { usage: usage(input, 40) })
      const {
        inner,
        limits: limiting,
        provider
      } = yield* limited({ tokensPerMinute: 1_000_000 }, [
        ...Array.from({ length: 20 }, () => step),
        TestProvider.hanging
      ])
      const reserved = Effect.gen(function* () {
        const before = yield* left(limiting, { provider: inner }, "tokensPerMinute")
        const call = yield* fork(provider.generate(request))
        const after = yield* left(limiting, { provider: inner }, "tokensPerMinute")
        yield* Fiber.interrupt(call)
        return (before ?? 0) - (after ?? 0)
      })
      for (let i = 0; i < 20; i++) yield* provider.generate(request)
      assert.strictEqual(yield* reserved, input + 40)
      assert.strictEqual(yield* Caller.provide(reserved, { feature: "other" }), input + 500)
    })
  )

  it.effect("is counted as the provider counts", () =>
    Effect.gen(function* () {
      const taken = (count: RateLimiter.TokenCount, answer: Usage) =>
        Effect.gen(function* () {
          const step = TestProvider.paced("ok", { usage: answer })
          const { inner, limits: limiting, provider } = yield* limited({ tokensPerMinute: 10_000, count }, [step])
          yield* provider.generate(short)
          return 10_000 - ((yield* left(limiting, { provider: inner }, "tokensPerMinute")) ?? 0)
        })
      assert.strictEqual(yield* taken("usage", usage(90, 20, 80)), 110)
      assert.strictEqual(yield* taken("anthropic", usage(90, 20, 80)), 30)
      assert.strictEqual(yield* taken("openai", usage(1, 20)), input + 100)
      assert.strictEqual(yield* taken("openai", usage(90, 200)), 290)
      const double: RateLimiter.TokenCount = ({ outputTokens }) => ({ input: 0, output: 2 * (outputTokens.total ?? 0) })
      assert.strictEqual(yield* taken(double, usage(90, 20)), 40)
      const broken: RateLimiter.TokenCount = () => ({ input: Number.NaN, output: -1 })
      assert.strictEqual(yield* taken(broken, usage(90, 20)), input + 100)
    })
  )
})

describe("a request", () => {
  it.effect("that is larger than the bucket fails at once and reaches nobody", () =>
    Effect.gen(function* () {
      const { inner, provider } = yield* limited({ tokensPerMinute: 100 })
      const failure = yield* Effect.flip(provider.generate(LlmRequest.makeUnsafe("x ".repeat(1000))))
      assert.deepInclude(failure.reason, { _tag: "RateLimitExceeded", why: "larger-than-limit" })
      assert.deepStrictEqual(counts(inner), [0])
    })
  )

  it.effect("waits for its tokens and not for those it gets back", () =>
    Effect.gen(function* () {
      const quick = TestProvider.paced("ok", { firstPart: "2 seconds", usage: usage(input, 10) })
      const { provider } = yield* limited({ tokensPerMinute: 2 * (input + 100) }, [quick])
      const log = yield* Log.make
      for (const i of [1, 2, 3]) yield* fork(Effect.andThen(provider.generate(short), log.note(i)))
      yield* TestClock.adjust("1 minute")
      // the third one went when the first two gave back what they did not use, after two seconds
      assert.deepStrictEqual(log.times, [2000, 2000, 4000])
    })
  )

  it.effect("of a hedge does not wait", () =>
    Effect.gen(function* () {
      const { provider } = yield* limited({ requestsPerMinute: 1, maxWait: "2 minutes" })
      yield* provider.generate(request)
      const hedge = Effect.provideService(provider.generate(request), Attempts.MayWait, false)
      assert.deepInclude((yield* Effect.flip(hedge)).reason, { _tag: "RateLimitExceeded", why: "limited" })
      const waiting = yield* fork(provider.generate(request))
      assert.isTrue(isWaiting(waiting))
      assert.deepInclude((yield* Effect.flip(hedge)).reason, { _tag: "RateLimitExceeded", why: "limited" })
      assert.isTrue(isWaiting(waiting))
    })
  )

  it.effect("that is tried again keeps its place among those of its tenant", () =>
    Effect.gen(function* () {
      const limiting = yield* limiter({ concurrency: 1 })
      const log = yield* Log.make
      const inner = TestProvider.make({
        steps: [TestProvider.failing(overloaded, "1 second"), ...Array.from({ length: 9 }, () => slow)]
      })
      const stack = Resilient.make({ retry: { base: "2 millis", times: 1 } }, 1)([inner], [limiting.gate])
      const holder = yield* fork(limiting.withPermits({ key: "x" })(Effect.void))
      yield* Fiber.join(holder)
      for (const name of ["blocker", "first", "second", "third"]) {
        yield* fork(Effect.andThen(Effect.exit(stack.generate(request)), log.note(name)))
        yield* TestClock.adjust("1 millis")
      }
      yield* TestClock.adjust("1 minute")
      // the blocker had not waited before it failed; the first had, and failed never
      assert.deepStrictEqual(log.names, ["first", "second", "third", "blocker"])
    })
  )
})

const slow = TestProvider.paced("ok", { firstPart: "1 second" })

describe("a 429", () => {
  const paused = (retryAfter: Duration.Duration | undefined, options: Partial<RateLimiter.Options> = {}) =>
    Effect.gen(function* () {
      const { inner, provider } = yield* limited({ requestsPerMinute: 6000, maxWait: "2 minutes", ...options }, [
        rateLimited(retryAfter),
        "ok"
      ])
      yield* Effect.flip(provider.generate(request))
      const call = yield* fork(provider.generate(request))
      for (let millis = 0; isWaiting(call); millis += 250) {
        if (millis > 120_000) return assert.fail("never went")
        yield* TestClock.adjust("250 millis")
        if (!isWaiting(call)) return { waited: millis + 250, calls: counts(inner) }
      }
      return { waited: 0, calls: counts(inner) }
    })

  it.effect("pauses the siblings for as long as it says, for 5 seconds where it does not, for a minute at most", () =>
    Effect.gen(function* () {
      assert.strictEqual((yield* paused(Duration.seconds(7))).waited, 7000)
      assert.strictEqual((yield* paused(undefined)).waited, 5000)
      assert.strictEqual((yield* paused(undefined, { pause: "2 seconds" })).waited, 2000)
      assert.strictEqual((yield* paused(Duration.days(1))).waited, 60_000)
      assert.strictEqual((yield* paused(Duration.zero)).waited, 0)
    })
  )

  it.effect("lets one of them try when its pause is over, and the others when that one got through", () =>
    Effect.gen(function* () {
      const { inner, provider } = yield* limited({ requestsPerMinute: 6000 }, [
        rateLimited(Duration.seconds(10)),
        TestProvider.failing(rateLimited(Duration.seconds(10)), "1 second"),
        slow
      ])
      yield* Effect.flip(provider.generate(request))
      const calls = yield* Effect.forEach(Array(20).keys(), () => fork(Effect.exit(provider.generate(request))))
      yield* TestClock.adjust("9999 millis")
      assert.deepStrictEqual(counts(inner), [1])
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual(counts(inner), [2])
      // it is told the same: another pause, another one that tries
      yield* TestClock.adjust("10999 millis")
      assert.deepStrictEqual(counts(inner), [2])
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual(counts(inner), [3])
      yield* TestClock.adjust("999 millis")
      assert.deepStrictEqual(counts(inner), [3])
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual(counts(inner), [21])
      yield* TestClock.adjust("1 second")
      assert.isFalse(calls.some(isWaiting))
    })
  )

  it.effect("keeps the others no longer than 5 seconds behind the one that tries", () =>
    Effect.gen(function* () {
      const { inner, provider } = yield* limited({ requestsPerMinute: 6000 }, [
        rateLimited(Duration.seconds(1)),
        TestProvider.hanging,
        "ok"
      ])
      yield* Effect.flip(provider.generate(request))
      yield* fork(provider.generate(request))
      const other = yield* fork(provider.generate(request))
      yield* TestClock.adjust("5999 millis")
      assert.deepStrictEqual(counts(inner), [2])
      yield* TestClock.adjust("1 millis")
      yield* Fiber.join(other)
    })
  )

  it.effect("does not hold a hedge or a call with onLimit: fail, which fail at once", () =>
    Effect.gen(function* () {
      const { provider } = yield* limited({ requestsPerMinute: 60, onLimit: "fail" }, [
        rateLimited(Duration.seconds(9))
      ])
      yield* Effect.flip(provider.generate(request))
      const failure = yield* Effect.flip(provider.generate(request))
      assert.deepInclude(failure.reason, { _tag: "RateLimitExceeded", limit: "pause", why: "limited" })
      assert.strictEqual(Duration.toMillis(failure.retryAfter ?? 0), 9000)
    })
  )

  it.effect("of another provider pauses nobody here", () =>
    Effect.gen(function* () {
      const limiting = yield* limiter({ requestsPerMinute: 60 })
      const busy = TestProvider.make({ provider: "busy", steps: [rateLimited()] })
      const idle = TestProvider.make({ provider: "idle" })
      yield* Effect.flip(Gate.through([limiting.gate])(busy).generate(request))
      yield* Gate.through([limiting.gate])(idle).generate(request)
    })
  )
})

describe("headers", () => {
  const after = (headers: Record<string, string>, options: RateLimiter.Options = { requestsPerMinute: 100 }) =>
    Effect.gen(function* () {
      const { inner, limits: limiting, provider } = yield* limited(options, [answering(headers)])
      yield* provider.generate(short)
      return (yield* limiting.state({ provider: inner })).map(({ remaining }) => remaining)
    })
  const openai = (limit: string, remaining: string, reset = "1m0s") => ({
    "x-ratelimit-limit-requests": limit,
    "x-ratelimit-remaining-requests": remaining,
    "x-ratelimit-reset-requests": reset
  })

  it.effect("lower what is left, and never raise it", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* after(openai("100", "7")), [7])
      assert.deepStrictEqual(yield* after(openai("100", "0")), [0])
      assert.deepStrictEqual(yield* after(openai("100", "100")), [99])
    })
  )

  it.effect("of a limit above ours speak of something else", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* after(openai("101", "7", "23h18m29.144s")), [99])
      assert.deepStrictEqual(yield* after(openai("100", "7"), { requestsPerMinute: 99 }), [98])
    })
  )

  it.effect("lower it for no longer than their reset, or a minute", () =>
    Effect.gen(function* () {
      // whole again in 6 seconds: a tenth of the bucket may be gone
      assert.deepStrictEqual(yield* after(openai("100", "7", "6s")), [90])
      const slow = { limits: [{ count: "requests", limit: 100, per: "10 minutes" }] } as const
      assert.deepStrictEqual(yield* after(openai("100", "7", "10m0s"), slow), [90])
    })
  )

  it.effect("that are no numbers say nothing", () =>
    Effect.gen(function* () {
      for (const text of ["", " ", "many", "-1", "1.5", "1e3", "NaN", "Infinity", "9".repeat(40), "0x10"]) {
        assert.deepStrictEqual(yield* after(openai("100", text)), [99])
        assert.deepStrictEqual(yield* after(openai(text, "7")), [99])
      }
      // without a reset that can be read, a minute
      assert.deepStrictEqual(yield* after(openai("100", "7", "soon")), [7])
    })
  )

  it.effect("of Anthropic are read by what they count", () =>
    Effect.gen(function* () {
      const headers = Object.fromEntries(
        ["requests", "tokens", "input-tokens", "output-tokens"].flatMap((name, i) => [
          [`anthropic-ratelimit-${name}-limit`, "1000"],
          [`anthropic-ratelimit-${name}-remaining`, `${i + 1}`],
          [`anthropic-ratelimit-${name}-reset`, "1970-01-01T00:01:00Z"]
        ])
      )
      const options = {
        requestsPerMinute: 1000,
        tokensPerMinute: 1000,
        inputTokensPerMinute: 1000,
        outputTokensPerMinute: 1000
      }
      assert.deepStrictEqual(yield* after(headers, options), [1, 2, 3, 4])
    })
  )

  it.effect("of an older call are not heeded", () =>
    Effect.gen(function* () {
      const older = TestProvider.failing(overloaded, "10 seconds")
      const {
        inner,
        limits: limiting,
        provider
      } = yield* limited({ requestsPerMinute: 60 }, [
        Effect.as(Effect.sleep("10 seconds"), answering(openai("60", "5"))),
        answering(openai("60", "50")),
        older
      ])
      yield* fork(provider.generate(short))
      yield* TestClock.adjust("1 second")
      yield* provider.generate(short)
      assert.deepStrictEqual((yield* limiting.state({ provider: inner }))[0]?.remaining, 50)
      yield* TestClock.adjust("9 seconds")
      assert.deepStrictEqual((yield* limiting.state({ provider: inner }))[0]?.remaining, 59)
    })
  )

  it.effect("of a 429 count as well", () =>
    Effect.gen(function* () {
      const http = { response: { status: 429, headers: openai("100", "0") } }
      const reason = new AiError.RateLimitError({ http })
      const {
        inner,
        limits: limiting,
        provider
      } = yield* limited({ requestsPerMinute: 100 }, [failing(reason, "sent")])
      yield* Effect.flip(provider.generate(short))
      assert.deepStrictEqual((yield* limiting.state({ provider: inner }))[0]?.remaining, 0)
    })
  )
})

describe("a shadow", () => {
  it.effect("lets every call go and counts it as if it did not", () =>
    Effect.gen(function* () {
      const { inner, limits: limiting, provider } = yield* limited({ requestsPerMinute: 2, mode: "shadow" })
      for (const method of [...methods, ...methods]) yield* ask(provider, method, request)
      assert.deepStrictEqual(counts(inner), [4])
      assert.strictEqual(yield* left(limiting, { provider: inner }, "requestsPerMinute"), 0)
    })
  )

  it.effect("settles what it counted", () =>
    Effect.gen(function* () {
      const step = TestProvider.paced("ok", { usage: usage(7, 3) })
      const { inner, limits: limiting, provider } = yield* limited({ tokensPerMinute: 1000, mode: "shadow" }, [step])
      yield* provider.generate(short)
      assert.strictEqual(yield* left(limiting, { provider: inner }, "tokensPerMinute"), 990)
    })
  )
})

describe("the slot of Resilient", () => {
  const provider = TestProvider.layer({ steps: ["ok"] })

  it.effect("limits the calls of the stack, and provides the limiter", () =>
    Effect.gen(function* () {
      const llm = Resilient.layer({
        providers: [provider],
        rateLimiter: { requestsPerMinute: 60, burst: "1 second" }
      }).pipe(Layer.provide(QuotaStore.layerMemory))
      const services = yield* Layer.build(llm)
      const stack = Context.get(services, LlmProvider.LlmProvider)
      const log = yield* Log.make
      for (const i of [1, 2, 3]) yield* fork(Effect.andThen(stack.generate(request), log.note(i)))
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(log.times, [0, 1000, 2000])
      const limits = Context.get(services, RateLimiter.RateLimiter)
      assert.strictEqual(yield* left(limits, { provider: stack }, "requestsPerMinute"), 1)
    })
  )

  it.effect("fails over to the next provider where the first is limited for too long", () =>
    Effect.gen(function* () {
      const limiting = yield* limiter({ requestsPerMinute: 1, maxWait: 0 })
      const providers = ["first", "second"].map((name) => TestProvider.make({ provider: name }))
      const [first = assert.fail(), second = assert.fail()] = providers
      const stack = Resilient.make({ retry: {} }, 2)([first, second], [limiting.gate])
      assert.strictEqual((yield* stack.generate(request)).provider, "first")
      assert.strictEqual((yield* stack.generate(request)).provider, "second")
      const failure = yield* Effect.flip(stack.generate(request))
      assert.strictEqual(failure.reason._tag, "RateLimitExceeded")
      assert.deepStrictEqual(counts(...providers), [1, 1])
    })
  )

  it("refuses limits that can never work when the layer is made", () => {
    assert.throws(() => Resilient.layer({ providers: [provider], rateLimiter: {} }), /needs at least one limit/)
  })

  it.effect("is a policy over a layer, too", () =>
    Effect.gen(function* () {
      yield* LlmProvider.generate("one")
      assert.strictEqual((yield* RateLimiter.state({ provider: yield* LlmProvider.LlmProvider }))[0]?.remaining, 59)
    }).pipe(
      Effect.provide(
        provider.pipe(RateLimiter.withRateLimiter({ requestsPerMinute: 60 }), Layer.provide(QuotaStore.layerMemory))
      )
    )
  )
})
