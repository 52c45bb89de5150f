/** What a provider says in its headers of its own limits. */
import * as Duration from "effect/Duration"
import { parseReset } from "./http.ts"
import type { Count } from "./limits.ts"

export interface Advertised {
  readonly count: Count
  readonly limit: number
  readonly remaining: number
  /** Milliseconds until the limit is whole again. */
  readonly reset: number
}

/** Header names before and behind `limit`, `remaining` and `reset`. */
const dialects: ReadonlyArray<readonly [count: Count, before: string, behind: string]> = [
  ["requests", "x-ratelimit-", "-requests"],
  ["tokens", "x-ratelimit-", "-tokens"],
  ["requests", "anthropic-ratelimit-requests-", ""],
  ["tokens", "anthropic-ratelimit-tokens-", ""],
  ["inputTokens", "anthropic-ratelimit-input-tokens-", ""],
  ["outputTokens", "anthropic-ratelimit-output-tokens-", ""]
]

/** Limits that are complete and can be read; whatever else is in the headers says nothing. */
export const advertised = (headers: Readonly<Record<string, unknown>>, now: number): ReadonlyArray<Advertised> => {
  const found: Array<Advertised> = []
  for (const [count, before, behind] of dialects) {
    const limit = wholeNumber(headers[`${before}limit${behind}`])
    const remaining = wholeNumber(headers[`${before}remaining${behind}`])
    if (limit === undefined || remaining === undefined) continue
    const text = headers[`${before}reset${behind}`]
    const reset = typeof text === "string" ? parseReset(text, now) : undefined
    found.push({ count, limit, remaining, reset: reset === undefined ? Infinity : Duration.toMillis(reset) })
  }
  return found
}

const wholeNumber = (value: unknown): number | undefined => {
  const number = typeof value === "string" && /^\s*\d+\s*$/.test(value) ? Number(value) : undefined
  return number !== undefined && Number.isSafeInteger(number) ? number : undefined
}
