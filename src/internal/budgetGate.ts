/** A budget as the gate of model calls: what an attempt reserves, and what it is charged. */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as AiError from "effect/ai/AiError"
import type { Call, Claim, Reserving, Settlement } from "../Gate.ts"
import type { Charge, Subject } from "../Ledger.ts"
import { BudgetExceeded, type Reason, Unpriced } from "../LlmError.ts"
import type { Denied, Entry, Quota } from "../QuotaStore.ts"
import type { Cost } from "../Pricing.ts"
import { bare } from "./bare.ts"
import type { Meter } from "./budgetAlerts.ts"
import { type Bill, billOf, type Quoted } from "./budgetCharge.ts"
import type { Counted } from "./budgetLimits.ts"
import type { Purse, Share } from "./purse.ts"

const name = "budget"

export const gateOf = (purse: Purse): Reserving => ({
  _tag: "Reserving",
  name,
  store: purse.store,
  claim: (call) => {
    const tokens = purse.tokensOf(call)
    const at = purse.now()
    const cost = purse.pricing.quote(call.provider, tokens, at, purse.settings.strict)
    if (cost === undefined) return refusing(new Unpriced())
    if (purse.settings.strict && call.request.maxOutputTokens === undefined) return refusing(unbounded())
    return new Attempt(
      purse,
      call,
      { call: call.provider, at, inputTokens: tokens.input, reserved: cost.nanoUsd },
      cost
    )
  }
})

const refusing = (reason: Reason): Claim => ({
  entries: [],
  turn: Effect.fail(reason),
  denied: () => Effect.fail(reason),
  actual: () => []
})

const unbounded = () =>
  new AiError.InvalidRequestError({
    parameter: "maxOutputTokens",
    description: "A strict budget needs maxOutputTokens: without it nothing bounds what the answer costs"
  })

/** How often an attempt asks again whose window ended while it asked. */
const maxRenewals = 3

class Attempt implements Claim {
  readonly turn: Effect.Effect<void, Reason> | undefined
  private readonly purse: Purse
  private readonly call: Call
  private readonly quoted: Quoted
  private readonly shares: ReadonlyArray<Share>
  private readonly subject: Subject
  private quotas: ReadonlyArray<Quota> = []
  private meters: ReadonlyArray<Meter> | undefined
  private bill: Bill | undefined
  private renewals = 0

  constructor(purse: Purse, call: Call, quoted: Quoted, { prices }: Cost) {
    this.purse = purse
    this.call = call
    this.quoted = quoted
    this.shares = purse.sharesOf(call.caller, call.provider)
    this.subject = purse.subjectOf(call, prices, quoted.at)
    const large = purse.settings.enforces ? purse.tooLarge(call.caller, quoted.reserved) : undefined
    if (large !== undefined) this.turn = Effect.fail(this.exceeded(large, large.limit, undefined))
  }

  get entries(): ReadonlyArray<Entry> {
    const now = this.purse.now()
    const { outage } = this.purse.settings
    this.quotas = this.shares.map(({ limit }) => limit.quotaAt(now))
    return this.shares.map(({ key, limit }) => ({
      key,
      amount: this.quoted.reserved,
      quota: limit.quotaAt(now),
      subject: this.subject,
      outage
    }))
  }

  /** Asks again only where the store's clock is ahead and the window has ended there. */
  denied({ entry, now, remaining, retryAfter }: Denied): Effect.Effect<void, Reason> {
    this.purse.learnTime(now)
    const share = this.shares[entry]
    const quota = this.quotas[entry]
    if (share === undefined || quota === undefined) return Exit.die(new Error(`the store denied entry ${entry}`))
    if (retryAfter === undefined && isPast(quota, now) && this.renewals++ < maxRenewals) return Exit.void
    const meter = this.purse.meterOf(share, quota)
    const told = this.purse.alerts.passed(meter, true) ?? Exit.void
    const refused = Effect.fail(this.exceeded(share.limit, remaining[entry] ?? 0, retryAfter))
    return Effect.andThen(told, refused)
  }

  granted(remaining: ReadonlyArray<number>, now: number): void {
    this.purse.learnTime(now)
    const { reserved } = this.quoted
    this.meters = this.shares.map((share, i) => {
      const quota = this.quotas[i] ?? share.limit.quotaAt(now)
      const meter = this.purse.meterOf(share, quota)
      meter.open += reserved
      meter.spent = Math.max(0, limitOf(quota) - (remaining[i] ?? 0) - meter.open)
      if (!this.purse.settings.enforces && meter.spent + meter.open > share.limit.limit) this.purse.let(share.limit)
      return meter
    })
  }

  actual(settlement: Settlement): ReadonlyArray<number> {
    this.bill = billOf(this.purse, this.quoted, settlement)
    const amount = this.bill?.amount ?? 0
    for (const [i, meter] of this.meters?.entries() ?? []) {
      meter.open -= this.quoted.reserved
      if (meter.quota === this.quotas[i]) meter.spent += amount
    }
    return this.shares.map(() => amount)
  }

  charge(): Charge | undefined {
    return this.bill?.charge
  }

  over(settlement: Settlement): Effect.Effect<void> | undefined {
    const { caller, provider } = this.call
    const output = settlement.usage?.outputTokens.total
    if (output !== undefined) this.purse.expected.learn(provider.model, caller.feature, output)
    const { error } = settlement
    if (error?.phase === "refused" && error.reason._tag === "BudgetExceeded") this.purse.refused(error.reason)
    let told: Effect.Effect<void> | undefined
    for (const meter of this.meters ?? []) {
      this.purse.measure(meter)
      const passed = this.purse.alerts.passed(meter)
      if (passed !== undefined) told = told === undefined ? passed : Effect.andThen(told, passed)
    }
    return told
  }

  private exceeded(
    { limit, name, window }: Counted,
    remaining: number,
    retryAfter: Duration.Duration | undefined
  ): BudgetExceeded {
    return bare(BudgetExceeded, {
      _tag: "BudgetExceeded",
      budget: name,
      window,
      limit,
      remaining,
      requested: this.quoted.reserved,
      ...(this.purse.settings.onExceeded === "fail" ? { final: true } : {}),
      ...(retryAfter === undefined ? {} : { retryAfter })
    })
  }
}

const limitOf = (quota: Quota): number => (quota._tag === "Bucket" ? quota.capacity : quota.limit)

const isPast = (quota: Quota, now: number): boolean =>
  quota._tag === "Window" && (now >= quota.endsAt || now < quota.startsAt)
