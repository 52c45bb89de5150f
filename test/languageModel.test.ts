import { assert, describe, it } from "@effect/vitest"
import { Context, Duration, Effect, Fiber, Layer, Schema, Stream } from "effect"
import { AiError, Chat, LanguageModel, OpenAiStructuredOutput, Prompt, type Response, Tool, Toolkit } from "effect/ai"
import * as TestClock from "effect/testing/TestClock"
import * as LlmError from "effect-ballast/LlmError"
import * as LlmProvider from "effect-ballast/LlmProvider"
import { TestProvider } from "effect-ballast/testing"

const Weather = Tool.make("Weather", {
  description: "Looks up the weather",
  parameters: Schema.Struct({ city: Schema.String, unit: Schema.optional(Schema.Literals(["c", "f"])) }),
  success: Schema.Struct({ degrees: Schema.Number })
})
const Clock = Tool.make("Clock", { success: Schema.String })

const Tools = Toolkit.make(Weather, Clock)

/** The tools with handlers that note what they were called with. */
const toolkit = (asked: Array<unknown> = []) =>
  Effect.provide(
    Tools,
    Tools.toLayer({
      Weather: (params) => Effect.sync(() => (asked.push(params), { degrees: 21 })),
      Clock: () => Effect.succeed("noon")
    })
  )

const call = (name: string, params: unknown, more?: object): Response.ToolCallPartEncoded => ({
  type: "tool-call",
  id: "call-1",
  name,
  params,
  ...more
})

const finish = (reason: Response.FinishReason): Response.FinishPartEncoded => ({
  type: "finish",
  reason,
  usage: { inputTokens: { total: 7, cacheRead: 2 }, outputTokens: { total: 5, reasoning: 1 } }
})

const asks = (name: string, params: unknown) => [call(name, params), finish("tool-calls")]

/** A model over a scripted provider, and the record of its calls. */
const scripted = (
  options: TestProvider.Options,
  more: Partial<LlmProvider.Service> = {}
): Effect.Effect<{ readonly model: LanguageModel.LanguageModel; readonly calls: ReadonlyArray<TestProvider.Call> }> => {
  const provider = TestProvider.make(options)
  return Effect.map(LlmProvider.toLanguageModel({ ...provider, ...more }), (model) => ({
    model,
    calls: provider.calls
  }))
}

const openAi = { codecTransformer: OpenAiStructuredOutput.toCodecOpenAI }

const partsOf = (prompt: Prompt.Prompt | undefined) =>
  (prompt?.content ?? []).flatMap((message): ReadonlyArray<Prompt.Part> =>
    typeof message.content === "string" ? [] : message.content
  )

describe("LlmProvider.languageModel", () => {
  it.effect("sends the prompt as it is and gives text, usage and finish reason", () =>
    Effect.gen(function* () {
      const { calls, model } = yield* scripted({ steps: [[{ type: "text", text: "A keel." }, finish("length")]] })
      const prompt = Prompt.make([
        { role: "system", content: "Be short." },
        {
          role: "user",
          content: [
            { type: "text", text: "What is this?" },
            { type: "file", mediaType: "image/png", data: new Uint8Array([1, 2, 3]) }
          ]
        }
      ])
      const answer = yield* model.generateText({ prompt })
      assert.strictEqual(answer.text, "A keel.")
      assert.strictEqual(answer.finishReason, "length")
      assert.strictEqual(answer.usage.inputTokens.cacheRead, 2)
      assert.strictEqual(answer.usage.outputTokens.reasoning, 1)
      assert.deepStrictEqual(calls[0]?.request, { prompt })
      assert.strictEqual(calls[0]?.request.prompt.content[1], prompt.content[1])
    })
  )

  it.effect("runs a tool and sends its result back in the next turn of a Chat", () =>
    Effect.gen(function* () {
      const asked: Array<unknown> = []
      const { calls, model } = yield* scripted({ steps: [asks("Weather", { city: "Kiel" }), "21 degrees"] })
      const chat = yield* Chat.empty
      const say = (prompt: Prompt.RawInput) =>
        Effect.provideService(
          chat.generateText({ prompt, toolkit: toolkit(asked) }),
          LanguageModel.LanguageModel,
          model
        )
      const first = yield* say("Weather in Kiel?")
      assert.deepStrictEqual(asked, [{ city: "Kiel" }])
      assert.deepStrictEqual(
        first.toolResults.map((result) => result.result),
        [{ degrees: 21 }]
      )
      assert.strictEqual((yield* say([])).text, "21 degrees")
      const sent = partsOf(calls[1]?.request.prompt)
      const result = sent.find((part) => part.type === "tool-result")
      assert.deepStrictEqual(result?.type === "tool-result" ? result.result : undefined, { degrees: 21 })
      assert.strictEqual(calls.length, 2)
    })
  )

  it.effect("streams text and runs the tools of a stream, whose results come before its end", () =>
    Effect.gen(function* () {
      const asked: Array<unknown> = []
      const { model } = yield* scripted({
        steps: [[{ type: "text", text: "Looking it up" }, ...asks("Weather", { city: "Kiel", unit: "c" })]]
      })
      const parts = yield* Stream.runCollect(model.streamText({ prompt: "Weather?", toolkit: toolkit(asked) }))
      assert.deepStrictEqual(asked, [{ city: "Kiel", unit: "c" }])
      const text = parts.map((part) => (part.type === "text-delta" ? part.delta : "")).join("")
      assert.strictEqual(text, "Looking it up")
      assert.deepStrictEqual(
        parts.slice(-3).map((part) => part.type),
        ["tool-call", "tool-result", "finish"]
      )
    })
  )

  it.effect("keeps reasoning with its signature for the next turn", () =>
    Effect.gen(function* () {
      const signed = { type: "reasoning", text: "hm", metadata: { anthropic: { signature: "s-1" } } } as const
      const { calls, model } = yield* scripted({ steps: [[signed, { type: "text", text: "Hi" }, finish("stop")]] })
      const chat = yield* Chat.empty
      const say = (prompt: string) =>
        Effect.provideService(chat.generateText({ prompt }), LanguageModel.LanguageModel, model)
      assert.strictEqual((yield* say("Hello")).reasoningText, "hm")
      yield* say("And?")
      const kept = partsOf(calls[1]?.request.prompt).find((part) => part.type === "reasoning")
      assert.deepStrictEqual(kept?.options, signed.metadata)
    })
  )

  it.effect("generates an object", () =>
    Effect.gen(function* () {
      const { calls, model } = yield* scripted({ steps: ['{"name":"Ada"}'] })
      const schema = Schema.Struct({ name: Schema.String, born: Schema.optional(Schema.Int) })
      const answer = yield* model.generateObject({ prompt: "Who?", schema, objectName: "person" })
      assert.deepStrictEqual(answer.value, { name: "Ada" })
      const format = calls[0]?.request.responseFormat
      assert.strictEqual(format?.type === "json" ? format.name : "", "person")
    })
  )

  it.effect("refuses what no provider could answer before it is called", () =>
    Effect.gen(function* () {
      const { calls, model } = yield* scripted({})
      const Search = Tool.providerDefined({ id: "openai.search", customName: "Search", providerName: "search" })()
      const defined = { tools: { Search }, handle: () => Effect.die("never") }
      const failures = [
        yield* Effect.flip(model.generateText({ prompt: "" })),
        yield* Effect.flip(Stream.runDrain(model.streamText({ prompt: "" }))),
        yield* Effect.flip(model.generateText({ prompt: "a", toolkit: defined }))
      ]
      assert.deepStrictEqual(
        failures.map(({ reason }) => (reason._tag === "InvalidRequestError" ? reason.parameter : reason._tag)),
        ["prompt", "prompt", "tools[0]"]
      )
      for (const failure of failures) assert.strictEqual(LlmError.fromAiError(failure).phase, "refused")
      assert.strictEqual(calls.length, 0)
    })
  )

  it.effect("one layer over two stacks keeps the two providers apart", () =>
    Effect.gen(function* () {
      class One extends Context.Service<One, LanguageModel.LanguageModel>()("test/One") {}
      class Two extends Context.Service<Two, LanguageModel.LanguageModel>()("test/Two") {}
      const over = (answer: string) => Layer.provide(LlmProvider.languageModel, TestProvider.layer({ steps: [answer] }))
      const Both = Layer.mergeAll(
        Layer.effect(One, LanguageModel.LanguageModel).pipe(Layer.provide(over("one"))),
        Layer.effect(Two, LanguageModel.LanguageModel).pipe(Layer.provide(over("two")))
      )
      yield* Effect.gen(function* () {
        assert.strictEqual((yield* (yield* One).generateText({ prompt: "Who?" })).text, "one")
        assert.strictEqual((yield* (yield* Two).generateText({ prompt: "Who?" })).text, "two")
      }).pipe(Effect.provide(Both))
    })
  )

  it.effect("interrupting the program, or leaving its stream, interrupts the call", () =>
    Effect.gen(function* () {
      const { calls, model } = yield* scripted({ steps: [TestProvider.failing(new LlmError.Unpriced({}), "1 hour")] })
      for (const run of [model.generateText({ prompt: "a" }), Stream.runDrain(model.streamText({ prompt: "a" }))]) {
        const fiber = yield* Effect.forkChild(run)
        yield* TestClock.adjust("59 minutes")
        assert.strictEqual(calls.at(-1)?.outcome, "running")
        yield* Fiber.interrupt(fiber)
      }
      assert.deepStrictEqual(
        calls.map(({ outcome }) => outcome),
        ["interrupted", "interrupted"]
      )
    })
  )
})

describe("tools under a provider's own schema codec", () => {
  it.effect("the schema is the provider's, the handler gets what its own schema says", () =>
    Effect.gen(function* () {
      const asked: Array<unknown> = []
      const { calls, model } = yield* scripted({ steps: [asks("Weather", { city: "Kiel", unit: null })] }, openAi)
      yield* model.generateText({ prompt: "Weather?", toolkit: toolkit(asked) })
      yield* Stream.runDrain(model.streamText({ prompt: "Weather?", toolkit: toolkit(asked) }))
      assert.deepStrictEqual(asked, [{ city: "Kiel" }, { city: "Kiel" }])
      const tool = calls[0]?.request.tools?.[0]
      assert.deepStrictEqual(tool?.parameters["required"], ["city", "unit"])
      assert.strictEqual(tool?.parameters["additionalProperties"], false)
    })
  )

  it.effect("an optional field of an object may be null in the answer", () =>
    Effect.gen(function* () {
      const { model } = yield* scripted({ steps: ['{"name":"Ada","born":null}'] }, openAi)
      const schema = Schema.Struct({ name: Schema.String, born: Schema.optional(Schema.Int) })
      assert.deepStrictEqual((yield* model.generateObject({ prompt: "Who?", schema })).value, { name: "Ada" })
    })
  )

  it.effect("a schema that the provider cannot express is refused, unless the tool is not strict", () =>
    Effect.gen(function* () {
      const Either = Tool.make("Either", {
        parameters: Schema.Union([Schema.Struct({ a: Schema.String }), Schema.Struct({ b: Schema.String })])
      })
      const asks = (tool: typeof Either) =>
        ({ prompt: "a", toolkit: { tools: { Either: tool }, handle: () => Effect.die("not called") } }) as const
      const { calls, model } = yield* scripted({}, openAi)
      const failure = yield* Effect.flip(model.generateText(asks(Either)))
      assert.strictEqual(failure.reason._tag, "UnsupportedSchemaError")
      assert.strictEqual(calls.length, 0)
      yield* model.generateText(asks(Either.annotate(Tool.Strict, false)))
      assert.strictEqual(calls[0]?.request.tools?.[0]?.strict, false)
      assert.isArray(calls[0]?.request.tools?.[0]?.parameters["anyOf"])
    })
  )

  it.effect("arguments that do not fit are answered by the toolkit, as the tool's failure mode says", () =>
    Effect.gen(function* () {
      const Gentle = Tool.make("Gentle", { parameters: Schema.Struct({ n: Schema.Int }), failureMode: "return" })
      const Gentles = Toolkit.make(Gentle)
      const { model } = yield* scripted({ steps: [asks("Gentle", { n: "three" })] }, openAi)
      const answer = yield* model.generateText({
        prompt: "a",
        toolkit: Effect.provide(Gentles, Gentles.toLayer({ Gentle: () => Effect.void }))
      })
      assert.deepStrictEqual(
        answer.toolResults.map(({ isFailure }) => isFailure),
        [true]
      )
    })
  )
})

describe("what the model is told of the tools", () => {
  it.effect("names, descriptions, schemas and strictness, made once for each tool", () =>
    Effect.gen(function* () {
      const { calls, model } = yield* scripted({})
      yield* model.generateText({ prompt: "a", toolkit: toolkit() })
      yield* model.generateText({ prompt: "b", toolkit: toolkit(), toolChoice: "none" })
      const [weather, clock] = calls[0]?.request.tools ?? []
      assert.deepStrictEqual(
        [weather?.name, weather?.description, weather?.strict],
        ["Weather", "Looks up the weather", undefined]
      )
      assert.deepStrictEqual(weather?.parameters["required"], ["city"])
      assert.deepStrictEqual(clock?.parameters, { type: "object", additionalProperties: false })
      assert.deepStrictEqual(
        calls.map(({ request }) => request.toolChoice),
        ["auto", "none"]
      )
      assert.strictEqual(calls[1]?.request.tools?.[0], weather)
    })
  )

  it.effect("oneOf offers only the tools it names", () =>
    Effect.gen(function* () {
      const { calls, model } = yield* scripted({})
      const toolChoice = { mode: "required", oneOf: ["Clock"] } as const
      yield* model.generateText({ prompt: "a", toolkit: toolkit(), toolChoice })
      assert.deepStrictEqual(calls[0]?.request.toolChoice, toolChoice)
      assert.deepStrictEqual(
        calls[0]?.request.tools?.map(({ name }) => name),
        ["Clock"]
      )
    })
  )

  it.effect("a dynamic tool keeps its JSON Schema word for word", () =>
    Effect.gen(function* () {
      const parameters = { type: "object", properties: { q: { type: "string", pattern: "^a" } } }
      const Find = Tool.dynamic("Find", { parameters })
      const { calls, model } = yield* scripted({}, openAi)
      yield* model.generateText({ prompt: "a", toolkit: { tools: { Find }, handle: () => Effect.die("not called") } })
      assert.strictEqual(calls[0]?.request.tools?.[0]?.parameters, parameters)
    })
  )

  it.effect("a call to a tool that nobody declared fails by name, and is handed on in deferred mode", () =>
    Effect.gen(function* () {
      const { model } = yield* scripted({ steps: [asks("Rm".repeat(50), { path: "secret-path" })] })
      const options = { prompt: "a", toolkit: toolkit() }
      for (const run of [model.generateText(options), Stream.runDrain(model.streamText(options))]) {
        const { reason } = yield* Effect.flip(run)
        assert.strictEqual(reason._tag === "ToolNotFoundError" ? reason.toolName : reason._tag, "Rm".repeat(32))
        assert.notInclude(JSON.stringify(reason), "secret-path")
      }
      const deferred = { ...options, disableToolCallResolution: true, toolCallValidation: "deferred" } as const
      const { toolCalls } = yield* model.generateText(deferred)
      assert.deepStrictEqual(toolCalls[0]?.params, { path: "secret-path" })
    })
  )
})

const delivered: Response.PartEncoded = { type: "text", text: "so far" }

/** Ballast's own reasons, and what a program over effect/ai sees of each. */
const reasons: ReadonlyArray<readonly [LlmError.Reason, AiError.AiErrorReason["_tag"]]> = [
  [new LlmError.CircuitOpen({ circuit: "c", retryAfter: Duration.seconds(3) }), "InternalProviderError"],
  [new LlmError.TimedOut({ phase: "idle", after: Duration.seconds(60) }), "InternalProviderError"],
  [new LlmError.StoreUnavailable({ store: "redis", operation: "reserve" }), "InternalProviderError"],
  [new LlmError.StreamInterrupted({ interruptedBy: "NetworkError", delivered: [delivered] }), "InternalProviderError"],
  [
    new LlmError.BudgetExceeded({ budget: "all", window: "day", limit: 10, remaining: 1, requested: 2 }),
    "QuotaExhaustedError"
  ],
  [new LlmError.Unpriced({}), "QuotaExhaustedError"],
  [new LlmError.RateLimitExceeded({ limit: "rpm", why: "queue-full" }), "RateLimitError"],
  [new LlmError.InputRejected({ guard: "length", description: "too long" }), "ContentPolicyError"],
  [new LlmError.OutputRejected({ guard: "keys", description: "a key", released: true }), "ContentPolicyError"],
  [new LlmError.ModelUnavailable({}), "InvalidRequestError"],
  [new LlmError.ContextOverflow({ limit: 100 }), "InvalidRequestError"],
  [new AiError.RateLimitError({ retryAfter: Duration.seconds(1) }), "RateLimitError"],
  [new AiError.InternalProviderError({ description: "down" }), "InternalProviderError"]
]

const cases = reasons.map(([reason, seen]) => ({ tag: reason._tag, reason, seen }))

describe("errors", () => {
  it.effect.each(cases)("$tag is seen as $seen and recovered whole", ({ reason, seen }) =>
    Effect.gen(function* () {
      const error = new LlmError.LlmError({ provider: "openai", model: "gpt", reason, phase: "sent" })
      const { model } = yield* scripted({ steps: [error] })
      const schema = Schema.Struct({ a: Schema.String })
      const failures = [
        yield* Effect.flip(model.generateText({ prompt: "a" })),
        yield* Effect.flip(model.generateObject({ prompt: "a", schema })),
        yield* Effect.flip(Stream.runDrain(model.streamText({ prompt: "a" })))
      ]
      assert.deepStrictEqual(
        failures.map(({ method, module }) => `${module}.${method}`),
        ["LlmProvider.generateText", "LlmProvider.generateObject", "LlmProvider.streamText"]
      )
      for (const failure of failures) {
        assert.strictEqual(failure.reason._tag, seen)
        assert.strictEqual(LlmError.fromAiError(failure), error)
      }
    })
  )

  it.effect.each(cases)("$tag survives JSON", ({ reason }) =>
    Effect.gen(function* () {
      const error = new LlmError.LlmError({ provider: "openai", model: "gpt", reason, phase: "sent" })
      const { model } = yield* scripted({ steps: [error] })
      const failure = yield* Effect.flip(model.generateText({ prompt: "a" }))
      const codec = Schema.fromJsonString(Schema.toCodecJson(AiError.AiError))
      const json = yield* Schema.encodeEffect(codec)(failure)
      assert.notInclude(json, "so far")
      const back = LlmError.fromAiError(yield* Schema.decodeEffect(codec)(json))
      assert.strictEqual(back.reason._tag, reason._tag)
      assert.deepStrictEqual([back.provider, back.model, back.phase], ["openai", "gpt", "sent"])
      assert.deepStrictEqual(LlmError.consequence(back), LlmError.consequence(error))
    })
  )
})
