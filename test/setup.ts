/** Fails clearly when the tests run on another Node than the one the project pins (a bare `vitest`, say). */
import process from "node:process"

export default () => {
  const [major = 0, minor = 0] = process.versions.node.split(".").map(Number)
  if (major > 22 || (major === 22 && minor >= 19)) return
  throw new Error(`Node ${process.versions.node} is too old: run the tests with "npm test", which brings its own Node`)
}
