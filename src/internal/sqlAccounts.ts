/** The accounts of one step: read once, changed here by the arithmetic of all stores, and written as a whole. */
import type * as Effect from "effect/Effect"
import type { SqlError } from "effect/sql/SqlError"
import type { Denied, Entry, Granted } from "../QuotaStore.ts"
import type { Account } from "./account.ts"
import { granted, type Item, longestWait, refused, remaining } from "./memoryItems.ts"
import { isOver } from "./quotas.ts"
import type { Again } from "./sqlCommands.ts"
import type { Changes, Look } from "./sqlDialect.ts"
import { accountIdOf, accountOf, type AccountRow, rowOf } from "./sqlRows.ts"

/** What a step found out, and what it writes. */
interface Outcome<A> {
  readonly answer: A
  readonly changes?: Changes | undefined
}

export type Body<A> = (accounts: Accounts, look: Look) => Effect.Effect<Outcome<A>, SqlError | Again>

export class Accounts {
  readonly now: number
  private readonly look: Look
  private readonly opened = new Map<string, Account>()

  constructor(look: Look) {
    this.look = look
    this.now = look.now
  }

  of(entry: Pick<Entry, "key" | "quota">): Account {
    const id = accountIdOf(entry)
    const known = this.opened.get(id)
    if (known !== undefined) return known
    const account = accountOf(entry, this.look.accounts.get(id), this.now)
    this.opened.set(id, account)
    return account
  }

  items(entries: ReadonlyArray<Entry>): ReadonlyArray<Item> {
    return entries.map((entry) => ({ entry, account: this.of(entry) }))
  }

  /** Those that were looked at, as they are now. */
  get rows(): ReadonlyArray<AccountRow> {
    return [...this.opened].map(([id, account]) => rowOf(id, account, this.now))
  }
}

/** Takes every entry or none; `holds` also what is held until it is given back. */
export const ask = (items: ReadonlyArray<Item>, now: number, holds: boolean): Granted | Denied => {
  let denied = -1
  for (const [i, { account, entry }] of items.entries()) {
    account.asked += entry.amount
    if (denied === -1 && isOver(account, now)) denied = i
  }
  return denied === -1 ? granted(items, now, holds) : refused(denied, longestWait(items, now), remaining(items), now)
}
