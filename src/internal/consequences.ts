/** What each reason means for retry, fallback, circuit, degradation and money: one table, so that no two policies differ. */
import type { LlmError } from "../LlmError.ts"
import type { Reason } from "./reasons.ts"

/** What an error means to each policy. */
export interface Consequence {
  /** Ask the same provider again? `lost`: at most `lostRetries` times, because the first call may be billed. */
  readonly retry: "yes" | "lost" | "no"
  /** Ask the next provider? `larger-window`: one that fits more. `resume`: only one that can continue the answer. */
  readonly next: "yes" | "larger-window" | "resume" | "no"
  /** Which circuit it counts against. `slow`: the endpoint's, but only if the provider had its slow-call time. */
  readonly circuit: "failure" | "endpoint" | "credential" | "slow" | "ignored"
  /** Which lesser answers may stand in. `free`: those that cost nothing. `no-model`: those that ask no model. */
  readonly degrade: "yes" | "free" | "no-model" | "no"
  /** What the provider will bill. `lost`: the estimate, since it is unknown. `actual`: the usage it reported. */
  readonly charge: "none" | "lost" | "actual"
}

const row = (
  retry: Consequence["retry"],
  next: Consequence["next"],
  circuit: Consequence["circuit"],
  degrade: Consequence["degrade"],
  charge: Consequence["charge"]
): Consequence => ({ retry, next, circuit, degrade, charge })

const invalid = row("no", "no", "ignored", "no", "none")
const refused = row("no", "yes", "ignored", "yes", "none")
const unaffordable = row("no", "yes", "ignored", "free", "none")
const rejected = row("no", "no", "ignored", "no", "actual")
const unfit = row("no", "yes", "ignored", "yes", "actual")
const unclear = row("no", "yes", "failure", "yes", "lost")
const badCredential = row("no", "yes", "credential", "yes", "none")
const lost = row("lost", "yes", "failure", "yes", "lost")

/** By `_tag`, with the kind behind a slash where a reason has rows of its own for it. */
export const table = {
  RateLimitError: row("yes", "yes", "ignored", "yes", "none"),
  QuotaExhaustedError: badCredential,
  AuthenticationError: badCredential,
  "AuthenticationError/InsufficientPermissions": row("no", "yes", "endpoint", "yes", "none"),
  ModelUnavailable: row("no", "yes", "endpoint", "yes", "none"),
  ContextOverflow: row("no", "larger-window", "ignored", "no", "none"),
  InvalidRequestError: invalid,
  ContentPolicyError: rejected,
  InternalProviderError: row("yes", "yes", "failure", "yes", "none"),
  "InternalProviderError/answered": row("yes", "yes", "failure", "yes", "lost"),
  NetworkError: lost,
  "NetworkError/connecting": row("yes", "yes", "failure", "yes", "none"),
  TimedOut: lost,
  "TimedOut/total": row("no", "no", "slow", "no-model", "lost"),
  StreamInterrupted: row("no", "resume", "failure", "no", "lost"),
  InvalidOutputError: unfit,
  StructuredOutputError: unfit,
  UnknownError: unclear,
  InvalidResponseError: unclear,
  CircuitOpen: refused,
  RateLimitExceeded: refused,
  StoreUnavailable: refused,
  BudgetExceeded: unaffordable,
  "BudgetExceeded/final": row("no", "no", "ignored", "free", "none"),
  Unpriced: unaffordable,
  InputRejected: rejected,
  OutputRejected: rejected,
  UnsupportedSchemaError: invalid,
  InvalidUserInputError: invalid,
  ToolNotFoundError: unfit,
  ToolParameterValidationError: unfit,
  InvalidToolResultError: invalid,
  ToolResultEncodingError: invalid,
  ToolConfigurationError: invalid,
  ToolkitRequiredError: invalid
} as const satisfies Record<Reason["_tag"], Consequence> & Record<string, Consequence>

const rowOf = (error: LlmError): keyof typeof table => {
  const { phase, reason } = error
  switch (reason._tag) {
    case "AuthenticationError":
      return reason.kind === "InsufficientPermissions" ? "AuthenticationError/InsufficientPermissions" : reason._tag
    case "InternalProviderError":
      return phase === "answered" ? "InternalProviderError/answered" : reason._tag
    case "NetworkError":
      return phase === "connecting" ? "NetworkError/connecting" : reason._tag
    case "BudgetExceeded":
      return reason.final === true ? "BudgetExceeded/final" : reason._tag
    case "TimedOut":
      return reason.phase === "total" ? "TimedOut/total" : reason._tag
    default:
      return reason._tag
  }
}

/** The row of an error, after what the provider itself said of retrying and of how far the call came. */
export const consequence = (error: LlmError): Consequence => {
  const found: Consequence = table[rowOf(error)]
  const unsent = error.phase === "refused" || error.phase === "connecting"
  if (error.shouldRetry !== false && !(unsent && found.charge !== "none")) return found
  return {
    ...found,
    retry: error.shouldRetry === false ? "no" : found.retry,
    charge: unsent ? "none" : found.charge
  }
}
