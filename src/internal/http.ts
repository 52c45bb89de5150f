/** What every HTTP provider needs: hints to wait, headers that may be shown, identities, and a bound on answers. */
import { createHash } from "node:crypto"
import * as Duration from "effect/Duration"
import * as Redacted from "effect/Redacted"

export interface HeadersLike {
  get(name: string): string | null
}

/**
 * How long the provider asks us to wait: `retry-after-ms`, then `retry-after` (seconds or a date), then the latest reset
 * among the limits that are used up.
 */
export const retryAfter = (headers: HeadersLike, nowMillis: number): Duration.Duration | undefined =>
  millis(headers.get("retry-after-ms")) ??
  secondsOrDate(headers.get("retry-after"), nowMillis) ??
  longest(exhausted.map(([remaining, reset]) => resetOf(headers, remaining, reset, nowMillis)))

const exhausted: ReadonlyArray<readonly [remaining: string, reset: string]> = [
  ["x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"],
  ["x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"],
  ["anthropic-ratelimit-requests-remaining", "anthropic-ratelimit-requests-reset"],
  ["anthropic-ratelimit-tokens-remaining", "anthropic-ratelimit-tokens-reset"],
  ["anthropic-ratelimit-input-tokens-remaining", "anthropic-ratelimit-input-tokens-reset"],
  ["anthropic-ratelimit-output-tokens-remaining", "anthropic-ratelimit-output-tokens-reset"]
]

const resetOf = (headers: HeadersLike, remaining: string, reset: string, now: number) =>
  headers.get(remaining)?.trim() === "0" ? parseReset(headers.get(reset), now) : undefined

/** A reset in any form seen: `120ms`, `1s`, `6m0s`, `23h18m29.144s` (OpenAI), RFC 3339 (Anthropic), bare seconds. */
export const parseReset = (value: string | null, nowMillis: number): Duration.Duration | undefined => {
  const text = value?.trim() ?? ""
  const match = /^(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?$/.exec(text)
  if (text !== "" && match !== null) {
    const [hours, minutes, seconds, ms] = match.slice(1).map((group) => Number(group ?? 0))
    return Duration.millis(Math.ceil(((hours! * 60 + minutes!) * 60 + seconds!) * 1000 + ms!)) // four groups, always
  }
  return secondsOrDate(text, nowMillis)
}

const millis = (value: string | null): Duration.Duration | undefined =>
  value !== null && /^\s*\d+(\.\d+)?\s*$/.test(value) ? Duration.millis(Math.ceil(Number(value))) : undefined

const secondsOrDate = (value: string | null, nowMillis: number): Duration.Duration | undefined => {
  if (value === null || value.trim() === "") return undefined
  if (/^\s*\d+(\.\d+)?\s*$/.test(value)) return Duration.millis(Math.ceil(Number(value) * 1000))
  const at = Date.parse(value)
  return Number.isNaN(at) ? undefined : Duration.millis(Math.max(0, at - nowMillis))
}

const longest = (durations: ReadonlyArray<Duration.Duration | undefined>): Duration.Duration | undefined =>
  durations.reduce((a, b) => (a === undefined ? b : b === undefined ? a : Duration.max(a, b)), undefined)

/** What of an HTTP response is shown in the finish part. */
export interface Http {
  readonly status: number
  readonly headers: Record<string, string>
}

export const httpOf = (response: Response): Http => ({
  status: response.status,
  headers: exposedHeaders(response.headers)
})

/** The headers that a policy or an operator needs: limits, waits and request ids; never cookies or authorization. */
export const exposedHeaders = (headers: Iterable<readonly [string, string]>): Record<string, string> => {
  const shown: Record<string, string> = {}
  for (const [name, value] of headers) {
    const key = name.toLowerCase()
    if (exposed.test(key)) shown[key] = value.slice(0, 256)
  }
  return shown
}

const exposed =
  /^(x-ratelimit-[\w-]+|anthropic-ratelimit-[\w-]+|retry-after(-ms)?|x-should-retry|(x-)?request-id|openai-processing-ms)$/

/** Whether a failed connection can have carried the request: `connecting` means that the provider never saw it. */
export const connectionPhase = (cause: unknown): "connecting" | "sent" =>
  causes(cause).some(
    ({ code, syscall }) =>
      typeof code === "string" && (beforeSending.test(code) || (code === "ETIMEDOUT" && syscall === "connect"))
  )
    ? "connecting"
    : "sent"

interface Failure {
  readonly message?: unknown
  readonly code?: unknown
  readonly syscall?: unknown
}

/** An error and what caused it, the root last; at most eight. */
export const causes = (cause: unknown): ReadonlyArray<Failure> => {
  const chain: Array<Failure> = []
  let error: unknown = cause
  while (chain.length < 8 && typeof error === "object" && error !== null) {
    chain.push(error)
    const nested = error instanceof AggregateError ? error.errors[0] : undefined
    error = nested ?? (error as { readonly cause?: unknown }).cause // any object may be asked for a property
  }
  return chain
}

const beforeSending =
  /^(ECONNREFUSED|ENOTFOUND|EAI_\w+|EHOSTUNREACH|ENETUNREACH|EADDRNOTAVAIL|UND_ERR_CONNECT_TIMEOUT|ERR_TLS_\w+|ERR_SSL_\w+|CERT_\w+|UNABLE_TO_\w+|DEPTH_ZERO_\w+|SELF_SIGNED_\w+)$/

/** The URL a provider is configured with; plain HTTP would send the key in clear, so it is for loopback unless allowed. */
export const checkBaseUrl = (owner: string, url: string, allowInsecure = false): URL => {
  const parsed = checkUrl(`${owner}: baseUrl`, url, allowInsecure)
  if (parsed.username !== "" || parsed.password !== "") {
    throw new RangeError(`${owner}: baseUrl must not hold credentials, use apiKey`)
  }
  return parsed
}

/** A URL that paths are added to. */
export const checkUrl = (field: string, url: string, allowInsecure = false): URL => {
  const parsed = URL.canParse(url) ? new URL(url) : undefined
  if (parsed === undefined || (parsed.protocol !== "http:" && parsed.protocol !== "https:")) {
    throw new RangeError(`${field} must be an absolute http or https URL, got "${withoutUserInfo(url)}"`)
  }
  if (parsed.search !== "" || parsed.hash !== "") {
    throw new RangeError(`${field} must have no query and no fragment: paths are added to it`)
  }
  if (parsed.protocol === "http:" && !allowInsecure && !loopback.test(parsed.hostname)) {
    throw new RangeError(
      `${field} must be https unless it is loopback (or set allowInsecure), got "${withoutUserInfo(url)}"`
    )
  }
  return parsed
}

const loopback = /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/

const withoutUserInfo = (url: string): string => url.replace(/\/\/[^/]*@/, "//")

/** Where a path of the API is, whether or not the base URL ends in a slash. */
export const urlOf = (baseUrl: URL, path: string): string =>
  baseUrl.origin + baseUrl.pathname.replace(/\/+$/, "") + path

/** Who answers, as one string: two providers with the same one give interchangeable answers. */
export const endpointId = (
  protocol: string,
  baseUrl: URL,
  scope: ReadonlyArray<string | undefined>,
  model: string
): string => [protocol, urlOf(baseUrl, ""), ...scope.map((part) => part ?? ""), model].map(encodeURIComponent).join("|")

/** Names a key without revealing it. */
export const credentialId = (key: Redacted.Redacted): string =>
  createHash("sha256").update(Redacted.value(key)).digest("hex").slice(0, 12)

/** The provider sent more than the program is ready to hold. */
export class AnswerTooLarge extends Error {
  readonly maxBytes: number
  constructor(maxBytes: number) {
    super(`the answer is larger than maxAnswerBytes (${maxBytes})`)
    this.name = "AnswerTooLarge"
    this.maxBytes = maxBytes
  }
}

/** A `fetch` whose bodies end in `AnswerTooLarge` past a bound; in an event stream the bound is for each line. */
export const boundedFetch =
  (maxBytes: number): typeof globalThis.fetch =>
  async (input, init) => {
    const response = await globalThis.fetch(input, init).catch(unnamed)
    if (response.body === null) return response
    const events = response.headers.get("content-type")?.startsWith("text/event-stream") === true
    const body = response.body.pipeThrough(limiter(maxBytes, events))
    return new Response(body, { status: response.status, statusText: response.statusText, headers: response.headers })
  }

/** The SDKs throw the cause of a connection away if its message, or that of its cause, speaks of a timeout. */
const unnamed = (cause: unknown): never => {
  const aborted = cause instanceof Error && cause.name === "AbortError"
  throw aborted ? cause : new Error("the connection failed", { cause })
}

const newline = 10

const limiter = (maxBytes: number, perLine: boolean) => {
  /** Of the answer or its last line, so far. */
  let size = 0
  const next = (chunk: Uint8Array, from: number) => (perLine ? chunk.indexOf(newline, from) : -1)
  return new TransformStream<Uint8Array, Uint8Array>({
    transform(chunk, controller) {
      let longest = 0
      let start = 0
      for (let end = next(chunk, 0); end !== -1; end = next(chunk, start)) {
        longest = Math.max(longest, size + end - start)
        size = 0
        start = end + 1
      }
      size += chunk.length - start
      if (Math.max(longest, size) > maxBytes) controller.error(new AnswerTooLarge(maxBytes))
      else controller.enqueue(chunk)
    }
  })
}
