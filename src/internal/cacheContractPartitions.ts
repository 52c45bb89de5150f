/** Cases of the contract: whose an entry is, and what is left when something is cleared. */
import * as Effect from "effect/Effect"
import { type Case, promise } from "./cacheContract.ts"

/** Names that could be taken for one another, for the absence of one, or for a part of the store's own names. */
const names: ReadonlyArray<string | undefined> = [
  undefined,
  "",
  "undefined",
  "null",
  "none",
  "a",
  "A",
  "a ",
  " a",
  "a:b",
  "a%3Ab",
  "a%003ab",
  "a/b",
  "=a",
  "}{",
  "{a}",
  "*",
  "?[a-z]",
  "'; drop table x --",
  "\\",
  "\0",
  "\\0000",
  "\n",
  "é",
  "e\u0301",
  "日本",
  "😀",
  "\ud83d",
  "\ude00",
  "\ufffd",
  "__proto__",
  "x".repeat(300),
  `${"x".repeat(299)}y`,
  "é".repeat(300),
  "😀".repeat(300)
]

export const partitions: ReadonlyArray<Case> = [
  promise("answers only the partition that an entry was set for", function* (store) {
    yield* store.put("key", 1, "a")
    yield* store.hasNot("key", "b")
    yield* store.hasNot("key")
    yield* store.put("key", 2, "b")
    yield* store.put("key", 3)
    yield* store.has("key", 1, "a")
    yield* store.has("key", 2, "b")
    yield* store.has("key", 3)
    yield* store.delete("key", "b")
    yield* store.has("key", 1, "a")
    yield* store.hasNot("key", "b")
  }),
  promise("takes any text for a partition, and no two for the same", function* (store) {
    for (const [i, name] of names.entries()) yield* store.put("key", i, name)
    for (const [i, name] of names.entries()) yield* store.has("key", i, name)
    for (const [i, name] of names.entries()) {
      yield* store.clear({ partition: name })
      yield* store.hasNot("key", name)
      const next = names[i + 1]
      if (i + 1 < names.length) yield* store.has("key", i + 1, next)
    }
  }),
  promise("takes any text for a key, and no two for the same", function* (store) {
    const keys = names.map((name) => name ?? "key")
    for (const [i, key] of keys.entries()) yield* store.put(key, i)
    for (const [i, key] of keys.entries()) yield* store.has(key, i)
    for (const [i, key] of keys.entries()) {
      yield* store.delete(key)
      yield* store.hasNot(key)
      const next = keys[i + 1]
      if (next !== undefined) yield* store.has(next, i + 1)
    }
  }),
  promise("tells a key and a partition apart, wherever one ends and the other begins", function* (store) {
    const pairs = [
      ["a", "b:c"],
      ["a:b", "c"],
      ["a/=b", "c"],
      ["a", "b/=c"],
      ["a/", undefined],
      ["a", ""]
    ] as const
    for (const [i, [key, name]] of pairs.entries()) yield* store.put(key, i, name)
    for (const [i, [key, name]] of pairs.entries()) yield* store.has(key, i, name)
  }),
  promise("clears one partition and leaves the others", function* (store) {
    const keys = Array.from({ length: 20 }, (_, i) => `key ${i}`)
    for (const key of keys) yield* store.put(key, key, "a")
    for (const key of keys) yield* store.put(key, key)
    yield* store.clear({ partition: "a" })
    for (const key of keys) yield* store.hasNot(key, "a")
    for (const key of keys) yield* store.has(key, key)
    yield* store.clear({ partition: undefined })
    for (const key of keys) yield* store.hasNot(key)
  }),
  promise("clears all of them", function* (store) {
    const some = [undefined, "", "a", "b"]
    for (const name of some) yield* store.put("key", 1, name)
    yield* store.clear()
    for (const name of some) yield* store.hasNot("key", name)
  }),
  promise("keeps what is set after something was cleared, and nothing from before", function* (store) {
    yield* store.put("old", 1, "a")
    yield* store.put("other", 1, "b")
    yield* store.clear({ partition: "a" })
    yield* store.put("new", 2, "a")
    yield* store.hasNot("old", "a")
    yield* store.has("new", 2, "a")
    yield* store.clear()
    yield* store.put("newer", 3, "a")
    yield* store.hasNot("old", "a")
    yield* store.hasNot("new", "a")
    yield* store.hasNot("other", "b")
    yield* store.has("newer", 3, "a")
  }),
  promise("clears what is not there", function* (store) {
    yield* store.clear()
    yield* store.clear({ partition: "never" })
    yield* store.hasNot("key", "never")
  }),
  promise("clears while others set, and takes what they set then", function* (store) {
    const sets = Array.from({ length: 50 }, (_, i) => store.put(`key ${i}`, i, "a"))
    const clears = Array.from({ length: 5 }, () => store.clear({ partition: "a" }))
    yield* Effect.all([...sets, ...clears], { concurrency: "unbounded", discard: true })
    yield* store.clear({ partition: "a" })
    for (let i = 0; i < 50; i++) yield* store.hasNot(`key ${i}`, "a")
    yield* store.put("key 0", 1, "a")
    yield* store.has("key 0", 1, "a")
  })
]
