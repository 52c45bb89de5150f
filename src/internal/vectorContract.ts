/** Cases of the vector index's contract, and what they are written with. */
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type { Item, Match, NearestOptions, Service, Tenant, Vector, VectorRefused } from "../VectorIndex.ts"
import type { StoreUnavailable } from "./reasons.ts"

/** What a case is run with. */
export interface Env {
  /** Nothing is in it, and nothing else uses it. */
  readonly index: Service
  /** Lets so many milliseconds pass on the clock of the case. */
  readonly advance: (millis: number) => Effect.Effect<void>
}

/** One promise of the index. */
export interface Case {
  /** The promise, as a sentence. */
  readonly name: string
  /** Dies with an `AssertionError` where the index breaks the promise, and fails where it does not answer. */
  readonly run: (env: Env) => Effect.Effect<void, Failure>
}

type Failure = StoreUnavailable | VectorRefused

type Run = (index: Kit, advance: Env["advance"]) => Generator<Effect.Effect<unknown, Failure>, void>

export const promise = (name: string, run: Run): Case => ({
  name,
  run: ({ advance, index }) => Effect.gen(() => run(new Kit(index), advance))
})

export const life = 60_000

/** An index that is asked when the effect is run. */
class Kit {
  readonly raw: Service

  constructor(raw: Service) {
    this.raw = raw
  }

  /** For a minute from now on. */
  put(partition: string, id: string, vector: Vector, tenant?: Tenant): Effect.Effect<void, Failure> {
    return Effect.flatMap(Clock.currentTimeMillis, (now) =>
      this.add(partition, { id, vector, data: `data of ${id}`, expiresAt: now + life }, tenant)
    )
  }

  add(partition: string, item: Item, tenant?: Tenant): Effect.Effect<void, Failure> {
    return Effect.suspend(() => this.raw.add(partition, item, tenant))
  }

  nearest(
    partition: string,
    vector: Vector,
    options: Partial<NearestOptions> = {}
  ): Effect.Effect<ReadonlyArray<Match>, Failure> {
    return Effect.suspend(() => this.raw.nearest(partition, vector, { limit: 10, atLeast: -1, ...options }))
  }

  remove(partition: string, id: string): Effect.Effect<void, Failure> {
    return Effect.suspend(() => this.raw.remove(partition, id))
  }

  clear(only?: { readonly tenant: Tenant }): Effect.Effect<void, Failure> {
    return Effect.suspend(() => this.raw.clear(only))
  }

  /** What is found in a partition, in any order. */
  has(partition: string, ids: ReadonlyArray<string>, vector: Vector = [1, 0]): Effect.Effect<void, Failure> {
    return Effect.map(this.nearest(partition, vector, { limit: 100 }), (matches) =>
      deepStrictEqual(matches.map(({ id }) => id).toSorted(), ids.toSorted())
    )
  }

  /** Fails, with the rule. */
  refuses(asked: Effect.Effect<unknown, Failure>, rule: RegExp): Effect.Effect<void> {
    return Effect.map(Effect.result(asked), (result) => {
      ok(Result.isFailure(result), "it fails")
      ok(result.failure._tag === "VectorRefused", result.failure._tag)
      ok(rule.test(result.failure.rule), result.failure.rule)
    })
  }
}

const invalid: ReadonlyArray<readonly [Vector, RegExp]> = [
  [[], /dimensions, got 0$/],
  [Array.from({ length: 16_385 }, () => 1), /1 to 16384 dimensions, got 16385$/],
  [[0, 0], /zero/],
  [[-0, 0], /zero/],
  [[1, Number.NaN], /finite/],
  [[1, Infinity], /finite/],
  [new Float32Array([1, -Infinity]), /finite/]
]

export const searching: ReadonlyArray<Case> = [
  promise("finds the nearest first, with its cosine and its data", function* (index) {
    const now = yield* Clock.currentTimeMillis
    strictEqual((yield* index.nearest("p", [1, 0])).length, 0)
    const items = { same: [2, 0], near: [3, 4], across: [0, 1], opposite: [-1, 0] }
    for (const [id, vector] of Object.entries(items).toReversed())
      yield* index.add("p", { id, vector, data: { of: [id, null, 1.5] }, expiresAt: now + life })
    deepStrictEqual(yield* index.nearest("p", new Float32Array([0.5, 0])), [
      { id: "same", similarity: 1, data: { of: ["same", null, 1.5] } },
      { id: "near", similarity: 0.6, data: { of: ["near", null, 1.5] } },
      { id: "across", similarity: 0, data: { of: ["across", null, 1.5] } },
      { id: "opposite", similarity: -1, data: { of: ["opposite", null, 1.5] } }
    ])
  }),
  promise("finds no more than the limit, and none below the least similarity", function* (index) {
    for (let i = 0; i < 10; i++) yield* index.put("p", `${i}`, [1, i / 10])
    const ids = (matches: ReadonlyArray<Match>) => matches.map(({ id }) => id)
    deepStrictEqual(ids(yield* index.nearest("p", [1, 0], { limit: 3 })), ["0", "1", "2"])
    deepStrictEqual(ids(yield* index.nearest("p", [1, 0], { limit: 1 })), ["0"])
    deepStrictEqual(ids(yield* index.nearest("p", [1, 0], { atLeast: 0.98 })), ["0", "1", "2"])
    deepStrictEqual(ids(yield* index.nearest("p", [1, 0], { atLeast: 1 })), ["0"])
    for (const limit of [0, -1, Number.NaN]) strictEqual((yield* index.nearest("p", [1, 0], { limit })).length, 0)
    strictEqual((yield* index.nearest("p", [1, 0], { atLeast: Number.NaN })).length, 0)
  }),
  promise("finds a hundred at most", function* (index) {
    for (let i = 0; i < 105; i++) yield* index.put("p", `${i}`, [1, i])
    strictEqual((yield* index.nearest("p", [1, 0], { limit: Infinity })).length, 100)
  }),
  promise("takes vectors of any length and of many dimensions", function* (index) {
    const wave = (shift: number) => Array.from({ length: 1537 }, (_, i) => Math.sin(i * 0.7 + shift))
    for (const [i, scale] of [1e300, 1e-300, 5e-324, 1].entries()) {
      yield* index.put(`p${i}`, "x", [scale, scale])
      strictEqual((yield* index.nearest(`p${i}`, [1, 1]))[0]?.similarity, 1)
    }
    yield* index.put("wave", "0", wave(0))
    yield* index.put("wave", "1", wave(1))
    const found = yield* index.nearest("wave", wave(0.1))
    deepStrictEqual(
      found.map(({ id }) => id),
      ["0", "1"]
    )
    ok(Math.abs((found[0]?.similarity ?? 0) - Math.cos(0.1)) < 0.002)
  }),
  promise("refuses a vector without a direction, and changes nothing", function* (index) {
    const now = yield* Clock.currentTimeMillis
    yield* index.put("p", "x", [1, 0])
    for (const [vector, rule] of invalid) {
      yield* index.refuses(index.add("p", { id: "x", vector, data: 2, expiresAt: now + life }), rule)
      yield* index.refuses(index.nearest("p", vector), rule)
    }
    deepStrictEqual(yield* index.nearest("p", [1, 0]), [{ id: "x", similarity: 1, data: "data of x" }])
  }),
  promise("refuses data that is too large, and changes nothing", function* (index) {
    const now = yield* Clock.currentTimeMillis
    yield* index.put("p", "x", [1, 0])
    const data = "x".repeat(200_000)
    yield* index.refuses(index.add("p", { id: "x", vector: [0, 1], data, expiresAt: now + life }), /65536 bytes/)
    deepStrictEqual(yield* index.nearest("p", [1, 0]), [{ id: "x", similarity: 1, data: "data of x" }])
  }),
  promise("has the dimensions of its first vector until all of its partition has gone", function* (index, advance) {
    yield* index.put("p", "x", [1, 0])
    yield* index.refuses(index.put("p", "x", [1, 0, 0]), /dimensions of its partition, got 3$/)
    yield* index.refuses(index.put("p", "y", [1]), /got 1$/)
    strictEqual((yield* index.nearest("p", [1, 0, 0])).length, 0)
    strictEqual((yield* index.nearest("p", [1])).length, 0)
    yield* index.has("p", ["x"])
    yield* index.put("other", "x", [1, 0, 0])
    yield* advance(life)
    yield* index.put("p", "x", [1, 0, 0])
    yield* index.has("p", ["x"], [1, 0, 0])
    yield* index.remove("p", "x")
    yield* index.put("p", "x", [1])
    yield* index.has("p", ["x"], [1])
  })
]
