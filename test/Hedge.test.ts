import { assert, describe, it } from "@effect/vitest"
import { Clock, Duration, Effect, Exit, Fiber, Layer, Scheduler, Stream } from "effect"
import { AiError } from "effect/ai"
import { TestClock } from "effect/testing"
import * as Attempts from "effect-ballast/Attempts"
import * as Fallback from "effect-ballast/Fallback"
import * as Gate from "effect-ballast/Gate"
import * as Hedge from "effect-ballast/Hedge"
import * as LlmError from "effect-ballast/LlmError"
import * as LlmProvider from "effect-ballast/LlmProvider"
import { makeUnsafe } from "effect-ballast/LlmRequest"
import * as Retry from "effect-ballast/Retry"
import { TestProvider } from "effect-ballast/testing"
import { Trace } from "./support/gates.ts"
import { ask, counts, type Method, methods, scripted, timed } from "./support/providers.ts"

const request = makeUnsafe("hi")

const internal = new AiError.InternalProviderError({ description: "boom" })

/** Answers in one part, and is done, after this long. */
const after = (wait: Duration.Input, text = "late"): TestProvider.Script => {
  const [first, ...rest] = TestProvider.paced([{ type: "text-delta", id: "0", delta: text }]).parts
  const start = { after: Duration.zero, part: { type: "text-start", id: "0" } as const }
  const parts = first === undefined ? rest : [start, { ...first, after: Duration.fromInputUnsafe(wait) }, ...rest]
  return { _tag: "Script", parts, end: "finished" }
}

/** As many hedges as one likes. */
const generous = { delay: "1 second", ratio: 1 } as const

const open = (name: string) => LlmError.refuse(name, "m", new LlmError.CircuitOpen({ circuit: "c" }))

/** The race marks and the patience of the calls as their providers see them. */
const observing = <P extends LlmProvider.Service>(inner: P) => {
  const seen: Array<{ readonly mark: { lost: boolean } | undefined; readonly mayWait: boolean }> = []
  const look = Effect.withFiber((fiber) =>
    Effect.sync(() => {
      seen.push({ mark: fiber.getRef(Attempts.Race), mayWait: fiber.getRef(Attempts.MayWait) })
    })
  )
  return {
    ...inner,
    seen,
    generate: (asked: typeof request) => Effect.andThen(look, inner.generate(asked)),
    stream: (asked: typeof request) => Stream.unwrap(Effect.as(look, inner.stream(asked)))
  }
}

describe.each(methods)("Hedge, %s", (method) => {
  it.effect("does not start before the delay is over", () =>
    Effect.gen(function* () {
      const [first, second] = [scripted("first", [after("1 minute")]), scripted("second", ["two"])]
      const hedged = Hedge.make({ delay: "1 second" })([first, second])
      const fiber = yield* Effect.forkChild(ask(hedged, method, request))
      yield* TestClock.adjust("999 millis")
      assert.deepStrictEqual(counts(first, second), [1, 0])
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual(counts(first, second), [1, 1])
      assert.strictEqual((yield* Fiber.join(fiber)).text, "two")
    })
  )

  it.effect("is not made where the first answers in time, or fails", () =>
    Effect.gen(function* () {
      const quick = scripted("quick", [after("999 millis", "one")])
      const failing = scripted("failing", [TestProvider.failing(internal, "999 millis")])
      const second = scripted("second", ["two"])
      const { exit } = yield* timed(ask(Hedge.make(generous)([quick, second]), method, request))
      assert.strictEqual((yield* exit).text, "one")
      const { exit: failed } = yield* timed(ask(Hedge.make(generous)([failing, second]), method, request))
      assert.strictEqual((yield* Effect.flip(failed)).reason, internal)
      assert.deepStrictEqual(counts(quick, failing, second), [1, 1, 0])
    })
  )

  it.effect("the first answer is taken, the loser is marked, interrupted and closed", () =>
    Effect.gen(function* () {
      const first = observing(scripted("first", [after("1 minute")]))
      const second = observing(scripted("second", [after("2 seconds", "two")]))
      const { exit, took } = yield* timed(ask(Hedge.make(generous)([first, second]), method, request))
      assert.strictEqual((yield* exit).text, "two")
      assert.strictEqual(took, 3000)
      assert.strictEqual(first.calls[0]?.outcome, "interrupted")
      assert.strictEqual(first.calls[0]?.endedAt, 3000)
      assert.deepStrictEqual(first.seen, [{ mark: { lost: true }, mayWait: true }])
      assert.deepStrictEqual(second.seen, [{ mark: { lost: false }, mayWait: false }])
      assert.deepStrictEqual([first.live.open, second.live.open], [0, 0])
    })
  )

  it.effect("the first provider may still win", () =>
    Effect.gen(function* () {
      const first = observing(scripted("first", [after("2 seconds", "one")]))
      const second = observing(scripted("second", [after("1 minute")]))
      const { exit, took } = yield* timed(ask(Hedge.make(generous)([first, second]), method, request))
      assert.strictEqual((yield* exit).text, "one")
      assert.strictEqual(took, 2000)
      assert.deepStrictEqual([first.seen[0]?.mark?.lost, second.seen[0]?.mark?.lost], [false, true])
      assert.deepStrictEqual([second.calls[0]?.outcome, second.live.open], ["interrupted", 0])
    })
  )

  it.effect("answers of the same instant are one answer, and the other stream is closed", () =>
    Effect.gen(function* () {
      const first = scripted("first", [after("2 seconds", "one")])
      const second = scripted("second", [after("1 second", "two")])
      const { exit, took } = yield* timed(ask(Hedge.make(generous)([first, second]), method, request))
      assert.include(["one", "two"], (yield* exit).text)
      assert.strictEqual(took, 2000)
      assert.deepStrictEqual([first.live.open, second.live.open], [0, 0])
    })
  )

  it.effect("an answer does not wait until the loser has let go, an interruption does", () =>
    Effect.gen(function* () {
      let released = 0
      const slowly = Effect.never.pipe(
        Effect.onInterrupt(() =>
          Effect.andThen(
            Effect.sleep("10 seconds"),
            Effect.sync(() => released++)
          )
        )
      )
      const [first, second] = [scripted("first", [slowly]), scripted("second", ["two"])]
      const fiber = yield* Effect.forkChild(ask(Hedge.make(generous)([first, second]), method, request))
      yield* TestClock.adjust("1 second")
      assert.strictEqual((yield* fiber.pollUnsafe() ?? assert.fail("it waits")).text, "two")
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual(released, 1)

      const both = Hedge.make(generous)([first, scripted("second", [slowly])])
      const left = yield* Effect.forkChild(ask(both, method, request))
      yield* TestClock.adjust("1 second")
      const interrupting = yield* Effect.forkChild(Fiber.interrupt(left))
      yield* TestClock.adjust("9999 millis")
      assert.isUndefined(interrupting.pollUnsafe())
      // both at once, not one after the other
      yield* TestClock.adjust("1 millis")
      yield* Fiber.join(interrupting)
      assert.strictEqual(released, 3)
    })
  )

  it.effect("neither side has lost where the caller leaves or both fail", () =>
    Effect.gen(function* () {
      const [first, second] = [
        observing(scripted("first", [TestProvider.failing(internal, "1 minute")])),
        observing(scripted("second", [TestProvider.failing(internal, "30 seconds")]))
      ]
      const hedged = Hedge.make(generous)([first, second])
      const fiber = yield* Effect.forkChild(ask(hedged, method, request))
      yield* TestClock.adjust("2 seconds")
      yield* Fiber.interrupt(fiber)
      assert.deepStrictEqual([first.calls[0]?.outcome, second.calls[0]?.outcome], ["interrupted", "interrupted"])
      yield* timed(ask(hedged, method, request))
      assert.deepStrictEqual(
        [...first.seen, ...second.seen].map(({ mark }) => mark?.lost),
        [false, false, false, false]
      )
    })
  )

  it.effect("a first that fails while its hedge runs is waited out by the hedge", () =>
    Effect.gen(function* () {
      const first = scripted("first", [TestProvider.failing(internal, "2 seconds")])
      const second = scripted("second", [after("5 seconds", "two")])
      const { exit, took } = yield* timed(ask(Hedge.make(generous)([first, second]), method, request))
      assert.strictEqual((yield* exit).text, "two")
      assert.strictEqual(took, 6000)
    })
  )

  it.effect("a hedge that fails leaves the first to answer", () =>
    Effect.gen(function* () {
      const first = scripted("first", [after("5 seconds", "one")])
      const second = scripted("second", [internal])
      const { exit, took } = yield* timed(ask(Hedge.make(generous)([first, second]), method, request))
      assert.strictEqual((yield* exit).text, "one")
      assert.strictEqual(took, 5000)
    })
  )

  it.effect("both failing, the error is that of the hedge, unless it was not called", () =>
    Effect.gen(function* () {
      const first = scripted("first", [TestProvider.failing(internal, "5 seconds")])
      const { exit } = yield* timed(ask(Hedge.make(generous)([first, scripted("second", [internal])]), method, request))
      assert.strictEqual((yield* Effect.flip(exit)).provider, "second")
      const refused = Hedge.make(generous)([first, scripted("second", [open("second")])])
      const { exit: alone } = yield* timed(ask(refused, method, request))
      assert.strictEqual((yield* Effect.flip(alone)).provider, "first")
    })
  )

  it.effect("a defect of either side ends the call and both sides", () =>
    Effect.gen(function* () {
      const bug = Effect.andThen(Effect.sleep("2 seconds"), Effect.die("bug"))
      for (const steps of [
        [bug, after("1 minute")],
        [after("1 minute"), bug]
      ] as const) {
        const [first, second] = [scripted("first", [steps[0]]), scripted("second", [steps[1]])]
        const { exit, took } = yield* timed(ask(Hedge.make(generous)([first, second]), method, request))
        assert.isTrue(Exit.hasDies(exit))
        assert.isAtMost(took, 3000)
        assert.deepStrictEqual([first.live.open, second.live.open], [0, 0])
        assert.isFalse([...first.calls, ...second.calls].some((call) => call.outcome === "success"))
      }
    })
  )

  it.effect("running the same call again starts afresh", () =>
    Effect.gen(function* () {
      const [first, second] = [scripted("first", [after("1 minute")]), scripted("second", ["two"])]
      const call = ask(Hedge.make(generous)([first, second]), method, request)
      yield* timed(call)
      assert.strictEqual((yield* (yield* timed(call)).exit).text, "two")
      assert.deepStrictEqual(counts(first, second), [2, 2])
    })
  )

  it.effect("is never retried, and the first may be", () =>
    Effect.gen(function* () {
      const first = scripted("first", [TestProvider.failing(internal, "2 seconds"), after("1 minute")])
      const second = scripted("second", [internal])
      const retrying = Retry.make({ times: 3 })
      const fiber = yield* Effect.forkChild(
        ask(Hedge.make(generous)([retrying(first), retrying(second)]), method, request)
      )
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(counts(first, second), [2, 1])
      yield* Fiber.interrupt(fiber)
    })
  )
})

describe("a stream", () => {
  it.effect("is won by the first visible part, not by the first part", () =>
    Effect.gen(function* () {
      const silent = TestProvider.paced(
        [
          { type: "response-metadata", modelId: "m" },
          { type: "text-start", id: "0" },
          { type: "text-delta", id: "0", delta: "" },
          { type: "text-delta", id: "0", delta: "late" }
        ],
        { every: "500 millis" }
      )
      const [first, second] = [scripted("first", [silent]), scripted("second", [after("600 millis", "two")])]
      const { exit, took } = yield* timed(ask(Hedge.make(generous)([first, second]), "stream", request))
      assert.strictEqual((yield* exit).text, "two")
      assert.strictEqual(took, 1600)
    })
  )

  it.effect("that has begun is not hedged, however slow the rest of it is", () =>
    Effect.gen(function* () {
      const [first, second] = [
        scripted("first", [TestProvider.paced("a b", { firstPart: 0, every: "900 millis" })]),
        scripted("second", ["two"])
      ]
      const { exit } = yield* timed(ask(Hedge.make(generous)([first, second]), "stream", request))
      assert.strictEqual((yield* exit).text, "a b")
      assert.deepStrictEqual(counts(first, second), [1, 0])
    })
  )

  it.effect("of the hedge goes on when the race is over, and says who gave it", () =>
    Effect.gen(function* () {
      const second = scripted("second", [TestProvider.paced("a b c", { every: "10 seconds" })])
      // its parts come through a fiber of their own, which must outlive the race
      const buffered: LlmProvider.Service = {
        ...second,
        stream: (asked) => Stream.buffer(second.stream(asked), { capacity: 1 })
      }
      const hedged = Hedge.make(generous)([scripted("first", [TestProvider.hanging]), buffered])
      const { exit } = yield* timed(ask(hedged, "stream", request))
      assert.deepStrictEqual(yield* exit, { text: "a b c", by: { provider: "second", model: "test-model" } })
      assert.strictEqual(second.live.open, 0)
    })
  )

  it.effect("of the loser is closed while the winner's is still read", () =>
    Effect.gen(function* () {
      const first = scripted("first", [after("1 minute")])
      const second = scripted("second", [TestProvider.paced("a b c", { firstPart: 0, every: "10 seconds" })])
      const hedged = Hedge.make(generous)([first, second])
      const fiber = yield* Effect.forkChild(Stream.runDrain(hedged.stream(request)))
      yield* TestClock.adjust("12 seconds")
      assert.deepStrictEqual([first.live.open, second.live.open], [0, 1])
      yield* Fiber.interrupt(fiber)
      assert.strictEqual(second.live.open, 0)
    })
  )
})

describe("Hedge inside of a fallback", () => {
  const falling = (
    options: Fallback.Options,
    ...providers: readonly [LlmProvider.Service, ...Array<LlmProvider.Service>]
  ) => Fallback.make(options, Hedge.race(generous))(providers)

  it.effect("a first that fails before the delay fails over at once", () =>
    Effect.gen(function* () {
      const [first, second, third] = [scripted("first", [internal]), scripted("second", ["two"]), scripted("third", [])]
      const { exit, took } = yield* timed(ask(falling({}, first, second, third), "generate", request))
      assert.strictEqual((yield* exit).text, "two")
      assert.strictEqual(took, 0)
      assert.deepStrictEqual(counts(first, second, third), [1, 1, 0])
    })
  )

  it.effect("both failing, the call goes on behind both", () =>
    Effect.gen(function* () {
      const first = scripted("first", [TestProvider.failing(internal, "3 seconds")])
      const [second, third] = [scripted("second", [internal]), scripted("third", ["three"])]
      const { exit, took } = yield* timed(ask(falling({}, first, second, third), "stream", request))
      assert.strictEqual((yield* exit).text, "three")
      assert.strictEqual(took, 3000)
      assert.deepStrictEqual(counts(first, second, third), [1, 1, 1])
    })
  )

  it.effect("both failing, one for good, the call ends with the last that was called", () =>
    Effect.gen(function* () {
      const invalid = new AiError.InvalidRequestError({})
      const first = scripted("first", [TestProvider.failing(invalid, "3 seconds")])
      const [second, third] = [scripted("second", [internal]), scripted("third", ["three"])]
      const { exit } = yield* timed(ask(falling({}, first, second, third), "generate", request))
      assert.strictEqual((yield* Effect.flip(exit)).provider, "second")
      assert.deepStrictEqual(counts(third), [0])
    })
  )

  it.effect("a refused hedge is as if it had not been made: it costs no attempt, and is asked again later", () =>
    Effect.gen(function* () {
      const first = scripted("first", [TestProvider.failing(internal, "3 seconds")])
      const second = scripted("second", [open("second"), "two"])
      const { exit } = yield* timed(ask(falling({ maxAttempts: 2 }, first, second), "generate", request))
      assert.strictEqual((yield* exit).text, "two")
      assert.deepStrictEqual(counts(first, second), [1, 2])
      assert.strictEqual(second.calls[0]?.startedAt, 1000)
      assert.strictEqual(second.calls[1]?.startedAt, 3000)
    })
  )

  it.effect("a hedge takes from the ledger, and is not made where that is used up", () =>
    Effect.gen(function* () {
      const first = scripted("first", [after("5 seconds", "one")])
      const second = scripted("second", ["two"])
      const { exit } = yield* timed(ask(falling({ maxAttempts: 1 }, first, second), "generate", request))
      assert.strictEqual((yield* exit).text, "one")
      assert.deepStrictEqual(counts(first, second), [1, 0])
      const { exit: hedged } = yield* timed(ask(falling({ maxAttempts: 2 }, first, second), "generate", request))
      assert.strictEqual((yield* hedged).text, "two")
    })
  )

  it.effect("a provider that cannot fit the request is no hedge either", () =>
    Effect.gen(function* () {
      const overflow = new LlmError.ContextOverflow({ limit: 100 })
      const first = scripted("first", [overflow], { contextWindow: 100 })
      const larger = scripted("larger", [after("5 seconds", "fits")], { contextWindow: 200 })
      const small = scripted("small", ["no"], { contextWindow: 50 })
      const { exit } = yield* timed(ask(falling({}, first, larger, small), "generate", request))
      assert.strictEqual((yield* exit).text, "fits")
      assert.deepStrictEqual(counts(small), [0])
    })
  )

  it.effect("a broken stream of the hedge is resumed behind it", () =>
    Effect.gen(function* () {
      const breaking = TestProvider.broken(TestProvider.paced("a b"), 2, internal)
      const able = { continuesAnswers: true }
      const [first, second] = [scripted("first", [TestProvider.hanging]), scripted("second", [breaking], able)]
      const third = scripted("third", [" c"], able)
      const { exit } = yield* timed(ask(falling({ onBreak: "resume" }, first, second, third), "stream", request))
      assert.deepStrictEqual(yield* exit, { text: "a c", by: { provider: "third", model: "test-model" } })
      assert.deepStrictEqual(counts(first, second, third), [1, 1, 1])
    })
  )
})

describe("the share of calls that are hedged", () => {
  const hedges = (options: Hedge.Options, every: number) =>
    Effect.gen(function* () {
      const [first, second] = [scripted("first", [after("1 minute")]), scripted("second", ["two"])]
      const hedged = Hedge.make({ delay: "1 second", ...options })([first, second])
      const load = Effect.forEach(
        Array.from({ length: 1000 }, (_, i) => i),
        (i) => Effect.andThen(Effect.sleep(i * every), hedged.generate(request)),
        { concurrency: "unbounded", discard: true }
      )
      yield* timed(load)
      assert.strictEqual(first.calls.length, 1000)
      return second.calls.length
    })

  it.effect("is at most a twentieth and one in ten seconds, though all are slow", () =>
    Effect.gen(function* () {
      // 1,000 calls in 100 seconds; ten floors may be saved up
      assert.isAtMost(yield* hedges({}, 100), 50 + 11 + 10)
      assert.isAtLeast(yield* hedges({}, 100), 50)
      assert.isAtMost(yield* hedges({}, 0), 50 + 1 + 10)
    })
  )

  it.effect("is the share that was asked for", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* hedges({ ratio: 0, floor: 0 }, 100), 0)
      assert.strictEqual(yield* hedges({ ratio: 1, floor: 0 }, 0), 1000)
      assert.strictEqual(yield* hedges({ ratio: 0, floor: 2 }, 100), 2 + 2 * 9 + 1)
    })
  )

  it.effect("does not count what was refused", () =>
    Effect.gen(function* () {
      const first = scripted("first", [after("5 seconds", "one")])
      const second = scripted("second", [open("second"), open("second"), "two"])
      const hedged = Hedge.make({ delay: "1 second", ratio: 0, floor: 1 })([first, second])
      const texts: Array<string> = []
      for (let i = 0; i < 4; i++) texts.push((yield* (yield* timed(ask(hedged, "generate", request))).exit).text)
      assert.deepStrictEqual(texts, ["one", "one", "two", "two"])
    })
  )
})

describe("the delay", () => {
  /** Calls one after the other; when the second was started, in milliseconds from the start of its call. */
  const delays = (method: Method, latencies: ReadonlyArray<Duration.Input>) =>
    Effect.gen(function* () {
      const first = scripted(
        "first",
        latencies.map((latency) => after(latency))
      )
      const second = scripted("second", [TestProvider.hanging])
      const hedged = Hedge.make({ ratio: 1 })([first, second])
      for (const _ of latencies) yield* timed(ask(hedged, method, request))
      return second.calls.map(({ startedAt }) => startedAt % 3_600_000)
    })

  const quick = (count: number) => Array.from({ length: count }, (_, i) => (i + 1) * 10)

  it.effect.each(methods)("of %s is two seconds until twenty answers are known, then their 95th percentile", (method) =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* delays(method, [...quick(19), "10 seconds"]), [2000])
      assert.deepStrictEqual(yield* delays(method, [...quick(20), "10 seconds"]), [190])
    })
  )

  it.effect("is kept for answers and for streams apart, and for each provider", () =>
    Effect.gen(function* () {
      const [first, second, third] = [
        scripted("first", [after(50)]),
        scripted("second", [after("1 minute")]),
        scripted("third", [TestProvider.hanging])
      ]
      const race = Hedge.race({ ratio: 1 })
      const provider = Fallback.make({}, race)([first, second])
      for (let i = 0; i < 25; i++) yield* timed(ask(provider, "stream", request))
      const other = Fallback.make({}, race)([second, third])
      yield* timed(ask(other, "stream", request))
      yield* timed(ask(other, "generate", request))
      assert.deepStrictEqual(
        third.calls.map(({ startedAt }) => startedAt % 3_600_000),
        [2000, 2000]
      )
    })
  )

  it.effect("does not shrink because the slow ones lose", () =>
    Effect.gen(function* () {
      const first = scripted("first", [...quick(20).map((latency) => after(latency)), after("1 minute")])
      const second = scripted("second", [after("1 second")])
      const hedged = Hedge.make({ ratio: 1 })([first, second])
      for (let i = 0; i < 60; i++) yield* timed(ask(hedged, "generate", request))
      const last = second.calls.at(-1)?.startedAt ?? 0
      assert.isAtLeast(last % 3_600_000, 1000)
    })
  )
})

describe("a gate behind a hedge", () => {
  it.effect("sees that a loser was slow", () =>
    Effect.gen(function* () {
      const trace = new Trace()
      const gated = (name: string, inner: LlmProvider.Service) => Gate.through([trace.admitting(name)])(inner)
      for (const method of methods) {
        trace.settled.length = 0
        const first = gated("first", scripted("first", [after("1 minute")]))
        const second = gated("second", scripted("second", [after("4 seconds")]))
        yield* timed(ask(Hedge.make(generous)([first, second]), method, request))
        const { latency, lostRace, outcome, phase } = trace.settlement("first")
        assert.deepStrictEqual({ latency, lostRace, outcome }, { latency: 5000, lostRace: true, outcome: "abandoned" })
        assert.notStrictEqual(phase, "refused")
        assert.deepStrictEqual([trace.settlement("second").lostRace, trace.settlement("second").latency], [false, 4000])
      }
    })
  )

  it.effect("refuses a hedge that would have to wait, and the first may wait", () =>
    Effect.gen(function* () {
      const patience: Array<boolean> = []
      const limiter = new Trace().admitting("limiter", {
        admit: (call) => {
          patience.push(call.mayWait)
          return call.mayWait
            ? Effect.sleep("5 seconds")
            : Effect.fail(new LlmError.RateLimitExceeded({ limit: "rpm", why: "limited" }))
        }
      })
      const [first, second] = [scripted("first", ["one"]), scripted("second", ["two"])]
      const gate = Gate.through([limiter])
      const { exit } = yield* timed(ask(Hedge.make(generous)([gate(first), gate(second)]), "generate", request))
      assert.strictEqual((yield* exit).text, "one")
      assert.deepStrictEqual(patience, [true, false])
      assert.deepStrictEqual(counts(first, second), [1, 0])
    })
  )
})

describe("between any two steps", () => {
  const pause = (turns: number): Effect.Effect<void> =>
    turns === 0 ? Effect.void : Effect.flatMap(Effect.yieldNow, () => pause(turns - 1))

  const yields = (turns: number, step: TestProvider.Step): TestProvider.Step => Effect.as(pause(turns), step)

  /** Who is slower, and whether both answers or a failure may come at nearly the same time. */
  const races = {
    "the second wins": [yields(40, "one"), yields(1, "two")],
    "nearly a draw": [yields(14, "one"), yields(6, "two")],
    "both fail": [yields(14, internal), yields(6, internal)]
  } as const

  // at 2 a fiber of Effect 4.1 yields for ever
  describe.each([3, 4, 5])("where the scheduler yields every %s operations", (maxOps) => {
    it.effect("a draw leaves the stream of one side open, and of no other", () =>
      Effect.gen(function* () {
        const clock = yield* Clock.Clock
        const sleep = (duration: Duration.Duration) => (Duration.toMillis(duration) === 1 ? pause(4) : Effect.never)
        const long = TestProvider.paced("a b", { firstPart: 0, every: 0 })
        const unending = {
          ...long,
          parts: long.parts.slice(0, 2),
          end: { after: Duration.hours(1), failure: internal }
        }
        const winners: Array<string> = []
        for (let turns = 0; turns < 60; turns++) {
          const [first, second] = [
            scripted("first", [yields(60, unending)]),
            scripted("second", [yields(turns, unending)])
          ]
          const call = Stream.runDrain(Hedge.make({ delay: 1, ratio: 1 })([first, second]).stream(request)).pipe(
            Effect.provideService(Clock.Clock, { ...clock, sleep }),
            Effect.provideService(Scheduler.MaxOpsBeforeYield, maxOps)
          )
          const fiber = yield* Effect.forkChild(call)
          for (let i = 0; i < 500; i++) yield* Effect.yieldNow
          assert.deepStrictEqual([first.live.opened, second.live.opened], [1, 1])
          assert.strictEqual(first.live.open + second.live.open, 1, `after ${turns} turns`)
          winners.push(first.live.open === 1 ? "first" : "second")
          yield* Fiber.interrupt(fiber)
        }
        assert.deepStrictEqual(winners, winners.toSorted().toReversed(), "the later the second, the less it wins")
        assert.strictEqual(new Set(winners).size, 2)
      })
    )

    for (const method of methods) {
      it.effect.each(Object.entries(races))(
        `an interruption of ${method} leaves nothing open or running when %s`,
        ([, [one, two]]) =>
          Effect.gen(function* () {
            const clock = yield* Clock.Clock
            let hedged = 0
            let ended = 0
            let latest = 0
            for (let turns = 0; turns < 2000 && ended < 3; turns++) {
              const [first, second] = [scripted("first", [one]), scripted("second", [two])]
              const traces = [new Trace(), new Trace()] as const
              const gated = [first, second].map((inner, i) =>
                Gate.through([(traces[i] ?? traces[0]).admitting("gate")])(inner)
              )
              const provider = Hedge.make({ delay: 1, ratio: 1, floor: 1 })([gated[0] ?? first, gated[1] ?? second])
              const call = ask(provider, method, request).pipe(
                Effect.provideService(Clock.Clock, { ...clock, sleep: () => pause(4) }),
                Effect.provideService(Scheduler.MaxOpsBeforeYield, maxOps)
              )
              const fiber = yield* Effect.forkChild(call)
              for (let i = 0; i < turns; i++) yield* Effect.yieldNow
              if (fiber.pollUnsafe() !== undefined) ended++
              else latest = turns
              yield* Fiber.interrupt(fiber)
              // the loser of a race that was won ends by itself
              const isOpen = () => first.live.open + second.live.open > 0
              for (let i = 0; i < 200 && isOpen(); i++) yield* Effect.yieldNow
              for (let i = 0; i < 5; i++) yield* Effect.yieldNow
              hedged = Math.max(hedged, second.calls.length)
              assert.deepStrictEqual([first.live.open, second.live.open], [0, 0], `after ${turns} turns`)
              for (const trace of traces) trace.assertBalanced()
            }
            assert.strictEqual(ended, 3, "the call comes to its end when it is left alone")
            assert.strictEqual(hedged, 1)
            assert.isAtLeast(latest, method === "generate" ? 50 : 100, "the call was interrupted at many turns")
          })
      )
    }
  })
})

describe("withHedge", () => {
  it.effect("hedges the provider of a layer with that of another one", () =>
    Effect.gen(function* () {
      const layerOf = (name: string, step: TestProvider.Step) =>
        Layer.succeed(LlmProvider.LlmProvider, TestProvider.make({ provider: name, steps: [step] }))
      const layer = layerOf("slow", after("1 minute")).pipe(Hedge.withHedge(layerOf("quick", "quick"), generous))
      const { exit, took } = yield* timed(LlmProvider.generate("hi").pipe(Effect.provide(layer)))
      assert.strictEqual((yield* exit).provider, "quick")
      assert.strictEqual(took, 1000)
    })
  )

  it("promises a prefill only where both continue it", () => {
    const [able, unable] = [scripted("a", [], { continuesAnswers: true }), scripted("b", [])]
    assert.strictEqual(Hedge.make()([able, able]).continuesAnswers, true)
    assert.strictEqual(Hedge.make()([able, unable]).continuesAnswers, false)
  })
})

describe("options that can never work", () => {
  it.each<[Hedge.Options, string]>([
    [{ delay: 0 }, "Hedge.make: delay must be a duration > 0, got 0"],
    [{ delay: -1 }, "Hedge.make: delay must be a duration > 0, got -1"],
    [{ delay: Number.NaN }, "Hedge.make: delay must be a duration > 0, got NaN"],
    [{ ratio: -0.1 }, "Hedge.make: ratio must be a number from 0 to 1, got -0.1"],
    [{ ratio: 1.1 }, "Hedge.make: ratio must be a number from 0 to 1, got 1.1"],
    [{ ratio: Number.NaN }, "Hedge.make: ratio must be a number from 0 to 1, got NaN"],
    [{ floor: -1 }, "Hedge.make: floor must be an integer >= 0, got -1"],
    [{ floor: 0.5 }, "Hedge.make: floor must be an integer >= 0, got 0.5"]
  ])("%o", (options, message) => {
    assert.throws(() => Hedge.make(options), RangeError, message)
    assert.throws(() => Hedge.race(options), RangeError, message)
  })

  it.effect("a delay without end never hedges", () =>
    Effect.gen(function* () {
      const [first, second] = [scripted("first", [after("30 minutes", "one")]), scripted("second", ["two"])]
      const { exit } = yield* timed(ask(Hedge.make({ delay: Duration.infinity })([first, second]), "generate", request))
      assert.strictEqual((yield* exit).text, "one")
      assert.deepStrictEqual(counts(second), [0])
    })
  )
})
