/** Which requests say all that their answers depend on. */
import { assert, describe, it } from "@effect/vitest"
import { Prompt } from "effect/ai"
import { type LlmRequest, makeUnsafe } from "effect-ballast/LlmRequest"
import { cacheable } from "../src/internal/cacheable.ts"

const file = (data: Prompt.FilePart["data"]) => Prompt.filePart({ mediaType: "image/png", data })

const asking = (...content: ReadonlyArray<Prompt.UserMessagePart>): LlmRequest =>
  makeUnsafe({
    prompt: Prompt.fromMessages([Prompt.userMessage({ content }), Prompt.make("Hi").content[0] ?? assert.fail()])
  })

const called = (providerExecuted: boolean): Prompt.Prompt =>
  Prompt.fromMessages([
    Prompt.assistantMessage({ content: [Prompt.toolCallPart({ id: "1", name: "t", params: {}, providerExecuted })] })
  ])

const answered = (
  providerExecuted: boolean,
  modelOutput?: ReadonlyArray<Prompt.ToolModelOutputPart>
): Prompt.Prompt => {
  const part = Prompt.toolResultPart({
    id: "1",
    name: "t",
    isFailure: false,
    result: "r",
    modelOutput,
    providerExecuted
  })
  return Prompt.fromMessages([Prompt.toolMessage({ content: [part] })])
}

const optional = (own: Record<string, string | boolean | null | ReadonlyArray<Record<string, string>>>): LlmRequest =>
  makeUnsafe({ prompt: "Hi", providerOptions: { other: null, openai: own } })

describe("an answer may be given again", () => {
  it.each<[string, LlmRequest]>([
    ["to text", makeUnsafe("see https://example.com/a.png")],
    ["to a file by its bytes", asking(file(Uint8Array.of(1)))],
    ["to a file in base64", asking(file("aHR0cHM6Ly9leGFtcGxlLmNvbQ=="))],
    ["to a file in a data URL", asking(file("data:image/png;base64,AQI="))],
    ["to a file in a data URL as an object", asking(file(new URL("DATA:image/png;base64,AQI=")))],
    ["to a call of the program's own tool", makeUnsafe({ prompt: called(false) })],
    ["to the result of such a tool", makeUnsafe({ prompt: answered(false, [file("AQI=")]) })],
    [
      "where tools of the program's own are offered",
      makeUnsafe({ prompt: "Hi", tools: [{ name: "tools", parameters: {} }] })
    ],
    ["where options are only spelled similarly", optional({ toolOptions: "a", restore: true, storey: true })],
    ["where nothing is to be kept", optional({ store: false, previous_response_id: null, tools: [] })]
  ])("%s", (_, request) => {
    assert.isTrue(cacheable(request))
  })
})

describe("an answer may not be given again", () => {
  it.each<[string, LlmRequest]>([
    ["to a file by its URL", asking(file(new URL("https://example.com/a.png")))],
    ["to a file by its URL as text", asking(file("HTTP://example.com/a.png"))],
    ["to a file in a bucket", asking(file("gs://bucket/a.png"))],
    ["to a result with a file by its URL", makeUnsafe({ prompt: answered(false, [file("https://a.b/c")]) })],
    ["to a call of a tool that the provider runs", makeUnsafe({ prompt: called(true) })],
    ["to the result of such a tool", makeUnsafe({ prompt: answered(true) })],
    ["where the provider has tools of its own", optional({ tools: [{ type: "web_search" }] })],
    ["where the provider searches", optional({ "web-search-options": [{}] })],
    ["where a conversation goes on", optional({ previous_response_id: "r" })],
    ["where it goes on in the SDK's spelling", optional({ previousResponseId: "r" })],
    ["where the provider is to keep it", optional({ store: true })]
  ])("%s", (_, request) => {
    assert.isFalse(cacheable(request))
  })
})
