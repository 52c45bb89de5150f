/** Limits shared through a real Redis, which the suite starts itself: one call at a time, and a hundred at once. */
import { spawn, spawnSync } from "node:child_process"
import { once } from "node:events"
import { createServer } from "node:net"
import * as NodeRedis from "@effect/platform-node/NodeRedis"
import { Context, Effect, Layer, Scope } from "effect"
import { RateLimiter as EffectLimiter, Redis } from "effect/persistence"
import { RateLimiterRedis } from "rate-limiter-flexible"
import { createClient } from "redis"
import * as Gate from "../src/Gate.ts"
import { Budget, LlmRequest, Pricing, RateLimiter } from "../src/index.ts"
import * as RedisQuotaStore from "../src/RedisQuotaStore.ts"
import { atOnce, type Case, type Suite } from "./harness.ts"
import { answer, provider } from "./stacks.ts"

const many = 1_000_000_000

const freePort = async (): Promise<number> => {
  const server = createServer().listen(0, "127.0.0.1")
  await once(server, "listening")
  const address = server.address()
  server.close()
  return typeof address === "object" && address !== null ? address.port : 0
}

const started = async (): Promise<string> => {
  const port = await freePort()
  const redis = spawn("redis-server", ["--port", `${port}`, "--bind", "127.0.0.1", "--save", ""], { stdio: "pipe" })
  process.once("exit", () => redis.kill("SIGKILL"))
  for await (const chunk of redis.stdout) if (String(chunk).includes("Ready to accept")) break
  return `redis://127.0.0.1:${port}`
}

const cases = async (url: string): Promise<(width: number) => ReadonlyArray<Case>> => {
  const scope = Effect.runSync(Scope.make())
  const connection = NodeRedis.layer({ url })
  const limiters = Layer.mergeAll(
    // so that a machine that is too busy makes the run fail, and not each process go on with its own share
    RateLimiter.layer({ requestsPerMinute: many, onStoreError: "fail" }).pipe(
      Layer.provide(RedisQuotaStore.layer({ commandTimeout: "10 seconds" }))
    ),
    EffectLimiter.layer.pipe(Layer.provide(EffectLimiter.layerStoreRedis({ prefix: "effect:" })))
  )
  const services = await Effect.runPromise(Layer.buildWithScope(Layer.provideMerge(limiters, connection), scope))
  const ballast = Context.get(services, RateLimiter.RateLimiter)
  const effect = Context.get(services, EffectLimiter.RateLimiter)
  const redis = Context.get(services, Redis.Redis)
  const client = await createClient({ url }).connect()
  const flexible = new RateLimiterRedis({ storeClient: client, points: many, duration: 60, useRedisPackage: true })
  const bare = redis.eval(
    Redis.script((key: string) => [key], { lua: "return redis.call('INCR', KEYS[1])", numberOfKeys: 1 })
  )
  return (width) => [
    atOnce(width, "Ballast acquire", ballast.acquire("key")),
    atOnce(width, "Ballast withPermits (reserve and settle)", ballast.withPermits({ key: "key" })(Effect.void)),
    atOnce(
      width,
      "effect/persistence RateLimiter, token bucket",
      Effect.suspend(() => effect.consume({ key: "key", limit: many, window: "1 minute", algorithm: "token-bucket" }))
    ),
    atOnce(
      width,
      "rate-limiter-flexible (fixed window)",
      Effect.promise(() => flexible.consume("key"))
    ),
    atOnce(width, "a bare EVALSHA of INCR", bare("bare"))
  ]
}

/** Scripts that one call through a budget and a limiter has Redis run: until the provider is asked, and from then on. */
const trips = async (url: string): Promise<{ readonly admit: number; readonly settle: number }> => {
  const layer = Layer.mergeAll(Budget.layer({ limits: [{ usd: 1e6 }] }), RateLimiter.layer({ requestsPerMinute: many }))
  const connection = NodeRedis.layer({ url })
  const program = Effect.gen(function* () {
    const redis = yield* Redis.Redis
    const stats = Effect.map(Effect.orDie(redis.send<string>("INFO", "commandstats")), (text) =>
      [...text.matchAll(/cmdstat_eval(?:sha)?:calls=(\d+)/g)].reduce((sum, [, calls]) => sum + Number(calls), 0)
    )
    let asked = 0
    const counting = provider(
      Effect.map(stats, (now) => {
        asked = now
        return answer
      })
    )
    const gates = [(yield* Budget.Budget).gate, (yield* RateLimiter.RateLimiter).gate]
    const call = Gate.through(gates)(counting).generate(LlmRequest.makeUnsafe("What is ballast?"))
    yield* call // the first one loads scripts
    const before = yield* stats
    yield* call
    return { admit: asked - before, settle: (yield* stats) - asked }
  })
  const prices = Pricing.layerTable({ m: { input: 1, output: 1 } }, { base: "none" })
  return Effect.runPromise(
    program.pipe(
      Effect.provide(
        layer.pipe(
          Layer.provide(RedisQuotaStore.layer({ group: "trips" })),
          Layer.provide(prices),
          Layer.provideMerge(connection)
        )
      )
    )
  )
}

export interface OverRedis {
  readonly suites: ReadonlyArray<Suite>
  readonly trips: { readonly admit: number; readonly settle: number }
}

/** `undefined` on a machine that has no Redis. */
export const overRedis = async (): Promise<OverRedis | undefined> => {
  if (spawnSync("redis-server", ["--version"]).status !== 0) return undefined
  const url = await started()
  const at = await cases(url)
  const suites = [1, 100].map((width) => ({
    name: `A limit in Redis, ${width} at once`,
    base: "Ballast acquire",
    cases: at(width)
  }))
  return { suites, trips: await trips(url) }
}
