/** A stream in full: every kind of part, the usage at its end, and a reader that leaves early and so ends the request. */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Console, Effect, Stream } from "effect"
import { LlmProvider, LlmResponse, OpenAi } from "effect-ballast"
import * as LocalLlm from "effect-ballast/LocalLlm"
import { printable } from "./printable.ts"

const Model = LocalLlm.layerUnless("OPENAI_API_KEY", OpenAi.layerConfig({ model: "gpt-5-mini" }))

const question = "What is a keel?\n\nContext: A keel is the long beam under a hull. It holds the ship on its course."

const program = Effect.gen(function* () {
  const parts = yield* LlmProvider.stream({ prompt: question, maxOutputTokens: 2_000 }).pipe(
    Stream.tap((part) => {
      if (part.type === "text-delta") return Console.log(`text       ${printable(part.delta)}`)
      if (part.type === "finish") return Console.log(`finish     ${part.reason}, ${JSON.stringify(part.usage)}`)
      return Console.log(`${part.type.padEnd(10)}${LlmResponse.isVisible(part) ? " (visible)" : ""}`)
    }),
    Stream.runCollect
  )
  const whole = LlmResponse.collectParts(parts).find((part) => part.type === "text")
  yield* Console.log(`together   ${printable(whole?.type === "text" ? whole.text : "")}`)

  const firstWords = yield* LlmProvider.streamText(question).pipe(Stream.take(3), Stream.mkString)
  yield* Console.log(`first words, then the request is aborted: ${printable(firstWords)}`)
})

NodeRuntime.runMain(program.pipe(Effect.provide(Model)))
