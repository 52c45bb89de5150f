/** All policies together: a call that no cache has seen, and what they add to one through the `LanguageModel` of `effect/ai`. */
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
import { Context, Effect, Layer, Metric, Schedule, Scope } from "effect"
import { LanguageModel } from "effect/ai"
import { CircuitBreaker, RateLimiter } from "effect/persistence"
import { LRUCache } from "lru-cache"
import { createHash } from "node:crypto"
import { RateLimiterMemory } from "rate-limiter-flexible"
import { LlmProvider, LlmRequest, LlmResponse, Pricing, Resilient } from "../src/index.ts"
import * as Stores from "../src/Stores.ts"
import { awaited, built, eachInFiber, inFiber, type Suite } from "./harness.ts"
import { async, sync } from "./policies.ts"

const provider = Layer.succeed(LlmProvider.LlmProvider, { ...sync, model: "m" })

const Llm = Resilient.layer({
  providers: [provider],
  retry: {},
  circuitBreaker: {},
  rateLimiter: { requestsPerMinute: 1e9 },
  budget: { limits: [{ usd: 1e6 }] },
  inputGuard: {},
  outputGuard: {},
  degrade: { static: "sorry" }
}).pipe(Layer.provide(Stores.layerMemory), Layer.provide(Pricing.layerTable({ m: { input: 1, output: 1 } })))

const asking = async <E>(layer: Layer.Layer<LlmProvider.LlmProvider, E>): Promise<Effect.Effect<unknown, unknown>> => {
  const built = Layer.buildWithScope(Layer.provide(LlmProvider.languageModel, layer), Effect.runSync(Scope.make()))
  return Effect.provide(LanguageModel.generateText({ prompt: "What is ballast?" }), await Effect.runPromise(built))
}

export const languageModelSuite: Suite = {
  name: "LanguageModel.generateText of effect/ai",
  base: "the bare provider",
  cases: [inFiber("the bare provider", await asking(provider)), inFiber("Ballast, every policy on", await asking(Llm))]
}

const prose = "The quick brown fox said no to the lazy dog. ".repeat(46)
let turn = 0
const unseen = () => LlmRequest.makeUnsafe({ prompt: `${turn++} ${prose}`, maxOutputTokens: 100 })

const Whole = Resilient.layer({
  providers: [Layer.succeed(LlmProvider.LlmProvider, { ...async, model: "m" })],
  cache: {},
  retry: {},
  circuitBreaker: {},
  rateLimiter: { requestsPerMinute: 1e9 },
  budget: { limits: [{ usd: 1e6 }] }
}).pipe(
  Layer.provide(Layer.fresh(Stores.layerMemory)),
  Layer.provide(Pricing.layerTable({ m: { input: 1, output: 1 } }))
)

const whole = Context.get(
  await Effect.runPromise(Layer.buildWithScope(Whole, Effect.runSync(Scope.make()))),
  LlmProvider.LlmProvider
)

const keyOf = (request: LlmRequest.LlmRequest) => createHash("sha256").update(JSON.stringify(request)).digest("hex")
const kept = new LRUCache<string, LlmResponse.LlmResponse>({ max: 10_000 })
const flexible = new RateLimiterMemory({ points: 1e9, duration: 60 })
const cockatiel = wrap(
  fallback(handleAll, () => undefined),
  retry(handleAll, { maxAttempts: 4, backoff: new ExponentialBackoff() }),
  circuitBreaker(handleAll, { halfOpenAfter: 10_000, breaker: new ConsecutiveBreaker(5) }),
  bulkhead(100, 100),
  timeout(300_000, TimeoutStrategy.Aggressive)
)
const answer = await Effect.runPromise(async.generate(unseen()))
const answered = () => Promise.resolve(answer)

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
const keptByEffect = new LRUCache<string, LlmResponse.LlmResponse>({ max: 10_000 })
const fromEffect = (request: LlmRequest.LlmRequest) =>
  Effect.suspend(() => {
    const key = keyOf(request)
    if (keptByEffect.get(key) !== undefined) return Effect.succeed(answer)
    const limited = limiter.consume({ key: "all", limit: 1e9, window: "1 minute", algorithm: "token-bucket" })
    return breaker.execute(Effect.andThen(limited, async.generate(request)), { key: "m" }).pipe(
      Effect.timeout("5 minutes"),
      Effect.retry(Schedule.max([Schedule.exponential("1 second"), Schedule.recurs(4)])),
      Effect.timeout("10 minutes"),
      Effect.tap((response) => Effect.sync(() => keptByEffect.set(key, response))),
      Effect.tap(() => Metric.update(calls, 1))
    )
  })

export const missPathSuite: Suite = {
  name: "The whole way of a call that no cache has seen, 2 KB, guards off",
  base: "Ballast, in a fiber",
  cases: [
    eachInFiber("Ballast, in a fiber", () => whole.generate(unseen())),
    awaited("Ballast, runPromise", () => Effect.runPromise(whole.generate(unseen()))),
    awaited("cockatiel's stack, rate-limiter-flexible, lru-cache with SHA-256 of the JSON; no budget", async () => {
      const request = unseen()
      const key = keyOf(request)
      if (kept.get(key) !== undefined) return
      await flexible.consume("all")
      const response = await cockatiel.execute(answered)
      if (response !== undefined) kept.set(key, response)
    }),
    eachInFiber("Effect's own parts, lru-cache with SHA-256 of the JSON; no budget", () => fromEffect(unseen()))
  ]
}
