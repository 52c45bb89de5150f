/** Any interleaving of calls that end in every way, of callers who leave and of processes that die, against the promise. */
import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, Fiber, Layer, Schema } from "effect"
import { AiError } from "effect/ai"
import { TestClock } from "effect/testing"
import { Budget, Caller, type LlmProvider, QuotaStore } from "effect-ballast"
import * as Gate from "effect-ballast/Gate"
import type { LlmError } from "effect-ballast/LlmError"
import type { LlmResponse } from "effect-ballast/LlmResponse"
import { TestProvider } from "effect-ballast/testing"
import * as memoryQuotaStore from "../src/internal/memoryQuotaStore.ts"
import { calls, costing, nanoPerToken, pricing, request } from "./support/budgets.ts"

const network = { reason: "TransportError", method: "POST", url: "https://example.com" } as const

const steps = {
  short: costing(20),
  long: costing(110),
  huge: costing(500),
  busy: new AiError.RateLimitError({}),
  lost: new AiError.NetworkError(network),
  hanging: TestProvider.hanging
}

const Come = Schema.Struct({
  op: Schema.Literal("come"),
  end: Schema.Literals(["short", "short", "long", "huge", "busy", "lost", "hanging"]),
  tenant: Schema.Literals(["a", "b", ""]),
  runs: Schema.Literals([0, 1, 250, 1000, 3000]),
  process: Schema.Literals([0, 1])
})
const Leave = Schema.Struct({ op: Schema.Literal("leave"), who: Schema.Literals([0, 1, 2, 3, 4, 5]) })
const Pass = Schema.Struct({ op: Schema.Literal("pass"), millis: Schema.Literals([1, 99, 250, 1000, 2500, 30_000]) })
const Die = Schema.Struct({ op: Schema.Literal("die") })
const Run = Schema.Array(Schema.Union([Come, Come, Come, Come, Leave, Pass, Pass, Die])).check(
  Schema.isMinLength(30),
  Schema.isMaxLength(80)
)

interface Lease {
  readonly owners: ReadonlyArray<string>
  readonly reserved: number
  /** What it counts: what was reserved, until it is settled. */
  counts: number
}

/** What the store was told, and what it therefore may admit. */
class Model {
  readonly leases = new Map<string, Lease>()
  last: Lease | undefined
  /** By how much calls that were unsettled at the last admission passed their reservations. */
  private excess = 0
  private readonly limits: Readonly<Record<string, number>>
  private readonly strict: boolean

  constructor(limits: Readonly<Record<string, number>>, strict: boolean) {
    this.limits = limits
    this.strict = strict
  }

  granted(lease: string, entries: ReadonlyArray<QuotaStore.Entry>, remaining: ReadonlyArray<number>): void {
    const owners = entries.map(({ key }) => key.slice(key.lastIndexOf("|") + 1))
    this.last = { owners, reserved: entries[0]?.amount ?? 0, counts: entries[0]?.amount ?? 0 }
    this.leases.set(lease, this.last)
    this.excess = 0
    for (const [i, owner] of owners.entries()) {
      const limit = this.limitOf(owner)
      assert.isAtMost(this.counted(owner), limit)
      assert.strictEqual(remaining[i], limit - this.counted(owner))
    }
  }

  settled(name: string, actual: ReadonlyArray<number>): void {
    const lease = this.leases.get(name)
    if (lease === undefined) return
    lease.counts = actual[0] ?? lease.counts
    this.excess += Math.max(0, lease.counts - lease.reserved)
    for (const owner of lease.owners)
      assert.isAtMost(this.counted(owner), this.limitOf(owner) + (this.strict ? 0 : this.excess))
  }

  counted(owner: string): number {
    let sum = 0
    for (const { counts, owners } of this.leases.values()) if (owners.includes(owner)) sum += counts
    return sum
  }

  private limitOf(owner: string): number {
    return this.limits[owner.split("=")[0] ?? ""] ?? Number.NaN
  }
}

/** One process: its settles do not arrive any more when it is dead. */
const processOn = Effect.fnUntraced(function* (
  inner: QuotaStore.Service & { readonly ledger: QuotaStore.LedgerStore },
  model: Model,
  options: Budget.Options
) {
  const state = { dead: false }
  const store: QuotaStore.Service = {
    ledger: inner.ledger,
    take: inner.take,
    read: inner.read,
    observe: inner.observe,
    reserve: (lease, entries, ttl) =>
      Effect.tap(inner.reserve(lease, entries, ttl), (answer) =>
        Effect.sync(() => {
          if (answer._tag === "Granted") model.granted(lease, entries, answer.remaining)
        })
      ),
    settle: (lease, actual, charge) => {
      if (state.dead) return Effect.void
      model.settled(lease, actual)
      return inner.settle(lease, actual, charge)
    }
  }
  const budget = yield* Budget.make(options).pipe(
    Effect.provide(Layer.merge(Layer.succeed(QuotaStore.QuotaStore, store), pricing))
  )
  return { state, budget }
})

describe("a budget", () => {
  it.effect.prop(
    "admits nothing beyond its limits, passes them by no more than it says, and its lines sum up to what was used",
    [Run, Schema.Literals([true, false])],
    ([run, strict]) =>
      Effect.gen(function* () {
        yield* TestClock.setTime(Date.UTC(2026, 10, 28))
        const limits = { all: Math.round(calls(6) * 1e9), tenant: Math.round(calls(4) * 1e9) }
        const model = new Model(limits, strict)
        const inner = yield* memoryQuotaStore.make({ renew: false })
        const options: Budget.Options = {
          limits: [{ usd: limits.all / 1e9 }, { usd: limits.tenant / 1e9, by: "tenant" }],
          strict
        }
        const start = () => processOn(inner, model, options)
        const processes = [yield* start(), yield* start()]
        /** What each call that was made did cost, in its own right. */
        const costs: Array<() => number> = []
        const fibers: Array<Fiber.Fiber<unknown, unknown>> = []

        const call = ({ end, process, runs, tenant }: typeof Come.Type) => {
          const { budget, state } = processes[process] ?? assert.fail("there are two")
          const inner = TestProvider.make({ steps: [steps[end === "huge" && strict ? "long" : end]] })
          const generate: LlmProvider.Service["generate"] = (request) =>
            Effect.suspend(() => {
              const reserved = model.last?.reserved ?? 0
              let cost = reserved
              // who is dead tells nobody what it cost
              costs.push(() => cost)
              return Effect.onExit(Effect.andThen(Effect.sleep(runs), inner.generate(request)), (exit) =>
                Effect.sync(() => {
                  if (!state.dead) cost = costOf(exit, reserved)
                })
              )
            })
          const provider = Gate.through([budget.gate])({ ...inner, generate })
          return Effect.exit(Caller.provide(provider.generate(request), tenant === "" ? {} : { tenant }))
        }

        for (const step of run) {
          if (step.op === "pass") yield* TestClock.adjust(step.millis)
          else if (step.op === "leave") {
            const fiber = fibers.at(-1 - step.who)
            if (fiber !== undefined) yield* Fiber.interrupt(fiber)
          } else if (step.op === "die") {
            const [, dying] = processes
            if (dying !== undefined) dying.state.dead = true
            processes[1] = yield* start()
          } else fibers.push(yield* Effect.forkChild(call(step), { startImmediately: true }))
        }
        yield* TestClock.adjust("5 seconds")
        yield* Effect.forEach(fibers, Fiber.interrupt)
        assert.deepStrictEqual(yield* inner.ledger.check, [])
        // the leases of the dead expire
        yield* TestClock.adjust("1 minute")
        const used = costs.reduce((sum, cost) => sum + cost(), 0)
        const sums = yield* inner.ledger.report({ by: [] })
        assert.strictEqual(sums[0]?.amount ?? 0, used)
        assert.strictEqual(model.counted("all"), used)
        assert.deepStrictEqual(yield* inner.ledger.check, [])
      }).pipe(Effect.scoped),
    { arbitrary: { runs: 300 } }
  )
})

const costOf = (exit: Exit.Exit<LlmResponse, LlmError>, reserved: number): number => {
  if (Exit.isSuccess(exit)) return (10 + (exit.value.usage.outputTokens.total ?? 0)) * nanoPerToken
  const failure = exit.cause.reasons.find(Cause.isFailReason)
  return failure?.error.reason._tag === "RateLimitError" ? 0 : reserved
}
