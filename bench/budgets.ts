/** A budget in this process: what it adds to a call, alone and with a limiter, and a call that it refuses. */
import { circuitBreaker, ConsecutiveBreaker, handleAll } from "cockatiel"
import { Context, Effect, Layer } from "effect"
import Opossum from "opossum"
import { Budget, Caller, type LlmProvider, LlmRequest, Pricing, QuotaStore, RateLimiter } from "../src/index.ts"
import * as Gate from "../src/Gate.ts"
import { LlmResponse } from "../src/LlmResponse.ts"
import { awaited, inFiber, servicesOf, type Suite } from "./harness.ts"

const request = LlmRequest.makeUnsafe({ prompt: "What is ballast good for?", maxOutputTokens: 100 })
const model = { provider: "bench", model: "bench", endpoint: "bench", credential: "none" }
const answer = new LlmResponse({
  ...model,
  parts: [
    { type: "text", text: "Ballast keeps a ship upright." },
    { type: "finish", reason: "stop", usage: { inputTokens: { total: 10 }, outputTokens: { total: 10 } } }
  ]
})
const provider: LlmProvider.Service = {
  ...model,
  generate: () => Effect.succeed(answer),
  stream: () => {
    throw new Error("not used")
  }
}

const prices = Pricing.layerTable({ bench: { input: 1, output: 1 } }, { base: "none" })

/** Gates on one store, so that they reserve as one. */
const gates = (budget: Budget.Options) => {
  const layer = Layer.merge(Budget.layer(budget), RateLimiter.layer({ requestsPerMinute: 1_000_000_000 })).pipe(
    Layer.provide(Layer.merge(Layer.fresh(QuotaStore.layerMemory), prices))
  )
  const services = servicesOf(layer)
  return {
    budget: Context.get(services, Budget.Budget).gate,
    limiter: Context.get(services, RateLimiter.RateLimiter).gate
  }
}

const one = gates({ limits: [{ usd: 1_000_000 }] })
const three = gates({
  limits: [{ usd: 1_000_000 }, { usd: 1_000_000, window: "month" }, { usd: 1_000_000, by: "tenant" }]
})
const through = (...all: ReadonlyArray<Gate.Gate>) => Gate.through(all)(provider).generate(request)

export const budgetSuite: Suite = {
  name: "A call behind a budget",
  base: "Ballast, a budget of one limit",
  cases: [
    inFiber("without gates", through()),
    inFiber("Ballast, a limiter", through(one.limiter)),
    inFiber("Ballast, a budget of one limit", through(one.budget)),
    inFiber("Ballast, a budget of three limits", Caller.provide(through(three.budget), { tenant: "acme" })),
    inFiber("Ballast, a budget of one limit and a limiter", through(one.budget, one.limiter))
  ]
}

const spent = gates({ limits: [{ usd: 0.000_000_001 }] })
const failing = () => Promise.reject(new Error("down"))
const cockatiel = circuitBreaker(handleAll, { halfOpenAfter: 3_600_000, breaker: new ConsecutiveBreaker(1) })
const opossum = new Opossum(failing, { timeout: false, resetTimeout: 3_600_000, volumeThreshold: 1 })
await cockatiel.execute(failing).catch(() => undefined)
await opossum.fire().catch(() => undefined)

export const overBudgetSuite: Suite = {
  name: "A call over budget, caught",
  base: "Ballast",
  cases: [
    inFiber("Ballast", Effect.ignore(through(spent.budget))),
    awaited("cockatiel, an open circuit", () => cockatiel.execute(failing).catch(() => undefined)),
    awaited("opossum, an open circuit", () => opossum.fire().catch(() => undefined))
  ]
}
