/**
 * A quota store in this process. It acts when it is called and answers with an `Exit`, so that a reservation costs no fiber
 * step; between two calls nothing happens: no timer, no fiber.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { Line, Posting } from "../Ledger.ts"
import type { Denied, Entry, Granted, Post, Quota, Service } from "../QuotaStore.ts"
import type { Account } from "./account.ts"
import * as bookings from "./bookings.ts"
import { Accounts } from "./memoryAccounts.ts"
import { granted, type Item, longestWait, refused, remaining } from "./memoryItems.ts"
import { MemoryLedger } from "./memoryLedger.ts"
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
  readonly items: ReadonlyArray<Item>
  /** Whether any of them is of money. */
  readonly isMoney: boolean
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
  readonly ledger = new MemoryLedger({
    now: () => this.now(),
    book: ({ entries }, now) => this.book(entries, now),
    counted: (account, slot) => this.counted(account, slot),
    open: () => this.openPostings()
  })

  constructor(clock: Clock.Clock, renew: boolean) {
    this.clock = clock
    this.renew = renew
  }

  readonly reserve: Service["reserve"] = (lease, entries, ttl) => {
    try {
      const now = this.now()
      return Exit.succeed(this.lend(lease, this.itemsOf(entries, now), ttl, now))
    } catch (defect) {
      return Exit.die(defect)
    }
  }

  readonly take: Service["take"] = (entries) => {
    try {
      const now = this.now()
      const entry = entries[0]
      if (entries.length === 1 && entry?.quota._tag === "Bucket") return Exit.succeed(this.takeOne(entry, now))
      const items = this.itemsOf(entries, now)
      const denied = this.ask(items, now)
      if (denied !== undefined) return Exit.succeed(denied)
      return Exit.succeed(granted(items, now, false))
    } catch (defect) {
      return Exit.die(defect)
    }
  }

  /** The account of a bucket, for who takes of it again and again. */
  bucket(entry: Pick<Entry, "key" | "quota">): Account {
    return this.accounts.Bucket.of(entry, this.now())
  }

  /** Takes one unit of a bucket if there is one; false also for an account that is not kept any more. */
  takeUnit(account: Account): boolean {
    if (!account.kept) return false
    return quotas.takeUnit(account, this.clock.currentTimeMillisUnsafe())
  }

  readonly settle: Service["settle"] = (lease, actual, charge) => {
    const now = this.now()
    const held = this.leases.get(lease)
    if (held === undefined) this.mark(lease, now)
    else {
      this.leases.delete(lease)
      if (held.isMoney) {
        const end = held.expired ? bookings.corrected : bookings.settled
        this.write(end(reservedOf(lease, held), actual, charge, now), now)
      }
      let i = 0
      for (const item of held.items) {
        const { amount, quota } = item.entry
        if (quota._tag !== "Concurrency") this.correct(item, quotas.usedOf(actual[i], amount), held.at, now)
        else if (!held.expired) this.correct(item, 0, held.at, now)
        i++
      }
    }
    return Exit.void
  }

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
      quotas.checkLeft(entry.amount)
      if (entry.quota._tag === "Concurrency") return
      const account = this.accounts[entry.quota._tag].of(entry, now)
      const tooMuch = quotas.remaining(account) - entry.amount
      if (tooMuch > 0) quotas.take(account, tooMuch, now)
    })

  /** How much is remembered, for tests. */
  get size(): { readonly accounts: number; readonly leases: number; readonly marks: number } {
    const accounts = Object.values(this.accounts).reduce((sum, { size }) => sum + size, 0)
    return { accounts, leases: this.leases.size, marks: this.marks.size }
  }

  /** What is taken of a bucket at its last use, to the fraction, for tests. */
  taken(key: string): number {
    const account = this.accounts.Bucket.get(key)
    return account === undefined ? 0 : account.taken - account.part
  }

  /** Before anything is looked up: what nobody uses is dropped. */
  private now(): number {
    const now = this.clock.currentTimeMillisUnsafe()
    if (now >= this.nextExpiry) this.expire(now)
    const { Bucket, Concurrency, Rolling, Window } = this.accounts
    if (Bucket.isDue) Bucket.tidy(now)
    if (Rolling.isDue) Rolling.tidy(now)
    if (Window.isDue) Window.tidy(now)
    if (Concurrency.isDue) Concurrency.tidy(now)
    return now
  }

  /** The same as for several, without what only several need. */
  private takeOne(entry: Entry, now: number): Granted | Denied {
    quotas.checkAmount(entry.amount)
    const account = this.accounts.Bucket.of(entry, now)
    const left = quotas.takeIfLeft(account, entry.amount, now)
    if (left >= 0) return { _tag: "Granted", remaining: [left], now }
    account.asked = entry.amount
    const retryAfter = quotas.wait(account, now)
    account.asked = 0
    return refused(0, retryAfter, [quotas.remaining(account)], now)
  }

  private itemsOf(entries: ReadonlyArray<Entry>, now: number): ReadonlyArray<Item> {
    const items: Array<Item> = []
    for (const entry of entries) {
      quotas.checkAmount(entry.amount)
      items.push({ entry, account: this.accounts[entry.quota._tag].of(entry, now) })
    }
    return items
  }

  private lend(lease: string, items: ReadonlyArray<Item>, ttl: Duration.Duration, now: number): Granted | Denied {
    if (this.leases.has(lease) || (this.marks.size > 0 && (this.marks.get(lease) ?? -Infinity) > now))
      return refused(0, undefined, remaining(items), now)
    const denied = this.ask(items, now)
    if (denied !== undefined) return denied
    const until = this.renew ? Infinity : now + Duration.toMillis(ttl)
    const isMoney = items.some(({ entry }) => entry.subject !== undefined)
    this.leases.set(lease, { items, isMoney, at: now, until, expired: false })
    if (until < this.nextExpiry) this.nextExpiry = until
    return granted(items, now, true)
  }

  /** Leaves what is asked for in the accounts, where all of it fits. */
  private ask(items: ReadonlyArray<Item>, now: number): Denied | undefined {
    let denied = -1
    let i = 0
    for (const { account, entry } of items) {
      account.asked += entry.amount
      if (denied === -1 && quotas.isOver(account, now)) denied = i
      i++
    }
    if (denied === -1) return undefined
    const retryAfter = longestWait(items, now)
    for (const { account } of items) account.asked = 0
    return refused(denied, retryAfter, remaining(items), now)
  }

  private correct({ account, entry }: Item, used: number, at: number, now: number): void {
    const { amount } = entry
    if (used === amount) return
    const current = account.kept ? account : this.accounts[entry.quota._tag].of(entry, now)
    if (current === account) quotas.age(account, now)
    quotas.correct(current, { amount, used, at }, now)
  }

  private write(line: Line | undefined, now: number): void {
    if (line !== undefined) this.ledger.add(line, now)
  }

  /** Below zero nothing falls. */
  private book(entries: Post["entries"], now: number): ReadonlyArray<Posting> {
    return entries.flatMap((entry) => {
      const account = this.accounts[entry.quota._tag].of(entry, now)
      const amount = quotas.book(account, entry.amount, now)
      const posting = amount === 0 ? undefined : bookings.postingOf(entry, amount, now)
      return posting === undefined ? [] : [posting]
    })
  }

  private counted(name: string, slot: number): number {
    const { Rolling, Window } = this.accounts
    const account = Window.get(name) ?? Rolling.get(name)
    if (account === undefined) return 0
    const taken =
      account.quota._tag === "Window" ? account.taken : account.slots.find(({ index }) => index === slot)?.taken
    let held = 0
    for (const posting of this.openPostings())
      if (posting.account === name && posting.slot === slot) held += posting.amount
    return (taken ?? 0) - held
  }

  private *openPostings(): Generator<Posting> {
    for (const lease of this.leases.values()) {
      if (!lease.isMoney || lease.expired) continue
      for (const { entry } of lease.items) {
        const posting = entry.subject && bookings.postingOf(entry, entry.amount, lease.at)
        if (posting !== undefined) yield posting
      }
    }
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
        if (lease.isMoney) this.write(bookings.expired(reservedOf(name, lease), now), now)
        lease.until += remembered
        for (const item of lease.items)
          if (item.entry.quota._tag === "Concurrency") this.correct(item, 0, lease.at, now)
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

const reservedOf = (lease: string, { at, items }: Lease): bookings.Reserved => ({
  lease,
  entries: items.map(({ entry }) => entry),
  at,
  account: (i) => items[i]?.account.name
})
