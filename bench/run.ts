/** `npm run bench`: every suite, as Markdown on standard output. A name on the command line runs the suites that have it. */
import { cpus } from "node:os"
import { callSuite } from "./calls.ts"
import { measure, table } from "./harness.ts"
import { retrySuite, stackSuite, timeoutSuite } from "./policies.ts"

const wanted = (process.argv[2] ?? "").toLowerCase()
const suites = [retrySuite, timeoutSuite, stackSuite, callSuite].filter(({ name }) =>
  name.toLowerCase().includes(wanted)
)

console.log(`Node ${process.versions.node}, ${cpus().length} x ${cpus()[0]?.model ?? "?"}\n`)
for (const suite of suites) console.log(table(suite, await measure(suite)))
process.exit(0)
