/** Runs every example as a user would and fails when one of them does: `npm run examples`. */
import { spawnSync } from "node:child_process"
import { readdirSync } from "node:fs"
import process from "node:process"

const folder = new URL("./", import.meta.url)
const examples = readdirSync(folder).filter((file) => /^\d\d-.*\.ts$/.test(file))

for (const example of examples) {
  console.log(`\n--- ${example}`)
  const { OPENAI_API_KEY: _, ...env } = process.env
  const run = spawnSync("npx", ["tsx", example], { cwd: folder, env, stdio: "inherit", timeout: 60_000 })
  if (run.status !== 0) {
    console.error(`${example} ended with ${run.signal ?? run.status}`)
    process.exit(1)
  }
}
console.log(`\n${examples.length} examples ran`)
