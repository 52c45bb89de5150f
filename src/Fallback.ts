/**
 * Asks the next provider when one cannot answer: which errors move on, the table of `LlmError.consequence` says.
 *
 * Only before the first visible part of a stream. A stream that breaks later fails with `StreamInterrupted`, which has what
 * was delivered, or goes on with a provider that can continue it (`onBreak: "resume"`).
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Attempts from "./Attempts.ts"
import * as Deadline from "./Deadline.ts"
import { type Attempting, beforeFirstPart, type Policy } from "./internal/beforeFirstPart.ts"
import { Delivery } from "./internal/delivery.ts"
import { onFailure } from "./internal/onFailure.ts"
import { integer } from "./internal/options.ts"
import type { Race } from "./internal/race.ts"
import { consequence, LlmError } from "./LlmError.ts"
import * as LlmProvider from "./LlmProvider.ts"

/** When the next provider is asked. */
export interface Options {
  /** Which errors move on to the next provider, instead of the table. */
  readonly when?: ((error: LlmError) => boolean) | undefined
  /**
   * What becomes of a stream that breaks after its first visible part. Default `"fail"`. `"resume"` asks the providers that
   * follow and have `continuesAnswers`, if only text was delivered.
   */
  readonly onBreak?: "fail" | "resume" | undefined
  /** Most attempts of any kind (retries, fallbacks, hedges) of one call. Default 8. */
  readonly maxAttempts?: number | undefined
}

type Providers = readonly [LlmProvider.Service, ...ReadonlyArray<LlmProvider.Service>]

/**
 * Providers in, provider out, under the name of the first one; an answer says who gave it. With `race`, a slow provider is
 * hedged with the one after it.
 */
export const make = (options: Options = {}, race?: Race) => {
  const maxAttempts = integer("Fallback.make: maxAttempts", options.maxAttempts ?? Attempts.defaultMax, 1)
  const resumes = (error: LlmError) => options.onBreak === "resume" && movesOn(options, error)
  return (providers: Providers): LlmProvider.Service => {
    const policy: Policy = (attempting) =>
      providers.length === 1
        ? attempting.run(providers[0])
        : Attempts.open(() => new Falling(providers, options, race, attempting).from(0), maxAttempts)
    // nobody knows beforehand who will be given a prefill
    const continuesAnswers = providers.every((provider) => provider.continuesAnswers === true)
    return beforeFirstPart(
      { ...providers[0], continuesAnswers },
      policy,
      (begun, request, scope) => new Delivery({ providers, resumes }, begun, request, scope).pull
    )
  }
}

/** Puts the providers of other layers behind that of a layer. */
export const withFallbacks = <E2, R2>(
  others: ReadonlyArray<Layer.Layer<LlmProvider.LlmProvider, E2, R2>>,
  options?: Options
) => {
  const fallback = make(options)
  return LlmProvider.transform((first) =>
    Effect.map(Effect.forEach(others, LlmProvider.build), (rest) => fallback([first, ...rest]))
  )
}

const movesOn = (options: Options, error: LlmError): boolean => {
  if (options.when !== undefined) return options.when(error)
  const { next } = consequence(error)
  return next === "yes" || next === "larger-window"
}

interface Failure {
  readonly provider: LlmProvider.Service
  readonly error: LlmError
}

/** One call on its way along the providers. */
class Falling<A> {
  private readonly failures: Array<Failure> = []
  private readonly providers: Providers
  private readonly options: Options
  private readonly race: Race | undefined
  private readonly attempting: Attempting<A>

  constructor(providers: Providers, options: Options, race: Race | undefined, attempting: Attempting<A>) {
    this.providers = providers
    this.options = options
    this.race = race
    this.attempting = attempting
  }

  from(index: number): Effect.Effect<A, LlmError> {
    const provider = this.providers[index]
    const backup = this.providers[index + 1]
    if (provider === undefined) return Effect.fail(conclusion(this.failures))
    if (this.race === undefined || backup === undefined || !this.fits(backup)) {
      return onFailure(this.attempting.run(provider), (error) => this.after(index, [{ provider, error }]))
    }
    return Effect.catch(this.race(provider, backup, this.attempting), (lost) => {
      const first = { provider, error: lost.primary }
      return lost.backup === undefined
        ? this.after(index, [first])
        : this.after(index + 1, [first, { provider: backup, error: lost.backup }])
    })
  }

  private after(index: number, failures: ReadonlyArray<Failure>): Effect.Effect<A, LlmError> {
    return Effect.withFiber((fiber) => {
      this.failures.push(...failures)
      const next = this.providers.findIndex((provider, i) => i > index && this.fits(provider))
      const allowed = next !== -1 && failures.every(({ error }) => movesOn(this.options, error))
      const late = fiber.getRef(Clock.Clock).currentTimeMillisUnsafe() >= fiber.getRef(Deadline.Deadline)
      if (!allowed || late || !Attempts.take(fiber)) return Effect.fail(conclusion(this.failures))
      return this.from(next)
    })
  }

  /** What did not fit one provider may fit a later one with a larger window. */
  private fits({ contextWindow }: LlmProvider.Service): boolean {
    return this.failures.every(({ error, provider }) => {
      if (error.reason._tag !== "ContextOverflow" || this.options.when !== undefined) return true
      const exceeded = error.reason.limit ?? provider.contextWindow
      return contextWindow !== undefined && exceeded !== undefined && contextWindow > exceeded
    })
  }
}

/** The last failure of a provider that was called, else the last refusal; it may be tried again when the first may. */
const conclusion = (failures: ReadonlyArray<Failure>): LlmError => {
  const errors = failures.map(({ error }) => error)
  const last = errors.findLast((error) => error.phase !== "refused") ?? errors.at(-1)
  if (last === undefined) throw new Error("a conclusion without a failure") // callers push at least one error first
  const hints = errors.flatMap((error) => (error.retryAfter === undefined ? [] : [error.retryAfter]))
  const soonest = hints.reduce((a, b) => Duration.min(a, b), hints[0] ?? Duration.zero)
  if (hints.length === 0 || (last.retryAfter !== undefined && Duration.equals(soonest, last.retryAfter))) return last
  return new LlmError({
    provider: last.provider,
    model: last.model,
    reason: last.reason,
    retryAfter: soonest,
    phase: last.phase,
    shouldRetry: last.shouldRetry
  })
}
