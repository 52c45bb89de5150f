import { assert, describe, it } from "@effect/vitest"
import { Clock, Config, ConfigProvider, Duration, Effect, Exit, Fiber, Layer, Stream } from "effect"
import { AiError } from "effect/ai"
import { TestClock } from "effect/testing"
import * as Deadline from "effect-ballast/Deadline"
import * as LlmError from "effect-ballast/LlmError"
import * as LlmProvider from "effect-ballast/LlmProvider"
import { makeUnsafe } from "effect-ballast/LlmRequest"
import { collectParts } from "effect-ballast/LlmResponse"
import * as Resilient from "effect-ballast/Resilient"
import { TestProvider } from "effect-ballast/testing"

const request = makeUnsafe("hi")
const internal = new AiError.InternalProviderError({ description: "boom" })

const failure = (reason: LlmError.Reason, more: { phase?: LlmError.Phase; retryAfter?: Duration.Duration } = {}) =>
  new LlmError.LlmError({ provider: "first", model: "m", reason, phase: "sent", ...more })

const named = (provider: string, ...steps: ReadonlyArray<TestProvider.Step>) => TestProvider.make({ provider, steps })

const stack = (slots: Resilient.Slots, ...providers: readonly [TestProvider.Service, ...Array<TestProvider.Service>]) =>
  Resilient.make(slots, providers.length)(providers)

/** Runs to the end however long it waits, and gives the virtual milliseconds it took. */
const timed = <A, E, R>(self: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const began = yield* Clock.currentTimeMillis
    const fiber = yield* Effect.forkChild(
      Effect.flatMap(Effect.exit(self), (exit) =>
        Effect.map(Clock.currentTimeMillis, (now) => ({ exit, took: now - began }))
      )
    )
    yield* TestClock.adjust("2 hours")
    return yield* Fiber.join(fiber)
  })

describe("an outage of the first provider", () => {
  it.effect("becomes a slower answer of the second", () =>
    Effect.gen(function* () {
      const first = named("first", internal)
      const second = named("second", "from the second")
      const { exit, took } = yield* timed(stack({ retry: {} }, first, second).generate(request))
      const answer = yield* exit
      assert.strictEqual(answer.text, "from the second")
      assert.strictEqual(answer.provider, "second")
      assert.deepStrictEqual([first.calls.length, second.calls.length], [2, 1])
      assert.isAtMost(took, 1000)
    })
  )

  it.effect("does the same for a stream, without a trace of the first", () =>
    Effect.gen(function* () {
      const first = named("first", TestProvider.broken(TestProvider.paced("never seen"), 1, internal))
      const second = named("second", "from the second")
      const { exit } = yield* timed(Stream.runCollect(stack({ retry: {} }, first, second).stream(request)))
      const parts = yield* exit
      assert.deepStrictEqual(
        collectParts(parts).map((part) => (part.type === "text" ? part.text : part.type)),
        ["from the second", "finish"]
      )
      const finish = parts.find((part) => part.type === "finish")
      assert.deepInclude(finish?.metadata?.["ballast"], { provider: "second" })
    })
  )

  it.effect("of ten minutes under a thousand calls stays within the retry budget of each provider", () =>
    Effect.gen(function* () {
      const first = named("first", internal)
      const second = named("second", "fine")
      const service = stack({ retry: { times: 4, timesBeforeFallback: 4 } }, first, second)
      const calls = Effect.forEach(
        Array.from({ length: 1000 }, (_, i) => i * 600),
        (at) => Effect.andThen(Effect.sleep(at), Effect.exit(service.generate(request))),
        { concurrency: "unbounded" }
      )
      const { exit } = yield* timed(calls)
      assert.isTrue((yield* exit).every(Exit.isSuccess))
      assert.isAtMost(first.calls.length, 1000 + 0.2 * 1000 + 10 * 61 + 100)
      assert.strictEqual(second.calls.length, 1000)
    })
  )

  it.effect("a retryAfter of ten minutes under a deadline of thirty seconds moves on at once", () =>
    Effect.gen(function* () {
      const busy = failure(new AiError.RateLimitError({}), { retryAfter: Duration.minutes(10) })
      const first = named("first", busy)
      const second = named("second", "at once")
      const call = Deadline.within(stack({ retry: {} }, first, second).generate(request), "30 seconds")
      const { exit, took } = yield* timed(call)
      assert.strictEqual((yield* exit).text, "at once")
      assert.strictEqual(took, 0)
      assert.deepStrictEqual([first.calls.length, second.calls.length], [1, 1])
    })
  )
})

const network = new AiError.NetworkError({ reason: "TransportError", method: "POST", url: "https://a.example" })
const timedOut = (phase: LlmError.TimedOut["phase"]) => new LlmError.TimedOut({ phase, after: Duration.seconds(1) })

describe("every row of the table, through the whole stack", () => {
  const { consequences } = LlmError
  const samples: Record<keyof typeof consequences, LlmError.LlmError> = {
    RateLimitError: failure(new AiError.RateLimitError({})),
    QuotaExhaustedError: failure(new AiError.QuotaExhaustedError({})),
    AuthenticationError: failure(new AiError.AuthenticationError({ kind: "InvalidKey" })),
    "AuthenticationError/InsufficientPermissions": failure(
      new AiError.AuthenticationError({ kind: "InsufficientPermissions" })
    ),
    ModelUnavailable: failure(new LlmError.ModelUnavailable({})),
    ContextOverflow: failure(new LlmError.ContextOverflow({})),
    InvalidRequestError: failure(new AiError.InvalidRequestError({})),
    ContentPolicyError: failure(new AiError.ContentPolicyError({ description: "d" })),
    InternalProviderError: failure(internal),
    "InternalProviderError/answered": failure(internal, { phase: "answered" }),
    NetworkError: failure(network),
    "NetworkError/connecting": failure(network, { phase: "connecting" }),
    TimedOut: failure(timedOut("attempt")),
    "TimedOut/total": failure(timedOut("total")),
    StreamInterrupted: failure(new LlmError.StreamInterrupted({ interruptedBy: "X", delivered: [] })),
    InvalidOutputError: failure(new AiError.InvalidOutputError({ description: "d" })),
    StructuredOutputError: failure(new AiError.StructuredOutputError({ description: "d", responseText: "" })),
    UnknownError: failure(new AiError.UnknownError({})),
    InvalidResponseError: failure(new AiError.InvalidResponseError({ description: "d" })),
    CircuitOpen: failure(new LlmError.CircuitOpen({ circuit: "c" }), { phase: "refused" }),
    RateLimitExceeded: failure(new LlmError.RateLimitExceeded({ limit: "l", why: "limited" }), { phase: "refused" }),
    StoreUnavailable: failure(new LlmError.StoreUnavailable({ store: "s", operation: "o" }), { phase: "refused" }),
    BudgetExceeded: failure(
      new LlmError.BudgetExceeded({ budget: "b", window: "day", limit: 1, remaining: 0, requested: 1 }),
      { phase: "refused" }
    ),
    "BudgetExceeded/final": failure(
      new LlmError.BudgetExceeded({ budget: "b", window: "day", limit: 1, remaining: 0, requested: 1, final: true }),
      { phase: "refused" }
    ),
    Unpriced: failure(new LlmError.Unpriced(), { phase: "refused" }),
    InputRejected: failure(new LlmError.InputRejected({ guard: "g", description: "d" }), { phase: "refused" }),
    OutputRejected: failure(new LlmError.OutputRejected({ guard: "g", description: "d", released: false })),
    UnsupportedSchemaError: failure(new AiError.UnsupportedSchemaError({ description: "d" })),
    InvalidUserInputError: failure(new AiError.InvalidUserInputError({ description: "d" })),
    ToolNotFoundError: failure(new AiError.ToolNotFoundError({ toolName: "t", availableTools: [] })),
    ToolParameterValidationError: failure(
      new AiError.ToolParameterValidationError({ toolName: "t", description: "d" })
    ),
    InvalidToolResultError: failure(new AiError.InvalidToolResultError({ toolName: "t", description: "d" })),
    ToolResultEncodingError: failure(
      new AiError.ToolResultEncodingError({ toolName: "t", toolResult: null, description: "d" })
    ),
    ToolConfigurationError: failure(new AiError.ToolConfigurationError({ toolName: "t", description: "d" })),
    ToolkitRequiredError: failure(new AiError.ToolkitRequiredError({ pendingApprovals: [] }))
  }

  const rows = Object.entries(consequences).map(([name, row]) => ({ name: name as keyof typeof samples, row }))
  const callsAtFirst = { yes: 3, lost: 2, no: 1 } as const

  it.effect.each(
    rows.flatMap((row) => [
      { ...row, method: "generate" as const },
      { ...row, method: "stream" as const }
    ])
  )("$name, $method", ({ method, name, row }) =>
    Effect.gen(function* () {
      const first = named("first", samples[name])
      const second = named("second", "second")
      const slots = { retry: { timesBeforeFallback: 2 }, degrade: { static: "static" } }
      const service = stack(slots, first, second)
      const { exit } = yield* timed(
        method === "generate"
          ? Effect.map(service.generate(request), (answer) => answer.text)
          : Effect.map(Stream.runCollect(service.stream(request)), (parts) =>
              collectParts(parts)
                .map((part) => (part.type === "text" ? part.text : ""))
                .join("")
            )
      )
      const outcome = Exit.isSuccess(exit) ? exit.value : "failed"
      assert.strictEqual(first.calls.length, callsAtFirst[row.retry], "calls at the first provider")
      assert.strictEqual(second.calls.length, row.next === "yes" ? 1 : 0, "calls at the second provider")
      assert.strictEqual(outcome, row.next === "yes" ? "second" : row.degrade === "no" ? "failed" : "static")
    })
  )
})

describe("bounds", () => {
  it.effect("maxAttempts bounds retries and fallbacks together", () =>
    Effect.gen(function* () {
      const providers = [named("a", internal), named("b", internal), named("c", internal)] as const
      const slots = { retry: { times: 10, timesBeforeFallback: 3, maxAttempts: 6 } }
      yield* timed(stack(slots, ...providers).generate(request))
      assert.deepStrictEqual(
        providers.map(({ calls }) => calls.length),
        [4, 2, 0]
      )
    })
  )

  it.effect("timeouts are there without being asked for", () =>
    Effect.gen(function* () {
      const { exit, took } = yield* timed(stack({}, named("a", TestProvider.hanging)).generate(request))
      assert.strictEqual((yield* Effect.flip(exit)).reason._tag, "TimedOut")
      assert.strictEqual(took, 5 * 60_000)
    })
  )

  it.effect("a stream that breaks after its first visible part fails with what was delivered", () =>
    Effect.gen(function* () {
      const first = named("first", TestProvider.broken(TestProvider.paced("one two three"), 3, internal))
      const second = named("second", "again")
      const service = stack({ retry: {}, degrade: { static: "sorry" } }, first, second)
      const seen: Array<string> = []
      const read = Stream.runForEach(service.stream(request), (part) =>
        Effect.sync(() => part.type === "text-delta" && seen.push(part.delta))
      )
      const { exit } = yield* timed(read)
      const { reason } = yield* Effect.flip(exit)
      assert.strictEqual(reason._tag, "StreamInterrupted")
      assert.deepStrictEqual(reason._tag === "StreamInterrupted" ? reason.delivered : [], [
        { type: "text", text: "one two" }
      ])
      assert.strictEqual(seen.join(""), "one two")
      assert.deepStrictEqual([first.calls.length, second.calls.length], [1, 0])
    })
  )
})

describe("layer", () => {
  it.effect("takes providers as layers and is one provider under the name of the first", () =>
    Effect.gen(function* () {
      const { model, provider } = yield* LlmProvider.LlmProvider
      assert.deepStrictEqual([provider, model], ["first", "m1"])
      const { exit } = yield* timed(LlmProvider.generateText("hi"))
      assert.strictEqual(yield* exit, "second")
    }).pipe(
      Effect.provide(
        Resilient.layer({
          providers: [
            TestProvider.layer({ provider: "first", model: "m1", steps: [internal] }),
            TestProvider.layer({ provider: "second", steps: ["second"] })
          ],
          retry: { times: 0, timesBeforeFallback: 0 }
        })
      )
    )
  )

  it.each<[Resilient.Slots, RegExp]>([
    [{ retry: { times: -1 } }, /Retry\.make: times/],
    [{ retry: { timesBeforeFallback: 0.5 } }, /retry\.timesBeforeFallback must be an integer >= 0/],
    [{ timeouts: { attempt: 0 } }, /Timeouts\.make: attempt/],
    [{ timeouts: { total: Number.NaN } }, /total/],
    [{ hedge: { delay: 0 } }, /hedge needs at least two providers, got 1/],
    [{ degrade: { static: " " } }, /Degrade\.make: static/]
  ])("%o throws when the layer is made, not when it is used", (slots, expected) => {
    assert.throws(() => Resilient.layer({ providers: [TestProvider.layer()], ...slots }), expected)
  })
})

describe("layerConfig", () => {
  const layer = Resilient.layerConfig({
    providers: [TestProvider.layer({ steps: [internal, internal, "third"] })],
    retry: { times: Config.Int("RETRIES"), base: "1 second" },
    timeouts: Config.all({ total: Config.Duration("TOTAL") })
  })
  const withEnv = (env: Record<string, string>) =>
    Layer.provide(layer, ConfigProvider.layer(ConfigProvider.fromUnknown(env)))

  it.effect("reads any part of a slot", () =>
    Effect.gen(function* () {
      const enough = yield* timed(
        LlmProvider.generateText("hi").pipe(Effect.provide(withEnv({ RETRIES: "2", TOTAL: "1 hour" })))
      )
      assert.strictEqual(yield* enough.exit, "third")
      const tooFew = yield* timed(
        LlmProvider.generateText("hi").pipe(Effect.provide(withEnv({ RETRIES: "1", TOTAL: "1 hour" })))
      )
      assert.isTrue(Exit.isFailure(tooFew.exit))
    })
  )

  it.effect.each([
    [{ TOTAL: "1 hour" }, /RETRIES/],
    [{ RETRIES: "-2", TOTAL: "1 hour" }, /Retry\.make: times must be an integer >= 0, got -2/]
  ] as const)("%o is a ConfigError that names the field", ([env, expected]) =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(Effect.scoped(Layer.build(withEnv(env))))
      assert.strictEqual(error._tag, "ConfigError")
      assert.match(error.message, expected)
    })
  )
})
