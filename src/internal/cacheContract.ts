/** What the cases of the cache store's contract are written with, and those of single entries. */
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type { Entry, NewEntry, Partition, Service } from "../CacheStore.ts"
import type { StoreUnavailable } from "./reasons.ts"

/** What a case is run with. */
export interface Env {
  /** Nothing is in it, and nothing else uses it. */
  readonly store: Service
  /** Lets so many milliseconds pass on the clock of the case. */
  readonly advance: (millis: number) => Effect.Effect<void>
}

/** One promise of the store. */
export interface Case {
  /** The promise, as a sentence. */
  readonly name: string
  /** Dies with an `AssertionError` where the store breaks the promise, and fails where it does not answer. */
  readonly run: (env: Env) => Effect.Effect<void, StoreUnavailable>
}

type Run = (store: Kit, advance: Env["advance"]) => Generator<Effect.Effect<unknown, StoreUnavailable>, void>

export const promise = (name: string, run: Run): Case => ({
  name,
  run: ({ advance, store }) => Effect.gen(() => run(new Kit(store), advance))
})

export const life = 60_000

/** A store that is asked when the effect is run. */
export class Kit {
  readonly raw: Service

  constructor(raw: Service) {
    this.raw = raw
  }

  get(key: string, partition?: Partition): Effect.Effect<Entry | undefined, StoreUnavailable> {
    return Effect.suspend(() => this.raw.get(key, partition))
  }

  /** For a minute from now on. */
  put(key: string, value: unknown, partition?: Partition, bytes?: number): Effect.Effect<void, StoreUnavailable> {
    return Effect.flatMap(Clock.currentTimeMillis, (now) =>
      this.set(key, { value, createdAt: now, expiresAt: now + life, bytes }, partition)
    )
  }

  set(key: string, entry: NewEntry, partition?: Partition): Effect.Effect<void, StoreUnavailable> {
    return Effect.suspend(() => this.raw.set(key, entry, partition))
  }

  delete(key: string, partition?: Partition): Effect.Effect<void, StoreUnavailable> {
    return Effect.suspend(() => this.raw.delete(key, partition))
  }

  clear(only?: { readonly partition: Partition }): Effect.Effect<void, StoreUnavailable> {
    return Effect.suspend(() => this.raw.clear(only))
  }

  has(key: string, value: unknown, partition?: Partition): Effect.Effect<void, StoreUnavailable> {
    return Effect.map(this.get(key, partition), (entry) => {
      ok(entry !== undefined, `${key} is there`)
      deepStrictEqual(entry.value, value)
    })
  }

  hasNot(key: string, partition?: Partition): Effect.Effect<void, StoreUnavailable> {
    return Effect.map(this.get(key, partition), (entry) => strictEqual(entry, undefined, `${key} is not there`))
  }
}

export const entries: ReadonlyArray<Case> = [
  promise("answers with what was set, and with when it was made and ends", function* (store) {
    const now = yield* Clock.currentTimeMillis
    const entry = { value: { text: "Paris" }, createdAt: now - 5, expiresAt: now + life }
    yield* store.hasNot("key")
    yield* store.set("key", { ...entry, bytes: 20 })
    deepStrictEqual(yield* store.get("key"), entry)
    yield* store.hasNot("other")
  }),
  promise("answers until the entry expires, and no more from then on", function* (store, advance) {
    yield* store.put("key", 1)
    yield* advance(life - 1)
    yield* store.has("key", 1)
    yield* advance(1)
    yield* store.hasNot("key")
  }),
  promise("counts from each set anew", function* (store, advance) {
    yield* store.put("key", 1)
    yield* advance(life / 2)
    yield* store.put("key", 2)
    yield* advance(life - 1)
    yield* store.has("key", 2)
    yield* advance(1)
    yield* store.hasNot("key")
  }),
  promise("takes what never ends", function* (store, advance) {
    yield* store.set("key", { value: 1, createdAt: 0, expiresAt: Infinity })
    yield* advance(1000 * life)
    yield* store.has("key", 1)
  }),
  promise("has nothing left where an entry that has expired was set over another one", function* (store) {
    const now = yield* Clock.currentTimeMillis
    for (const expiresAt of [now, now - 1, -Infinity, Number.NaN]) {
      yield* store.put("key", 1)
      yield* store.set("key", { value: 2, createdAt: now, expiresAt })
      yield* store.hasNot("key")
    }
  }),
  promise("replaces an entry by the one that is set later", function* (store) {
    yield* store.put("key", { long: "x".repeat(5000) })
    yield* store.put("key", null)
    yield* store.has("key", null)
  }),
  promise("deletes one entry and no other, and nothing where there is none", function* (store) {
    yield* store.put("a", 1)
    yield* store.put("b", 2)
    yield* store.delete("a")
    yield* store.delete("a")
    yield* store.delete("never")
    yield* store.hasNot("a")
    yield* store.has("b", 2)
  }),
  promise("keeps one of many that are set at the same time, whole", function* (store) {
    const values = Array.from({ length: 50 }, (_, i) => ({ number: i, text: `${i}`.repeat(2000) }))
    yield* Effect.forEach(values, (value) => store.put("key", value), { concurrency: "unbounded", discard: true })
    const entry = yield* store.get("key")
    ok(values.some((value) => JSON.stringify(value) === JSON.stringify(entry?.value)))
  }),
  promise("keeps all of many keys that are set at the same time", function* (store) {
    const keys = Array.from({ length: 100 }, (_, i) => `key ${i}`)
    yield* Effect.forEach(keys, (key) => store.put(key, key), { concurrency: "unbounded", discard: true })
    yield* Effect.forEach(keys, (key) => store.has(key, key), { concurrency: "unbounded", discard: true })
  }),
  promise("counts what it has, if it counts at all", function* (store) {
    yield* store.put("a", "x".repeat(1000))
    yield* store.put("b", "x".repeat(1000), "other")
    yield* store.delete("a")
    const { bytes, entries } = yield* Effect.suspend(() => store.raw.size)
    ok(entries === undefined || entries === 1)
    ok(bytes === undefined || (bytes >= 1000 && bytes < 5000), `${bytes} bytes`)
  })
]
