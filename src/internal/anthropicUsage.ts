/** Why Anthropic stopped and what it counted, in the words of `effect/ai`. */
import type { FinishReason, Usage } from "../LlmResponse.ts"
import { countOf, type Fields, known, objectOf } from "./fields.ts"

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
export const usageOf = (usage: Fields): Usage => {
  const uncached = countOf(usage["input_tokens"])
  const cacheRead = countOf(usage["cache_read_input_tokens"])
  const cacheWrite = countOf(usage["cache_creation_input_tokens"])
  const output = countOf(usage["output_tokens"])
  const reasoning = countOf(objectOf(usage["output_tokens_details"])["thinking_tokens"])
  const total = uncached === undefined ? undefined : uncached + (cacheRead ?? 0) + (cacheWrite ?? 0)
  const text = output === undefined || reasoning === undefined ? undefined : Math.max(0, output - reasoning)
  return {
    inputTokens: known({ total, uncached, cacheRead, cacheWrite }),
    outputTokens: known({ total: output, text, reasoning })
  }
}
