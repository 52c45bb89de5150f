/** Processes that share one database; see `sqlWorker.ts`. */
import { type ChildProcess, fork } from "node:child_process"
import { once } from "node:events"
import { fileURLToPath } from "node:url"
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type { SqlError } from "effect/sql/SqlError"
import type { SqlStore as Store } from "effect-ballast/SqlQuotaStore"

type Count = (table: string, where?: string) => Effect.Effect<number, SqlError>

/** Calls of five units each, of a window that lasts longer than the test. */
export interface Task {
  readonly fibers: number
  readonly limit: number
}

export interface Report {
  readonly granted: number
  readonly denied: number
  readonly spent: number
  /** The least that any grant left. */
  readonly least: number
}

/** A settle that was acknowledged. */
export interface Settled {
  readonly settled: string
  readonly used: number
}

const worker = fileURLToPath(new URL("./sqlWorker.ts", import.meta.url))

/** So many processes on one database, ready to work, killed with the scope. */
export const make = (processes: number, database: string, prefix: string) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.promise(() => Promise.all(Array.from({ length: processes }, () => Worker.start(database, prefix)))),
      (workers) => Effect.sync(() => workers.forEach((worker) => worker.child.kill("SIGKILL")))
    ),
    (workers) => ({
      workers,
      /** All of them at the same time. */
      run: (task: Task) => Effect.promise(() => Promise.all(workers.map((worker) => worker.run(task))))
    })
  )

class Worker {
  readonly child: ChildProcess
  readonly settled: Array<Settled> = []

  static async start(database: string, prefix: string): Promise<Worker> {
    const child = fork(worker, [database, prefix], { execArgv: [] })
    const ended = once(child, "exit").then(([code]) => Promise.reject(new Error(`a worker ended with code ${code}`)))
    await Promise.race([once(child, "message"), ended])
    ended.catch(() => {}) // its end is expected from now on
    return new Worker(child)
  }

  private constructor(child: ChildProcess) {
    this.child = child
    child.on("message", (message: Partial<Settled>) => {
      if (message.settled !== undefined) this.settled.push({ settled: message.settled, used: message.used ?? 0 })
    })
  }

  begin(task: Task): void {
    this.child.send(task)
  }

  run(task: Task): Promise<Report> {
    this.begin(task)
    return new Promise((resolve, reject) => {
      this.child.once("exit", (code) => reject(new Error(`a worker ended with code ${code}`)))
      this.child.on("message", (message: { readonly report?: Report }) => {
        if (message.report !== undefined) resolve(message.report)
      })
    })
  }

  /** In the middle of what it does, when it has settled so many. */
  async killAfter(settles: number): Promise<void> {
    while (this.settled.length < settles) await once(this.child, "message")
    const exit = once(this.child, "exit")
    this.child.kill("SIGKILL")
    await exit
  }
}

/** Nothing was spent beyond the limit, and ledger, counters and processes agree. */
export const agrees = Effect.fnUntraced(function* (store: Store, reports: ReadonlyArray<Report>, limit: number) {
  const sum = (of: (report: Report) => number) => reports.reduce((sum, report) => sum + of(report), 0)
  const spent = sum((report) => report.spent)
  for (const { least } of reports) assert.isAtLeast(least, 0)
  assert.isAbove(reports.filter(({ granted }) => granted > 0).length, reports.length / 2)
  // the next one did not fit, and nothing is held any more
  assert.isAbove(spent, limit - 5)
  assert.isAtMost(spent, limit)
  const [total] = yield* store.ledger.report({ by: [] })
  assert.deepStrictEqual([total?.amount, total?.charges], [spent, sum(({ granted }) => granted)])
  assert.deepStrictEqual(yield* store.ledger.check, [])
})

/** All that was acknowledged is there, and what was held by the dead becomes a charge when it ends. */
export const survives = Effect.fnUntraced(function* (
  {
    count,
    pass,
    store
  }: { readonly store: Store; readonly count: Count; readonly pass: (millis: number) => Effect.Effect<void> },
  settled: ReadonlyArray<Settled>
) {
  assert.deepStrictEqual(yield* store.ledger.check, [])
  const held = yield* count("leases", "state = 0")
  const before = yield* count("charges")
  assert.isAtLeast(before, settled.length)
  yield* pass(60_000)
  assert.deepStrictEqual(yield* store.ledger.check, [])
  assert.strictEqual(yield* count("charges", "outcome = 'expired' and amount = 5"), held)
  assert.strictEqual(yield* count("leases", "state = 0"), 0)
  for (const { settled: id, used } of settled)
    assert.strictEqual(yield* count("charges", `id = '${id}' and outcome = 'answered' and amount = ${used}`), 1)
})
