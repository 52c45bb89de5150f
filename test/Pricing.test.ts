import { readFileSync } from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import { calcPrice, findProvider } from "@pydantic/genai-prices"
import { Effect, Layer, Schema } from "effect"
import { TestClock } from "effect/testing"
import { LlmError, type LlmResponse, Pricing } from "effect-ballast"
import { TestProvider } from "effect-ballast/testing"

const at = Date.UTC(2026, 10, 28)
const mini = { provider: "openai", model: "gpt-4o-mini" }
const mine = { provider: "local", model: "mine" }

const usage = (inputTokens: LlmResponse.Usage["inputTokens"], output = 0, reasoning?: number): LlmResponse.Usage => ({
  inputTokens,
  outputTokens: { total: output, ...(reasoning === undefined ? {} : { reasoning }) }
})

/** Answers outside of effects: the service itself is synchronous. */
const listed = Effect.runSync(Effect.cached(Pricing.make))
const priceOf = (price: Pricing.Price) => Effect.runSync(Pricing.makeTable({ mine: price }, { base: "none" }))
const nano = (price: Pricing.Price, used: LlmResponse.Usage) => priceOf(price).cost(mine, used, at)?.nanoUsd

describe("Pricing.layer", () => {
  it.effect.each([
    // USD per million tokens: 0.15 in, 0.075 read from the cache, 0.60 out
    ["gpt-4o-mini", "openai", usage({ total: 1000 }, 500), 1000 * 150 + 500 * 600],
    ["gpt-4o-mini", "openai", usage({ total: 1000, cacheRead: 600 }, 500), 400 * 150 + 600 * 75 + 500 * 600],
    ["gpt-4o-mini", "openai", usage({ total: 1000 }, 500, 200), 1000 * 150 + 500 * 600],
    // 2.50 in, 15 out; 5.00 and 22.50 for the whole call from 272,000 tokens of input
    ["gpt-5.4", "openai", usage({ total: 100_000 }, 1000), 100_000 * 2500 + 1000 * 15_000],
    ["gpt-5.4", "openai", usage({ total: 271_999 }, 1000), 271_999 * 2500 + 1000 * 15_000],
    ["gpt-5.4", "openai", usage({ total: 272_001 }, 1000), 272_001 * 5000 + 1000 * 22_500],
    // 1 in, 1.25 written to the cache, 0.10 read from it, 5 out
    [
      "claude-haiku-4-5",
      "anthropic",
      usage({ total: 10_000, uncached: 1000, cacheRead: 7000, cacheWrite: 2000 }, 300),
      1000 * 1000 + 7000 * 100 + 2000 * 1250 + 300 * 5000
    ],
    ["gpt-5-mini-2025-08-07", "openai", usage({ total: 1000 }, 100), 1000 * 250 + 100 * 2000],
    ["text-embedding-3-small", "openai", usage({ total: 1001 }), 20_020]
  ] as const)("knows what %s costs", ([model, provider, used, expected]) =>
    Effect.map(listed, (pricing) =>
      assert.deepStrictEqual(pricing.cost({ provider, model }, used, at), { nanoUsd: expected, prices: pricing.date })
    )
  )

  it.effect("names the installed version of the package", () =>
    Effect.map(listed, ({ date }) => {
      const file = new URL("../node_modules/@pydantic/genai-prices/package.json", import.meta.url)
      const installed = Schema.decodeUnknownSync(Schema.fromJsonString(Schema.Struct({ version: Schema.String })))
      assert.strictEqual(date, `genai-prices ${installed(readFileSync(file, "utf8")).version} (2026-09-23)`)
    })
  )

  it.effect("has no price for what it does not know, and none for what is not billed by tokens", () =>
    Effect.map(listed, (pricing) => {
      const tokens = { input: 10, output: 10 }
      for (const of of [
        { provider: "local", model: "gpt-4o-mini" },
        { provider: "openai", model: "no-such-model" },
        { provider: "openai", model: "whisper-1" }, // by the hour
        { provider: "github-copilot", model: "gpt-4o" }, // listed without a price
        { provider: "openai", model: "text-embedding-3-small" } // has no output
      ]) {
        assert.isUndefined(pricing.cost(of, usage({ total: 10 }, 10), at))
        assert.isUndefined(pricing.quote(of, tokens, at))
        assert.isUndefined(pricing.quote(of, tokens, at, true))
      }
    })
  )

  it.effect("agrees with the package's own sums for every model of eight providers", () =>
    Effect.map(listed, (pricing) => {
      let compared = 0
      for (const providerId of [
        "openai",
        "anthropic",
        "google",
        "mistral",
        "x-ai",
        "deepseek",
        "perplexity",
        "azure"
      ]) {
        for (const { id } of findProvider({ providerId })?.models ?? []) {
          for (const input of [12_345, 199_999, 200_000, 200_001, 271_999, 272_000, 300_000]) {
            const theirs = calcPrice(
              { input_tokens: input, cache_read_tokens: 4000, cache_write_tokens: 3000, output_tokens: 777 },
              id,
              { providerId, timestamp: new Date(at) }
            )
            const used = usage({ total: input, cacheRead: 4000, cacheWrite: 3000 }, 777)
            const ours = pricing.cost({ provider: providerId, model: id }, used, at)
            if (ours === undefined) continue
            compared++
            assert.isNotNull(theirs)
            assert.isBelow(Math.abs(ours.nanoUsd - (theirs?.total_price ?? 0) * 1e9), 2, `${providerId}/${id} ${input}`)
          }
        }
      }
      assert.isAbove(compared, 1000)
    })
  )

  it.effect("prices a call with a fee for each", () =>
    Effect.map(listed, (pricing) => {
      const sonar = { provider: "perplexity", model: "sonar" } // 1 in, 1 out, and 12 for a thousand calls
      const fee = pricing.cost(sonar, usage({ total: 0 }), at)?.nanoUsd
      assert.strictEqual(
        fee,
        Math.round((calcPrice({}, "sonar", { providerId: "perplexity" })?.total_price ?? 0) * 1e9)
      )
      assert.isAbove(fee ?? 0, 1_000_000)
      assert.strictEqual(pricing.quote(sonar, { input: 7, output: 2 }, at)?.nanoUsd, (fee ?? 0) + 9000)
    })
  )

  it.effect("changes with the hour where the price does, at that very second", () =>
    Effect.map(listed, (pricing) => {
      const deepseek = { provider: "deepseek", model: "deepseek-v4-flash" }
      const peak = Date.UTC(2026, 10, 28, 1)
      const cost = (time: number) => pricing.cost(deepseek, usage({ total: 1000 }), time)?.nanoUsd ?? 0
      for (const time of [peak - 1, peak, peak + 1, peak - 1]) {
        const theirs = calcPrice({ input_tokens: 1000 }, deepseek.model, {
          providerId: "deepseek",
          timestamp: new Date(time)
        })
        assert.strictEqual(cost(time), Math.round((theirs?.total_price ?? 0) * 1e9))
      }
      assert.isAbove(cost(peak), cost(peak - 1))
    })
  )

  it.effect("changes with the day on which a price starts, also when it was asked before", () =>
    Effect.map(listed, (pricing) => {
      const models = findProvider({ providerId: "openai" })?.models ?? []
      const dated = models.flatMap(({ id, prices }) =>
        Array.isArray(prices)
          ? prices.flatMap(({ constraint }) => (constraint?.type === "start_date" ? [{ id, constraint }] : []))
          : []
      )
      assert.isAbove(dated.length, 0)
      for (const { constraint, id } of dated) {
        const starts = Date.parse(constraint.start_date)
        for (const time of [starts - 1, starts, starts - 1]) {
          const theirs = calcPrice({ input_tokens: 1000, output_tokens: 1000 }, id, {
            providerId: "openai",
            timestamp: new Date(time)
          })
          const ours = pricing.cost({ provider: "openai", model: id }, usage({ total: 1000 }, 1000), time)
          assert.strictEqual(ours?.nanoUsd, Math.round((theirs?.total_price ?? 0) * 1e9))
        }
      }
    })
  )

  it.effect("reserves the dearest price: one-hour cache writes, sound, the tier of a long input", () =>
    Effect.map(listed, (pricing) => {
      const dearest = (provider: string, model: string, input: number) =>
        pricing.quote({ provider, model }, { input, output: 10 }, at, true)?.nanoUsd
      assert.strictEqual(dearest("anthropic", "claude-haiku-4-5", 1000), 1000 * 2000 + 10 * 5000)
      assert.strictEqual(dearest("openai", "gpt-5.4", 271_999), 271_999 * 2500 + 10 * 15_000)
      assert.strictEqual(dearest("openai", "gpt-5.4", 272_000), 272_000 * 5000 + 10 * 22_500)
      assert.strictEqual(dearest("google", "gemini-2.5-flash", 1000), 1000 * 1000 + 10 * 2500) // sound in costs 1.00
    })
  )

  it.effect("goes on without bounds on the names it is asked for", () =>
    Effect.map(listed, (pricing) => {
      const first = pricing.quote(mini, { input: 1, output: 1 }, at)
      for (let i = 0; i < 3000; i++) {
        assert.isUndefined(pricing.quote({ provider: "openai", model: `none-${i}` }, { input: 1, output: 1 }, at))
      }
      assert.deepStrictEqual(pricing.quote(mini, { input: 1, output: 1 }, at), first)
    })
  )
})

describe("Pricing.layerTable", () => {
  const four = { input: 4, output: 4 }
  const tokens = { input: 1, output: 0 }

  it.effect("goes before the package, and provider/model before model", () =>
    Effect.gen(function* () {
      const pricing = yield* Pricing.makeTable({
        "gpt-4o-mini": { input: 1, output: 1 },
        "openai/gpt-4o-mini": { input: 2, output: 2 },
        "openai/gpt-4o": { input: 3, output: 3 }
      })
      const of = (provider: string, model: string) => pricing.quote({ provider, model }, tokens, at)
      assert.deepStrictEqual(of("openai", "gpt-4o-mini"), { nanoUsd: 2000, prices: "table" })
      assert.deepStrictEqual(of("azure", "gpt-4o-mini"), { nanoUsd: 1000, prices: "table" })
      assert.deepStrictEqual(of("openrouter", "openai/gpt-4o"), { nanoUsd: 3000, prices: "table" })
      assert.deepStrictEqual(of("openai", "gpt-5.4"), { nanoUsd: 2500, prices: pricing.date })
      assert.deepStrictEqual(of("openai", "gpt-4o-mini-2024-07-18"), { nanoUsd: 150, prices: pricing.date })
      assert.isUndefined(of("local", "mine"))
    })
  )

  it.effect("gives the default to what has no other price", () =>
    Effect.gen(function* () {
      const pricing = yield* Pricing.makeTable({}, { default: four })
      assert.deepStrictEqual(pricing.quote(mine, tokens, at), { nanoUsd: 4000, prices: "default" })
      assert.deepStrictEqual(pricing.quote(mini, tokens, at), { nanoUsd: 150, prices: pricing.date })
      const copilot = { provider: "github-copilot", model: "gpt-4o" }
      assert.deepStrictEqual(pricing.quote(copilot, tokens, at), { nanoUsd: 4000, prices: "default" })
    })
  )

  it.effect("without the package knows only the table", () =>
    Effect.gen(function* () {
      const pricing = yield* Pricing.makeTable({ mine: { input: 0, output: 0 } }, { base: "none" })
      assert.strictEqual(pricing.date, "table")
      assert.deepStrictEqual(pricing.cost(mine, usage({ total: 5 }, 5), at), { nanoUsd: 0, prices: "table" })
      assert.isUndefined(pricing.cost(mini, usage({ total: 5 }, 5), at))
      assert.isUndefined(pricing.cost({ provider: "a", model: "__proto__" }, usage({ total: 5 }, 5), at))
    })
  )

  it("takes a tier for the whole call above its tokens, and prices what it leaves out as its own input and output", () => {
    const price = {
      ...four,
      cacheRead: 1,
      cacheWrite: 5,
      reasoning: 6,
      tiers: [
        { above: 200, input: 16, output: 16, cacheRead: 2, cacheWrite: 20, reasoning: 32 },
        { above: 100, input: 8, output: 8 }
      ]
    }
    const of = (total: number) => nano(price, usage({ total, cacheRead: 10, cacheWrite: 20 }, 50, 5))
    assert.strictEqual(of(100), 70 * 4000 + 10 * 1000 + 20 * 5000 + 45 * 4000 + 5 * 6000)
    assert.strictEqual(of(101), 101 * 8000 + 50 * 8000)
    assert.strictEqual(of(200), 200 * 8000 + 50 * 8000)
    assert.strictEqual(of(201), 171 * 16_000 + 10 * 2000 + 20 * 20_000 + 45 * 16_000 + 5 * 32_000)
  })

  it("reserves for a shorter input too, where a longer one is cheaper", () => {
    const service = priceOf({ ...four, tiers: [{ above: 100, input: 1, output: 1 }] })
    const quote = (input: number, dearest: boolean) => service.quote(mine, { input, output: 10 }, at, dearest)?.nanoUsd
    assert.strictEqual(quote(150, false), 150 * 1000 + 10 * 1000)
    assert.strictEqual(quote(150, true), 150 * 4000 + 10 * 4000)
    assert.isAbove(quote(150, true) ?? 0, service.cost(mine, usage({ total: 100 }, 10), at)?.nanoUsd ?? 0)
  })

  it.each([
    [{ input: -1, output: 1 }, "input"],
    [{ input: Number.NaN, output: 1 }, "input"],
    [{ input: 1, output: Infinity }, "output"],
    [{ input: 1 } as Pricing.Price, "output"], // from a program without types
    [{ input: "1" as unknown as number, output: 1 }, "input"], // from a program without types
    [{ ...four, cacheRead: -1 }, "cacheRead"],
    [{ ...four, cacheWrite: Number.NaN }, "cacheWrite"],
    [{ ...four, reasoning: -0.1 }, "reasoning"],
    [{ ...four, tiers: [{ ...four, above: -1 }] }, "tiers[0].above"],
    [{ ...four, tiers: [{ ...four, above: 1.5 }] }, "tiers[0].above"],
    [
      {
        ...four,
        tiers: [
          { ...four, above: 1 },
          { above: 2, input: -1, output: 1 }
        ]
      },
      "tiers[1].input"
    ]
  ])("throws for %j", (price, field) => {
    const message = `Pricing: "mine".${field} must be`
    assert.throws(() => Pricing.layerTable({ mine: price }), RangeError, message)
    assert.throws(() => Pricing.layerTable({}, { default: price }), RangeError, `Pricing: default.${field} must be`)
  })

  it("throws for two tiers above one count, and for a base that it does not know", () => {
    const tier = { ...four, above: 9 }
    assert.throws(() => Pricing.layerTable({ mine: { ...four, tiers: [tier, tier] } }), RangeError, "two tiers above 9")
    const base = "other" as "none" // from a program without types
    assert.throws(() => Pricing.layerTable({}, { base }), RangeError, "base must be")
  })
})

describe("a cost", () => {
  it("is exact for fine prices and rounded up once, not for each kind of token", () => {
    assert.strictEqual(nano({ input: 0.0375, output: 0 }, usage({ total: 1 })), 38) // 37.5
    assert.strictEqual(nano({ input: 0.0375, output: 0.0375 }, usage({ total: 1 }, 1)), 75)
    assert.strictEqual(nano({ input: 0.0375, output: 0.0375 }, usage({ total: 3 }, 1)), 150)
    assert.strictEqual(nano({ input: 0.11, output: 0 }, usage({ total: 3_000_000 })), 330_000_000) // 0.32999999999999996
    assert.strictEqual(nano({ input: 0.1, output: 0.2 }, usage({ total: 1_000_000 }, 1_000_000)), 300_000_000)
    assert.strictEqual(nano({ input: 1e-7, output: 0 }, usage({ total: 10_000 })), 1)
    assert.strictEqual(nano({ input: 1e-7, output: 0 }, usage({ total: 10_001 })), 2)
    assert.strictEqual(nano({ input: 5e-324, output: 0 }, usage({ total: 1 })), 1)
    assert.strictEqual(nano({ input: 1 / 3, output: 0 }, usage({ total: 30_000_000 })), 10_000_000_000)
    assert.strictEqual(nano({ input: 1 / 3, output: 0 }, usage({ total: 1e12 })), 333_333_333_333_334)
  })

  it("is at most the largest safe integer", () => {
    const most = Number.MAX_SAFE_INTEGER
    for (const rate of [75, 1e308]) {
      const price = { input: rate, output: rate }
      assert.strictEqual(nano(price, usage({ total: 1e308 }, Infinity)), most)
      assert.strictEqual(priceOf(price).quote(mine, { input: Infinity, output: 1 }, at)?.nanoUsd, most)
      assert.strictEqual(priceOf(price).quote(mine, { input: 1, output: Number.NaN }, at, true)?.nanoUsd, most)
    }
    assert.strictEqual(nano({ input: 1e308, output: 0 }, usage({ total: 0 })), 0)
  })

  const price = { input: 10, output: 100, cacheRead: 1, cacheWrite: 12, reasoning: 50 }

  it.each<readonly [string, LlmResponse.Usage, number]>([
    ["nothing", { inputTokens: {}, outputTokens: {} }, 0],
    ["no numbers", usage({ total: Number.NaN, cacheRead: -5, uncached: 7 }, -1), 70_000],
    ["parts of tokens", usage({ total: 0.5 }), 10_000],
    ["no totals", { inputTokens: { uncached: 1, cacheRead: 2 }, outputTokens: { text: 3, reasoning: 4 } }, 512_000],
    ["a total without the cache's tokens", usage({ total: 10, cacheRead: 1000 }), 1_100_000],
    ["a total without the cache's tokens, uncached given", usage({ total: 30, uncached: 30, cacheRead: 20 }), 320_000],
    ["a total without reasoning", usage({ total: 0 }, 10, 500), 26_000_000],
    ["a total below the text", { inputTokens: {}, outputTokens: { total: 1, text: 5 } }, 500_000]
  ])("of usage with %s takes the dearer reading and never throws", (_, used, expected) => {
    assert.strictEqual(nano(price, used), expected)
  })
})

describe("Pricing.estimate and Pricing.cost", () => {
  const asking = (provider: string, model: string) =>
    Layer.mergeAll(TestProvider.layer({ provider, model }), Pricing.layer)

  it.effect("price a request by its tokens and the answer that it allows, or 500 tokens", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(at)
      const short = yield* Pricing.estimate({ prompt: "Hello", maxOutputTokens: 10 })
      const long = yield* Pricing.estimate("Hello")
      assert.strictEqual(long.nanoUsd - short.nanoUsd, 490 * 600)
      assert.isAbove(short.nanoUsd, 10 * 600)
    }).pipe(Effect.provide(asking("openai", "gpt-4o-mini")))
  )

  it.effect("price an answer by its usage", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(at)
      assert.strictEqual((yield* Pricing.cost(usage({ total: 10 }, 2))).nanoUsd, 2700)
    }).pipe(Effect.provide(asking("openai", "gpt-4o-mini")))
  )

  it.effect("fail with Unpriced, which names the model, for one without a price", () =>
    Effect.gen(function* () {
      for (const ask of [Pricing.estimate("Hello"), Pricing.cost(usage({ total: 10 }, 2))]) {
        const error = yield* Effect.flip(ask)
        assert.instanceOf(error, LlmError.LlmError)
        assert.strictEqual(error.reason._tag, "Unpriced")
        assert.strictEqual(
          error.message,
          "local/mine: No price is known for the model: give one with Pricing.layerTable, or a default price"
        )
      }
    }).pipe(Effect.provide(asking("local", "mine")))
  )

  it.effect("refuse a request that breaks a rule", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(Pricing.estimate({ prompt: "Hello", maxOutputTokens: 0 }))
      assert.strictEqual(error.reason._tag, "InvalidRequestError")
    }).pipe(Effect.provide(asking("openai", "gpt-4o-mini")))
  )
})
