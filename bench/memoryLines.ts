/**
 * What may grow: calls, and keys that come once and never again. A step is one of them; `memory.ts` runs each line in a
 * process of its own.
 */
import { Clock, Context, Effect, Layer, References, Scope } from "effect"
import { CircuitBreaker as EffectBreaker, RateLimiter as EffectLimiter } from "effect/persistence"
import { LRUCache } from "lru-cache"
import { RateLimiterMemory } from "rate-limiter-flexible"
import * as ballast from "../src/index.ts"
import * as Gate from "../src/Gate.ts"
import type { Name } from "./memory.ts"
import { answer, async, fromCockatiel, keyOf, slots, stores } from "./stacks.ts"

const { Budget, Cache, CacheStore, Caller, CircuitBreaker, CircuitBreakerStore } = ballast
const { LlmProvider, LlmRequest, QuotaStore, RateLimiter, Resilient } = ballast

/** Does the steps of these numbers. */
export type Line = (from: number, to: number) => Promise<void>

/** Milliseconds between two steps: a thousand new keys a second, or an hour. */
const aSecond = 1
const anHour = 3600

const start = Date.now()
let now = start

/** Stands still but for what the lines add. Nothing here sleeps for longer than a fiber takes. */
const base = Effect.runSync(Clock.Clock)
const moved: Clock.Clock = {
  ...base,
  currentTimeMillisUnsafe: () => now,
  currentTimeMillis: Effect.sync(() => now),
  currentTimeNanosUnsafe: () => BigInt(now) * 1_000_000n,
  currentTimeNanos: Effect.sync(() => BigInt(now) * 1_000_000n),
  monotonicTimeNanosUnsafe: () => BigInt(now) * 1_000_000n,
  monotonicTimeNanos: Effect.sync(() => BigInt(now) * 1_000_000n),
  sleep: (duration) => base.sleep(duration)
}

/** How the time passes: as it does, or by so much for each step. */
interface Pace {
  readonly each?: number | undefined
}

const pass = (step: number, each = 0): void => {
  now = start + step * each
  for (const [timer, { at, run }] of timers) {
    if (at > now) return
    timers.delete(timer)
    run()
  }
}

/** All of one length, so that the first one is due first. */
const timers = new Map<object, { readonly at: number; readonly run: () => void }>()

/** For what knows no clock but the system's: its time and its timers in this process follow the steps. */
const pretend = (): void => {
  const set = (run: () => void, millis: number) => {
    const timer = { unref: () => {} }
    timers.set(timer, { at: now + millis, run })
    return timer
  }
  const clear = (timer: object) => void timers.delete(timer)
  Object.assign(Date, { now: () => now })
  Object.assign(globalThis, { setTimeout: set, clearTimeout: clear })
}

/** Timers and finalizers get their turn so often. */
const breathe = () => new Promise<void>((resolve) => setImmediate(resolve))
const breath = 1000

/** A line of effects over the services of a layer. */
const over =
  <I extends {}, E>(
    layer: Layer.Layer<I, E>,
    make: (services: Context.Context<I>) => (i: number) => Effect.Effect<unknown, unknown>
  ) =>
  ({ each }: Pace = {}): Promise<Line> => {
    const timed = <A, E>(self: Effect.Effect<A, E>) =>
      each === undefined ? self : Effect.provideService(self, Clock.Clock, moved)
    const building = timed(Layer.buildWithScope(layer, Effect.runSync(Scope.make()))).pipe(
      Effect.provideService(References.MinimumLogLevel, "Error")
    )
    return Effect.runPromise(building).then((services) => {
      const step = make(services)
      return (from, to) =>
        Effect.runPromise(
          timed(
            Effect.gen(function* () {
              for (let i = from; i < to; i++) {
                pass(i, each)
                yield* step(i)
                if (i % breath === 0) yield* Effect.promise(breathe)
              }
            })
          )
        )
    })
  }

const awaiting =
  (step: (i: number) => unknown) =>
  ({ each }: Pace = {}): Promise<Line> =>
    Promise.resolve(async (from, to) => {
      for (let i = from; i < to; i++) {
        pass(i, each)
        await step(i)
        if (i % breath === 0) await breathe()
      }
    })

const asked = (i: number) => LlmRequest.makeUnsafe({ prompt: `Question ${i}: what is ballast?`, maxOutputTokens: 100 })

const whole = over(
  Resilient.layer({
    providers: [Layer.succeed(LlmProvider.LlmProvider, async)],
    ...slots,
    inputGuard: {},
    outputGuard: {},
    degrade: { static: "sorry" }
  }).pipe(Layer.provide(stores)),
  (services) => {
    const { generate } = Context.get(services, LlmProvider.LlmProvider)
    return (i) => generate(asked(i))
  }
)

const cockatiel = fromCockatiel(100, () => Promise.resolve(answer))

const limiterKeys = over(
  RateLimiter.layer({ requestsPerMinute: 60 }).pipe(Layer.provide(QuotaStore.layerMemory)),
  (services) => {
    const { acquire } = Context.get(services, RateLimiter.RateLimiter)
    return (i) => acquire(`key-${i}`)
  }
)

const flexible = () => {
  pretend()
  const limiter = new RateLimiterMemory({ points: 60, duration: 60 })
  return awaiting((i) => limiter.consume(`key-${i}`))({ each: aSecond })
}

const effectKeys = over(EffectLimiter.layer.pipe(Layer.provide(EffectLimiter.layerStoreMemory)), (services) => {
  const limiter = Context.get(services, EffectLimiter.RateLimiter)
  return (i) => limiter.consume({ key: `key-${i}`, limit: 60, window: "1 minute", algorithm: "token-bucket" })
})

/** A call by a tenant who comes once. */
const byTenant = (gate: Gate.Gate) => {
  const { generate } = Gate.through([gate])(async)
  const request = asked(0)
  return (i: number) => Caller.provide(generate(request), { tenant: `tenant-${i}` })
}

const limiterTenants = over(
  RateLimiter.layer({ scopes: [{ by: "tenant", requestsPerMinute: 60 }] }).pipe(Layer.provide(QuotaStore.layerMemory)),
  (services) => byTenant(Context.get(services, RateLimiter.RateLimiter).gate)
)

const budgetTenants = over(
  Budget.layer({ limits: [{ usd: 1, by: "tenant" }] }).pipe(Layer.provide(stores)),
  (services) => byTenant(Context.get(services, Budget.Budget).gate)
)

/** Every tenth of them fails. */
const outcome = (i: number) => (i % 10 === 0 ? Effect.fail("down") : Effect.void)

const circuits = over(CircuitBreaker.layer().pipe(Layer.provide(CircuitBreakerStore.layerMemory)), (services) => {
  const { execute } = Context.get(services, CircuitBreaker.CircuitBreaker)
  return (i) => Effect.ignore(execute(`key-${i}`)(outcome(i)))
})

const effectCircuits = over(
  EffectBreaker.layer({ tripPolicy: EffectBreaker.consecutive(5), openDuration: "30 seconds" }).pipe(
    Layer.provide(EffectBreaker.layerStoreMemory())
  ),
  (services) => {
    const { execute } = Context.get(services, EffectBreaker.CircuitBreaker)
    return (i) => Effect.ignore(execute(outcome(i), { key: `key-${i}` }))
  }
)

const cacheKeys = over(
  Cache.layer({ isolation: "shared" }).pipe(Layer.provide(CacheStore.layerMemory())),
  (services) => {
    const { generate } = Context.get(services, Cache.Cache).wrap(async)
    return (i) => generate(asked(i))
  }
)

const lru = new LRUCache<string, object>({ max: 10_000 })

export const lines: Readonly<Record<Name, () => Promise<Line>>> = {
  "calls: Ballast": whole,
  "calls: cockatiel": awaiting((i) => cockatiel(asked(i))),
  "limiter keys: Ballast": () => limiterKeys({ each: aSecond }),
  "limiter keys: rate-limiter-flexible": flexible,
  "limiter keys: effect/persistence": () => effectKeys({ each: aSecond }),
  "limiter tenants: Ballast": () => limiterTenants({ each: anHour }),
  "circuits: Ballast": () => circuits({ each: anHour }),
  "circuits: effect/persistence": () => effectCircuits({ each: anHour }),
  "budget tenants: Ballast": () => budgetTenants({ each: anHour }),
  "cache keys: Ballast": cacheKeys,
  "cache keys: lru-cache": awaiting((i) => lru.set(keyOf(asked(i)), answer))
}
