/** All policies together: a call that no cache has seen, and what they add to one through the `LanguageModel` of `effect/ai`. */
import { Effect, Layer } from "effect"
import { LanguageModel } from "effect/ai"
import { LlmProvider, LlmRequest } from "../src/index.ts"
import { awaited, eachInFiber, inFiber, servicesOf, type Suite } from "./harness.ts"
import { answer, async, ballast, fromCockatiel, fromEffect, resilient, type Slots, slots, sync } from "./stacks.ts"

const { cache: _, ...withoutCache } = slots
const guards = { inputGuard: {}, outputGuard: {} }

/** The same question over and over, through `effect/ai`. */
const asking = (provider: LlmProvider.Service): Effect.Effect<unknown, unknown> => {
  const inner = Layer.succeed(LlmProvider.LlmProvider, provider)
  const services = servicesOf(LlmProvider.languageModel.pipe(Layer.provide(inner)))
  return Effect.provide(LanguageModel.generateText({ prompt: "What is ballast?" }), services)
}

export const languageModelSuite: Suite = {
  name: "LanguageModel.generateText of effect/ai",
  base: "the bare provider",
  cases: [
    inFiber("the bare provider", asking(sync)),
    inFiber("timeouts and telemetry, which are always there", asking(resilient(sync, {}))),
    inFiber("these and guards", asking(resilient(sync, guards))),
    inFiber("these and retry, breaker, budget and limiter", asking(resilient(sync, withoutCache))),
    inFiber(
      "Ballast, every policy on",
      asking(resilient(sync, { ...withoutCache, ...guards, degrade: { static: "sorry" } }))
    )
  ]
}

const prose = "The quick brown fox said no to the lazy dog. ".repeat(46)
let turn = 0
const unseen = () => LlmRequest.makeUnsafe({ prompt: `${turn++} ${prose}`, maxOutputTokens: 100 })

const whole = ballast(async)
const cockatiel = fromCockatiel(100, () => Promise.resolve(answer))
const effect = fromEffect(async)

export const missPathSuite: Suite = {
  name: "The whole way of a call that no cache has seen, 2 KB, guards off",
  base: "Ballast, in a fiber",
  cases: [
    eachInFiber("Ballast, in a fiber", () => whole.generate(unseen())),
    awaited("Ballast, runPromise", () => Effect.runPromise(whole.generate(unseen()))),
    awaited("cockatiel's stack, rate-limiter-flexible, lru-cache with SHA-256 of the JSON; no budget", () =>
      cockatiel(unseen())
    ),
    eachInFiber("Effect's own parts, lru-cache with SHA-256 of the JSON; no budget", () => effect(unseen()))
  ]
}

const { budget, cache, circuitBreaker, rateLimiter, retry } = slots
const through = (name: string, used: Slots) => {
  const stack = resilient(async, used)
  return eachInFiber(name, () => stack.generate(unseen()))
}

export const missPartsSuite: Suite = {
  name: "What each policy adds to such a call",
  base: "timeouts and telemetry, which are always there",
  cases: [
    eachInFiber("the bare provider", () => async.generate(unseen())),
    through("timeouts and telemetry, which are always there", {}),
    through("these and the retry", { retry }),
    through("these and the circuit breaker", { circuitBreaker }),
    through("these and the limiter", { rateLimiter }),
    through("these and the budget", { budget }),
    through("these and the cache", { cache })
  ]
}
