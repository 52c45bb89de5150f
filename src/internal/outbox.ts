/**
 * What must still be told to a store that does not answer: kept for a while, tried again with growing pauses, and once more
 * when its owner closes.
 */
import * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import { Background } from "./background.ts"

export interface Message {
  /** Milliseconds of this process's clock, after which it is of no use. */
  readonly until: number
}

const maxMessages = 10_000
const firstPause = 100
const maxPause = 5000
const atOnce = 16

export class Outbox<M extends Message> {
  /** Oldest first, but what failed goes to the end: a message that can never be sent keeps nobody waiting. */
  private readonly messages = new Set<M>()
  private readonly send: (message: M) => Effect.Effect<unknown, unknown>
  private readonly background: Background
  private pause = firstPause
  private givenUp = 0

  constructor(context: Context.Context<never>, send: (message: M) => Effect.Effect<unknown, unknown>) {
    this.send = send
    const step = Effect.suspend(() => Effect.andThen(this.waiting(), this.round))
    this.background = new Background(context, () => this.size === 0, step)
  }

  get size(): number {
    return this.messages.size
  }

  add(message: M): void {
    const [oldest] = this.messages
    if (this.size >= maxMessages && oldest !== undefined) this.giveUp(oldest)
    this.messages.add(message)
    this.background.start()
  }

  /** Tries everything once more, until the first failure. */
  readonly close: Effect.Effect<void> = Effect.suspend(() => Effect.andThen(this.background.close, this.round))

  private waiting(): Effect.Effect<void> {
    return Effect.flatMap(Random.next, (random) => Effect.sleep(Duration.millis(this.pause * (0.5 + random / 2))))
  }

  /** Ends at the first failure: where one was not answered, the next would hang as well. */
  private readonly round: Effect.Effect<void> = Effect.suspend(() => {
    const all = Effect.forEach([...this.messages], (message) => this.sendOne(message), { concurrency: atOnce })
    const pause = Effect.match(all, {
      onSuccess: () => firstPause,
      onFailure: () => Math.min(maxPause, this.pause * 2)
    })
    return Effect.flatMap(pause, (pause) => {
      this.pause = pause
      return this.report()
    })
  })

  private sendOne(message: M): Effect.Effect<void, unknown> {
    return Effect.flatMap(Clock.currentTimeMillis, (now) => {
      if (now >= message.until) return Effect.sync(() => this.giveUp(message))
      const sent = Effect.tap(this.send(message), () => Effect.sync(() => this.messages.delete(message)))
      return Effect.tapError(Effect.asVoid(sent), () =>
        Effect.sync(() => {
          if (this.messages.delete(message)) this.messages.add(message)
        })
      )
    })
  }

  private giveUp(message: M): void {
    if (this.messages.delete(message)) this.givenUp++
  }

  private report(): Effect.Effect<void> {
    const { givenUp } = this
    this.givenUp = 0
    return givenUp === 0
      ? Effect.void
      : Effect.logWarning(`${givenUp} settled reservations could not be told to the store and were given up`)
  }
}
