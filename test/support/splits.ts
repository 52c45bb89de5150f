/** Texts cut into pieces, and what redactors make of them. */
import { assert } from "@effect/vitest"
import { JsonRedactor } from "../../src/internal/jsonRedactor.ts"
import { type Compiled, type Finding, Redactor } from "../../src/internal/redactor.ts"

export interface Marked {
  readonly text: string
  readonly expected: string
}

/** A text in which what is to be replaced stands between « and ». */
export const marked = (kind: string, source: string): Marked => ({
  text: source.replace(/[«»]/g, ""),
  expected: source.replace(/«[^»]*»/g, `[REDACTED:${kind}]`)
})

/** The numbers of a linear congruential generator, from 0 up to `below`. */
export const numbers = (seed: number): ((below: number) => number) => {
  let state = seed >>> 0
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((state / 2 ** 32) * below)
  }
}

/** Cut at so many places that `next` chooses. */
export const cut = (text: string, places: number, next: (below: number) => number): ReadonlyArray<string> => {
  const at = Array.from({ length: places }, () => next(text.length + 1)).sort((a, b) => a - b)
  return [...at, text.length].map((end, i) => text.slice(i === 0 ? 0 : at[i - 1], end))
}

/**
 * Redacts the pieces of a text and asserts that after each of them what was passed on is a beginning of `expected`, that no
 * more was held back than is allowed, and that nothing is passed on once a text has broken off.
 */
export const redactPieces = (
  compiled: Compiled,
  pieces: ReadonlyArray<string>,
  expected: string,
  report: (finding: Finding) => void = () => {}
): void => {
  const redactor = new Redactor(compiled, report)
  let out = ""
  for (const piece of pieces) {
    out += redactor.push(piece)
    if (!expected.startsWith(out)) assert.fail(`${JSON.stringify(pieces)}: ${out}`)
    if (redactor.held > compiled.holdBack) assert.fail(`${JSON.stringify(pieces)}: ${redactor.held} held back`)
  }
  out += redactor.end()
  if (out !== expected) assert.strictEqual(out, expected, JSON.stringify(pieces))
}

export const jsonPieces = (compiled: Compiled, pieces: ReadonlyArray<string>): string => {
  const redactor = new JsonRedactor(compiled, () => {})
  return pieces.map((piece) => redactor.push(piece)).join("") + redactor.end()
}

/** Every cut in two, every character alone, and `random` cuts into several pieces. */
export function* splits(text: string, random: number): Generator<ReadonlyArray<string>> {
  for (let i = 0; i <= text.length; i++) yield [text.slice(0, i), text.slice(i)]
  yield text.split("")
  const next = numbers(text.length)
  for (let i = 0; i < random; i++) yield cut(text, 1 + next(8), next)
}
