/**
 * Keeps the copies of one process and the circuits in Redis together: one exchange of a circuit at a time, with all that came
 * up before Redis answered. What does not get there in time goes on in the copy alone.
 */
import type * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type { Redis } from "effect/persistence/Redis"
import type * as machine from "./circuit.ts"
import { type Act, type Ask, type Copy, passOf } from "./circuitCopy.ts"
import { Exchange } from "./circuitExchange.ts"
import { Outage } from "./circuitOutage.ts"
import type { StoreUnavailable } from "./reasons.ts"
import { Commands } from "./redisCommands.ts"

export interface Settings {
  readonly redis: Redis["Service"]
  readonly keyOf: (name: string) => string
  /** Milliseconds. */
  readonly commandTimeout: number
}

export interface Watcher {
  readonly changed: (copy: Copy, change: machine.Change) => void
  /** A call that tried it is over. */
  readonly freed: (copy: Copy) => void
}

export class Sharing {
  readonly outage: Outage
  /** Those of which Redis was not told everything. */
  readonly unsent = new Set<Copy>()
  private readonly settings: Settings
  private readonly commands: Commands
  private readonly context: Context.Context<never>
  private readonly clock: Clock.Clock
  private readonly chance: machine.Chance
  private readonly watcher: Watcher
  private readonly exchanges = new Map<Copy, Exchange>()
  /** Something came up too late for the exchange that runs. */
  private readonly again = new Set<Copy>()
  private readonly running = new Set<Fiber.Fiber<void, StoreUnavailable>>()
  /** What the server's clock is ahead of this process's. */
  private ahead = 0
  private closed = false

  constructor(
    settings: Settings,
    context: Context.Context<never>,
    clock: Clock.Clock,
    chance: machine.Chance,
    watcher: Watcher
  ) {
    this.settings = settings
    this.commands = new Commands(settings.redis, settings.commandTimeout)
    this.context = context
    this.clock = clock
    this.chance = chance
    this.watcher = watcher
    this.outage = new Outage(context)
  }

  /** By the server's clock. */
  now(): number {
    return this.clock.currentTimeMillisUnsafe() + this.ahead
  }

  isSending(copy: Copy): boolean {
    return this.exchanges.has(copy)
  }

  /** Does it to the copy at once, and to the shared circuit with the next exchange; whether it changed the state. */
  happened(copy: Copy, act: Act): boolean {
    const event = copy.add(act, this.chance)
    const change = event.once(copy.circuit, this.now())
    this.unsent.add(copy)
    if (event.isForced || change !== undefined) copy.pass = passOf(copy.circuit)
    if (change === undefined) return false
    copy.own = change.to === "open" ? copy.circuit.generation : undefined
    this.watcher.changed(copy, change)
    return true
  }

  /** After the next exchange, or without it. */
  exchanged(copy: Copy): Effect.Effect<void> {
    return Effect.callback((resume) => {
      copy.wait(() => resume(Effect.void))
      this.send(copy)
    })
  }

  send(copy: Copy): void {
    const exchange = this.exchanges.get(copy)
    if (exchange !== undefined) {
      if (exchange.batch !== undefined) this.again.add(copy)
    } else if (this.closed || !this.outage.mayAsk(this.clock.currentTimeMillisUnsafe())) this.goOn(copy)
    else this.exchange(copy)
  }

  /** Sends what was not sent, within the time of one command, and ends what runs. */
  readonly close: Effect.Effect<void> = Effect.suspend(() => {
    const flush = Effect.suspend(() => {
      for (const copy of this.unsent) this.send(copy)
      return Effect.forEach([...this.running], Fiber.await, { concurrency: "unbounded", discard: true })
    })
    // a second time for those whose exchange had begun
    const flushed = Effect.timeoutOption(Effect.andThen(flush, flush), this.settings.commandTimeout)
    const end = Effect.suspend(() => {
      this.closed = true
      return Fiber.interruptAll(this.running)
    })
    return Effect.andThen(flushed, end)
  })

  private exchange(copy: Copy): void {
    const key = this.settings.keyOf(copy.name)
    const exchange = new Exchange(this.commands, key, copy, (now) => {
      this.ahead = now - this.clock.currentTimeMillisUnsafe()
    })
    this.exchanges.set(copy, exchange)
    const { epoch } = this.outage
    const fiber = Effect.runForkWith(this.context)(exchange.run)
    this.running.add(fiber)
    fiber.addObserver((exit) => {
      this.running.delete(fiber)
      this.exchanges.delete(copy)
      this.ended(copy, exchange, exit, epoch)
      if (this.again.delete(copy)) this.send(copy)
    })
  }

  private ended(copy: Copy, exchange: Exchange, exit: Exit.Exit<void, StoreUnavailable>, epoch: number): void {
    copy.checkedAt = this.clock.currentTimeMillisUnsafe()
    if (Exit.isSuccess(exit)) {
      this.outage.succeeded(epoch)
      return this.learned(copy, exchange)
    }
    const failure = exit.cause.reasons.find((reason) => reason._tag === "Fail")
    if (failure !== undefined) this.outage.failed(epoch, copy.checkedAt, failure.error)
    this.lost(copy, exchange)
  }

  /** The copy becomes what Redis has, and what it does not have yet is done to it again. */
  private learned(copy: Copy, { answers, batch, circuit, written }: Exchange): void {
    if (batch === undefined || circuit === undefined) return
    if (!written) copy.putBack(batch.events)
    const now = this.now()
    for (const event of copy.unsent) event.apply(circuit, now)
    if (copy.unsent.length === 0) this.unsent.delete(copy)
    if (!this.isHeld(copy, circuit, now)) {
      copy.cutOff = false
      copy.own = undefined
      this.become(copy, circuit)
    }
    tell(batch.asks, answers, batch.waiting)
  }

  /** It was opened here while nobody could be asked: that ends by itself, whatever the others think of it. */
  private isHeld({ circuit, cutOff, own }: Copy, shared: machine.Circuit, now: number): boolean {
    return cutOff && circuit.generation === own && now < circuit.until && shared.state === "closed"
  }

  /** Without an answer: as if what was written had been written, and done again when Redis did not get it. */
  private lost(copy: Copy, { answers, batch, circuit, doubt }: Exchange): void {
    copy.cutOff = true
    if (batch === undefined || circuit === undefined || doubt === undefined) return this.goOn(copy)
    const now = this.now()
    for (const event of copy.unsent) event.apply(circuit, now)
    copy.putBack(batch.events, doubt)
    this.become(copy, circuit)
    this.outage.decided(batch.asks.length)
    tell(batch.asks, answers, batch.waiting)
    this.goOn(copy)
  }

  /** Answers those who wait from the copy alone. */
  private goOn(copy: Copy): void {
    copy.cutOff = true
    const { asks, waiting } = copy.leave()
    const now = this.now()
    const answers = asks.map((ask) => {
      const from = copy.circuit.state
      const answer = ask.admit(copy.circuit, now)
      const to = copy.circuit.state
      if (from !== to) this.watcher.changed(copy, { from, to })
      return answer
    })
    copy.pass = passOf(copy.circuit)
    this.outage.decided(asks.length)
    tell(asks, answers, waiting)
  }

  private become(copy: Copy, circuit: machine.Circuit): void {
    const before = copy.circuit
    copy.circuit = circuit
    if (before.generation !== circuit.generation) copy.pass = passOf(circuit)
    if (before.state !== circuit.state) this.watcher.changed(copy, { from: before.state, to: circuit.state })
    else if (before.generation !== circuit.generation || before.leases.length > circuit.leases.length)
      this.watcher.freed(copy)
  }
}

const tell = (
  asks: ReadonlyArray<Ask>,
  answers: ReadonlyArray<machine.Ticket | machine.Refusal>,
  waiting: ReadonlyArray<() => void>
): void => {
  asks.forEach((ask, i) => {
    const answer = answers[i]
    if (answer !== undefined) ask.answer(answer)
  })
  for (const callback of waiting) callback()
}
