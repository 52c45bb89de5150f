import { type RequestListener, createServer } from "node:http"
import { once } from "node:events"
import process from "node:process"
import { inspect } from "node:util"
import { assert, describe, it } from "@effect/vitest"
import { Clock, Config, ConfigProvider, Context, Effect, Layer, Metric, Result } from "effect"
import { FetchHttpClient, HttpClient } from "effect/http"
import { TestClock } from "effect/testing"
import { VectorIndexContract } from "effect-ballast/testing"
import * as ChromaVectorIndex from "effect-ballast/ChromaVectorIndex"
import * as Metrics from "effect-ballast/Metrics"
import { type Item, type Service, VectorIndex } from "effect-ballast/VectorIndex"
import { anyServer, ChromaServer, describeChroma, describeOwnChroma, own } from "./support/chroma.ts"
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

/** Collections that no other test uses, of a process that no other test run is. */
const newPrefix = () => `test-${process.pid}-${prefixes++}`

interface Row {
  readonly id: string
  readonly name: string
}

const made = Effect.fnUntraced(function* (options: Partial<ChromaVectorIndex.Options> = {}) {
  const { url } = yield* ChromaServer
  const collection = options.collection ?? newPrefix()
  const index = yield* ChromaVectorIndex.make({ commandTimeout: "20 seconds", url, ...options, collection })
  const base = `${url}/api/v2/tenants/default_tenant/databases/default_database/collections`
  const ask = (path: string, body?: unknown) =>
    Effect.promise(async (): Promise<unknown> => {
      const init = { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) }
      return (await fetch(base + path, body === undefined ? {} : init)).json()
    })
  const collections = Effect.map(ask(""), (list) =>
    (list as ReadonlyArray<Row>).filter(({ name }) => name.startsWith(`${collection}.`))
  ) // as Chroma lists them
  return { index, collection, ask, collections }
})

const corrupt = Effect.map(
  Metric.value(Metrics.cacheCorrupt("chroma")),
  (state) => (state as { readonly count: number }).count // it is a counter of numbers
)

type Failure = Effect.Error<ReturnType<Service["add"]>>

/** The failure of an index that does not answer, and nothing of what was stored in it, nor where. */
const unavailable = <A, R>(effect: Effect.Effect<A, Failure, R>) =>
  Effect.map(Effect.result(effect), (result) => {
    if (!Result.isFailure(result) || result.failure._tag !== "StoreUnavailable") return assert.fail("it is unavailable")
    for (const text of [inspect(result.failure, { depth: 10 }), JSON.stringify(result.failure)])
      for (const hidden of ["secret", "127.0.0.1", "http:"]) assert.notInclude(text.replace(/\n\s+at .*/g, ""), hidden)
    return result.failure
  })

const everything = (index: Service) => [
  index.nearest("secret", [1, 0], all),
  index.add("secret", of("secret", [1, 0]), "secret"),
  index.remove("secret", "secret"),
  index.clear({ tenant: "secret" }),
  index.clear()
]

describeChroma("the contract, in Chroma", { timeout: 60_000 }, () => {
  it.layer(anyServer)((it) => {
    for (const { name, run } of VectorIndexContract.cases)
      it.effect(name, () =>
        Effect.gen(function* () {
          const { index } = yield* made()
          yield* run({ index, advance: (millis) => TestClock.adjust(millis) })
          yield* index.clear()
        })
      )
  })
})

describeChroma("what is indexed in Chroma", { timeout: 60_000 }, () => {
  it.layer(anyServer)((it) => {
    it.effect("has names and metadata that say nothing of texts and tenants", () =>
      Effect.gen(function* () {
        const { ask, collections, index } = yield* made()
        yield* index.add("secret", { ...of("secret", [1, 0]), data: 1 }, "secret")
        const [row] = yield* collections
        assert.notInclude(row?.name ?? "secret", "secret")
        const found = yield* ask(`/${row?.id}/get`, { include: ["metadatas"] })
        assert.notInclude(JSON.stringify(found), "secret")
        assert.nestedPropertyVal(found, "metadatas[0].expiresAt", Number.MAX_SAFE_INTEGER)
      })
    )

    it.effect("is what ends last of a partition, and nothing of what had expired or was too much", () =>
      Effect.gen(function* () {
        const { ask, collections, index } = yield* made({ maxEntries: 10 })
        const now = yield* Clock.currentTimeMillis
        for (let i = 0; i < 30; i++)
          yield* index.add("p", of(`${(i * 7) % 30}`, [1, i], now + 9000 + ((i * 7) % 30)), "a")
        assert.deepStrictEqual(
          yield* ids(index),
          Array.from({ length: 10 }, (_, i) => `${20 + i}`)
        )
        yield* TestClock.adjust(9025)
        yield* index.add("p", of("new", [1, 0], now + 60_000), "a")
        const [row] = yield* collections
        assert.strictEqual(yield* ask(`/${row?.id}/count`), 5)
      })
    )

    it.effect("leaves no collection behind when all of it has expired", () =>
      Effect.gen(function* () {
        const { collections, index } = yield* made({ maxEntries: 10 })
        const now = yield* Clock.currentTimeMillis
        for (let i = 0; i < 3; i++) yield* index.add(`${i}`, of("x", [1, 0], now + 10), "a")
        yield* TestClock.adjust(10)
        const adds = Effect.andThen(index.add("new", of("x", [1, 0]), "a"), collections)
        const left = yield* Effect.repeat(adds, { until: (rows) => rows.length === 1, times: 500 })
        assert.strictEqual(left.length, 1)
        assert.deepStrictEqual(yield* ids(index, [1, 0], "new"), ["x"])
      })
    )

    it.effect("is cleared for every process, which goes on adding", () =>
      Effect.gen(function* () {
        const { collection, collections, index } = yield* made()
        const { index: other } = yield* made({ collection })
        const { index: stranger } = yield* made({ collection: `${collection}-` })
        for (const one of [index, other, stranger]) yield* one.add("p", of("x", [1, 0]), "a")
        yield* index.clear()
        assert.deepStrictEqual(yield* collections, [])
        assert.deepStrictEqual(yield* ids(other), [])
        assert.deepStrictEqual(yield* ids(stranger), ["x"])
        yield* index.add("p", of("y", [0, 1]), "a")
        assert.deepStrictEqual(yield* ids(other), ["y"])
        yield* index.clear()
        yield* other.add("p", of("z", [0, 1]), "a")
        yield* index.remove("p", "z")
        assert.deepStrictEqual(yield* ids(other), [])
      })
    )

    it.effect("is found as by a whole search, to a millionth", () =>
      Effect.gen(function* () {
        const { index } = yield* made()
        const { around, vectors } = clustered(120, 1536, 8)
        yield* Effect.forEach(vectors, (vector, i) => index.add("p", of(`${i}`, vector), undefined), { concurrency: 8 })
        const query = around(vectors[71] ?? [], 0.2)
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
        const { ask, collections, index } = yield* made()
        yield* index.add("p", of("y", [1, 0]), undefined)
        const [row] = yield* collections
        const documents = ["", "garbage", '["x"]', `["x",${" ".repeat(200_000)}1]`]
        for (const document of documents) {
          const before = yield* corrupt
          yield* ask(`/${row?.id}/upsert`, {
            ids: ["broken"],
            embeddings: [[1, 0]],
            documents: [document],
            metadatas: [{ tenant: "-", expiresAt: 1_000_000 }]
          })
          assert.deepStrictEqual(yield* ids(index), ["y"])
          assert.strictEqual(yield* corrupt, before + 1)
          assert.strictEqual(yield* ask(`/${row?.id}/count`), 1)
        }
      })
    )

    it.effect("is not compared in another way than by cosine", () =>
      Effect.gen(function* () {
        const { ask, collection, collections, index } = yield* made()
        yield* index.add("p", of("x", [1, 0]), undefined)
        const [row] = yield* collections
        yield* index.clear()
        yield* ask("", { name: row?.name, configuration: { hnsw: { space: "l2" } } })
        const { index: other } = yield* made({ collection })
        for (const asked of [other.add("p", of("x", [1, 0]), undefined), ids(other)])
          assert.propertyVal(yield* unavailable(asked), "description", "the collection does not compare by cosine")
        yield* other.clear()
        assert.deepStrictEqual(yield* collections, [])
      })
    )

    it.effect("is nowhere where the database is not there", () =>
      Effect.gen(function* () {
        const { index } = yield* made({ database: "no-such-database" })
        yield* unavailable(index.add("p", of("x", [1, 0]), undefined))
        assert.deepStrictEqual(yield* ids(index), [])
      })
    )
  })
})

describeOwnChroma("a Chroma that is killed", { timeout: 60_000 }, () => {
  it.layer(
    own,
    live
  )((it) => {
    it.effect("fails what is asked, and has what it had when it is back", () =>
      Effect.gen(function* () {
        const server = yield* ChromaServer
        const { index } = yield* made()
        yield* index.add("p", of("x", [1, 0]), undefined)
        yield* server.kill
        for (const asked of everything(index)) yield* unavailable(asked)
        yield* server.start
        assert.deepStrictEqual(yield* ids(index), ["x"])
      })
    )
  })
})

const collection = {
  id: "c776b98d-8a2e-40bc-ade3-c874dc96fb6e",
  name: `ballast.${"0".repeat(64)}`,
  dimension: 2,
  configuration_json: { hnsw: { space: "cosine" } }
}

/** A server that answers as the listener does, and an index on it. */
const faking = (listener: RequestListener, options: Partial<ChromaVectorIndex.Options> = {}) =>
  Effect.gen(function* () {
    const server = yield* Effect.acquireRelease(
      Effect.promise(async () => {
        const server = createServer(listener).listen(0, "127.0.0.1")
        await once(server, "listening")
        return server
      }),
      (server) =>
        Effect.promise(async () => {
          server.close()
          server.closeAllConnections()
          await once(server, "close")
        })
    )
    const address = server.address()
    const port = typeof address === "object" ? address?.port : undefined
    return yield* ChromaVectorIndex.make({ url: `http://127.0.0.1:${port}`, commandTimeout: "20 seconds", ...options })
  }).pipe(Effect.provide(FetchHttpClient.layer))

const answering = (status: number, body: string) =>
  faking((_, response) => response.writeHead(status, { "content-type": "application/json" }).end(body))

/** Collections are there, and each question about one is answered so. */
const answeringQueries = (body: unknown) =>
  faking(({ method, url = "" }, response) => {
    const collections = url.endsWith("/collections") ? (method === "GET" ? [collection] : collection) : collection
    response.end(JSON.stringify(/\/(query|get|delete|upsert|count)$/.test(url) ? body : collections))
  })

describe("a Chroma that fails", () => {
  it.effect("by not being there fails what is asked, with the code alone", () =>
    Effect.gen(function* () {
      const index = yield* ChromaVectorIndex.make({ url: "http://127.0.0.1:1", commandTimeout: "20 seconds" })
      for (const asked of everything(index))
        assert.match((yield* unavailable(asked)).description ?? "", /^(ECONNREFUSED|TransportError)$/)
    }).pipe(Effect.provide(FetchHttpClient.layer))
  )

  it.live("by saying nothing fails what is asked after its time", () =>
    Effect.gen(function* () {
      const index = yield* faking(() => {}, { commandTimeout: "50 millis" })
      for (const asked of everything(index).slice(0, 3))
        assert.propertyVal(yield* unavailable(asked), "description", "no answer within 50 ms")
    })
  )

  it.live("by stopping in the middle of an answer fails what is asked after its time", () =>
    Effect.gen(function* () {
      const index = yield* faking((_, response) => response.writeHead(200).write("{"), { commandTimeout: "50 millis" })
      for (const asked of everything(index).slice(0, 3))
        assert.propertyVal(yield* unavailable(asked), "description", "no answer within 50 ms")
    })
  )

  it.effect("by cutting the connection fails what is asked", () =>
    Effect.gen(function* () {
      const index = yield* faking((_, { socket }) => void socket?.destroy())
      for (const asked of everything(index)) yield* unavailable(asked)
    })
  )

  it.effect("with a status fails what is asked, and says whether it could be asked otherwise", () =>
    Effect.gen(function* () {
      for (const [status, answered] of [
        [400, true],
        [401, undefined],
        [404, undefined],
        [422, true],
        [429, undefined],
        [500, undefined],
        [503, undefined]
      ] as const) {
        const index = yield* answering(status, "secret")
        for (const asked of everything(index)) assert.strictEqual((yield* unavailable(asked)).answered, answered)
      }
    })
  )

  it.effect("with what is not JSON, or has another shape, fails what is asked", () =>
    Effect.gen(function* () {
      const wrong = [
        "secret",
        "<html>",
        "{",
        "null",
        "3",
        '"secret"',
        "{}",
        '[{"id":"../secret","name":"x"}]',
        JSON.stringify({ ...collection, id: "../secret" }),
        JSON.stringify({ ...collection, name: null })
      ]
      for (const body of wrong) {
        const index = yield* answering(200, body)
        for (const asked of everything(index)) yield* unavailable(asked)
      }
    })
  )

  it.effect("with an answer that is too large fails what is asked", () =>
    Effect.gen(function* () {
      const index = yield* answering(200, `"${"x".repeat(33 * 2 ** 20)}"`)
      assert.propertyVal(yield* unavailable(ids(index)), "description", `more than ${32 * 2 ** 20} bytes`)
    })
  )

  it.effect("with results of another shape fails the search", () =>
    Effect.gen(function* () {
      const wrong = [null, 3, [], {}, { ids: [] }, { ids: [["x"]] }, { ids: "x", distances: [], documents: [] }]
      for (const body of wrong) yield* unavailable(ids(yield* answeringQueries(body)))
    })
  )

  it.effect("with items that cannot be read finds those that can, and none that has expired", () =>
    Effect.gen(function* () {
      const item = (distance: unknown, document: unknown, metadata: unknown) => ({ distance, document, metadata })
      const good = { expiresAt: 1000 }
      const items = [
        item(0, '["good",1]', good),
        item(0, '["expired",1]', { expiresAt: 0 }),
        item(null, '["x",1]', good),
        item(5, '["x",1]', good),
        item(0, null, good),
        item(0, "garbage", good),
        item(0, '["x",1]', null),
        item(0, '["x",1]', { expiresAt: "1000" })
      ]
      const index = yield* answeringQueries({
        ids: [[...items.map((_, i) => `${i}`), "and no more"]],
        distances: [items.map(({ distance }) => distance)],
        documents: [items.map(({ document }) => document)],
        metadatas: [items.map(({ metadata }) => metadata)]
      })
      const before = yield* corrupt
      assert.deepStrictEqual(yield* ids(index), ["good"])
      assert.strictEqual(yield* corrupt, before + 7)
    })
  )

  it.effect("by dropping the collection each time fails an add after three", () =>
    Effect.gen(function* () {
      let upserts = 0
      const index = yield* faking(({ url = "" }, response) => {
        const isUpsert = url.endsWith("/upsert")
        if (isUpsert) upserts++
        response.writeHead(isUpsert ? 404 : 200)
        response.end(isUpsert ? '{"error":"NotFoundError","message":"secret"}' : JSON.stringify(collection))
      })
      yield* unavailable(index.add("p", of("x", [1, 0]), undefined))
      assert.strictEqual(upserts, 3)
    })
  )

  it.effect("by refusing a vector of the right dimensions fails, and deletes nothing", () =>
    Effect.gen(function* () {
      const asked: Array<string | undefined> = []
      const index = yield* faking(({ method, url = "" }, response) => {
        asked.push(method)
        if (/\/(upsert|query)$/.test(url)) response.writeHead(400).end("{}")
        else response.end(JSON.stringify(collection))
      })
      yield* unavailable(index.add("p", of("x", [1, 0]), undefined))
      yield* unavailable(ids(index))
      assert.notInclude(asked, "DELETE")
    })
  )
})

describe("what a use costs", () => {
  it.effect("is a request, and another one where the collection is not known", () =>
    Effect.gen(function* () {
      const asked: Array<string> = []
      const index = yield* faking(({ method, url = "" }, response) => {
        asked.push(
          `${method} ${url
            .split("/")
            .at(-1)
            ?.replace(/^ballast.*/, "name")}`
        )
        const none = { ids: [[]], distances: [[]], documents: [[]], metadatas: [[]] }
        if (url.endsWith("/query")) response.end(JSON.stringify(none))
        else response.end(JSON.stringify(url.includes("?") ? [] : url.endsWith("/count") ? 1 : collection))
      })
      yield* index.nearest("p", [1, 0], all)
      assert.deepStrictEqual(asked.splice(0), ["GET name", "POST query"])
      yield* index.nearest("p", [1, 0], all)
      assert.deepStrictEqual(asked.splice(0), ["POST query"])
      yield* index.add("p", of("x", [1, 0]), "a")
      const tidying = ["POST delete", "GET count", "GET collections?limit=1&offset=0"]
      assert.deepStrictEqual(asked.splice(0), ["POST upsert", ...tidying])
      yield* index.add("p", of("x", [1, 0]), "a")
      assert.deepStrictEqual(asked.splice(0), ["POST upsert"])
      yield* index.remove("p", "x")
      assert.deepStrictEqual(asked.splice(0), ["POST delete"])
    })
  )
})

describe("options", () => {
  it("that can never work are refused", () => {
    const make = (options: Partial<ChromaVectorIndex.Options>) => () =>
      ChromaVectorIndex.make({ url: "http://localhost:8000", ...options })
    const refused: ReadonlyArray<readonly [Partial<ChromaVectorIndex.Options>, string]> = [
      [{ maxEntries: 0 }, "ChromaVectorIndex.make: maxEntries must be an integer >= 1, got 0"],
      [{ commandTimeout: 0 }, "ChromaVectorIndex.make: commandTimeout must be a duration > 0, got 0"],
      [{ collection: "a.b" }, "ChromaVectorIndex.make: collection must match"],
      [{ tenant: "../x" }, "ChromaVectorIndex.make: tenant must match"],
      [{ database: "..." }, "ChromaVectorIndex.make: database must match"],
      [{ url: "chroma:8000" }, "ChromaVectorIndex.make: url must be an absolute http or https URL"],
      [{ url: "http://chroma.example" }, "ChromaVectorIndex.make: url must be https unless it is loopback"],
      [{ url: "https://chroma.example?x" }, "ChromaVectorIndex.make: url must have no query"],
      [{ url: "https://me:secret@chroma.example" }, "ChromaVectorIndex.make: url must not hold credentials"]
    ]
    for (const [options, message] of refused) assert.throws(make(options), RangeError, message)
    assert.doesNotThrow(make({ url: "http://chroma.example/behind/a/proxy/", allowInsecure: true }))
  })

  it.effect("may come from Config", () =>
    Effect.gen(function* () {
      const layerOf = (url: string) =>
        ChromaVectorIndex.layerConfig({ url: Config.String("URL") }).pipe(
          Layer.provide(ConfigProvider.layer(ConfigProvider.fromUnknown({ URL: url }))),
          Layer.provide(FetchHttpClient.layer)
        )
      const index = Context.get(yield* Layer.build(layerOf("http://127.0.0.1:1")), VectorIndex)
      assert.isTrue(index.external)
      const refused = yield* Effect.result(Layer.build(layerOf("http://chroma.example")))
      assert.isTrue(Result.isFailure(refused) && refused.failure._tag === "ConfigError")
    })
  )

  it.effect("say where requests go", () =>
    Effect.gen(function* () {
      const asked: Array<string> = []
      const client = HttpClient.make((request) =>
        Effect.suspend(() => {
          asked.push(request.url)
          return Effect.never
        })
      )
      const index = yield* Effect.provideService(
        ChromaVectorIndex.make({ url: "https://chroma.example/at/", tenant: "acme", database: "cache" }),
        HttpClient.HttpClient,
        client
      )
      const asking = yield* Effect.forkChild(unavailable(index.clear()))
      yield* TestClock.adjust(29_999)
      assert.isUndefined(asking.pollUnsafe())
      yield* TestClock.adjust(1)
      assert.isDefined(asking.pollUnsafe())
      assert.deepStrictEqual(asked, ["https://chroma.example/at/api/v2/tenants/acme/databases/cache/collections"])
    })
  )
})
