/**
 * Three processes share one limit through Redis: together they never make more calls than one of them might. Uses `REDIS_URL`,
 * or starts a `redis-server` of its own that forgets everything at the end.
 */
import { type ChildProcess, fork, spawn } from "node:child_process"
import { once } from "node:events"
import { createServer } from "node:net"
import process from "node:process"
import { fileURLToPath } from "node:url"
import * as NodeRedis from "@effect/platform-node/NodeRedis"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Clock, Console, Effect, Layer, Schedule } from "effect"
import { RateLimiter } from "effect-ballast"
import * as RedisQuotaStore from "effect-ballast/RedisQuotaStore"

const limit = 20
const period = 2000
const running = 4000

/** What every process of the fleet does: as many calls as the shared limit lets it make. */
const worker = Effect.gen(function* () {
  const calls: Array<number> = []
  const call = Effect.flatMap(Clock.currentTimeMillis, (now) => Effect.sync(() => calls.push(now)))
  const limited = call.pipe(RateLimiter.withPermits({ key: "model" }))
  const fibers = Array.from({ length: 30 }, () => Effect.forever(limited))
  yield* Effect.all(fibers, { concurrency: "unbounded" }).pipe(Effect.timeoutOption(running))
  process.send?.(calls)
})

const Shared = (url: string) =>
  RateLimiter.layer({ limits: [{ count: "requests", limit, per: period, algorithm: "rolling" }] }).pipe(
    Layer.provide(RedisQuotaStore.layer({ group: "example" })),
    Layer.provide(NodeRedis.layer({ url }))
  )

const freePort = Effect.promise(async () => {
  const server = createServer().listen(0, "127.0.0.1")
  await once(server, "listening")
  const address = server.address()
  server.close()
  return typeof address === "object" && address !== null ? address.port : 0
})

/** A child process that ends with the scope, whatever happens. */
const child = (start: () => ChildProcess) =>
  Effect.acquireRelease(Effect.sync(start), (child) => Effect.sync(() => child.kill()))

const server = Effect.gen(function* () {
  const port = yield* freePort
  const args = ["--port", `${port}`, "--bind", "127.0.0.1", "--save", "", "--loglevel", "warning"]
  const redis = yield* child(() => spawn("redis-server", args, { stdio: "ignore" }))
  yield* Effect.tryPromise(() => once(redis, "spawn"))
  return `redis://127.0.0.1:${port}`
})

const report = (worker: ChildProcess) =>
  Effect.promise(() => once(worker, "message").then(([calls]) => calls as ReadonlyArray<number>)) // see `worker`

const fleet = Effect.gen(function* () {
  const url = process.env["REDIS_URL"] ?? (yield* server)
  const file = fileURLToPath(import.meta.url)
  const workers = yield* Effect.forEach([1, 2, 3], () => child(() => fork(file, [url])))
  const calls = yield* Effect.forEach(workers, report, { concurrency: "unbounded" })
  const all = calls.flat().sort((a, b) => a - b)
  const inPeriod = all.map((at) => all.filter((other) => other >= at && other < at + period).length)
  yield* Console.log(`limit: ${limit} calls in any ${period} ms, for all processes together`)
  for (const [i, own] of calls.entries()) yield* Console.log(`process ${i + 1} made ${own.length} calls`)
  yield* Console.log(`together ${all.length} in ${running} ms, at most ${Math.max(...inPeriod)} in any ${period} ms`)
}).pipe(
  Effect.scoped,
  Effect.catchTag("UnknownError", () => Console.error("No Redis: set REDIS_URL or install redis-server"))
)

const [url] = process.argv.slice(2)
const patient = { schedule: Schedule.spaced("100 millis"), times: 50 }
NodeRuntime.runMain(
  url === undefined ? fleet : worker.pipe(Effect.provide(Shared(url)), Effect.retry(patient), Effect.orDie)
)
