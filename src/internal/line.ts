/**
 * Those who wait for one limit, in the order in which they will be asked for: by priority, then tenant by tenant in turn,
 * then by arrival. Only the first one acts; nobody polls.
 *
 * The first one sleeps until the instant at which it is worth asking again, or until somebody gives back. All the others
 * sleep until they are first, and everybody until their patience ends. Whoever leaves changes nothing for the others.
 */
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import { Alarm, type Wheel, wheelOf } from "./timer.ts"

export const priorities = ["high", "normal", "low"] as const

export type Priority = (typeof priorities)[number]

/** One that waits, in one line after the other. */
export class Place {
  /** Whom it takes turns with. */
  readonly tenant: string | undefined
  readonly rank: number
  /** Milliseconds: its place among those of its tenant. */
  readonly arrivedAt: number
  /** Milliseconds: it waits no longer. */
  readonly until: number
  /** When it is worth to act once it is first; `-Infinity` is at once, `Infinity` when somebody gives back. */
  readyAt = -Infinity
  /** Resumes its fiber: `true` to act, `false` when its patience ended. Not set while it acts. */
  resume: ((act: boolean) => void) | undefined
  readonly alarm: Alarm
  private readonly fiber: Fiber.Fiber<unknown, unknown>
  private readonly wheel: Wheel

  constructor(
    fiber: Fiber.Fiber<unknown, unknown>,
    who: { readonly tenant?: string | undefined; readonly priority?: Priority | undefined },
    arrivedAt: number,
    until: number
  ) {
    this.fiber = fiber
    this.wheel = wheelOf(fiber)
    this.tenant = who.tenant
    this.rank = priorities.indexOf(who.priority ?? "normal")
    this.arrivedAt = arrivedAt
    this.until = until
    this.alarm = new Alarm(() => this.rang())
  }

  /** Wakes it then, or when its patience ends. */
  wakeAt(at: number): void {
    this.wheel.set(this.alarm, Math.min(at, this.until), this.fiber)
  }

  /** Lets it act, or tells it that it waited for too long. */
  wake(act: boolean): void {
    const { resume } = this
    if (resume === undefined) return
    this.resume = undefined
    this.wheel.clear(this.alarm)
    resume(act)
  }

  /** It is interrupted. */
  stop(): void {
    this.resume = undefined
    this.wheel.clear(this.alarm)
  }

  /** What its place in the line makes of the alarm. */
  private rang(): void {
    this.wake(this.alarm.at < this.until || (this.readyAt === this.until && this.first))
  }

  /** Whether it is the first of the line it waits in. */
  first = false
}

/** By tenant, those whose turn comes first at the beginning. */
type Turns = Map<string | undefined, Array<Place>>

export class Line {
  private readonly turns: ReadonlyArray<Turns> = priorities.map(() => new Map())
  private first: Place | undefined
  private members = 0
  /** How often somebody gave back: an answer from before is not worth sleeping on. */
  returns = 0

  get size(): number {
    return this.members
  }

  sizeOf(tenant: string): number {
    return this.turns.reduce((sum, turns) => sum + (turns.get(tenant)?.length ?? 0), 0)
  }

  /** Whether somebody is in front of one with this rank. */
  isBefore(rank: number): boolean {
    return this.first !== undefined && this.first.rank <= rank
  }

  /** When the first one will act. */
  get opensAt(): number {
    return this.first?.readyAt ?? -Infinity
  }

  has(place: Place): boolean {
    return this.turns[place.rank]?.get(place.tenant)?.includes(place) === true
  }

  join(place: Place): void {
    const turns = this.turns[place.rank]
    const own = turns?.get(place.tenant)
    if (own === undefined) turns?.set(place.tenant, [place])
    else {
      const at = own.findLastIndex(({ arrivedAt }) => arrivedAt <= place.arrivedAt)
      own.splice(at + 1, 0, place)
    }
    this.members++
    this.choose()
  }

  /** Leaves the line, having got what it waited for or not; then it is the next one's turn. */
  leave(place: Place, served: boolean): void {
    const turns = this.turns[place.rank]
    const own = turns?.get(place.tenant)
    const at = own?.indexOf(place) ?? -1
    if (turns === undefined || own === undefined || at < 0) return
    own.splice(at, 1)
    this.members--
    if (own.length === 0) turns.delete(place.tenant)
    else if (served) {
      turns.delete(place.tenant)
      turns.set(place.tenant, own)
    }
    place.first = false
    this.choose()
  }

  /** Sleeps until the place is first and it is worth to act; `false` when its patience ended before. */
  sleep(place: Place, readyAt: number): Effect.Effect<boolean> {
    return Effect.callback<boolean>((resume) => {
      place.readyAt = readyAt
      place.resume = (act) => resume(Effect.succeed(act))
      this.arm(place)
      return Effect.sync(() => place.stop())
    })
  }

  /** Something was given back: whoever is first asks again. */
  poke(): void {
    this.returns++
    if (this.first === undefined) return
    this.first.readyAt = -Infinity
    this.first.wake(true)
  }

  private choose(): void {
    const before = this.first
    this.first = this.best()
    if (this.first === before) return
    if (before !== undefined) {
      before.first = false
      if (before.resume !== undefined) this.arm(before)
    }
    if (this.first === undefined) return
    this.first.first = true
    if (this.first.resume !== undefined) this.arm(this.first)
  }

  private best(): Place | undefined {
    for (const turns of this.turns) for (const own of turns.values()) return own[0]
    return undefined
  }

  private arm(place: Place): void {
    if (!place.first) place.wakeAt(Infinity)
    else if (place.readyAt === -Infinity) place.wake(true)
    else place.wakeAt(place.readyAt)
  }
}
