/** What a budget is made of: its limits, its prices, the store that counts, and what it learned. */
import type * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import type * as Metric from "effect/Metric"
import type * as Attempts from "../Attempts.ts"
import type * as Caller from "../Caller.ts"
import type { Call } from "../Gate.ts"
import { nanoPerUsd, type Subject } from "../Ledger.ts"
import * as Metrics from "../Metrics.ts"
import type { Service as Pricing } from "../Pricing.ts"
import type { Entry, LedgerStore, Quota, Service as Store } from "../QuotaStore.ts"
import * as Tokens from "../Tokens.ts"
import type { Alerts, Meter } from "./budgetAlerts.ts"
import type { OnLost, Terms } from "./budgetCharge.ts"
import type { Counted, Priced } from "./budgetLimits.ts"
import { Recent } from "./recent.ts"

export interface Settings {
  readonly limits: ReadonlyArray<Counted>
  readonly strict: boolean
  readonly enforces: boolean
  readonly onExceeded: "next" | "fail"
  readonly onLost: OnLost
  /** Milliseconds. */
  readonly maxWait: number
  readonly drainFor: number | undefined
  readonly dayAt: (at: number) => string
  /** What becomes of its entries while a shared store does not answer. */
  readonly outage: Entry["outage"]
}

/** One limit as it counts for one caller. */
export interface Share {
  readonly limit: Counted
  readonly owner: string
  readonly key: string
}

export interface Parts {
  readonly settings: Settings
  readonly store: Store
  readonly ledger: LedgerStore
  readonly pricing: Pricing
  readonly tokens: Tokens.Service
  readonly clock: Clock.Clock
  readonly alerts: Alerts
  readonly context: Context.Context<never>
}

export class Purse implements Terms {
  readonly settings: Settings
  readonly store: Store
  readonly ledger: LedgerStore
  readonly pricing: Pricing
  readonly tokens: Tokens.Service
  readonly alerts: Alerts
  /** Calls that wait for others to be settled. */
  waiting = 0
  readonly expected = new Tokens.ExpectedOutput()
  private readonly limits: ReadonlyArray<{ readonly limit: Counted; readonly shares: Recent<Share> }>
  private readonly clock: Clock.Clock
  private readonly context: Context.Context<never>
  /** What the store's clock is ahead of ours, in milliseconds. */
  private offset = 0
  private readonly names = new WeakMap<Attempts.Ledger, string>()
  private readonly metrics = new Map<Counted, LimitMetrics>()

  constructor(parts: Parts) {
    this.settings = parts.settings
    this.limits = parts.settings.limits.map((limit) => {
      return { limit, shares: new Recent((owner) => ({ limit, owner, key: limit.key + owner })) }
    })
    this.store = parts.store
    this.ledger = parts.ledger
    this.pricing = parts.pricing
    this.tokens = parts.tokens
    this.alerts = parts.alerts
    this.clock = parts.clock
    this.context = parts.context
  }

  get onLost(): OnLost {
    return this.settings.onLost
  }

  /** The store's time, as far as it was heard of: it decides where windows begin and end. */
  now(): number {
    return this.clock.currentTimeMillisUnsafe() + this.offset
  }

  localNow(): number {
    return this.clock.currentTimeMillisUnsafe()
  }

  learnTime(now: number): void {
    this.offset = now - this.clock.currentTimeMillisUnsafe()
  }

  /** What is reserved for: what a strict budget can be sure of, else what is to be expected. */
  tokensOf({ caller, provider, request }: Pick<Call, "caller" | "provider" | "request">) {
    if (this.settings.strict) {
      return { input: Tokens.upperBound(request), output: request.maxOutputTokens ?? Infinity }
    }
    const output = this.expected.expect(provider.model, caller.feature, request.maxOutputTokens)
    return { input: this.tokens.estimate(request).input, output }
  }

  sharesOf(caller: Caller.Identity, call: Priced): ReadonlyArray<Share> {
    const shares: Array<Share> = []
    for (const { limit, shares: known } of this.limits) {
      if (limit.perCall && caller.run === undefined) continue
      const owner = limit.of(caller, call)
      if (owner !== undefined) shares.push(known.get(owner))
    }
    return shares
  }

  /** A limit per run that this call alone would exceed: without a run it is counted nowhere else. */
  tooLarge(caller: Caller.Identity, amount: number): Counted | undefined {
    return this.settings.limits.find(({ limit, perCall }) => perCall && caller.run === undefined && amount > limit)
  }

  subjectOf(call: Call, prices: string, at: number): Subject {
    const { attempts, caller, provider } = call
    const known = attempts && this.names.get(attempts)
    const name = known ?? call.unique()
    if (known === undefined && attempts !== undefined) this.names.set(attempts, name)
    const day = this.settings.dayAt(at)
    return identify({ call: name, provider: provider.provider, model: provider.model, day, prices }, caller)
  }

  meterOf({ key, limit, owner }: Share, quota: Quota): Meter {
    return this.alerts.meterOf(limit, owner, key, quota)
  }

  /** The gauges have no owners: they are of the limits that all share. */
  measure({ limit, owner, spent }: Meter): void {
    if (owner !== limit.name) return
    const gauges = this.metricsOf(limit)
    gauges.spent.updateUnsafe(spent / nanoPerUsd, this.context)
    gauges.remaining.updateUnsafe((limit.limit - spent) / nanoPerUsd, this.context)
  }

  refused(limit: Counted): void {
    this.metricsOf(limit).refused.updateUnsafe(1, this.context)
  }

  /** Of a budget in shadow mode. */
  let(limit: Counted): void {
    this.metricsOf(limit).shadow.updateUnsafe(1, this.context)
  }

  private metricsOf(limit: Counted): LimitMetrics {
    const known = this.metrics.get(limit)
    if (known !== undefined) return known
    const name = `${limit.name} per ${limit.window}`
    const made = {
      spent: Metrics.budgetSpent(name),
      remaining: Metrics.budgetRemaining(name),
      refused: Metrics.budgetRefused(name),
      shadow: Metrics.budgetShadow(name)
    }
    this.metrics.set(limit, made)
    return made
  }
}

type LimitMetrics = Record<"spent" | "remaining" | "refused" | "shadow", Metric.Metric<number, unknown>>

/** Adds what the caller has: an absent field is no field. */
export const identify = (subject: Changing<Subject>, { feature, run, tenant, user }: Caller.Identity): Subject => {
  if (tenant !== undefined) subject.tenant = tenant
  if (user !== undefined) subject.user = user
  if (feature !== undefined) subject.feature = feature
  if (run !== undefined) subject.run = run
  return subject
}

type Changing<A> = { -readonly [K in keyof A]: A[K] }
