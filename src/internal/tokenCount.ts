/** What a call counts for in token limits: before it is known, and when it is. */
import type { Settlement } from "../Gate.ts"
import { consequence } from "../LlmError.ts"
import type { Usage } from "../LlmResponse.ts"
import type { Cost } from "./limits.ts"

/**
 * How a provider counts. `"usage"`: all that was used. `"openai"`: all that the request may use (`maxOutputTokens`), of which
 * nothing is given back. `"anthropic"`: what was used, without what was read from its prompt cache. A function: whatever it
 * makes of the usage.
 */
export type TokenCount =
  | "usage"
  | "openai"
  | "anthropic"
  | ((usage: Usage) => { readonly input: number; readonly output: number })

/** What was really used, of what was reserved. */
export const usedOf = (count: TokenCount, reserved: Cost, settlement: Settlement): Cost => {
  const { phase } = settlement
  if (phase === "refused" || phase === "connecting") return nothing
  const { inputTokens, outputTokens } = tokensOf(count, reserved, settlement)
  return { requests: reserved.requests, inputTokens, outputTokens }
}

const nothing: Cost = { requests: 0, inputTokens: 0, outputTokens: 0 }

type Tokens = Pick<Cost, "inputTokens" | "outputTokens">

const tokensOf = (count: TokenCount, reserved: Cost, settlement: Settlement): Tokens => {
  const { error, usage } = settlement
  // refused by the provider before an answer began
  if (error !== undefined && usage === undefined && consequence(error).charge === "none") return nothing
  const { inputTokens = reserved.inputTokens, outputTokens = reserved.outputTokens } = counted(count, usage)
  // what was lost on the way was used, as far as we know
  const lost = settlement.outcome !== "success" && error !== undefined && consequence(error).charge === "lost"
  return count === "openai" || lost || settlement.outcome === "abandoned"
    ? {
        inputTokens: Math.max(reserved.inputTokens, inputTokens),
        outputTokens: Math.max(reserved.outputTokens, outputTokens)
      }
    : { inputTokens, outputTokens }
}

const counted = (count: TokenCount, usage: Usage | undefined): Partial<Tokens> => {
  if (usage === undefined) return {}
  const { cacheRead = 0, total: input } = usage.inputTokens
  const { total: output } = usage.outputTokens
  if (typeof count === "function") {
    const { input, output } = count(usage)
    return { ...whole("inputTokens", input), ...whole("outputTokens", output) }
  }
  const read = count === "anthropic" ? cacheRead : 0
  return { ...whole("inputTokens", input === undefined ? undefined : input - read), ...whole("outputTokens", output) }
}

/** A count, or nothing where it is none. */
const whole = (name: keyof Tokens, value: number | undefined): Partial<Tokens> => {
  if (value === undefined || !(value >= 0) || !Number.isSafeInteger(Math.ceil(value))) return {}
  return { [name]: Math.ceil(value) }
}
