/** Tidies a store in passing: after so many operations or so much time, a bounded number of rows, behind everybody's back. */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { Background } from "./background.ts"
import type { StoreUnavailable } from "./reasons.ts"

/** Operations and milliseconds between two sweeps, the rows of each kind in one step, and the steps of one sweep. */
const everyUses = 1000
const everyMillis = Duration.toMillis("5 minutes")
const rows = 500
const maxSteps = 20

export class Sweeper {
  private readonly background: Background
  private readonly clock: Clock.Clock
  private uses = 0
  private sweptAt: number
  private due = false

  /** `sweep` deletes at most so many rows of each kind, and answers the most that it found of one. */
  constructor(context: Context.Context<never>, sweep: (limit: number) => Effect.Effect<number, StoreUnavailable>) {
    this.clock = Context.get(context, Clock.Clock)
    this.sweptAt = this.clock.currentTimeMillisUnsafe()
    const steps = Effect.repeat(
      Effect.suspend(() => sweep(rows)),
      { until: (found) => found < rows, times: maxSteps - 1 }
    )
    const done = Effect.sync(() => {
      this.due = false
      this.uses = 0
      this.sweptAt = this.clock.currentTimeMillisUnsafe()
    })
    this.background = new Background(context, () => !this.due, Effect.andThen(Effect.ignore(steps), done))
  }

  /** Somebody used the store. */
  used(): void {
    if (this.due) return
    if (++this.uses < everyUses && this.clock.currentTimeMillisUnsafe() - this.sweptAt < everyMillis) return
    this.due = true
    this.background.start()
  }

  readonly close: Effect.Effect<void> = Effect.suspend(() => this.background.close)
}
