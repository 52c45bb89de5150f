import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Metric, Stream } from "effect"
import { Prompt } from "effect/ai"
import { TestClock } from "effect/testing"
import * as Deadline from "effect-ballast/Deadline"
import * as Guard from "effect-ballast/Guard"
import * as Guardrails from "effect-ballast/Guardrails"
import { document, makeUnsafe } from "effect-ballast/LlmRequest"
import * as Metrics from "effect-ballast/Metrics"
import { TestProvider } from "effect-ballast/testing"
import { listening, rejected, request } from "./support/guards.ts"

/** A guard of requests that says each of these in turn. */
const saying = (name: string, verdict: Guard.InputVerdict, options: Partial<Guard.Options> = {}) =>
  Guard.make({ name, version: "1", input: () => verdict, ...options })

describe("Guardrails, requests", () => {
  it.effect("a request that passes is sent as it is", () =>
    Effect.gen(function* () {
      const inner = TestProvider.make()
      const provider = Guardrails.makeInput({ guards: [saying("a", Guard.pass)] })(inner)
      assert.strictEqual((yield* provider.generate(request)).text, "ok")
      yield* Stream.runDrain(provider.stream(request))
      assert.deepStrictEqual(
        inner.calls.map((call) => call.request === request),
        [true, true]
      )
    })
  )

  it.effect("the first guard that blocks ends it: those behind it are not asked, and nothing is sent", () =>
    Effect.gen(function* () {
      const inner = TestProvider.make()
      let asked = 0
      const last = Guard.make({ name: "last", version: "1", input: () => (asked++, Guard.pass) })
      const provider = Guardrails.makeInput({ guards: [saying("first", Guard.block("too rude")), last] })(inner)
      for (const call of [provider.generate(request), Stream.runDrain(provider.stream(request))]) {
        const exit = yield* Effect.exit(call)
        const reason = rejected(exit)
        assert.strictEqual(reason?.message, "Guard first rejected the input: too rude")
      }
      assert.deepStrictEqual([asked, inner.calls.length], [0, 0])
    })
  )

  it.effect("a guard sees the request as the one before it left it", () =>
    Effect.gen(function* () {
      const inner = TestProvider.make()
      const by = makeUnsafe("shorter")
      let seen = ""
      const reading = Guard.make({
        name: "reading",
        version: "1",
        input: ({ texts }) => ((seen = texts[0]?.text ?? ""), Guard.pass)
      })
      const changing = saying("changing", { _tag: "Replace", action: "truncate", kinds: ["length"], by })
      yield* Guardrails.makeInput({ guards: [changing, reading] })(inner).generate(request)
      assert.strictEqual(seen, "shorter")
      assert.strictEqual(inner.calls[0]?.request, by)
    })
  )

  it.effect("a flag is told and counted, and the call goes on", () =>
    Effect.gen(function* () {
      const { events, onEvent } = listening()
      const guards = [saying("flagging", Guard.flag("rude", "loud"))]
      yield* Guardrails.makeInput({ guards, onEvent })(TestProvider.make()).generate(request)
      assert.deepStrictEqual(events, [
        { guard: "flagging", side: "input", action: "flag", kind: "rude", mode: "enforce" },
        { guard: "flagging", side: "input", action: "flag", kind: "loud", mode: "enforce" }
      ])
      assert.strictEqual((yield* Metric.value(Metrics.guardrail("flagging", "flag"))).count, 1)
    })
  )

  it.effect("a listener that fails, or never ends, keeps no call from going on", () =>
    Effect.gen(function* () {
      for (const onEvent of [() => Effect.die("boom"), () => Effect.never]) {
        const provider = Guardrails.makeInput({ guards: [saying("a", Guard.flag("x"))], onEvent })(TestProvider.make())
        const fiber = yield* Effect.forkChild(provider.generate(request))
        yield* TestClock.adjust("1 second")
        assert.strictEqual((yield* Fiber.join(fiber)).text, "ok")
      }
    })
  )

  it.effect("in shadow mode nothing is refused or changed, and all is told and counted", () =>
    Effect.gen(function* () {
      const { events, onEvent } = listening()
      const inner = TestProvider.make()
      const by = makeUnsafe("shorter")
      const guards = [
        saying("blocks", Guard.block("no"), { mode: "shadow" }),
        saying("cuts", { _tag: "Replace", action: "truncate", kinds: ["length"], by }, { mode: "shadow" }),
        Guard.make({ name: "fails", version: "1", mode: "shadow", input: () => Effect.fail("down") })
      ]
      yield* Guardrails.makeInput({ guards, onEvent })(inner).generate(request)
      assert.strictEqual(inner.calls[0]?.request, request)
      assert.deepStrictEqual(
        events.map(({ action, guard, mode }) => [guard, action, mode]),
        [
          ["blocks", "block", "shadow"],
          ["cuts", "truncate", "shadow"],
          ["fails", "error", "shadow"]
        ]
      )
      assert.strictEqual((yield* Metric.value(Metrics.guardrailShadow("blocks", "block"))).count, 1)
      assert.strictEqual((yield* Metric.value(Metrics.guardrail("blocks", "block"))).count, 0)
    })
  )

  const failures: ReadonlyArray<readonly [string, NonNullable<Guard.Options["input"]>]> = [
    ["throws", () => assert.fail("secret text")],
    ["fails", () => Effect.fail(new Error("secret text"))],
    ["dies", () => Effect.die("secret text")],
    ["gives no answer in time", () => Effect.never]
  ]

  it.effect.each(failures)("a guard that %s blocks the call, without a word of why", ([, input]) =>
    Effect.gen(function* () {
      const inner = TestProvider.make()
      const guard = Guard.make({ name: "mod", version: "1", timeout: "2 seconds", input })
      const provider = Guardrails.makeInput({ guards: [guard] })(inner)
      const fiber = yield* Effect.forkChild(Effect.exit(provider.generate(request)))
      yield* TestClock.adjust("2 seconds")
      const reason = rejected(yield* Fiber.join(fiber))
      assert.strictEqual(reason?._tag, "InputRejected")
      assert.match(reason?.message ?? "", /Guard mod rejected the input: its check failed/)
      assert.notInclude(JSON.stringify(reason), "secret text")
      assert.strictEqual(inner.calls.length, 0)
    })
  )

  it.effect.each(failures)("a guard that %s lets the call pass where it is told to", ([, input]) =>
    Effect.gen(function* () {
      const { events, onEvent } = listening()
      const inner = TestProvider.make()
      const guard = Guard.make({ name: "mod", version: "1", onError: "pass", input })
      const provider = Guardrails.makeInput({ guards: [guard], onEvent })(inner)
      const fiber = yield* Effect.forkChild(provider.generate(request))
      yield* TestClock.adjust("1999 millis")
      const early = inner.calls.length
      yield* TestClock.adjust("1 millis")
      assert.strictEqual((yield* Fiber.join(fiber)).text, "ok")
      assert.strictEqual(early, input === failures[3]?.[1] ? 0 : 1)
      assert.deepStrictEqual(
        events.map(({ action }) => action),
        ["error"]
      )
    })
  )

  it.effect("a guard is not waited for behind the call's deadline", () =>
    Effect.gen(function* () {
      const guard = Guard.make({ name: "slow", version: "1", timeout: "1 minute", input: () => Effect.never })
      const provider = Guardrails.makeInput({ guards: [guard] })(TestProvider.make())
      const fiber = yield* Effect.forkChild(Effect.exit(Deadline.within(provider.generate(request), "1 second")))
      yield* TestClock.adjust("1 second")
      const reason = rejected(yield* Fiber.join(fiber))
      assert.strictEqual(reason?._tag === "TimedOut" ? reason.phase : reason?._tag, "total")
    })
  )

  it.effect("who leaves interrupts the check", () =>
    Effect.gen(function* () {
      let interrupted = false
      const input = () => Effect.onInterrupt(Effect.never, () => Effect.sync(() => (interrupted = true)))
      const guard = Guard.make({ name: "slow", version: "1", input })
      const provider = Guardrails.makeInput({ guards: [guard] })(TestProvider.make())
      const fiber = yield* Effect.forkChild(provider.generate(request), { startImmediately: true })
      yield* Fiber.interrupt(fiber)
      assert.isTrue(interrupted)
    })
  )

  it.effect("guards see what users, documents and tools say, and not the system message", () =>
    Effect.gen(function* () {
      const seen: Array<string> = []
      const guard = Guard.make({
        name: "reading",
        version: "1",
        input: ({ texts }) => {
          for (const { message, origin, text } of texts) seen.push(`${message} ${origin}: ${text}`)
          return Guard.pass
        }
      })
      const prompt = Prompt.fromMessages([
        Prompt.systemMessage({ content: "system" }),
        Prompt.userMessage({
          content: [Prompt.textPart({ text: "one" }), Prompt.textPart({ text: "two" }), document("three")]
        }),
        Prompt.assistantMessage({ content: [Prompt.textPart({ text: "said before" })] }),
        Prompt.toolMessage({
          content: [
            Prompt.toolResultPart({
              id: "1",
              name: "search",
              isFailure: false,
              result: { hits: [{ text: "four" }, "five"] },
              providerExecuted: false
            })
          ]
        })
      ])
      yield* Guardrails.makeInput({ guards: [guard] })(TestProvider.make()).generate({ prompt })
      assert.deepStrictEqual(seen, [
        "1 user: one\ntwo",
        "1 document: <document>\nthree\n</document>",
        "3 tool: hits\ntext\nfour\nfive"
      ])
    })
  )
})
