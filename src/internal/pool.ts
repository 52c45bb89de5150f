/**
 * What one provider's calls share in this process beside their limits: a pause after a 429, the one call that tries when it
 * is over, and what the provider itself says is left.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as QuotaStore from "../QuotaStore.ts"
import type { LlmError } from "../LlmError.ts"
import { advertised } from "./limitHeaders.ts"
import type { Slot } from "./limits.ts"

/** No single answer pauses or lowers a pool for longer, whatever it says. */
const longest = 60_000

/** How long the one call that tries after a pause keeps the others: a 429 comes before an answer does. */
const trial = 5000

/** A pause is a debt of milliseconds, which time pays: all who ask for nothing of it wait until it is paid. */
const pause: QuotaStore.Quota = { _tag: "Bucket", capacity: 0, refillPerSecond: 1000 }

type Store = Pick<QuotaStore.Service, "observe" | "shared">

export class Pool {
  readonly name: string
  readonly slots: ReadonlyArray<Slot>
  /** What calls ask a shared store for beside their limits: that nobody else had to pause. */
  readonly pauseEntry: QuotaStore.Entry
  private readonly store: Store
  /** Milliseconds of a pause where the provider names none. */
  private readonly unnamed: number
  private pausedUntil = -Infinity
  private untried = false
  private trier: object | undefined
  private triesUntil = -Infinity
  /** By slot: when the newest answer that was heeded had been asked for. */
  private readonly heeded = new Map<Slot, number>()

  constructor(name: string, slots: ReadonlyArray<Slot>, store: Store, unnamed: number) {
    this.name = name
    this.slots = slots
    this.store = store
    this.unnamed = unnamed
    this.pauseEntry = { key: `${name}|pause`, amount: 0, quota: pause, outage: "allow" }
  }

  /** Until when nobody goes, as far as this process knows. */
  closedUntil(now: number): number {
    if (now < this.pausedUntil) return this.pausedUntil
    return now < this.triesUntil ? this.triesUntil : -Infinity
  }

  /** A call goes. The first one after a pause goes alone. */
  goes(call: object, now: number): void {
    if (!this.untried) return
    this.untried = false
    this.trier = call
    this.triesUntil = now + trial
  }

  /** A call is over; true where that lets others go. */
  over(call: object): boolean {
    if (this.trier !== call) return false
    this.trier = undefined
    this.triesUntil = -Infinity
    return true
  }

  /** The provider answered 429: nobody of this pool asks for a while. */
  pauses(error: LlmError, now: number): Effect.Effect<void> | undefined {
    const { reason } = error
    if (reason._tag !== "RateLimitError" || error.phase === "refused") return undefined
    const told = error.retryAfter ?? reason.retryAfter
    const millis = Math.min(longest, told === undefined ? this.unnamed : Duration.toMillis(told))
    if (millis <= 0) return undefined
    this.untried = true
    this.pausedUntil = Math.max(this.pausedUntil, now + millis)
    if (this.store.shared === undefined) return undefined
    return Effect.ignore(this.store.observe({ ...this.pauseEntry, amount: -Math.ceil(millis) }))
  }

  /**
   * Lowers our buckets to what the provider says is left. Only where its limit is not above ours, so that it speaks of the
   * same thing; never for longer than its reset or a minute; and never after a newer answer.
   */
  heeds(
    headers: Readonly<Record<string, unknown>>,
    known: (slot: Slot) => number | undefined,
    askedAt: number,
    now: number
  ): Effect.Effect<void> | undefined {
    let told: Effect.Effect<void> | undefined
    for (const { count, limit, remaining, reset } of advertised(headers, now)) {
      for (const slot of this.slots) {
        const { quota } = slot.limit
        if (slot.limit.count !== count || quota._tag !== "Bucket" || limit > slot.limit.limit) continue
        if (askedAt < (this.heeded.get(slot) ?? -Infinity)) continue
        this.heeded.set(slot, askedAt)
        const least = Math.floor(quota.capacity - (quota.refillPerSecond * Math.min(reset, longest)) / 1000)
        const amount = Math.max(remaining, least)
        if (amount >= (known(slot) ?? quota.capacity)) continue
        const lower = Effect.ignore(this.store.observe({ ...slot.one, amount }))
        told = told === undefined ? lower : Effect.andThen(told, lower)
      }
    }
    return told
  }
}
