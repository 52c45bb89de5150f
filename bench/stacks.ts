/** What several suites measure: a model that answers at once, and whole stacks around one, from Ballast and from others' parts. */
import {
  bulkhead,
  circuitBreaker,
  ConsecutiveBreaker,
  ExponentialBackoff,
  fallback,
  handleAll,
  retry,
  timeout,
  TimeoutStrategy,
  wrap
} from "cockatiel"
import { Effect, Layer, Metric, Schedule } from "effect"
import { CircuitBreaker, RateLimiter } from "effect/persistence"
import { LRUCache } from "lru-cache"
import { createHash } from "node:crypto"
import { RateLimiterMemory } from "rate-limiter-flexible"
import { LlmProvider, type LlmRequest, LlmResponse, Pricing, Resilient } from "../src/index.ts"
import * as Stores from "../src/Stores.ts"
import { built } from "./harness.ts"

export const answer = new LlmResponse.LlmResponse({
  provider: "bench",
  model: "m",
  parts: [
    { type: "text", text: "Weight low in a ship." },
    { type: "finish", reason: "stop", usage: { inputTokens: { total: 5 }, outputTokens: { total: 5 } } }
  ]
})

export const provider = (generate: Effect.Effect<LlmResponse.LlmResponse>): LlmProvider.Service => ({
  provider: "bench",
  model: "m",
  endpoint: "bench",
  credential: "bench",
  generate: () => generate,
  stream: () => {
    throw new Error("not measured here")
  }
})

/** Answers on the spot, or after one turn of the event loop's microtasks as a client over HTTP would at best. */
export const sync = provider(Effect.sync(() => answer))
export const async = provider(Effect.promise(() => Promise.resolve(answer)))

/** `width` is how many calls may be under way. */
export const cockatielPolicies = (width: number) =>
  wrap(
    fallback(handleAll, () => answer),
    retry(handleAll, { maxAttempts: 4, backoff: new ExponentialBackoff() }),
    circuitBreaker(handleAll, { halfOpenAfter: 10_000, breaker: new ConsecutiveBreaker(5) }),
    bulkhead(width, width),
    timeout(300_000, TimeoutStrategy.Aggressive)
  )

const many = 1e9

/** Everything in this process. */
export const stores = Layer.merge(
  Layer.fresh(Stores.layerMemory),
  Pricing.layerTable({ m: { input: 1, output: 1 } }, { base: "none" })
)

/** The slots of a whole stack without guards. */
export const slots = {
  cache: {},
  retry: {},
  circuitBreaker: {},
  rateLimiter: { requestsPerMinute: many },
  budget: { limits: [{ usd: 1e6 }] }
} satisfies Resilient.Slots

/** What stands on `stores` alone. */
export type Slots = Omit<Resilient.Slots, "semanticCache">

export const resilient = (inner: LlmProvider.Service, used: Slots): LlmProvider.Service =>
  built(
    LlmProvider.LlmProvider,
    Resilient.layer({ providers: [Layer.succeed(LlmProvider.LlmProvider, inner)], ...used }).pipe(Layer.provide(stores))
  )

export const ballast = (inner: LlmProvider.Service): LlmProvider.Service => resilient(inner, slots)

export const keyOf = (request: LlmRequest.LlmRequest): string =>
  createHash("sha256").update(JSON.stringify(request)).digest("hex")

/** cockatiel's policies, rate-limiter-flexible and lru-cache. */
export const fromCockatiel = (width: number, call: () => Promise<LlmResponse.LlmResponse>) => {
  const kept = new LRUCache<string, LlmResponse.LlmResponse>({ max: 10_000 })
  const flexible = new RateLimiterMemory({ points: many, duration: 60 })
  const policies = cockatielPolicies(width)
  return async (request: LlmRequest.LlmRequest): Promise<void> => {
    const key = keyOf(request)
    if (kept.get(key) !== undefined) return
    await flexible.consume("all")
    const response = await policies.execute(call)
    if (response !== undefined) kept.set(key, response)
  }
}

/** The same from what Effect has. */
export const fromEffect = (inner: LlmProvider.Service) => {
  const breaker = built(
    CircuitBreaker.CircuitBreaker,
    CircuitBreaker.layer({ tripPolicy: CircuitBreaker.consecutive(5), openDuration: "30 seconds" }).pipe(
      Layer.provide(Layer.fresh(CircuitBreaker.layerStoreMemory()))
    )
  )
  const limiter = built(
    RateLimiter.RateLimiter,
    RateLimiter.layer.pipe(Layer.provide(Layer.fresh(RateLimiter.layerStoreMemory)))
  )
  const calls = Metric.counter("bench_calls")
  const kept = new LRUCache<string, LlmResponse.LlmResponse>({ max: 10_000 })
  return (request: LlmRequest.LlmRequest) =>
    Effect.suspend(() => {
      const key = keyOf(request)
      const known = kept.get(key)
      if (known !== undefined) return Effect.succeed(known)
      const limited = limiter.consume({ key: "all", limit: many, window: "1 minute", algorithm: "token-bucket" })
      return breaker.execute(Effect.andThen(limited, inner.generate(request)), { key: "m" }).pipe(
        Effect.timeout("5 minutes"),
        Effect.retry(Schedule.max([Schedule.exponential("1 second"), Schedule.recurs(4)])),
        Effect.timeout("10 minutes"),
        Effect.tap((response) => Effect.sync(() => kept.set(key, response))),
        Effect.tap(() => Metric.update(calls, 1))
      )
    })
}
