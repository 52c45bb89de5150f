/** `Effect.catch` for the one error, on a path that nearly every call takes: half the price where nothing fails. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type { LlmError } from "../LlmError.ts"

/** The one error of a failure; none where there is a defect beside it, which is not recovered from. */
export const failureOf = (cause: Cause.Cause<LlmError>): LlmError | undefined =>
  Cause.hasDies(cause) ? undefined : cause.reasons.find(Cause.isFailReason)?.error

export const onFailure = <A, E>(
  self: Effect.Effect<A, LlmError>,
  recover: (error: LlmError) => Effect.Effect<A, E>
): Effect.Effect<A, E> =>
  Effect.catchCause(self, (cause) => {
    const error = failureOf(cause)
    return error === undefined
      ? Effect.failCause(cause as Cause.Cause<never>) // without a Fail there is no error in it
      : recover(error)
  })
