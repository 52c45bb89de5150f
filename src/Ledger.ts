/**
 * An append-only account of every charge: what was paid for whom, at which provider, and how the call ended. The counters
 * that budgets are held by can be recomputed from it.
 *
 * Money is an integer of nano-USD: 1 USD is 1,000,000,000. A quota store writes a line in the same step in which it settles
 * a reservation, so that neither is there without the other.
 */
import type * as Effect from "effect/Effect"
import type { StoreUnavailable } from "./internal/reasons.ts"

/** Nano-USD in one USD. */
export const nanoPerUsd = 1_000_000_000

/** What a charge is for, as far as it is known before the call. */
export interface Subject {
  /** Shared by all attempts of one call. */
  readonly call: string
  readonly provider: string
  readonly model: string
  /** The calendar day that admitted the call, in the budget's time zone: `"2026-11-28"`. */
  readonly day: string
  /** The price table that the amount was computed by, as `Pricing` names it. */
  readonly prices: string
  readonly tenant?: string | undefined
  readonly user?: string | undefined
  readonly feature?: string | undefined
  readonly run?: string | undefined
}

/**
 * `answered`: by the provider's own count of tokens. `estimated`: it answered without one. `lost`: sent, and its end was not
 * seen. `expired`: the process that made the call died. `corrected`: the difference that a late settle makes to an expired
 * one. `adjusted`: booked by hand. `saved`: answered without a provider, it cost nothing.
 */
export type Outcome = "answered" | "estimated" | "lost" | "expired" | "corrected" | "adjusted" | "saved"

/** Tokens of a charge, as the provider counted them or as they were estimated. */
export interface Tokens {
  readonly input: number
  readonly output: number
}

/** What is known of a charge when it is booked. */
export interface Charge {
  readonly outcome: Outcome
  readonly tokens?: Tokens | undefined
  /** Nano-USD that the answer would have cost. */
  readonly saved?: number | undefined
  /** Why, for those that were booked by hand. */
  readonly note?: string | undefined
}

/** What a line changed in one counter. */
export interface Posting {
  /** The counter's name, with the window or the sub-windows that it counts. */
  readonly account: string
  /** Which sub-window of a rolling counter, 0 of a window. */
  readonly slot: number
  /** Milliseconds of the store's clock, from when on it no longer counts. */
  readonly endsAt: number
  /** Nano-USD. */
  readonly amount: number
}

/** One entry. Lines are never changed: what turns out to be wrong gets another line. */
export interface Line extends Subject, Charge {
  /** Unique: a line that is written again is the same line. */
  readonly id: string
  /** Milliseconds of the store's clock when it was booked. */
  readonly at: number
  /** Nano-USD; negative where money came back. */
  readonly amount: number
  readonly postings: ReadonlyArray<Posting>
}

/** What a report can tell apart. */
export type Dimension = "day" | "provider" | "model" | "tenant" | "user" | "feature"

/** Which lines are summed, and what is told apart. */
export interface Query {
  /** What is told apart; all else is summed. */
  readonly by: ReadonlyArray<Dimension>
  /** First calendar day, included: `"2026-11-28"`. Default: as far back as lines are kept. */
  readonly from?: string | undefined
  /** Last calendar day, included. Default: the last one that is kept. */
  readonly until?: string | undefined
  /** Only of this tenant. Default: of all, and of callers without one. */
  readonly tenant?: string | undefined
}

/** Of the dimensions only those that were asked for are there, and of those only the ones that the charge had. */
export interface Sum extends Partial<Pick<Subject, Dimension>> {
  /** Lines that are a charge: attempts that cost something, by hand or not. */
  readonly charges: number
  /** Nano-USD. */
  readonly amount: number
  readonly saved: number
  readonly tokens: Tokens
}

/** A counter that does not say what the lines say; open reservations are taken into account. */
export interface Mismatch {
  readonly account: string
  readonly slot: number
  readonly counted: number
  readonly recorded: number
}

/** Questions to a ledger. Each waits for its store as long as that lets it take, and fails with `StoreUnavailable`. */
export interface Service {
  /** Sums of the lines, the largest amount first. */
  readonly report: (query: Query) => Effect.Effect<ReadonlyArray<Sum>, StoreUnavailable>
  /** The last lines, newest first. Default 100, at most 1,000. */
  readonly lines: (limit?: number) => Effect.Effect<ReadonlyArray<Line>, StoreUnavailable>
  /**
   * Recomputes the counters whose window still counts from the lines, and answers those that differ: none, as long as every
   * settle was told to the store and none was forgotten by it.
   */
  readonly check: Effect.Effect<ReadonlyArray<Mismatch>, StoreUnavailable>
  /**
   * Takes tenant, user, feature, run and note out of the tenant's lines: sums stay what they are. Counters keep the name
   * until their window ends.
   */
  readonly forget: (tenant: string) => Effect.Effect<void, StoreUnavailable>
}

/** A ledger that outlives the store whose lines it keeps, and can give its counters back. */
export interface Durable extends Service {
  /** Lines that are there already are left as they are. */
  readonly append: (lines: ReadonlyArray<Line>) => Effect.Effect<void, StoreUnavailable>
  /** What the lines sum up to in every counter that ends after `now`. */
  readonly totals: (now: number) => Effect.Effect<ReadonlyArray<Posting>, StoreUnavailable>
}
