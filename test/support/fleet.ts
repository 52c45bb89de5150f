/** Processes that share one Redis; see `test/fixtures/redis-worker.ts`. */
import { type ChildProcess, fork } from "node:child_process"
import { once } from "node:events"
import { fileURLToPath } from "node:url"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { Quota } from "effect-ballast/QuotaStore"

export const quotas = {
  bucket: { _tag: "Bucket", capacity: 100, refillPerSecond: 200 },
  rolling: { _tag: "Rolling", limit: 150, span: Duration.millis(500), slots: 10 },
  concurrency: { _tag: "Concurrency", limit: 10 }
} as const satisfies Record<string, Quota>

export interface Task {
  readonly quota: keyof typeof quotas
  readonly fibers: number
  readonly millis: number
}

export interface Report {
  /** When what was used was granted, by the store's clock. */
  readonly granted: ReadonlyArray<number>
  readonly denied: number
}

const worker = fileURLToPath(new URL("../fixtures/redis-worker.ts", import.meta.url))

/** So many processes on one group, ready to work, killed with the scope. */
export const make = (processes: number, url: string, group: string) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.promise(() => Promise.all(Array.from({ length: processes }, () => started(url, group)))),
      (children) => Effect.sync(() => children.forEach((child) => child.kill("SIGKILL")))
    ),
    (children) => ({
      /** All of them at the same time. */
      run: (task: Task) => Effect.promise(() => Promise.all(children.map((child) => report(child, task)))),
      /** As `run`, when nobody waits for the end. */
      begin: (task: Task) => Effect.sync(() => children.forEach((child) => child.send(task))),
      kill: Effect.promise(() =>
        Promise.all(
          children.map((child) => {
            const exit = once(child, "exit")
            child.kill("SIGKILL")
            return exit
          })
        )
      )
    })
  )

const started = async (url: string, group: string): Promise<ChildProcess> => {
  const child = fork(worker, [url, group], { execArgv: [] })
  await message(child)
  return child
}

const report = (child: ChildProcess, task: Task): Promise<Report> => {
  child.send(task)
  return message(child) as Promise<Report> // the one message that the worker sends then
}

const message = (child: ChildProcess): Promise<unknown> =>
  new Promise((resolve, reject) => {
    const ended = (code: number | null) => reject(new Error(`a worker ended with code ${code}`))
    child.once("exit", ended)
    child.once("message", (message) => {
      child.off("exit", ended)
      resolve(message)
    })
  })
