/**
 * The ledger under rate limits and budgets: takes from several quotas at once or from none, and settles to what was
 * really used. All amounts are integers.
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type { StoreUnavailable } from "./internal/reasons.ts"

export type Quota =
  /** Refills continuously; a full bucket admits a burst of its capacity. */
  | { readonly _tag: "Bucket"; readonly capacity: number; readonly refillPerSecond: number }
  /** At most `limit` in any span, counted in `slots` sub-windows of which the oldest counts whole. */
  | { readonly _tag: "Rolling"; readonly limit: number; readonly span: Duration.Duration; readonly slots: number }
  /** Starts anew at `endsAt` (milliseconds of the store's clock). */
  | { readonly _tag: "Window"; readonly limit: number; readonly startsAt: number; readonly endsAt: number }
  /** Held until settled. */
  | { readonly _tag: "Concurrency"; readonly limit: number }

export interface Entry {
  readonly key: string
  readonly amount: number
  readonly quota: Quota
}

export interface Granted {
  readonly _tag: "Granted"
  /** What is left of each entry's quota, in their order. */
  readonly remaining: ReadonlyArray<number>
}

export interface Denied {
  readonly _tag: "Denied"
  /** The first entry that did not fit, by its index. */
  readonly entry: number
  /** When it is worth asking again; absent where only a settle can make room. */
  readonly retryAfter?: Duration.Duration | undefined
  readonly remaining: ReadonlyArray<number>
}

export interface Service {
  /**
   * Takes every entry or none, in one atomic step. The caller makes the lease id, so that a lost reply can be settled.
   * Short: a store that does not answer within its timeout fails. May be interrupted; the lease is then settled.
   */
  readonly reserve: (
    lease: string,
    entries: ReadonlyArray<Entry>,
    ttl: Duration.Duration
  ) => Effect.Effect<Granted | Denied, StoreUnavailable>
  /**
   * Replaces what the lease reserved by what was used, entry by entry; the first settle of a lease counts. One of a lease
   * that is not known leaves a mark, so that a reserve which arrives late is refused.
   */
  readonly settle: (lease: string, actual: ReadonlyArray<number>) => Effect.Effect<void, StoreUnavailable>
}

export class QuotaStore extends Context.Service<QuotaStore, Service>()("ballast/QuotaStore") {}
