/** Guards of what is asked: how long it is, and whether it tries to give the model orders. */
import { hash } from "node:crypto"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { Common, Guard, Input, InputVerdict, Verdict } from "../Guard.ts"
import type { LlmRequest } from "../LlmRequest.ts"
import { type GuardedText, mapTexts, type Origin, textsOf, tooLong } from "./guardTexts.ts"
import * as injection from "./injection.ts"
import { onTheSpot } from "./onTheSpot.ts"
import { integer } from "./options.ts"
import { longest, RecentTexts } from "./recentTexts.ts"
import { block, flag, pass } from "./verdicts.ts"

export interface MaxLength extends Common {
  /** Most characters (UTF-16) of what the user says in one message. Default 10,000. */
  readonly characters?: number | undefined
  /** Most characters of one document or of one result of a tool. Default 200,000. */
  readonly documents?: number | undefined
  /** `"truncate"` cuts texts at the end of a character as a reader sees it; files and results of tools are refused. Default `"reject"`. */
  readonly onExceeded?: "reject" | "truncate" | undefined
}

/** Refuses or shortens what is too long. */
export const maxLength = (options: MaxLength = {}): Guard => {
  const user = integer("Guard.maxLength: characters", options.characters ?? 10_000, 1)
  const documents = integer("Guard.maxLength: documents", options.documents ?? 200_000, 1)
  const { mode = "enforce", onError = "block", onExceeded = "reject" } = options
  const limitOf = (origin: Origin) => (origin === "user" ? user : documents)
  const reject = (input: Input): Verdict => {
    const long = input.texts.find(({ origin, text }) => text.length > limitOf(origin))
    if (long === undefined) return pass
    const { message, origin, text } = long
    return block(
      `message ${message}: the ${names[origin]} has ${text.length} characters, at most ${limitOf(origin)} are allowed`
    )
  }
  const truncate = (input: Input): InputVerdict => {
    if (reject(input)._tag === "Pass") return pass
    const by = truncated(input.request, limitOf)
    const left = reject({ request: by, texts: textsOf(by) })
    return left._tag === "Pass" ? { _tag: "Replace", action: "truncate", kinds: ["length"], by } : left
  }
  return {
    name: "maxLength",
    fingerprint: JSON.stringify(["maxLength", 1, mode, user, documents, onExceeded]),
    scope: "all",
    mode,
    onError,
    timeout: Duration.seconds(2),
    input: onExceeded === "reject" ? reject : truncate
  }
}

const names = { user: "user's text", document: "document", tool: "result of the tool" } as const

const truncated = (request: LlmRequest, limitOf: (origin: Origin) => number): LlmRequest => {
  const left = new Map<number, number>()
  return mapTexts(request, (text, origin, message) => {
    if (origin !== "user") {
      const end = text.endsWith(closing) ? closing : ""
      return text.length <= limitOf(origin) ? text : cut(text, limitOf(origin) - end.length) + end
    }
    const rest = left.get(message) ?? limitOf("user")
    const kept = cut(text, rest)
    // the parts of a message are one text, with a line's end between them
    left.set(message, Math.max(0, rest - kept.length - 1))
    return kept
  })
}

const closing = "\n</document>"

const graphemes = new Intl.Segmenter(undefined, { granularity: "grapheme" })

/** The text up to a character as a reader sees it: no half of an emoji, no letter without its accent. */
const cut = (text: string, limit: number): string =>
  text.length <= limit ? text : text.slice(0, graphemes.segment(text).containing(Math.max(0, limit))?.index ?? 0)

export interface PromptInjection extends Common {
  /** From which severity on a call is refused. Default `"high"`. */
  readonly blockAt?: injection.Severity | "never" | undefined
  /** From which severity on it is told of. Default `"medium"`. */
  readonly flagAt?: injection.Severity | undefined
  /** What is looked for. Default: everything. */
  readonly families?: ReadonlyArray<injection.Family> | undefined
  /** Whose texts are looked at. Default: all of them. */
  readonly origins?: ReadonlyArray<Origin> | undefined
}

const severities = { low: 1, medium: 2, high: 3, never: 4 } as const

/**
 * Refuses texts that try to give the model orders of their own. It knows what it was taught, in many disguises and no more:
 * `docs/guardrails.md` says how much that is.
 */
export const promptInjection = (options: PromptInjection = {}): Guard => {
  const { blockAt = "high", families, flagAt = "medium", mode = "enforce", onError = "block" } = options
  const { origins = ["user", "document", "tool"] } = options
  const scanner = injection.make({ families })
  const scan = remembering(scanner)
  const judge = (texts: ReadonlyArray<GuardedText>, reports: ReadonlyArray<injection.Report>): Verdict => {
    const flagged = new Set<string>()
    for (const [i, { findings, truncated }] of reports.entries()) {
      if (truncated) flagged.add("undecoded")
      for (const { family, severity } of findings) {
        const origin = texts[i]?.origin ?? "user"
        if (severities[severity] >= severities[blockAt]) return block(`${family} in the ${names[origin]}`)
        if (severities[severity] >= severities[flagAt]) flagged.add(family)
      }
    }
    return flagged.size === 0 ? pass : flag(...flagged)
  }
  return {
    name: "promptInjection",
    fingerprint: JSON.stringify(["promptInjection", scanner.fingerprint, mode, blockAt, flagAt, origins]),
    scope: "all",
    mode,
    onError,
    timeout: Duration.seconds(10),
    input: (input) => {
      const texts = input.texts.filter(({ origin }) => origins.includes(origin))
      const long = tooLong(texts)
      if (long !== undefined) return block(long)
      const reports = texts.map((one) => scan(one))
      const known = reports.flatMap((report) => onTheSpot(report) ?? [])
      const done = known.flatMap((exit) => (exit._tag === "Success" ? [exit.value] : []))
      if (done.length === texts.length) return judge(texts, done)
      return Effect.map(Effect.all(reports), (all) => judge(texts, all))
    }
  }
}

/** A chat brings the same messages again and again. */
const remembering = (scanner: injection.Scanner) => {
  const short = { user: recently(), document: recently(), tool: recently() }
  // by digest, in tables of their own: no short text must ever be taken for the digest of a long one
  const long = { user: recently(), document: recently(), tool: recently() }
  return ({ origin, text }: GuardedText): Effect.Effect<injection.Report> => {
    const isLong = text.length > longest
    const recent = (isLong ? long : short)[origin]
    const name = isLong ? hash("sha256", text, "base64url") : text
    const known = recent.get(name)
    if (known !== undefined) return known
    const report = scanner.scan(text, origin)
    const keep = (found: injection.Report) => recent.set(name, Exit.succeed(found))
    const now = onTheSpot(report)
    if (now === undefined) return Effect.tap(report, (found) => Effect.sync(() => keep(found)))
    if (now._tag === "Success") keep(now.value)
    return now
  }
}

const recently = () => new RecentTexts<Exit.Exit<injection.Report>>()
