/**
 * A budget in a file of SQLite: this program starts another one, kills it in the middle of its calls, starts it again and
 * shows that no charge was lost. `npx tsx examples/12-durable-budget.ts spend FILE` is that other one, to kill by hand.
 */
import { type ChildProcess, fork } from "node:child_process"
import { once } from "node:events"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import process from "node:process"
import { fileURLToPath } from "node:url"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Console, Effect, Layer } from "effect"
import { Budget, LlmProvider, OpenAi, Pricing, Resilient } from "effect-ballast"
import * as LocalLlm from "effect-ballast/LocalLlm"
import * as Stores from "effect-ballast/Stores"

const Model = (file: string) =>
  Resilient.layer({
    providers: [LocalLlm.layerUnless("OPENAI_API_KEY", OpenAi.layerConfig({ model: "gpt-5-mini" }))],
    budget: { limits: [{ usd: 0.05 }] }
  }).pipe(
    Layer.provide(Pricing.layerTable({ "local-llm": { input: 2.5, output: 20 } })),
    Layer.provide(Stores.layerSqlite(file))
  )

/** Asks until the budget is used up, and tells whoever started it how far it came. */
const spend = (file: string) =>
  Effect.gen(function* () {
    const ask = LlmProvider.generateText({ prompt: "What is ballast good for?", maxOutputTokens: 50 })
    const told = Effect.map(ask, () => process.send?.("answered"))
    const calls = Effect.forever(told).pipe(
      Effect.catchReason("LlmError", "BudgetExceeded", (reason) => Console.log(`  it stopped: ${reason.message}`))
    )
    yield* Effect.all([calls, calls, calls, calls], { concurrency: "unbounded", discard: true })
  }).pipe(Effect.provide(Model(file)))

const show = Effect.gen(function* () {
  const budget = yield* Budget.Budget
  const [sum] = yield* budget.report({ by: [] })
  yield* Console.log(`  in the ledger: ${sum?.charges ?? 0} charges, ${Budget.format(sum?.amount ?? 0)}`)
  for (const { limit, spent } of yield* budget.remaining())
    yield* Console.log(`  counted: ${Budget.format(spent)} of ${Budget.format(limit)}, open reservations included`)
  const { length } = yield* budget.check
  yield* Console.log(`  ${length === 0 ? "the counters say what the ledger says" : `${length} counters are wrong`}`)
})

const child = (file: string) =>
  Effect.acquireRelease(
    Effect.sync(() => fork(fileURLToPath(import.meta.url), ["spend", file], { execArgv: ["--import", "tsx"] })),
    (child) => Effect.sync(() => child.kill("SIGKILL"))
  )

/** Until it has had so many answers. */
const answered = (child: ChildProcess, count: number) =>
  Effect.promise(async () => {
    for (let i = 0; i < count; i++) await once(child, "message")
  })

const story = Effect.gen(function* () {
  const folder = yield* Effect.acquireRelease(
    Effect.sync(() => mkdtempSync(join(tmpdir(), "ballast-"))),
    (folder) => Effect.sync(() => rmSync(folder, { recursive: true }))
  )
  const file = join(folder, "budget.sqlite")
  const first = yield* child(file)
  yield* answered(first, 25)
  first.kill("SIGKILL")
  yield* Effect.promise(() =>
    (first.exitCode ?? first.signalCode) === null ? once(first, "exit") : Promise.resolve([])
  )
  yield* Console.log("Killed after 25 answers. What it leaves:")
  yield* Effect.provide(show, Model(file), { local: true })

  yield* Console.log("Started again, with what is left:")
  const second = yield* child(file)
  yield* Effect.promise(() => once(second, "exit"))
  yield* Effect.provide(show, Model(file), { local: true })
}).pipe(Effect.scoped)

const [what, file] = process.argv.slice(2)
NodeRuntime.runMain(what === "spend" && file !== undefined ? spend(file) : story)
