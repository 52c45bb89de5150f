/**
 * A stream from its first visible part on: what was delivered is remembered, a break becomes `StreamInterrupted`, and where
 * a later provider can continue an answer, the stream goes on with it as if nothing had happened.
 */
import * as Arr from "effect/Array"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Pull from "effect/Pull"
import * as Scope from "effect/Scope"
import * as Prompt from "effect/ai/Prompt"
import * as Attempts from "../Attempts.ts"
import * as Deadline from "../Deadline.ts"
import { LlmError, StreamInterrupted } from "../LlmError.ts"
import type { Service } from "../LlmProvider.ts"
import type { LlmRequest } from "../LlmRequest.ts"
import { collectParts, isVisible, type LlmPart } from "../LlmResponse.ts"
import { begin, type Begun, cutOff, goOn, type Parts } from "./beforeFirstPart.ts"

export interface Continuation {
  readonly providers: ReadonlyArray<Service>
  /** Whether a stream that broke for this reason is continued by a provider that follows. */
  readonly resumes: (error: LlmError) => boolean
}

export class Delivery {
  private readonly delivered: Array<LlmPart> = []
  private readonly continuation: Continuation
  private readonly request: LlmRequest
  private readonly scope: Scope.Scope
  private begun: Begun
  /** Made once for each provider that goes on: it runs for every part. */
  private next: Pull.Pull<Parts, LlmError>
  private at: number
  private seam: Seam | undefined

  constructor(continuation: Continuation, begun: Begun, request: LlmRequest, scope: Scope.Scope) {
    this.continuation = continuation
    this.begun = begun
    this.next = this.watched(begun)
    this.at = continuation.providers.indexOf(begun.provider)
    this.request = request
    this.scope = scope
  }

  readonly pull: Pull.Pull<Parts, LlmError> = Effect.suspend(() => this.next)

  private watched(begun: Begun): Pull.Pull<Parts, LlmError> {
    return Effect.matchCauseEffect(goOn(begun), {
      onSuccess: (parts) => this.deliver(parts),
      onFailure: (cause) => {
        const error = cause.reasons.find((reason) => reason._tag === "Fail")?.error
        if (error === undefined) return Effect.failCause(cause)
        if (this.delivered.some((part) => part.type === "finish")) return Cause.done()
        return this.broken(error instanceof LlmError ? error : cutOff(this.begun.provider))
      }
    })
  }

  private deliver(parts: Parts): Pull.Pull<Parts, LlmError> {
    const { provider } = this.begun
    const joined = this.seam === undefined ? parts : parts.flatMap((part) => this.seam?.joined(part) ?? [])
    const seen = joined.map((part) => signed(provider, part))
    for (const part of seen) this.delivered.push(part)
    return Arr.isArrayNonEmpty(seen) ? Effect.succeed(seen) : this.pull
  }

  private broken(error: LlmError): Pull.Pull<Parts, LlmError> {
    if (!this.onlyText()) return Effect.fail(this.interrupted(error))
    const resumed = Effect.andThen(Scope.close(this.begun.scope, Exit.void), this.resume(error, error))
    return Effect.provideService(resumed, Attempts.Current, this.begun.ledger)
  }

  private onlyText(): boolean {
    const visible = this.delivered.filter(isVisible)
    return visible.length > 0 && visible.every((part) => part.type === "text-delta")
  }

  /** Asks those who follow, one after the other, to go on; `latest` is why the one before could not. */
  private resume(broke: LlmError, latest: LlmError): Pull.Pull<Parts, LlmError> {
    return Effect.withFiber((fiber) => {
      const { providers, resumes } = this.continuation
      const next = providers.findIndex((one, i) => i > this.at && one.continuesAnswers === true)
      const provider = providers[next]
      const late = fiber.getRef(Clock.Clock).currentTimeMillisUnsafe() >= fiber.getRef(Deadline.Deadline)
      if (provider === undefined || late || !resumes(latest) || !Attempts.take(fiber)) {
        return Effect.fail(this.interrupted(broke))
      }
      this.at = next
      const seam = new Seam(this.delivered)
      return Effect.matchEffect(begin(provider, seam.continuing(this.request), Scope.forkUnsafe(this.scope)), {
        onFailure: (failed) => this.resume(broke, failed),
        onSuccess: (begun) => {
          this.begun = begun
          this.seam = seam
          this.next = this.watched(begun)
          return this.pull
        }
      })
    })
  }

  private interrupted(error: LlmError): LlmError {
    const delivered = [...collectParts(this.delivered)]
    const reason = new StreamInterrupted({ interruptedBy: error.reason._tag, delivered })
    const { model, provider, retryAfter } = error
    return new LlmError({ provider, model, reason, retryAfter, phase: "answered" })
  }
}

/** A stream as it is, but for its finish part. */
export const goOnSigned = (begun: Begun): Pull.Pull<Parts, LlmError> =>
  Effect.map(goOn(begun), (parts) =>
    parts.some(({ type }) => type === "finish") ? Arr.map(parts, (part) => signed(begun.provider, part)) : parts
  )

/** The finish part of a stream says who answered, as a whole answer does. */
const signed = ({ model, provider }: Service, part: LlmPart): LlmPart => {
  if (part.type !== "finish") return part
  const ballast = part.metadata?.["ballast"]
  const known = typeof ballast === "object" && ballast !== null && !Array.isArray(ballast) ? ballast : {}
  return { ...part, metadata: { ...part.metadata, ballast: { provider, model, ...known } } }
}

/** Where the text of one stream goes on in that of another: all of it is one block, white space is not doubled. */
class Seam {
  private readonly text: string
  private readonly id: string
  private open: boolean
  private trimming: boolean

  constructor(delivered: ReadonlyArray<LlmPart>) {
    this.text = delivered.map((part) => (part.type === "text-delta" ? part.delta : "")).join("")
    const last = delivered.findLast((part) => part.type === "text-delta" || part.type === "text-end")
    this.open = last?.type === "text-delta"
    this.id = last?.type === "text-delta" ? last.id : `resumed-${delivered.length}`
    this.trimming = this.text !== this.text.trimEnd()
  }

  /** The request with the delivered text as the beginning of its answer, which providers want to end without white space. */
  continuing(request: LlmRequest): LlmRequest {
    const text = this.text.trimEnd()
    if (text === "") return request
    const prefill = Prompt.assistantMessage({ content: [Prompt.textPart({ text })] })
    return { ...request, prompt: Prompt.fromMessages([...request.prompt.content, prefill]) }
  }

  /** A part of the second stream as parts of the first. */
  joined(part: LlmPart): ReadonlyArray<LlmPart> {
    const { id } = this
    switch (part.type) {
      case "response-metadata":
      case "text-start":
      case "text-end":
        return []
      case "text-delta": {
        const delta = this.trimming ? part.delta.trimStart() : part.delta
        if (delta === "") return []
        this.trimming = false
        if (this.open) return [{ ...part, id, delta }]
        this.open = true
        return [
          { type: "text-start", id },
          { ...part, id, delta }
        ]
      }
      case "finish":
        return this.open ? [{ type: "text-end", id }, part] : [part]
      default:
        return [part]
    }
  }
}
