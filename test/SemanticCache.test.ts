import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer, Random } from "effect"
import { AiError, EmbeddingModel } from "effect/ai"
import { TestClock } from "effect/testing"
import type { LlmProvider } from "effect-ballast"
import { Cache, CacheStore, Caller, LlmRequest, SemanticCache, VectorIndex } from "effect-ballast"
import { TestProvider } from "effect-ballast/testing"
import { ask, methods } from "./support/providers.ts"

/** Texts with the same first word lie in one direction, others across from it. */
const embedded = (fails: () => boolean = () => false) => {
  const words = new Map<string, number>()
  const calls: Array<ReadonlyArray<string>> = []
  const model = EmbeddingModel.make({
    embedMany: ({ inputs }) =>
      Effect.suspend(() => {
        calls.push(inputs)
        if (fails()) {
          const reason = new AiError.InternalProviderError({ description: "overloaded" })
          return Effect.fail(AiError.make({ module: "test", method: "embedMany", reason }))
        }
        const results = inputs.map((text) => {
          const word = text.split(" ")[0] ?? ""
          const at = words.get(word) ?? words.size
          words.set(word, at)
          return Array.from({ length: 16 }, (_, i) => (i === at ? 1 : 0))
        })
        return Effect.succeed({ results, usage: { inputTokens: 1 } })
      })
  })
  return { calls, layer: Layer.effect(EmbeddingModel.EmbeddingModel, model) }
}

const built = Effect.fnUntraced(function* (
  options: SemanticCache.Options = {},
  steps: ReadonlyArray<TestProvider.Step> = ["one", "two", "three", "four"],
  embeddings: ReturnType<typeof embedded> = embedded()
) {
  const inner = TestProvider.make({ steps })
  const services = yield* Layer.build(
    SemanticCache.layer({ sample: 0, ...options }).pipe(
      Layer.provide(Layer.mergeAll(CacheStore.layerMemory(), VectorIndex.layerMemory(), embeddings.layer))
    )
  )
  const cache = Context.get(services, SemanticCache.SemanticCache)
  const provider = cache.wrap(inner)
  return { cache, inner, provider, embeddings }
})

const textOf = (provider: LlmProvider.Service, input: LlmRequest.Input) =>
  Effect.map(provider.generate(LlmRequest.makeUnsafe(input)), ({ text }) => text)

describe("a text of the same meaning", () => {
  for (const first of methods)
    for (const second of methods)
      it.effect(`gets the answer again: ${second} after ${first}`, () =>
        Effect.gen(function* () {
          const { cache, inner, provider } = yield* built()
          const of = (text: string) => LlmRequest.makeUnsafe(text)
          assert.strictEqual((yield* ask(provider, first, of("ballast is what?"))).text, "one")
          const again = yield* ask(provider, second, of("ballast, can you explain it?"))
          assert.strictEqual((yield* ask(provider, second, of("ballast what is it"))).text, "one")
          assert.strictEqual(again.text, "two") // another first word: another direction
          assert.strictEqual(inner.calls.length, 2)
          assert.deepInclude(yield* cache.stats, { hits: 1, misses: 2, stored: 2 })
        })
      )

  it.effect("but of other facts does not", () =>
    Effect.gen(function* () {
      const { cache, inner, provider } = yield* built()
      yield* textOf(provider, "add 2 + 2")
      assert.strictEqual(yield* textOf(provider, "add 2 + 3"), "two")
      assert.strictEqual(yield* textOf(provider, "add 2 and 2 not"), "three")
      assert.strictEqual(yield* textOf(provider, "add 2 +  2"), "one")
      assert.strictEqual(inner.calls.length, 3)
      assert.deepInclude(yield* cache.stats, { hits: 1, gated: 2, misses: 1 })
    })
  )

  it.effect("is only compared where everything else is equal", () =>
    Effect.gen(function* () {
      const { inner, provider } = yield* built(
        {},
        Array.from({ length: 20 }, (_, i) => `${i}`)
      )
      yield* textOf(provider, "same text")
      const system = { role: "system", content: "be brief" } as const
      yield* textOf(provider, { prompt: [system, { role: "user", content: "same text" }] })
      yield* textOf(provider, { prompt: "same text", temperature: 0 })
      yield* Caller.provide(textOf(provider, "same text"), { tenant: "a" })
      yield* Caller.provide(textOf(provider, "same text"), { tenant: "b" })
      assert.strictEqual(inner.calls.length, 5)
      assert.strictEqual(yield* Caller.provide(textOf(provider, "same text"), { tenant: "b" }), "4")
    })
  )

  it.effect("is given for as long as it is kept", () =>
    Effect.gen(function* () {
      const { provider } = yield* built({ timeToLive: "10 minutes" })
      yield* textOf(provider, "same text")
      yield* TestClock.adjust("9 minutes")
      assert.strictEqual(yield* textOf(provider, "same text"), "one")
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(yield* textOf(provider, "same text"), "two")
    })
  )

  it.effect("is forgotten with its tenant", () =>
    Effect.gen(function* () {
      const { cache, inner, provider } = yield* built()
      const asking = (tenant: string) => Caller.provide(textOf(provider, "same text"), { tenant })
      yield* asking("a")
      yield* asking("b")
      yield* cache.clear({ tenant: "a" })
      yield* asking("b")
      assert.strictEqual(inner.calls.length, 2)
      yield* asking("a")
      assert.strictEqual(inner.calls.length, 3)
      yield* cache.clear()
      yield* asking("b")
      assert.strictEqual(inner.calls.length, 4)
    })
  )
})

describe("what is never answered from it", () => {
  const cases: ReadonlyArray<readonly [name: string, input: LlmRequest.Input]> = [
    ["a long text", "word ".repeat(500)],
    [
      "a message with a file",
      {
        prompt: [
          {
            role: "user",
            content: [
              { type: "text", text: "what is this" },
              { type: "file", mediaType: "image/png", data: new Uint8Array([1]) }
            ]
          }
        ]
      }
    ],
    [
      "a conversation that does not end with the user",
      {
        prompt: [
          { role: "user", content: "say a" },
          { role: "assistant", content: "a" }
        ]
      }
    ]
  ]
  for (const [name, input] of cases)
    it.effect(name, () =>
      Effect.gen(function* () {
        const { cache, embeddings, inner, provider } = yield* built()
        yield* textOf(provider, input)
        yield* textOf(provider, input)
        assert.strictEqual(inner.calls.length, 2)
        assert.deepStrictEqual(embeddings.calls, [])
        assert.deepInclude(yield* cache.stats, { bypassed: 2 })
      })
    )

  it.effect("a call of a tool, an answer that was cut off, and calls that say so", () =>
    Effect.gen(function* () {
      const tool: TestProvider.Step = TestProvider.paced([{ type: "tool-call", id: "1", name: "search", params: {} }], {
        finishReason: "tool-calls"
      })
      const cut = TestProvider.paced("half", { finishReason: "length" })
      const { inner, provider } = yield* built({}, [tool, cut, "fine", "anew"])
      for (const expected of ["", "half", "fine", "fine"])
        assert.strictEqual(yield* textOf(provider, "same text"), expected)
      assert.strictEqual(yield* Cache.bypass(textOf(provider, "same text")), "anew")
      assert.strictEqual(inner.calls.length, 4)
    })
  )
})

describe("where documents stand beside a question", () => {
  const embed = (request: LlmRequest.LlmRequest) => {
    const last = request.prompt.content.at(-1)
    const [part] = last?.role === "user" ? last.content : []
    return part?.type === "text" ? part.text.split("Question: ")[1] : undefined
  }

  it.effect("only the question is compared, and the documents must be equal", () =>
    Effect.gen(function* () {
      const { embeddings, inner, provider } = yield* built({ embed })
      const document = "long ".repeat(1000)
      const asking = (text: string, question: string) => textOf(provider, `${text}\nQuestion: ${question}`)
      yield* asking(document, "ballast is what?")
      assert.strictEqual(yield* asking(document, "ballast is that what?"), "one")
      assert.strictEqual(yield* asking(`${document}.`, "ballast is what?"), "two")
      assert.strictEqual(inner.calls.length, 2)
      assert.deepStrictEqual(embeddings.calls[0], ["ballast is what?"])
      yield* asking(document, "long ".repeat(500))
      assert.strictEqual(embeddings.calls.length, 3)
    })
  )
})

describe("what goes wrong", () => {
  it.effect("an embedding model that fails or is slow is a miss", () =>
    Effect.gen(function* () {
      const { cache, inner, provider } = yield* built(
        {},
        ["one", "two"],
        embedded(() => true)
      )
      assert.strictEqual(yield* textOf(provider, "same text"), "one")
      assert.strictEqual(yield* textOf(provider, "same text"), "two")
      assert.deepInclude(yield* cache.stats, { errors: 2, stored: 0 })
      const slow = Layer.effect(EmbeddingModel.EmbeddingModel, EmbeddingModel.make({ embedMany: () => Effect.never }))
      const hanging = yield* built({}, ["three"], { calls: [], layer: slow })
      const fiber = yield* Effect.forkChild(textOf(hanging.provider, "same text"))
      yield* TestClock.adjust("500 millis")
      assert.strictEqual(fiber.pollUnsafe()?._tag, "Success")
      assert.strictEqual(inner.calls.length, 2)
    })
  )

  it("options that can never work throw", () => {
    assert.throws(() => SemanticCache.make({ threshold: 1.5 }), RangeError, "threshold")
    assert.throws(() => SemanticCache.make({ sample: -1 }), RangeError, "sample")
    assert.throws(() => SemanticCache.make({ embedTimeout: Infinity }), RangeError, "embedTimeout")
  })
})

describe("how often it is wrong", () => {
  it.effect("is measured on a sample of its hits, behind the caller's back", () =>
    Effect.gen(function* () {
      const { cache, inner, provider } = yield* built({ sample: 1 }, ["ballast one", "ballast two", "lead", "end"])
      yield* textOf(provider, "same text")
      for (let i = 0; i < 2; i++) {
        assert.strictEqual(yield* textOf(provider, "same text"), "ballast one")
        yield* TestClock.adjust(1)
      }
      assert.strictEqual(inner.calls.length, 3)
      assert.deepInclude(yield* cache.stats, { hits: 2, sampled: 2, falseHits: 1 })
    })
  )

  it.effect("in shadow mode nothing is answered", () =>
    Effect.gen(function* () {
      const { cache, inner, provider } = yield* built({ mode: "shadow" })
      yield* textOf(provider, "same text")
      assert.strictEqual(yield* textOf(provider, "same text"), "two")
      assert.strictEqual(inner.calls.length, 2)
      assert.deepInclude(yield* cache.stats, { hits: 1 })
    }).pipe(Random.withSeed("shadow"))
  )
})
