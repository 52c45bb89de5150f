/** Vectors of length one: how they are made, compared by their cosine, and told apart by the signs of their numbers. */
import { Buffer } from "node:buffer"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { weightOf } from "./weight.ts"

/** A vector that cannot be compared, or an item that cannot be kept: whoever made it is at fault, and not the index. */
export class VectorRefused extends Schema.TaggedError<VectorRefused>()("VectorRefused", {
  /** The field and the rule, and no number of the vector. */
  rule: Schema.String
}) {
  override get message(): string {
    return `Vector refused: ${this.rule}`
  }
}

export type Numbers = ReadonlyArray<number> | Float32Array

const maxDimensions = 16_384
/** Of the data of an item. */
const maxDataBytes = 65_536
/** Of the data and the id of an item, as a text. */
export const maxTextBytes = maxDataBytes + 1024
/** Of what is found at once. */
const maxFound = 100

/** The same direction, with length one. */
export const unitOf = (vector: Numbers): Float32Array | VectorRefused => {
  const { length } = vector
  if (!(length >= 1 && length <= maxDimensions))
    return new VectorRefused({ rule: `vector must have 1 to ${maxDimensions} dimensions, got ${length}` })
  let largest = 0
  for (let i = 0; i < length; i++) {
    const value: unknown = vector[i]
    if (!Number.isFinite(value)) return new VectorRefused({ rule: "vector must have finite numbers only" })
    largest = Math.max(largest, Math.abs(value as number)) // a finite number is one
  }
  if (largest === 0) return new VectorRefused({ rule: "vector must not be zero" })
  // by the largest first: squares of what is left neither overflow nor vanish
  let sum = 0
  for (let i = 0; i < length; i++) sum += ((vector[i] ?? 0) / largest) ** 2
  const norm = Math.sqrt(sum)
  const unit = new Float32Array(length)
  for (let i = 0; i < length; i++) unit[i] = (vector[i] ?? 0) / largest / norm
  return unit
}

/** Fails with what was refused. */
export const accepted = <A>(made: A | VectorRefused): Effect.Effect<A, VectorRefused> =>
  made instanceof VectorRefused ? Effect.fail(made) : Effect.succeed(made)

interface Item {
  readonly id: string
  readonly vector: Numbers
  readonly data: unknown
  readonly expiresAt: number
}

/** An item as it is written down; `undefined` where it has expired already. */
export const written = ({ data, expiresAt, id, vector }: Item) =>
  Effect.gen(function* () {
    const unit = yield* accepted(unitOf(vector))
    const text = yield* accepted(textOf(id, data))
    const now = yield* Clock.currentTimeMillis
    return expiresAt > now ? { unit, text, now } : undefined
  })

export const otherDimensions = (got: number): VectorRefused =>
  new VectorRefused({ rule: `vector must have the dimensions of its partition, got ${got}` })

const dataRefused = () => new VectorRefused({ rule: `data must be JSON of at most ${maxDataBytes} bytes` })

/** What it weighs in memory. */
export const dataWeight = (data: unknown): number | VectorRefused => {
  const weight = weightOf(data, maxDataBytes)
  return weight <= maxDataBytes ? weight : dataRefused()
}

/** An item but for its vector, as a text: JSON escapes what no database takes. */
const textOf = (id: string, data: unknown): string | VectorRefused => {
  try {
    const json = JSON.stringify([id, data])
    return Buffer.byteLength(json) <= maxTextBytes ? json : dataRefused()
  } catch {
    return dataRefused() // it contains itself, or a bigint
  }
}

export const readText = (text: string): readonly [id: string, data: unknown] | undefined => {
  try {
    const found: unknown = JSON.parse(text)
    if (!Array.isArray(found) || found.length !== 2) return undefined
    const [id, data]: ReadonlyArray<unknown> = found
    return typeof id === "string" ? [id, data] : undefined
  } catch {
    return undefined
  }
}

/** Whole and safe, so that every store takes it. */
export const instant = (at: number): number => Math.floor(Math.min(Number.MAX_SAFE_INTEGER, at))

/** Numbers of 32 bits, little-endian as every machine that Node.js is built for but one. */
export const bytesOf = (unit: Float32Array): Buffer => Buffer.from(unit.buffer, unit.byteOffset, unit.byteLength)

/** `undefined` where the bytes are no vector of so many dimensions. */
export const fromBytes = (bytes: Uint8Array, dimensions: number): Float32Array | undefined => {
  if (bytes.byteLength !== 4 * dimensions) return undefined
  if (bytes.byteOffset % 4 === 0) return new Float32Array(bytes.buffer, bytes.byteOffset, dimensions)
  return new Float32Array(bytes.slice().buffer, 0, dimensions)
}

/** The product of a vector and the one that begins at `start`: their cosine, as both have length one. */
export const dot = (unit: Float32Array, rows: Float32Array, start: number): number => {
  const { length } = unit
  const even = length - (length % 4)
  let a = 0
  let b = 0
  let c = 0
  let d = 0
  let j = start
  // four sums, as one of them alone would wait for itself
  for (let i = 0; i < even; i += 4, j += 4) {
    a += (unit[i] ?? 0) * (rows[j] ?? 0)
    b += (unit[i + 1] ?? 0) * (rows[j + 1] ?? 0)
    c += (unit[i + 2] ?? 0) * (rows[j + 2] ?? 0)
    d += (unit[i + 3] ?? 0) * (rows[j + 3] ?? 0)
  }
  for (let i = even; i < length; i++, j++) a += (unit[i] ?? 0) * (rows[j] ?? 0)
  return a + b + (c + d)
}

/** Whether what was read has length one, as everything that was written. */
export const isUnit = (vector: Float32Array): boolean => Math.abs(dot(vector, vector, 0) - 1) < 1e-3

/** Numbers of 32 bits that hold the signs of so many dimensions. */
export const wordsOf = (dimensions: number): number => Math.ceil(dimensions / 32)

export const writeSigns = (unit: Float32Array, words: Uint32Array, start: number): void => {
  words.fill(0, start, start + wordsOf(unit.length))
  for (let i = 0; i < unit.length; i++) {
    const at = start + (i >>> 5)
    if ((unit[i] ?? 0) < 0) words[at] = (words[at] ?? 0) | (1 << (i & 31))
  }
}

/** How many signs differ. */
export const distance = (signs: Uint32Array, words: Uint32Array, start: number): number => {
  let sum = 0
  for (let i = 0; i < signs.length; i++) {
    let bits = (signs[i] ?? 0) ^ (words[start + i] ?? 0)
    bits -= (bits >>> 1) & 0x55555555
    bits = (bits & 0x33333333) + ((bits >>> 2) & 0x33333333)
    sum += Math.imul((bits + (bits >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24
  }
  return sum
}

/** What is nearest so far: at most `limit`, none below `atLeast`, best first. */
export class Best<A> {
  readonly limit: number
  readonly found: Array<{ readonly value: A; readonly similarity: number }> = []
  private readonly atLeast: number

  constructor({ atLeast, limit }: { readonly limit: number; readonly atLeast: number }) {
    this.limit = limit >= 1 ? Math.min(maxFound, Math.floor(limit)) : 0
    this.atLeast = atLeast
  }

  /** Whether there is room for one so near; a worse one is not worth reading. */
  takes(similarity: number): boolean {
    if (!(rounded(similarity) >= this.atLeast)) return false
    const { found, limit } = this
    return found.length < limit || (limit > 0 && rounded(similarity) > (found[limit - 1]?.similarity ?? 1))
  }

  add(value: A, similarity: number): void {
    const { found, limit } = this
    const one = { value, similarity: rounded(similarity) }
    let at = found.length
    while (at > 0 && (found[at - 1]?.similarity ?? 1) < one.similarity) at--
    found.splice(at, 0, one)
    if (found.length > limit) found.pop()
  }
}

/** To a millionth, below which numbers of 32 bits say nothing: what equals has 1. */
const rounded = (similarity: number): number => Math.min(1, Math.max(-1, Math.round(similarity * 1e6) / 1e6))
