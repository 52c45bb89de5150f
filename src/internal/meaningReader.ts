/** The words of a text by what they are to the gate of the semantic cache. */
import { chunks, languageOf, plain, scriptsOf } from "./meaningText.ts"
import * as words from "./meaningWords.ts"

export interface Found {
  readonly number: Array<string>
  readonly unit: Array<string>
  readonly code: Array<string>
  readonly date: Array<string>
  readonly negation: Array<string>
  readonly comparison: Array<string>
  readonly question: Array<string>
  readonly form: Array<string>
  readonly language: Array<string>
  readonly topic: Array<string>
  /** From one thing to another. */
  directed: boolean
  /** One thing and another. */
  joined: boolean
}

/** Of a text without quotes and dates. */
export const read = (text: string): Found => {
  const pieces = chunks(plain(text))
  const spoken = pieces.flatMap((piece) => wordsIn(words.folded(piece)))
  const language = languageOf(spoken)
  const reader = new Reader(language)
  if ((language ?? "en") === "en" && words.asksWhether.test(text)) reader.found.question.push("whether")
  for (const piece of pieces) reader.chunk(piece)
  if (reader.found.number.at(-1) === "=") reader.found.number.pop() // "2 + 2 ="
  const scripts = [...scriptsOf(text)]
  // English and unknown are one: "Python?" is asked in English as well
  if (language !== undefined && (language !== "en" || scripts.length > 0)) scripts.push(language)
  reader.found.language.push(...scripts)
  return reader.found
}

const wordsIn = (piece: string): ReadonlyArray<string> =>
  Array.from(piece.replace(/ʼ.*$/u, "").matchAll(/\p{L}+/gu), ([word]) => word)

/** Digits in groups, words, signs. */
const token = /\d+(?:[.,ʼ']\d+)*|[\p{L}\p{M}]+(?:ʼ[\p{L}\p{M}]+)*|[<>=≤≥≠±√^%°€$£¥₹+\-*×·÷/()]|\p{N}/gu
const acronym = /^(?:\p{L}\.){1,8}\p{L}?$/u
const isDigits = /^\d/
const isLetters = /^[\p{L}]/u

class Reader {
  readonly found: Found = {
    number: [],
    unit: [],
    code: [],
    date: [],
    negation: [],
    comparison: [],
    question: [],
    form: [],
    language: [],
    topic: [],
    directed: false,
    joined: false
  }
  private readonly language: string | undefined
  private readonly silent: ReadonlySet<string>
  /** Whether the last token was a number or what belongs to one. */
  private counted = false
  /** Whether a request may go on here. */
  private requesting = true

  constructor(language: string | undefined) {
    this.language = language
    this.silent = words.languages.find(({ name }) => name === language)?.silent ?? words.silent
  }

  chunk(piece: string): void {
    if (this.quantity(piece)) return
    if (isCode(piece)) {
      this.found.code.push(words.folded(piece))
      this.counted = false
      return
    }
    const text = acronym.test(piece) ? piece.replaceAll(".", "") : piece
    for (const match of text.matchAll(token)) {
      this.token(match[0], text[match.index - 1] ?? "", text[match.index + match[0].length] ?? "")
    }
  }

  /** "5km", "$5k", "1st". */
  private quantity(piece: string): boolean {
    const [, sign = "", amount = "", written = ""] = /^([$€£¥₹]?)(\d[\d.,ʼ]*)(\p{L}+)$/u.exec(piece) ?? []
    const unit = words.folded(written)
    if (sign === "" && /^(?:st|nd|rd|th)$/.test(unit)) {
      this.found.number.push(amount + unit)
      return true
    }
    const known = unitOf(unit, true)
    if (known === undefined) return false
    this.token(sign, "", "")
    this.token(amount, "", "")
    this.found.unit.push(known)
    return true
  }

  private token(text: string, before: string, next: string): void {
    if (text === "") return
    if (isDigits.test(text)) return this.count(numberOf(text, this.language))
    if (isLetters.test(text)) return this.words(text)
    const unit = words.units.get(text)
    if (unit !== undefined) this.found.unit.push(unit)
    else if (/^[<>=≤≥≠±√^\p{N}]$/u.test(text) || this.isOperator(text, before, next)) this.count(operatorOf(text))
  }

  /** A dash or a bullet is none. */
  private isOperator(text: string, before: string, next: string): boolean {
    if (text === "(") return /[\d(-]/.test(next)
    if (text === ")") return /[\d)]/.test(before)
    return this.counted || (text === "-" && isDigits.test(next) && !isLetters.test(before))
  }

  private count(value: string): void {
    this.found.number.push(value)
    this.counted = true
  }

  /** A word with its apostrophes: "isn't" is two, of "l'amour" and "Anna's" one counts. */
  private words(text: string): void {
    const parts = text.split("ʼ")
    const tail = words.folded(parts.at(-1) ?? "")
    if (parts.length > 1 && tail === "t" && /n$/i.test(parts[0] ?? "")) {
      const verb = (parts[0] ?? "").slice(0, -1)
      if (words.folded(verb) !== "ca" && words.folded(verb) !== "wo") this.word(verb)
      this.found.negation.push("not")
      return
    }
    if (parts.length > 1 && ["s", "re", "ve", "ll", "d", "m"].includes(tail)) parts.pop()
    if (parts.length > 1 && (parts[0] ?? "").length <= 2) parts.shift()
    for (const part of parts) if (part !== "") this.word(part)
  }

  private word(written: string): void {
    const word = words.folded(written)
    const counted = this.counted
    this.counted = false
    const asked = this.requesting
    this.requesting = words.requesting.has(word) || (asked && words.requests.has(word))
    if (words.directing.has(word)) this.found.directed = true
    if (words.joining.has(word)) this.found.joined = true
    if (this.numeral(word, counted) || this.known(word, counted)) return
    if (!this.silent.has(word) && !(asked && words.requests.has(word))) this.topic(word)
  }

  private numeral(word: string, counted: boolean): boolean {
    const number = words.numbers.get(word) ?? hanNumerals.get(word)
    const zeros = words.zeros.get(word)
    const ordinal = words.ordinals.get(word)
    if (ordinal !== undefined) this.found.number.push(ordinal)
    else if (number !== undefined) this.count(number)
    else if (zeros !== undefined) this.multiply(zeros, counted)
    else if (counted && words.operators.has(word)) this.count(words.operators.get(word) ?? word)
    else return false
    return true
  }

  /** "Two thousand" is 2000, and so is "2 thousand"; "2.5 million" stays as it is. */
  private multiply(zeros: string, counted: boolean): void {
    const last = this.found.number.at(-1) ?? ""
    if (counted && /^[1-9]\d{0,5}$/.test(last)) this.found.number.pop()
    const whole = counted && /^[1-9]\d{0,5}$/.test(last) ? last : counted ? "x1" : "1"
    this.count(`${whole}${zeros}`)
  }

  private known(word: string, counted: boolean): boolean {
    if (this.language === "de" && words.germanOnly.has(word)) return false
    const put = (into: Array<string>, known: string | undefined): boolean => {
      if (known === undefined) return false
      into.push(known)
      return true
    }
    return (
      put(this.found.negation, words.negations.get(word)) ||
      put(this.found.unit, unitOf(word, counted)) ||
      put(this.found.question, words.questions.get(word)) ||
      put(this.found.comparison, words.comparisons.get(word)) ||
      put(this.found.form, words.forms.get(word)) ||
      put(this.found.date, words.relativeDates.get(word) ?? (word === "may" ? undefined : words.months.get(word)))
    )
  }

  private topic(word: string): void {
    const stem = words.synonyms.get(word) ?? stemOf(word, this.language)
    this.found.topic.push(words.synonyms.get(stem) ?? stem)
  }
}

const hanNumerals = new Map(
  Array.from("〇一二三四五六七八九十", (numeral, i): [string, string] => [numeral, String(i)])
)

const unitOf = (word: string, counted: boolean): string | undefined =>
  words.units.get(word) ?? (counted ? words.shortUnits.get(word) : undefined)

const operatorOf = (text: string): string => words.operators.get(text) ?? (text === "·" ? "*" : text)

/** Languages that write 1.000,50. */
const commaLanguages = new Set(["de", "fr", "es", "it", "pt", "nl"])

/** Without the signs between thousands, and with a point before the fraction. */
const numberOf = (text: string, language: string | undefined): string => {
  const comma = language !== undefined && commaLanguages.has(language)
  if (/^\d{1,3}(?:ʼ\d{3})+$/.test(text)) return text.replaceAll("ʼ", "")
  if (/^[1-9]\d{0,2}(?:\.\d{3}){2,}(?:,\d+)?$/.test(text)) return text.replaceAll(".", "").replace(",", ".")
  if (comma && /^[1-9]\d{0,2}\.\d{3}(?:,\d+)?$/.test(text)) return text.replace(".", "").replace(",", ".")
  if (comma && /^\d+,\d+$/.test(text)) return text.replace(",", ".")
  if (/^[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?$/.test(text)) return text.replaceAll(",", "")
  return text
}

/** Addresses, paths, names from programs, and whatever mixes letters with digits or signs. */
const isCode = (piece: string): boolean =>
  piece.includes("://") ||
  piece.includes("@") ||
  piece.includes("_") ||
  piece.includes("::") ||
  piece.includes("\\") ||
  /^(?:www\.|~?\/\p{L}|-{1,2}\p{L}|[$#]\p{L})/iu.test(piece) ||
  /\p{L}(?:#|\+\+|\(\))/u.test(piece) ||
  /\p{L}=|[{}[\]]/u.test(piece) ||
  /[\p{Ll}\p{Lu}]-?\d|\d-?[\p{Ll}\p{Lu}]/u.test(piece) ||
  (/\p{L}\.[\p{L}\d]/u.test(piece) && !acronym.test(piece))

/**
 * Without the commonest endings of English, or of German: "planning" is "plan", "caring" is "care", as English spells them,
 * and never "plan" what is "plane". Endings that might make one word of two are kept.
 */
const stemOf = (word: string, language: string | undefined): string => {
  if (language === "de") return word.replace(/(?<=\p{L}{3})en?$/u, "")
  if (language !== undefined && language !== "en") return word
  const single = word
    .replace(/(?<=\p{L}{2})ies$/u, "y")
    .replace(/(?<=ch|sh|ss|x|zz)es$/, "")
    .replace(/(?<=\p{L}{2}[^sui])s$/u, "")
  const base = single.replace(/(?:ing|ed)$/, "")
  if (base === single || base.length < 3 || !/[aeiouy]/.test(base)) return single
  if (/^[^aeiou]*[aeiou][^aeiouwxy]$/.test(base)) return `${base}e`
  return base.replace(/([^aeiousl])\1$/, "$1")
}
