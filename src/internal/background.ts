/** A loop in a fiber of its own that runs only while there is something to do, and ends with its owner. */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"

export class Background {
  private readonly context: Context.Context<never>
  private readonly idle: () => boolean
  private readonly step: Effect.Effect<void>
  private fiber: Fiber.Fiber<void> | undefined
  private closed = false

  /** Runs `step` again and again until there is nothing left to do; a step begins with its pause. */
  constructor(context: Context.Context<never>, idle: () => boolean, step: Effect.Effect<void>) {
    this.context = context
    this.idle = idle
    this.step = step
  }

  get running(): boolean {
    return this.fiber !== undefined
  }

  /** There is something to do. */
  start(): void {
    if (this.fiber !== undefined || this.closed) return
    const fiber = Effect.runForkWith(this.context)(
      Effect.whileLoop({ while: () => !this.idle(), body: () => this.step, step: () => {} })
    )
    this.fiber = fiber
    fiber.addObserver(() => {
      if (this.fiber !== fiber) return
      this.fiber = undefined
      if (!this.idle()) this.start() // something came up while it ended
    })
  }

  /** Begins the pause anew. */
  restart(): void {
    const { fiber } = this
    this.fiber = undefined
    fiber?.interruptUnsafe()
    this.start()
  }

  readonly close: Effect.Effect<void> = Effect.suspend(() => {
    this.closed = true
    return this.fiber === undefined ? Effect.void : Fiber.interrupt(this.fiber)
  })
}
