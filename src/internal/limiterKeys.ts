/** A limiter for any effect: what is taken under keys of the program's own. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Effectable from "effect/Effectable"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Random from "effect/Random"
import * as Attempts from "../Attempts.ts"
import * as Caller from "../Caller.ts"
import * as Deadline from "../Deadline.ts"
import type { Denied, Entry, Granted, State } from "../QuotaStore.ts"
import { amountOf, type Cost, entryOf } from "./limits.ts"
import { Applicant, type Limiter, type Plan } from "./limiter.ts"
import { onTheSpot } from "./onTheSpot.ts"
import { integer } from "./options.ts"
import { refused } from "./queueing.ts"
import type { RateLimitExceeded, StoreUnavailable } from "./reasons.ts"

/** A number is so many requests; what is not named costs nothing. */
export type CostInput =
  | number
  | {
      readonly requests?: number | undefined
      readonly inputTokens?: number | undefined
      readonly outputTokens?: number | undefined
    }

type Refusal = RateLimitExceeded | StoreUnavailable

type Asked = Effect.Effect<Granted | Denied, StoreUnavailable>

const leaseTtl = Duration.seconds(60)

/** Waits until there is room and takes it for good. */
export const acquire = (limiter: Limiter, key: string, input: CostInput): Effect.Effect<void, Refusal> => {
  const cost = costOf(input)
  return cost === one ? new AcquireOne(limiter, key) : acquiring(limiter, key, cost)
}

const acquiring = (limiter: Limiter, key: string, cost: Cost): Effect.Effect<void, Refusal> => {
  const { shadow, waits } = limiter.settings
  if (waits || shadow || limiter.hasScopes) return waiting(limiter, key, cost)
  return Effect.suspend(() => atOnce(limiter, limiter.ownOf(key), cost))
}

/** An effect without a closure. Where nobody waits and there is room, no more than that happens. */
class AcquireOne extends Effectable.Class<void, Refusal> {
  private readonly limiter: Limiter
  private readonly key: string

  constructor(limiter: Limiter, key: string) {
    super()
    this.limiter = limiter
    this.key = key
  }

  asEffect(): Effect.Effect<void, Refusal> {
    const { key, limiter } = this
    return limiter.lines.size === 0 && limiter.takesUnit(key) ? Exit.void : acquiring(limiter, key, one)
  }
}

const waiting = (limiter: Limiter, key: string, cost: Cost): Effect.Effect<void, Refusal> =>
  Effect.withFiber((fiber) => {
    const { settings, store } = limiter
    if (!settings.waits && !settings.shadow) return atOnce(limiter, planOf(limiter, fiber, key), cost)
    const applicant = applying(limiter, fiber, key, cost)
    const ask = () => store.take(applicant.entries)
    return Effect.ensuring(
      admission(limiter, applicant, ask),
      Effect.sync(() => applicant.gone())
    )
  })

/** Where nobody waits there is no queue to care for. */
const atOnce = (limiter: Limiter, { slots }: Plan, cost: Cost): Effect.Effect<void, Refusal> => {
  const entries = slots.map((slot) => entryOf(slot, amountOf(cost, slot.limit.count)))
  const large = slots.find((slot, i) => (entries[i]?.amount ?? 0) > slot.limit.most)
  if (large !== undefined) return refusing(limiter, large, "larger-than-limit", undefined)
  const answered = (answer: Granted | Denied): Effect.Effect<void, Refusal> =>
    answer._tag === "Granted" ? Exit.void : refusing(limiter, slots[answer.entry], "limited", answer.retryAfter)
  const asked = limiter.store.take(entries)
  const exit = onTheSpot(asked)
  return exit !== undefined && Exit.isSuccess(exit) ? answered(exit.value) : Effect.flatMap(asked, answered)
}

const refusing = (
  limiter: Limiter,
  slot: Plan["slots"][number] | undefined,
  why: RateLimitExceeded["why"],
  retryAfter: Duration.Duration | undefined
): Effect.Effect<never, RateLimitExceeded> => {
  limiter.watcher.refused(why)
  return refused(slot?.limit.name ?? "", why, retryAfter && Duration.toMillis(retryAfter))
}

/** Takes what there is room for now and nobody waits for, or nothing. */
export const tryAcquire = (
  limiter: Limiter,
  key: string,
  input: CostInput
): Effect.Effect<boolean, StoreUnavailable> => {
  const cost = costOf(input)
  return Effect.withFiber((fiber) => {
    const { lines, slots } = planOf(limiter, fiber, key)
    if (lines.some((line) => limiter.lines.find(line) !== undefined)) return Effect.succeed(false)
    const entries = slots.map((slot) => entryOf(slot, amountOf(cost, slot.limit.count)))
    return Effect.map(limiter.store.take(entries), (answer) => {
      if (answer._tag === "Granted") return true
      if (limiter.settings.shadow) limiter.watcher.let(slots[answer.entry]?.limit.name ?? "")
      return limiter.settings.shadow
    })
  })
}

/** Holds what it takes while the effect runs; one that was refused or left the queue takes nothing. */
export const withPermits = (limiter: Limiter, key: string, input: CostInput) => {
  const cost = costOf(input)
  return <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E | Refusal, R> =>
    Effect.withFiber((fiber) => {
      const applicant = applying(limiter, fiber, key, cost)
      const random = fiber.getRef(Random.Random)
      const lease = `key.${random.nextIntUnsafe().toString(36)}.${random.nextIntUnsafe().toString(36)}`
      let holds = false
      let began = false
      const ask = () => {
        holds = true // from the question on: an answer that is lost may have been carried out
        return Effect.tap(limiter.store.reserve(lease, applicant.entries, leaseTtl), ({ _tag }) => {
          holds = _tag === "Granted"
          return Effect.void
        })
      }
      const run = Effect.suspend(() => {
        began = true
        return self
      })
      const settle = Effect.suspend(() => {
        applicant.gone()
        if (!holds) return Effect.void
        const used = applicant.entries.map((entry) => (began ? keptOf(entry) : 0))
        const settled = Effect.ignore(limiter.store.settle(lease, used))
        if (applicant.entries.every(({ amount }, i) => used[i] === amount)) return settled
        return Effect.map(settled, () => applicant.returned())
      })
      return Effect.onExit(Effect.andThen(admission(limiter, applicant, ask), run), () => settle)
    })
}

/** What is left under a key, limit by limit, without those of the caller. */
export const state = (
  limiter: Limiter,
  slots: Plan["slots"]
): Effect.Effect<ReadonlyArray<LimitState>, StoreUnavailable> =>
  Effect.map(limiter.store.read(slots.map(({ one }) => one)), (states) =>
    slots.flatMap(({ limit }, i) => {
      const state = states[i]
      return state === undefined ? [] : { ...state, name: limit.name, limit: limit.limit }
    })
  )

export interface LimitState extends State {
  /** As errors name it. */
  readonly name: string
  readonly limit: number
}

const admission = (limiter: Limiter, applicant: Applicant, ask: () => Asked): Effect.Effect<void, Refusal> => {
  const { settings, watcher } = limiter
  const asking: Effect.Effect<void, Refusal> = Effect.flatMap(Effect.suspend(ask), (answer) => {
    if (answer._tag === "Granted") applicant.granted()
    else if (settings.shadow) watcher.let(applicant.limitAt(answer.entry))
    else return Effect.andThen(applicant.denied(answer), asking)
    return Effect.void
  })
  const { turn } = applicant
  return Effect.tapError(turn === undefined || settings.shadow ? asking : Effect.andThen(turn, asking), (refusal) =>
    Effect.sync(() => {
      if (refusal._tag === "RateLimitExceeded") watcher.refused(refusal.why)
    })
  )
}

const planOf = (limiter: Limiter, fiber: Fiber.Fiber<unknown, unknown>, key: string): Plan =>
  limiter.planFor(limiter.ownOf(key), fiber.getRef(Caller.Caller))

const applying = (limiter: Limiter, fiber: Fiber.Fiber<unknown, unknown>, key: string, cost: Cost): Applicant => {
  const bounds = () => ({
    caller: fiber.getRef(Caller.Caller),
    deadline: fiber.getRef(Deadline.Deadline),
    mayWait: limiter.settings.waits && fiber.getRef(Attempts.MayWait)
  })
  return new Applicant(limiter, planOf(limiter, fiber, key), cost, limiter.now(), bounds)
}

/** What the end of the effect leaves taken. */
const keptOf = ({ amount, quota }: Entry): number => (quota._tag === "Concurrency" ? 0 : amount)

const one: Cost = { requests: 1, inputTokens: 0, outputTokens: 0 }

/** Throws a `RangeError` for a cost that cannot be counted. */
const costOf = (input: CostInput): Cost => {
  if (input === 1) return one
  const { inputTokens = 0, outputTokens = 0, requests = 0 } = typeof input === "number" ? { requests: input } : input
  return {
    requests: integer("RateLimiter: cost.requests", requests, 0),
    inputTokens: integer("RateLimiter: cost.inputTokens", inputTokens, 0),
    outputTokens: integer("RateLimiter: cost.outputTokens", outputTokens, 0)
  }
}
