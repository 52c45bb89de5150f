/** How a rule is written, and the expressions made of it. */

import { clean } from "./textClean.ts"

export const families = [
  "override",
  "new-instructions",
  "role",
  "extraction",
  "jailbreak",
  "bypass",
  "exfiltration",
  "tool-abuse",
  "hidden"
] as const

export type Family = (typeof families)[number]
export type Severity = "low" | "medium" | "high"
export type Origin = "user" | "document" | "tool"

export interface Rule<F extends Family = Family> {
  readonly family: F
  readonly name: string
  /** In the text of a user. */
  readonly severity: Severity
  /** In a document or a tool's result, which have no orders to give. Default: `severity`. */
  readonly inData?: Severity
  /** The strongest of each family add up; from 100 on they are `high` together. */
  readonly score: number
  /** Where it is looked for. Default: everywhere. */
  readonly origins?: ReadonlyArray<Origin>
  /** What it begins with, one of these; `*` stands for the rest of a word. */
  readonly starts: ReadonlyArray<string>
  /**
   * What follows, as a regular expression over a folded text. A space is what may stand between two words, `~` is up to four
   * words, `~~` up to eight. A word ends where the pattern ends, unless it looks ahead.
   */
  readonly pattern: string
  /** Only at the beginning of a line or of a sentence. */
  readonly at?: "line" | "sentence"
}

const between = String.raw`[\s"'*_,:;()<>\[\]+\-/|` + "`" + String.raw`]`
const gap = (words: number): string => `(?:[a-z0-9']{1,20}${between}{1,6}){0,${words}}?`

/** Words of any kind in a pattern. Where no spaces are, they are letters: a repetition within one would cost too much. */
const someWords = /\(\?:(?: ?\[[^\]]*\]\{1,\d+\}|\[[^\]]*\]\{1,\d+\} )\)\{0,(\d)\}\??/g
const stretch = (words: number): string => `[a-z0-9']{0,${Math.min(4 * words, 24)}}?`

const places = {
  line: String.raw`(?<=(?:^|\n)[ >*#\[(-]{0,4})`,
  sentence: String.raw`(?<=(?:^|[.!?:\n])[ "'*>-]{0,3})`
}

const asciiWord = /^[a-z]/

/** `joined` reads a text in which no spaces are left. */
const source = (rule: Rule, starts: ReadonlyArray<string>, joined: boolean): string => {
  const space = joined ? `${between}{0,4}` : `${between}{1,6}`
  const translate = (text: string): string =>
    (joined ? text.replace(someWords, (_, times) => stretch(Number(times))) : text).replace(/~~?| \?| /g, (sign) => {
      if (sign === " ") return space
      if (sign === " ?") return `${between}{0,6}`
      const words = sign.length * 4
      return joined ? stretch(words) : gap(words)
    })
  const first = starts.map((start) =>
    start
      .replace(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`)
      .replaceAll(String.raw`\*`, "[a-z]{0,12}")
      .replaceAll(" ", space)
  )
  const place = rule.at === undefined || joined ? "" : places[rule.at]
  const end = joined || !asciiWord.test(starts[0] ?? "") || rule.pattern.includes("(?=") ? "" : "(?![a-z0-9])"
  return `${place}(?:${first.join("|")})(?:${clean(translate(rule.pattern)).text})${end}`
}

/** A rule, ready to be tried at one place of a text. */
export interface Ready {
  readonly rule: Rule
  readonly index: number
  readonly pattern: RegExp
}

export interface Table {
  /** By the first three letters of a word, see `keyOf`. */
  readonly words: ReadonlyMap<number, ReadonlyArray<Ready>>
  /** By the first code unit of what is no ASCII word. */
  readonly signs: ReadonlyMap<number, ReadonlyArray<Ready>>
}

/** Of the letters at a place; zero for the second and third where the word is shorter. */
export const keyOf = (a: number, b: number, c: number): number => {
  const second = b > 96 && b < 123 ? b - 96 : 0
  const third = second !== 0 && c > 96 && c < 123 ? c - 96 : 0
  return (a - 96) * 729 + second * 27 + third
}

/** Rules by what they begin with. */
export const tableOf = (rules: ReadonlyArray<Rule>, joined: boolean): Table => {
  const words = new Map<number, Array<Ready>>()
  const signs = new Map<number, Array<Ready>>()
  rules.forEach((rule, index) => {
    const groups = new Map<string, Array<string>>()
    for (const written of rule.starts) {
      const start = clean(written).text
      const isWord = asciiWord.test(start)
      const word = joined ? start.replace(/[^a-z]/g, "") : start
      if (joined && (!isWord || word.length < 3)) continue
      const key = isWord
        ? `w${keyOf(word.charCodeAt(0), word.charCodeAt(1), word.charCodeAt(2))}`
        : `s${start.charCodeAt(0)}`
      groups.set(key, [...(groups.get(key) ?? []), start])
    }
    for (const [key, starts] of groups) {
      const into = key.startsWith("w") ? words : signs
      const at = Number(key.slice(1))
      const ready = { rule, index, pattern: new RegExp(source(rule, starts, joined), "y") }
      into.set(at, [...(into.get(at) ?? []), ready])
    }
  })
  return { words, signs }
}
