/** What an effect did without being run: memory gates and stores answer with an `Exit`, which costs no fiber step. */
import type * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"

export const onTheSpot = <A, E, R>(effect: Effect.Effect<A, E, R>): Exit.Exit<A, E> | undefined =>
  Exit.isExit(effect) ? (effect as Exit.Exit<A, E>) : undefined // an effect of A and E that is an exit is one of A and E
