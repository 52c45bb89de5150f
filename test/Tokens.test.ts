import { Buffer } from "node:buffer"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { Prompt } from "effect/ai"
import { makeUnsafe } from "effect-ballast/LlmRequest"
import * as Tokens from "effect-ballast/Tokens"
import { countTokens } from "gpt-tokenizer/encoding/o200k_base"
import { texts } from "./fixtures/texts.ts"

const { count, estimate } = Tokens.approximate
const exact = (text: string): number => countTokens(text, { disallowedSpecial: new Set() })

/** What is further off than the others, and by how much: texts without words, and languages that share the Latin alphabet. */
const wider: Readonly<Record<string, readonly [number, number]>> = {
  base64: [0.6, 0.8],
  spaces: [0.9, 1.5],
  rule: [0.9, 1.5],
  repeated: [1, 1.8],
  vietnamese: [1, 1.6],
  inuktitut: [0.7, 1]
}

describe("Tokens.approximate", () => {
  it.each(Object.entries(texts))("is within a quarter below and a third above o200k for %s", (name, text) => {
    const [low, high] = wider[name] ?? [0.75, 1.33]
    const ratio = count(text) / exact(text)
    assert.isAtLeast(ratio, low)
    assert.isAtMost(ratio, high)
  })

  it("is within 3 % of o200k over all of them together", () => {
    const all = Object.values(texts)
    const sum = (counted: (text: string) => number) => all.reduce((total, text) => total + counted(text), 0)
    assert.isAtLeast(sum(count) / sum(exact), 0.97)
    assert.isAtMost(sum(count) / sum(exact), 1.03)
  })

  it("is nothing for no text, and at least one for any", () => {
    assert.strictEqual(count(""), 0)
    for (const text of [" ", "\n", "a", ".", "\u200d", "\ud83d", "\udc00"]) assert.isAtLeast(count(text), 1)
  })

  it("counts no character above its UTF-8 bytes, wherever it stands", () => {
    const before = ["", " ", "\n", ".", "a", "1"]
    for (let code = 0; code <= 0xffff; code++) {
      const one = String.fromCharCode(code)
      for (const text of before.flatMap((start) => [start + one, start + one.repeat(20)])) {
        if (count(text) > Buffer.byteLength(text)) assert.fail(`${JSON.stringify(text)}: ${count(text)}`)
      }
    }
  })

  it.effect.prop("never exceeds the UTF-8 bytes, as o200k does not", [Schema.Array(pieces())], ([some]) =>
    Effect.sync(() => {
      const text = textOf(some)
      assert.isAtMost(count(text), Buffer.byteLength(text))
      assert.isAtMost(exact(text), Buffer.byteLength(text))
    })
  )

  it.effect.prop(
    "a longer text has no fewer, and two texts put together hardly more than apart",
    [Schema.Array(pieces()), Schema.Array(pieces())],
    ([first, second]) =>
      Effect.sync(() => {
        const [a, b] = [textOf(first), textOf(second)]
        assert.isAtLeast(count(a + b), count(a))
        assert.isAtMost(count(a + b), count(a) + count(b) + 2)
      })
  )

  it("takes a megabyte without a space in its stride", () => {
    assert.strictEqual(count("a".repeat(1_000_000)), Math.ceil((100 + (1_000_000 - 5) * 21) / 100))
    assert.strictEqual(count("漢".repeat(1_000_000)), 790_000)
  })
})

/** A passage of one of the texts, which may begin or end within a surrogate pair. */
function pieces() {
  const place = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 240 }))
  return Schema.Struct({ name: Schema.Literals(Object.keys(texts)), from: place, length: place })
}

const textOf = (some: ReadonlyArray<{ readonly name: string; readonly from: number; readonly length: number }>) =>
  some.map(({ from, length, name }) => (texts[name] ?? "").slice(from, from + length)).join("")

const spied = () => {
  const seen: Array<string> = []
  return { seen, tokens: Tokens.make((text) => (seen.push(text), text.length)) }
}

describe("the estimate of a request", () => {
  it("is the prompt's text with 4 for each message and 3 for the answer's head", () => {
    const { tokens } = spied()
    const request = makeUnsafe({
      prompt: [
        { role: "system", content: "12345" },
        { role: "user", content: [{ type: "text", text: "1234567" }] },
        { role: "assistant", content: [{ type: "reasoning", text: "12" }, { type: "text", text: "123" }] } // prettier-ignore
      ]
    })
    assert.deepStrictEqual(tokens.estimate(request), { input: 32, messages: 32, tools: 0 })
  })

  it("counts tool calls, results and definitions, with their schemas as JSON", () => {
    const { tokens } = spied()
    const plain = makeUnsafe({ prompt: chat })
    const called = 4 + "weather".length + '{"city":"Graz"}'.length
    const answered = 4 + "weather".length + '{"sky":"clear"}'.length
    assert.deepStrictEqual(tokens.estimate(plain), {
      input: 3 + (4 + 2) + (4 + called) + (4 + answered),
      messages: 3 + (4 + 2) + (4 + called) + (4 + answered),
      tools: 0
    })
    const schema = { type: "object", properties: {} }
    const tools = [{ name: "weather", description: "Tells", parameters: schema }]
    const responseFormat = { type: "json", name: "reply", schema } as const
    const all = tokens.estimate({ ...plain, tools, responseFormat })
    const size = JSON.stringify(schema).length
    assert.strictEqual(all.tools, 12 + (12 + "weather".length + "Tells".length + size) + (12 + "reply".length + size))
    assert.strictEqual(all.input, all.messages + all.tools)
  })

  it("counts files by their kind", () => {
    const of = (mediaType: string, data: string | Uint8Array | URL) =>
      estimate(withFile(mediaType, data)).input - estimate(withFile("text/plain", "")).input
    assert.strictEqual(of("image/png", new Uint8Array(10)), 1600)
    assert.strictEqual(of("image/png", new URL("https://example.com/a.png")), 1600)
    assert.strictEqual(of("application/pdf", new Uint8Array(120_000)), 6000)
    assert.strictEqual(of("application/pdf", new URL("https://example.com/a.pdf")), 20_000)
    assert.strictEqual(of("audio/wav", new Uint8Array(64_000)), 64)
    const text = Buffer.from(texts["english"] ?? "")
    assert.strictEqual(of("text/plain", text), count(text.toString()))
    assert.strictEqual(of("text/plain", text.toString("base64")), count(text.toString()))
    assert.strictEqual(of("text/plain", `data:text/plain;base64,${text.toString("base64")}`), count(text.toString()))
  })

  it("takes what JSON cannot hold for nothing", () => {
    const params: Record<string, unknown> = { big: 1n }
    params["self"] = params
    const request = makeUnsafe({
      prompt: [{ role: "assistant", content: [{ type: "tool-call", id: "1", name: "t", params }] }]
    })
    assert.strictEqual(spied().tokens.estimate(request).input, 3 + 4 + 4 + 1)
  })

  it("looks at a message and at a tool once, so that a long chat costs its new message only", () => {
    const { seen, tokens } = spied()
    const messages = Array.from({ length: 100 }, (_, i) => Prompt.userMessage({ content: [text(`message ${i}`)] }))
    const tools = [{ name: "weather", parameters: { type: "object" } }]
    const first = tokens.estimate({ prompt: Prompt.fromMessages(messages), tools })
    const looked = seen.length
    const next = Prompt.fromMessages([...messages, Prompt.userMessage({ content: [text("and now?")] })])
    const second = tokens.estimate({ prompt: next, tools })
    assert.deepStrictEqual(seen.slice(looked), ["and now?"])
    assert.strictEqual(second.input - first.input, 4 + "and now?".length)
  })
})

const text = (value: string) => Prompt.textPart({ text: value })

const chat = [
  { role: "user", content: "hi" },
  { role: "assistant", content: [{ type: "tool-call", id: "call_1", name: "weather", params: { city: "Graz" } }] },
  {
    role: "tool",
    content: [{ type: "tool-result", id: "call_1", name: "weather", isFailure: false, result: { sky: "clear" } }]
  }
] satisfies Prompt.RawInput

const withFile = (mediaType: string, data: string | Uint8Array | URL) => ({
  prompt: Prompt.fromMessages([Prompt.userMessage({ content: [Prompt.filePart({ mediaType, data }), text("what?")] })])
})

describe("Tokens.upperBound", () => {
  it.effect.prop("is not below what any text really is", [Schema.Array(pieces())], ([some]) =>
    Effect.sync(() => {
      const request = makeUnsafe({ prompt: [{ role: "user", content: `?${textOf(some)}` }] })
      assert.isAtLeast(Tokens.upperBound(request), Tokens.make(exact).estimate(request).input)
    })
  )

  it("is the UTF-8 bytes and 16 for each message, tool and result, with ids and options", () => {
    const bare = Tokens.upperBound(makeUnsafe("x"))
    assert.strictEqual(Tokens.upperBound(makeUnsafe("xé漢😀")) - bare, 2 + 3 + 4)
    const two = makeUnsafe({ prompt: [...Prompt.make("x").content, ...Prompt.make("y").content] })
    assert.strictEqual(Tokens.upperBound(two) - bare, 16 + 1 + 2 * "{}".length)
    const options = { openai: { service_tier: "flex" } }
    const told = makeUnsafe({ prompt: "x", providerOptions: options })
    assert.strictEqual(Tokens.upperBound(told) - bare, JSON.stringify(options).length)
    const tools = [{ name: "t", parameters: {} }]
    assert.strictEqual(Tokens.upperBound(makeUnsafe({ prompt: "x", tools })) - bare, 1024 + 16 + 1 + 2)
    assert.isAtLeast(Tokens.upperBound(makeUnsafe({ prompt: chat })), estimate(makeUnsafe({ prompt: chat })).input)
  })

  it("bounds pictures, sound and text, and says where it cannot", () => {
    const of = (mediaType: string, data: string | Uint8Array | URL) =>
      Tokens.upperBound(withFile(mediaType, data)) - Tokens.upperBound(withFile("text/plain", ""))
    assert.strictEqual(of("image/png", new URL("https://example.com/a.png")), 50_000)
    assert.strictEqual(of("audio/mp3", new Uint8Array(5000)), 5000)
    assert.strictEqual(of("text/plain", new Uint8Array(5000)), 5000)
    assert.strictEqual(of("application/pdf", new Uint8Array(5000)), Infinity)
    assert.strictEqual(of("text/plain", "https://example.com/a.txt"), Infinity)
  })
})

describe("Tokens.layerExact", () => {
  it.effect("is the approximate one where no layer is given", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* Tokens.Tokens, Tokens.approximate)
    })
  )

  it.effect("counts as the package does, within 0.5 % (or 4 tokens) where a text is cut", () =>
    Effect.gen(function* () {
      const tokens = yield* Tokens.Tokens
      for (const text of Object.values(texts)) {
        const short = text.slice(0, 500)
        assert.strictEqual(tokens.count(short), exact(short))
        const long = text.repeat(1 + Math.ceil(2000 / text.length))
        assert.isAtMost(Math.abs(tokens.count(long) - exact(long)), Math.max(4, exact(long) / 200))
      }
    }).pipe(Effect.provide(Tokens.layerExact()))
  )

  it.effect("takes special tokens in a text for text", () =>
    Effect.gen(function* () {
      const tokens = yield* Tokens.Tokens
      assert.isAbove(tokens.count("<|endoftext|>"), 1)
      assert.isAbove(tokens.estimate(makeUnsafe("<|im_start|>system")).input, 3 + 4 + 1)
    }).pipe(Effect.provide(Tokens.layerExact()))
  )

  it.effect("is not slowed down by a megabyte without a space, for which the package alone takes minutes", () =>
    Effect.gen(function* () {
      const tokens = yield* Tokens.Tokens
      assert.isAbove(tokens.count("a".repeat(1_000_000)), 100_000)
      assert.isAbove(tokens.count("👩‍👩‍👧‍👦".repeat(10_000)), 10_000)
    }).pipe(Effect.provide(Tokens.layerExact()))
  )

  it.effect("has the encodings of older models", () =>
    Effect.gen(function* () {
      assert.strictEqual((yield* Tokens.Tokens).count("สวัสดี"), 6)
    }).pipe(Effect.provide(Tokens.layerExact("cl100k_base")))
  )

  it("refuses an encoding that does not exist", () => {
    const wrong = JSON.parse('"o300k"')
    assert.throws(() => Tokens.layerExact(wrong), RangeError, "Tokens.layerExact: encoding must be one of o200k_base")
    assert.throws(() => Tokens.layerExact(JSON.parse('"constructor"')), RangeError, "got constructor")
  })
})

describe("Tokens.ExpectedOutput", () => {
  const learned = (expected: Tokens.ExpectedOutput, feature: string | undefined, lengths: ReadonlyArray<number>) =>
    lengths.forEach((length) => expected.learn("m", feature, length))

  it("is 500 until twenty answers are known, then the 95th percentile of the last 256", () => {
    const expected = new Tokens.ExpectedOutput()
    const lengths = Array.from({ length: 19 }, (_, i) => (i + 1) * 10)
    learned(expected, undefined, lengths)
    assert.strictEqual(expected.expect("m", undefined), 500)
    learned(expected, undefined, [200])
    assert.strictEqual(expected.expect("m", undefined), 190)
    learned(
      expected,
      undefined,
      Array.from({ length: 256 }, () => 7)
    )
    assert.strictEqual(expected.expect("m", undefined), 7)
  })

  it("never exceeds what the request allows", () => {
    const expected = new Tokens.ExpectedOutput()
    assert.strictEqual(expected.expect("m", undefined, 100), 100)
    assert.strictEqual(expected.expect("m", undefined, 1000), 500)
  })

  it("learns each model and feature by itself, and no feature beside all of them", () => {
    const expected = new Tokens.ExpectedOutput()
    const twenty = (length: number) => Array.from({ length: 20 }, () => length)
    learned(expected, "chat", twenty(11))
    learned(expected, undefined, twenty(22))
    learned(expected, "", twenty(33))
    for (const length of twenty(44)) expected.learn("mch", "at", length)
    assert.deepStrictEqual(
      [expected.expect("m", "chat"), expected.expect("m", undefined), expected.expect("m", "")],
      [11, 22, 33]
    )
    assert.strictEqual(expected.expect("mch", "at"), 44)
    assert.strictEqual(expected.expect("other", "chat"), 500)
  })

  it("does not learn what is no count", () => {
    const expected = new Tokens.ExpectedOutput()
    learned(
      expected,
      undefined,
      Array.from({ length: 60 }, (_, i) => [Number.NaN, -1, 1.5, Infinity][i % 4] ?? 0)
    )
    assert.strictEqual(expected.expect("m", undefined), 500)
  })

  it("keeps a thousand, and forgets the one that was not used for longest", () => {
    const expected = new Tokens.ExpectedOutput()
    const twenty = Array.from({ length: 20 }, () => 9)
    for (let i = 0; i < 1000; i++) learned(expected, `feature ${i}`, twenty)
    assert.strictEqual(expected.expect("m", "feature 0"), 9)
    learned(expected, "one more", twenty)
    assert.strictEqual(expected.expect("m", "feature 0"), 9)
    assert.strictEqual(expected.expect("m", "feature 1"), 500)
    assert.strictEqual(expected.expect("m", "one more"), 9)
  })
})
