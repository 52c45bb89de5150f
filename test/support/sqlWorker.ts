/**
 * One process of a fleet on one database: reserves money with many fibers, as often as it can until nothing is left or its
 * death, and tells every settle that was acknowledged.
 */
import process from "node:process"
import { PgClient } from "@effect/sql-pg"
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

/** Denials after which a fiber ends; the last of all fibers is denied when nothing is held any more. */
const maxDenials = 10

const work = ({ fibers, limit }: Task) =>
  Effect.gen(function* () {
    const store = yield* QuotaStore
    const quota = { _tag: "Window", limit, startsAt: 0, endsAt: Date.UTC(2200, 0) } as const
    const entries = [{ key: "fleet", amount: 5, quota, subject }]
    const report = { granted: 0, denied: 0, spent: 0, least: limit }
    const settle = Effect.fnUntraced(function* (lease: string, used: number, left: number) {
      report.granted++
      report.least = Math.min(report.least, left)
      yield* store.settle(lease, [used], { outcome: "answered" })
      report.spent += used
      process.send?.({ settled: lease, used })
    })
    const caller = Effect.fnUntraced(function* (fiber: number) {
      for (let i = 0, denials = 0; denials < maxDenials; i++) {
        const lease = `${process.pid}.${fiber}.${i}`
        const answer = yield* store.reserve(lease, entries, Duration.minutes(1))
        if (answer._tag === "Granted") yield* settle(lease, usedBy(i), answer.remaining[0] ?? -1)
        else {
          denials++
          report.denied++
          yield* Effect.sleep("5 millis")
        }
      }
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
