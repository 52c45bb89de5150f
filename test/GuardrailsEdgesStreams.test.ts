/** Corners of guards on streams: each test is there since a change of the code that it notices went unnoticed. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Stream } from "effect"
import { TestClock } from "effect/testing"
import * as Guard from "effect-ballast/Guard"
import * as Guardrails from "effect-ballast/Guardrails"
import { StreamInterrupted } from "effect-ballast/LlmError"
import type { LlmPart } from "effect-ballast/LlmResponse"
import { TestProvider } from "effect-ballast/testing"
import { calling, listening, rejected, request, toolGuard } from "./support/guards.ts"

const given = (guards: ReadonlyArray<Guard.Guard>, parts: ReadonlyArray<LlmPart>) =>
  Stream.runCollect(
    Guardrails.makeOutput({ guards })(TestProvider.make({ steps: [TestProvider.paced(parts)] })).stream(request)
  )

describe("streams", () => {
  it.effect("arguments of a tool that never came to a call are not given out where calls are checked", () =>
    Effect.gen(function* () {
      const cut = calling("rm").filter(({ type }) => type !== "tool-call" && type !== "tool-params-end")
      const parts = yield* given([toolGuard(() => Guard.pass)], cut)
      assert.isFalse(parts.some(({ type }) => type.startsWith("tool")))
      const open = yield* given([Guard.sensitive()], cut)
      assert.include(JSON.stringify(open), "tool-params-delta")
    })
  )

  it.effect("arguments without an end are flushed before their call", () =>
    Effect.gen(function* () {
      const parts = yield* given(
        [Guard.sensitive()],
        calling("mail", { to: "bob@exam" }).filter(({ type }) => type !== "tool-params-end")
      )
      const types = parts.map(({ type }) => type)
      assert.isBelow(types.lastIndexOf("tool-params-delta"), types.indexOf("tool-call"))
      const json = parts.map((part) => (part.type === "tool-params-delta" ? part.delta : "")).join("")
      assert.deepStrictEqual(JSON.parse(json), { to: "bob@exam" })
    })
  )

  it.effect("what is held back of arguments that break off is given out before their call", () =>
    Effect.gen(function* () {
      const all = calling("mail", { to: "jane@exam" }).filter(({ type }) => type !== "tool-params-end")
      const call = all.findIndex(({ type }) => type === "tool-call")
      const cut = all.filter((_, i) => i < call - 2 || i >= call)
      for (const guards of [[Guard.sensitive()], [Guard.sensitive(), toolGuard(() => Guard.pass)]]) {
        const parts = yield* given(guards, cut)
        const types = parts.map(({ type }) => type)
        assert.strictEqual(types.indexOf("tool-call"), types.lastIndexOf("tool-params-delta") + 1)
        const json = parts.map((part) => (part.type === "tool-params-delta" ? part.delta : "")).join("")
        assert.strictEqual(json, '{"to":"jane@exam')
      }
    })
  )

  it.effect("guards of tools in shadow mode hold nothing back, and do nothing to a call", () =>
    Effect.gen(function* () {
      const { events, onEvent } = listening()
      const toolCall = () => Guard.block("no tools")
      const guards = [Guard.make({ name: "tools", version: "1", mode: "shadow", toolCall })]
      const all = calling("rm")
      const inner = TestProvider.make({ steps: [TestProvider.paced(all, { every: "1 second" })] })
      const parts: Array<LlmPart> = []
      const read = Stream.runForEach(Guardrails.makeOutput({ guards, onEvent })(inner).stream(request), (part) =>
        Effect.sync(() => parts.push(part))
      )
      const fiber = yield* Effect.forkChild(read)
      yield* TestClock.adjust("6 seconds")
      assert.deepStrictEqual(parts, all.slice(0, parts.length))
      assert.deepStrictEqual(parts.slice(-2), all.slice(4, 6))
      yield* TestClock.adjust("1 minute")
      yield* Fiber.join(fiber)
      assert.deepStrictEqual(parts, all)
      assert.deepStrictEqual(
        events.map(({ action, mode }) => [action, mode]),
        [["block", "shadow"]]
      )
    })
  )

  it.effect("more arguments than may be held back are let go where the guard may be passed", () =>
    Effect.gen(function* () {
      const params = { text: "x".repeat(2 ** 20) }
      const json = JSON.stringify(params)
      const deltas = Array.from({ length: 40 }, (_, i): LlmPart => {
        const size = Math.ceil(json.length / 40)
        return { type: "tool-params-delta", id: "c", delta: json.slice(i * size, (i + 1) * size) }
      })
      const parts: ReadonlyArray<LlmPart> = [
        { type: "tool-params-start", id: "c", name: "write" },
        ...deltas,
        { type: "tool-params-end", id: "c" },
        { type: "tool-call", id: "c", name: "write", params }
      ]
      const guard = (onError: "block" | "pass") =>
        Guard.make({ name: "tools", version: "1", onError, toolCall: () => Guard.pass })
      const exit = yield* Effect.exit(given([guard("block")], parts))
      assert.match(rejected(exit)?.message ?? "", /AnswerTooLong/)
      const passed = yield* given([guard("pass")], parts)
      assert.strictEqual(passed.map((part) => (part.type === "tool-params-delta" ? part.delta : "")).join(""), json)
    })
  )

  it.effect(
    "what a broken stream delivered holds no call that was not checked, and nothing where all was held back",
    () =>
      Effect.gen(function* () {
        const delivered = [
          { type: "text", text: "let me see" },
          { type: "tool-call", id: "c", name: "rm", params: {} }
        ] as const
        const broken = new StreamInterrupted({ interruptedBy: "NetworkError", delivered })
        const left = (guard: Guard.Guard) =>
          Effect.gen(function* () {
            const provider = Guardrails.makeOutput({ guards: [guard] })(TestProvider.make({ steps: [broken] }))
            const reason = rejected(yield* Effect.exit(provider.generate(request)))
            return reason?._tag === "StreamInterrupted" ? reason.delivered.map(({ type }) => type) : undefined
          })
        assert.deepStrictEqual(yield* left(Guard.sensitive()), ["text", "tool-call"])
        assert.deepStrictEqual(yield* left(toolGuard(() => Guard.pass)), ["text"])
        const whole = Guard.make({ name: "judge", version: "1", output: () => Guard.pass })
        assert.deepStrictEqual(yield* left(whole), [])
      })
  )

  it.effect("what the provider signed is not signed any more when it was changed", () =>
    Effect.gen(function* () {
      const reasoning = {
        type: "reasoning",
        text: "ask jane@example.com",
        metadata: { anthropic: { signature: "s" } }
      } as const
      const other = { ...reasoning, text: "ask her" }
      const provider = Guardrails.makeOutput()(
        TestProvider.make({ steps: [[reasoning, other, { type: "text", text: "ok" }]] })
      )
      const { parts } = yield* provider.generate(request)
      assert.deepInclude(parts[0], { text: "ask [REDACTED:email]", metadata: {} })
      assert.deepInclude(parts[1], { text: "ask her", metadata: { anthropic: { signature: "s" } } })
    })
  )
})
