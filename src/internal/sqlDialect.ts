/** What a SQL store asks of its database, in the words of that database. */
import type * as Effect from "effect/Effect"
import type { SqlError } from "effect/sql/SqlError"
import type { AccountRow, ChargeRow, LeaseRow, PostingRow } from "./sqlRows.ts"

export const leaseColumns = ["id", "state", "at", "until", "entries", "accounts"]
export const chargeColumns =
  "id at call provider model day prices tenant user feature run input output amount saved outcome note".split(" ")
export const postingColumns = "charge position counter account slot ends_at amount own".split(" ")

/** Two names of columns are words of SQL. */
export const quoted = (column: string): string => (column === "call" || column === "user" ? `"${column}"` : column)

type Answer<A> = Effect.Effect<A, SqlError>

/** What a step begins with. */
export interface Look {
  /** Milliseconds of the store's clock, read when all of it was locked. */
  readonly now: number
  /** Whether a lease has expired that nobody has seen to. */
  readonly due: boolean
  readonly accounts: ReadonlyMap<string, AccountRow>
  readonly leases: ReadonlyArray<LeaseRow>
}

/** What a step ends with. */
export interface Changes {
  readonly accounts?: ReadonlyArray<AccountRow> | undefined
  /** Leases that must not be there yet. */
  readonly opened?: ReadonlyArray<LeaseRow> | undefined
  /** Leases that are there and locked. */
  readonly changed?: ReadonlyArray<LeaseRow> | undefined
  readonly charges?: ReadonlyArray<ChargeRow> | undefined
  readonly postings?: ReadonlyArray<PostingRow> | undefined
}

export interface Renewal {
  readonly instance: string
  /** How long this process counts without another one. */
  readonly millis: number
  readonly leases: ReadonlyArray<{ readonly id: string; readonly ttl: number }>
}

export interface Dialect {
  readonly name: "sqlite" | "postgres"
  readonly transaction: <A, E>(step: Effect.Effect<A, E>) => Effect.Effect<A, E | SqlError>
  /** A transaction that reads one state of all. */
  readonly snapshot: <A, E>(step: Effect.Effect<A, E>) => Effect.Effect<A, E | SqlError>
  /** Whether accounts can only be locked when they are there. */
  readonly opens: boolean
  /**
   * Leases, the accounts of these leases and further accounts; in a transaction they are locked: leases before accounts, each
   * in the order of their ids, so that no two wait for each other.
   */
  readonly look: (leases: ReadonlyArray<string>, accounts: ReadonlyArray<string>) => Answer<Look>
  /** The same without locks. */
  readonly peek: (leases: ReadonlyArray<string>, accounts: ReadonlyArray<string>) => Answer<Look>
  /** Answers how many lines were written: those that were there already are left as they are. */
  readonly write: (changes: Changes) => Answer<number>
  /** Opens accounts that are not there, in a step of its own. */
  readonly open: (accounts: ReadonlyArray<string>) => Answer<void>
  /** Leases that have expired and that nobody else is seeing to, locked. */
  readonly due: (limit: number) => Answer<ReadonlyArray<string>>
  /** Answers how many processes hold leases. */
  readonly renew: (renewal: Renewal) => Answer<number>
  /** Deletes what is of no use any more, a number of each, and answers the most that it deleted of one. */
  readonly sweep: (limit: number, linesBefore: number) => Answer<number>
}

/** What both databases answer to a look: rows as JSON. */
export interface LookRow {
  readonly accounts: string | null
  readonly leases: string | null
  readonly due: unknown
}

export const lookOf = (row: LookRow | undefined, now: number): Look => {
  const rows = JSON.parse(row?.accounts ?? "[]") as ReadonlyArray<AccountRow> // the columns that are asked for
  const leases = JSON.parse(row?.leases ?? "[]") as ReadonlyArray<LeaseRow> // the same
  return { now, due: Number(row?.due) === 1, accounts: new Map(rows.map((row) => [row.id, row])), leases }
}
