/** A limiter in this process: not limited, limited, and with a queue. */
import Bottleneck from "bottleneck"
import { Effect, Layer, Semaphore } from "effect"
import { RateLimiter as EffectLimiter } from "effect/persistence"
import pThrottle from "p-throttle"
import { RateLimiterMemory } from "rate-limiter-flexible"
import { QuotaStore, RateLimiter } from "../src/index.ts"
import { awaited, built, eachInFiber, inFiber, type Suite } from "./harness.ts"

const keys = Array.from({ length: 10_000 }, (_, i) => `tenant-${i}`)
let turn = 0
const nextKey = (): string => keys[(turn = (turn + 1) % keys.length)] ?? ""

const ballast = (options: RateLimiter.Options): RateLimiter.Service =>
  built(RateLimiter.RateLimiter, RateLimiter.layer(options).pipe(Layer.provide(Layer.fresh(QuotaStore.layerMemory))))

const effect = () =>
  built(EffectLimiter.RateLimiter, EffectLimiter.layer.pipe(Layer.provide(Layer.fresh(EffectLimiter.layerStoreMemory))))

const million = 1_000_000_000
const open = ballast({ requestsPerMinute: million })
const openEffect = effect()
const openFlexible = new RateLimiterMemory({ points: million, duration: 60 })
const throttled = pThrottle({ limit: million, interval: 60_000 })(() => Promise.resolve())

export const acquireSuite: Suite = {
  name: "Acquire, not limited, 10,000 keys",
  base: "Ballast acquire",
  cases: [
    eachInFiber("Ballast acquire", () => open.acquire(nextKey())),
    eachInFiber("Ballast tryAcquire", () => open.tryAcquire(nextKey())),
    eachInFiber("Ballast withPermits", () => open.withPermits({ key: nextKey() })(Effect.void)),
    eachInFiber("effect/persistence RateLimiter, token bucket", () =>
      openEffect.consume({ key: nextKey(), limit: million, window: "1 minute", algorithm: "token-bucket" })
    ),
    awaited("rate-limiter-flexible", () => openFlexible.consume(nextKey())),
    awaited("p-throttle (one key)", () => throttled())
  ]
}

const closed = ballast({ limits: [{ count: "requests", limit: 1, per: "1 hour" }], onLimit: "fail" })
const closedEffect = effect()
const closedFlexible = new RateLimiterMemory({ points: 1, duration: 3600 })

export const refusalSuite: Suite = {
  name: "A refusal, caught",
  base: "Ballast acquire, onLimit: fail",
  cases: [
    eachInFiber("Ballast acquire, onLimit: fail", () => Effect.ignore(closed.acquire("key"))),
    inFiber("Ballast tryAcquire", closed.tryAcquire("key")),
    inFiber(
      "effect/persistence RateLimiter",
      Effect.ignore(
        Effect.suspend(() =>
          closedEffect.consume({ key: "key", limit: 1, window: "1 hour", algorithm: "token-bucket" })
        )
      )
    ),
    awaited("rate-limiter-flexible", () => closedFlexible.consume("key").catch(() => undefined))
  ]
}

const crowd = Array.from({ length: 50 }, (_, i) => i)
const narrow = ballast({ concurrency: 5 })
const semaphore = Semaphore.makeUnsafe(5)
const work = Effect.promise(() => Promise.resolve())

/** So many crowds, one after the other, who all come at once. */
const crowded = (name: string, all: () => Promise<unknown>) => ({
  name,
  run: async (n: number) => {
    for (let i = 0; i < n; i++) await all()
  }
})

const inFibers = (each: Effect.Effect<unknown, unknown>) => () =>
  Effect.runPromise(Effect.forEach(crowd, () => each, { concurrency: "unbounded", discard: true }))

export const queueSuite: Suite = {
  name: "Fifty at once through five places (per fifty)",
  base: "Ballast withPermits",
  cases: [
    crowded("Ballast withPermits", inFibers(narrow.withPermits({ key: "key" })(work))),
    crowded(
      "Effect's Semaphore (no bound, no priorities, no tenants)",
      inFibers(Semaphore.withPermits(semaphore, 1)(work))
    ),
    crowded("bottleneck maxConcurrent", () => {
      const bottleneck = new Bottleneck({ maxConcurrent: 5 })
      return Promise.all(crowd.map(() => bottleneck.schedule(() => Promise.resolve())))
    })
  ]
}
