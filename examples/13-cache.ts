/**
 * The first call is answered by the provider, the second from a file of SQLite; so is the first one when you run it again:
 * `npx tsx examples/13-cache.ts` twice. `npx tsx examples/13-cache.ts clear` forgets everything.
 */
import { tmpdir } from "node:os"
import { join } from "node:path"
import process from "node:process"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Clock, Console, Effect, Layer, Stream } from "effect"
import { Budget, Cache, LlmProvider, OpenAi, Pricing, Resilient } from "effect-ballast"
import * as LocalLlm from "effect-ballast/LocalLlm"
import * as Stores from "effect-ballast/Stores"

const Provider = LocalLlm.layerUnless("OPENAI_API_KEY", OpenAi.layerConfig({ model: "gpt-5-mini" })).pipe(
  // it listens on another port each time, and answers are kept by who gave them
  LlmProvider.transform((inner) => (inner.provider === "local" ? { ...inner, endpoint: "local" } : inner))
)

const Model = Resilient.layer({
  providers: [Provider],
  cache: { timeToLive: "1 day", staleIfError: "7 days" },
  budget: { limits: [{ usd: 1 }] }
}).pipe(
  Layer.provide(Pricing.layerTable({ "local-llm": { input: 2.5, output: 20 } })),
  Layer.provide(Stores.layerSqlite(join(tmpdir(), "ballast-example-13.sqlite")))
)

const question =
  "What is ballast?\n\nContext: Ballast is weight low in a ship. It keeps the ship upright when the wind gusts."

const timed = (name: string, call: Effect.Effect<unknown, unknown, LlmProvider.LlmProvider>) =>
  Effect.gen(function* () {
    const began = yield* Clock.currentTimeNanos
    yield* call
    const millis = Number((yield* Clock.currentTimeNanos) - began) / 1e6
    yield* Console.log(`${millis.toFixed(2).padStart(8)} ms  ${name}`)
  })

const program = Effect.gen(function* () {
  if (process.argv[2] === "clear") yield* Cache.clear()
  yield* timed("a call", LlmProvider.generateText(question))
  yield* timed("the same again", LlmProvider.generateText(question))
  yield* timed("as a stream", Stream.runDrain(LlmProvider.streamText(question)))
  yield* timed("past the cache", Cache.bypass(LlmProvider.generateText(question)))
  const calls = Array.from({ length: 20 }, () => LlmProvider.generateText("Twenty ask this at the same time."))
  yield* timed("twenty equal calls at once", Effect.all(calls, { concurrency: "unbounded" }))

  const { hits, misses, shared, stored } = yield* Cache.stats
  yield* Console.log(`${hits} hits, ${shared} shared, ${misses} misses, ${stored} stored`)
  yield* Effect.sleep("1100 millis") // savings are written once a second
  const [sum] = yield* Budget.report({ by: [] })
  yield* Console.log(`paid so far: ${Budget.format(sum?.amount ?? 0)}, saved: ${Budget.format(sum?.saved ?? 0)}`)
})

NodeRuntime.runMain(program.pipe(Effect.provide(Model)))
