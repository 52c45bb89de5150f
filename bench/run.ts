/**
 * `npm run bench`: every suite, memory and growth, as Markdown on standard output, and the report in `docs/benchmarks.md`. A name
 * on the command line runs what has it in its own, and writes no report.
 */
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

const run = async (suites: ReadonlyArray<Suite>): Promise<void> => {
  for (const suite of suites.filter(({ name }) => isWanted(name))) {
    const measured = await measure(suite)
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
await run(inProcess)
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
