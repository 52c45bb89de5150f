/** The accounts of one kind, by their names, as long as anything is taken. */
import type { Entry, Quota } from "../QuotaStore.ts"
import { Account } from "./account.ts"
import * as quotas from "./quotas.ts"
import { Rows } from "./rows.ts"

/** Uses of old accounts that a new one counts for, and after how many of them some are looked at. */
const newCost = 16
const sweepAt = 64

/** Those with nothing taken are dropped in passing: each use pays for a look at a few others. */
export class Accounts {
  private readonly map = new Map<string, Account>()
  private readonly rows = new Rows()
  private sweeper = this.map.values()
  private due = 0

  get size(): number {
    return this.map.size
  }

  get isDue(): boolean {
    return this.due >= sweepAt
  }

  get(name: string): Account | undefined {
    return this.map.get(name)
  }

  of(entry: Pick<Entry, "key" | "quota">, now: number): Account {
    const name = quotas.nameOf(entry)
    const account = this.map.get(name)
    if (account !== undefined) {
      this.due++
      return aged(account, entry.quota, now)
    }
    quotas.checkQuota(entry.quota)
    const opened = new Account(name, entry.quota, now, this.rows)
    this.map.set(name, opened)
    this.due += newCost
    return opened
  }

  /** The account as it is, or one that is not remembered. */
  peek(entry: Pick<Entry, "key" | "quota">, now: number): Account {
    const name = quotas.nameOf(entry)
    const account = this.map.get(name)
    if (account !== undefined) return aged(account, entry.quota, now)
    quotas.checkQuota(entry.quota)
    return new Account(name, entry.quota, now, new Rows(1))
  }

  /** Looks at two accounts for each new one, and at one for every eighth use of an old one. */
  tidy(now: number): void {
    this.due = 0
    for (let i = 0; i < sweepAt / 8; i++) {
      const next = this.sweeper.next()
      if (next.done === true) {
        this.sweeper = this.map.values()
        if (this.rows.isSparse) this.rows.compact(this.map.values(), this.size)
        return
      }
      const account = next.value
      if (!quotas.isIdle(account, now)) continue
      account.kept = false
      this.rows.close(account.row)
      this.map.delete(account.name)
    }
  }
}

const aged = (account: Account, quota: Quota, now: number): Account => {
  // time passed under the quota of the last use, the next one may have another limit
  quotas.age(account, now)
  if (account.quota !== quota) quotas.change(account, quota, now)
  return account
}
