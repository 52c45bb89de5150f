import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Fiber, Layer } from "effect"
import { AiError, EmbeddingModel } from "effect/ai"
import { TestClock } from "effect/testing"
import { Budget, CacheStore, Caller, LlmError, Pricing, QuotaStore, Resilient } from "effect-ballast"
import * as Stores from "effect-ballast/Stores"

const overloaded = AiError.make({
  module: "test",
  method: "embedMany",
  reason: new AiError.InternalProviderError({ description: "overloaded" })
})

/** Each text is embedded as its length and the number of the call. */
const scripted = (...failures: ReadonlyArray<AiError.AiError | undefined>) => {
  const calls: Array<ReadonlyArray<string>> = []
  const model = EmbeddingModel.make({
    embedMany: ({ inputs }) =>
      Effect.suspend(() => {
        const failure = failures[calls.length]
        calls.push(inputs)
        if (failure !== undefined) return Effect.fail(failure)
        const results = inputs.map((text) => [text.length, calls.length])
        return Effect.succeed({ results, usage: { inputTokens: inputs.join("").length } })
      })
  })
  return { calls, layer: Layer.effect(EmbeddingModel.EmbeddingModel, model) }
}

const identity = { provider: "openai", name: "text-embedding-3-small" }
const stores = Layer.merge(Layer.fresh(Stores.layerMemory), Pricing.layer)

const built = <E, R extends Stores.Stores | Pricing.Pricing>(layer: Layer.Layer<EmbeddingModel.EmbeddingModel, E, R>) =>
  Effect.map(Layer.build(Layer.provideMerge(layer, stores)), (services) => ({
    model: Context.get(services, EmbeddingModel.EmbeddingModel),
    store: Context.get(services, QuotaStore.QuotaStore),
    services
  }))

const vectors = (self: Effect.Effect<EmbeddingModel.EmbedManyResponse, AiError.AiError>) =>
  Effect.map(self, ({ embeddings }) => embeddings.map(({ vector }) => [...vector]))

describe("Resilient.embeddings", () => {
  it.effect("tries again, and brings the vectors in the order of the texts", () =>
    Effect.gen(function* () {
      const { calls, layer } = scripted(overloaded, overloaded)
      const { model } = yield* built(Resilient.embeddings({ ...identity, model: layer, retry: {} }))
      const fiber = yield* Effect.forkChild(vectors(model.embedMany(["a", "bbb", "cc"])), { startImmediately: true })
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(yield* Fiber.join(fiber), [
        [1, 3],
        [3, 3],
        [2, 3]
      ])
      assert.strictEqual(calls.length, 3)
    })
  )

  it.effect("is charged to the budget, which refuses what does not fit", () =>
    Effect.gen(function* () {
      const { calls, layer } = scripted()
      const { model, store } = yield* built(
        Resilient.embeddings({ ...identity, model: layer, budget: { limits: [{ usd: 0.000_002 }], maxWait: 0 } })
      )
      // 0.02 USD per million tokens: 20 nano-USD each
      yield* Caller.provide(model.embedMany(["x".repeat(40)]), { tenant: "acme" })
      const [line] = yield* store.ledger?.lines() ?? Effect.succeed([])
      assert.deepInclude(line, { amount: 800, tenant: "acme", model: "text-embedding-3-small", outcome: "answered" })
      const error = yield* Effect.flip(model.embedMany(["word ".repeat(100)]))
      assert.strictEqual(LlmError.fromAiError(error).reason._tag, "BudgetExceeded")
      assert.strictEqual(calls.length, 1)
    })
  )

  it.effect("shares its budget with that of chat, under one name on one store", () =>
    Effect.gen(function* () {
      const { layer } = scripted()
      const budget: Budget.Options = { limits: [{ usd: 1 }] }
      const { model, services } = yield* built(Resilient.embeddings({ ...identity, model: layer, budget }))
      yield* model.embedMany(["x".repeat(40)])
      const chat = yield* Effect.provide(Budget.make(budget), services)
      assert.strictEqual((yield* chat.remaining())[0]?.spent, 800)
    })
  )

  it.effect("stays below limits, and an open circuit keeps it away", () =>
    Effect.gen(function* () {
      const { calls, layer } = scripted(overloaded)
      const { model } = yield* built(
        Resilient.embeddings({
          ...identity,
          model: layer,
          circuitBreaker: { failures: 1 },
          rateLimiter: { requestsPerDay: 2, onLimit: "fail" }
        })
      )
      const tagOf = Effect.map(Effect.flip(model.embedMany(["a"])), (error) => LlmError.fromAiError(error).reason._tag)
      assert.strictEqual(yield* tagOf, "InternalProviderError")
      assert.strictEqual(yield* tagOf, "CircuitOpen")
      yield* TestClock.adjust("1 hour")
      yield* model.embedMany(["a"])
      assert.strictEqual(yield* tagOf, "RateLimitExceeded")
      assert.strictEqual(calls.length, 2)
    })
  )

  it.effect("embeds only texts that are not known, each once, and apart by tenant", () =>
    Effect.gen(function* () {
      const { calls, layer } = scripted()
      const { model } = yield* built(Resilient.embeddings({ ...identity, model: layer, cache: {} }))
      yield* model.embedMany(["a", "bb"])
      assert.deepStrictEqual(yield* vectors(model.embedMany(["bb", "ccc", "a", "ccc"])), [
        [2, 1],
        [3, 2],
        [1, 1],
        [3, 2]
      ])
      assert.deepStrictEqual(calls, [["a", "bb"], ["ccc"]])
      const again = yield* model.embedMany(["a", "ccc"])
      assert.strictEqual(again.usage.inputTokens, 0)
      yield* Caller.provide(model.embedMany(["a"]), { tenant: "acme" })
      assert.strictEqual(calls.length, 3)
      yield* TestClock.adjust("1 day")
      yield* model.embedMany(["a"])
      assert.strictEqual(calls.length, 4)
    })
  )

  it.effect("what the store brings is checked", () =>
    Effect.gen(function* () {
      const { calls, layer } = scripted()
      const garbage = { value: { vector: ["x"] }, createdAt: 0, expiresAt: 1e15 }
      const store = { ...(yield* CacheStore.makeMemory()), get: () => Effect.succeed(garbage), external: true }
      const model = yield* Effect.map(
        Layer.build(
          Resilient.embeddings({ ...identity, model: layer, cache: {} }).pipe(
            Layer.provide(Layer.succeed(CacheStore.CacheStore, store))
          )
        ),
        (services) => Context.get(services, EmbeddingModel.EmbeddingModel)
      )
      assert.deepStrictEqual(yield* vectors(model.embedMany(["a"])), [[1, 1]])
      assert.strictEqual(calls.length, 1)
    })
  )

  it.effect("batches single texts of one caller, and never those of two", () =>
    Effect.gen(function* () {
      const { calls, layer } = scripted()
      const { model } = yield* built(Resilient.embeddings({ ...identity, model: layer }))
      const embed = (tenant: string, text: string) => Caller.provide(model.embed(text), { tenant })
      yield* Effect.all([embed("a", "1"), embed("b", "2"), embed("a", "3")], { concurrency: "unbounded" })
      assert.deepStrictEqual(
        calls.map((texts) => [...texts].sort((a, b) => a.localeCompare(b))).sort((a, b) => b.length - a.length),
        [["1", "3"], ["2"]]
      )
      assert.deepStrictEqual(yield* vectors(model.embedMany([])), [])
      assert.deepStrictEqual(yield* vectors(model.embedMany([""])), [[0, 3]])
    })
  )

  it("options that can never work throw", () => {
    const { layer } = scripted()
    assert.throws(
      () => Resilient.embeddings({ ...identity, model: layer, cache: { timeToLive: Infinity } }),
      RangeError,
      "cache.timeToLive"
    )
  })
})
