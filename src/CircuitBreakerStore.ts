/**
 * Where circuits are kept: each method is one atomic step, never fails and is short; one that answers with an `Exit` acts
 * when it is called. A store that others share answers from what it last knew of a circuit while it is closed, and goes
 * on alone while it cannot reach the others.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Stream from "effect/Stream"
import type { Cause, Outcome, Refusal, Rules, State, Ticket } from "./internal/circuit.ts"
import * as memory from "./internal/memoryCircuits.ts"

export type { Cause, Outcome, Refusal, Rules, State, Ticket }

/** A circuit, as far as anybody needs to know. */
export interface Snapshot {
  /** `"open"` also when its time is over, until a call tries it. */
  readonly state: State
  /** What opened it; `undefined` while it is closed. */
  readonly cause: Cause | undefined
  /** When this state began, in milliseconds of the store's clock. */
  readonly since: number
  /** Until when it is open, in the same; of use while it is open. */
  readonly until: number
  /** Failures without a success between. */
  readonly consecutiveFailures: number
  /** What the window holds. */
  readonly calls: number
  /** Of these, those that failed. */
  readonly failures: number
  /** Of these, those that were slow, failed or not. */
  readonly slowCalls: number
}

/** A circuit that went from one state to another. */
export interface Transition {
  readonly circuit: string
  readonly from: State
  readonly to: State
  /** What opened it; `undefined` where it closed. */
  readonly cause: Cause | undefined
  /** Milliseconds of the store's clock. */
  readonly at: number
}

/** A store of circuits by name: one that nothing is known of is closed. */
export interface Service {
  /** Whether a call would be refused now; takes nothing. */
  readonly peek: (circuit: string, rules: Rules) => Effect.Effect<Refusal | undefined>
  /** Lets a call go or refuses it; one that tries a circuit holds a lease until it is recorded, or for `probeLease`. */
  readonly admit: (circuit: string, rules: Rules) => Effect.Effect<Ticket | Refusal>
  /** What became of a call that was let go; one of an earlier generation changes nothing. */
  readonly record: (circuit: string, rules: Rules, ticket: Ticket, outcome: Outcome) => Effect.Effect<void>
  /** How it is now; changes nothing. */
  readonly read: (circuit: string) => Effect.Effect<Snapshot>
  /** Refuses every call until it is reset. */
  readonly isolate: (circuit: string) => Effect.Effect<void>
  /** Closes it and forgets all it knew. */
  readonly reset: (circuit: string) => Effect.Effect<void>
  /** Calls back once, when the circuit changes or a call that tried it is over; the answer takes the wish back. */
  readonly onChange: (circuit: string, callback: () => void) => () => void
  /** From now on; a reader that is slow misses the oldest of more than 256. */
  readonly changes: Stream.Stream<Transition>
}

/** The store of circuit breakers: `layerMemory`, `RedisCircuitBreakerStore.layer`, or all stores from `Stores`. */
export class CircuitBreakerStore extends Context.Service<CircuitBreakerStore, Service>()(
  "ballast/CircuitBreakerStore"
) {}

/** In this process: answers on the spot. Circuits are forgotten an hour after their last use, or after their time. */
export const makeMemory: Effect.Effect<Service> = memory.make

/** `makeMemory` as a layer: a restart begins with all circuits closed. */
export const layerMemory: Layer.Layer<CircuitBreakerStore> = Layer.effect(CircuitBreakerStore, makeMemory)
