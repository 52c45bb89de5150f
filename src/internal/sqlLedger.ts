/** The ledger of a SQL store: lines and postings in tables, which only ever grow until they are too old. */
import * as Effect from "effect/Effect"
import type { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import type { Dimension, Durable, Line, Mismatch, Posting, Query, Sum } from "../Ledger.ts"
import type { LedgerStore, Post } from "../QuotaStore.ts"
import * as bookings from "./bookings.ts"
import { integer } from "./options.ts"
import * as quotas from "./quotas.ts"
import type { StoreUnavailable } from "./reasons.ts"
import type { Accounts, Body } from "./sqlAccounts.ts"
import { Again, type Commands } from "./sqlCommands.ts"
import type { Dialect } from "./sqlDialect.ts"
import {
  accountIdOf,
  type ChargeRow,
  chargeRow,
  type Columns,
  counterOf,
  entriesOf,
  escape,
  lineOf,
  postingOf,
  type PostingRow,
  postingRows,
  takenOf,
  unescape
} from "./sqlRows.ts"
import type { Tables } from "./sqlTables.ts"

export interface Books {
  readonly sql: SqlClient
  readonly tables: Tables
  readonly dialect: Dialect
  readonly commands: Commands
  /** One transaction over these accounts. */
  readonly step: <A>(
    operation: string,
    accounts: ReadonlyArray<string>,
    body: Body<A>
  ) => Effect.Effect<A, StoreUnavailable>
  readonly expire: Effect.Effect<void, SqlError>
}

/** Milliseconds that a question over many lines may take. */
const patience = 30_000

const defaultLines = 100
const mostLines = 1000
/** Lines that are appended or forgotten in one step. */
const atOnce = 500

const dimensions: ReadonlyArray<Dimension> = ["day", "provider", "model", "tenant", "user", "feature"]

export class SqlLedger implements LedgerStore, Durable {
  private readonly books: Books
  private readonly parameter: (i: number) => string

  constructor(books: Books) {
    this.books = books
    this.parameter = books.dialect.name === "postgres" ? (i) => `$${i}::text` : (i) => `?${i}`
  }

  readonly report = (query: Query): Effect.Effect<ReadonlyArray<Sum>, StoreUnavailable> =>
    Effect.suspend(() => {
      const by = dimensions.filter((dimension) => query.by.includes(dimension))
      const params: Array<string> = []
      const asked = (column: string, relation: string, value: string | undefined) =>
        value === undefined ? [] : [`${column} ${relation} ${this.parameter(params.push(escape(value)))}`]
      const conditions = [
        ...asked("day", ">=", query.from),
        ...asked("day", "<=", query.until),
        ...asked("tenant", "=", query.tenant)
      ]
      const columns = by.map((dimension) => `"${dimension}"`)
      const where = conditions.length > 0 ? `where ${conditions.join(" and ")}` : ""
      const group = columns.length > 0 ? `group by ${columns.join()}` : "having count(*) > 0"
      const statement = `select ${[...columns, ...sums].join()} from ${this.books.tables.charges} ${where} ${group}
        order by sum(amount) desc`
      const rows = this.run<SumRow>(statement, ...params)
      return this.ask("report", this.current(Effect.map(rows, (rows) => rows.map((row) => sumOf(row, by)))))
    })

  readonly lines = (limit = defaultLines): Effect.Effect<ReadonlyArray<Line>, StoreUnavailable> =>
    Effect.suspend(() => {
      const { charges, postings } = this.books.tables
      const most = Math.max(0, Math.min(mostLines, Math.trunc(limit) || 0))
      const last = `select * from ${charges} order by at desc, seq desc limit ${most}`
      const theirs = `select * from ${postings} where charge in (${this.texts(1)}) order by charge, position`
      const all = Effect.gen({ self: this }, function* () {
        const rows = yield* this.run<Columns<ChargeRow>>(last)
        const ids = JSON.stringify(rows.map(({ id }) => id))
        const byCharge = new Map<string, Array<Posting>>(rows.map(({ id }) => [id, []]))
        for (const row of yield* this.run<Columns<PostingRow>>(theirs, ids))
          byCharge.get(row.charge)?.push(postingOf(row))
        return rows.map((row) => lineOf(row, byCharge.get(row.id) ?? []))
      })
      return this.ask("lines", this.current(all))
    })

  get check(): Effect.Effect<ReadonlyArray<Mismatch>, StoreUnavailable> {
    const checked = this.books.dialect.snapshot(this.compared)
    return this.ask("check", this.current(checked))
  }

  readonly forget = (tenant: string): Effect.Effect<void, StoreUnavailable> =>
    Effect.suspend(() => {
      const { charges } = this.books.tables
      const some = `update ${charges} set tenant = null, "user" = null, feature = null, run = null, note = null
        where seq in (select seq from ${charges} where tenant = ${this.parameter(1)} limit ${atOnce}) returning 1`
      const step = this.ask("forget", this.run(some, escape(tenant)))
      return Effect.asVoid(Effect.repeat(step, { until: (rows) => rows.length === 0 }))
    })

  readonly post = (post: Post): Effect.Effect<void, StoreUnavailable> =>
    Effect.suspend(() => {
      integer("QuotaStore: amount", post.amount, Number.MIN_SAFE_INTEGER)
      for (const { amount, quota } of post.entries) {
        quotas.checkLeft(amount)
        quotas.checkQuota(quota)
      }
      const { dialect } = this.books
      return this.books.step("post", post.entries.map(accountIdOf), (accounts, { now }) =>
        Effect.flatMap(this.known([post.id]), (known) => {
          if (known.size > 0) return Effect.succeed({ answer: undefined })
          const { amount, charge, id, subject } = post
          const line: Line = { ...subject, ...charge, id, at: now, amount, postings: bookedOf(post, accounts) }
          const changes = { accounts: accounts.rows, charges: [chargeRow(line)], postings: postingRows(line, true) }
          // somebody else has written it meanwhile: nothing of this is to stay
          return Effect.flatMap(dialect.write(changes), (written) =>
            written === 0 ? Effect.fail(new Again()) : Effect.succeed({ answer: undefined })
          )
        })
      )
    })

  readonly append = (lines: ReadonlyArray<Line>): Effect.Effect<void, StoreUnavailable> =>
    Effect.suspend(() => {
      const { dialect } = this.books
      const parts = Array.from({ length: Math.ceil(lines.length / atOnce) }, (_, i) => i * atOnce)
      const appended = (some: ReadonlyArray<Line>) =>
        dialect.transaction(
          Effect.flatMap(this.known(some.map(({ id }) => id)), (known) => {
            const fresh = [...new Map(some.map((line) => [escape(line.id), line])).values()].filter(
              ({ id }) => !known.has(id)
            )
            return dialect.write({
              charges: fresh.map(chargeRow),
              postings: fresh.flatMap((line) => postingRows(line, false))
            })
          })
        )
      return Effect.forEach(parts, (from) => this.ask("append", appended(lines.slice(from, from + atOnce))), {
        discard: true
      })
    })

  readonly totals = (now: number): Effect.Effect<ReadonlyArray<Posting>, StoreUnavailable> =>
    Effect.suspend(() =>
      this.ask(
        "totals",
        Effect.map(this.recorded(now, ""), (rows) => rows.map(postingOf))
      )
    )

  /** What the lines say of each counter that ends after now. */
  private recorded(now: number, condition: string) {
    const statement = `select counter, max(account) as account, slot, max(ends_at) as ends_at,
      cast(sum(amount) as text) as amount from ${this.books.tables.postings}
      where ends_at > ${this.number(1)} ${condition} group by counter, slot`
    return this.run<Omit<Columns<PostingRow>, "charge" | "position" | "own">>(statement, `${Math.floor(now)}`)
  }

  private readonly compared: Effect.Effect<ReadonlyArray<Mismatch>, SqlError> = Effect.suspend(() => {
    const { dialect, tables } = this.books
    return Effect.gen({ self: this }, function* () {
      const { now } = yield* dialect.peek([], [])
      const recorded = (yield* this.recorded(now, "and own = 1")).map(postingOf)
      const open = yield* this.run<{ entries: string; at: unknown }>(
        `select entries, at from ${tables.leases} where state = 0`
      )
      const held = open.flatMap(({ at, entries }) =>
        entriesOf(entries).entries.flatMap((entry) => {
          const posting = bookings.postingOf(entry, entry.amount, Number(at))
          return posting === undefined || posting.endsAt <= now ? [] : [{ posting, money: entry.subject !== undefined }]
        })
      )
      const seen = [...recorded, ...held.flatMap(({ money, posting }) => (money ? [{ ...posting, amount: 0 }] : []))]
      const counters = new Map<string, Counter>()
      for (const { account, amount, slot } of seen) {
        const name = `${slot}@${account}`
        const counter = counters.get(name) ?? { account, slot, recorded: 0, held: 0 }
        counter.recorded += amount
        counters.set(name, counter)
      }
      for (const { posting } of held) {
        const counter = counters.get(`${posting.slot}@${posting.account}`)
        if (counter !== undefined) counter.held += posting.amount
      }
      const { accounts } = yield* dialect.peek([], [...new Set(seen.map(({ account }) => counterOf(account)))])
      return [...counters.values()].flatMap(({ account, held, recorded, slot }) => {
        const row = accounts.get(counterOf(account))
        const counted = (row === undefined ? 0 : takenOf(row, slot)) - held
        return counted === recorded ? [] : [{ account, slot, counted, recorded }]
      })
    })
  })

  private known(ids: ReadonlyArray<string>): Effect.Effect<ReadonlySet<string>, SqlError> {
    const statement = `select id from ${this.books.tables.charges} where id in (${this.texts(1)})`
    const rows = this.run<{ id: string }>(statement, JSON.stringify(ids.map(escape)))
    return Effect.map(rows, (rows) => new Set(rows.map(({ id }) => unescape(id))))
  }

  /** What has expired becomes lines before they are asked for. */
  private current<A>(question: Effect.Effect<A, SqlError>): Effect.Effect<A, SqlError> {
    return Effect.andThen(this.books.expire, question)
  }

  private ask<A>(operation: string, question: Effect.Effect<A, SqlError>): Effect.Effect<A, StoreUnavailable> {
    return this.books.commands.run(operation, patience, question)
  }

  private run<A extends object>(statement: string, ...params: ReadonlyArray<string>) {
    return this.books.sql.unsafe<A>(statement, params)
  }

  /** The texts of a parameter that is an array of JSON. */
  private texts(i: number): string {
    const parameter = this.parameter(i)
    return this.books.dialect.name === "postgres"
      ? `select jsonb_array_elements_text(${parameter}::jsonb)`
      : `select value from json_each(${parameter})`
  }

  private number(i: number): string {
    return `cast(${this.parameter(i)} as bigint)`
  }
}

/** A counter that is being compared. */
interface Counter {
  readonly account: string
  readonly slot: number
  recorded: number
  held: number
}

/** As texts: a sum may be larger than what a driver makes of an integer. */
const sums = [
  "cast(sum(case when outcome in ('saved', 'corrected') then 0 else 1 end) as text) as charges",
  "cast(sum(amount) as text) as amount",
  "cast(coalesce(sum(saved), 0) as text) as saved",
  "cast(coalesce(sum(input), 0) as text) as input",
  "cast(coalesce(sum(output), 0) as text) as output"
]

type SumRow = { readonly [D in Dimension]?: string | null } & {
  readonly charges: string
  readonly amount: string
  readonly saved: string
  readonly input: string
  readonly output: string
}

const sumOf = (row: SumRow, by: ReadonlyArray<Dimension>): Sum => ({
  ...Object.fromEntries(
    by.flatMap((dimension) => {
      const value = row[dimension]
      return typeof value === "string" ? [[dimension, unescape(value)]] : []
    })
  ),
  charges: Number(row.charges),
  amount: Number(row.amount),
  saved: Number(row.saved),
  tokens: { input: Number(row.input), output: Number(row.output) }
})

/** Books the entries of a post, and says by how much that changed their counters. */
const bookedOf = ({ entries }: Post, accounts: Accounts): ReadonlyArray<Posting> =>
  entries.flatMap((entry) => {
    if (entry.quota._tag === "Concurrency") return []
    const account = accounts.of(entry)
    const before = account.taken
    const settled = { amount: Math.max(0, -entry.amount), used: Math.max(0, entry.amount), at: accounts.now }
    quotas.correct(account, settled, accounts.now)
    const posting = bookings.postingOf(entry, account.taken - before, accounts.now)
    return posting === undefined || posting.amount === 0 ? [] : [posting]
  })
