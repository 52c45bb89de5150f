/** Tidies a cache in passing: behind the first write, and then after so many bytes or minutes. */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { Background } from "./background.ts"

const everyMillis = Duration.toMillis("5 minutes")
/** Parts of all bytes that are written between two sweeps at most. */
const parts = 16

export class CacheSweeper {
  private readonly background: Background
  private readonly clock: Clock.Clock
  private readonly everyBytes: number
  private bytes = 0
  private sweptAt = -Infinity
  private due = false

  constructor(context: Context.Context<never>, maxBytes: number, sweep: Effect.Effect<void>) {
    this.clock = Context.get(context, Clock.Clock)
    this.everyBytes = maxBytes / parts
    // what is written meanwhile counts for the next one
    const step = Effect.suspend(() => {
      this.bytes = 0
      this.sweptAt = this.clock.currentTimeMillisUnsafe()
      return Effect.andThen(
        sweep,
        Effect.sync(() => void (this.due = false))
      )
    })
    this.background = new Background(context, () => !this.due, step)
  }

  get running(): boolean {
    return this.background.running
  }

  wrote(bytes: number): void {
    this.bytes += bytes
    if (this.due) return
    if (this.bytes < this.everyBytes && this.clock.currentTimeMillisUnsafe() - this.sweptAt < everyMillis) return
    this.due = true
    this.background.start()
  }

  readonly close: Effect.Effect<void> = Effect.suspend(() => this.background.close)
}
