/** The statements of Postgres: one to look and lock, one to write, and the clock of the server between them. */
import * as Effect from "effect/Effect"
import { BeginTransaction, type SqlClient } from "effect/sql/SqlClient"
import type { Changes, Dialect } from "./sqlDialect.ts"
import { chargeColumns, lookOf, postingColumns, quoted } from "./sqlSqlite.ts"
import type { Tables } from "./sqlTables.ts"

/** Milliseconds that a statement waits for a lock. */
const lockTimeout = 250

interface LookRow {
  readonly accounts: string
  readonly leases: string
  readonly due: unknown
  readonly now: unknown
}

export const postgres = (sql: SqlClient, tables: Tables, offset: () => number): Dialect => {
  const { accounts, charges, instances, leases, postings, sweeps } = tables
  const run = <A extends object>(statement: string, ...params: ReadonlyArray<unknown>) =>
    sql.unsafe<A>(statement, params)

  const looked = (locks: boolean) => {
    const lock = (table: string) =>
      locks ? `and (select done from settings) <> '' order by ${table}.id for update of ${table}` : ""
    return `with settings as materialized (select set_config('lock_timeout', '${lockTimeout}', true) as done),
      l as materialized (select l.* from ${leases} l where l.id in (select jsonb_array_elements_text($1::text::jsonb)) ${lock("l")}),
      names as (select jsonb_array_elements_text($2::text::jsonb) as id union
        select jsonb_array_elements_text(l.accounts::jsonb) from l),
      a as materialized (select a.* from ${accounts} a where a.id in (select id from names) ${lock("a")}),
      r as materialized (select (select json_agg(l) from l)::text as leases, (select json_agg(a) from a)::text as accounts),
      t as materialized (select r.*, ${clock("$3")} as now from r)
      select t.leases, t.accounts, t.now::text as now,
        case when exists (select 1 from ${leases} where state = 0 and until <= t.now) then 1 else 0 end as due from t`
  }
  const lookWith =
    (statement: string): Dialect["look"] =>
    (leases, accounts) =>
      Effect.map(run<LookRow>(statement, JSON.stringify(leases), JSON.stringify(accounts), `${offset()}`), ([row]) =>
        lookOf(row, Number(row?.now))
      )

  const leaseTypes = "id text, state integer, at bigint, until bigint, entries text, accounts text"
  const written = `with
    a as (update ${accounts} t set taken = x.taken, state = x.state, idle_at = x.idle_at
      from jsonb_to_recordset($1::text::jsonb) as x(id text, taken bigint, state text, idle_at bigint) where t.id = x.id),
    o as (insert into ${leases} (id, state, at, until, entries, accounts)
      select x.* from jsonb_to_recordset($2::text::jsonb) as x(${leaseTypes})),
    c as (update ${leases} t set state = x.state, until = x.until, entries = x.entries, accounts = x.accounts
      from jsonb_to_recordset($3::text::jsonb) as x(${leaseTypes}) where t.id = x.id),
    w as (insert into ${charges} (${chargeColumns.map(quoted).join()})
      select x.* from jsonb_to_recordset($4::text::jsonb) as x(${typed(chargeColumns)})
      on conflict (id) do nothing returning id),
    p as (insert into ${postings} (${postingColumns.join()})
      select x.* from jsonb_to_recordset($5::text::jsonb) as x(${typed(postingColumns)}) join w on w.id = x.charge)
    select count(*)::text as n from w`
  const write: Dialect["write"] = ({ accounts, changed, charges, opened, postings }: Changes) => {
    const params = [accounts, opened, changed, charges, postings].map((rows) => JSON.stringify(rows ?? []))
    return Effect.map(run<{ n: unknown }>(written, ...params), ([row]) => Number(row?.n))
  }

  // for an hour they are not swept, though nothing is taken of them
  const opened = `insert into ${accounts} (id, taken, state, idle_at)
    select id, 0, '', ${clock("$2")} + 3600000 from jsonb_array_elements_text($1::text::jsonb) as x(id) order by id
    on conflict (id) do nothing`
  const dueLeases = `select id from ${leases} where state = 0 and until <= ${clock("$1")}
    order by until limit $2::text::integer for update skip locked`

  const renewed = `with t as materialized (select ${clock("$4")} as now),
    x as (select * from jsonb_to_recordset($1::text::jsonb) as x(id text, ttl bigint)),
    l as materialized (select l.id from ${leases} l join x on x.id = l.id order by l.id for update of l),
    u as (update ${leases} r set until = t.now + x.ttl from x, l, t
      where r.id = x.id and l.id = x.id and r.state = 0 and r.until > t.now),
    i as (insert into ${instances} (id, until) select $2::text, t.now + $3::text::bigint from t
      on conflict (id) do update set until = excluded.until)
    select (1 + count(*))::text as n from ${instances}, t where until > t.now and id <> $2::text`

  const sweepRows = (table: string, id: string, condition: string) =>
    `with gone as (select ${id} from ${table} where ${condition} limit $2::text::integer for update skip locked),
      d as (delete from ${table} where ${id} in (select ${id} from gone) returning 1) select count(*)::text as n from d`
  const swept = [
    sweepRows(accounts, "id", `idle_at <= ${clock("$1")}`),
    sweepRows(leases, "id", `state <> 0 and until <= ${clock("$1")}`),
    sweepRows(instances, "id", `until <= ${clock("$1")}`)
  ]
  const sweepCharges = sweepRows(charges, "seq", `at < ${clock("$1")}`)
  const sweep: Dialect["sweep"] = (limit, linesBefore) =>
    sql.withTransaction(
      Effect.gen(function* () {
        let most = 0
        const some = Effect.fnUntraced(function* (statement: string, offset: number) {
          const [row] = yield* run<{ n: unknown }>(statement, `${offset}`, `${limit}`)
          most = Math.max(most, Number(row?.n))
        })
        for (const statement of swept) yield* some(statement, offset())
        yield* run(`insert into ${sweeps} values (1)`)
        yield* some(sweepCharges, offset() - linesBefore)
        yield* run(`delete from ${sweeps}`)
        return most
      })
    )

  return {
    name: "postgres",
    transaction: sql.withTransaction,
    snapshot: (step) =>
      Effect.provideService(sql.withTransaction(step), BeginTransaction, "BEGIN ISOLATION LEVEL REPEATABLE READ"),
    opens: true,
    look: lookWith(looked(true)),
    peek: lookWith(looked(false)),
    write,
    open: (accounts) => Effect.asVoid(run(opened, JSON.stringify(accounts), `${offset()}`)),
    due: (limit) =>
      Effect.map(run<{ id: string }>(dueLeases, `${offset()}`, `${limit}`), (rows) => rows.map(({ id }) => id)),
    renew: ({ instance, leases, millis }) =>
      Effect.map(run<{ n: unknown }>(renewed, JSON.stringify(leases), instance, `${millis}`, `${offset()}`), ([row]) =>
        Number(row?.n)
      ),
    sweep
  }
}

/** Milliseconds of the server, moved by a parameter; every parameter is a text, which any driver sends as it is. */
const clock = (offset: string): string =>
  `(floor(extract(epoch from clock_timestamp()) * 1000)::bigint + ${offset}::text::bigint)`

const integers = new Set(["at", "input", "output", "amount", "saved", "own", "position", "slot", "ends_at"])

const typed = (columns: ReadonlyArray<string>): string =>
  columns.map((column) => `${quoted(column)} ${integers.has(column) ? "bigint" : "text"}`).join()
