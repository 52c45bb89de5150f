/**
 * One process of a fleet on one database: reserves money with many fibers, as often as it can until the time it is told or
 * its death, and tells every settle that was acknowledged.
 */
import process from "node:process"
import { PgClient } from "@effect/sql-pg"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import { QuotaStore } from "../../src/QuotaStore.ts"
import * as SqliteClient from "../../src/SqliteClient.ts"
import * as SqlQuotaStore from "../../src/SqlQuotaStore.ts"
import type { Report, Task } from "./sqlFleet.ts"

const [database = "", prefix = ""] = process.argv.slice(2)

/** What the calls of a process use of the five that each reserves. */
const usedBy = (i: number) => i % 6

const subject = { call: "call", provider: "p", model: "m", day: "2026-11-28", prices: "1" }

const work = ({ fibers, limit, millis }: Task) =>
  Effect.gen(function* () {
    const store = yield* QuotaStore
    const quota = { _tag: "Window", limit, startsAt: 0, endsAt: Date.UTC(2200, 0) } as const
    const entries = [{ key: "fleet", amount: 5, quota, subject }]
    const end = (yield* Clock.currentTimeMillis) + millis
    const report = { granted: 0, denied: 0, spent: 0, least: limit }
    const call = Effect.fnUntraced(function* (lease: string, used: number) {
      const answer = yield* store.reserve(lease, entries, Duration.minutes(1))
      if (answer._tag === "Denied") {
        report.denied++
        return yield* Effect.sleep("5 millis")
      }
      report.granted++
      report.least = Math.min(report.least, answer.remaining[0] ?? -1)
      yield* store.settle(lease, [used], { outcome: "answered" })
      report.spent += used
      process.send?.({ settled: lease, used })
    })
    const caller = Effect.fnUntraced(function* (fiber: number) {
      for (let i = 0; (yield* Clock.currentTimeMillis) < end; i++)
        yield* call(`${process.pid}.${fiber}.${i}`, usedBy(i))
    })
    yield* Effect.forEach(Array(fibers).keys(), caller, { concurrency: "unbounded", discard: true })
    return report
  })

const nextTask = Effect.callback<Task>((resume) => {
  process.once("message", (task: Task) => resume(Effect.succeed(task)))
})

const program = Effect.gen(function* () {
  yield* QuotaStore
  process.send?.("ready")
  for (;;) {
    const report: Report = yield* Effect.flatMap(nextTask, work)
    process.send?.({ report })
  }
})

const client = database.startsWith("postgres:")
  ? PgClient.layer({ url: Redacted.make(database), maxConnections: 4 })
  : SqliteClient.layer({ filename: database, lockTimeout: "10 seconds" })
const store = SqlQuotaStore.layer({ prefix, commandTimeout: "10 seconds" }).pipe(Layer.provide(client))
process.once("disconnect", () => process.exit())
await Effect.runPromise(Effect.provide(program, store))
