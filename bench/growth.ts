/**
 * Whether the cost of a call grows with how many are under way: one to ten thousand of them through a whole stack, to a
 * provider that answers after a millisecond of real time, and as many who wait for five places.
 */
import { bulkhead } from "cockatiel"
import { Effect, Semaphore } from "effect"
import { LlmRequest } from "../src/index.ts"
import { atOnce, type Case, collect, inCrowds, quantile, shuffled } from "./harness.ts"
import { ballast as limiter } from "./limiters.ts"
import { answer, ballast, fromCockatiel, fromEffect, provider } from "./stacks.ts"

const rounds = 5
const widths = [1, 10, 100, 1000, 10_000]

/** So many of them that a round takes some tenths of a second. */
const callsAt = (width: number): number => Math.max(2 * width, Math.min(200 * width, 10_000))

let turn = 0
const unseen = () => LlmRequest.makeUnsafe({ prompt: `Question ${turn++}: what is ballast?`, maxOutputTokens: 100 })

const sleeping = provider(Effect.as(Effect.sleep(1), answer))
const timer = () => new Promise<typeof answer>((resolve) => setTimeout(() => resolve(answer), 1))

/** `n` calls of a function, so many of them under way at any time. */
const promisesAtOnce = (width: number, name: string, call: () => Promise<unknown>): Case => ({
  name,
  run: (n) => {
    let left = n
    const worker = async () => {
      while (left-- > 0) await call()
    }
    return Promise.all(Array.from({ length: width }, worker))
  }
})

const whole = ballast(sleeping)
const effect = fromEffect(sleeping)

/** Each of them, and the bare call that it is compared with. */
const subjects = (width: number): ReadonlyArray<readonly [bare: Case, stack: Case]> => {
  const sleep = atOnce(width, "Effect.sleep", sleeping.generate(unseen()))
  const cockatiel = fromCockatiel(width, timer)
  return [
    [
      sleep,
      atOnce(
        width,
        "Ballast",
        Effect.suspend(() => whole.generate(unseen()))
      )
    ],
    [
      sleep,
      atOnce(
        width,
        "Effect's own parts",
        Effect.suspend(() => effect(unseen()))
      )
    ],
    [promisesAtOnce(width, "setTimeout", timer), promisesAtOnce(width, "cockatiel's stack", () => cockatiel(unseen()))]
  ]
}

/** Microseconds for each of `n`: of the clock, and of the processor. */
interface Cost {
  readonly wall: number
  readonly cpu: number
}

const once = async (one: Case, n: number): Promise<Cost> => {
  collect()
  const cpu = process.cpuUsage()
  const began = performance.now()
  await one.run(n)
  const wall = performance.now() - began
  const { system, user } = process.cpuUsage(cpu)
  return { wall: (wall * 1000) / n, cpu: (system + user) / n }
}

const median = (costs: ReadonlyArray<Cost>, of: keyof Cost): number =>
  quantile(
    costs.map((cost) => cost[of]),
    0.5
  )

/** The medians of all of them, each once in every round, in random order. */
const costs = async (cases: ReadonlyArray<Case>, n: number): Promise<ReadonlyMap<Case, Cost>> => {
  const all = new Map(cases.map((one) => [one, [] as Array<Cost>]))
  for (const one of cases) await one.run(n) // once for the compiler
  for (let round = 0; round < rounds; round++)
    for (const [one, known] of shuffled([...all])) known.push(await once(one, n))
  return new Map([...all].map(([one, known]) => [one, { wall: median(known, "wall"), cpu: median(known, "cpu") }]))
}

const micros = (value: number): string => value.toFixed(value < 100 ? 1 : 0)
const count = (value: number): string => value.toLocaleString("en")
const table = (head: ReadonlyArray<string>, rows: ReadonlyArray<ReadonlyArray<string>>): string =>
  [head, ["---", ...head.slice(1).map(() => "--:")], ...rows].map((cells) => `| ${cells.join(" | ")} |`).join("\n")

const calls = async (): Promise<string> => {
  const wall: Array<ReadonlyArray<string>> = []
  const added: Array<ReadonlyArray<number>> = []
  let names: ReadonlyArray<string> = []
  let stacks: ReadonlyArray<string> = []
  for (const width of widths) {
    const pairs = subjects(width)
    const cases = [...new Set(pairs.flat())]
    const measured = await costs(cases, callsAt(width))
    names = cases.map(({ name }) => name)
    stacks = pairs.map(([, { name }]) => name)
    wall.push([count(width), ...cases.map((one) => micros(measured.get(one)?.wall ?? Number.NaN))])
    const cpu = (one: Case) => measured.get(one)?.cpu ?? Number.NaN
    added.push(pairs.map(([bare, stack]) => cpu(stack) - cpu(bare)))
  }
  const most = added.at(-1) ?? []
  const hundred = added[widths.indexOf(100)] ?? []
  return [
    "## Growth: microseconds for each call through a whole stack, so many at once, to a provider that takes 1 ms",
    "",
    table(["at once", ...names], wall),
    "",
    "What the stack adds to the bare call in processor time, in microseconds for each call, the garbage collector's threads",
    "included:",
    "",
    table(
      ["at once", ...stacks],
      [
        ...added.map((costs, i) => [count(widths[i] ?? 0)].concat(costs.map(micros))),
        ["10,000 over 100", ...most.map((cost, i) => (cost / (hundred[i] ?? Number.NaN)).toFixed(1))]
      ]
    ),
    ""
  ].join("\n")
}

const crowds = [100, 1000, 10_000]
const promised = () => Promise.resolve()
const work = Effect.promise(promised)

const waiters = async (): Promise<string> => {
  const rows: Array<ReadonlyArray<string>> = []
  let names: ReadonlyArray<string> = []
  for (const size of crowds) {
    const limited = limiter({ concurrency: 5, maxQueue: size }).withPermits({ key: "key" })(work)
    const semaphore = Semaphore.makeUnsafe(5)
    const places = bulkhead(5, size)
    const cases = [
      inCrowds(size, "Ballast RateLimiter", limited),
      inCrowds(size, "Effect's Semaphore", Semaphore.withPermits(semaphore, 1)(work)),
      {
        name: "cockatiel bulkhead",
        run: async (n: number) => {
          for (let i = 0; i < n; i++) await Promise.all(Array.from({ length: size }, () => places.execute(promised)))
        }
      }
    ]
    names = cases.map(({ name }) => name)
    const n = 10_000 / size
    const measured = await costs(cases, n)
    rows.push([count(size), ...cases.map((one) => micros((measured.get(one)?.wall ?? Number.NaN) / size))])
  }
  return [
    "## Growth: microseconds for each of so many that come at once to five places",
    "",
    table(["at once", ...names], rows),
    ""
  ].join("\n")
}

export const measureGrowth = async (): Promise<string> => `${await calls()}\n${await waiters()}`
