/** Circuits of this process: a map of the state machine's data, forgotten when nobody used them for an hour. */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Random from "effect/Random"
import type * as Stream from "effect/Stream"
import type { Service, Snapshot, Transition } from "../CircuitBreakerStore.ts"
import * as machine from "./circuit.ts"
import { Listeners } from "./circuitListeners.ts"
import { refresh } from "./circuitWindow.ts"

export const make: Effect.Effect<MemoryCircuits> = Effect.gen(function* () {
  const clock = yield* Clock.Clock
  const random = yield* Random.Random
  return new MemoryCircuits(clock, { random: () => random.nextDoubleUnsafe() }, yield* Listeners.make)
})

interface Kept {
  readonly circuit: machine.Circuit
  /** The answer to every call while it is closed. */
  pass: Exit.Exit<machine.Ticket>
  usedAt: number
}

const idle = Duration.toMillis("1 hour")

const passFresh: Exit.Exit<machine.Ticket> = Exit.succeed({ generation: machine.first })

export class MemoryCircuits implements Service {
  readonly changes: Stream.Stream<Transition>
  private readonly clock: Clock.Clock
  private readonly chance: machine.Chance
  private readonly listeners: Listeners
  private readonly circuits = new Map<string, Kept>()
  private sweeper = this.circuits.entries()

  constructor(clock: Clock.Clock, chance: machine.Chance, listeners: Listeners) {
    this.clock = clock
    this.chance = chance
    this.listeners = listeners
    this.changes = listeners.changes
  }

  readonly peek: Service["peek"] = (name, rules) => {
    const kept = this.circuits.get(name)
    if (kept === undefined || kept.circuit.state === "closed") return admitted
    return Exit.succeed(machine.peek(kept.circuit, rules, this.now()))
  }

  readonly admit: Service["admit"] = (name, rules) => {
    const kept = this.circuits.get(name)
    if (kept === undefined) return passFresh
    const { circuit } = kept
    if (circuit.state === "closed" && (rules.ramp === 0 || circuit.openings === 0)) return kept.pass
    const from = circuit.state
    const now = this.now()
    const answer = machine.admit(circuit, rules, now, this.chance)
    if (circuit.state !== from) this.changed(name, kept, { from, to: circuit.state }, now)
    return Exit.succeed(answer)
  }

  readonly record: Service["record"] = (name, rules, ticket, outcome) => {
    const kept = this.circuits.get(name)
    if (kept === undefined && leavesNoTrace(rules, ticket, outcome)) return Exit.void
    const now = this.now()
    const known = kept ?? this.open(name, now)
    known.usedAt = now
    const change = machine.record(known.circuit, rules, now, this.chance, ticket, outcome)
    if (change !== undefined) this.changed(name, known, change, now)
    else if (ticket.lease !== undefined) this.listeners.call(name)
    return Exit.void
  }

  readonly read: Service["read"] = (name) =>
    Effect.sync(() => {
      const now = this.now()
      const circuit = this.circuits.get(name)?.circuit ?? machine.fresh(now)
      refresh(circuit.window, now)
      return snapshotOf(circuit)
    })

  readonly isolate: Service["isolate"] = (name) => Effect.sync(() => this.force(name, machine.isolate))

  readonly reset: Service["reset"] = (name) => Effect.sync(() => this.force(name, machine.reset))

  readonly onChange: Service["onChange"] = (name, callback) => this.listeners.onChange(name, callback)

  /** How much is remembered, for tests. */
  get size(): { readonly circuits: number; readonly listeners: number } {
    return { circuits: this.circuits.size, listeners: this.listeners.size }
  }

  private now(): number {
    return this.clock.currentTimeMillisUnsafe()
  }

  private force(name: string, act: typeof machine.isolate): void {
    const now = this.now()
    const kept = this.circuits.get(name) ?? this.open(name, now)
    const change = act(kept.circuit, now, this.chance)
    kept.pass = Exit.succeed({ generation: kept.circuit.generation })
    if (change !== undefined) this.changed(name, kept, change, now)
  }

  private open(name: string, now: number): Kept {
    this.sweep(now)
    const kept: Kept = { circuit: machine.fresh(now), pass: passFresh, usedAt: now }
    this.circuits.set(name, kept)
    return kept
  }

  /** Each new one pays for a look at two others. */
  private sweep(now: number): void {
    for (let i = 0; i < 2; i++) {
      const next = this.sweeper.next()
      if (next.done === true) {
        this.sweeper = this.circuits.entries()
        return
      }
      const [name, { circuit, usedAt }] = next.value
      if (now - Math.max(usedAt, neededUntil(circuit)) >= idle) this.circuits.delete(name)
    }
  }

  private changed(name: string, kept: Kept, { from, to }: machine.Change, at: number): void {
    kept.pass = Exit.succeed({ generation: kept.circuit.generation })
    kept.usedAt = at
    this.listeners.publish({ circuit: name, from, to, cause: kept.circuit.cause, at })
  }
}

/** One that is isolated stays, one that is open at least as long as it is. */
const neededUntil = ({ state, until }: machine.Circuit): number =>
  state === "isolated" ? Infinity : state === "open" ? until : 0

/** A circuit that nothing happened to need not be remembered. */
const leavesNoTrace = (rules: machine.Rules, { generation }: machine.Ticket, { trip, verdict }: machine.Outcome) =>
  generation !== machine.first ||
  (trip === undefined && (verdict === "ignored" || (verdict === "success" && !machine.hasRates(rules))))

const admitted: Exit.Exit<undefined> = Exit.succeed(undefined)

export const snapshotOf = (circuit: machine.Circuit): Snapshot => ({
  state: circuit.state,
  cause: circuit.cause,
  since: circuit.since,
  until: circuit.until,
  consecutiveFailures: circuit.consecutive,
  calls: circuit.window.calls,
  failures: circuit.window.failures,
  slowCalls: circuit.window.slow
})
