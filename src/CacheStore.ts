/**
 * Where answers are kept to be given again: entries by partition and key. A store may forget an entry at any time, and never
 * answers with one that has expired, was deleted or cleared, or is another partition's.
 *
 * What cannot be kept (too large, no JSON, already expired) is no error: it replaces the entry that was there by none. Times
 * are those of the `Clock` of whoever asks, so hosts that share a store need clocks that agree.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as memory from "./internal/memoryCacheStore.ts"
import { integer } from "./internal/options.ts"
import type { StoreUnavailable } from "./internal/reasons.ts"

/** A value and its time. */
export interface Entry {
  /** JSON as a value. A store outside of this process gives back an equal one, a store in it the very same. */
  readonly value: unknown
  /** When it was made, in whole milliseconds. */
  readonly createdAt: number
  /** From when on it is not answered with, in whole milliseconds. */
  readonly expiresAt: number
}

/** An entry that is to be kept. */
export interface NewEntry extends Entry {
  /** How large it is, where that is known. Default: its text in a store outside, an estimate in memory. */
  readonly bytes?: number | undefined
}

/** Whose an entry is, so that all of it can be cleared. `undefined` is a partition as well, and differs from every name. */
export type Partition = string | undefined

/** How much a store holds. */
export interface Size {
  /** Expired ones that were not tidied up yet included. `undefined` where nobody knows. */
  readonly entries: number | undefined
  /** What they weigh together. */
  readonly bytes: number | undefined
}

/**
 * A store of entries. One outside of this process answers in the time its options give it, or fails with
 * `StoreUnavailable`; the one in memory answers at once and never fails.
 */
export interface Service {
  /** `undefined` where there is none that may be given. */
  readonly get: (key: string, partition: Partition) => Effect.Effect<Entry | undefined, StoreUnavailable>
  /** One that fails leaves what was there, nothing, or the new entry. */
  readonly set: (key: string, entry: NewEntry, partition: Partition) => Effect.Effect<void, StoreUnavailable>
  /** Does nothing where there is none. */
  readonly delete: (key: string, partition: Partition) => Effect.Effect<void, StoreUnavailable>
  /** All, or all of one partition. What was stored before is then answered to no process any more. */
  readonly clear: (only?: { readonly partition: Partition }) => Effect.Effect<void, StoreUnavailable>
  /** How much it holds, for all who share it. */
  readonly size: Effect.Effect<Size, StoreUnavailable>
  /** Whether values come from outside of this process, so that they must be checked by a schema. */
  readonly external: boolean
}

/** The store of caches: `layerMemory`, `layer` of `SqlCacheStore` or `RedisCacheStore`, or all stores from `Stores`. */
export class CacheStore extends Context.Service<CacheStore, Service>()("ballast/CacheStore") {}

/** Bounds of a store in memory, each an integer of at least 1. */
export interface MemoryOptions {
  /** Most entries; those that were not used for the longest time go first. Default `10_000`. */
  readonly maxEntries?: number | undefined
  /** What all of them weigh at most, names included: as they say, or by an estimate that is rather too high. Default 64 MiB. */
  readonly maxBytes?: number | undefined
  /** What one of them weighs at most. Default 1 MiB. */
  readonly maxEntryBytes?: number | undefined
}

/**
 * In this process: answers on the spot, with an `Exit`, and holds the very values, which nobody must change. Bad options throw
 * a `RangeError`.
 */
export const makeMemory = (options: MemoryOptions = {}): Effect.Effect<Service> => {
  const { maxBytes = 64 * mebibyte, maxEntries = 10_000, maxEntryBytes = mebibyte } = options
  return memory.make({
    maxEntries: integer("CacheStore.makeMemory: maxEntries", maxEntries, 1),
    maxBytes: integer("CacheStore.makeMemory: maxBytes", maxBytes, 1),
    maxEntryBytes: integer("CacheStore.makeMemory: maxEntryBytes", maxEntryBytes, 1)
  })
}

const mebibyte = 2 ** 20

/** `makeMemory` as a layer: what it holds ends with it. Bad options throw when it is made. */
export const layerMemory = (options?: MemoryOptions): Layer.Layer<CacheStore> =>
  Layer.effect(CacheStore, makeMemory(options))
