/**
 * Redacts JSON: each string, key and number by itself, after its escapes are decoded, so that `\u0040` hides no `@`.
 *
 * A text that is no JSON is redacted as well: from the first bare word that JSON does not know, also what stands between the
 * strings is redacted, as one text.
 */
import { type Compiled, type Finding, redact, Redactor } from "./redactor.ts"

type Report = (finding: Finding) => void

/** As many characters of a number or a word are held back at most, until it is known where it ends. */
const longestToken = 400

const bare = /[^{}[\],:\s"]+/y
const plain = /[^"\\]+/y
const number = /^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?$/
const hex = /^[0-9A-Fa-f]+$/
const letters: ReadonlyMap<string, string> = new Map(Object.entries({ b: "\b", f: "\f", n: "\n", r: "\r", t: "\t" }))

/** One JSON text. A string keeps its value where nothing is found, but not always the way in which it was escaped. */
export class JsonRedactor {
  private readonly compiled: Compiled
  private readonly report: Report
  private out = ""
  /** Redacts the string that is read, or what stands between the strings of a text that is no JSON. */
  private inner: Redactor | undefined = undefined
  private quoted = false
  private broken = false
  private blocked = false
  /** A number or a word that has not ended. */
  private token = ""
  /** An escape that has not ended. */
  private escape = ""

  constructor(compiled: Compiled, report: Report) {
    this.compiled = compiled
    this.report = (finding) => {
      if (finding.action === "block") this.blocked = true
      report(finding)
    }
  }

  /** Takes the next piece and gives what may be passed on now. */
  push(raw: string): string {
    let at = 0
    while (at < raw.length && !this.blocked) {
      at = this.inner === undefined ? this.readToken(raw, at) : this.readText(this.inner, raw, at)
    }
    return this.taken()
  }

  /** The text is over: gives the rest. */
  end(): string {
    if (this.blocked) return ""
    this.endToken()
    if (this.inner !== undefined && !this.blocked) this.write(this.inner.end())
    this.blocked = true
    return this.taken()
  }

  /** The text broke off. What could not become a match has been passed on; what might have is dropped. */
  abandon(): string {
    this.blocked = true
    return ""
  }

  private taken(): string {
    const { out } = this
    this.out = ""
    return out
  }

  /** Up to the next quote, or all of it. */
  private readText(inner: Redactor, raw: string, from: number): number {
    let at = from
    let text = ""
    while (at < raw.length) {
      const char = raw.charAt(at)
      if (this.escape !== "") {
        const meant = unescape(this.escape + char)
        text += meant ?? this.escape
        this.escape = meant === "" ? this.escape + char : ""
        if (meant !== undefined) at++
      } else if (char === "\\") {
        this.escape = char
        at++
      } else if (char === '"') {
        this.write(inner.push(text))
        this.close(inner)
        return at + 1
      } else {
        const end = endOf(plain, raw, at)
        text += raw.slice(at, end)
        at = end
      }
    }
    this.write(inner.push(text))
    return at
  }

  /** At the quote that ends a string, or begins one in a text that is no JSON. */
  private close(inner: Redactor): void {
    if (!this.blocked) this.write(inner.end())
    if (this.blocked) return
    this.out += '"'
    this.quoted = !this.quoted
    this.inner = this.quoted || this.broken ? new Redactor(this.compiled, this.report) : undefined
  }

  private write(text: string): void {
    this.out += this.quoted ? JSON.stringify(text).slice(1, -1) : text
  }

  /** A number or a word, and the character behind it, if they are there. */
  private readToken(raw: string, from: number): number {
    const at = endOf(bare, raw, from)
    this.token += raw.slice(from, at)
    if (this.token.length > longestToken) this.breakUp()
    else if (at < raw.length) this.endToken()
    if (at === raw.length || this.inner !== undefined || this.blocked) return at
    const char = raw.charAt(at)
    this.out += char
    if (char === '"') {
      this.quoted = true
      this.inner = new Redactor(this.compiled, this.report)
    }
    return at + 1
  }

  private endToken(): void {
    const { token } = this
    if (number.test(token)) this.out += redactedToken(this.compiled, token, this.report)
    else if (token === "" || token === "true" || token === "false" || token === "null") this.out += token
    else return this.breakUp()
    this.token = ""
  }

  /** This is no JSON, and the token is text. */
  private breakUp(): void {
    const { token } = this
    this.token = ""
    this.broken = true
    this.inner = new Redactor(this.compiled, this.report)
    this.readText(this.inner, token, 0)
  }
}

const endOf = (run: RegExp, text: string, from: number): number => {
  run.lastIndex = from
  return run.test(text) ? run.lastIndex : from
}

/** What an escape stands for; the empty text if it has not ended, `undefined` if it is none. */
const unescape = (escape: string): string | undefined => {
  const char = escape.charAt(1)
  if (char !== "u") return letters.get(char) ?? ('"\\/'.includes(char) ? char : undefined)
  if (escape.length > 2 && !hex.test(escape.slice(2))) return undefined
  return escape.length < 6 ? "" : String.fromCharCode(Number.parseInt(escape.slice(2), 16))
}

const redactedToken = (compiled: Compiled, token: string, report: Report): string => {
  const text = redactNumber(compiled, token, report)
  return text === undefined ? token : JSON.stringify(text)
}

/** The number as a text in which something is replaced, or `undefined`: as it is written, and as it will be read. */
const redactNumber = (compiled: Compiled, written: string, report: Report): string | undefined => {
  let [seen, changes] = [false, false]
  const note: Report = (finding) => {
    seen = true
    changes ||= finding.action !== "flag"
    report(finding)
  }
  let text = redact(compiled, written, note)
  if (!seen) text = redact(compiled, String(Number(written)), note)
  return changes ? text : undefined
}

/**
 * A JSON value, in which strings, keys and numbers are redacted; a number in which something is found becomes a string. The
 * same object if nothing is. Objects that are neither plain nor arrays stay.
 */
export const redactJson = (compiled: Compiled, value: unknown, report: Report = () => {}): unknown => {
  // containers first, what they contain after them: so that depth costs no stack
  const containers = new Set<object>()
  if (isContainer(value)) containers.add(value)
  for (const container of containers)
    for (const child of Object.values(container)) if (isContainer(child)) containers.add(child)
  const changed = new Map<unknown, unknown>()
  const redacted = (child: unknown): unknown => {
    if (typeof child === "string") return redact(compiled, child, report)
    if (typeof child !== "number") return changed.get(child) ?? child
    return redactNumber(compiled, String(child), report) ?? child
  }
  for (const container of [...containers].toReversed()) {
    if (Array.isArray(container)) {
      const items = container.map(redacted)
      if (items.some((item, i) => !Object.is(item, container[i]))) changed.set(container, items)
      continue
    }
    const before = Object.entries(container)
    const after = before.map(([key, child]) => [redact(compiled, key, report), redacted(child)] as const)
    if (after.some((entry, i) => entry.some((part, j) => !Object.is(part, before[i]?.[j])))) {
      changed.set(container, Object.fromEntries(after))
    }
  }
  return redacted(value)
}

const isContainer = (value: unknown): value is object => {
  if (typeof value !== "object" || value === null) return false
  if (Array.isArray(value)) return true
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === null || prototype === Object.prototype
}
