/** What guards cost: on a stream, delta by delta, and on a request that was not seen before. */
import { AIMessageChunk } from "@langchain/core/messages"
import { FakeStreamingChatModel } from "@langchain/core/utils/testing"
import { simulateReadableStream, streamText } from "ai"
import { MockLanguageModelV3 } from "ai/test"
import { Effect, Layer, Stream } from "effect"
import { LanguageModel } from "effect/ai"
import { Guard, Guardrails, LlmProvider, LlmRequest, type LlmResponse, Resilient } from "../src/index.ts"
import { awaited, built, eachInFiber, inFiber, type Suite } from "./harness.ts"

const request = LlmRequest.makeUnsafe("What is ballast?")
const words = "Ballast is weight low in a ship, which keeps it upright when the wind gusts from the side. "
const deltas = Array.from({ length: 50 }, (_, i) => words.slice((i * 7) % 70, ((i * 7) % 70) + 20))

const usage = { inputTokens: { total: 5 }, outputTokens: { total: 250 } }
const parts: ReadonlyArray<LlmResponse.LlmPart> = [
  { type: "text-start", id: "1" },
  ...deltas.map((delta) => ({ type: "text-delta", id: "1", delta }) as const),
  { type: "text-end", id: "1" },
  { type: "finish", reason: "stop", usage }
]

/** Every part on its own, as a client over HTTP gives them. */
export const bare: LlmProvider.Service = {
  provider: "bench",
  model: "m",
  endpoint: "bench",
  credential: "bench",
  generate: () => Effect.die("not measured here"),
  stream: () => Stream.rechunk(Stream.fromIterable(parts), 1)
}
const sensitive = Guardrails.makeOutput()(bare)
const all = Guardrails.makeOutput({
  guards: [Guard.sensitive(), Guard.canary({ token: "canary-5b1f03c9" }), Guard.denyList({ terms: ["project falcon"] })]
})(bare)

const vercelModel = new MockLanguageModelV3({
  doStream: async () => ({
    stream: simulateReadableStream({
      initialDelayInMs: null,
      chunkDelayInMs: null,
      chunks: [
        { type: "text-start", id: "1" },
        ...deltas.map((delta) => ({ type: "text-delta", id: "1", delta }) as const),
        { type: "text-end", id: "1" },
        {
          type: "finish",
          finishReason: { unified: "stop", raw: undefined },
          usage: {
            inputTokens: { total: 5, noCache: 5, cacheRead: undefined, cacheWrite: undefined },
            outputTokens: { total: 250, text: 250, reasoning: undefined }
          }
        }
      ]
    })
  })
})

/** All that a stream passes that needs no store: deadline, telemetry, guard, fallback, retry, gates, timeouts. */
const stack = Resilient.make({ retry: {}, outputGuard: {} }, 1)([bare])

const langchain = new FakeStreamingChatModel({ chunks: deltas.map((content) => new AIMessageChunk(content)) })

/** Through `effect/ai`. */
const modelOver = (provider: LlmProvider.Service) => {
  const inner = Layer.succeed(LlmProvider.LlmProvider, provider)
  const model = built(LanguageModel.LanguageModel, LlmProvider.languageModel.pipe(Layer.provide(inner)))
  return Stream.runDrain(model.streamText({ prompt: "What is ballast?" }))
}

const read = ({ stream }: LlmProvider.Service) => Effect.suspend(() => Stream.runDrain(stream(request)))

export const streamSuite: Suite = {
  name: "A stream of 50 deltas of 20 characters, read to its end",
  base: "Ballast, the output guard with its defaults",
  cases: [
    inFiber("Ballast, no guard", read(bare)),
    inFiber("Ballast, the output guard with its defaults", read(sensitive)),
    inFiber("Ballast, three guards", read(all)),
    inFiber("Ballast, the stack with telemetry, retry, timeouts and the output guard", read(stack)),
    inFiber("effect/ai LanguageModel.streamText, no guard", modelOver(bare)),
    inFiber("effect/ai LanguageModel.streamText over that stack", modelOver(stack)),
    awaited("LangChain FakeStreamingChatModel.stream, no guard", async () => {
      for await (const _ of await langchain.stream("What is ballast?"));
    }),
    awaited("Vercel AI SDK, streamText, no guard", async () => {
      for await (const _ of streamText({ model: vercelModel, prompt: "What is ballast?" }).textStream);
    })
  ]
}

const answering: LlmProvider.Service = { ...bare, generate: () => Effect.succeed(answer) }
const answer = { parts: [] } as unknown as LlmResponse.LlmResponse // nobody looks into it
const guarded = Guardrails.makeInput()(answering)
const prose = `${words}\n`.repeat(11).slice(0, 1000)
const kilobyte = LlmRequest.makeUnsafe(prose)
let turn = 0

export const inputSuite: Suite = {
  name: "The input guard with its defaults, a kilobyte of prose",
  base: "Ballast, a text not seen before",
  cases: [
    inFiber("Ballast, no guard", answering.generate(kilobyte)),
    inFiber("Ballast, a text that was seen before", guarded.generate(kilobyte)),
    eachInFiber("Ballast, a text not seen before", () => guarded.generate(LlmRequest.makeUnsafe(`${turn++} ${prose}`)))
  ]
}
