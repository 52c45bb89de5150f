/** Sixty calls a minute, evenly: who waits for how long, who goes first, who is refused, and what is left in the end. */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Clock, Console, Effect, Layer } from "effect"
import { Caller, Deadline, LlmProvider, OpenAi, QuotaStore, RateLimiter, Resilient } from "effect-ballast"
import * as LocalLlm from "effect-ballast/LocalLlm"

const Model = Resilient.layer({
  providers: [LocalLlm.layerUnless("OPENAI_API_KEY", OpenAi.layerConfig({ model: "gpt-5-mini" }))],
  rateLimiter: { requestsPerMinute: 60, burst: "1 second", tokensPerMinute: 90_000 }
}).pipe(Layer.provide(QuotaStore.layerMemory)) // or RedisQuotaStore.layer() for a whole fleet: see example 09

const ask = (name: string, began: number) =>
  LlmProvider.generateText("What is ballast?").pipe(
    Effect.andThen(Clock.currentTimeMillis),
    Effect.flatMap((now) => Console.log(`${String(now - began).padStart(5)} ms  ${name} was answered`)),
    Effect.catchReason("LlmError", "RateLimitExceeded", (reason) => Console.log(`      --  ${name}: ${reason.message}`))
  )

const program = Effect.gen(function* () {
  const began = yield* Clock.currentTimeMillis
  const tenants = ["acme", "acme", "acme", "acme", "globex", "globex", "globex"]
  const calls = tenants.map((tenant, i) => ask(`${tenant} ${i}`, began).pipe(Caller.provide({ tenant })))
  const urgent = ask("the urgent one", began).pipe(Caller.provide({ tenant: "acme", priority: "high" }))
  const leaves = ask("one that leaves after 2 s", began).pipe(Effect.timeoutOption("2 seconds"))
  const hurried = ask("one that has only 3 s", began).pipe(Deadline.within("3 seconds"))
  yield* Effect.all([...calls, leaves, urgent, hurried], { concurrency: "unbounded" })

  const provider = yield* LlmProvider.LlmProvider
  for (const { limit, name, remaining } of yield* RateLimiter.state({ provider }))
    yield* Console.log(`${name}: ${remaining} of ${limit} left`)
})

NodeRuntime.runMain(program.pipe(Effect.provide(Model)))
