import { assert, describe, it } from "@effect/vitest"
import { Clock, Deferred, Duration, Effect, Exit, Fiber, Scope, Stream } from "effect"
import { AiError } from "effect/ai"
import type { Response } from "effect/ai"
import { TestClock } from "effect/testing"
import * as Attempts from "effect-ballast/Attempts"
import * as Caller from "effect-ballast/Caller"
import * as Deadline from "effect-ballast/Deadline"
import * as Gate from "effect-ballast/Gate"
import { CircuitOpen, LlmError, RateLimitExceeded, StoreUnavailable } from "effect-ballast/LlmError"
import type { Service } from "effect-ballast/LlmProvider"
import { makeUnsafe } from "effect-ballast/LlmRequest"
import type { LlmPart } from "effect-ballast/LlmResponse"
import { TestProvider } from "effect-ballast/testing"
import { logged, methods, run, TestStore, Trace } from "./support/gates.ts"

const request = makeUnsafe("hi")
const overloaded = new AiError.InternalProviderError({ description: "overloaded" })
const open = new CircuitOpen({ circuit: "test" })
const limited = new RateLimitExceeded({ limit: "rpm", why: "wait-too-long" })
const usage = { inputTokens: { total: 3 }, outputTokens: { total: 5 } }
const headers = { "x-ratelimit-remaining-requests": "9" }
const finish: Response.FinishPartEncoded = {
  type: "finish",
  reason: "stop",
  usage,
  response: { status: 200, headers }
}
const answer: ReadonlyArray<LlmPart> = [
  { type: "response-metadata" },
  { type: "text-start", id: "0" },
  { type: "text-delta", id: "0", delta: "" },
  { type: "text-delta", id: "0", delta: "hello" },
  { type: "text-end", id: "0" },
  finish
]

/** One thing happens every second. */
const script = (parts: ReadonlyArray<LlmPart>): TestProvider.Script => ({
  _tag: "Script",
  parts: parts.map((part) => ({ after: Duration.seconds(1), part })),
  end: "finished"
})

const stack = (gates: ReadonlyArray<Gate.Gate>, ...steps: ReadonlyArray<TestProvider.Step>) => {
  const inner = TestProvider.make({ steps: steps.length === 0 ? ["ok"] : steps })
  return { inner, provider: Gate.through(gates)(inner) }
}

const reasonOf = (exit: Exit.Exit<unknown, unknown> | undefined): string | undefined => {
  const error = exit !== undefined && Exit.isFailure(exit) ? exit.cause.reasons[0] : undefined
  return error?._tag === "Fail" && error.error instanceof LlmError ? error.error.reason._tag : error?._tag
}

/** Runs a fiber to its end, however long that takes. */
const settled = <A, E>(fiber: Fiber.Fiber<A, E>) => Effect.andThen(TestClock.adjust("10 minutes"), Fiber.await(fiber))

describe.each(methods)("Gate.through, %s", (method) => {
  it.effect("settles a success once, in reverse order, with usage, headers and the provider's own time", () =>
    Effect.gen(function* () {
      const trace = new Trace()
      const store = new TestStore(trace)
      const slow = trace.admitting("slow", { ready: Effect.sleep("1 minute") })
      const { inner, provider } = stack([trace.admitting("a"), slow, trace.reserving("b", store)], script(answer))
      const fiber = yield* Effect.forkChild(run(provider, method, request))
      assert.isTrue(Exit.isSuccess(yield* settled(fiber)))
      assert.deepStrictEqual(trace.names, ["b", "slow", "a"])
      assert.deepInclude(trace.settlement("a"), {
        outcome: "success",
        phase: "answered",
        error: undefined,
        usage,
        headers,
        latency: 6_000,
        firstPart: method === "stream" ? 4_000 : undefined,
        lostRace: false
      })
      assert.strictEqual(inner.calls[0]?.startedAt, 60_000)
      trace.assertBalanced()
    })
  )

  it.effect("settles a typed failure with its phase and headers", () =>
    Effect.gen(function* () {
      const trace = new Trace()
      const reason = new AiError.RateLimitError({ http: { response: { status: 429, headers } } })
      const { inner, provider } = stack([trace.admitting("a")], TestProvider.failing(reason, "2 seconds"))
      const fiber = yield* Effect.forkChild(run(provider, method, request))
      assert.strictEqual(reasonOf(yield* settled(fiber)), "RateLimitError")
      const settlement = trace.settlement("a")
      assert.deepInclude(settlement, { outcome: "failure", phase: "sent", headers, latency: 2_000, usage: undefined })
      assert.strictEqual(settlement.error?.reason, reason)
      assert.strictEqual(inner.calls.length, 1)
    })
  )

  it.effect("settles a connection that failed as such", () =>
    Effect.gen(function* () {
      const trace = new Trace()
      const error = new LlmError({ provider: "p", model: "m", reason: overloaded, phase: "connecting" })
      yield* Effect.exit(run(stack([trace.admitting("a")], error).provider, method, request))
      assert.deepInclude(trace.settlement("a"), { outcome: "failure", phase: "connecting", error })
    })
  )

  it.effect("takes a refusal by an inner policy for one of its own", () =>
    Effect.gen(function* () {
      const trace = new Trace()
      const inner = Gate.through([trace.admitting("inner", { ready: Effect.delay(Effect.fail(open), "1 second") })])
      const provider = Gate.through([trace.admitting("outer")])(inner(TestProvider.make()))
      const fiber = yield* Effect.forkChild(run(provider, method, request))
      assert.strictEqual(reasonOf(yield* settled(fiber)), "CircuitOpen")
      assert.deepInclude(trace.settlement("outer"), { outcome: "refused", phase: "refused", latency: 0 })
    })
  )

  it.effect("settles defects and what the provider throws, and lets them through", () =>
    Effect.gen(function* () {
      const dying = TestProvider.make({ steps: [Effect.die("a bug")] })
      const throwing: Service = { ...dying, generate: thrower("a bug"), stream: thrower("a bug") }
      for (const inner of [dying, throwing]) {
        const trace = new Trace()
        const exit = yield* Effect.exit(run(Gate.through([trace.admitting("a")])(inner), method, request))
        assert.strictEqual(reasonOf(exit), "Die")
        assert.deepInclude(trace.settlement("a"), { outcome: "failure", phase: "sent", error: undefined })
      }
    })
  )

  it.effect("settles an interrupted call as abandoned, after the provider has let go", () =>
    Effect.gen(function* () {
      const trace = new Trace()
      const inner = TestProvider.make({ steps: [script(answer)] })
      const gate = trace.admitting("a", {
        settle: () => Effect.sync(() => assert.strictEqual(inner.calls[0]?.outcome, "interrupted"))
      })
      const fiber = yield* Effect.forkChild(run(Gate.through([gate])(inner), method, request))
      yield* TestClock.adjust("4500 millis")
      yield* Fiber.interrupt(fiber)
      assert.deepInclude(trace.settlement("a"), {
        outcome: "abandoned",
        phase: method === "stream" ? "answered" : "sent",
        error: undefined,
        latency: 4_500,
        firstPart: method === "stream" ? 4_000 : undefined
      })
    })
  )

  it.effect("takes an answer without content or with the finish reason error for a failure, and tells its usage", () =>
    Effect.gen(function* () {
      const flaws: ReadonlyArray<readonly [ReadonlyArray<LlmPart>, Gate.Settlement["outcome"]]> = [
        [[finish], "truncated"],
        [[{ type: "text-start", id: "0" }, { type: "text-end", id: "0" }, finish], "truncated"],
        [[...answer.slice(0, -1), { ...finish, reason: "error" }], "failure"]
      ]
      for (const [parts, outcome] of flaws) {
        const trace = new Trace()
        const { provider } = stack([trace.admitting("a")], TestProvider.paced(parts))
        assert.strictEqual(reasonOf(yield* Effect.exit(run(provider, method, request))), "InternalProviderError")
        assert.deepInclude(trace.settlement("a"), { outcome, phase: "answered", usage, headers })
      }
    })
  )

  it.effect("lets an empty answer pass whose finish reason explains it", () =>
    Effect.gen(function* () {
      const trace = new Trace()
      const { provider } = stack([trace.admitting("a")], TestProvider.paced([{ ...finish, reason: "length" }]))
      yield* run(provider, method, request)
      assert.deepInclude(trace.settlement("a"), { outcome: "success", usage })
    })
  )

  const refusals: Record<string, readonly [(trace: Trace, store: TestStore) => Gate.Gate, string]> = {
    "an admission that fails on the spot": [(t) => t.admitting("x", { admit: () => Exit.fail(open) }), "CircuitOpen"],
    "an admission that fails later": [
      (t) => t.admitting("x", { admit: () => Effect.andThen(Effect.yieldNow, Effect.fail(open)) }),
      "CircuitOpen"
    ],
    "an admission that dies": [(t) => t.admitting("x", { admit: () => Effect.die("a bug") }), "Die"],
    "an admission that throws": [(t) => t.admitting("x", { admit: thrower("a bug") }), "Die"],
    "an admission that interrupts itself": [(t) => t.admitting("x", { admit: () => Effect.interrupt }), "Interrupt"],
    "a claim that throws": [(t, store) => ({ ...t.reserving("x", store), claim: thrower("a bug") }), "Die"],
    "a turn that fails": [(t, store) => t.reserving("x", store, { turn: Effect.fail(limited) }), "RateLimitExceeded"]
  }

  it.effect.each(Object.entries(refusals))("settles the gates before %s as not called", ([, [gate, reason]]) =>
    Effect.gen(function* () {
      const trace = new Trace()
      const first = new TestStore(trace)
      const store = new TestStore(trace)
      const gates = [trace.admitting("a"), trace.reserving("b", first), trace.admitting("c"), gate(trace, store)]
      const { inner, provider } = stack([...gates, trace.admitting("behind")])
      assert.strictEqual(reasonOf(yield* Effect.exit(run(provider, method, request))), reason)
      assert.deepStrictEqual(trace.names, ["c", "b", "a"])
      for (const name of trace.names) {
        const { firstPart, latency, outcome, phase } = trace.settlement(name)
        assert.deepStrictEqual([outcome, phase, latency, firstPart], ["refused", "refused", 0, undefined])
      }
      assert.strictEqual(inner.calls.length, 0)
      assert.strictEqual(first.leases.size, 0)
      trace.assertBalanced()
    })
  )

  it.effect("puts the reason of a refusal into an error that names provider and model", () =>
    Effect.gen(function* () {
      const inner = TestProvider.make({ provider: "p", model: "m" })
      const gate = new Trace().admitting("x", { admit: () => Exit.fail(open) })
      const error = yield* Effect.flip(run(Gate.through([gate])(inner), method, request))
      assert.deepInclude(error, { provider: "p", model: "m", reason: open, phase: "refused" })
    })
  )

  const waits: Record<string, (trace: Trace, store: TestStore) => Gate.Gate> = {
    "waits in a permit's ready": (t) => t.admitting("x", { ready: Effect.never }),
    "waits after it was denied": (t, store) => t.reserving("denied", store, { denied: () => Effect.never }),
    "waits for its turn": (t, store) => t.reserving("x", store, { turn: Effect.never }),
    "is peeked at": (t) => t.admitting("x", { peek: () => Effect.never })
  }

  it.effect.each(Object.entries(waits))("gives everything back when interrupted while a gate %s", ([, gate]) =>
    Effect.gen(function* () {
      const trace = new Trace()
      const first = new TestStore(trace)
      const store = new TestStore(trace, { deny: (keys) => (keys.includes("denied") ? 0 : undefined) })
      const gates = [trace.admitting("a"), trace.reserving("b", first), trace.admitting("c"), gate(trace, store)]
      const { inner, provider } = stack(gates)
      const fiber = yield* Effect.forkChild(run(provider, method, request))
      yield* TestClock.adjust("1 second")
      assert.isUndefined(fiber.pollUnsafe())
      yield* Fiber.interrupt(fiber)
      assert.strictEqual(inner.calls.length, 0)
      assert.strictEqual(first.leases.size, 0)
      assert.isTrue(trace.settled.every(({ settlement }) => settlement.outcome === "refused"))
      trace.assertBalanced()
    })
  )

  it.effect("keeps what a slow admission granted to a call that was interrupted meanwhile", () =>
    Effect.gen(function* () {
      const trace = new Trace()
      const { inner, provider } = stack([trace.admitting("a", { admit: () => Effect.sleep("1 second") })])
      const fiber = yield* Effect.forkChild(run(provider, method, request))
      yield* Effect.yieldNow
      const interrupting = yield* Effect.forkChild(Fiber.interrupt(fiber))
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(interrupting)
      assert.deepInclude(trace.settlement("a"), { outcome: "refused", phase: "refused" })
      assert.strictEqual(inner.calls.length, 0)
    })
  )

  it.effect("settles a permit that was granted by an admission which interrupts the call", () =>
    Effect.gen(function* () {
      const trace = new Trace()
      const gate = trace.admitting("a")
      const suicidal: Gate.Admitting = {
        ...gate,
        admit: (call) => {
          Fiber.getCurrent()?.interruptUnsafe()
          return gate.admit(call)
        }
      }
      const { inner, provider } = stack([suicidal])
      const fiber = yield* Effect.forkChild(run(provider, method, request))
      assert.strictEqual(reasonOf(yield* Fiber.await(fiber)), "Interrupt")
      trace.settlement("a")
      assert.strictEqual(inner.calls.length, 0)
    })
  )

  const settles: Record<string, () => Effect.Effect<void>> = {
    "fails to end within a second": () => Effect.never,
    dies: () => Effect.die("a bug"),
    "dies later": () => Effect.andThen(Effect.yieldNow, Effect.die("a bug")),
    throws: thrower("a bug"),
    "interrupts itself": () => Effect.interrupt
  }

  it.effect.each(Object.entries(settles))("logs a settle that %s once, and settles the others", ([, settle]) =>
    Effect.gen(function* () {
      for (const step of ["ok", overloaded]) {
        const trace = new Trace()
        const store = new TestStore(trace)
        const gates = [trace.admitting("a"), trace.admitting("bad", { settle }), trace.reserving("c", store)]
        const { provider } = stack(gates, step)
        const fiber = yield* Effect.forkChild(logged(run(provider, method, request)))
        yield* TestClock.adjust("1 second")
        const { exit, lines } = yield* Fiber.join(fiber)
        assert.strictEqual(reasonOf(exit), step === "ok" ? undefined : "InternalProviderError")
        assert.deepStrictEqual(lines, ["gate bad could not be settled"])
        assert.deepStrictEqual(trace.names, ["c", "bad", "a"])
        trace.assertBalanced()
      }
    })
  )

  it.effect("waits for a slow settle before the one below it, and not longer", () =>
    Effect.gen(function* () {
      const trace = new Trace()
      const slow = trace.admitting("slow", { settle: () => Effect.sleep("200 millis") })
      const { provider } = stack([trace.admitting("a"), slow])
      const fiber = yield* Effect.forkChild(logged(run(provider, method, request)))
      yield* TestClock.adjust("199 millis")
      assert.deepStrictEqual(trace.names, ["slow"])
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual((yield* Fiber.join(fiber)).lines, [])
      assert.deepStrictEqual(trace.names, ["slow", "a"])
    })
  )

  it.effect("runs anew each time the same effect is run", () =>
    Effect.gen(function* () {
      const trace = new Trace()
      const store = new TestStore(trace)
      const { inner, provider } = stack([trace.admitting("a"), trace.reserving("b", store)])
      const call = run(provider, method, request)
      yield* Effect.all([call, call], { concurrency: 2 })
      yield* call
      assert.strictEqual(inner.calls.length, 3)
      assert.strictEqual(trace.names.filter((name) => name === "a").length, 3)
      assert.strictEqual(new Set(trace.events).size, trace.events.length, "no lease or permit appears twice")
      assert.strictEqual(store.leases.size, 0)
    })
  )

  it.effect("shows the gates who asks, by when, and whether the attempt may wait", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(5_000)
      const seen: Array<Gate.Call> = []
      const trace = new Trace()
      const { inner, provider } = stack([trace.admitting("a", { admit: (call) => Exit.succeed(seen.push(call)) })])
      yield* run(provider, method, request).pipe(
        Effect.provideService(Attempts.MayWait, false),
        Deadline.within("3 seconds"),
        Caller.provide({ tenant: "acme" })
      )
      const [call] = seen
      assert.deepInclude(call, { request, provider: inner, startedAt: 5_000, deadline: 8_000, mayWait: false })
      assert.deepStrictEqual(call?.caller, { tenant: "acme" })
    })
  )

  it.effect("tells the gates of a hedge that lost its race, and how slow it was", () =>
    Effect.gen(function* () {
      const trace = new Trace()
      const race = { lost: false }
      const { provider } = stack([trace.admitting("a")], script(answer))
      const fiber = yield* Effect.forkChild(Effect.provideService(run(provider, method, request), Attempts.Race, race))
      yield* TestClock.adjust("3 seconds")
      race.lost = true
      yield* Fiber.interrupt(fiber)
      assert.deepInclude(trace.settlement("a"), { outcome: "abandoned", lostRace: true, latency: 3_000 })
    })
  )
})

describe.each(methods)("the order of admission, %s", (method) => {
  it.effect("peeks first, reserves and admits in order, and admits last what was peeked", () =>
    Effect.gen(function* () {
      const trace = new Trace()
      const steps: Array<string> = []
      const note = (step: string) => () => Exit.succeed(void steps.push(step))
      const circuit = (name: string) => trace.admitting(name, { peek: note(`peek ${name}`), admit: note(name) })
      const store = new TestStore(trace, { before: Effect.sync(() => void steps.push("reserve")) })
      const gates = [
        trace.admitting("a", { admit: note("a") }),
        circuit("b"),
        trace.reserving("c", store),
        circuit("d")
      ]
      yield* run(stack(gates).provider, method, request)
      assert.deepStrictEqual(steps, ["peek b", "peek d", "a", "reserve", "b", "d"])
      assert.deepStrictEqual(trace.names, ["d", "b", "c", "a"])
    })
  )

  it.effect("takes nothing when a peek refuses", () =>
    Effect.gen(function* () {
      for (const peek of [() => Exit.fail(open), () => Effect.andThen(Effect.yieldNow, Effect.fail(open))]) {
        const trace = new Trace()
        const store = new TestStore(trace)
        const { inner, provider } = stack([trace.reserving("a", store), trace.admitting("b", { peek })])
        assert.strictEqual(reasonOf(yield* Effect.exit(run(provider, method, request))), "CircuitOpen")
        assert.deepStrictEqual(trace.events, [])
        assert.strictEqual(inner.calls.length, 0)
      }
    })
  )

  it.effect("lets none of 60 callers through that waited at a limiter while the circuit opened", () =>
    Effect.gen(function* () {
      const trace = new Trace()
      const room = yield* Deferred.make<void>()
      let full = true
      let isOpen = false
      const look = () => (isOpen ? Exit.fail(open) : Exit.void)
      const circuit = trace.admitting("circuit", { peek: look, admit: look })
      const store = new TestStore(trace, { deny: () => (full ? 0 : undefined) })
      const limiter = trace.reserving("limiter", store, { denied: () => Deferred.await(room) })
      const { inner, provider } = stack([limiter, circuit])
      const fibers = yield* Effect.replicateEffect(Effect.forkChild(run(provider, method, request)), 60)
      yield* TestClock.adjust("1 second")
      assert.isTrue(fibers.every((fiber) => fiber.pollUnsafe() === undefined))
      isOpen = true
      full = false
      yield* Deferred.succeed(room, undefined)
      for (const fiber of fibers) assert.strictEqual(reasonOf(yield* Fiber.await(fiber)), "CircuitOpen")
      assert.strictEqual(inner.calls.length, 0)
      assert.strictEqual(store.reserved.length, 60)
      assert.strictEqual(store.leases.size, 0)
      trace.assertBalanced()
    })
  )
})

describe.each(methods)("reservations, %s", (method) => {
  it.effect("asks and settles neighbours on one store as one, with their amounts in order", () =>
    Effect.gen(function* () {
      const trace = new Trace()
      const store = new TestStore(trace)
      const left: Array<ReadonlyArray<number>> = []
      const granted = (remaining: ReadonlyArray<number>) => void left.push(remaining)
      const budget = trace.reserving("budget", store, { quotas: ["day", "month"], actual: () => [7, 8], granted })
      const limiter = trace.reserving("limiter", store, { quotas: ["rpm"], actual: () => [1], granted })
      yield* run(stack([budget, limiter]).provider, method, request)
      assert.deepStrictEqual(store.reserved, [["day", "month", "rpm"]])
      assert.deepStrictEqual(store.amounts, [[7, 8, 1]])
      assert.deepStrictEqual(left, [[0, 1], [2]])
    })
  )

  it.effect("asks gates that stand apart, or on another store, by themselves", () =>
    Effect.gen(function* () {
      const trace = new Trace()
      const one = new TestStore(trace)
      const two = new TestStore(trace)
      const on = (name: string, store: TestStore) => trace.reserving(name, store)
      const gates = [on("a", one), trace.admitting("x"), on("b", one), on("c", two), on("d", one)]
      yield* run(stack(gates).provider, method, request)
      assert.deepStrictEqual(one.reserved, [["a"], ["b"], ["d"]])
      assert.deepStrictEqual(two.reserved, [["c"]])
      trace.assertBalanced()
    })
  )

  it.effect("tells the claim whose entry was denied, by its own index, and no other", () =>
    Effect.gen(function* () {
      const trace = new Trace()
      const store = new TestStore(trace, { deny: () => 3 })
      const denials: Array<unknown> = []
      const claim = (name: string, quotas: ReadonlyArray<string>) =>
        trace.reserving(name, store, {
          quotas,
          denied: (denied) =>
            Effect.andThen(
              Effect.sync(() => denials.push([name, denied])),
              Effect.fail(limited)
            )
        })
      const gates = [claim("a", ["1", "2"]), claim("none", []), claim("b", ["3", "4"]), claim("c", ["5"])]
      const { inner, provider } = stack(gates)
      assert.strictEqual(reasonOf(yield* Effect.exit(run(provider, method, request))), "RateLimitExceeded")
      assert.deepStrictEqual(denials, [["b", { _tag: "Denied", entry: 1, remaining: [2, 3], now: 0 }]])
      assert.strictEqual(store.amounts.length, 0)
      assert.strictEqual(inner.calls.length, 0)
    })
  )

  it.effect("dies of a denial of what was not asked for, and gives back what it holds", () =>
    Effect.gen(function* () {
      const trace = new Trace()
      const first = new TestStore(trace)
      const gates = [trace.reserving("a", first), trace.reserving("b", new TestStore(trace, { deny: () => 5 }))]
      assert.strictEqual(reasonOf(yield* Effect.exit(run(stack(gates).provider, method, request))), "Die")
      assert.strictEqual(first.leases.size, 0)
    })
  )

  it.effect("waits holding nothing, and then asks every store again", () =>
    Effect.gen(function* () {
      const trace = new Trace()
      let full = true
      const one = new TestStore(trace)
      const two = new TestStore(trace, { deny: () => (full ? 0 : undefined) })
      const limiter = trace.reserving("limiter", two, { denied: () => Effect.sleep("1 second") })
      const { inner, provider } = stack([trace.reserving("budget", one), limiter])
      const fiber = yield* Effect.forkChild(run(provider, method, request))
      yield* TestClock.adjust("2500 millis")
      assert.strictEqual(one.leases.size, 0)
      assert.strictEqual(one.reserved.length, 3)
      assert.strictEqual(inner.calls.length, 0)
      full = false
      yield* TestClock.adjust("500 millis")
      yield* Fiber.join(fiber)
      assert.strictEqual(one.reserved.length, 4)
      assert.strictEqual(two.reserved.length, 1)
      assert.strictEqual(inner.calls.length, 1)
      trace.assertBalanced()
    })
  )

  it.effect("takes its turn before the store is asked, once", () =>
    Effect.gen(function* () {
      const trace = new Trace()
      const store = new TestStore(trace, { deny: (_, granted) => (denials++ < 2 ? granted : undefined) })
      let denials = 0
      let turns = 0
      const turn = Effect.andThen(
        Effect.sleep("1 second"),
        Effect.sync(() => turns++)
      )
      const gates = [trace.reserving("a", store, { turn }), trace.reserving("b", store, { turn })]
      const fiber = yield* Effect.forkChild(run(stack(gates).provider, method, request))
      yield* TestClock.adjust("1999 millis")
      assert.deepStrictEqual(trace.events, [])
      yield* TestClock.adjust("1 millis")
      yield* Fiber.join(fiber)
      assert.deepStrictEqual([turns, denials, store.reserved.length], [2, 3, 1])
    })
  )

  const lost: Record<string, Effect.Effect<void, StoreUnavailable>> = {
    "the store is unavailable": Effect.fail(new StoreUnavailable({ store: "quota", operation: "reserve" })),
    "the store dies": Effect.die("a bug"),
    "the store never answers": Effect.never
  }

  it.effect.each(Object.entries(lost))("cancels a lease whose answer is lost when %s", ([, after]) =>
    Effect.gen(function* () {
      for (const when of [{ after }, { before: after }]) {
        const trace = new Trace()
        const store = new TestStore(trace, when)
        const { inner, provider } = stack([trace.reserving("a", store)])
        const fiber = yield* Effect.forkChild(run(provider, method, request))
        yield* TestClock.adjust("1 second")
        yield* Fiber.interrupt(fiber)
        assert.strictEqual(store.leases.size, 0)
        assert.strictEqual(store.amounts.length, 1)
        assert.deepInclude(trace.settlement("a"), { outcome: "refused", phase: "refused" })
        assert.strictEqual(inner.calls.length, 0)
        trace.assertBalanced()
      }
    })
  )

  it.effect("cancels a lease when the store fails or throws on the spot", () =>
    Effect.gen(function* () {
      const failures = [
        () => Exit.fail(new StoreUnavailable({ store: "quota", operation: "reserve" })),
        thrower("a bug")
      ]
      for (const reserve of failures) {
        const trace = new Trace()
        const store = new TestStore(trace)
        const failing = {
          reserve,
          settle: (lease: string, actual: ReadonlyArray<number>) => store.settle(lease, actual)
        }
        yield* Effect.exit(run(stack([trace.reserving("a", failing)]).provider, method, request))
        assert.strictEqual(store.amounts.length, 1)
      }
    })
  )

  it.effect("charges what a claim reserved that cannot say what it used, and its neighbour as it says", () =>
    Effect.gen(function* () {
      const trace = new Trace()
      const store = new TestStore(trace)
      const gates = [
        trace.reserving("throws", store, { actual: thrower("a bug") }),
        trace.reserving("short", store, { quotas: ["x", "y"], actual: () => [5] }),
        trace.reserving("right", store, { actual: () => [9] })
      ]
      const { exit, lines } = yield* logged(run(stack(gates).provider, method, request))
      assert.isTrue(Exit.isSuccess(exit))
      assert.deepStrictEqual(store.amounts, [[1, 5, 1, 9]])
      assert.deepStrictEqual(lines, ["gate throws and short and right could not be settled"])
    })
  )

  it.effect("keeps the call's result when the store cannot settle", () =>
    Effect.gen(function* () {
      const trace = new Trace()
      const gone = new StoreUnavailable({ store: "quota", operation: "settle" })
      const store = new TestStore(trace, { settle: () => Effect.fail(gone) })
      const { exit, lines } = yield* logged(run(stack([trace.reserving("a", store)]).provider, method, request))
      assert.isTrue(Exit.isSuccess(exit))
      assert.deepStrictEqual(lines, ["gate a could not be settled"])
    })
  )
})

describe.each(methods)("waits, %s", (method) => {
  const full = (trace: Trace) => new TestStore(trace, { deny: () => 0 })
  const waiting: Record<string, (trace: Trace) => Gate.Gate> = {
    denied: (t) => t.reserving("x", full(t), { denied: () => Effect.sleep("2 seconds") }),
    turn: (t) => t.reserving("x", new TestStore(t), { turn: Effect.sleep("4 seconds") }),
    ready: (t) => t.admitting("x", { ready: Effect.sleep("4 seconds") })
  }

  it.effect.each(Object.entries(waiting))("ends in TimedOut total where the deadline passes during %s", ([, gate]) =>
    Effect.gen(function* () {
      const trace = new Trace()
      const { inner, provider } = stack([trace.admitting("a"), gate(trace)])
      const call = run(provider, method, request)
      const fiber = yield* Effect.forkChild(Deadline.within(call, "4 seconds"))
      yield* TestClock.adjust("3999 millis")
      assert.isUndefined(fiber.pollUnsafe())
      yield* TestClock.adjust("1 millis")
      const error = yield* Effect.flip(Fiber.join(fiber))
      assert.deepInclude(error.reason, { _tag: "TimedOut", phase: "total", after: Duration.seconds(4) })
      assert.strictEqual(error.phase, "refused")
      assert.strictEqual(inner.calls.length, 0)
      assert.deepInclude(trace.settlement("a"), { outcome: "refused", error })
      trace.assertBalanced()
    })
  )

  it.effect("calls the provider where a wait ends just before the deadline", () =>
    Effect.gen(function* () {
      const { inner, provider } = stack([new Trace().admitting("x", { ready: Effect.sleep("4 seconds") })])
      const fiber = yield* Effect.forkChild(Deadline.within(run(provider, method, request), "4001 millis"))
      yield* TestClock.adjust("4 seconds")
      yield* Fiber.join(fiber)
      assert.strictEqual(inner.calls.length, 1)
    })
  )

  it.effect("refuses a hedge where it would have to wait", () =>
    Effect.gen(function* () {
      const gates: ReadonlyArray<(trace: Trace) => Gate.Gate> = [
        (t) => t.reserving("x", full(t)),
        (t) => t.admitting("x", { ready: Effect.never })
      ]
      for (const gate of gates) {
        const trace = new Trace()
        const { inner, provider } = stack([trace.admitting("a"), gate(trace)])
        const call = Effect.provideService(run(provider, method, request), Attempts.MayWait, false)
        const error = yield* Effect.flip(call)
        assert.deepInclude(error.reason, { _tag: "RateLimitExceeded", limit: "x", why: "limited" })
        assert.strictEqual(inner.calls.length, 0)
        trace.assertBalanced()
      }
    })
  )
})

describe("streams", () => {
  const dropped = <A>(use: (stream: Stream.Stream<LlmPart, LlmError>) => Effect.Effect<A, unknown>) =>
    Effect.gen(function* () {
      const trace = new Trace()
      const { inner, provider } = stack([trace.admitting("a"), trace.admitting("b")], script(answer))
      const fiber = yield* Effect.forkChild(Effect.exit(use(provider.stream(request))))
      yield* TestClock.adjust("1 hour")
      yield* Fiber.join(fiber)
      trace.assertBalanced()
      return { inner, trace }
    })

  it.effect("a stream that is not read takes nothing", () =>
    Effect.gen(function* () {
      const takes = [
        (stream: Stream.Stream<LlmPart, LlmError>) => Effect.succeed(stream),
        (stream: Stream.Stream<LlmPart, LlmError>) => Stream.runDrain(Stream.take(stream, 0)),
        (stream: Stream.Stream<LlmPart, LlmError>) => Effect.scoped(Stream.toPull(stream))
      ]
      for (const take of takes) {
        const { inner, trace } = yield* dropped(take)
        assert.deepStrictEqual(trace.events, [])
        assert.strictEqual(inner.calls.length, 0)
      }
    })
  )

  it.effect.each([1, 3, 5])("a stream dropped after %s parts is abandoned", (count) =>
    Effect.gen(function* () {
      const { inner, trace } = yield* dropped((stream) => Stream.runDrain(Stream.take(stream, count)))
      assert.deepStrictEqual(trace.names, ["b", "a"])
      assert.deepInclude(trace.settlement("a"), {
        outcome: "abandoned",
        phase: "answered",
        usage: undefined,
        latency: count * 1_000,
        firstPart: count < 4 ? undefined : 4_000
      })
      assert.notStrictEqual(inner.calls[0]?.outcome, "running")
    })
  )

  it.effect("a stream left at its finish part is a success", () =>
    Effect.gen(function* () {
      const { trace } = yield* dropped((stream) =>
        Stream.runDrain(Stream.takeUntil(stream, (part) => part.type === "finish"))
      )
      assert.deepInclude(trace.settlement("a"), { outcome: "success", usage, latency: 6_000, firstPart: 4_000 })
    })
  )

  it.effect("a reader that fails, dies or is slow says nothing about the provider", () =>
    Effect.gen(function* () {
      const readers: ReadonlyArray<Effect.Effect<void, string>> = [Effect.fail("no"), Effect.die("a bug")]
      for (const reader of readers) {
        const { trace } = yield* dropped((stream) => Stream.runForEach(stream, () => reader))
        assert.deepInclude(trace.settlement("a"), { outcome: "abandoned", error: undefined, latency: 1_000 })
        const last = yield* dropped((stream) =>
          Stream.runForEach(stream, (part) => (part.type === "finish" ? reader : Effect.void))
        )
        assert.deepInclude(last.trace.settlement("a"), { outcome: "success", usage })
      }
      const { trace } = yield* dropped((stream) =>
        Stream.runForEach(stream, (part) => (part.type === "finish" ? Effect.sleep("1 minute") : Effect.void))
      )
      assert.deepInclude(trace.settlement("a"), { outcome: "success", latency: 6_000 })
    })
  )

  const error: LlmPart = { type: "error", error: { type: "overloaded" } }
  const ends: Record<string, readonly [TestProvider.Step, Partial<Gate.Settlement>, string | undefined]> = {
    "is cut off": [
      TestProvider.broken(script(answer), 4),
      { outcome: "truncated", phase: "answered", usage: undefined, latency: 4_000, firstPart: 4_000 },
      "InternalProviderError"
    ],
    "is cut off before anything": [
      TestProvider.broken(script(answer), 0),
      { outcome: "truncated", phase: "answered", firstPart: undefined },
      "InternalProviderError"
    ],
    "fails on the way": [
      TestProvider.broken(script(answer), 4, overloaded),
      { outcome: "failure", phase: "answered", latency: 4_000, firstPart: 4_000 },
      "InternalProviderError"
    ],
    "brings an error in band": [
      script([...answer.slice(0, 4), error, finish]),
      { outcome: "failure", phase: "answered", usage: undefined, latency: 5_000, firstPart: 4_000 },
      "InternalProviderError"
    ],
    "fails behind its finish part": [
      TestProvider.broken(script(answer), 6, overloaded),
      { outcome: "success", error: undefined, usage, latency: 6_000 },
      undefined
    ],
    "brings an error behind its finish part": [
      script([...answer, error]),
      { outcome: "success", error: undefined, usage, latency: 6_000 },
      undefined
    ]
  }

  it.effect.each(Object.entries(ends))("a stream that %s is settled as it ended", ([, [step, expected, reason]]) =>
    Effect.gen(function* () {
      const trace = new Trace()
      const { provider } = stack([trace.admitting("a")], step)
      const fiber = yield* Effect.forkChild(run(provider, "stream", request))
      assert.strictEqual(reasonOf(yield* settled(fiber)), reason)
      assert.deepInclude(trace.settlement("a"), expected)
      assert.strictEqual(trace.settlement("a").error?.reason._tag, reason)
    })
  )

  it.effect("a provider that dies behind its finish part has answered, and its defect is not hidden", () =>
    Effect.gen(function* () {
      const trace = new Trace()
      const inner = TestProvider.make()
      const dying = { ...inner, stream: () => Stream.concat(inner.stream(request), Stream.die("a bug")) }
      const exit = yield* Effect.exit(run(Gate.through([trace.admitting("a")])(dying), "stream", request))
      assert.strictEqual(reasonOf(exit), "Die")
      assert.deepInclude(trace.settlement("a"), { outcome: "success" })
    })
  )

  it.effect("settles as soon as the provider's stream has ended, before its reader is done", () =>
    Effect.gen(function* () {
      const trace = new Trace()
      const { provider } = stack([trace.admitting("a")])
      const rest = Stream.fromEffect(Effect.never)
      yield* Effect.forkChild(Stream.runDrain(Stream.concat(provider.stream(request), rest)))
      yield* TestClock.adjust("1 second")
      assert.deepInclude(trace.settlement("a"), { outcome: "success" })
    })
  )

  it.effect("is admitted once, however often it is pulled after a refusal", () =>
    Effect.gen(function* () {
      const trace = new Trace()
      let admissions = 0
      const admit = () => (admissions++, Exit.fail(open))
      const { provider } = stack([trace.admitting("before"), trace.admitting("a", { admit })])
      const pull = yield* Stream.toPull(provider.stream(request))
      for (let i = 0; i < 3; i++) assert.strictEqual(reasonOf(yield* Effect.exit(pull)), "CircuitOpen")
      assert.strictEqual(admissions, 1)
      trace.assertBalanced()
    })
  )

  it.effect("takes nothing when it is pulled after its scope was closed", () =>
    Effect.gen(function* () {
      const trace = new Trace()
      const { inner, provider } = stack([trace.admitting("a")])
      const scope = yield* Scope.make()
      const pull = yield* Scope.provide(Stream.toPull(provider.stream(request)), scope)
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual(
        reasonOf(yield* Effect.exit(Effect.forkChild(pull).pipe(Effect.flatMap(Fiber.join)))),
        "Interrupt"
      )
      assert.deepStrictEqual(trace.events, [])
      assert.strictEqual(inner.calls.length, 0)
    })
  )

  it.effect("is settled with what its first reader knew, when another fiber ends it", () =>
    Effect.gen(function* () {
      const trace = new Trace()
      const race = { lost: false }
      const { provider } = stack([trace.admitting("a")], script(answer))
      const scope = yield* Scope.make()
      const pull = yield* Scope.provide(Stream.toPull(provider.stream(request)), scope)
      const first = yield* Effect.forkChild(Effect.provideService(pull, Attempts.Race, race))
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(first)
      race.lost = true
      yield* TestClock.adjust("4 seconds")
      yield* Scope.close(scope, Exit.void)
      assert.deepInclude(trace.settlement("a"), { outcome: "abandoned", lostRace: true, latency: 5_000 })
      assert.strictEqual(yield* Clock.currentTimeMillis, 5_000)
    })
  )

  it.effect("settles all of its gates though the closing of its scope is interrupted", () =>
    Effect.gen(function* () {
      const trace = new Trace()
      const slow = trace.admitting("slow", { settle: () => Effect.sleep("200 millis") })
      const { provider } = stack([trace.admitting("a"), slow])
      const scope = yield* Scope.make()
      yield* Effect.flatten(Scope.provide(Stream.toPull(provider.stream(request)), scope))
      const closing = yield* Effect.forkChild(Scope.close(scope, Exit.void))
      yield* TestClock.adjust("100 millis")
      closing.interruptUnsafe()
      yield* TestClock.adjust("100 millis")
      assert.deepStrictEqual(trace.names, ["slow", "a"])
    })
  )

  it.effect("closes the provider's stream before it settles", () =>
    Effect.gen(function* () {
      const order: Array<string> = []
      const trace = new Trace()
      const gate = trace.admitting("a", { settle: () => Effect.sync(() => void order.push("settled")) })
      const inner = TestProvider.make()
      const closing = Effect.addFinalizer(() => Effect.sync(() => void order.push("closed")))
      const provider = Gate.through([gate])({
        ...inner,
        stream: () => Stream.scoped(Stream.unwrap(Effect.as(closing, inner.stream(request))))
      })
      yield* Stream.runDrain(Stream.take(provider.stream(request), 1))
      assert.deepStrictEqual(order, ["closed", "settled"])
    })
  )
})

function thrower(message: string): () => never {
  return () => {
    throw new Error(message)
  }
}
