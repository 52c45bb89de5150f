/**
 * Replaces what detectors find in a text that comes in pieces.
 *
 * At each position, from left to right, the detectors are asked in their order; the first that matches wins. A position is
 * passed only when every detector that could begin there has answered, and no detector answers before the unknown rest of
 * the text cannot change its answer (see `pattern.ts`). So the output does not depend on how the text was cut, and at most
 * `holdBack` characters wait.
 *
 * A long secret has a `head` that decides that it is one, at which moment it is reported and its placeholder is passed on,
 * and a `tail` that is swallowed as it comes.
 */
import { before, type Chars, either, has, no, type Pattern, set, slot, slots, Window } from "./pattern.ts"

export type Action = "redact" | "block" | "flag"

/** What a tail is made of; at the end of the text it ends as well. */
export interface Tail {
  /** Swallowed as often as it matches. */
  readonly step: Pattern
  /** Swallowed where it matches, and nothing after it. */
  readonly last?: Pattern
  /** As many characters at most. Default: no limit. */
  readonly limit?: number
}

export interface Shape {
  readonly head: Pattern
  readonly tail?: Tail
  /** May begin right behind a letter or a digit. */
  readonly anywhere?: boolean
}

export interface Detector {
  readonly kind: string
  /** Differs where what is found differs; holds nothing of a text that is looked for. */
  readonly fingerprint: string
  readonly shapes: ReadonlyArray<Shape>
}

export interface Rule {
  readonly detector: Detector
  readonly action: Action
}

export interface Finding {
  readonly kind: string
  readonly action: Action
}

interface Entry extends Shape {
  readonly finding: Finding
  readonly placeholder: string
  readonly second: Chars | undefined
}

/** By the character that a match begins with. */
type Entries = ReadonlyArray<ReadonlyArray<Entry> | undefined>

export interface Compiled {
  /** As many characters are held back at most. */
  readonly holdBack: number
  readonly fingerprint: string
  readonly anywhere: Entries
  /** Those of `anywhere` that may begin behind a letter or a digit. */
  readonly inWord: Entries
}

const placeholder = (kind: string): string => `[REDACTED:${kind}]`

/** Letters and digits: most detectors begin only where a word begins. */
export const words = either(set("0-9A-Za-z"), set("\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f"))

export const compile = (rules: ReadonlyArray<Rule>): Compiled => {
  const entries = rules.flatMap(({ action, detector: { kind, shapes } }) =>
    shapes.map((shape): Entry => {
      return { ...shape, finding: { kind, action }, placeholder: placeholder(kind), second: shape.head.second }
    })
  )
  const longest = entries.flatMap(({ head, tail }) => [head.longest, tail?.step.longest ?? 0, tail?.last?.longest ?? 0])
  return {
    // and half of a surrogate pair
    holdBack: Math.max(0, ...longest) + 1,
    fingerprint: rules.map(({ action, detector }) => `${detector.fingerprint}=${action}`).join(","),
    anywhere: byFirst(entries),
    inWord: byFirst(entries.filter(({ anywhere }) => anywhere === true))
  }
}

const byFirst = (entries: ReadonlyArray<Entry>): Entries =>
  Array.from({ length: slots }, (_, at) => {
    const those = entries.filter(({ head }) => head.first[at] === 1)
    return those.length === 0 ? undefined : those
  })

const bracket = "]".charCodeAt(0)

/** One text. */
export class Redactor {
  private readonly compiled: Compiled
  private readonly report: (finding: Finding) => void
  private readonly window = new Window()
  /** The first character that is not decided. */
  private at = 0
  /** Whose tail stands there. */
  private tail: Entry | undefined = undefined
  private swallowed = 0
  private blocked = false
  /** The first half of a surrogate pair whose second has not come. */
  private half = ""

  constructor(compiled: Compiled, report: (finding: Finding) => void) {
    this.compiled = compiled
    this.report = report
  }

  /** Takes the next piece and gives what may be passed on now. */
  push(text: string): string {
    if (this.blocked) return ""
    this.append(text)
    return this.paired(this.decide())
  }

  /** The text is over: gives the rest. */
  end(): string {
    if (this.blocked) return ""
    this.window.final = true
    const rest = this.half + this.decide()
    this.half = ""
    return rest
  }

  /** The text broke off. What could not become a match has been passed on; what might have is dropped. */
  abandon(): string {
    this.blocked = true
    return ""
  }

  /** As many characters are held back now. */
  get held(): number {
    return this.blocked ? 0 : this.window.text.length - this.at + this.half.length
  }

  private append(text: string): void {
    const { at, window } = this
    if (at === 0) {
      window.text += text
      return
    }
    window.previous = before(window, at)
    window.start = 0
    window.text = at === window.text.length ? text : window.text.slice(at) + text
    this.at = 0
  }

  /** Never cuts between the halves of a surrogate pair: a piece may be encoded on its own. */
  private paired(out: string): string {
    if (out === "") return out
    const whole = this.half === "" ? out : this.half + out
    const last = whole.charCodeAt(whole.length - 1)
    this.half = last >= 0xd800 && last < 0xdc00 ? whole.slice(-1) : ""
    return this.half === "" ? whole : whole.slice(0, -1)
  }

  /** Goes on as far as everything is decided. */
  private decide(): string {
    const { window } = this
    let out = ""
    let from = this.at
    for (;;) {
      if (this.tail !== undefined) {
        const { action } = this.tail.finding
        const over = this.swallow(this.tail.tail)
        if (action === "redact") {
          from = this.at
          this.closeAt(this.at)
        }
        if (!over) break
        this.tail = undefined
      }
      const entry = this.find()
      if (entry === undefined) break
      this.report(entry.finding)
      if (entry.finding.action !== "flag") out += window.text.slice(from, window.from)
      if (entry.finding.action === "block") {
        this.blocked = true
        window.text = ""
        return out
      }
      if (entry.finding.action === "redact") {
        out += entry.placeholder
        from = this.at
        this.closeAt(this.at)
      }
      this.tail = entry.tail === undefined ? undefined : entry
      this.swallowed = 0
    }
    return from === this.at ? out : out + window.text.slice(from, this.at)
  }

  /** What follows stands behind a placeholder, as it will when the output is read again. */
  private closeAt(at: number): void {
    this.window.start = at
    this.window.previous = bracket
  }

  /** The next match, behind which `at` is then; without one, `at` is where the undecided begins. */
  private find(): Entry | undefined {
    const { window } = this
    const { anywhere, inWord } = this.compiled
    const known = window.text
    let { at } = this
    let inside = has(words, before(window, at))
    for (; at < known.length; at++) {
      const first = slot(known.charCodeAt(at))
      const entries = (inside ? inWord : anywhere)[first]
      if (entries !== undefined) {
        const next = slot(known.charCodeAt(at + 1))
        for (const entry of entries) {
          if (entry.second !== undefined && entry.second[next] === 0 && at + 1 < known.length) continue
          window.from = at
          const end = entry.head.match(window, at)
          if (end === no) continue
          this.at = end < 0 ? at : end
          return end < 0 ? undefined : entry
        }
      }
      inside = words[first] === 1
    }
    this.at = at
    return undefined
  }

  /** Moves `at` behind what is known of a tail; true if that is all of it. */
  private swallow(tail: Tail | undefined): boolean {
    if (tail === undefined) return true
    const { window } = this
    const { last, limit = Infinity, step } = tail
    for (;;) {
      if (this.swallowed >= limit) return true
      const end = last === undefined ? no : last.match(window, this.at)
      const next = end === no ? step.match(window, this.at) : end
      if (next === no) return true
      if (next < 0) return false
      this.swallowed += next - this.at
      this.at = next
      if (end >= 0) return true
    }
  }
}

/** A whole text. */
export const redact = (compiled: Compiled, text: string, report: (finding: Finding) => void = ignore): string => {
  const redactor = new Redactor(compiled, report)
  return redactor.push(text) + redactor.end()
}

const ignore = (): void => {}
