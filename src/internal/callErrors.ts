/** What an SDK or a decoder throws as the one `LlmError`; only what a provider's error objects mean is its own. */
import type * as Duration from "effect/Duration"
import * as AiError from "effect/ai/AiError"
import { LlmError, type Phase, type Reason } from "../LlmError.ts"
import type { LlmRequest } from "../LlmRequest.ts"
import { describe } from "./describe.ts"
import * as http from "./http.ts"

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
  constructor(error: unknown, headers: Headers) {
    super("the answer is an error")
    this.error = error
    this.headers = headers
  }
}

/** What the provider answered instead. */
export interface ErrorAnswer {
  /** `undefined` for an error inside an answer that had begun with 200. */
  readonly status: number | undefined
  readonly headers: Headers
  readonly error: unknown
  /** The SDK's words, for an answer that has none. */
  readonly message: string
  /** The provider's own word on retrying. */
  readonly shouldRetry: boolean | undefined
}

export interface Verdict {
  readonly reason: Reason
  readonly retryAfter: Duration.Duration | undefined
}

export const toLlmError = (
  cause: unknown,
  call: Call,
  judge: (answer: ErrorAnswer, call: Call) => Verdict
): LlmError => {
  const { key, model, provider, request } = call
  const fail = (reason: Reason, phase: Phase) => new LlmError({ provider, model, reason, phase })
  const unreadable = (description: string) => fail(new AiError.InvalidResponseError({ description }), "answered")
  if (AiError.isAiErrorReason(cause)) return fail(cause, "answered")
  if (cause instanceof http.AnswerTooLarge) return unreadable(cause.message)
  // the message of a SyntaxError quotes the answer
  if (cause instanceof SyntaxError) return unreadable("the answer is not JSON")
  if (isApiError(cause)) {
    const { error, headers = new Headers(), message, status } = cause
    if (status === undefined && error === undefined) return fail(network(cause, call), http.connectionPhase(cause))
    const word = headers.get("x-should-retry")
    const shouldRetry = word === "true" ? true : word === "false" ? false : undefined
    const verdict = judge({ status, headers, error, message, shouldRetry }, call)
    return new LlmError({ provider, model, ...verdict, phase: status === undefined ? "answered" : "sent", shouldRetry })
  }
  // the body broke off, which the SDKs pass on as fetch gave it
  if (codeOf(cause) !== undefined || (cause instanceof TypeError && cause.message === "terminated")) {
    return fail(network(cause, call), "answered")
  }
  const description = describe(cause instanceof Error ? cause.message : undefined, request, [key])
  return fail(new AiError.UnknownError({ description }), "sent")
}

/** An SDK's `APIError` or our `InBandError`; without status and error it is a connection that failed. */
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
    .find((code): code is string => typeof code === "string" && /^[A-Z][A-Z0-9_]+$/.test(code))
