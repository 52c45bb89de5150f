/** What the `openai` package throws, and what servers answer instead of an answer, as the one `LlmError`. */
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as AiError from "effect/ai/AiError"
import { ContextOverflow, type LlmError, ModelUnavailable, type Reason } from "../LlmError.ts"
import * as callErrors from "./callErrors.ts"
import { describe } from "./describe.ts"
import { objectOf, textOf } from "./fields.ts"
import * as http from "./http.ts"

export const toLlmError = (cause: unknown, call: callErrors.Call): LlmError => callErrors.toLlmError(cause, call, judge)

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

const judge = (answer: callErrors.ErrorAnswer, call: callErrors.Call): callErrors.Verdict => {
  const { headers } = answer
  const error = objectOf(answer.error)
  const text = textOf(typeof answer.error === "string" ? answer.error : error["message"])
  // gateways put a status into the code of an error that they send within an answer
  const status = answer.status ?? (typeof error["code"] === "number" ? error["code"] : undefined)
  const codes = [error["code"], error["type"]].filter((code) => typeof code === "string")
  const known = codes.map((code) => kindByCode.get(code)).find((kind) => kind !== undefined)
  const kind = known ?? kindByStatus(status, text, error["param"])
  const found = kind === "invalid" && answer.shouldRetry === true ? "internal" : kind
  const retryAfter = waits.has(found) ? http.retryAfter(headers, call.now) : undefined
  const secrets = [call.key]
  const reason = reasonOf(found, {
    text,
    code: codes[0],
    retryAfter,
    now: call.now,
    description: describe(text, call.request, secrets) ?? (status === undefined ? "an error" : `HTTP ${status}`),
    parameter: describe(textOf(error["param"]), call.request, secrets),
    response: { status: answer.status ?? 200, headers: http.exposedHeaders(headers) }
  })
  return { reason, retryAfter }
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
