import { assert, describe, it } from "@effect/vitest"
import { Context, Duration, Effect, Fiber, Layer, Stream } from "effect"
import { AiError } from "effect/ai"
import { TestClock } from "effect/testing"
import { Attempts, Budget, Caller, LlmProvider, Resilient, Tokens } from "effect-ballast"
import * as Gate from "effect-ballast/Gate"
import { CircuitOpen, LlmError, type Phase, type Reason, TimedOut } from "effect-ballast/LlmError"
import * as Stores from "effect-ballast/Stores"
import { TestProvider } from "effect-ballast/testing"
import { budgeted, inputTokens, nanoPerToken, pricing, request, reserved, usage } from "./support/budgets.ts"
import { type Method, methods } from "./support/providers.ts"

const limits = [{ usd: 1 }]

const failing = (reason: Reason, phase: Phase) => new LlmError({ provider: "test", model: "test-model", reason, phase })

const network = { reason: "TransportError", method: "POST", url: "https://example.com" } as const
const timedOut = new TimedOut({ phase: "attempt", after: Duration.seconds(1) })
const internal = new AiError.InternalProviderError({ description: "overloaded" })

const run = (provider: LlmProvider.Service, method: Method) =>
  method === "generate" ? provider.generate(request) : Stream.runDrain(provider.stream(request))

const closed: Gate.Admitting = {
  _tag: "Admitting",
  name: "closed",
  admit: () => Effect.fail(new CircuitOpen({ circuit: "c" }))
}

const none = usage(Number.NaN, Number.NaN)
const unknown = { inputTokens: {}, outputTokens: {} }
const counted = (text: string) => (inputTokens + Tokens.approximate.count(text)) * nanoPerToken

type Row = readonly [
  name: string,
  step: TestProvider.Step,
  amount: number,
  outcome: string | undefined,
  gates?: ReadonlyArray<Gate.Gate>
]

describe("what a call is charged", () => {
  const rows: ReadonlyArray<Row> = [
    ["an answer with its usage", TestProvider.paced("ok", { usage: usage(7, 3) }), 10_000, "answered"],
    ["an answer dearer than expected", TestProvider.paced("ok", { usage: usage(70, 500) }), 570_000, "answered"],
    [
      "an answer without usage",
      TestProvider.paced("one two three", { usage: unknown }),
      counted("one two three"),
      "estimated"
    ],
    ["an answer with an impossible usage", TestProvider.paced("ok", { usage: none }), counted("ok"), "estimated"],
    [
      "a filtered answer",
      TestProvider.paced([], { usage: usage(7, 1), finishReason: "content-filter" }),
      8000,
      "answered"
    ],
    ["a refused connection", failing(new AiError.NetworkError(network), "connecting"), 0, undefined],
    ["a lost connection", failing(new AiError.NetworkError(network), "sent"), reserved, "lost"],
    ["an attempt that took too long", failing(timedOut, "sent"), reserved, "lost"],
    ["a 429", failing(new AiError.RateLimitError({}), "sent"), 0, undefined],
    ["a 402", failing(new AiError.QuotaExhaustedError({}), "sent"), 0, undefined],
    ["a 400", failing(new AiError.InvalidRequestError({}), "sent"), 0, undefined],
    ["a 500 before the first byte", failing(internal, "sent"), 0, undefined],
    ["a 500 in the answer", failing(internal, "answered"), reserved, "lost"],
    ["an answer that nobody can read", failing(new AiError.UnknownError({}), "sent"), reserved, "lost"],
    [
      "an empty answer that used more than was reserved",
      TestProvider.paced([], { usage: usage(700, 0) }),
      700_000,
      "lost"
    ],
    ["an empty answer that used less", TestProvider.paced([], { usage: usage(7, 0) }), reserved, "lost"],
    ["a defect of the provider", Effect.die(new Error("a bug")), reserved, "lost"],
    ["a call that another gate refuses", "ok", 0, undefined, [closed]]
  ]
  for (const [name, step, amount, outcome, gates = []] of rows)
    for (const method of methods)
      it.effect(`${name}, ${method}`, () =>
        Effect.gen(function* () {
          const { budget, inner } = yield* budgeted({ limits }, [step])
          yield* Effect.exit(run(Gate.through([budget.gate, ...gates])(inner), method))
          assert.strictEqual(yield* budget.spent(), amount)
          const [state] = yield* budget.remaining()
          assert.strictEqual(state?.spent, amount)
          const lines = yield* budget.lines()
          assert.deepStrictEqual(
            lines.map((line) => line.outcome),
            outcome === undefined ? [] : [outcome]
          )
          assert.deepStrictEqual(yield* budget.check, [])
        })
      )
})

describe("what is lost on the way", () => {
  const long = TestProvider.paced("one two three four five", { every: "1 second", usage: usage(7, 3) })

  it.effect("a call that is interrupted is charged what it reserved", () =>
    Effect.gen(function* () {
      const { budget, provider } = yield* budgeted({ limits }, [TestProvider.hanging])
      const fiber = yield* Effect.forkChild(provider.generate(request), { startImmediately: true })
      assert.strictEqual((yield* budget.remaining())[0]?.spent, reserved)
      yield* Fiber.interrupt(fiber)
      assert.strictEqual(yield* budget.spent(), reserved)
      assert.strictEqual((yield* budget.lines())[0]?.outcome, "lost")
    })
  )

  it.effect("a stream whose reader leaves is charged what it reserved, or what came of it if that is more", () =>
    Effect.gen(function* () {
      for (const [onLost, least] of [
        ["estimate", reserved],
        ["delivered", 0]
      ] as const) {
        const { budget, provider } = yield* budgeted({ limits, onLost }, [long])
        const some = Stream.runDrain(Stream.take(provider.stream(request), 4))
        const fiber = yield* Effect.forkChild(some)
        yield* TestClock.adjust("1 minute")
        yield* Fiber.join(fiber)
        const [line] = yield* budget.lines()
        assert.strictEqual(line?.amount, Math.max(least, counted("one two three")))
        assert.deepStrictEqual(line?.tokens, {
          input: inputTokens,
          output: Tokens.approximate.count("one two three")
        })
        assert.strictEqual(line?.outcome, "lost")
      }
    })
  )

  it.effect("a long answer that broke is charged all that came of it, reasoning and arguments of tools too", () =>
    Effect.gen(function* () {
      const text = "word ".repeat(300)
      const script = TestProvider.paced([
        { type: "reasoning", text },
        { type: "text", text },
        { type: "tool-params-start", id: "1", name: "search" },
        { type: "tool-params-delta", id: "1", delta: '{"query":"' },
        { type: "tool-params-delta", id: "1", delta: 'ballast"}' },
        { type: "tool-params-end", id: "1" },
        { type: "tool-call", id: "1", name: "search", params: { query: "ballast" } }
      ])
      const broken = TestProvider.broken(script, script.parts.length - 1, internal)
      const { budget, provider } = yield* budgeted({ limits }, [broken])
      yield* Effect.exit(Stream.runDrain(provider.stream(request)))
      assert.strictEqual(yield* budget.spent(), counted(`${text}${text}{"query":"ballast"}`))
    })
  )

  for (const method of methods)
    it.effect(`drained, a call whose caller leaves is charged what it used, ${method}`, () =>
      Effect.gen(function* () {
        const { budget, inner, provider } = yield* budgeted({ limits, onLost: "drain" }, [long])
        const fiber = yield* Effect.forkChild(run(provider, method), { startImmediately: true })
        yield* TestClock.adjust(2500)
        yield* Fiber.interrupt(fiber)
        assert.strictEqual(inner.calls[0]?.outcome, "running")
        assert.strictEqual((yield* budget.remaining())[0]?.spent, reserved)
        yield* TestClock.adjust("10 seconds")
        assert.strictEqual(inner.calls[0]?.outcome, "success")
        assert.deepInclude((yield* budget.lines())[0], { amount: 10_000, outcome: "answered" })
      })
    )

  it.effect("drained, one that does not end within half a minute is interrupted and charged as lost", () =>
    Effect.gen(function* () {
      for (const method of methods) {
        const { budget, inner, provider } = yield* budgeted({ limits, onLost: "drain" }, [TestProvider.hanging])
        const fiber = yield* Effect.forkChild(run(provider, method), { startImmediately: true })
        yield* TestClock.adjust("1 minute")
        yield* Fiber.interrupt(fiber)
        yield* TestClock.adjust(29_999)
        assert.strictEqual(yield* budget.spent(), 0)
        yield* TestClock.adjust(1)
        assert.deepInclude((yield* budget.lines())[0], { amount: reserved, outcome: "lost" })
        assert.strictEqual(inner.calls.length, 1)
      }
    })
  )

  it.effect("drained, one that was not sent yet is interrupted at once and charged nothing", () =>
    Effect.gen(function* () {
      for (const method of methods) {
        const { budget, inner } = yield* budgeted({ limits, onLost: "drain" })
        const waiting: Gate.Admitting = {
          _tag: "Admitting",
          name: "waiting",
          admit: () => Effect.succeed({ ready: Effect.never, settle: () => Effect.void })
        }
        const provider = Gate.through([budget.gate, waiting])(inner)
        const fiber = yield* Effect.forkChild(run(provider, method), { startImmediately: true })
        assert.strictEqual((yield* budget.remaining())[0]?.spent, reserved)
        yield* Fiber.interrupt(fiber)
        assert.strictEqual((yield* budget.remaining())[0]?.spent, 0)
        assert.deepStrictEqual(yield* budget.lines(), [])
      }
    })
  )

  it.effect("drained, a stream brings the same parts and failures as ever, at the pace of its reader", () =>
    Effect.gen(function* () {
      const words = Array.from({ length: 100 }, (_, i) => `w${i} `).join("")
      const whole = TestProvider.paced(words, { usage: usage(7, 3) })
      const { budget, provider } = yield* budgeted({ limits, onLost: "drain" }, [
        whole,
        TestProvider.broken(whole, 50, internal)
      ])
      const { provider: plain } = yield* budgeted({ limits }, [whole])
      const parts = yield* Stream.runCollect(provider.stream(request))
      assert.deepStrictEqual(parts, yield* Stream.runCollect(plain.stream(request)))
      let seen = 0
      const reading = Stream.runForEach(provider.stream(request), () => Effect.sync(() => seen++))
      assert.strictEqual((yield* Effect.flip(reading)).reason, internal)
      assert.strictEqual(seen, 50)
      assert.deepStrictEqual(
        (yield* budget.lines()).map(({ outcome }) => outcome),
        ["lost", "answered"]
      )
    })
  )

  it.effect("a stream that nobody reads is charged nothing", () =>
    Effect.gen(function* () {
      const { budget, inner, provider } = yield* budgeted({ limits })
      yield* Stream.runDrain(Stream.take(provider.stream(request), 0))
      assert.strictEqual(yield* budget.spent(), 0)
      assert.strictEqual(inner.calls.length, 0)
    })
  )
})

describe("every attempt is charged", () => {
  const stack = Effect.fnUntraced(function* (
    slots: Resilient.Slots,
    first: ReadonlyArray<TestProvider.Step>,
    second: ReadonlyArray<TestProvider.Step>
  ) {
    const providers = [first, second].map((steps, i) =>
      TestProvider.make({ provider: i === 0 ? "first" : "second", steps })
    )
    const [one = assert.fail(), two = assert.fail()] = providers.map((provider) =>
      Layer.succeed(LlmProvider.LlmProvider, provider)
    )
    const services = yield* Layer.build(
      Resilient.layer({ ...slots, providers: [one, two], budget: { limits } }).pipe(
        Layer.provide(Layer.merge(pricing, Layer.fresh(Stores.layerMemory)))
      ) as Layer.Layer<LlmProvider.LlmProvider | Budget.Budget> // its slots are only known when it runs
    )
    const budget = Context.get(services, Budget.Budget)
    const fiber = yield* Effect.forkChild(
      Effect.exit(Context.get(services, LlmProvider.LlmProvider).generate(request)),
      { startImmediately: true }
    )
    yield* TestClock.adjust("10 minutes")
    yield* Fiber.join(fiber)
    assert.deepStrictEqual(yield* budget.check, [])
    return (yield* budget.lines()).map(({ amount, outcome, provider }) => [provider, outcome, amount])
  })

  const answer = TestProvider.paced("ok", { usage: usage(7, 3) })

  it.effect("retries and fallbacks, each by its own end", () =>
    Effect.gen(function* () {
      const lines = yield* stack({ retry: { timesBeforeFallback: 1 } }, [failing(timedOut, "sent")], [internal, answer])
      assert.deepStrictEqual(lines, [
        ["second", "answered", 10_000],
        ["first", "lost", reserved],
        ["first", "lost", reserved]
      ])
    })
  )

  it.effect("a hedge that lost, what it reserved", () =>
    Effect.gen(function* () {
      const slow = TestProvider.paced("slow", { firstPart: "1 minute", usage: usage(7, 3) })
      const lines = yield* stack({ hedge: { delay: "1 second" } }, [slow], [answer])
      assert.deepStrictEqual(
        lines.toSorted((a, b) => String(a).localeCompare(String(b))),
        [
          ["first", "lost", reserved],
          ["second", "answered", 10_000]
        ]
      )
    })
  )
})

describe("the lines", () => {
  it.effect("of all attempts of one call have its name, its caller and the day that admitted it", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(Date.UTC(2026, 10, 28, 23, 30))
      const { budget, provider } = yield* budgeted({ limits, zone: "Europe/Berlin" }, [
        failing(timedOut, "sent"),
        TestProvider.paced("ok", { usage: usage(7, 3) })
      ])
      const call = Effect.andThen(Effect.exit(provider.generate(request)), provider.generate(request))
      yield* Attempts.open(() => call, 8).pipe(
        Caller.provide({ tenant: "acme", user: "bob", feature: "search", run: "r1" })
      )
      yield* provider.generate(request)
      const [other, second, first] = yield* budget.lines()
      assert.deepInclude(first, {
        provider: "test",
        model: "test-model",
        tenant: "acme",
        user: "bob",
        feature: "search",
        run: "r1",
        day: "2026-11-29",
        prices: "table",
        outcome: "lost"
      })
      assert.strictEqual(second?.call, first?.call)
      assert.deepInclude(second, { outcome: "answered", tokens: { input: 7, output: 3 } })
      assert.notStrictEqual(other?.call, first?.call)
      assert.notProperty(other, "tenant")
      assert.notStrictEqual(first?.id, second?.id)
    })
  )
})
