import { assert, describe, it } from "@effect/vitest"
import {
  Context,
  DateTime,
  Deferred,
  Duration,
  Effect,
  Exit,
  Fiber,
  Layer,
  Metric,
  Option,
  Schedule,
  Stream
} from "effect"
import { AiError } from "effect/ai"
import { TestClock } from "effect/testing"
import {
  CircuitBreaker,
  CircuitBreakerStore,
  Deadline,
  LlmProvider,
  LlmRequest,
  Metrics,
  Resilient
} from "effect-ballast"
import * as Gate from "effect-ballast/Gate"
import { LlmError, ModelUnavailable, type Phase, RateLimitExceeded, type Reason } from "effect-ballast/LlmError"
import { TestProvider } from "effect-ballast/testing"
import { counts, type Method, ask, methods } from "./support/providers.ts"

const fork = <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.forkChild(self, { startImmediately: true })

const request = LlmRequest.makeUnsafe("What is ballast?")

/** A breaker with circuits of its own. */
const breaker = (options?: CircuitBreaker.Options) =>
  Effect.map(
    Layer.build(
      CircuitBreaker.layer({ jitter: 0, ...options }).pipe(Layer.provide(Layer.fresh(CircuitBreakerStore.layerMemory)))
    ),
    (services) => Context.get(services, CircuitBreaker.CircuitBreaker)
  )

/** Provider calls behind a breaker. */
const guarded = Effect.fnUntraced(function* (
  steps: ReadonlyArray<TestProvider.Step>,
  options?: CircuitBreaker.Options,
  identity: TestProvider.Options = {}
) {
  const circuits = yield* breaker(options)
  const inner = TestProvider.make({ ...identity, steps })
  return { circuits, inner, provider: Gate.through([circuits.gate])(inner) }
})

const overloaded = new AiError.InternalProviderError({ description: "overloaded" })
const network = new AiError.NetworkError({ reason: "TransportError", method: "POST", url: "https://a.example" })
const failing = (reason: Reason, phase: Phase, retryAfter?: Duration.Duration) =>
  new LlmError({ provider: "test", model: "test-model", reason, phase, retryAfter })

const times = <A, E, R>(n: number, effect: Effect.Effect<A, E, R>) =>
  Effect.forEach(Array(n).keys(), () => Effect.exit(effect))

const stateOf = (circuits: CircuitBreaker.Service, of: CircuitBreaker.Of) =>
  Effect.map(circuits.state(of), ({ state }) => state)

describe("execute", () => {
  it.effect("opens after five failures in a row, refuses for thirty seconds, and closes when one got through", () =>
    Effect.gen(function* () {
      const circuits = yield* breaker()
      let calls = 0
      const call = (result: Effect.Effect<string, string>) =>
        Effect.suspend(() => {
          calls++
          return result
        }).pipe(circuits.execute("crm"))
      yield* times(4, call(Effect.fail("down")))
      assert.strictEqual(yield* stateOf(circuits, { key: "crm" }), "closed")
      yield* times(1, call(Effect.fail("down")))
      assert.strictEqual(yield* stateOf(circuits, { key: "crm" }), "open")
      const refusal = yield* Effect.flip(call(Effect.succeed("up")))
      assert.deepInclude(refusal, { _tag: "CircuitOpen", circuit: "crm", openedBy: "failures" })
      assert.strictEqual(String(refusal), "CircuitOpen: Circuit crm is open (too many failures). Retry after 30s")
      assert.strictEqual(calls, 5)
      yield* TestClock.adjust("29999 millis")
      yield* Effect.flip(call(Effect.succeed("up")))
      yield* TestClock.adjust("1 millis")
      assert.strictEqual(yield* call(Effect.succeed("up")), "up")
      assert.strictEqual(yield* stateOf(circuits, { key: "crm" }), "closed")
      assert.strictEqual(calls, 6)
    })
  )

  it.effect("keeps circuits apart by their names", () =>
    Effect.gen(function* () {
      const circuits = yield* breaker({ failures: 1 })
      yield* times(1, circuits.execute("a")(Effect.fail("down")))
      assert.strictEqual(yield* circuits.execute("b")(Effect.succeed("up")), "up")
      assert.strictEqual(yield* stateOf(circuits, { key: "b" }), "closed")
    })
  )

  it.effect("counts failures and defects, and no interruption", () =>
    Effect.gen(function* () {
      const circuits = yield* breaker({ failures: 2 })
      yield* times(5, circuits.execute("a")(Effect.interrupt))
      assert.strictEqual(yield* stateOf(circuits, { key: "a" }), "closed")
      yield* times(1, circuits.execute("a")(Effect.die("bug")))
      yield* times(1, circuits.execute("a")(Effect.fail("down")))
      assert.strictEqual(yield* stateOf(circuits, { key: "a" }), "open")
    })
  )

  it.effect("asks whoever knows better what a failure means", () =>
    Effect.gen(function* () {
      const circuits = yield* breaker({ failures: 1 })
      const classify = (error: unknown) => (error === "not found" ? "ignored" : undefined)
      yield* times(3, circuits.execute("a", { classify })(Effect.fail("not found")))
      assert.strictEqual(yield* stateOf(circuits, { key: "a" }), "closed")
      yield* times(3, circuits.execute("a")(Effect.fail(failing(new AiError.RateLimitError({}), "sent"))))
      assert.strictEqual(yield* stateOf(circuits, { key: "a" }), "closed")
      yield* times(1, circuits.execute("a", { classify })(Effect.fail("down")))
      assert.strictEqual(yield* stateOf(circuits, { key: "a" }), "open")
    })
  )

  it.effect("lets one call at a time try, and frees its place when it is interrupted", () =>
    Effect.gen(function* () {
      const circuits = yield* breaker({ failures: 1 })
      yield* times(1, circuits.execute("a")(Effect.fail("down")))
      yield* TestClock.adjust("30 seconds")
      const probe = yield* fork(circuits.execute("a")(Effect.never))
      assert.strictEqual(yield* stateOf(circuits, { key: "a" }), "halfOpen")
      const refusal = yield* Effect.flip(circuits.execute("a")(Effect.void))
      assert.deepInclude(refusal, { _tag: "CircuitOpen", openedBy: "failures" })
      yield* Fiber.interrupt(probe)
      yield* circuits.execute("a")(Effect.void)
      assert.strictEqual(yield* stateOf(circuits, { key: "a" }), "closed")
    })
  )

  it.effect("lets a late result of an earlier state change nothing", () =>
    Effect.gen(function* () {
      const circuits = yield* breaker({ failures: 2 })
      const late = yield* Deferred.make<void, string>()
      const slow = yield* fork(circuits.execute("a")(Deferred.await(late)))
      yield* times(2, circuits.execute("a")(Effect.fail("down")))
      yield* TestClock.adjust("30 seconds")
      yield* circuits.execute("a")(Effect.void)
      yield* times(1, circuits.execute("a")(Effect.fail("down")))
      yield* Deferred.fail(late, "down")
      yield* Fiber.await(slow)
      assert.strictEqual(yield* stateOf(circuits, { key: "a" }), "closed")
      assert.strictEqual((yield* circuits.state({ key: "a" })).consecutiveFailures, 1)
    })
  )

  it.effect("counts calls that take too long", () =>
    Effect.gen(function* () {
      const circuits = yield* breaker({ slowCalls: { latency: "1 second" }, minimumCalls: 2 })
      const call = (millis: number) =>
        Effect.gen(function* () {
          const running = yield* fork(circuits.execute("a")(Effect.sleep(millis)))
          yield* TestClock.adjust(millis)
          yield* Fiber.join(running)
        })
      yield* call(1000)
      yield* call(1000)
      assert.strictEqual(yield* stateOf(circuits, { key: "a" }), "closed")
      yield* call(1001)
      yield* call(1001)
      const { cause, state } = yield* circuits.state({ key: "a" })
      assert.deepStrictEqual([state, cause], ["open", "slow"])
    })
  )

  it.effect("through the service", () =>
    Effect.gen(function* () {
      const seen: Array<string> = []
      yield* fork(
        Stream.runForEach(CircuitBreaker.changes, ({ circuit, from, to }) =>
          Effect.sync(() => seen.push(`${circuit} ${from} ${to}`))
        )
      )
      yield* times(5, Effect.fail("down").pipe(CircuitBreaker.execute("a")))
      yield* CircuitBreaker.reset({ key: "a" })
      yield* CircuitBreaker.isolate({ key: "a" })
      assert.strictEqual((yield* CircuitBreaker.state({ key: "a" })).state, "isolated")
      yield* Effect.yieldNow
      assert.deepStrictEqual(seen, ["a closed open", "a open closed", "a closed isolated"])
    }).pipe(Effect.provide(CircuitBreaker.layer().pipe(Layer.provide(CircuitBreakerStore.layerMemory))))
  )
})

describe("whileProbing: wait", () => {
  const waiting = Effect.fnUntraced(function* (options: CircuitBreaker.Options = {}) {
    const circuits = yield* breaker({ failures: 1, whileProbing: "wait", ...options })
    yield* times(1, circuits.execute("a")(Effect.fail("down")))
    yield* TestClock.adjust("30 seconds")
    const verdict = yield* Deferred.make<void, string>()
    const probe = yield* fork(Effect.exit(circuits.execute("a")(Deferred.await(verdict))))
    const others = yield* Effect.forEach([1, 2], () => fork(Effect.exit(circuits.execute("a")(Effect.void))))
    assert.isTrue(others.every((other) => other.pollUnsafe() === undefined))
    return { circuits, verdict, probe, others }
  })

  it.effect("lets the others go when the one that tries got through", () =>
    Effect.gen(function* () {
      const { others, verdict } = yield* waiting()
      yield* Deferred.succeed(verdict, undefined)
      for (const other of others) assert.isTrue(Exit.isSuccess(yield* Fiber.join(other)))
    })
  )

  it.effect("refuses them when it failed", () =>
    Effect.gen(function* () {
      const { others, verdict } = yield* waiting()
      yield* Deferred.fail(verdict, "still down")
      for (const other of others) {
        const failure = Option.getOrThrow(Exit.findErrorOption(yield* Fiber.join(other)))
        assert.strictEqual(failure._tag, "CircuitOpen")
      }
    })
  )

  it.effect("lets the next one try when it is interrupted, or takes longer than its lease", () =>
    Effect.gen(function* () {
      const first = yield* waiting()
      yield* Fiber.interrupt(first.probe)
      for (const other of first.others) assert.isTrue(Exit.isSuccess(yield* Fiber.join(other)))
      const second = yield* waiting({ probeLease: "10 seconds" })
      yield* TestClock.adjust("10 seconds")
      for (const other of second.others) assert.isTrue(Exit.isSuccess(yield* Fiber.join(other)))
    })
  )

  it.effect("is for a thousand, and refuses more", () =>
    Effect.gen(function* () {
      const { circuits, probe, verdict } = yield* waiting()
      const call = Effect.exit(circuits.execute("a")(Effect.void))
      const others = yield* Effect.forEach(Array(998).keys(), () => fork(call))
      assert.isTrue(others.every((other) => other.pollUnsafe() === undefined))
      const refused = yield* call
      assert.isTrue(Exit.isFailure(refused))
      yield* Deferred.succeed(verdict, undefined)
      yield* Fiber.join(probe)
      for (const other of others) assert.isTrue(Exit.isSuccess(yield* Fiber.join(other)))
      assert.isTrue(Exit.isSuccess(yield* call))
    })
  )

  it.effect("ends with the deadline of who waits", () =>
    Effect.gen(function* () {
      const { circuits } = yield* waiting()
      const hurried = yield* fork(Effect.exit(Deadline.within(circuits.execute("a")(Effect.void), "1 second")))
      yield* TestClock.adjust("999 millis")
      assert.isUndefined(hurried.pollUnsafe())
      yield* TestClock.adjust("1 millis")
      assert.strictEqual(Option.getOrThrow(Exit.findErrorOption(yield* Fiber.join(hurried)))._tag, "CircuitOpen")
    })
  )

  it.effect("at a gate waits no longer than the deadline, and a hedge not at all", () =>
    Effect.gen(function* () {
      const { circuits, provider } = yield* guarded([failing(overloaded, "sent"), TestProvider.hanging], {
        failures: 1,
        whileProbing: "wait"
      })
      yield* times(1, provider.generate(request))
      yield* TestClock.adjust("30 seconds")
      const probe = yield* fork(provider.generate(request))
      const other = yield* fork(Effect.exit(provider.generate(request)))
      assert.isUndefined(other.pollUnsafe())
      yield* Fiber.interrupt(probe)
      // it tries itself
      assert.isUndefined(other.pollUnsafe())
      yield* Fiber.interrupt(other)
      assert.strictEqual(yield* stateOf(circuits, { provider }), "halfOpen")
    })
  )
})

describe("a provider", () => {
  const sick: ReadonlyArray<readonly [string, TestProvider.Step]> = [
    ["a 500", failing(overloaded, "sent")],
    ["no connection", failing(network, "connecting")],
    ["a lost connection", failing(network, "sent")],
    ["an empty answer", TestProvider.paced("")]
  ]
  for (const [name, step] of sick)
    it.effect.each(methods)(`is sick after five of: ${name}, by %s`, (method: Method) =>
      Effect.gen(function* () {
        const { circuits, inner, provider } = yield* guarded([step])
        yield* times(4, ask(provider, method, request))
        assert.strictEqual(yield* stateOf(circuits, { provider }), "closed")
        yield* times(1, ask(provider, method, request))
        assert.strictEqual(yield* stateOf(circuits, { provider }), "open")
        const refusal = yield* Effect.flip(ask(provider, method, request))
        assert.deepInclude(refusal.reason, { _tag: "CircuitOpen", circuit: "test/test-model", openedBy: "failures" })
        assert.strictEqual(refusal.phase, "refused")
        assert.deepStrictEqual(counts(inner), [5])
      })
    )

  it.effect("is sick when its streams are cut off, also after their first part", () =>
    Effect.gen(function* () {
      for (const step of [
        TestProvider.broken(TestProvider.paced("one two three"), 2),
        TestProvider.broken(TestProvider.paced("one two three"), 3, network),
        TestProvider.broken(TestProvider.paced("one two three"), 0)
      ]) {
        const { circuits, provider } = yield* guarded([step])
        yield* times(5, Stream.runDrain(provider.stream(request)))
        assert.strictEqual(yield* stateOf(circuits, { provider }), "open")
      }
    })
  )

  it.effect("is not sick when its readers leave or fail", () =>
    Effect.gen(function* () {
      const { circuits, provider } = yield* guarded(["one two three"], { failures: 1 })
      yield* times(5, Stream.runDrain(Stream.take(provider.stream(request), 2)))
      yield* times(
        5,
        Stream.runForEach(provider.stream(request), () => Effect.fail("the reader's own"))
      )
      assert.strictEqual(yield* stateOf(circuits, { provider }), "closed")
    })
  )

  const well: ReadonlyArray<readonly [string, TestProvider.Step]> = [
    ["a 429", failing(new AiError.RateLimitError({}), "sent")],
    ["a bad request", failing(new AiError.InvalidRequestError({ description: "no" }), "sent")],
    ["a content policy", failing(new AiError.ContentPolicyError({ description: "no" }), "sent")],
    ["a content filter", TestProvider.paced("", { finishReason: "content-filter" })],
    ["a defect", Effect.die("bug")],
    ["another gate's refusal", failing(new RateLimitExceeded({ limit: "rpm", why: "limited" }), "refused")]
  ]
  for (const [name, step] of well)
    it.effect(`is well in spite of ${name}`, () =>
      Effect.gen(function* () {
        const { circuits, inner, provider } = yield* guarded([step], { failures: 1, minimumCalls: 1 })
        yield* times(20, provider.generate(request))
        assert.strictEqual(yield* stateOf(circuits, { provider }), "closed")
        assert.deepStrictEqual(counts(inner), [20])
      })
    )

  it.effect("that refuses the key is not asked with it for five minutes, and goes on with others", () =>
    Effect.gen(function* () {
      const circuits = yield* breaker()
      const wrong = failing(new AiError.AuthenticationError({ kind: "InvalidKey" }), "sent")
      const make = (model: string, credential: string, step: TestProvider.Step) => {
        const inner = TestProvider.make({ model, credential, endpoint: model, steps: [step, "ok"] })
        return { inner, provider: Gate.through([circuits.gate])(inner) }
      }
      const bad = make("one", "revoked", wrong)
      const sibling = make("two", "revoked", "ok")
      const other = make("one", "good", "ok")
      yield* Effect.flip(bad.provider.generate(request))
      for (const { provider } of [bad, sibling]) {
        const { reason, retryAfter } = yield* Effect.flip(provider.generate(request))
        assert.deepInclude(reason, { _tag: "CircuitOpen", circuit: "test credential", openedBy: "credential" })
        assert.strictEqual(Duration.toMillis(retryAfter ?? 0), 300_000)
      }
      yield* other.provider.generate(request)
      assert.strictEqual(yield* stateOf(circuits, { provider: bad.provider }), "closed")
      yield* TestClock.adjust("299999 millis")
      yield* Effect.flip(sibling.provider.generate(request))
      yield* TestClock.adjust("1 millis")
      yield* sibling.provider.generate(request)
      yield* bad.provider.generate(request)
      assert.deepStrictEqual(counts(bad.inner, sibling.inner, other.inner), [2, 1, 1])
    })
  )

  it.effect("whose quota is used up is not asked until it resets, for an hour at most, or five minutes", () =>
    Effect.gen(function* () {
      const wait = (reset: number | undefined) =>
        Effect.gen(function* () {
          const resetAt = reset === undefined ? undefined : DateTime.makeUnsafe(reset)
          const used = failing(new AiError.QuotaExhaustedError({ resetAt }), "sent")
          const { provider } = yield* guarded([used, "ok"])
          yield* Effect.flip(provider.generate(request))
          const { reason, retryAfter } = yield* Effect.flip(provider.generate(request))
          assert.deepInclude(reason, { _tag: "CircuitOpen", openedBy: "quota" })
          return Duration.toMillis(retryAfter ?? 0)
        })
      assert.strictEqual(yield* wait(undefined), 300_000)
      assert.strictEqual(yield* wait(90_000), 90_000)
      assert.strictEqual(yield* wait(7_200_000), 3_600_000)
      assert.strictEqual(yield* wait(0), 1)
    })
  )

  it.effect("that does not have the model, or not for us, is not asked for it for five minutes", () =>
    Effect.gen(function* () {
      for (const reason of [
        new ModelUnavailable({}),
        new AiError.AuthenticationError({ kind: "InsufficientPermissions" })
      ]) {
        const { circuits, provider } = yield* guarded([failing(reason, "sent")])
        yield* Effect.flip(provider.generate(request))
        const { cause, state, until } = yield* circuits.state({ provider })
        assert.deepStrictEqual([state, cause, until], ["open", "unavailable", 300_000])
      }
    })
  )

  it.effect("that asks to be left alone is left alone for that long", () =>
    Effect.gen(function* () {
      const { circuits, provider } = yield* guarded([failing(overloaded, "sent", Duration.seconds(90))], {
        failures: 1
      })
      yield* Effect.flip(provider.generate(request))
      assert.strictEqual((yield* circuits.state({ provider })).until, 90_000)
    })
  )

  it.effect("is slow by its latency or its first visible part", () =>
    Effect.gen(function* () {
      const slowCalls = { firstPart: "2 seconds", latency: "10 seconds" } as const
      const verdict = (step: TestProvider.Step) =>
        Effect.gen(function* () {
          const { circuits, provider } = yield* guarded([step], { slowCalls, minimumCalls: 1 })
          const call = yield* fork(Stream.runDrain(provider.stream(request)))
          yield* TestClock.adjust("1 minute")
          yield* Fiber.join(call)
          return (yield* circuits.state({ provider })).cause
        })
      assert.strictEqual(yield* verdict(TestProvider.paced("one two", { firstPart: "1900 millis" })), undefined)
      // the first part is what begins the text, the first visible one comes after it
      assert.strictEqual(yield* verdict(TestProvider.paced("one two", { firstPart: "2001 millis" })), "slow")
      assert.strictEqual(
        yield* verdict(TestProvider.paced("one two", { firstPart: "1 second", every: "4 seconds" })),
        "slow"
      )
    })
  )

  it.effect("whose key works again is not spared: the credential has no ramp, also where the program judges", () =>
    Effect.gen(function* () {
      const wrong = failing(new AiError.AuthenticationError({ kind: "InvalidKey" }), "sent")
      for (const classify of [
        undefined,
        ({ outcome }: Gate.Settlement) => (outcome === "success" ? "success" : undefined)
      ] as const) {
        const { inner, provider } = yield* guarded([wrong, "ok"], { ramp: "1 hour", classify })
        yield* Effect.flip(provider.generate(request))
        yield* TestClock.adjust("5 minutes")
        for (let i = 0; i < 50; i++) yield* provider.generate(request)
        assert.deepStrictEqual(counts(inner), [51])
      }
    })
  )

  it.effect("in a shadow counts for its endpoint also while its credential is locked", () =>
    Effect.gen(function* () {
      const wrong = failing(new AiError.AuthenticationError({ kind: "InvalidKey" }), "sent")
      const { circuits, provider } = yield* guarded([wrong, failing(overloaded, "sent")], { mode: "shadow" })
      yield* times(6, provider.generate(request))
      assert.strictEqual(yield* stateOf(circuits, { provider }), "open")
    })
  )

  it.effect("may be judged by the program", () =>
    Effect.gen(function* () {
      const { circuits, provider } = yield* guarded([failing(new AiError.RateLimitError({}), "sent")], {
        failures: 2,
        classify: ({ error }) => (error?.reason._tag === "RateLimitError" ? "failure" : undefined)
      })
      yield* times(2, provider.generate(request))
      assert.strictEqual(yield* stateOf(circuits, { provider }), "open")
    })
  )

  it.effect("in a shadow is always asked", () =>
    Effect.gen(function* () {
      const shadow = Metric.value(Metrics.circuitBreakerShadow)
      const { count: before } = yield* shadow
      const { circuits, inner, provider } = yield* guarded([failing(overloaded, "sent")], { mode: "shadow" })
      yield* times(8, provider.generate(request))
      assert.deepStrictEqual(counts(inner), [8])
      assert.strictEqual(yield* stateOf(circuits, { provider }), "open")
      assert.strictEqual((yield* shadow).count, before + 3)
    })
  )

  it.effect("can be taken out by hand and put back, and the metrics tell", () =>
    Effect.gen(function* () {
      const { circuits, inner, provider } = yield* guarded(["ok"], {}, { provider: "metrics", model: "m" })
      yield* provider.generate(request)
      const level = Effect.map(
        Metric.value(Metric.withAttributes(Metrics.circuitBreakerState, { provider: "metrics", model: "m" })),
        ({ value }) => value
      )
      assert.strictEqual(yield* level, 0)
      yield* circuits.isolate({ provider })
      const { reason } = yield* Effect.flip(provider.generate(request))
      assert.deepInclude(reason, { _tag: "CircuitOpen", openedBy: "isolated", retryAfter: undefined })
      yield* Effect.yieldNow
      assert.strictEqual(yield* level, 2)
      yield* circuits.reset({ provider })
      yield* provider.generate(request)
      yield* Effect.yieldNow
      assert.strictEqual(yield* level, 0)
      assert.deepStrictEqual(counts(inner), [2])
    })
  )
})

describe("the slot of Resilient", () => {
  const truncated = TestProvider.broken(TestProvider.paced("one two three"), 3)

  it.effect("opens when streams are cut off, and moves on to the next provider at once", () =>
    Effect.gen(function* () {
      const circuits = yield* breaker()
      const first = TestProvider.make({ provider: "first", steps: [truncated] })
      const second = TestProvider.make({ provider: "second", steps: ["fine"] })
      const stack = Resilient.make({ circuitBreaker: {}, timeouts: {} }, 2)([first, second], [circuits.gate])
      yield* times(5, Stream.runDrain(stack.stream(request)))
      assert.strictEqual(yield* stateOf(circuits, { provider: first }), "open")
      assert.deepInclude(yield* ask(stack, "stream", request), { text: "fine" })
      assert.deepStrictEqual(counts(first, second), [5, 1])
    })
  )

  it.effect("provides the breaker", () =>
    Effect.gen(function* () {
      const provider = yield* LlmProvider.LlmProvider
      yield* times(5, provider.generate(request))
      assert.strictEqual((yield* CircuitBreaker.state({ provider })).state, "open")
    }).pipe(
      Effect.provide(
        Resilient.layer({
          providers: [TestProvider.layer({ steps: [failing(overloaded, "sent")] })],
          circuitBreaker: { failureRate: 0.5, openFor: Schedule.spaced("1 minute") }
        }).pipe(Layer.provide(CircuitBreakerStore.layerMemory))
      )
    )
  )

  it.effect("is a policy over a layer, too", () =>
    Effect.gen(function* () {
      const provider = yield* LlmProvider.LlmProvider
      yield* times(1, provider.generate(request))
      assert.strictEqual((yield* CircuitBreaker.state({ provider })).state, "open")
    }).pipe(
      Effect.provide(
        TestProvider.layer({ steps: [failing(overloaded, "sent")] }).pipe(
          CircuitBreaker.withCircuitBreaker({ failures: 1 }),
          Layer.provide(CircuitBreakerStore.layerMemory)
        )
      )
    )
  )
})
