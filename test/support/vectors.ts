/** Vectors to search among, the same ones for the same seed. */
export type Numbers = ReadonlyArray<number> | Float32Array

export const cosine = (a: Numbers, b: Numbers): number => {
  let [dot, ofA, ofB] = [0, 0, 0]
  for (let i = 0; i < a.length; i++) {
    const [x = 0, y = 0] = [a[i], b[i]]
    dot += x * y
    ofA += x * x
    ofB += y * y
  }
  return dot / Math.sqrt(ofA * ofB)
}

/** Points around centres, as texts about the same are, and a way to draw another one around any. */
export const clustered = (count: number, dimensions: number, clusters: number, seed = 1) => {
  const next = numbers(seed)
  /** Normally distributed enough: the sum of four. */
  const noise = () => (next() + next() + next() + next() - 2) * Math.sqrt(3)
  const around = (centre: Numbers, spread: number) =>
    Float32Array.from({ length: dimensions }, (_, i) => (centre[i] ?? 0) + spread * noise())
  const centres = Array.from({ length: clusters }, () => around([], 1))
  const vectors = Array.from({ length: count }, (_, i) => around(centres[i % clusters] ?? [], 0.5))
  return { vectors, around }
}

/** From 0 to 1, by mulberry32. */
const numbers = (seed: number) => () => {
  seed = (seed + 0x6d2b79f5) | 0
  let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed)
  mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
  return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
}
