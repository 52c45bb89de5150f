/**
 * Finds texts that mean nearly the same: vectors by partition, and which of them are nearest to one by their cosine. An index
 * may forget an item at any time, and never answers with one that has expired, was removed or cleared, or is another
 * partition's.
 *
 * Vectors come from the world: one that has no direction (none, zero, `NaN`, infinite) is a `VectorRefused`,
 * and so is data that is too large; nothing is changed then.
 *
 * The first vector of a partition says how many dimensions the others have. A vector of other dimensions is refused by `add`,
 * and near to nothing. An item that has expired already replaces the one that was there by none. Times are those of the
 * `Clock` of whoever asks. Vectors can be turned back into text: they are personal data, as the text is.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as memory from "./internal/memoryVectorIndex.ts"
import { integer } from "./internal/options.ts"
import type { StoreUnavailable } from "./internal/reasons.ts"
import { type Numbers, VectorRefused } from "./internal/vectors.ts"

/** What is asked with a vector that has no direction, or with data that is too large, fails with it and changes nothing. */
export { VectorRefused }

/** At least one and at most 16,384 finite numbers, one of them not zero. Its length is of no account. */
export type Vector = Numbers

/** A vector, what belongs to it, and its time. */
export interface Item {
  /** One of a partition; a new item takes the place of the one that had it. */
  readonly id: string
  readonly vector: Vector
  /**
   * JSON as a value, at most 64 KiB: as a text outside of this process, which gives back an equal value; by an estimate that is
   * rather too high in it, which gives back the very same.
   */
  readonly data: unknown
  /** From when on it is not found, in whole milliseconds. */
  readonly expiresAt: number
}

/** An item that is near. */
export interface Match {
  readonly id: string
  /** The cosine, from -1 to 1, rounded to a millionth. */
  readonly similarity: number
  readonly data: unknown
}

/** How many matches are wanted, and how near they must be. */
export interface NearestOptions {
  /** Most matches; never more than 100, none below 1. */
  readonly limit: number
  /** The least similarity, from -1 to 1. */
  readonly atLeast: number
}

/** Whose an item is, so that all of it can be cleared. `undefined` is a tenant as well, and differs from every name. */
export type Tenant = string | undefined

/** How much an index holds. */
export interface Size {
  /** Expired ones that were not tidied up yet included. `undefined` where nobody knows. */
  readonly entries: number | undefined
  /** What they weigh together. */
  readonly bytes: number | undefined
}

/**
 * An index. One outside of this process answers in the time its options give it, or fails with `StoreUnavailable`; the
 * one in memory answers at once.
 */
export interface Service {
  /** `partition`: everything but the compared text. Vectors of two partitions never meet. */
  readonly add: (partition: string, item: Item, tenant: Tenant) => Effect.Effect<void, StoreUnavailable | VectorRefused>
  /** Best first. */
  readonly nearest: (
    partition: string,
    vector: Vector,
    options: NearestOptions
  ) => Effect.Effect<ReadonlyArray<Match>, StoreUnavailable | VectorRefused>
  /** Does nothing where there is none. */
  readonly remove: (partition: string, id: string) => Effect.Effect<void, StoreUnavailable>
  /** All, or all of one tenant in every partition. What was there before is then found by no process any more. */
  readonly clear: (only?: { readonly tenant: Tenant }) => Effect.Effect<void, StoreUnavailable>
  /** How much it holds, for all who share it. */
  readonly size: Effect.Effect<Size, StoreUnavailable>
  /** Whether data comes from outside of this process, so that it must be checked by a schema. */
  readonly external: boolean
}

/**
 * The index of semantic caches: `layerMemory`, `layer` of `SqlVectorIndex`, `RedisVectorIndex` and `ChromaVectorIndex`,
 * or all stores at once from `Stores`.
 */
export class VectorIndex extends Context.Service<VectorIndex, Service>()("ballast/VectorIndex") {}

/** Bounds of an index in memory, integers of at least 1. */
export interface MemoryOptions {
  /** Most items of a partition; the oldest go first. Default `10_000`. */
  readonly maxEntries?: number | undefined
  /**
   * What all of them take at most: of the partition that was not used for the longest time the oldest items go first. A vector
   * of 1536 dimensions takes 6.2 KiB. Default 64 MiB.
   */
  readonly maxBytes?: number | undefined
  /**
   * Partitions of more items are searched by the signs of the numbers first, and only the hundred that differ least are
   * compared (ten for each match, if that is more). What is very near is found all the same, what is not may be missed.
   * May be 0. Default `20_000`.
   */
  readonly exactUpTo?: number | undefined
}

/** In this process: answers on the spot, with an `Exit`, and holds the very data. Bad options throw a `RangeError`. */
export const makeMemory = (options: MemoryOptions = {}): Effect.Effect<Service> => {
  const { exactUpTo = 20_000, maxBytes = 64 * 2 ** 20, maxEntries = 10_000 } = options
  return memory.make({
    maxEntries: integer("VectorIndex.makeMemory: maxEntries", maxEntries, 1),
    maxBytes: integer("VectorIndex.makeMemory: maxBytes", maxBytes, 1),
    exactUpTo: integer("VectorIndex.makeMemory: exactUpTo", exactUpTo, 0)
  })
}

/** `makeMemory` as a layer: what it holds ends with it. Bad options throw when it is made. */
export const layerMemory = (options?: MemoryOptions): Layer.Layer<VectorIndex> =>
  Layer.effect(VectorIndex, makeMemory(options))
