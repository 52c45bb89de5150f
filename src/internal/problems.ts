/** What a failed call is to who asked for it over HTTP. */
import type { Reason } from "./reasons.ts"

/** A problem of RFC 9457. */
export interface Problem {
  readonly type: "about:blank"
  readonly status: keyof typeof titles
  readonly title: string
  /** In the words of a reason of ours; a provider's own may tell more than a stranger should know. */
  readonly detail: string
  /** Whole seconds, for the header `Retry-After`. */
  readonly retryAfter?: number
}

const titles = {
  422: "Unprocessable Content",
  429: "Too Many Requests",
  503: "Service Unavailable",
  504: "Gateway Timeout"
} as const

/** `undefined`: no reason of a model call. */
export const problemOf = (reason: Reason | undefined): Omit<Problem, "retryAfter"> => {
  const [status, detail] = judged(reason)
  return { type: "about:blank", status, title: titles[status], detail }
}

const judged = (reason: Reason | undefined): readonly [Problem["status"], string] => {
  switch (reason?._tag) {
    case undefined:
      return [503, "A part of the service is down"]
    case "InputRejected":
    case "OutputRejected":
    case "ContextOverflow":
      return [422, reason.message]
    case "ContentPolicyError":
      return [422, "The model refuses to answer that"]
    case "BudgetExceeded":
    case "RateLimitExceeded":
      return [429, reason.message]
    case "TimedOut":
      return [504, "The model takes too long to answer"]
    default:
      return [503, "The model does not answer"]
  }
}
