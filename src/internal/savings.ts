/** What answers from a cache would have cost: summed up here, and written into the ledger once a second. */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Caller from "../Caller.ts"
import { Background } from "./background.ts"
import type { Saving } from "./budgetBooks.ts"
import type { Purse } from "./purse.ts"

interface Sum {
  readonly caller: Caller.Identity
  readonly provider: string
  readonly model: string
  nanoUsd: number
}

const pause = "1 second"
/** Most callers that are told apart between two writes. */
const maxSums = 1000

type Write = (sum: Sum) => Effect.Effect<void, unknown>

export class Savings {
  private readonly purse: Purse
  private readonly write: Write
  private readonly background: Background
  private sums = new Map<string, Sum>()

  constructor(purse: Purse, write: Write, context: Context.Context<never>) {
    this.purse = purse
    this.write = write
    const step = Effect.suspend(() => Effect.andThen(Effect.sleep(pause), this.flush))
    this.background = new Background(context, () => this.sums.size === 0, step)
  }

  add({ model, provider, usage }: Saving, caller: Caller.Identity): void {
    const nanoUsd = this.purse.pricing.cost({ provider, model }, usage, this.purse.now())?.nanoUsd
    if (nanoUsd === undefined || nanoUsd === 0) return
    const { feature, tenant, user } = caller
    const who = this.sums.size < maxSums ? { tenant, user, feature } : {}
    const name = JSON.stringify([provider, model, who])
    const sum = this.sums.get(name)
    if (sum !== undefined) sum.nanoUsd += nanoUsd
    else this.sums.set(name, { caller: who, provider, model, nanoUsd })
    this.background.start()
  }

  /** Writes what is left. */
  readonly close: Effect.Effect<void> = Effect.suspend(() => Effect.andThen(this.background.close, this.flush))

  /** What a store does not take is no money, and not tried again. */
  private readonly flush: Effect.Effect<void> = Effect.suspend(() => {
    const sums = [...this.sums.values()]
    this.sums = new Map()
    return Effect.forEach(sums, (sum) => Effect.ignore(this.write(sum)), { concurrency: 16, discard: true })
  })
}
