/** A text as the gate of the semantic cache reads it: without differences of writing, quotes and dates taken out. */
import * as words from "./meaningWords.ts"

/** Characters that nobody sees. */
const invisible = /[\p{Cf}\p{Variation_Selector}]/gu
const foreignDigit = /(?![0-9])\p{Nd}/gu
const apostrophe = /(?<=[\p{L}\p{N}])['’ʼ‘](?=[\p{L}\p{N}])/gu
const doubleQuotes = /[“”„‟«»"「」『』〝〞`]|''/gu
const singleQuotes = /[‘’‚‛‹›]/gu

/** One form for what is written in many: compatibility forms, digits of all scripts, quotes, dashes, white space. */
export const normalised = (text: string): string =>
  text
    .normalize("NFKC")
    .replace(invisible, "")
    .replace(foreignDigit, digit)
    .replace(apostrophe, "ʼ")
    .replace(doubleQuotes, '"')
    .replace(singleQuotes, "'")
    .replace(/[‐-―−]/gu, "-")
    .replace(/٫/gu, ".")
    .replace(/٬/gu, ",")
    .replace(/٪/gu, "%")
    .replace(/\s+/gu, " ")

/** The digits of a script are ten neighbours. */
const digit = (character: string): string => {
  const code = character.codePointAt(0) ?? 0
  let value = 0
  while (value < 9 && /\p{Nd}/u.test(String.fromCodePoint(code - value - 1))) value++
  return String(value)
}

/** The text without what `pattern` finds; a comma stands in its place. */
export interface Taken {
  readonly rest: string
  readonly found: ReadonlyArray<string>
}

/** Strings in quotes of any style, in order. An apostrophe between letters is none. */
export const quotes = (text: string): Taken => {
  const found: Array<string> = []
  const take = (_: string, inner: string): string => {
    if (inner.trim() !== "") found.push(words.folded(inner.trim()))
    return " , "
  }
  const single = /(?<![\p{L}\p{N}])'(?=[^\s'])([^']*)(?<=[^\s'])'(?![\p{L}\p{N}])/gu
  return { rest: text.replace(/"([^"]*)"/gu, take).replace(single, take), found }
}

const month = [...words.months.keys()]
  .filter((word) => !/\d/.test(word))
  .sort((a, b) => b.length - a.length)
  .join("|")

const meridiem = String.raw`(?<half>[ap])\.?m\b\.?`

/** One pattern, so that what it finds stays in order. Every repetition is bounded. */
const dates = new RegExp(
  String.raw`(?<![\p{L}\p{N}.,:/-])(?:${[
    String.raw`(?<y1>\d{4})[-/](?<m1>\d{1,2})[-/](?<d1>\d{1,2})(?!\d)`,
    String.raw`(?<y2>\d{4}) ?年 ?(?<m2>\d{1,2}) ?月(?: ?(?<d2>\d{1,2}) ?[日号])?`,
    String.raw`(?<d3>\d{1,2})(?:st|nd|rd|th|er|\.)? ?(?:of |de )?(?<n3>${month})\b\.?(?:,? ?(?:de |of )?(?<y3>\d{4})(?!\d))?`,
    String.raw`(?<n4>${month})\b\.? (?<d4>\d{1,2})(?:st|nd|rd|th)?(?![\d:]|[.,]\d)(?:,? (?<y4>\d{4})(?!\d))?`,
    String.raw`(?<n5>${month})\b\.?,? (?:de |of )?(?<y5>\d{4})(?!\d)`,
    String.raw`(?<a6>\d{1,2})(?<s6>[./-])(?<b6>\d{1,2})\k<s6>(?<y6>\d{4})(?!\d)`,
    String.raw`(?<h7>\d{1,2}):(?<i7>\d{2})(?::(?<j7>\d{2}))?(?![\d:])(?: ?${meridiem.replace("half", "half7")})?`,
    String.raw`(?<h8>\d{1,2}) ?${meridiem.replace("half", "half8")}`,
    String.raw`(?<h9>\d{1,2}) ?(?:uhr|oʼclock)(?: (?<i9>\d{2})\b)?`
  ].join("|")})`,
  "giu"
)

type Groups = Readonly<Record<string, string | undefined>>

/**
 * Dates as `2026-11-28`, `-11-28` or `2026-11`, times as `15:00`, in order. `3/4/2026` may be March or April: it stays as it
 * is written, and so does what is no date.
 */
export const instants = (text: string): Taken => {
  const found: Array<string> = []
  if (!/\d/.test(text)) return { rest: text, found }
  const rest = text.replace(dates, (...args) => {
    // the last argument of a replacer is the record of groups where the pattern has any
    const at = args.at(-1) as Groups
    found.push(day(at) ?? time(at) ?? `"${words.folded(args[0])}`)
    return " , "
  })
  return { rest, found }
}

const day = (at: Groups): string | undefined => {
  if (at["y6"] !== undefined) return numeric(Number(at["a6"]), Number(at["b6"]), at["s6"] === ".", at["y6"])
  const year = at["y1"] ?? at["y2"] ?? at["y3"] ?? at["y4"] ?? at["y5"]
  const name = at["n3"] ?? at["n4"] ?? at["n5"]
  const number = at["m1"] ?? at["m2"] ?? (name === undefined ? undefined : words.months.get(words.folded(name)))
  const dayOf = at["d1"] ?? at["d2"] ?? at["d3"] ?? at["d4"]
  if (number === undefined) return undefined
  return calendar(year ?? "", Number(number), dayOf === undefined ? undefined : Number(dayOf))
}

/** Points are between day and month; behind a slash or a dash the one above twelve tells which is the day. */
const numeric = (a: number, b: number, points: boolean, year: string): string | undefined => {
  if (points || a > 12) return calendar(year, b, a)
  return b > 12 || a === b ? calendar(year, a, b) : undefined
}

const calendar = (year: string, month: number, day: number | undefined): string | undefined => {
  if (month < 1 || month > 12 || (day !== undefined && (day < 1 || day > 31))) return undefined
  return `${year}-${two(month)}${day === undefined ? "" : `-${two(day)}`}`
}

const time = (at: Groups): string | undefined => {
  const hour = Number(at["h7"] ?? at["h8"] ?? at["h9"])
  const minute = Number(at["i7"] ?? at["i9"] ?? 0)
  const half = (at["half7"] ?? at["half8"])?.toLowerCase()
  if (Number.isNaN(hour) || minute > 59 || hour > (half === undefined ? 24 : 12)) return undefined
  const hours = half === undefined ? hour : (hour % 12) + (half === "p" ? 12 : 0)
  return `${two(hours)}:${two(minute)}${at["j7"] === undefined ? "" : `:${at["j7"]}`}`
}

const two = (value: number): string => String(value).padStart(2, "0")

const phrase = new RegExp([...words.phrases.keys()].join("|"), "gu")
const idiom = new RegExp(
  String.raw`(?<![\p{L}\p{N}])(?:${[...words.idioms.keys()].sort((a, b) => b.length - a.length).join("|")})(?![\p{L}\p{N}])`,
  "giu"
)

/** Phrases that count as one word, replaced by it. */
export const plain = (text: string): string => {
  const short = text.replace(idiom, (found) => words.idioms.get(words.folded(found)) ?? found)
  return hanOrKana.test(text) ? short.replace(phrase, (found) => ` ${words.phrases.get(found) ?? ""} `) : short
}

const hanOrKana = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}]/u
const han = String.raw`\p{Script=Han}`
const kana = String.raw`[\p{Script=Hiragana}\p{Script=Katakana}ー]`
const chunk = new RegExp(String.raw`${han}|${kana}+|(?:(?!${han}|${kana})\S)+`, "gu")

/** What stands between spaces; every Han character is a chunk of its own. */
export const chunks = (text: string): ReadonlyArray<string> =>
  Array.from(text.matchAll(chunk), ([found]) => trimmed(found)).filter((found) => found !== "")

const before = new Set("([{<,;:!?.…¿¡。，、！？；：'\"*>|")
const behind = new Set(")]}>,;:!?.…。，、！？；：'\"*|")

/** By hand: a pattern for the end would begin anew at every character. */
const trimmed = (text: string): string => {
  let from = 0
  let to = text.length
  while (from < to && before.has(text[from] ?? "") && !isSign(text, from)) from++
  while (to > from && behind.has(text[to - 1] ?? "") && !isSign(text, to - 1)) to--
  return text.slice(from, to)
}

/** Comparison signs, multiplication and brackets around a number are part of what is asked. */
const isSign = (text: string, i: number): boolean => {
  const character = text[i]
  if (character === "<" || character === ">") return !/[\p{L}/]/u.test(text[i + 1] ?? text[i - 1] ?? "")
  if (character === "*") return text.length === 1
  if (character === ".") return /\d/.test(text[i + 1] ?? "")
  return (
    (character === "(" && /[\d(-]/.test(text[i + 1] ?? "")) || (character === ")" && /[\d)]/.test(text[i - 1] ?? ""))
  )
}

/** The words alone, as one text. */
export const bare = (text: string): string => words.folded(chunks(text).join(" "))

const scripts = [
  "Cyrillic",
  "Greek",
  "Arabic",
  "Hebrew",
  "Han",
  "Hiragana",
  "Katakana",
  "Hangul",
  "Thai",
  "Devanagari"
].map((name) => ({ name: name.toLowerCase(), pattern: new RegExp(String.raw`\p{Script=${name}}`, "u") }))
const otherScript =
  /(?![\p{Script=Latin}\p{Script=Cyrillic}\p{Script=Greek}\p{Script=Arabic}\p{Script=Hebrew}\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}\p{Script=Thai}\p{Script=Devanagari}\p{Script=Common}\p{Script=Inherited}])\p{L}/u

/** Scripts other than Latin. */
export const scriptsOf = (text: string): ReadonlyArray<string> => {
  if (!/[^ -\u024f]/.test(text)) return []
  const known = scripts.filter(({ pattern }) => pattern.test(text)).map(({ name }) => name)
  return otherScript.test(text) ? [...known, "other"] : known
}

/** The language with the most words that show it; `undefined` where none does, `en` at a tie. */
export const languageOf = (spoken: ReadonlyArray<string>): string | undefined => {
  const count = (known: ReadonlySet<string>): number => spoken.filter((word) => known.has(word)).length
  let best = count(words.english)
  let name = best === 0 ? undefined : "en"
  for (const one of words.languages) {
    const hits = count(one.shows)
    if (hits > best) [best, name] = [hits, one.name]
  }
  return name
}
