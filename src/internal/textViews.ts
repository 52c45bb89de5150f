/**
 * All that a text may be read as: itself in one way of writing, with look-alikes, digits for letters, spaces between letters
 * or backwards, and what is encoded in it, to a depth of three.
 */
import { latin, upright } from "./confusables.ts"
import { clean, fold, pieces } from "./textClean.ts"
import { type Decoded, decoded, unescaped } from "./textDecode.ts"

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
  readonly joined: boolean
}

/** A view, or `undefined` where much was done without one. Returns whether a bound left something undecoded. */
export function* viewsOf(text: string): Generator<View | undefined, boolean> {
  const waiting: Array<Segment> = [{ name: "", text, depth: 0, joined: false }]
  const seen = new Set<string>()
  let left = size
  let truncated = false
  for (let i = 0; i < waiting.length; i++) {
    const segment = waiting[i]
    if (segment === undefined) break
    const whole = yield* readings(segment)
    const found = within(whole)
    const free = shorter(whole, segment)
    if (text.length > slice) yield undefined
    for (const one of [...found, ...free]) {
      if (seen.has(one.text)) continue
      const cost = free.includes(one) ? 0 : one.text.length
      const joined = one.name === "spaced"
      const below = segment.depth + (joined ? 0 : 1)
      if (below > depth || waiting.length > segments || cost > left) {
        truncated = true
        continue
      }
      left -= cost
      seen.add(one.text)
      waiting.push({ name: nameIn(segment, one.name), text: one.text, depth: below, joined })
    }
  }
  return truncated
}

const nameIn = (segment: Segment, inner: string): string => (segment.name === "" ? inner : `${segment.name}>${inner}`)

/** What is encoded in it. */
const within = ({ alike, hidden, text }: Written): ReadonlyArray<Decoded> => {
  const found = [...decoded(text)]
  // look-alikes that are letters of base64 or hexadecimal
  if (alike !== text) found.push(...decoded(alike))
  if (hidden !== "") found.push({ name: "hidden", text: hidden })
  return found
}

/** What is never longer than what it was read from, so that it needs no bound. */
const shorter = ({ alike, text }: Written, { joined }: Segment): ReadonlyArray<Decoded> => {
  const found = [unescaped(text)]
  if (!joined) found.push(unspaced(text), alike === text ? undefined : unspaced(alike))
  return found.filter((one) => one !== undefined)
}

/** The views of one text that are not decoded from it. */
function* readings(segment: Segment): Generator<View | undefined, Written> {
  const whole = yield* written(segment.text)
  const { looks, plain } = whole
  const joined = segment.joined || whole.invisible
  const view = (inner: string, text: string, spaceless = joined): View => ({
    name: nameIn(segment, inner),
    text,
    joined: spaceless
  })
  yield { name: segment.name === "" ? "text" : segment.name, text: plain, joined }
  if (looks !== plain) yield view("confusables", looks)
  let last = looks
  for (const text of leetspeak(looks)) {
    last = text
    yield view("leetspeak", text)
  }
  const long = longWords(last)
  if (long !== "") yield view("joined", long, true)
  if (oneWordLines.test(plain)) yield view("lines", plain.replace(/\n(?=\S+(?:\n|$))/g, " "))
  if (reversed.whole.test(last) || reversed.part.test(long) || reversedElsewhere.test(plain)) {
    for (const text of new Set([plain, last])) {
      for (const turn of backwards) yield view("reversed", turn(text), long !== "")
    }
  }
  if (rotated.whole.test(last) || rotated.part.test(long)) {
    yield view("rot13", last.replace(/[a-z]/g, rotate), long !== "")
  }
  const turned = upright(plain)
  if (turned !== undefined) {
    for (const turn of [(text: string) => text, ...backwards]) {
      const text = turn(turned)
      yield view("upside-down", [...leetspeak(text)].at(-1) ?? text)
    }
  }
  return whole
}

interface Written {
  /** As it is, without what nobody sees. */
  readonly text: string
  /** The same with Latin letters for those that look like them. */
  readonly alike: string
  /** Both folded. */
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
  const join = (key: "text" | "alike" | "plain" | "looks" | "hidden"): string => all.map((one) => one[key]).join("")
  return {
    text: join("text"),
    alike: join("alike"),
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
  return { text, alike, plain, looks: alike === text ? plain : fold(alike), hidden, invisible }
}

const mixed = /[a-z][0-9@$!|+]|[0-9@$!|+][a-z]/
/** The bars of `<|system|>` are no letters. What is longer than 64 characters is no word. */
const token = /(?:[a-z0-9@$!+]|(?<!<)\|(?!>)){2,}/g
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

const lettersOf = (word: string): string => word.replace(/[^a-z]/g, (sign) => digitLetters[sign] ?? sign)

/** `1` is i or l: words of the rules in which it is l, or in which digits are digits. */
const otherwise = new Map(
  "all rules rule reveal tell developer tool call guidelines guideline told unlimited password delete leak last \
limits policy policies old illegal roleplay replace unfiltered above email url base64"
    .split(" ")
    .map((word) => [lettersOf(word.replaceAll("l", "1")), word] as const)
)

/** Readings of a text with digits and signs for letters: `!` at the end of a word may be a letter too. */
function* leetspeak(text: string): Generator<string> {
  if (!mixed.test(text)) return
  const calm = lettered(text, /[!|]*$/)
  if (calm.words !== text) yield calm.words
  if (calm.changed < few) return
  const loud = lettered(text, /$/)
  if (loud.words !== calm.words) yield loud.words
}

/** From so many words with digits for letters on, "70" is "to". */
const few = 3

/** Words with digits and signs for letters, in letters, up to their end. */
const lettered = (text: string, end: RegExp): { readonly words: string; readonly changed: number } => {
  let changed = 0
  const words = text.replace(token, (found, at: number) => {
    if (found.length > 64 || !/[a-z]/.test(found) || !/[^a-z]/.test(found)) return found
    const inner = found.slice(0, end.exec(found)?.index)
    const host = hostIn(inner, text.slice(at + found.length, at + found.length + 3))
    const word = lettersOf(inner.slice(0, host)) + (host < inner.length ? `@${lettersOf(inner.slice(host + 1))}` : "")
    if (word !== inner) changed++
    return (otherwise.get(word) ?? word) + found.slice(inner.length)
  })
  return { words: changed < few ? words : words.replace(short, lettersOf), changed }
}

/** Where the `@` of an address is: the last one before the name of a host. */
const hostIn = (word: string, next: string): number => {
  const at = word.lastIndexOf("@")
  return at > 1 && at < word.length - 2 && /^\.[a-z0-9@$!]{2}/.test(next) ? at : word.length
}

/** Not the signs of `![a link](...)` and `$(...)`. */
const short = /(?<![a-z0-9@$!|+])[0-9@$!]{1,3}(?![a-z0-9@$!|+[({])/g

/** Words that may be several: of 18 letters and more. */
const longWords = (text: string): string => {
  let run = 0
  for (let i = 0; i < text.length && run < 18; i++) {
    const code = text.charCodeAt(i)
    run = (code > 96 && code < 123) || code === 95 || code === 45 ? run + 1 : 0
  }
  return run < 18 ? "" : (text.match(/(?<![a-z_-])[a-z_-]{18,}/g) ?? []).join("\n")
}

const separators = [..." .-_*/|,~+:;'\"·•"]
const separator = String.raw`[\s${separators.join("").replace("-", String.raw`\-`)}]`
const anyLetter = String.raw`[a-zA-Z0-9\u0080-\uffff]`
const anyApart = new RegExp(`${separator}${anyLetter}(?:${separator}{1,3}${anyLetter}){3}(?!${anyLetter})`)
const letter = String.raw`[\p{L}\p{N}]`
/** Letters one by one, with up to three signs between two of them. */
const single = new RegExp(`(?<!${letter})${letter}(?:${separator}{1,3}${letter}(?!${letter})){4,}`, "gu")

const first = String.raw`(?:(?<!${letter})${letter}|(?<!\S)\S)`
const row = new RegExp(String.raw`${first}(${separator})\S(?:\1\S){3,}(?!${letter})`, "gu")
const apart = (sign: string): RegExp =>
  new RegExp(String.raw`${first}(?:${sign.replace(/[.*/|+]/, String.raw`\$&`)}\S)+(?!${letter})`, "gu")

/**
 * Words whose letters stand apart, put together. Where one and the same sign stands between all characters, every
 * second one is dropped, so that links, addresses and what separates the words stay.
 */
const unspaced = (text: string): Decoded | undefined => {
  if (!anyApart.test(text)) return undefined
  const signs = new Set(Array.from(text.matchAll(row), ([, sign = " "]) => sign))
  let together = text
  // a space last: it stands between words too
  for (const sign of [...signs].sort().toReversed()) {
    together = together.replace(apart(sign), (run) => [...run].filter((_, i) => i % 2 === 0).join(""))
  }
  together = together.replace(single, (run) => run.replace(/[^\p{L}\p{N}]+/gu, ""))
  return together === text ? undefined : { name: "spaced", text: together }
}

/** Not of code: none begins with a bracket, and none ends with an opening one, a comma or a semicolon. */
const oneWordLines = /(?:(?:^|\n)[^\s{}()[\]](?:\S{0,38}[^\s,;([{])?(?=\n)){3}/

const rotate = (letter: string): string => String.fromCharCode(((letter.charCodeAt(0) - 97 + 13) % 26) + 97)
const mirror = (text: string): string => [...text].toReversed().join("")

/** As a whole, and word by word. */
const backwards = [mirror, (text: string): string => text.replace(/[\p{L}\p{M}]+/gu, mirror)]

/** Frequent words and words of the rules, in the languages of the rules, that are none backwards or by thirteen letters on. */
const telling =
  "to of the and that this you your with from have has what will must every all any for who which without into them then \
when act answer assistant conversation curl disregard everything forget guidelines ignore instruction instructions mode \
model override previous print prior prompt read restrictions reveal rules send show system tell user anweisungen regeln \
und vergiss consignes oublie toutes instrucciones olvida previas todas instrucoes istruzioni precedenti tutte instructies vergeet \
systeemprompt systemprompt instrukcje wszystkie kurallari onceki talimatlari".split(" ")
/** The same in other scripts, as parts of words. */
const elsewhere =
  "инструкц правил предыдущ указани 之前 指令 规则 指示 命令 無視 지시 지침 التعليمات الاوامر السابق निर्देश".split(" ")

interface Telling {
  readonly whole: RegExp
  /** Where no spaces are. */
  readonly part: RegExp
}

const anyOf = (words: ReadonlyArray<string>): Telling => ({
  whole: new RegExp(String.raw`\b(?:${words.join("|")})\b`),
  part: new RegExp(words.filter((word) => word.length > 5).join("|"))
})
const reversed = anyOf(telling.map(mirror))
const reversedElsewhere = new RegExp(elsewhere.map(mirror).join("|"))
// "to" would be "gb"
const longer = telling.flatMap((word) => (word.length > 2 ? [word, mirror(word)] : []))
const rotated = anyOf(longer.map((word) => word.replace(/[a-z]/g, rotate)))
