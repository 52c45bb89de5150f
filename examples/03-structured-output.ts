/** A value of a schema instead of text: the schema is sent as the provider wants it and the answer is decoded with it. */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Console, Effect, Schema } from "effect"
import { LlmProvider, OpenAi } from "effect-ballast"
import * as LocalLlm from "effect-ballast/LocalLlm"

const Model = LocalLlm.layerUnless("OPENAI_API_KEY", OpenAi.layerConfig({ model: "gpt-5-mini" }))

const Ticket = Schema.Struct({
  title: Schema.String,
  severity: Schema.Literals(["low", "medium", "high"]),
  affectedUsers: Schema.optional(Schema.Int)
}).annotate({ identifier: "Ticket" })

const report = "Since 9:00 the checkout page shows an error for 120 users. The severity is high."

const program = Effect.gen(function* () {
  const ticket = yield* LlmProvider.generateObject(`Make a support ticket of this report: ${report}`, Ticket)
  yield* Console.log(JSON.stringify(ticket, null, 2))
}).pipe(Effect.catchReason("LlmError", "InvalidOutputError", (reason) => Console.error(`No ticket: ${reason.message}`)))

NodeRuntime.runMain(program.pipe(Effect.provide(Model)))
