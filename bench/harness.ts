/**
 * Measures several ways to do the same thing in one process: every round runs every case once, in random order, and the
 * medians are compared with those of one of them. Absolute times move with the machine; ratios of one run are what counts.
 */
import { Context, Effect, Layer, References, Scope } from "effect"

export interface Case {
  readonly name: string
  /** Does the thing `n` times. */
  readonly run: (n: number) => Promise<unknown>
}

export interface Suite {
  readonly name: string
  /** The case the others are compared with. */
  readonly base: string
  readonly cases: ReadonlyArray<Case>
}

export interface Row {
  readonly name: string
  readonly ns: number
  readonly p10: number
  readonly p90: number
  readonly ratio: number
  readonly bytes: number
}

export const rounds = 11
const target = 120 // milliseconds a round of one case takes

/** The services of a layer that is built at once and lives as long as the process; what it warns of is left out of the report. */
export const servicesOf = <I, E>(layer: Layer.Layer<I, E>): Context.Context<I> =>
  Layer.buildWithScope(layer, Effect.runSync(Scope.make())).pipe(
    Effect.provideService(References.MinimumLogLevel, "Error"),
    Effect.runSync
  )

export const built = <I, S, E>(tag: Context.Key<I, S>, layer: Layer.Layer<I, E>): S =>
  Context.get(servicesOf(layer), tag)

/** A case that runs an effect again and again in one fiber. */
export const inFiber = (name: string, self: Effect.Effect<unknown, unknown>): Case => ({
  name,
  run: (n) =>
    Effect.runPromise(
      Effect.gen(function* () {
        for (let i = 0; i < n; i++) yield* self
      })
    )
})

/** A case that makes an effect anew each time and runs it, in one fiber. */
export const eachInFiber = (name: string, make: () => Effect.Effect<unknown, unknown>): Case => ({
  name,
  run: (n) =>
    Effect.runPromise(
      Effect.gen(function* () {
        for (let i = 0; i < n; i++) yield* make()
      })
    )
})

/** A case that awaits a function again and again. */
export const awaited = (name: string, self: () => Promise<unknown>): Case => ({
  name,
  run: async (n) => {
    for (let i = 0; i < n; i++) await self()
  }
})

/** A case of `n` calls, so many of them under way at any time. */
export const atOnce = (width: number, name: string, call: Effect.Effect<unknown, unknown>): Case => ({
  name,
  run: (n) => {
    let left = n
    const worker = Effect.whileLoop({ while: () => left-- > 0, body: () => call, step: () => {} })
    return Effect.runPromise(
      Effect.forEach(Array.from({ length: width }), () => worker, { concurrency: "unbounded", discard: true })
    )
  }
})

/** A case of `n` crowds one after the other, whose members all come at once. */
export const inCrowds = (size: number, name: string, call: Effect.Effect<unknown, unknown>): Case => {
  const members = Array.from({ length: size }, (_, i) => i)
  const crowd = Effect.forEach(members, () => call, { concurrency: "unbounded", discard: true })
  return {
    name,
    run: async (n) => {
      for (let i = 0; i < n; i++) await Effect.runPromise(crowd)
    }
  }
}

const time = async (one: Case, n: number): Promise<number> => {
  const began = process.hrtime.bigint()
  await one.run(n)
  return Number(process.hrtime.bigint() - began) / 1e6
}

const calibrate = async (one: Case): Promise<number> => {
  for (let n = 10; ; n *= 2) {
    await one.run(n)
    const took = await time(one, n)
    if (took > target / 4) return Math.max(10, Math.round((n * target) / took))
  }
}

/** The young generation alone: a full collection gives pages back, and the next round would pay for getting them again. */
export const collect = (): void => {
  globalThis.gc?.({ type: "minor", execution: "sync" })
}

/** Bytes allocated for each operation, from the growth of the young generation between two collections. */
const allocation = async (one: Case, count: number): Promise<number> => {
  const grown = async (n: number) => {
    collect()
    const before = process.memoryUsage().heapUsed
    await one.run(n)
    return (process.memoryUsage().heapUsed - before) / n
  }
  const few = Math.min(10, count)
  const n = Math.min(500, count, Math.max(few, Math.round(young / (await grown(few))))) // no collection comes between
  const samples: Array<number> = []
  for (let i = 0; i < 5; i++) samples.push(await grown(n))
  return quantile(samples, 0.5)
}

/** Well below the size of the young generation that `npm run bench` asks for. */
const young = 8 * 2 ** 20

export const quantile = (values: ReadonlyArray<number>, share: number): number => {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN
}

export const shuffled = <A>(values: ReadonlyArray<A>): Array<A> =>
  values
    .map((value) => [Math.random(), value] as const)
    .toSorted(([a], [b]) => a - b)
    .map(([, value]) => value)

export const measure = async (suite: Suite): Promise<ReadonlyArray<Row>> => {
  const counts = new Map<Case, number>()
  const times = new Map<Case, Array<number>>(suite.cases.map((one) => [one, []]))
  for (const one of suite.cases) counts.set(one, await calibrate(one))
  for (let round = 0; round < rounds; round++) {
    for (const one of shuffled(suite.cases)) {
      collect()
      const n = counts.get(one) ?? 1
      times.get(one)?.push(((await time(one, n)) * 1e6) / n)
    }
  }
  const bytes = new Map<Case, number>()
  for (const one of suite.cases) bytes.set(one, await allocation(one, counts.get(one) ?? 1))
  const base = suite.cases.find((one) => one.name === suite.base)
  const unit = quantile((base && times.get(base)) ?? [], 0.5)
  return suite.cases.map((one) => {
    const all = times.get(one) ?? []
    const ns = quantile(all, 0.5)
    return {
      name: one.name,
      ns,
      p10: quantile(all, 0.1),
      p90: quantile(all, 0.9),
      ratio: ns / unit,
      bytes: bytes.get(one) ?? Number.NaN
    }
  })
}

export const table = (suite: Suite, rows: ReadonlyArray<Row>): string =>
  [
    `## ${suite.name}`,
    "",
    "| case | median ns | p10 | p90 | ratio | bytes |",
    "| --- | --: | --: | --: | --: | --: |",
    ...rows.map(
      (row) =>
        `| ${row.name} | ${[row.ns, row.p10, row.p90].map((ns) => Math.round(ns).toLocaleString("en")).join(" | ")} | ` +
        `${row.ratio.toFixed(2)} | ${Math.round(row.bytes).toLocaleString("en")} |`
    ),
    ""
  ].join("\n")
