import { createHash } from "node:crypto"
import { Prompt } from "effect/ai"
import * as requestKey from "../src/internal/requestKey.ts"
import { cacheable } from "../src/internal/cacheable.ts"
import { measure, table, type Case } from "./harness.ts"
const scope: requestKey.Scope = { endpoint: "openai|https://api.openai.com|org-1|gpt-5-mini", isolation: ["tenant", "acme"], fingerprint: "1" }
const keyOf = requestKey.make({})
const c = (name: string, make: () => unknown): Case => ({ name, run: (n) => { for (let i = 0; i < n; i++) make(); return Promise.resolve() } })
const tools = Array.from({ length: 20 }, (_, i) => ({ name: `tool-${i}`, description: "x".repeat(200), parameters: { type: "object", properties: Object.fromEntries(Array.from({ length: 15 }, (_, j) => [`property${j}`, { type: "string", description: "what it is for, at some length" }])), required: ["property1"], additionalProperties: false } }))
let n = 0
const fresh = () => [Prompt.userMessage({ content: [Prompt.textPart({ text: `${n++} Hi` })] })]
const withTools = () => ({ prompt: Prompt.fromMessages(fresh()), tools })
const rows = Array.from({ length: 20 }, (_, i) => Prompt.toolMessage({ content: [Prompt.toolResultPart({ id: "1", name: "t", isFailure: false, providerExecuted: false, result: Array.from({ length: 100 }, (_, j) => ({ id: j, name: `name ${i} ${j}`, city: "a city somewhere", amount: j / 7 })) })] }))
const rowed = () => ({ prompt: Prompt.fromMessages([...rows, ...fresh()]) })
const json = (r: unknown) => createHash("sha256").update(JSON.stringify([r, scope])).digest("hex")
for (const [name, f] of [["20 tools " + JSON.stringify(tools).length, withTools], ["20 tool results of 100 rows " + JSON.stringify(rows).length, rowed]] as const) {
  const text = JSON.stringify({ ...f(), prompt: { content: f().prompt.content } })
  const clone = () => JSON.parse(text)
  const s = { name, base: "ballast", cases: [c("ballast", () => keyOf(f(), scope)), c("json", () => json(f())), c("ballast, fresh", () => keyOf(clone() as never, scope)), c("json, fresh", () => json(clone())), c("clone", clone)] }
  console.log(table(s, await measure(s)))
}
