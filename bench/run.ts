/** `npm run bench`: every suite, as Markdown on standard output. A name on the command line runs the suites that have it. */
import { cpus } from "node:os"
import { breakerPromiseSuite, breakerSuite, openSuite } from "./breakers.ts"
import { budgetSuite, overBudgetSuite } from "./budgets.ts"
import { hitSuite, manyHitsSuite, missSuite } from "./caches.ts"
import { callSuite } from "./calls.ts"
import { inputSuite, streamSuite } from "./guards.ts"
import { languageModelSuite, missPathSuite } from "./whole.ts"
import { measure, table } from "./harness.ts"
import { freshKeySuite, grownKeySuite } from "./keys.ts"
import { acquireSuite, queueSuite, refusalSuite } from "./limiters.ts"
import { retrySuite, stackSuite, timeoutSuite } from "./policies.ts"
import { redisSuites } from "./redis.ts"
import { telemetryStreamSuite, telemetrySuite } from "./telemetry.ts"
import { vectorSuites } from "./vectors.ts"

const wanted = (process.argv[2] ?? "").toLowerCase()
const all = [
  retrySuite,
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
  missPathSuite
]
const overRedis = "redis".includes(wanted) || wanted.includes("redis") ? await redisSuites() : []
const vectors = wanted.includes("vector") ? vectorSuites() : []
const suites = [...all, ...overRedis, ...vectors].filter(({ name }) => name.toLowerCase().includes(wanted))

console.log(`Node ${process.versions.node}, ${cpus().length} x ${cpus()[0]?.model ?? "?"}\n`)
for (const suite of suites) console.log(table(suite, await measure(suite)))
process.exit(0)
