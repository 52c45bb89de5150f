/**
 * A quota store in this process. It acts when it is called and answers with an `Exit`, so that a reservation costs no fiber
 * step; between two calls nothing happens: no timer, no fiber.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { Denied, Entry, Granted, Quota, Service } from "../QuotaStore.ts"
import * as quotas from "./quotas.ts"

export interface Options {
  /**
   * Whether leases live for as long as the store does, which is as long as their holders can. Default `true`; `false`
   * lets them expire, as in a shared store when a process dies.
   */
  readonly renew?: boolean | undefined
}

export const make = (options: Options = {}): Effect.Effect<MemoryQuotaStore> =>
  Effect.map(Clock.Clock, (clock) => new MemoryQuotaStore(clock, options.renew ?? true))

interface Lease {
  readonly entries: ReadonlyArray<Entry>
  readonly at: number
  /** When it expires; when it has, when it is forgotten. */
  until: number
  expired: boolean
}

/** How long a settle without a reservation refuses the one behind it, and a late one still corrects an expired lease. */
const remembered = Duration.toMillis("10 minutes")

/** Most settles without a reservation that are remembered. */
const maxMarks = 10_000

export class MemoryQuotaStore implements Service {
  private readonly clock: Clock.Clock
  private readonly renew: boolean
  private readonly accounts: Readonly<Record<Quota["_tag"], Accounts>> = {
    Bucket: new Accounts(),
    Rolling: new Accounts(),
    Window: new Accounts(),
    Concurrency: new Accounts()
  }
  private readonly leases = new Map<string, Lease>()
  /** Leases settled before they were reserved, and until when that is remembered; in the order of both. */
  private readonly marks = new Map<string, number>()
  private nextExpiry = Infinity

  constructor(clock: Clock.Clock, renew: boolean) {
    this.clock = clock
    this.renew = renew
  }

  readonly reserve: Service["reserve"] = (lease, entries, ttl) =>
    onTheSpot(() => {
      const now = this.now()
      const { Bucket, Concurrency, Rolling, Window } = this.accounts
      Bucket.tidy(now)
      Rolling.tidy(now)
      Window.tidy(now)
      Concurrency.tidy(now)
      return this.take(lease, entries, ttl, now)
    })

  readonly settle: Service["settle"] = (lease, actual) =>
    onTheSpot(() => {
      const now = this.now()
      const held = this.leases.get(lease)
      if (held === undefined) return this.mark(lease, now)
      this.leases.delete(lease)
      for (const [i, entry] of held.entries.entries()) {
        if (entry.quota._tag !== "Concurrency")
          this.correct(entry, quotas.usedOf(actual[i], entry.amount), held.at, now)
        else if (!held.expired) this.correct(entry, 0, held.at, now)
      }
    })

  readonly read: Service["read"] = (entries) =>
    onTheSpot(() => {
      const now = this.now()
      return entries.map((entry) => {
        const account = this.accounts[entry.quota._tag].peek(entry, now)
        const resetAfter = Duration.millis(quotas.resetAfter(account, now))
        return { remaining: quotas.remaining(account), resetAfter }
      })
    })

  readonly observe: Service["observe"] = (entry) =>
    onTheSpot(() => {
      const now = this.now()
      quotas.checkAmount(entry.amount)
      if (entry.quota._tag === "Concurrency") return
      const account = this.accountOf(entry, now)
      const tooMuch = quotas.remaining(account) - entry.amount
      if (tooMuch > 0) quotas.book(account, tooMuch, now, now)
    })

  /** How much is remembered, for tests. */
  get size(): { readonly accounts: number; readonly leases: number; readonly marks: number } {
    const accounts = Object.values(this.accounts).reduce((sum, { size }) => sum + size, 0)
    return { accounts, leases: this.leases.size, marks: this.marks.size }
  }

  private now(): number {
    const now = this.clock.currentTimeMillisUnsafe()
    if (now >= this.nextExpiry) this.expire(now)
    return now
  }

  private accountOf(entry: Pick<Entry, "key" | "quota">, now: number): quotas.Account {
    return this.accounts[entry.quota._tag].of(entry, now)
  }

  private take(lease: string, entries: ReadonlyArray<Entry>, ttl: Duration.Duration, now: number): Granted | Denied {
    const accounts = entries.map((entry) => {
      quotas.checkAmount(entry.amount)
      return this.accountOf(entry, now)
    })
    if (this.leases.has(lease) || (this.marks.get(lease) ?? -Infinity) > now)
      return { _tag: "Denied", entry: 0, remaining: accounts.map(quotas.remaining), now }
    const denied = bookAll(accounts, entries, now)
    if (denied === undefined) {
      const until = this.renew ? Infinity : now + Duration.toMillis(ttl)
      this.leases.set(lease, { entries, at: now, until, expired: false })
      if (until < this.nextExpiry) this.nextExpiry = until
      return { _tag: "Granted", remaining: accounts.map(quotas.remaining), now }
    }
    const retryAfter = longestWait(accounts, entries, now)
    accounts.forEach((account, i) => quotas.book(account, -(entries[i]?.amount ?? 0), now, now))
    return {
      _tag: "Denied",
      entry: denied,
      ...(retryAfter === undefined ? {} : { retryAfter: Duration.millis(retryAfter) }),
      remaining: accounts.map(quotas.remaining),
      now
    }
  }

  private correct(entry: Entry, used: number, admittedAt: number, now: number): void {
    if (used === entry.amount) return
    quotas.book(this.accountOf(entry, now), used - entry.amount, admittedAt, now)
  }

  private mark(lease: string, now: number): void {
    this.marks.delete(lease)
    this.marks.set(lease, now + remembered)
    for (const [oldest, until] of this.marks) {
      if (until > now && this.marks.size <= maxMarks) return
      this.marks.delete(oldest)
    }
  }

  private expire(now: number): void {
    this.nextExpiry = Infinity
    for (const [name, lease] of this.leases) {
      if (lease.until <= now && !lease.expired) {
        lease.expired = true
        lease.until += remembered
        for (const entry of lease.entries) if (entry.quota._tag === "Concurrency") this.correct(entry, 0, lease.at, now)
      }
      if (lease.until <= now) this.leases.delete(name)
      else if (lease.until < this.nextExpiry) this.nextExpiry = lease.until
    }
  }
}

const onTheSpot = <A>(act: () => A): Exit.Exit<A> => {
  try {
    return Exit.succeed(act())
  } catch (defect) {
    return Exit.die(defect)
  }
}

/** Books all entries, whether they fit or not, and gives the index of the first that did not. */
const bookAll = (
  accounts: ReadonlyArray<quotas.Account>,
  entries: ReadonlyArray<Entry>,
  now: number
): number | undefined => {
  let denied: number | undefined
  accounts.forEach((account, i) => {
    quotas.book(account, entries[i]?.amount ?? 0, now, now)
    if (denied === undefined && quotas.isOver(account, now)) denied = i
  })
  return denied
}

/** Until every account that is over has room for all that is booked; `undefined` where one of them never will. */
const longestWait = (
  accounts: ReadonlyArray<quotas.Account>,
  entries: ReadonlyArray<Entry>,
  now: number
): number | undefined => {
  let longest = 0
  for (const account of accounts) {
    if (!quotas.isOver(account, now)) continue
    const own = entries.reduce((sum, { amount }, i) => (accounts[i] === account ? sum + amount : sum), 0)
    const wait = quotas.wait(account, own, now)
    if (wait === undefined) return undefined
    longest = Math.max(longest, wait)
  }
  return longest
}

/** The accounts of one kind. Those with nothing taken are dropped in passing: each use pays for a look at a few others. */
class Accounts {
  private readonly map = new Map<string, quotas.Account>()
  private sweeper = this.map.entries()
  private due = 0

  get size(): number {
    return this.map.size
  }

  of(entry: Pick<Entry, "key" | "quota">, now: number): quotas.Account {
    const name = quotas.nameOf(entry)
    const account = this.map.get(name)
    if (account === undefined) {
      quotas.checkQuota(entry.quota)
      const opened = quotas.open(entry.quota, now)
      this.map.set(name, opened)
      this.due += newCost
      return opened
    }
    this.due++
    return aged(account, entry.quota, now)
  }

  /** The account as it is, or one that is not remembered. */
  peek(entry: Pick<Entry, "key" | "quota">, now: number): quotas.Account {
    const account = this.map.get(quotas.nameOf(entry))
    if (account !== undefined) return aged(account, entry.quota, now)
    quotas.checkQuota(entry.quota)
    return quotas.open(entry.quota, now)
  }

  /** Looks at two accounts for each new one, and at one for every fourth use of an old one. */
  tidy(now: number): void {
    if (this.due < sweepAt) return
    this.due = 0
    for (let i = 0; i < sweepAt / 4; i++) {
      const next = this.sweeper.next()
      if (next.done === true) {
        this.sweeper = this.map.entries()
        return
      }
      const [name, account] = next.value
      quotas.age(account, now)
      if (account.taken === 0) this.map.delete(name)
    }
  }
}

const newCost = 8
const sweepAt = 64

const aged = (account: quotas.Account, quota: Quota, now: number): quotas.Account => {
  // time passed under the quota of the last use, the next one may have another limit
  quotas.age(account, now)
  if (account.quota !== quota) {
    quotas.checkQuota(quota)
    account.quota = quota
  }
  return account
}
