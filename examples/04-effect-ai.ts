/** An unmodified program over `effect/ai`, with tools and a chat, that runs on Ballast by providing one layer. */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Console, Effect, Layer, Schema, Stream } from "effect"
import { Chat, Tool, Toolkit } from "effect/ai"
import { LlmError, LlmProvider, OpenAi } from "effect-ballast"
import * as LocalLlm from "effect-ballast/LocalLlm"
import { printable } from "./printable.ts"

const Tides = Toolkit.make(
  Tool.make("tide_height", {
    description: "Looks up the height of the tide in a harbour, in metres",
    parameters: Schema.Struct({ harbour: Schema.String, hour: Schema.optional(Schema.Int) }),
    success: Schema.Struct({ metres: Schema.Number })
  })
)

const TidesLive = Tides.toLayer({
  tide_height: ({ harbour }) => Effect.as(Console.log(`Looking up the tide in ${printable(harbour)}`), { metres: 3.2 })
})

// knows nothing of Ballast
const program = Effect.gen(function* () {
  const chat = yield* Chat.fromPrompt([{ role: "system", content: "You are a pilot. Answer in one sentence." }])

  const question = 'What is the tide height in the harbour "Cuxhaven"?'
  const first = yield* chat.generateText({ prompt: question, toolkit: Tides, toolChoice: "required" })
  for (const { name, result } of first.toolResults) yield* Console.log(`${name} answered ${JSON.stringify(result)}`)

  // no new message: the result of the tool stands in the chat, and the model goes on from there
  const answer = chat.streamText({ prompt: [], toolkit: Tides })
  yield* Stream.runForEach(answer, (part) =>
    part.type === "text-delta" ? Console.log(`  | ${printable(part.delta)}`) : Effect.void
  )
})

const Model = LlmProvider.languageModel.pipe(
  Layer.provide(LocalLlm.layerUnless("OPENAI_API_KEY", OpenAi.layerConfig({ model: "gpt-5-mini" })))
)

program.pipe(
  Effect.catchTag("AiError", (error) => Console.error(`It failed: ${LlmError.fromAiError(error).message}`)),
  Effect.provide([Model, TidesLive]),
  NodeRuntime.runMain
)
