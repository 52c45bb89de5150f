/** Entries with the accounts that they are taken of: what a reservation in memory asks for and leaves. */
import * as Duration from "effect/Duration"
import type { Denied, Entry, Granted } from "../QuotaStore.ts"
import type { Account } from "./account.ts"
import * as quotas from "./quotas.ts"

/** One entry of a reservation, and the account it is taken of. */
export interface Item {
  readonly entry: Entry
  readonly account: Account
}

/** Takes what was asked for. */
export const granted = (items: ReadonlyArray<Item>, now: number, holds: boolean): Granted => {
  for (const { account, entry } of items) {
    account.asked = 0
    if (holds || entry.quota._tag !== "Concurrency") quotas.take(account, entry.amount, now)
  }
  return { _tag: "Granted", remaining: remaining(items), now }
}

export const refused = (
  entry: number,
  retryAfter: number | undefined,
  remaining: ReadonlyArray<number>,
  now: number
): Denied =>
  retryAfter === undefined
    ? { _tag: "Denied", entry, remaining, now }
    : { _tag: "Denied", entry, retryAfter: Duration.millis(retryAfter), remaining, now }

export const remaining = (items: ReadonlyArray<Item>): ReadonlyArray<number> =>
  items.map(({ account }) => quotas.remaining(account))

/** Until every account has room for all that is asked of it; `undefined` where one of them never will. */
export const longestWait = (items: ReadonlyArray<Item>, now: number): number | undefined => {
  let longest = 0
  for (const { account } of items) {
    if (!quotas.isOver(account, now)) continue
    const wait = quotas.wait(account, now)
    if (wait === undefined) return undefined
    longest = Math.max(longest, wait)
  }
  return longest
}
