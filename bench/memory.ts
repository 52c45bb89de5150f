/**
 * Whether memory stays flat: the live heap after a full collection, over a million calls through the whole stack and over a
 * million keys that come once. Every line is measured in a process of its own, which this file is, too.
 */
import { spawn } from "node:child_process"
import { setTimeout } from "node:timers/promises"
import { fileURLToPath } from "node:url"

/** How their time passes, where they forget by time: nobody could wait for a million of them. */
const aSecond = "a thousand new ones a second, on a clock that is moved"
const anHour = "a thousand new ones an hour, on a clock that is moved"

/** Every line: what comes, whose it is, and what a reader must know of it. */
const about = {
  "calls: Ballast": "guards, cache (10,000 entries), retry, breaker, budget, limiter, telemetry; every prompt is new",
  "calls: cockatiel": "cockatiel's stack, rate-limiter-flexible, lru-cache (10,000 entries)",
  "limiter keys: Ballast": `60 requests a minute for each, ${aSecond}`,
  "limiter keys: rate-limiter-flexible": "the same",
  "limiter keys: effect/persistence": "the same",
  "limiter tenants: Ballast": `60 requests a minute for each tenant, ${anHour}`,
  "circuits: Ballast": `the default rules, one in ten fails, ${anHour}`,
  "circuits: effect/persistence": "the same, five failures in a row",
  "budget tenants: Ballast": `a limit of a day for each tenant, ${anHour}`,
  "cache keys: Ballast": "10,000 entries, every prompt is new",
  "cache keys: lru-cache": "10,000 entries, keys of SHA-256"
} as const

export type Name = keyof typeof about

const counts = [10_000, 100_000, 250_000, 500_000, 1_000_000]

/** Bytes that are alive, those outside of the heap included: typed arrays are. */
const alive = async (): Promise<number> => {
  for (let i = 0; i < 3; i++) {
    await setTimeout(20)
    globalThis.gc?.()
  }
  const { external, heapUsed } = process.memoryUsage()
  return heapUsed + external
}

const measured = async (name: Name): Promise<ReadonlyArray<number>> => {
  const { lines } = await import("./memoryLines.ts")
  const line = await lines[name]()
  const bytes: Array<number> = []
  let done = 0
  for (const count of counts) {
    await line(done, count)
    done = count
    bytes.push(await alive())
  }
  return bytes
}

const mebibyte = 2 ** 20
const file = fileURLToPath(import.meta.url)

const inChild = async (name: Name): Promise<ReadonlyArray<number>> => {
  const child = spawn(process.execPath, ["--expose-gc", "--max-old-space-size=8192", file, name], {
    stdio: ["ignore", "pipe", "inherit"]
  })
  let said = ""
  for await (const chunk of child.stdout) said += String(chunk)
  return JSON.parse(said.trim().split("\n").at(-1) ?? "") as ReadonlyArray<number> // what this file prints, below
}

/** Less than 5 % or 5 MB more at a million than at a hundred thousand. */
const isFlat = (bytes: ReadonlyArray<number>): boolean => growth(bytes) < Math.max(5 * mebibyte, 0.05 * (bytes[1] ?? 0))
const growth = (bytes: ReadonlyArray<number>): number => (bytes.at(-1) ?? Number.NaN) - (bytes[1] ?? Number.NaN)

const mb = (bytes: number): string => (bytes / mebibyte).toFixed(1)

export interface Memory {
  readonly table: string
  /** Lines of Ballast that are not flat. */
  readonly growing: { readonly calls: number; readonly keys: number }
}

export const measureMemory = async (): Promise<Memory> => {
  const names = Object.keys(about) as ReadonlyArray<Name> // its keys are all there are
  const results = new Map<Name, ReadonlyArray<number>>()
  const left = [...names]
  const worker = async () => {
    for (let name = left.shift(); name !== undefined; name = left.shift()) results.set(name, await inChild(name))
  }
  await Promise.all([worker(), worker()])
  const rows = names.map((name) => {
    const bytes = results.get(name) ?? []
    const flat = isFlat(bytes) ? "flat" : "grows"
    return `| ${name} | ${bytes.map(mb).join(" | ")} | ${mb(growth(bytes))} | ${flat} | ${about[name]} |`
  })
  const growing = (what: string) =>
    names
      .filter((name) => name.endsWith(": Ballast") && name.startsWith("calls") === (what === "calls"))
      .filter((name) => !isFlat(results.get(name) ?? [])).length
  return { table: [...head, ...rows, ""].join("\n"), growing: { calls: growing("calls"), keys: growing("keys") } }
}

const head = [
  "## Memory: live heap in MB after so many calls or keys",
  "",
  "What is alive after full collections, typed arrays included, each line in a process of its own. Keys and tenants come once",
  "and never again. Flat: less than 5 % or 5 MB more at a million than at a hundred thousand.",
  "",
  `| line | ${counts.map((count) => count.toLocaleString("en")).join(" | ")} | growth from 100,000 | | how |`,
  `| --- |${" --: |".repeat(counts.length + 1)} --- | --- |`
]

if (process.argv[1] === file) {
  console.log(JSON.stringify(await measured(process.argv[2] as Name))) // as `inChild` starts it
  process.exit(0)
}
