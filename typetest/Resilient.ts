/** Compiled by `npm run check`: what the types of the stack promise. */
import { Config, type Effect, Layer } from "effect"
import type { EmbeddingModel } from "effect/ai"
import { expectTypeOf } from "vitest"
import * as Budget from "effect-ballast/Budget"
import * as Cache from "effect-ballast/Cache"
import type { CacheStore } from "effect-ballast/CacheStore"
import * as CircuitBreaker from "effect-ballast/CircuitBreaker"
import type { CircuitBreakerStore } from "effect-ballast/CircuitBreakerStore"
import type { CircuitOpen } from "effect-ballast/LlmError"
import type * as LlmProvider from "effect-ballast/LlmProvider"
import type { Pricing } from "effect-ballast/Pricing"
import type { QuotaStore } from "effect-ballast/QuotaStore"
import * as RateLimiter from "effect-ballast/RateLimiter"
import * as Resilient from "effect-ballast/Resilient"

declare const first: Layer.Layer<LlmProvider.LlmProvider, "first-error", "first-service">
declare const second: Layer.Layer<LlmProvider.LlmProvider, never, "second-service">

// errors and needs are those of the providers, as a plain union
expectTypeOf(Resilient.layer({ providers: [first, second], retry: { times: 4 } })).toEqualTypeOf<
  Layer.Layer<LlmProvider.LlmProvider, "first-error", "first-service" | "second-service">
>()

expectTypeOf(Resilient.layerConfig({ providers: [second], retry: { times: Config.Int("RETRIES") } })).toEqualTypeOf<
  Layer.Layer<LlmProvider.LlmProvider, Config.ConfigError, "second-service">
>()

// an absent slot may be undefined
Resilient.layer({ providers: [second], retry: undefined })

// @ts-expect-error: a misspelled slot
Resilient.layer({ providers: [second], retries: {} })

// @ts-expect-error: a misspelled option in a slot
Resilient.layer({ providers: [second], retry: { time: 4 } })

// @ts-expect-error: no providers
Resilient.layer({ providers: [] })

// @ts-expect-error: no list of providers
Resilient.layer({ retry: {} })

// @ts-expect-error: a layer of something else
Resilient.layer({ providers: [Layer.empty] })

// @ts-expect-error: a misspelled slot is not configured either
Resilient.layerConfig({ providers: [second], retries: {} })

// a slot with a service of its own provides it, and only a slot in use needs its store
expectTypeOf(Resilient.layer({ providers: [second], rateLimiter: { requestsPerMinute: 60 } })).toEqualTypeOf<
  Layer.Layer<LlmProvider.LlmProvider | RateLimiter.RateLimiter, never, "second-service" | QuotaStore>
>()

expectTypeOf(
  Resilient.layerConfig({ providers: [second], rateLimiter: { requestsPerMinute: Config.Int("RPM") } })
).toEqualTypeOf<
  Layer.Layer<LlmProvider.LlmProvider | RateLimiter.RateLimiter, Config.ConfigError, "second-service" | QuotaStore>
>()

expectTypeOf(Resilient.layer({ providers: [second], rateLimiter: undefined })).toEqualTypeOf<
  Layer.Layer<LlmProvider.LlmProvider, never, "second-service">
>()

// @ts-expect-error: a misspelled limit
Resilient.layer({ providers: [second], rateLimiter: { requestPerMinute: 60 } })

// over a layer, the limiter is provided beside the provider
expectTypeOf(second.pipe(RateLimiter.withRateLimiter({ requestsPerMinute: 60 }))).toEqualTypeOf<
  Layer.Layer<LlmProvider.LlmProvider | RateLimiter.RateLimiter, never, "second-service" | QuotaStore>
>()

expectTypeOf(
  Resilient.layer({ providers: [second], circuitBreaker: {}, rateLimiter: { requestsPerMinute: 60 } })
).toEqualTypeOf<
  Layer.Layer<
    LlmProvider.LlmProvider | CircuitBreaker.CircuitBreaker | RateLimiter.RateLimiter,
    never,
    "second-service" | CircuitBreakerStore | QuotaStore
  >
>()

expectTypeOf(Resilient.layer({ providers: [second], cache: { timeToLive: "1 hour" } })).toEqualTypeOf<
  Layer.Layer<LlmProvider.LlmProvider | Cache.Cache, never, "second-service" | CacheStore>
>()

expectTypeOf(second.pipe(Cache.withCache())).toEqualTypeOf<
  Layer.Layer<LlmProvider.LlmProvider | Cache.Cache, never, "second-service" | CacheStore>
>()

// a budget needs prices beside its store
expectTypeOf(Resilient.layer({ providers: [second], budget: { limits: [{ usd: 10 }] } })).toEqualTypeOf<
  Layer.Layer<LlmProvider.LlmProvider | Budget.Budget, never, "second-service" | QuotaStore | Pricing>
>()

expectTypeOf(
  Resilient.layerConfig({
    providers: [second],
    budget: { limits: [{ usd: Config.Number("DAILY_USD"), by: "tenant" }] }
  })
).toEqualTypeOf<
  Layer.Layer<LlmProvider.LlmProvider | Budget.Budget, Config.ConfigError, "second-service" | QuotaStore | Pricing>
>()

// @ts-expect-error: a misspelled window
Resilient.layer({ providers: [second], budget: { limits: [{ usd: 10, window: "daily" }] } })

expectTypeOf(second.pipe(Budget.withBudget({ limits: [{ usd: 10 }] }))).toEqualTypeOf<
  Layer.Layer<LlmProvider.LlmProvider | Budget.Budget, never, "second-service" | QuotaStore | Pricing>
>()

// any effect behind a circuit may also fail with `CircuitOpen`
declare const work: Effect.Effect<number, "failed", "needed">
expectTypeOf(work.pipe(CircuitBreaker.execute("crm"))).toEqualTypeOf<
  Effect.Effect<number, "failed" | CircuitOpen, "needed" | CircuitBreaker.CircuitBreaker>
>()

// embeddings need what their slots need, and provide nothing but the model
declare const vectors: Layer.Layer<EmbeddingModel.EmbeddingModel, "vector-error", "vector-service">
expectTypeOf(
  Resilient.embeddings({ model: vectors, provider: "openai", name: "text-embedding-3-small", cache: {}, retry: {} })
).toEqualTypeOf<Layer.Layer<EmbeddingModel.EmbeddingModel, "vector-error", "vector-service" | CacheStore>>()

// @ts-expect-error: a misspelled slot
Resilient.embeddings({ model: vectors, provider: "p", name: "n", retries: {} })

// guards need nothing and provide nothing; any part of their options may be a Config
expectTypeOf(Resilient.layer({ providers: [second], inputGuard: {}, outputGuard: {} })).toEqualTypeOf<
  Layer.Layer<LlmProvider.LlmProvider, never, "second-service">
>()

// @ts-expect-error: a misspelled option of a guard's slot
Resilient.layer({ providers: [second], inputGuard: { guard: [] } })

// @ts-expect-error: a misspelled option beside one that is right
Resilient.layer({ providers: [second], cache: { timeToLive: "1 day", staleIfErrror: "7 days" } })

// @ts-expect-error: the same where parts are read from a Config
Resilient.layerConfig({ providers: [second], cache: { timeToLive: Config.Duration("TTL"), staleIfErrror: "7 days" } })

// @ts-expect-error: and of embeddings
Resilient.embeddings({ model: vectors, provider: "p", name: "n", retry: { times: 1, baze: "1 second" } })

// a slot as a whole from a Config, or from a variable, has no field too many
declare const cacheOptions: Cache.Options
Resilient.layerConfig({ providers: [second], cache: Config.succeed(cacheOptions) })
Resilient.layer({ providers: [second], cache: cacheOptions, telemetry: false, gates: [] })
