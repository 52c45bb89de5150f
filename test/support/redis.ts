/** A real Redis for tests: `REDIS_URL`, or the `redis-server` on PATH on a free port of loopback, which keeps nothing. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process"
import { once } from "node:events"
import { mkdtemp, rm } from "node:fs/promises"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import process from "node:process"
import * as NodeRedis from "@effect/platform-node/NodeRedis"
import { describe } from "@effect/vitest"
import { Context, Effect, Layer, Schedule } from "effect"
import { Redis } from "effect/persistence"

const installed = spawnSync("redis-server", ["--version"]).status === 0
const external = process.env["REDIS_URL"]

/** In CI a missing server is a failure; elsewhere its tests are skipped. */
const required = process.env["CI"] === "true"

/** Tests that need any Redis, and tests that need one of their own to mistreat. */
export const describeRedis = describe.skipIf(!installed && external === undefined && !required)
export const describeOwnRedis = describe.skipIf(!installed && !required)

/** One server, which can be killed and started again on the same port; it forgets everything. */
export class RedisServer extends Context.Service<
  RedisServer,
  { readonly url: string; readonly kill: Effect.Effect<void>; readonly start: Effect.Effect<void> }
>()("test/RedisServer") {}

/** A server of one's own, with more arguments if need be. */
export const own = (...args: ReadonlyArray<string>): Layer.Layer<RedisServer> =>
  Layer.effect(
    RedisServer,
    Effect.acquireRelease(
      Effect.promise(() => Server.make(args)),
      (server) => Effect.promise(() => server.close())
    )
  )

export const anyServer: Layer.Layer<RedisServer> =
  external === undefined
    ? own()
    : Layer.succeed(RedisServer, { url: external, kill: Effect.die("not ours"), start: Effect.void })

class Server {
  readonly url: string
  readonly kill = Effect.promise(() => this.stop("SIGKILL"))
  readonly start = Effect.promise(() => this.run())
  private readonly folder: string
  private readonly args: ReadonlyArray<string>
  private child: ChildProcess | undefined

  static async make(args: ReadonlyArray<string>): Promise<Server> {
    const folder = await mkdtemp(join(tmpdir(), "ballast-redis-"))
    const port = await freePort()
    const server = new Server(port, folder, args)
    await server.run()
    return server
  }

  private constructor(port: number, folder: string, args: ReadonlyArray<string>) {
    this.url = `redis://127.0.0.1:${port}`
    this.folder = folder
    const bound = ["--port", `${port}`, "--bind", "127.0.0.1", "--dir", folder]
    this.args = [...bound, "--save", "", "--appendonly", "no", ...args]
  }

  async close(): Promise<void> {
    await this.stop("SIGKILL")
    await rm(this.folder, { recursive: true, force: true })
  }

  private async run(): Promise<void> {
    const child = spawn("redis-server", this.args, { stdio: ["ignore", "pipe", "ignore"] })
    this.child = child
    await once(child, "spawn")
    let output = ""
    for await (const chunk of child.stdout.iterator({ destroyOnReturn: false })) {
      output += String(chunk)
      if (!output.includes("Ready to accept connections")) continue
      child.stdout.resume()
      return
    }
    throw new Error(`redis-server ended: ${output}`)
  }

  private async stop(signal: NodeJS.Signals): Promise<void> {
    const { child } = this
    this.child = undefined
    if (child === undefined || child.exitCode !== null) return
    const exit = once(child, "exit")
    child.kill(signal)
    await exit
  }
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

type ClientOptions = NonNullable<Parameters<typeof NodeRedis.layer>[0]>

/** A client of the server. */
export const client = (options: ClientOptions = {}) =>
  Layer.unwrap(Effect.map(RedisServer, ({ url }) => NodeRedis.layer({ url, ...options })))

/** Every key is in this one server's slots. */
export const cluster = own("--cluster-enabled", "yes").pipe(
  Layer.tap((services) =>
    Effect.gen(function* () {
      const redis = yield* Redis.Redis
      yield* redis.send("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
      const state = Effect.map(redis.send<string>("CLUSTER", "INFO"), (info) => info.includes("cluster_state:ok"))
      yield* Effect.repeat(state, { until: (ok) => ok, schedule: Schedule.spaced("20 millis"), times: 250 })
    }).pipe(Effect.provide(Layer.provide(client(), Layer.succeedContext(services))), Effect.orDie)
  )
)

/** Calls of each command since the server started, those of scripts included. */
export const calls = Effect.gen(function* () {
  const redis = yield* Redis.Redis
  const info = yield* redis.send<string>("INFO", "commandstats")
  const lines = info.matchAll(/^cmdstat_([^:]+):calls=(\d+)/gm)
  return new Map([...lines].map(([, command = "", count]) => [command, Number(count)]))
})
