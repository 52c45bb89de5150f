/** Embeddings that no model made: the same text has the same vector, and texts that share words or parts of words are near. */
import { Buffer } from "node:buffer"
import type { EmbeddingsRequest } from "./localRequest.ts"
import { isStopWord, readableLength, stem, words } from "./localWords.ts"

export const embeddingsAnswer = (request: EmbeddingsRequest): unknown => {
  const texts = inputs(request.input)
  const tokens = texts.reduce((sum, text) => sum + Math.ceil(text.length / 4), 0)
  return {
    object: "list",
    data: texts.map((text, index) => {
      const vector = embed(text, request.dimensions ?? 256)
      const embedding = request.encoding_format === "base64" ? base64(vector) : Array.from(vector)
      return { object: "embedding", index, embedding }
    }),
    model: request.model,
    usage: { prompt_tokens: tokens, total_tokens: tokens }
  }
}

/** Token numbers stand for themselves, as words. */
const inputs = (input: EmbeddingsRequest["input"]): ReadonlyArray<string> => {
  if (typeof input === "string") return [input]
  if (input.every((entry) => typeof entry === "number")) return [input.join(" ")]
  return input.map((entry: string | number | ReadonlyArray<number>) =>
    typeof entry === "object" ? entry.join(" ") : entry.toString()
  )
}

/** A vector of length 1: words, their parts of three letters and pairs of words, each hashed to a place and a sign. */
const embed = (text: string, dimensions: number): Float32Array => {
  const vector = new Float32Array(dimensions)
  const add = (feature: string, weight: number): void => {
    const hash = fnv1a(feature)
    vector[hash % dimensions]! += hash & 0x80000000 ? -weight : weight // the place is below the dimensions
  }
  let before: string | undefined
  for (const word of words(text.slice(-readableLength))) {
    const root = stem(word)
    const weight = isStopWord(word) ? 0.05 : 1
    add(root, weight)
    const padded = `^${root}$`
    for (let i = 0; i + 3 <= padded.length; i++) add(`#${padded.slice(i, i + 3)}`, weight / Math.sqrt(padded.length))
    if (before !== undefined && weight === 1) add(`${before} ${root}`, 0.3)
    if (weight === 1) before = root
  }
  const length = Math.hypot(...vector)
  if (length === 0) return vector.fill(1, 0, 1)
  return vector.map((x) => x / length)
}

const base64 = (vector: Float32Array): string =>
  Buffer.from(vector.buffer, vector.byteOffset, vector.byteLength).toString("base64")

const fnv1a = (text: string): number => {
  let hash = 0x811c9dc5
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193)
  // the last bits of FNV are poor: mixed once more
  hash = Math.imul(hash ^ (hash >>> 15), 0x85ebca6b)
  return (hash ^ (hash >>> 13)) >>> 0
}
