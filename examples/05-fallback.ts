/** An outage of the first provider becomes a slower answer from the second. Two LocalLlm servers stand for two vendors. */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Clock, Console, Context, Effect, Layer, Redacted } from "effect"
import { LlmProvider, OpenAi, Resilient } from "effect-ballast"
import * as LocalLlm from "effect-ballast/LocalLlm"
import { printable } from "./printable.ts"

class One extends Context.Service<One, LocalLlm.LocalLlm["Service"]>()("One") {}
class Two extends Context.Service<Two, LocalLlm.LocalLlm["Service"]>()("Two") {}

const Servers = Layer.mergeAll(
  Layer.effect(One, LocalLlm.LocalLlm).pipe(Layer.provide(LocalLlm.layer())),
  Layer.effect(Two, LocalLlm.LocalLlm).pipe(Layer.provide(LocalLlm.layer()))
)

const vendor = <R>(name: string, server: Effect.Effect<LocalLlm.LocalLlm["Service"], never, R>) =>
  Layer.unwrap(
    Effect.map(server, ({ url }) =>
      OpenAi.layer({ name, model: "gpt-5-mini", baseUrl: url, apiKey: Redacted.make("local") })
    )
  )

const Model = Resilient.layer({
  providers: [vendor("one", One), vendor("two", Two)],
  retry: { base: "200 millis" }
}).pipe(Layer.provideMerge(Servers))

const question =
  "What does ballast keep upright?\n\nContext: Ballast is weight low in a ship. It keeps the ship upright."

const program = Effect.gen(function* () {
  const [one, two] = [yield* One, yield* Two]

  const ask = (situation: string) =>
    Effect.gen(function* () {
      const began = yield* Clock.currentTimeMillis
      const answer = yield* LlmProvider.generate(question)
      const took = (yield* Clock.currentTimeMillis) - began
      yield* Console.log(`${situation}: ${answer.provider} answered in ${took} ms: ${printable(answer.text)}`)
      const attempts = [(yield* one.requests).length, (yield* two.requests).length]
      yield* Console.log(`  requests so far: ${attempts[0]} to one, ${attempts[1]} to two`)
    })

  yield* ask("All is well")
  yield* one.behave(LocalLlm.status(503))
  yield* ask("Vendor one is down")
  // its waiting time is longer than a retry would wait: the second vendor is asked at once
  yield* one.behave(LocalLlm.rateLimited("10 minutes"))
  yield* ask("Vendor one limits us")
  yield* one.behave(undefined)
  yield* ask("All is well again")
})

NodeRuntime.runMain(program.pipe(Effect.provide(Model)))
