/** Finds prompt injection: orders in a text that are not the program's. Partial by nature: see docs/guardrails.md. */
import { createHash } from "node:crypto"
import * as Effect from "effect/Effect"
import { rules } from "./injectionRules.ts"
import {
  type Family,
  families as allFamilies,
  keyOf,
  type Origin,
  type Ready,
  type Rule,
  type Severity,
  type Table,
  tableOf
} from "./injectionRulesPattern.ts"
import { isDiscussed, isForbidden } from "./textQuoted.ts"
import { slice, type View, viewsOf } from "./textViews.ts"

export type { Family, Origin, Severity }

interface Finding {
  readonly family: Family
  readonly rule: string
  readonly severity: Severity
  /** How the text was read: `text`, `base64`, `base64>leetspeak` ... */
  readonly view: string
}

/** Never holds a part of the text. */
export interface Report {
  /** Of the worst finding, or of all together; `undefined` without one. */
  readonly severity: Severity | undefined
  /** Of the strongest finding of each family, added up. */
  readonly score: number
  readonly findings: ReadonlyArray<Finding>
  /** Whether something was encoded too deep or was too much to be decoded. */
  readonly truncated: boolean
}

export interface Scanner {
  /** Short texts are answered with an `Exit`; longer ones let others run after every 64 KiB. */
  readonly scan: (text: string, origin: Origin) => Effect.Effect<Report>
  /** Changes when the rules, the families or the ways of reading do. */
  readonly fingerprint: string
}

export interface Options {
  /** Which rules apply. Default: all. */
  readonly families?: ReadonlyArray<Family> | undefined
}

/** Characters up to which a text is scanned at once. */
const short = 1 << 13
/** From here on findings of several families are `high` together. */
const together = 100

export const make = (options: Options = {}): Scanner => {
  const families = options.families ?? allFamilies
  for (const family of families) {
    if (!allFamilies.includes(family)) throw new RangeError(`promptInjection: families has the unknown ${family}`)
  }
  const chosen = rules.filter((rule) => families.includes(rule.family))
  const tables = { apart: tableOf(chosen, false), joined: tableOf(chosen, true) }
  return {
    fingerprint: createHash("sha256")
      .update(JSON.stringify([3, chosen]))
      .digest("base64url")
      .slice(0, 22),
    scan: (text, origin) =>
      text.length <= short ? Effect.succeed(atOnce(text, origin, tables)) : inSlices(text, origin, tables)
  }
}

interface Tables {
  readonly apart: Table
  readonly joined: Table
}

const atOnce = (text: string, origin: Origin, tables: Tables): Report => {
  const work = scanning(text, origin, tables)
  for (;;) {
    const step = work.next()
    if (step.done === true) return step.value
  }
}

const inSlices = (text: string, origin: Origin, tables: Tables): Effect.Effect<Report> =>
  Effect.suspend(() => {
    const work = scanning(text, origin, tables)
    const go = (): Effect.Effect<Report> => {
      const step = work.next()
      return step.done === true ? Effect.succeed(step.value) : Effect.flatMap(Effect.yieldNow, go)
    }
    return go()
  })

/** Yields after every slice of work. */
function* scanning(text: string, origin: Origin, tables: Tables): Generator<undefined, Report> {
  const hits = new Hits(origin)
  const views = viewsOf(text)
  let done = 0
  for (;;) {
    const step = views.next()
    if (step.done === true) return hits.report(step.value)
    const view = step.value
    if (view === undefined) {
      yield undefined
      continue
    }
    for (let from = 0; from < view.text.length; from += slice) {
      const to = Math.min(from + slice, view.text.length)
      tryAll(view, from, to, tables.apart, false, hits)
      if (view.joined) tryAll(view, from, to, tables.joined, true, hits)
      done += to - from
      if (done < slice) continue
      done = 0
      yield undefined
    }
  }
}

const isLetter = (code: number): boolean => code > 96 && code < 123
const isInWord = (code: number): boolean => isLetter(code) || (code > 47 && code < 58)

/** Tries every rule at each place where it may begin. In a joined text every letter may begin a word. */
const tryAll = (view: View, from: number, to: number, table: Table, joined: boolean, hits: Hits): void => {
  const { text } = view
  let before = from === 0 ? 0 : text.charCodeAt(from - 1)
  for (let i = from; i < to; i++) {
    const code = text.charCodeAt(i)
    if (isLetter(code)) {
      if (joined || !isInWord(before)) {
        const ready = table.words.get(keyOf(code, text.charCodeAt(i + 1), text.charCodeAt(i + 2)))
        if (ready !== undefined) tryHere(view, i, ready, hits)
      }
    } else if (code !== 32) {
      const ready = table.signs.get(code)
      if (ready !== undefined) tryHere(view, i, ready, hits)
    }
    before = code
  }
}

const tryHere = (view: View, at: number, ready: ReadonlyArray<Ready>, hits: Hits): void => {
  for (const { index, pattern, rule } of ready) {
    if (!hits.wants(rule, index, view.name)) continue
    pattern.lastIndex = at
    if (pattern.test(view.text)) hits.add(rule, index, view, at, pattern.lastIndex)
  }
}

const lower: Readonly<Record<Severity, Severity>> = { high: "medium", medium: "low", low: "low" }
const rank: Readonly<Record<Severity, number>> = { low: 1, medium: 2, high: 3 }

/** The worst finding of each rule in each view. */
class Hits {
  readonly #found = new Map<string, Finding>()
  /** Views in which a rule needs no further hit. */
  readonly #settled = new Map<number, string>()
  readonly #scores = new Map<Family, number>()
  readonly #origin: Origin

  constructor(origin: Origin) {
    this.#origin = origin
  }

  wants(rule: Rule, index: number, view: string): boolean {
    return this.#settled.get(index) !== view && (rule.origins === undefined || rule.origins.includes(this.#origin))
  }

  add(rule: Rule, index: number, view: View, from: number, to: number): void {
    if (isForbidden(view.text, from)) return
    const full = this.#origin === "user" ? rule.severity : (rule.inData ?? rule.severity)
    const discussed = this.#origin === "user" && view.name === "text" && isDiscussed(view.text, from, to)
    const severity = discussed ? lower[full] : full
    const key = `${view.name} ${rule.family} ${rule.name}`
    const known = this.#found.get(key)
    if (known === undefined || rank[known.severity] < rank[severity]) {
      this.#found.set(key, { family: rule.family, rule: rule.name, severity, view: view.name })
    }
    if (discussed) return
    this.#settled.set(index, view.name)
    const score = full === "high" ? Math.max(rule.score, together) : rule.score
    this.#scores.set(rule.family, Math.max(score, this.#scores.get(rule.family) ?? 0))
  }

  report(truncated: boolean): Report {
    const findings = [...this.#found.values()]
    const score = [...this.#scores.values()].reduce((sum, one) => sum + one, 0)
    let severity: Severity | undefined
    for (const one of findings)
      if (severity === undefined || rank[one.severity] > rank[severity]) severity = one.severity
    return { severity: score >= together ? "high" : severity, score, findings, truncated }
  }
}
