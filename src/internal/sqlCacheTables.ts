/** The table of a cache in a database, how it comes to be, and the statements on it. Every parameter is a text. */
import { headBytes } from "./cacheText.ts"
import type { Schema } from "./sqlStart.ts"

export const schemaOf = (prefix: string, pg: boolean): Schema => ({
  migrations: `${prefix}_cache_migrations`,
  name: "0001_cache",
  create: createOf(`${prefix}_cache`, pg),
  version: 1
})

const createOf = (table: string, pg: boolean): ReadonlyArray<string> => {
  const bytes = pg ? `text collate "C"` : "text"
  return [
    `create table ${table} (partition_id ${bytes} not null, id ${bytes} not null, expires_at bigint not null,
      bytes bigint not null, value text not null, primary key (partition_id, id))`,
    // finds what has expired and what goes next, and sums up without reading a value
    `create index ${table}_next on ${table} (expires_at, bytes)`
  ]
}

export interface Statements {
  /** Partition, id, most bytes of a text: the text, or the head of a longer one. */
  readonly get: string
  /** Partition, id, end, bytes, text. */
  readonly set: string
  /** Partition, id. */
  readonly delete: string
  /** Most rows; answers how many there were. */
  readonly clear: string
  /** The same of one partition, which comes first. */
  readonly clearPartition: string
  readonly size: string
  /** Instant, most rows; answers how many there were. */
  readonly expire: string
  /** Bytes to get rid of, most rows; answers the bytes of those that would have expired next. */
  readonly shrink: string
}

export const statementsOf = (prefix: string, pg: boolean): Statements => {
  const table = `${prefix}_cache`
  const text = (n: number) => (pg ? `$${n}::text` : `?${n}`)
  const number = (n: number) => (pg ? `$${n}::text::bigint` : `cast(?${n} as integer)`)
  // by their names: a row that another process changes meanwhile is still found
  const names = "partition_id, id"
  const lock = pg ? "for update" : ""
  const one = `partition_id = ${text(1)} and id = ${text(2)}`
  const some = (where: string, limit: number) => `delete from ${table} where (${names}) in
    (select ${names} from ${table} ${where} limit ${number(limit)} ${lock}) returning 1 as gone`
  return {
    get: `select case when octet_length(value) <= ${number(3)} then value else substr(value, 1, ${headBytes}) end as value,
      octet_length(value) > ${number(3)} as too_long from ${table} where ${one}`,
    set: `insert into ${table} (partition_id, id, expires_at, bytes, value)
      values (${text(1)}, ${text(2)}, ${number(3)}, ${number(4)}, ${text(5)})
      on conflict (partition_id, id) do update
      set expires_at = excluded.expires_at, bytes = excluded.bytes, value = excluded.value`,
    delete: `delete from ${table} where ${one}`,
    clear: some("", 1),
    clearPartition: some(`where partition_id = ${text(1)}`, 2),
    size: `select count(*) as entries, coalesce(sum(bytes), 0) as bytes from ${table}`,
    expire: some(`where expires_at <= ${number(1)} order by expires_at`, 2),
    shrink: `delete from ${table} where (${names}) in (select ${names} from
      (select ${names}, sum(bytes) over (order by expires_at, ${names}) - bytes as earlier from
        (select ${names}, expires_at, bytes from ${table} order by expires_at limit ${number(2)} ${lock}) as next) as sums
      where earlier < ${number(1)}) returning bytes`
  }
}
