import { spawnSync } from "node:child_process"
import process from "node:process"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Clock, Duration, Effect, Exit, Fiber, Latch, Schema, Scheduler, Scope, Stream } from "effect"
import { AiError, Prompt } from "effect/ai"
import { TestClock } from "effect/testing"
import * as Caller from "effect-ballast/Caller"
import * as Deadline from "effect-ballast/Deadline"
import { Alarm, wheelOf } from "effect-ballast/internal/timer"
import { LlmError } from "effect-ballast/LlmError"
import * as LlmProvider from "effect-ballast/LlmProvider"
import * as LlmRequest from "effect-ballast/LlmRequest"
import { type LlmPart, LlmResponse } from "effect-ballast/LlmResponse"
import { TestProvider } from "effect-ballast/testing"
import * as Timeouts from "effect-ballast/Timeouts"

const request = LlmRequest.makeUnsafe("hi")
const text = (delta: string): LlmPart => ({ type: "text-delta", id: "0", delta })
const reasoning = (delta: string): LlmPart => ({ type: "reasoning-delta", id: "0", delta })
const metadata: LlmPart = { type: "response-metadata", id: "r", modelId: "m" }

/** A stream whose parts come so many milliseconds after one another; without `finish` it then hangs. */
const script = (
  ...parts: ReadonlyArray<readonly [after: number, part: LlmPart]>
): TestProvider.Script & { readonly parts: ReadonlyArray<unknown> } => ({
  _tag: "Script",
  parts: parts.map(([after, part]) => ({ after: Duration.millis(after), part })),
  end: "finished"
})

const hangs: readonly [number, LlmPart] = [10_000_000, text("never")]

const both = (options: Timeouts.Options) => (provider: LlmProvider.Service) =>
  Timeouts.deadline(options)(Timeouts.make(options)(provider))

/** What a failure says: phase of the timeout, milliseconds, and how far the call had come. */
const verdict = (error: LlmError) =>
  error.reason._tag === "TimedOut"
    ? [error.reason.phase, Duration.toMillis(error.reason.after), error.phase]
    : [error.reason._tag]

const tags = (exit: Exit.Exit<unknown, unknown>): ReadonlyArray<string> =>
  Exit.isFailure(exit) ? exit.cause.reasons.map(({ _tag }) => _tag) : []

/** A provider whose calls release something before they end. */
const finalizing = (provider: LlmProvider.Service, release: Effect.Effect<void>): LlmProvider.Service => ({
  ...provider,
  generate: (request) => Effect.onExit(provider.generate(request), () => release),
  stream: (request) => Stream.onExit(provider.stream(request), () => release)
})

const alarms = Effect.withFiber((fiber) => Effect.succeed(wheelOf(fiber).size))

/** Runs it in the background; `at` moves the clock to an instant. */
const start = <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.forkChild(self, { startImmediately: true })
const at = (millis: number) => TestClock.setTime(millis)

/** Still running at `limit - 1`, failed with these words at `limit`. */
const endsAt = <A>(
  limit: number,
  expected: ReadonlyArray<unknown>,
  self: Effect.Effect<A, LlmError>,
  provider?: TestProvider.Service
) =>
  Effect.gen(function* () {
    const fiber = yield* start(self)
    yield* at(limit - 1)
    assert.strictEqual(fiber.pollUnsafe(), undefined)
    yield* at(limit)
    const exit = fiber.pollUnsafe()
    assert.isDefined(exit)
    assert.deepStrictEqual(verdict(yield* Effect.flip(Fiber.join(fiber))), expected)
    if (provider) {
      const call = provider.calls.at(-1)
      assert.deepStrictEqual([call?.outcome, call?.endedAt], ["interrupted", limit])
    }
    assert.strictEqual(yield* alarms, 0)
  })

describe("generate", () => {
  it.effect("an attempt fails at its limit and not a millisecond before; the provider sees an interruption", () => {
    const provider = TestProvider.make({ steps: [TestProvider.hanging] })
    const slow = TestProvider.make({ steps: [script([10_000, text("never")])] })
    return Effect.gen(function* () {
      yield* endsAt(1000, ["attempt", 1000, "sent"], Timeouts.make({ attempt: "1 second" })(provider).generate(request))
      const again = Timeouts.make({ attempt: "2 seconds" })(slow).generate(request)
      yield* endsAt(3000, ["attempt", 2000, "sent"], again, slow)
    })
  })

  it.effect("an answer that comes a millisecond before the limit is an answer", () => {
    const paced = TestProvider.paced("hello", { firstPart: 999 })
    const provider = Timeouts.make({ attempt: "1 second" })(TestProvider.make({ steps: [paced] }))
    return Effect.gen(function* () {
      const fiber = yield* start(provider.generate(request))
      yield* at(999)
      assert.strictEqual((yield* Fiber.join(fiber)).text, "hello")
      assert.strictEqual(yield* alarms, 0)
    })
  })

  it.effect("the deadline shortens an attempt, which then fails as the total", () => {
    const provider = TestProvider.make({ steps: [script(hangs)] })
    const call = both({ total: "3 seconds", attempt: "10 seconds" })(provider).generate(request)
    return Effect.gen(function* () {
      yield* endsAt(3000, ["total", 3000, "sent"], call, provider)
      const sooner = Deadline.within(call, "1 second")
      yield* endsAt(4000, ["total", 1000, "sent"], sooner, provider)
      const later = Deadline.within(call, "1 hour")
      yield* endsAt(7000, ["total", 3000, "sent"], later, provider)
      const both = Deadline.within(Timeouts.make({ attempt: "1 second" })(provider).generate(request), "1 second")
      yield* endsAt(8000, ["total", 1000, "sent"], both, provider)
    })
  })

  it.effect("an attempt that begins late has only what is left of the total", () => {
    const provider = TestProvider.make({ steps: [script(hangs)] })
    const inner = Timeouts.make({ attempt: "2 seconds" })(provider)
    const late: LlmProvider.Service = {
      ...inner,
      generate: (request) => Effect.andThen(Effect.sleep("1500 millis"), inner.generate(request))
    }
    return endsAt(
      3000,
      ["total", 1500, "sent"],
      Timeouts.deadline({ total: "3 seconds" })(late).generate(request),
      provider
    )
  })

  it.effect("a deadline that has passed keeps the call from the provider", () => {
    const provider = TestProvider.make()
    const inner = Timeouts.make()(provider)
    return Effect.gen(function* () {
      yield* at(5000)
      for (const deadline of [4999, 5000]) {
        for (const call of [inner.generate(request), Stream.runDrain(inner.stream(request))]) {
          const failure = yield* Effect.flip(Effect.provideService(call, Deadline.Deadline, deadline))
          assert.deepStrictEqual(verdict(failure), ["total", 0, "refused"])
        }
      }
      assert.strictEqual(provider.calls.length, 0)
      yield* Effect.provideService(inner.generate(request), Deadline.Deadline, 5001)
      assert.strictEqual(provider.calls.length, 1)
    })
  })

  it.effect("an answer on the spot sets no timer, and no limit makes no fiber", () => {
    const response = new LlmResponse({ provider: "p", model: "m", parts: [] })
    let fiberId = 0
    let most = 0
    const provider: LlmProvider.Service = {
      ...TestProvider.make(),
      generate: () =>
        Effect.withFiber((fiber) => {
          fiberId = fiber.id
          most = Math.max(most, wheelOf(fiber).size)
          return Effect.succeed(response)
        })
    }
    return Effect.withFiber((fiber) =>
      Effect.gen(function* () {
        assert.strictEqual(yield* Timeouts.make()(provider).generate(request), response)
        assert.notStrictEqual(fiberId, fiber.id)
        yield* Timeouts.make({ attempt: Duration.infinity })(provider).generate(request)
        assert.strictEqual(fiberId, fiber.id)
        yield* Timeouts.deadline()(provider).generate(request)
        assert.strictEqual(fiberId, fiber.id)
        assert.strictEqual(most + (yield* alarms), 0)
      })
    )
  })

  it.effect("the work sees the context of its caller", () => {
    const provider = TestProvider.make()
    const seeing: LlmProvider.Service = {
      ...provider,
      generate: () =>
        Effect.gen(function* () {
          yield* Effect.sleep("1 second")
          const span = yield* Effect.currentSpan
          const { tenant } = yield* Caller.Caller
          return yield* Effect.die([tenant, span.name, yield* Deadline.Deadline])
        }).pipe(Effect.orDie)
    }
    const call = both({ total: "4 seconds" })(seeing)
      .generate(request)
      .pipe(Caller.provide({ tenant: "acme" }), Effect.withSpan("outer"))
    return Effect.gen(function* () {
      const fiber = yield* start(Effect.exit(call))
      yield* at(1000)
      const exit = yield* Fiber.join(fiber)
      assert.deepStrictEqual(Exit.isFailure(exit) && Cause.squash(exit.cause), ["acme", "outer", 4000])
    })
  })

  it.effect("failures, defects and interruption of the provider's own pass as they are", () => {
    const boom = new Error("boom")
    const reason = new AiError.InternalProviderError({ description: "overloaded" })
    const typed = Effect.fail(new LlmError({ provider: "p", model: "m", reason }))
    const failing = (failure: Effect.Effect<never, LlmError>): LlmProvider.Service => ({
      ...TestProvider.make(),
      generate: () => Effect.andThen(Effect.sleep("1 second"), failure),
      stream: () => Stream.fromEffect(Effect.andThen(Effect.sleep("1 second"), failure))
    })
    return Effect.gen(function* () {
      for (const failure of [Effect.die(boom), Effect.interrupt, typed] as const) {
        const provider = both({})(failing(failure))
        const expected = yield* Effect.exit(failure)
        for (const call of [provider.generate(request), Stream.runDrain(provider.stream(request))]) {
          const fiber = yield* start(Effect.exit(call))
          yield* TestClock.adjust("1 second")
          const exit = yield* Fiber.join(fiber)
          assert.deepStrictEqual(tags(exit), tags(expected))
        }
      }
      const throwing: LlmProvider.Service = {
        ...TestProvider.make(),
        generate: () => {
          throw boom
        }
      }
      const exit = yield* Effect.exit(both({})(throwing).generate(request))
      assert.strictEqual(Exit.isFailure(exit) && Cause.squash(exit.cause), boom)
      assert.strictEqual(yield* alarms, 0)
    })
  })

  it.effect("interrupting a call in flight reaches the provider and waits for its finalizers", () => {
    const provider = TestProvider.make({ steps: [script(hangs)] })
    return Effect.gen(function* () {
      const released = yield* Latch.make()
      const stubborn = Timeouts.make()(finalizing(provider, released.await))
      for (const call of [stubborn.generate(request), Stream.runDrain(stubborn.stream(request))]) {
        yield* released.close
        const fiber = yield* start(call)
        assert.strictEqual(yield* alarms, 1)
        const interruption = yield* start(Fiber.interrupt(fiber))
        yield* Effect.yieldNow
        assert.strictEqual(interruption.pollUnsafe(), undefined)
        yield* released.open
        yield* Fiber.join(interruption)
        assert.strictEqual(provider.calls.at(-1)?.outcome, "interrupted")
        assert.strictEqual(yield* alarms, 0)
      }
      assert.strictEqual(provider.calls.length, 2)
    })
  })

  it.effect("a provider that ignores interruption for a while is waited for, and its limit still counts", () => {
    const provider = TestProvider.make({ steps: [script(hangs)] })
    const stubborn = Timeouts.make({ attempt: "1 second" })(finalizing(provider, Effect.sleep("3 seconds")))
    return Effect.gen(function* () {
      const fiber = yield* start(stubborn.generate(request))
      yield* at(3999)
      assert.strictEqual(provider.calls[0]?.outcome, "interrupted")
      assert.strictEqual(fiber.pollUnsafe(), undefined)
      yield* at(4000)
      assert.deepStrictEqual(verdict(yield* Effect.flip(Fiber.join(fiber))), ["attempt", 1000, "sent"])
    })
  })

  it.effect("a call that cannot be interrupted is waited for, too, and its late answer does not count", () => {
    const paced = TestProvider.make({ steps: [TestProvider.paced("late", { firstPart: "3 seconds" })] })
    const stubborn: LlmProvider.Service = {
      ...paced,
      generate: (request) => Effect.uninterruptible(paced.generate(request))
    }
    const call = Timeouts.make({ attempt: "1 second" })(stubborn).generate(request)
    return endsAt(3000, ["attempt", 1000, "sent"], call)
  })

  it.effect("a finalizer that dies is not hidden by the timeout, nor by an interruption", () => {
    const boom = new Error("boom")
    const provider = finalizing(TestProvider.make({ steps: [script(hangs)] }), Effect.die(boom))
    const call = Timeouts.make({ attempt: "1 second" })(provider).generate(request)
    return Effect.gen(function* () {
      const fiber = yield* start(Effect.exit(call))
      yield* at(1000)
      assert.deepStrictEqual(tags(yield* Fiber.join(fiber)), ["Fail", "Die"])
      const interrupted = yield* start(call)
      yield* Fiber.interrupt(interrupted)
      assert.includeMembers([...tags(yield* Fiber.await(interrupted))], ["Interrupt", "Die"])
    })
  })

  it.effect("a limit also ends what runs in an uninterruptible region", () => {
    const provider = TestProvider.make({ steps: [script(hangs)] })
    const call = Effect.uninterruptible(Timeouts.make({ attempt: "1 second" })(provider).generate(request))
    return endsAt(1000, ["attempt", 1000, "sent"], call, provider)
  })

  it.effect("300 calls end each at its own millisecond, in whatever order they were made", () => {
    const ended: Array<readonly [expected: number, actual: number]> = []
    const call = (i: number) => {
      const limit = 1 + ((i * 7919) % 300)
      const provider = TestProvider.make({ steps: [TestProvider.hanging] })
      return Timeouts.make({ attempt: limit })(provider)
        .generate(request)
        .pipe(
          Effect.flip,
          Effect.andThen(Clock.currentTimeMillis),
          Effect.map((now) => ended.push([limit, now]))
        )
    }
    return Effect.gen(function* () {
      const fiber = yield* start(
        Effect.forEach(
          Array.from({ length: 300 }, (_, i) => i),
          call,
          { concurrency: 300 }
        )
      )
      assert.strictEqual(yield* alarms, 300)
      yield* at(300)
      yield* Fiber.join(fiber)
      assert.deepStrictEqual(
        ended,
        Array.from({ length: 300 }, (_, i) => [i + 1, i + 1] as const)
      )
    })
  })

  it.effect("calls that end before their limit leave the timers of the others exact", () => {
    const answered: Array<number> = []
    const timedOut: Array<number> = []
    const call = (i: number) => {
      const limit = 10 + ((i * 31) % 50)
      const answer = 5 + ((i * 17) % 60)
      const provider = TestProvider.make({ steps: [TestProvider.paced("a", { firstPart: answer })] })
      const expected = Math.min(limit, answer)
      return Timeouts.make({ attempt: limit })(provider)
        .generate(request)
        .pipe(
          Effect.match({ onSuccess: () => answered, onFailure: () => timedOut }),
          Effect.flatMap((list) => Effect.map(Clock.currentTimeMillis, (now) => list.push(now - expected)))
        )
    }
    return Effect.gen(function* () {
      const fiber = yield* start(
        Effect.forEach(
          Array.from({ length: 200 }, (_, i) => i),
          call,
          { concurrency: 200 }
        )
      )
      yield* at(100)
      yield* Fiber.join(fiber)
      assert.isAbove(answered.length, 30)
      assert.isAbove(timedOut.length, 30)
      assert.deepStrictEqual(new Set([...answered, ...timedOut]), new Set([0]))
      assert.strictEqual(yield* alarms, 0)
    })
  })

  it.effect("two clocks do not know of each other", () => {
    const call = Timeouts.make({ attempt: "1 second" })(TestProvider.make({ steps: [TestProvider.hanging] }))
    return Effect.gen(function* () {
      const other = yield* TestClock.make()
      const mine = yield* start(call.generate(request))
      const theirs = yield* start(Effect.provideService(call.generate(request), Clock.Clock, other))
      yield* other.adjust("1 second")
      assert.deepStrictEqual(verdict(yield* Effect.flip(Fiber.join(theirs))), ["attempt", 1000, "sent"])
      assert.strictEqual(mine.pollUnsafe(), undefined)
      yield* at(1000)
      assert.isDefined(mine.pollUnsafe())
    })
  })

  it.effect("a clock that is set back does not make a limit longer", () => {
    const provider = TestProvider.make({ steps: [TestProvider.hanging] })
    return Effect.gen(function* () {
      const clock = yield* TestClock.testClockWith(Effect.succeed)
      let back = 0
      const wall: Clock.Clock = { ...clock, currentTimeMillisUnsafe: () => clock.currentTimeMillisUnsafe() - back }
      const call = Timeouts.make({ attempt: "1 second" })(provider).generate(request)
      const fiber = yield* start(Effect.provideService(call, Clock.Clock, wall))
      back = 3_600_000
      yield* at(999)
      assert.strictEqual(fiber.pollUnsafe(), undefined)
      yield* at(1000)
      assert.isDefined(fiber.pollUnsafe())
    })
  })
})

describe("stream", () => {
  const limits = { attempt: "20 seconds", firstPart: "1 second", idle: "2 seconds" } as const
  const drain = (options: Timeouts.Options, step: TestProvider.Step) => {
    const provider = TestProvider.make({ steps: [step] })
    return { provider, call: Stream.runDrain(Timeouts.make(options)(provider).stream(request)) }
  }

  it.effect("fails when the first part does not come, also where the provider does not even open", () =>
    Effect.gen(function* () {
      const { call, provider } = drain(limits, script(hangs))
      yield* endsAt(1000, ["firstPart", 1000, "sent"], call, provider)
      yield* endsAt(2000, ["firstPart", 1000, "sent"], drain(limits, TestProvider.hanging).call)
    })
  )

  it.effect("a first part that comes a millisecond before the limit begins the answer", () =>
    Effect.gen(function* () {
      const { call, provider } = drain(limits, script([999, text("a")], hangs))
      yield* endsAt(2999, ["idle", 2000, "answered"], call, provider)
    })
  )

  it.effect("what says nothing is no first part: metadata, starts, empty deltas", () => {
    const start: LlmPart = { type: "text-start", id: "0" }
    const empty = script([100, metadata], [100, start], [100, text("")], [100, reasoning("")], hangs)
    const { call, provider } = drain(limits, empty)
    return endsAt(1000, ["firstPart", 1000, "sent"], call, provider)
  })

  it.effect("reasoning is a first part, unless only text is", () =>
    Effect.gen(function* () {
      const thinking = script([900, reasoning("hm")], [900, reasoning("hm")], hangs)
      const counted = drain(limits, thinking)
      yield* endsAt(3800, ["idle", 2000, "answered"], counted.call, counted.provider)
      const hidden = drain({ ...limits, include: "text" }, thinking)
      yield* endsAt(4800, ["firstPart", 1000, "answered"], hidden.call, hidden.provider)
      const spoken = drain({ ...limits, include: "text" }, script([100, reasoning("hm")], [100, text("a")], hangs))
      yield* endsAt(7000, ["idle", 2000, "answered"], spoken.call, spoken.provider)
    })
  )

  it.effect("the pause between parts is measured anew for each, and any part ends it", () =>
    Effect.gen(function* () {
      const { call, provider } = drain(limits, script([0, text("a")], [1999, text("")], [1999, metadata], hangs))
      yield* endsAt(5998, ["idle", 2000, "answered"], call, provider)
    })
  )

  it.effect("a stream that never pauses still ends with its attempt, and with the deadline", () =>
    Effect.gen(function* () {
      const endless = script(...Array.from({ length: 100 }, () => [1000, text("a")] as const))
      const options = { attempt: "4500 millis", firstPart: "2 seconds" } as const
      const attempt = drain(options, endless)
      yield* endsAt(4500, ["attempt", 4500, "answered"], attempt.call, attempt.provider)
      const deadline = drain(options, endless)
      yield* endsAt(8000, ["total", 3500, "answered"], Deadline.within(deadline.call, 3500), deadline.provider)
    })
  )

  it.effect("a slow consumer is not a slow provider: no limit but the deadline runs while nothing is asked for", () => {
    const provider = TestProvider.make({ steps: [script([500, metadata], [400, text("a")], [1500, text("b")])] })
    const slow = (self: Stream.Stream<LlmPart, LlmError>) => Stream.runForEach(self, () => Effect.sleep("1 hour"))
    return Effect.gen(function* () {
      const options = { attempt: "3 seconds", firstPart: "1 second", idle: "2 seconds" } as const
      const stream = Timeouts.make(options)(provider).stream(request)
      const fiber = yield* start(slow(stream))
      yield* TestClock.adjust("4 hours")
      yield* Fiber.join(fiber)
      const late = yield* start(Deadline.within(slow(stream), "90 minutes"))
      yield* TestClock.adjust("4 hours")
      assert.deepStrictEqual(verdict(yield* Effect.flip(Fiber.join(late))), ["total", 5_400_000, "answered"])
      assert.strictEqual(yield* alarms, 0)
    })
  })

  it.effect("the time of an attempt is what all its pulls waited", () =>
    Effect.gen(function* () {
      const provider = TestProvider.make({ steps: [script([1000, text("a")], [1000, text("b")], hangs)] })
      const stream = Timeouts.make({ attempt: "3 seconds" })(provider).stream(request)
      const slow = Stream.runForEach(stream, () => Effect.sleep("10 seconds"))
      yield* endsAt(23_000, ["attempt", 3000, "answered"], slow, provider)
    })
  )

  it.effect("the deadline runs from the first pull, not from when the stream was made", () => {
    const provider = TestProvider.make({ steps: [script(hangs)] })
    const stream = both({ total: "3 seconds", firstPart: "10 seconds" })(provider).stream(request)
    return Effect.gen(function* () {
      yield* at(10_000)
      yield* endsAt(13_000, ["total", 3000, "sent"], Stream.runDrain(stream), provider)
    })
  })

  it.effect("by default waits a minute, three for thought, and longer for long prompts", () => {
    const provider = TestProvider.make({ steps: [script(hangs)] })
    const document = Prompt.make([
      { role: "system", content: "x".repeat(16_000) },
      { role: "user", content: [{ type: "text", text: "y".repeat(16_000) }] }
    ])
    const expected: ReadonlyArray<readonly [LlmRequest.Fields, number]> = [
      [{ prompt: "x".repeat(16) }, 60_001],
      [{ prompt: document }, 62_000],
      [{ prompt: document, reasoningEffort: "none" }, 62_000],
      [{ prompt: document, reasoningEffort: "low" }, 182_000]
    ]
    return Effect.gen(function* () {
      let now = 0
      for (const [fields, limit] of expected) {
        const stream = Timeouts.make()(provider).stream(LlmRequest.makeUnsafe(fields))
        yield* endsAt((now += limit), ["firstPart", limit, "sent"], Stream.runDrain(stream), provider)
      }
    })
  })

  it.effect("a stream passes every part and its end, and leaves no timer behind", () => {
    const provider = TestProvider.make({ steps: [TestProvider.paced("a b c", { every: "1 second" }), "d e"] })
    const resilient = both({})(provider)
    return Effect.gen(function* () {
      const fiber = yield* start(Stream.runCollect(resilient.stream(request)))
      yield* at(6000)
      const bare = TestProvider.make({ steps: ["a b c"] })
      assert.deepStrictEqual(yield* Fiber.join(fiber), yield* Stream.runCollect(bare.stream(request)))
      assert.strictEqual((yield* Stream.runCollect(Stream.take(resilient.stream(request), 2))).length, 2)
      assert.deepStrictEqual(
        provider.calls.map(({ outcome }) => outcome),
        ["success", "success"]
      )
      assert.strictEqual(yield* alarms, 0)
    })
  })
})

describe("a consumer that stops asking", () => {
  const options = { consumerIdle: "1 second", total: "1 hour" } as const

  it.effect("loses the stream: it is closed in the background and the next pull says so", () => {
    const provider = TestProvider.make({ steps: ["a b c d"] })
    let finalized = 0
    const watched: LlmProvider.Service = {
      ...provider,
      stream: (request) => Stream.onExit(provider.stream(request), () => Effect.sync(() => finalized++))
    }
    return Effect.gen(function* () {
      const pull = yield* Stream.toPull(both(options)(watched).stream(request))
      yield* pull
      yield* TestClock.adjust("999 millis")
      yield* pull
      yield* TestClock.adjust("999 millis")
      assert.deepStrictEqual([finalized, provider.calls[0]?.outcome], [0, "running"])
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual([finalized, provider.calls[0]?.outcome], [1, "interrupted"])
      assert.strictEqual(provider.calls[0]?.endedAt, 1999)
      const failure = yield* Effect.flip(pull)
      assert.deepStrictEqual(Cause.isDone(failure) ? [] : verdict(failure), ["idle", 1000, "answered"])
      assert.strictEqual(yield* alarms, 0)
    }).pipe(Effect.scoped)
  })

  it.effect("loses nothing while a part is being waited for, or before it has asked at all", () => {
    const provider = TestProvider.make({ steps: [TestProvider.paced("a", { every: "30 seconds" })] })
    return Effect.gen(function* () {
      const pull = yield* Stream.toPull(both(options)(provider).stream(request))
      yield* TestClock.adjust("10 minutes")
      for (const type of ["text-start", "text-delta", "text-end"]) {
        const fiber = yield* start(pull)
        yield* TestClock.adjust("30 seconds")
        assert.strictEqual((yield* Fiber.join(fiber))[0].type, type)
      }
    }).pipe(Effect.scoped)
  })

  it.effect("and then leaves is waited for until the finalizers of the stream have run", () => {
    const provider = finalizing(TestProvider.make(), Effect.sleep("5 seconds"))
    return Effect.gen(function* () {
      const scope = yield* Scope.make()
      const pull = yield* Scope.provide(Stream.toPull(both(options)(provider).stream(request)), scope)
      yield* pull
      yield* TestClock.adjust("1 second")
      const closing = yield* start(Scope.close(scope, Exit.void))
      yield* TestClock.adjust("4999 millis")
      assert.strictEqual(closing.pollUnsafe(), undefined)
      yield* TestClock.adjust("1 millis")
      assert.isDefined(closing.pollUnsafe())
    })
  })

  it.effect("has lost nothing when the answer was whole", () => {
    const provider = TestProvider.make({ steps: ["a"] })
    return Effect.gen(function* () {
      const pull = yield* Stream.toPull(both(options)(provider).stream(request))
      for (const _ of ["text-start", "text-delta", "text-end", "finish"]) yield* pull
      yield* TestClock.adjust("1 minute")
      assert.isTrue(Cause.isDone(yield* Effect.flip(pull)))
    }).pipe(Effect.scoped)
  })

  it.effect("has a minute by default", () => {
    const provider = TestProvider.make()
    return Effect.gen(function* () {
      const pull = yield* Stream.toPull(Timeouts.deadline()(provider).stream(request))
      yield* pull
      yield* TestClock.adjust("59999 millis")
      assert.strictEqual(provider.calls[0]?.outcome, "running")
      yield* TestClock.adjust("1 millis")
      assert.strictEqual(provider.calls[0]?.outcome, "interrupted")
    }).pipe(Effect.scoped)
  })
})

describe("making the policy", () => {
  it("refuses times that can never work, and says which", () => {
    for (const wrong of [0, -1, Number.NaN, "0 seconds", Duration.zero]) {
      for (const field of ["attempt", "firstPart", "idle"] as const) {
        assert.throws(() => Timeouts.make({ [field]: wrong }), RangeError, `Timeouts.make: ${field} must be`)
        assert.throws(() => Timeouts.withTimeouts({ [field]: wrong }), RangeError, `Timeouts.make: ${field} must be`)
      }
      for (const field of ["total", "consumerIdle"] as const) {
        assert.throws(() => Timeouts.deadline({ [field]: wrong }), RangeError, `Timeouts.deadline: ${field} must be`)
        assert.throws(
          () => Timeouts.withTimeouts({ [field]: wrong }),
          RangeError,
          `Timeouts.deadline: ${field} must be`
        )
      }
    }
  })

  it.effect("withTimeouts bounds a layer's provider inside and outside", () =>
    Effect.gen(function* () {
      const call = LlmProvider.generateText("hi")
      const error = { attempt: ["attempt", 1000, "sent"], total: ["total", 500, "sent"] } as const
      const layer = TestProvider.layer({ steps: [TestProvider.hanging] })
      const attempt = layer.pipe(Timeouts.withTimeouts({ attempt: "1 second" }))
      yield* endsAt(1000, error.attempt, Effect.provide(call, attempt))
      const total = layer.pipe(Timeouts.withTimeouts({ total: "500 millis" }))
      yield* endsAt(1500, error.total, Effect.provide(call, total))
    })
  )

  it.effect("without options an attempt has five minutes and a call has ten", () =>
    Effect.gen(function* () {
      const provider = TestProvider.make({ steps: [script(hangs)] })
      yield* endsAt(300_000, ["attempt", 300_000, "sent"], both({})(provider).generate(request), provider)
      const patient = both({ attempt: Duration.infinity })(provider).generate(request)
      yield* endsAt(900_000, ["total", 600_000, "sent"], patient, provider)
    })
  )
})

describe("interruption at any turn of the scheduler", () => {
  it.effect.each([3, 4, 5, 7])(
    "leaves no timer and no running call, yielding every %s operations",
    (operations) => {
      let made = 0
      let running = 0
      const call = Effect.acquireRelease(
        Effect.sync(() => {
          made++
          running++
        }),
        () =>
          Effect.andThen(
            Effect.yieldNow,
            Effect.sync(() => running--)
          )
      )
      const counting = (script: TestProvider.Script): LlmProvider.Service => {
        const provider = TestProvider.make({ steps: [script] })
        return {
          ...provider,
          generate: (request) => Effect.scoped(Effect.andThen(call, provider.generate(request))),
          stream: (request) => Stream.scoped(Stream.unwrap(Effect.as(call, provider.stream(request))))
        }
      }
      const scripts = [TestProvider.paced("a b c d"), script([0, text("a")], hangs)]
      const programs = scripts.map(counting).flatMap((provider) => {
        const timed = both({ attempt: "1 minute", consumerIdle: "1 minute" })(provider)
        const stream = timed.stream(request)
        return [timed.generate(request), Stream.runDrain(stream), Stream.runDrain(Stream.take(stream, 1))]
      })
      return Effect.gen(function* () {
        for (let turns = 0; turns < 80; turns++) {
          for (const program of programs) {
            const slow = Effect.provideService(program, Scheduler.MaxOpsBeforeYield, operations)
            const fiber = yield* Effect.forkChild(slow)
            for (let turn = 0; turn < turns; turn++) yield* Effect.yieldNow
            yield* Fiber.interrupt(fiber)
            assert.deepStrictEqual([yield* alarms, running], [0, 0])
          }
        }
        assert.isAbove(made, 200)
      })
    },
    30_000
  )
})

describe("the timer", () => {
  const Instant = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 20 }))
  const Plan = Schema.Array(Schema.Struct({ at: Instant, clearedAt: Instant })).check(Schema.isMinLength(40))

  it.effect.prop("rings every alarm at its instant unless it was cleared before", { plan: Plan }, ({ plan }) =>
    Effect.gen(function* () {
      const clock = yield* TestClock.make()
      const rung: Array<string> = []
      const program = Effect.withFiber((fiber) => {
        const wheel = wheelOf(fiber)
        const alarms = plan.map(({ at }, i) => {
          const alarm = new Alarm(() => rung.push(`${i} at ${clock.currentTimeMillisUnsafe()}`))
          wheel.set(alarm, at + 1, fiber)
          return alarm
        })
        return Effect.gen(function* () {
          for (let now = 0; now <= 20; now++) {
            plan.forEach(({ clearedAt }, i) => alarms[i] && clearedAt === now && wheel.clear(alarms[i]))
            yield* clock.adjust(1)
          }
          return wheel.size
        })
      })
      assert.strictEqual(yield* Effect.provideService(program, Clock.Clock, clock), 0)
      const expected = plan.flatMap(({ at, clearedAt }, i) => (at < clearedAt ? [`${i} at ${at + 1}`] : []))
      assert.deepStrictEqual(rung.sort(), expected.sort())
    })
  )

  it.effect("sleeps once for all, however the limits follow one another, and not at all when nothing waits", () =>
    Effect.gen(function* () {
      const clock = yield* TestClock.make()
      let sleeping = 0
      const counting: Clock.Clock = {
        ...clock,
        sleep: (duration) =>
          Effect.acquireUseRelease(
            Effect.sync(() => sleeping++),
            () => clock.sleep(duration),
            () => Effect.sync(() => sleeping--)
          )
      }
      const provider = TestProvider.make({ steps: [TestProvider.hanging] })
      const call = (attempt: number) =>
        start(Effect.provideService(Timeouts.make({ attempt })(provider).generate(request), Clock.Clock, counting))
      const fibers = yield* Effect.forEach([300, 200, 400, 100], call)
      assert.strictEqual(sleeping, 1)
      yield* clock.adjust(250)
      assert.deepStrictEqual(
        fibers.map((fiber) => fiber.pollUnsafe() !== undefined),
        [false, true, false, true]
      )
      assert.strictEqual(sleeping, 1)
      yield* Fiber.interruptAll(fibers)
      yield* Effect.yieldNow
      assert.strictEqual(sleeping, 0)
    })
  )

  it("lets a script exit as soon as its call is over", { timeout: 30_000 }, () => {
    const program = `
      import * as Effect from "effect/Effect"
      import { wheelOf } from "./src/internal/timer.ts"
      import { makeUnsafe } from "./src/LlmRequest.ts"
      import * as Timeouts from "./src/Timeouts.ts"
      import * as TestProvider from "./src/testing/TestProvider.ts"
      const provider = Timeouts.make()(TestProvider.make({ steps: [TestProvider.paced("ok", { firstPart: 5 })] }))
      const call = provider.generate(makeUnsafe("hi"))
      const sizes = Effect.withFiber((fiber) => Effect.succeed(wheelOf(fiber).size))
      Effect.runPromise(Effect.gen(function* () {
        const pending = yield* Effect.forkChild(call, { startImmediately: true })
        const during = yield* sizes
        yield* call
        console.log(during, yield* sizes)
      }))`
    const { status, stderr, stdout } = spawnSync(
      process.execPath,
      ["--import", "tsx", "--input-type=module", "--eval", program],
      { cwd: fileURLToPath(new URL("..", import.meta.url)), encoding: "utf8", timeout: 20_000 }
    )
    assert.deepStrictEqual([status, stdout], [0, "1 0\n"], stderr)
  })
})
