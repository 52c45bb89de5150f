/**
 * A cache in this process: a map for each partition, and one list of all entries in the order of their use. It acts when it is
 * called and answers with an `Exit`; between two calls nothing happens.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { Entry, NewEntry, Partition, Service } from "../CacheStore.ts"
import { weightOf } from "./weight.ts"

export interface Limits {
  readonly maxEntries: number
  readonly maxBytes: number
  readonly maxEntryBytes: number
}

export const make = (limits: Limits): Effect.Effect<MemoryCacheStore> =>
  Effect.map(Clock.Clock, (clock) => new MemoryCacheStore(clock, limits))

/** An entry between those that were used before and after it. */
interface Node {
  readonly key: string
  readonly partition: Partition
  readonly expiresAt: number
  readonly bytes: number
  /** The answer, made once. */
  readonly found: Exit.Exit<Entry>
  older: Node | undefined
  newer: Node | undefined
}

const missed: Exit.Exit<undefined> = Exit.succeed(undefined)

/** What an entry weighs beside its value and its names. */
const overhead = 200

export class MemoryCacheStore implements Service {
  readonly external = false
  private readonly clock: Clock.Clock
  private readonly limits: Limits
  private readonly partitions = new Map<Partition, Map<string, Node>>()
  private oldest: Node | undefined
  private newest: Node | undefined
  private entries = 0
  private bytes = 0

  constructor(clock: Clock.Clock, limits: Limits) {
    this.clock = clock
    this.limits = limits
  }

  readonly get = (key: string, partition: Partition): Exit.Exit<Entry | undefined> => {
    const node = this.partitions.get(partition)?.get(key)
    if (node === undefined) return missed
    if (node.expiresAt <= this.clock.currentTimeMillisUnsafe()) {
      this.remove(node)
      return missed
    }
    if (node !== this.newest) {
      this.unlink(node)
      this.append(node)
    }
    return node.found
  }

  readonly set = (key: string, entry: NewEntry, partition: Partition): Exit.Exit<void> => {
    const known = this.partitions.get(partition)?.get(key)
    if (known !== undefined) this.remove(known)
    const now = this.clock.currentTimeMillisUnsafe()
    this.tidy(now)
    const bytes = this.bytesOf(key, entry, partition)
    // the comparison fails for NaN, too
    if (bytes !== undefined && entry.expiresAt > now) this.add(key, entry, partition, bytes)
    return Exit.void
  }

  readonly delete = (key: string, partition: Partition): Exit.Exit<void> => {
    const node = this.partitions.get(partition)?.get(key)
    if (node !== undefined) this.remove(node)
    return Exit.void
  }

  readonly clear = (only?: { readonly partition: Partition }): Exit.Exit<void> => {
    if (only === undefined) {
      this.partitions.clear()
      this.oldest = undefined
      this.newest = undefined
      this.entries = 0
      this.bytes = 0
    } else for (const node of this.partitions.get(only.partition)?.values() ?? []) this.remove(node)
    return Exit.void
  }

  readonly size = Effect.sync(() => ({ entries: this.entries, bytes: this.bytes }))

  /** Partitions that are remembered, for tests. */
  get owners(): number {
    return this.partitions.size
  }

  /** With its names; `undefined` if it is too large. */
  private bytesOf(key: string, { bytes, value }: NewEntry, partition: Partition): number | undefined {
    const { maxBytes, maxEntryBytes } = this.limits
    const own = bytes !== undefined && bytes >= 0 ? bytes : weightOf(value, maxEntryBytes)
    const all = own + overhead + 2 * (key.length + (partition?.length ?? 0))
    return own <= maxEntryBytes && all <= maxBytes ? all : undefined
  }

  private add(key: string, { createdAt, expiresAt, value }: NewEntry, partition: Partition, bytes: number): void {
    const found = Exit.succeed<Entry>({ value, createdAt, expiresAt })
    const node: Node = { key, partition, expiresAt, bytes, found, older: undefined, newer: undefined }
    const keys = this.partitions.get(partition)
    if (keys === undefined) this.partitions.set(partition, new Map([[key, node]]))
    else keys.set(key, node)
    this.append(node)
    this.entries++
    this.bytes += bytes
    // it is the last one to go, and fits alone
    while (this.oldest !== undefined && this.isFull) this.remove(this.oldest)
  }

  private get isFull(): boolean {
    return this.entries > this.limits.maxEntries || this.bytes > this.limits.maxBytes
  }

  /** At most two that have expired, so that with every new one they get fewer. */
  private tidy(now: number): void {
    for (let i = 0; i < 2 && this.oldest !== undefined && this.oldest.expiresAt <= now; i++) this.remove(this.oldest)
  }

  private remove(node: Node): void {
    this.unlink(node)
    this.entries--
    this.bytes -= node.bytes
    const keys = this.partitions.get(node.partition)
    keys?.delete(node.key)
    if (keys?.size === 0) this.partitions.delete(node.partition)
  }

  private append(node: Node): void {
    node.older = this.newest
    if (this.newest === undefined) this.oldest = node
    else this.newest.newer = node
    this.newest = node
  }

  private unlink(node: Node): void {
    if (node.older === undefined) this.oldest = node.newer
    else node.older.newer = node.newer
    if (node.newer === undefined) this.newest = node.older
    else node.newer.older = node.older
    node.older = undefined
    node.newer = undefined
  }
}
