/** What one process knows of a circuit that others share: the circuit as it goes by it, and what Redis was not told yet. */
import * as Exit from "effect/Exit"
import * as machine from "./circuit.ts"

/**
 * Something that happened to a circuit, as often as the same happened in a row. It is done here at once and to the shared
 * circuit later, and by the same chance: where it changes the state of both, they have the same generation.
 */
export class Event {
  times = 1
  /** It is on its way: what comes later is another one. */
  sealed = false
  private readonly act: Act
  private readonly chance: Draws

  constructor(act: Act, chance: machine.Chance) {
    this.act = act
    this.chance = new Draws(chance)
  }

  /** Whether it counts whatever state the circuit is in. */
  get isForced(): boolean {
    return this.act._tag === "force"
  }

  get isPlain(): boolean {
    return isPlain(this.act)
  }

  once(circuit: machine.Circuit, now: number): machine.Change | undefined {
    const { act } = this
    const chance = this.chance.again()
    if (act._tag === "force") return act.force(circuit, now, chance)
    return machine.record(circuit, act.rules, now, chance, act.ticket, act.outcome)
  }

  /** Where it went the last time is where it is. */
  apply(circuit: machine.Circuit, now: number): void {
    for (let i = 0; i < this.times; i++) this.once(circuit, now)
  }

  /** Whether that is the same again. */
  takes(other: Act): boolean {
    const { act } = this
    if (this.sealed || !isPlain(other) || !isPlain(act)) return false
    const { retryAfter, slow = false, verdict } = other.outcome
    return (
      act.ticket.generation === other.ticket.generation &&
      act.rules === other.rules &&
      act.outcome.verdict === verdict &&
      (act.outcome.slow ?? false) === slow &&
      act.outcome.retryAfter === retryAfter
    )
  }
}

interface Recorded {
  readonly _tag: "record"
  readonly rules: machine.Rules
  readonly ticket: machine.Ticket
  readonly outcome: machine.Outcome
}

export type Act = Recorded | { readonly _tag: "force"; readonly force: typeof machine.isolate }

/** Nobody but the counts would miss it. */
const isPlain = (act: Act): act is Recorded =>
  act._tag === "record" && act.ticket.lease === undefined && act.outcome.trip === undefined

/** A call that wants to try the circuit, until it is answered. */
export class Ask {
  readonly rules: machine.Rules
  readonly answer: (answer: machine.Ticket | machine.Refusal) => void
  private readonly chance: Draws

  constructor(
    rules: machine.Rules,
    chance: machine.Chance,
    answer: (answer: machine.Ticket | machine.Refusal) => void
  ) {
    this.rules = rules
    this.chance = new Draws(chance)
    this.answer = answer
  }

  admit(circuit: machine.Circuit, now: number): machine.Ticket | machine.Refusal {
    return machine.admit(circuit, this.rules, now, this.chance.again())
  }
}

/** Numbers that are drawn once, and are the same each time again. */
class Draws {
  private readonly source: machine.Chance
  private readonly drawn: Array<number> = []

  constructor(source: machine.Chance) {
    this.source = source
  }

  again(): machine.Chance {
    let next = 0
    return { random: () => (this.drawn[next++] ??= this.source.random()) }
  }
}

/** Most events that are kept for Redis, and how often the same one: a window holds no more calls. */
const maxEvents = 256
const maxTimes = 10_000

/** What one exchange with Redis is about. */
export interface Batch {
  readonly events: ReadonlyArray<Event>
  readonly asks: ReadonlyArray<Ask>
  /** To be called when it is over. */
  readonly waiting: ReadonlyArray<() => void>
}

export class Copy {
  readonly name: string
  circuit: machine.Circuit
  /** The answer to every call while it is closed. */
  pass: Exit.Exit<machine.Ticket>
  /** When Redis was asked last, by this process's clock. */
  checkedAt = -Infinity
  /** Redis did not answer the last time. */
  cutOff = false
  /** The generation in which this process opened it, until Redis has seen it. */
  own: string | undefined
  unsent: Array<Event> = []
  private asks: Array<Ask> = []
  private waiting: Array<() => void> = []
  /** What was written last without an answer. */
  private doubt: { readonly version: string; readonly events: ReadonlyArray<Event> } | undefined

  constructor(name: string, now: number) {
    this.name = name
    this.circuit = machine.fresh(now)
    this.pass = passOf(this.circuit)
  }

  /** Something happened. The oldest that only counts is forgotten when there is too much. */
  add(act: Act, chance: machine.Chance): Event {
    const last = this.unsent.at(-1)
    if (last?.takes(act) === true) {
      last.times = Math.min(maxTimes, last.times + 1)
      return last
    }
    const event = new Event(act, chance)
    this.unsent.push(event)
    this.trim()
    return event
  }

  ask(ask: Ask): void {
    this.asks.push(ask)
  }

  /** False if it was taken already. */
  unask(ask: Ask): boolean {
    const at = this.asks.indexOf(ask)
    if (at >= 0) this.asks.splice(at, 1)
    return at >= 0
  }

  wait(callback: () => void): void {
    this.waiting.push(callback)
  }

  /** Those who wait for Redis, which is not there. */
  leave(): Omit<Batch, "events"> {
    const { asks, waiting } = this
    this.asks = []
    this.waiting = []
    return { asks, waiting }
  }

  /** All there is to say to a Redis in which the circuit has this version: not what turns out to have been said. */
  take(version: string): Batch {
    const { doubt, unsent } = this
    const events = doubt?.version === version ? unsent.filter((event) => !doubt.events.includes(event)) : unsent
    for (const event of events) event.sealed = true
    this.unsent = []
    this.doubt = undefined
    return { events, ...this.leave() }
  }

  /** It was not said, or nobody knows. */
  putBack(events: ReadonlyArray<Event>, version?: string): void {
    this.unsent = [...events, ...this.unsent]
    if (version !== undefined) this.doubt = { version, events }
    this.trim()
  }

  private trim(): void {
    while (this.unsent.length > maxEvents) {
      const oldest = this.unsent.findIndex((event) => event.isPlain)
      this.unsent.splice(Math.max(0, oldest), 1)
    }
  }
}

export const passOf = ({ generation }: machine.Circuit): Exit.Exit<machine.Ticket> => Exit.succeed({ generation })
