/** How reservations begin and end: the rows of a lease, the line that it becomes, and what that changes in its accounts. */
import * as Duration from "effect/Duration"
import type { Charge, Line } from "../Ledger.ts"
import type { Entry } from "../QuotaStore.ts"
import * as bookings from "./bookings.ts"
import * as quotas from "./quotas.ts"
import { Accounts } from "./sqlAccounts.ts"
import type { Changes, Look } from "./sqlDialect.ts"
import {
  accountIdOf,
  chargeRow,
  entriesJson,
  entriesOf,
  instant,
  type LeaseRow,
  leaseStates,
  postingRows
} from "./sqlRows.ts"

/** How long after its end a lease is still corrected, and a settle is remembered. */
export const remembered = Duration.toMillis("24 hours")

export const openLease = (
  id: string,
  lease: string,
  entries: ReadonlyArray<Entry>,
  now: number,
  ttl: number
): LeaseRow => ({
  id,
  state: leaseStates.open,
  at: now,
  until: instant(now + ttl),
  entries: entriesJson(lease, entries),
  accounts: JSON.stringify(entries.map(accountIdOf))
})

/** What a settle changes; `undefined` where it is not the first one. */
export const settlementOf = (
  id: string,
  row: LeaseRow | undefined,
  accounts: Accounts,
  actual: ReadonlyArray<number>,
  charge: Charge | undefined
): Changes | undefined => {
  const { now } = accounts
  const settled = { id, state: leaseStates.settled, at: now, until: now + remembered, entries: "", accounts: "[]" }
  if (row === undefined) return { opened: [settled] }
  if (row.state === leaseStates.settled) return undefined
  const expired = row.state === leaseStates.expired
  const { entries, lease } = entriesOf(row.entries)
  correct(accounts, entries, actual, row.at, expired)
  const book = expired ? bookings.corrected : bookings.settled
  const line = book({ lease, entries, at: row.at }, actual, charge, now)
  return { accounts: accounts.rows, changed: [settled], ...written(line === undefined ? [] : [line]) }
}

const correct = (
  accounts: Accounts,
  entries: ReadonlyArray<Entry>,
  actual: ReadonlyArray<number>,
  at: number,
  expired: boolean
): void => {
  for (const [i, entry] of entries.entries()) {
    const { amount, quota } = entry
    if (quota._tag === "Concurrency") {
      if (!expired) quotas.correct(accounts.of(entry), { amount, used: 0, at }, accounts.now)
      continue
    }
    const used = quotas.usedOf(actual[i], amount)
    if (used !== amount) quotas.correct(accounts.of(entry), { amount, used, at }, accounts.now)
  }
}

/** What was held is free, what is money becomes a line, all else stays taken. */
export const expiryOf = (look: Look): Changes => {
  const { now } = look
  const accounts = new Accounts(look)
  const changed: Array<LeaseRow> = []
  const lines = look.leases.flatMap((row) => {
    if (row.state !== leaseStates.open || row.until > now) return []
    changed.push({ ...row, state: leaseStates.expired, until: now + remembered })
    const { entries, lease } = entriesOf(row.entries)
    for (const entry of entries) {
      if (entry.quota._tag !== "Concurrency" || !look.accounts.has(accountIdOf(entry))) continue
      quotas.correct(accounts.of(entry), { amount: entry.amount, used: 0, at: row.at }, now)
    }
    const line = bookings.expired({ lease, entries, at: row.at }, now)
    return line === undefined ? [] : [line]
  })
  return { accounts: accounts.rows, changed, ...written(lines) }
}

const written = (lines: ReadonlyArray<Line>): Changes => ({
  charges: lines.map(chargeRow),
  postings: lines.flatMap((line) => postingRows(line, true))
})
