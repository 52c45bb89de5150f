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
  // who asks again with the very same provider is spared to write its name
  const same = new WeakMap<Priced, Entry>()
  return (of, at) => {
    const last = same.get(of)
    if (last !== undefined && Math.floor(at / last.constantFor) === last.slot) return last.price
    const key = `${of.provider}\n${of.model}`
    const entry = known.get(key)
    if (entry !== undefined && Math.floor(at / entry.constantFor) === entry.slot) {
      same.set(of, entry)
      return entry.price
    }
    const found = find(of, at)
    const next = { ...found, slot: Math.floor(at / found.constantFor) }
    same.set(of, next)
    known.delete(key)
    known.set(key, next)
    if (known.size > mostModels) known.delete(known.keys().next().value ?? "")
    return found.price
  }
}
