/**
 * The vectors of one partition, one behind the other in blocks that are never copied but for the first. A row that goes leaves
 * its place to the last one. Of many rows, those are compared whose signs differ least.
 */
import { distance, dot, wordsOf, writeSigns } from "./vectors.ts"

interface Block {
  readonly vectors: Float32Array
  readonly signs: Uint32Array
}

const blockRows = 128
const firstRows = 4

export class VectorRows {
  readonly dimensions: number
  private readonly words: number
  private readonly blocks: Array<Block> = []
  private count = 0

  constructor(dimensions: number) {
    this.dimensions = dimensions
    this.words = wordsOf(dimensions)
  }

  get length(): number {
    return this.count
  }

  /** What is held, rows that are free included. */
  get bytes(): number {
    return 4 * (this.dimensions + this.words) * this.capacity
  }

  private get capacity(): number {
    const last = this.blocks.at(-1)
    if (last === undefined) return 0
    return (this.blocks.length - 1) * blockRows + last.vectors.length / this.dimensions
  }

  /** Behind all others. */
  push(unit: Float32Array): void {
    if (this.count === this.capacity) this.grow()
    this.count++
    this.write(this.count - 1, unit)
  }

  write(row: number, unit: Float32Array): void {
    const { signs, vectors } = this.block(row)
    const at = row % blockRows
    vectors.set(unit, at * this.dimensions)
    writeSigns(unit, signs, at * this.words)
  }

  /** The last row is in its place then. */
  delete(row: number): void {
    const last = this.count - 1
    if (row !== last) {
      const { dimensions } = this
      const at = (last % blockRows) * dimensions
      this.write(row, this.block(last).vectors.subarray(at, at + dimensions))
    }
    this.count--
    if (this.blocks.length > 1 && last % blockRows === 0) this.blocks.pop()
  }

  /** Every row with its cosine, or only the `most` whose signs differ least. */
  scan(unit: Float32Array, most: number, each: (row: number, similarity: number) => void): void {
    if (this.count > most) return this.candidates(unit, most, each)
    for (let row = 0; row < this.count; row++) each(row, this.similarity(unit, row))
  }

  private candidates(unit: Float32Array, most: number, each: (row: number, similarity: number) => void): void {
    const signs = new Uint32Array(this.words)
    writeSigns(unit, signs, 0)
    const distances = new Uint16Array(this.count)
    const counts = new Uint32Array(this.dimensions + 1)
    for (let row = 0; row < this.count; row++) {
      const differ = distance(signs, this.block(row).signs, (row % blockRows) * this.words)
      distances[row] = differ
      counts[differ] = (counts[differ] ?? 0) + 1
    }
    let furthest = 0
    let nearer = 0
    while (nearer + (counts[furthest] ?? 0) < most) nearer += counts[furthest++] ?? 0
    let left = most - nearer // of those at the edge
    for (let row = 0; row < this.count; row++) {
      const differ = distances[row] ?? 0
      if (differ < furthest || (differ === furthest && left-- > 0)) each(row, this.similarity(unit, row))
    }
  }

  private similarity(unit: Float32Array, row: number): number {
    return dot(unit, this.block(row).vectors, (row % blockRows) * this.dimensions)
  }

  private block(row: number): Block {
    return this.blocks[Math.floor(row / blockRows)] as Block // rows are below the capacity
  }

  private grow(): void {
    const [first] = this.blocks
    const held = first === undefined ? 0 : first.vectors.length / this.dimensions
    if (held === blockRows) this.blocks.push(this.blockOf(blockRows))
    else {
      const larger = this.blockOf(held === 0 ? firstRows : 2 * held)
      if (first !== undefined) {
        larger.vectors.set(first.vectors)
        larger.signs.set(first.signs)
      }
      this.blocks[0] = larger
    }
  }

  private blockOf(rows: number): Block {
    return { vectors: new Float32Array(rows * this.dimensions), signs: new Uint32Array(rows * this.words) }
  }
}
