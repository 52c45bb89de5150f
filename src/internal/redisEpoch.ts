/**
 * Which counters of money Redis has: a random text beside them, which is lost when they are. Money is granted only where it
 * is the one that this process knows.
 *
 * Without a durable ledger the process that starts next makes a new one and begins with empty counters; those that knew the
 * old one grant no money until they are restarted. With one, the counters are first given what its lines sum up to, by any
 * process that finds them lost.
 */
import { randomUUID } from "node:crypto"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type { Durable, Posting } from "../Ledger.ts"
import { StoreUnavailable } from "./reasons.ts"
import type { Commands } from "./redisCommands.ts"
import { type Ask, atOnce } from "./redisLines.ts"
import { moneyScripts } from "./redisMoney.ts"
import { answered, type Mover } from "./redisMover.ts"
import type { Keys } from "./redisQuotas.ts"

export interface Settings {
  readonly commands: Commands
  readonly ask: Ask
  readonly keys: Keys
  /** Milliseconds that a call waits for the counters to be given back; that goes on when it does not any more. */
  readonly patience: number
  readonly offset: () => number
  /** Absent where the counters cannot be given back. */
  readonly durable: { readonly ledger: Durable; readonly mover: Mover } | undefined
}

type Answer = Effect.Effect<string, StoreUnavailable>

export class Epoch {
  private readonly settings: Settings
  private readonly context: Context.Context<never>
  private readonly key: string
  private known: string | undefined
  private rebuilding: Fiber.Fiber<string, StoreUnavailable> | undefined

  constructor(settings: Settings, context: Context.Context<never>) {
    this.settings = settings
    this.context = context
    this.key = `${settings.keys.money}epoch`
  }

  /** The one that this process knows, or what it begins with. */
  readonly current: Answer = Effect.suspend(() => {
    if (this.known !== undefined) return Effect.succeed(this.known)
    return this.settings.durable === undefined ? this.begin("start") : this.rebuilt
  })

  /** What to go on with, now that Redis has another one or none. */
  lost(operation: string, epoch: string): Answer {
    if (this.settings.durable === undefined) return Effect.fail(unavailable(operation, lost))
    if (this.known === epoch) this.known = undefined
    return this.current
  }

  /** As soon as possible, while nobody waits for it. */
  rebuild(): Fiber.Fiber<string, StoreUnavailable> {
    if (this.rebuilding !== undefined) return this.rebuilding
    const fiber = Effect.runForkWith(this.context)(this.giveBack)
    this.rebuilding = fiber
    fiber.addObserver(() => (this.rebuilding = undefined))
    return fiber
  }

  readonly close: Effect.Effect<void> = Effect.suspend(() =>
    this.rebuilding === undefined ? Effect.void : Fiber.interrupt(this.rebuilding)
  )

  /** As a fiber of its own: whoever waits may be one that cannot be interrupted. */
  private readonly rebuilt: Answer = Effect.withFiber((parent) =>
    Effect.callback<string, StoreUnavailable>((resume) => {
      const waiting = Effect.timeoutOrElse(Fiber.join(this.rebuild()), {
        duration: this.settings.patience,
        orElse: () => Effect.fail(unavailable("reserve", "the counters of money are being rebuilt from the ledger"))
      })
      const waiter = Effect.runForkWith(parent.context)(waiting)
      waiter.addObserver((exit) => resume(exit))
      return Fiber.interrupt(waiter)
    })
  )

  private begin(operation: string): Answer {
    const { commands } = this.settings
    const made = Effect.andThen(
      commands.send(operation, "SET", this.key, randomUUID(), "NX"),
      commands.send<string | null>(operation, "GET", this.key)
    )
    return Effect.flatMap(made, (epoch) => {
      if (epoch === null) return Effect.fail(unavailable(operation, lost)) // lost between the two
      this.known = epoch
      return Effect.succeed(epoch)
    })
  }

  /** Absolute amounts while there is no epoch: whoever else does it does the same. */
  private readonly giveBack: Answer = Effect.gen({ self: this }, function* () {
    const { ask, commands, durable, offset } = this.settings
    const there = yield* commands.send<string | null>("rebuild", "GET", this.key)
    if (there === null && durable !== undefined) {
      yield* durable.mover.move
      const now = yield* ask("rebuild", moneyScripts.time, [], [`${offset()}`])
      const totals = yield* answered(durable.ledger.totals(now))
      for (let i = 0; i < totals.length; i += atOnce) if (!(yield* this.restore(totals.slice(i, i + atOnce)))) break
      if (totals.length > 0) yield* Effect.logWarning(`${totals.length} counters of money were given back to Redis`)
    }
    return yield* this.begin("rebuild")
  })

  private restore(totals: ReadonlyArray<Posting>): Effect.Effect<boolean, StoreUnavailable> {
    const { ask, keys, offset } = this.settings
    const names = [keys.money]
    const args = [`${offset()}`]
    for (const { account, amount, endsAt, slot } of totals) {
      const { key, kind } = keys.account(account)
      names.push(key)
      args.push(kind, `${slot}`, `${endsAt}`, `${amount}`)
    }
    return ask("rebuild", moneyScripts.restore, names, args)
  }
}

const lost =
  "Redis has lost the counters of money: restart to begin with empty ones, or give the store a durable ledger"

const unavailable = (operation: string, description: string) =>
  new StoreUnavailable({ store: "redis", operation, description, answered: true })
