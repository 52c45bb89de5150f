/** A real Prometheus for tests: the `prometheus` and `promtool` on PATH (Debian's package `prometheus`). */
import { type ChildProcess, spawn, spawnSync } from "node:child_process"
import { once } from "node:events"
import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import process from "node:process"
import { setTimeout } from "node:timers/promises"
import { describe } from "@effect/vitest"
import { Effect, Schema, type Scope } from "effect"

const installed = ["promtool", "prometheus"].every((program) => spawnSync(program, ["--version"]).status === 0)

/** In CI a missing program is a failure; elsewhere its tests are skipped. */
export const describePrometheus = describe.skipIf(!installed && process.env["CI"] !== "true")

/** What `promtool` says, and its exit code. */
export const promtool = (args: ReadonlyArray<string>, input = "") => {
  const { error, status, stderr, stdout } = spawnSync("promtool", args, { input, encoding: "utf8" })
  if (error !== undefined) throw error
  return { code: status, output: `${stdout}${stderr}` }
}

export interface Sample {
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

export interface Prometheus {
  /** Asks again until there is an answer with a sample; dies after 30 seconds without. */
  readonly query: (promql: string) => Effect.Effect<ReadonlyArray<Sample>>
}

/** Scrapes `http://target/metrics` every 200 ms, from a free port and a folder of its own. */
export const scraping = (target: string): Effect.Effect<Prometheus, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.promise(() => start(target)),
      ({ child, folder }) => Effect.promise(() => stop(child, folder))
    ),
    ({ child, url }) => ({ query: (promql) => Effect.promise(() => ask(child, url, promql)) })
  )

const start = async (target: string) => {
  const folder = await mkdtemp(join(tmpdir(), "ballast-prometheus-"))
  const port = await freePort()
  const config = join(folder, "prometheus.yml")
  const scrapes = [{ job_name: "ballast", scrape_interval: "200ms", static_configs: [{ targets: [target] }] }]
  await writeFile(config, JSON.stringify({ scrape_configs: scrapes })) // JSON is YAML
  const args = [
    `--config.file=${config}`,
    `--storage.tsdb.path=${join(folder, "data")}`,
    `--web.listen-address=127.0.0.1:${port}`
  ]
  const child = spawn("prometheus", args, { stdio: "ignore", cwd: folder })
  await once(child, "spawn")
  return { child, folder, url: `http://127.0.0.1:${port}` }
}

const Answer = Schema.Struct({
  status: Schema.Literal("success"),
  data: Schema.Struct({
    result: Schema.Array(
      Schema.Struct({
        metric: Schema.Record(Schema.String, Schema.String),
        value: Schema.Tuple([Schema.Number, Schema.String])
      })
    )
  })
})
const decode = Schema.decodeUnknownSync(Answer)

const ask = async (child: ChildProcess, url: string, promql: string): Promise<ReadonlyArray<Sample>> => {
  for (let i = 0; i < 300 && child.exitCode === null; i++) {
    const response = await fetch(`${url}/api/v1/query?query=${encodeURIComponent(promql)}`).catch(() => undefined)
    if (response?.ok === true) {
      const { result } = decode(await response.json()).data
      if (result.length > 0) return result.map(({ metric, value }) => ({ labels: metric, value: Number(value[1]) }))
    }
    await setTimeout(100)
  }
  throw new Error(`Prometheus has no answer to ${promql}, exit code ${child.exitCode}`)
}

const stop = async (child: ChildProcess, folder: string): Promise<void> => {
  if (child.exitCode === null) {
    const exit = once(child, "exit")
    child.kill("SIGKILL")
    await exit
  }
  await rm(folder, { recursive: true, force: true })
}

const freePort = async (): Promise<number> => {
  const server = createServer().listen(0, "127.0.0.1")
  await once(server, "listening")
  const address = server.address()
  server.close()
  await once(server, "close")
  if (typeof address === "object" && address !== null) return address.port
  throw new Error("no free port")
}
