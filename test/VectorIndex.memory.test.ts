import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Schema } from "effect"
import { TestClock } from "effect/testing"
import { VectorIndexContract } from "effect-ballast/testing"
import * as VectorIndex from "effect-ballast/VectorIndex"
import * as memory from "../src/internal/memoryVectorIndex.ts"
import { clustered, cosine, type Numbers } from "./support/vectors.ts"

const start = Date.UTC(2026, 10, 24, 12, 0, 3, 7)
const forever = Number.MAX_SAFE_INTEGER
const mebibyte = 2 ** 20

describe("the contract, in memory", () => {
  for (const { name, run } of VectorIndexContract.cases)
    it.effect(name, () =>
      Effect.gen(function* () {
        yield* TestClock.setTime(start)
        yield* run({ index: yield* VectorIndex.makeMemory(), advance: (millis) => TestClock.adjust(millis) })
      })
    )
})

const item = (id: string, vector: Numbers, expiresAt = forever): VectorIndex.Item => ({
  id,
  vector,
  data: id,
  expiresAt
})
const defaults = { maxEntries: 10_000, maxBytes: 64 * mebibyte, exactUpTo: 20_000 }
const made = (given: Partial<memory.Limits> = {}) => memory.make({ ...defaults, ...given })
const all = { limit: 100, atLeast: -1 }
const ids = (matches: ReadonlyArray<VectorIndex.Match>) => matches.map(({ id }) => id)

describe("the index in memory", () => {
  it.effect("answers on the spot, and with the very data", () =>
    Effect.gen(function* () {
      const index = yield* VectorIndex.makeMemory()
      const data = { answers: [] }
      assert.isTrue(Exit.isExit(index.add("p", { ...item("x", [1, 0]), data }, undefined)))
      assert.isTrue(Exit.isExit(index.nearest("p", [1, 0], all)))
      assert.strictEqual((yield* index.nearest("p", [1, 0], all))[0]?.data, data)
      assert.isTrue(Exit.isExit(index.remove("p", "x")))
      assert.isTrue(Exit.isExit(index.clear()))
      assert.isFalse(index.external)
    })
  )

  it.effect("holds 10,000 items of a partition, and lets the oldest go", () =>
    Effect.gen(function* () {
      const index = yield* VectorIndex.makeMemory()
      for (let i = 0; i <= 10_000; i++) yield* index.add("p", item(`${i}`, [i, 1]), undefined)
      yield* index.add("other", item("x", [1, 1]), undefined)
      assert.strictEqual((yield* index.size).entries, 10_001)
      assert.notStrictEqual(ids(yield* index.nearest("p", [0, 1], all))[0], "0")
      assert.strictEqual(ids(yield* index.nearest("p", [1, 1], all))[0], "1")
      assert.deepStrictEqual(ids(yield* index.nearest("other", [1, 1], all)), ["x"])
    })
  )

  it.effect("holds 64 MiB, and lets the oldest of the partition go that was not used for the longest time", () =>
    Effect.gen(function* () {
      const index = yield* VectorIndex.makeMemory()
      const vector = (i: number) => Float32Array.from({ length: 1536 }, (_, j) => (j === i ? 1 : 0.001))
      for (let i = 0; i < 6000; i++) {
        yield* index.add(`${i % 3}`, item(`${i}`, vector(i % 1000)), undefined)
        assert.isAtMost((yield* index.size).bytes ?? Infinity, 64 * mebibyte)
      }
      assert.strictEqual((yield* index.size).entries, 6000)
      yield* index.nearest("0", vector(0), all)
      for (let i = 6000; i < 12_000; i++) yield* index.add("new", item(`${i}`, vector(i % 1000)), undefined)
      assert.isAtMost((yield* index.size).bytes ?? Infinity, 64 * mebibyte)
      assert.isAbove((yield* index.size).bytes ?? 0, 62 * mebibyte)
      assert.deepStrictEqual(yield* index.nearest("1", vector(1), all), [])
      assert.strictEqual((yield* index.nearest("0", vector(0), { limit: 1, atLeast: 0.9 })).length, 1)
    })
  )

  it.effect("forgets what is too large for it, and remembers nothing of it", () =>
    Effect.gen(function* () {
      const index = yield* made({ maxBytes: 1000 })
      yield* index.add(
        "p",
        item(
          "x",
          Array.from({ length: 1000 }, () => 1)
        ),
        undefined
      )
      assert.deepStrictEqual(yield* index.size, { entries: 0, bytes: 0 })
      yield* index.add("p", item("x", [1, 0]), undefined)
      assert.strictEqual((yield* index.size).entries, 1)
    })
  )

  it.effect("weighs data, names and tenants, and nothing when all has gone", () =>
    Effect.gen(function* () {
      const index = yield* made()
      const bytes = Effect.map(index.size, ({ bytes }) => bytes)
      yield* index.add("p", { ...item("x", [1, 0]), data: "" }, undefined)
      const before = yield* bytes
      yield* index.add("p", { ...item("x", [1, 0]), data: "x".repeat(1000) }, undefined)
      assert.strictEqual((yield* bytes) - before, 2000)
      yield* index.add("p", { ...item("x", [1, 0]), data: "" }, "t".repeat(500))
      assert.strictEqual((yield* bytes) - before, 1000)
      for (let i = 0; i < 500; i++) yield* index.add(`${i % 5}`, item(`${i}`, [1, i]), `${i % 7}`)
      for (let i = 0; i < 7; i++) yield* index.clear({ tenant: `${i}` })
      yield* index.remove("p", "x")
      assert.deepStrictEqual(yield* index.size, { entries: 0, bytes: 0 })
      assert.strictEqual(index.owners, 0)
    })
  )

  it.effect("lets expired items go behind new ones, two at a time, and all of those that a search meets", () =>
    Effect.gen(function* () {
      const index = yield* made()
      for (let i = 0; i < 100; i++) yield* index.add("p", item(`${i}`, [1, i], 1000), undefined)
      for (let i = 0; i < 100; i++) yield* index.add("q", item(`${i}`, [1, i], 1000), undefined)
      yield* TestClock.adjust(1000)
      for (let i = 0; i < 10; i++) yield* index.add("r", item(`${i}`, [1, i]), undefined)
      assert.strictEqual((yield* index.size).entries, 190)
      assert.deepStrictEqual(yield* index.nearest("q", [1, 0], all), [])
      assert.strictEqual((yield* index.size).entries, 90)
      for (let i = 10; i < 50; i++) yield* index.add("r", item(`${i}`, [1, i]), undefined)
      assert.strictEqual((yield* index.size).entries, 50)
      assert.strictEqual(index.owners, 1)
    })
  )

  it("refuses options that can never work", () => {
    assert.throws(
      () => VectorIndex.makeMemory({ maxEntries: 0 }),
      RangeError,
      "VectorIndex.makeMemory: maxEntries must be an integer >= 1, got 0"
    )
    assert.throws(() => VectorIndex.makeMemory({ maxBytes: 0.5 }), RangeError, "maxBytes")
    assert.throws(() => VectorIndex.makeMemory({ exactUpTo: -1 }), RangeError, "exactUpTo")
  })
})

const Small = Schema.Literals([-3, -1, 0, 1, 2])
const Step = Schema.Struct({
  op: Schema.Literals(["add", "add", "add", "remove", "clear", "pass", "find"]),
  id: Schema.Literals(["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"]),
  partition: Schema.Literals(["p", "q"]),
  tenant: Schema.Literals(["s", "t"]),
  vector: Schema.Tuple([Small, Small, Small]),
  limit: Schema.Literals([1, 2, 5, 100]),
  atLeast: Schema.Literals([-1, 0, 0.5, 0.95]),
  millis: Schema.Literals([1, 10, 50])
})
const Run = Schema.Array(Step).check(Schema.isMinLength(20), Schema.isMaxLength(80))

describe("as a list that is gone through", () => {
  it.effect.prop(
    "the index in memory finds what a naive scan finds",
    [Run],
    ([steps]) =>
      Effect.gen(function* () {
        const index = yield* made()
        let model: Array<VectorIndex.Item & { partition: string; tenant: string }> = []
        let now = 0
        for (const { atLeast, id, limit, millis, op, partition, tenant, vector } of steps) {
          if (op === "pass") {
            yield* TestClock.adjust(millis)
            now += millis
          } else if (op === "remove") {
            yield* index.remove(partition, id)
            model = model.filter((one) => one.partition !== partition || one.id !== id)
          } else if (op === "clear") {
            yield* index.clear({ tenant })
            model = model.filter((one) => one.tenant !== tenant)
          } else if (vector.some((value) => value !== 0)) {
            if (op === "add") {
              const added = item(id, vector, now + millis * 2)
              yield* index.add(partition, added, tenant)
              model = model.filter((one) => one.partition !== partition || one.id !== id)
              model.push({ ...added, partition, tenant })
            }
            const found = yield* index.nearest(partition, vector, { limit, atLeast })
            const wanted = model
              .filter((one) => one.partition === partition && one.expiresAt > now)
              .map((one) => ({ id: one.id, similarity: cosine(vector, one.vector) }))
              .filter(({ similarity }) => similarity >= atLeast - 1e-6)
              .toSorted((a, b) => b.similarity - a.similarity)
            const sure = wanted.filter(({ similarity }) => similarity >= atLeast + 1e-6).length
            assert.isAtLeast(found.length, Math.min(limit, sure))
            assert.isAtMost(found.length, Math.min(limit, wanted.length))
            for (const [i, match] of found.entries()) {
              assert.closeTo(match.similarity, wanted[i]?.similarity ?? Number.NaN, 2e-6)
              assert.closeTo(wanted.find(({ id }) => id === match.id)?.similarity ?? Number.NaN, match.similarity, 2e-6)
            }
          }
        }
      }),
    { arbitrary: { runs: 300 } }
  )
})

describe("above 20,000 items of a partition", () => {
  const recalls = {
    "clusters of 70: the nearest is always found, and 99 of 100 of the 10 nearest": { clusters: 300, least: 0.99 },
    "clusters of 7: the nearest is always found, and 8 of the 10 nearest": { clusters: 3000, least: 0.8 }
  }

  it.effect.each(Object.entries(recalls))(
    "signs are compared first, among 21,000 x 256 in %s",
    ([, { clusters, least }]) =>
      Effect.gen(function* () {
        const index = yield* made({ maxEntries: 30_000 })
        const { around, vectors } = clustered(21_000, 256, clusters)
        for (const [i, vector] of vectors.entries()) yield* index.add("p", item(`${i}`, vector), undefined)
        let top = 0
        let recalled = 0
        for (let n = 0; n < 50; n++) {
          const at = (n * 7919) % vectors.length
          const query = around(vectors[at] ?? [], 0.25)
          const wanted = vectors
            .map((vector, i) => ({ id: `${i}`, similarity: cosine(query, vector) }))
            .toSorted((a, b) => b.similarity - a.similarity)
            .slice(0, 10)
          const found = yield* index.nearest("p", query, { limit: 10, atLeast: -1 })
          assert.strictEqual(found.length, 10)
          if (found[0]?.id === wanted[0]?.id) top++
          recalled += wanted.filter(({ id }) => found.some((match) => match.id === id)).length / 10
          for (const match of found)
            assert.closeTo(match.similarity, cosine(query, vectors[Number(match.id)] ?? []), 2e-6)
        }
        assert.strictEqual(top, 50)
        assert.isAtLeast(recalled / 50, least)
      }),
    30_000
  )

  it.effect("what expires, goes and comes meanwhile is met as by a whole search", () =>
    Effect.gen(function* () {
      const few = yield* made({ exactUpTo: 0 })
      const whole = yield* made()
      const { vectors } = clustered(1500, 64, 20)
      for (const index of [few, whole]) {
        for (const [i, vector] of vectors.entries())
          yield* index.add("p", item(`${i}`, vector, i % 3 === 0 ? 1000 : forever), undefined)
        for (let i = 0; i < 1500; i += 5) yield* index.remove("p", `${i}`)
        for (let i = 0; i < 1500; i += 10) yield* index.add("p", item(`new ${i}`, vectors[i] ?? []), undefined)
      }
      yield* TestClock.adjust(1000)
      for (let i = 0; i < 1500; i += 10) {
        const found = yield* few.nearest("p", vectors[i] ?? [], { limit: 1, atLeast: 0.999 })
        assert.deepStrictEqual(ids(found), [`new ${i}`])
        assert.deepStrictEqual(yield* whole.nearest("p", vectors[i] ?? [], { limit: 1, atLeast: 0.999 }), found)
      }
      assert.deepStrictEqual(yield* few.size, yield* whole.size)
    })
  )
})
