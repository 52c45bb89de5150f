/** What a program may ask of a budget, and book by hand. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import * as Caller from "../Caller.ts"
import { type Charge, nanoPerUsd } from "../Ledger.ts"
import { LlmError, type StoreUnavailable, Unpriced } from "../LlmError.ts"
import { LlmProvider } from "../LlmProvider.ts"
import * as LlmRequest from "../LlmRequest.ts"
import type { Counted, Priced } from "./budgetLimits.ts"
import { between } from "./options.ts"
import type { Usage } from "../LlmResponse.ts"
import { identify, type Purse, type Share } from "./purse.ts"

/** What one limit has left for a caller. */
export interface Remaining {
  readonly budget: string
  readonly window: Counted["window"]
  readonly owner: string
  /** Nano-USD. What is reserved counts as spent; negative `remaining` is a debt. */
  readonly limit: number
  readonly spent: number
  readonly remaining: number
  /** Until nothing of it is spent, as far as time alone decides. */
  readonly resetAfter: Duration.Duration
}

/** A charge by hand: what was paid, or came back, beside the calls that the budget saw. */
export interface Adjustment {
  /** To whole nano-USD; negative where money came back. Up to 9,007,199 either way, all else throws `RangeError`. */
  readonly usd: number
  /** Why: it stays in the ledger. */
  readonly note: string
  /** Booked once under the same id. Default: a random one. */
  readonly id?: string | undefined
  /** Who was paid. Default `"manual"`. */
  readonly provider?: string | undefined
  /** For what. Default `"manual"`. */
  readonly model?: string | undefined
}

/** An answer that cost nothing. */
export interface Saving {
  /** Who would have answered, and with how much. */
  readonly provider: string
  readonly model: string
  readonly usage: Usage
}

export const remaining = (purse: Purse, of: Priced): Effect.Effect<ReadonlyArray<Remaining>, StoreUnavailable> =>
  Effect.flatMap(Caller.Caller, (caller) => {
    const shares = purse.sharesOf(caller, of)
    const now = purse.now()
    const asked = shares.map(({ key, limit }) => ({ key, quota: limit.quotaAt(now) }))
    return Effect.map(purse.store.read(asked), (states) =>
      shares.map(({ limit, owner }, i): Remaining => {
        const state = states[i]
        const quota = asked[i]?.quota
        const whole = quota === undefined || quota._tag === "Bucket" ? limit.limit : quota.limit
        const spent = state === undefined ? 0 : whole - state.remaining
        return {
          budget: limit.name,
          window: limit.window,
          owner,
          limit: limit.limit,
          spent,
          remaining: limit.limit - spent,
          resetAfter: state?.resetAfter ?? Duration.zero
        }
      })
    )
  })

/** Whether a reservation of the call would be granted now, with the provider at hand. */
export const canAfford = (purse: Purse, input: LlmRequest.Input): Effect.Effect<boolean, LlmError, LlmProvider> =>
  Effect.gen(function* () {
    const provider = yield* LlmProvider
    const caller = yield* Caller.Caller
    const failed = (reason: LlmError["reason"]) =>
      new LlmError({ provider: provider.provider, model: provider.model, reason, phase: "refused" })
    const request = yield* Effect.mapError(LlmRequest.make(input), failed)
    const tokens = purse.tokensOf({ caller, provider, request })
    const cost = purse.pricing.quote(provider, tokens, purse.now(), purse.settings.strict)
    if (cost === undefined) return yield* failed(new Unpriced())
    if (purse.tooLarge(caller, cost.nanoUsd) !== undefined) return false
    const left = yield* Effect.mapError(remaining(purse, provider), failed)
    return left.every(({ remaining }) => remaining >= cost.nanoUsd)
  })

const mostUsd = Math.floor(Number.MAX_SAFE_INTEGER / nanoPerUsd)
const manual: Priced = { provider: "manual", model: "manual" }

/** For the running caller, in the windows of now. */
export const adjust = (purse: Purse, adjustment: Adjustment): Effect.Effect<void, StoreUnavailable> => {
  const usd = between("Budget.adjust: usd", adjustment.usd, -mostUsd, mostUsd)
  const amount = Math.round(usd * nanoPerUsd)
  const of = { provider: adjustment.provider ?? manual.provider, model: adjustment.model ?? manual.model }
  return post(purse, of, amount, { outcome: "adjusted", note: adjustment.note }, adjustment.id)
}

export const save = (purse: Purse, { model, provider, usage }: Saving): Effect.Effect<void, StoreUnavailable> =>
  Effect.suspend(() => {
    const saved = purse.pricing.cost({ provider, model }, usage, purse.now())?.nanoUsd
    return saved === undefined ? Effect.void : saveNano(purse, { provider, model }, saved)
  })

export const saveNano = (purse: Purse, of: Priced, saved: number): Effect.Effect<void, StoreUnavailable> =>
  post(purse, of, 0, { outcome: "saved", saved })

const post = (purse: Purse, of: Priced, amount: number, charge: Charge, given?: string) =>
  Effect.gen(function* () {
    const caller = yield* Caller.Caller
    const id = given ?? `manual.${(yield* Random.nextInt).toString(36)}.${(yield* Random.nextInt).toString(36)}`
    const now = purse.now()
    const day = purse.settings.dayAt(now)
    const subject = identify({ call: id, ...of, day, prices: purse.pricing.date }, caller)
    const entryOf = ({ key, limit }: Share) => ({ key, amount, quota: limit.quotaAt(now) })
    const entries = amount === 0 ? [] : purse.sharesOf(caller, of).map(entryOf)
    yield* purse.ledger.post({ id, amount, subject, charge, entries })
  })
