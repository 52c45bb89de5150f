/** One way of writing for what is written in many: nothing invisible, no ornaments, plain letters. */
import { Buffer } from "node:buffer"

export interface Clean {
  readonly text: string
  /** What was written in characters that nobody sees ("ASCII smuggling"). */
  readonly hidden: string
  /** Whether invisible characters were taken out. */
  readonly invisible: boolean
}

const special = /[^\t\n\r -~]/
/** Formats, default ignorables (zero-width, bidi, variation selectors, fillers, soft hyphens, tags) and control characters. */
const unseen = /(?![\t\n\r])[\p{Cf}\p{Default_Ignorable_Code_Point}\p{Cc}\u2800]+/gu
const anyUnseen = /(?![\t\n\r])[\p{Cf}\p{Default_Ignorable_Code_Point}\p{Cc}\u2800]/u
/** Runs of marks that no language has. Normalisation sorts a run, which takes the square of its length. */
const ornaments = /\p{M}{9,}/gu
/** One character of this block becomes up to 18 others. */
const phrases = /[\ufdf0-\ufdff]/g
/** Marks on letters and the Arabic tatweel; marks of Indian, Thai and Hebrew letters and of kana stay. */
const marks = /(?:(?![\u3099\u309a])\p{Script=Inherited}|\u0640)+/gu

/** Case and white space stay: decoders need them. */
export const clean = (text: string): Clean => {
  if (!special.test(text)) return { text, hidden: "", invisible: false }
  const invisible = anyUnseen.test(text)
  const seen = invisible ? text.replace(unseen, "") : text
  const hidden = invisible ? smuggled(text) : ""
  if (!special.test(seen)) return { text: seen, hidden, invisible }
  const plain = seen.replace(ornaments, "").replace(phrases, "").normalize("NFKD").replace(marks, "").normalize("NFC")
  return { text: plain, hidden, invisible }
}

const tags = /[\u{e0020}-\u{e007e}]+/gu
const selectors = /[\ufe00-\ufe0f\u{e0100}-\u{e01ef}]{8,}/gu

/** Tag characters stand for ASCII, long runs of variation selectors for bytes. */
const smuggled = (text: string): string => {
  const found: Array<string> = []
  for (const [run] of text.matchAll(tags)) found.push(from(run, (code) => code - 0xe0000))
  for (const [run] of text.matchAll(selectors)) {
    found.push(from(run, (code) => (code < 0xff00 ? code - 0xfe00 : code - 0xe0100 + 16)))
  }
  return found.join("\n")
}

const from = (run: string, byte: (codePoint: number) => number): string =>
  Buffer.from(Array.from(run, (character) => byte(character.codePointAt(0) ?? 0))).toString()

const twins: Readonly<Record<string, string>> = {
  ß: "ss",
  æ: "ae",
  œ: "oe",
  ø: "o",
  ł: "l",
  đ: "d",
  ħ: "h",
  ı: "i",
  "«": '"',
  "»": '"',
  "“": '"',
  "”": '"',
  "„": '"',
  "‟": '"',
  "「": '"',
  "」": '"',
  "『": '"',
  "』": '"',
  "‘": "'",
  "’": "'",
  "‚": "'",
  "‐": "-",
  "‑": "-",
  "–": "-",
  "—": "-"
}
const twin = new RegExp(`[${Object.keys(twins).join("")}]`, "g")

/** Lower case, single spaces, single line breaks, plain quotes and dashes. */
export const fold = (text: string): string => {
  const lower = text.toLowerCase()
  const plain = special.test(lower) ? lower.replace(twin, (found) => twins[found] ?? found) : lower
  return plain.replace(/\s{2,}|[^\S \n]/g, (run) => (run.includes("\n") ? "\n" : " "))
}

/** Pieces of about `size` characters, cut behind white space where there is some. */
export const pieces = (text: string, size: number): ReadonlyArray<string> => {
  const out: Array<string> = []
  let from = 0
  while (text.length - from > size) {
    let to = from + size
    while (to > from + size - 1024 && !/\s/.test(text[to - 1] ?? "")) to--
    if (to === from + size - 1024) to = from + size - (/[\ud800-\udbff]/.test(text[from + size - 1] ?? "") ? 1 : 0)
    out.push(text.slice(from, to))
    from = to
  }
  out.push(text.slice(from))
  return out
}
