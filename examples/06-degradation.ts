/** One question on a ladder of four answers, from the best to the cheapest, each of them forced in turn on LocalLlm. */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import { Console, Data, Effect } from "effect"
import { Degrade, LlmProvider } from "effect-ballast"
import * as LocalLlm from "effect-ballast/LocalLlm"
import { printable } from "./printable.ts"

const question = "What does ballast keep upright?"

class SearchDown extends Data.TaggedError("SearchDown")<{}> {}

const search = Effect.succeed("[1] Ballast is weight low in a ship. It keeps the ship upright when the wind gusts.")

/** Answers of earlier calls. A program would bound it: this one knows one question. */
const answers = new Map<string, string>()

const ask = (documents: Effect.Effect<string, SearchDown>) => {
  const rag = Effect.gen(function* () {
    const context = yield* documents
    const text = yield* LlmProvider.generateText(`${question}\n\nContext: ${context}`)
    answers.set(question, text)
    return { text, context }
  })
  return Degrade.ladder(
    [
      Degrade.rung("rag", rag),
      Degrade.rung("direct", LlmProvider.generateText(question)),
      Degrade.rung(
        "stale",
        Effect.suspend(() => Effect.fromNullishOr(answers.get(question))),
        { asks: "nothing" }
      ),
      Degrade.otherwise("apology", () => "I cannot answer right now. Please try again in a few minutes.")
    ],
    { within: "10 seconds" }
  )
}

const show = (situation: string, documents: Effect.Effect<string, SearchDown>) =>
  Effect.gen(function* () {
    yield* Console.log(situation)
    const answer = yield* ask(documents)
    // the rung narrows the value: only the first one brings the documents along
    const text = answer.rung === "rag" ? `${answer.value.text}\n  from: ${answer.value.context}` : answer.value
    yield* Console.log(`  ${answer.rung}: ${printable(text)}`)
  })

const program = Effect.gen(function* () {
  const local = yield* LocalLlm.LocalLlm
  yield* show("All is well", search)
  yield* show("The search is down", new SearchDown())

  yield* local.behave(LocalLlm.status(503))
  yield* show("The model is down too", new SearchDown())

  answers.clear()
  yield* show("Nobody has asked this before", new SearchDown())
})

NodeRuntime.runMain(program.pipe(Effect.provide(LocalLlm.layerProvider())))
