/**
 * `npm run bench`: every suite, memory and growth, as Markdown on standard output, and the report in `docs/benchmarks.md`. A name
 * on the command line runs what has it in its own, and writes no report.
 */
import { fork } from "node:child_process"
import { writeFileSync } from "node:fs"
import { breakerPromiseSuite, breakerSuite, openSuite } from "./breakers.ts"
import { budgetSuite, overBudgetSuite } from "./budgets.ts"
import { hitSuite, manyHitsSuite, missSuite } from "./caches.ts"
import { callSuite } from "./calls.ts"
import { measureGrowth } from "./growth.ts"
import { inputSuite, streamSuite } from "./guards.ts"
import { measure, type Row, rounds, type Suite, table } from "./harness.ts"
import { freshKeySuite, grownKeySuite } from "./keys.ts"
import { acquireSuite, queueSuite, refusalSuite } from "./limiters.ts"
import { machine, versions } from "./machine.ts"
import { measureMemory } from "./memory.ts"
import { fallbackSuite, retryPromiseSuite, retrySuite, stackSuite, timeoutSuite } from "./policies.ts"
import { overRedis } from "./redis.ts"
import { document, judge, type Measured } from "./report.ts"
import { targets } from "./targets.ts"
import { telemetryStreamSuite, telemetrySuite } from "./telemetry.ts"
import { vectorSuites } from "./vectors.ts"
import { languageModelSuite, missPartsSuite, missPathSuite } from "./whole.ts"

const inProcess = [
  retrySuite,
  retryPromiseSuite,
  fallbackSuite,
  timeoutSuite,
  stackSuite,
  callSuite,
  acquireSuite,
  refusalSuite,
  queueSuite,
  breakerSuite,
  breakerPromiseSuite,
  openSuite,
  budgetSuite,
  overBudgetSuite,
  hitSuite,
  manyHitsSuite,
  missSuite,
  freshKeySuite,
  grownKeySuite,
  streamSuite,
  inputSuite,
  telemetrySuite,
  telemetryStreamSuite,
  languageModelSuite,
  missPathSuite,
  missPartsSuite
]

/** A suite in a process of its own, so that no figure depends on what the compiler has seen of others before. */
const apart = (suite: Suite): Promise<ReadonlyArray<Row>> =>
  new Promise((resolve, reject) => {
    const child = fork(import.meta.filename, ["--rows", suite.name], { serialization: "advanced" })
    child.on("message", (measured: ReadonlyArray<Row>) => resolve(measured))
    child.on("exit", (code) => reject(new Error(`${suite.name}: its process ended with ${code}`)))
  })

if (process.argv[2] === "--rows") {
  const suite = inProcess.find(({ name }) => name === process.argv[3])
  const measured = suite === undefined ? [] : await measure(suite)
  await new Promise((sent) => process.send?.(measured, sent))
  process.exit(0)
}

const wanted = (process.argv[2] ?? "").toLowerCase()
const isWanted = (name: string): boolean => name.toLowerCase().includes(wanted)
/** Suites that are costly to make are made when a name can only mean them. */
const mayMean = (topic: string): boolean => topic.includes(wanted) || wanted.includes(topic)

const sections: Array<string> = []
const rows = new Map<string, ReadonlyArray<Row>>()

const show = (section: string): void => {
  sections.push(section)
  console.log(section)
}

const run = async (suites: ReadonlyArray<Suite>, rowsOf = measure): Promise<void> => {
  for (const suite of suites.filter(({ name }) => isWanted(name))) {
    const measured = await rowsOf(suite)
    rows.set(suite.name, measured)
    show(table(suite, measured))
  }
}

/** A misspelled suite in the table of targets is found before anything is measured, not after. */
for (const { figure } of targets) {
  if ("suite" in figure && !figure.suite.includes("Redis") && !inProcess.some(({ name }) => name === figure.suite))
    throw new Error(`targets.ts: there is no suite "${figure.suite}"`)
}

let counted: Measured["counted"] = {}
console.log(
  machine()
    .map(({ name, version }) => `${name}: ${version}`)
    .join("\n") + "\n"
)
await run(inProcess, apart)
if (mayMean("redis")) {
  const redis = await overRedis()
  if (redis === undefined) show("## Limits in Redis\n\nNot measured here: no redis-server.\n")
  else {
    counted = { ...counted, ...redis.trips }
    await run(redis.suites)
  }
}
if (mayMean("growth")) show(await measureGrowth())
if (mayMean("memory")) {
  const { growing, table } = await measureMemory()
  counted = { ...counted, "growing keys": growing.keys, "growing calls": growing.calls }
  show(table)
}
if (mayMean("vector")) await run(vectorSuites())

if (wanted === "") {
  const judged = targets.map((target) => judge(target, { suites: rows, counted }))
  const report = document({ machine: machine(), versions: versions(), rounds, judged, sections })
  writeFileSync(new URL("../docs/benchmarks.md", import.meta.url), report)
}
process.exit(0)
