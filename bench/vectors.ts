/** The nearest of many vectors of 1536 dimensions, which lie in clusters as texts do, to one that is near to one of them. */
import { Effect } from "effect"
import * as VectorIndex from "../src/VectorIndex.ts"
import { eachInFiber, type Suite } from "./harness.ts"

const dimensions = 1536
const options = { limit: 5, atLeast: 0.8 }

let seed = 1
/** From -1 to 1, by xorshift. */
const next = (): number => {
  seed ^= seed << 13
  seed ^= seed >>> 17
  seed ^= seed << 5
  return seed / 2 ** 31
}
const around = (centre: Float32Array, spread: number): Float32Array => centre.map((value) => value + spread * next())
const centres = Array.from({ length: 50 }, () => around(new Float32Array(dimensions), 1))

/** One that is near to one of the clusters. */
const vector = (i: number): Float32Array => around(centres[i % centres.length] ?? new Float32Array(dimensions), 0.5)

const filled = (count: number, exactUpTo?: number): VectorIndex.Service => {
  const index = Effect.runSync(VectorIndex.makeMemory({ maxEntries: count, maxBytes: 2 ** 40, exactUpTo }))
  for (let i = 0; i < count; i++)
    Effect.runSync(index.add("p", { id: `${i}`, vector: vector(i), data: i, expiresAt: Number.MAX_SAFE_INTEGER }, "t"))
  return index
}

/** What a loop without an index costs: one array, one sum, the best of all. */
const loop = (count: number) => {
  const rows = new Float32Array(count * dimensions)
  for (let i = 0; i < count; i++) rows.set(vector(i), i * dimensions)
  return (query: Float32Array): number => {
    let best = -1
    let most = -Infinity
    for (let row = 0; row < count; row++) {
      let sum = 0
      for (let i = 0, at = row * dimensions; i < dimensions; i++) sum += (query[i] ?? 0) * (rows[at + i] ?? 0)
      if (sum > most) [best, most] = [row, sum]
    }
    return best
  }
}

const suite = (count: number): Suite => {
  const query = vector(7)
  const plain = loop(count)
  const index = filled(count)
  const cases = [
    eachInFiber("Ballast", () => index.nearest("p", query, options)),
    eachInFiber("a plain loop over one Float32Array", () => Effect.sync(() => plain(query)))
  ]
  if (count > 20_000) {
    const exact = filled(count, count)
    cases.push(eachInFiber("Ballast, every vector compared", () => exact.nearest("p", query, options)))
  }
  return { name: `The nearest of ${count.toLocaleString("en")} vectors of 1536`, base: "Ballast", cases }
}

const addSuite = (): Suite => {
  const index = filled(1000)
  const one = vector(3)
  let i = 0
  const add = () =>
    index.add("p", { id: `${i++}`, vector: one, data: 1, expiresAt: Number.MAX_SAFE_INTEGER }, undefined)
  return { name: "A vector of 1536 added to a full partition", base: "Ballast", cases: [eachInFiber("Ballast", add)] }
}

/** Made when they are wanted: the largest ones hold 2 GB. */
export const vectorSuites = (): ReadonlyArray<Suite> => [addSuite(), ...[1000, 10_000, 100_000].map(suite)]
