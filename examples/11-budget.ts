/** A budget of a few cents: three tenants spend it at once, are told at 50, 80 and 100 %, and read the bill in the end. */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Array as Arr, Console, Effect, Layer, Stream } from "effect"
import { Budget, Caller, LlmProvider, OpenAi, Pricing, QuotaStore, Resilient } from "effect-ballast"
import * as LocalLlm from "effect-ballast/LocalLlm"

const Model = Resilient.layer({
  providers: [LocalLlm.layerUnless("OPENAI_API_KEY", OpenAi.layerConfig({ model: "gpt-5-mini" }))],
  budget: {
    limits: [{ usd: 0.04 }, { usd: 0.02, by: "tenant" }], // a day, in UTC
    strict: true // nothing passes a limit: the most that a call may cost is reserved before it
  }
}).pipe(
  // LocalLlm is no model and has no price: it gets one. The prices of real models are known
  Layer.provide(Pricing.layerTable({ "local-llm": { input: 2.5, output: 20 } })),
  Layer.provide(QuotaStore.layerMemory) // or Stores.layerSqlite(file), Stores.layerRedis: see example 12
)

const ask = (tenant: string) =>
  LlmProvider.generateText({ prompt: "What is ballast good for?", maxOutputTokens: 50 }).pipe(
    Effect.as("answered"),
    Effect.catchReason("LlmError", "BudgetExceeded", (reason) =>
      Effect.succeed(`refused, ${reason.window} budget of the ${reason.budget}`)
    ),
    Caller.provide({ tenant })
  )

const watch = Stream.runForEach(Budget.alerts, ({ limit, owner, spent, threshold }) =>
  Console.log(`  ! ${owner} has passed ${threshold * 100} %: ${Budget.format(spent)} of ${Budget.format(limit)}`)
)

const program = Effect.gen(function* () {
  yield* Effect.forkScoped(watch, { startImmediately: true })
  const tenants = Array.from({ length: 120 }, (_, i) => ["acme", "acme", "globex"][i % 3] ?? "acme")
  const answers = yield* Effect.forEach(
    tenants,
    (tenant) => Effect.map(ask(tenant), (answer) => `${tenant}: ${answer}`),
    { concurrency: 8 }
  )
  for (const [answer, all] of Object.entries(Arr.groupBy(answers, (answer) => answer)))
    yield* Console.log(`${String(all.length).padStart(4)} x ${answer}`)

  const report = yield* Budget.report({ by: ["day", "tenant", "model"] })
  yield* Console.table(
    report.map(({ amount, charges, day, model, tenant, tokens: { input, output } }) => {
      return { day, tenant, model, charges, input, output, paid: Budget.format(amount) }
    })
  )
  for (const { budget, limit, remaining, window } of yield* Budget.remaining())
    yield* Console.log(`${budget} per ${window}: ${Budget.format(remaining)} of ${Budget.format(limit)} left`)
})

NodeRuntime.runMain(Effect.scoped(program).pipe(Effect.provide(Model)))
