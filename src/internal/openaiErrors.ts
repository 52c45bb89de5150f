/** What the `openai` package throws, and what servers answer instead of an answer, as the one `LlmError`. */
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Predicate from "effect/Predicate"
import * as AiError from "effect/ai/AiError"
import { ContextOverflow, LlmError, ModelUnavailable, type Phase, type Reason } from "../LlmError.ts"
import type { LlmRequest } from "../LlmRequest.ts"
import { describe } from "./describe.ts"
import * as http from "./http.ts"

/** Where a failure happened, and what must not appear in its description. */
export interface Context {
  readonly provider: string
  readonly model: string
  /** Without query or credentials. */
  readonly url: string
  readonly request: LlmRequest
  readonly key: string
  readonly now: number
}

/** An error object where an answer was due. */
export class InBandError extends Error {
  readonly status = undefined
  readonly headers: Headers
  readonly error: unknown
  constructor(error: unknown, headers: Headers) {
    super("the answer is an error")
    this.error = error
    this.headers = headers
  }
}

export const toLlmError = (cause: unknown, context: Context): LlmError =>
  new LlmError({ provider: context.provider, model: context.model, ...failureOf(cause, context) })

interface Failure {
  readonly reason: Reason
  readonly phase: Phase
  readonly retryAfter?: Duration.Duration | undefined
  readonly shouldRetry?: boolean | undefined
}

const failureOf = (cause: unknown, context: Context): Failure => {
  if (AiError.isAiErrorReason(cause)) return { reason: cause, phase: "answered" }
  if (cause instanceof http.AnswerTooLarge) return unreadable(cause.message)
  // the message of a SyntaxError quotes the answer
  if (cause instanceof SyntaxError) return unreadable("the answer is not JSON")
  if (isApiError(cause)) {
    if (cause.status !== undefined || cause.error !== undefined) return answered(cause, context)
    return { reason: network(cause, context), phase: http.connectionPhase(cause) }
  }
  // the body broke off, which the package passes on as fetch gave it
  if (codeOf(cause) !== undefined || (cause instanceof TypeError && cause.message === "terminated")) {
    return { reason: network(cause, context), phase: "answered" }
  }
  const description = describe(cause instanceof Error ? cause.message : undefined, context.request, [context.key])
  return { reason: new AiError.UnknownError({ description }), phase: "sent" }
}

const unreadable = (description: string): Failure => ({
  reason: new AiError.InvalidResponseError({ description }),
  phase: "answered"
})

/** The package's `APIError` or our `InBandError`; without status and error it is a connection that failed. */
interface ApiError {
  readonly status: number | undefined
  readonly headers: Headers | undefined
  readonly error: unknown
}

const isApiError = (cause: unknown): cause is Error & ApiError =>
  cause instanceof Error && "status" in cause && "headers" in cause && "error" in cause

const network = (cause: unknown, context: Context) =>
  new AiError.NetworkError({
    reason: "TransportError",
    method: "POST",
    url: context.url,
    description: codeOf(cause) ?? "the connection failed"
  })

/** The system's code of a failed connection; messages may hold more than we want to show. */
const codeOf = (cause: unknown): string | undefined => {
  let error: unknown = cause
  for (let depth = 0; depth < 8 && error instanceof Error; depth++) {
    const code = "code" in error ? error.code : undefined
    if (typeof code === "string" && /^[A-Z][A-Z0-9_]+$/.test(code)) return code
    error = error instanceof AggregateError ? error.errors[0] : error.cause
  }
  return undefined
}

type Kind =
  | "quota"
  | "rate"
  | "InvalidKey"
  | "ExpiredKey"
  | "MissingKey"
  | "InsufficientPermissions"
  | "model"
  | "context"
  | "policy"
  | "internal"
  | "invalid"

/** By `error.code` or `error.type`, which say more than the status. */
const kindByCode: ReadonlyMap<string, Kind> = new Map([
  ["insufficient_quota", "quota"],
  ["credit_balance_exhausted", "quota"],
  ["organization_spend_limit_exceeded", "quota"],
  ["project_spend_limit_exceeded", "quota"],
  ["organization_usage_limit_exceeded", "quota"],
  ["billing_hard_limit_reached", "quota"],
  ["billing_not_active", "quota"],
  ["rate_limit_exceeded", "rate"],
  ["rate_limit_error", "rate"],
  ["slow_down", "rate"],
  ["invalid_api_key", "InvalidKey"],
  ["expired_api_key", "ExpiredKey"],
  ["token_expired", "ExpiredKey"],
  ["missing_api_key", "MissingKey"],
  ["insufficient_permissions", "InsufficientPermissions"],
  ["model_not_found", "model"],
  ["model_deprecated", "model"],
  ["model_decommissioned", "model"],
  ["context_length_exceeded", "context"],
  ["exceed_context_size_error", "context"],
  ["request_too_large", "context"],
  ["content_filter", "policy"],
  ["content_policy_violation", "policy"],
  ["moderation_blocked", "policy"],
  ["server_is_overloaded", "internal"],
  ["overloaded_error", "internal"],
  ["server_error", "internal"]
])

const answered = (cause: ApiError, context: Context): Failure => {
  const headers = cause.headers ?? new Headers()
  const error = Predicate.isObject(cause.error) ? cause.error : {}
  const message = typeof cause.error === "string" ? cause.error : error["message"]
  const text = typeof message === "string" ? message : ""
  // gateways put a status into the code of an error that they send within an answer
  const status = cause.status ?? (typeof error["code"] === "number" ? error["code"] : undefined)
  const asked = headers.get("x-should-retry")
  const codes = [error["code"], error["type"]].filter((code) => typeof code === "string")
  const known = codes.map((code) => kindByCode.get(code)).find((kind) => kind !== undefined)
  const kind = known ?? kindByStatus(status, text, error["param"])
  const found = kind === "invalid" && asked === "true" ? "internal" : kind
  const retryAfter = waits.has(found) ? http.retryAfter(headers, context.now) : undefined
  const secrets = [context.key]
  const reason = reasonOf(found, {
    text,
    code: codes[0],
    retryAfter,
    now: context.now,
    description: describe(text, context.request, secrets) ?? (status === undefined ? "an error" : `HTTP ${status}`),
    parameter: describe(typeof error["param"] === "string" ? error["param"] : undefined, context.request, secrets),
    response: { status: cause.status ?? 200, headers: http.exposedHeaders(headers) }
  })
  return {
    reason,
    phase: cause.status === undefined ? "answered" : "sent",
    retryAfter,
    shouldRetry: asked === "true" ? true : asked === "false" ? false : undefined
  }
}

const waits: ReadonlySet<Kind> = new Set(["quota", "rate", "internal"])

/** Messages are read only where the API has no code: a missing key, missing scopes, an unknown model elsewhere. */
const kindByStatus = (status: number | undefined, text: string, param: unknown): Kind => {
  switch (status) {
    case 401:
      if (/expired/i.test(text)) return "ExpiredKey"
      if (/insufficient permissions|missing scopes/i.test(text)) return "InsufficientPermissions"
      return /didn't provide|missing/i.test(text) ? "MissingKey" : "InvalidKey"
    case 402:
      return "quota"
    case 403:
      return "InsufficientPermissions"
    case 404:
      return param === "model" || /\bmodel\b/i.test(text) ? "model" : "invalid"
    case 408:
    case 409:
    case undefined:
      return "internal"
    case 413:
      return "context"
    case 429:
      return "rate"
    default:
      return status >= 400 && status < 500 ? "invalid" : "internal"
  }
}

interface Facts {
  readonly text: string
  readonly code: string | undefined
  readonly retryAfter: Duration.Duration | undefined
  readonly now: number
  readonly description: string
  readonly parameter: string | undefined
  readonly response: { readonly status: number; readonly headers: Record<string, string> }
}

const reasonOf = (kind: Kind, facts: Facts): Reason => {
  const { description, parameter, response, retryAfter } = facts
  const code = facts.code !== undefined && /^[\w.-]{1,64}$/.test(facts.code) ? facts.code : undefined
  const seen = { http: { response }, metadata: code === undefined ? {} : { openai: { code } } }
  switch (kind) {
    case "quota": {
      const resetAt = retryAfter && DateTime.toUtc(DateTime.makeUnsafe(facts.now + Duration.toMillis(retryAfter)))
      return new AiError.QuotaExhaustedError({ resetAt, ...seen })
    }
    case "rate":
      return new AiError.RateLimitError({ retryAfter, ...seen })
    case "model":
      return new ModelUnavailable({ description })
    case "context":
      return new ContextOverflow({ limit: windowOf(facts.text), description })
    case "policy":
      return new AiError.ContentPolicyError({ description, ...seen })
    case "internal":
      return new AiError.InternalProviderError({ description, ...seen })
    case "invalid":
      return new AiError.InvalidRequestError({ parameter, description, ...seen })
    default:
      return new AiError.AuthenticationError({ kind, description, ...seen })
  }
}

/** "This model's maximum context length is 8192 tokens", as OpenAI and those who copy it say. */
const windowOf = (message: string): number | undefined => {
  const limit = /maximum context length (?:is|of) ([\d,]{1,12})/i.exec(message)?.[1]
  return limit === undefined ? undefined : Number(limit.replaceAll(",", ""))
}
