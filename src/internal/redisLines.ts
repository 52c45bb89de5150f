/** The lines that Redis keeps, by their numbers; `lua/money.ts` says how. */
import * as Effect from "effect/Effect"
import type { Line } from "../Ledger.ts"
import type { StoreUnavailable } from "./reasons.ts"
import type { Script } from "./redisCommands.ts"
import { moneyScripts } from "./redisMoney.ts"

/** Runs a script with its keys and arguments. */
export type Ask = <Reply, A>(
  operation: string,
  script: Script<Reply, A>,
  keys: ReadonlyArray<string>,
  args: ReadonlyArray<string>
) => Effect.Effect<A, StoreUnavailable>

export interface Page {
  /** Numbers of the first and the last line that is kept; the last is the smaller one where there is none. */
  readonly first: number
  readonly last: number
  readonly lines: ReadonlyArray<Line>
}

/** Lines read by one command. */
export const atOnce = 500

export class Lines {
  private readonly ask: Ask
  private readonly stem: string
  /** Most that are kept. */
  readonly maxLines: number

  constructor(ask: Ask, stem: string, maxLines: number) {
    this.ask = ask
    this.stem = stem
    this.maxLines = maxLines
  }

  /** Up to `count` lines from a number on. */
  page(operation: string, from: number, count = atOnce): Effect.Effect<Page, StoreUnavailable> {
    const args = [from, count, this.maxLines].map(String)
    return Effect.map(this.ask(operation, moneyScripts.page, [this.stem], args), ([first, last, ...rest]) => {
      const lines: Array<Line> = []
      for (const text of rest) lines.push(lineOf(text))
      return { first: Number(first), last: Number(last), lines }
    })
  }

  /** The last ones, newest first. */
  newest(operation: string, count: number): Effect.Effect<ReadonlyArray<Line>, StoreUnavailable> {
    return Effect.gen({ self: this }, function* () {
      const { first, last } = yield* this.page(operation, Number.MAX_SAFE_INTEGER, 0)
      const newest: Array<Line> = []
      for (let from = Math.max(first, last - count + 1); from <= last; from += atOnce) {
        const { lines } = yield* this.page(operation, from, Math.min(atOnce, last - from + 1))
        for (const line of lines) newest.push(line)
      }
      return newest.toReversed()
    })
  }

  /** Calls `each` for the lines up to the one that is the last when it begins; answers the numbers of the first and the last. */
  readonly all = (operation: string, each: (line: Line) => void) =>
    Effect.gen({ self: this }, function* () {
      const { first, last } = yield* this.page(operation, Number.MAX_SAFE_INTEGER, 0)
      for (let from = first; from <= last; from += atOnce) {
        const { lines } = yield* this.page(operation, from, Math.min(atOnce, last - from + 1))
        for (const line of lines) each(line)
      }
      return { first, last }
    })

  /** Takes whose they were out of a tenant's lines. */
  forget(operation: string, tenant: string): Effect.Effect<void, StoreUnavailable> {
    return Effect.gen({ self: this }, function* () {
      const { first, last } = yield* this.page(operation, Number.MAX_SAFE_INTEGER, 0)
      for (let from = first; from <= last; from += atOnce) {
        const args = [`${from}`, `${Math.min(last, from + atOnce - 1)}`, JSON.stringify(tenant)]
        yield* this.ask(operation, moneyScripts.forgetLines, [this.stem], args)
      }
    })
  }

  /** Those of a page are elsewhere, and those before it. */
  moved(operation: string, { first, last }: Page): Effect.Effect<void, StoreUnavailable> {
    const to = Math.min(last, first + atOnce - 1)
    return this.ask(operation, moneyScripts.moved, [this.stem], [`${first}`, `${to}`])
  }
}

/** A line as `lua/money.ts` describes it. */
export const lineOf = (text: string): Line => {
  const [id = "", at, amount, outcome, subject = "", charge = "", postings = "", , whose = "", note = ""] =
    text.split("\n")
  return {
    id: JSON.parse(id),
    ...JSON.parse(subject),
    ...(whose === "" ? {} : JSON.parse(whose)),
    at: Number(at),
    amount: Number(amount),
    outcome,
    ...JSON.parse(charge),
    ...(note === "" ? {} : { note: JSON.parse(note) }),
    postings: JSON.parse(postings)
  } as Line // as our own scripts wrote it
}
