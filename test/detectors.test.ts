/** What the detectors find, and what they leave alone. */
import { readFileSync } from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import { lintSource } from "@secretlint/core"
import { creator } from "@secretlint/secretlint-rule-preset-recommend"
import { custom, detectors, literal } from "../src/internal/detectors.ts"
import { compile, redact } from "../src/internal/redactor.ts"
import { falseAlarms, missed } from "./fixtures/sensitive/limits.ts"
import { compiled, kinds, measure, usual } from "./fixtures/sensitive/measure.ts"
import { negatives } from "./fixtures/sensitive/negatives.ts"
import { positives } from "./fixtures/sensitive/positives.ts"
import { marked } from "./support/splits.ts"

const all = compiled(usual)
const withPhone = compiled(kinds)

describe("fixtures", () => {
  it("are at least 150 texts with something sensitive and 150 without", () => {
    assert.isAtLeast(Object.values(positives).flat().length, 150)
    assert.isAtLeast(new Set(Object.values(negatives).flat()).size, 150)
  })

  it("hold no key that a scanner of repositories would find", async () => {
    for (const name of ["positives", "limits"]) {
      const content = readFileSync(new URL(`fixtures/sensitive/${name}.ts`, import.meta.url), "utf8")
      assert.deepStrictEqual(await secretlint(content), [], name)
    }
  })
})

describe.each(kinds)("%s", (kind) => {
  it.each(positives[kind])("is found in %s", (source) => {
    const { expected, text } = marked(kind, source)
    assert.strictEqual(redact(kind === "phone" ? withPhone : all, text), expected)
    assert.strictEqual(redact(compiled([kind]), text), expected, "alone")
    assert.strictEqual(redact(kind === "phone" ? withPhone : all, expected), expected, "again")
  })

  it("is missed where that is known", () => {
    for (const text of missed[kind]) assert.strictEqual(redact(compiled([kind]), text), text)
  })

  it("is seen where there is none, where that is known", () => {
    for (const text of falseAlarms[kind]) assert.include(redact(compiled([kind]), text), `[REDACTED:${kind}]`)
  })
})

describe.each(Object.entries(negatives))("of ordinary %s", (_, texts) => {
  it.each(texts)("%j stays", (text) => {
    const findings: Array<unknown> = []
    assert.strictEqual(
      redact(all, text, (finding) => findings.push(finding)),
      text
    )
    assert.deepStrictEqual(findings, [])
    const known: ReadonlyArray<string> = falseAlarms.phone
    if (!known.includes(text)) assert.strictEqual(redact(withPhone, text), text)
  })
})

describe("figures", () => {
  it("are no worse than what the documentation says", () => {
    for (const { kind, precision, recall } of measure()) {
      assert.isAtLeast(precision, kind === "phone" ? 0.8 : 0.92, `precision of ${kind}`)
      assert.isAtLeast(recall, 0.8, `recall of ${kind}`)
    }
  })
})

const aws = { id: "@secretlint/secretlint-rule-aws", options: { enableIDScanRule: true } }
const preset = { id: "@secretlint/secretlint-rule-preset-recommend", rule: creator, rules: [aws] }

/** The passages that secretlint takes for secrets. */
const secretlint = async (content: string): Promise<ReadonlyArray<string>> => {
  const source = { content, filePath: "text.txt", ext: ".txt", contentType: "text" as const }
  const { messages } = await lintSource({ source, options: { config: { rules: [preset] } } })
  return messages.map(({ range }) => content.slice(range[0], range[1]))
}

describe("secretlint", () => {
  it("finds nothing in the fixtures that is not found here", async () => {
    let found = 0
    for (const source of Object.values(positives).flat()) {
      const text = source.replace(/[«»]/g, "")
      for (const secret of await secretlint(text)) {
        found++
        assert.notInclude(redact(all, text), secret)
      }
    }
    assert.isAtLeast(found, 20)
  })
})

describe("an address", () => {
  it("ends before the full stop of a sentence and begins where its word begins", () => {
    assert.strictEqual(redact(all, "a.b@c.de."), "[REDACTED:email].")
    assert.strictEqual(redact(all, "..a@c.de"), "..[REDACTED:email]")
    assert.strictEqual(redact(all, `${"a".repeat(64)}@c.de`), "[REDACTED:email]")
    assert.strictEqual(redact(all, `a@${"b".repeat(250)}.de`), "[REDACTED:email]")
    assert.strictEqual(redact(all, `a@${"b".repeat(251)}.de`), `a@${"b".repeat(251)}.de`)
  })
})

/** With the digit that makes the sum of ISO/IEC 7812 a multiple of ten: the digit that the textbook's algorithm gives. */
const checked = (digits: string): string => {
  const doubled = digits
    .split("")
    .toReversed()
    .flatMap((digit, i) => String(i % 2 === 0 ? Number(digit) * 2 : digit).split(""))
  const sum = doubled.reduce((sum, digit) => sum + Number(digit), 0)
  return `${digits}${(10 - (sum % 10)) % 10}`
}

describe("a number", () => {
  it("is a card's if its issuer has such numbers and its check digit is right", () => {
    const issued = ["51", "55", "2221", "2720", "4", "6011", "644", "65", "3528", "3589", "62"]
    for (const prefix of issued) {
      const number = checked(prefix.padEnd(15, "0"))
      assert.strictEqual(redact(all, number), "[REDACTED:card]", number)
      const wrong = `${number.slice(0, 15)}${(Number(number[15]) + 1) % 10}`
      assert.strictEqual(redact(all, wrong), wrong)
    }
    for (const number of ["50", "56", "2220", "2721", "1", "7", "643", "3527", "3590"].map((prefix) =>
      checked(prefix.padEnd(15, "0"))
    )) {
      assert.strictEqual(redact(all, number), number)
    }
    const lengths = [
      ["4", 14],
      ["4", 15],
      ["4", 17],
      ["34", 16],
      ["51", 17],
      ["36", 13]
    ] as const
    for (const [prefix, length] of lengths) {
      const number = checked(prefix.padEnd(length - 1, "0"))
      assert.strictEqual(redact(all, number), number)
    }
  })

  it("is none where a letter or a digit touches it", () => {
    for (const text of [
      "x4111111111111111",
      "4111111111111111x",
      "41111111111111110",
      "DE89370400440532013000x",
      "0123-45-6789",
      "123-45-67890"
    ]) {
      assert.strictEqual(redact(all, text), text)
    }
  })
})

describe("the password of a URL", () => {
  it("is no placeholder, nor anything with one in it", () => {
    const text = "postgres://app:x-4111 1111 1111 1111@db/app"
    const once = "postgres://app:x-[REDACTED:card]@db/app"
    assert.strictEqual(redact(all, text), once)
    assert.strictEqual(redact(all, once), once)
    assert.strictEqual(redact(all, "http://a:changeme@b"), "http://a:changeme@b")
    assert.strictEqual(redact(all, "http://a:change-me@b"), "http://a:[REDACTED:apiKey]@b")
  })
})

describe("a private key", () => {
  it("is no longer than 32,768 characters where its end is missing", () => {
    const key = `-----BEGIN PRIVATE KEY-----\n${"Ab1+".repeat(10_000)}`
    assert.strictEqual(redact(all, key).length, "[REDACTED:privateKey]".length + key.length - 32_768 - 44)
  })
})

describe("an exact text", () => {
  const one = (detector: ReturnType<typeof literal>) => compile([{ detector, action: "redact" }])

  it("is found inside words and across lines", () => {
    assert.strictEqual(redact(one(literal("canary", "be\nkind")), "maybe\nkindly"), "may[REDACTED:canary]ly")
    assert.strictEqual(redact(one(literal("canary", "BeKind")), "bekind"), "bekind")
    assert.strictEqual(redact(one(literal("canary", "BeKind", { ignoreCase: true })), "bEkIND"), "[REDACTED:canary]")
    assert.strictEqual(redact(one(literal("密", "密钥")), "我的密钥"), "我的[REDACTED:密]")
  })

  it("is not empty and does not show in its fingerprint", () => {
    assert.throws(() => literal("canary", ""), RangeError)
    assert.notInclude(one(literal("canary", "hunter2")).fingerprint, "hunter2")
    assert.notStrictEqual(literal("a", "b").fingerprint, literal("a", "c").fingerprint)
    assert.notStrictEqual(literal("a", "b").fingerprint, literal("a", "b", { ignoreCase: true }).fingerprint)
  })
})

describe("a pattern of a user's", () => {
  const one = (pattern: RegExp, longest: number) =>
    compile([{ detector: custom("own", pattern, longest), action: "redact" }])

  it("is found, with one character of its surroundings", () => {
    assert.strictEqual(
      redact(one(/\bEMP-\d{4,6}\b/, 10), "EMP-1234, xEMP-1234, EMP-1234567"),
      "[REDACTED:own], xEMP-1234, EMP-1234567"
    )
    assert.strictEqual(redact(one(/^a/, 1), "aaa"), "[REDACTED:own]aa")
    assert.strictEqual(redact(one(/a$/, 1), "aaa"), "aa[REDACTED:own]")
    assert.strictEqual(redact(one(/\p{Script=Han}+/u, 3), "a密钥b"), "a[REDACTED:own]b")
  })

  it("matches no more than it may", () => {
    assert.strictEqual(redact(one(/a{1,9}/, 3), "baaab"), "b[REDACTED:own]b")
    assert.strictEqual(redact(one(/a{3}/, 2), "baaab"), "baaab")
  })

  it("is refused where it cannot work", () => {
    for (const [pattern, longest] of [
      [/a/g, 1],
      [/a/y, 1],
      [/a*/, 1],
      [/a/, 0],
      [/a/, 1.5],
      [/a/, Number.NaN]
    ] as const) {
      assert.throws(() => custom("own", pattern, longest), RangeError)
    }
  })
})

describe("what is held back", () => {
  it("is at most 400 characters", () => {
    assert.isAtMost(withPhone.holdBack, 400)
    for (const kind of kinds) assert.isAtMost(compiled([kind]).holdBack, withPhone.holdBack)
    assert.strictEqual(compile([{ detector: custom("own", /a/, 7), action: "flag" }]).holdBack, 9)
    assert.strictEqual(compile([]).holdBack, 1)
  })

  it("has a fingerprint that tells detectors and actions apart", () => {
    const { card, email } = detectors
    const rules = [
      [{ detector: email, action: "redact" }],
      [{ detector: email, action: "flag" }],
      [{ detector: card, action: "redact" }],
      [
        { detector: card, action: "redact" },
        { detector: email, action: "redact" }
      ],
      [
        { detector: email, action: "redact" },
        { detector: card, action: "redact" }
      ]
    ] as const
    assert.strictEqual(new Set(rules.map((rule) => compile(rule).fingerprint)).size, rules.length)
  })
})
