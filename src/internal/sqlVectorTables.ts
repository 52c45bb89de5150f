/** The table of a vector index in a database, how it comes to be, and the statements on it. */
import type { Schema } from "./sqlStart.ts"

export const schemaOf = (prefix: string, pg: boolean): Schema => ({
  migrations: `${prefix}_vectors_migrations`,
  name: "0001_vectors",
  create: createOf(`${prefix}_vectors`, pg),
  version: 1
})

const createOf = (table: string, pg: boolean): ReadonlyArray<string> => {
  const bytes = pg ? `text collate "C"` : "text"
  return [
    `create table ${table} (partition_id ${bytes} not null, id ${bytes} not null, tenant_id ${bytes} not null,
      expires_at bigint not null, bytes bigint not null, dimensions integer not null, value text not null,
      vector ${pg ? "bytea" : "blob"} not null, primary key (partition_id, id))`,
    // in the order in which a partition is read, and tells whether it has others
    `create index ${table}_order on ${table} (partition_id, dimensions, expires_at, id)`,
    `create index ${table}_tenant on ${table} (tenant_id)`,
    // finds what has expired and what goes next, and sums up without reading a vector
    `create index ${table}_next on ${table} (expires_at, bytes)`
  ]
}

/** Parameters are texts, but for vectors. Those that delete answer with a row for each row that is gone. */
export interface Statements {
  /** Partition, id, tenant, end, bytes, dimensions, text, vector, now: one row, or none where the partition has others. */
  readonly add: string
  /** Partition, dimensions, now, end and id of the last one before, most rows: those that end last come first. */
  readonly page: string
  /** Partition, id, most bytes of a text. */
  readonly text: string
  /** Partition, id. */
  readonly remove: string
  /** Most rows. */
  readonly clear: string
  /** The same of one tenant, who comes first. */
  readonly clearTenant: string
  readonly size: string
  /** Now, most rows. */
  readonly expire: string
  /** Most rows of a partition, most rows. */
  readonly trim: string
  /** Bytes to get rid of, most rows; answers the bytes of those that would have expired next. */
  readonly shrink: string
}

export const statementsOf = (prefix: string, pg: boolean): Statements => {
  const table = `${prefix}_vectors`
  const text = (n: number) => (pg ? `$${n}::text` : `?${n}`)
  const number = (n: number) => (pg ? `$${n}::text::bigint` : `cast(?${n} as integer)`)
  const vector = (n: number) => (pg ? `$${n}::bytea` : `?${n}`)
  // by their names: a row that another process changes meanwhile is still found
  const names = "partition_id, id"
  const lock = pg ? "for update" : ""
  const one = `partition_id = ${text(1)} and id = ${text(2)}`
  const some = (where: string, limit: number) => `delete from ${table} where (${names}) in
    (select ${names} from ${table} ${where} limit ${number(limit)} ${lock}) returning 1 as gone`
  const other = (than: string) => `not exists (select 1 from ${table} where partition_id = ${text(1)}
    and dimensions ${than} ${number(6)} and expires_at > ${number(9)})`
  const columns = ["tenant_id", "expires_at", "bytes", "dimensions", "value", "vector"]
  return {
    add: `insert into ${table} (${names}, ${columns.join(", ")})
      select ${text(1)}, ${text(2)}, ${text(3)}, ${number(4)}, ${number(5)}, ${number(6)}, ${text(7)}, ${vector(8)}
      where ${other("<")} and ${other(">")}
      on conflict (${names}) do update set ${columns.map((column) => `${column} = excluded.${column}`).join(", ")}
      returning 1 as kept`,
    page: `select id, expires_at, case when octet_length(vector) = 4 * dimensions then vector end as vector from ${table}
      where partition_id = ${text(1)} and dimensions = ${number(2)} and expires_at > ${number(3)}
      and (expires_at, id) < (${number(4)}, ${text(5)}) order by expires_at desc, id desc limit ${number(6)}`,
    text: `select case when octet_length(value) <= ${number(3)} then value end as value from ${table} where ${one}`,
    remove: `delete from ${table} where ${one}`,
    clear: some("", 1),
    clearTenant: some(`where tenant_id = ${text(1)}`, 2),
    size: `select count(*) as entries, coalesce(sum(bytes), 0) as bytes from ${table}`,
    expire: some(`where expires_at <= ${number(1)} order by expires_at`, 2),
    trim: `delete from ${table} where (${names}) in (select ${names} from (select ${names},
      row_number() over (partition by partition_id, dimensions order by expires_at desc, id desc) as place from ${table})
      as places where place > ${number(1)} limit ${number(2)}) returning 1 as gone`,
    shrink: `delete from ${table} where (${names}) in (select ${names} from
      (select ${names}, sum(bytes) over (order by expires_at, ${names}) - bytes as earlier from
        (select ${names}, expires_at, bytes from ${table} order by expires_at limit ${number(2)} ${lock}) as next) as sums
      where earlier < ${number(1)}) returning bytes`
  }
}
