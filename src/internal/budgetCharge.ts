/** What an attempt is charged when it has ended: by the table of reasons, and by what is known of its tokens. */
import type { Settlement } from "../Gate.ts"
import type { Charge } from "../Ledger.ts"
import { consequence } from "../LlmError.ts"
import type { Usage } from "../LlmResponse.ts"
import type { Service as Pricing } from "../Pricing.ts"
import type { Service as TokenCount } from "../Tokens.ts"
import type { Priced } from "./budgetLimits.ts"

/**
 * What a call costs that was sent and then lost. `"estimate"`: at least what was reserved, since thinking that nobody saw is
 * billed, too. `"delivered"`: only its input and what came of the answer.
 */
export type OnLost = "estimate" | "delivered"

/** What was known before the call. */
export interface Quoted {
  readonly call: Priced
  /** When its prices were looked up. */
  readonly at: number
  readonly inputTokens: number
  /** Nano-USD. */
  readonly reserved: number
}

export interface Bill {
  /** Nano-USD. */
  readonly amount: number
  readonly charge: Charge
}

export interface Terms {
  readonly pricing: Pricing
  readonly tokens: TokenCount
  readonly onLost: OnLost
}

/** `undefined` where nothing is charged. */
export const billOf = (terms: Terms, quoted: Quoted, settlement: Settlement): Bill | undefined => {
  const { error, outcome, phase, usage } = settlement
  if (phase === "refused" || phase === "connecting") return undefined
  const known = usage !== undefined && isCounted(usage) ? byUsage(terms, quoted, usage) : undefined
  const rule = error === undefined ? undefined : consequence(error).charge
  if (outcome === "success" || rule === "actual") return known ?? estimated(terms, quoted, settlement)
  // once something of an answer came, what went wrong behind it is billed, whatever it is called
  if (rule === "none" && phase !== "answered") return known
  return lost(terms, quoted, settlement, known)
}

const isCounted = ({ inputTokens, outputTokens }: Usage): boolean =>
  isCount(inputTokens.total) || isCount(outputTokens.total)

const byUsage = ({ pricing }: Terms, { at, call, reserved }: Quoted, usage: Usage): Bill => {
  const tokens = { input: whole(usage.inputTokens.total), output: whole(usage.outputTokens.total) }
  const amount = pricing.cost(call, usage, at)?.nanoUsd ?? reserved
  return { amount, charge: { outcome: "answered", tokens } }
}

/** By our own count of what went out and of what came back. */
const estimated = ({ pricing, tokens: count }: Terms, quoted: Quoted, settlement: Settlement): Bill => {
  const tokens = { input: quoted.inputTokens, output: count.count(settlement.output()) }
  const amount = pricing.quote(quoted.call, tokens, quoted.at)?.nanoUsd ?? quoted.reserved
  return { amount, charge: { outcome: "estimated", tokens } }
}

const lost = (terms: Terms, quoted: Quoted, settlement: Settlement, known: Bill | undefined): Bill => {
  const { amount, charge } = known ?? estimated(terms, quoted, settlement)
  const least = terms.onLost === "estimate" ? quoted.reserved : 0
  return { amount: Math.max(least, amount), charge: { ...charge, outcome: "lost" } }
}

const isCount = (count: number | undefined): count is number =>
  count !== undefined && count >= 0 && Number.isSafeInteger(Math.ceil(count))

const whole = (count: number | undefined): number => (isCount(count) ? Math.ceil(count) : 0)
