/** A live table of providers, circuit, limits, budget and cache, read from the metrics, while an incident runs its course. */
import process from "node:process"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Clock, Console, Context, Effect, Layer, Metric, Redacted } from "effect"
import { LlmProvider, OpenAi, Pricing, Resilient } from "effect-ballast"
import * as LocalLlm from "effect-ballast/LocalLlm"
import * as Stores from "effect-ballast/Stores"

class One extends Context.Service<One, LocalLlm.LocalLlm["Service"]>()("One") {}
class Two extends Context.Service<Two, LocalLlm.LocalLlm["Service"]>()("Two") {}

const Servers = Layer.mergeAll(
  Layer.effect(One, LocalLlm.LocalLlm).pipe(Layer.provide(LocalLlm.layer())),
  Layer.effect(Two, LocalLlm.LocalLlm).pipe(Layer.provide(LocalLlm.layer()))
)

const vendor = <R>(name: string, server: Effect.Effect<LocalLlm.LocalLlm["Service"], never, R>) =>
  Layer.unwrap(
    Effect.map(server, ({ url }) => OpenAi.layer({ name, model: name, baseUrl: url, apiKey: Redacted.make("local") }))
  )

const Model = Resilient.layer({
  providers: [vendor("one", One), vendor("two", Two)],
  timeouts: { attempt: "1 second", total: "3 seconds" },
  circuitBreaker: { failures: 5, openFor: "2 seconds" },
  rateLimiter: { requestsPerMinute: 3000, concurrency: 20 },
  budget: { limits: [{ usd: 1 }] },
  cache: {},
  outputGuard: {},
  degrade: { static: "Nobody can answer just now." }
}).pipe(
  Layer.provide(Pricing.layerTable({ one: { input: 1, output: 4 }, two: { input: 2, output: 8 } })),
  Layer.provide(Stores.layerMemory),
  Layer.provideMerge(Servers)
)

/** Sums of a metric over all series with these labels. */
const read = (
  snapshot: ReadonlyArray<Metric.Metric.Snapshot>,
  id: string,
  labels: Record<string, string> = {}
): number =>
  snapshot
    .filter((one) => one.id === id && Object.entries(labels).every(([key, value]) => one.attributes?.[key] === value))
    .reduce(
      (sum, { state }) => sum + ("count" in state ? Number(state.count) : "value" in state ? Number(state.value) : 0),
      0
    )

const circuits = ["closed", "half open", "open"]

const frame = (phase: string, snapshot: ReadonlyArray<Metric.Metric.Snapshot>): string => {
  const of = (id: string, labels?: Record<string, string>) => read(snapshot, id, labels)
  const providers = ["one", "two"].map((provider) => {
    const state = circuits[of("llm_circuit_breaker_state", { provider })] ?? "?"
    const [good, bad, refused] = ["success", "failure", "refused"].map((outcome) =>
      of("llm_attempts_total", { provider, outcome })
    )
    const cost = of("llm_cost_usd_total", { provider }).toFixed(6)
    return `  ${provider.padEnd(5)} ${state.padEnd(10)} ${good} answered, ${bad} failed, ${refused} refused, ${cost} USD`
  })
  const cache = ["hit", "shared", "miss"].map((result) => `${of("llm_cache_requests_total", { result })} ${result}`)
  return [
    phase,
    ...providers,
    `  calls ${of("llm_requests_total", { status: "success" })} answered, ${of("llm_requests_total", { status: "error" })} failed, ${of("llm_degraded_total")} by the static answer`,
    `  moves ${of("llm_fallbacks_total")} to the other provider, ${of("llm_retries_total")} retries`,
    `  cache ${cache.join(", ")}   queue ${of("llm_rate_limiter_queue")}   budget left ${of("llm_budget_remaining_usd").toFixed(6)} USD`
  ].join("\n")
}

const phases = ["All is well", "Vendor one is down", "Both are down", "Both are back"] as const
const seconds = 3

const program = Effect.gen(function* () {
  const [one, two] = [yield* One, yield* Two]
  const began = yield* Clock.currentTimeMillis
  let question = 0
  // every third one was asked before
  const ask = Effect.suspend(() => {
    const n = question++
    return Effect.ignore(LlmProvider.generateText(`Question ${n % 3 === 0 ? n % 10 : n}?`))
  })
  const traffic = Effect.forever(Effect.andThen(Effect.forkChild(ask), Effect.sleep("20 millis")))
  yield* Effect.forkChild(traffic)

  const show = (phase: string) =>
    Effect.flatMap(Metric.snapshot, (snapshot) =>
      Console.log(`${process.stdout.isTTY ? "\u001b[2J\u001b[H" : "\n"}${frame(phase, snapshot)}`)
    )
  for (const [i, phase] of phases.entries()) {
    yield* one.behave(i === 1 || i === 2 ? LocalLlm.status(503) : undefined)
    yield* two.behave(i === 2 ? LocalLlm.status(500) : undefined)
    const frames = process.stdout.isTTY ? seconds * 4 : 1
    for (let n = 0; n < frames; n++) {
      yield* Effect.sleep((seconds * 1000) / frames)
      yield* show(phase)
    }
  }
  const took = ((yield* Clock.currentTimeMillis) - began) / 1000
  yield* Console.log(
    `\n${took.toFixed(0)} s, no unhandled failure. The same numbers: Telemetry.layerPrometheus(), docs/grafana.json.`
  )
})

NodeRuntime.runMain(program.pipe(Effect.scoped, Effect.provide(Model)))
