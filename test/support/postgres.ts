/**
 * A real Postgres for tests: `DATABASE_URL`, or the newest server under `/usr/lib/postgresql` on a free port of loopback,
 * which keeps nothing. It refuses to run as root, and is run as another user there.
 */
import { type ChildProcess, execFile, spawn } from "node:child_process"
import { once } from "node:events"
import { existsSync, readdirSync } from "node:fs"
import { chmod, chown, mkdtemp, rm } from "node:fs/promises"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import process from "node:process"
import { promisify } from "node:util"
import { PgClient } from "@effect/sql-pg"
import { describe } from "@effect/vitest"
import { Context, Effect, Layer, Redacted } from "effect"

const root = "/usr/lib/postgresql"
const versions = existsSync(root)
  ? readdirSync(root).filter((version) => existsSync(join(root, version, "bin/postgres")))
  : []
const bin = join(root, versions.sort((a, b) => Number(b) - Number(a))[0] ?? "none", "bin")
const external = process.env["DATABASE_URL"]

/** In CI a missing server is a failure; elsewhere its tests are skipped. */
const required = process.env["CI"] === "true"

/** Tests that need any Postgres, and tests that need one of their own to mistreat. */
export const describePostgres = describe.skipIf(versions.length === 0 && external === undefined && !required)
export const describeOwnPostgres = describe.skipIf(versions.length === 0 && !required)

/** One server, which can be killed and started again on the same port with all that it has. */
export class PostgresServer extends Context.Service<
  PostgresServer,
  { readonly url: string; readonly kill: Effect.Effect<void>; readonly start: Effect.Effect<void> }
>()("test/PostgresServer") {}

export const own: Layer.Layer<PostgresServer> = Layer.effect(
  PostgresServer,
  Effect.acquireRelease(
    Effect.promise(() => Server.make()),
    (server) => Effect.promise(() => server.close())
  )
)

export const anyServer: Layer.Layer<PostgresServer> =
  external === undefined
    ? own
    : Layer.succeed(PostgresServer, { url: external, kill: Effect.die("not ours"), start: Effect.void })

/** `nobody` of Debian, of whom nothing is asked but not to be root. */
const other = process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : {}

class Server {
  readonly url: string
  readonly kill = Effect.promise(() => this.stop())
  readonly start = Effect.promise(() => this.run())
  private readonly folder: string
  private readonly port: number
  private child: ChildProcess | undefined

  static async make(): Promise<Server> {
    const folder = await mkdtemp(join(tmpdir(), "ballast-postgres-"))
    if (other.uid !== undefined) await chown(folder, other.uid, other.gid)
    await chmod(folder, 0o700)
    const initdb = ["-D", join(folder, "data"), "-U", "ballast", "-A", "trust", "-E", "UTF8", "--no-locale", "-N"]
    await promisify(execFile)(join(bin, "initdb"), initdb, { ...other, cwd: "/", env: {} })
    const server = new Server(folder, await freePort())
    await server.run()
    return server
  }

  private constructor(folder: string, port: number) {
    this.url = `postgres://ballast@127.0.0.1:${port}/postgres`
    this.folder = folder
    this.port = port
  }

  async close(): Promise<void> {
    await this.stop()
    await rm(this.folder, { recursive: true, force: true })
  }

  private async run(): Promise<void> {
    const settings = ["fsync=off", "full_page_writes=off", "max_connections=200", "deadlock_timeout=100ms"]
    settings.push("listen_addresses=127.0.0.1", `unix_socket_directories=${this.folder}`, `port=${this.port}`)
    const args = ["-D", join(this.folder, "data"), ...settings.flatMap((setting) => ["-c", setting])]
    const child = spawn(join(bin, "postgres"), args, {
      ...other,
      cwd: "/",
      env: {},
      stdio: ["ignore", "ignore", "pipe"]
    })
    this.child = child
    await once(child, "spawn")
    let output = ""
    for await (const chunk of child.stderr.iterator({ destroyOnReturn: false })) {
      output += String(chunk)
      if (!output.includes("ready to accept connections")) continue
      child.stderr.resume()
      return
    }
    throw new Error(`postgres ended: ${output}`)
  }

  /** At once, as a crash does; its own children end with it. */
  private async stop(): Promise<void> {
    const { child } = this
    this.child = undefined
    if (child === undefined || child.exitCode !== null) return
    const exit = once(child, "exit")
    child.kill("SIGQUIT")
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

type ClientOptions = Omit<Parameters<typeof PgClient.layer>[0], "url">

/** A client of the server. */
export const client = (options: ClientOptions = {}) =>
  Layer.unwrap(Effect.map(PostgresServer, ({ url }) => PgClient.layer({ url: Redacted.make(url), ...options })))
