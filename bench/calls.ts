/** A whole call with a model that answers at once, as a user of each library would make it. */
import { FakeListChatModel } from "@langchain/core/utils/testing"
import { generateText } from "ai"
import { MockLanguageModelV3 } from "ai/test"
import { Effect } from "effect"
import { LlmProvider, Resilient } from "../src/index.ts"
import { awaited, inFiber, type Suite } from "./harness.ts"
import { async } from "./stacks.ts"

const stack = Resilient.make({ retry: {}, degrade: { static: "sorry" } }, 2)([async, async])
const ballast = LlmProvider.generateText("What is ballast?").pipe(Effect.provideService(LlmProvider.LlmProvider, stack))

const vercelModel = new MockLanguageModelV3({
  doGenerate: {
    content: [{ type: "text", text: "Weight low in a ship." }],
    finishReason: { unified: "stop", raw: undefined },
    usage: {
      inputTokens: { total: 5, noCache: 5, cacheRead: undefined, cacheWrite: undefined },
      outputTokens: { total: 5, text: 5, reasoning: undefined }
    },
    warnings: []
  }
})

const langchainModel = new FakeListChatModel({ responses: ["Weight low in a ship."] })
const langchain = langchainModel.withRetry({ stopAfterAttempt: 5 }).withFallbacks([langchainModel])

export const callSuite: Suite = {
  name: "A whole call, resilient (a model that answers at once)",
  base: "Ballast generateText over Resilient, runPromise",
  cases: [
    inFiber("Ballast generateText over Resilient, in a fiber", ballast),
    awaited("Ballast generateText over Resilient, runPromise", () => Effect.runPromise(ballast)),
    awaited("Vercel AI SDK generateText (its retry on)", () =>
      generateText({ model: vercelModel, prompt: "What is ballast?" })
    ),
    awaited("LangChain withRetry + withFallbacks", () => langchain.invoke("What is ballast?"))
  ]
}
