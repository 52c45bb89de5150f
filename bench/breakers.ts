/** A circuit breaker in this process: closed, and open. */
import { circuitBreaker, ConsecutiveBreaker, handleAll, SamplingBreaker } from "cockatiel"
import { Effect, Layer } from "effect"
import { CircuitBreaker as EffectBreaker } from "effect/persistence"
import Opossum from "opossum"
import { CircuitBreaker, CircuitBreakerStore } from "../src/index.ts"
import { awaited, built, eachInFiber, inFiber, type Suite } from "./harness.ts"

const ballast = (options?: CircuitBreaker.Options): CircuitBreaker.Service =>
  built(
    CircuitBreaker.CircuitBreaker,
    CircuitBreaker.layer(options).pipe(Layer.provide(Layer.fresh(CircuitBreakerStore.layerMemory)))
  )

const effect = (openDuration: "30 seconds" | "1 hour") =>
  built(
    EffectBreaker.CircuitBreaker,
    EffectBreaker.layer({ tripPolicy: EffectBreaker.consecutive(5), openDuration }).pipe(
      Layer.provide(Layer.fresh(EffectBreaker.layerStoreMemory()))
    )
  )

const ok = Effect.sync(() => 1)
const fail = Effect.fail("down")
const consecutive = ballast({ failureRate: false })
const sampling = ballast()
const own = effect("30 seconds")

export const breakerSuite: Suite = {
  name: "A closed circuit, success, in a fiber",
  base: "Ballast execute, consecutive failures",
  cases: [
    inFiber("bare call", ok),
    eachInFiber("Ballast execute, consecutive failures", () => consecutive.execute("key")(ok)),
    eachInFiber("Ballast execute, consecutive failures and a rate over a minute (the default)", () =>
      sampling.execute("key")(ok)
    ),
    eachInFiber("effect/persistence CircuitBreaker, consecutive failures", () => own.execute(ok, { key: "key" }))
  ]
}

const answer = () => Promise.resolve(1)
const promised = Effect.promise(answer)
const counting = circuitBreaker(handleAll, { halfOpenAfter: 30_000, breaker: new ConsecutiveBreaker(5) })
const rating = circuitBreaker(handleAll, {
  halfOpenAfter: 30_000,
  breaker: new SamplingBreaker({ threshold: 0.5, duration: 60_000 })
})
const opossum = new Opossum(answer, { timeout: false })

export const breakerPromiseSuite: Suite = {
  name: "A closed circuit, success, a promise awaited",
  base: "Ballast execute, runPromise",
  cases: [
    awaited("bare promise", answer),
    awaited("bare Effect.promise, runPromise", () => Effect.runPromise(promised)),
    eachInFiber("Ballast execute, in a fiber", () => sampling.execute("key")(promised)),
    awaited("Ballast execute, runPromise", () => Effect.runPromise(sampling.execute("key")(promised))),
    awaited("cockatiel, consecutive failures", () => counting.execute(answer)),
    awaited("cockatiel, a rate over a minute", () => rating.execute(answer)),
    awaited("opossum", () => opossum.fire())
  ]
}

const open = ballast({ openFor: "1 hour", maxOpenFor: "1 hour" })
const openOwn = effect("1 hour")
const openCockatiel = circuitBreaker(handleAll, { halfOpenAfter: 3_600_000, breaker: new ConsecutiveBreaker(5) })
const failing = () => Promise.reject(new Error("down"))
const openOpossum = new Opossum(failing, { timeout: false, resetTimeout: 3_600_000, volumeThreshold: 1 })

for (let i = 0; i < 5; i++) {
  Effect.runSync(Effect.ignore(open.execute("key")(fail)))
  Effect.runSync(Effect.ignore(openOwn.execute(fail, { key: "key" })))
  await openCockatiel.execute(failing).catch(() => undefined)
  await openOpossum.fire().catch(() => undefined)
}

export const openSuite: Suite = {
  name: "An open circuit, refusal, caught",
  base: "Ballast execute, in a fiber",
  cases: [
    eachInFiber("Ballast execute, in a fiber", () => Effect.ignore(open.execute("key")(ok))),
    awaited("Ballast execute, runPromise", () => Effect.runPromise(Effect.ignore(open.execute("key")(ok)))),
    inFiber(
      "effect/persistence CircuitBreaker, in a fiber",
      Effect.ignore(Effect.suspend(() => openOwn.execute(ok, { key: "key" })))
    ),
    awaited("cockatiel", () => openCockatiel.execute(answer).catch(() => undefined)),
    awaited("opossum", () => openOpossum.fire().catch(() => undefined))
  ]
}
