/** Any effect behind a circuit. */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { Outcome, Refusal, Ticket } from "./circuit.ts"
import { isTicket, refused, type Settings } from "./circuitGate.ts"
import { type Verdict, verdictOf } from "./circuitVerdict.ts"
import { changed } from "./circuitWait.ts"
import { onTheSpot } from "./onTheSpot.ts"
import type { CircuitOpen } from "./reasons.ts"

type Classify = ((error: unknown) => Verdict | undefined) | undefined

export const execute =
  (settings: Settings, circuit: string, classify: Classify) =>
  <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E | CircuitOpen, R> =>
    Effect.suspend(() => {
      const execution = new Execution(settings, circuit, classify, self)
      // the finalizer first and admission inside of it: the other way round a yield between them would keep a place
      return Effect.onExitPrimitive(execution.begin, execution.end)
    })

class Execution<A, E, R> {
  private readonly settings: Settings
  private readonly circuit: string
  private readonly classify: Classify
  private readonly self: Effect.Effect<A, E, R>
  private ticket: Ticket | undefined
  private startedAt = 0

  constructor(settings: Settings, circuit: string, classify: Classify, self: Effect.Effect<A, E, R>) {
    this.settings = settings
    this.circuit = circuit
    this.classify = classify
    this.self = self
  }

  readonly begin: Effect.Effect<A, E | CircuitOpen, R> = Effect.suspend(() => {
    const answer = this.settings.store.admit(this.circuit, this.settings.rules)
    const exit = onTheSpot(answer)
    if (exit !== undefined && Exit.isSuccess(exit)) return this.answered(exit.value)
    const held = Effect.uninterruptible(Effect.map(answer, (answer) => this.hold(answer)))
    return Effect.flatMap(held, (refusal) => (refusal === undefined ? this.run() : this.refuse(refusal)))
  })

  readonly end = (exit: Exit.Exit<A, E | CircuitOpen>): Effect.Effect<void> | undefined => {
    const { ticket } = this
    if (ticket === undefined) return undefined
    const { rules, store } = this.settings
    const recorded = store.record(this.circuit, rules, ticket, this.outcomeOf(exit))
    return onTheSpot(recorded) === undefined ? recorded : undefined
  }

  private answered(answer: Ticket | Refusal): Effect.Effect<A, E | CircuitOpen, R> {
    const refusal = this.hold(answer)
    return refusal === undefined ? this.run() : this.refuse(refusal)
  }

  private hold(answer: Ticket | Refusal): Refusal | undefined {
    if (!isTicket(answer)) return answer
    this.ticket = answer
    return undefined
  }

  private run(): Effect.Effect<A, E, R> {
    if (this.settings.slowness.latency < Infinity) this.startedAt = this.settings.now()
    return this.self
  }

  private refuse(refusal: Refusal): Effect.Effect<A, E | CircuitOpen, R> {
    const { shadow, store, waits, watch } = this.settings
    if (shadow) {
      watch.let()
      return this.run()
    }
    if (!refusal.undecided || !waits) return Effect.fail(refused(this.circuit.slice("key:".length), refusal))
    return Effect.andThen(changed(store, this.circuit, refusal.retryAfter ?? 0), this.begin)
  }

  private outcomeOf(exit: Exit.Exit<A, E | CircuitOpen>): Outcome {
    const { latency } = this.settings.slowness
    const slow = latency < Infinity && this.settings.now() - this.startedAt > latency
    if (exit._tag === "Success") return slow ? slowly : success
    return { verdict: this.verdictOf(exit), slow }
  }

  private verdictOf(exit: Exit.Failure<A, E | CircuitOpen>): Verdict {
    const failure = this.classify === undefined ? undefined : exit.cause.reasons.find(Cause.isFailReason)
    return (failure && this.classify?.(failure.error)) ?? verdictOf(exit)
  }
}

const success: Outcome = { verdict: "success" }
const slowly: Outcome = { verdict: "success", slow: true }
