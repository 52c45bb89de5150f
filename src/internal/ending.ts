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

export type Ending = Pick<Settlement, "outcome" | "phase" | "error" | "usage" | "headers">

type Parts = readonly [LlmPart, ...Array<LlmPart>]

/** What is known of an answer that was judged to be none: whether it was cut off, and what it cost. */
interface Flaw {
  readonly truncated: boolean
  readonly finish: Response.FinishPartEncoded | undefined
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
  hasContent: boolean
): LlmError | undefined => {
  const reason = finish?.reason ?? "unknown"
  if (reason === "error") return flawed(provider, "the answer ended in an error", { truncated: false, finish })
  if (hasContent || !promising.has(reason)) return undefined
  return flawed(provider, "the answer is empty", { truncated: true, finish })
}

/** An answer without anything in it, or with the finish reason `error`, is a failure of the provider. */
export const judge = (provider: Service, answer: LlmResponse): Effect.Effect<LlmResponse, LlmError> => {
  const flaw = verdict(provider, answer.finish, answer.parts.some(hasContent))
  return flaw === undefined ? Effect.succeed(answer) : Effect.fail(flaw)
}

const hasContent = (part: Response.PartEncoded): boolean =>
  part.type === "text" || part.type === "reasoning" ? part.text !== "" : isVisible(part)

/** What passed by in one stream. */
export class Watch {
  /** How the stream ended, as its pulls said; `undefined` when its reader left first. */
  exit: Exit.Exit<unknown, LlmError> | undefined
  finish: Response.FinishPartEncoded | undefined
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
    const watched = Effect.matchCauseEffect(pull, {
      onSuccess: (parts) => this.parts(parts),
      onFailure: (cause) => this.end(cause)
    })
    return Effect.onExit(watched, (exit) => {
      if (Exit.isFailure(exit)) this.record(exit.cause)
      return Effect.void
    })
  }

  private parts(parts: Parts): Pull.Pull<Parts, LlmError> {
    this.answered = true
    for (const part of parts) {
      if (this.firstPartAt === undefined && isVisible(part)) this.firstPartAt = this.now()
      if (part.type === "error") {
        return Effect.fail(
          flawed(this.provider, "the stream brought an error", { truncated: false, finish: undefined })
        )
      }
      if (part.type !== "finish") continue
      this.finish = part
      const flaw = verdict(this.provider, part, this.firstPartAt !== undefined)
      if (flaw !== undefined) return Effect.fail(flaw)
      this.endedAt = this.now()
      this.exit = Exit.void
    }
    return Effect.succeed(parts)
  }

  private end(cause: Cause.Cause<LlmError | Cause.Done>): Pull.Pull<Parts, LlmError> {
    const done = Pull.isDoneCause(cause)
    if (this.finish !== undefined && (done || !Cause.hasDies(cause))) return Cause.done()
    if (!done) return Effect.failCause(cause)
    const description = "the stream ended without a finish part"
    return Effect.fail(flawed(this.provider, description, { truncated: true, finish: undefined }))
  }

  private record(cause: Cause.Cause<LlmError | Cause.Done>): void {
    const failure = Pull.filterNoDone(cause)
    this.endedAt ??= this.now()
    if (Result.isSuccess(failure)) this.exit ??= Exit.failCause(failure.success)
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
  return {
    outcome: outcomeOf(exit, error, flaw, called),
    phase: called ? (error?.phase ?? (answered ? "answered" : "sent")) : "refused",
    error,
    usage: finish?.usage,
    headers: finish?.response?.headers ?? headersOf(error)
  }
}

const outcomeOf = (
  exit: Exit.Exit<unknown, LlmError> | undefined,
  error: LlmError | undefined,
  flaw: Flaw | undefined,
  called: boolean
): Settlement["outcome"] => {
  if (!called || error?.phase === "refused") return "refused"
  if (exit === undefined) return "abandoned"
  if (Exit.isSuccess(exit)) return "success"
  if (flaw !== undefined) return flaw.truncated ? "truncated" : "failure"
  return error === undefined && !Exit.hasDies(exit) ? "abandoned" : "failure"
}

const headersOf = (error: LlmError | undefined) =>
  error !== undefined && "http" in error.reason ? error.reason.http?.response?.headers : undefined
