/** Providers behind a cache over a store in memory. */
import { Effect, Layer } from "effect"
import { Cache, CacheStore, LlmRequest } from "effect-ballast"
import { TestProvider } from "effect-ballast/testing"

export const request = LlmRequest.makeUnsafe("What is ballast?")

export const cached = Effect.fnUntraced(function* (
  options: Cache.Options = {},
  steps: ReadonlyArray<TestProvider.Step> = ["one", "two", "three"],
  store: Layer.Layer<CacheStore.CacheStore> = Layer.effect(CacheStore.CacheStore, CacheStore.makeMemory())
) {
  const inner = TestProvider.make({ steps })
  const cache = yield* Effect.provide(Cache.make(options), store)
  return { cache, inner, provider: cache.wrap(inner) }
})
