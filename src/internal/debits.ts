/** What was taken without the shared store, remembered until it is booked there. */
import * as Effect from "effect/Effect"
import type { Entry, Quota, Service, State } from "../QuotaStore.ts"
import { nameOf } from "./quotas.ts"
import type { StoreUnavailable } from "./reasons.ts"
import { mostOf, type Part } from "./shares.ts"

interface Debit {
  readonly entry: Pick<Entry, "key" | "quota">
  readonly share: Quota
  readonly taken: number
}

/** Most accounts that are remembered: those used last. */
const maxDebits = 1000

/** Accounts read by one question, and most that are booked at the same time. */
const readAtOnce = 100
const bookAtOnce = 16

export class Debits {
  /** By account, the one that was used last at the end. */
  private readonly debits = new Map<string, Debit>()

  get size(): number {
    return this.debits.size
  }

  /**
   * So much more was taken, or less where it is negative. What was booked and then turns out to be less stays booked; where
   * it is more, the rest is booked next time.
   */
  add({ entry, share }: Pick<Part, "share"> & Pick<Debit, "entry">, amount: number): void {
    if (entry.quota._tag === "Concurrency" || amount === 0) return
    const name = `${entry.quota._tag} ${nameOf(entry)}`
    const taken = (this.debits.get(name)?.taken ?? 0) + amount
    this.debits.delete(name)
    if (taken <= 0) return
    this.debits.set(name, { entry, share, taken })
    const [oldest] = this.debits.keys()
    if (this.size > maxDebits && oldest !== undefined) this.debits.delete(oldest)
  }

  /** Books what is remembered in the shared store and forgets it, until the first failure. */
  book(shared: Service, local: Service): Effect.Effect<void, StoreUnavailable> {
    const all = [...this.debits.values()]
    const groups = Array.from({ length: Math.ceil(all.length / readAtOnce) }, (_, i) =>
      all.slice(i * readAtOnce, (i + 1) * readAtOnce)
    )
    return Effect.forEach(groups, (debits) => this.bookSome(shared, local, debits), { discard: true })
  }

  private bookSome(shared: Service, local: Service, debits: ReadonlyArray<Debit>) {
    return Effect.flatMap(shared.read(debits.map(({ entry }) => entry)), (states) =>
      Effect.flatMap(local.read(debits.map(({ entry: { key }, share }) => ({ key, quota: share }))), (own) =>
        Effect.forEach(debits, (debit, i) => this.bookOne(shared, debit, states[i], own[i]), {
          concurrency: bookAtOnce,
          discard: true
        })
      )
    )
  }

  /** Of what was taken since the last time, what still counts: a long outage gave back some of it. */
  private bookOne(shared: Service, debit: Debit, state: State | undefined, own: State | undefined) {
    const counts = mostOf(debit.share) - (own?.remaining ?? 0)
    const amount = Math.min(debit.taken, counts)
    const booked =
      amount > 0 && state !== undefined
        ? shared.observe({ ...debit.entry, amount: state.remaining - amount })
        : Effect.void
    return Effect.map(booked, () => this.add(debit, -debit.taken))
  }
}
