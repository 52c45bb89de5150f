/** A limiter in this process: not limited, limited, and with a queue. */
import Bottleneck from "bottleneck"
import { bulkhead } from "cockatiel"
import { Effect, Layer, Semaphore } from "effect"
import { RateLimiter as EffectLimiter } from "effect/persistence"
import Opossum from "opossum"
import pThrottle from "p-throttle"
import { RateLimiterMemory } from "rate-limiter-flexible"
import { QuotaStore, RateLimiter } from "../src/index.ts"
import { awaited, built, eachInFiber, inCrowds, inFiber, type Suite } from "./harness.ts"

const keys = Array.from({ length: 10_000 }, (_, i) => `tenant-${i}`)
let turn = 0
const nextKey = (): string => keys[(turn = (turn + 1) % keys.length)] ?? ""

export const ballast = (options: RateLimiter.Options): RateLimiter.Service =>
  built(RateLimiter.RateLimiter, RateLimiter.layer(options).pipe(Layer.provide(Layer.fresh(QuotaStore.layerMemory))))

const effect = () =>
  built(EffectLimiter.RateLimiter, EffectLimiter.layer.pipe(Layer.provide(Layer.fresh(EffectLimiter.layerStoreMemory))))

const million = 1_000_000_000
const promised = () => Promise.resolve()
const open = ballast({ requestsPerMinute: million })
const openEffect = effect()
const openFlexible = new RateLimiterMemory({ points: million, duration: 60 })
const throttled = pThrottle({ limit: million, interval: 60_000 })(promised)
const openBottleneck = new Bottleneck({ reservoir: million })

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
    awaited("p-throttle (one key)", () => throttled()),
    awaited("bottleneck, a reservoir (one key)", () => openBottleneck.schedule(promised))
  ]
}

const closed = ballast({ limits: [{ count: "requests", limit: 1, per: "1 hour" }], onLimit: "fail" })
const closedEffect = effect()
const closedFlexible = new RateLimiterMemory({ points: 1, duration: 3600 })

/** Full for good: one that never ends holds the only place. */
const never = () => new Promise<void>(() => {})
const fullBulkhead = bulkhead(1, 0)
const fullOpossum = new Opossum(never, { timeout: false, capacity: 1, errorFilter: () => true })
const fullBottleneck = new Bottleneck({ maxConcurrent: 1, highWater: 0, strategy: Bottleneck.strategy.OVERFLOW })
for (const hold of [() => fullBulkhead.execute(never), () => fullOpossum.fire(), () => fullBottleneck.schedule(never)])
  hold().catch(() => undefined)

export const refusalSuite: Suite = {
  name: "A refusal by a limit, caught",
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
    awaited("rate-limiter-flexible", () => closedFlexible.consume("key").catch(() => undefined)),
    awaited("cockatiel, a full bulkhead", () => fullBulkhead.execute(promised).catch(() => undefined)),
    awaited("opossum, capacity reached", () => fullOpossum.fire().catch(() => undefined)),
    awaited("bottleneck, highWater reached", () => fullBottleneck.schedule(promised).catch(() => undefined))
  ]
}

const size = 50
const narrow = ballast({ concurrency: 5 })
const semaphore = Semaphore.makeUnsafe(5)
const five = bulkhead(5, size)
const work = Effect.promise(promised)

const crowded = (name: string, make: () => () => Promise<unknown>) => ({
  name,
  run: async (n: number) => {
    for (let i = 0; i < n; i++) {
      const call = make()
      await Promise.all(Array.from({ length: size }, call))
    }
  }
})

export const queueSuite: Suite = {
  name: "Fifty at once through five places (per fifty)",
  base: "Ballast withPermits",
  cases: [
    inCrowds(size, "Ballast withPermits", narrow.withPermits({ key: "key" })(work)),
    inCrowds(
      size,
      "Effect's Semaphore (no bound, no priorities, no tenants)",
      Semaphore.withPermits(semaphore, 1)(work)
    ),
    crowded("cockatiel bulkhead (a bound, no priorities, no tenants)", () => () => five.execute(promised)),
    crowded("bottleneck maxConcurrent", () => {
      const bottleneck = new Bottleneck({ maxConcurrent: 5 })
      return () => bottleneck.schedule(promised)
    })
  ]
}
