/** Why Anthropic stopped and what it counted, in the words of `effect/ai`. */
import * as Predicate from "effect/Predicate"
import type { FinishReason, Usage } from "../LlmResponse.ts"

/** A reason that is not known yet is `"other"`. */
export const finishReason = (stopReason: string): FinishReason => finishReasons[stopReason] ?? "other"

const finishReasons: Readonly<Record<string, FinishReason>> = {
  end_turn: "stop",
  stop_sequence: "stop",
  max_tokens: "length",
  model_context_window_exceeded: "length",
  tool_use: "tool-calls",
  refusal: "content-filter",
  pause_turn: "pause",
  unknown: "unknown"
}

/** The API counts input without what the cache read and wrote; `total` is all of it. */
export const usageOf = (usage: Readonly<Record<string, unknown>>): Usage => {
  const uncached = tokens(usage["input_tokens"])
  const cacheRead = tokens(usage["cache_read_input_tokens"])
  const cacheWrite = tokens(usage["cache_creation_input_tokens"])
  const output = tokens(usage["output_tokens"])
  const details = usage["output_tokens_details"]
  const reasoning = Predicate.isObject(details) ? tokens(details["thinking_tokens"]) : undefined
  const total = uncached === undefined ? undefined : uncached + (cacheRead ?? 0) + (cacheWrite ?? 0)
  const text = output === undefined || reasoning === undefined ? undefined : Math.max(0, output - reasoning)
  return {
    inputTokens: known({ total, uncached, cacheRead, cacheWrite }),
    outputTokens: known({ total: output, text, reasoning })
  }
}

const tokens = (value: unknown): number | undefined =>
  typeof value === "number" && Number.isSafeInteger(value) && value >= 0 ? value : undefined

const known = (counts: Readonly<Record<string, number | undefined>>): Record<string, number> =>
  Object.fromEntries(Object.entries(counts).flatMap(([name, count]) => (count === undefined ? [] : [[name, count]])))
