/** Cases of the vector index's contract: how long an item is there, whose it is, and what is left when something is cleared. */
import { deepStrictEqual, ok } from "node:assert/strict"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import { type Case, life, promise } from "./vectorContract.ts"

/** Names that could be taken for one another, for the absence of one, or for a part of the index's own names. */
const names: ReadonlyArray<string> = [
  "",
  "undefined",
  "-",
  "*",
  "a",
  "A",
  "a ",
  "a:b",
  "a/b",
  "{a}",
  "'; drop table x --",
  "\\",
  "\0",
  "\\0000",
  "é",
  "e\u0301",
  "😀",
  "\ud83d",
  "\ude00",
  "\ufffd",
  "__proto__",
  "x".repeat(300),
  `${"x".repeat(299)}y`,
  "😀".repeat(300)
]

export const items: ReadonlyArray<Case> = [
  promise("finds an item until it expires, and no more from then on", function* (index, advance) {
    const now = yield* Clock.currentTimeMillis
    yield* index.put("p", "x", [1, 0])
    yield* index.add("p", { id: "forever", vector: [0, 1], data: 1, expiresAt: Infinity })
    yield* index.add("p", { id: "later", vector: [0, 1], data: 1, expiresAt: now + 2 * life })
    yield* advance(life - 1)
    yield* index.has("p", ["x", "forever", "later"])
    yield* advance(1)
    yield* index.has("p", ["forever", "later"])
    yield* advance(life)
    yield* index.has("p", ["forever"])
  }),
  promise("puts a new item in the place of the one that had its id", function* (index) {
    const now = yield* Clock.currentTimeMillis
    yield* index.put("p", "x", [1, 0], "a")
    yield* index.put("p", "y", [1, 1])
    yield* index.add("p", { id: "x", vector: [0, 1], data: "new", expiresAt: now + life }, "b")
    const found = yield* index.nearest("p", [0, 1])
    deepStrictEqual(
      found.map(({ data, id }) => [id, data]),
      [
        ["x", "new"],
        ["y", "data of y"]
      ]
    )
    yield* index.clear({ tenant: "a" })
    yield* index.has("p", ["x", "y"])
  }),
  promise("has nothing left where an item that has expired was added over another one", function* (index) {
    const now = yield* Clock.currentTimeMillis
    for (const expiresAt of [now, now - 1, -Infinity, Number.NaN]) {
      yield* index.put("p", "x", [1, 0])
      yield* index.add("p", { id: "x", vector: [1, 0], data: 2, expiresAt })
      yield* index.has("p", [])
    }
  }),
  promise("removes one item and no other, and nothing where there is none", function* (index) {
    for (const id of ["a", "b", "c"]) yield* index.put("p", id, [1, 0])
    yield* index.put("q", "a", [1, 0])
    yield* index.remove("p", "a")
    yield* index.remove("p", "a")
    yield* index.remove("p", "never")
    yield* index.remove("never", "b")
    yield* index.has("p", ["b", "c"])
    yield* index.has("q", ["a"])
  }),
  promise("takes any text for a partition, and no two for the same", function* (index) {
    for (const [i, name] of names.entries()) yield* index.put(name, `${i}`, [1, i])
    for (const [i, name] of names.entries()) yield* index.has(name, [`${i}`])
    for (const name of names) yield* index.remove(name, "0")
    for (const [i, name] of names.entries()) yield* index.has(name, i === 0 ? [] : [`${i}`])
  }),
  promise("takes any text for an id, and no two for the same", function* (index) {
    for (const name of names) yield* index.put("p", name, [1, 0])
    for (const [i, name] of names.entries()) {
      yield* index.has("p", names.slice(i))
      yield* index.remove("p", name)
    }
    yield* index.has("p", [])
  }),
  promise("takes any text for a tenant, and no two for the same, nor for none", function* (index) {
    const tenants = [undefined, ...names]
    for (const [i, tenant] of tenants.entries()) yield* index.put("p", `${i}`, [1, 0], tenant)
    for (const [i, tenant] of tenants.entries()) {
      yield* index.clear({ tenant })
      yield* index.has(
        "p",
        tenants.slice(i + 1).map((_, j) => `${i + 1 + j}`)
      )
    }
  }),
  promise("clears one tenant in every partition, and leaves the others", function* (index) {
    const partitions = Array.from({ length: 20 }, (_, i) => `p${i}`)
    for (const partition of partitions)
      for (const tenant of ["a", "b", undefined]) yield* index.put(partition, `of ${tenant}`, [1, 0], tenant)
    yield* index.clear({ tenant: "a" })
    for (const partition of partitions) yield* index.has(partition, ["of b", "of undefined"])
    yield* index.clear({ tenant: undefined })
    for (const partition of partitions) yield* index.has(partition, ["of b"])
    yield* index.clear({ tenant: "never" })
    yield* index.clear()
    for (const partition of partitions) yield* index.has(partition, [])
    yield* index.put("p0", "new", [1, 0, 0], "a")
    yield* index.has("p0", ["new"], [1, 0, 0])
    yield* index.clear({ tenant: "a" })
    yield* index.has("p0", [], [1, 0, 0])
  }),
  promise("keeps all that are added at the same time, and one of those that have the same id", function* (index) {
    const ids = Array.from({ length: 50 }, (_, i) => `${i}`)
    yield* Effect.forEach(ids, (id) => index.put("p", id, [1, 0]), { concurrency: "unbounded", discard: true })
    yield* index.has("p", ids)
    yield* Effect.forEach(ids, (_, i) => index.put("q", "x", [1, i]), { concurrency: "unbounded", discard: true })
    yield* index.has("q", ["x"])
  }),
  promise("clears while others add, and takes what they add then", function* (index) {
    const adds = Array.from({ length: 40 }, (_, i) => index.put(`p${i % 4}`, `${i}`, [1, 0], "a"))
    const clears = Array.from({ length: 5 }, () => index.clear({ tenant: "a" }))
    yield* Effect.all([...adds, ...clears], { concurrency: "unbounded", discard: true })
    yield* index.clear({ tenant: "a" })
    for (let i = 0; i < 4; i++) yield* index.has(`p${i}`, [])
  }),
  promise("counts what it has, if it counts at all", function* (index) {
    for (const id of ["a", "b", "c"])
      yield* index.put(
        "p",
        id,
        Array.from({ length: 1000 }, () => 1)
      )
    yield* index.remove("p", "a")
    const { bytes, entries } = yield* Effect.suspend(() => index.raw.size)
    ok(entries === undefined || entries === 2)
    ok(bytes === undefined || (bytes >= 8000 && bytes < 20_000), `${bytes} bytes`)
  })
]
