/** Everything that can go wrong at Anthropic as an `LlmError`: HTTP statuses, errors inside an answer, broken connections. */
import * as DateTime from "effect/DateTime"
import * as Option from "effect/Option"
import * as AiError from "effect/ai/AiError"
import type { LlmError } from "../LlmError.ts"
import * as callErrors from "./callErrors.ts"
import { describe } from "./describe.ts"
import { objectOf } from "./fields.ts"
import * as http from "./http.ts"
import { ContextOverflow, ModelUnavailable, type Reason } from "./reasons.ts"

export const toLlmError = (cause: unknown, call: callErrors.Call): LlmError =>
  callErrors.toLlmError(cause, call, (answer) => {
    const retryAfter = http.retryAfter(answer.headers, call.now)
    return { reason: reasonOf(call, answer, retryAfter), retryAfter }
  })

interface Details {
  readonly type: string | undefined
  readonly code: string | undefined
  readonly message: string | undefined
}

const detailsOf = (body: unknown): Details => {
  const error = objectOf(objectOf(body)["error"])
  const text = (value: unknown) => (typeof value === "string" ? value : undefined)
  return {
    type: text(error["type"]),
    code: text(objectOf(error["details"])["error_code"]),
    message: text(error["message"])
  }
}

const reasonOf = (
  call: callErrors.Call,
  answer: callErrors.ErrorAnswer,
  retryAfter: LlmError["retryAfter"]
): Reason => {
  const { headers, shouldRetry, status } = answer
  const stated = detailsOf(answer.error)
  const { code, message = "", type } = stated
  const description =
    describe(stated.message ?? answer.message, call.request, [call.key]) ?? `HTTP status ${status ?? 200}`
  const response = { status: status ?? 200, headers: http.exposedHeaders(headers) }
  const details = { description, http: { response } }
  if (quotaCodes.has(code ?? "") || status === 402 || quotaMessage.test(message)) {
    return new AiError.QuotaExhaustedError({ http: { response }, ...resetAt(message) })
  }
  if (status === 413 || type === "request_too_large" || overflowMessage.test(message))
    return new ContextOverflow({ description, ...limitOf(message) })
  switch (accountCodes.has(code ?? "") ? "permission_error" : kindOf(status, type)) {
    case "rate_limit_error":
      return new AiError.RateLimitError({ http: { response }, ...(retryAfter === undefined ? {} : { retryAfter }) })
    case "billing_error":
      return new AiError.QuotaExhaustedError({ http: { response } })
    case "authentication_error":
      return new AiError.AuthenticationError({ ...details, kind: keyProblem(message) })
    case "permission_error":
      return new AiError.AuthenticationError({ ...details, kind: "InsufficientPermissions" })
    case "internal":
      return new AiError.InternalProviderError(details)
    case "not_found_error":
      if (/\bmodel\b/i.test(message) || message.includes(call.model)) return new ModelUnavailable({ description })
  }
  if (shouldRetry === true) return new AiError.InternalProviderError(details)
  if (/content (filtering )?policy/i.test(message)) return new AiError.ContentPolicyError(details)
  // "messages.0.content: Field required"
  const parameter = /^[\w.[\]-]+(?=: )/.exec(message)?.[0]
  return new AiError.InvalidRequestError({ ...details, ...(parameter === undefined ? {} : { parameter }) })
}

const quotaCodes = new Set([
  "enforced_spend_limit_reached",
  "contract_spend_limit_reached",
  "linked_organization_spend_limit_reached",
  "linked_organization_billing_unavailable"
])

const quotaMessage = /reached your specified API usage limits|credit balance is too low/i

/** Codes of 400s that say nothing of the request: the account may not be used. */
const accountCodes = new Set(["organization_on_hold", "cmek_key_disabled", "cmek_key_network_blocked"])

const overflowMessage = /prompt is too long|exceeds? (the )?context (limit|window)/i

/** "prompt is too long: 208310 tokens > 200000 maximum" */
const limitOf = (message: string): { readonly limit?: number } => {
  const limit = />\s*([\d,]{1,15})/.exec(message)?.[1]?.replaceAll(",", "")
  return limit === undefined || limit === "" ? {} : { limit: Number(limit) }
}

/** "You will regain access on 2026-12-01 at 00:00 UTC." */
const resetAt = (message: string): { readonly resetAt?: DateTime.Utc } => {
  const [, day, time = "00:00"] = /regain access on (\d{4}-\d\d-\d\d)(?: at (\d\d:\d\d) UTC)?/.exec(message) ?? []
  const at = day === undefined ? Option.none() : DateTime.make(`${day}T${time}:00Z`)
  return Option.match(at, { onNone: () => ({}), onSome: (utc) => ({ resetAt: DateTime.toUtc(utc) }) })
}

const keyProblem = (message: string) =>
  /expired/i.test(message) ? "ExpiredKey" : /missing|required|not provided/i.test(message) ? "MissingKey" : "InvalidKey"

/** The API's own word, unless the status says more; `internal` is what the same request may survive. */
const kindOf = (status: number | undefined, type: string | undefined): string => {
  if (status === undefined) return type !== undefined && ours.has(type) ? type : "internal"
  if (status >= 500 || status === 408 || status === 409) return "internal"
  if (status === 429) return "rate_limit_error"
  if (type !== undefined && ours.has(type)) return type
  return byStatus[status] ?? "invalid_request_error"
}

const ours = new Set([
  "rate_limit_error",
  "billing_error",
  "authentication_error",
  "permission_error",
  "not_found_error",
  "invalid_request_error"
])

const byStatus: Readonly<Record<number, string>> = {
  401: "authentication_error",
  403: "permission_error",
  404: "not_found_error"
}
