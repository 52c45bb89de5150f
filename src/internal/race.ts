/** What a hedge does with two providers; `Fallback` is given one and knows no more of it. */
import type * as Effect from "effect/Effect"
import type { LlmError } from "../LlmError.ts"
import type { Service } from "../LlmProvider.ts"
import type { Attempting } from "./beforeFirstPart.ts"

/** Nobody answered. `backup` is absent when it was not started or refused without a call. */
export interface RaceLost {
  readonly primary: LlmError
  readonly backup: LlmError | undefined
}

export interface Race {
  <A>(primary: Service, backup: Service, attempting: Attempting<A>): Effect.Effect<A, RaceLost>
}
