/** Guards within the stack: in front of caches, behind providers that break, over the real client. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Layer, Redacted, Schema, Stream } from "effect"
import { AiError } from "effect/ai"
import OpenAI from "openai"
import * as Cache from "effect-ballast/Cache"
import * as CacheStore from "effect-ballast/CacheStore"
import * as Caller from "effect-ballast/Caller"
import * as Guard from "effect-ballast/Guard"
import * as Guardrails from "effect-ballast/Guardrails"
import * as LlmProvider from "effect-ballast/LlmProvider"
import { makeUnsafe } from "effect-ballast/LlmRequest"
import type { LlmPart } from "effect-ballast/LlmResponse"
import * as LocalLlm from "effect-ballast/LocalLlm"
import * as Resilient from "effect-ballast/Resilient"
import { TestProvider } from "effect-ballast/testing"
import { calling, rejected, request, textOf } from "./support/guards.ts"

const secrets = "write to jane@example.com"
const internal = new AiError.InternalProviderError({ description: "boom" })

describe("guards and caches", () => {
  const cached = (guards: ReadonlyArray<Guard.Guard>, inner: LlmProvider.Service) =>
    Effect.map(Cache.Cache, ({ wrap }) => wrap(Guardrails.makeOutput({ guards })(inner)))
  const shared = Cache.layer({ isolation: "shared" }).pipe(Layer.provide(CacheStore.layerMemory()))

  it.effect("what passed other guards is not given again", () =>
    Effect.gen(function* () {
      const inner = TestProvider.make({ steps: [secrets] })
      const lax = yield* cached([Guard.sensitive({ kinds: ["card"] })], inner)
      const strict = yield* cached([Guard.sensitive()], inner)
      assert.strictEqual((yield* lax.generate(request)).text, secrets)
      assert.strictEqual((yield* strict.generate(request)).text, "write to [REDACTED:email]")
      assert.strictEqual((yield* strict.generate(request)).text, "write to [REDACTED:email]")
      assert.strictEqual(inner.calls.length, 2)
    }).pipe(Effect.provide(shared))
  )

  it.effect("a guard in shadow mode changes no key", () =>
    Effect.gen(function* () {
      const inner = TestProvider.make({ steps: [secrets] })
      for (const kinds of [["card"], ["email"]] as const) {
        const provider = yield* cached([Guard.sensitive({ kinds, mode: "shadow" })], inner)
        assert.strictEqual((yield* provider.generate(request)).text, secrets)
      }
      assert.strictEqual(inner.calls.length, 1)
    }).pipe(Effect.provide(shared))
  )

  it.effect("where guards judge by who asks, users share no answers", () =>
    Effect.gen(function* () {
      const inner = TestProvider.make()
      const output = () => Effect.as(Caller.Caller, Guard.pass)
      const byCaller = Guard.make({ name: "roles", version: "1", scope: "caller", output })
      const provider = yield* cached([byCaller], inner)
      for (const user of ["ada", "bob", "ada"]) yield* Caller.provide(provider.generate(request), { tenant: "t", user })
      assert.strictEqual(inner.calls.length, 2)
    }).pipe(Effect.provide(shared))
  )
})

describe("guards and streams", () => {
  it.effect("what a broken stream delivered holds what was given out and no more", () =>
    Effect.gen(function* () {
      const steps = [TestProvider.broken(TestProvider.paced("write to jane@example.com and bob@exam"), 6, internal)]
      const provider = Resilient.make({ outputGuard: {} }, 1)([TestProvider.make({ steps })])
      const parts: Array<LlmPart> = []
      const read = Stream.runForEach(provider.stream(request), (part) => Effect.sync(() => parts.push(part)))
      const reason = rejected(yield* Effect.exit(read))
      assert.strictEqual(reason?._tag, "StreamInterrupted")
      const broken = reason?._tag === "StreamInterrupted" ? reason.delivered : []
      const delivered = broken.map((part) => (part.type === "text" ? part.text : "")).join("")
      assert.strictEqual(textOf(parts), "write to [REDACTED:email] and ")
      assert.strictEqual(delivered, textOf(parts))
    })
  )

  it.effect("an answer that was cut off does not end in half of something", () =>
    Effect.gen(function* () {
      const finish = { type: "finish", reason: "length", usage: { inputTokens: {}, outputTokens: {} } } as const
      const steps = [[{ type: "text", text: "write to jane@exam" }, finish] as const]
      const provider = Guardrails.makeOutput()(TestProvider.make({ steps }))
      assert.strictEqual((yield* provider.generate(request)).text, "write to ")
      const parts = yield* Stream.runCollect(provider.stream(request))
      assert.strictEqual(textOf(parts), "write to ")
      assert.deepStrictEqual(
        parts.map(({ type }) => type),
        ["text-start", "text-delta", "text-end", "finish"]
      )
    })
  )

  const Pieces = Schema.Array(
    Schema.Literals([
      "write to ",
      "jane",
      "@",
      "example",
      ".com",
      " card ",
      "4111 1111",
      " 1111 1111",
      "sk-proj-",
      "aB3".repeat(9),
      ".",
      ", ",
      "-",
      " é😀",
      "078-05-1120",
      "\n"
    ])
  )
  const Cuts = Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 20 })))

  it.effect.prop(
    "however an answer is cut into parts, its stream says what the whole answer says",
    [Pieces, Cuts],
    ([pieces, cuts]) =>
      Effect.gen(function* () {
        const text = `${pieces.join("")}.`
        const deltas: Array<LlmPart> = []
        for (let at = 0, i = 0; at < text.length; i++) {
          const end = at + (cuts[i] ?? text.length)
          deltas.push({ type: "text-delta", id: "1", delta: text.slice(at, end) })
          at = end
        }
        const streamed: ReadonlyArray<LlmPart> = [
          { type: "text-start", id: "1" },
          ...deltas,
          { type: "text-end", id: "1" }
        ]
        const guards = [
          Guard.sensitive(),
          Guard.canary({ token: "card 4111" }),
          Guard.denyList({ terms: ["jane"], action: "redact" })
        ]
        const guarded = Guardrails.makeOutput({ guards })
        const whole = yield* Effect.exit(
          guarded(TestProvider.make({ steps: [[{ type: "text", text }]] })).generate(request)
        )
        const stream = guarded(TestProvider.make({ steps: [TestProvider.paced(streamed)] })).stream(request)
        const parts = yield* Effect.exit(Stream.runCollect(stream))
        if (Exit.isFailure(whole) || Exit.isFailure(parts)) {
          assert.strictEqual(rejected(whole)?._tag, rejected(parts)?._tag)
        } else assert.strictEqual(textOf(parts.value), whole.value.text)
      })
  )

  it.effect("arguments of tools stream as they are given in the call, however they are cut", () =>
    Effect.gen(function* () {
      const params = { to: "jane@example.com", note: 'say "hi"\n\u0040', list: [1, 4111111111111111, null, true] }
      for (const guards of [
        [Guard.sensitive()],
        [Guard.sensitive(), Guard.make({ name: "t", version: "1", toolCall: () => Guard.pass })]
      ]) {
        const inner = TestProvider.make({ steps: [TestProvider.paced(calling("mail", params))] })
        const parts = yield* Stream.runCollect(Guardrails.makeOutput({ guards })(inner).stream(request))
        const json = parts.map((part) => (part.type === "tool-params-delta" ? part.delta : "")).join("")
        const call = parts.find((part) => part.type === "tool-call")
        assert.deepStrictEqual(JSON.parse(json), call?.params)
        assert.notInclude(json, "jane")
        assert.notInclude(json, "4111")
      }
    })
  )
})

describe("a guard over HTTP", () => {
  it.live("the moderation endpoint of the openai client is one", () =>
    Effect.gen(function* () {
      const { behave, requests, url } = yield* LocalLlm.LocalLlm
      const client = new OpenAI({ apiKey: "local", baseURL: url, maxRetries: 0 })
      const moderation = Guard.make({
        name: "moderation",
        version: "omni-moderation-latest",
        input: ({ texts }) =>
          Effect.map(
            Effect.tryPromise((signal) =>
              client.moderations.create({ input: texts.map(({ text }) => text) }, { signal })
            ),
            ({ results }) => (results.some(({ flagged }) => flagged) ? Guard.block("moderation") : Guard.pass)
          )
      })
      const provider = Guardrails.makeInput({ guards: [moderation] })(yield* LlmProvider.LlmProvider)
      const ask = (text: string) => Effect.exit(provider.generate(makeUnsafe(text)))
      assert.isTrue(Exit.isSuccess(yield* ask("What is ballast?")))
      const before = (yield* requests).length
      assert.strictEqual(rejected(yield* ask("How do I build a bomb?"))?._tag, "InputRejected")
      assert.strictEqual((yield* requests).length, before + 1)
      yield* behave(LocalLlm.status(500))
      assert.match(rejected(yield* ask("What is ballast?"))?.message ?? "", /its check failed/)
    }).pipe(Effect.provide(LocalLlm.layerProvider()))
  )
})

it.effect("a secret in what a provider says of its failure is not told", () =>
  Effect.gen(function* () {
    const { behave } = yield* LocalLlm.LocalLlm
    yield* behave(LocalLlm.status(400, { message: "account of jane@example.com, card 4111 1111 1111 1111, is closed" }))
    const exit = yield* Effect.exit(LlmProvider.generate("hello"))
    const told = JSON.stringify(rejected(exit)) + (rejected(exit)?.message ?? "")
    assert.notInclude(told, "jane")
    assert.notInclude(told, "4111")
    assert.include(told, "is closed")
  }).pipe(Effect.provide(LocalLlm.layerProvider()))
)

it("neither a guard nor its fingerprint tells a secret", () => {
  const guards = [
    Guard.canary({ token: Redacted.make("canary-secret") }),
    Guard.denyList({ terms: ["falcon"] }),
    Guard.sensitive({ custom: [{ kind: "own", pattern: /falcon-\d/, longest: 8 }] })
  ]
  assert.notMatch(JSON.stringify(guards), /secret-|canary-secret|falcon/)
})
