/** A cache in a database: every operation is one statement, and no read writes. */
import { Buffer } from "node:buffer"
import * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import type * as Scope from "effect/Scope"
import type { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import type { Entry, Partition, Service, Size } from "../CacheStore.ts"
import * as Metrics from "../Metrics.ts"
import { CacheSweeper } from "./cacheSweeper.ts"
import { entryOf, isNewer, type Limits, mark, maxTextBytes, textOf } from "./cacheText.ts"
import type { StoreUnavailable } from "./reasons.ts"
import type { Commands } from "./sqlCommands.ts"
import { schemaOf, type Statements, statementsOf } from "./sqlCacheTables.ts"
import { idOf } from "./sqlRows.ts"
import { opened } from "./sqlStart.ts"

export interface Settings extends Limits {
  readonly prefix: string
  readonly maxBytes: number
  /** Milliseconds. */
  readonly commandTimeout: number
}

/** Milliseconds that tidying the table and summing it up may take. */
const longTimeout = 30_000
/** Rows deleted by one statement, and the statements after which tidying or clearing gives up. */
const rows = 500
const maxSteps = 100_000

/** What a row weighs beside its texts. */
const overhead = 100

export const open = (client: SqlClient, settings: Settings): Effect.Effect<Store, StoreUnavailable, Scope.Scope> =>
  opened(
    client,
    (isPostgres) => schemaOf(settings.prefix, isPostgres),
    (sql, commands, context) => new Store(sql, commands, settings, context)
  )

export class Store implements Service {
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

  readonly get: Service["get"] = (key, partition) => {
    const names = namesOf(key, partition)
    const found = this.ask<Row>("get", this.statements.get, ...names, `${maxTextBytes(this.settings)}`)
    return Effect.flatMap(found, ([row]) => (row === undefined ? Effect.undefined : this.read(row, names)))
  }

  readonly set: Service["set"] = (key, entry, partition) =>
    Effect.gen({ self: this }, function* () {
      const made = yield* textOf(entry, yield* Clock.currentTimeMillis, this.settings)
      if (made === undefined) {
        yield* this.delete(key, partition)
        return
      }
      const text = mark + made.text
      const names = namesOf(key, partition)
      const bytes = overhead + [...names, text].reduce((sum, text) => sum + Buffer.byteLength(text), 0)
      yield* this.ask("set", this.statements.set, ...names, `${made.expiresAt}`, `${bytes}`, text)
      this.sweeper.wrote(bytes)
    })

  readonly delete: Service["delete"] = (key, partition) =>
    Effect.asVoid(this.ask("delete", this.statements.delete, ...namesOf(key, partition)))

  readonly clear: Service["clear"] = (only) => {
    const { clear, clearPartition } = this.statements
    const some =
      only === undefined
        ? this.askLong("clear", clear, `${rows}`)
        : this.askLong("clear", clearPartition, partitionOf(only.partition), `${rows}`)
    return Effect.asVoid(Effect.repeat(some, { until: (gone) => gone.length === 0, times: maxSteps }))
  }

  get size(): Effect.Effect<{ readonly entries: number; readonly bytes: number }, StoreUnavailable> {
    const sums = this.askLong<Record<keyof Size, unknown>>("size", this.statements.size)
    return Effect.map(sums, ([row]) => ({ entries: Number(row?.entries), bytes: Number(row?.bytes) }))
  }

  /** Whether it is tidying up. */
  get sweeping(): boolean {
    return this.sweeper.running
  }

  readonly close: Effect.Effect<void> = Effect.suspend(() => this.sweeper.close)

  private read(row: Row, names: Names): Effect.Effect<Entry | undefined, StoreUnavailable> {
    const value = typeof row.value === "string" ? row.value : ""
    if (isNewer(value)) return Effect.undefined
    const isOurs = Number(row.too_long) === 0 && value.startsWith(mark)
    return Effect.gen({ self: this }, function* () {
      const entry = isOurs ? yield* entryOf(value.slice(mark.length), this.settings) : undefined
      if (entry !== undefined) return entry.expiresAt > (yield* Clock.currentTimeMillis) ? entry : undefined
      yield* Metric.update(this.corrupt, 1)
      yield* Effect.ignore(this.ask("delete", this.statements.delete, ...names))
      return undefined
    })
  }

  /** What has expired, and then what would expire next, until the rest fits. */
  private get sweep(): Effect.Effect<void, StoreUnavailable> {
    const { expire, shrink } = this.statements
    return Effect.gen({ self: this }, function* () {
      const now = yield* Clock.currentTimeMillis
      yield* Effect.repeat(this.askLong("sweep", expire, `${now}`, `${rows}`), {
        until: (gone) => gone.length < rows,
        times: maxSteps
      })
      let excess = (yield* this.size).bytes - this.settings.maxBytes
      for (let i = 0; excess > 0 && i < maxSteps; i++) {
        const gone = yield* this.askLong<{ readonly bytes: unknown }>("sweep", shrink, `${excess}`, `${rows}`)
        if (gone.length === 0) return
        excess -= gone.reduce((sum, { bytes }) => sum + Number(bytes), 0)
      }
    })
  }

  private ask<A extends object>(operation: string, statement: string, ...params: ReadonlyArray<string>) {
    return this.commands.run(operation, this.settings.commandTimeout, this.sql.unsafe<A>(statement, params))
  }

  private askLong<A extends object>(operation: string, statement: string, ...params: ReadonlyArray<string>) {
    const asked: Effect.Effect<ReadonlyArray<A>, SqlError> = this.sql.unsafe<A>(statement, params)
    return this.commands.run(operation, longTimeout, asked)
  }
}

interface Row {
  readonly value: unknown
  readonly too_long: unknown
}

type Names = readonly [partition: string, id: string]

const namesOf = (key: string, partition: Partition): Names => [partitionOf(partition), idOf("K", key)]

/** No name of a partition is without its kind. */
const partitionOf = (partition: Partition): string => (partition === undefined ? "" : idOf("P", partition))
