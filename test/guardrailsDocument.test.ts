/** The figures in `docs/guardrails.md` are those of the fixtures. */
import { readFileSync } from "node:fs"
import { assert, it } from "@effect/vitest"
import { doubled, encodings } from "./fixtures/injection/encodings.ts"
import { measure as measureInjection, type Rate, refused } from "./fixtures/injection/measure.ts"
import { compiled, measure as measureSensitive, usual } from "./fixtures/sensitive/measure.ts"

const document = readFileSync(new URL("../docs/guardrails.md", import.meta.url), "utf8")

/** A table behind a mark, cell by cell, so that the widths of its columns do not matter. */
const table = (mark: string): ReadonlyArray<ReadonlyArray<string>> =>
  (document.split(`<!-- ${mark} -->`)[1] ?? "")
    .trimStart()
    .split("\n\n")[0]!
    .split("\n")
    .slice(2)
    .map((line) =>
      line
        .split("|")
        .slice(1, -1)
        .map((cell) => cell.trim())
    )

it("tells precision and recall of each kind of secret", () => {
  const rows = measureSensitive().map(({ alarms, found, kind, ordinary, precision, recall, sensitive }) => [
    `\`${kind}\``,
    `${found} of ${sensitive}`,
    `${alarms} of ${ordinary}`,
    precision.toFixed(2),
    recall.toFixed(2)
  ])
  assert.deepStrictEqual(table("sensitive"), rows)
})

it("tells what is held back at most", () => {
  assert.include(document, `at most ${compiled(usual).holdBack} characters`)
})

it("tells how many attacks and disguises there are", () => {
  assert.include(document, `Each of the ${refused.length} attacks`)
  assert.include(document, `disguises of ${Object.keys({ ...encodings, ...doubled }).length}`)
})

it("tells how many attacks are refused, and how many harmless texts", () => {
  const { attacks, documents, harmless } = measureInjection()
  const row = (name: string, { blocked, flagged, texts }: Rate) => [
    name,
    `${texts}`,
    `${blocked}`,
    `${flagged - blocked}`
  ]
  assert.deepStrictEqual(table("injection"), [
    row("attacks, core", attacks.core),
    row("attacks, known", attacks.known),
    row("attacks, other languages", attacks.multilingual),
    row("attacks, held out", attacks.heldOut),
    row("documents and results, poisoned", documents.poisoned),
    row("harmless prompts", harmless.known),
    row("harmless prompts, held out", harmless.heldOut),
    row("documents and results, harmless", documents.harmless)
  ])
})
