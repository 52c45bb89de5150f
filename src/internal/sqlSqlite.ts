/** The statements of SQLite, which has one writer at a time: who is in a transaction has locked everything. */
import * as Clock from "effect/Clock"
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

export class Sqlite implements Dialect {
  readonly name = "sqlite"
  readonly opens = false
  private readonly sql: SqlClient
  private readonly offset: () => number
  private readonly statements: ReturnType<typeof statementsOf>

  constructor(sql: SqlClient, tables: Tables, offset: () => number) {
    this.sql = sql
    this.offset = offset
    this.statements = statementsOf(tables)
  }

  /** One that reads first could not be sure that it may write later. */
  readonly transaction = <A, E>(step: Effect.Effect<A, E>): Effect.Effect<A, E | SqlError> =>
    Effect.provideService(this.sql.withTransaction(step), BeginTransaction, "BEGIN IMMEDIATE")

  readonly snapshot = this.transaction

  look(leases: ReadonlyArray<string>, accounts: ReadonlyArray<string>) {
    return Effect.flatMap(this.now, (now) => {
      const looked = this.run<LookRow>(this.statements.look, JSON.stringify(leases), JSON.stringify(accounts), now)
      return Effect.map(looked, ([row]) => lookOf(row, now))
    })
  }

  peek(leases: ReadonlyArray<string>, accounts: ReadonlyArray<string>) {
    return this.look(leases, accounts)
  }

  write({ accounts, changed, charges, opened, postings }: Changes) {
    const { statements } = this
    return Effect.gen({ self: this }, function* () {
      if (some(accounts)) yield* this.run(statements.accounts, JSON.stringify(accounts))
      if (some(opened)) yield* this.run(statements.opened, JSON.stringify(opened))
      if (some(changed)) yield* this.run(statements.changed, JSON.stringify(changed))
      if (!some(charges)) return 0
      const written = yield* this.run(statements.charges, JSON.stringify(charges))
      if (some(postings)) yield* this.run(statements.postings, JSON.stringify(postings))
      return written.length
    })
  }

  /** They are opened by the first write. */
  open() {
    return Effect.void
  }

  due(limit: number) {
    return Effect.flatMap(this.now, (now) =>
      Effect.map(this.run<{ id: string }>(this.statements.due, now, limit), (rows) => rows.map(({ id }) => id))
    )
  }

  renew({ instance, leases, millis }: Renewal) {
    const { count, renewed, seen } = this.statements
    const all = Effect.gen({ self: this }, function* () {
      const now = yield* this.now
      yield* this.run(renewed, now, JSON.stringify(leases))
      yield* this.run(seen, instance, now + millis)
      const [row] = yield* this.run<{ n: unknown }>(count, now)
      return Number(row?.n)
    })
    return this.transaction(all)
  }

  sweep(limit: number, linesBefore: number) {
    const { forbidden, permitted, swept, sweptCharges } = this.statements
    const all = Effect.gen({ self: this }, function* () {
      const now = yield* this.now
      let most = 0
      for (const statement of swept) most = Math.max(most, (yield* this.run(statement, now, limit)).length)
      yield* this.run(permitted)
      most = Math.max(most, (yield* this.run(sweptCharges, now - linesBefore, limit)).length)
      yield* this.run(forbidden)
      return most
    })
    return this.transaction(all)
  }

  private readonly now = Effect.map(Clock.currentTimeMillis, (now) => now + this.offset())

  private run<A extends object>(statement: string, ...params: ReadonlyArray<unknown>) {
    return this.sql.unsafe<A>(statement, params)
  }
}

const some = (rows: ReadonlyArray<unknown> | undefined): boolean => rows !== undefined && rows.length > 0

const selected = (columns: ReadonlyArray<string>): string =>
  `select ${columns.map((column) => `value ->> '${column}'`).join()} from json_each(?1)`

const statementsOf = ({ accounts, charges, instances, leases, postings, sweeps }: Tables) => {
  const sweep = (table: string, condition: string) =>
    `delete from ${table} where rowid in (select rowid from ${table} where ${condition} limit ?2) returning 1`
  return {
    look: `select
      (select json_group_array(json_object('id', id, 'taken', taken, 'state', state, 'idle_at', idle_at)) from ${accounts}
        where id in (select value from json_each(?2) union
          select j.value from ${leases} l, json_each(l.accounts) j where l.id in (select value from json_each(?1)))) accounts,
      (select json_group_array(json_object('id', id, 'state', state, 'at', at, 'until', until, 'entries', entries,
        'accounts', accounts)) from ${leases} where id in (select value from json_each(?1))) leases,
      exists (select 1 from ${leases} where state = 0 and until <= ?3) due`,
    accounts: `insert into ${accounts} (id, taken, state, idle_at)
      ${selected(["id", "taken", "state", "idle_at"])} where true
      on conflict (id) do update set taken = excluded.taken, state = excluded.state, idle_at = excluded.idle_at`,
    opened: `insert into ${leases} (${leaseColumns.join()}) ${selected(leaseColumns)}`,
    changed: `insert or replace into ${leases} (${leaseColumns.join()}) ${selected(leaseColumns)}`,
    charges: `insert into ${charges} (${chargeColumns.map(quoted).join()}) ${selected(chargeColumns)} where true
      on conflict (id) do nothing returning 1`,
    postings: `insert into ${postings} (${postingColumns.join()}) ${selected(postingColumns)} where true
      on conflict do nothing`,
    due: `select id from ${leases} where state = 0 and until <= ?1 order by until limit ?2`,
    renewed: `update ${leases} set until = ?1 + (renewed.value ->> 'ttl') from json_each(?2) renewed
      where ${leases}.id = (renewed.value ->> 'id') and state = 0 and until > ?1`,
    seen: `insert into ${instances} (id, until) values (?1, ?2) on conflict (id) do update set until = ?2`,
    count: `select count(*) n from ${instances} where until > ?1`,
    swept: [
      sweep(accounts, "idle_at <= ?1"),
      sweep(leases, "state <> 0 and until <= ?1"),
      sweep(instances, "until <= ?1")
    ],
    permitted: `insert into ${sweeps} values (1)`,
    sweptCharges: sweep(charges, "at < ?1"),
    forbidden: `delete from ${sweeps}`
  }
}
