import process from "node:process"
import { inspect } from "node:util"
import { assert, describe, it } from "@effect/vitest"
import { Clock, Config, ConfigProvider, Context, Effect, Fiber, Layer, Metric, Result, Schedule } from "effect"
import { Redis } from "effect/persistence"
import { TestClock } from "effect/testing"
import { VectorIndexContract } from "effect-ballast/testing"
import * as Metrics from "effect-ballast/Metrics"
import * as RedisVectorIndex from "effect-ballast/RedisVectorIndex"
import { type Item, type Service, VectorIndex } from "effect-ballast/VectorIndex"
import { anyServer, client, cluster, describeOwnRedis, describeRedis, own, RedisServer } from "./support/redis.ts"
import { clustered, cosine, type Numbers } from "./support/vectors.ts"

const of = (id: string, vector: Numbers, expiresAt = Number.MAX_SAFE_INTEGER): Item => ({
  id,
  vector,
  data: id,
  expiresAt
})
const all = { limit: 100, atLeast: -1 }
const ids = (index: Service, vector: Numbers = [1, 0], partition = "p") =>
  Effect.map(index.nearest(partition, vector, all), (matches) => matches.map(({ id }) => id).toSorted())

/** Tests of processes and connections run in real time. */
const live = { excludeTestServices: true }

let prefixes = 0

/** Keys that no other test uses, of a process that no other test run is. */
const newPrefix = () => `test-${process.pid}-vectors-${prefixes++}`

const made = Effect.fnUntraced(function* (options: RedisVectorIndex.Options = {}) {
  const prefix = options.prefix ?? newPrefix()
  const index = yield* RedisVectorIndex.make({ ...options, prefix })
  const redis = yield* Redis.Redis
  const keys = (kind: string) => redis.send<ReadonlyArray<string>>("KEYS", `${prefix}:{vectors}:${kind}*`)
  return { index, prefix, redis, keys }
})

const corrupt = Effect.map(
  Metric.value(Metrics.cacheCorrupt("redis")),
  (state) => (state as { readonly count: number }).count // it is a counter of numbers
)

/** The failure of an index that does not answer, and nothing of what was stored in it. */
const unavailable = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.result(effect), (result) => {
    if (!Result.isFailure(result)) return assert.fail("it fails")
    assert.propertyVal(result.failure, "_tag", "StoreUnavailable")
    assert.notInclude(inspect(result.failure, { depth: 10 }), "secret")
    assert.notInclude(JSON.stringify(result.failure), "secret")
    return result.failure
  })

const everything = (index: Service) => [
  index.nearest("secret", [1, 0], all),
  index.add("secret", of("secret", [1, 0]), "secret"),
  index.remove("secret", "secret"),
  index.clear({ tenant: "secret" }),
  index.clear()
]

const any = client().pipe(Layer.provideMerge(anyServer))

describeRedis("the contract, in Redis", () => {
  it.layer(any)((it) => {
    for (const { name, run } of VectorIndexContract.cases)
      it.effect(name, () =>
        Effect.gen(function* () {
          const { index } = yield* made()
          yield* run({ index, advance: (millis) => TestClock.adjust(millis) })
        })
      )
  })
})

describeRedis("what is indexed in Redis", () => {
  it.layer(any)((it) => {
    it.effect("goes by itself when it has expired, and all that was known of it", () =>
      Effect.gen(function* () {
        const { index, keys, redis } = yield* made()
        const now = yield* Clock.currentTimeMillis
        yield* index.add("p", of("short", [1, 0], now + 20), "a")
        yield* index.add("q", of("long", [1, 0], now + 60_000), "b")
        const names = yield* Effect.repeat(keys(""), { until: (names) => names.length <= 5, times: 10_000 })
        assert.strictEqual(names.length, 5)
        for (const name of names) {
          const life = yield* redis.send<number>("PTTL", name)
          assert.isAtMost(life, 60_000)
          assert.isAbove(life, 30_000)
        }
        yield* TestClock.adjust(20)
        yield* index.add("q", of("new", [1, 0], now + 1000), "b")
        const [list = ""] = yield* keys("all")
        assert.strictEqual(yield* redis.send<number>("ZCARD", list), 1)
      })
    )

    it.effect("is what ends last of a partition, and nothing of what had expired or was too much", () =>
      Effect.gen(function* () {
        const { index, keys, redis } = yield* made({ maxEntries: 10 })
        const now = yield* Clock.currentTimeMillis
        for (let i = 0; i < 30; i++)
          yield* index.add("p", of(`${(i * 7) % 30}`, [1, i], now + 9000 + ((i * 7) % 30)), "a")
        assert.deepStrictEqual(
          yield* ids(index),
          Array.from({ length: 10 }, (_, i) => `${20 + i}`)
        )
        yield* TestClock.adjust(9025)
        yield* index.add("p", of("new", [1, 0], now + 60_000), "a")
        for (const kind of ["vectors", "texts"])
          assert.strictEqual(yield* redis.send<number>("HLEN", (yield* keys(kind))[0] ?? ""), 5)
        assert.strictEqual(yield* redis.send<number>("ZCARD", (yield* keys("ends"))[0] ?? ""), 5)
      })
    )

    it.effect("is read by no more than the bound, where another process has a higher one", () =>
      Effect.gen(function* () {
        const { index, prefix } = yield* made()
        const now = yield* Clock.currentTimeMillis
        for (let i = 0; i < 30; i++) yield* index.add("p", of(`${i}`, [1, i], now + 9000 + i), undefined)
        const { index: lower } = yield* made({ prefix, maxEntries: 5 })
        assert.deepStrictEqual(yield* ids(lower), ["25", "26", "27", "28", "29"])
      })
    )

    it.effect("costs one command for each, two where something is found", () =>
      Effect.gen(function* () {
        const { redis } = yield* made()
        let sent = 0
        const counting: Redis.Redis["Service"] = {
          ...redis,
          send: (...args) => {
            sent++
            return redis.send(...args)
          }
        }
        const { index } = yield* Effect.provideService(made(), Redis.Redis, counting)
        const uses: ReadonlyArray<readonly [use: () => Effect.Effect<unknown, unknown>, commands: number]> = [
          [() => index.add("p", of("x", [1, 0]), "a"), 1],
          [() => index.nearest("p", [1, 0], all), 2],
          [() => index.nearest("p", [0, 1], { limit: 1, atLeast: 0.9 }), 1],
          [() => index.remove("p", "x"), 1],
          [() => index.clear({ tenant: "never" }), 1],
          [() => index.clear(), 2]
        ]
        for (const [use] of uses) yield* use() // the scripts are known from now on
        for (const [use, commands] of uses) {
          sent = 0
          yield* use()
          assert.strictEqual(sent, commands)
        }
      })
    )

    it.effect("is cleared in steps, all of it", () =>
      Effect.gen(function* () {
        const { index, keys } = yield* made()
        for (let i = 0; i < 250; i++) yield* index.add(`${i}`, of("x", [1, 0]), i < 230 ? "a" : "b")
        yield* index.clear({ tenant: "a" })
        assert.strictEqual((yield* keys("vectors")).length, 20)
        for (let i = 0; i < 230; i++) yield* index.add(`${i}`, of("x", [1, 0]), "a")
        yield* index.clear()
        assert.deepStrictEqual(yield* keys("vectors"), [])
      })
    )

    it.effect("is found as by a whole search", () =>
      Effect.gen(function* () {
        const { index } = yield* made({ commandTimeout: "5 seconds" })
        const { around, vectors } = clustered(500, 1536, 20)
        for (const [i, vector] of vectors.entries()) yield* index.add("p", of(`${i}`, vector), undefined)
        const query = around(vectors[171] ?? [], 0.2)
        const wanted = vectors
          .map((vector, i) => ({ id: `${i}`, similarity: cosine(query, vector) }))
          .toSorted((a, b) => b.similarity - a.similarity)
        const found = yield* index.nearest("p", query, { limit: 10, atLeast: 0.1 })
        assert.deepStrictEqual(
          found.map(({ id }) => id),
          wanted.slice(0, 10).map(({ id }) => id)
        )
        for (const [i, match] of found.entries()) assert.closeTo(match.similarity, wanted[i]?.similarity ?? 0, 2e-6)
      })
    )

    it.effect("is none, deleted and counted where it cannot be read", () =>
      Effect.gen(function* () {
        const { index, keys, redis } = yield* made()
        const now = yield* Clock.currentTimeMillis
        const broken: ReadonlyArray<readonly [kind: string, text: string]> = [
          ["vectors", "v1 2 - "],
          ["vectors", "v1 2 - garbage!"],
          ["vectors", "v1 2 - AADAfwAAwH8="],
          ["vectors", "v1 2 - //9/f///f38="],
          ["vectors", "v1 2"],
          ["vectors", ""],
          ["vectors", "v2 2 - anything"],
          ["vectors", `v1 2 - ${"A".repeat(1_000_000)}`],
          ["texts", ""],
          ["texts", "garbage"],
          ["texts", '["x"]'],
          ["texts", `["x",${" ".repeat(1_000_000)}1]`]
        ]
        for (const [kind, text] of broken) {
          const before = yield* corrupt
          yield* index.add("p", of("y", [1, 0]), undefined)
          yield* index.add("p", of("x", [1, 0], now + 1_000_000), undefined)
          const key = (yield* keys(kind))[0] ?? ""
          const fields = yield* redis.send<ReadonlyArray<string>>("HKEYS", key)
          yield* redis.send("HSET", key, fields.at(-1) ?? "", text)
          assert.strictEqual((yield* ids(index)).length, 1, text.slice(0, 50))
          // what is no vector of these dimensions is not looked at: another version may have written it
          const isOther = kind === "vectors" && (!text.startsWith("v1 2 ") || text.length > 1000)
          assert.strictEqual(yield* corrupt, before + (isOther ? 0 : 1), text.slice(0, 50))
          yield* index.clear()
          for (const left of ["vectors", "texts", "ends", "all"]) assert.deepStrictEqual(yield* keys(left), [])
        }
      })
    )

    it.effect("goes with its tenant where Redis has lost a part of it, or has what nobody wrote", () =>
      Effect.gen(function* () {
        const { index, keys, redis } = yield* made()
        for (const kind of ["vectors", "texts", "ends"]) {
          yield* index.add("p", of("x", [1, 0]), "a")
          yield* redis.send("DEL", (yield* keys(kind))[0] ?? "")
          assert.deepStrictEqual(yield* ids(index), [])
          yield* index.add("p", of("y", [1, 0]), "a")
          assert.deepStrictEqual(yield* ids(index), ["y"])
          yield* index.clear({ tenant: "a" })
          assert.deepStrictEqual(yield* keys("vectors"), [])
          assert.deepStrictEqual(yield* keys("texts"), [])
          yield* index.clear()
        }
        yield* index.add("p", of("x", [1, 0]), "a")
        const [key = ""] = yield* keys("vectors")
        yield* redis.send("DEL", key)
        yield* redis.send("SET", key, "secret")
        for (const asked of [index.nearest("p", [1, 0], all), index.add("p", of("x", [1, 0]), "a")])
          yield* unavailable(asked)
      })
    )
  })
})

describeOwnRedis("a cluster", () => {
  it.layer(
    client().pipe(Layer.provideMerge(cluster)),
    live
  )((it) => {
    it.effect("has all keys of an index in one slot", () =>
      Effect.gen(function* () {
        const { index, keys, redis } = yield* made()
        yield* index.add("{a}p", of("x", [1, 0]), "{b}")
        assert.deepStrictEqual(yield* ids(index, [1, 0], "{a}p"), ["x"])
        const slots = yield* Effect.forEach(yield* keys(""), (key) => redis.send<number>("CLUSTER", "KEYSLOT", key))
        assert.strictEqual(slots.length, 5)
        assert.strictEqual(new Set(slots).size, 1)
        yield* index.clear({ tenant: "{b}" })
        assert.deepStrictEqual(yield* ids(index, [1, 0], "{a}p"), [])
      })
    )
  })
})

describeOwnRedis("a Redis that fails", { timeout: 60_000 }, () => {
  it.layer(
    client().pipe(Layer.provideMerge(own())),
    live
  )((it) => {
    it.effect("by being killed fails what is asked, and answers again when it is back", () =>
      Effect.gen(function* () {
        const server = yield* RedisServer
        const { index } = yield* made()
        yield* index.add("p", of("x", [1, 0]), undefined)
        yield* server.kill
        for (const asked of everything(index)) yield* unavailable(asked)
        yield* server.start
        yield* Effect.repeat(Effect.result(ids(index)), {
          until: Result.isSuccess,
          schedule: Schedule.spaced("50 millis"),
          times: 200
        })
        assert.deepStrictEqual(yield* ids(index), [])
        yield* index.add("p", of("y", [1, 0]), undefined)
        assert.deepStrictEqual(yield* ids(index), ["y"])
      })
    )

    it.effect("by saying nothing fails what is asked after its time", () =>
      Effect.gen(function* () {
        const { index, redis } = yield* made({ commandTimeout: "50 millis" })
        yield* index.add("p", of("x", [1, 0]), undefined)
        yield* redis.send("CLIENT", "PAUSE", "600")
        const asked = yield* Effect.forEach(everything(index), (one) => Effect.forkChild(unavailable(one)))
        for (const fiber of asked) assert.propertyVal(yield* Fiber.join(fiber), "description", "no answer within 50 ms")
        yield* Effect.repeat(Effect.result(index.add("p", of("y", [1, 0]), undefined)), {
          until: Result.isSuccess,
          schedule: Schedule.spaced("50 millis"),
          times: 200
        })
        assert.include(yield* ids(index), "y")
      })
    )
  })

  it.effect("by answering with anything at all finds nothing, or fails", () =>
    Effect.gen(function* () {
      const replies = ["text", 0, -1, [], [1], ["x"], ["x", "- AACAPwAAAAA="], ["x", null], {}, true, [[], []]]
      for (const reply of replies) {
        const redis: Redis.Redis["Service"] = {
          ...(yield* Redis.make({
            send: <A>() => Effect.succeed(reply as A), // whatever was asked for
            subscribe: () => Effect.never,
            connect: Effect.never
          })),
          send: <A>() => Effect.succeed(reply as A) // the same
        }
        const index = yield* Effect.provideService(RedisVectorIndex.make(), Redis.Redis, redis)
        assert.deepStrictEqual(yield* ids(index), [])
        if (reply !== 0) yield* index.add("p", of("x", [1, 0]), undefined)
        yield* index.clear()
      }
    })
  )
})

describe("options", () => {
  it("that can never work are refused", () => {
    const make = (options: RedisVectorIndex.Options) => () => RedisVectorIndex.make(options)
    assert.throws(make({ maxEntries: 0 }), RangeError, "RedisVectorIndex.make: maxEntries must be an integer >= 1")
    assert.throws(
      make({ commandTimeout: 0 }),
      RangeError,
      "RedisVectorIndex.make: commandTimeout must be a duration > 0"
    )
  })
})

describeRedis("the layer", () => {
  it.layer(any)((it) => {
    it.effect("takes its options from Config as well", () =>
      Effect.gen(function* () {
        const layerOf = (maxEntries: string) =>
          RedisVectorIndex.layerConfig({ prefix: newPrefix(), maxEntries: Config.Int("MAX") }).pipe(
            Layer.provide(ConfigProvider.layer(ConfigProvider.fromUnknown({ MAX: maxEntries })))
          )
        const now = yield* Clock.currentTimeMillis
        const index = Context.get(yield* Layer.build(layerOf("1")), VectorIndex)
        yield* index.add("p", of("x", [1, 0], now + 9000), undefined)
        yield* index.add("p", of("y", [1, 0], now + 9001), undefined)
        assert.deepStrictEqual(yield* ids(index), ["y"])
        const refused = yield* Effect.result(Layer.build(layerOf("0")))
        assert.isTrue(Result.isFailure(refused) && refused.failure._tag === "ConfigError")
      })
    )
  })
})
