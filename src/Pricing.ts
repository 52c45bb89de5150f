/**
 * What calls cost, before and after they are made, in whole nano-USD (a USD is 1,000,000,000 of them), rounded up once per
 * call. A model without a price has none: it is never free by silence.
 *
 * Usage does not tell everything: sound, pictures and one-hour cache writes are priced as text and ordinary cache writes,
 * and the fees of tools on the provider's side and of service tiers are not known. A table may say otherwise.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as fromPackage from "./internal/packagePrices.ts"
import * as memo from "./internal/priceMemo.ts"
import type { Price as Found, Tier } from "./internal/prices.ts"
import * as tables from "./internal/priceTable.ts"
import { LlmError, Unpriced } from "./LlmError.ts"
import { LlmProvider } from "./LlmProvider.ts"
import * as LlmRequest from "./LlmRequest.ts"
import type { Usage } from "./LlmResponse.ts"
import { Tokens } from "./Tokens.ts"

export type { Tier }

/** What has a price; an `LlmProvider.Service` is one. */
export interface Priced {
  readonly provider: string
  readonly model: string
}

/** What something costs, and by which price. */
export interface Cost {
  /** A safe integer; what would be larger is the largest one. */
  readonly nanoUsd: number
  /** Where the price is from: `"table"`, `"default"`, or the package and its version. */
  readonly prices: string
}

/** A price list. It answers on the spot and never fails: what has no price is `undefined`. */
export interface Service {
  /**
   * What the usage costs at a time (milliseconds); undefined without a price. A count that is absent or impossible is zero.
   * Where counts contradict each other, the dearer reading holds: a total below its parts is taken to leave them out.
   */
  readonly cost: (of: Priced, usage: Usage, at: number) => Cost | undefined
  /**
   * What so many tokens cost before a call is made; `Infinity` or NaN costs the largest integer. With `dearest` no usage
   * within these tokens costs more at that time: cache writes, reasoning, sound and pictures, every tier they may fall in.
   */
  readonly quote: (
    of: Priced,
    tokens: { readonly input: number; readonly output: number },
    at: number,
    dearest?: boolean
  ) => Cost | undefined
  /** The price list behind it, for receipts and ledgers: the package, its version and day, or `"table"`. */
  readonly date: string
}

/** The price list that budgets and estimates go by. `layer` and `layerTable` make it. */
export class Pricing extends Context.Service<Pricing, Service>()("ballast/Pricing") {}

/** By `model` or `provider/model` (which goes first), exactly as the provider is configured. */
export type Table = Readonly<Record<string, Price>>

/** What a model costs: USD per million tokens, finite and at least 0. See `Table`. */
export type Price = tables.TablePrice

/** What becomes of models that the table does not name. */
export interface Options {
  /** The price of models that have no other. Default: they have none. */
  readonly default?: Price | undefined
  /** Where models that the table does not name are looked up. Default `"genai-prices"`. */
  readonly base?: "genai-prices" | "none" | undefined
}

/**
 * The prices of the package `@pydantic/genai-prices` at the time of the call, which knows providers by id and models also by
 * their dated names. Models that it lists without a price for tokens, free ones too, have none.
 */
export const make: Effect.Effect<Service> = Effect.suspend(() => makeTable({}))

/** `make` as a layer: the package's prices, which it loads when it is built. */
export const layer: Layer.Layer<Pricing> = Layer.effect(Pricing, make)

/** The table's prices, then those of the package, then the default. Throws `RangeError` for a price that can be none. */
export const makeTable = (table: Table, options: Options = {}): Effect.Effect<Service> => {
  const { base = "genai-prices" } = options
  const given = tables.make(table)
  const otherwise = options.default && tables.parse("default", "default", options.default)
  if (base === "none") return Effect.sync(() => serviceOf("table", (of) => constant(given(of) ?? otherwise)))
  if (base !== "genai-prices")
    throw new RangeError(`Pricing: base must be "genai-prices" or "none", got ${String(base)}`)
  return Effect.map(fromPackage.load, (find) =>
    serviceOf(fromPackage.version, (of, at) => {
      const own = given(of)
      if (own !== undefined) return constant(own)
      const found = find(of, at)
      return { ...found, price: found.price ?? otherwise }
    })
  )
}

/** `makeTable` as a layer. What can be no price throws when it is made. */
export const layerTable = (table: Table, options?: Options): Layer.Layer<Pricing> =>
  Layer.effect(Pricing, makeTable(table, options))

const constant = (price: Found | undefined): fromPackage.Found => ({ price, constantFor: Infinity })

const serviceOf = (date: string, find: fromPackage.Find): Service => {
  const priceOf = memo.make(find)
  return {
    cost: (of, usage, at) => {
      const price = priceOf(of, at)
      return price && costOf(price, price.cost(usage))
    },
    quote: (of, tokens, at, dearest = false) => {
      const price = priceOf(of, at)
      return price && costOf(price, price.quote(tokens, dearest))
    },
    date
  }
}

const costOf = (price: Found, nanoUsd: number | undefined): Cost | undefined =>
  nanoUsd === undefined ? undefined : { nanoUsd, prices: price.name }

/**
 * What the request may cost with the provider at hand: its input as `Tokens` counts it, and an answer of `maxOutputTokens`, or
 * of 500 tokens without. Fails with `Unpriced`, and with `InvalidRequestError` for a request that breaks a rule.
 */
export const estimate = (input: LlmRequest.Input): Effect.Effect<Cost, LlmError, Pricing | LlmProvider> =>
  Effect.gen(function* () {
    const { model, provider } = yield* LlmProvider
    const request = yield* Effect.mapError(
      LlmRequest.make(input),
      (reason) => new LlmError({ provider, model, reason, phase: "refused" })
    )
    const tokens = yield* Tokens
    const count = { input: tokens.estimate(request).input, output: request.maxOutputTokens ?? unlearned }
    return yield* priced((pricing, of, at) => pricing.quote(of, count, at))
  })

const unlearned = 500

/** What an answer of the provider at hand did cost. Fails with `Unpriced`. */
export const cost = (usage: Usage): Effect.Effect<Cost, LlmError, Pricing | LlmProvider> =>
  priced((pricing, of, at) => pricing.cost(of, usage, at))

const priced = (ask: (pricing: Service, of: Priced, at: number) => Cost | undefined) =>
  Effect.gen(function* () {
    const pricing = yield* Pricing
    const of = yield* LlmProvider
    const found = ask(pricing, of, yield* Clock.currentTimeMillis)
    if (found !== undefined) return found
    return yield* new LlmError({ provider: of.provider, model: of.model, reason: new Unpriced() })
  })
