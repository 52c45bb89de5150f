import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Layer, Schema } from "effect"
import { TestClock } from "effect/testing"
import { CacheStoreContract } from "effect-ballast/testing"
import * as CacheStore from "effect-ballast/CacheStore"
import * as memory from "../src/internal/memoryCacheStore.ts"
import { weightOf } from "../src/internal/weight.ts"

const start = Date.UTC(2026, 10, 24, 12, 0, 3, 7)
const later = { createdAt: 0, expiresAt: Number.MAX_SAFE_INTEGER }

describe("the contract, in memory", () => {
  for (const { name, run } of CacheStoreContract.cases)
    it.effect(name, () =>
      Effect.gen(function* () {
        yield* TestClock.setTime(start)
        yield* run({ store: yield* CacheStore.makeMemory(), advance: (millis) => TestClock.adjust(millis) })
      })
    )
})

describe("the cache in memory", () => {
  it.effect("answers on the spot, and with the very value", () =>
    Effect.gen(function* () {
      const store = yield* CacheStore.makeMemory()
      const value = { parts: [] }
      assert.isTrue(Exit.isExit(store.get("key", undefined)))
      assert.isTrue(Exit.isExit(store.set("key", { ...later, value }, undefined)))
      assert.strictEqual((yield* store.get("key", undefined))?.value, value)
      assert.isFalse(Object.isFrozen(value))
      assert.isTrue(Exit.isExit(store.delete("key", undefined)))
      assert.isTrue(Exit.isExit(store.clear()))
      assert.isFalse(store.external)
    })
  )

  it.effect("is one for all that share its layer", () =>
    Effect.gen(function* () {
      const seen: Array<CacheStore.Service> = []
      const layer = CacheStore.layerMemory({ maxEntries: 5 })
      const user = () => Layer.effectDiscard(Effect.map(CacheStore.CacheStore, (store) => void seen.push(store)))
      yield* Layer.build(Layer.mergeAll(Layer.provide(user(), layer), Layer.provide(user(), layer)))
      assert.strictEqual(seen.length, 2)
      assert.strictEqual(seen[0], seen[1])
    })
  )

  it.effect("holds 10,000 entries and 64 MiB, and none of more than 1 MiB", () =>
    Effect.gen(function* () {
      const store = yield* CacheStore.makeMemory()
      const put = (key: string, bytes: number) => store.set(key, { ...later, value: key, bytes }, undefined)
      for (let i = 0; i <= 10_000; i++) yield* put(`${i}`, 10)
      assert.strictEqual((yield* store.size).entries, 10_000)
      assert.isUndefined(yield* store.get("0", undefined))
      assert.isDefined(yield* store.get("1", undefined))
      yield* store.clear()
      yield* put("at most", 2 ** 20)
      yield* put("more", 2 ** 20 + 1)
      assert.strictEqual((yield* store.size).entries, 1)
      for (let i = 0; i < 100; i++) yield* put(`${i}`, 2 ** 20)
      // their names weigh something as well
      assert.strictEqual((yield* store.size).entries, 63)
    })
  )

  it.effect("weighs names and partitions, too", () =>
    Effect.gen(function* () {
      const store = yield* CacheStore.makeMemory({ maxBytes: 1000, maxEntryBytes: 100 })
      yield* store.set("x".repeat(350), { ...later, value: 1, bytes: 100 }, undefined)
      assert.deepStrictEqual(yield* store.size, { entries: 1, bytes: 1000 })
      yield* store.set("x".repeat(350), { ...later, value: 1, bytes: 100 }, "p")
      assert.deepStrictEqual(yield* store.size, { entries: 1, bytes: 1000 })
      assert.isDefined(yield* store.get("x".repeat(350), undefined))
    })
  )

  it.effect("lets expired entries go behind new ones, two at a time", () =>
    Effect.gen(function* () {
      const store = yield* CacheStore.makeMemory()
      for (let i = 0; i < 100; i++) yield* store.set(`${i}`, { value: i, createdAt: 0, expiresAt: 1000 }, undefined)
      yield* TestClock.adjust(1000)
      for (let i = 0; i < 50; i++) yield* store.set("new", { ...later, value: i }, undefined)
      assert.strictEqual((yield* store.size).entries, 1)
    })
  )

  it.effect("forgets partitions that have nothing left", () =>
    Effect.gen(function* () {
      const store = yield* memory.make({ maxEntries: 10, maxBytes: 10_000, maxEntryBytes: 1000 })
      for (let i = 0; i < 1000; i++) yield* store.set("key", { ...later, value: i }, `${i}`)
      assert.strictEqual(store.owners, 10)
      yield* store.clear({ partition: "999" })
      yield* store.delete("key", "998")
      assert.strictEqual(store.owners, 8)
      yield* store.clear()
      assert.strictEqual(store.owners, 0)
    })
  )

  it.effect("weighs nothing when it is empty", () =>
    Effect.gen(function* () {
      const store = yield* CacheStore.makeMemory()
      const all = [undefined, "a", "b"]
      for (const partition of all) yield* store.set("key", { ...later, value: [1, "two"] }, partition)
      yield* store.delete("key", "a")
      yield* store.clear({ partition: "b" })
      yield* store.set("key", { ...later, value: 10, bytes: 2 ** 40 }, undefined)
      assert.deepStrictEqual(yield* store.size, { entries: 0, bytes: 0 })
    })
  )

  it("refuses limits that can never work", () => {
    const make = (options: CacheStore.MemoryOptions) => () => CacheStore.makeMemory(options)
    assert.throws(
      make({ maxEntries: 0 }),
      RangeError,
      "CacheStore.makeMemory: maxEntries must be an integer >= 1, got 0"
    )
    assert.throws(make({ maxBytes: Number.NaN }), RangeError, "maxBytes")
    assert.throws(make({ maxEntryBytes: 1.5 }), RangeError, "maxEntryBytes")
  })
})

const Step = Schema.Struct({
  act: Schema.Literals(["get", "set", "set", "delete", "pass", "clear"]),
  key: Schema.Int,
  partition: Schema.Int,
  amount: Schema.Int
})

/** The same rules, written for who reads them: a list in the order of use. */
class Model {
  private readonly maxEntries: number
  private readonly maxBytes: number
  private list: Array<{ key: string; partition: string | undefined; value: number; bytes: number; until: number }> = []

  constructor(maxEntries: number, maxBytes: number) {
    this.maxEntries = maxEntries
    this.maxBytes = maxBytes
  }

  get(key: string, partition: string | undefined, now: number): number | undefined {
    const found = this.take(key, partition)
    if (found === undefined || found.until <= now) return undefined
    this.list.push(found)
    return found.value
  }

  set(key: string, partition: string | undefined, value: number, bytes: number, until: number, now: number): void {
    this.take(key, partition)
    for (let i = 0; i < 2; i++) if ((this.list[0]?.until ?? Infinity) <= now) this.list.shift()
    if (until <= now || bytes > this.maxBytes) return
    this.list.push({ key, partition, value, bytes, until })
    while (this.list.length > this.maxEntries || this.bytes > this.maxBytes) this.list.shift()
  }

  take(key: string, partition: string | undefined) {
    const found = this.list.find((one) => one.key === key && one.partition === partition)
    this.list = this.list.filter((one) => one !== found)
    return found
  }

  clear(partition: string | undefined): void {
    this.list = this.list.filter((one) => one.partition !== partition)
  }

  get bytes(): number {
    return this.list.reduce((sum, { bytes }) => sum + bytes, 0)
  }

  get entries(): number {
    return this.list.length
  }
}

const within = (n: number, most: number) => Math.abs(n % most)
const partitions = [undefined, "", "a"]

describe("for any sequence of uses", () => {
  it.effect.prop(
    "it holds what a list in the order of use would",
    { steps: Schema.Array(Step).pipe(Schema.check(Schema.isMinLength(50))) },
    ({ steps }) =>
      Effect.gen(function* () {
        const store = yield* CacheStore.makeMemory({ maxEntries: 5, maxBytes: 2000, maxEntryBytes: 1500 })
        const model = new Model(5, 2000)
        let now = yield* Effect.clockWith((clock) => clock.currentTimeMillis)
        for (const [i, { act, amount, ...step }] of steps.entries()) {
          const key = `${within(step.key, 5)}`
          const partition = partitions[within(step.partition, 3)]
          if (act === "pass") {
            yield* TestClock.adjust(within(amount, 50))
            now += within(amount, 50)
          } else if (act === "set") {
            const bytes = within(amount, 1500)
            const until = now + within(amount, 70)
            yield* store.set(key, { value: i, createdAt: now, expiresAt: until, bytes }, partition)
            model.set(key, partition, i, bytes + 200 + 2 * (key.length + (partition?.length ?? 0)), until, now)
          } else if (act === "delete") {
            yield* store.delete(key, partition)
            model.take(key, partition)
          } else if (act === "clear") {
            yield* store.clear({ partition })
            model.clear(partition)
          } else assert.strictEqual((yield* store.get(key, partition))?.value, model.get(key, partition, now))
          assert.deepStrictEqual(yield* store.size, { entries: model.entries, bytes: model.bytes })
        }
      }),
    { arbitrary: { runs: 300 } }
  )
})

describe("the weight of a value", () => {
  it("grows with its texts, its fields and its items", () => {
    const weight = (value: unknown) => weightOf(value, Infinity)
    assert.isAtLeast(weight("x".repeat(1000)), 2000)
    assert.isAbove(weight({ a: 1, b: 2 }), weight({ a: 1 }))
    assert.isAbove(weight([[1], [2]]), weight([1, 2]))
    assert.isAbove(weight({ aLongName: 1 }), weight({ a: 1 }))
    assert.isAtLeast(weight(new Uint8Array(5000)), 5000)
  })

  it("is counted no further than its limit, so that a value that contains itself has one", () => {
    const self: Record<string, unknown> = {}
    self["self"] = self
    assert.isAbove(weightOf(self, 10_000), 10_000)
    assert.isBelow(weightOf(self, 10_000), 11_000)
    assert.isAbove(weightOf(Object.assign([], { length: 2 ** 31 }), 10_000), 10_000)
  })
})
