/** What a hedge does with two attempts; `Fallback` is given one and knows no more of it. */
import type * as Effect from "effect/Effect"
import type { LlmError } from "../LlmError.ts"
import type { Discard } from "./beforeFirstPart.ts"

/** Nobody answered. `backup` is absent when it was not started or refused without a call. */
export interface RaceLost {
  readonly primary: LlmError
  readonly backup: LlmError | undefined
}

export interface Race {
  <A>(
    primary: Effect.Effect<A, LlmError>,
    backup: Effect.Effect<A, LlmError>,
    discard: Discard<A>
  ): Effect.Effect<A, RaceLost>
}
