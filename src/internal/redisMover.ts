/** Moves the lines that Redis keeps to a durable ledger: a second after they were written, before it is read, and at the end. */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type { Durable } from "../Ledger.ts"
import { Background } from "./background.ts"
import { StoreUnavailable } from "./reasons.ts"
import { atOnce, type Lines } from "./redisLines.ts"

const pause = "1 second"

/** How long the durable ledger may take for one answer. */
const patience = "10 seconds"

export class Mover {
  private readonly lines: Lines
  private readonly ledger: Durable
  private readonly background: Background
  private pending = false
  private failing = false

  constructor(lines: Lines, ledger: Durable, context: Context.Context<never>) {
    this.lines = lines
    this.ledger = ledger
    const step = Effect.suspend(() => Effect.andThen(Effect.sleep(pause), this.round))
    this.background = new Background(context, () => !this.pending, step)
  }

  /** There may be lines. */
  start(): void {
    this.pending = true
    this.background.start()
  }

  /** Those that are there now. A line leaves Redis when the ledger has it; one that several processes move is there once. */
  readonly move: Effect.Effect<void, StoreUnavailable> = Effect.gen({ self: this }, function* () {
    let until = -1
    for (;;) {
      const page = yield* this.lines.page("move", 0)
      if (page.last < page.first) return
      if (until === -1) until = page.last
      if (page.lines.length > 0) yield* answered(this.ledger.append(page.lines))
      yield* this.lines.moved("move", page)
      if (page.first + atOnce > until) return
    }
  })

  /** The last time, as far as it goes. */
  readonly close: Effect.Effect<void> = Effect.suspend(() =>
    Effect.andThen(
      this.background.close,
      Effect.suspend(() => (this.pending ? this.round : Effect.void))
    )
  )

  /** Warns when the ledger stops answering, and says when it answers again. */
  private readonly round: Effect.Effect<void> = Effect.suspend(() => {
    this.pending = false
    const moving = Effect.onInterrupt(this.move, () => Effect.sync(() => (this.pending = true)))
    return Effect.matchEffect(moving, {
      onSuccess: () => {
        if (!this.failing) return Effect.void
        this.failing = false
        return Effect.logInfo("Charges are moved to the durable ledger again")
      },
      onFailure: ({ message }) => {
        this.pending = true
        if (this.failing) return Effect.void
        this.failing = true
        return Effect.logWarning(`Charges could not be moved to the durable ledger and wait in Redis: ${message}`)
      }
    })
  })
}

/** What a durable ledger answers within a while. */
export const answered = <A>(asked: Effect.Effect<A, StoreUnavailable>): Effect.Effect<A, StoreUnavailable> =>
  Effect.timeoutOrElse(asked, {
    duration: patience,
    orElse: () =>
      Effect.fail(
        new StoreUnavailable({ store: "ledger", operation: "move", description: `no answer within ${patience}` })
      )
  })
