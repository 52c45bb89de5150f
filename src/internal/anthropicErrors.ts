/** Everything that can go wrong at Anthropic as an `LlmError`: HTTP statuses, errors inside an answer, broken connections. */
import * as DateTime from "effect/DateTime"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as AiError from "effect/ai/AiError"
import { LlmError, type Phase } from "../LlmError.ts"
import type { LlmRequest } from "../LlmRequest.ts"
import { describe } from "./describe.ts"
import * as http from "./http.ts"
import { ContextOverflow, ModelUnavailable, type Reason } from "./reasons.ts"

/** One call, as far as its errors need to know it. */
export interface Call {
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
  constructor(body: unknown, headers: Headers) {
    super("the answer is an error")
    this.error = body
    this.headers = headers
  }
}

/** What the SDK or our decoder threw. */
export const toLlmError = (cause: unknown, call: Call): LlmError => {
  const fail = (reason: Reason, phase: Phase) =>
    new LlmError({ provider: call.provider, model: call.model, reason, phase })
  const unreadable = (description: string) => fail(new AiError.InvalidResponseError({ description }), "answered")
  if (AiError.isAiErrorReason(cause)) return fail(cause, "answered")
  if (cause instanceof http.AnswerTooLarge) return unreadable(cause.message)
  // the message of a SyntaxError quotes the answer
  if (cause instanceof SyntaxError) return unreadable("the answer is not JSON")
  if (isApiError(cause)) {
    const { error, headers, message, status } = cause
    if (status !== undefined || error !== undefined) {
      return fromFailure(call, { ...detailsOf(error), status, headers, fallback: message })
    }
    return fail(network(cause, call), http.connectionPhase(cause))
  }
  // the body broke off, which the SDK passes on as fetch gave it
  if (codeOf(cause) !== undefined || (cause instanceof TypeError && cause.message === "terminated")) {
    return fail(network(cause, call), "answered")
  }
  const description = describe(cause instanceof Error ? cause.message : undefined, call.request, [call.key])
  return fail(new AiError.UnknownError({ description }), "sent")
}

/** The SDK's `APIError` or our `InBandError`; without status and error it is a connection that failed. */
const isApiError = (
  cause: unknown
): cause is Error & {
  readonly status: number | undefined
  readonly headers: Headers | undefined
  readonly error: unknown
} => cause instanceof Error && "status" in cause && "headers" in cause && "error" in cause

const network = (cause: unknown, call: Call) =>
  new AiError.NetworkError({
    reason: "TransportError",
    method: "POST",
    url: call.url,
    description: codeOf(cause) ?? "the connection failed"
  })

/** The system's code of a failed connection; messages may hold more than we want to show. */
const codeOf = (cause: unknown): string | undefined =>
  http
    .causes(cause)
    .map(({ code }) => code)
    .find((code) => typeof code === "string" && /^[A-Z][A-Z0-9_]+$/.test(code)) as string | undefined // as tested

interface Failure {
  /** `undefined` for an error inside an answer that had begun with 200. */
  readonly status: number | undefined
  readonly headers: Headers | undefined
  readonly type: string | undefined
  readonly code: string | undefined
  readonly message: string | undefined
  /** What the SDK says where the body does not. */
  readonly fallback: string | undefined
}

const detailsOf = (body: unknown): Pick<Failure, "type" | "code" | "message"> => {
  const error = objectOf(objectOf(body)["error"])
  const text = (value: unknown) => (typeof value === "string" ? value : undefined)
  return {
    type: text(error["type"]),
    code: text(objectOf(error["details"])["error_code"]),
    message: text(error["message"])
  }
}

const objectOf = (value: unknown): Readonly<Record<string, unknown>> => (Predicate.isObject(value) ? value : {})

const fromFailure = (call: Call, failure: Failure): LlmError => {
  const { headers, status } = failure
  const retryAfter = headers === undefined ? undefined : http.retryAfter(headers, call.now)
  const word = headers?.get("x-should-retry")
  const reason = reasonOf(call, failure, retryAfter, word === "true")
  return new LlmError({
    provider: call.provider,
    model: call.model,
    reason,
    phase: status === undefined ? "answered" : "sent",
    ...(retryAfter === undefined ? {} : { retryAfter }),
    ...(word === "true" || word === "false" ? { shouldRetry: word === "true" } : {})
  })
}

const reasonOf = (call: Call, failure: Failure, retryAfter: LlmError["retryAfter"], shouldRetry: boolean): Reason => {
  const { code, headers, message = "", status, type } = failure
  const description =
    describe(failure.message ?? failure.fallback, call.request, [call.key]) ?? `HTTP status ${status ?? 200}`
  const response = { status: status ?? 200, headers: headers === undefined ? {} : http.exposedHeaders(headers) }
  const details = { description, http: { response } }
  if (quotaCodes.has(code ?? "") || status === 402 || quotaMessage.test(message)) {
    return new AiError.QuotaExhaustedError({ http: { response }, ...resetAt(message) })
  }
  if (status === 413 || type === "request_too_large" || overflowMessage.test(message))
    return new ContextOverflow({ description, ...limitOf(message) })
  switch (accountCodes.has(code ?? "") ? "permission_error" : kindOf(failure)) {
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
  if (shouldRetry) return new AiError.InternalProviderError(details)
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
const kindOf = ({ status, type }: Failure): string => {
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
