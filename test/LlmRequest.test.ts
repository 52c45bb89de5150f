import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { Prompt } from "effect/ai"
import * as LlmRequest from "effect-ballast/LlmRequest"

const refusal = (input: LlmRequest.Input) => Effect.map(Effect.flip(LlmRequest.make(input)), (error) => error.message)

const object = { type: "object" }

describe("LlmRequest.make", () => {
  it.effect("takes a bare string as one user message", () =>
    Effect.gen(function* () {
      const request = yield* LlmRequest.make("What is Effect?")
      assert.deepStrictEqual(request.prompt.content, Prompt.make("What is Effect?").content)
    })
  )

  it.effect("keeps a Prompt and its messages as they are, so that memos by identity hold", () =>
    Effect.gen(function* () {
      const prompt = Prompt.make("hello")
      const request = yield* LlmRequest.make({ prompt, temperature: 0 })
      assert.strictEqual(request.prompt, prompt)
      assert.strictEqual(request.temperature, 0)
    })
  )

  it.effect.each<[string, LlmRequest.Input, RegExp]>([
    ["an empty string", "", /prompt.*must not be empty/],
    ["white space", " \n\t", /prompt.*must not be empty/],
    ["no messages", { prompt: [] }, /prompt.*must not be empty/],
    ["empty content", { prompt: [{ role: "user", content: [] }] }, /prompt.*must not be empty/],
    [
      "an unknown role",
      // the world sends what the type forbids
      {
        prompt: [{ role: "user", content: "hi" }, { role: "robot", content: "hi" } as unknown as Prompt.MessageEncoded]
      },
      /prompt\[1\]\.role.*must be one of system, user, assistant, tool/
    ],
    ["no messages at all", { prompt: 7 as unknown as string }, /prompt.*must be a string, messages or a Prompt/],
    [
      "a part of the wrong shape",
      { prompt: [{ role: "user", content: [{ type: "text", text: 42 as unknown as string }] }] },
      /prompt\[0\]\.content\[0\]\.text.*does not have the shape/
    ],
    ["maxOutputTokens 0", { prompt: "a", maxOutputTokens: 0 }, /maxOutputTokens.*integer >= 1/],
    ["a NaN temperature", { prompt: "a", temperature: Number.NaN }, /temperature.*finite number >= 0/],
    ["topP above 1", { prompt: "a", topP: 1.01 }, /topP.*from 0 to 1/],
    ["a fractional seed", { prompt: "a", seed: 1.5 }, /seed.*integer/],
    ["an empty stop text", { prompt: "a", stop: ["x", ""] }, /stop.*empty string/],
    [
      "a tool without a name",
      { prompt: "a", tools: [{ name: "", parameters: object }] },
      /tools\[0\]\.name.*not empty/
    ],
    [
      "two tools of one name",
      {
        prompt: "a",
        tools: [
          { name: "t", parameters: object },
          { name: "t", parameters: object }
        ]
      },
      /tools\[1\]\.name.*unique/
    ],
    [
      "a tool without parameters",
      { prompt: "a", tools: [{ name: "t", parameters: undefined as unknown as object as Record<string, unknown> }] },
      /tools\[0\]\.parameters.*JSON Schema/
    ],
    [
      "a choice of a tool that is not there",
      { prompt: "a", toolChoice: { tool: "t" } },
      /toolChoice.*in the field tools/
    ],
    ["a choice of no tool", { prompt: "a", toolChoice: { oneOf: [] } }, /toolChoice/],
    [
      "a response format without a name",
      { prompt: "a", responseFormat: { type: "json", name: " ", schema: object } },
      /responseFormat\.name.*not be empty/
    ]
  ])("refuses %s and names the field and the rule", ([, input, expected]) =>
    Effect.gen(function* () {
      assert.match(yield* refusal(input), expected)
    })
  )

  it.effect("accepts the boundaries of each rule", () =>
    Effect.gen(function* () {
      yield* LlmRequest.make({
        prompt: "a",
        maxOutputTokens: 1,
        temperature: 0,
        topP: 1,
        seed: -1,
        stop: [" "],
        tools: [{ name: "t", parameters: object }],
        toolChoice: { oneOf: ["t"] }
      })
    })
  )

  it.effect.prop("a refusal never quotes the prompt", [Schema.String.check(Schema.isMinLength(8))], ([text]) =>
    Effect.gen(function* () {
      const marked = `<<${text}>>`
      const message = yield* refusal({ prompt: marked, maxOutputTokens: -1 })
      assert.notInclude(message, marked)
    })
  )

  it("throws the same refusal from makeUnsafe", () => {
    assert.throws(() => LlmRequest.makeUnsafe(""), /prompt.*must not be empty/)
  })
})
