import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as NodeRedis from "@effect/platform-node/NodeRedis"
import { assert, describe, it, layer } from "@effect/vitest"
import { Effect, Exit, Layer, Schedule } from "effect"
import { Redis } from "effect/persistence"
import { Budget, LlmProvider, Resilient } from "effect-ballast"
import type { StoreUnavailable } from "effect-ballast/LlmError"
import * as SqliteClient from "effect-ballast/SqliteClient"
import * as Stores from "effect-ballast/Stores"
import { TestProvider } from "effect-ballast/testing"
import { calls, costing, pricing, request, reserved } from "./support/budgets.ts"
import { describeOwnRedis, own, RedisServer } from "./support/redis.ts"

const folder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "ballast-stores-"))),
  (folder) => Effect.sync(() => rmSync(folder, { recursive: true, force: true }))
)

/** A whole stack with all slots that need a store. */
const stack = <E, R>(stores: Layer.Layer<Stores.Stores, E, R>, usd = calls(3)) =>
  Resilient.layer({
    providers: [Layer.sync(LlmProvider.LlmProvider, () => TestProvider.make({ steps: [costing(reserved / 1000)] }))],
    budget: { limits: [{ usd }] },
    circuitBreaker: {},
    rateLimiter: { requestsPerMinute: 60, tokensPerMinute: 90_000, concurrency: 5 }
  }).pipe(Layer.provide(stores), Layer.provide(pricing))

const generate = Effect.flatMap(LlmProvider.LlmProvider, (provider) => provider.generate(request))
const through = (count: number) =>
  Effect.map(
    Effect.forEach(Array.from({ length: count }), () => Effect.exit(generate)),
    (exits) => exits.filter(Exit.isSuccess).length
  )
const spent = Effect.flatMap(Budget.Budget, (budget) => budget.spent({}))

describe("all stores at once", () => {
  it.effect("in memory serve every slot, and begin anew with the layer", () =>
    Effect.gen(function* () {
      for (let i = 0; i < 2; i++) {
        const told = Effect.zip(through(5), spent).pipe(
          Effect.provide(stack(Layer.fresh(Stores.layerMemory)), { local: true })
        )
        assert.deepStrictEqual(yield* told, [3, 3 * reserved])
      }
    })
  )

  it.effect("say that they answer", () =>
    Effect.gen(function* () {
      const well = { quotas: true, cache: true, vectors: true }
      const file = join(yield* folder, "health.sqlite")
      for (const stores of [Stores.layerMemory, Stores.layerSqlite(file)])
        assert.deepStrictEqual(yield* Effect.provide(Stores.health, Layer.fresh(stores), { local: true }), well)
    })
  )

  it.effect("in a file of SQLite remember money when the program starts again", () =>
    Effect.gen(function* () {
      const file = join(yield* folder, "budget.sqlite")
      const run = (count: number) =>
        Effect.zip(through(count), spent).pipe(Effect.provide(stack(Stores.layerSqlite(file)), { local: true }))
      assert.deepStrictEqual(yield* run(2), [2, 2 * reserved])
      assert.deepStrictEqual(yield* run(5), [1, 3 * reserved])
      assert.deepStrictEqual(yield* run(5), [0, 3 * reserved])
    })
  )

  it.effect("fail with one typed error where the file is none", () =>
    Effect.gen(function* () {
      const path = yield* folder
      const garbage = join(path, "garbage.sqlite")
      writeFileSync(garbage, "this is no database, and long enough to be read as the head of one".repeat(20))
      for (const file of [path, join(path, "no", "folder", "file"), garbage]) {
        const failed: StoreUnavailable = yield* Effect.flip(Layer.build(Stores.layerSqlite(file)))
        assert.deepInclude(failed, { _tag: "StoreUnavailable", store: "sqlite" })
        assert.notInclude(failed.message, "ballast-stores")
      }
    })
  )

  it("options that can never work throw", () => {
    assert.throws(() => Stores.layerSqlite({ filename: "x", lockTimeout: 0 }), RangeError, "lockTimeout")
    assert.throws(() => Stores.layerSqlite({ filename: "x", prefix: "A-b" }), RangeError, "prefix")
    assert.throws(() => Stores.layerRedis({ commandTimeout: Infinity }), RangeError, "commandTimeout")
  })
})

describeOwnRedis("in Redis", () => {
  const client = Layer.unwrap(Effect.map(RedisServer, ({ url }) => NodeRedis.layer({ url })))

  layer(Layer.provideMerge(client, own()), { excludeTestServices: true, timeout: "30 seconds" })((it) => {
    it.effect("budget, limiter and breaker admit in one round trip and settle in one", () =>
      Effect.gen(function* () {
        const redis = yield* Redis.Redis
        const count = Effect.map(redis.send<string>("INFO", "commandstats"), (stats) =>
          ["evalsha", "eval"].map((name) => Number(new RegExp(`cmdstat_${name}:calls=(\\d+)`).exec(stats)?.[1] ?? 0))
        )
        yield* Effect.gen(function* () {
          yield* generate
          const before = yield* count
          yield* generate
          const after = yield* count
          assert.deepStrictEqual(
            after.map((calls, i) => calls - (before[i] ?? 0)),
            [2, 0]
          )
        }).pipe(Effect.provide(stack(Stores.layerRedis({ prefix: "trips" }), 1)))
      })
    )

    it.effect("say so when they do not answer, and when they do again", () =>
      Effect.gen(function* () {
        const server = yield* RedisServer
        const told = [yield* Stores.health]
        yield* server.kill
        told.push(yield* Stores.health)
        yield* server.start
        yield* Effect.repeat(Stores.health, { until: ({ cache }) => cache, schedule: Schedule.spaced("50 millis") })
        told.push(yield* Stores.health)
        const all = (up: boolean) => ({ quotas: up, cache: up, vectors: up })
        assert.deepStrictEqual(told, [all(true), all(false), all(true)])
      }).pipe(Effect.provide(Stores.layerRedis({ prefix: "health" })))
    )

    it.effect("with a ledger behind it, counters that Redis lost are made again before anything is admitted", () =>
      Effect.gen(function* () {
        const redis = yield* Redis.Redis
        const file = join(yield* folder, "ledger.sqlite")
        const sql = SqliteClient.layer({ filename: file })
        const stores = Layer.provide(Stores.layerRedisSql({ prefix: "behind" }), sql)
        yield* Effect.gen(function* () {
          assert.strictEqual(yield* through(2), 2)
          assert.strictEqual(yield* spent, 2 * reserved) // moves the lines
          yield* redis.send("FLUSHALL")
          assert.strictEqual(yield* through(3), 1)
          assert.strictEqual(yield* spent, 3 * reserved)
          const { check } = yield* Budget.Budget
          assert.deepStrictEqual(yield* check, [])
        }).pipe(Effect.provide(stack(stores)))
        // what the file says is what a program without Redis sees
        assert.deepStrictEqual(
          yield* spent.pipe(Effect.provide(stack(Stores.layerSqlite(file)), { local: true })),
          3 * reserved
        )
      })
    )
  })
})
