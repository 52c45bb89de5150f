/** Eight processes spend one budget at the same time, on the real servers. */
import { type ChildProcess, fork } from "node:child_process"
import { once } from "node:events"
import { fileURLToPath } from "node:url"
import * as NodeRedis from "@effect/platform-node/NodeRedis"
import { PgClient } from "@effect/sql-pg"
import { assert, layer } from "@effect/vitest"
import { Context, Effect, Layer, Redacted } from "effect"
import { Budget, Pricing } from "effect-ballast"
import * as Stores from "effect-ballast/Stores"
import * as postgres from "./support/postgres.ts"
import * as redis from "./support/redis.ts"

const usd = 0.1
const limit = usd * 1e9
const processes = 8
const worker = fileURLToPath(new URL("./fixtures/budget-worker.ts", import.meta.url))

const message = async (child: ChildProcess): Promise<unknown> => {
  const [first] = await Promise.race([once(child, "message"), once(child, "exit")])
  return first
}

/** What each process says that its calls did cost. */
const spentBy = (kind: string, url: string) =>
  Effect.acquireUseRelease(
    Effect.promise(async () => {
      const children = Array.from({ length: processes }, () => fork(worker, [kind, url, `${usd}`], { execArgv: [] }))
      assert.deepStrictEqual(await Promise.all(children.map(message)), Array(processes).fill("ready"))
      return children
    }),
    (children) =>
      Effect.promise(() => {
        for (const child of children) child.send("go")
        return Promise.all(children.map(message))
      }),
    (children) => Effect.sync(() => children.forEach((child) => child.kill("SIGKILL")))
  )

const agrees = (kind: string, url: string, stores: Layer.Layer<Stores.Stores, unknown>) =>
  Effect.gen(function* () {
    const told = yield* spentBy(kind, url)
    const spent = told.reduce<number>((sum, one) => sum + Number(one), 0)
    const services = yield* Layer.build(
      Budget.layer({ limits: [{ usd }], strict: true }).pipe(
        Layer.provide(Layer.merge(stores, Pricing.layerTable({}, { base: "none" })))
      )
    )
    const budget = Context.get(services, Budget.Budget)
    assert.isAtMost(spent, limit)
    assert.isAbove(spent, limit * 0.9)
    assert.isTrue(told.every((one) => Number(one) > 0))
    assert.strictEqual(yield* budget.spent({}), spent)
    assert.strictEqual((yield* budget.remaining())[0]?.spent, spent)
    assert.deepStrictEqual(yield* budget.check, [])
  }).pipe(Effect.scoped)

redis.describeRedis("on one Redis", () => {
  layer(redis.anyServer, { timeout: "30 seconds", excludeTestServices: true })((it) => {
    it.effect(
      "never pass the limit, and their lines say what they spent",
      () =>
        Effect.flatMap(redis.RedisServer, ({ url }) =>
          agrees("redis", url, Stores.layerRedis({ prefix: "fleet" }).pipe(Layer.provide(NodeRedis.layer({ url }))))
        ),
      60_000
    )
  })
})

postgres.describePostgres("on one Postgres", () => {
  layer(postgres.anyServer, { timeout: "30 seconds", excludeTestServices: true })((it) => {
    it.effect(
      "never pass the limit, and their lines say what they spent",
      () =>
        Effect.flatMap(postgres.PostgresServer, ({ url }) =>
          agrees("postgres", url, Stores.layerSql().pipe(Layer.provide(PgClient.layer({ url: Redacted.make(url) }))))
        ),
      60_000
    )
  })
})
