/** A call, a stream and a recovered failure: `npm start`. Runs without a key on LocalLlm, with OPENAI_API_KEY on OpenAI. */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Console, Effect, Stream } from "effect"
import { LlmProvider, OpenAi } from "effect-ballast"
import * as LocalLlm from "effect-ballast/LocalLlm"
import { printable } from "./printable.ts"

const Model = LocalLlm.layerUnless("OPENAI_API_KEY", OpenAi.layerConfig({ model: "gpt-5-mini" }))

const notes = "Ballast is weight low in a ship. It keeps the ship upright when the wind gusts."

const program = Effect.gen(function* () {
  const answer = yield* LlmProvider.generate(`What does ballast keep upright?\n\nContext: ${notes}`)
  yield* Console.log(`A call to ${answer.provider}/${answer.model}: ${printable(answer.text)}`)
  yield* Console.log(`  ${JSON.stringify(answer.usage)}`)

  yield* Console.log("A stream:")
  yield* LlmProvider.streamText(`What is ballast?\n\nContext: ${notes}`).pipe(
    Stream.runForEach((text) => Console.log(`  | ${printable(text)}`))
  )

  const recovered = yield* LlmProvider.generateText({ prompt: "Hello?", maxOutputTokens: 100_000_000 }).pipe(
    Effect.catchReason("LlmError", "InvalidRequestError", (reason) => Effect.succeed(`"${printable(reason.message)}"`))
  )
  yield* Console.log(`A failure, typed and recovered: ${recovered}`)
})

NodeRuntime.runMain(program.pipe(Effect.provide(Model)))
