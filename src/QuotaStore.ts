/**
 * The ledger under rate limits and budgets: takes from several quotas at once or from none, and settles to what was
 * really used. All amounts are integers, and at least zero unless said otherwise.
 *
 * A lease is what one reservation took. It lives for its ttl unless it is renewed, which the store does by itself for calls
 * that go on. When one expires, a `Concurrency` entry is freed, a `Bucket` and a `Rolling` entry stay taken (they refill),
 * and a `Window` entry becomes a charge of what was reserved, which a late settle still corrects: money is never given back
 * by silence.
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as memoryQuotaStore from "./internal/memoryQuotaStore.ts"
import type { StoreUnavailable } from "./internal/reasons.ts"
import type * as Ledger from "./Ledger.ts"

/** How much there is under a key, and how it comes back. */
export type Quota =
  /** Refills continuously; a full bucket admits a burst of its capacity. Settling may leave a debt. */
  | { readonly _tag: "Bucket"; readonly capacity: number; readonly refillPerSecond: number }
  /** At most `limit` in any span, counted in `slots` sub-windows of which the oldest counts whole. */
  | { readonly _tag: "Rolling"; readonly limit: number; readonly span: Duration.Duration; readonly slots: number }
  /** From `startsAt` until `endsAt`, milliseconds of the store's clock; the next window starts with nothing taken. */
  | { readonly _tag: "Window"; readonly limit: number; readonly startsAt: number; readonly endsAt: number }
  /** Held until settled. */
  | { readonly _tag: "Concurrency"; readonly limit: number }

/** So much of one quota. */
export interface Entry {
  readonly key: string
  readonly amount: number
  readonly quota: Quota
  /** What becomes of it while a shared store does not answer. Default: what it is part of fails. */
  readonly outage?: Outage | undefined
  /** Of money, in a `Window` or a `Rolling` quota: what is charged to it becomes a line of the ledger. */
  readonly subject?: Ledger.Subject | undefined
}

/**
 * `"allow"`: it counts as granted. Otherwise this process takes from its own share of the quota, one of so many instances;
 * `undefined` is as many as were last seen alive.
 */
export type Outage = "allow" | { readonly instances: number | undefined }

/** All of it was taken. */
export interface Granted {
  readonly _tag: "Granted"
  /** What is left of each entry's quota, in their order; negative where there is a debt. */
  readonly remaining: ReadonlyArray<number>
  /** Milliseconds of the store's clock, which decides where windows begin and end. */
  readonly now: number
}

/** Nothing was taken. */
export interface Denied {
  readonly _tag: "Denied"
  /** The first entry that did not fit, by its index. */
  readonly entry: number
  /**
   * When it is worth asking again: the longest wait of all entries that do not fit. Absent where only a settle can make room,
   * and where it can never fit: more than the quota holds, a window that has ended, a lease that is still open.
   */
  readonly retryAfter?: Duration.Duration | undefined
  readonly remaining: ReadonlyArray<number>
  readonly now: number
}

/** What of a quota is left. */
export interface State {
  readonly remaining: number
  /** Until it is whole again, as far as time alone decides. */
  readonly resetAfter: Duration.Duration
}

/**
 * A store of quotas. One outside of this process answers in the time its options give it, or fails with
 * `StoreUnavailable`; the one in memory answers at once and never fails.
 */
export interface Service {
  /**
   * Takes every entry or none, in one atomic step. The caller makes the lease id, so that a lost reply can be settled; one
   * that is still open is denied. Short: a store that does not answer within its timeout fails.
   */
  readonly reserve: (
    lease: string,
    entries: ReadonlyArray<Entry>,
    ttl: Duration.Duration
  ) => Effect.Effect<Granted | Denied, StoreUnavailable>
  /**
   * Replaces what the lease reserved by what was used, entry by entry; the first settle of a lease counts. A late one is
   * booked in the window that admitted the call. One of a lease that is not known leaves a mark, so that a reserve which
   * arrives behind it is refused.
   *
   * A bucket gets back no more than was taken of it at any time since the admission: what it has refilled meanwhile is not
   * given twice, so that it admits no more than its capacity and refill of what was really used. It may give
   * back less, never more: perhaps nothing where the call lasted longer than half the time that the bucket takes to fill, or
   * where its refill was changed meanwhile.
   *
   * Where entries are of money, one line is written to the ledger, with the lease as its id, the amount of the first of them
   * and a posting for each that changed: by `charge`, or as `lost` where that is absent and something was used; none where it is absent
   * and nothing was. An expired lease has got its line already (`expired`, what was reserved); the difference becomes a
   * second one, `corrected`.
   */
  readonly settle: (
    lease: string,
    actual: ReadonlyArray<number>,
    charge?: Ledger.Charge
  ) => Effect.Effect<void, StoreUnavailable>
  /**
   * Takes every entry or none, for good: there is no lease and nothing to settle. Of a `Concurrency` entry it only asks
   * whether there is room.
   */
  readonly take: (entries: ReadonlyArray<Entry>) => Effect.Effect<Granted | Denied, StoreUnavailable>
  /** What is left, without taking anything. */
  readonly read: (
    entries: ReadonlyArray<Pick<Entry, "key" | "quota">>
  ) => Effect.Effect<ReadonlyArray<State>, StoreUnavailable>
  /**
   * Lowers what is left to the amount of the entry, which may be negative: a debt. Never raises it. For what somebody else
   * knows: a provider's own headers, what was taken while the store was gone.
   */
  readonly observe: (entry: Entry) => Effect.Effect<void, StoreUnavailable>
  /** Present where other processes take from it, too: what they give back is not heard of here. */
  readonly shared?: Shared | undefined
  /** Present where money is counted. */
  readonly ledger?: LedgerStore | undefined
}

/** The ledger of a store, which also books what nothing was reserved for. */
export interface LedgerStore extends Ledger.Service {
  /**
   * Books a charge that nothing was reserved for, whatever the quotas hold: a line, and its entries in their counters. They
   * may be negative; no counter falls below zero, and the postings say by how much it fell. Of a line that is there already
   * nothing is booked again.
   */
  readonly post: (line: Post) => Effect.Effect<void, StoreUnavailable>
}

/** A charge without a reservation. */
export interface Post {
  readonly id: string
  /** Nano-USD. */
  readonly amount: number
  readonly subject: Ledger.Subject
  readonly charge: Ledger.Charge
  readonly entries: ReadonlyArray<Pick<Entry, "key" | "amount" | "quota">>
}

/** What is known of the processes that share a store. */
export interface Shared {
  /** For logs and errors: `"redis"`. */
  readonly name: string
  /** How many processes were last seen to hold leases, this one included; `undefined` where that is not known yet. */
  readonly instances: () => number | undefined
}

/**
 * The store of rate limits and budgets: `layerMemory`, `SqlQuotaStore.layer`, `RedisQuotaStore.layer`, or all stores at
 * once from `Stores`.
 */
export class QuotaStore extends Context.Service<QuotaStore, Service>()("ballast/QuotaStore") {}

/**
 * A store in this process: one for each limit that must hold, as two of them know nothing of each other. It acts when its
 * methods are called, and what it holds ends with it: leases do not expire, and a restart starts with full quotas.
 */
export const makeMemory: Effect.Effect<Service> = memoryQuotaStore.make()

/** `makeMemory` as a layer: all that it is provided to count together. */
export const layerMemory: Layer.Layer<QuotaStore> = Layer.effect(QuotaStore, makeMemory)
