/** What becomes of a stream once its reader has seen something of it. */
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Exit, Fiber, Schema, Stream } from "effect"
import { AiError } from "effect/ai"
import { TestClock } from "effect/testing"
import * as Attempts from "effect-ballast/Attempts"
import * as Deadline from "effect-ballast/Deadline"
import * as Fallback from "effect-ballast/Fallback"
import * as LlmError from "effect-ballast/LlmError"
import type * as LlmProvider from "effect-ballast/LlmProvider"
import { type LlmRequest, makeUnsafe } from "effect-ballast/LlmRequest"
import { collectParts, isVisible, type LlmPart } from "effect-ballast/LlmResponse"
import { TestProvider } from "effect-ballast/testing"
import { counts, type Counted, scripted, timed } from "./support/providers.ts"
import { errorOf } from "./support/reasons.ts"

const request = makeUnsafe("hi")

const internal = new AiError.InternalProviderError({ description: "boom" })

/** Reads to the end, which may be a failure, and gives what was seen until then. */
const read = (provider: LlmProvider.Service) =>
  Effect.suspend(() => {
    const seen: Array<LlmPart> = []
    const reading = Stream.runForEach(provider.stream(request), (part) => Effect.sync(() => seen.push(part)))
    return Effect.map(Effect.exit(reading), (exit) => ({ seen, exit }))
  })

const textOf = (parts: ReadonlyArray<LlmPart>) =>
  parts.map((part) => (part.type === "text-delta" ? part.delta : "")).join("")

/** Parts of a stream from its texts: one block, where the pieces are as given. */
const block = (...deltas: ReadonlyArray<string>): ReadonlyArray<LlmPart> => [
  { type: "response-metadata", modelId: "m" },
  { type: "text-start", id: "0" },
  ...deltas.map((delta): LlmPart => ({ type: "text-delta", id: "0", delta })),
  { type: "text-end", id: "0" }
]

/** Ends with `failure`, or just ends, after `deltas`. */
const breaking = (deltas: ReadonlyArray<string>, failure?: LlmError.Reason) =>
  TestProvider.broken(TestProvider.paced(block(...deltas)), deltas.length + 2, failure)

const whole = (...deltas: ReadonlyArray<string>) => TestProvider.paced(block(...deltas))

const continuing = { continuesAnswers: true }

const resuming = Fallback.make({ onBreak: "resume" })

const interruptedIn = (exit: Exit.Exit<void, LlmError.LlmError>) =>
  Effect.map(Effect.flip(exit), (error) => {
    if (error.reason._tag !== "StreamInterrupted") return assert.fail(error.reason._tag)
    const { interruptedBy } = error.reason
    // the error's constructor marks the parts as parts
    const delivered = error.reason.delivered.map((part) => {
      const { "~effect/ai/Response/Part": _, ...bare } = { "~effect/ai/Response/Part": "", ...part }
      return bare
    })
    const text = delivered.map((part) => (part.type === "text" ? part.text : "")).join("")
    return { error, interruptedBy, delivered, text }
  })

const prefillOf = ({ prompt }: LlmRequest) => {
  const last = prompt.content.at(-1)
  if (last?.role !== "assistant") return undefined
  return last.content.map((part) => (part.type === "text" ? part.text : "")).join("")
}

describe("before the first visible part", () => {
  it.effect("a failed provider leaves no trace, and its stream is closed before the next one is asked", () =>
    Effect.gen(function* () {
      const open: Array<number> = []
      const first = scripted("first", [breaking([""], internal)])
      const second = scripted("second", [
        () => {
          open.push(first.live.open)
          return whole("two")
        }
      ])
      const { exit, seen } = yield* read(Fallback.make()([first, second]))
      assert.isTrue(Exit.isSuccess(exit))
      assert.deepStrictEqual(
        seen.map((part) => part.type),
        ["response-metadata", "text-start", "text-delta", "text-end", "finish"]
      )
      assert.deepStrictEqual(open, [0])
    })
  )

  it.effect("nothing is handed up until there is something to see", () =>
    Effect.gen(function* () {
      const slow = TestProvider.paced(block("", "x"), { every: "1 second" })
      const provider = Fallback.make()([scripted("first", [slow]), scripted("second", ["two"])])
      const seen: Array<LlmPart> = []
      const fiber = yield* Effect.forkChild(
        Stream.runForEach(provider.stream(request), (part) => Effect.sync(() => seen.push(part)))
      )
      yield* TestClock.adjust("3999 millis")
      assert.deepStrictEqual(seen, [])
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual(
        seen.map((part) => part.type),
        ["response-metadata", "text-start", "text-delta", "text-delta"]
      )
      yield* Fiber.interrupt(fiber)
    })
  )

  it.effect("a stream that just ends is a failure, and moves on", () =>
    Effect.gen(function* () {
      const [first, second] = [scripted("first", [breaking([""])]), scripted("second", ["two"])]
      assert.strictEqual(textOf((yield* read(Fallback.make()([first, second]))).seen), "two")
      const { exit } = yield* read(Fallback.make()([scripted("only", [breaking([])])]))
      const error = yield* Effect.flip(exit)
      assert.strictEqual(error.reason._tag, "InternalProviderError")
      assert.strictEqual(LlmError.consequence(error).charge, "lost")
    })
  )

  it.effect("a finish part without anything before it is an answer", () =>
    Effect.gen(function* () {
      const [first, second] = [scripted("first", [whole()]), scripted("second", ["two"])]
      assert.deepStrictEqual((yield* read(Fallback.make()([first, second]))).seen.at(-1)?.type, "finish")
      assert.deepStrictEqual(counts(first, second), [1, 0])
    })
  )

  it.effect("a stream that nobody reads asks nobody", () =>
    Effect.gen(function* () {
      const [first, second] = [scripted("first", ["one"]), scripted("second", ["two"])]
      const provider = Fallback.make()([first, second])
      provider.stream(request)
      yield* Stream.runDrain(Stream.take(provider.stream(request), 0))
      assert.deepStrictEqual(counts(first, second), [0, 0])
    })
  )
})

describe("after the first visible part", () => {
  it.effect("a break is StreamInterrupted with what was delivered, and nobody else is asked", () =>
    Effect.gen(function* () {
      const first = scripted("first", [breaking(["Ballast ", "keeps"], errorOf("NetworkError").reason)])
      const second = scripted("second", ["two"], continuing)
      const { exit, seen } = yield* read(Fallback.make()([first, second]))
      const { delivered, error, interruptedBy, text } = yield* interruptedIn(exit)
      assert.deepStrictEqual(delivered, collectParts(seen))
      assert.strictEqual(text, "Ballast keeps")
      assert.strictEqual(interruptedBy, "NetworkError")
      assert.strictEqual(error.provider, "first")
      assert.strictEqual(error.phase, "answered")
      assert.strictEqual(LlmError.consequence(error).next, "resume")
      assert.deepStrictEqual(counts(first, second), [1, 0])
      assert.deepStrictEqual(first.live, { opened: 1, open: 0 })
    })
  )

  it.effect("that holds for a single provider, and for a stream that just ends", () =>
    Effect.gen(function* () {
      const { exit } = yield* read(Fallback.make()([scripted("only", [breaking(["a"])])]))
      assert.strictEqual((yield* interruptedIn(exit)).interruptedBy, "InternalProviderError")
    })
  )

  it.effect("a failure behind the finish part is none", () =>
    Effect.gen(function* () {
      const complete = whole("a")
      const late = TestProvider.broken(complete, complete.parts.length, internal)
      const [first, second] = [scripted("first", [late]), scripted("second", ["two"], continuing)]
      const { exit, seen } = yield* read(resuming([first, second]))
      assert.isTrue(Exit.isSuccess(exit))
      assert.strictEqual(seen.filter((part) => part.type === "finish").length, 1)
      assert.deepStrictEqual(counts(first, second), [1, 0])
    })
  )

  it.effect("a defect stays one", () =>
    Effect.gen(function* () {
      const inner = TestProvider.make({ steps: [whole("a", "b")] })
      const dying: LlmProvider.Service = {
        ...inner,
        stream: (asked) => Stream.concat(Stream.take(inner.stream(asked), 3), Stream.die("bug"))
      }
      const second = scripted("second", ["two"], continuing)
      const { exit } = yield* read(resuming([dying, second]))
      assert.isTrue(Exit.hasDies(exit))
      assert.deepStrictEqual(counts(second), [0])
    })
  )

  it.effect("dropping the stream closes the current provider's", () =>
    Effect.gen(function* () {
      const first = scripted("first", [internal])
      const second = scripted("second", [TestProvider.paced("a b c", { every: "1 second" })])
      const provider = Fallback.make()([first, second])
      const fiber = yield* Effect.forkChild(Stream.runDrain(Stream.take(provider.stream(request), 2)))
      yield* TestClock.adjust("2 seconds")
      assert.isTrue(Exit.isSuccess(fiber.pollUnsafe() ?? assert.fail("still reading")))
      assert.deepStrictEqual(second.live, { opened: 1, open: 0 })
      const interrupted = yield* Effect.forkChild(Stream.runDrain(provider.stream(request)))
      yield* TestClock.adjust("2 seconds")
      assert.strictEqual(second.live.open, 1)
      yield* Fiber.interrupt(interrupted)
      assert.strictEqual(second.live.open, 0)
    })
  )
})

describe("resume", () => {
  it.effect("goes on with a provider that continues answers, in one text, without a doubled space", () =>
    Effect.gen(function* () {
      const open: Array<number> = []
      const first = scripted("first", [breaking(["Ballast ", "keeps \n"], internal)])
      const unable = scripted("unable", ["never"])
      const able = scripted(
        "able",
        [
          () => {
            open.push(first.live.open)
            return whole(" ", "\nthe ship", " upright.")
          }
        ],
        continuing
      )
      const { exit, seen } = yield* read(resuming([first, unable, able]))
      assert.isTrue(Exit.isSuccess(exit))
      assert.deepStrictEqual(counts(first, unable, able), [1, 0, 1])
      assert.deepStrictEqual(open, [0])
      assert.strictEqual(prefillOf(able.calls[0]?.request ?? request), "Ballast keeps")
      assert.deepStrictEqual(able.calls[0]?.request.prompt.content.slice(0, -1), request.prompt.content)
      assert.deepStrictEqual(seen, [
        { type: "response-metadata", modelId: "m" },
        { type: "text-start", id: "0" },
        { type: "text-delta", id: "0", delta: "Ballast " },
        { type: "text-delta", id: "0", delta: "keeps \n" },
        { type: "text-delta", id: "0", delta: "the ship" },
        { type: "text-delta", id: "0", delta: " upright." },
        { type: "text-end", id: "0" },
        { ...seen.at(-1), type: "finish", metadata: { ballast: { provider: "able", model: "test-model" } } } as LlmPart // its usage is the script's
      ])
    })
  )

  it.effect("keeps the white space with which a continuation begins, where there was none before", () =>
    Effect.gen(function* () {
      const first = scripted("first", [breaking(["one"], internal)])
      const { seen } = yield* read(resuming([first, scripted("able", [whole(" two")], continuing)]))
      assert.strictEqual(textOf(seen), "one two")
    })
  )

  it.effect("of white space alone asks the question again", () =>
    Effect.gen(function* () {
      const first = scripted("first", [breaking(["\n"], internal)])
      const able = scripted("able", [whole("\nhello")], continuing)
      const { seen } = yield* read(resuming([first, able]))
      assert.strictEqual(textOf(seen), "\nhello")
      assert.strictEqual(able.calls[0]?.request, request)
    })
  )

  it.effect("begins a new block where the first was ended", () =>
    Effect.gen(function* () {
      const complete = TestProvider.paced(block("one "))
      const first = scripted("first", [TestProvider.broken(complete, 4, internal)])
      const { seen } = yield* read(resuming([first, scripted("able", [whole(" two")], continuing)]))
      assert.deepStrictEqual(
        seen.map((part) => part.type),
        ["response-metadata", "text-start", "text-delta", "text-end", "text-start", "text-delta", "text-end", "finish"]
      )
      assert.strictEqual(textOf(seen), "one two")
      assert.strictEqual(collectParts(seen).filter((part) => part.type === "text").length, 2)
    })
  )

  it.effect.each<[string, LlmPart]>([
    ["reasoning", { type: "reasoning-delta", id: "r", delta: "hm" }],
    ["a tool call", { type: "tool-call", id: "1", name: "search", params: {} }],
    ["a file", { type: "file", mediaType: "image/png", data: "" }]
  ])("is not for a stream that delivered %s", ([, part]) =>
    Effect.gen(function* () {
      const complete = TestProvider.paced([part, ...block("a")])
      const able = scripted("able", ["two"], continuing)
      const { exit, seen } = yield* read(
        resuming([scripted("first", [TestProvider.broken(complete, 4, internal)]), able])
      )
      assert.deepStrictEqual((yield* interruptedIn(exit)).delivered, collectParts(seen))
      assert.deepStrictEqual(counts(able), [0])
    })
  )

  it.effect("is not for a break that the table would not take to another provider", () =>
    Effect.gen(function* () {
      const broke = breaking(["a"], errorOf("ContentPolicyError").reason)
      const able = scripted("able", ["b"], continuing)
      const { exit } = yield* read(resuming([scripted("first", [broke]), able]))
      assert.strictEqual((yield* interruptedIn(exit)).interruptedBy, "ContentPolicyError")
      assert.deepStrictEqual(counts(able), [0])
      const always = Fallback.make({ onBreak: "resume", when: () => true })
      assert.strictEqual(textOf((yield* read(always([scripted("first", [broke]), able]))).seen), "ab")
    })
  )

  it.effect("goes on again after a second break, and asks nobody twice", () =>
    Effect.gen(function* () {
      const first = scripted("first", [breaking(["a"], internal)])
      const second = scripted("second", [breaking(["b "], internal)], continuing)
      const third = scripted("third", [whole(" c")], continuing)
      const { seen } = yield* read(resuming([first, second, third]))
      assert.strictEqual(textOf(seen), "ab c")
      assert.deepStrictEqual(counts(first, second, third), [1, 1, 1])
      assert.strictEqual(prefillOf(third.calls[0]?.request ?? request), "ab")
      const { exit } = yield* read(resuming([first, second]))
      const { error, text } = yield* interruptedIn(exit)
      assert.strictEqual(text, "ab ")
      assert.strictEqual(error.provider, "second")
    })
  )

  it.effect("passes over one that fails before it says anything; the break is what is told", () =>
    Effect.gen(function* () {
      const first = scripted("first", [breaking(["a"], errorOf("NetworkError").reason)])
      const second = scripted("second", [internal], continuing)
      const third = scripted("third", [whole("c")], continuing)
      assert.strictEqual(textOf((yield* read(resuming([first, second, third]))).seen), "ac")
      const { exit } = yield* read(resuming([first, second]))
      assert.strictEqual((yield* interruptedIn(exit)).interruptedBy, "NetworkError")
      assert.strictEqual(second.live.open, 0)
    })
  )

  it.effect("the same provider listed twice is asked once for each time", () =>
    Effect.gen(function* () {
      const twice = scripted("twice", [breaking(["a"], internal)], continuing)
      const { exit } = yield* read(resuming([twice, twice]))
      assert.strictEqual((yield* interruptedIn(exit)).text, "aa")
      assert.deepStrictEqual(counts(twice), [2])
    })
  )

  it.effect("is counted in the ledger of the call", () =>
    Effect.gen(function* () {
      const providers = () =>
        [
          scripted("first", [internal]),
          scripted("second", [breaking(["a"], internal)]),
          scripted("able", [whole("b")], continuing)
        ] as const
      const bounded = Fallback.make({ onBreak: "resume", maxAttempts: 2 })
      const refused = yield* read(bounded(providers()))
      assert.strictEqual((yield* interruptedIn(refused.exit)).text, "a")
      const allowed = Fallback.make({ onBreak: "resume", maxAttempts: 3 })
      assert.strictEqual(textOf((yield* read(allowed(providers()))).seen), "ab")
      const ledger = Attempts.make(8)
      yield* Effect.provideService(read(resuming(providers())), Attempts.Current, ledger)
      assert.strictEqual(ledger.used, 3)
    })
  )

  it.effect("is not begun once the deadline has passed", () =>
    Effect.gen(function* () {
      const slow: TestProvider.Script = {
        ...breaking(["a"]),
        end: { after: Duration.seconds(10), failure: internal }
      }
      const able = scripted("able", [whole("b")], continuing)
      const provider = resuming([scripted("first", [slow]), able])
      const { exit } = yield* timed(
        Deadline.within(
          Effect.flatMap(read(provider), ({ exit }) => exit),
          "10 seconds"
        )
      )
      assert.strictEqual((yield* interruptedIn(exit)).text, "a")
      assert.deepStrictEqual(counts(able), [0])
      const { exit: inTime } = yield* timed(
        Deadline.within(
          Effect.flatMap(read(provider), ({ exit }) => exit),
          10_001
        )
      )
      assert.isTrue(Exit.isSuccess(inTime))
    })
  )
})

/** A stream of one text: its pieces, how many parts of it come, and how it ends after them. */
const Scripted = Schema.Struct({
  deltas: Schema.Array(Schema.Literals(["", " ", "\n", "a", " b", "c ", "d e"])).check(Schema.isMaxLength(5)),
  count: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 9 })),
  end: Schema.Literals(["finished", "moves on", "stays"]),
  continuesAnswers: Schema.Boolean
})

type Scripted = typeof Scripted.Type

const Scripts = Schema.Array(Scripted).check(Schema.isMinLength(1), Schema.isMaxLength(5))

const endings = { finished: undefined, "moves on": internal, stays: errorOf("InvalidRequestError").reason }

const scriptOf = ({ count, deltas, end }: Scripted) => {
  const script = whole(...deltas)
  return end === "finished" && count % 2 === 0 ? script : TestProvider.broken(script, count, endings[end])
}

const providersOf = (scripts: ReadonlyArray<Scripted>): readonly [Counted, ...Array<Counted>] => {
  const [first, ...rest] = scripts.map((script, i) => scripted(`p${i}`, [scriptOf(script)], script))
  return [first ?? assert.fail("an empty list"), ...rest]
}

const partsOf = (script: Scripted) => scriptOf(script).parts.map(({ part }) => part)

const isBegun = (part: LlmPart) => isVisible(part) || part.type === "finish"

const unsigned = (part: LlmPart): LlmPart => {
  if (part.type !== "finish") return part
  const { metadata: _, ...finish } = part
  return finish
}

describe("whatever the providers do", () => {
  it.effect.prop(
    "a stream is never replayed after its first visible part",
    [Scripts],
    ([scripts]) =>
      Effect.gen(function* () {
        const providers = providersOf(scripts)
        const { exit, seen } = yield* read(Fallback.make()(providers))
        const stops = scripts.findIndex((script) => partsOf(script).some(isBegun) || script.end === "stays")
        const last = stops === -1 ? scripts.length - 1 : stops
        const expected = partsOf(scripts[last] ?? assert.fail())
        assert.deepStrictEqual(
          counts(...providers),
          scripts.map((_, i) => (i <= last ? 1 : 0))
        )
        assert.deepStrictEqual(seen.map(unsigned), expected.some(isBegun) ? expected : [])
        assert.isTrue(providers.every(({ live }) => live.open === 0))
        if (Exit.isSuccess(exit)) assert.strictEqual(seen.at(-1)?.type, "finish")
        else if (seen.length > 0) {
          assert.deepStrictEqual((yield* interruptedIn(exit)).delivered, collectParts(seen))
        } else assert.notStrictEqual((yield* Effect.flip(exit)).reason._tag, "StreamInterrupted")
      }),
    { arbitrary: { runs: 500 } }
  )

  it.effect.prop(
    "a resumed text is what its reader saw, continued and never begun anew",
    [Scripts],
    ([scripts]) =>
      Effect.gen(function* () {
        const providers = providersOf(scripts)
        const { exit, seen } = yield* read(resuming(providers))
        const asked = providers.flatMap((provider, i) => provider.calls.map((call) => ({ call, i })))
        assert.strictEqual(new Set(asked.map(({ i }) => i)).size, asked.length, "nobody is asked twice")
        let text = ""
        for (const { call, i } of asked) {
          assert.strictEqual(prefillOf(call.request) ?? "", text.trimEnd())
          const parts = partsOf(scripts[i] ?? assert.fail())
          const more = parts.some(isBegun) ? textOf(parts) : ""
          text += text === text.trimEnd() ? more : more.trimStart()
        }
        assert.strictEqual(textOf(seen), text)
        const collected =
          Exit.isSuccess(exit) || seen.length === 0 ? collectParts(seen) : (yield* interruptedIn(exit)).delivered
        assert.deepStrictEqual(collected, collectParts(seen))
        assert.strictEqual(collected.map((part) => (part.type === "text" ? part.text : "")).join(""), text)
        assertWellFormed(seen, Exit.isSuccess(exit))
        assert.isTrue(providers.every(({ live }) => live.open === 0))
      }),
    { arbitrary: { runs: 500 } }
  )
})

/** Text only in open blocks, each begun and ended once, and at most one finish part, at the end. */
const assertWellFormed = (parts: ReadonlyArray<LlmPart>, complete: boolean) => {
  let open: string | undefined
  const ids = new Set<string>()
  for (const part of parts) {
    if (part.type === "text-start") {
      assert.isUndefined(open)
      assert.isFalse(ids.has(part.id))
      open = part.id
      ids.add(part.id)
    } else if (part.type === "text-delta") assert.strictEqual(part.id, open)
    else if (part.type === "text-end") {
      assert.strictEqual(part.id, open)
      open = undefined
    }
  }
  const finish = parts.findIndex((part) => part.type === "finish")
  assert.strictEqual(finish, complete ? parts.length - 1 : -1)
  if (complete) assert.isUndefined(open)
}
