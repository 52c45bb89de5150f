/** The leases of one process that are not settled: as long as there are any, they are renewed by one command. */
import * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { Background } from "./background.ts"
import type { StoreUnavailable } from "./reasons.ts"
import type { Renewal } from "./sqlDialect.ts"

/** No ttl is longer. */
const longest = Duration.toMillis("365 days")

/** Shortest pause between two renewals, and most leases renewed by one command. */
const minPeriod = 10
const atOnce = 1000

const periodOf = (ttl: number): number => Math.max(minPeriod, ttl / 3)

/** A lease that was asked for and is not settled. */
export interface Held {
  readonly ttl: number
  /** By this process's clock. */
  until: number
  granted: boolean
}

type Renew = (leases: Renewal["leases"], millis: number) => Effect.Effect<unknown, StoreUnavailable>

export class Leases {
  private readonly held = new Map<string, Held>()
  private readonly renewSome: Renew
  private readonly renewals: Background
  private period = Infinity

  constructor(context: Context.Context<never>, renew: Renew) {
    this.renewSome = renew
    const step = Effect.suspend(() => Effect.andThen(Effect.sleep(this.period), this.renew))
    this.renewals = new Background(context, () => this.held.size === 0, step)
  }

  get size(): number {
    return this.held.size
  }

  /** From the question on, since it may be carried out though its answer is lost. */
  hold(lease: string, duration: Duration.Duration, now: number): Held {
    const ttl = Math.ceil(Math.min(longest, Math.max(1, Duration.toMillis(duration))))
    const held = { ttl, until: now + ttl, granted: false }
    if (this.held.has(lease)) return held
    this.held.set(lease, held)
    const period = periodOf(ttl)
    if (this.renewals.running && period >= this.period) return held
    this.period = period
    this.renewals.restart()
    return held
  }

  /** It was denied, unless it is the name of another one. */
  drop(lease: string, held: Held): void {
    if (this.held.get(lease) === held) this.held.delete(lease)
  }

  /** It is settled: until when it lives, if it is of this process. */
  release(lease: string): number | undefined {
    const held = this.held.get(lease)
    this.held.delete(lease)
    return held?.until
  }

  readonly close: Effect.Effect<void> = Effect.suspend(() => this.renewals.close)

  /** A lease that was never granted is forgotten at its end. */
  private readonly renew: Effect.Effect<void> = Effect.flatMap(Clock.currentTimeMillis, (now) => {
    const granted: Array<readonly [lease: string, held: Held]> = []
    let shortest = longest
    for (const [lease, held] of this.held) {
      shortest = Math.min(shortest, held.ttl)
      if (held.granted) granted.push([lease, held])
      else if (held.until <= now) this.held.delete(lease)
    }
    this.period = periodOf(shortest)
    const millis = Math.ceil(this.period * 3)
    const parts = Array.from({ length: Math.ceil(granted.length / atOnce) }, (_, i) => i * atOnce)
    const renewed = Effect.forEach(parts, (from) => {
      const some = granted.slice(from, from + atOnce)
      const leases = some.map(([id, { ttl }]) => ({ id, ttl }))
      return Effect.map(this.renewSome(leases, millis), () => {
        for (const [, held] of some) held.until = now + held.ttl
      })
    })
    return Effect.ignore(renewed) // the next one comes before the leases end
  })
}
