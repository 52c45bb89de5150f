import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Schema, Stream } from "effect"
import * as LlmProvider from "effect-ballast/LlmProvider"
import { TestProvider } from "effect-ballast/testing"

describe("LlmProvider", () => {
  it.effect("generateText asks once and gives the text", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* LlmProvider.generateText("hi"), "hello there")
      const { calls } = yield* TestProvider.TestProvider
      assert.strictEqual(calls.length, 1)
    }).pipe(Effect.provide(TestProvider.layer({ steps: ["hello there"] })))
  )

  it.effect("streamText gives the text piece by piece", () =>
    Effect.gen(function* () {
      const pieces = yield* Stream.runCollect(LlmProvider.streamText("hi"))
      assert.deepStrictEqual(pieces, ["hello", " there"])
    }).pipe(Effect.provide(TestProvider.layer({ steps: ["hello there"] })))
  )

  it.effect("a request that breaks a rule never reaches the provider", () =>
    Effect.gen(function* () {
      const failures = [
        yield* Effect.flip(LlmProvider.generate("")),
        yield* Effect.flip(Stream.runDrain(LlmProvider.stream({ prompt: "a", maxOutputTokens: 0 })))
      ]
      for (const failure of failures) {
        assert.strictEqual(failure.reason._tag, "InvalidRequestError")
        assert.strictEqual(failure.phase, "refused")
        assert.strictEqual(failure.provider, "test")
      }
      const { calls } = yield* TestProvider.TestProvider
      assert.strictEqual(calls.length, 0)
    }).pipe(Effect.provide(TestProvider.layer()))
  )
})

const Person = Schema.Struct({ name: Schema.String, age: Schema.Int }).annotate({ identifier: "Person" })

describe("generateObject", () => {
  it.effect("asks for the schema and decodes the answer", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* LlmProvider.generateObject("Who?", Person), { name: "Ada", age: 36 })
      const { calls } = yield* TestProvider.TestProvider
      const format = calls[0]?.request.responseFormat
      assert.strictEqual(format?.type, "json")
      assert.strictEqual(format?.type === "json" ? format.name : "", "Person")
    }).pipe(Effect.provide(TestProvider.layer({ steps: ['{"name":"Ada","age":36}'] })))
  )

  it.effect.each(['{"name":"Ada","age":"top-secret"}', "no JSON, top-secret", "{}", ""])(
    "an answer that does not fit fails, says where, and does not repeat it: %s",
    (answer) =>
      Effect.gen(function* () {
        const failure = yield* Effect.flip(LlmProvider.generateObject("Who?", Person))
        assert.strictEqual(failure.reason._tag, "InvalidOutputError")
        assert.strictEqual(failure.phase, "answered")
        assert.notInclude(failure.message + JSON.stringify(failure), "top-secret")
        assert.match(failure.message, /does not fit the schema at: (age|the answer itself|name)/)
      }).pipe(Effect.provide(TestProvider.layer({ steps: [answer] })))
  )
})

describe("transform", () => {
  const tagged = (tag: string) =>
    LlmProvider.transform((inner) => ({ ...inner, provider: `${tag}(${inner.provider})` }))

  it.effect("wraps the provider of a layer, inside out", () =>
    Effect.gen(function* () {
      const { provider } = yield* LlmProvider.LlmProvider
      assert.strictEqual(provider, "b(a(test))")
    }).pipe(Effect.provide(TestProvider.layer().pipe(tagged("a"), tagged("b"))))
  )

  it.effect("keeps the other services of the layer", () =>
    Effect.gen(function* () {
      yield* LlmProvider.generateText("hi")
      assert.strictEqual((yield* TestProvider.TestProvider).calls.length, 1)
    }).pipe(Effect.provide(TestProvider.layer().pipe(tagged("a"))))
  )

  it.effect("one policy over two layers keeps the two providers apart", () =>
    Effect.gen(function* () {
      const policy = tagged("p")
      const names = yield* Effect.forEach(["one", "two"], (provider) =>
        Effect.map(LlmProvider.LlmProvider, (service) => service.provider).pipe(
          Effect.provide(TestProvider.layer({ provider }).pipe(policy))
        )
      )
      assert.deepStrictEqual(names, ["p(one)", "p(two)"])
    })
  )

  it.effect("an effectful policy is built once per layer", () =>
    Effect.gen(function* () {
      let built = 0
      const policy = LlmProvider.transform((inner) => Effect.sync(() => (built++, inner)))
      const layer = TestProvider.layer().pipe(policy)
      yield* Effect.all([LlmProvider.generateText("a"), LlmProvider.generateText("b")]).pipe(Effect.provide(layer))
      assert.strictEqual(built, 1)
      yield* Effect.scoped(Layer.build(layer))
      assert.strictEqual(built, 2)
    })
  )
})
