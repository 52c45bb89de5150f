/** A real Chroma for tests: `CHROMA_URL`, or the one of `tools/chroma` (`npm --prefix tools/chroma ci`) on a free port of loopback. */
import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { existsSync } from "node:fs"
import { mkdtemp, rm } from "node:fs/promises"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import process from "node:process"
import { setTimeout } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import { describe } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import { FetchHttpClient, type HttpClient } from "effect/http"

const tools = fileURLToPath(new URL("../../tools/chroma/", import.meta.url))
const program = join(tools, "node_modules/chromadb/dist/cli.mjs")
const installed = existsSync(program)
const external = process.env["CHROMA_URL"]

/** In CI a missing server is a failure; elsewhere its tests are skipped. */
const required = process.env["CI"] === "true"

/** Tests that need any Chroma, and tests that need one of their own to mistreat. */
export const describeChroma = describe.skipIf(!installed && external === undefined && !required)
export const describeOwnChroma = describe.skipIf(!installed && !required)

/** One server, which can be killed and started again on the same port; it remembers what it had. */
export class ChromaServer extends Context.Service<
  ChromaServer,
  { readonly url: string; readonly kill: Effect.Effect<void>; readonly start: Effect.Effect<void> }
>()("test/ChromaServer") {}

export const own: Layer.Layer<ChromaServer | HttpClient.HttpClient> = Layer.effect(
  ChromaServer,
  Effect.acquireRelease(
    Effect.promise(async () => new Server(await freePort(), await mkdtemp(join(tmpdir(), "ballast-chroma-")))),
    (server) => Effect.promise(() => server.close())
  ).pipe(Effect.tap((server) => server.start))
).pipe(Layer.provideMerge(FetchHttpClient.layer))

export const anyServer: Layer.Layer<ChromaServer | HttpClient.HttpClient> =
  external === undefined
    ? own
    : Layer.succeed(ChromaServer, { url: external, kill: Effect.die("not ours"), start: Effect.void }).pipe(
        Layer.merge(FetchHttpClient.layer)
      )

class Server {
  readonly url: string
  readonly kill = Effect.promise(() => this.stop())
  readonly start = Effect.promise(() => this.run())
  private readonly folder: string
  private readonly port: number
  private child: ChildProcess | undefined

  constructor(port: number, folder: string) {
    this.url = `http://127.0.0.1:${port}`
    this.port = port
    this.folder = folder
  }

  async close(): Promise<void> {
    await this.stop()
    await rm(this.folder, { recursive: true, force: true })
  }

  private async run(): Promise<void> {
    const args = [program, "run", "--path", this.folder, "--host", "127.0.0.1", "--port", `${this.port}`]
    const child = spawn(process.execPath, args, { stdio: "ignore", cwd: this.folder })
    this.child = child
    for (let i = 0; i < 200 && child.exitCode === null; i++) {
      const answered = await fetch(`${this.url}/api/v2/heartbeat`).catch(() => undefined)
      if (answered?.ok === true) return
      await setTimeout(50)
    }
    throw new Error(`Chroma does not answer, exit code ${child.exitCode}`)
  }

  private async stop(): Promise<void> {
    const { child } = this
    this.child = undefined
    if (child === undefined || child.exitCode !== null) return
    const exit = once(child, "exit")
    child.kill("SIGKILL")
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
