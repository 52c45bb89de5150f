/**
 * A circuit breaker as functions over plain data, without a clock, a store or a fiber: time and chance are given. The
 * functions change the circuit they are given, and say where it went.
 *
 * Every state has a generation, an opaque name. A call is admitted in one, and what becomes of it counts only while that
 * lasts: a late result changes nothing.
 */
import { count, empty, type Window, type WindowRule } from "./circuitWindow.ts"

/** `"halfOpen"`: it was open for long enough, and a few calls try. `"isolated"`: refuses all calls until it is reset. */
export type State = "closed" | "open" | "halfOpen" | "isolated"

/** What opened a circuit. */
export type Cause = "failures" | "slow" | "credential" | "quota" | "unavailable" | "isolated"

/** When a circuit opens, for how long, and what closes it; times in milliseconds. */
export interface Rules {
  /** Failures in a row; `Infinity` where that opens nothing. */
  readonly consecutive: number
  /** The calls that rates are taken of. */
  readonly window: WindowRule
  /** Fewest calls in the window from which a rate says something. */
  readonly minimumCalls: number
  /** Shares of the calls in the window; above 1 where that opens nothing. */
  readonly failureRate: number
  /** The same of slow calls. */
  readonly slowRate: number
  /** How long it stays open, for the first time, the second, ...; the last one stays. */
  readonly openFor: ReadonlyArray<number>
  /** Longest of all of these, chance and the provider's own wish included. */
  readonly maxOpenFor: number
  /** Most that chance adds to the time or takes from it, as a share. */
  readonly jitter: number
  /** So long closed, and the next opening is a first one. */
  readonly healthyAfter: number
  /** Most calls that try at the same time. */
  readonly probes: number
  /** How many of them must succeed to close it. */
  readonly successes: number
  /** How long one of them may take until it is given up. */
  readonly probeLease: number
  /** How long the share of calls that go grows after it closed, from one in ten; 0 for all of them at once. */
  readonly ramp: number
}

export interface Circuit {
  state: State
  generation: string
  cause: Cause | undefined
  /** When this state began, and until when it is open. */
  since: number
  until: number
  /** How often it opened without a healthy time between. */
  openings: number
  consecutive: number
  window: Window
  /** Calls that try: who, and until when. */
  leases: Array<readonly [lease: string, until: number]>
  successes: number
}

export interface Chance {
  /** From 0 to 1. */
  readonly random: () => number
}

/** What a call was admitted with. */
export interface Ticket {
  readonly generation: string
  /** Of one that tries. */
  readonly lease?: string | undefined
}

/** Why a call is not let go. */
export interface Refusal {
  /** What opened it; `undefined` where only some calls go, right after it closed. */
  readonly cause: Cause | undefined
  /** Milliseconds; `undefined` where nobody knows. */
  readonly retryAfter: number | undefined
  /** Others are trying: their verdict is worth waiting for. */
  readonly undecided: boolean
}

/** What became of a call. */
export interface Outcome {
  readonly verdict: "success" | "failure" | "ignored"
  readonly slow?: boolean | undefined
  /** Milliseconds that the provider asked to be left alone. */
  readonly retryAfter?: number | undefined
  /** Opens the circuit at once, for so many milliseconds. */
  readonly trip?: { readonly cause: Cause; readonly millis: number } | undefined
}

export interface Change {
  readonly from: State
  readonly to: State
}

/** The generation of a circuit that nothing ever happened to. */
export const first = ""

export const fresh = (now: number): Circuit => ({
  state: "closed",
  generation: first,
  cause: undefined,
  since: now,
  until: 0,
  openings: 0,
  consecutive: 0,
  window: empty(),
  leases: [],
  successes: 0
})

/** Why a call would be refused now; takes nothing. */
export const peek = (circuit: Circuit, rules: Rules, now: number): Refusal | undefined => {
  const { cause, leases, since, state, until } = circuit
  if (state === "closed") return undefined
  if (state === "isolated") return { cause, retryAfter: undefined, undecided: false }
  if (state === "open")
    return lasts(since, until, now) ? { cause, retryAfter: until - now, undecided: false } : undefined
  const running = leases.filter((lease) => lasts(lease[1] - rules.probeLease, lease[1], now))
  if (running.length < rules.probes) return undefined
  return { cause, retryAfter: Math.min(...running.map((lease) => lease[1])) - now, undecided: true }
}

/** A clock that was put back ends what it would make longer. */
const lasts = (since: number, until: number, now: number): boolean => since <= now && now < until

/** Lets a call go, as one that tries where the circuit is to be tried, or refuses it. */
export const admit = (circuit: Circuit, rules: Rules, now: number, chance: Chance): Ticket | Refusal => {
  if (circuit.state === "closed") return ramping(circuit, rules, now, chance) ?? { generation: circuit.generation }
  const refusal = peek(circuit, rules, now)
  if (refusal !== undefined) return refusal
  if (circuit.state === "open") enter(circuit, "halfOpen", now, chance)
  circuit.leases = circuit.leases.filter((lease) => lasts(lease[1] - rules.probeLease, lease[1], now))
  const lease = name(chance)
  circuit.leases.push([lease, now + rules.probeLease])
  return { generation: circuit.generation, lease }
}

/** Right after it closed, only some go, so that what has just recovered is not run over. */
const ramping = ({ openings, since }: Circuit, { ramp }: Rules, now: number, chance: Chance): Refusal | undefined => {
  if (openings === 0 || !lasts(since, since + ramp, now)) return undefined
  const share = Math.max(0.1, (now - since) / ramp)
  return chance.random() < share ? undefined : { cause: undefined, retryAfter: undefined, undecided: false }
}

/** What became of a call. */
export const record = (
  circuit: Circuit,
  rules: Rules,
  now: number,
  chance: Chance,
  ticket: Ticket,
  outcome: Outcome
): Change | undefined => {
  if (ticket.generation !== circuit.generation) return undefined
  if (circuit.state === "halfOpen") return tried(circuit, rules, now, chance, ticket, outcome)
  if (circuit.state !== "closed") return undefined
  if (outcome.trip !== undefined) return open(circuit, rules, now, chance, outcome)
  if (outcome.verdict === "ignored") return undefined
  const failure = outcome.verdict === "failure"
  circuit.consecutive = failure ? circuit.consecutive + 1 : 0
  if (hasRates(rules)) count(circuit.window, rules.window, now, failure, outcome.slow === true)
  const cause = trips(circuit, rules)
  return cause === undefined ? undefined : open(circuit, rules, now, chance, outcome, cause)
}

/** Whether anything depends on the window. */
export const hasRates = ({ failureRate, slowRate }: Rules): boolean => failureRate <= 1 || slowRate <= 1

/** 0.07 * 100 is more than 7. */
const tolerance = 1e-9

/** Which rule opens the circuit now. */
const trips = ({ consecutive, window }: Circuit, rules: Rules): Cause | undefined => {
  if (consecutive >= rules.consecutive) return "failures"
  if (window.calls < rules.minimumCalls) return undefined
  if (window.failures + tolerance >= rules.failureRate * window.calls) return "failures"
  return window.slow + tolerance >= rules.slowRate * window.calls ? "slow" : undefined
}

const tried = (
  circuit: Circuit,
  rules: Rules,
  now: number,
  chance: Chance,
  ticket: Ticket,
  outcome: Outcome
): Change | undefined => {
  const lease = circuit.leases.findIndex(([lease, until]) => lease === ticket.lease && until > now)
  if (lease < 0) return undefined // given up before it came back
  circuit.leases.splice(lease, 1)
  if (outcome.trip !== undefined) return open(circuit, rules, now, chance, outcome)
  if (outcome.verdict === "ignored") return undefined
  const slow = outcome.slow === true && rules.slowRate <= 1
  if (outcome.verdict === "failure" || slow) return open(circuit, rules, now, chance, outcome, circuit.cause)
  circuit.successes++
  return circuit.successes < rules.successes ? undefined : enter(circuit, "closed", now, chance)
}

const open = (circuit: Circuit, rules: Rules, now: number, chance: Chance, outcome: Outcome, cause?: Cause): Change => {
  if (circuit.state === "closed" && now - circuit.since >= rules.healthyAfter) circuit.openings = 0
  circuit.cause = outcome.trip?.cause ?? cause
  const millis = outcome.trip?.millis ?? openMillis(circuit, rules, chance, outcome.retryAfter)
  circuit.openings++
  circuit.until = now + millis
  return enter(circuit, "open", now, chance)
}

const openMillis = (circuit: Circuit, rules: Rules, chance: Chance, retryAfter = 0): number => {
  const { jitter, maxOpenFor, openFor } = rules
  const planned = openFor[Math.min(circuit.openings, openFor.length - 1)] ?? maxOpenFor
  const spread = jitter === 0 ? planned : planned * (1 + jitter * (2 * chance.random() - 1))
  return Math.ceil(Math.min(maxOpenFor, Math.max(spread, retryAfter)))
}

/** Refuses everybody until it is reset. */
export const isolate = (circuit: Circuit, now: number, chance: Chance): Change | undefined => {
  circuit.cause = "isolated"
  return circuit.state === "isolated" ? undefined : enter(circuit, "isolated", now, chance)
}

/** As if nothing had happened; what is still running counts for nothing. */
export const reset = (circuit: Circuit, now: number, chance: Chance): Change | undefined => {
  const { state } = circuit
  enter(circuit, "closed", now, chance)
  circuit.openings = 0
  return state === "closed" ? undefined : { from: state, to: "closed" }
}

const enter = (circuit: Circuit, to: State, now: number, chance: Chance): Change => {
  const from = circuit.state
  circuit.state = to
  circuit.generation = name(chance)
  circuit.since = now
  circuit.leases = []
  circuit.successes = 0
  if (to === "closed") {
    circuit.cause = undefined
    circuit.consecutive = 0
    circuit.window = empty()
  }
  return { from, to }
}

/** Never that of a circuit that is fresh. */
const name = ({ random }: Chance): string => `${random().toString(36).slice(2)}.${random().toString(36).slice(2)}`
