/** What LocalLlm may be told to do instead of answering well: typed steps, each with a delay and headers if wanted. */
import * as Duration from "effect/Duration"
import { dual } from "effect/Function"
import type { ApiError } from "./localRequest.ts"
import * as options from "./options.ts"

/** One way to treat a request; make it with the functions beside it. */
export type Behaviour = Outcome & {
  /** Waited before anything is sent, by the clock of the layer. */
  readonly delay?: Duration.Duration | undefined
  readonly headers?: Readonly<Record<string, string>> | undefined
}

type Outcome =
  | { readonly _tag: "Normal" }
  | { readonly _tag: "Answer"; readonly text: string }
  | { readonly _tag: "ToolCall"; readonly name: string; readonly arguments: string }
  | { readonly _tag: "Status"; readonly status: number; readonly error: Partial<ApiError> | string }
  | { readonly _tag: "Garbage"; readonly body: string }
  | { readonly _tag: "ErrorEvent"; readonly after: number; readonly error: Partial<ApiError> }
  | { readonly _tag: "Truncated" | "Reset" | "Hanging"; readonly after: number }

/** LocalLlm's own answer; for a delay or headers alone. */
export const normal: Behaviour = { _tag: "Normal" }

/** Answers with this text; this and `toolCall` leave embeddings as they are. */
export const answer = (text: string): Behaviour => ({ _tag: "Answer", text })

/** Calls this tool with these arguments, which must be JSON. */
export const toolCall = (name: string, input: unknown): Behaviour => {
  const text = JSON.stringify(input) as string | undefined // its type leaves out what it gives for a function
  if (text === undefined) throw new RangeError("LocalLlm.toolCall: arguments must be JSON")
  return { _tag: "ToolCall", name, arguments: text }
}

/** Answers with this HTTP status, from 200 to 599, and an error in OpenAI's form, or a string as the whole body. */
export const status = (status: number, error: Partial<ApiError> | string = {}): Behaviour => {
  if (Number.isInteger(status) && status >= 200 && status <= 599) return { _tag: "Status", status, error }
  throw new RangeError(`LocalLlm.status: status must be an integer from 200 to 599, got ${status}`)
}

/** Status 429 with a `retry-after` header in whole seconds, rounded up, and `retry-after-ms`. */
export const rateLimited = (retryAfter: Duration.Input): Behaviour => {
  const error = { message: "Rate limit reached.", type: "requests", code: "rate_limit_exceeded" }
  return withRetryAfter(status(429, error), retryAfter)
}

/** Status 200 and a body that is no answer: `data:` followed by it for a stream. Default: JSON that breaks off. */
export const garbage = (body = '{"choices": ['): Behaviour => ({ _tag: "Garbage", body })

/**
 * Sends `count` chunks, then ends as if that were all. A chunk is an event of a stream, or 64 characters of a whole
 * answer.
 */
export const truncateAfter = (count: number): Behaviour => ({
  _tag: "Truncated",
  after: options.integer("LocalLlm.truncateAfter: count", count, 0)
})

/** Sends `count` chunks, then resets the connection; with 0 before the status line. */
export const resetAfter = (count: number): Behaviour => ({
  _tag: "Reset",
  after: options.integer("LocalLlm.resetAfter: count", count, 0)
})

/** Sends `count` chunks, then nothing more, until the client leaves or the layer closes; with 0 not even the status line. */
export const hangAfter = (count: number): Behaviour => ({
  _tag: "Hanging",
  after: options.integer("LocalLlm.hangAfter: count", count, 0)
})

/** Never answers. */
export const hang: Behaviour = hangAfter(0)

/** Sends `count` events of a stream, then an error among them; a whole answer is status 200 with the error as its body. */
export const errorAfter = (count: number, error: Partial<ApiError> = {}): Behaviour => ({
  _tag: "ErrorEvent",
  after: options.integer("LocalLlm.errorAfter: count", count, 0),
  error
})

/** The same, after a delay. */
export const withDelay: {
  (delay: Duration.Input): (self: Behaviour) => Behaviour
  (self: Behaviour, delay: Duration.Input): Behaviour
} = dual(2, (self: Behaviour, delay: Duration.Input): Behaviour => ({
  ...self,
  delay: Duration.millis(options.millis("LocalLlm.withDelay: delay", delay))
}))

/** The same with these response headers; a name given before keeps its new value. */
export const withHeaders: {
  (headers: Readonly<Record<string, string>>): (self: Behaviour) => Behaviour
  (self: Behaviour, headers: Readonly<Record<string, string>>): Behaviour
} = dual(2, (self: Behaviour, headers: Readonly<Record<string, string>>): Behaviour => {
  for (const [name, value] of Object.entries(headers)) {
    if (/^[\w!#$%&'*+.^`|~-]+$/.test(name) && /^[\t\x20-\x7e]*$/.test(value)) continue
    throw new RangeError(`LocalLlm.withHeaders: "${name}" must be a header name with a value of printable ASCII`)
  }
  const lowered = Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value])
  return { ...self, headers: { ...self.headers, ...Object.fromEntries(lowered) } }
})

/** The same with `retry-after` (whole seconds, rounded up) and `retry-after-ms`. */
export const withRetryAfter: {
  (retryAfter: Duration.Input): (self: Behaviour) => Behaviour
  (self: Behaviour, retryAfter: Duration.Input): Behaviour
} = dual(2, (self: Behaviour, retryAfter: Duration.Input): Behaviour => {
  const millis = finite("LocalLlm.withRetryAfter: retryAfter", retryAfter)
  return withHeaders(self, { "retry-after": String(Math.ceil(millis / 1000)), "retry-after-ms": String(millis) })
})

const finite = (field: string, input: Duration.Input): number => {
  const millis = options.millis(field, input)
  if (Number.isFinite(millis)) return millis
  throw new RangeError(`${field} must be finite`)
}

/** What a provider says of one of its limits. */
export interface RateLimit {
  /** Most in its period. */
  readonly limit: number
  /** What is left of it now. */
  readonly remaining: number
  /** How long until it is whole again; must be finite. */
  readonly reset: Duration.Input
}

/** The same with the `x-ratelimit-*` headers of OpenAI. */
export const withRateLimits: {
  (limits: RateLimits): (self: Behaviour) => Behaviour
  (self: Behaviour, limits: RateLimits): Behaviour
} = dual(2, (self: Behaviour, limits: RateLimits): Behaviour =>
  (["requests", "tokens"] as const).reduce((behaviour, dimension) => {
    const limit = limits[dimension]
    if (limit === undefined) return behaviour
    return withHeaders(behaviour, {
      [`x-ratelimit-limit-${dimension}`]: String(limit.limit),
      [`x-ratelimit-remaining-${dimension}`]: String(limit.remaining),
      [`x-ratelimit-reset-${dimension}`]: resetOf(finite("LocalLlm.withRateLimits: reset", limit.reset))
    })
  }, self)
)

/** What it says of its limits; one that is left out has no headers. */
export interface RateLimits {
  /** Of requests. Default: not told. */
  readonly requests?: RateLimit | undefined
  /** Of tokens. Default: not told. */
  readonly tokens?: RateLimit | undefined
}

/** As OpenAI writes it: `120ms`, `1.5s`, `6m0s`, `23h18m29.144s`. */
const resetOf = (millis: number): string => {
  if (millis < 1000) return `${millis}ms`
  const hours = Math.floor(millis / 3_600_000)
  const minutes = Math.floor((millis % 3_600_000) / 60_000)
  const seconds = `${(millis % 60_000) / 1000}s`
  return hours > 0 ? `${hours}h${minutes}m${seconds}` : minutes > 0 ? `${minutes}m${seconds}` : seconds
}
