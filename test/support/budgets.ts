/** Budgets over a store in memory, with a price that is easy to compute with: a microdollar (1,000 nano-USD) a token. */
import { Context, Effect, Layer } from "effect"
import { Budget, LlmRequest, Pricing, QuotaStore, Tokens } from "effect-ballast"
import * as Gate from "effect-ballast/Gate"
import type { Usage } from "effect-ballast/LlmResponse"
import { TestProvider } from "effect-ballast/testing"

export const nanoPerToken = 1000
export const price = { input: 1, output: 1 }

export const pricing = Pricing.layerTable({ "test-model": price }, { base: "none" })

/** Asks for at most a hundred tokens. */
export const request = LlmRequest.makeUnsafe({ prompt: "What is ballast?", maxOutputTokens: 100 })
export const inputTokens = Tokens.approximate.estimate(request).input

/** What a call reserves, in nano-USD: its input, and a hundred tokens. */
export const reserved = (inputTokens + 100) * nanoPerToken

/** So many reservations, in USD. */
export const calls = (count: number): number => (count * reserved) / 1e9

export const usage = (input: number, output: number): Usage => ({
  inputTokens: { total: input, uncached: input },
  outputTokens: { total: output }
})

/** An answer that costs so many tokens in all, ten of them its input. */
export const costing = (tokens: number): TestProvider.Step =>
  TestProvider.paced("ok", { usage: usage(10, tokens - 10) })

export const budget = (
  options: Budget.Options,
  store: Layer.Layer<QuotaStore.QuotaStore> = Layer.fresh(QuotaStore.layerMemory)
) =>
  Effect.map(Layer.build(Layer.provideMerge(Budget.layer(options), Layer.merge(store, pricing))), (services) => ({
    budget: Context.get(services, Budget.Budget),
    store: Context.get(services, QuotaStore.QuotaStore)
  }))

/** A provider behind a budget. */
export const budgeted = Effect.fnUntraced(function* (
  options: Budget.Options,
  steps: ReadonlyArray<TestProvider.Step> = ["ok"],
  store?: Layer.Layer<QuotaStore.QuotaStore>
) {
  const built = yield* budget(options, store)
  const inner = TestProvider.make({ steps })
  return { ...built, inner, provider: Gate.through([built.budget.gate])(inner) }
})
