/** The statements of SQLite, which has one writer at a time: who is in a transaction has locked everything. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import { BeginTransaction, type SqlClient } from "effect/sql/SqlClient"
import type { Changes, Dialect, Look } from "./sqlDialect.ts"
import type { AccountRow, LeaseRow } from "./sqlRows.ts"
import type { Tables } from "./sqlTables.ts"

interface LookRow {
  readonly accounts: string
  readonly leases: string
  readonly due: unknown
}

export const sqlite = (sql: SqlClient, tables: Tables, offset: () => number): Dialect => {
  const { accounts, charges, instances, leases, postings, sweeps } = tables
  const run = <A extends object>(statement: string, ...params: ReadonlyArray<unknown>) =>
    sql.unsafe<A>(statement, params)
  // a transaction that reads first and writes later could not be sure that it may
  const transaction: Dialect["transaction"] = (step) =>
    Effect.provideService(sql.withTransaction(step), BeginTransaction, "BEGIN IMMEDIATE")
  const now = Effect.map(Clock.currentTimeMillis, (now) => now + offset())

  const looked = `select
    (select json_group_array(json_object('id', id, 'taken', taken, 'state', state, 'idle_at', idle_at)) from ${accounts}
      where id in (select value from json_each(?2) union
        select j.value from ${leases} l, json_each(l.accounts) j where l.id in (select value from json_each(?1)))) accounts,
    (select json_group_array(json_object('id', id, 'state', state, 'at', at, 'until', until, 'entries', entries,
      'accounts', accounts)) from ${leases} where id in (select value from json_each(?1))) leases,
    exists (select 1 from ${leases} where state = 0 and until <= ?3) due`
  const look: Dialect["look"] = (leases, accounts) =>
    Effect.flatMap(now, (now) =>
      Effect.map(run<LookRow>(looked, JSON.stringify(leases), JSON.stringify(accounts), now), ([row]) =>
        lookOf(row, now)
      )
    )

  const writeAccounts = `insert into ${accounts} (id, taken, state, idle_at)
    select value ->> 'id', value ->> 'taken', value ->> 'state', value ->> 'idle_at' from json_each(?1) where true
    on conflict (id) do update set taken = excluded.taken, state = excluded.state, idle_at = excluded.idle_at`
  const leaseColumns = ["id", "state", "at", "until", "entries", "accounts"]
  const openLeases = `insert into ${leases} (${leaseColumns.join()}) ${selected(leaseColumns)}`
  const changeLeases = `insert or replace into ${leases} (${leaseColumns.join()}) ${selected(leaseColumns)}`
  const writeCharges = `insert into ${charges} (${chargeColumns.map(quoted).join()}) ${selected(chargeColumns)} where true
    on conflict (id) do nothing returning 1`
  const writePostings = `insert into ${postings} (${postingColumns.join()}) ${selected(postingColumns)} where true
    on conflict do nothing`
  const write: Dialect["write"] = Effect.fnUntraced(function* (changes: Changes) {
    if (some(changes.accounts)) yield* run(writeAccounts, JSON.stringify(changes.accounts))
    if (some(changes.opened)) yield* run(openLeases, JSON.stringify(changes.opened))
    if (some(changes.changed)) yield* run(changeLeases, JSON.stringify(changes.changed))
    if (!some(changes.charges)) return 0
    const written = yield* run(writeCharges, JSON.stringify(changes.charges))
    if (some(changes.postings)) yield* run(writePostings, JSON.stringify(changes.postings))
    return written.length
  })

  const dueLeases = `select id from ${leases} where state = 0 and until <= ?1 order by until limit ?2`
  const renewLeases = `update ${leases} set until = ?1 + (renewed.value ->> 'ttl') from json_each(?2) renewed
    where ${leases}.id = (renewed.value ->> 'id') and state = 0 and until > ?1`
  const renewInstance = `insert into ${instances} (id, until) values (?1, ?2) on conflict (id) do update set until = ?2`
  const countInstances = `select count(*) n from ${instances} where until > ?1`
  const renew: Dialect["renew"] = ({ instance, leases, millis }) =>
    transaction(
      Effect.gen(function* () {
        const at = yield* now
        yield* run(renewLeases, at, JSON.stringify(leases))
        yield* run(renewInstance, instance, at + millis)
        const [row] = yield* run<{ n: unknown }>(countInstances, at)
        return Number(row?.n)
      })
    )

  const sweepRows = (table: string, condition: string) =>
    `delete from ${table} where rowid in (select rowid from ${table} where ${condition} limit ?2) returning 1`
  const swept = [
    sweepRows(accounts, "idle_at <= ?1"),
    sweepRows(leases, "state <> 0 and until <= ?1"),
    sweepRows(instances, "until <= ?1")
  ]
  const sweepCharges = sweepRows(charges, "at < ?1")
  const sweep: Dialect["sweep"] = (limit, linesBefore) =>
    transaction(
      Effect.gen(function* () {
        const at = yield* now
        let most = 0
        for (const statement of swept) most = Math.max(most, (yield* run(statement, at, limit)).length)
        yield* run(`insert into ${sweeps} values (1)`)
        most = Math.max(most, (yield* run(sweepCharges, at - linesBefore, limit)).length)
        yield* run(`delete from ${sweeps}`)
        return most
      })
    )

  return {
    name: "sqlite",
    transaction,
    snapshot: transaction,
    opens: false,
    look,
    peek: look,
    write,
    open: () => Effect.void,
    due: (limit) =>
      Effect.flatMap(now, (now) =>
        Effect.map(run<{ id: string }>(dueLeases, now, limit), (rows) => rows.map(({ id }) => id))
      ),
    renew,
    sweep
  }
}

const some = (rows: ReadonlyArray<unknown> | undefined): boolean => rows !== undefined && rows.length > 0

export const chargeColumns = [
  ..."id at call provider model day prices tenant user feature run input output amount saved outcome note".split(" ")
]
export const postingColumns = [..."charge position counter account slot ends_at amount own".split(" ")]

/** Two names of columns are words of SQL. */
export const quoted = (column: string): string => (column === "call" || column === "user" ? `"${column}"` : column)

const selected = (columns: ReadonlyArray<string>): string =>
  `select ${columns.map((column) => `value ->> '${column}'`).join()} from json_each(?1)`

export const lookOf = (row: LookRow | undefined, now: number): Look => {
  const rows = JSON.parse(row?.accounts ?? "[]") as ReadonlyArray<AccountRow> // the columns that are asked for
  const leases = JSON.parse(row?.leases ?? "[]") as ReadonlyArray<LeaseRow> // the same
  return { now, due: Boolean(Number(row?.due)), accounts: new Map(rows.map((row) => [row.id, row])), leases }
}
