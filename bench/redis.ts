/** Limits shared through a real Redis, which the suite starts itself: one call at a time, and a hundred at once. */
import { spawn, spawnSync } from "node:child_process"
import { once } from "node:events"
import { createServer } from "node:net"
import * as NodeRedis from "@effect/platform-node/NodeRedis"
import { Context, Effect, Layer, Scope } from "effect"
import { RateLimiter as EffectLimiter, Redis } from "effect/persistence"
import { RateLimiterRedis } from "rate-limiter-flexible"
import { createClient } from "redis"
import { RateLimiter } from "../src/index.ts"
import * as RedisQuotaStore from "../src/RedisQuotaStore.ts"
import type { Case, Suite } from "./harness.ts"

const many = 1_000_000_000

/** `n` calls, so many of them under way at any time. */
const atOnce = (width: number, name: string, call: Effect.Effect<unknown, unknown>): Case => ({
  name,
  run: (n) => {
    let left = n
    const worker = Effect.whileLoop({ while: () => left-- > 0, body: () => call, step: () => {} })
    return Effect.runPromise(
      Effect.forEach(Array.from({ length: width }), () => worker, { concurrency: "unbounded", discard: true })
    )
  }
})

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
    RateLimiter.layer({ requestsPerMinute: many }).pipe(Layer.provide(RedisQuotaStore.layer())),
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

const suites = async (): Promise<ReadonlyArray<Suite>> => {
  if (spawnSync("redis-server", ["--version"]).status !== 0) {
    console.log("No redis-server on this machine: the suites over Redis are left out.\n")
    return []
  }
  const at = await cases(await started())
  return [1, 100].map((width) => ({
    name: `A limit in Redis, ${width} at once`,
    base: "Ballast acquire",
    cases: at(width)
  }))
}

export const redisSuites = suites
