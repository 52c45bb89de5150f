/** SQL stores whose time passes when they are told to, and what is asked of them. */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import process from "node:process"
import { Context, Effect, Layer } from "effect"
import type { SqlClient } from "effect/sql"
import { SqlClient as Client } from "effect/sql/SqlClient"
import type { Subject } from "effect-ballast/Ledger"
import type { Entry, Quota } from "effect-ballast/QuotaStore"
import * as SqliteClient from "effect-ballast/SqliteClient"
import { open, type OpenSettings } from "../../src/internal/sqlOpen.ts"

let prefixes = 0

/** Tables that no other test uses, of a process that no other test run is. */
export const newPrefix = () => `test_${process.pid}_${prefixes++}`

const settings = { commandTimeout: 250, retention: 400 * 86_400_000 }

/** A store whose own time passes by `pass`; that of its renewals and timeouts is the caller's. */
export const timed = Effect.fnUntraced(function* (sql: SqlClient.SqlClient, given: Partial<OpenSettings> = {}) {
  let offset = 0
  const prefix = given.prefix ?? newPrefix()
  const store = yield* open(sql, { ...settings, ...given, prefix, offset: () => offset })
  const pass = (millis: number) => Effect.sync(() => void (offset += millis))
  /** What it does by itself has ended. */
  const quiet = Effect.repeat(turn, { until: () => store.size.running === 0 })
  const count = (table: string, where = "true") =>
    Effect.map(sql.unsafe<{ n: unknown }>(`select count(*) as n from ${prefix}_${table} where ${where}`), ([row]) =>
      Number(row?.n)
    )
  return { store, pass, quiet, count, prefix, sql }
})

/** A turn of the event loop, in which answers arrive. */
const turn = Effect.promise(() => new Promise<void>((resolve) => setImmediate(resolve)))

/** A folder that goes with the scope. */
export const folder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "ballast-sqlite-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
)

export const newFile = Effect.map(folder, (path) => join(path, "quotas.db"))

/** A connection of its own to the file. */
export const sqlite = (filename: string, options: Omit<SqliteClient.Options, "filename"> = {}) =>
  Effect.map(Layer.build(Layer.fresh(SqliteClient.layer({ filename, ...options }))), (services) =>
    Context.get(services, Client)
  )

export const subject: Subject = {
  call: "call",
  provider: "openai",
  model: "gpt-5-mini",
  day: "2026-11-28",
  prices: "2026-09-23",
  tenant: "acme",
  user: "bob"
}

export const answered = { outcome: "answered", tokens: { input: 10, output: 2 } } as const

export const bucket: Quota = { _tag: "Bucket", capacity: 10, refillPerSecond: 1e-3 }
export const concurrency: Quota = { _tag: "Concurrency", limit: 10 }
export const year: Quota = { _tag: "Window", limit: 10, startsAt: 0, endsAt: Date.UTC(2200, 0) }

export const of = (quota: Quota, amount = 1, key = "key"): Entry => ({ key, amount, quota })
export const money = (amount: number, limit = 10, key = "key"): Entry => ({
  key,
  amount,
  quota: { ...year, limit },
  subject
})
