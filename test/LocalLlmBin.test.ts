/** The command line, as a user starts it. */
import { spawn } from "node:child_process"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import process from "node:process"
import { assert, describe, it } from "@effect/vitest"

const root = new URL("../", import.meta.url)

interface Run {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** Runs until it ends by itself or `onOutput` has had it stopped; never longer than 30 seconds. */
const run = (args: ReadonlyArray<string>, onOutput?: (stdout: string, stop: () => void) => void): Promise<Run> =>
  new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ["--import", "tsx", "src/bin.ts", ...args], { cwd: root, timeout: 30_000 })
    let stdout = ""
    let stderr = ""
    child.stdout.on("data", (chunk: Buffer) => {
      stdout += chunk.toString()
      onOutput?.(stdout, () => child.kill("SIGTERM"))
    })
    child.stderr.on("data", (chunk: Buffer) => void (stderr += chunk.toString()))
    child.once("error", reject)
    child.once("close", (code) => resolve({ code, stdout, stderr }))
  })

describe("effect-ballast local", { timeout: 60_000 }, () => {
  it("serves until it is told to stop, and says how to reach it and what it is not", async () => {
    let models = ""
    const { code, stderr, stdout } = await run(["local", "--port", "0"], (output, stop) => {
      const url = /OPENAI_BASE_URL=(\S+)\n[^]*Ctrl-C/.exec(output)?.[1]
      if (url === undefined || models !== "") return
      models = "asked"
      void fetch(`${url}/models`, { headers: { authorization: "Bearer local" } })
        .then((response) => response.text())
        .then((text) => void (models = text))
        .finally(stop)
    })
    assert.strictEqual(code, 0)
    assert.strictEqual(stderr, "")
    assert.include(models, "local-llm")
    assert.match(stdout, /http:\/\/127\.0\.0\.1:\d+\/v1/)
    assert.include(stdout, "OPENAI_API_KEY=local")
    assert.include(stdout, "It is not a model")
  })

  it.each<readonly [string, ReadonlyArray<string>, string]>([
    ["no command", [], "a command is missing"],
    ["an unknown command", ["serve"], 'unknown command "serve"'],
    ["an unknown flag", ["local", "--host", "x"], "'--host'"],
    ["a port that is no number", ["local", "--port", "http"], '--port must be an integer from 0 to 65535, got "http"'],
    ["a port out of range", ["local", "--port", "65536"], '--port must be an integer from 0 to 65535, got "65536"']
  ])("refuses %s with code 2 and the usage", async (_, args, message) => {
    const { code, stderr, stdout } = await run(args)
    assert.strictEqual(code, 2)
    assert.strictEqual(stdout, "")
    assert.include(stderr, message)
    assert.include(stderr, "Usage: effect-ballast local")
  })

  it("ends with code 1 where the port is taken", async () => {
    const server = createServer()
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
    const { port } = server.address() as AddressInfo // it listens on a port
    const { code, stderr, stdout } = await run(["local", "--port", String(port)])
    await new Promise((resolve) => server.close(resolve))
    assert.strictEqual(code, 1)
    assert.strictEqual(stdout, "")
    assert.strictEqual(stderr, `LocalLlm.layer: cannot listen on 127.0.0.1:${port}: EADDRINUSE\n`)
  })

  it("shows its usage", async () => {
    const { code, stdout } = await run(["--help"])
    assert.strictEqual(code, 0)
    assert.include(stdout, "Usage: effect-ballast local")
  })
})
