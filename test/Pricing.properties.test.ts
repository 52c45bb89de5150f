/** What holds for any prices and any usage, against sums of whole numbers. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { type LlmResponse, Pricing } from "effect-ballast"

const at = Date.UTC(2026, 10, 28)
const mine = { provider: "local", model: "mine" }

const priceOf = (price: Pricing.Price) => Effect.runSync(Pricing.makeTable({ mine: price }, { base: "none" }))
const nano = (price: Pricing.Price, used: LlmResponse.Usage) => priceOf(price).cost(mine, used, at)?.nanoUsd

const Count = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 2_000_000 }))
const Few = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 400_000 }))
const Digits = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 99_999 }))
const Decimals = Schema.Literals([0, 1, 2, 3, 4, 5, 7])
const absurd = [0, 1, 3, -1, 0.5, 1e6, 2 ** 53, 1e300, Infinity, -Infinity, Number.NaN]
const Any = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: absurd.length - 1 }))
const Rate = Schema.Struct({ digits: Digits, decimals: Decimals })
const Rates = Schema.Struct({ input: Rate, output: Rate, cacheRead: Rate, cacheWrite: Rate, reasoning: Rate })
const Parts = Schema.Struct({ uncached: Few, cacheRead: Few, cacheWrite: Few, text: Few, reasoning: Few })

const rateOf = ({ decimals, digits }: typeof Rate.Type) => Number(`${digits}e-${decimals}`)
const pricesOf = (rates: typeof Rates.Type) => ({
  input: rateOf(rates.input),
  output: rateOf(rates.output),
  cacheRead: rateOf(rates.cacheRead),
  cacheWrite: rateOf(rates.cacheWrite),
  reasoning: rateOf(rates.reasoning)
})

const whole = (parts: typeof Parts.Type): LlmResponse.Usage => {
  const { cacheRead, cacheWrite, reasoning, text, uncached } = parts
  return {
    inputTokens: { total: uncached + cacheRead + cacheWrite, uncached, cacheRead, cacheWrite },
    outputTokens: { total: text + reasoning, text, reasoning }
  }
}

const names = ["uncached", "cacheRead", "cacheWrite", "text", "reasoning"] as const

const added = (a: typeof Parts.Type, b: typeof Parts.Type) => ({
  uncached: a.uncached + b.uncached,
  cacheRead: a.cacheRead + b.cacheRead,
  cacheWrite: a.cacheWrite + b.cacheWrite,
  text: a.text + b.text,
  reasoning: a.reasoning + b.reasoning
})

/** The sum in units of 10^-7 nano-USD, without a floating number. */
const inFractions = (parts: typeof Parts.Type, rates: typeof Rates.Type): bigint => {
  const of = (count: number, { decimals, digits }: typeof Rate.Type) =>
    BigInt(count) * BigInt(digits) * 1000n * 10n ** BigInt(7 - decimals)
  return (
    of(parts.uncached, rates.input) +
    of(parts.cacheRead, rates.cacheRead) +
    of(parts.cacheWrite, rates.cacheWrite) +
    of(parts.text, rates.output) +
    of(parts.reasoning, rates.reasoning)
  )
}

describe("for any prices", () => {
  it.effect.prop("a cost is the exact sum, rounded up", { parts: Parts, rates: Rates }, ({ parts, rates }) =>
    Effect.sync(() => {
      const expected = (inFractions(parts, rates) + 10n ** 7n - 1n) / 10n ** 7n
      assert.strictEqual(BigInt(nano(pricesOf(rates), whole(parts)) ?? -1), expected)
    })
  )

  it.effect.prop(
    "a cost never falls when a count grows, also over a dearer tier",
    { parts: Parts, rates: Rates, more: Count, above: Few },
    ({ above, more, parts, rates }) =>
      Effect.sync(() => {
        const base = pricesOf(rates)
        const tier = {
          above,
          input: base.input * 2,
          output: base.output * 2,
          cacheRead: base.cacheRead * 2,
          cacheWrite: base.cacheWrite * 2,
          reasoning: base.reasoning * 2
        }
        const service = priceOf({ ...base, tiers: [tier] })
        const cost = (some: typeof Parts.Type) => service.cost(mine, whole(some), at)?.nanoUsd ?? -1
        for (const name of names) assert.isAtLeast(cost({ ...parts, [name]: parts[name] + more }), cost(parts))
      })
  )

  it.effect.prop(
    "two costs are that of both, to one nano-USD",
    { a: Parts, b: Parts, rates: Rates },
    ({ a, b, rates }) =>
      Effect.sync(() => {
        const cost = (some: typeof Parts.Type) => nano(pricesOf(rates), whole(some)) ?? -1
        const apart = cost(a) + cost(b)
        assert.isTrue(apart === cost(added(a, b)) || apart === cost(added(a, b)) + 1)
      })
  )

  it.effect.prop(
    "the dearest quote is at least the cost of any usage within its tokens",
    { parts: Parts, rates: Rates, other: Rates, above: Few, moreIn: Few, moreOut: Few },
    ({ above, moreIn, moreOut, other, parts, rates }) =>
      Effect.sync(() => {
        const service = priceOf({ ...pricesOf(rates), tiers: [{ ...pricesOf(other), above }] })
        const used = whole(parts)
        const input = (used.inputTokens.total ?? 0) + moreIn
        const output = (used.outputTokens.total ?? 0) + moreOut
        const most = service.quote(mine, { input, output }, at, true)?.nanoUsd ?? -1
        assert.isAtLeast(most, service.cost(mine, used, at)?.nanoUsd ?? Infinity)
        assert.isAtLeast(most, service.quote(mine, { input, output }, at)?.nanoUsd ?? Infinity)
      })
  )

  it.effect.prop(
    "absurd usage costs a safe integer, zero or more",
    { rates: Rates, counts: Schema.Tuple([Any, Any, Any, Any, Any, Any, Any]) },
    ({ counts, rates }) =>
      Effect.sync(() => {
        const [total = 0, uncached, cacheRead, cacheWrite, output = 0, text, reasoning] = counts.map((i) => absurd[i])
        const used = {
          inputTokens: { total, uncached, cacheRead, cacheWrite },
          outputTokens: { total: output, text, reasoning }
        }
        const service = priceOf(pricesOf(rates))
        for (const cost of [
          service.cost(mine, used, at),
          service.quote(mine, { input: total, output }, at),
          service.quote(mine, { input: total, output }, Number.NaN, true)
        ]) {
          assert.isTrue(Number.isSafeInteger(cost?.nanoUsd) && (cost?.nanoUsd ?? -1) >= 0)
        }
      })
  )
})
