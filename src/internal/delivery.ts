/**
 * A stream from its first visible part on: what was delivered is remembered, a break becomes `StreamInterrupted`, and where
 * a later provider can continue an answer, the stream goes on with it as if nothing had happened.
 */
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
import { begin, type Begun, goOn, type Parts } from "./beforeFirstPart.ts"

export class Delivery {
  private readonly delivered: Array<LlmPart> = []
  private readonly resumable: ReadonlyArray<Service>
  private readonly request: LlmRequest
  private readonly scope: Scope.Scope
  private begun: Begun
  private current: Pull.Pull<Parts, LlmError>
  /** The text block of the broken stream, under whose id the answer goes on. */
  private seam: string | undefined
  /** White space on both sides of the seam would be doubled: a prefill must not end with it. */
  private atSeam = false

  constructor(resumable: ReadonlyArray<Service>, begun: Begun, request: LlmRequest, scope: Scope.Scope) {
    this.resumable = resumable
    this.begun = begun
    this.current = goOn(begun)
    this.request = request
    this.scope = scope
  }

  pull(): Pull.Pull<Parts, LlmError> {
    return Effect.suspend(() =>
      Effect.matchCauseEffect(this.current, {
        onSuccess: (parts) => this.deliver(parts),
        onFailure: (cause) => {
          const error = cause.reasons.find((reason) => reason._tag === "Fail")?.error
          return error instanceof LlmError ? this.broken(error) : Effect.failCause(cause)
        }
      })
    )
  }

  private deliver(parts: Parts): Pull.Pull<Parts, LlmError> {
    const [first, ...rest] = this.seam === undefined ? parts : parts.flatMap((part) => this.continued(part))
    if (first === undefined) return this.pull()
    const seen = [first, ...rest].map((part) => this.signed(part))
    for (const part of seen) this.delivered.push(part)
    return Effect.succeed(seen as unknown as Parts) // mapped from one that is not empty
  }

  /** The finish part of a stream says who answered, as a whole answer does. */
  private signed(part: LlmPart): LlmPart {
    if (part.type !== "finish") return part
    const { model, provider } = this.begun.provider
    const ballast = part.metadata?.["ballast"]
    const known = typeof ballast === "object" && ballast !== null && !Array.isArray(ballast) ? ballast : {}
    return { ...part, metadata: { ...part.metadata, ballast: { provider, model, ...known } } }
  }

  private broken(error: LlmError): Pull.Pull<Parts, LlmError> {
    return Effect.withFiber((fiber) => {
      const next = this.resumable.findIndex(
        (one, i) => i > this.resumable.indexOf(this.begun.provider) && one.continuesAnswers
      )
      const late = fiber.getRef(Clock.Clock).currentTimeMillisUnsafe() >= fiber.getRef(Deadline.Deadline)
      const provider = this.resumable[next]
      if (provider === undefined || late || !this.onlyText() || !Attempts.take(fiber))
        return Effect.fail(this.interrupted(error))
      const resumed = Effect.andThen(
        Scope.close(this.begun.scope, Exit.void),
        begin(provider, this.continuation(), this.scope)
      )
      return Effect.matchEffect(resumed, {
        onFailure: () => Effect.fail(this.interrupted(error)),
        onSuccess: (begun) => {
          this.begun = begun
          this.seam = openText(this.delivered)
          this.current = goOn(begun)
          return this.pull()
        }
      })
    })
  }

  private onlyText(): boolean {
    const visible = this.delivered.filter(isVisible)
    return visible.length > 0 && visible.every((part) => part.type === "text-delta")
  }

  /** The prompt with the delivered text behind it, as the beginning of the answer that is asked for. */
  private continuation(): LlmRequest {
    const text = this.delivered.map((part) => (part.type === "text-delta" ? part.delta : "")).join("")
    const prefill = Prompt.assistantMessage({ content: [Prompt.textPart({ text: text.trimEnd() })] })
    this.atSeam = text !== text.trimEnd()
    return { ...this.request, prompt: Prompt.fromMessages([...this.request.prompt.content, prefill]) }
  }

  /** The parts of the second stream as parts of the first: one text, begun once and ended once. */
  private continued(part: LlmPart): ReadonlyArray<LlmPart> {
    const id = this.seam ?? ""
    switch (part.type) {
      case "text-start":
      case "response-metadata":
        return []
      case "text-delta": {
        const text = this.atSeam ? part.delta.trimStart() : part.delta
        this.atSeam &&= text === ""
        return text === "" ? [] : [{ ...part, id, delta: text }]
      }
      case "text-end":
        return [{ ...part, id }]
      default:
        return [part]
    }
  }

  private interrupted(error: LlmError): LlmError {
    const delivered = [...collectParts(this.delivered)]
    const reason = new StreamInterrupted({ interruptedBy: error.reason._tag, delivered })
    const { model, provider, retryAfter } = error
    return new LlmError({ provider, model, reason, retryAfter, phase: "answered" })
  }
}

/** The id of the last text block, if it has not been ended. */
const openText = (parts: ReadonlyArray<LlmPart>): string | undefined => {
  const last = parts.findLast((part) => part.type === "text-delta" || part.type === "text-end")
  return last?.type === "text-delta" ? last.id : undefined
}
