/** A cache whose store fails in every way that real ones do: each call is answered by the provider, and says so once. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import * as NodeRedis from "@effect/platform-node/NodeRedis"
import { assert, it } from "@effect/vitest"
import { Effect, Layer, Logger, Schedule } from "effect"
import { Redis } from "effect/persistence"
import { Cache, CacheStore } from "effect-ballast"
import * as RedisCacheStore from "effect-ballast/RedisCacheStore"
import * as SqlCacheStore from "effect-ballast/SqlCacheStore"
import * as SqliteClient from "effect-ballast/SqliteClient"
import { TestProvider } from "effect-ballast/testing"
import { request } from "./support/caches.ts"
import { describeOwnRedis, own, RedisServer } from "./support/redis.ts"

const live = { excludeTestServices: true }

const cached = Effect.fnUntraced(function* (store: CacheStore.Service) {
  const inner = TestProvider.make({ steps: [(_, call) => `${call}`] })
  const cache = yield* Cache.make().pipe(Effect.provide(Layer.succeed(CacheStore.CacheStore, store)))
  const provider = cache.wrap(inner)
  return { cache, inner, asked: Effect.map(provider.generate(request), ({ text }) => text) }
})

/** What was logged as a warning, but for what the client says itself. */
const warned = <A, E, R>(self: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const warnings: Array<string> = []
    const logger = Logger.make(({ logLevel, message }) => {
      if (logLevel === "Warn" && !String(message).includes("NodeRedis")) warnings.push(String(message))
    })
    const value = yield* Effect.provide(self, Logger.layer([logger]))
    return { value, warnings }
  })

describeOwnRedis("a Redis", () => {
  const client = Layer.unwrap(
    Effect.map(RedisServer, ({ url }) =>
      NodeRedis.layer({
        url,
        disableOfflineQueue: true,
        socket: { connectTimeout: 500, reconnectStrategy: () => 50 }
      })
    )
  )

  /** The client has found its server again. */
  const back = Effect.flatMap(Redis.Redis, (redis) =>
    Effect.retry(redis.send("PING"), { schedule: Schedule.spaced("50 millis"), times: 100 })
  )

  it.layer(
    Layer.provideMerge(client, own()),
    live
  )((it) => {
    it.effect("that is killed and comes back", () =>
      Effect.gen(function* () {
        const server = yield* RedisServer
        const store = yield* RedisCacheStore.make()
        const { asked, cache, inner } = yield* cached(store)
        assert.deepStrictEqual([yield* asked, yield* asked], ["0", "0"])
        yield* server.kill
        // what is kept is kept behind the answer
        const noticed = Effect.repeat(cache.stats, {
          until: ({ errors }) => errors >= 5,
          schedule: Schedule.spaced("10 millis"),
          times: 500
        })
        const { value, warnings } = yield* warned(
          Effect.tap(Effect.replicateEffect(Cache.refresh(asked), 8), () => noticed)
        )
        assert.deepStrictEqual(value, ["1", "2", "3", "4", "5", "6", "7", "8"])
        assert.strictEqual(warnings.length, 1)
        yield* server.start
        yield* back
        const other = yield* cached(store)
        const again = Effect.map(other.asked, () => other.inner.calls.length)
        yield* again
        const hits = Effect.map(Effect.andThen(again, other.cache.stats), ({ hits }) => hits > 0)
        yield* Effect.repeat(hits, { until: (hits) => hits, schedule: Schedule.spaced("50 millis"), times: 100 })
        assert.strictEqual(inner.calls.length, 9)
      })
    )

    it.effect("that is full, hangs, or brings garbage", () =>
      Effect.gen(function* () {
        const redis = yield* Redis.Redis
        yield* back
        const refreshed = yield* cached(yield* RedisCacheStore.make({ prefix: "faults" }))
        const asked = Cache.refresh(refreshed.asked)
        yield* redis.send("CONFIG", "SET", "maxmemory", "1")
        assert.deepStrictEqual([yield* asked, yield* asked], ["0", "1"])
        yield* redis.send("CONFIG", "SET", "maxmemory", "0")
        assert.deepStrictEqual([yield* asked, yield* refreshed.asked], ["2", "2"])
        const keys = yield* redis.send<ReadonlyArray<string>>("KEYS", "faults*")
        for (const key of keys)
          if ((yield* redis.send("TYPE", key)) === "string") yield* redis.send("SET", key, "garbage")
        assert.deepStrictEqual([yield* refreshed.asked, yield* refreshed.asked], ["3", "3"])
        yield* redis.send("CLIENT", "PAUSE", "600", "ALL")
        assert.strictEqual(yield* asked, "4")
      })
    )
  })
})

const withFile = <A, E, R>(use: (file: string) => Effect.Effect<A, E, R>) =>
  Effect.acquireUseRelease(
    Effect.sync(() => mkdtempSync(join(tmpdir(), "ballast-faults-"))),
    (folder) => use(join(folder, "cache.sqlite")),
    (folder) => Effect.sync(() => rmSync(folder, { recursive: true, force: true }))
  )

const storeOf = (file: string) =>
  Effect.map(
    Layer.build(SqlCacheStore.layer().pipe(Layer.provide(SqliteClient.layer({ filename: file, lockTimeout: 100 })))),
    (services) => CacheStore.CacheStore.pipe(Effect.provide(services))
  ).pipe(Effect.flatten)

it.live("a SQLite file that is locked, that is full, and that is overwritten", () =>
  withFile((file) =>
    Effect.gen(function* () {
      const { asked, cache } = yield* cached(yield* storeOf(file))
      assert.deepStrictEqual([yield* asked, yield* asked], ["0", "0"])
      const other = new DatabaseSync(file)
      other.exec("BEGIN EXCLUSIVE")
      yield* cache.clear({ tenant: undefined }).pipe(Effect.flip)
      assert.strictEqual(yield* Cache.refresh(asked), "1")
      other.exec("COMMIT")
      other.close()
      assert.strictEqual(yield* Cache.refresh(asked), "2")
      assert.strictEqual(yield* asked, "2")
      writeFileSync(file, "x".repeat(100_000))
      const { value, warnings } = yield* warned(Effect.replicateEffect(Cache.refresh(asked), 8))
      assert.deepStrictEqual(value, ["3", "4", "5", "6", "7", "8", "9", "10"])
      assert.isAtMost(warnings.length, 1)
    }).pipe(Effect.scoped)
  )
)
