/** Values found in a text for the fields of a schema: what stands beside the field's name first, then what is left over. */
import { contentWords, stem, words } from "./localWords.ts"

/** Takes values out of one text; what was taken is not given to another field. */
export interface Finder {
  /** One beside the field's name, or when `loose` the first that is left. */
  readonly number: (field: string, fits: (value: number) => boolean, loose: boolean) => number | undefined
  readonly string: (field: string, fits: (value: string) => boolean, loose: boolean) => string | undefined
  /** The first run of characters without white space that fits. */
  readonly token: (fits: (value: string) => boolean) => string | undefined
  readonly boolean: (field: string) => boolean
  readonly option: (options: ReadonlyArray<unknown>) => unknown
  /** A text for a field that nothing in particular was found for. */
  readonly fallback: string
}

/** Longest text that is searched, in characters: a schema may have thousands of fields, and each one looks. */
const searchedLength = 20_000

/** How many numbers, names and other words are kept for fields to choose from. */
const maxCandidates = 1_000

export const make = (input: string, fallback: string): Finder => {
  const text = input.slice(-searchedLength)
  const lower = text.toLowerCase()
  const said = new Set(words(text).map(stem))
  const labels = labelled(text)
  const numbers = numbersOf(text).slice(0, maxCandidates)
  const names = [...quoted(text), ...properNouns(text)].slice(0, maxCandidates)
  const tokens = text
    .split(/[\s"'`()<>,;]+/)
    .slice(0, maxCandidates)
    .map((token) => token.replace(/[.!?:]+$/, ""))
  return {
    fallback,
    number: (field, fits, loose) => {
      const wanted = new Set(words(spaced(field)).map(stem))
      const beside = numbers.findIndex((n) => fits(n.value) && n.neighbours.some((word) => wanted.has(word)))
      const at = beside === -1 && loose ? numbers.findIndex((n) => fits(n.value)) : beside
      return at === -1 ? undefined : numbers.splice(at, 1)[0]?.value
    },
    string: (field, fits, loose) => {
      const value = labels.get(labelOf(field))
      if (value !== undefined && fits(value)) return value
      if (!loose || isProse.test(field)) return undefined
      const at = names.findIndex(fits)
      return at === -1 ? undefined : names.splice(at, 1)[0]
    },
    token: (fits) => tokens.find(fits),
    boolean: (field) => {
      const wanted = contentWords(spaced(field)).map(stem)
      return wanted.length > 0 && wanted.every((word) => said.has(word))
    },
    option: (options) =>
      options.find(
        (option) => (typeof option === "string" || typeof option === "number") && includesWord(lower, String(option))
      )
  }
}

/** Fields that hold a sentence rather than a name. */
const isProse = /^(?:title|summary|description|text|answer|content|message|explanation|reason(?:ing)?|body|comment)$/i

/** `affectedUsers` and `affected_users` as words. */
export const spaced = (field: string): string =>
  field.replaceAll(/([a-z\d])(?=[A-Z])/g, "$1 ").replaceAll(/[_-]+/g, " ")

const includesWord = (text: string, option: string): boolean => {
  const wanted = option.toLowerCase()
  if (wanted === "") return false
  for (let at = text.indexOf(wanted); at !== -1; at = text.indexOf(wanted, at + 1)) {
    if (!isLetter(text[at - 1]) && !isLetter(text[at + wanted.length])) return true
  }
  return false
}

const isLetter = (character: string | undefined): boolean => character !== undefined && /[\p{L}\p{N}]/u.test(character)

interface Found {
  readonly value: number
  /** The two words before and the two after, in the same clause. */
  readonly neighbours: ReadonlyArray<string>
}

const numbersOf = (text: string): Array<Found> =>
  Array.from(
    text.matchAll(/(?<![\p{L}\p{N}.:/-])-?\d{1,15}(?:,\d{3})*(?:\.\d{1,15})?(?![\p{L}\p{N}:/]|-\d|\.\d)/gu),
    (match) => ({
      value: Number(match[0].replaceAll(",", "")),
      neighbours: [
        ...words(text.slice(Math.max(0, match.index - 40), match.index).replace(/^.*[.,;!?\n]/s, "")).slice(-2),
        ...words(
          text.slice(match.index + match[0].length, match.index + match[0].length + 40).replace(/[.,;!?\n].*$/s, "")
        ).slice(0, 2)
      ].map(stem)
    })
  )

const quoted = (text: string): Array<string> =>
  Array.from(
    text.matchAll(/"([^"\n]{1,200})"|“([^”\n]{1,200})”|`([^`\n]{1,200})`/g),
    ([, a, b, c]) => a ?? b ?? c ?? ""
  )

/** Runs of capitalised words that do not begin a sentence. */
const properNouns = (text: string): Array<string> =>
  Array.from(
    text.matchAll(/(?<=[\p{L}\p{N},;] )(?:\p{Lu}[\p{L}\p{N}'’-]{1,40})(?: \p{Lu}[\p{L}\p{N}'’-]{0,40}){0,4}/gu),
    ([name]) => name
  )

/** `city: Paris`, `city is "New York"`, `home city = Paris`: each value by the one to four words before it, run together. */
const labelled = (text: string): ReadonlyMap<string, string> => {
  const found = new Map<string, string>()
  const value = /(?: is\b| =|:|=)(?= *(?:"([^"\n]{1,200})"|([^\s.,;!?][^\n.,;!?]{0,80})))/g
  for (const { 1: quote, 2: plain, index } of text.matchAll(value)) {
    const before = words(text.slice(Math.max(0, index - 60), index)).slice(-4)
    for (let n = 1; n <= before.length; n++) {
      const key = labelOf(before.slice(-n).join(""))
      if (!found.has(key)) found.set(key, (quote ?? plain ?? "").trim())
    }
  }
  return found
}

const labelOf = (field: string): string => field.toLowerCase().replaceAll(/[^\p{L}\p{N}]/gu, "")
