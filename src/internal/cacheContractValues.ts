/** Cases of the contract: what is stored comes back as it was, or not at all. */
import { ok, strictEqual } from "node:assert/strict"
import * as Effect from "effect/Effect"
import { isDeepStrictEqual } from "node:util"
import { type Case, type Kit, life, promise } from "./cacheContract.ts"

/** Everything that JSON knows, and texts that are no Unicode. */
const json: ReadonlyArray<unknown> = [
  null,
  true,
  false,
  0,
  -1.5,
  1e300,
  5e-324,
  Number.MAX_SAFE_INTEGER,
  "",
  "text",
  " \t\r\n\u2028\u2029",
  "\0",
  '"\\',
  "日本 😀 e\u0301",
  "\ud83d",
  "\ude00\ud83d",
  "\ufeff",
  [],
  {},
  [[[]]],
  [1, "a", null, { b: [true] }],
  { "": 1, "a b": 2, 'ключ "': { "\ud83d": "\udc00" } },
  JSON.parse('{"__proto__":{"a":1},"constructor":1}'),
  { parts: [{ type: "text", text: "b1 j 1 2 {}" }], usage: { input: 10, output: 2 } }
]

/** Back as it was or not at all, and the store goes on. */
const backOrNothing = (store: Kit, value: unknown) =>
  Effect.gen(function* () {
    yield* store.put("key", value)
    const entry = yield* store.get("key")
    ok(entry === undefined || isDeepStrictEqual(entry.value, value))
    yield* store.put("key", "next")
    yield* store.has("key", "next")
  })

const nested = (depth: number): unknown => {
  let value: unknown = 1
  for (let i = 0; i < depth; i++) value = [value]
  return value
}

const circular = (): unknown => {
  const value: Record<string, unknown> = {}
  value["self"] = value
  return value
}

export const values: ReadonlyArray<Case> = [
  promise("gives back every kind of JSON as it was", function* (store) {
    for (const [i, value] of json.entries()) yield* store.put(`key ${i}`, value)
    for (const [i, value] of json.entries()) yield* store.has(`key ${i}`, value)
  }),
  promise("keeps hundreds of kilobytes, of text and of many parts", function* (store) {
    const text = { text: "The quick brown fox. ".repeat(20_000) }
    const wide = { text: "日本 😀 ".repeat(40_000) }
    const parts = Array.from({ length: 5000 }, (_, i) => ({ type: "text-delta", delta: `word ${i}` }))
    yield* store.put("text", text)
    yield* store.put("wide", wide)
    yield* store.put("parts", parts)
    yield* store.has("text", text)
    yield* store.has("wide", wide)
    yield* store.has("parts", parts)
  }),
  promise("keeps nothing larger than an entry may be, and not what was there before", function* (store) {
    yield* store.put("key", 1)
    yield* store.put("key", "x".repeat(3_000_000))
    yield* store.hasNot("key")
    yield* store.put("key", 1)
    yield* store.put(
      "key",
      Array.from({ length: 400_000 }, () => "x")
    )
    yield* store.hasNot("key")
  }),
  promise("believes who says how large an entry is", function* (store) {
    yield* store.put("key", "x", undefined, 2 ** 40)
    yield* store.hasNot("key")
    yield* store.put("key", "x", undefined, 10)
    yield* store.has("key", "x")
  }),
  promise("never breaks by a value that is no JSON", function* (store) {
    const values = [undefined, 10n, Symbol("a"), () => 1, circular(), Number.NaN, Infinity, nested(100_000)]
    for (const value of values) {
      yield* store.put("key", value)
      yield* store.get("key")
      yield* store.put("key", "next")
      yield* store.has("key", "next")
    }
  }),
  promise("gives back deep values as they were, or nothing", function* (store) {
    yield* backOrNothing(store, nested(500))
  }),
  promise("keeps an entry that was made in the future or long ago", function* (store) {
    for (const createdAt of [-life, 0, 2 ** 50]) {
      yield* store.set("key", { value: 1, createdAt, expiresAt: 2 ** 51 })
      strictEqual((yield* store.get("key"))?.createdAt, createdAt)
    }
  })
]
