/** The tables of a SQL store, and how they come to be: by numbered steps, each of which is taken once. */
import type { Schema } from "./sqlStart.ts"

export interface Tables {
  readonly accounts: string
  readonly leases: string
  readonly instances: string
  readonly charges: string
  readonly postings: string
  /** Has a row while old lines are being deleted, and only for who deletes them. */
  readonly sweeps: string
  readonly migrations: string
}

export const tablesOf = (prefix: string): Tables => ({
  accounts: `${prefix}_accounts`,
  leases: `${prefix}_leases`,
  instances: `${prefix}_instances`,
  charges: `${prefix}_charges`,
  postings: `${prefix}_postings`,
  sweeps: `${prefix}_sweeps`,
  migrations: `${prefix}_migrations`
})

export const schemaOf = (tables: Tables, pg: boolean): Schema => ({
  migrations: tables.migrations,
  name: "0001_tables",
  create: [...create1(tables, pg), ...(pg ? guardsPg(tables) : guardsSqlite(tables))],
  version: 1
})

const create1 = (
  { accounts, charges, instances, leases, postings, sweeps }: Tables,
  pg: boolean
): ReadonlyArray<string> => {
  const sequence = pg ? "bigint generated always as identity primary key" : "integer primary key autoincrement"
  // the order of SQLite's texts is that of their bytes, which finds a day as well as any
  const bytes = pg ? `text collate "C"` : "text"
  return [
    `create table ${accounts} (id ${bytes} primary key, taken bigint not null, state text not null, idle_at bigint)`,
    `create index ${accounts}_idle on ${accounts} (idle_at)`,
    `create table ${leases} (id ${bytes} primary key, state integer not null, at bigint not null, until bigint not null,
      entries text not null, accounts text not null)`,
    `create index ${leases}_open on ${leases} (until) where state = 0`,
    `create index ${leases}_ended on ${leases} (until) where state <> 0`,
    `create table ${instances} (id ${bytes} primary key, until bigint not null)`,
    `create table ${charges} (seq ${sequence}, id ${bytes} not null unique, at bigint not null, "call" text not null,
      provider text not null, model text not null, day ${bytes} not null, prices text not null, tenant ${bytes},
      "user" text, feature text, run text, input bigint, output bigint, amount bigint not null, saved bigint,
      outcome text not null, note text)`,
    `create index ${charges}_at on ${charges} (at, seq)`,
    `create index ${charges}_day on ${charges} (day)`,
    // a tenant may be longer than an ordered index of Postgres takes
    `create index ${charges}_tenant on ${charges} ${pg ? "using hash " : ""}(tenant)`,
    `create table ${postings} (charge ${bytes} not null references ${charges} (id) on delete cascade,
      position integer not null, counter ${bytes} not null, account text, slot bigint not null, ends_at bigint not null,
      amount bigint not null, own integer not null, primary key (charge, position))`,
    `create index ${postings}_counter on ${postings} (counter, ends_at)`,
    `create index ${postings}_end on ${postings} (ends_at)`,
    `create table ${sweeps} (permit integer not null)`
  ]
}

/** What of a line may be changed: who it was, when that is forgotten. */
const facts = `id, at, "call", provider, model, day, prices, input, output, amount, saved, outcome`

const guardsSqlite = ({ charges, postings, sweeps }: Tables): ReadonlyArray<string> => {
  const refuse = `begin select raise(abort, 'lines of the ledger are never changed'); end`
  const unlessSwept = `when not exists (select 1 from ${sweeps})`
  return [
    `create trigger ${charges}_unchanged before update of ${facts} on ${charges} ${refuse}`,
    `create trigger ${charges}_kept before delete on ${charges} ${unlessSwept} ${refuse}`,
    `create trigger ${postings}_unchanged before update on ${postings} ${refuse}`,
    `create trigger ${postings}_kept before delete on ${postings} ${unlessSwept} ${refuse}`
  ]
}

const guardsPg = ({ charges, postings, sweeps }: Tables): ReadonlyArray<string> => {
  const run = `for each row execute function ${charges}_guard()`
  const all = `for each statement execute function ${charges}_guard()`
  return [
    `create function ${charges}_guard() returns trigger language plpgsql as $guard$ begin
      if tg_op = 'DELETE' and exists (select 1 from ${sweeps}) then return old; end if;
      raise exception 'lines of the ledger are never changed';
    end $guard$`,
    `create trigger ${charges}_unchanged before update of ${facts} on ${charges} ${run}`,
    `create trigger ${charges}_kept before delete on ${charges} ${run}`,
    `create trigger ${charges}_whole before truncate on ${charges} ${all}`,
    `create trigger ${postings}_unchanged before update on ${postings} ${run}`,
    `create trigger ${postings}_kept before delete on ${postings} ${run}`,
    `create trigger ${postings}_whole before truncate on ${postings} ${all}`
  ]
}
