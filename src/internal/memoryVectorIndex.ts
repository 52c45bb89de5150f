/**
 * An index in this process: rows of vectors for each partition, its items in the order of their age, and the partitions in that
 * of their use. It acts when it is called and answers with an `Exit`; between two calls nothing happens.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { Item, Match, NearestOptions, Service, Tenant, Vector } from "../VectorIndex.ts"
import { Chain, type Link } from "./chain.ts"
import { VectorRows } from "./vectorRows.ts"
import { Best, dataWeight, otherDimensions, unitOf, VectorRefused } from "./vectors.ts"

export interface Limits {
  /** Of one partition. */
  readonly maxEntries: number
  readonly maxBytes: number
  /** Most items of a partition that are all compared. */
  readonly exactUpTo: number
}

export const make = (limits: Limits): Effect.Effect<MemoryVectorIndex> =>
  Effect.map(Clock.Clock, (clock) => new MemoryVectorIndex(clock, limits))

/** What an item weighs beside its vector, its name and its data. */
const overhead = 200
/** How many rows are compared for each match, and at least, where not all of them are. */
const perMatch = 10
const minCompared = 100

const none: Exit.Exit<ReadonlyArray<Match>> = Exit.succeed([])

export class MemoryVectorIndex implements Service {
  readonly external = false
  private readonly clock: Clock.Clock
  private readonly limits: Limits
  private readonly partitions = new Map<string, Partition>()
  /** In the order of their use. */
  private readonly used = new Chain<Partition>()
  private entries = 0
  private bytes = 0

  constructor(clock: Clock.Clock, limits: Limits) {
    this.clock = clock
    this.limits = limits
  }

  readonly add = (partition: string, item: Item, tenant: Tenant): Exit.Exit<void, VectorRefused> => {
    const unit = unitOf(item.vector)
    if (unit instanceof VectorRefused) return Exit.fail(unit)
    const weight = dataWeight(item.data)
    if (weight instanceof VectorRefused) return Exit.fail(weight)
    const now = this.clock.currentTimeMillisUnsafe()
    const known = this.partitions.get(partition)
    if (known !== undefined && known.rows.dimensions !== unit.length) {
      this.expire(known, now)
      if (known.rows.length > 0) return Exit.fail(otherDimensions(unit.length))
    }
    this.remove(partition, item.id)
    // the comparison fails for NaN, too
    if (item.expiresAt > now) this.put(partition, item, unit, weight, tenant)
    this.tidy(now)
    return Exit.void
  }

  readonly nearest = (
    partition: string,
    vector: Vector,
    options: NearestOptions
  ): Exit.Exit<ReadonlyArray<Match>, VectorRefused> => {
    const unit = unitOf(vector)
    if (unit instanceof VectorRefused) return Exit.fail(unit)
    const known = this.partitions.get(partition)
    if (known === undefined || known.rows.dimensions !== unit.length) return none
    this.expire(known, this.clock.currentTimeMillisUnsafe())
    if (known.rows.length === 0) return none
    this.touch(known)
    const best = new Best<Node>(options)
    const { exactUpTo } = this.limits
    const most = known.rows.length <= exactUpTo ? exactUpTo : Math.max(minCompared, perMatch * best.limit)
    known.rows.scan(unit, most, (row, similarity) => {
      const node = known.nodes[row]
      if (node !== undefined && best.takes(similarity)) best.add(node, similarity)
    })
    return Exit.succeed(best.found.map(({ similarity, value: { data, id } }) => ({ id, similarity, data })))
  }

  readonly remove = (partition: string, id: string): Exit.Exit<void> => {
    const known = this.partitions.get(partition)
    const node = known?.ids.get(id)
    if (known !== undefined && node !== undefined) this.drop(known, node)
    return Exit.void
  }

  readonly clear = (only?: { readonly tenant: Tenant }): Exit.Exit<void> => {
    for (const partition of this.partitions.values())
      for (const node of partition.ids.values())
        if (only === undefined || node.tenant === only.tenant) this.drop(partition, node)
    return Exit.void
  }

  readonly size = Effect.sync(() => ({ entries: this.entries, bytes: this.bytes }))

  /** Partitions that are remembered, for tests. */
  get owners(): number {
    return this.partitions.size
  }

  private put(name: string, item: Item, unit: Float32Array, weight: number, tenant: Tenant): void {
    const { data, expiresAt, id } = item
    const partition = this.partitions.get(name) ?? this.open(name, unit.length)
    if (partition.rows.length >= this.limits.maxEntries && partition.ages.oldest !== undefined)
      this.drop(partition, partition.ages.oldest, false)
    const { ages, ids, nodes, rows } = partition
    const bytes = overhead + 2 * (id.length + (tenant?.length ?? 0)) + weight
    const row = rows.length
    const node: Node = { id, data, tenant, expiresAt, bytes, row, older: undefined, newer: undefined }
    const held = rows.bytes
    rows.push(unit)
    this.bytes += rows.bytes - held + bytes
    this.entries++
    nodes.push(node)
    ids.set(id, node)
    ages.append(node)
    partition.soonest = Math.min(partition.soonest, expiresAt)
    this.touch(partition)
  }

  private open(name: string, dimensions: number): Partition {
    const partition = new Partition(name, dimensions)
    this.partitions.set(name, partition)
    this.used.append(partition)
    this.bytes += partition.bytes
    return partition
  }

  private touch(partition: Partition): void {
    if (partition === this.used.newest) return
    this.used.remove(partition)
    this.used.append(partition)
  }

  /** What is too much, and at most two that have expired, so that with every new one they get fewer. */
  private tidy(now: number): void {
    for (let i = 0; ; i++) {
      const partition = this.used.oldest
      const node = partition?.ages.oldest
      if (partition === undefined || node === undefined) return
      if (this.bytes <= this.limits.maxBytes && (i >= 2 || node.expiresAt > now)) return
      this.drop(partition, node)
    }
  }

  /** All that have expired, of a partition that is about to be read: reading costs far more. */
  private expire(partition: Partition, now: number): void {
    if (partition.soonest > now) return
    partition.soonest = Infinity
    for (const node of partition.ids.values())
      if (node.expiresAt <= now) this.drop(partition, node)
      else partition.soonest = Math.min(partition.soonest, node.expiresAt)
  }

  private drop(partition: Partition, node: Node, close = true): void {
    const { ages, ids, nodes, rows } = partition
    const held = rows.bytes
    rows.delete(node.row)
    const last = nodes.pop()
    if (last !== undefined && last !== node) {
      nodes[node.row] = last
      last.row = node.row
    }
    ids.delete(node.id)
    ages.remove(node)
    this.entries--
    this.bytes -= held - rows.bytes + node.bytes
    if (!close || rows.length > 0) return
    this.partitions.delete(partition.name)
    this.used.remove(partition)
    this.bytes -= partition.bytes + rows.bytes
  }
}

interface Node extends Link<Node> {
  readonly id: string
  readonly data: unknown
  readonly tenant: Tenant
  readonly expiresAt: number
  readonly bytes: number
  row: number
}

class Partition implements Link<Partition> {
  older: Partition | undefined
  newer: Partition | undefined
  readonly name: string
  readonly rows: VectorRows
  /** By their rows. */
  readonly nodes: Array<Node> = []
  readonly ids = new Map<string, Node>()
  readonly ages = new Chain<Node>()
  /** Nothing expires before. */
  soonest = Infinity

  constructor(name: string, dimensions: number) {
    this.name = name
    this.rows = new VectorRows(dimensions)
  }

  /** What it weighs beside its rows and its items. */
  get bytes(): number {
    return overhead + 2 * this.name.length
  }
}
