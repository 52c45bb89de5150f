/** A budget as the gate of model calls: what an attempt reserves, and what it is charged. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
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
  drainFor: purse.settings.drainFor,
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
  turn: Exit.fail(reason),
  denied: () => Exit.fail(reason),
  actual: () => []
})

const unbounded = () =>
  new AiError.InvalidRequestError({
    parameter: "maxOutputTokens",
    description: "A strict budget needs maxOutputTokens: without it nothing bounds what the answer costs"
  })

/** How often an attempt asks again whose window ended while it asked. */
const maxRenewals = 3

/** Most that wait for one limit; more are refused. */
const maxWaiting = 1000

class Attempt implements Claim {
  readonly turn: Effect.Effect<void, Reason> | undefined
  private readonly purse: Purse
  private readonly call: Call
  private readonly quoted: Quoted
  private readonly shares: ReadonlyArray<Share>
  private readonly subject: Subject
  /** One for each share, as they were asked for last. */
  private meters: ReadonlyArray<Meter> = []
  private quotas: ReadonlyArray<Quota> = []
  private holds = false
  private bill: Bill | undefined
  private renewals = 0

  constructor(purse: Purse, call: Call, quoted: Quoted, { prices }: Cost) {
    this.purse = purse
    this.call = call
    this.quoted = quoted
    this.shares = purse.sharesOf(call.caller, call.provider)
    this.subject = purse.subjectOf(call, prices, quoted.at)
    if (call.note !== undefined) call.note.reserved = quoted.reserved
    const large = purse.settings.enforces ? purse.tooLarge(call.caller, quoted.reserved) : undefined
    if (large !== undefined) {
      purse.refused(large)
      this.turn = Exit.fail(this.exceeded(large, large.limit, undefined))
    } else if (purse.waiting > 0 && call.mayWait) {
      this.meters = this.measured()
      const busy = this.meters.find(({ waiting }) => waiting.length > 0)
      // who came before goes first, also where there is room for this one
      if (busy !== undefined) this.turn = this.waiting(busy, false)
    }
  }

  get entries(): ReadonlyArray<Entry> {
    const { outage } = this.purse.settings
    this.meters = this.measured()
    return this.shares.map(({ key }, i) => ({
      key,
      amount: this.quoted.reserved,
      quota: this.quotas[i]!, // made together with the meters
      subject: this.subject,
      outage
    }))
  }

  private measured(): ReadonlyArray<Meter> {
    const now = this.purse.now()
    this.quotas = this.shares.map(({ limit }) => limit.quotaAt(now))
    return this.shares.map((share, i) => this.purse.meterOf(share, this.quotas[i]!)) // as many
  }

  /**
   * Asks again where the window has ended by the store's clock, and when what calls of this process hold may be given back;
   * what is spent is refused at once.
   */
  denied({ entry, now, remaining, retryAfter }: Denied): Effect.Effect<void, Reason> {
    this.purse.learnTime(now)
    const [share, meter, quota] = [this.shares[entry], this.meters[entry], this.quotas[entry]]
    if (share === undefined || meter === undefined || quota === undefined)
      return Exit.die(new Error(`the store denied entry ${entry}, which was not asked for`))
    if (retryAfter === undefined && isPast(quota, now) && this.renewals++ < maxRenewals) return Exit.void
    const left = remaining[entry] ?? 0
    meter.spent = Math.max(0, limitOf(quota) - left - meter.open)
    const fits = meter.spent + this.quoted.reserved <= share.limit.limit
    if (fits && meter.open > 0)
      return this.call.mayWait ? this.waiting(meter, true) : this.refused(entry, left, undefined)
    return this.refused(entry, left, retryAfter)
  }

  private refused(
    entry: number,
    left: number,
    retryAfter: Duration.Duration | undefined
  ): Effect.Effect<never, Reason> {
    const [share, meter] = [this.shares[entry]!, this.meters[entry]!] // as `denied` has seen
    this.purse.refused(share.limit)
    const refused = Exit.fail(this.exceeded(share.limit, left, retryAfter))
    const told = this.quoted.reserved > share.limit.limit ? undefined : this.purse.alerts.passed(meter, true)
    return told === undefined ? refused : Effect.andThen(told, refused)
  }

  /** Until something that was reserved is settled, or for as long as it may take. Whoever was woken goes first again. */
  private waiting(meter: Meter, isFirst: boolean): Effect.Effect<void, Reason> {
    return Effect.suspend(() => {
      const entry = this.meters.indexOf(meter)
      const left = meter.limit.limit - meter.spent - meter.open
      const until = Math.min(this.call.startedAt + this.purse.settings.maxWait, this.call.deadline)
      const time = until - this.purse.localNow()
      if (time <= 0 || meter.waiting.length >= maxWaiting) return this.refused(entry, left, undefined)
      const woken = Effect.timeoutOption(this.standing(meter, isFirst), Duration.millis(time))
      return Effect.flatMap(woken, (woken) => (Option.isSome(woken) ? Exit.void : this.refused(entry, left, undefined)))
    })
  }

  private standing(meter: Meter, isFirst: boolean): Effect.Effect<void> {
    return Effect.callback((resume) => {
      let stands = true
      const leave = () => {
        if (stands) this.purse.waiting--
        stands = false
      }
      const wake = () => {
        leave()
        resume(Exit.void)
      }
      this.purse.waiting++
      if (isFirst) meter.waiting.unshift(wake)
      else meter.waiting.push(wake)
      return Effect.sync(() => {
        leave()
        const at = meter.waiting.indexOf(wake)
        if (at >= 0) meter.waiting.splice(at, 1)
      })
    })
  }

  granted(remaining: ReadonlyArray<number>, now: number): void {
    this.purse.learnTime(now)
    this.holds = true
    for (const [i, meter] of this.meters.entries()) {
      meter.open += this.quoted.reserved
      meter.spent = Math.max(0, limitOf(this.quotas[i]!) - (remaining[i] ?? 0) - meter.open) // as many
      if (!this.purse.settings.enforces && meter.spent + meter.open > meter.limit.limit) this.purse.let(meter.limit)
    }
    this.wake()
  }

  actual(settlement: Settlement): ReadonlyArray<number> {
    this.bill = billOf(this.purse, this.quoted, settlement)
    const amount = this.bill?.amount ?? 0
    const { note } = this.call
    if (note !== undefined) {
      note.cost = amount
      if (this.bill?.charge.tokens !== undefined) note.tokens = this.bill.charge.tokens
    }
    if (this.holds) {
      this.holds = false
      for (const [i, meter] of this.meters.entries()) {
        meter.open -= this.quoted.reserved
        if (meter.quota === this.quotas[i]) meter.spent += amount
      }
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
    this.wake()
    let told: Effect.Effect<void> | undefined
    for (const meter of this.meters) {
      this.purse.measure(meter)
      const passed = this.purse.alerts.passed(meter)
      if (passed !== undefined) told = told === undefined ? passed : Effect.andThen(told, passed)
    }
    return told
  }

  /** There may be room, or whoever was woken is gone: the next one's turn. */
  private wake(): void {
    for (const { waiting } of this.meters) waiting.shift()?.()
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
