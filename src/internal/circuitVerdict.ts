/** What an ending says of a provider: sick, locked for this key, or well. */
import * as Cause from "effect/Cause"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import type * as Exit from "effect/Exit"
import type { Settlement } from "../Gate.ts"
import { consequence, LlmError } from "../LlmError.ts"
import type { Outcome } from "./circuit.ts"
import type { Slowness } from "./circuitRules.ts"

/** What a call says of who answered it; `"ignored"` says nothing. */
export type Verdict = "success" | "failure" | "ignored"

/** What the endpoint's circuit and the credential's are told. */
export interface Outcomes {
  readonly endpoint: Outcome
  readonly credential: Outcome
}

/** Milliseconds that a circuit stays open which only a person can close. */
export interface Locks {
  readonly locked: number
  /** Longest that an exhausted quota says itself. */
  readonly longest: number
}

const ignored: Outcome = { verdict: "ignored" }
const success: Outcome = { verdict: "success" }
const well: Outcomes = { endpoint: success, credential: success }
const nothing: Outcomes = { endpoint: ignored, credential: ignored }

const ofEndpoint = (endpoint: Outcome): Outcomes => ({ endpoint, credential: ignored })

export const outcomesOf = (
  settlement: Settlement,
  slowness: Slowness,
  locks: Locks,
  now: number,
  classify: ((settlement: Settlement) => Verdict | undefined) | undefined
): Outcomes => {
  const { error, lostRace, outcome, phase } = settlement
  if (phase === "refused") return nothing
  const slow = isSlow(settlement, slowness)
  const own = classify?.(settlement)
  if (own !== undefined) {
    const endpoint: Outcome = { verdict: own, slow, retryAfter: retryAfterOf(settlement) }
    return { endpoint, credential: own === "success" ? success : ignored }
  }
  if (outcome === "success") return slow ? { endpoint: { verdict: "success", slow }, credential: success } : well
  // a bug says nothing, and a lost race only that it was slow
  if (error === undefined) return lostRace && slow ? ofEndpoint({ verdict: "success", slow }) : nothing
  return ofError(settlement, error, slow, slowness, locks, now)
}

const ofError = (
  settlement: Settlement,
  error: LlmError,
  slow: boolean,
  slowness: Slowness,
  locks: Locks,
  now: number
): Outcomes => {
  const failure: Outcome = { verdict: "failure", slow, retryAfter: retryAfterOf(settlement) }
  switch (consequence(error).circuit) {
    case "failure":
      return { endpoint: failure, credential: ignored }
    case "slow":
      return settlement.latency >= slowness.latency ? { endpoint: failure, credential: ignored } : nothing
    case "endpoint":
      return {
        endpoint: { verdict: "failure", trip: { cause: "unavailable", millis: locks.locked } },
        credential: ignored
      }
    case "credential":
      return { endpoint: ignored, credential: { verdict: "failure", trip: lockOf(error, locks, now) } }
    default:
      return nothing
  }
}

const lockOf = ({ reason }: LlmError, locks: Locks, now: number): NonNullable<Outcome["trip"]> => {
  if (reason._tag !== "QuotaExhaustedError") return { cause: "credential", millis: locks.locked }
  const resets = reason.resetAt === undefined ? undefined : DateTime.toEpochMillis(reason.resetAt) - now
  const millis = resets === undefined ? locks.locked : Math.min(locks.longest, Math.max(1, resets))
  return { cause: "quota", millis }
}

const isSlow = ({ firstPart, latency, phase }: Settlement, slowness: Slowness): boolean =>
  phase !== "refused" && (latency > slowness.latency || (firstPart ?? 0) > slowness.firstPart)

const retryAfterOf = ({ error }: Settlement): number | undefined =>
  error?.retryAfter === undefined ? undefined : Duration.toMillis(error.retryAfter)

/** Of any effect: what failed or died is a failure, an interruption says nothing. */
export const verdictOf = (exit: Exit.Exit<unknown, unknown>): Verdict => {
  if (exit._tag === "Success") return "success"
  const failure = exit.cause.reasons.find(Cause.isFailReason)
  if (failure === undefined) return Cause.hasDies(exit.cause) ? "failure" : "ignored"
  if (!(failure.error instanceof LlmError)) return "failure"
  return consequence(failure.error).circuit === "ignored" ? "ignored" : "failure"
}
