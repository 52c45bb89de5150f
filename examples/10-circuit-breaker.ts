/** An outage watched live: failures open the circuit, calls are refused at once, one tries now and then, and all is well again. */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Clock, Console, Effect, Layer, Redacted, Schedule, Stream } from "effect"
import { CircuitBreaker, CircuitBreakerStore, LlmProvider, OpenAi, Resilient } from "effect-ballast"
import * as LocalLlm from "effect-ballast/LocalLlm"

const provider = Layer.unwrap(
  Effect.map(LocalLlm.LocalLlm, ({ url }) =>
    OpenAi.layer({ model: "gpt-5-mini", baseUrl: url, apiKey: Redacted.make("local") })
  )
)

const Model = Resilient.layer({
  providers: [provider],
  // in earnest, leave the times to the defaults: 30 seconds, doubled with each opening, up to 5 minutes
  circuitBreaker: { failures: 3, openFor: Schedule.exponential("500 millis"), maxOpenFor: "1 second", jitter: 0 }
}).pipe(Layer.provide(CircuitBreakerStore.layerMemory), Layer.provideMerge(LocalLlm.layer()))

const program = Effect.gen(function* () {
  const began = yield* Clock.currentTimeMillis
  const say = (text: string) =>
    Effect.flatMap(Clock.currentTimeMillis, (now) => Console.log(`${String(now - began).padStart(5)} ms  ${text}`))

  yield* CircuitBreaker.changes.pipe(
    Stream.runForEach(({ cause, from, to }) =>
      say(`      circuit: ${from} -> ${to}${cause === undefined ? "" : ` (${cause})`}`)
    ),
    Effect.forkChild({ startImmediately: true })
  )

  const call = LlmProvider.generateText("What is ballast?").pipe(
    Effect.andThen(say("answered")),
    Effect.catchReason("LlmError", "CircuitOpen", () => say("refused at once")),
    Effect.catch((error) => say(`failed: ${error.reason._tag}`)),
    Effect.andThen(Effect.sleep("150 millis"))
  )
  const server = yield* LocalLlm.LocalLlm
  yield* Effect.repeat(call, { times: 1 })
  yield* say("--- the provider goes down")
  yield* server.behave(LocalLlm.status(503))
  yield* Effect.repeat(call, { times: 13 })
  yield* say("--- the provider is back")
  yield* server.behave(undefined)
  yield* Effect.repeat(call, { times: 9 })
  yield* say(`the provider saw ${(yield* server.requests).length} of 26 calls`)
})

NodeRuntime.runMain(program.pipe(Effect.provide(Model)))
