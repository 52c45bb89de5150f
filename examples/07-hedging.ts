/** A provider that is slow to begin is overtaken by a second one, and its request is aborted. Prints the times. */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Clock, Console, Context, Effect, Layer, Redacted, Stream } from "effect"
import { LlmProvider, OpenAi, Resilient } from "effect-ballast"
import * as LocalLlm from "effect-ballast/LocalLlm"
import { printable } from "./printable.ts"

class Slow extends Context.Service<Slow, LocalLlm.LocalLlm["Service"]>()("Slow") {}
class Quick extends Context.Service<Quick, LocalLlm.LocalLlm["Service"]>()("Quick") {}

const Servers = Layer.mergeAll(
  Layer.effect(Slow, LocalLlm.LocalLlm).pipe(Layer.provide(LocalLlm.layer())),
  Layer.effect(Quick, LocalLlm.LocalLlm).pipe(Layer.provide(LocalLlm.layer({ chunkDelay: "20 millis" })))
)

const vendor = <R>(name: string, server: Effect.Effect<LocalLlm.LocalLlm["Service"], never, R>) =>
  Layer.unwrap(
    Effect.map(server, ({ url }) =>
      OpenAi.layer({ name, model: "gpt-5-mini", baseUrl: url, apiKey: Redacted.make("local") })
    )
  )

const Model = Resilient.layer({
  providers: [vendor("slow", Slow), vendor("quick", Quick)],
  // in earnest: leave the delay out, it then follows the latencies, and hedge few calls
  hedge: { delay: "300 millis", ratio: 1 }
}).pipe(Layer.provideMerge(Servers))

const question =
  "What does ballast keep upright?\n\nContext: Ballast is weight low in a ship. It keeps the ship upright."

const program = Effect.gen(function* () {
  const slow = yield* Slow
  yield* slow.behave(LocalLlm.withDelay(LocalLlm.normal, "5 seconds"))

  const began = yield* Clock.currentTimeMillis
  const elapsed = Effect.map(Clock.currentTimeMillis, (now) => `${String(now - began).padStart(5)} ms`)

  const answer = yield* LlmProvider.generate(question)
  yield* Console.log(`${yield* elapsed}  ${answer.provider} answered: ${printable(answer.text)}`)

  yield* LlmProvider.stream(question).pipe(
    Stream.runForEach((part) =>
      Effect.gen(function* () {
        if (part.type === "text-delta") yield* Console.log(`${yield* elapsed}  | ${printable(part.delta)}`)
        if (part.type === "finish")
          yield* Console.log(`${yield* elapsed}  by ${JSON.stringify(part.metadata?.["ballast"])}`)
      })
    )
  )
  for (const { closed, path } of yield* slow.requests) {
    yield* Console.log(`to the slow provider: POST ${path}, ${closed ? "aborted" : "answered"}`)
  }
})

NodeRuntime.runMain(program.pipe(Effect.provide(Model)))
