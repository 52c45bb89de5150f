/**
 * How one call waits: in the line of each limit that is in its way, one after the other, each behind those who were there
 * before. What it waits for it does not hold.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Random from "effect/Random"
import type * as Caller from "../Caller.ts"
import { bare } from "./bare.ts"
import { Line, Place, priorities } from "./line.ts"
import { RateLimitExceeded } from "./reasons.ts"

export interface Settings {
  /** How many may wait in one line, and how many of them for one tenant. */
  readonly maxQueue: number
  readonly maxQueuePerTenant: number
  /** Milliseconds. */
  readonly maxWait: number
  /** Whether others take from the same store, whose returns are not heard of. */
  readonly shared: boolean
  /** Is told how many more wait, or fewer. */
  readonly watch: (change: number) => void
}

/** The lines of one limiter; those in which nobody waits are not kept. */
export class Lines {
  readonly settings: Settings
  private readonly lines = new Map<string, Line>()
  /** All who wait. */
  private waiting = 0

  constructor(settings: Settings) {
    this.settings = settings
  }

  get size(): number {
    return this.waiting
  }

  find(name: string): Line | undefined {
    return this.waiting === 0 ? undefined : this.lines.get(name)
  }

  /** False where the line is full. */
  join(name: string, place: Place): boolean {
    const { maxQueue, maxQueuePerTenant } = this.settings
    const line = this.lines.get(name) ?? new Line()
    if (line.size >= maxQueue) return false
    if (place.tenant !== undefined && line.sizeOf(place.tenant) >= maxQueuePerTenant) return false
    this.lines.set(name, line)
    line.join(place)
    this.waiting++
    this.settings.watch(1)
    return true
  }

  leave(name: string, place: Place, served: boolean): void {
    const line = this.lines.get(name)
    if (line === undefined) return
    line.leave(place, served)
    this.waiting--
    this.settings.watch(-1)
    if (line.size === 0) this.lines.delete(name)
  }

  /** Something was given back of what these wait for. */
  poke(names: ReadonlyArray<string>): void {
    for (const name of names) this.find(name)?.poke()
  }
}

export interface Bounds {
  readonly caller: Caller.Identity
  /** Milliseconds: it must be over by then. */
  readonly deadline: number
  readonly mayWait: boolean
  /** What the limits of a line are called in errors. */
  readonly limitOf: (line: number) => string
  /** When the call came first, where it was there before. */
  readonly cameAt?: number | undefined
}

export class Visit {
  private readonly lines: Lines
  /** The lines in the order in which they are waited in; the limits of a line hold for whoever passes it. */
  private readonly names: ReadonlyArray<string>
  private readonly bounds: Bounds
  private readonly rank: number
  /** Until when the last line is closed to everybody. */
  private readonly closedUntil: ((now: number) => number) | undefined
  private readonly places: Array<Place | undefined> = []
  private heard: ReadonlyArray<number | undefined> = []
  private beganAt: number | undefined
  private until = Infinity

  constructor(lines: Lines, names: ReadonlyArray<string>, bounds: Bounds, closedUntil?: (now: number) => number) {
    this.lines = lines
    this.names = names
    this.bounds = bounds
    this.rank = priorities.indexOf(bounds.caller.priority ?? "normal")
    this.closedUntil = closedUntil
  }

  /** A wait before the store is asked, where others are in front. */
  turn(now: number): Effect.Effect<void, RateLimitExceeded> | undefined {
    const closedUntil = this.closedUntil?.(now) ?? -Infinity
    if (closedUntil > now) return this.waitOrFail(this.names.length - 1, closedUntil, closedUntil - now, pause)
    return this.pass(0)
  }

  /** The limit of a line denied: waits there until it is worth asking again, or fails. */
  denied(at: number, retryAfter: Duration.Duration | undefined, limit: string): Effect.Effect<void, RateLimitExceeded> {
    return Effect.withFiber((fiber) => {
      // somebody gave back while the store was asked
      if (this.places[at] !== undefined && this.lineAt(at)?.returns !== this.heard[at]) return this.heeding()
      const now = clockOf(fiber)
      this.begin(now)
      const { shared } = this.lines.settings
      const random = shared ? fiber.getRef(Random.Random).nextDoubleUnsafe() : 0
      if (retryAfter === undefined) {
        return this.waitOrFail(at, shared ? now + blindly * (1 + random) : Infinity, undefined, limit)
      }
      const wait = Duration.toMillis(retryAfter)
      // upward: those who were told the same by a shared store must not come back together
      const jitter = Math.min((wait / 10 + spread) * random, Math.max(0, this.until - now - wait))
      return this.waitOrFail(at, now + wait + jitter, wait, limit)
    })
  }

  /** It got what it waited for, or gives up: the next one's turn. Again does nothing. Answers how long it waited. */
  leave(served: boolean, now?: number): number | undefined {
    if (this.beganAt === undefined) return undefined
    this.leaveFrom(0, served)
    const waited = (now ?? this.beganAt) - this.beganAt
    this.beganAt = undefined
    return waited
  }

  private leaveFrom(from: number, served: boolean): void {
    for (let i = this.places.length - 1; i >= from; i--) {
      const place = this.places[i]
      if (place !== undefined) this.lines.leave(this.nameAt(i), place, served)
      this.places[i] = undefined
    }
  }

  private pass(from: number): Effect.Effect<void, RateLimitExceeded> | undefined {
    for (let i = from; i < this.names.length; i++) {
      if (this.places[i] === undefined && this.lineAt(i)?.isBefore(this.rank) === true)
        return this.waitOrFail(i, -Infinity, undefined, this.bounds.limitOf(i))
    }
    return undefined
  }

  private waitOrFail(at: number, readyAt: number, retryAfter: number | undefined, limit: string) {
    return this.bounds.mayWait ? this.wait(at, readyAt, limit) : refused(limit, "limited", retryAfter)
  }

  private wait(at: number, readyAt: number, limit: string): Effect.Effect<void, RateLimitExceeded> {
    return Effect.withFiber((fiber) => {
      const now = clockOf(fiber)
      this.begin(now)
      // in the order of the lines, so that no two can wait for each other
      this.leaveFrom(at + 1, false)
      const place = this.places[at] ?? this.join(at, fiber, now)
      const line = this.lineAt(at)
      if (place === undefined || line === undefined) return refused(limit, "queue-full", undefined)
      const earliest = place.first ? readyAt : line.opensAt
      if (earliest > this.until && earliest < Infinity) return refused(limit, "wait-too-long", earliest - now)
      return Effect.flatMap(line.sleep(place, readyAt), (act) => (act ? this.act(at) : tooLong(limit)))
    })
  }

  /** First in a line: goes on to the next one in its way. */
  private act(at: number): Effect.Effect<void, RateLimitExceeded> {
    return Effect.withFiber((fiber) => {
      const now = clockOf(fiber)
      const closedUntil = this.closedUntil?.(now) ?? -Infinity
      if (closedUntil > now) return this.wait(this.names.length - 1, closedUntil, pause)
      return this.pass(at + 1) ?? this.heeding()
    })
  }

  private begin(now: number): void {
    if (this.beganAt !== undefined) return
    this.beganAt = now
    this.until = Math.min(now + this.lines.settings.maxWait, this.bounds.deadline - 1)
  }

  private join(at: number, fiber: Fiber.Fiber<unknown, unknown>, now: number): Place | undefined {
    const { caller, cameAt } = this.bounds
    const place = new Place(fiber, caller, cameAt ?? now, this.until)
    if (!this.lines.join(this.nameAt(at), place)) return undefined
    this.places[at] = place
    return place
  }

  private nameAt(at: number): string {
    return this.names[at] ?? ""
  }

  private lineAt(at: number): Line | undefined {
    return this.lines.find(this.nameAt(at))
  }

  /** The store is asked next; what is given back from now on is worth asking again. */
  private heeding(): Effect.Effect<void> {
    this.heard = this.places.map((place, at) => (place === undefined ? undefined : this.lineAt(at)?.returns))
    return Effect.void
  }
}

/** Milliseconds between two questions, at least, where only a return elsewhere makes room and nobody tells of it. */
const blindly = 500
/** Milliseconds over which those are spread who are told to come at once. */
const spread = 50

const clockOf = (fiber: Fiber.Fiber<unknown, unknown>) => fiber.getRef(Clock.Clock).currentTimeMillisUnsafe()

/** What closes a line to everybody, as errors name it. */
export const pause = "pause"

const tooLong = (limit: string) => refused(limit, "wait-too-long", undefined)

/** Facts of the options alone: nothing to validate. */
export const refused = (
  limit: string,
  why: RateLimitExceeded["why"],
  retryAfter: number | undefined
): Effect.Effect<never, RateLimitExceeded> =>
  Effect.fail(
    bare(RateLimitExceeded, {
      _tag: "RateLimitExceeded",
      limit,
      why,
      retryAfter: retryAfter === undefined ? undefined : Duration.millis(Math.max(0, retryAfter))
    })
  )
