/**
 * Asks the same provider again when that can help: which errors, the table of `LlmError.consequence` says.
 *
 * Nothing is retried after the first visible part of a stream. A wait is never shorter than the provider's `retryAfter`
 * and never reaches past the deadline: then the error is given back at once, so that another provider can be asked.
 * Interruption ends the wait or the attempt that is running.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Pull from "effect/Pull"
import * as Random from "effect/Random"
import * as Schedule from "effect/Schedule"
import * as Attempts from "./Attempts.ts"
import * as Deadline from "./Deadline.ts"
import { Allowance } from "./internal/allowance.ts"
import { beforeFirstPart } from "./internal/beforeFirstPart.ts"
import { failureOf } from "./internal/onFailure.ts"
import { between, integer, millis, positiveMillis } from "./internal/options.ts"
import { consequence, type LlmError } from "./LlmError.ts"
import * as LlmProvider from "./LlmProvider.ts"

/** Which failures are retried, how often, and after which waits. */
export interface Options {
  /** Most retries of one call at this provider. Default 4. */
  readonly times?: number | undefined
  /** The first wait; it doubles with each retry. A wait is uniform between half of this and all of it. Default 1 second. */
  readonly base?: Duration.Input | undefined
  /** The longest wait. Default 1 minute. */
  readonly cap?: Duration.Input | undefined
  /** Waits of your own instead of `base` and `cap`. It may end early; `times` bounds it in any case. */
  readonly schedule?: Schedule.Schedule<unknown, LlmError> | undefined
  /** Which errors are retried, instead of the table. */
  readonly while?: ((error: LlmError) => boolean) | undefined
  /** A longer `retryAfter` is not waited for. Default 1 minute. */
  readonly maxRetryAfter?: Duration.Input | undefined
  /** Most retries of calls that may have been billed although their answer was lost. Default 1. */
  readonly lostRetries?: number | undefined
  /** Most attempts of any kind (retries, fallbacks, hedges) of one call. Default 8. */
  readonly maxAttempts?: number | undefined
  /** Retries that all calls of this provider share in this process. Default 20 % of calls and 10 per 10 seconds. */
  readonly budget?: Budget | false | undefined
}

/** How many retries all calls of a provider have together: a share of the calls, and some in any case. */
export interface Budget {
  /** Retries for each call, from 0 to 1. Default 0.2. */
  readonly ratio?: number | undefined
  /** Retries that are allowed in each `per`, whatever the calls. Default 10. */
  readonly floor?: number | undefined
  /** Above zero. Default 10 seconds. */
  readonly per?: Duration.Input | undefined
}

/** Provider in, provider out. Options that can never work throw `RangeError`. */
export const make = (options: Options = {}) => {
  const settings = parse(options)
  return (inner: LlmProvider.Service): LlmProvider.Service => {
    const allowance = settings.budget && new Allowance(settings.budget)
    return beforeFirstPart(inner, (attempting) =>
      Effect.suspend(() => {
        allowance?.deposit()
        return Effect.catchCause(attempting.run(inner), (cause) => {
          const error = failureOf(cause)
          if (error === undefined) return Effect.failCause(cause)
          return new Retrying(settings, allowance, () => attempting.run(inner)).after(error)
        })
      })
    )
  }
}

/** Retries the provider of a layer. */
export const withRetry = (options?: Options) => LlmProvider.transform(make(options))

type Settings = ReturnType<typeof parse>

const parse = (options: Options) => ({
  times: integer("Retry.make: times", options.times ?? 4, 0),
  base: positiveMillis("Retry.make: base", options.base ?? "1 second"),
  cap: positiveMillis("Retry.make: cap", options.cap ?? "1 minute"),
  schedule: options.schedule,
  while: options.while,
  maxRetryAfter: millis("Retry.make: maxRetryAfter", options.maxRetryAfter ?? "1 minute"),
  lostRetries: integer("Retry.make: lostRetries", options.lostRetries ?? 1, 0),
  maxAttempts: integer("Retry.make: maxAttempts", options.maxAttempts ?? Attempts.defaultMax, 1),
  budget: options.budget === false ? undefined : parseBudget(options.budget ?? {})
})

const parseBudget = (budget: Budget) => ({
  ratio: between("Retry.make: budget.ratio", budget.ratio ?? 0.2, 0, 1),
  floor: integer("Retry.make: budget.floor", budget.floor ?? 10, 0),
  perMillis: positiveMillis("Retry.make: budget.per", budget.per ?? "10 seconds")
})

/** One call from its first failure on. */
class Retrying<A> {
  private retries = 0
  private lost = 0
  private readonly settings: Settings
  private readonly allowance: Allowance | undefined
  private readonly attempt: () => Effect.Effect<A, LlmError>
  private ledger: Attempts.Ledger | undefined
  private scheduled:
    | ((now: number, error: LlmError) => Pull.Pull<[unknown, Duration.Duration], never, unknown>)
    | undefined

  constructor(settings: Settings, allowance: Allowance | undefined, attempt: () => Effect.Effect<A, LlmError>) {
    this.settings = settings
    this.allowance = allowance
    this.attempt = attempt
  }

  after(error: LlmError): Effect.Effect<A, LlmError> {
    if (!this.helps(error)) return Effect.fail(error)
    return Effect.flatMap(this.proposed(error), (proposed) =>
      Effect.withFiber((fiber) => {
        const wait = proposed === undefined ? undefined : this.wait(fiber, error, proposed)
        if (wait === undefined || !this.take(fiber)) return Effect.fail(error)
        const again = Effect.suspend(() => Effect.catch(this.attempt(), (next) => this.after(next)))
        return Effect.andThen(Effect.sleep(wait), Effect.provideService(again, Attempts.Current, this.ledger))
      })
    )
  }

  private helps(error: LlmError): boolean {
    const { lostRetries, times } = this.settings
    if (this.retries >= times || error.shouldRetry === false) return false
    if (this.settings.while !== undefined) return this.settings.while(error)
    const { retry } = consequence(error)
    return retry === "yes" || (retry === "lost" && this.lost++ < lostRetries)
  }

  /** The wait without regard to `retryAfter`, in milliseconds; `undefined` when the user's schedule has ended. */
  private proposed(error: LlmError): Effect.Effect<number | undefined> {
    const { base, cap, schedule } = this.settings
    if (schedule === undefined) {
      const full = Math.min(cap, base * 2 ** this.retries)
      return Effect.map(Random.next, (random) => full * (0.5 + random / 2))
    }
    const step = this.scheduled === undefined ? Schedule.toStep(schedule) : Effect.succeed(this.scheduled)
    return Effect.flatMap(step, (next) => {
      this.scheduled = next
      const taken = Effect.flatMap(Clock.currentTimeMillis, (now) => next(now, error))
      return Pull.catchDone(
        Effect.map(taken, ([, delay]): number | undefined => Duration.toMillis(delay)),
        () => Effect.succeed(undefined)
      )
    })
  }

  /** The wait in milliseconds, or `undefined` where waiting is of no use. */
  private wait(fiber: Fiber.Fiber<unknown, unknown>, error: LlmError, proposed: number): number | undefined {
    const left = fiber.getRef(Deadline.Deadline) - fiber.getRef(Clock.Clock).currentTimeMillisUnsafe()
    const hint = error.retryAfter === undefined ? 0 : Duration.toMillis(error.retryAfter)
    if (hint > this.settings.maxRetryAfter || !fiber.getRef(Attempts.MayWait)) return undefined
    // only upward, and spread out: those who were told the same must not come back together
    const spread = hint === 0 ? 0 : hint + (hint / 4 + 1000) * fiber.getRef(Random.Random).nextDoubleUnsafe()
    const least = hint > 0 && this.settings.schedule === undefined ? 0 : proposed
    const wait = Math.max(Math.min(spread, left - 1), hint, least)
    return Number.isFinite(wait) && wait < left ? wait : undefined
  }

  /** Takes the retry from every bound there is. */
  private take(fiber: Fiber.Fiber<unknown, unknown>): boolean {
    this.ledger ??= fiber.getRef(Attempts.Current) ?? Attempts.make(this.settings.maxAttempts)
    if (this.ledger.used >= this.ledger.max) return false
    if (this.allowance?.take(fiber.getRef(Clock.Clock).currentTimeMillisUnsafe()) === false) return false
    this.ledger.used++
    this.retries++
    return true
  }
}
