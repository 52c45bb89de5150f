import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as Timeouts from "../src/Timeouts.ts"
import { makeUnsafe } from "../src/LlmRequest.ts"
import { LlmResponse, type LlmPart } from "../src/LlmResponse.ts"
import type * as LlmProvider from "../src/LlmProvider.ts"

const response = new LlmResponse({ provider: "p", model: "m", parts: [] })
const part: LlmPart = { type: "text-delta", id: "0", delta: "x" }
const parts = Array.from({ length: 1000 }, () => part)
const bare: LlmProvider.Service = {
  provider: "p", model: "m", endpoint: "e", credential: "c",
  generate: () => Effect.promise(() => Promise.resolve(response)),
  stream: () => Stream.rechunk(Stream.fromIterable(parts), 1)
}
const asyncStream: LlmProvider.Service = { ...bare, stream: () => Stream.mapEffect(Stream.rechunk(Stream.fromIterable(parts), 1), (p) => Effect.promise(() => Promise.resolve(p))) }
const sync: LlmProvider.Service = { ...bare, generate: () => Effect.succeed(response) }
const request = makeUnsafe("hi")
const time = (f: Effect.Effect<unknown, unknown>, n: number) => Effect.gen(function* () {
  const gc = (globalThis as any).gc
  const t = process.hrtime.bigint()
  for (let i = 0; i < n; i++) yield* f
  return Number(process.hrtime.bigint() - t) / n
})
const withT = Timeouts.make()
const both = (p: LlmProvider.Service) => Timeouts.deadline()(Timeouts.make()(p))
const cases: Record<string, readonly [Effect.Effect<unknown, unknown>, number, number]> = {
  "bare promise": [Effect.suspend(() => bare.generate(request)), 20000, 1],
  "Timeouts.make": [Effect.suspend(() => withT(bare).generate(request)), 20000, 1],
  "make built once": [((s) => Effect.suspend(() => s.generate(request)))(withT(bare)), 20000, 1],
  "make+deadline": [((s) => Effect.suspend(() => s.generate(request)))(both(bare)), 20000, 1],
  "Effect.timeout": [Effect.suspend(() => Effect.timeout(bare.generate(request), "5 minutes")), 20000, 1],
  "sync bare": [Effect.suspend(() => sync.generate(request)), 50000, 1],
  "sync make": [((s) => Effect.suspend(() => s.generate(request)))(withT(sync)), 50000, 1],
  "stream bare/chunk": [Stream.runDrain(bare.stream(request)), 50, 1000],
  "stream make/chunk": [Stream.runDrain(withT(bare).stream(request)), 50, 1000],
  "stream make+deadline/chunk": [Stream.runDrain(both(bare).stream(request)), 50, 1000],
  "async stream bare/chunk": [Stream.runDrain(asyncStream.stream(request)), 20, 1000],
  "async stream make/chunk": [Stream.runDrain(withT(asyncStream).stream(request)), 20, 1000],
  "async stream make+deadline/chunk": [Stream.runDrain(both(asyncStream).stream(request)), 20, 1000]
}
const results: Record<string, number[]> = {}
const main = Effect.gen(function* () {
  for (let round = 0; round < 12; round++)
    for (const [name, [f, n, per]] of Object.entries(cases).sort(() => Math.random() - 0.5)) {
      ;(globalThis as any).gc?.()
      const ns = (yield* time(f, n)) / per
      if (round > 2) (results[name] ??= []).push(ns)
    }
  for (const name of Object.keys(cases)) {
    const r = results[name]!.sort((a, b) => a - b)
    console.log(name.padEnd(36), Math.round(r[r.length >> 1]!), "ns")
  }
  for (const name of ["bare promise", "make built once", "make+deadline", "Effect.timeout"]) {
    const [f] = cases[name]!
    ;(globalThis as any).gc?.()
    const before = process.memoryUsage().heapUsed
    for (let i = 0; i < 3000; i++) yield* f
    console.log(name, Math.round((process.memoryUsage().heapUsed - before) / 3000), "bytes/call")
  }
})
await Effect.runPromise(main as Effect.Effect<void>)
