/**
 * A hundred thousand requests to the document Q&A service, in a process of its own with a heap of 384 MB: what its memory is on
 * the way.
 * `npx tsx tools/soak.ts [requests]`; not part of the tests, since it takes minutes.
 */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import process from "node:process"

const requests = Number(process.argv[2] ?? 100_000)
const clients = 16
const data = mkdtempSync(join(tmpdir(), "soak-"))
const child = spawn(process.execPath, ["--max-old-space-size=384", "--import", "tsx", "examples/document-qa/main.ts"], {
  cwd: new URL("../", import.meta.url),
  env: {
    PATH: process.env["PATH"] ?? "",
    PORT: "0",
    DATA_DIR: data,
    USD_PER_DAY: "1000000",
    USD_PER_TENANT_AND_DAY: "1000000",
    REQUESTS_PER_MINUTE: "10000000",
    REQUESTS_PER_TENANT_AND_MINUTE: "10000000"
  },
  stdio: ["ignore", "pipe", "inherit"]
})
process.once("exit", () => {
  child.kill("SIGKILL")
  rmSync(data, { recursive: true, force: true })
})

const say = (line: string) => void process.stdout.write(`${line}\n`)

let output = ""
const url = await new Promise<string>((resolve) => {
  child.stdout.on("data", (chunk: Buffer) => {
    output = (output + chunk.toString()).slice(-10_000)
    const found = /Listening on (http:\/\/127\.0\.0\.1:\d+)/.exec(output)?.[1]
    if (found !== undefined) resolve(found)
  })
})

const megabytes = (): number => {
  const status = readFileSync(`/proc/${child.pid}/status`, "utf8")
  return Math.round(Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? Number.NaN) / 1024)
}

const statuses = new Map<number, number>()
const began = performance.now()
let sent = 0
// most questions were asked before, as they are in life; every tenth is new
const next = async (): Promise<void> => {
  while (sent < requests) {
    const n = sent++
    if (n % (requests / 10) === 0)
      say(`${n} requests, ${megabytes()} MB, ${Math.round((performance.now() - began) / 1000)} s`)
    const input = n % 10 === 0 ? `What is question ${n} about?` : `What does a cache hit cost, ${n % 500}?`
    const response = await fetch(`${url}/qa/${n % 7 === 0 ? "stream" : "invoke"}`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ input })
    })
    await response.text()
    statuses.set(response.status, (statuses.get(response.status) ?? 0) + 1)
  }
}
await Promise.all(Array.from({ length: clients }, next))
say(`${sent} requests, ${megabytes()} MB, ${Math.round((performance.now() - began) / 1000)} s`)
say(JSON.stringify(Object.fromEntries(statuses)))
const exit = once(child, "exit")
child.kill("SIGTERM")
await exit
process.exit(0)
