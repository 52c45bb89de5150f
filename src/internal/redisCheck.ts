/** Whether the counters of money in Redis say what the lines say. */
import * as Effect from "effect/Effect"
import type { Durable, Mismatch, Posting } from "../Ledger.ts"
import { StoreUnavailable } from "./reasons.ts"
import { type Ask, atOnce, lineOf, type Lines } from "./redisLines.ts"
import { moneyScripts } from "./redisMoney.ts"
import { answered, type Mover } from "./redisMover.ts"
import type { Keys } from "./redisQuotas.ts"

export interface Settings {
  readonly ask: Ask
  readonly keys: Keys
  readonly lines: Lines
  readonly offset: () => number
  readonly durable: { readonly ledger: Durable; readonly mover: Mover } | undefined
}

/** Most open reservations that are looked at, and tries to find a moment in which nothing is booked. */
const maxOpen = 10_000
const maxTries = 10

/** A counter, and what lines say of it. */
type Counter = Pick<Posting, "account" | "slot" | "endsAt"> & { recorded: number }

/**
 * Lines are read first and counters after them, with the few lines that were written in between. Where these were too many or
 * were moved meanwhile it is done again, and after some tries only what differed by the same amount each time is answered.
 */
export const check = (settings: Settings): Effect.Effect<ReadonlyArray<Mismatch>, StoreUnavailable> =>
  Effect.gen(function* () {
    let steady: ReadonlyArray<Found> | undefined
    for (let i = 0; i < maxTries; i++) {
      const recorded = yield* recordedOf(settings)
      const { isExact, mismatches } = yield* mismatchesOf(settings, recorded)
      if (isExact || mismatches.length === 0) return yield* counting(settings, mismatches)
      steady = steady === undefined ? mismatches : steady.filter((one) => mismatches.some(isSameAs(one)))
    }
    return yield* counting(settings, steady ?? [])
  })

/** Without those that ended meanwhile. */
const counting = ({ ask, offset }: Settings, mismatches: ReadonlyArray<Found>) => {
  if (mismatches.length === 0) return Effect.succeed([])
  return Effect.map(ask("check", moneyScripts.time, [], [`${offset()}`]), (now) =>
    mismatches.flatMap(({ endsAt, ...mismatch }) => (endsAt > now ? [mismatch] : []))
  )
}

interface Found extends Mismatch {
  readonly endsAt: number
}

const isSameAs = (one: Mismatch) => (other: Mismatch) =>
  nameOf(one) === nameOf(other) && one.counted - one.recorded === other.counted - other.recorded

const nameOf = ({ account, slot }: Pick<Posting, "account" | "slot">): string => `${slot}@${account}`

/** Of the counters that still count, and the numbers of the first and the last line that Redis had then. */
interface Recorded {
  readonly counters: ReadonlyMap<string, Counter>
  readonly first: number
  readonly last: number
}

const recordedOf = ({ ask, durable, keys, lines, offset }: Settings): Effect.Effect<Recorded, StoreUnavailable> =>
  Effect.gen(function* () {
    const now = yield* ask("check", moneyScripts.time, [], [`${offset()}`])
    const counters = new Map<string, Counter>()
    const add = ({ account, amount, endsAt, slot }: Posting) => {
      if (endsAt <= now) return
      const counter = counters.get(nameOf({ account, slot }))
      if (counter !== undefined) counter.recorded += amount
      else counters.set(nameOf({ account, slot }), { account, slot, endsAt, recorded: amount })
    }
    const { records } = yield* ask("check", moneyScripts.counted, [keys.money], [`${maxOpen}`, none])
    for (const open of openOf(records)) add({ ...open, amount: 0 })
    if (durable !== undefined) {
      yield* durable.mover.move
      const { first, last } = yield* lines.page("check", 0, 0)
      for (const total of yield* answered(durable.ledger.totals(now))) add(total)
      return { counters, first, last: Math.min(last, first - 1) } // what was written since is not in it, if not moved
    }
    let since = Number.NaN
    const { first, last } = yield* lines.all("check", ({ at, postings }) => {
      if (Number.isNaN(since)) since = at
      for (const posting of postings) add(posting)
    })
    if (last - first + 1 >= lines.maxLines)
      for (const [name, counter] of counters) if (beganAt(counter) < since) counters.delete(name)
    return { counters, first, last }
  })

/** Behind every line. */
const none = `${Number.MAX_SAFE_INTEGER - 1}`

/** Of an account some of whose lines are gone nothing can be said: those that began before the oldest one. */
const beganAt = ({ account, slot }: Counter): number => {
  const [first = "", second] = account.slice(0, account.indexOf("/")).split("*")
  return second === undefined ? Number.parseFloat(first) : slot * Number(first)
}

const mismatchesOf = ({ ask, durable, keys }: Settings, { counters, first, last }: Recorded) =>
  Effect.gen(function* () {
    const all = [...counters.values()]
    const mismatches: Array<Found> = []
    let isExact = true
    for (let i = 0; i < all.length; i += atOnce) {
      const some = all.slice(i, i + atOnce)
      const accounts = some.map(({ account }) => keys.account(account))
      const args = [`${maxOpen}`, `${last}`, ...some.flatMap(({ slot }, i) => [accounts[i]?.kind ?? "", `${slot}`])]
      const names = [keys.money, ...accounts.map(({ key }) => key)]
      const now = yield* ask("check", moneyScripts.counted, names, args)
      if (now.open > maxOpen) return yield* tooMany
      if (now.behind > now.later.length || (durable !== undefined && now.first !== first)) isExact = false
      const open = sumOf(openOf(now.records))
      const later = sumOf(now.later.flatMap((text) => lineOf(text).postings))
      for (const [i, { account, endsAt, recorded: before, slot }] of some.entries()) {
        const name = nameOf({ account, slot })
        const counted = (now.counters[i] ?? 0) - (open.get(name) ?? 0)
        const recorded = before + (later.get(name) ?? 0)
        if (counted !== recorded) mismatches.push({ account, slot, endsAt, counted, recorded })
      }
    }
    return { mismatches, isExact }
  })

const sumOf = (postings: ReadonlyArray<Posting>): ReadonlyMap<string, number> => {
  const sums = new Map<string, number>()
  for (const posting of postings) sums.set(nameOf(posting), (sums.get(nameOf(posting)) ?? 0) + posting.amount)
  return sums
}

const tooMany = Effect.fail(
  new StoreUnavailable({
    store: "redis",
    operation: "check",
    description: `more than ${maxOpen} reservations are open`
  })
)

/** What the records of leases say that is reserved, as `lua/money.ts` describes them. */
const openOf = (records: ReadonlyArray<string>): ReadonlyArray<Posting> => {
  const open: Array<Posting> = []
  for (const record of records) {
    const [at = "", ...rest] = record.split(" ")
    const parts = rest.join(" ").split("\n")
    for (let i = 9; i + 4 < parts.length; i += 5) {
      const [kind, own1, own2, amount, text = '""'] = parts.slice(i, i + 5)
      const rolls = kind === "R"
      const slot = rolls ? Math.floor(Number(at) / Number(own1)) : 0
      const endsAt = rolls ? (slot + Number(own2) + 1) * Number(own1) : Number(own2)
      const account = JSON.parse(text) as string // a text, as `redisMoney.ts` wrote it
      open.push({ account, slot, endsAt, amount: Number(amount) })
    }
  }
  return open
}
