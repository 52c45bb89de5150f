/** The statements of Postgres: one to look and lock, one to write, and the clock of the server between them. */
import * as Effect from "effect/Effect"
import { BeginTransaction, type SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import {
  type Changes,
  chargeColumns,
  type Dialect,
  leaseColumns,
  lookOf,
  type LookRow,
  postingColumns,
  quoted,
  type Renewal
} from "./sqlDialect.ts"
import type { Tables } from "./sqlTables.ts"

/** Milliseconds that a statement waits for a lock. */
const lockTimeout = 250

export class Postgres implements Dialect {
  readonly name = "postgres"
  readonly opens = true
  private readonly sql: SqlClient
  private readonly offset: () => number
  private readonly statements: ReturnType<typeof statementsOf>

  constructor(sql: SqlClient, tables: Tables, offset: () => number) {
    this.sql = sql
    this.offset = offset
    this.statements = statementsOf(tables)
  }

  readonly transaction = <A, E>(step: Effect.Effect<A, E>): Effect.Effect<A, E | SqlError> =>
    this.sql.withTransaction(step)

  readonly snapshot = <A, E>(step: Effect.Effect<A, E>): Effect.Effect<A, E | SqlError> =>
    Effect.provideService(this.transaction(step), BeginTransaction, "BEGIN ISOLATION LEVEL REPEATABLE READ")

  look(leases: ReadonlyArray<string>, accounts: ReadonlyArray<string>) {
    return this.lookBy(this.statements.look, leases, accounts)
  }

  peek(leases: ReadonlyArray<string>, accounts: ReadonlyArray<string>) {
    return this.lookBy(this.statements.peek, leases, accounts)
  }

  write({ accounts, changed, charges, opened, postings }: Changes) {
    const rows = [accounts, opened, changed, charges, postings]
    return this.counted(this.statements.write, ...rows.map((rows) => JSON.stringify(rows ?? [])))
  }

  open(accounts: ReadonlyArray<string>) {
    return Effect.asVoid(this.run(this.statements.open, JSON.stringify(accounts), `${this.offset()}`))
  }

  due(limit: number) {
    const due = this.run<{ id: string }>(this.statements.due, `${this.offset()}`, `${limit}`)
    return Effect.map(due, (rows) => rows.map(({ id }) => id))
  }

  renew({ instance, leases, millis }: Renewal) {
    return this.counted(this.statements.renew, JSON.stringify(leases), instance, `${millis}`, `${this.offset()}`)
  }

  sweep(limit: number, linesBefore: number) {
    const { forbidden, permitted, swept, sweptCharges } = this.statements
    const all = Effect.gen({ self: this }, function* () {
      let most = 0
      for (const statement of swept)
        most = Math.max(most, yield* this.counted(statement, `${this.offset()}`, `${limit}`))
      yield* this.run(permitted)
      most = Math.max(most, yield* this.counted(sweptCharges, `${this.offset() - linesBefore}`, `${limit}`))
      yield* this.run(forbidden)
      return most
    })
    return this.transaction(all)
  }

  private lookBy(statement: string, leases: ReadonlyArray<string>, accounts: ReadonlyArray<string>) {
    const params = [JSON.stringify(leases), JSON.stringify(accounts), `${this.offset()}`]
    const looked = this.run<LookRow & { readonly now: unknown }>(statement, ...params)
    return Effect.map(looked, ([row]) => lookOf(row, Number(row?.now)))
  }

  private counted(statement: string, ...params: ReadonlyArray<string>) {
    return Effect.map(this.run<{ n: unknown }>(statement, ...params), ([row]) => Number(row?.n))
  }

  private run<A extends object>(statement: string, ...params: ReadonlyArray<string>) {
    return this.sql.unsafe<A>(statement, params)
  }
}

/** Milliseconds of the server, moved by a parameter; every parameter is a text, which any driver sends as it is. */
const clock = (offset: string): string =>
  `(floor(extract(epoch from clock_timestamp()) * 1000)::bigint + ${offset}::text::bigint)`

const integers = new Set("at until input output amount saved own position slot ends_at".split(" "))

/** The rows of a parameter that is an array of JSON. */
const rowsOf = (parameter: string, columns: ReadonlyArray<string>): string => {
  const typed = columns.map((column) => `${quoted(column)} ${integers.has(column) ? "bigint" : "text"}`)
  return `jsonb_to_recordset(${parameter}::text::jsonb) as x(${typed.join()})`
}

const textsOf = (parameter: string): string => `jsonb_array_elements_text(${parameter}::text::jsonb)`

const statementsOf = (tables: Tables) => {
  const { accounts, charges, instances, leases, postings, sweeps } = tables
  const lease = (parameter: string) =>
    `jsonb_to_recordset(${parameter}::text::jsonb) as x(id text, state integer, at bigint, until bigint, entries text, accounts text)`
  const sweep = (table: string, id: string, condition: string) =>
    `with gone as (select ${id} from ${table} where ${condition} limit $2::text::integer for update skip locked),
      d as (delete from ${table} where ${id} in (select ${id} from gone) returning 1) select count(*)::text as n from d`
  return {
    look: lookOfTables(tables, true),
    peek: lookOfTables(tables, false),
    write: `with
      a as (update ${accounts} t set taken = x.taken, state = x.state, idle_at = x.idle_at
        from jsonb_to_recordset($1::text::jsonb) as x(id text, taken bigint, state text, idle_at bigint) where t.id = x.id),
      o as (insert into ${leases} (${leaseColumns.join()}) select x.* from ${lease("$2")}),
      c as (update ${leases} t set state = x.state, at = x.at, until = x.until, entries = x.entries, accounts = x.accounts
        from ${lease("$3")} where t.id = x.id),
      w as (insert into ${charges} (${chargeColumns.map(quoted).join()}) select x.* from ${rowsOf("$4", chargeColumns)}
        on conflict (id) do nothing returning id),
      p as (insert into ${postings} (${postingColumns.join()})
        select x.* from ${rowsOf("$5", postingColumns)} join w on w.id = x.charge)
      select count(*)::text as n from w`,
    // for an hour they are not swept, though nothing is taken of them
    open: `insert into ${accounts} (id, taken, state, idle_at)
      select id, 0, '', ${clock("$2")} + 3600000 from ${textsOf("$1")} as x(id) order by id on conflict (id) do nothing`,
    due: `select id from ${leases} where state = 0 and until <= ${clock("$1")}
      order by until limit $2::text::integer for update skip locked`,
    renew: `with t as materialized (select ${clock("$4")} as now),
      x as (select x.id, x.ttl from jsonb_to_recordset($1::text::jsonb) as x(id text, ttl bigint)),
      l as materialized (select l.id from ${leases} l join x on x.id = l.id order by l.id for update of l),
      u as (update ${leases} r set until = t.now + x.ttl from x, l, t
        where r.id = x.id and l.id = x.id and r.state = 0 and r.until > t.now),
      i as (insert into ${instances} (id, until) select $2::text, t.now + $3::text::bigint from t
        on conflict (id) do update set until = excluded.until)
      select (1 + count(*))::text as n from ${instances}, t where until > t.now and id <> $2::text`,
    swept: [
      sweep(accounts, "id", `idle_at <= ${clock("$1")}`),
      sweep(leases, "id", `state <> 0 and until <= ${clock("$1")}`),
      sweep(instances, "id", `until <= ${clock("$1")}`)
    ],
    permitted: `insert into ${sweeps} values (1)`,
    sweptCharges: sweep(charges, "seq", `at < ${clock("$1")}`),
    forbidden: `delete from ${sweeps}`
  }
}

/** Step by step: what a later part needs of an earlier one keeps their order, and the clock is read behind all locks. */
const lookOfTables = ({ accounts, leases }: Tables, locks: boolean): string => {
  const lock = (table: string) =>
    locks ? `and (select done from settings) <> '' order by ${table}.id for update of ${table}` : ""
  return `with settings as materialized (select set_config('lock_timeout', '${lockTimeout}', true) as done),
    l as materialized (select l.* from ${leases} l where l.id in (select ${textsOf("$1")}) ${lock("l")}),
    names as (select ${textsOf("$2")} as id union select ${textsOf("l.accounts")} from l),
    a as materialized (select a.* from ${accounts} a where a.id in (select id from names) ${lock("a")}),
    r as materialized (select (select json_agg(l) from l)::text as leases, (select json_agg(a) from a)::text as accounts),
    t as materialized (select r.*, ${clock("$3")} as now from r)
    select t.leases, t.accounts, t.now::text as now,
      case when exists (select 1 from ${leases} where state = 0 and until <= t.now) then 1 else 0 end as due from t`
}
