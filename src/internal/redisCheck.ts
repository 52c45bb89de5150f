/** Whether the counters of money in Redis say what the lines say. */
import * as Effect from "effect/Effect"
import type { Durable, Mismatch, Posting } from "../Ledger.ts"
import { StoreUnavailable } from "./reasons.ts"
import { type Ask, atOnce, type Lines } from "./redisLines.ts"
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
 * Lines are read first and counters after them, so what is booked in between would be a mismatch that is none: then it is
 * done again, and after some tries only what differed by the same amount each time is answered.
 */
export const check = (settings: Settings): Effect.Effect<ReadonlyArray<Mismatch>, StoreUnavailable> =>
  Effect.gen(function* () {
    let steady: ReadonlyArray<Found> | undefined
    for (let i = 0; i < maxTries; i++) {
      const { last, recorded } = yield* recordedOf(settings)
      const { mismatches, quiet } = yield* mismatchesOf(settings, recorded, last)
      if (quiet || mismatches.length === 0) return yield* counting(settings, mismatches)
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

/** Of the counters that still count, and the number of the last line that is in it. */
const recordedOf = ({ ask, durable, keys, lines, offset }: Settings) =>
  Effect.gen(function* () {
    const now = yield* ask("check", moneyScripts.time, [], [`${offset()}`])
    const recorded = new Map<string, Counter>()
    const add = ({ account, amount, endsAt, slot }: Posting) => {
      if (endsAt <= now) return
      const counter = recorded.get(nameOf({ account, slot }))
      if (counter !== undefined) counter.recorded += amount
      else recorded.set(nameOf({ account, slot }), { account, slot, endsAt, recorded: amount })
    }
    const { records } = yield* ask("check", moneyScripts.counted, [keys.money], [`${maxOpen}`])
    for (const open of openOf(records).values()) add({ ...open, amount: 0 })
    if (durable !== undefined) {
      yield* durable.mover.move
      const { first, last } = yield* lines.page("check", 0, 0)
      for (const total of yield* answered(durable.ledger.totals(now))) add(total)
      return { recorded, last: last < first ? last : Number.NaN } // none is on its way
    }
    let since = Number.NaN
    const { first, last } = yield* lines.all("check", ({ at, postings }) => {
      if (Number.isNaN(since)) since = at
      for (const posting of postings) add(posting)
    })
    if (last - first + 1 >= lines.maxLines)
      for (const [name, counter] of recorded) if (beganAt(counter) < since) recorded.delete(name)
    return { recorded, last }
  })

/** Of an account some of whose lines are gone nothing can be said: those that began before the oldest one. */
const beganAt = ({ account, slot }: Counter): number => {
  const [first = "", second] = account.slice(0, account.indexOf("/")).split("*")
  return second === undefined ? Number.parseFloat(first) : slot * Number(first)
}

/** And whether nothing was booked since the last line. */
const mismatchesOf = ({ ask, keys }: Settings, recorded: ReadonlyMap<string, Counter>, last: number) =>
  Effect.gen(function* () {
    const all = [...recorded.values()]
    const mismatches: Array<Found> = []
    let quiet = true
    for (let i = 0; i < all.length; i += atOnce) {
      const some = all.slice(i, i + atOnce)
      const accounts = some.map(({ account }) => keys.account(account))
      const args = [`${maxOpen}`, ...some.flatMap(({ slot }, i) => [accounts[i]?.kind ?? "", `${slot}`])]
      const names = [keys.money, ...accounts.map(({ key }) => key)]
      const now = yield* ask("check", moneyScripts.counted, names, args)
      if (now.open > maxOpen) return yield* tooMany
      if (now.last !== last) quiet = false
      const open = openOf(now.records)
      for (const [i, { account, endsAt, recorded, slot }] of some.entries()) {
        const counted = (now.counters[i] ?? 0) - (open.get(nameOf({ account, slot }))?.amount ?? 0)
        if (counted !== recorded) mismatches.push({ account, slot, endsAt, counted, recorded })
      }
    }
    return { mismatches, quiet }
  })

const tooMany = Effect.fail(
  new StoreUnavailable({
    store: "redis",
    operation: "check",
    description: `more than ${maxOpen} reservations are open`
  })
)

/** What the records of leases say that is reserved, as `lua/money.ts` describes them. */
const openOf = (records: ReadonlyArray<string>): ReadonlyMap<string, Posting> => {
  const open = new Map<string, Posting>()
  for (const record of records) {
    const [at = "", ...rest] = record.split(" ")
    const parts = rest.join(" ").split("\n")
    for (let i = 9; i + 4 < parts.length; i += 5) {
      const [kind, own1, own2, amount, text = '""'] = parts.slice(i, i + 5)
      const rolls = kind === "R"
      const slot = rolls ? Math.floor(Number(at) / Number(own1)) : 0
      const endsAt = rolls ? (slot + Number(own2) + 1) * Number(own1) : Number(own2)
      const account = JSON.parse(text) as string // a text, as `redisMoney.ts` wrote it
      const name = nameOf({ account, slot })
      open.set(name, { account, slot, endsAt, amount: (open.get(name)?.amount ?? 0) + Number(amount) })
    }
  }
  return open
}
