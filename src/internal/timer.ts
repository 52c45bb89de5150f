/**
 * Ends an effect at an instant of its clock: the one timer behind every timeout.
 *
 * One sleeping fiber per `Clock` serves all calls, from a heap of what is due. It ends when nothing is left to wait for,
 * so that a script can exit.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Scheduler from "effect/Scheduler"

/**
 * Runs `self`, and interrupts it and fails with `late` if it has not ended by then. A failure of its own that comes first
 * passes as it is; defects of finalizers stay beside `late`.
 *
 * A fiber cannot take back its own interruption, so the work runs in a child with the same context, which is
 * interruptible whatever the parent is. Interrupting the parent interrupts the child and waits for it.
 */
export const endAt = <A, E, E2>(
  parent: Fiber.Fiber<unknown, unknown>,
  at: number,
  self: Effect.Effect<A, E>,
  late: () => E2
): Effect.Effect<A, E | E2> => {
  if (at === Infinity) return self
  // The child starts inside the callback: a yield between its start and the finalizer of the callback would leak it.
  return Effect.callback<A, E | E2>((resume) => {
    const child = Effect.runForkWith(parent.context)(self)
    const exit = child.pollUnsafe()
    if (exit !== undefined) return resume(exit)
    const wheel = wheelOf(parent)
    const alarm = new Alarm(() => child.interruptUnsafe())
    wheel.set(alarm, at, parent)
    child.addObserver((exit) => {
      const rang = !wheel.clear(alarm)
      resume(rang && Exit.isFailure(exit) && Cause.hasInterrupts(exit.cause) ? tooLate(exit.cause, late()) : exit)
    })
    return Effect.suspend(() => {
      child.interruptUnsafe(parent.id)
      return Effect.flatMap(Fiber.await(child), onlyDefects)
    })
  })
}

const tooLate = <E>(cause: Cause.Cause<unknown>, error: E): Exit.Exit<never, E> =>
  Exit.failCause(Cause.fromReasons<E>([Cause.makeFailReason(error), ...cause.reasons.filter(Cause.isDieReason)]))

const onlyDefects = (exit: Exit.Exit<unknown, unknown>): Exit.Exit<void> => {
  const defects = Exit.isFailure(exit) ? exit.cause.reasons.filter(Cause.isDieReason) : []
  return defects.length === 0 ? Exit.void : Exit.failCause(Cause.fromReasons(defects))
}

/** Something to do at an instant, set and cleared on a wheel. */
export class Alarm {
  readonly ring: () => void
  at = Infinity
  /** Its place in the heap, -1 while it is not set. */
  index = -1

  constructor(ring: () => void) {
    this.ring = ring
  }
}

/** The alarms of one clock. */
export class Wheel {
  private readonly clock: Clock.Clock
  private readonly heap: Array<Alarm> = []
  private sleeper: Fiber.Fiber<void> | undefined
  /** When the sleeper wakes; nothing is earlier than that while alarms ring. */
  private wakesAt = Infinity
  private leaving = false

  constructor(clock: Clock.Clock) {
    this.clock = clock
  }

  get size(): number {
    return this.heap.length
  }

  /** Sets an alarm, or moves it; the fiber only lends its scheduler. */
  set(alarm: Alarm, at: number, fiber: Fiber.Fiber<unknown, unknown>): void {
    if (alarm.index >= 0) this.take(alarm.index)
    alarm.at = at
    this.rise(alarm, this.heap.push(alarm) - 1)
    if (at < this.wakesAt) this.sleep(at, fiber.cache.scheduler)
  }

  /** False if it is not set: it has rung, or was never set. */
  clear(alarm: Alarm): boolean {
    const { index } = alarm
    if (index < 0) return false
    this.take(index)
    if (this.heap.length === 0) this.leave()
    return true
  }

  private sleep(at: number, scheduler: Scheduler.Scheduler): void {
    const before = this.sleeper
    this.wakesAt = at
    // Only what sleeping needs: the sleeper outlives the call whose fiber starts it, and must not keep its context.
    const context = Context.add(Context.make(Clock.Clock, this.clock), Scheduler.Scheduler, scheduler)
    const sleeper = Effect.runForkWith(context)(
      this.clock.sleep(Duration.millis(Math.max(0, at - this.clock.currentTimeMillisUnsafe())))
    )
    this.sleeper = sleeper
    before?.interruptUnsafe()
    sleeper.addObserver(() => {
      if (this.sleeper === sleeper) this.wake(at, scheduler)
    })
  }

  /** Rings what is due: also what was slept for, if the wall clock has been set back meanwhile. */
  private wake(sleptUntil: number, scheduler: Scheduler.Scheduler): void {
    const now = this.clock.currentTimeMillisUnsafe()
    this.sleeper = undefined
    this.wakesAt = -Infinity
    for (let next = this.heap[0]; next !== undefined; next = this.heap[0]) {
      if (next.at > now && next.at !== sleptUntil) break
      this.take(0)
      next.ring()
    }
    this.wakesAt = Infinity
    const next = this.heap[0]
    if (next !== undefined) this.sleep(next.at, scheduler)
  }

  /** Lets the sleeper go if there is still nothing to wait for a macrotask later; the next call often comes before. */
  private leave(): void {
    const { sleeper } = this
    if (this.leaving || sleeper === undefined) return
    this.leaving = true
    const check = () => {
      this.leaving = false
      if (this.heap.length > 0 || this.sleeper === undefined) return
      const { sleeper } = this
      this.sleeper = undefined
      this.wakesAt = Infinity
      sleeper.interruptUnsafe()
    }
    sleeper.cache.scheduler.makeDispatcher().scheduleTask(check, 0)
  }

  private take(index: number): void {
    const alarm = this.heap[index]
    const last = this.heap.pop()
    if (alarm === undefined || last === undefined) return
    alarm.index = -1
    if (last === alarm) return
    this.rise(last, index)
    this.sink(last)
  }

  /** Puts an alarm at a place that is free, or above it. */
  private rise(alarm: Alarm, from: number): void {
    let index = from
    while (index > 0) {
      const above = this.heap[(index - 1) >>> 1]
      if (above === undefined || above.at <= alarm.at) break
      this.put(above, index)
      index = (index - 1) >>> 1
    }
    this.put(alarm, index)
  }

  private sink(alarm: Alarm): void {
    let { index } = alarm
    for (;;) {
      const left = this.heap[2 * index + 1]
      const right = this.heap[2 * index + 2]
      const below = left !== undefined && right !== undefined && right.at < left.at ? right : left
      if (below === undefined || below.at >= alarm.at) break
      const { index: free } = below
      this.put(below, index)
      index = free
    }
    this.put(alarm, index)
  }

  private put(alarm: Alarm, index: number): void {
    this.heap[index] = alarm
    alarm.index = index
  }
}

const wheels = new WeakMap<Clock.Clock, Wheel>()

/** The wheel of the clock of a fiber. */
export const wheelOf = (fiber: Fiber.Fiber<unknown, unknown>): Wheel => {
  const clock = fiber.getRef(Clock.Clock)
  const known = wheels.get(clock)
  if (known !== undefined) return known
  const wheel = new Wheel(clock)
  wheels.set(clock, wheel)
  return wheel
}
