import process from "node:process"
import { inspect } from "node:util"
import { assert, describe, it } from "@effect/vitest"
import { Clock, Config, ConfigProvider, Context, Effect, Fiber, Layer, Metric, Result, Schedule } from "effect"
import { Redis } from "effect/persistence"
import { TestClock } from "effect/testing"
import { CacheStoreContract } from "effect-ballast/testing"
import { CacheStore, type NewEntry, type Service } from "effect-ballast/CacheStore"
import * as Metrics from "effect-ballast/Metrics"
import * as RedisCacheStore from "effect-ballast/RedisCacheStore"
import {
  anyServer,
  calls,
  client,
  cluster,
  describeOwnRedis,
  describeRedis,
  own,
  RedisServer
} from "./support/redis.ts"

const forever = { createdAt: 0, expiresAt: Number.MAX_SAFE_INTEGER }
const of = (value: unknown): NewEntry => ({ ...forever, value })
const mebibyte = 2 ** 20

/** Tests of processes and connections run in real time. */
const live = { excludeTestServices: true }

let prefixes = 0

/** Keys that no other test uses, of a process that no other test run is. */
const newPrefix = () => `test-${process.pid}-cache-${prefixes++}`

const made = Effect.fnUntraced(function* (options: RedisCacheStore.Options = {}) {
  const prefix = options.prefix ?? newPrefix()
  const store = yield* RedisCacheStore.make({ ...options, prefix })
  const redis = yield* Redis.Redis
  const keys = (part: string) => redis.send<ReadonlyArray<string>>("KEYS", `${prefix}:{cache}:${part}*`)
  const entry = `${prefix}:{cache}:entry/key/`
  return { store, prefix, redis, keys, entry }
})

const corrupt = Effect.map(
  Metric.value(Metrics.cacheCorrupt("redis")),
  (state) => (state as { readonly count: number }).count // it is a counter of numbers
)

/** The only failure there is, and nothing of what was stored in it. */
const unavailable = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.result(effect), (result) => {
    if (!Result.isFailure(result)) return assert.fail("it fails")
    assert.propertyVal(result.failure, "_tag", "StoreUnavailable")
    assert.notInclude(inspect(result.failure, { depth: 10 }), "secret")
    assert.notInclude(JSON.stringify(result.failure), "secret")
    return result.failure
  })

const isMiss = (store: Service, partition?: string) =>
  Effect.map(store.get("key", partition), (entry) => assert.isTrue(entry === undefined, "it is a miss"))

const any = client().pipe(Layer.provideMerge(anyServer))

describeRedis("the contract, in Redis", () => {
  it.layer(any)((it) => {
    for (const compress of [false, true])
      for (const { name, run } of CacheStoreContract.cases)
        it.effect(compress ? `${name}, compressed` : name, () =>
          Effect.gen(function* () {
            const { store } = yield* made({ compress })
            yield* run({ store, advance: (millis) => TestClock.adjust(millis) })
          })
        )
  })
})

describeRedis("what is stored in Redis", () => {
  it.layer(any)((it) => {
    it.effect("goes by itself when it has expired, and what it was readable by with it", () =>
      Effect.gen(function* () {
        const { keys, redis, store } = yield* made()
        const now = yield* Clock.currentTimeMillis
        yield* store.set("short", { value: 1, createdAt: now, expiresAt: now + 20 }, "a")
        yield* store.set("long", { value: 1, createdAt: now, expiresAt: now + 60_000 }, "b")
        const names = yield* Effect.repeat(keys(""), { until: (names) => names.length <= 3, times: 10_000 })
        for (const name of names) {
          const life = yield* redis.send<number>("PTTL", name)
          assert.isAtMost(life, 60_000)
          assert.isAbove(life, 30_000)
        }
        assert.strictEqual(names.length, 3)
      })
    )

    it.effect("costs one command for each get, set, delete and clear", () =>
      Effect.gen(function* () {
        const { redis, store } = yield* made()
        let sent = 0
        const counting: Redis.Redis["Service"] = {
          ...redis,
          send: (...args) => {
            sent++
            return redis.send(...args)
          }
        }
        const counted = yield* Effect.provideService(made(), Redis.Redis, counting)
        yield* store.set("key", of(1), "a")
        yield* store.get("key", "a")
        const uses = [
          () => counted.store.set("key", of(1), "a"),
          () => counted.store.get("key", "a"),
          () => counted.store.get("none", "a"),
          () => counted.store.delete("key", "a"),
          () => counted.store.clear({ partition: "a" }),
          () => counted.store.clear()
        ]
        for (const use of uses) {
          sent = 0
          yield* use()
          assert.strictEqual(sent, 1)
        }
      })
    )

    it.effect("is compressed where that is shorter, and read by who does not compress", () =>
      Effect.gen(function* () {
        const { entry, prefix, redis, store } = yield* made({ compress: true })
        yield* store.set("key", of("same ".repeat(10_000)), undefined)
        assert.isBelow(yield* redis.send<number>("STRLEN", entry), 1000)
        const plain = yield* made({ prefix })
        assert.strictEqual((yield* plain.store.get("key", undefined))?.value, "same ".repeat(10_000))
      })
    )

    it.effect("is what fits `maxEntryBytes` to the byte, as UTF-8", () =>
      Effect.gen(function* () {
        const { store } = yield* made({ maxEntryBytes: 1000 })
        yield* store.set("key", of("é".repeat(499)), undefined)
        assert.isDefined(yield* store.get("key", undefined))
        yield* store.set("key", of(`${"é".repeat(499)}x`), undefined)
        yield* isMiss(store)
      })
    )

    it.effect("is a miss, deleted and counted where somebody else wrote over it", () =>
      Effect.gen(function* () {
        const { entry, redis, store } = yield* made()
        const others = [
          "garbage",
          "b1",
          "B1 ",
          "b0 x",
          "\ufffd\ufffd",
          "x".repeat(2 * mebibyte),
          "x".repeat(50 * mebibyte)
        ]
        const before = yield* corrupt
        for (const [i, text] of others.entries()) {
          yield* store.set("key", of(1), undefined)
          yield* redis.send("SET", entry, text)
          yield* isMiss(store)
          assert.strictEqual(yield* corrupt, before + i + 1, text.slice(0, 20))
          assert.strictEqual(yield* redis.send("EXISTS", entry), 0)
        }
      })
    )

    it.effect("is a miss, deleted and counted where its text is broken or too long behind what makes it readable", () =>
      Effect.gen(function* () {
        const { entry, redis, store } = yield* made()
        const breaks: ReadonlyArray<(text: string) => string> = [
          (text) => text.slice(0, -1),
          (text) => `${text}}`,
          (text) => text.replace(" j ", " k "),
          (text) => text.replace(" j ", " z "),
          (text) => text.replace(" j 0 ", " j x "),
          (text) => text + " ".repeat(mebibyte + 100),
          (text) => text + " ".repeat(50 * mebibyte)
        ]
        const before = yield* corrupt
        for (const [i, change] of breaks.entries()) {
          yield* store.set("key", of({ a: 1 }), undefined)
          yield* redis.send("SET", entry, change(yield* redis.send<string>("GET", entry)))
          yield* isMiss(store)
          assert.strictEqual(yield* corrupt, before + i + 1, `${i}`)
          assert.strictEqual(yield* redis.send("EXISTS", entry), 0)
        }
      })
    )

    it.effect("is not even sent where it is too long", () =>
      Effect.gen(function* () {
        const { entry, prefix, redis, store } = yield* made()
        let longest = 0
        const measuring: Redis.Redis["Service"] = {
          ...redis,
          send: <A>(command: string, ...args: ReadonlyArray<string>) =>
            Effect.tap(redis.send<A>(command, ...args), (reply) =>
              Effect.sync(() => void (longest = Math.max(longest, (JSON.stringify(reply) ?? "").length)))
            )
        }
        const measured = yield* Effect.provideService(made({ prefix }), Redis.Redis, measuring)
        yield* store.set("key", of("long"), undefined)
        const text = yield* redis.send<string>("GET", entry)
        for (const long of [text + " ".repeat(mebibyte + 100), "x".repeat(mebibyte), `b2 ${"x".repeat(mebibyte)}`]) {
          yield* redis.send("SET", entry, long)
          yield* isMiss(measured.store)
        }
        assert.isAtMost(longest, 100)
      })
    )

    it.effect("by a newer version is a miss and left alone, however long it is", () =>
      Effect.gen(function* () {
        const { entry, redis, store } = yield* made()
        const before = yield* corrupt
        for (const text of ["b2 anything", `b10 ${"x".repeat(2 * mebibyte)}`]) {
          yield* redis.send("SET", entry, text)
          yield* isMiss(store)
          assert.strictEqual(yield* redis.send("GET", entry), text)
        }
        assert.strictEqual(yield* corrupt, before)
        yield* store.set("key", of(1), undefined)
        assert.strictEqual((yield* store.get("key", undefined))?.value, 1)
      })
    )

    it.effect("is a miss where the key is of another type, and set over it", () =>
      Effect.gen(function* () {
        const { entry, redis, store } = yield* made()
        yield* redis.send("LPUSH", entry, "somebody's")
        yield* isMiss(store)
        yield* store.set("key", of(1), undefined)
        assert.strictEqual((yield* store.get("key", undefined))?.value, 1)
      })
    )

    it.effect("fails where what makes it readable is of another type", () =>
      Effect.gen(function* () {
        const { prefix, redis, store } = yield* made()
        yield* redis.send("LPUSH", `${prefix}:{cache}:all`, "somebody's")
        yield* unavailable(store.set("secret", of("secret"), "secret"))
        yield* isMiss(store)
        yield* store.clear()
        yield* store.set("key", of(1), undefined)
        assert.strictEqual((yield* store.get("key", undefined))?.value, 1)
      })
    )

    it.effect("is cleared for every process at once, and never comes back", () =>
      Effect.gen(function* () {
        const { entry, prefix, redis, store } = yield* made()
        const other = yield* made({ prefix })
        yield* store.set("key", of("old"), undefined)
        const old = yield* redis.send<string>("GET", entry)
        yield* other.store.clear({ partition: undefined })
        yield* isMiss(store)
        yield* store.set("other", of("new"), undefined)
        // as one that was evicted and restored, or written by a command that was late
        yield* redis.send("SET", entry, old)
        yield* isMiss(store)
        yield* isMiss(other.store)
        yield* other.store.clear()
        yield* store.set("key", of("new"), undefined)
        yield* redis.send("SET", entry, old)
        yield* isMiss(store)
      })
    )

    it.effect("is a miss when Redis has evicted what makes it readable", () =>
      Effect.gen(function* () {
        for (const part of ["all", "partition/"]) {
          const { prefix, redis, store } = yield* made()
          yield* store.set("key", of(1), undefined)
          yield* redis.send("DEL", `${prefix}:{cache}:${part}`)
          yield* isMiss(store)
          yield* store.set("other", of(2), undefined)
          yield* isMiss(store)
        }
      })
    )

    it.effect("has keys of at most 470 bytes", () =>
      Effect.gen(function* () {
        const { keys, store } = yield* made()
        yield* store.set("x".repeat(10_000), of(1), "é".repeat(10_000))
        for (const key of yield* keys("")) assert.isAtMost(Buffer.byteLength(key), 470)
        assert.strictEqual((yield* store.get("x".repeat(10_000), "é".repeat(10_000)))?.value, 1)
        yield* isMiss(store)
      })
    )

    it.effect("is counted by nobody, and comes from outside", () =>
      Effect.gen(function* () {
        const { store } = yield* made()
        assert.deepStrictEqual(yield* store.size, { entries: undefined, bytes: undefined })
        assert.isTrue(store.external)
      })
    )
  })
})

describeOwnRedis("a cluster", () => {
  it.layer(
    client().pipe(Layer.provideMerge(cluster)),
    live
  )((it) => {
    it.effect("has all keys of a cache in one slot", () =>
      Effect.gen(function* () {
        const { keys, redis, store } = yield* made()
        yield* store.set("{a}key", of(1), "{b}partition")
        assert.strictEqual((yield* store.get("{a}key", "{b}partition"))?.value, 1)
        const slots = yield* Effect.forEach(yield* keys(""), (key) => redis.send<number>("CLUSTER", "KEYSLOT", key))
        assert.strictEqual(slots.length, 3)
        assert.strictEqual(new Set(slots).size, 1)
      })
    )
  })
})

describeOwnRedis("a Redis that fails", { timeout: 60_000 }, () => {
  const all = (store: Service) => [
    store.get("secret", "secret"),
    store.set("secret", of("secret"), "secret"),
    store.delete("secret", "secret"),
    store.clear({ partition: "secret" }),
    store.clear()
  ]

  it.layer(
    client().pipe(Layer.provideMerge(own())),
    live
  )((it) => {
    it.effect("by being killed fails what is asked, and answers again when it is back", () =>
      Effect.gen(function* () {
        const server = yield* RedisServer
        const { store } = yield* made()
        yield* store.set("key", of(1), undefined)
        yield* server.kill
        for (const asked of all(store)) yield* unavailable(asked)
        yield* server.start
        yield* Effect.repeat(Effect.result(store.get("key", undefined)), {
          until: Result.isSuccess,
          schedule: Schedule.spaced("50 millis"),
          times: 200
        })
        yield* isMiss(store)
        yield* store.set("key", of(2), undefined)
        assert.strictEqual((yield* store.get("key", undefined))?.value, 2)
      })
    )

    it.effect("by saying nothing fails what is asked after its time", () =>
      Effect.gen(function* () {
        const { redis, store } = yield* made({ commandTimeout: "50 millis" })
        yield* store.set("key", of(1), undefined)
        yield* redis.send("CLIENT", "PAUSE", "600")
        const asked = yield* Effect.forEach(all(store), (one) => Effect.forkChild(unavailable(one)))
        for (const fiber of asked) assert.propertyVal(yield* Fiber.join(fiber), "description", "no answer within 50 ms")
        yield* Effect.repeat(Effect.result(store.set("key", of(2), undefined)), {
          until: Result.isSuccess,
          schedule: Schedule.spaced("50 millis"),
          times: 200
        })
        assert.strictEqual((yield* store.get("key", undefined))?.value, 2)
      })
    )
  })

  it.layer(
    client().pipe(Layer.provideMerge(own("--maxmemory", "4mb", "--maxmemory-policy", "noeviction"))),
    live
  )((it) => {
    it.effect("by being full refuses more, and keeps answering", () =>
      Effect.gen(function* () {
        const { store } = yield* made()
        yield* store.set("key", of("old"), undefined)
        const filled = Effect.forEach(Array.from({ length: 200 }), (_, i) =>
          store.set(`secret ${i}`, of("secret".repeat(10_000)), "secret")
        )
        yield* unavailable(filled)
        assert.strictEqual((yield* store.get("key", undefined))?.value, "old")
        yield* store.clear({ partition: "secret" })
        yield* store.delete("key", undefined)
        yield* isMiss(store)
      })
    )
  })

  it.layer(
    client().pipe(Layer.provideMerge(own("--maxmemory", "8mb", "--maxmemory-policy", "allkeys-lru"))),
    live
  )((it) => {
    it.effect("not at all where it may evict: it takes what is new and forgets what is old", () =>
      Effect.gen(function* () {
        const { store } = yield* made()
        for (let i = 0; i < 500; i++) {
          yield* store.set(`${i}`, of({ i, text: "x".repeat(50_000) }), undefined)
          assert.isTrue((yield* store.get(`${i}`, undefined)) !== undefined, `${i}`)
        }
        const info = yield* (yield* Redis.Redis).send<string>("INFO", "stats")
        assert.notInclude(info, "evicted_keys:0\r\n")
      })
    )
  })

  it.layer(client().pipe(Layer.provideMerge(own())))((it) => {
    it.effect("by forgetting its scripts is told them again", () =>
      Effect.gen(function* () {
        const { redis, store } = yield* made()
        yield* store.set("key", of(1), undefined)
        yield* redis.send("SCRIPT", "FLUSH")
        assert.strictEqual((yield* store.get("key", undefined))?.value, 1)
        yield* redis.send("SCRIPT", "FLUSH")
        yield* store.set("key", of(2), undefined)
        assert.isAtLeast((yield* calls).get("eval") ?? 0, 2)
        assert.strictEqual((yield* store.get("key", undefined))?.value, 2)
      })
    )
  })

  it.effect("by answering with anything at all is a miss or a failure", () =>
    Effect.gen(function* () {
      const replies = [
        "text",
        0,
        -1,
        [],
        [1],
        [0],
        ["0", "text"],
        [0, null],
        [1, null],
        [2, "text"],
        {},
        true,
        [[], []]
      ]
      for (const reply of replies) {
        const redis: Redis.Redis["Service"] = {
          ...(yield* Redis.make({
            send: <A>() => Effect.succeed(reply as A), // whatever was asked for
            subscribe: () => Effect.never,
            connect: Effect.never
          })),
          send: <A>() => Effect.succeed(reply as A) // the same
        }
        const store = yield* Effect.provideService(RedisCacheStore.make(), Redis.Redis, redis)
        yield* isMiss(store)
        yield* store.set("key", of(1), undefined)
        yield* store.clear()
      }
    })
  )
})

describe("options", () => {
  it("that can never work are refused", () => {
    const make = (options: RedisCacheStore.Options) => () => RedisCacheStore.make(options)
    assert.throws(make({ maxEntryBytes: 0 }), RangeError, "RedisCacheStore.make: maxEntryBytes must be an integer >= 1")
    assert.throws(
      make({ commandTimeout: 0 }),
      RangeError,
      "RedisCacheStore.make: commandTimeout must be a duration > 0"
    )
  })
})

describeRedis("the layer", () => {
  it.layer(any)((it) => {
    it.effect("takes its options from Config as well", () =>
      Effect.gen(function* () {
        const layerOf = (maxEntryBytes: string) =>
          RedisCacheStore.layerConfig({ prefix: newPrefix(), maxEntryBytes: Config.Int("MAX") }).pipe(
            Layer.provide(ConfigProvider.layer(ConfigProvider.fromUnknown({ MAX: maxEntryBytes })))
          )
        const store = Context.get(yield* Layer.build(layerOf("10")), CacheStore)
        yield* store.set("key", of("12345678"), undefined)
        assert.isDefined(yield* store.get("key", undefined))
        yield* store.set("key", of("123456789"), undefined)
        yield* isMiss(store)
        const refused = yield* Effect.result(Layer.build(layerOf("0")))
        assert.isTrue(Result.isFailure(refused) && refused.failure._tag === "ConfigError")
      })
    )
  })
})
