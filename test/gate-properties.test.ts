/** What holds for every stack of gates, every ending and every moment of interruption: nothing leaks, nothing is settled twice. */
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Exit, Fiber, Logger, Scheduler, Schema, Stream } from "effect"
import { AiError } from "effect/ai"
import { TestClock } from "effect/testing"
import * as Gate from "effect-ballast/Gate"
import { CircuitOpen, RateLimitExceeded, StoreUnavailable } from "effect-ballast/LlmError"
import { makeUnsafe } from "effect-ballast/LlmRequest"
import type { LlmPart } from "effect-ballast/LlmResponse"
import { TestProvider } from "effect-ballast/testing"
import { methods, run, TestStore, Trace } from "./support/gates.ts"

const request = makeUnsafe("hi")
const open = new CircuitOpen({ circuit: "test" })
const limited = new RateLimitExceeded({ limit: "rpm", why: "limited" })
const overloaded = new AiError.InternalProviderError({ description: "overloaded" })
const gone = new StoreUnavailable({ store: "quota", operation: "any" })

/** Each as likely as the others, which small runs of an integer schema do not give. */
const upTo = (most: number) => Schema.Literals(Array.from({ length: most + 1 }, (_, i) => i))

const Settle = Schema.Literals(["sync", "slow", "dies", "throws", "hangs"])

const Admitting = Schema.Struct({
  kind: Schema.Literal("admitting"),
  admit: Schema.Literals(["sync", "slow", "yields"]),
  peeked: Schema.Boolean,
  waits: Schema.Boolean,
  settle: Settle
})

const Reserving = Schema.Struct({
  kind: Schema.Literal("reserving"),
  store: Schema.Literals([0, 1]),
  quotas: upTo(3),
  turn: Schema.Boolean,
  denied: Schema.Literals(["waits", "asks at once", "fails"]),
  tells: Schema.Boolean
})

const Store = Schema.Struct({
  answers: Schema.Literals(["sync", "slow", "late"]),
  /** How often it denies before it grants. */
  denials: upTo(2),
  /** Fails the second question (4), or dies of it (5). */
  down: upTo(5),
  settle: Schema.Literals(["sync", "slow", "fails", "dies"])
})

const Ending = Schema.Literals([
  "answers",
  "fails",
  "dies",
  "throws",
  "hangs",
  "is empty",
  "ends in an error",
  "is cut off",
  "breaks",
  "errs in band",
  "breaks behind the finish"
])

const Reader = Schema.Literals(["all", "none", "two", "to the finish", "fails"])

const Case = Schema.Struct({
  gates: Schema.Array(Schema.Union([Admitting, Reserving])).check(Schema.isMinLength(1), Schema.isMaxLength(6)),
  /** The gate that refuses, where there is one at that place. */
  refusing: upTo(17),
  refusal: Schema.Literals(["fails", "fails late", "dies", "throws", "interrupts"]),
  stores: Schema.Tuple([Store, Store]),
  ending: Ending,
  reader: Reader,
  /** In steps; a call that does not hang takes about as many as half of them. */
  interruptAfter: upTo(40),
  maxOps: Schema.Literals([3, 4, 5, 2048])
})

const step = Duration.millis(100)
const pause = Effect.sleep(step)

const fail = (): never => {
  throw new Error("a bug")
}

const settles: Record<typeof Settle.Type, () => Effect.Effect<void>> = {
  sync: () => Effect.void,
  slow: () => pause,
  dies: () => Effect.die("a bug"),
  throws: fail,
  hangs: () => Effect.never
}

const admissions = { sync: undefined, slow: () => pause, yields: () => Effect.yieldNow }

const refusals: Record<(typeof Case.Type)["refusal"], () => Effect.Effect<void, CircuitOpen>> = {
  fails: () => Exit.fail(open),
  "fails late": () => Effect.andThen(pause, Effect.fail(open)),
  dies: () => Effect.die("a bug"),
  throws: fail,
  interrupts: () => Effect.interrupt
}

const admitting = (trace: Trace, name: string, spec: typeof Admitting.Type): Gate.Admitting => {
  const admit = admissions[spec.admit]
  return trace.admitting(name, {
    ...(spec.peeked ? { peek: () => Exit.void } : {}),
    ...(spec.waits ? { ready: pause } : {}),
    ...(admit === undefined ? {} : { admit }),
    settle: settles[spec.settle]
  })
}

const denials = { waits: pause, "asks at once": Exit.void, fails: Exit.fail(limited) }

const reserving = (trace: Trace, name: string, store: TestStore, spec: typeof Reserving.Type): Gate.Reserving =>
  trace.reserving(name, store, {
    quotas: Array.from({ length: spec.quotas }, (_, i) => `${name}.${i}`),
    turn: spec.turn ? pause : undefined,
    denied: () => denials[spec.denied],
    ...(spec.tells ? {} : { actual: fail })
  })

const refusing = (gate: Gate.Gate, refusal: (typeof Case.Type)["refusal"]): Gate.Gate => {
  const refuse = refusals[refusal]
  if (gate._tag === "Reserving") return { ...gate, claim: (call) => ({ ...gate.claim(call), turn: refuse() }) }
  if (refusal !== "fails late") return { ...gate, admit: () => Effect.andThen(refuse(), Effect.never) }
  const late = (call: Gate.Call) =>
    Effect.map(
      Effect.suspend(() => gate.admit(call)),
      (permit) => ({ ...permit, ready: refuse() })
    )
  return { ...gate, admit: late }
}

const storeOf = (trace: Trace, spec: typeof Store.Type): TestStore => {
  let left = spec.denials
  let asked = 0
  const waits = spec.answers === "sync" ? undefined : pause
  const answering = Effect.suspend(() => {
    if (asked++ === 1 && spec.down > 3) return spec.down === 4 ? Effect.fail(gone) : Effect.die("a bug")
    return waits ?? Effect.void
  })
  const answers = waits === undefined && spec.down < 4 ? undefined : answering
  const settled = { sync: Exit.void, slow: pause, fails: Effect.fail(gone), dies: Effect.die("a bug") }
  return new TestStore(trace, {
    ...(spec.answers === "late" ? { after: answers } : { before: answers }),
    deny: (keys) => (keys.length > 0 && left-- > 0 ? keys.length - 1 : undefined),
    settle: () => settled[spec.settle]
  })
}

const finish: LlmPart = { type: "finish", reason: "stop", usage: { inputTokens: {}, outputTokens: {} } }
const answer = TestProvider.paced("one two three", { firstPart: step, every: step })

const endings: Record<typeof Ending.Type, TestProvider.Step> = {
  answers: answer,
  fails: TestProvider.failing(overloaded, step),
  dies: Effect.andThen(pause, Effect.die("a bug")),
  throws: fail,
  hangs: TestProvider.hanging,
  "is empty": [finish],
  "ends in an error": TestProvider.paced("one two three", { every: step, finishReason: "error" }),
  "is cut off": TestProvider.broken(answer, 3),
  breaks: TestProvider.broken(answer, 3, overloaded),
  "errs in band": TestProvider.paced([
    { type: "text-delta", id: "0", delta: "x" },
    { type: "error", error: "x" }
  ]),
  "breaks behind the finish": TestProvider.broken(answer, answer.parts.length, overloaded)
}

type Reading = (stream: Stream.Stream<LlmPart, unknown>) => Effect.Effect<void, unknown>

const readers: Record<typeof Reader.Type, Reading> = {
  all: Stream.runDrain,
  none: (stream) => Stream.runDrain(Stream.take(stream, 0)),
  two: (stream) => Stream.runDrain(Stream.take(stream, 2)),
  "to the finish": (stream) => Stream.runDrain(Stream.takeUntil(stream, (part) => part.type === "finish")),
  fails: (stream) => Stream.runForEach(stream, (part) => (part.type === "text-delta" ? Effect.fail("no") : Effect.void))
}

/** Lets time pass a step at a time, so that a fiber which yields often reaches its next sleep. */
const steps = (fiber: Fiber.Fiber<unknown, unknown>, most: number) =>
  Effect.gen(function* () {
    for (let i = 0; i < most && fiber.pollUnsafe() === undefined; i++) yield* TestClock.adjust(step)
  })

const quiet = Effect.provide(Logger.layer([]))

/** Checks that what was granted was settled, and that what was settled says what happened to the provider. */
const assertSettled = (trace: Trace, stores: ReadonlyArray<TestStore>, called: boolean): void => {
  trace.assertBalanced()
  for (const store of stores) assert.strictEqual(store.leases.size, 0, "no lease is left")
  for (const { settlement } of trace.settled) {
    assert.strictEqual(settlement.outcome === "refused", settlement.phase === "refused")
    if (settlement.outcome === "refused") assert.deepInclude(settlement, { latency: 0, firstPart: undefined })
    if (settlement.outcome === "success") assert.isUndefined(settlement.error)
  }
  if (called) assert.notStrictEqual(trace.settled.at(-1)?.settlement.outcome, "refused")
}

describe.each(methods)("any stack of gates, %s", (method) => {
  it.effect.prop(
    "settles what was granted exactly once, the last first, whatever happens",
    [Case],
    ([spec]) =>
      Effect.gen(function* () {
        const trace = new Trace()
        const stores = spec.stores.map((store) => storeOf(trace, store))
        const gates = spec.gates.map((gate, i) => {
          const made =
            gate.kind === "admitting"
              ? admitting(trace, `a${i}`, gate)
              : reserving(trace, `r${i}`, stores[gate.store] ?? assert.fail(), gate)
          return i === spec.refusing ? refusing(made, spec.refusal) : made
        })
        const inner = TestProvider.make({ steps: [endings[spec.ending]] })
        const provider = Gate.through(gates)(inner)
        const call =
          method === "stream"
            ? Effect.suspend(() => readers[spec.reader](provider.stream(request)))
            : run(provider, method, request)
        const fiber = yield* Effect.forkChild(
          quiet(Effect.provideService(call, Scheduler.MaxOpsBeforeYield, spec.maxOps))
        )
        yield* steps(fiber, spec.interruptAfter)
        fiber.interruptUnsafe()
        yield* steps(fiber, 1_000)
        assert.isDefined(fiber.pollUnsafe(), "the call ends")
        assertSettled(trace, stores, inner.calls.length > 0)
        if (method === "stream" && spec.reader === "none") assert.deepStrictEqual(trace.events, [])
      }),
    { timeout: 30_000, arbitrary: { runs: 1_000 } }
  )
})

/** One of everything that can yield between a grant and its settle. */
const everything = (trace: Trace) => {
  const yields = Effect.yieldNow
  const once = (entry: number) => {
    let denied = false
    return () => (denied ? undefined : ((denied = true), entry))
  }
  const sync = new TestStore(trace, { settle: () => yields })
  const slow = new TestStore(trace, { before: yields, after: yields, deny: once(1), settle: () => yields })
  const denied = () => yields
  const gates = [
    trace.admitting("circuit", { peek: () => yields, admit: () => Exit.void }),
    trace.admitting("sync", { settle: () => yields }),
    trace.admitting("slow", { admit: () => yields, ready: yields }),
    trace.reserving("budget", sync, { turn: yields }),
    trace.reserving("rpm", slow, { denied }),
    trace.reserving("tpm", slow, { denied })
  ]
  return { gates, stores: [sync, slow] }
}

/** An answer that yields, but needs no clock. */
const yielding: TestProvider.Step = Effect.as(Effect.yieldNow, "one two three")

describe.each(methods)("interruption between any two steps, %s", (method) => {
  // at 2 a fiber of Effect 4.1 yields for ever
  it.effect.each([3, 4, 5, 7])(
    "leaks nothing where the scheduler yields every %s operations",
    (maxOps) =>
      Effect.gen(function* () {
        let ended = 0
        let called = 0
        for (let turns = 0; turns < 2_000 && ended < 3; turns++) {
          const trace = new Trace()
          const { gates, stores } = everything(trace)
          const inner = TestProvider.make({ steps: [yielding] })
          const call = run(Gate.through(gates)(inner), method, request)
          const fiber = yield* Effect.forkChild(Effect.provideService(call, Scheduler.MaxOpsBeforeYield, maxOps))
          for (let i = 0; i < turns; i++) yield* Effect.yieldNow
          if (fiber.pollUnsafe() !== undefined) ended++
          yield* Fiber.interrupt(fiber)
          assertSettled(trace, stores, inner.calls.length > 0)
          called = Math.max(called, inner.calls.length)
          if (ended > 0) assert.isAtLeast(turns, 40, "the call was interrupted at many turns")
        }
        assert.strictEqual(ended, 3, "the call comes to its end when it is left alone")
        assert.strictEqual(called, 1)
      }),
    30_000
  )
})
