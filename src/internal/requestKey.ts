/**
 * The key of an answer: a digest of every field of the request that can change it, of who answers, and for whom.
 *
 * Every value is written as a tag, its length and itself, never as JSON, so that no text can look like the end of one.
 * The digest of a long message is remembered by identity, and used only if the message still says what it said then. The
 * bytes of files can change unseen: they are hashed each time.
 */
import { Buffer } from "node:buffer"
import { createHmac, createSecretKey, hash, type KeyObject } from "node:crypto"
import { toUSVString } from "node:util"
import type { LlmRequest } from "../LlmRequest.ts"
import { RecentTexts } from "./recentTexts.ts"
import * as write from "./requestFields.ts"

export interface Options {
  /** Keys become HMACs: without it nobody can tell from a key whether a prompt that he guesses was asked. */
  readonly secret?: string | undefined
}

export interface Scope {
  /** Who would answer. */
  readonly endpoint: string
  /** Who shares the answer. `undefined` is nobody in particular, and differs from every name. */
  readonly isolation: readonly [kind: string, ...parts: ReadonlyArray<string | undefined>]
  /** Of the guards and of the form in which answers are stored. */
  readonly fingerprint: string
}

/** Raised whenever the same request gets another key. */
const version = 2

/**
 * 43 characters of base64url, or `undefined` for a request with a value that has no certain form: it must not be cached.
 * Throws a `RangeError` for an empty secret.
 */
export const make = ({ secret }: Options): ((request: LlmRequest, scope: Scope) => string | undefined) => {
  if (secret === "") throw new RangeError("Cache: keySecret must not be empty")
  const key = secret === undefined ? undefined : createSecretKey(secret, "utf8")
  const recent = new RecentTexts<string>({ again: true, most: 2 ** 23 })
  return (request, scope) => {
    try {
      return known(recent, described(request, scope), key)
    } catch (cause) {
      if (cause === write.unencodable) return undefined
      throw cause
    }
  }
}

const described = (request: LlmRequest, { endpoint, fingerprint, isolation }: Scope): Text => {
  const out = new Text()
  out.put("v", version)
  out.put("E", endpoint)
  out.put("F", fingerprint)
  write.list(out, "I", isolation)
  write.settings(out, request)
  if (request.responseFormat !== undefined) out.put("R", format(request.responseFormat))
  if (request.tools !== undefined) {
    out.put("T", request.tools.length)
    for (const one of request.tools) out.put("D", tool(one))
  }
  const messages = request.prompt.content
  out.put("M", messages.length)
  for (const [i, one] of messages.entries()) {
    // the last message is seldom seen twice
    if (i === messages.length - 1) write.message(out, one)
    else out.put("D", message(one))
  }
  return out
}

/**
 * Pairs as text. The first two characters of each tell where it ends. Long values stand in a text of their own, one behind
 * the other, where mostly one alone needs no copy.
 */
class Text implements write.Pairs {
  text = ""
  values = ""

  put(tag: string, value: unknown): void {
    if (typeof value === "string" && value.length >= long) {
      this.text += `${tag}${value.length};`
      this.values += value
    } else this.text += tag + written(value)
  }

  /** Both, so that no other two make the same. */
  get whole(): string {
    return `${this.text.length}:${this.text}${this.values}`
  }

  json(value: unknown): void {
    write.checkJson(value)
    this.put("j", JSON.stringify(value))
  }
}

const written = (value: unknown): string => {
  switch (typeof value) {
    case "string":
      return `${value.length}:${value}`
    case "number":
      return `#${value};`
    case "boolean":
      return value ? "+" : "-"
    case "undefined":
      return "?"
    default:
      if (value === null) return "~"
      throw write.unencodable
  }
}

/** Pairs noted down once they were written, JSON leaf by leaf; or compared with those that were noted before. */
class Tape implements write.Pairs {
  readonly notes: Array<unknown>
  private at = 0
  private readonly records: boolean
  private same = true

  constructor(notes?: Array<unknown>) {
    this.notes = notes ?? []
    this.records = notes === undefined
  }

  /** Whether all is as it was. Equal texts are mostly the same text, which costs no look at their characters. */
  isSame(): boolean {
    return this.same && this.at === this.notes.length
  }

  put(tag: string, value: unknown): void {
    this.note(tag)
    this.note(value)
  }

  json(value: unknown): void {
    if (!this.same) return // a circle would have no end
    if (typeof value !== "object" || value === null) return this.note(value)
    if (Array.isArray(value)) {
      this.note(list)
      this.note(value.length)
      for (const item of value) this.json(item)
    } else if (!write.isPlain(value)) {
      this.same = false
    } else {
      this.note(object)
      for (const key of Object.keys(value)) this.note(key)
      this.note(object)
      for (const field of Object.values(value)) this.json(field)
    }
  }

  private note(value: unknown): void {
    if (this.records) this.notes.push(value)
    else if (this.notes[this.at++] !== value) this.same = false
  }
}

const list = Symbol("list")
const object = Symbol("object")

/** From this length on, in characters, a digest takes less time than what it stands for. */
const long = 512

interface Memo {
  readonly notes: Array<unknown>
  readonly digest: string
}

const met: Memo = { notes: [], digest: "" }

/**
 * A piece of a request: as it is or, if it is long, its digest. Which of them it is, the first character tells. Notes are
 * taken when a piece is met again: many are met only once.
 */
const remembered = <A extends object>(describe: (pairs: write.Pairs, value: A) => void) => {
  const memos = new WeakMap<A, Memo>()
  return (value: A): string => {
    const before = memos.get(value)
    if (before !== undefined && before !== met) {
      const tape = new Tape(before.notes)
      describe(tape, value)
      if (tape.isSame()) return before.digest
    }
    const out = new Text()
    describe(out, value)
    if (out.text.length < long && out.values === "") return out.text
    const made = `=${known(pieces, out)}`
    if (before === undefined) memos.set(value, met)
    else {
      const tape = new Tape()
      describe(tape, value)
      memos.set(value, { notes: tape.notes, digest: made })
    }
    return made
  }
}

/** Digests of pieces that other objects were met with. */
const pieces = new RecentTexts<string>({ again: true })

const message = remembered(write.message)
const tool = remembered(write.tool)
const format = remembered(write.format)

/** The digest of a description, taken only if none like it was met lately. */
const known = (recent: RecentTexts<string>, described: Text, key?: KeyObject): string => {
  const before = recent.get(described.values, described.text)
  if (before !== undefined) return before
  const made = digest(described.whole, key)
  recent.set(described.values, made, described.text)
  return made
}

/**
 * SHA-256 of UTF-8, or of UTF-16 where UTF-8 would make the same of every half of a surrogate pair. The second byte tells
 * which: it is zero in UTF-16 alone.
 */
const digest = (text: string, key?: KeyObject): string => {
  const bytes = toUSVString(text) === text ? text : Buffer.from(text, "utf16le")
  return key === undefined
    ? hash("sha256", bytes, "base64url")
    : createHmac("sha256", key).update(bytes).digest("base64url")
}
