/** A durable ledger that only tests outlives: lines in a map, and a switch that takes it down. */
import { Effect } from "effect"
import type { Durable, Line, Posting } from "effect-ballast/Ledger"
import { StoreUnavailable } from "../../src/internal/reasons.ts"
import { rowOf, sumBy } from "../../src/internal/ledgerSums.ts"

export class DurableLedger implements Durable {
  readonly all = new Map<string, Line>()
  /** What every answer waits for. */
  before: Effect.Effect<void, StoreUnavailable> = Effect.void
  appends = 0
  /** Of one append. */
  most = 0

  static readonly down = Effect.fail(new StoreUnavailable({ store: "test", operation: "append", description: "down" }))

  readonly append: Durable["append"] = (lines) =>
    this.answer(() => {
      this.appends++
      this.most = Math.max(this.most, lines.length)
      for (const line of lines) if (!this.all.has(line.id)) this.all.set(line.id, line)
    })

  readonly totals: Durable["totals"] = (now) =>
    this.answer(() => {
      const totals = new Map<string, Posting>()
      for (const { postings } of this.all.values())
        for (const posting of postings) {
          const name = `${posting.slot}@${posting.account}`
          const amount = (totals.get(name)?.amount ?? 0) + posting.amount
          if (posting.endsAt > now) totals.set(name, { ...posting, amount })
        }
      return [...totals.values()]
    })

  readonly report: Durable["report"] = (query) => this.answer(() => sumBy([...this.all.values()].map(rowOf), query))

  readonly lines: Durable["lines"] = (limit = 100) =>
    this.answer(() => [...this.all.values()].slice(-limit).toReversed())

  readonly forget: Durable["forget"] = (tenant) =>
    this.answer(() => {
      for (const [id, line] of this.all) if (line.tenant === tenant) this.all.set(id, withoutIdentity(line))
    })

  readonly check: Durable["check"] = Effect.succeed([])

  private answer<A>(act: () => A): Effect.Effect<A, StoreUnavailable> {
    return Effect.andThen(
      Effect.suspend(() => this.before),
      Effect.sync(act)
    )
  }
}

const withoutIdentity = (line: Line): Line => {
  const { amount, at, call, day, id, model, outcome, postings, prices, provider, tokens } = line
  return { amount, at, call, day, id, model, outcome, postings, prices, provider, tokens }
}
