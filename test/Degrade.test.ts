import { assert, describe, it } from "@effect/vitest"
import { Clock, Context, Duration, Effect, Exit, Fiber, Logger, References, Schema, Stream } from "effect"
import { AiError } from "effect/ai"
import { TestClock } from "effect/testing"
import * as Deadline from "effect-ballast/Deadline"
import * as Degrade from "effect-ballast/Degrade"
import * as LlmError from "effect-ballast/LlmError"
import * as LlmProvider from "effect-ballast/LlmProvider"
import { makeUnsafe } from "effect-ballast/LlmRequest"
import { collectParts, LlmResponse } from "effect-ballast/LlmResponse"
import { TestProvider } from "effect-ballast/testing"

const request = makeUnsafe("hi")
const jsonRequest = makeUnsafe({
  prompt: "hi",
  responseFormat: { type: "json", name: "answer", schema: { type: "object" } }
})

const overloaded = new AiError.InternalProviderError({ description: "private words of the provider" })
const timedOut = new LlmError.TimedOut({ phase: "total", after: Duration.seconds(1) })
const overspent = new LlmError.BudgetExceeded({
  budget: "all",
  window: "day",
  limit: 10,
  remaining: 0,
  requested: 1
})
const rejected = new LlmError.InputRejected({ guard: "length", description: "too long" })
const interrupted = new LlmError.StreamInterrupted({ interruptedBy: "NetworkError", delivered: [] })

const failing = (reason: LlmError.Reason) => new LlmError.LlmError({ provider: "test", model: "test-model", reason })

/** Runs an effect and gives beside its value the lines that it logged. */
const logged = <A, E, R>(self: Effect.Effect<A, E, R>) =>
  Effect.suspend(() => {
    const lines: Array<{ readonly level: string; readonly text: string; readonly annotations: unknown }> = []
    const logger = Logger.make<unknown, void>(({ fiber, logLevel, message }) => {
      const annotations = fiber.getRef(References.CurrentLogAnnotations)
      lines.push({ level: logLevel, text: JSON.stringify(message), annotations: { ...annotations } })
    })
    return self.pipe(
      Effect.map((value) => ({ value, lines })),
      Effect.provide(Logger.layer([logger]))
    )
  })

describe("Degrade.make", () => {
  it.effect("a call that succeeds is left as it is", () =>
    Effect.gen(function* () {
      const inner = TestProvider.make({ steps: ["fine"] })
      const provider = Degrade.make({ static: "sorry" })(inner)
      const response = yield* provider.generate(request)
      assert.strictEqual(response.text, "fine")
      assert.strictEqual(response.provider, "test")
      assert.deepStrictEqual(
        yield* Stream.runCollect(provider.stream(request)),
        yield* Stream.runCollect(inner.stream(request))
      )
      assert.strictEqual(inner.calls.length, 3)
      assert.strictEqual(provider.endpoint, inner.endpoint)
    })
  )

  it.effect("a failed call is answered without a model, with zero usage and the rung on the finish part", () =>
    Effect.gen(function* () {
      const inner = TestProvider.make({ steps: [overloaded] })
      const response = yield* Degrade.make({ static: "sorry" })(inner).generate(request)
      assert.strictEqual(response.text, "sorry")
      assert.strictEqual(response.provider, "ballast")
      assert.strictEqual(response.model, "static")
      assert.strictEqual(response.finishReason, "stop")
      assert.deepStrictEqual(response.usage, { inputTokens: { total: 0 }, outputTokens: { total: 0 } })
      assert.deepStrictEqual(response.finish?.metadata, {
        ballast: { provider: "ballast", model: "static", rung: "static" }
      })
      assert.strictEqual(inner.calls.length, 1)
    })
  )

  it.effect("a stream that fails before its first visible part is answered without a trace of its beginning", () =>
    Effect.gen(function* () {
      const beginning = TestProvider.paced([
        { type: "response-metadata", modelId: "broken" },
        { type: "text-start", id: "0" },
        { type: "text-delta", id: "0", delta: "" }
      ])
      const inner = TestProvider.make({ steps: [TestProvider.broken(beginning, 3, overloaded)] })
      const parts = yield* Stream.runCollect(Degrade.make({ static: "sorry" })(inner).stream(request))
      assert.deepStrictEqual(
        parts.map((part) => part.type),
        ["text-start", "text-delta", "text-end", "finish"]
      )
      const answer = new LlmResponse({ provider: "ballast", model: "static", parts: collectParts(parts) })
      assert.strictEqual(answer.text, "sorry")
      assert.deepStrictEqual(answer.finish?.metadata, {
        ballast: { provider: "ballast", model: "static", rung: "static" }
      })
      assert.strictEqual(inner.calls.length, 1)
    })
  )

  it.effect("a stream that fails after its first visible part fails", () =>
    Effect.gen(function* () {
      const script = TestProvider.broken(TestProvider.paced("a b c"), 2, overloaded)
      const provider = Degrade.make({ static: "sorry" })(TestProvider.make({ steps: [script] }))
      const seen: Array<string> = []
      const failure = yield* provider.stream(request).pipe(
        Stream.runForEach((part) => Effect.sync(() => seen.push(part.type))),
        Effect.flip
      )
      assert.strictEqual(failure.reason, overloaded)
      assert.deepStrictEqual(seen, ["text-start", "text-delta"])
    })
  )

  it.effect.prop(
    "a stream is answered exactly when nothing of it was visible",
    { parts: Schema.Array(Schema.Literals(["", "word "])).check(Schema.isMaxLength(8)) },
    ({ parts }) =>
      Effect.gen(function* () {
        const script = TestProvider.paced(parts.map((delta) => ({ type: "text-delta", id: "0", delta })))
        const inner = TestProvider.make({ steps: [TestProvider.broken(script, parts.length, overloaded)] })
        const exit = yield* Degrade.make({ static: "sorry" })(inner)
          .stream(request)
          .pipe(Stream.runCollect, Effect.exit)
        assert.strictEqual(
          Exit.isSuccess(exit),
          parts.every((delta) => delta === "")
        )
        assert.strictEqual(inner.calls.length, 1)
      })
  )

  const reasons: ReadonlyArray<readonly [LlmError.Reason, boolean]> = [
    [new AiError.RateLimitError({}), true],
    [new AiError.QuotaExhaustedError({}), true],
    [new LlmError.CircuitOpen({ circuit: "c" }), true],
    [timedOut, true],
    [overspent, true],
    [new LlmError.Unpriced(), true],
    [rejected, false],
    [new LlmError.OutputRejected({ guard: "keys", description: "a key", released: false }), false],
    [new AiError.InvalidRequestError({}), false],
    [new AiError.ContentPolicyError({ description: "refused" }), false],
    [new LlmError.ContextOverflow({}), false],
    [interrupted, false]
  ]
  it.effect.each(reasons.map(([reason, answered]) => [reason._tag, reason, answered] as const))(
    "%s is answered as the table says",
    ([, reason, answered]) =>
      Effect.gen(function* () {
        const provider = Degrade.make({ static: "sorry" })(TestProvider.make({ steps: [reason] }))
        const generated = yield* Effect.exit(provider.generate(request))
        const streamed = yield* Effect.exit(Stream.runDrain(provider.stream(request)))
        assert.deepStrictEqual([Exit.isSuccess(generated), Exit.isSuccess(streamed)], [answered, answered])
      })
  )

  it.effect("a function sees the error and the request, and where it gives nothing the failure stands", () =>
    Effect.gen(function* () {
      const provider = Degrade.make({
        static: (error, { prompt }) =>
          error.reason._tag === "InternalProviderError" ? `sorry about ${prompt.content.length} message` : undefined
      })(TestProvider.make({ steps: [overloaded, overspent] }))
      assert.strictEqual((yield* provider.generate(request)).text, "sorry about 1 message")
      assert.strictEqual((yield* Effect.flip(provider.generate(request))).reason, overspent)
    })
  )

  it.effect("parts of an earlier response can be the answer, but its usage is not", () =>
    Effect.gen(function* () {
      const earlier = yield* TestProvider.make({ steps: ["hello again"] }).generate(request)
      const provider = Degrade.make({ static: earlier.parts })(TestProvider.make({ steps: [overloaded] }))
      const response = yield* provider.generate(request)
      assert.strictEqual(response.text, "hello again")
      assert.strictEqual(response.parts.filter((part) => part.type === "finish").length, 1)
      assert.strictEqual(response.usage.inputTokens.total, 0)
    })
  )

  it.effect("a text that is not JSON never answers a request for JSON", () =>
    Effect.gen(function* () {
      const inner = TestProvider.make({ steps: [overloaded] })
      const failure = yield* Effect.flip(Degrade.make({ static: "sorry" })(inner).generate(jsonRequest))
      assert.strictEqual(failure.reason, overloaded)
      const response = yield* Degrade.make({ static: `{"sorry":true}` })(inner).generate(jsonRequest)
      assert.strictEqual(response.text, `{"sorry":true}`)
    })
  )

  it.effect("without an answer every failure stands, and defects always do", () =>
    Effect.gen(function* () {
      const failure = yield* Effect.flip(Degrade.make()(TestProvider.make({ steps: [overloaded] })).generate(request))
      assert.strictEqual(failure.reason, overloaded)
      const broken = Degrade.make({ static: "sorry" })(TestProvider.make({ steps: [Effect.die("bug")] }))
      assert.isTrue(Exit.hasDies(yield* Effect.exit(broken.generate(request))))
      assert.isTrue(Exit.hasDies(yield* Effect.exit(Stream.runDrain(broken.stream(request)))))
    })
  )

  it.effect("an interrupted call is not answered", () =>
    Effect.gen(function* () {
      const inner = TestProvider.make({ steps: [TestProvider.hanging] })
      const fiber = yield* Effect.forkChild(Degrade.make({ static: "sorry" })(inner).generate(request))
      yield* Effect.yieldNow
      yield* Fiber.interrupt(fiber)
      assert.isTrue(Exit.hasInterrupts(yield* Fiber.await(fiber)))
    })
  )

  it.effect("the step down is logged as a warning, by tag and without content", () =>
    Effect.gen(function* () {
      const provider = Degrade.make({ static: "sorry" })(TestProvider.make({ steps: [overloaded] }))
      const { lines } = yield* logged(provider.generate(request))
      assert.deepStrictEqual(lines, [
        {
          level: "Warn",
          text: `["Degraded"]`,
          annotations: { from: "test/test-model", to: "static", reason: "InternalProviderError" }
        }
      ])
      const streamed = yield* logged(Stream.runDrain(provider.stream(request)))
      assert.deepStrictEqual(streamed.lines, lines)
    })
  )

  it.effect("withDegrade is the same over a layer", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* LlmProvider.generateText("hi"), "sorry")
      assert.strictEqual((yield* TestProvider.TestProvider).calls.length, 1)
    }).pipe(Effect.provide(TestProvider.layer({ steps: [overloaded] }).pipe(Degrade.withDegrade({ static: "sorry" }))))
  )

  it("an empty answer throws when the policy is made", () => {
    assert.throws(() => Degrade.make({ static: " " }), RangeError, "Degrade.make: static must not be empty")
    assert.throws(() => Degrade.withDegrade({ static: [] }), RangeError, "Degrade.make: static must not be empty")
  })
})

/** A program that counts its runs. */
const counted = <A, E>(self: Effect.Effect<A, E>) => {
  const program = Object.assign(
    Effect.suspend(() => {
      program.runs++
      return self
    }),
    { runs: 0 }
  )
  return program
}

const hanging = () => counted(Effect.never)
const failed = (reason: LlmError.Reason) => counted(Effect.fail(failing(reason)))
const sorry = Degrade.otherwise("static", (failures) => `sorry after ${failures.length}`)

/** The rung that answered and how long it took, in virtual time. */
const timed = <A, E, R>(self: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const fiber = yield* Effect.forkChild(Effect.timed(self))
    yield* TestClock.adjust("1 hour")
    const [took, answer] = yield* Fiber.join(fiber)
    return { ...answer, took: Duration.toMillis(took) }
  })

describe("Degrade.ladder", () => {
  it.effect("the first rung that answers is the answer, and those below do not run", () =>
    Effect.gen(function* () {
      const direct = counted(Effect.succeed("direct answer"))
      const answer = yield* Degrade.ladder([
        Degrade.rung("rag", Effect.succeed(42)),
        Degrade.rung("direct", direct),
        sorry
      ])
      assert.deepStrictEqual(answer, { rung: "rag", value: 42, failures: [] })
      assert.strictEqual(direct.runs, 0)
    })
  )

  it.effect("a failure steps down, and each failure is told with its rung", () =>
    Effect.gen(function* () {
      const answer = yield* Degrade.ladder([
        Degrade.rung("rag", Effect.fail("no documents")),
        Degrade.rung("direct", failed(overloaded)),
        Degrade.rung("stale", Effect.fail({ _tag: "Miss" }), { asks: "nothing" }),
        sorry
      ])
      assert.strictEqual(answer.rung, "static")
      assert.strictEqual(answer.value, "sorry after 3")
      assert.deepStrictEqual(
        answer.failures.map(({ error, rung }) => [rung, error instanceof LlmError.LlmError ? error.reason : error]),
        [
          ["rag", "no documents"],
          ["direct", overloaded],
          ["stale", { _tag: "Miss" }]
        ]
      )
    })
  )

  it.effect("a ladder without otherwise fails with the error of the last rung that ran", () =>
    Effect.gen(function* () {
      const exhausted = Degrade.ladder([
        Degrade.rung("rag", Effect.fail("one")),
        Degrade.rung("direct", Effect.fail(2))
      ])
      assert.strictEqual(yield* Effect.flip(exhausted), 2)
      const direct = counted(Effect.succeed("never asked"))
      const stopped = Degrade.ladder([Degrade.rung("rag", failed(rejected)), Degrade.rung("direct", direct)])
      const error = yield* Effect.flip(stopped)
      assert.strictEqual(LlmError.isLlmError(error) ? error.reason : error, rejected)
      assert.strictEqual(direct.runs, 0)
    })
  )

  const consequences: ReadonlyArray<readonly [string, unknown, string]> = [
    ["an outage", failing(overloaded), "direct"],
    ["a refusal of the limiter", LlmError.refuse("p", "m", new LlmError.CircuitOpen({ circuit: "c" })), "direct"],
    ["no LlmError", new Error("vector store down"), "direct"],
    ["a total timeout", failing(timedOut), "stale"],
    ["a spent budget", failing(overspent), "stale"],
    ["a model without price", failing(new LlmError.Unpriced()), "stale"],
    ["a rejected input", failing(rejected), "static"],
    ["an invalid request", failing(new AiError.InvalidRequestError({})), "static"],
    ["a broken stream", failing(interrupted), "static"],
    ["a rejected input as an AiError", LlmError.toAiError(failing(rejected), { module: "m", method: "f" }), "static"],
    ["a spent budget as an AiError", LlmError.toAiError(failing(overspent), { module: "m", method: "f" }), "stale"]
  ]
  it.effect.each(consequences)("%s steps down to the rung that the table allows", ([, error, expected]) =>
    Effect.gen(function* () {
      const answer = yield* Degrade.ladder([
        Degrade.rung("rag", Effect.fail(error)),
        Degrade.rung("direct", Effect.succeed("a")),
        Degrade.rung("stale", Effect.succeed("b"), { asks: "nothing" }),
        sorry
      ])
      assert.strictEqual(answer.rung, expected)
      assert.deepStrictEqual(answer.failures, [{ rung: "rag", error }])
    })
  )

  it.effect("once no model may be asked, a later failure does not allow it again", () =>
    Effect.gen(function* () {
      const direct = counted(Effect.succeed("never asked"))
      const answer = yield* Degrade.ladder([
        Degrade.rung("rag", failed(overspent)),
        Degrade.rung("stale", Effect.fail("miss"), { asks: "nothing" }),
        Degrade.rung("direct", direct),
        sorry
      ])
      assert.strictEqual(answer.rung, "static")
      assert.strictEqual(direct.runs, 0)
    })
  )

  it.effect("otherwise can tell a rejection from an outage", () =>
    Effect.gen(function* () {
      const apology = Degrade.otherwise("static", (failures) => {
        const error = failures.at(-1)?.error
        return LlmError.isLlmError(error) && error.reason._tag === "InputRejected" ? "I cannot say" : "Sorry"
      })
      const told = (reason: LlmError.Reason) => Degrade.ladder([Degrade.rung("rag", failed(reason)), apology])
      assert.strictEqual((yield* told(rejected)).value, "I cannot say")
      assert.strictEqual((yield* told(overloaded)).value, "Sorry")
    })
  )

  it.effect("defects and interruption never step down", () =>
    Effect.gen(function* () {
      const ladder = (program: Effect.Effect<string>, options?: Degrade.LadderOptions) =>
        Degrade.ladder([Degrade.rung("rag", program), sorry], options)
      assert.isTrue(Exit.hasDies(yield* Effect.exit(ladder(Effect.die("bug")))))
      assert.isTrue(Exit.hasDies(yield* Effect.exit(ladder(Effect.die("bug"), { within: "1 second" }))))
      assert.isTrue(Exit.hasInterrupts(yield* Effect.exit(ladder(Effect.interrupt))))
      const bug = Degrade.otherwise("static", (): string => {
        throw new Error("bug")
      })
      const fallen = yield* Effect.exit(Degrade.ladder([Degrade.rung("rag", failed(overloaded)), bug]))
      assert.isTrue(Exit.hasDies(fallen))
    })
  )

  it.effect("an interrupted ladder releases what its rung holds and tries no other", () =>
    Effect.gen(function* () {
      for (const options of [{}, { within: "1 minute" }] as const) {
        let released = false
        const rag = Effect.onInterrupt(Effect.never, () => Effect.sync(() => (released = true)))
        const direct = counted(Effect.succeed("never asked"))
        const ladder = Degrade.ladder([Degrade.rung("rag", rag), Degrade.rung("direct", direct), sorry], options)
        const fiber = yield* Effect.forkChild(ladder)
        yield* Effect.yieldNow
        yield* Fiber.interrupt(fiber)
        assert.isTrue(Exit.hasInterrupts(yield* Fiber.await(fiber)))
        assert.isTrue(released)
        assert.strictEqual(direct.runs, 0)
      }
    })
  )

  it.effect("each step down is logged once, from and to the rungs that ran, by tag and without content", () =>
    Effect.gen(function* () {
      const { lines } = yield* logged(
        Degrade.ladder([
          Degrade.rung("docs", Effect.fail(new Error("private words"))),
          Degrade.rung("rag", Effect.fail({ _tag: "NoDocuments", query: "private words" })),
          Degrade.rung("direct", failed(overspent)),
          Degrade.rung("small", failed(overloaded)),
          Degrade.rung("stale", Effect.fail("private words"), { asks: "nothing" }),
          sorry
        ])
      )
      assert.deepStrictEqual(
        lines.map((line) => line.annotations),
        [
          { from: "docs", to: "rag", reason: "Error" },
          { from: "rag", to: "direct", reason: "NoDocuments" },
          { from: "direct", to: "stale", reason: "BudgetExceeded" },
          { from: "stale", to: "static", reason: "string" }
        ]
      )
      assert.isFalse(JSON.stringify(lines).includes("private words"))
      assert.isTrue(lines.every((line) => line.level === "Warn"))
    })
  )

  it.effect("a ladder is a value: each run begins at the top, with time of its own", () =>
    Effect.gen(function* () {
      const rag = counted(Effect.delay(Effect.succeed("slow"), "7 seconds"))
      const ladder = Degrade.ladder([Degrade.rung("rag", rag), sorry], { within: "10 seconds" })
      assert.strictEqual((yield* timed(ladder)).rung, "rag")
      assert.strictEqual((yield* timed(ladder)).rung, "rag")
      assert.strictEqual(rag.runs, 2)
    })
  )

  it("a ladder that can never work throws when it is made", () => {
    const rag = Degrade.rung("rag", Effect.void)
    // each ladder is one that does not compile, as a program without types would make it
    const make = Degrade.ladder as (rungs: ReadonlyArray<unknown>, options?: Degrade.LadderOptions) => unknown
    assert.throws(() => make([]), RangeError, "Degrade.ladder: the first of the rungs must be a Degrade.rung")
    assert.throws(() => make([sorry]), RangeError, "Degrade.ladder: the first of the rungs must be a Degrade.rung")
    assert.throws(() => make([rag, sorry, Degrade.rung("direct", Effect.void)]), RangeError, "must be the last rung")
    assert.throws(() => make([rag, rag]), RangeError, `Degrade.ladder: names must be unique, got "rag" twice`)
    assert.throws(() => make([rag], { within: 0 }), RangeError, "Degrade.ladder: within must be a duration > 0")
    assert.throws(() => make([rag], { within: Number.NaN }), RangeError, "Degrade.ladder: within")
    assert.throws(() => make([rag], { grace: -1 }), RangeError, "Degrade.ladder: grace must be a duration > 0")
  })
})

describe("Degrade.ladder and the deadline", () => {
  it.effect("a rung that asks a model has 80 % of the time while another rung follows", () =>
    Effect.gen(function* () {
      const ladder = (millis: number) =>
        Degrade.ladder([Degrade.rung("rag", Effect.delay(Effect.succeed("rag"), millis)), sorry], {
          within: "10 seconds"
        })
      const inTime = yield* timed(ladder(7999))
      assert.deepStrictEqual([inTime.rung, inTime.took], ["rag", 7999])
      const late = yield* timed(ladder(8001))
      assert.deepStrictEqual([late.rung, late.took], ["static", 8000])
    })
  )

  it.effect("the end by the clock is a total timeout, and the rung has been interrupted by then", () =>
    Effect.gen(function* () {
      let ended = -1
      const rag = Effect.onInterrupt(Effect.never, () => Effect.map(Clock.currentTimeMillis, (now) => (ended = now)))
      const { failures } = yield* timed(Degrade.ladder([Degrade.rung("rag", rag), sorry], { within: "10 seconds" }))
      const error = failures[0]?.error
      assert.isTrue(LlmError.isLlmError(error))
      assert.strictEqual(error?.message, "ballast/rag: Timed out (total) after 8s")
      assert.strictEqual(error?.phase, "sent")
      assert.strictEqual(ended, 8000)
    })
  )

  it.effect("the last rung has all the time that is left", () =>
    Effect.gen(function* () {
      const ladder = (millis: number) =>
        Degrade.ladder(
          [
            Degrade.rung("rag", Effect.andThen(Effect.sleep("2 seconds"), Effect.fail("no documents"))),
            Degrade.rung("direct", Effect.delay(Effect.succeed("direct"), millis))
          ],
          { within: "10 seconds" }
        )
      assert.strictEqual((yield* timed(ladder(7999))).took, 9999)
      const error = yield* Effect.flip(timed(ladder(8001)))
      assert.strictEqual(
        LlmError.isLlmError(error) ? error.message : error,
        "ballast/direct: Timed out (total) after 8s"
      )
    })
  )

  it.effect("a rung that used up its share leaves the rest to the next model", () =>
    Effect.gen(function* () {
      const answer = yield* timed(
        Degrade.ladder(
          [
            Degrade.rung("rag", hanging()),
            Degrade.rung("direct", Effect.delay(Effect.succeed("direct"), "1599 millis")),
            sorry
          ],
          { within: "10 seconds" }
        )
      )
      assert.deepStrictEqual([answer.rung, answer.took], ["direct", 9599])
    })
  )

  it.effect("a rung below sees the deadline of its share, whatever an outer deadline says", () =>
    Effect.gen(function* () {
      const remaining = Effect.map(Deadline.remaining, Duration.toMillis)
      const ladder = Degrade.ladder([Degrade.rung("rag", remaining), sorry], { within: "10 seconds" })
      assert.strictEqual((yield* ladder).value, 8000)
      assert.strictEqual((yield* Deadline.within(ladder, "5 seconds")).value, 4000)
      assert.strictEqual((yield* Deadline.within(ladder, "1 minute")).value, 8000)
      const alone = Degrade.ladder([Degrade.rung("rag", remaining)], { within: "10 seconds" })
      assert.strictEqual((yield* alone).value, 10_000)
    })
  )

  it.effect("without a deadline a model rung has no limit", () =>
    Effect.gen(function* () {
      const slow = Effect.delay(Effect.map(Deadline.remaining, Duration.toMillis), "59 minutes")
      const answer = yield* timed(Degrade.ladder([Degrade.rung("rag", slow), sorry]))
      assert.strictEqual(answer.took, 59 * 60_000)
      assert.strictEqual(answer.value, Infinity)
    })
  )

  it.effect("a rung that asks nothing has 250 ms, with and without a deadline", () =>
    Effect.gen(function* () {
      for (const options of [{}, { within: "10 seconds" }, { within: "100 millis" }] as const) {
        const ladder = (millis: number) =>
          Degrade.ladder(
            [
              Degrade.rung("rag", Effect.fail("no documents")),
              Degrade.rung("stale", Effect.delay(Effect.succeed("stale"), millis), { asks: "nothing" }),
              sorry
            ],
            options
          )
        const inTime = yield* timed(ladder(249))
        assert.deepStrictEqual([inTime.rung, inTime.took], ["stale", 249])
        const late = yield* timed(ladder(251))
        assert.deepStrictEqual([late.rung, late.took], ["static", 250])
      }
    })
  )

  it.effect("its time can be set", () =>
    Effect.gen(function* () {
      const stale = Degrade.rung("stale", Effect.delay(Effect.succeed("stale"), "900 millis"), { asks: "nothing" })
      assert.strictEqual((yield* timed(Degrade.ladder([stale, sorry], { grace: "1 second" }))).rung, "stale")
      assert.strictEqual((yield* timed(Degrade.ladder([stale, sorry], { grace: "800 millis" }))).rung, "static")
    })
  )

  it.effect("after the deadline no model is asked, and a rung that asks nothing has a deadline of its own", () =>
    Effect.gen(function* () {
      const rag = hanging()
      const direct = hanging()
      const ladder = Degrade.ladder([
        Degrade.rung("rag", rag),
        Degrade.rung("direct", direct),
        Degrade.rung("stale", Effect.map(Deadline.remaining, Duration.toMillis), { asks: "nothing" }),
        sorry
      ])
      const answer = yield* Effect.provideService(ladder, Deadline.Deadline, 0)
      assert.strictEqual(answer.rung, "stale")
      assert.strictEqual(answer.value, 250)
      assert.deepStrictEqual([rag.runs, direct.runs], [0, 0])
      const error = answer.failures[0]?.error
      assert.strictEqual(answer.failures.length, 1)
      assert.strictEqual(LlmError.isLlmError(error) ? error.phase : error, "refused")
    })
  )

  it.effect("a rung that ends only after the deadline leaves no time for a model", () =>
    Effect.gen(function* () {
      const direct = hanging()
      const stubborn = Effect.uninterruptible(Effect.andThen(Effect.sleep("11 seconds"), Effect.fail("no documents")))
      const answer = yield* timed(
        Degrade.ladder([Degrade.rung("rag", stubborn), Degrade.rung("direct", direct), sorry], { within: "10 seconds" })
      )
      assert.deepStrictEqual([answer.rung, answer.took, direct.runs], ["static", 11_000, 0])
    })
  )

  it.effect("a rung's own total timeout still keeps models from being asked", () =>
    Effect.gen(function* () {
      const direct = hanging()
      const rag = Effect.andThen(Effect.sleep("7999 millis"), failed(timedOut))
      const answer = yield* timed(
        Degrade.ladder([Degrade.rung("rag", rag), Degrade.rung("direct", direct), sorry], { within: "10 seconds" })
      )
      assert.deepStrictEqual([answer.rung, direct.runs], ["static", 0])
    })
  )

  it.effect("a rejection at the very end of the share is still a rejection", () =>
    Effect.gen(function* () {
      const direct = hanging()
      const rag = Effect.andThen(Effect.sleep("8 seconds"), failed(rejected))
      const answer = yield* timed(
        Degrade.ladder([Degrade.rung("rag", rag), Degrade.rung("direct", direct), sorry], { within: "10 seconds" })
      )
      assert.deepStrictEqual([answer.rung, answer.took, direct.runs], ["static", 8000, 0])
    })
  )

  it.effect("a ladder in an uninterruptible region still ends its rungs by the clock", () =>
    Effect.gen(function* () {
      const ladder = Degrade.ladder([Degrade.rung("rag", hanging()), sorry], { within: "10 seconds" })
      assert.strictEqual((yield* timed(Effect.uninterruptible(ladder))).took, 8000)
    })
  )

  it.effect("a rung under the clock keeps the services and references of the ladder", () =>
    Effect.gen(function* () {
      const Name = Context.Reference<string>("test/Name", { defaultValue: () => "nobody" })
      const ladder = Degrade.ladder([Degrade.rung("rag", Effect.service(Name)), sorry], { within: "10 seconds" })
      assert.strictEqual((yield* Effect.provideService(ladder, Name, "acme")).value, "acme")
    })
  )

  const Step = Schema.Struct({
    asks: Schema.Literals(["model", "nothing"]),
    takes: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 20_000 })),
    ends: Schema.Literals(["answer", "error", "outage", "overspent", "rejected"])
  })
  it.effect.prop(
    "whatever its rungs do, a ladder that ends in otherwise answers, in time, from the top down",
    { steps: Schema.NonEmptyArray(Step), within: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 30_000 })) },
    ({ steps: [first, ...others], within }) =>
      Effect.gen(function* () {
        const ran: Array<number> = []
        const rung = ({ asks, ends, takes }: typeof Step.Type, i: number) => {
          const failure = { outage: overloaded, overspent, rejected }
          const end =
            ends === "answer" ? Effect.succeed(i) : Effect.fail(ends === "error" ? "miss" : failing(failure[ends]))
          const program = Effect.suspend(() => {
            ran.push(i)
            return Effect.delay(end, takes)
          })
          return Degrade.rung(`rung ${i}`, program, { asks })
        }
        const rungs = others.map((step, i) => rung(step, i + 1))
        const ladder = Degrade.ladder([rung(first, 0), ...rungs, sorry], { within })
        const answer = yield* timed(ladder)
        const lookups = [first, ...others].filter(({ asks }) => asks === "nothing").length
        assert.isAtMost(answer.took, within + 250 * lookups)
        assert.deepStrictEqual(
          ran,
          ran.toSorted((a, b) => a - b)
        )
        if (answer.rung !== "static") assert.strictEqual(answer.value, ran.at(-1))
      })
  )
})
