/**
 * Patterns over a text of which only the beginning may be known.
 *
 * A pattern that would have to read past what is known answers `more`, whatever it has seen so far; an answer that it gives
 * without reading there cannot be changed by what follows. So every pattern built from these is independent of how a text
 * was cut into pieces, and holds back at most `longest` characters. Choices are ordered and never taken back (as in parsing
 * expression grammars), so a pattern reads every character a bounded number of times.
 */

/** A text up to where it is known, and what stands before it. */
export class Window {
  text = ""
  /** Nothing follows `text`. */
  final = false
  /** What stands before `start` is `previous`, the code of a character, or -1 at the beginning of the text. */
  start = 0
  previous = -1
  /** Where the part that is replaced begins: after the context of a pattern that has one (`mark`). */
  from = 0
}

/** The code of the character before `at`, -1 at the beginning. */
export const before = (window: Window, at: number): number =>
  at > window.start ? window.text.charCodeAt(at - 1) : window.previous

/** No match. */
export const no = -1
/** Not decided before more of the text is known. */
export const more = -2
/** What stands for the code of a character behind the end of the text. */
export const nothing = -1

export interface Pattern {
  /** Where a match that begins at `at` ends, or `no`, or `more`. */
  readonly match: (window: Window, at: number) => number
  /** As many characters are read at most, the one behind a match included. */
  readonly longest: number
  /** What a match can begin with. */
  readonly first: Chars
  /** What its second character can be, if that is known: most words are told from a key by it. */
  readonly second?: Chars | undefined
  /** A match may have no characters. */
  readonly empty: boolean
}

/** The code of the character at `at`; `nothing` behind the end, `more` where the text is not known yet. */
export const read = (window: Window, at: number): number =>
  at < window.text.length ? window.text.charCodeAt(at) : window.final ? nothing : more

/** A set of characters: a byte for each up to U+024F (Latin with all its accents), and one for all others together. */
export type Chars = Uint8Array

const latin = 0x250
export const slots = latin + 1

/** The place of a character in a set. */
export const slot = (code: number): number => (code < latin ? code : latin)

export const has = (chars: Chars, code: number): boolean => code >= 0 && chars[slot(code)] === 1

/** `set("A-Z_")`: letters, ranges; a minus that stands first or last is itself. */
export const set = (spec: string): Chars => {
  const chars = new Uint8Array(slots)
  for (let i = 0; i < spec.length; i++) {
    const ranged = spec[i + 1] === "-" && i + 2 < spec.length
    const last = spec.charCodeAt(ranged ? i + 2 : i)
    for (let code = spec.charCodeAt(i); code <= last; code++) chars[slot(code)] = 1
    if (ranged) i += 2
  }
  return chars
}

/** All characters but those. */
export const not = (chars: Chars): Chars => chars.map((bit) => 1 - bit)

export const either = (...sets: ReadonlyArray<Chars>): Chars => {
  const chars = new Uint8Array(slots)
  for (const each of sets) each.forEach((bit, i) => (chars[i] = (chars[i] ?? 0) | bit))
  return chars
}

const noChars: Chars = new Uint8Array(slots)

/** Exactly this text; letters without regard to their case if `ignoreCase`. */
export const text = (content: string, ignoreCase = false): Pattern => {
  const [lower, upper] = ignoreCase ? [fold(content, "toLowerCase"), fold(content, "toUpperCase")] : [content, content]
  const [first, second] = [0, 1].map((i) => either(set(lower.charAt(i)), set(upper.charAt(i))))
  const match = (window: Window, at: number): number => {
    const known = window.text
    for (let i = 0; i < content.length; i++) {
      if (at + i >= known.length) return window.final ? no : more
      const code = known.charCodeAt(at + i)
      if (code !== lower.charCodeAt(i) && code !== upper.charCodeAt(i)) return no
    }
    return at + content.length
  }
  return {
    match,
    longest: content.length,
    first: first ?? noChars,
    second: content.length > 1 ? second : undefined,
    empty: false
  }
}

/** Character by character, so that the length stays. */
const fold = (content: string, how: "toLowerCase" | "toUpperCase"): string =>
  Array.from({ length: content.length }, (_, i) => {
    const unit = content.charAt(i)
    return unit[how]().length === 1 ? unit[how]() : unit
  }).join("")

/** At least `min` and at most `max` characters of a set, as many as there are. */
export const chars = (of: Chars, min: number, max = min): Pattern => {
  const match = (window: Window, at: number): number => {
    const known = window.text
    const end = Math.min(at + max, known.length)
    let i = at
    while (i < end && of[slot(known.charCodeAt(i))] === 1) i++
    if (i === known.length && i < at + max && !window.final) return more
    return i >= at + min ? i : no
  }
  return { match, longest: max, first: of, empty: min === 0 }
}

/** One after the other. */
export const seq = (...patterns: ReadonlyArray<Pattern>): Pattern => {
  const match = (window: Window, at: number): number => {
    let end = at
    for (const pattern of patterns) {
      end = pattern.match(window, end)
      if (end < 0) return end
    }
    return end
  }
  const full = patterns.findIndex(({ empty }) => !empty)
  const firsts = (full < 0 ? patterns : patterns.slice(0, full + 1)).filter((pattern) => pattern.longest > 0)
  return {
    match,
    longest: patterns.reduce((sum, { longest }) => sum + longest, 0),
    first: either(...firsts.map(({ first }) => first)),
    second: firsts.length === 1 ? firsts[0]?.second : undefined,
    empty: full < 0
  }
}

/** The first of these that matches. */
export const oneOf = (...patterns: ReadonlyArray<Pattern>): Pattern => {
  const match = (window: Window, at: number): number => {
    for (const pattern of patterns) {
      const end = pattern.match(window, at)
      if (end !== no) return end
    }
    return no
  }
  const seconds = patterns.flatMap(({ second }) => (second === undefined ? [] : [second]))
  return {
    match,
    longest: Math.max(...patterns.map(({ longest }) => longest)),
    first: either(...patterns.map(({ first }) => first)),
    second: seconds.length === patterns.length ? either(...seconds) : undefined,
    empty: patterns.some(({ empty }) => empty)
  }
}

/** This or nothing. */
export const maybe = (pattern: Pattern): Pattern => oneOf(pattern, here)
const here: Pattern = { match: (_, at) => at, longest: 0, first: noChars, empty: true }

/** What stands before is context and stays; what follows is what was looked for. */
export const mark: Pattern = { ...here, match: (window, at) => (window.from = at) }

/** Nothing, where this does not follow. */
export const unless = (pattern: Pattern): Pattern => ({
  match: (window, at) => {
    const end = pattern.match(window, at)
    return end === no ? at : end === more ? more : no
  },
  longest: pattern.longest,
  first: noChars,
  empty: true
})

/** Nothing, where this follows. */
export const ahead = (pattern: Pattern): Pattern => unless(unless(pattern))

/** Nothing, where no character of the set follows. */
export const notBefore = (of: Chars): Pattern => unless(chars(of, 1))

/** A match, if its characters pass. */
export const check = (pattern: Pattern, passes: (found: string) => boolean): Pattern => ({
  ...pattern,
  match: (window, at) => {
    const end = pattern.match(window, at)
    return end < 0 || passes(window.text.slice(at, end)) ? end : no
  }
})
