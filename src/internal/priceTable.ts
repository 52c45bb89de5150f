/** Prices that the user gives: checked, and found by exact name only. */
import type { Priced } from "../Pricing.ts"
import { integer } from "./options.ts"
import * as prices from "./prices.ts"

/** USD per million tokens. A price of 0 is a price. */
export interface TablePrice extends prices.Rates {
  /** Of tokens that were in no cache. */
  readonly input: number
  /** Of all that the model writes. */
  readonly output: number
  /** Of tokens read from the provider's cache. Default: as `input`. */
  readonly cacheRead?: number | undefined
  /** Of tokens written into it. Default: as `input`. */
  readonly cacheWrite?: number | undefined
  /** Of what it thinks before it answers. Default: as `output`. */
  readonly reasoning?: number | undefined
  /** Prices of the whole call when its input is long; what a tier leaves out costs as its own `input` or `output`. */
  readonly tiers?: ReadonlyArray<prices.Tier> | undefined
}

export type Find = (of: Priced) => prices.Price | undefined

export const make = (table: Readonly<Record<string, TablePrice>>): Find => {
  const known = new Map(Object.entries(table).map(([key, price]) => [key, parse(JSON.stringify(key), "table", price)]))
  return ({ model, provider }) => known.get(`${provider}/${model}`) ?? known.get(model)
}

/** Throws a `RangeError` for what is no price. */
export const parse = (field: string, name: string, price: TablePrice): prices.Price => {
  const tiers = (price.tiers ?? []).map((tier, i) => {
    const at = `${field}.tiers[${i}]`
    return checked(at, { ...tier, above: integer(`Pricing: ${at}.above`, tier.above, 0) })
  })
  tiers.sort((a, b) => a.above - b.above)
  const twice = tiers.find((tier, i) => tier.above === tiers[i + 1]?.above)
  if (twice !== undefined) throw new RangeError(`Pricing: ${field}.tiers has two tiers above ${twice.above}`)
  return prices.make(name, { tiers: [checked(field, { ...price, above: -1 }), ...tiers] })
}

const checked = (field: string, tier: prices.Tier): prices.Tier => {
  for (const name of required) amount(`${field}.${name}`, tier[name])
  for (const name of optional) if (tier[name] !== undefined) amount(`${field}.${name}`, tier[name])
  return tier
}

const required = ["input", "output"] as const
const optional = ["cacheRead", "cacheWrite", "reasoning"] as const

const amount = (field: string, value: number): void => {
  if (Number.isFinite(value) && value >= 0) return
  throw new RangeError(`Pricing: ${field} must be USD per million tokens, a finite number >= 0, got ${value}`)
}
