/** A vector index in a database: what is written is one statement, and a search reads a partition in pages. */
import { Buffer } from "node:buffer"
import * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import type * as Scope from "effect/Scope"
import type { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import * as Metrics from "../Metrics.ts"
import type { Match, NearestOptions, Service, Size, Tenant } from "../VectorIndex.ts"
import { CacheSweeper } from "./cacheSweeper.ts"
import type { StoreUnavailable } from "./reasons.ts"
import type { Commands } from "./sqlCommands.ts"
import { idOf } from "./sqlRows.ts"
import { opened } from "./sqlStart.ts"
import { schemaOf, type Statements, statementsOf } from "./sqlVectorTables.ts"
import {
  accepted,
  Best,
  bytesOf,
  dot,
  fromBytes,
  instant,
  isUnit,
  maxTextBytes,
  otherDimensions,
  readText,
  unitOf,
  written
} from "./vectors.ts"

export interface Settings {
  readonly prefix: string
  /** Milliseconds. */
  readonly commandTimeout: number
  /** Of a partition. */
  readonly maxEntries: number
  readonly maxBytes: number
}

/** Milliseconds that tidying the table and summing it up may take. */
const longTimeout = 30_000
/** Rows deleted by one statement, and the statements after which tidying or clearing gives up. */
const rows = 500
const maxSteps = 100_000

/** What a row weighs beside its texts and its vector. */
const overhead = 100

/** Bytes of the vectors that are read at once. */
const pageBytes = 2 ** 21

export const open = (client: SqlClient, settings: Settings): Effect.Effect<Index, StoreUnavailable, Scope.Scope> =>
  opened(
    client,
    (isPostgres) => schemaOf(settings.prefix, isPostgres),
    (sql, commands, context) => new Index(sql, commands, settings, context)
  )

export class Index implements Service {
  readonly external = true
  private readonly sql: SqlClient
  private readonly commands: Commands
  private readonly settings: Settings
  private readonly statements: Statements
  private readonly sweeper: CacheSweeper
  private readonly corrupt: Metric.Metric<number, unknown>

  constructor(sql: SqlClient, commands: Commands, settings: Settings, context: Context.Context<never>) {
    this.sql = sql
    this.commands = commands
    this.settings = settings
    this.statements = statementsOf(settings.prefix, commands.store === "postgres")
    this.sweeper = new CacheSweeper(context, settings.maxBytes, Effect.ignore(this.sweep))
    this.corrupt = Metrics.cacheCorrupt(commands.store)
  }

  readonly add: Service["add"] = (partition, item, tenant) =>
    Effect.gen({ self: this }, function* () {
      const ready = yield* written(item)
      if (ready === undefined) {
        yield* this.remove(partition, item.id)
        return
      }
      const { now, text, unit } = ready
      const names = [partitionOf(partition), idOf("V", item.id), tenantOf(tenant)]
      const vector = bytesOf(unit)
      const bytes = [...names, text].reduce((sum, text) => sum + Buffer.byteLength(text), overhead + vector.byteLength)
      const numbers = [instant(item.expiresAt), bytes, unit.length].map(String)
      const params = [...names, ...numbers, text, vector, `${now}`]
      const kept = yield* this.ask("add", this.statements.add, params)
      if (kept.length === 0) yield* otherDimensions(unit.length)
      this.sweeper.wrote(bytes)
    })

  readonly nearest: Service["nearest"] = (partition, vector, options) => {
    const id = partitionOf(partition)
    return Effect.gen({ self: this }, function* () {
      const unit = yield* accepted(unitOf(vector))
      const { corrupt, found } = yield* this.commands.run(
        "nearest",
        this.settings.commandTimeout,
        this.search(id, unit, options)
      )
      for (const one of corrupt) {
        yield* Metric.update(this.corrupt, 1)
        yield* Effect.ignore(this.ask("remove", this.statements.remove, [id, one]))
      }
      return found
    })
  }

  readonly remove: Service["remove"] = (partition, id) =>
    Effect.asVoid(this.ask("remove", this.statements.remove, [partitionOf(partition), idOf("V", id)]))

  readonly clear: Service["clear"] = (only) => {
    const { clear, clearTenant } = this.statements
    const some =
      only === undefined
        ? this.askLong("clear", clear, [`${rows}`])
        : this.askLong("clear", clearTenant, [tenantOf(only.tenant), `${rows}`])
    return Effect.asVoid(Effect.repeat(some, { until: (gone) => gone.length === 0, times: maxSteps }))
  }

  get size(): Effect.Effect<{ readonly entries: number; readonly bytes: number }, StoreUnavailable> {
    const sums = this.askLong<Record<keyof Size, unknown>>("size", this.statements.size, [])
    return Effect.map(sums, ([row]) => ({ entries: Number(row?.entries), bytes: Number(row?.bytes) }))
  }

  /** Whether it is tidying up. */
  get sweeping(): boolean {
    return this.sweeper.running
  }

  readonly close: Effect.Effect<void> = Effect.suspend(() => this.sweeper.close)

  /** Pages of vectors first, and then the texts of those that are nearest. */
  private search(partition: string, unit: Float32Array, options: NearestOptions): Effect.Effect<Searched, SqlError> {
    return Effect.gen({ self: this }, function* () {
      const best = new Best<string>(options)
      const corrupt: Array<string> = []
      const now = yield* Clock.currentTimeMillis
      const most = Math.max(16, Math.floor(pageBytes / unit.byteLength))
      let last: Pick<Row, "id" | "expires_at"> = { id: "", expires_at: after }
      for (let left = this.settings.maxEntries; left > 0 && best.limit > 0;) {
        const size = Math.min(left, most)
        const params = [partition, unit.length, now, last.expires_at, last.id, size].map(String)
        const page = yield* this.sql.unsafe<Row>(this.statements.page, params)
        for (const row of page) compare(row, unit, best, corrupt)
        const end = page.at(-1)
        if (end === undefined || page.length < size) break
        last = end
        left -= size
      }
      const found: Array<Match> = []
      for (const { similarity, value } of best.found) {
        const params = [partition, value, `${maxTextBytes}`]
        const [row] = yield* this.sql.unsafe<{ readonly value: unknown }>(this.statements.text, params)
        if (row === undefined) continue // it went meanwhile
        const read = typeof row.value === "string" ? readText(row.value) : undefined
        if (read === undefined) corrupt.push(value)
        else found.push({ id: read[0], similarity, data: read[1] })
      }
      return { found, corrupt }
    })
  }

  /** What has expired, what is too much of a partition, and then what would expire next, until the rest fits. */
  private get sweep(): Effect.Effect<void, StoreUnavailable> {
    const { expire, shrink, trim } = this.statements
    const all = (statement: string, first: number) =>
      Effect.repeat(this.askLong("sweep", statement, [`${first}`, `${rows}`]), {
        until: (gone) => gone.length < rows,
        times: maxSteps
      })
    return Effect.gen({ self: this }, function* () {
      yield* all(expire, yield* Clock.currentTimeMillis)
      yield* all(trim, this.settings.maxEntries)
      let excess = (yield* this.size).bytes - this.settings.maxBytes
      for (let i = 0; excess > 0 && i < maxSteps; i++) {
        const gone = yield* this.askLong<{ readonly bytes: unknown }>("sweep", shrink, [`${excess}`, `${rows}`])
        if (gone.length === 0) return
        excess -= gone.reduce((sum, { bytes }) => sum + Number(bytes), 0)
      }
    })
  }

  private ask(operation: string, statement: string, params: ReadonlyArray<string | Uint8Array>) {
    return this.commands.run(operation, this.settings.commandTimeout, this.sql.unsafe(statement, params))
  }

  private askLong<A extends object>(operation: string, statement: string, params: ReadonlyArray<string>) {
    const asked: Effect.Effect<ReadonlyArray<A>, SqlError> = this.sql.unsafe<A>(statement, params)
    return this.commands.run(operation, longTimeout, asked)
  }
}

interface Row {
  readonly id: string
  readonly expires_at: unknown
  readonly vector: unknown
}

interface Searched {
  readonly found: ReadonlyArray<Match>
  /** Ids of rows that cannot be read. */
  readonly corrupt: ReadonlyArray<string>
}

/** No row expires so late: that is how long infinity lasts. */
const after = "9223372036854775807"

const compare = (row: Row, unit: Float32Array, best: Best<string>, corrupt: Array<string>): void => {
  const vector = row.vector instanceof Uint8Array ? fromBytes(row.vector, unit.length) : undefined
  const similarity = vector === undefined ? Number.NaN : dot(unit, vector, 0)
  if (Number.isNaN(similarity)) corrupt.push(row.id)
  else if (vector !== undefined && best.takes(similarity)) {
    if (isUnit(vector)) best.add(row.id, similarity)
    else corrupt.push(row.id)
  }
}

const partitionOf = (partition: string): string => idOf("P", partition)

/** No name of a tenant is without its kind. */
const tenantOf = (tenant: Tenant): string => (tenant === undefined ? "" : idOf("T", tenant))
