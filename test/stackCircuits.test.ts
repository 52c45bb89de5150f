import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Layer, Scope } from "effect"
import { AiError, EmbeddingModel } from "effect/ai"
import { type CircuitBreaker, CircuitBreakerStore, LlmProvider, Resilient } from "effect-ballast"
import { TestProvider } from "effect-ballast/testing"

const overloaded = new AiError.InternalProviderError({ description: "overloaded" })
const failing = Layer.effect(
  EmbeddingModel.EmbeddingModel,
  EmbeddingModel.make({
    embedMany: () => Effect.fail(AiError.make({ module: "test", method: "embedMany", reason: overloaded }))
  })
)
const embeddings = { provider: "openai", name: "small", model: failing }
const eager: CircuitBreaker.Options = { failures: 1 }

const told = Effect.map(Resilient.circuits, (all) =>
  all.map(({ model, of, provider, state }) => `${of} ${provider}/${model} ${state}`)
)

describe("Resilient.circuits", () => {
  it.effect("tells of every provider and of the embeddings, before and after they fail", () =>
    Effect.gen(function* () {
      const first = TestProvider.layer({ model: "first", steps: [overloaded] })
      const second = TestProvider.layer({ model: "second" })
      const stack = Layer.merge(
        Resilient.layer({ providers: [first, second], circuitBreaker: eager }),
        Resilient.embeddings({ ...embeddings, circuitBreaker: eager })
      )
      const services = yield* Layer.build(Layer.provideMerge(stack, Layer.fresh(CircuitBreakerStore.layerMemory)))
      yield* Effect.gen(function* () {
        const before = yield* told
        assert.sameMembers(
          [...before],
          ["answers test/first closed", "answers test/second closed", "embeddings openai/small closed"]
        )
        yield* LlmProvider.generate("What is ballast?")
        const model = yield* EmbeddingModel.EmbeddingModel
        yield* Effect.exit(model.embed("ballast"))
        const after = yield* told
        assert.sameMembers(
          [...after],
          ["answers test/first open", "answers test/second closed", "embeddings openai/small open"]
        )
      }).pipe(Effect.provideContext(services))
    })
  )

  it.effect("tells once of a provider that is listed twice, and of none without a circuit breaker", () =>
    Effect.gen(function* () {
      const provider = TestProvider.layer({ model: "same" })
      const twice = Resilient.layer({ providers: [provider, provider], circuitBreaker: {} })
      const without = Resilient.layer({ providers: [TestProvider.layer({ model: "other" })] })
      const store = Layer.fresh(CircuitBreakerStore.layerMemory)
      const services = yield* Layer.build(Layer.provideMerge(Layer.merge(without, twice), store))
      assert.deepStrictEqual(yield* Effect.provideContext(told, services), ["answers test/same closed"])
    })
  )

  it.effect("forgets a stack that has ended", () =>
    Effect.gen(function* () {
      const store = yield* CircuitBreakerStore.makeMemory
      const scope = yield* Scope.make()
      const stack = Resilient.layer({ providers: [TestProvider.layer()], circuitBreaker: {} }).pipe(
        Layer.provide(Layer.succeed(CircuitBreakerStore.CircuitBreakerStore, store))
      )
      yield* Layer.buildWithScope(stack, scope)
      const asked = Effect.provideService(told, CircuitBreakerStore.CircuitBreakerStore, store)
      assert.strictEqual((yield* asked).length, 1)
      yield* Scope.close(scope, Exit.void)
      assert.deepStrictEqual(yield* asked, [])
    })
  )
})
