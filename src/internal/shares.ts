/** One process's share of a quota, for a time when it cannot know what the others take. */
import type { Entry, Outage, Quota } from "../QuotaStore.ts"

/** What is asked of the local store for one entry. */
export interface Part {
  /** Of the entry, among those it was asked with. */
  readonly index: number
  readonly entry: Entry
  readonly share: Quota
  readonly amount: number
}

/** Of the entries that are counted, each with its share; those that are allowed have none. */
export const partsOf = (entries: ReadonlyArray<Entry>, instances: () => number | undefined): ReadonlyArray<Part> => {
  const parts: Array<Part> = []
  for (const [index, entry] of entries.entries()) {
    if (entry.outage === undefined || entry.outage === "allow") continue
    const share = shareOf(entry.quota, countOf(entry.outage, instances))
    parts.push({ index, entry, share, amount: cut(entry.amount, mostOf(entry.quota), mostOf(share)) })
  }
  return parts
}

/** As many as was said; what was last seen is never taken for one, since processes come and go. */
const countOf = (outage: Exclude<Outage, "allow">, instances: () => number | undefined): number =>
  outage.instances ?? Math.max(2, instances() ?? 2)

/** What fits the quota, but never the share, takes the whole share: large requests pass, too, one at a time. */
const cut = (amount: number, most: number, share: number): number => (amount <= most ? Math.min(amount, share) : amount)

export const mostOf = (quota: Quota): number => (quota._tag === "Bucket" ? quota.capacity : quota.limit)

const shares = new WeakMap<Quota, { readonly instances: number; readonly share: Quota }>()

/** One part of so many; the same object for the same quota, which is cheaper to count. */
const shareOf = (quota: Quota, instances: number): Quota => {
  const known = shares.get(quota)
  if (known?.instances === instances) return known.share
  const share = divided(quota, instances)
  shares.set(quota, { instances, share })
  return share
}

const divided = (quota: Quota, instances: number): Quota => {
  const most = mostOf(quota)
  const limit = most > 0 ? Math.max(1, Math.floor(most / instances)) : most
  if (quota._tag !== "Bucket") return { ...quota, limit }
  return { ...quota, capacity: limit, refillPerSecond: quota.refillPerSecond / instances }
}
