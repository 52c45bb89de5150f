/** JSON is redacted by its strings, keys and numbers, whatever their escapes, in pieces as at once. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { detectors, literal } from "../src/internal/detectors.ts"
import { JsonRedactor, redactJson } from "../src/internal/jsonRedactor.ts"
import { type Action, compile, type Finding } from "../src/internal/redactor.ts"
import { compiled, kinds } from "./fixtures/sensitive/measure.ts"
import { negatives } from "./fixtures/sensitive/negatives.ts"
import { positives } from "./fixtures/sensitive/positives.ts"
import { jsonPieces, splits } from "./support/splits.ts"

const all = compiled(kinds)
const whole = (raw: string): string => jsonPieces(all, [raw])
const texts = [
  ...Object.values(positives)
    .flat()
    .map((source) => source.replace(/[«»]/g, "")),
  ...Object.values(negatives).flat()
]

/** Every character as `\uXXXX`. */
const escaped = (text: string): string =>
  text
    .split("")
    .map((unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`)
    .join("")

describe("JSON", () => {
  it.each([
    ['{"to":"a@b.de","n":1}', '{"to":"[REDACTED:email]","n":1}'],
    [`{"to":"${escaped("a@b.de")}"}`, '{"to":"[REDACTED:email]"}'],
    ['{"to":"a\\u0040b.de"}', '{"to":"[REDACTED:email]"}'],
    ['{"a@b.de":true}', '{"[REDACTED:email]":true}'],
    ['{"card":4111111111111111}', '{"card":"[REDACTED:card]"}'],
    ["[4.111111111111111e15, 12 , -3.5e-7,null,false]", '["[REDACTED:card]", 12 , -3.5e-7,null,false]'],
    ["[-4111111111111111]", '["-[REDACTED:card]"]'],
    ["4000000000000000006", '"[REDACTED:card]"'],
    ["4111111111111111", '"[REDACTED:card]"'],
    ['"4111 1111\\t1111"', '"4111 1111\\t1111"'],
    ['["a@b","c.de"]', '["a@b","c.de"]'],
    ["[4111,1111,1111,1111]", "[4111,1111,1111,1111]"],
    ['{"q":"say \\"hi\\" to \\\\ a@b.de\\n"}', '{"q":"say \\"hi\\" to \\\\ [REDACTED:email]\\n"}'],
    ['""', '""'],
    ["  [ ]  ", "  [ ]  "],
    ["", ""]
  ])("%s becomes %s", (raw, expected) => {
    assert.strictEqual(whole(raw), expected)
    for (const pieces of splits(raw, 50)) assert.strictEqual(jsonPieces(all, pieces), expected, JSON.stringify(pieces))
  })

  it.each([
    ['{"to": a@b.de, "x": "c\\u0040d.fr"}', '{"to": [REDACTED:email], "x": "[REDACTED:email]"}'],
    ["{'to': 'a@b.de'}", "{'to': '[REDACTED:email]'}"],
    ["{'to': 'a\\u0040b.de'}", "{'to': '[REDACTED:email]'}"],
    ["my card is 4111 1111 1111 1111, ok", "my card is [REDACTED:card], ok"],
    ['{"to": "a@b.de', '{"to": "[REDACTED:email]'],
    ['{"card": 4111111111111111', '{"card": "[REDACTED:card]"'],
    ['"a\\u00zz a@b.de"', '"a\\\\u00zz [REDACTED:email]"'],
    ['"a\\x a@b.de"', '"a\\\\x [REDACTED:email]"'],
    ['"\\u00"a@b.de"', '"\\\\u00"[REDACTED:email]"'],
    ['"\\u00', '"'],
    [`${"1".repeat(401)} a@b.de`, `${"1".repeat(401)} [REDACTED:email]`],
    ['oops "x" 4111 1111 1111 1111', 'oops "x" [REDACTED:card]'],
    ["nul", "nul"]
  ])("that is broken, %s, becomes %s", (raw, expected) => {
    assert.strictEqual(whole(raw), expected)
    for (const pieces of splits(raw, 50)) assert.strictEqual(jsonPieces(all, pieces), expected, JSON.stringify(pieces))
  })

  it("of every fixture means the same as redacting the value it means", () => {
    for (const text of texts) {
      for (const raw of [JSON.stringify({ [text]: [text, 1] }), `["${escaped(text)}"]`]) {
        const expected = redactJson(all, JSON.parse(raw))
        const next = [raw.slice(0, 7), raw.slice(7, 30), raw.slice(30)]
        for (const pieces of [[raw], raw.split(""), next])
          assert.deepStrictEqual(JSON.parse(jsonPieces(all, pieces)), expected)
      }
    }
  })

  it.effect.prop(
    "of any value means the same as redacting the value, in any pieces",
    [Schema.Json, Schema.Array(Schema.Literals(Array.from({ length: texts.length }, (_, i) => i)))],
    ([json, chosen]) =>
      Effect.sync(() => {
        const raw = JSON.stringify([json, chosen.map((i) => ({ [texts[i] ?? ""]: [texts[i], i, json] }))])
        const expected = JSON.stringify(redactJson(all, JSON.parse(raw)))
        assert.strictEqual(JSON.stringify(JSON.parse(whole(raw))), expected)
        const streamed = whole(raw)
        for (const pieces of [raw.split(""), raw.match(/[^]{1,5}/g) ?? []])
          assert.strictEqual(jsonPieces(all, pieces), streamed)
      }),
    { arbitrary: { runs: 200 } }
  )

  it("that is cut off anywhere neither throws nor shows the beginning of a secret", () => {
    const raw = JSON.stringify({ key: `sk-${"a".repeat(48)}`, card: 4111111111111111 })
    for (let i = 0; i <= raw.length; i++) {
      const redactor = new JsonRedactor(all, () => {})
      const out = redactor.push(raw.slice(0, i)) + redactor.abandon()
      assert.notMatch(out, /sk-|4111/)
      assert.isTrue(whole(raw).startsWith(out))
      assert.strictEqual(redactor.push(raw.slice(i)) + redactor.end(), "")
    }
  })

  it("may be as deep as it likes", () => {
    const raw = `${"[".repeat(50_000)}"a@b.de"${"]".repeat(50_000)}`
    assert.strictEqual(whole(raw), raw.replace("a@b.de", "[REDACTED:email]"))
    let deep: unknown = "a@b.de"
    for (let i = 0; i < 50_000; i++) deep = [deep]
    let found = redactJson(all, deep)
    while (Array.isArray(found)) found = found[0]
    assert.strictEqual(found, "[REDACTED:email]")
  })
})

describe("a value", () => {
  it("in which nothing is found is the same object", () => {
    const value = { a: [1, "two", { three: null }], b: Number.NaN }
    assert.strictEqual(redactJson(all, value), value)
    const found = { same: value, other: "a@b.de" }
    const redacted = redactJson(all, found)
    assert.deepStrictEqual(redacted, { same: value, other: "[REDACTED:email]" })
    assert.strictEqual(found.other, "a@b.de")
  })

  it("keeps a key that is called __proto__ one", () => {
    const value: unknown = JSON.parse('{"__proto__":{"x":"a@b.de"}}')
    assert.strictEqual(JSON.stringify(redactJson(all, value)), '{"__proto__":{"x":"[REDACTED:email]"}}')
  })

  it("of other kinds stays", () => {
    const value = { at: new Date(0), map: new Map([["a", "a@b.de"]]), none: undefined }
    assert.strictEqual(redactJson(all, value), value)
    assert.strictEqual(redactJson(all, "a@b.de"), "[REDACTED:email]")
    assert.strictEqual(redactJson(all, 4111111111111111), "[REDACTED:card]")
    assert.strictEqual(redactJson(all, true), true)
  })
})

describe("a finding in JSON", () => {
  const found = (action: Action, raw: string) => {
    const findings: Array<Finding> = []
    const rules = compile([
      { detector: detectors.email, action },
      { detector: detectors.card, action },
      { detector: literal("canary", "7"), action }
    ])
    const redactor = new JsonRedactor(rules, (finding) => findings.push(finding))
    return { out: redactor.push(raw) + redactor.end(), findings }
  }
  const raw = '["a@b.de",4111111111111111,"x","c@d.fr"]'

  it("is reported once", () => {
    assert.deepStrictEqual(
      found("redact", raw).findings.map(({ kind }) => kind),
      ["email", "card", "email"]
    )
    assert.deepStrictEqual(found("redact", "[1.70e0]").findings, [{ kind: "canary", action: "redact" }])
  })

  it("that is flagged stays", () => {
    assert.deepStrictEqual(
      found("flag", raw).findings.map(({ kind }) => kind),
      ["email", "card", "email"]
    )
    assert.strictEqual(found("flag", raw).out, raw)
  })

  it("that blocks ends it", () => {
    assert.deepStrictEqual(found("block", `[1,"see a@b.de",2]`), {
      out: '[1,"see ',
      findings: [{ kind: "email", action: "block" }]
    })
    assert.strictEqual(found("block", "[1,17,2]").findings.length, 1)
  })
})
