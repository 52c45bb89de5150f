/** Guards that scan: secrets and personal data, words that must not be said, and the system prompt. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import type { Common, Guard, Input, InputVerdict, Verdict } from "../Guard.ts"
import type { LlmRequest } from "../LlmRequest.ts"
import { custom, detectors, literal } from "./detectors.ts"
import { lengthOf, mapTexts, tooLong } from "./guardTexts.ts"
import { redactJson } from "./jsonRedactor.ts"
import { chars, seq, text, unless } from "./pattern.ts"
import { type Action, compile, type Compiled, type Detector, type Finding, redact, words } from "./redactor.ts"
import { RecentTexts } from "./recentTexts.ts"
import { slice, viewsOf } from "./textViews.ts"
import { block, flag, pass } from "./verdicts.ts"

/** What `sensitive` can look for; `docs/guardrails.md` says what each of them finds. */
export type SensitiveKind = keyof typeof detectors

export interface Sensitive extends Common {
  /** What is looked for. Default: all kinds but `phone`, which takes too many other numbers for one. */
  readonly kinds?: ReadonlyArray<SensitiveKind> | undefined
  /** `"redact"` puts `[REDACTED:email]` in its place, `"block"` ends the call, `"flag"` only tells. Default `"redact"`. */
  readonly action?: Action | undefined
  /** Of single kinds. */
  readonly actions?: { readonly [K in SensitiveKind]?: Action | undefined } | undefined
  /** Kinds of your own. `longest`: most characters of a match, which a stream holds back that long. */
  readonly custom?: ReadonlyArray<CustomKind> | undefined
}

interface CustomKind {
  readonly kind: string
  readonly pattern: RegExp
  readonly longest: number
  readonly action?: Action | undefined
}

/** In the order in which they are looked for: what is a token in a header is no key. */
const all = ["privateKey", "apiKey", "jwt", "email", "ssn", "card", "iban", "phone"] as const

const common: ReadonlyArray<SensitiveKind> = all.filter((kind) => kind !== "phone")

/**
 * Secrets and personal data. Of what it finds in an answer nothing gets out, not even half of it between two parts of a stream;
 * in a request what users, documents and tools say is redacted, and a text file that holds some is refused.
 * `docs/guardrails.md` says what is found and what is not. Throws `RangeError` for no kinds, and a pattern that can never work.
 */
export const sensitive = (options: Sensitive = {}): Guard => {
  const {
    action = "redact",
    actions = {},
    custom: own = [],
    kinds = common,
    mode = "enforce",
    onError = "block"
  } = options
  const wanted = all.filter((kind) => kinds.includes(kind))
  const rules = wanted.map((kind) => ({ detector: detectors[kind], action: actions[kind] ?? action }))
  const owns = own.map(({ action: done = action, kind, longest, pattern }) => ({
    detector: custom(kind, pattern, longest),
    action: done
  }))
  if (rules.length + owns.length === 0) throw new RangeError("Guard.sensitive: kinds must not be empty")
  const compiled = compile([...rules, ...owns])
  return {
    ...scanning("sensitive", { mode, onError }, compiled),
    input: ({ request, texts }) => {
      const long = tooLong(texts)
      return long === undefined ? redactRequest({ request, texts }, compiled) : block(long)
    }
  }
}

const scanning = (
  name: string,
  { mode, onError }: Pick<Guard, "mode" | "onError">,
  compiled: Compiled
): Omit<Guard, "input"> => ({
  name,
  fingerprint: JSON.stringify([name, mode, compiled.fingerprint]),
  scope: "all",
  mode,
  onError,
  timeout: Duration.seconds(2),
  scan: () => compiled
})

const redactRequest = ({ request, texts }: Input, compiled: Compiled): InputVerdict => {
  const found: Array<Finding> = []
  const report = (finding: Finding) => void found.push(finding)
  const inFiles = new Set<string>()
  const reportFile = (finding: Finding) =>
    void (finding.action === "flag" ? report(finding) : inFiles.add(finding.kind))
  for (const { inFile, text } of texts) if (inFile === true) redact(compiled, text, reportFile)
  if (inFiles.size > 0)
    return block(`a file holds a secret (${[...inFiles].join(", ")}), which is not taken out of files`)
  const by = mapTexts(
    request,
    (text) => redact(compiled, text, report),
    (result) => redactJson(compiled, result, report)
  )
  const kindsOf = (action: Action) => [...new Set(found.flatMap((one) => (one.action === action ? [one.kind] : [])))]
  const blocked = kindsOf("block")
  if (blocked.length > 0) return block(`the request holds a secret (${blocked.join(", ")})`)
  if (by !== request) return { _tag: "Replace", action: "redact", kinds: kindsOf("redact"), by }
  return found.length === 0 ? pass : flag(...kindsOf("flag"))
}

export interface DenyList extends Common {
  /** Default `"denyList"`. */
  readonly name?: string | undefined
  /** Words and phrases, as whole words, whatever their case. In requests also in disguise. */
  readonly terms: ReadonlyArray<string>
  /** In answers. In a request they always end the call. Default `"block"`. */
  readonly action?: Action | undefined
}

/** Words that must not be asked about or said. Which one it was is not told. */
export const denyList = (options: DenyList): Guard => {
  const { action = "block", mode = "enforce", name = "denyList", onError = "block", terms } = options
  if (terms.length === 0) throw new RangeError("Guard.denyList: terms must not be empty")
  if (terms.some(isBlank)) throw new RangeError("Guard.denyList: a term must have a character that can be seen")
  const ofAnswers = compile(terms.map((term) => ({ detector: wholeWord(term), action })))
  const ofRequests = compile(
    terms.flatMap((term) => [...viewsOf(term)].slice(0, 1).map((view) => rule(wholeWord(view?.text ?? term))))
  )
  return {
    ...scanning(name, { mode, onError }, ofAnswers),
    input: ({ texts }: Input) => {
      const long = tooLong(texts)
      if (long !== undefined) return block(long)
      const looking = lookingFor(ofRequests, texts)
      return lengthOf(texts) > slice ? patiently(looking) : verdictOf(looking)
    }
  }
}

const isBlank = (term: string): boolean => term.replaceAll(/[\s\p{Cf}\p{M}]/gu, "") === ""

/** Whether a word stands in any view of the texts; stops now and then in between. */
function* lookingFor(compiled: Compiled, texts: Input["texts"]): Generator<undefined, boolean> {
  let found = false
  const report = () => void (found = true)
  for (const { text } of texts) {
    for (const view of viewsOf(text)) {
      if (view === undefined) yield undefined
      else redact(compiled, view.text, report)
      if (found) return true
    }
  }
  return false
}

const verdictOf = (looking: Generator<undefined, boolean>): Verdict => {
  let step = looking.next()
  while (step.done !== true) step = looking.next()
  return verdict(step.value)
}

const verdict = (found: boolean): Verdict => (found ? block("a word that is not allowed") : pass)

/** Lets others run in between. */
const patiently = (looking: Generator<undefined, boolean>): Effect.Effect<Verdict> =>
  Effect.suspend(() => {
    const step = looking.next()
    if (step.done === true) return Effect.succeed(verdict(step.value))
    return Effect.andThen(Effect.yieldNow, patiently(looking))
  })

/** Begins and ends where a word does. */
const wholeWord = (term: string): Detector => ({
  ...literal("denied", term, { ignoreCase: true }),
  shapes: [{ head: seq(text(term, true), unless(chars(words, 1))) }]
})

const rule = (detector: Detector) => ({ detector, action: "block" as const })

export interface Canary extends Common {
  /** A text that stands in the system message and nowhere else: an answer with it has leaked the message. */
  readonly token?: string | Redacted.Redacted | undefined
  /** Also looks for the first words of each long sentence of the system message. Default `true`. */
  readonly sentences?: boolean | undefined
}

/**
 * Ends an answer that gives the system message away, word for word: retold or translated, it is not noticed. Throws
 * `RangeError` for a token of less than eight characters.
 */
export const canary = (options: Canary = {}): Guard => {
  const { mode = "enforce", onError = "block", sentences = true } = options
  const token = Redacted.isRedacted(options.token) ? Redacted.value(options.token) : options.token
  if (token === undefined && !sentences)
    throw new RangeError("Guard.canary: give a token, or let sentences be looked for")
  if (token !== undefined && token.length < 8)
    throw new RangeError("Guard.canary: token must have 8 characters or more")
  const own = token === undefined ? [] : [rule(literal("canary", token, { ignoreCase: true }))]
  const compiled = compile(own)
  const known = new RecentTexts<Compiled>()
  return {
    ...scanning("canary", { mode, onError }, compiled),
    fingerprint: JSON.stringify(["canary", mode, compiled.fingerprint, sentences]),
    scan: (request) => {
      const system = sentences ? systemOf(request) : ""
      if (system === "") return compiled
      const before = known.get(system)
      if (before !== undefined) return before
      const leaks = beginnings(system).map((text) => rule(literal("systemPrompt", text, { ignoreCase: true })))
      const made = compile([...own, ...leaks])
      known.set(system, made)
      return made
    }
  }
}

const systemOf = (request: LlmRequest): string =>
  request.prompt.content.flatMap(({ content, role }) => (role === "system" ? [content] : [])).join("\n")

/** Sentences shorter than this may well be said by chance; of longer ones that much is looked for. */
const telling = 48
const mostSentences = 64

const beginnings = (system: string): ReadonlyArray<string> => {
  const sentences = system.split(/(?<=[.!?:;])\s+|\n+/).map((sentence) => sentence.trim())
  const long = sentences.filter(({ length }) => length >= telling).map((sentence) => sentence.slice(0, telling))
  return [...new Set(long)].slice(0, mostSentences)
}
