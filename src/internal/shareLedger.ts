/** What this process takes of its shares while a shared store does not answer, and what it must still tell that store. */
import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { Denied, Entry, Granted, Service } from "../QuotaStore.ts"
import { Debits } from "./debits.ts"
import { MemoryQuotaStore } from "./memoryQuotaStore.ts"
import { usedOf } from "./quotas.ts"
import type { StoreUnavailable } from "./reasons.ts"
import { mostOf, type Part, partsOf } from "./shares.ts"

/** The lease of what is taken without one: settled in the same step. */
const taking = "take"

export class ShareLedger {
  private readonly instances: () => number | undefined
  private readonly store: Service
  private readonly debits = new Debits()
  /** What each lease took here; as many as calls are in flight. */
  private readonly leases = new Map<string, ReadonlyArray<Part>>()

  constructor(clock: Clock.Clock, instances: () => number | undefined) {
    this.instances = instances
    this.store = new MemoryQuotaStore(clock, true)
  }

  /** Whether something was taken here that is not booked in the shared store. */
  get owes(): boolean {
    return this.debits.size > 0
  }

  /** How many leases are remembered, for tests. */
  get size(): number {
    return this.leases.size
  }

  reserve(lease: string, entries: ReadonlyArray<Entry>, ttl: Duration.Duration): Answer {
    return this.inOneStep(entries, (parts) =>
      Effect.map(this.store.reserve(lease, parts.map(localEntry), ttl), (answer) => {
        if (answer._tag === "Denied") return answer
        this.leases.set(lease, parts)
        for (const part of parts) this.debits.add(part, part.amount)
        return answer
      })
    )
  }

  /** Settled at once to the whole amounts, of which a share may be only a part. */
  take(entries: ReadonlyArray<Entry>): Answer {
    return this.inOneStep(entries, (parts) =>
      Effect.flatMap(this.store.reserve(taking, parts.map(localEntry), Duration.zero), (answer): Answer => {
        if (answer._tag === "Denied") return Effect.succeed(answer)
        for (const part of parts) this.debits.add(part, part.entry.amount)
        const amounts = parts.map(({ entry }) => entry.amount)
        return Effect.as(this.store.settle(taking, amounts), answer)
      })
    )
  }

  /** The store in memory acts when it is called: from there on nothing may interrupt what is written down of it. */
  private inOneStep(entries: ReadonlyArray<Entry>, take: (parts: ReadonlyArray<Part>) => Answer): Answer {
    return Effect.uninterruptible(
      Effect.suspend(() => {
        const parts = partsOf(entries, this.instances)
        return Effect.map(take(parts), (answer) => answerOf(answer, entries, parts))
      })
    )
  }

  /** `undefined` for a lease that was not granted here. */
  settle(lease: string, actual: ReadonlyArray<number>): Effect.Effect<void, StoreUnavailable> | undefined {
    const parts = this.leases.get(lease)
    if (parts === undefined) return undefined
    this.leases.delete(lease)
    const used: Array<number> = []
    for (const part of parts) {
      const amount = usedOf(actual[part.index], part.entry.amount)
      this.debits.add(part, amount - part.amount)
      used.push(amount)
    }
    return this.store.settle(lease, used)
  }

  /** Books in the shared store what was taken here, until the first failure. */
  book(shared: Service): Effect.Effect<void, StoreUnavailable> {
    return this.debits.book(shared, this.store)
  }
}

type Answer = Effect.Effect<Granted | Denied, StoreUnavailable>

const localEntry = ({ amount, entry, share }: Part): Entry => ({ key: entry.key, amount, quota: share })

/** In terms of all entries: of those that are allowed, everything is left. */
const answerOf = (
  answer: Granted | Denied,
  entries: ReadonlyArray<Entry>,
  parts: ReadonlyArray<Part>
): Granted | Denied => {
  const remaining = entries.map(({ quota }) => mostOf(quota))
  for (const [i, { index }] of parts.entries()) remaining[index] = answer.remaining[i] ?? 0
  if (answer._tag === "Granted") return { ...answer, remaining }
  return { ...answer, entry: parts[answer.entry]?.index ?? 0, remaining }
}
