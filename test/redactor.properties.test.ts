/** What holds for every text, however it is put together and cut. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { custom, detectors, literal } from "../src/internal/detectors.ts"
import { compile, redact } from "../src/internal/redactor.ts"
import { compiled, kinds } from "./fixtures/sensitive/measure.ts"
import { negatives } from "./fixtures/sensitive/negatives.ts"
import { jwt, pem, positives, some } from "./fixtures/sensitive/positives.ts"
import { cut, numbers, redactPieces } from "./support/splits.ts"

const all = compiled(kinds)

/** Heads, tails, separators and secrets: whatever detectors may be confused by. */
const fragments: ReadonlyArray<string> = [
  ...'sk- sk-proj- sk-ant- ghp_ AKIA AIza xoxb- hf_ SG. AC api_key= "api_key":" Bearer bearer postgres://u: ://a:b@ hooks.slack.com/services/T'.split(
    " "
  ),
  ..."eyJ eyJhbGciOiJIUzI1NiJ9 eyJhbGciOiJIUzI1NiJ9. . .. -----BEGIN -----END PRIVATE RSA KEY----- \\n MIIEvQIBADANBgkq ``` ----".split(
    " "
  ),
  ..."@ a@ a@b a@b. a@b.de .com git@ @2x.png ＠ 4111 1111 411111111111111 4111-1111- DE89 3704 0044 0532 0130 00 370400440532013000 GB".split(
    " "
  ),
  ..."123-45-6789 123-45- 123 45 6789 ssn SSN: social + +1 +49 (415) 555 0 01 - – / : = \" ' , ; a A z 0 1 9 ü 密 😀 \ud83d [ ] [REDACTED:email]".split(
    " "
  ),
  " ",
  " ",
  " ",
  "\n",
  "\t",
  "\u00a0",
  some(5),
  some(16, "A"),
  some(20),
  some(32, "h"),
  some(36),
  some(48),
  some(9, "d"),
  some(64),
  jwt(),
  pem("PRIVATE KEY"),
  "4111 1111 1111 1111",
  "4111111111111111",
  "a@b.de",
  "DE89 3704 0044 0532 0130 00"
]

const Fragments = Schema.Array(Schema.Literals(Array.from({ length: fragments.length }, (_, i) => i)))
const Seed = Schema.Int
const joined = (chosen: ReadonlyArray<number>, glue = ""): string => chosen.map((i) => fragments[i] ?? "").join(glue)

const runs = (runs: number) => ({ arbitrary: { runs } })

describe("every text of fragments", () => {
  it.effect.prop(
    "comes out the same in pieces, passes on nothing that is replaced later and holds back no more than is said",
    [Fragments, Seed],
    ([chosen, seed]) =>
      Effect.sync(() => {
        const text = joined(chosen)
        const whole = redact(all, text)
        const next = numbers(seed)
        redactPieces(all, text.split(""), whole)
        for (let i = 0; i < 10; i++) redactPieces(all, cut(text, 1 + next(6), next), whole)
      }),
    runs(1500)
  )

  it.effect.prop(
    "does not change when its output is redacted again",
    [Fragments, Schema.Literals(["", " "])],
    ([chosen, glue]) =>
      Effect.sync(() => {
        const once = redact(all, joined(chosen, glue))
        assert.strictEqual(redact(all, once), once)
      }),
    runs(3000)
  )

  it("does so for thousands of random concatenations, too", () => {
    const next = numbers(42)
    for (let i = 0; i < 4000; i++) {
      const text = joined(Array.from({ length: 1 + next(12) }, () => next(fragments.length)))
      const whole = redact(all, text)
      assert.strictEqual(redact(all, whole), whole, JSON.stringify(text))
      redactPieces(all, text.split(""), whole)
      for (let j = 0; j < 3; j++) redactPieces(all, cut(text, 1 + next(6), next), whole)
    }
  })

  it("does so for each detector alone", () => {
    const next = numbers(11)
    for (const kind of kinds) {
      const alone = compiled([kind])
      for (let i = 0; i < 600; i++) {
        const text = joined(Array.from({ length: 1 + next(12) }, () => next(fragments.length)))
        const whole = redact(alone, text)
        assert.strictEqual(redact(alone, whole), whole, JSON.stringify(text))
        redactPieces(alone, text.split(""), whole)
        redactPieces(alone, cut(text, 1 + next(6), next), whole)
      }
    }
  })

  it("does so under every action, with texts and patterns of a user's", () => {
    const next = numbers(7)
    const actions = ["redact", "flag", "block"] as const
    for (let i = 0; i < 1500; i++) {
      const rules = compile([
        { detector: custom("own", /[a-c]{2,4}\b/, 4), action: actions[next(3)] ?? "flag" },
        { detector: literal("canary", "1 4111", { ignoreCase: true }), action: actions[next(3)] ?? "flag" },
        ...kinds.map((kind) => ({ detector: detectors[kind], action: actions[next(next(3) + 1)] ?? "redact" }))
      ])
      const text = joined(Array.from({ length: 1 + next(12) }, () => next(fragments.length)))
      const whole = redact(rules, text)
      redactPieces(rules, text.split(""), whole)
      for (let j = 0; j < 3; j++) redactPieces(rules, cut(text, 1 + next(6), next), whole)
    }
  })
})

describe("every secret", () => {
  const ordinary = negatives.prose.filter((text) => /^[A-Z].*[.!]$/.test(text))
  const secrets = Object.entries(positives)
    .filter(([kind]) => kind !== "phone")
    .flatMap(([, sources]) => sources.flatMap((source) => source.match(/(?<=«)[^»]+/g) ?? []))

  it("in a sentence between two others is not in the output", () => {
    const next = numbers(3)
    for (const secret of secrets.filter((secret) => !/^[0-9 .]+$/.test(secret) && redact(all, secret).includes("["))) {
      const text = `${ordinary[next(ordinary.length)]} It is ${secret}, ${ordinary[next(ordinary.length)]}`
      assert.notInclude(redact(all, text), secret)
    }
  })
})
