/** The key of a cached answer: the same for the same request, another for any other. */
import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { Prompt } from "effect/ai"
import { type LlmRequest, makeUnsafe } from "effect-ballast/LlmRequest"
import * as requestKey from "../src/internal/requestKey.ts"
import { parts, settings } from "./support/requestFields.ts"
import { canonical, Fields, requestOf, rewritten, variants } from "./support/requests.ts"

const scope: requestKey.Scope = { endpoint: "openai|gpt", isolation: ["tenant", "acme"], fingerprint: "1" }

const make = requestKey.make({})
const keyOf = (request: LlmRequest): string | undefined => make(request, scope)

const messages = (...content: ReadonlyArray<Prompt.Message>): LlmRequest => ({ prompt: Prompt.fromMessages(content) })
const user = (...content: ReadonlyArray<Prompt.UserMessagePart>) => Prompt.userMessage({ content })
const part = (text: string) => Prompt.textPart({ text })
const file = (data: Prompt.FilePart["data"]) => Prompt.filePart({ mediaType: "image/png", data })
const base = messages(user(part("Hi")))
const long = "a text that is so long that its digest stands in the key. ".repeat(20)

/** Checks that no two share a key, and that each keeps its own when it is made again. */
const assertApart = (requests: ReadonlyArray<LlmRequest>): void => {
  const keys = requests.map(keyOf)
  assert.notInclude(keys, undefined)
  assert.strictEqual(new Set(keys).size, requests.length)
  assert.deepStrictEqual(
    requests.map((request) => keyOf(rewritten(request))),
    keys
  )
}

describe("the key of a request", () => {
  it.prop(
    "is the same for two requests if and only if they say the same",
    [Fields],
    ([drawn]) => {
      const request = requestOf(drawn)
      const said = new Map<string, string>()
      const keys = new Map<string, string>()
      for (const one of [request, rewritten(request), ...variants(request)]) {
        const key = keyOf(one) ?? assert.fail("has a key")
        const saying = canonical(one)
        assert.strictEqual(said.get(key) ?? saying, saying, "one key, one request")
        assert.strictEqual(keys.get(saying) ?? key, key, "one request, one key")
        said.set(key, saying)
        keys.set(saying, key)
      }
    },
    { timeout: 60_000, arbitrary: { runs: 100, size: 12 } }
  )

  it.prop(
    "is the same whether its messages and tools were met before or not",
    [Fields, Schema.Array(Schema.toType(Prompt.Message)).check(Schema.isMaxLength(2))],
    ([drawn, more]) => {
      const padded = drawn.messages.map((message) => ({ ...message, options: { ...message.options, padding: long } }))
      const request = requestOf({ ...drawn, messages: padded })
      const first = keyOf(request)
      const grown = { ...request, prompt: Prompt.fromMessages([...request.prompt.content, ...more]) }
      const keys = [grown, grown, grown, rewritten(grown)].map(keyOf)
      assert.strictEqual(new Set(keys).size, 1)
      assert.strictEqual(keyOf(request), first)
      assert.strictEqual(keyOf(rewritten(request)), first)
    },
    { arbitrary: { size: 12 } }
  )

  it("is 43 characters that need no escape, and stays what it was for answers stored by an earlier release", () => {
    const request = makeUnsafe({
      prompt: [
        { role: "system", content: long },
        { role: "user", content: "Hi" }
      ],
      temperature: 0,
      tools: [{ name: "t", parameters: { type: "object" } }]
    })
    assert.strictEqual(keyOf(request), "rj65Vg6MuSCgLWNYhfD_YiJSOBMVsD4vTH_oKY9N_h8")
    assert.strictEqual(requestKey.make({ secret: "s" })(request, scope), "vIW-PzN4nh3xgXhAeVjmquL3338edpWn1q_-4YT0x7U")
  })
})

describe("two requests have two keys", () => {
  it.each(Object.entries(settings))("if they differ in %s", (field, values) => {
    assertApart(values.map((value) => ({ ...base, [field]: value })))
  })

  it.each(["", long])("if any part differs in any field, as the last message and before it", (padding) => {
    const last = parts.map((one) => messages(user(part(padding), one)))
    const before = parts.map((one) => messages(user(part(padding), one), user(part(""))))
    assertApart([...last, ...before])
  })

  it("if text moves between parts, messages or roles", () => {
    const assistant = Prompt.assistantMessage({ content: [part("ab")] })
    const all = [
      [user(part("abc"))],
      [user(part("ab"), part("c"))],
      [user(part("a"), part("bc"))],
      [user(part("abc"), part(""))],
      [user(part("ab")), user(part("c"))],
      [user(part("a")), user(part("bc"))],
      [user(part("c")), user(part("ab"))],
      [user(), user(part("abc"))],
      [user(part("abc")), user()],
      [Prompt.systemMessage({ content: "ab" }), user(part("c"))],
      [assistant, user(part("c"))],
      [user(part("c")), assistant],
      [user(part("\ud83d"), part("\ude00"))],
      [user(part("\ud83d\ude00"), part(""))]
    ]
    assertApart(all.map((content) => messages(...content)))
  })

  it("if somebody else would answer, others share it, the guards differ or the secret does", () => {
    const changes: ReadonlyArray<Partial<requestKey.Scope>> = [
      {},
      { endpoint: "openai|gp", fingerprint: "t1" },
      { endpoint: "anthropic" },
      { fingerprint: "2" },
      { isolation: ["user", "acme"] },
      { isolation: ["tenant"] },
      { isolation: ["tenant", undefined] },
      { isolation: ["tenant", ""] },
      { isolation: ["tenant", "undefined"] },
      { isolation: ["tenant", "acme", undefined] },
      { isolation: ["tenant", "ac", "me"] },
      { isolation: ["tenantacme"] }
    ]
    const keys = [undefined, "s", "S"].flatMap((secret) =>
      changes.map((change) => requestKey.make({ secret })(base, { ...scope, ...change }))
    )
    assert.strictEqual(new Set(keys).size, 3 * changes.length)
    assert.throws(() => requestKey.make({ secret: "" }), RangeError, /keySecret must not be empty/)
  })
})

describe("a request that is changed in place", () => {
  const changing = () => {
    const bytes = Uint8Array.of(1, 2)
    const list = [{ a: 1 }]
    const schema: Record<string, unknown> = { properties: { x: {}, y: {} }, description: long }
    const call = { ...Prompt.toolCallPart({ id: "1", name: "t", params: { list }, providerExecuted: false }) }
    const said = { ...part(long) }
    const content = [said, file(bytes)]
    const all: Array<Prompt.Message> = [Prompt.userMessage({ content })]
    const answer = {
      id: "1",
      name: "t",
      isFailure: false,
      result: long,
      modelOutput: [part("r")],
      providerExecuted: false
    }
    const answered = { ...Prompt.toolResultPart(answer) }
    all.push(Prompt.assistantMessage({ content: [part(long), call] }), Prompt.toolMessage({ content: [answered] }))
    all.push(user(part("Hi")))
    const request = { prompt: Prompt.fromMessages(all), tools: [{ name: "t", parameters: schema }], temperature: 0 }
    return { bytes, list, schema, call, answered, said, content, all, request }
  }

  it.each<[string, (its: ReturnType<typeof changing>) => unknown]>([
    ["a text", ({ said }) => Object.assign(said, { text: `${long}.` })],
    ["a byte of a file", ({ bytes }) => bytes.fill(3)],
    ["a value deep in the arguments of a call", ({ list }) => Object.assign(list[0] ?? {}, { a: 2 })],
    ["a list that grows", ({ list }) => list.push({ a: 3 })],
    ["a list that shrinks", ({ list }) => list.pop()],
    ["options of a part", ({ call }) => Object.assign(call, { options: { openai: { a: 1 } } })],
    ["the order of properties in a schema", ({ schema }) => (schema.properties = { y: {}, x: {} })],
    ["a field at the end of a schema", ({ schema }) => (schema.type = "object")],
    ["a field of a schema that goes", ({ schema }) => Reflect.deleteProperty(schema, "properties")],
    ["the last part of a message that goes", ({ content }) => content.pop()],
    ["the last field of a part that goes", ({ answered }) => Object.assign(answered, { modelOutput: undefined })],
    ["a message that goes", ({ all }) => all.pop()],
    ["a setting", ({ request }) => (request.temperature = 1)]
  ])("never keeps the key of what it said: %s", (_, change) => {
    const its = changing()
    const before = keyOf(its.request)
    for (let i = 0; i < 3; i++) assert.strictEqual(keyOf(its.request), before)
    change(its)
    assert.notStrictEqual(keyOf(its.request), before)
    assert.strictEqual(keyOf(its.request), keyOf(rewritten(its.request)))
  })
})

describe("a value whose shape is changed in place", () => {
  it.each<[unknown, unknown]>([
    [
      [[1], 2],
      [1, [2]]
    ],
    [[[1], 2], [[1, 2]]],
    [
      [{ a: "b" }, { c: 1 }],
      [{ a: { b: "c" } }, 1]
    ],
    [{ a: 1 }, ["a", 1]],
    [{ a: null }, { a: {} }],
    [[], {}]
  ])("never keeps the key of what it was: %j becomes %j", (from, to) => {
    const params = { value: from }
    const call = Prompt.toolCallPart({ id: "1", name: "t", params, providerExecuted: false })
    const request = messages(Prompt.assistantMessage({ content: [part(long), call] }), user(part("Hi")))
    const before = [request, request, request].map(keyOf)
    params.value = to
    assert.notInclude(before, keyOf(request))
    assert.strictEqual(keyOf(request), keyOf(rewritten(request)))
  })
})

describe("a value without a certain form", () => {
  const nested = (depth: number): unknown => {
    let value: unknown = 1
    for (let i = 0; i < depth; i++) value = [value]
    return value
  }
  const circle: Array<unknown> = []
  circle.push(circle, circle)

  const withResult = (result: unknown): LlmRequest => {
    const content = [Prompt.toolResultPart({ id: "1", name: "t", isFailure: false, result, providerExecuted: false })]
    return messages(Prompt.toolMessage({ content }), user(part("Hi")))
  }

  it.each([
    ["bigint", 1n],
    ["symbol", Symbol.iterator],
    ["function", () => 1],
    ["Date", new Date(0)],
    ["Map", new Map([["a", 1]])],
    ["Set", new Set()],
    ["bytes", new Uint8Array(1)],
    ["instance of a class", new URLSearchParams("a=1")],
    ["circle", circle],
    ["tower", nested(257)],
    ["number that is none", Number.NaN],
    ["number without end", Number.POSITIVE_INFINITY]
  ])("has no key, wherever it stands: %s", (_, value) => {
    assert.isUndefined(keyOf(withResult(value)))
    assert.isUndefined(keyOf(withResult({ a: [value] })))
    // what the types forbid and JavaScript does not
    assert.isUndefined(keyOf({ ...base, providerOptions: { openai: { a: value as never } } }))
    assert.isUndefined(keyOf({ ...base, tools: [{ name: "t", parameters: { default: value } }] }))
  })

  it.each([new Date(0), new Map(), circle])("takes the key away from a request that had one: %o", (value) => {
    for (const from of [{}, [[]], [[[], []], []]]) {
      const result = { a: from as unknown }
      const answer = { id: "1", name: long, isFailure: false, result, providerExecuted: false }
      const content = [Prompt.toolResultPart(answer)]
      const request = messages(Prompt.toolMessage({ content }), user(part("Hi")))
      assert.notInclude([request, request, request].map(keyOf), undefined)
      result.a = value
      assert.isUndefined(keyOf(request))
    }
  })

  it("has one where it is plain, without a prototype or deep", () => {
    const bare: object = Object.assign(Object.create(null), { a: 1 })
    assert.strictEqual(keyOf(withResult(bare)), keyOf(withResult({ a: 1 })))
    assertApart([0, 1, 256].map((depth) => withResult(nested(depth))))
  })
})
