/** A stream that is told of. Its finish part waits until the attempt is settled, so that the receipt has what it cost. */
import * as Arr from "effect/Array"
import * as Cause from "effect/Cause"
import * as Channel from "effect/Channel"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Pull from "effect/Pull"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Tracer from "effect/Tracer"
import { LlmError } from "../LlmError.ts"
import type { LlmPart } from "../LlmResponse.ts"
import type { Call } from "./telemetryCall.ts"

type Parts = Arr.NonEmptyReadonlyArray<LlmPart>
type Finish = Extract<LlmPart, { readonly type: "finish" }>

export const told = (
  call: Call,
  stream: Stream.Stream<LlmPart, LlmError>,
  scope: Scope.Scope
): Effect.Effect<Pull.Pull<Parts, LlmError>> => {
  const traced = call.span === undefined ? stream : Stream.provideService(stream, Tracer.ParentSpan, call.span.call)
  // who leaves is told of behind all that the stream has opened
  const left = Scope.addFinalizerExit(scope, () => call.over(Exit.interrupt()) ?? Effect.void)
  return Effect.andThen(
    left,
    Effect.suspend(() => {
      const own = Scope.forkUnsafe(scope)
      return Effect.map(Channel.toPullScoped(traced.channel, own), (source) => new Told(call, source, own).pull)
    })
  )
}

class Told {
  private readonly call: Call
  /** Made once: it runs for every part. */
  private readonly next: Pull.Pull<Parts, LlmError>
  private readonly scope: Scope.Closeable
  private finish: Finish | undefined
  private isOver = false

  constructor(call: Call, source: Pull.Pull<Parts, LlmError>, scope: Scope.Closeable) {
    this.call = call
    this.next = Effect.matchCauseEffect(source, {
      onSuccess: (parts) => this.passed(parts),
      onFailure: (cause) => this.ended(cause)
    })
    this.scope = scope
  }

  readonly pull: Pull.Pull<Parts, LlmError> = Effect.suspend(() => (this.isOver ? Cause.done() : this.next))

  private passed(parts: Parts): Pull.Pull<Parts, LlmError> {
    this.call.passed(parts)
    const at = parts.findIndex(({ type }) => type === "finish")
    if (at < 0) return Effect.succeed(parts)
    this.finish = parts[at] as Finish // as it was found
    const rest = parts.toSpliced(at, 1)
    return Arr.isArrayNonEmpty(rest) ? Effect.succeed(rest) : this.pull
  }

  private ended(cause: Cause.Cause<LlmError | Cause.Done>): Pull.Pull<Parts, LlmError> {
    this.isOver = true
    const { call, finish } = this
    const error = cause.reasons.find((reason) => reason._tag === "Fail")?.error
    const exit = error instanceof LlmError || error === undefined ? Exit.failCause(cause) : Exit.void
    return Effect.andThen(
      Scope.close(this.scope, exit),
      Effect.suspend(() => {
        if (error === undefined) return Effect.andThen(call.over(exit) ?? Effect.void, Effect.failCause(cause))
        if (error instanceof LlmError) {
          const failed = Effect.fail(call.failed(error))
          return Effect.andThen(call.over(exit) ?? Effect.void, failed)
        }
        if (finish === undefined) return Effect.andThen(call.over(exit) ?? Effect.void, Cause.done())
        const last: Parts = [call.signed(finish)]
        return Effect.as(call.over(exit) ?? Effect.void, last)
      })
    )
  }
}
