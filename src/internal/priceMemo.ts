/** Remembers prices by provider and model, as long as they cannot change: a call is priced without a search. */
import type { Priced } from "../Pricing.ts"
import type { Find, Found } from "./packagePrices.ts"
import type { Price } from "./prices.ts"

/** Most models remembered; beyond it the oldest is forgotten. */
const mostModels = 1000

interface Entry extends Found {
  readonly slot: number
}

export const make = (find: Find): ((of: Priced, at: number) => Price | undefined) => {
  const known = new Map<string, Entry>()
  return (of, at) => {
    const key = `${of.provider}\n${of.model}`
    const entry = known.get(key)
    if (entry !== undefined && Math.floor(at / entry.constantFor) === entry.slot) return entry.price
    const found = find(of, at)
    known.delete(key)
    known.set(key, { ...found, slot: Math.floor(at / found.constantFor) })
    if (known.size > mostModels) known.delete(known.keys().next().value ?? "")
    return found.price
  }
}
