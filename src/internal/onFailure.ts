/** `Effect.catch` for the one error, on a path that nearly every call takes: half the price where nothing fails. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type { LlmError } from "../LlmError.ts"

/** A failure beside which there is a defect is not recovered from. */
export const onFailure = <A, E>(
  self: Effect.Effect<A, LlmError>,
  recover: (error: LlmError) => Effect.Effect<A, E>
): Effect.Effect<A, E> =>
  Effect.catchCause(self, (cause) => {
    const failure = Cause.hasDies(cause) ? undefined : cause.reasons.find(Cause.isFailReason)
    return failure === undefined
      ? Effect.failCause(cause as Cause.Cause<never>) // without a Fail there is no error in it
      : recover(failure.error)
  })
