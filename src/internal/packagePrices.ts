/** The price table of the package `@pydantic/genai-prices`, read without its floating sums and its updates over the network. */
import type { ConditionalPrice, ModelPrice } from "@pydantic/genai-prices"
import * as Effect from "effect/Effect"
import type { Priced } from "../Pricing.ts"
import * as prices from "./prices.ts"

/** The pinned version, and the day it was published. */
export const version = "genai-prices 0.1.8 (2026-09-23)"

export interface Found {
  readonly price: prices.Price | undefined
  /** Milliseconds: nothing changes between two multiples of it. */
  readonly constantFor: number
}

export type Find = (of: Priced, at: number) => Found

/** Loads the table, which takes some 40 ms. */
export const load: Effect.Effect<Find> = Effect.map(
  Effect.promise(() => import("@pydantic/genai-prices")),
  ({ calcPrice }) =>
    ({ model, provider }, at) => {
      try {
        // without usage it only finds the price
        const found = calcPrice({}, model, { providerId: provider, timestamp: new Date(at) })
        return found === null
          ? unknown
          : { price: priceOf(found.model_price), constantFor: constantFor(found.model.prices) }
      } catch {
        return unknown // an entry that the package itself cannot read
      }
    }
)

const day = 86_400_000

const unknown: Found = { price: undefined, constantFor: day }

/** Prices start at the midnight of a day, UTC; those of an hour of the day do so at a second. */
const constantFor = (conditions: ReadonlyArray<ConditionalPrice> | ModelPrice): number =>
  Array.isArray(conditions) && conditions.some(({ constraint }) => constraint?.type === "time_of_date") ? 1000 : day

/** Undefined where tokens have no price: models that are billed by the page or the hour, and entries without any. */
const priceOf = (model: ModelPrice): prices.Price | undefined => {
  if (model["input_mtok"] === undefined) return undefined
  const starts = Object.values(model).flatMap((rate) => (typeof rate === "object" ? rate.tiers : []))
  const thresholds = [...new Set([-1, ...starts.map((tier) => tier.start)])].toSorted((a, b) => a - b)
  return prices.make(version, {
    tiers: thresholds.map((above) => ratesAt(model, above)),
    thousandCalls: rateAt(model["requests_kcount"], -1),
    inputOnly: model["output_mtok"] === undefined
  })
}

const ratesAt = (model: ModelPrice, above: number) => {
  const dearest = (keys: RegExp): number =>
    Math.max(0, ...Object.keys(model).map((key) => (keys.test(key) ? (rateAt(model[key], above) ?? 0) : 0)))
  return {
    above,
    input: rateAt(model["input_mtok"], above) ?? 0,
    output: rateAt(model["output_mtok"], above) ?? 0,
    cacheRead: rateAt(model["cache_read_mtok"], above),
    cacheWrite: rateAt(model["cache_write_mtok"], above),
    reasoning: rateAt(model["output_reasoning_mtok"], above),
    dearestInput: dearest(/^(input|cache)_(.+_)?mtok$/),
    dearestOutput: dearest(/^output_(.+_)?mtok$/)
  }
}

/** A tier is the price of all tokens of a call whose input has more than `start`; a rate without tiers stays as it is. */
const rateAt = (rate: ModelPrice[string], above: number): number | undefined => {
  if (typeof rate !== "object") return rate
  let { base: price } = rate
  for (const tier of rate.tiers.toSorted((a, b) => a.start - b.start)) if (tier.start <= above) ({ price } = tier)
  return price
}
