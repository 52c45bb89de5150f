/**
 * All that a text may be read as: itself in one way of writing, with look-alikes, digits for letters, spaces between letters
 * or backwards, and what is encoded in it, to a depth of three.
 */
import { latin, upright } from "./confusables.ts"
import { clean, fold, pieces } from "./textClean.ts"
import { decoded, unescaped } from "./textDecode.ts"

export interface View {
  /** `text`, or how one gets to it: `base64>url`. */
  readonly name: string
  /** In lower case, compatibility forms and marks resolved, white space collapsed. */
  readonly text: string
  /** Spaces between words may be missing in it. */
  readonly joined: boolean
}

/** What is encoded deeper is not decoded. */
const depth = 3
/** Texts that are decoded at most, and their characters in all. */
const segments = 64
const size = 1 << 20
/** Characters worked on between two chances for others to run. */
export const slice = 1 << 16

interface Segment {
  readonly name: string
  readonly text: string
  readonly depth: number
}

/** A view, or `undefined` where much was done without one. Returns whether a bound left something undecoded. */
export function* viewsOf(text: string): Generator<View | undefined, boolean> {
  const waiting: Array<Segment> = [{ name: "", text, depth: 0 }]
  const seen = new Set<string>()
  let left = size
  let truncated = false
  for (let i = 0; i < waiting.length; i++) {
    const segment = waiting[i]
    if (segment === undefined) break
    const { hidden, text: cleaned } = yield* readings(segment)
    const level = unescaped(cleaned)
    const found = [...decoded(cleaned), ...(hidden === "" ? [] : [{ name: "hidden", text: hidden }])]
    if (text.length > slice) yield undefined
    for (const one of level === undefined ? found : [...found, level]) {
      if (seen.has(one.text)) continue
      // a level of escapes is never longer than what it was read from, so that it needs no bound
      const cost = one === level ? 0 : one.text.length
      if (segment.depth === depth || waiting.length > segments || cost > left) {
        truncated = true
        continue
      }
      left -= cost
      seen.add(one.text)
      waiting.push({ name: within(segment.name, one.name), text: one.text, depth: segment.depth + 1 })
    }
  }
  return truncated
}

const within = (outer: string, inner: string): string => (outer === "" ? inner : `${outer}>${inner}`)

/** The views of one text that are not decoded from it. Returns what the decoders read. */
function* readings(segment: Segment): Generator<View | undefined, Pick<Written, "hidden" | "text">> {
  const { hidden, invisible, looks, plain, text } = yield* written(segment.text)
  const name = (inner: string): string => within(segment.name, inner)
  yield { name: segment.name === "" ? "text" : segment.name, text: plain, joined: invisible }
  if (looks !== plain) yield { name: name("confusables"), text: looks, joined: invisible }
  const digits = leetspeak(looks)
  if (digits !== looks) yield { name: name("leetspeak"), text: digits, joined: invisible }
  const together = unspaced(digits)
  if (together !== undefined) yield { name: name("spaced"), text: together, joined: true }
  yield* backwards(digits, name)
  const turned = upright(plain)
  if (turned !== undefined) yield { name: name("upside-down"), text: turned, joined: false }
  return { hidden, text }
}

interface Written {
  readonly text: string
  readonly plain: string
  readonly looks: string
  readonly hidden: string
  readonly invisible: boolean
}

function* written(whole: string): Generator<undefined, Written> {
  if (whole.length <= slice) return writtenPiece(whole)
  const all: Array<Written> = []
  for (const piece of pieces(whole, slice)) {
    all.push(writtenPiece(piece))
    yield undefined
  }
  const join = (key: "text" | "plain" | "looks" | "hidden"): string => all.map((one) => one[key]).join("")
  return {
    text: join("text"),
    plain: join("plain"),
    looks: join("looks"),
    hidden: join("hidden"),
    invisible: all.some((one) => one.invisible)
  }
}

const writtenPiece = (piece: string): Written => {
  const { hidden, invisible, text } = clean(piece)
  const plain = fold(text)
  const alike = latin(text)
  return { text, plain, looks: alike === text ? plain : fold(alike), hidden, invisible }
}

const mixed = /[a-z][0-9@$!|+]|[0-9@$!|+][a-z]/
/** What is longer than 64 characters is no word. */
const token = /[a-z0-9@$!|+]{2,}/g
const digitLetters: Readonly<Record<string, string>> = {
  "0": "o",
  "1": "i",
  "2": "z",
  "3": "e",
  "4": "a",
  "5": "s",
  "6": "g",
  "7": "t",
  "8": "b",
  "9": "g",
  "@": "a",
  $: "s",
  "!": "i",
  "|": "i",
  "+": "t"
}

/** `1` is i or l: words of the rules in which it is l. */
const withL = new Map(
  "all rules rule reveal tell developer tool call guidelines guideline told unlimited password delete leak last \
limits policy policies old illegal roleplay replace unfiltered above"
    .split(" ")
    .map((word) => [word.replaceAll("l", "i"), word] as const)
)

/** Words with digits and signs for letters, in letters. */
const leetspeak = (text: string): string => {
  if (!mixed.test(text)) return text
  let changed = 0
  const words = text.replace(token, (found) => {
    if (found.length > 64 || !/[a-z]/.test(found) || !/[^a-z]/.test(found)) return found
    const end = /[!|]*$/.exec(found)?.[0] ?? ""
    const inner = found.slice(0, found.length - end.length)
    // an address stays one
    const word = /[a-z0-9]{5}@[a-z0-9]{4}/.test(inner) ? inner.split("@").map(lettersOf).join("@") : lettersOf(inner)
    changed++
    return (withL.get(word) ?? word) + end
  })
  // "70" is "to" only among words of that kind
  return changed < 3 ? words : words.replace(short, lettersOf)
}

const lettersOf = (word: string): string => word.replace(/[^a-z]/g, (sign) => digitLetters[sign] ?? sign)
const short = /(?<![a-z0-9@$!|+])[0-9@$!|+]{1,3}(?![a-z0-9@$!|+])/g

/** Letters one by one, with up to three signs between two of them. */
const single = /(?<![\p{L}\p{N}])[\p{L}\p{N}](?:[\s.\-_*/|,~+:;'"·•]{1,3}[\p{L}\p{N}](?![\p{L}\p{N}])){4,}/gu
const anySingle = /[a-z0-9][^a-z0-9]{1,3}[a-z0-9][^a-z0-9]{1,3}[a-z0-9][^a-z0-9]{1,3}[a-z0-9](?![a-z0-9])/
const longWord = /(?<![a-z_-])[a-z_-]{18,}/g

/** Words whose letters stand apart, put together, and words that are several in one. */
const unspaced = (text: string): string | undefined => {
  const found: Array<string> = []
  if (anySingle.test(text)) {
    const together = text.replace(single, (run) => run.replace(/[^\p{L}\p{N}]+/gu, ""))
    if (together !== text) found.push(together)
  }
  for (const [word] of text.matchAll(longWord)) found.push(word)
  return found.length === 0 ? undefined : found.join("\n")
}

/** Words of the rules and the most frequent ones, backwards and by thirteen letters on. */
const reversed =
  /erongi|noitcurtsni|tpmorp|dragersid|tegrof|edirrevo|suoiverp|gnihtyreve|snoitcirtser|metsys|senilediug|\b(?:ruoy|uoy|eht|htiw|morf|lla|yna)\b/
const rotated =
  /vtaber|vafgehpgvba|cebzcg|qvfertneq|sbetrg|bireevqr|cerivbhf|rirelguvat|erfgevpgvba|flfgrz|thvqryvar|\b(?:lbhe|lbh|gur|jvgu|sebz|nyy|nal)\b/

function* backwards(text: string, name: (inner: string) => string): Generator<View> {
  if (reversed.test(text)) {
    yield { name: name("reversed"), text: [...text].toReversed().join(""), joined: false }
    yield {
      name: name("reversed"),
      text: text.replace(/[a-z]+/g, (word) => [...word].toReversed().join("")),
      joined: false
    }
  }
  if (rotated.test(text)) yield { name: name("rot13"), text: text.replace(/[a-z]/g, rotate), joined: false }
}

const rotate = (letter: string): string => String.fromCharCode(((letter.charCodeAt(0) - 97 + 13) % 26) + 97)
