/** What tokens cost at a price, in whole nano-USD: exact however fine the price is, and rounded up once for the whole call. */
import type { Usage } from "../LlmResponse.ts"

/** USD per million tokens. What is left out costs as input or output do. */
export interface Rates {
  readonly input: number
  readonly output: number
  readonly cacheRead?: number | undefined
  readonly cacheWrite?: number | undefined
  readonly reasoning?: number | undefined
}

/** Rates of a whole call whose input, cache reads and writes included, has more tokens than `above`. */
export interface Tier extends Rates {
  readonly above: number
}

/** The dearest that any input or output token may cost, where that is more than the rates above. */
interface Dearest {
  readonly dearestInput?: number | undefined
  readonly dearestOutput?: number | undefined
}

export interface Options {
  readonly tiers: ReadonlyArray<Rates & Dearest & { readonly above: number }>
  /** USD per thousand calls, whatever their tokens. Default 0. */
  readonly thousandCalls?: number | undefined
  /** Whether there is no price for output, as for embeddings. Default `false`. */
  readonly inputOnly?: boolean | undefined
}

export interface Price {
  /** Where the price is from. */
  readonly name: string
  /** Undefined where there is output and no price for it. */
  readonly cost: (usage: Usage) => number | undefined
  readonly quote: (tokens: { readonly input: number; readonly output: number }, dearest: boolean) => number | undefined
}

/** The tiers must begin with one above -1, and ascend. */
export const make = (name: string, { inputOnly = false, thousandCalls = 0, tiers }: Options): Price => {
  const exact = tiers.map((tier) => scaled(tier, thousandCalls))
  const decimals = Math.max(0, ...exact.flatMap((row) => row.map((rate) => -rate.exponent)))
  const rows = exact.map((row) => row.map((rate) => rate.digits * 10n ** BigInt(rate.exponent + decimals)))
  const sum = summer(rows, 10n ** BigInt(decimals))
  const tierOf = (input: number): number => tiers.findLastIndex((tier) => input > tier.above)
  return {
    name,
    cost: (usage) => {
      const { cacheRead, cacheWrite, reasoning, text, uncached } = partsOf(usage)
      if (inputOnly && text + reasoning > 0) return undefined
      return sum(tierOf(uncached + cacheRead + cacheWrite), [uncached, text, cacheRead, cacheWrite, reasoning, 0, 0, 1])
    },
    quote: (tokens, dearest) => {
      const input = bound(tokens.input)
      const output = bound(tokens.output)
      if (inputOnly && output > 0) return undefined
      const last = tierOf(input)
      if (!dearest) return sum(last, [input, output, 0, 0, 0, 0, 0, 1])
      let most = 0
      for (let tier = 0; tier <= last; tier++) most = Math.max(most, sum(tier, [0, 0, 0, 0, 0, input, output, 1]))
      return most
    }
  }
}

interface Decimal {
  readonly digits: bigint
  readonly exponent: number
}

/** In nano-USD: a USD per million tokens is 10^3 per token, a USD per thousand calls 10^6 per call. */
const scaled = (tier: Rates & Dearest, thousandCalls: number): ReadonlyArray<Decimal> => {
  const { cacheRead = tier.input, cacheWrite = tier.input, input, output, reasoning = tier.output } = tier
  const dearestInput = Math.max(input, cacheRead, cacheWrite, tier.dearestInput ?? 0)
  const dearestOutput = Math.max(output, reasoning, tier.dearestOutput ?? 0)
  const perToken = [input, output, cacheRead, cacheWrite, reasoning, dearestInput, dearestOutput]
  return [...perToken.map((rate) => decimal(rate, 3)), decimal(thousandCalls, 6)]
}

/** The decimal that was written, not the binary fraction next to it. */
const decimal = (value: number, shift: number): Decimal => {
  const [mantissa = "", exponent = "0"] = String(value).split("e")
  const [whole = "", fraction = ""] = mantissa.split(".")
  return { digits: BigInt(whole + fraction), exponent: Number(exponent) - fraction.length + shift }
}

/** Counts times a tier's rates, rounded up: with numbers as long as they are exact, else with bigints. */
const summer = (rows: ReadonlyArray<ReadonlyArray<bigint>>, scale: bigint) => {
  const fastRows = rows.map((row) => row.map(Number))
  const fastScale = Number(scale)
  return (tier: number, counts: ReadonlyArray<number>): number => {
    const fast = fastRows[tier] ?? []
    let sum = 0
    for (let i = 0; i < counts.length; i++) sum += (counts[i] ?? 0) * (fast[i] ?? 0)
    if (sum <= Number.MAX_SAFE_INTEGER) {
      const rest = sum % fastScale
      return rest === 0 ? sum / fastScale : (sum - rest) / fastScale + 1
    }
    const exact = (rows[tier] ?? []).reduce((total, rate, i) => total + rate * BigInt(counts[i] ?? 0), 0n)
    const up = (exact + scale - 1n) / scale
    return up > largest ? Number.MAX_SAFE_INTEGER : Number(up)
  }
}

const largest = BigInt(Number.MAX_SAFE_INTEGER)

const partsOf = ({ inputTokens, outputTokens }: Usage) => {
  const cacheRead = count(inputTokens.cacheRead) ?? 0
  const cacheWrite = count(inputTokens.cacheWrite) ?? 0
  const reasoning = count(outputTokens.reasoning) ?? 0
  return {
    cacheRead,
    cacheWrite,
    uncached: rest(inputTokens.total, cacheRead + cacheWrite, inputTokens.uncached),
    reasoning,
    text: rest(outputTokens.total, reasoning, outputTokens.text)
  }
}

/** A total below what it should include is taken for one that leaves it out; of two answers the larger holds. */
const rest = (total: number | undefined, included: number, given: number | undefined): number => {
  const all = count(total) ?? 0
  return Math.max(count(given) ?? 0, all >= included ? all - included : all)
}

/** Whole tokens, rounded up; nothing for what is no count. */
const count = (value: number | undefined): number | undefined =>
  value !== undefined && value >= 0 ? Math.min(Math.ceil(value), Number.MAX_SAFE_INTEGER) : undefined

/** What is no number has no bound. */
const bound = (value: number): number => count(Number.isNaN(value) ? Infinity : value) ?? 0
