/** Any effect behind a circuit. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { Deadline } from "../Deadline.ts"
import type { Outcome, Refusal, Ticket } from "./circuit.ts"
import { isTicket, refused, type Settings } from "./circuitGate.ts"
import { type Verdict, verdictOf } from "./circuitVerdict.ts"
import { changed, hasRoom } from "./circuitWait.ts"
import { onTheSpot } from "./onTheSpot.ts"
import type { CircuitOpen } from "./reasons.ts"

type Classify = ((error: unknown) => Verdict | undefined) | undefined

export const execute =
  (settings: Settings, circuit: string, classify: Classify) =>
  <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E | CircuitOpen, R> =>
    Effect.suspend(() => {
      const { rules, store } = settings
      const admitted = onTheSpot(store.admit(circuit, rules))
      const ticket = admitted !== undefined && Exit.isSuccess(admitted) ? admitted.value : undefined
      // closed: nothing is held that an interruption between here and there could leak
      if (ticket !== undefined && isTicket(ticket) && ticket.lease === undefined)
        return run(settings, circuit, classify, self, ticket)
      const trying = new Trying(settings, circuit, classify, self)
      const safely = Effect.onExitPrimitive(trying.begin(), (exit) => trying.end(exit))
      if (ticket === undefined || !isTicket(ticket))
        return ticket === undefined ? safely : trying.refuse(ticket, safely)
      // a place was taken where an interruption could lose it: it is given back, and taken again where none can
      const back = store.record(circuit, rules, ticket, ignored)
      return onTheSpot(back) === undefined ? Effect.andThen(back, safely) : safely
    })

const run = <A, E, R>(
  settings: Settings,
  circuit: string,
  classify: Classify,
  self: Effect.Effect<A, E, R>,
  ticket: Ticket
): Effect.Effect<A, E, R> => {
  const startedAt = settings.slowness.latency < Infinity ? settings.now() : 0
  return Effect.onExitPrimitive(self, (exit) => recorded(settings, circuit, classify, ticket, startedAt, exit))
}

/** `undefined` when it was done on the spot. */
const recorded = (
  settings: Settings,
  circuit: string,
  classify: Classify,
  ticket: Ticket,
  startedAt: number,
  exit: Exit.Exit<unknown, unknown>
): Effect.Effect<void> | undefined => {
  const { rules, slowness, store } = settings
  const slow = slowness.latency < Infinity && settings.now() - startedAt > slowness.latency
  const recording = store.record(circuit, rules, ticket, outcomeOf(exit, classify, slow))
  return onTheSpot(recording) === undefined ? recording : undefined
}

const outcomeOf = (exit: Exit.Exit<unknown, unknown>, classify: Classify, slow: boolean): Outcome => {
  if (exit._tag === "Success") return slow ? slowly : success
  const failure = classify === undefined ? undefined : exit.cause.reasons.find(Cause.isFailReason)
  return { verdict: (failure && classify?.(failure.error)) ?? verdictOf(exit), slow }
}

/** One call of a circuit that is not simply closed: the finalizer stands first and admission happens inside of it. */
class Trying<A, E, R> {
  private readonly settings: Settings
  private readonly circuit: string
  private readonly classify: Classify
  private readonly self: Effect.Effect<A, E, R>
  private ticket: Ticket | undefined
  private startedAt = 0
  /** Longest that it waits for the verdict of others: as long as one of them may take. */
  private until: number | undefined

  constructor(settings: Settings, circuit: string, classify: Classify, self: Effect.Effect<A, E, R>) {
    this.settings = settings
    this.circuit = circuit
    this.classify = classify
    this.self = self
  }

  begin(): Effect.Effect<A, E | CircuitOpen, R> {
    return Effect.suspend(() => {
      const answer = this.settings.store.admit(this.circuit, this.settings.rules)
      const exit = onTheSpot(answer)
      if (exit !== undefined && Exit.isSuccess(exit)) return this.goOn(this.hold(exit.value))
      const held = Effect.uninterruptible(Effect.map(answer, (answer) => this.hold(answer)))
      return Effect.flatMap(held, (refusal) => this.goOn(refusal))
    })
  }

  end(exit: Exit.Exit<A, E | CircuitOpen>): Effect.Effect<void> | undefined {
    if (this.ticket === undefined) return undefined
    return recorded(this.settings, this.circuit, this.classify, this.ticket, this.startedAt, exit)
  }

  /** Fails, or waits and tries `again`. */
  refuse(refusal: Refusal, again: Effect.Effect<A, E | CircuitOpen, R>): Effect.Effect<A, E | CircuitOpen, R> {
    const { shadow, store, waits, watch } = this.settings
    if (shadow) {
      watch.let()
      return this.self
    }
    if (!refusal.undecided || !waits || !hasRoom(store)) return Effect.fail(refused(this.circuit, refusal))
    return Effect.withFiber((fiber) => {
      const now = this.settings.now()
      this.until ??= Math.min(fiber.getRef(Deadline), now + this.settings.rules.probeLease)
      const left = this.until - now
      if (left <= 0) return Effect.fail(refused(this.circuit, refusal))
      return Effect.andThen(changed(store, this.circuit, Math.min(refusal.retryAfter ?? 0, left)), again)
    })
  }

  private hold(answer: Ticket | Refusal): Refusal | undefined {
    if (!isTicket(answer)) return answer
    this.ticket = answer
    return undefined
  }

  private goOn(refusal: Refusal | undefined): Effect.Effect<A, E | CircuitOpen, R> {
    if (refusal !== undefined) return this.refuse(refusal, this.begin())
    if (this.settings.slowness.latency < Infinity) this.startedAt = this.settings.now()
    return this.self
  }
}

const ignored: Outcome = { verdict: "ignored" }
const success: Outcome = { verdict: "success" }
const slowly: Outcome = { verdict: "success", slow: true }
