/** The ledger of a store in memory: the last lines, the sums of all, and what they say of each counter. */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { Line, Mismatch, Posting, Query, Subject } from "../Ledger.ts"
import type { LedgerStore, Post } from "../QuotaStore.ts"
import { type Row, rowOf, sumBy } from "./ledgerSums.ts"

/** What a ledger needs of its store. */
export interface Books {
  /** Its time, when what is due by then has been booked. */
  readonly now: () => number
  /** Books the entries of a post, and answers what that changed. */
  readonly book: (post: Post, now: number) => ReadonlyArray<Posting>
  /** What a counter says, without what open reservations hold of it. */
  readonly counted: (account: string, slot: number) => number
  /** The counters of which open reservations hold something. */
  readonly open: () => Iterable<Pick<Posting, "account" | "slot" | "endsAt">>
}

const maxLines = 10_000
const maxRows = 100_000
const maxDays = 400
const defaultLines = 100
const mostLines = 1000

type Changing<A> = { -readonly [K in keyof A]: A[K] }

export class MemoryLedger implements LedgerStore {
  private readonly books: Books
  /** A ring: when it is full, the next line takes the place of the oldest. */
  private readonly ring: Array<Line> = []
  private next = 0
  /** The ids of what was posted, those of the last ten thousand at least. */
  private posted = new Set<string>()
  private postedBefore = new Set<string>()
  /** By day, and by all else that is told apart. */
  private readonly days = new Map<string, Map<string, Changing<Row>>>()
  private rows = 0
  private readonly recorded = new Map<string, Changing<Posting>>()
  private sweepAt = 1024

  constructor(books: Books) {
    this.books = books
  }

  /** How much is remembered, for tests. */
  get size(): { readonly lines: number; readonly rows: number; readonly counters: number } {
    return { lines: this.ring.length, rows: this.rows, counters: this.recorded.size }
  }

  add(line: Line, now: number): void {
    this.ring[this.next] = line
    this.next = (this.next + 1) % maxLines
    this.sum(rowOf(line))
    for (const posting of line.postings) if (posting.endsAt > now) this.record(posting)
    if (this.recorded.size >= this.sweepAt) this.sweep(now)
  }

  readonly post: LedgerStore["post"] = (post) => {
    const now = this.books.now()
    if (this.posted.has(post.id) || this.postedBefore.has(post.id)) return Exit.void
    if (this.posted.size >= maxLines) {
      this.postedBefore = this.posted
      this.posted = new Set()
    }
    this.posted.add(post.id)
    const { amount, charge, id, subject } = post
    this.add({ ...subject, ...charge, id, at: now, amount, postings: this.books.book(post, now) }, now)
    return Exit.void
  }

  readonly report: LedgerStore["report"] = (query: Query) => {
    this.books.now()
    return Exit.succeed(sumBy(this.allRows(), query))
  }

  readonly lines: LedgerStore["lines"] = (limit = defaultLines) => {
    this.books.now()
    const oldestFirst = [...this.ring.slice(this.next), ...this.ring.slice(0, this.next)]
    return Exit.succeed(oldestFirst.toReversed().slice(0, Math.max(0, Math.min(limit, mostLines))))
  }

  readonly check: LedgerStore["check"] = Effect.sync(() => {
    const now = this.books.now()
    const seen = new Map<string, Pick<Posting, "account" | "slot" | "endsAt">>()
    for (const counter of [...this.recorded.values(), ...this.books.open()])
      if (counter.endsAt > now) seen.set(counterOf(counter), counter)
    const mismatches: Array<Mismatch> = []
    for (const [name, { account, slot }] of seen) {
      const recorded = this.recorded.get(name)?.amount ?? 0
      const counted = this.books.counted(account, slot)
      if (counted !== recorded) mismatches.push({ account, slot, counted, recorded })
    }
    return mismatches
  })

  readonly forget: LedgerStore["forget"] = (tenant) => {
    this.books.now()
    for (const [i, line] of this.ring.entries()) {
      if (line.tenant === tenant) this.ring[i] = withoutIdentity(line)
    }
    for (const rows of this.days.values()) {
      for (const [name, row] of rows) {
        if (row.tenant !== tenant) continue
        rows.delete(name)
        this.rows--
        this.sum(withoutIdentity(row))
      }
    }
    return Exit.void
  };

  private *allRows(): Generator<Row> {
    for (const rows of this.days.values()) yield* rows.values()
  }

  /** When there are too many callers to tell apart, further ones are summed up without a name. */
  private sum(row: Row): void {
    const rows = this.rowsOf(row.day)
    const { amount, charges, input, output, saved } = row
    let name = nameOf(row)
    let sum = rows.get(name)
    if (sum === undefined && this.rows >= maxRows) {
      row = withoutIdentity(row)
      name = nameOf(row)
      sum = rows.get(name)
    }
    if (sum === undefined) {
      rows.set(name, { ...row })
      this.rows++
      return
    }
    sum.charges += charges
    sum.amount += amount
    sum.saved += saved
    sum.input += input
    sum.output += output
  }

  private rowsOf(day: string): Map<string, Changing<Row>> {
    const known = this.days.get(day)
    if (known !== undefined) return known
    const rows = new Map<string, Changing<Row>>()
    this.days.set(day, rows)
    if (this.days.size > maxDays) {
      const [oldest = ""] = [...this.days.keys()].sort()
      this.rows -= this.days.get(oldest)?.size ?? 0
      this.days.delete(oldest)
    }
    return rows
  }

  private record(posting: Posting): void {
    const name = counterOf(posting)
    const recorded = this.recorded.get(name)
    if (recorded === undefined) this.recorded.set(name, { ...posting })
    else recorded.amount += posting.amount
  }

  private sweep(now: number): void {
    for (const [name, { endsAt }] of this.recorded) if (endsAt <= now) this.recorded.delete(name)
    this.sweepAt = 2 * Math.max(512, this.recorded.size)
  }
}

const counterOf = ({ account, slot }: Pick<Posting, "account" | "slot">): string =>
  slot === 0 ? account : `${slot}@${account}`

const nameOf = ({ feature, model, provider, tenant, user }: Row): string =>
  JSON.stringify([provider, model, tenant ?? null, user ?? null, feature ?? null])

/** Whose it was is in none of these. */
const withoutIdentity = <A extends Partial<Pick<Subject, "tenant" | "user" | "feature" | "run">>>(of: A): A => {
  const rest = { ...of }
  for (const field of ["tenant", "user", "feature", "run", "note"] as const) delete rest[field as keyof A]
  return rest
}
