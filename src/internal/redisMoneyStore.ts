/** Reservations of money in Redis: as any others, with a line of the ledger for each and an epoch that must be known. */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type { Charge, Durable } from "../Ledger.ts"
import type { Denied, Granted, LedgerStore, Post } from "../QuotaStore.ts"
import { checkLeft } from "./quotas.ts"
import { StoreUnavailable } from "./reasons.ts"
import type { Commands } from "./redisCommands.ts"
import { Epoch } from "./redisEpoch.ts"
import { RedisLedger } from "./redisLedger.ts"
import { type Ask, Lines } from "./redisLines.ts"
import { aboutOf, accountOf, chargeArgs, type MoneyLease, moneyScripts } from "./redisMoney.ts"
import { Mover } from "./redisMover.ts"
import { type Keys, pushEntries } from "./redisQuotas.ts"

export interface Settings {
  readonly commands: Commands
  readonly keys: Keys
  readonly commandTimeout: number
  readonly offset: () => number
  readonly ledger?: Durable | undefined
  /** Lines that Redis keeps; with a durable ledger money is refused while as many wait to be moved. Default 100,000. */
  readonly maxLines?: number | undefined
}

/** How long a post is remembered, and a settle of money told again. */
export const postRemembered = 86_400_000

export class MoneyStore {
  readonly ledger: LedgerStore
  private readonly settings: Settings
  private readonly ask: Ask
  private readonly epoch: Epoch
  private readonly mover: Mover | undefined
  /** The last arguments of every script of money. */
  private readonly mode: ReadonlyArray<string>

  constructor(settings: Settings, context: Context.Context<never>) {
    this.settings = settings
    const { commands, commandTimeout, keys, ledger, maxLines = 100_000, offset } = settings
    const ask: Ask = (operation, script, keys, args) =>
      commands.run(operation, script, [`${keys.length}`, ...keys, ...args])
    this.ask = ask
    this.mode = [`${maxLines}`, ledger === undefined ? "" : "1"]
    // settles are not refused, so there may be more that wait
    const lines = new Lines(ask, keys.money, ledger === undefined ? maxLines : 10 * maxLines)
    this.mover = ledger && new Mover(lines, ledger, context)
    const durable = ledger && this.mover && { ledger, mover: this.mover }
    this.epoch = new Epoch({ commands, ask, keys, patience: commandTimeout, offset, durable }, context)
    const post: LedgerStore["post"] = (post) => this.post(post)
    this.ledger = new RedisLedger({ commands, ask, keys, lines, offset, mode: this.mode, durable, post })
  }

  /** Learns the epoch. Where a durable ledger has to give back the counters, nobody waits for that. */
  readonly start: Effect.Effect<void, StoreUnavailable> = Effect.suspend(() => {
    if (this.mover === undefined) return Effect.asVoid(this.epoch.current)
    this.mover.start()
    return Effect.sync(() => void this.epoch.rebuild())
  })

  /** Its keys and arguments are those of `reserve`, but for how long the record outlives the lease. */
  reserve(
    keys: ReadonlyArray<string>,
    args: ReadonlyArray<string>,
    money: MoneyLease
  ): Effect.Effect<Granted | Denied, StoreUnavailable> {
    return this.inEpoch("reserve", (epoch) => {
      money.epoch = epoch
      const own = [...args, epoch, money.record, ...this.mode]
      return this.ask("reserve", moneyScripts.reserve, [...keys, this.settings.keys.money], own)
    })
  }

  /** Its keys and arguments are those of `settle`. What a durable ledger has yet to make possible fails, to be told again. */
  settle(
    keys: ReadonlyArray<string>,
    args: ReadonlyArray<string>,
    money: MoneyLease,
    charge: Charge | undefined
  ): Effect.Effect<void, StoreUnavailable> {
    const own = [...args, money.epoch, money.about, ...chargeArgs(charge), ...money.accounts, ...this.mode]
    return Effect.flatMap(
      this.ask("settle", moneyScripts.settle, [...keys, this.settings.keys.money], own),
      (isBooked) => {
        this.mover?.start()
        if (isBooked) return Effect.void
        this.epoch.rebuild()
        return Effect.fail(unavailable("settle", "the counters of money are being rebuilt from the ledger"))
      }
    )
  }

  /** The same as the script for leases without money, which is told what lives on in the same way. */
  renew(keys: ReadonlyArray<string>, args: ReadonlyArray<string>): Effect.Effect<number, StoreUnavailable> {
    this.mover?.start() // what expired has become lines
    return this.ask("renew", moneyScripts.renew, [...keys, this.settings.keys.money], [...args, ...this.mode])
  }

  /** Moves what is left, if it can. */
  readonly close: Effect.Effect<void> = Effect.suspend(() =>
    Effect.andThen(this.epoch.close, this.mover?.close ?? Effect.void)
  )

  private post({ amount, charge, entries, id, subject }: Post): Effect.Effect<void, StoreUnavailable> {
    return Effect.suspend(() => {
      for (const entry of entries) checkLeft(entry.amount)
      checkLeft(amount)
      const { keys, offset } = this.settings
      const before = [`${offset()}`]
      pushEntries(before, entries)
      const accounts = entries.map(accountOf)
      const names = [...entries.map((entry) => keys.entry(entry)), keys.lease(id), keys.money]
      return this.inEpoch("post", (epoch) => {
        const own = [`${postRemembered}`, epoch, aboutOf(id, subject), `${amount}`, ...chargeArgs(charge), ...accounts]
        return Effect.tap(this.ask("post", moneyScripts.post, names, [...before, ...own, ...this.mode]), () =>
          Effect.sync(() => this.mover?.start())
        )
      })
    })
  }

  /** Once more where the counters were lost and given back. */
  private inEpoch<A>(
    operation: string,
    run: (epoch: string) => Effect.Effect<A, StoreUnavailable>
  ): Effect.Effect<A, StoreUnavailable> {
    return Effect.flatMap(this.epoch.current, (epoch) =>
      Effect.catch(run(epoch), (error) => {
        if (error.description === "EPOCH") return Effect.flatMap(this.epoch.lost(operation, epoch), run)
        if (error.description !== "BACKLOG") return Effect.fail(error)
        this.mover?.start()
        return Effect.fail(unavailable(operation, "too many charges wait for the durable ledger"))
      })
    )
  }
}

const unavailable = (operation: string, description: string) =>
  new StoreUnavailable({ store: "redis", operation, description, answered: true })
