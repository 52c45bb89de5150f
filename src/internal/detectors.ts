/** What is looked for in a text: e-mail addresses, numbers with check digits, keys, and what a user names. */
import { createHash } from "node:crypto"
import { card, iban, phone, ssnDashed, ssnPlain, ssnSpaced } from "./detectorChecks.ts"
import { keyShapes } from "./detectorKeys.ts"
import { jwtShapes, privateKeyShapes } from "./detectorTokens.ts"
import * as Pattern from "./pattern.ts"
import { type Detector, type Shape, words } from "./redactor.ts"

const { chars, either, has, more, no, oneOf, read, seq, set, text } = Pattern

const at = set("@")
const fullWidthAt = 0xff20
const local = either(words, set("._%+'-"))
const host = either(words, set("-"))
const letters = set("A-Za-z")
const longestLocal = 64
const longestDomain = 253

/** What stands behind an `@` in code: versions (`pkg@1.2.3`), densities (`logo@2x.png`). */
const isCode = /^(?:v?\d+\.\d|\d+(?:\.\d)?x\.)/

/**
 * `local@domain.tld`, up to two letters of a top-level domain. `git@` is the user of every repository's address and belongs
 * to nobody.
 */
const address: Pattern.Pattern = {
  longest: longestLocal + 1 + longestDomain,
  first: words,
  empty: false,
  match: (window, begins) => {
    let i = begins
    let code = read(window, i)
    while (has(local, code) && i - begins < longestLocal) code = read(window, ++i)
    if (code === more) return more
    if (!has(at, code) && code !== fullWidthAt) return no
    if (i - begins === 3 && window.text.startsWith("git", begins)) return no
    const domain = i + 1
    for (i = domain; i - domain <= longestDomain - 3; i++) {
      code = read(window, i)
      if (code === more) return more
      if (has(host, code)) continue
      if (code !== dot || i === domain) return no
      const top = twoLetters.match(window, i + 1)
      if (top === more) return more
      if (top !== no) return isCode.test(window.text.slice(domain, top)) ? no : top
      if (!has(host, read(window, i + 1))) return no
    }
    return no
  }
}
const dot = ".".charCodeAt(0)
const twoLetters = chars(letters, 2)

/** The rest of a domain; the full stop of a sentence stays. */
const domainRest = oneOf(chars(words, 1), seq(chars(set(".-"), 1), chars(words, 1)))

const version = 1

const detector = <const K extends string>(kind: K, shapes: ReadonlyArray<Shape>) => ({
  kind,
  fingerprint: `${kind}/${version}`,
  shapes
})

/** The lead-in of a number without hyphens: words that name it, and at most 40 characters more on the same line. */
const named = seq(
  oneOf(text("ssn", true), text("social security", true), text("social-security", true), text("soc sec", true)),
  chars(Pattern.not(set("0-9\n\r[]")), 0, 40)
)

export const detectors = {
  email: detector("email", [{ head: address, tail: { step: domainRest } }]),
  ssn: detector("ssn", [{ head: ssnDashed }, { head: seq(named, Pattern.mark, oneOf(ssnSpaced, ssnPlain)) }]),
  card: detector("card", [{ head: card }]),
  iban: detector("iban", [{ head: iban }]),
  apiKey: detector("apiKey", keyShapes),
  jwt: detector("jwt", jwtShapes),
  privateKey: detector("privateKey", privateKeyShapes),
  /** Not among what is looked for unless asked: many numbers look like one. */
  phone: detector("phone", [{ head: phone }])
} satisfies Readonly<Record<string, Detector>>

/** An exact text, wherever it stands. With `ignoreCase`, its letters in any case. */
export const literal = (kind: string, content: string, options: { readonly ignoreCase?: boolean } = {}): Detector => {
  if (content === "") throw new RangeError("literal: text must not be empty")
  const { ignoreCase = false } = options
  return {
    kind,
    fingerprint: `${kind}/literal:${ignoreCase ? "i" : ""}:${digest(content)}`,
    shapes: [{ head: text(content, ignoreCase), anywhere: true }]
  }
}

const digest = (content: string): string =>
  createHash("sha256").update(content, "utf16le").digest("base64url").slice(0, 22)

/**
 * A pattern of a user's own, which matches at most `longest` characters and looks at no more than one character before and
 * one behind them. `longest` characters are held back. How long it takes is up to the pattern.
 */
export const custom = (kind: string, pattern: RegExp, longest: number): Detector => {
  if (!Number.isSafeInteger(longest) || longest < 1) {
    throw new RangeError(`custom: longest must be an integer >= 1, got ${longest}`)
  }
  if (pattern.global || pattern.sticky) throw new RangeError("custom: pattern must not have the flag g or y")
  const sticky = new RegExp(pattern.source, `${pattern.flags}y`)
  if (sticky.test("")) throw new RangeError("custom: pattern must not match an empty text")
  return {
    kind,
    fingerprint: `${kind}/custom:${longest}:${digest(String(pattern))}`,
    shapes: [{ head: matching(sticky, longest), anywhere: true }]
  }
}

/** Sees one character before, `longest` characters and one behind them, always all of them, so that it cannot change its mind. */
const matching = (sticky: RegExp, longest: number): Pattern.Pattern => ({
  longest: longest + 1,
  first: Pattern.not(set("")),
  empty: false,
  match: (window, begins) => {
    const ends = begins + longest + 1
    if (ends > window.text.length && !window.final) return more
    const previous = Pattern.before(window, begins)
    const left = previous < 0 ? "" : String.fromCharCode(previous)
    sticky.lastIndex = left.length
    const found = sticky.exec(left + window.text.slice(begins, ends))
    const length = found?.[0].length ?? 0
    return length > 0 && length <= longest ? begins + length : no
  }
})
