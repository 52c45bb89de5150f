/**
 * A hundred thousand requests to the document Q&A service, in a process of its own with a heap of 384 MB. Tells what is alive
 * in it after a collection on the way, and fails where the second half of the requests leaves over 5 % more alive.
 * `npx tsx tools/soak.ts [requests]`; not part of the tests, since it takes minutes.
 */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import process from "node:process"

const requests = Number(process.argv[2] ?? 100_000)
const checkpoints = [0, 0.1, 0.25, 0.5, 0.75, 1]
const mostGrowth = 0.05
const clients = 16

/** Whatever the service is sent, it collects its garbage and tells what is left. */
const teller = `import process from "node:process"
process.on("message", () => { gc(); gc(); process.send(process.memoryUsage()) })
process.channel.unref()`

const data = mkdtempSync(join(tmpdir(), "soak-"))
const preloaded = `data:text/javascript,${encodeURIComponent(teller)}`
const options = ["--max-old-space-size=384", "--expose-gc", "--import", "tsx", "--import", preloaded]
const child = spawn(process.execPath, [...options, "examples/document-qa/main.ts"], {
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
  stdio: ["ignore", "pipe", "inherit", "ipc"]
})
process.once("exit", () => {
  child.kill("SIGKILL")
  rmSync(data, { recursive: true, force: true })
})

const say = (line: string) => void process.stdout.write(`${line}\n`)

let output = ""
const url = await new Promise<string>((resolve, reject) => {
  child.once("exit", (code) => reject(new Error(`the service ended with ${code}`)))
  child.stdout?.on("data", (chunk: Buffer) => {
    output = (output + chunk.toString()).slice(-10_000)
    const found = /Listening on (http:\/\/127\.0\.0\.1:\d+)/.exec(output)?.[1]
    if (found !== undefined) resolve(found)
  })
})

const began = performance.now()
const statuses = new Map<number, number>()
let sent = 0

/** Bytes that are alive while nothing is asked: objects, and what they hold outside of the heap. */
const alive = async (): Promise<number> => {
  const answer = once(child, "message")
  child.send("tell")
  const [{ arrayBuffers, external, heapUsed, rss }] = (await answer) as [NodeJS.MemoryUsage] // see `teller`
  const seconds = Math.round((performance.now() - began) / 1000)
  const figures = { heap: heapUsed, external, "of it buffers": arrayBuffers, resident: rss }
  const told = Object.entries(figures).map(([name, bytes]) => `${name} ${(bytes / 2 ** 20).toFixed(1)} MB`)
  say(`${sent} requests, ${seconds} s: ${told.join(", ")}`)
  return heapUsed + external
}

// most questions were asked before, as they are in life; every tenth is new
const askUntil = async (most: number): Promise<void> => {
  while (sent < most) {
    const n = sent++
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

const live = new Map<number, number>()
for (const part of checkpoints) {
  await Promise.all(Array.from({ length: clients }, () => askUntil(Math.round(part * requests))))
  live.set(part, await alive())
}
const growth = (live.get(1) ?? Number.NaN) / (live.get(0.5) ?? Number.NaN) - 1
say(JSON.stringify(Object.fromEntries(statuses)))
say(`The second half of the requests left ${(100 * growth).toFixed(1)} % more alive`)
const exit = once(child, "exit")
child.kill("SIGTERM")
await exit
process.exit(growth <= mostGrowth && statuses.get(200) === requests ? 0 : 1)
