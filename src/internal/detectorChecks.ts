/** Detectors of numbers that are decided as a whole: cards, IBANs, US social security numbers, phone numbers. */
import {
  type Chars,
  chars,
  check,
  has,
  more,
  no,
  notBefore,
  type Pattern,
  read,
  seq,
  set,
  slots,
  text,
  type Window
} from "./pattern.ts"
import { words } from "./redactor.ts"

const digits = set("0-9")
/** Space, no-break spaces, hyphens, dash, full stop. */
const separators = set(" .\u00a0-")

/** Groups of digits with single separators between them, as far as they may belong to one number. */
interface Groups {
  readonly sizes: Array<number>
  /** Where each group ends. */
  readonly ends: Array<number>
  digits: string
}

/** How the groups of a kind of number look. */
interface Grouping {
  readonly separators: Chars
  /** As many digits at most. */
  readonly most: number
  /** Groups may stand in parentheses. */
  readonly brackets: boolean
  /** Whether numbers begin with such groups: most texts are done with after the first. */
  readonly begins: (groups: Groups) => boolean
}

/**
 * The groups that begin at `at`; `undefined` where more must be known. A group that a letter touches, or that makes it more
 * digits than there may be, does not belong to them.
 */
const groupsAt = (window: Window, at: number, { begins, brackets, most, separators }: Grouping): Groups | undefined => {
  const groups: Groups = { sizes: [], ends: [], digits: "" }
  let i = at
  for (;;) {
    let code = read(window, i)
    const bracketed = brackets && code === opening
    if (bracketed) code = read(window, ++i)
    const began = i
    const left = most - groups.digits.length
    while (has(digits, code) && i - began <= left) code = read(window, ++i)
    if (code === more) return undefined
    if (i === began || i - began > left || has(words, code) || (bracketed && code !== closing)) return groups
    groups.digits += window.text.slice(began, i)
    groups.sizes.push(i - began)
    if (bracketed) code = read(window, ++i)
    groups.ends.push(i)
    if (code === more) return undefined
    if (!begins(groups)) return groups
    if (has(separators, code)) i++
    else if (!brackets || (code !== opening && !bracketed)) return groups
  }
}
const opening = "(".charCodeAt(0)
const closing = ")".charCodeAt(0)

/** The longest run of groups from the first on that is a number, as the place where it ends. */
const longestOf = (groups: Groups, is: (digits: string, sizes: ReadonlyArray<number>) => boolean): number => {
  for (let count = groups.sizes.length; count > 0; count--) {
    const sizes = groups.sizes.slice(0, count)
    const length = sizes.reduce((sum, size) => sum + size, 0)
    if (is(groups.digits.slice(0, length), sizes)) return groups.ends[count - 1] ?? no
  }
  return no
}

/** How the digits of a card are grouped on it. */
const layouts = ["4,4,4,4", "4,4,4,4,3", "4,4,4,4,2", "4,4,4,4,1", "4,6,5", "4,6,4", "6,13", "8,8", "4,12"]

const cardGroups: Grouping = {
  separators,
  most: 19,
  brackets: false,
  begins: ({ sizes }) => {
    const [first = 0] = sizes
    if (sizes.length === 1) return first === 4 || first === 6 || first === 8 || first >= 14
    return layouts.some((layout) => layout.startsWith(sizes.join(",")))
  }
}

/**
 * A card number: one of an issuer's ranges and lengths, with the check digit of ISO/IEC 7812 (Luhn), in one group or in
 * those that are printed. The longest that is one; nothing that a letter or a digit follows.
 */
export const card: Pattern = {
  longest: 19 + 4 + 2,
  first: set("2-6"),
  empty: false,
  match: (window, at) => {
    const groups = groupsAt(window, at, cardGroups)
    return groups === undefined ? more : longestOf(groups, isCard)
  }
}

const isCard = (number: string, sizes: ReadonlyArray<number>): boolean =>
  number.length >= 14 && (sizes.length === 1 || layouts.includes(sizes.join(","))) && issued(number) && luhn(number)

/** First and last beginning of a range, and the lengths of its numbers. */
const ranges: ReadonlyArray<readonly [from: string, to: string, min: number, max: number]> = [
  ["4", "4", 16, 16], // Visa
  ["4", "4", 19, 19],
  ["51", "55", 16, 16], // Mastercard
  ["2221", "2720", 16, 16],
  ["34", "34", 15, 15], // American Express
  ["37", "37", 15, 15],
  ["6011", "6011", 16, 19], // Discover
  ["644", "649", 16, 19],
  ["65", "65", 16, 19],
  ["3528", "3589", 16, 19], // JCB
  ["300", "305", 14, 19], // Diners Club
  ["3095", "3095", 14, 19],
  ["36", "36", 14, 19],
  ["38", "39", 14, 19],
  ["62", "62", 16, 19] // UnionPay
]

const issued = (number: string): boolean =>
  ranges.some(([from, to, min, max]) => {
    const beginning = number.slice(0, from.length)
    return beginning >= from && beginning <= to && number.length >= min && number.length <= max
  })

const luhn = (number: string): boolean => {
  let sum = 0
  for (let i = 0; i < number.length; i++) {
    const digit = number.charCodeAt(number.length - 1 - i) - 48
    const value = i % 2 === 1 ? digit * 2 : digit
    sum += value > 9 ? value - 9 : value
  }
  return sum % 10 === 0
}

/** Lengths of IBANs by country, of the SWIFT registry (release 98) and the countries that use them without being in it. */
const lengths: ReadonlyMap<string, number> = new Map(
  (
    "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 DK18 DO28 EE20 EG29 ES24 " +
    "FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HN28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32 " +
    "LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19 MN20 MR27 MT31 MU30 NI28 NL18 NO15 OM23 PK24 PL28 PS29 PT25 QA29 RO24 " +
    "RS22 RU33 SA24 SC31 SD18 SE24 SI19 SK24 SM27 SO23 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 YE30 " +
    "AO25 BF28 BJ28 CF27 CG27 CI28 CM27 CV25 DZ26 GA27 GQ27 GW25 IR26 KM27 MA28 MG27 ML28 MZ25 NE28 SN28 TD27 TG28"
  )
    .split(" ")
    .map((each) => [each.slice(0, 2), Number(each.slice(2))])
)

const letters = set("A-Za-z")
const alphanumeric = set("0-9A-Za-z")

/** An IBAN of its country's length whose check digits are right (ISO 13616, mod 97), in one piece or in groups of four. */
export const iban: Pattern = {
  longest: 33 + 8 + 1,
  first: letters,
  empty: false,
  match: (window, at) => {
    for (let i = 0; i < 4; i++) {
      const code = read(window, at + i)
      if (!has(i < 2 ? letters : digits, code)) return code === more ? more : no
    }
    const length = lengths.get(window.text.slice(at, at + 2).toUpperCase())
    if (length === undefined) return no
    const separator = read(window, at + 4)
    const step = has(separators, separator) ? 5 : 4
    let found = ""
    let i = at
    for (; found.length < length; i++) {
      const code = read(window, i)
      if (code === more) return more
      if (step === 5 && (i - at) % 5 === 4) {
        if (code !== separator) return no
      } else if (has(alphanumeric, code)) found += window.text.charAt(i)
      else return no
    }
    const next = read(window, i)
    if (next === more) return more
    return !has(words, next) && mod97(found) ? i : no
  }
}

const mod97 = (iban: string): boolean => {
  let rest = 0
  const moved = iban.slice(4) + iban.slice(0, 4)
  for (let i = 0; i < moved.length; i++) {
    const value = Number.parseInt(moved.charAt(i), 36)
    rest = (rest * (value > 9 ? 100 : 10) + value) % 97
  }
  return rest === 1
}

/** Hyphens and dashes stand beyond the characters that a set tells apart, so they are named here. */
const isDash = (code: number): boolean => code === 0x2d || (code >= 0x2010 && code <= 0x2013)
const dash: Pattern = {
  longest: 1,
  first: new Uint8Array(slots).fill(1),
  empty: false,
  match: (window, at) => {
    const code = read(window, at)
    return isDash(code) ? at + 1 : code === more ? more : no
  }
}

/** Numbers that the Social Security Administration has never given to anyone are none. */
const assigned = (found: string): boolean => {
  const number = found.replace(/[^0-9]/g, "")
  const area = number.slice(0, 3)
  return area !== "000" && area !== "666" && area < "900" && number.slice(3, 5) !== "00" && number.slice(5) !== "0000"
}

const grouped = (between: Pattern): Pattern =>
  check(seq(chars(digits, 3), between, chars(digits, 2), between, chars(digits, 4), notBefore(words)), assigned)

/** `123-45-6789`. */
export const ssnDashed: Pattern = grouped(dash)
/** `123 45 6789`, `123.45.6789`, `123456789`: only behind words that say what it is. */
export const ssnSpaced: Pattern = grouped(chars(set(" .\u00a0"), 1))
export const ssnPlain: Pattern = check(seq(chars(digits, 9), notBefore(words)), assigned)

const plus = text("+")
const phoneSeparators = set(" ./\u00a0-")

const international: Grouping = {
  separators: phoneSeparators,
  most: 15,
  brackets: true,
  begins: ({ sizes }) => sizes.length < 8
}

const national: Grouping = {
  separators: phoneSeparators,
  most: 12,
  brackets: true,
  begins: ({ digits, sizes }) => {
    if (/^0[1-9]/.test(digits)) return sizes.length < 6 && sizes[0] !== 1
    return american.startsWith((digits.startsWith("1") && sizes[0] === 1 ? sizes.slice(1) : sizes).join(","))
  }
}
const american = "3,3,4"

/**
 * Phone numbers: `+` and 8 to 15 digits (E.164); ten digits of North America in groups of 3, 3 and 4, also behind a 1;
 * 9 to 12 digits in groups that begin with 0, as in most of Europe.
 */
export const phone: Pattern = {
  longest: 1 + 15 + 8 * 3 + 2,
  first: set("+(0-9"),
  empty: false,
  match: (window, at) => {
    const behind = plus.match(window, at)
    if (behind === more) return more
    const groups = behind === no ? groupsAt(window, at, national) : groupsAt(window, behind, international)
    if (groups === undefined) return more
    return longestOf(groups, behind === no ? isNational : isInternational)
  }
}

const isInternational = (digits: string): boolean => digits.length >= 8 && !digits.startsWith("0")

const isNational = (digits: string, sizes: ReadonlyArray<number>): boolean => {
  if (digits.startsWith("0")) return sizes.length > 1 && digits.length >= 9
  return /^1?[2-9]/.test(digits) && (sizes[0] === 1 ? sizes.slice(1) : sizes).join(",") === american
}
