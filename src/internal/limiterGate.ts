/** A limiter as the gate of model calls: what an attempt asks for, and what its ending teaches. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Random from "effect/Random"
import type { Admitting, Call, Claim, Permit, Reserving, Settlement } from "../Gate.ts"
import { amountOf, type Cost } from "./limits.ts"
import { Applicant, type Limiter, type Plan } from "./limiter.ts"
import type { Pool } from "./pool.ts"
import { usedOf } from "./tokenCount.ts"

const name = "rateLimiter"

export const enforcing = (limiter: Limiter): Reserving => ({
  _tag: "Reserving",
  name,
  store: limiter.store,
  claim: (call) => Attempt.of(limiter, call)
})

class Attempt extends Applicant implements Claim {
  private readonly call: Call
  private readonly home: Pool
  private readonly cost: Cost
  private remaining: ReadonlyArray<number> = []
  private givesBack = false

  static of(limiter: Limiter, call: Call): Attempt {
    const pool = limiter.poolOf(call.provider)
    const cost = limiter.costOf(call.provider, call.request, call.caller)
    return new Attempt(limiter, limiter.planOf(pool, call.caller), cost, call, pool)
  }

  private constructor(limiter: Limiter, plan: Plan, cost: Cost, call: Call, pool: Pool) {
    const bounds = () => ({
      caller: call.caller,
      deadline: call.deadline,
      mayWait: call.mayWait && limiter.settings.waits,
      cameAt: limiter.firstCameAt(call.attempts, limiter.now())
    })
    super(limiter, plan, cost, call.startedAt, bounds, pool)
    this.call = call
    this.home = pool
    this.cost = cost
  }

  override granted(remaining: ReadonlyArray<number> = []): void {
    this.remaining = remaining
    super.granted()
  }

  actual(settlement: Settlement): ReadonlyArray<number> {
    const used = usedOf(this.limiter.settings.count, this.cost, settlement)
    return this.plan.slots.map((slot, i) => {
      const amount = slot.limit.count === "concurrency" ? 0 : amountOf(used, slot.limit.count)
      if (amount < (this.entries[i]?.amount ?? 0)) this.givesBack = true
      return amount
    })
  }

  over(settlement: Settlement): Effect.Effect<void> | undefined {
    this.gone()
    const { error, headers, usage } = settlement
    if (error?.phase === "refused" && error.reason._tag === "RateLimitExceeded") {
      this.limiter.watcher.refused(error.reason.why)
    }
    const output = usage?.outputTokens.total
    if (output !== undefined) this.limiter.expected.learn(this.call.provider.model, this.call.caller.feature, output)
    const told = settlement.phase === "refused" ? undefined : this.told(error, headers)
    if (this.home.over(this)) this.limiter.lines.poke([this.home.name])
    if (this.givesBack) this.returned()
    return told
  }

  /** What the provider said of its limits. */
  private told(error: Settlement["error"], headers: Settlement["headers"]): Effect.Effect<void> | undefined {
    if (error === undefined && headers === undefined) return undefined
    const now = this.limiter.now()
    const paused = error && this.home.pauses(error, now)
    const heard = headers && this.home.heeds(headers, (slot) => this.leftOf(slot), this.call.startedAt, now)
    return paused === undefined || heard === undefined ? (paused ?? heard) : Effect.andThen(paused, heard)
  }

  private leftOf(slot: Plan["slots"][number]): number | undefined {
    return this.remaining[this.plan.slots.indexOf(slot)]
  }
}

const leaseTtl = Duration.seconds(60)

/** Counts and tells as if it enforced, and lets every call go. */
export const shadowing = (limiter: Limiter): Admitting => ({
  _tag: "Admitting",
  name,
  admit: (call) =>
    Effect.flatMap(Random.next, (random) => {
      const attempt = Attempt.of(limiter, call)
      const lease = `shadow.${call.startedAt.toString(36)}.${random.toString(36).slice(2)}`
      const asked = limiter.store.reserve(lease, attempt.entries, leaseTtl)
      return Effect.match(asked, {
        onFailure: () => watching(attempt),
        onSuccess: (answer) => {
          if (answer._tag === "Denied") {
            limiter.watcher.let(attempt.limitAt(answer.entry))
            return watching(attempt)
          }
          attempt.granted(answer.remaining)
          return settling(limiter, lease, attempt)
        }
      })
    })
})

const watching = (attempt: Attempt): Permit => ({ settle: (settlement) => attempt.over(settlement) ?? Exit.void })

const settling = (limiter: Limiter, lease: string, attempt: Attempt): Permit => ({
  settle: (settlement) => {
    const settled = Effect.ignore(limiter.store.settle(lease, attempt.actual(settlement)))
    return Effect.andThen(
      settled,
      Effect.suspend(() => attempt.over(settlement) ?? Exit.void)
    )
  }
})
