/** Redacting piece by piece gives what redacting at once gives, wherever the cuts are. */
import { assert, describe, it } from "@effect/vitest"
import { custom, detectors, literal } from "../src/internal/detectors.ts"
import { type Action, compile, type Finding, redact, Redactor } from "../src/internal/redactor.ts"
import { compiled, kinds } from "./fixtures/sensitive/measure.ts"
import { falseAlarms, missed } from "./fixtures/sensitive/limits.ts"
import { negatives } from "./fixtures/sensitive/negatives.ts"
import { positives, some } from "./fixtures/sensitive/positives.ts"
import { redactPieces, splits } from "./support/splits.ts"

const all = compiled(kinds)

const fixtures: Readonly<Record<string, ReadonlyArray<string>>> = {
  ...Object.fromEntries(
    Object.entries(positives).map(([kind, sources]) => [kind, sources.map((source) => source.replace(/[«»]/g, ""))])
  ),
  ...negatives,
  missed: Object.values(missed).flat(),
  falseAlarms: Object.values(falseAlarms).flat()
}

describe.each(Object.entries(fixtures))("every fixture of %s", (_, texts) => {
  it("comes out the same for every cut in two, 200 random cuts and character by character", () => {
    for (const text of texts) {
      const findings: Array<Finding> = []
      const whole = redact(all, text, (finding) => findings.push(finding))
      for (const pieces of splits(text, 200)) {
        const found: Array<Finding> = []
        redactPieces(all, pieces, whole, (finding) => found.push(finding))
        if (found.length !== findings.length) assert.deepStrictEqual(found, findings, JSON.stringify(pieces))
      }
    }
  })

  it("does not change when its output is redacted again", () => {
    for (const text of texts) {
      const once = redact(all, text)
      assert.strictEqual(redact(all, once), once)
    }
  })
})

const one = (kind: keyof typeof detectors, action: Action = "redact") =>
  new Redactor(compile([{ detector: detectors[kind], action }]), () => {})

describe("a piece", () => {
  it("is passed on at once where nothing can begin in it", () => {
    const redactor = one("email")
    assert.strictEqual(redactor.push("Hello, wor"), "Hello, ")
    assert.strictEqual(redactor.push("ld! "), "world! ")
    assert.strictEqual(redactor.held, 0)
    assert.strictEqual(redactor.end(), "")
  })

  it("waits while it may belong to a match, and is a placeholder as soon as it does", () => {
    const redactor = one("apiKey")
    assert.strictEqual(redactor.push("key: s"), "key: ")
    assert.strictEqual(redactor.push(`k-${some(19)}`), "")
    assert.strictEqual(redactor.held, 22)
    assert.strictEqual(redactor.push("1"), "[REDACTED:apiKey]")
    assert.strictEqual(redactor.held, 0)
    assert.strictEqual(redactor.push("2345"), "", "the rest of the key goes with it")
    assert.strictEqual(redactor.push("6 and s"), " and ")
    assert.strictEqual(redactor.end(), "s")
  })

  it("keeps the full stop behind an address until it is known what follows", () => {
    const redactor = one("email")
    assert.strictEqual(redactor.push("a@b.de"), "[REDACTED:email]")
    assert.strictEqual(redactor.push("."), "")
    assert.strictEqual(redactor.push("com"), "")
    assert.strictEqual(redactor.push("."), "")
    assert.strictEqual(redactor.push(" Bye"), ". ")
  })

  it("never ends between the halves of a surrogate pair", () => {
    const redactor = new Redactor(compile([]), () => {})
    assert.strictEqual(redactor.push("a\ud83d"), "a")
    assert.strictEqual(redactor.held, 1)
    assert.strictEqual(redactor.push(""), "")
    assert.strictEqual(redactor.push("\ude00b"), "\ud83d\ude00b")
    assert.strictEqual(redactor.push("\ud83d"), "")
    assert.strictEqual(redactor.end(), "\ud83d")
    const own = new Redactor(compile([{ detector: custom("own", /xyz/, 3), action: "redact" }]), () => {})
    assert.strictEqual(own.push("\ud83d\ude00ab"), "")
    assert.strictEqual(own.push("c"), "\ud83d\ude00")
  })
})

describe("a text that broke off", () => {
  it("gives nothing of what might have become a match", () => {
    const redactor = one("apiKey")
    assert.strictEqual(redactor.push("it is sk-abc"), "it is ")
    assert.strictEqual(redactor.abandon(), "")
    assert.strictEqual(redactor.held, 0)
    assert.strictEqual(redactor.push("def"), "")
    assert.strictEqual(redactor.end(), "")
  })

  it("gives it where the text ended instead", () => {
    const redactor = one("apiKey")
    assert.strictEqual(redactor.push("it is sk-abc"), "it is ")
    assert.strictEqual(redactor.end(), "sk-abc")
  })
})

describe("an action", () => {
  const findings = (rules: Parameters<typeof compile>[0], text: string) => {
    const found: Array<Finding> = []
    return { out: redact(compile(rules), text, (finding) => found.push(finding)), found }
  }
  const { card, email } = detectors

  it("redact reports what it replaces", () => {
    const { found, out } = findings([{ detector: email, action: "redact" }], "a@b.de, c@d.fr")
    assert.strictEqual(out, "[REDACTED:email], [REDACTED:email]")
    assert.deepStrictEqual(found, [
      { kind: "email", action: "redact" },
      { kind: "email", action: "redact" }
    ])
  })

  it("flag reports and leaves the text", () => {
    const rules = [
      { detector: email, action: "flag" },
      { detector: card, action: "redact" }
    ] as const
    const text = "a@b.example.de, 4111111111111111 c@d.fr"
    const { found, out } = findings(rules, text)
    assert.strictEqual(out, "a@b.example.de, [REDACTED:card] c@d.fr")
    assert.deepStrictEqual(
      found.map(({ kind }) => kind),
      ["email", "card", "email"]
    )
    for (const pieces of splits(text, 50)) redactPieces(compile(rules), pieces, out)
  })

  it("block reports, passes on what came before and nothing after", () => {
    const rules = [
      { detector: email, action: "block" },
      { detector: card, action: "redact" }
    ] as const
    const text = "4111111111111111 then a@b.de, c@d.fr and more"
    const { found, out } = findings(rules, text)
    assert.strictEqual(out, "[REDACTED:card] then ")
    assert.deepStrictEqual(
      found.map(({ action }) => action),
      ["redact", "block"]
    )
    for (const pieces of splits(text, 50)) redactPieces(compile(rules), pieces, out)
  })

  it("of the detector that stands first is taken where two match at the same place", () => {
    const first = { detector: literal("first", "secret"), action: "redact" } as const
    const second = { detector: literal("second", "sec"), action: "redact" } as const
    assert.strictEqual(findings([first, second], "secret secure").out, "[REDACTED:first] [REDACTED:second]ure")
    assert.strictEqual(findings([second, first], "secret secure").out, "[REDACTED:second]ret [REDACTED:second]ure")
  })

  it("goes by the place before the order", () => {
    const rules = [
      { detector: literal("late", "bc"), action: "redact" },
      { detector: literal("early", "ab"), action: "redact" }
    ] as const
    assert.strictEqual(findings(rules, "abc").out, "[REDACTED:early]c")
  })
})

describe("time", () => {
  const prefixes = [
    "sk-",
    "a@",
    "a.",
    "a@b.1.",
    "eyJ",
    "eyJhbGciOi",
    "-----BEGIN ",
    "4111 ",
    "a",
    "1 ",
    "DE89",
    "ghp_",
    "+1 ",
    "api_key=",
    "ssn ",
    "postgres://a:b",
    "Bearer ",
    "0 ",
    "123-45-",
    "\\n",
    "-----BEGIN PRIVATE KEY-----\n"
  ]
  const own = compile([
    ...kinds.map((kind) => ({ detector: detectors[kind], action: "redact" as const })),
    { detector: literal("canary", `${"a".repeat(50)}b`), action: "redact" }
  ])
  const time = (text: string, size: number): number => {
    const redactor = new Redactor(own, () => {})
    const began = performance.now()
    for (let i = 0; i < text.length; i += size) redactor.push(text.slice(i, i + size))
    redactor.end()
    return performance.now() - began
  }
  it.each(prefixes)("grows with the length of a text of nothing but %j, not faster", { timeout: 60_000 }, (prefix) => {
    const [short, long] = [100_000, 1_000_000].map((length) => prefix.repeat(Math.ceil(length / prefix.length)))
    for (const size of [Infinity, 4]) {
      // another process may have taken the processor: once in three is enough
      const isLinear = (): boolean => time(long ?? "", size) / Math.max(time(short ?? "", size), 0.5) < 15
      assert.isTrue([1, 2, 3].some(isLinear), `pieces of ${size}`)
    }
  })
})
