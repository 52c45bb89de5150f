/**
 * Circuits that processes share through Redis. Each process goes by a copy of those it uses, does to it at once what happens
 * here, and exchanges both at most once a second, or at once where something failed, tries or is forced. Only a call that
 * would try a circuit waits for Redis.
 *
 * One exchange of a circuit runs at a time, with all that came up before Redis answered. The copy's times are the server's.
 */
import * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Random from "effect/Random"
import type { Service } from "../CircuitBreakerStore.ts"
import { Background } from "./background.ts"
import * as machine from "./circuit.ts"
import { type Act, Ask, Copy } from "./circuitCopy.ts"
import { Listeners } from "./circuitListeners.ts"
import { type Settings, Sharing } from "./circuitSharing.ts"
import { refresh } from "./circuitWindow.ts"
import { snapshotOf } from "./memoryCircuits.ts"

/** How old a copy may be while it is used, and how often it is looked for what was not sent. */
const maxAge = 1000
const beat = Duration.millis(250)

/** Closed circuits that nobody used for so long are forgotten, and the one unused for longest where there are too many. */
const idle = Duration.toMillis("1 hour")
export const maxCopies = 10_000

export class RedisCircuits implements Service {
  static readonly make = (settings: Settings): Effect.Effect<RedisCircuits> =>
    Effect.gen(function* () {
      const context = yield* Effect.context()
      const random = yield* Random.Random
      const chance = { random: () => random.nextDoubleUnsafe() }
      return new RedisCircuits(settings, context, yield* Clock.Clock, chance, yield* Listeners.make)
    })

  readonly changes: Service["changes"]
  private readonly clock: Clock.Clock
  private readonly chance: machine.Chance
  private readonly listeners: Listeners
  private readonly sharing: Sharing
  private readonly beats: Background
  /** Those used last at the end, to the second. */
  private readonly copies = new Map<string, Copy>()

  private constructor(
    settings: Settings,
    context: Context.Context<never>,
    clock: Clock.Clock,
    chance: machine.Chance,
    listeners: Listeners
  ) {
    this.clock = clock
    this.chance = chance
    this.listeners = listeners
    this.changes = listeners.changes
    this.sharing = new Sharing(settings, context, clock, chance, {
      changed: (copy, change) => this.changed(copy, change),
      freed: ({ name }) => listeners.call(name)
    })
    const isIdle = () => this.sharing.unsent.size === 0 && listeners.size === 0
    const step = Effect.andThen(Effect.sleep(beat), () => this.beat())
    this.beats = new Background(context, isIdle, step)
  }

  readonly peek: Service["peek"] = (name, rules) => {
    const { circuit } = this.use(name)
    return circuit.state === "closed" ? admitted : Exit.succeed(machine.peek(circuit, rules, this.now()))
  }

  readonly admit: Service["admit"] = (name, rules) => {
    const copy = this.use(name)
    const { circuit } = copy
    if (circuit.state === "closed") {
      if (rules.ramp === 0 || circuit.openings === 0) return copy.pass
      return Exit.succeed(machine.admit(circuit, rules, this.now(), this.chance))
    }
    const refusal = machine.peek(circuit, rules, this.now())
    return refusal === undefined ? this.ask(copy, rules) : Exit.succeed(refusal)
  }

  readonly record: Service["record"] = (name, rules, ticket, outcome) => {
    const { trip, verdict } = outcome
    const tried = ticket.lease !== undefined
    if (!tried && trip === undefined && verdict === "ignored") return Exit.void
    const copy = this.use(name)
    if (!tried && leavesNoTrace(copy.circuit, rules, ticket, outcome)) return Exit.void
    const changed = this.happened(copy, { _tag: "record", rules, ticket, outcome })
    if (tried && !changed) this.listeners.call(name)
    if (tried || trip !== undefined || verdict === "failure") this.sharing.send(copy)
    return Exit.void
  }

  readonly read: Service["read"] = (name) =>
    Effect.suspend(() => {
      const copy = this.use(name)
      return Effect.map(this.sharing.exchanged(copy), () => {
        refresh(copy.circuit.window, this.now())
        return snapshotOf(copy.circuit)
      })
    })

  readonly isolate: Service["isolate"] = (name) => this.force(name, machine.isolate)

  readonly reset: Service["reset"] = (name) => this.force(name, machine.reset)

  readonly onChange: Service["onChange"] = (name, callback) => {
    const unlisten = this.listeners.onChange(name, callback)
    this.beats.start()
    return unlisten
  }

  /** See `Sharing.close`. */
  readonly close: Effect.Effect<void> = Effect.suspend(() => Effect.andThen(this.beats.close, this.sharing.close))

  /** How much is remembered, for tests. */
  get size() {
    return { circuits: this.copies.size, unsent: this.sharing.unsent.size, listeners: this.listeners.size }
  }

  private now(): number {
    return this.sharing.now()
  }

  private use(name: string): Copy {
    const now = this.clock.currentTimeMillisUnsafe()
    const copy = this.copies.get(name) ?? this.open(name, now)
    if (Math.abs(now - copy.checkedAt) >= maxAge) this.check(copy, now)
    return copy
  }

  private check(copy: Copy, now: number): void {
    this.copies.delete(copy.name)
    this.copies.set(copy.name, copy)
    copy.checkedAt = now
    if (!this.sharing.isSending(copy)) this.sharing.send(copy)
  }

  private open(name: string, now: number): Copy {
    this.sweep(now)
    const copy = new Copy(name, this.now())
    this.copies.set(name, copy)
    return copy
  }

  /** Each new one pays for a look at the two unused for longest, or at some more where there are too many. */
  private sweep(now: number): void {
    const isFull = this.copies.size >= maxCopies
    let looks = isFull ? 32 : 2
    for (const copy of this.copies.values()) {
      if (looks-- === 0) break
      if (copy.circuit.state !== "closed") {
        this.copies.delete(copy.name)
        this.copies.set(copy.name, copy)
      } else if (isFull) return this.forget(copy)
      else if (now - copy.checkedAt >= idle) this.forget(copy)
    }
    const [oldest] = this.copies.values()
    if (isFull && oldest !== undefined) this.forget(oldest) // all of them are open: Redis knows
  }

  private forget(copy: Copy): void {
    this.copies.delete(copy.name)
    if (this.sharing.unsent.delete(copy)) this.sharing.send(copy)
  }

  private ask(copy: Copy, rules: machine.Rules): Effect.Effect<machine.Ticket | machine.Refusal> {
    return Effect.callback((resume) => {
      let gone = false
      const ask = new Ask(rules, this.chance, (answer) => {
        if (gone && "lease" in answer) void this.record(copy.name, rules, answer, { verdict: "ignored" })
        resume(Exit.succeed(answer))
      })
      copy.ask(ask)
      this.sharing.send(copy)
      return Effect.sync(() => {
        gone = !copy.unask(ask)
      })
    })
  }

  private force(name: string, force: typeof machine.isolate): Effect.Effect<void> {
    return Effect.suspend(() => {
      const copy = this.use(name)
      this.happened(copy, { _tag: "force", force })
      return Effect.map(this.sharing.exchanged(copy), () => {
        if (copy.cutOff) this.sharing.outage.decided(1)
      })
    })
  }

  private happened(copy: Copy, act: Act): boolean {
    const changed = this.sharing.happened(copy, act)
    this.beats.start()
    return changed
  }

  private changed(copy: Copy, { from, to }: machine.Change): void {
    if (this.copies.get(copy.name) !== copy) return // forgotten: another one tells of it
    const { cause, since } = copy.circuit
    this.listeners.publish({ circuit: copy.name, from, to, cause, at: since })
  }

  private beat(): Effect.Effect<void> {
    return Effect.sync(() => {
      const now = this.clock.currentTimeMillisUnsafe()
      for (const copy of this.sharing.unsent) if (Math.abs(now - copy.checkedAt) >= maxAge) this.check(copy, now)
      for (const name of this.listeners.names) this.use(name)
    })
  }
}

/** A call that tried nothing, and says nothing new of the circuit. */
const leavesNoTrace = (
  { consecutive, generation }: machine.Circuit,
  rules: machine.Rules,
  ticket: machine.Ticket,
  { trip, verdict }: machine.Outcome
): boolean =>
  ticket.generation !== generation ||
  (trip === undefined && verdict === "success" && consecutive === 0 && !machine.hasRates(rules))

const admitted: Exit.Exit<undefined> = Exit.succeed(undefined)
