/** The options of a circuit breaker as rules of the state machine. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Pull from "effect/Pull"
import * as Schedule from "effect/Schedule"
import type { Rules } from "./circuit.ts"
import { between, finiteMillis, integer, millis, positiveMillis } from "./options.ts"

/** What trips the breaker, for how long, and what closes it again. */
export interface RuleOptions {
  /** So many failures in a row open the circuit; with `false` no number of them does. Default 5. */
  readonly failures?: number | false | undefined
  /** Such a share of failures in the window, above 0 and up to 1, opens it; with `false` none does. Default 0.5. */
  readonly failureRate?: number | false | undefined
  /** Calls that the window must hold before a share of them says anything. Default 10. */
  readonly minimumCalls?: number | undefined
  /**
   * What the shares are taken of: the last so long, 10 milliseconds at least, or the last so many calls, from
   * `minimumCalls` to 10,000. Default 1 minute.
   */
  readonly window?: Duration.Input | { readonly calls: number } | undefined
  /** Opens it for calls that take too long, failed or not. Default: no call is slow. */
  readonly slowCalls?: SlowCalls | undefined
  /**
   * How long it stays open: always the same time, or a schedule with one step for each opening in a row, of which the last
   * stays. A provider's `retryAfter` makes it longer. Default 30 seconds, doubled with each opening.
   */
  readonly openFor?: Duration.Input | Schedule.Schedule<unknown> | undefined
  /** Longest time for all of these. Default 5 minutes. */
  readonly maxOpenFor?: Duration.Input | undefined
  /** Share by which chance makes it longer or shorter, so that a fleet does not come back at once. Default 0.1. */
  readonly jitter?: number | undefined
  /** So long closed, and `openFor` begins anew. Default 5 minutes. */
  readonly healthyAfter?: Duration.Input | undefined
  /** Calls that try a circuit at the same time when it was open for long enough. Default 1. */
  readonly probes?: number | undefined
  /** How many of them must succeed, one after the other or together. Default 1. */
  readonly successes?: number | undefined
  /** One that takes longer is given up: its place is free, and its result means nothing. Default 5 minutes, as an attempt. */
  readonly probeLease?: Duration.Input | undefined
  /** Time over which the share of calls that go grows from a tenth to all when it has closed. Default 0. */
  readonly ramp?: Duration.Input | undefined
}

/** Which calls are slow: those above `latency`, `firstPart` or both, of which at least one is given. */
export interface SlowCalls {
  /** Such a share of slow calls in the window, above 0 and up to 1, opens the circuit. Default 0.5. */
  readonly rate?: number | undefined
  /** Longer calls are slow. Default: none is. */
  readonly latency?: Duration.Input | undefined
  /** Calls whose first visible part comes later are slow; not for `execute`, which sees no parts. Default: none is. */
  readonly firstPart?: Duration.Input | undefined
}

/** Milliseconds above which a call is slow. */
export interface Slowness {
  readonly latency: number
  readonly firstPart: number
}

const owner = "CircuitBreaker.make: "

/** Above any share. */
const never = 2

/** Throws a `RangeError` for options that can never work; the schedule is read when the effect runs. */
export const parse = (options: RuleOptions): { readonly slow: Slowness; readonly rules: Effect.Effect<Rules> } => {
  const { failureRate = 0.5, failures = 5, slowCalls } = options
  const maxOpenFor = finite("maxOpenFor", options.maxOpenFor ?? "5 minutes")
  const fixed = {
    consecutive: failures === false ? Infinity : integer(`${owner}failures`, failures, 1),
    window: windowOf(options.window ?? "1 minute"),
    minimumCalls: integer(`${owner}minimumCalls`, options.minimumCalls ?? 10, 1),
    failureRate: failureRate === false ? never : share("failureRate", failureRate),
    slowRate: slowCalls === undefined ? never : share("slowCalls.rate", slowCalls.rate ?? 0.5),
    maxOpenFor,
    jitter: between(`${owner}jitter`, options.jitter ?? 0.1, 0, 1),
    healthyAfter: positiveMillis(`${owner}healthyAfter`, options.healthyAfter ?? "5 minutes"),
    probes: integer(`${owner}probes`, options.probes ?? 1, 1),
    successes: integer(`${owner}successes`, options.successes ?? 1, 1),
    probeLease: finite("probeLease", options.probeLease ?? "5 minutes"),
    ramp: rampOf(options.ramp ?? 0)
  }
  if (fixed.window._tag === "calls" && fixed.window.size < fixed.minimumCalls) {
    throw new RangeError(`${owner}window.calls must be at least minimumCalls (${fixed.minimumCalls})`)
  }
  const openFor = opening(options.openFor ?? Schedule.exponential("30 seconds"), maxOpenFor)
  return { slow: slownessOf(slowCalls), rules: Effect.map(openFor, (openFor) => ({ ...fixed, openFor })) }
}

const finite = (field: string, input: Duration.Input): number => finiteMillis(owner + field, input)

const rampOf = (input: Duration.Input): number => {
  const value = millis(`${owner}ramp`, input)
  return value === 0 ? 0 : finite("ramp", value)
}

const share = (field: string, value: number): number => {
  if (value > 0) return between(owner + field, value, 0, 1)
  throw new RangeError(`${owner}${field} must be a number above 0 and up to 1, got ${value}`)
}

const longestCount = 10_000

const windowOf = (window: NonNullable<RuleOptions["window"]>): Rules["window"] => {
  if (typeof window === "object" && "calls" in window) {
    const size = between(`${owner}window.calls`, integer(`${owner}window.calls`, window.calls, 1), 1, longestCount)
    return { _tag: "calls", size }
  }
  return { _tag: "time", span: Math.max(10, finite("window", window)) }
}

const slownessOf = (slowCalls: SlowCalls | undefined): Slowness => {
  if (slowCalls === undefined) return { latency: Infinity, firstPart: Infinity }
  const { firstPart = Infinity, latency = Infinity } = slowCalls
  const slow = {
    latency: positiveMillis(`${owner}slowCalls.latency`, latency),
    firstPart: positiveMillis(`${owner}slowCalls.firstPart`, firstPart)
  }
  if (Math.min(slow.latency, slow.firstPart) < Infinity) return slow
  throw new RangeError(`${owner}slowCalls needs a latency or a firstPart`)
}

const mostSteps = 64

/** The times of a schedule, one after the other, until they do not grow beyond the longest or there are no more. */
const opening = (
  openFor: NonNullable<RuleOptions["openFor"]>,
  longest: number
): Effect.Effect<ReadonlyArray<number>> => {
  if (!Schedule.isSchedule(openFor)) {
    return Effect.succeed([Math.min(longest, positiveMillis(`${owner}openFor`, openFor))])
  }
  return Effect.gen(function* () {
    const step = yield* Schedule.toStep(openFor)
    const delays: Array<number> = []
    for (let now = 0; delays.length < mostSteps && now < Infinity;) {
      const taken = Effect.map(step(now, undefined), ([, delay]): number | undefined => Duration.toMillis(delay))
      const delay = yield* Pull.catchDone(taken, () => Effect.succeed(undefined))
      if (delay === undefined) break
      delays.push(Math.min(longest, delay))
      now += Math.min(longest, delay)
    }
    return delays.length === 0 ? [longest] : delays
  })
}
