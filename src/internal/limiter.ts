/** The inside of a limiter: which limits a call meets, under which keys, and what it asks for. */
import type * as Clock from "effect/Clock"
import type * as Effect from "effect/Effect"
import type * as Attempts from "../Attempts.ts"
import type * as Caller from "../Caller.ts"
import type { Service as Provider } from "../LlmProvider.ts"
import type { LlmRequest } from "../LlmRequest.ts"
import type { Denied, Entry, Service as Store } from "../QuotaStore.ts"
import type * as Tokens from "../Tokens.ts"
import { ExpectedOutput } from "./expectedOutput.ts"
import { amountOf, type Cost, type Counted, type CountedScope, entryOf, keyOf, type Slot, slotsOf } from "./limits.ts"
import { MemoryQuotaStore } from "./memoryQuotaStore.ts"
import { Pool } from "./pool.ts"
import { type Bounds, Lines, pause, refused, Visit } from "./queueing.ts"
import type { RateLimitExceeded } from "./reasons.ts"
import type { Account } from "./account.ts"
import { Recent } from "./recent.ts"
import type { TokenCount } from "./tokenCount.ts"

export interface Settings {
  readonly limits: ReadonlyArray<Counted>
  readonly scopes: ReadonlyArray<CountedScope>
  readonly count: TokenCount
  readonly pool: string | undefined
  /** Counts and tells, and lets everything go. */
  readonly shadow: boolean
  /** False where a limit makes a call fail at once. */
  readonly waits: boolean
  readonly maxQueue: number
  readonly maxQueuePerTenant: number
  readonly maxWait: number
  /** Milliseconds. */
  readonly pause: number
}

/** What there is to tell. */
export interface Watcher {
  readonly waiting: (change: number) => void
  readonly waited: (millis: number) => void
  readonly refused: (why: RateLimitExceeded["why"]) => void
  readonly let: (limit: string) => void
}

/** All limits that one call meets, and the lines in front of them: those of the scopes, then that of the pool or key. */
export interface Plan {
  readonly slots: ReadonlyArray<Slot>
  readonly lines: ReadonlyArray<string>
}

export class Limiter {
  readonly settings: Settings
  readonly store: Store
  readonly tokens: Tokens.Service
  readonly watcher: Watcher
  readonly lines: Lines
  readonly expected = new ExpectedOutput()
  private readonly clock: Clock.Clock
  private readonly pools = new WeakMap<Provider, Pool>()
  private readonly named = new Map<string, Pool>()
  private readonly keys: Recent<Plan>
  /** What costs one under a key where that is a unit of one bucket in this process. */
  private readonly units: Units | undefined
  private readonly scoped: ReadonlyArray<Recent<ReadonlyArray<Slot>>>
  private readonly cameAt = new WeakMap<Attempts.Ledger, number>()
  private readonly countsTokens: boolean

  constructor(settings: Settings, store: Store, tokens: Tokens.Service, clock: Clock.Clock, watcher: Watcher) {
    const { limits, maxQueue, maxQueuePerTenant, maxWait, scopes } = settings
    this.settings = settings
    this.store = store
    this.tokens = tokens
    this.clock = clock
    this.watcher = watcher
    const shared = store.shared !== undefined
    this.lines = new Lines({ maxQueue, maxQueuePerTenant, maxWait, shared, watch: watcher.waiting })
    this.keys = new Recent((key) => {
      return { slots: this.ownSlots(`key:${key}`), lines: this.linesOf(`key:${key}`) }
    })
    this.units = scopes.length === 0 ? Units.of(limits, store) : undefined
    this.scoped = scopes.map((scope, i) => new Recent((value) => slotsOf(scope.limits, `scope:${value}`, i)))
    this.countsTokens = [...limits, ...scopes.flatMap((scope) => scope.limits)].some(
      ({ count }) => count !== "requests" && count !== "concurrency"
    )
  }

  now(): number {
    return this.clock.currentTimeMillisUnsafe()
  }

  poolOf(provider: Provider): Pool {
    const known = this.pools.get(provider)
    if (known !== undefined) return known
    const name = `pool:${this.settings.pool ?? `${provider.endpoint}|${provider.credential}`}`
    const pool = this.named.get(name) ?? new Pool(name, this.ownSlots(name), this.store, this.settings.pause)
    this.named.set(name, pool)
    this.pools.set(provider, pool)
    return pool
  }

  /** The limits under a key, without those of the caller. */
  ownOf(key: string): Plan {
    return this.keys.get(key)
  }

  /** Takes what costs one if that can be had at once for a look at one bucket; false says nothing. */
  takesUnit(key: string): boolean {
    return this.units?.take(key) === true
  }

  get hasScopes(): boolean {
    return this.scoped.length > 0
  }

  /** With the limits of whoever calls. */
  planFor(own: Plan, caller: Caller.Identity): Plan {
    if (!this.hasScopes) return own
    const slots = [...own.slots]
    const lines = [...own.lines]
    for (const [i, scope] of this.settings.scopes.entries()) {
      const value = scope.of(caller)
      if (value === undefined) continue
      lines[i] = `scope:${value}`
      slots.push(...(this.scoped[i]?.get(value) ?? []))
    }
    return { slots, lines }
  }

  planOf(pool: Pool, caller: Caller.Identity): Plan {
    return this.planFor({ slots: pool.slots, lines: this.linesOf(pool.name) }, caller)
  }

  costOf(provider: Provider, request: LlmRequest, caller: Caller.Identity): Cost {
    if (!this.countsTokens) return oneRequest
    const { maxOutputTokens } = request
    const expected = this.expected.expect(provider.model, caller.feature, maxOutputTokens)
    const outputTokens = this.settings.count === "openai" ? (maxOutputTokens ?? expected) : expected
    return { requests: 1, inputTokens: this.tokens.estimate(request).input, outputTokens }
  }

  /** When a call first had to wait: its retries keep their place among those of its tenant. */
  firstCameAt(attempts: Attempts.Ledger | undefined, now: number): number {
    const known = attempts && this.cameAt.get(attempts)
    if (known === undefined && attempts !== undefined) this.cameAt.set(attempts, now)
    return known ?? now
  }

  private ownSlots(owner: string): ReadonlyArray<Slot> {
    return slotsOf(this.settings.limits, owner, this.settings.scopes.length)
  }

  /** Scopes that do not concern a caller have no line. */
  private linesOf(owner: string): ReadonlyArray<string> {
    return [...this.settings.scopes.map(() => ""), owner]
  }
}

/** The buckets of one limit, by the keys that callers give. */
class Units {
  private readonly store: MemoryQuotaStore
  private readonly accounts: Recent<Account>

  static of(limits: ReadonlyArray<Counted>, store: Store): Units | undefined {
    const [only] = limits
    if (limits.length !== 1 || only?.count !== "requests" || only.quota._tag !== "Bucket") return undefined
    return store instanceof MemoryQuotaStore ? new Units(store, only) : undefined
  }

  private constructor(store: MemoryQuotaStore, limit: Counted) {
    this.store = store
    this.accounts = new Recent((key) => store.bucket({ key: keyOf(`key:${key}`, limit), quota: limit.quota }))
  }

  take(key: string): boolean {
    const account = this.accounts.get(key)
    return this.store.takeUnit(account.kept ? account : this.accounts.renew(key))
  }
}

const oneRequest: Cost = { requests: 1, inputTokens: 0, outputTokens: 0 }

/** One that wants something of its plan: what it asks the store for, and how it waits. */
export class Applicant {
  readonly entries: ReadonlyArray<Entry>
  readonly turn: Effect.Effect<void, RateLimitExceeded> | undefined
  protected readonly limiter: Limiter
  protected readonly plan: Plan
  private readonly pool: Pool | undefined
  private readonly bounds: () => Omit<Bounds, "limitOf">
  private visit: Visit | undefined

  constructor(
    limiter: Limiter,
    plan: Plan,
    cost: Cost,
    now: number,
    bounds: () => Omit<Bounds, "limitOf">,
    pool?: Pool,
    entries?: ReadonlyArray<Entry>
  ) {
    this.limiter = limiter
    this.plan = plan
    this.pool = pool
    this.bounds = bounds
    this.entries = entries ?? plan.slots.map((slot) => entryOf(slot, amountOf(cost, slot.limit.count)))
    const large = plan.slots.find((slot, i) => (this.entries[i]?.amount ?? 0) > slot.limit.most)
    if (large !== undefined) this.turn = refused(large.limit.name, "larger-than-limit", undefined)
    else if (limiter.lines.size > 0 || (pool !== undefined && pool.closedUntil(now) > now))
      this.turn = this.visiting().turn(now)
    if (pool !== undefined && limiter.store.shared !== undefined) this.entries = [...this.entries, pool.pauseEntry]
  }

  denied({ entry, retryAfter }: Denied): Effect.Effect<void, RateLimitExceeded> {
    const line = this.plan.slots[entry]?.line ?? this.plan.lines.length - 1
    return this.visiting().denied(line, retryAfter, this.limitAt(entry))
  }

  /** As errors name it. */
  limitAt(entry: number): string {
    return this.plan.slots[entry]?.limit.name ?? pause
  }

  /** It has what it wanted: the next one's turn. */
  granted(): void {
    if (this.visit !== undefined) {
      const waited = this.visit.leave(true, this.limiter.now())
      if (waited !== undefined) this.limiter.watcher.waited(waited)
    }
    this.pool?.goes(this, this.limiter.now())
  }

  /** It is gone, whether or not it got anything. */
  gone(): void {
    this.visit?.leave(false)
  }

  /** What it took is there again: who waits for it asks anew. */
  returned(): void {
    this.limiter.lines.poke(this.plan.lines)
  }

  private visiting(): Visit {
    this.visit ??= new Visit(
      this.limiter.lines,
      this.plan.lines,
      { ...this.bounds(), limitOf: (line) => this.plan.slots.find((slot) => slot.line === line)?.limit.name ?? pause },
      this.pool && ((now) => this.pool?.closedUntil(now) ?? -Infinity)
    )
    return this.visit
  }
}
