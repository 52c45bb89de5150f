/**
 * The one error of a model call. Its `reason` says what happened: a provider's reason is one of `effect/ai`'s
 * `AiErrorReason`, Ballast's own stand beside them. Recover with `Effect.catchReason("LlmError", "BudgetExceeded", ...)`.
 */
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import * as AiError from "effect/ai/AiError"
import { bare } from "./internal/bare.ts"
import { type Problem, problemOf } from "./internal/problems.ts"
import { Receipt } from "./internal/receipts.ts"
import { type Consequence, consequence, table } from "./internal/consequences.ts"
import {
  BudgetExceeded,
  CircuitOpen,
  ContextOverflow,
  InputRejected,
  ModelUnavailable,
  OutputRejected,
  RateLimitExceeded,
  Reason,
  StoreUnavailable,
  StreamInterrupted,
  TimedOut,
  Unpriced
} from "./internal/reasons.ts"

export {
  BudgetExceeded,
  CircuitOpen,
  type Consequence,
  /** What an error means for retry, fallback, circuit, degradation and money. */
  consequence,
  /** The rows behind `consequence`, by reason. */
  table as consequences,
  ContextOverflow,
  InputRejected,
  ModelUnavailable,
  OutputRejected,
  type Problem,
  RateLimitExceeded,
  Reason,
  StoreUnavailable,
  StreamInterrupted,
  TimedOut,
  Unpriced
}

/**
 * How far a call came. `refused`: a policy kept it. `connecting`: nothing was sent. `sent`: the request went out and no
 * answer began. `answered`: the answer had begun.
 */
export const Phase = Schema.Literals(["refused", "connecting", "sent", "answered"])

export type Phase = typeof Phase.Type

/** Why a call failed: who it was made to, for which reason, and how far it came. */
export class LlmError extends Schema.TaggedError<LlmError>()("LlmError", {
  provider: Schema.String,
  model: Schema.String,
  reason: Reason,
  /** How long to wait before trying again, where somebody said so. */
  retryAfter: Schema.optional(Schema.Duration),
  phase: Schema.optional(Phase),
  /** The provider's own word on retrying (`x-should-retry`); `false` stands above the table. */
  shouldRetry: Schema.optional(Schema.Boolean),
  /** How the call went, where telemetry keeps receipts. */
  receipt: Schema.optional(Receipt)
}) {
  override get message(): string {
    return `${this.provider}/${this.model}: ${this.reason.message}`
  }
}

/** Also for one that `refuse` made, or that came out of JSON by its codec. */
export const isLlmError = (u: unknown): u is LlmError => u instanceof LlmError

/**
 * A refusal at a twentieth of the price: the error is `instanceof LlmError`, catchable and encodable, but has no stack.
 * The reason's fields must have been validated when the policy was made.
 */
export const refuse = (provider: string, model: string, reason: Reason): LlmError =>
  bare(LlmError, {
    _tag: "LlmError",
    provider,
    model,
    reason,
    retryAfter: "retryAfter" in reason ? reason.retryAfter : undefined,
    phase: "refused"
  })

/** The same failure with the receipt of its call, and without a second stack. */
export const withReceipt = (error: LlmError, receipt: typeof Receipt.Type): LlmError => {
  const copy = bare(LlmError, { ...error, _tag: "LlmError", receipt })
  Object.defineProperty(copy, "stack", { configurable: true, get: () => error.stack })
  return copy
}

const carriedJson = Schema.toCodecJson(LlmError)
const encodeCarried = Schema.encodeUnknownOption(carriedJson)
const decodeCarried = Schema.decodeUnknownOption(carriedJson)

/** In one process the very error comes back, with the delivered text that its JSON leaves out. */
const carried = new WeakMap<AiError.AiError, LlmError>()

/**
 * The error as a program over `effect/ai` sees it. Ballast's reasons become the nearest `AiError` reason and travel in
 * its `metadata.ballast`; `fromAiError` gets the whole error back.
 */
export const toAiError = (error: LlmError, where: { readonly module: string; readonly method: string }) => {
  const metadata = { ballast: Option.getOrNull(encodeCarried(withoutDelivered(error))) as Schema.MutableJson }
  const result = AiError.make({ ...where, reason: toAiReason(error, metadata) })
  carried.set(result, error)
  return result
}

const withoutDelivered = (error: LlmError): LlmError =>
  error.reason._tag === "StreamInterrupted"
    ? new LlmError({ ...error, reason: new StreamInterrupted({ ...error.reason, delivered: [] }) })
    : error

const toAiReason = (error: LlmError, metadata: AiError.ProviderMetadata): AiError.AiErrorReason => {
  const { reason } = error
  const description = reason.message
  switch (reason._tag) {
    case "CircuitOpen":
    case "TimedOut":
    case "StoreUnavailable":
    case "StreamInterrupted":
      return new AiError.InternalProviderError({ description, metadata })
    case "BudgetExceeded":
    case "Unpriced":
      return new AiError.QuotaExhaustedError({ metadata })
    case "RateLimitExceeded":
      return new AiError.RateLimitError({ retryAfter: reason.retryAfter, metadata })
    case "InputRejected":
    case "OutputRejected":
      return new AiError.ContentPolicyError({ description, metadata })
    case "ModelUnavailable":
    case "ContextOverflow":
      return new AiError.InvalidRequestError({ description, metadata })
    default:
      return "metadata" in reason ? withMetadata(reason, metadata) : reason
  }
}

const withMetadata = <A extends AiError.AiErrorReason & { readonly metadata: AiError.ProviderMetadata }>(
  reason: A,
  metadata: AiError.ProviderMetadata
): A =>
  bare({ prototype: Object.getPrototypeOf(reason) as A }, { ...reason, metadata: { ...reason.metadata, ...metadata } })

/** The whole Ballast error back from an `AiError`, also after it went through JSON; another's `AiError` keeps its reason. */
export const fromAiError = (
  error: AiError.AiError,
  identity: { readonly provider: string; readonly model: string } = { provider: error.module, model: "unknown" }
): LlmError =>
  Option.getOrElse(
    carriedBy(error),
    () => new LlmError({ ...identity, reason: error.reason, retryAfter: error.retryAfter })
  )

/** The Ballast error inside an `AiError`, where one came through `toAiError`. */
export const carriedBy = (error: AiError.AiError): Option.Option<LlmError> =>
  Option.orElse(Option.fromUndefinedOr(carried.get(error)), () => fromMetadata(error.reason))

const fromMetadata = (reason: AiError.AiErrorReason): Option.Option<LlmError> =>
  "metadata" in reason && Predicate.isObject(reason.metadata)
    ? decodeCarried(reason.metadata["ballast"])
    : Option.none()

/**
 * What an HTTP server answers with, for an `LlmError` and for an `AiError` that carries one: 422 for what guards or the
 * model refuse and for what is too long, 429 for budgets and limits of ours, which come back with time, 504 for what
 * took too long. All else, whatever it is, is a 503 that tells nothing.
 */
export const toProblem = (error: unknown): Problem => {
  const known = AiError.isAiError(error) ? fromAiError(error) : error
  if (!isLlmError(known)) return problemOf(undefined)
  const wait = known.retryAfter && { retryAfter: Math.ceil(Duration.toSeconds(known.retryAfter)) }
  return { ...problemOf(known.reason), ...wait }
}
