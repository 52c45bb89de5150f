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
  readonly url: string
  readonly request: LlmRequest
  readonly secrets: ReadonlyArray<string>
  readonly now: () => number
}

export const make = (call: Call, reason: Reason, phase: Phase): LlmError =>
  new LlmError({ provider: call.provider, model: call.model, reason, phase })

/** What the SDK threw. `answered`: some of the answer had come already. */
export const fromCause = (call: Call, cause: unknown, answered: boolean): LlmError => {
  const tooLarge = http.causes(cause).find((error) => error instanceof http.AnswerTooLarge)
  if (tooLarge !== undefined) return invalidResponse(call, tooLarge.message)
  if (cause instanceof SyntaxError) return invalidResponse(call, "the answer is not JSON")
  const { error, headers, message, status } = apiError(cause)
  if (status === undefined && error === undefined) return fromConnection(call, cause, answered)
  return fromFailure(call, { ...detailsOf(error), status, headers, fallback: message })
}

/** An error object where the answer should be; `undefined` if the body is none. */
export const fromBody = (call: Call, body: unknown, headers: Headers): LlmError | undefined =>
  Predicate.isObject(body) && (body["type"] === "error" || body["error"] !== undefined)
    ? fromFailure(call, { ...detailsOf(body), status: undefined, headers, fallback: undefined })
    : undefined

const invalidResponse = (call: Call, description: string) =>
  make(call, new AiError.InvalidResponseError({ description }), "answered")

/** The parts of the SDK's `APIError`, by shape: its classes come with a package that may not be loaded. */
const apiError = (cause: unknown) => {
  const { error, headers, status } = Predicate.isObject(cause) ? cause : {}
  return {
    error,
    headers: headers instanceof Headers ? headers : undefined,
    message: cause instanceof Error ? cause.message : undefined,
    status: typeof status === "number" ? status : undefined
  }
}

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
  const retryAfter = headers === undefined ? undefined : http.retryAfter(headers, call.now())
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
  const { code, headers, message = "", status } = failure
  const description =
    describe(failure.message ?? failure.fallback, call.request, call.secrets) ?? `HTTP status ${status ?? 200}`
  const response = { status: status ?? 200, headers: headers === undefined ? {} : http.exposedHeaders(headers) }
  const details = { description, http: { response } }
  if (quotaCodes.has(code ?? "") || status === 402 || quotaMessage.test(message)) {
    return new AiError.QuotaExhaustedError({ http: { response }, ...resetAt(message) })
  }
  if (status === 413 || overflowMessage.test(message)) return new ContextOverflow({ description, ...limitOf(message) })
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

const fromConnection = (call: Call, cause: unknown, answered: boolean): LlmError => {
  const message = http.causes(cause).at(-1)?.message
  const shown = describe(typeof message === "string" ? message : undefined, call.request, call.secrets)
  const description = shown ?? "the connection failed"
  const reason = new AiError.NetworkError({ reason: "TransportError", method: "POST", url: call.url, description })
  return make(call, reason, answered ? "answered" : http.connectionPhase(cause))
}
