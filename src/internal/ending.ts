/** How an attempt ended: judged from what the provider sent, never from how its reader left. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Pull from "effect/Pull"
import * as Result from "effect/Result"
import * as AiError from "effect/ai/AiError"
import type * as Response from "effect/ai/Response"
import type { Settlement } from "../Gate.ts"
import { LlmError } from "../LlmError.ts"
import type { Service } from "../LlmProvider.ts"
import { isVisible, type LlmPart, LlmResponse } from "../LlmResponse.ts"

export type Ending = Pick<Settlement, "outcome" | "phase" | "error" | "usage" | "output" | "headers">

type Parts = readonly [LlmPart, ...Array<LlmPart>]

/** What is known of an answer that was judged to be none: whether it was cut off, and what it cost. */
interface Flaw {
  readonly truncated: boolean
  readonly finish: Response.FinishPartEncoded | undefined
  readonly parts?: ReadonlyArray<Response.PartEncoded> | undefined
}

const flaws = new WeakMap<LlmError, Flaw>()

const flawed = (provider: Service, description: string, flaw: Flaw): LlmError => {
  const reason = new AiError.InternalProviderError({ description })
  const error = new LlmError({ provider: provider.provider, model: provider.model, reason, phase: "answered" })
  flaws.set(error, flaw)
  return error
}

/** A finish that promises an answer; the others explain themselves why there is none. */
const promising = new Set<Response.FinishReason>(["stop", "tool-calls", "unknown", "other"])

const verdict = (
  provider: Service,
  finish: Response.FinishPartEncoded | undefined,
  hasContent: boolean,
  parts?: ReadonlyArray<Response.PartEncoded>
): LlmError | undefined => {
  const reason = finish?.reason ?? "unknown"
  if (reason === "error") return flawed(provider, "the answer ended in an error", { truncated: false, finish, parts })
  if (hasContent || !promising.has(reason)) return undefined
  return flawed(provider, "the answer is empty", { truncated: true, finish, parts })
}

/** An answer without anything in it, or with the finish reason `error`, is a failure of the provider. */
export const flawOf = (provider: Service, answer: LlmResponse, finish = answer.finish): LlmError | undefined =>
  verdict(provider, finish, answer.parts.some(hasContent), answer.parts)

export const judge = (provider: Service, answer: LlmResponse): Effect.Effect<LlmResponse, LlmError> => {
  const flaw = flawOf(provider, answer)
  return flaw === undefined ? Effect.succeed(answer) : Effect.fail(flaw)
}

const hasContent = (part: Response.PartEncoded): boolean =>
  part.type === "text" || part.type === "reasoning" ? part.text !== "" : isVisible(part)

const outputOf = (parts: ReadonlyArray<Response.PartEncoded>): string => parts.map(outputOfPart).join("")

const outputOfPart = (part: Response.PartEncoded | LlmPart): string => {
  switch (part.type) {
    case "text":
    case "reasoning":
      return part.text
    case "text-delta":
    case "reasoning-delta":
    case "tool-params-delta":
      return part.delta
    case "tool-call":
      return JSON.stringify(part.params) ?? ""
    default:
      return ""
  }
}

/** What passed by in one stream. */
export class Watch {
  /** How the stream ended, as its pulls said; `undefined` when its reader left first. */
  exit: Exit.Exit<unknown, LlmError> | undefined
  finish: Response.FinishPartEncoded | undefined
  metadata: Response.ResponseMetadataPartEncoded | undefined
  /** What came so far of texts, reasoning and arguments. */
  output = ""
  /** The arguments of tools come bit by bit, and then once more as a whole. */
  private streamsParams = false
  firstPartAt: number | undefined
  endedAt: number | undefined
  answered = false
  private readonly provider: Service
  private readonly now: () => number

  constructor(provider: Service, now: () => number) {
    this.provider = provider
    this.now = now
  }

  /** The same pull, watched: an end that is none becomes a failure, a failure behind the finish part an end. */
  over(pull: Pull.Pull<Parts, LlmError>): Pull.Pull<Parts, LlmError> {
    return Effect.matchCauseEffect(pull, {
      onSuccess: (parts) => this.parts(parts),
      onFailure: (cause) => this.end(cause)
    })
  }

  /** Records how the attempt ended; the first word counts. */
  ended<E extends LlmError>(cause: Cause.Cause<E>): Exit.Exit<never, E> {
    const exit = Exit.failCause(cause)
    this.exit ??= exit
    this.endedAt ??= this.now()
    return exit
  }

  private parts(parts: Parts): Pull.Pull<Parts, LlmError> {
    this.answered = true
    for (const part of parts) {
      if (this.firstPartAt === undefined && isVisible(part)) this.firstPartAt = this.now()
      if (part.type === "response-metadata") this.metadata ??= part
      this.streamsParams ||= part.type === "tool-params-delta"
      if (part.type !== "tool-call" || !this.streamsParams) this.output += outputOfPart(part)
      if (this.finish !== undefined || (part.type !== "error" && part.type !== "finish")) continue
      if (part.type === "finish") this.finish = part
      const flaw =
        part.type === "finish"
          ? verdict(this.provider, part, this.firstPartAt !== undefined)
          : flawed(this.provider, "the stream brought an error", { truncated: false, finish: undefined })
      if (flaw !== undefined) return this.ended(Cause.fail(flaw))
      this.exit = Exit.void
      this.endedAt = this.now()
    }
    return Effect.succeed(parts)
  }

  private end(cause: Cause.Cause<LlmError | Cause.Done>): Pull.Pull<Parts, LlmError> {
    const failure = Pull.filterNoDone(cause)
    if (this.finish !== undefined && !Cause.hasDies(cause)) return Cause.done()
    if (Result.isSuccess(failure)) return this.ended(failure.success)
    const description = "the stream ended without a finish part"
    return this.ended(Cause.fail(flawed(this.provider, description, { truncated: true, finish: undefined })))
  }
}

/** What the gates are told. `called` is whether the provider was reached. */
export const ending = (
  exit: Exit.Exit<unknown, LlmError> | undefined,
  watch: Watch | undefined,
  called: boolean
): Ending => {
  const error = exit === undefined ? undefined : Option.getOrUndefined(Exit.findErrorOption(exit))
  const flaw = error === undefined ? undefined : flaws.get(error)
  const answer =
    exit !== undefined && Exit.isSuccess(exit) && exit.value instanceof LlmResponse ? exit.value : undefined
  const finish = watch?.finish ?? answer?.finish ?? flaw?.finish
  const answered = watch === undefined ? answer !== undefined : watch.answered
  const phase = answered ? "answered" : called ? (error?.phase ?? "sent") : "refused"
  return {
    outcome: phase === "refused" ? "refused" : outcomeOf(exit, error, flaw),
    phase,
    error,
    usage: finish?.usage,
    output: watch === undefined ? () => outputOf(answer?.parts ?? flaw?.parts ?? []) : () => watch.output,
    headers: finish?.response?.headers ?? headersOf(error)
  }
}

const outcomeOf = (
  exit: Exit.Exit<unknown, LlmError> | undefined,
  error: LlmError | undefined,
  flaw: Flaw | undefined
): Settlement["outcome"] => {
  if (exit === undefined) return "abandoned"
  if (Exit.isSuccess(exit)) return "success"
  if (flaw !== undefined) return flaw.truncated ? "truncated" : "failure"
  return error === undefined && !Exit.hasDies(exit) ? "abandoned" : "failure"
}

const headersOf = (error: LlmError | undefined) =>
  error !== undefined && "http" in error.reason ? error.reason.http?.response?.headers : undefined
