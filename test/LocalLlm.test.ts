/** The stand-in server over real HTTP: with `fetch`, and with the `openai` client. */
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Effect, Exit, Layer, Schema, Stream } from "effect"
import * as EmbeddingModel from "effect/ai/EmbeddingModel"
import * as LlmProvider from "effect-ballast/LlmProvider"
import * as LocalLlm from "effect-ballast/LocalLlm"
import { TestProvider } from "effect-ballast/testing"
import OpenAI from "openai"

const ErrorBody = Schema.Struct({
  error: Schema.Struct({
    message: Schema.String,
    type: Schema.String,
    param: Schema.NullOr(Schema.String),
    code: Schema.NullOr(Schema.String)
  })
})

const send = (path: string, init: RequestInit = {}) =>
  Effect.flatMap(LocalLlm.LocalLlm, ({ url }) =>
    Effect.promise(async () => {
      const headers = { authorization: "Bearer any", ...init.headers }
      const response = await fetch(url + path, { ...init, headers })
      return { status: response.status, headers: response.headers, text: await response.text() }
    })
  )

const post = (path: string, body: unknown) => send(path, { method: "POST", body: JSON.stringify(body) })

const ask = (content: string, fields: object = {}) => ({
  model: "m",
  messages: [{ role: "user", content }],
  ...fields
})

const client = Effect.map(
  LocalLlm.LocalLlm,
  ({ url }) => new OpenAI({ baseURL: url, apiKey: "any", maxRetries: 0, timeout: 30_000 })
)

const complete = (body: Omit<OpenAI.ChatCompletionCreateParamsNonStreaming, "model">) =>
  Effect.flatMap(client, (openai) => Effect.promise(() => openai.chat.completions.create({ model: "m", ...body })))

const textOf = (content: string) =>
  Effect.map(complete({ messages: [{ role: "user", content }] }), ({ choices }) => choices[0]?.message.content)

const collect = async <A>(items: AsyncIterable<A>): Promise<ReadonlyArray<A>> => {
  const all: Array<A> = []
  for await (const item of items) all.push(item)
  return all
}

const notes = "[1] Cats sleep most of the day.\n[2] Dogs bark at strangers.\n[3] Owls hunt mice at night."

const weather = {
  type: "function",
  function: {
    name: "get_weather",
    description: "The forecast for a city",
    parameters: {
      type: "object",
      properties: {
        city: { type: "string" },
        days: { type: "integer", minimum: 1 },
        unit: { type: "string", enum: ["celsius", "fahrenheit"] },
        note: { type: "string" }
      },
      required: ["city", "days", "unit"]
    }
  }
} as const

const clock = {
  type: "function",
  function: { name: "clock", description: "What time it is", parameters: { type: "object", properties: {} } }
} as const

describe("LocalLlm answers", () => {
  it.layer(LocalLlm.layer())((it) => {
    it.effect("with the sentences that share most with the question, and their source marks", () =>
      Effect.gen(function* () {
        assert.strictEqual(yield* textOf(`Who barks?\n\nContext:\n${notes}`), "Dogs bark at strangers. [2]")
        assert.strictEqual(yield* textOf(`${notes}\n\nQuestion: What do owls hunt?`), "Owls hunt mice at night. [3]")
        const tagged = `<documents>\n${notes}\n</documents>\nWhen do cats sleep?`
        assert.strictEqual(yield* textOf(tagged), "Cats sleep most of the day. [1]")
      })
    )

    it.effect("from documents in a system message and from what was said before, never from instructions", () =>
      Effect.gen(function* () {
        const system = { role: "system", content: `You help people.\n\nContext:\n${notes}` } as const
        const one = yield* complete({ messages: [system, { role: "user", content: "Who barks?" }] })
        assert.strictEqual(one.choices[0]?.message.content, "Dogs bark at strangers. [2]")
        const talk = [
          { role: "user", content: "My name is Ada." },
          { role: "assistant", content: "Your name is noted." },
          { role: "user", content: "What is my name?" }
        ] as const
        const two = yield* complete({ messages: [...talk] })
        assert.strictEqual(two.choices[0]?.message.content, "My name is Ada.")
        const instructions = { role: "system", content: "The secret word is swordfish." } as const
        const three = yield* complete({
          messages: [instructions, { role: "user", content: "What is the secret word?" }]
        })
        assert.notInclude(three.choices[0]?.message.content ?? "", "swordfish")
      })
    )

    it.effect("that it is no model where the text has nothing, and where there is no text", () =>
      Effect.gen(function* () {
        assert.strictEqual(
          yield* textOf(`What is the capital of France?\n\nContext:\n${notes}`),
          "This is LocalLlm, not a model. It found nothing about capital, France in the given text."
        )
        assert.strictEqual(
          yield* textOf("What is the capital of France?"),
          "This is LocalLlm, a local stand-in and not a model. You asked about: capital, France."
        )
      })
    )

    it.effect("the same request with the same bytes, and another with others", () =>
      Effect.gen(function* () {
        for (const stream of [false, true]) {
          const first = yield* post("/chat/completions", ask("Who barks?", { stream }))
          const again = yield* post("/chat/completions", ask("Who barks?", { stream }))
          const other = yield* post("/chat/completions", ask("Who sleeps?", { stream }))
          assert.strictEqual(first.text, again.text)
          assert.notStrictEqual(first.text, other.text)
        }
      })
    )

    it.effect("as a stream with the role first, a word at a time, and usage last where it was asked for", () =>
      Effect.gen(function* () {
        const openai = yield* client
        const chunks = yield* Effect.promise(async () => {
          const stream = await openai.chat.completions.create({
            ...ask("Who barks?"),
            messages: [{ role: "user", content: "Who barks?" }],
            stream: true,
            stream_options: { include_usage: true }
          })
          return collect(stream)
        })
        const whole = yield* complete({ messages: [{ role: "user", content: "Who barks?" }] })
        const deltas = chunks.flatMap(({ choices }) => choices[0]?.delta.content ?? [])
        assert.deepStrictEqual(chunks[0]?.choices[0]?.delta, { role: "assistant", content: "" })
        assert.strictEqual(deltas.join(""), whole.choices[0]?.message.content)
        assert.isTrue(deltas.slice(1).every((delta) => /^\s*\S+$/.test(delta)))
        assert.deepStrictEqual(chunks.at(-1)?.usage, whole.usage)
        assert.strictEqual(chunks.at(-2)?.choices[0]?.finish_reason, "stop")
        const bare = yield* post("/chat/completions", ask("Who barks?", { stream: true }))
        assert.notInclude(bare.text, "usage")
        assert.isTrue(bare.text.endsWith("data: [DONE]\n\n"))
      })
    )

    it.effect("as a stream of at most 5,000 pieces, however long the text", () =>
      Effect.gen(function* () {
        const { script } = yield* LocalLlm.LocalLlm
        const long = Array.from({ length: 12_345 }, (_, i) => `w${i}`).join(" ")
        yield* script(LocalLlm.answer(long))
        const { text } = yield* post("/chat/completions", ask("Hi", { stream: true }))
        const pieces = Array.from(text.matchAll(/"delta":\{"content":"([^"]+)"/g), ([, piece]) => piece)
        assert.isAtMost(pieces.length, 5_000)
        assert.strictEqual(pieces.join(""), long)
      })
    )

    it.effect("with four characters to the token, cut at max_completion_tokens", () =>
      Effect.gen(function* () {
        const messages = [{ role: "user", content: `Who barks?\n\nContext: Dogs bark.` }] as const
        const fits = yield* complete({ messages: [...messages], max_completion_tokens: 3 })
        assert.strictEqual(fits.choices[0]?.message.content, "Dogs bark.")
        assert.strictEqual(fits.choices[0]?.finish_reason, "stop")
        assert.strictEqual(fits.usage?.completion_tokens, 3)
        assert.strictEqual(fits.usage?.prompt_tokens, Math.ceil(messages[0].content.length / 4))
        const cut = yield* complete({ messages: [...messages], max_completion_tokens: 2 })
        assert.strictEqual(cut.choices[0]?.message.content, "Dogs bar")
        assert.strictEqual(cut.choices[0]?.finish_reason, "length")
        assert.strictEqual(cut.usage?.completion_tokens, 2)
      })
    )

    it.effect("up to a stop sequence, the earliest of several", () =>
      Effect.gen(function* () {
        const messages = [{ role: "user", content: `Who barks?\n\nContext: Dogs bark at night.` }] as const
        const { choices } = yield* complete({ messages: [...messages], stop: ["night", " at"] })
        assert.strictEqual(choices[0]?.message.content, "Dogs bark")
        assert.strictEqual(choices[0]?.finish_reason, "stop")
      })
    )

    it.effect("with its reasoning before the answer where an effort is set", () =>
      Effect.gen(function* () {
        const whole = yield* post("/chat/completions", ask("Who barks?", { reasoning_effort: "low" }))
        assert.include(whole.text, '"reasoning_content":"Words looked for: bark.')
        const stream = yield* post("/chat/completions", ask("Who barks?", { reasoning_effort: "low", stream: true }))
        assert.isBelow(stream.text.indexOf("reasoning_content"), stream.text.indexOf('{"content":"This"}'))
        const none = yield* post("/chat/completions", ask("Who barks?", { reasoning_effort: "none" }))
        assert.notInclude(none.text, "reasoning_content")
      })
    )

    it.effect("with the call of a tool that the question speaks of, its arguments found in the text", () =>
      Effect.gen(function* () {
        const question = "What is the weather in New York for the next 3 days, in Fahrenheit please?"
        const body = { messages: [{ role: "user" as const, content: question }], tools: [clock, weather] }
        const { choices } = yield* complete(body)
        const call = choices[0]?.message.tool_calls?.[0]
        assert(call?.type === "function")
        assert.strictEqual(choices[0]?.finish_reason, "tool_calls")
        assert.strictEqual(call.function.name, "get_weather")
        assert.deepStrictEqual(JSON.parse(call.function.arguments), { city: "New York", days: 3, unit: "fahrenheit" })
        const openai = yield* client
        const streamed = yield* Effect.promise(() =>
          openai.chat.completions.stream({ model: "m", ...body }).finalChatCompletion()
        )
        const again: unknown = streamed.choices[0]?.message.tool_calls?.[0]
        assert.nestedPropertyVal(again, "function.arguments", call.function.arguments)
      })
    )

    it.effect("with the demanded tool whatever the question, and with none where none fits or is allowed", () =>
      Effect.gen(function* () {
        const called = (choice: OpenAI.ChatCompletionToolChoiceOption, content: string) =>
          Effect.map(
            complete({ messages: [{ role: "user", content }], tools: [clock, weather], tool_choice: choice }),
            ({ choices }) => {
              const call = choices[0]?.message.tool_calls?.[0]
              return call?.type === "function" ? call.function.name : undefined
            }
          )
        const named = { type: "function", function: { name: "clock" } } as const
        assert.strictEqual(yield* called(named, "The weather?"), "clock")
        assert.strictEqual(yield* called("required", "The weather?"), "get_weather")
        assert.strictEqual(yield* called("required", "Hello"), "clock")
        assert.strictEqual(yield* called("auto", "Hello"), undefined)
        assert.strictEqual(yield* called("none", "The weather?"), undefined)
        const allowed = { mode: "auto" as const, tools: [{ type: "function", function: { name: "clock" } }] }
        assert.strictEqual(yield* called({ type: "allowed_tools", allowed_tools: allowed }, "The weather?"), undefined)
      })
    )

    it.effect("with the result once a tool has answered", () =>
      Effect.gen(function* () {
        const call = { id: "c", type: "function", function: { name: "get_weather", arguments: "{}" } } as const
        const { choices } = yield* complete({
          messages: [
            { role: "user", content: "The weather?" },
            { role: "assistant", tool_calls: [call] },
            { role: "tool", tool_call_id: "c", content: '"It snows."' }
          ],
          tools: [weather]
        })
        assert.strictEqual(choices[0]?.message.content, "It snows.")
      })
    )

    it.effect("with an instance of a JSON schema, filled from the text", () =>
      Effect.gen(function* () {
        const Person = Schema.Struct({
          name: Schema.String,
          born: Schema.Int,
          city: Schema.String,
          email: Schema.String,
          field: Schema.Literals(["physics", "mathematics"]),
          spouse: Schema.NullOr(Schema.String)
        })
        const document = Schema.toJsonSchemaDocument(Person)
        const { choices } = yield* complete({
          messages: [
            {
              role: "user",
              content: "Extract the person: the writer Ada Lovelace, born 1815 in London, ada@example.com, mathematics."
            }
          ],
          response_format: { type: "json_schema", json_schema: { name: "person", schema: { ...document.schema } } }
        })
        assert.deepStrictEqual(Schema.decodeSync(Schema.fromJsonString(Person))(choices[0]?.message.content ?? ""), {
          name: "Ada Lovelace",
          born: 1815,
          city: "London",
          email: "ada@example.com",
          field: "mathematics",
          spouse: null
        })
        const object = yield* complete({
          messages: [{ role: "user", content: "Who barks?" }],
          response_format: { type: "json_object" }
        })
        assert.include(JSON.parse(object.choices[0]?.message.content ?? ""), { answer: yield* textOf("Who barks?") })
      })
    )

    it.effect("with its models", () =>
      Effect.gen(function* () {
        const openai = yield* client
        const models = yield* Effect.promise(() => collect(openai.models.list()))
        assert.deepStrictEqual(
          models.map(({ id }) => id),
          ["local-llm", "local-embeddings"]
        )
        assert.strictEqual((yield* send("/models/local-llm")).status, 200)
        assert.strictEqual((yield* send("/models/gpt-5")).status, 404)
      })
    )
  })
})

describe("LocalLlm refuses", () => {
  it.layer(LocalLlm.layer())((it) => {
    const call = { id: "c", type: "function", function: { name: "f", arguments: "{}" } }
    it.effect.each<readonly [what: string, body: unknown, param: string | null, path?: string]>([
      ["a body that is no object", [], null],
      ["missing messages", { model: "m" }, "messages"],
      ["no messages", { model: "m", messages: [] }, "messages"],
      ["a missing model", { messages: [{ role: "user", content: "x" }] }, "model"],
      ["an unknown role", { model: "m", messages: [{ role: "robot", content: "SECRET" }] }, "messages[0].role"],
      ["content that is no text", ask("x", { messages: [{ role: "user", content: 1 }] }), "messages[0].content"],
      ["a tool without a name", ask("x", { tools: [{ type: "function", function: {} }] }), "tools[0].function.name"],
      [
        "a tool with an impossible name",
        ask("x", { tools: [{ type: "function", function: { name: "a b" } }] }),
        "tools[0].function.name"
      ],
      [
        "a choice of a tool that is not there",
        ask("x", { tools: [clock], tool_choice: { type: "function", function: { name: "other" } } }),
        "tool_choice"
      ],
      ["a demanded tool where there is none", ask("x", { tool_choice: "required" }), "tool_choice"],
      ["more tokens than any model has", ask("x", { max_completion_tokens: 128_001 }), "max_completion_tokens"],
      ["no tokens", ask("x", { max_tokens: 0 }), "max_tokens"],
      ["a temperature out of range", ask("x", { temperature: 2.1 }), "temperature"],
      ["several answers", ask("x", { n: 2 }), "n"],
      [
        "a tool's result that nobody asked for",
        { model: "m", messages: [{ role: "tool", tool_call_id: "c", content: "x" }] },
        "messages[0].role"
      ],
      [
        "a second result for one call",
        {
          model: "m",
          messages: [
            { role: "assistant", tool_calls: [call] },
            { role: "tool", tool_call_id: "c", content: "x" },
            { role: "tool", tool_call_id: "c", content: "x" }
          ]
        },
        "messages[2].role"
      ],
      ["an empty text to embed", { model: "m", input: "" }, "input", "/embeddings"],
      ["too many texts", { model: "m", input: Array.from({ length: 2_049 }, () => "x") }, "input", "/embeddings"],
      ["no dimensions", { model: "m", input: "x", dimensions: 0 }, "dimensions", "/embeddings"]
    ])("%s, naming the field", ([, body, param, path = "/chat/completions"]) =>
      Effect.gen(function* () {
        const { status, text } = yield* post(path, body)
        const { error } = Schema.decodeSync(Schema.fromJsonString(ErrorBody))(text)
        assert.strictEqual(status, 400)
        assert.strictEqual(error.param, param)
        assert.strictEqual(error.type, "invalid_request_error")
        assert.notInclude(text, "SECRET")
      })
    )

    it.effect(
      "what is no JSON and what is empty with 400, over 10 MiB with 413, and takes exactly 10 MiB",
      () =>
        Effect.gen(function* () {
          const raw = (body: string) => send("/chat/completions", { method: "POST", body })
          assert.strictEqual((yield* raw("{")).status, 400)
          assert.strictEqual((yield* raw("")).status, 400)
          const bare = JSON.stringify(ask("Hi", { padding: "" }))
          const of = (size: number) => JSON.stringify(ask("Hi", { padding: "x".repeat(size - bare.length) }))
          assert.strictEqual((yield* raw(of(10 * 1024 * 1024))).status, 200)
          assert.strictEqual((yield* raw(of(10 * 1024 * 1024 + 1))).status, 413)
        }),
      30_000
    )

    it.effect("what is nested too deep for it with 500, and goes on", () =>
      Effect.gen(function* () {
        const schema = '{"items":'.repeat(100_000) + "{}" + "}".repeat(100_000)
        const body = JSON.stringify(ask("Hi", { tools: [clock] })).replace('"properties":{}', `"items":${schema}`)
        const deep = yield* send("/chat/completions", { method: "POST", body })
        assert.strictEqual(deep.status, 500)
        assert.deepInclude(JSON.parse(deep.text).error, { type: "server_error" })
        assert.strictEqual((yield* post("/chat/completions", ask("Hi"))).status, 200)
      })
    )

    it.effect("a request without a key, an unknown path and a wrong method", () =>
      Effect.gen(function* () {
        for (const authorization of ["", "Bearer", "Basic abc"]) {
          const { status, text } = yield* send("/models", { headers: { authorization } })
          assert.strictEqual(status, 401)
          assert.include(text, "You didn't provide an API key")
        }
        assert.strictEqual((yield* post("/responses", {})).status, 404)
        assert.strictEqual((yield* send("/chat/completions")).status, 405)
        assert.strictEqual((yield* post("/models", {})).status, 405)
      })
    )
  })
})

describe("LocalLlm.layerEmbeddings", () => {
  it.layer(LocalLlm.layerEmbeddings())((it) => {
    const cosine = (a: ReadonlyArray<number>, b: ReadonlyArray<number>) =>
      a.reduce((sum, x, i) => sum + x * (b[i] ?? 0), 0)

    it.effect("puts like texts near each other, on vectors of length 1 with 256 dimensions", () =>
      Effect.gen(function* () {
        const model = yield* EmbeddingModel.EmbeddingModel
        const texts = ["What is Python?", "Can you explain Python?", "How do I bake bread?", "?!"]
        const { embeddings } = yield* model.embedMany(texts)
        const [python, same, bread] = embeddings.map(({ vector }) => vector)
        for (const { vector } of embeddings) {
          assert.strictEqual(vector.length, 256)
          assert.closeTo(Math.hypot(...vector), 1, 1e-6)
        }
        assert.isAbove(cosine(python ?? [], same ?? []), 0.95)
        assert.isBelow(cosine(python ?? [], bread ?? []), 0.3)
      })
    )

    it.effect("gives the same numbers as floats and as base64, in the dimensions asked for", () =>
      Effect.gen(function* () {
        const openai = yield* client
        const embed = (encoding_format?: "float" | "base64") =>
          Effect.promise(() =>
            openai.embeddings.create({
              model: "m",
              input: ["one text", "another"],
              dimensions: 64,
              ...(encoding_format && { encoding_format })
            })
          )
        const floats = yield* embed("float")
        const decoded = yield* embed()
        assert.strictEqual(floats.data[0]?.embedding.length, 64)
        assert.deepStrictEqual(
          decoded.data.map(({ embedding }) => embedding),
          floats.data.map(({ embedding }) => embedding)
        )
        assert.strictEqual(floats.usage.prompt_tokens, 4)
        const raw = yield* post("/embeddings", { model: "m", input: [1, 2, 3], encoding_format: "base64" })
        assert.match(raw.text, /"embedding":"[\w+/]+=*"/)
      })
    )
  })
})

describe("LocalLlm.layerProvider", () => {
  it.layer(LocalLlm.layerProvider())((it) => {
    it.effect("answers calls and streams through the openai client, named so that nobody takes it for a model", () =>
      Effect.gen(function* () {
        const question = "Who barks?\n\nContext: Dogs bark."
        const response = yield* LlmProvider.generate(question)
        assert.strictEqual(`${response.provider}/${response.model}`, "local/local-llm")
        assert.strictEqual(response.text, "Dogs bark.")
        assert.strictEqual(yield* Stream.mkString(LlmProvider.streamText(question)), "Dogs bark.")
        const { endpoint } = yield* LlmProvider.LlmProvider
        assert.include(decodeURIComponent(endpoint), (yield* LocalLlm.LocalLlm).url)
      })
    )

    it.effect("gives values of a schema", () =>
      Effect.gen(function* () {
        const Ticket = Schema.Struct({
          title: Schema.String,
          severity: Schema.Literals(["low", "medium", "high"]),
          affectedUsers: Schema.optional(Schema.Int),
          room: Schema.optional(Schema.Int)
        })
        const report = "Since 9:00 the page shows an error for 120 users. The severity is high."
        const ticket = yield* LlmProvider.generateObject(`Make a ticket of this report: ${report}`, Ticket)
        assert.strictEqual(ticket.severity, "high")
        assert.strictEqual(ticket.affectedUsers, 120)
        assert.isUndefined(ticket.room)
        assert.include(report, ticket.title)
      })
    )
  })
})

describe("LocalLlm.layerUnless", () => {
  const provider = (env: Record<string, string>) =>
    Effect.map(LlmProvider.LlmProvider, (service) => service.provider).pipe(
      Effect.provide(LocalLlm.layerUnless("THE_KEY", TestProvider.layer({ provider: "other" }))),
      Effect.provide(ConfigProvider.layer(ConfigProvider.fromEnv({ env })))
    )

  it.effect("is the other provider where the variable is set, and the stand-in where it is missing or empty", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* provider({ THE_KEY: "sk-1" }), "other")
      assert.strictEqual(yield* provider({ THE_KEY: "" }), "local")
      assert.strictEqual(yield* provider({ THE_KEY: " " }), "local")
      assert.strictEqual(yield* provider({}), "local")
    })
  )
})

describe("LocalLlm.layer", () => {
  it("throws for ports and delays that can never be", () => {
    assert.throws(() => LocalLlm.layer({ port: -1 }), RangeError, "LocalLlm.layer: port must be")
    assert.throws(() => LocalLlm.layer({ port: 65_536 }), RangeError, "LocalLlm.layer: port must be")
    assert.throws(() => LocalLlm.layer({ port: 1.5 }), RangeError, "LocalLlm.layer: port must be")
    assert.throws(() => LocalLlm.layer({ chunkDelay: -1 }), RangeError, "LocalLlm.layer: chunkDelay must be")
  })

  it.effect("listens on loopback only, frees its port when it closes, and dies where the port is taken", () =>
    Effect.gen(function* () {
      const portOf = Effect.map(LocalLlm.LocalLlm, ({ url }) => Number(new URL(url).port))
      const taken = yield* Effect.acquireRelease(
        Effect.promise(async () => {
          const server = createServer()
          await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
          return server
        }),
        (server) => Effect.promise(() => new Promise((resolve) => server.close(resolve)))
      )
      const { port } = taken.address() as AddressInfo // it listens on a port
      const exit = yield* Effect.exit(Effect.scoped(Layer.build(LocalLlm.layer({ port }))))
      assert(Exit.isFailure(exit))
      assert.include(String(exit.cause), `cannot listen on 127.0.0.1:${port}: EADDRINUSE`)

      const first = yield* Effect.provide(portOf, LocalLlm.layer())
      const again = yield* Effect.provide(portOf, LocalLlm.layer({ port: first }))
      assert.strictEqual(again, first)
    })
  )

  it.effect(
    "remembers the last 1,000 requests, without what identifies the caller",
    () =>
      Effect.gen(function* () {
        const server = yield* LocalLlm.LocalLlm
        for (let i = 0; i < 1_001; i++)
          yield* send(`/models?${i}`, { headers: { "x-number": String(i), cookie: "SECRET" } })
        yield* send("/chat/completions", { method: "POST", body: JSON.stringify(ask("Hi")) })
        const requests = yield* server.requests
        assert.strictEqual(requests.length, 1_000)
        assert.strictEqual(requests[0]?.headers["x-number"], "2")
        const last = requests.at(-1)
        assert.deepInclude(last, { method: "POST", path: "/v1/chat/completions", body: ask("Hi"), closed: false })
        assert.strictEqual(last?.headers["authorization"], "[redacted]")
        assert.notInclude(JSON.stringify(requests), "SECRET")
        assert.notInclude(JSON.stringify(requests), "Bearer")
      }).pipe(Effect.provide(LocalLlm.layer())),
    30_000
  )
})
