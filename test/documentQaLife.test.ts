/** The document Q&A service when it ends: in peace, by kill -9, and with stores that die before it. */
import { randomUUID } from "node:crypto"
import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { connect } from "node:net"
import { join } from "node:path"
import process from "node:process"
import { DatabaseSync } from "node:sqlite"
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Exit, Fiber, Layer, Scope } from "effect"
import * as LocalLlm from "effect-ballast/LocalLlm"
import {
  clientOf,
  environmentOf,
  eventsOf,
  folder,
  key,
  keysOf,
  post,
  raw,
  running,
  send,
  serve
} from "./support/documentQa.ts"
import * as chroma from "./support/chroma.ts"
import * as postgres from "./support/postgres.ts"
import { anyServer, describeOwnRedis, describeRedis, own, RedisServer } from "./support/redis.ts"

const { describeChroma } = chroma
const { describePostgres } = postgres

const bytes = (text: string) => new TextEncoder().encode(text)
const root = new URL("../", import.meta.url)

const localLlm = (options?: LocalLlm.Options) =>
  Effect.map(Layer.build(LocalLlm.layer(options)), (context) => Context.get(context, LocalLlm.LocalLlm))

/** `npm run qa` as a process of its own, once it listens. */
const child = (environment: Readonly<Record<string, string>>) =>
  Effect.gen(function* () {
    const started = Effect.sync(() =>
      spawn(process.execPath, ["--import", "tsx", "examples/document-qa/main.ts"], {
        cwd: root,
        env: { PATH: process.env["PATH"] ?? "", ...environment },
        stdio: ["ignore", "pipe", "inherit"]
      })
    )
    const running = yield* Effect.acquireRelease(started, (running) => Effect.sync(() => running.kill("SIGKILL")))
    const url = yield* Effect.callback<string>((resume) => {
      let output = ""
      running.stdout.on("data", (data: Buffer) => {
        output += data.toString()
        const found = /Listening on (http:\/\/127\.0\.0\.1:\d+)/.exec(output)?.[1]
        if (found !== undefined) resume(Effect.succeed(found))
      })
      running.once("exit", () => resume(Effect.die(new Error(`it ended: ${output}`))))
    })
    return { running, url }
  })

const ended = (running: ChildProcess, signal: NodeJS.Signals) =>
  Effect.promise(async () => {
    const exit = once(running, "exit")
    running.kill(signal)
    return (await exit)[0] as number | null // the code comes first
  })

describe("the end of the document Q&A service", { timeout: 60_000 }, () => {
  it.live("waits for answers that are running, and lets nobody in meanwhile", () =>
    Effect.gen(function* () {
      const llm = yield* localLlm({ chunkDelay: "100 millis" })
      const scope = yield* Scope.make()
      const url = yield* Scope.provide(serve(environmentOf(llm)), scope)
      const stream = yield* Effect.forkChild(
        post(`${url}/qa/stream`, { input: "What is ballast, and what is it for?" })
      )
      const asked = Effect.map(llm.requests, (all) => all.some(({ path }) => path.endsWith("/chat/completions")))
      yield* Effect.repeat(Effect.delay(asked, "10 millis"), { until: (asked) => asked })
      const closing = yield* Effect.forkChild(Scope.close(scope, Exit.void))
      yield* Effect.yieldNow
      yield* Effect.repeat(Effect.delay(raw(url, { path: "/live" }), "10 millis"), {
        until: ({ status }) => status === 0
      })
      const answer = yield* Fiber.join(stream)
      assert.strictEqual(eventsOf(answer.text).at(-1)?.event, "end")
      yield* Fiber.join(closing)
      assert.strictEqual((yield* raw(url, { path: "/live" })).status, 0)
    })
  )

  it.live("comes when its time is over, whoever is still there, and ends what the model is asked", () =>
    Effect.gen(function* () {
      const llm = yield* localLlm()
      yield* llm.script(LocalLlm.normal, LocalLlm.hang)
      const scope = yield* Scope.make()
      const patient = { DRAIN: "300 millis", BODY_WITHIN: "10 minutes", ANSWER_WITHIN: "10 minutes" }
      const url = yield* Scope.provide(serve({ ...environmentOf(llm), ...patient }), scope)
      const post = { method: "POST", path: "/qa/invoke", headers: { "content-type": "application/json" } }
      const slow = yield* Effect.forkChild(raw(url, { ...post, pieces: ['{"input"'], ends: false }))
      const silent = connect(Number(new URL(url).port), "127.0.0.1", () => silent.write("GET /live HTTP/1.1\r\nhost:"))
      const gone = yield* Effect.forkChild(
        Effect.promise(() => once(silent, "close")),
        { startImmediately: true }
      )
      silent.on("error", () => undefined)
      const waiting = yield* Effect.forkChild(raw(url, { ...post, pieces: ['{"input": "Who?"}'] }))
      const chats = Effect.map(llm.requests, (all) => all.filter(({ path }) => path.endsWith("/chat/completions")))
      yield* Effect.repeat(Effect.delay(chats, "10 millis"), { until: ({ length }) => length > 0 })
      yield* Scope.close(scope, Exit.void)
      assert.deepStrictEqual(
        [(yield* Fiber.join(slow)).status, (yield* Fiber.join(waiting)).status].map((status) => status === 200),
        [false, false]
      )
      yield* Fiber.join(gone)
      const isClosed = Effect.map(chats, (all) => all.length === 1 && all[0]?.closed === true)
      yield* Effect.repeat(Effect.delay(isClosed, "10 millis"), { until: (closed) => closed })
    })
  )

  it.live("comes by SIGTERM, and without a key it answers from the documents of this repository", () =>
    Effect.gen(function* () {
      const { running, url } = yield* child({ PORT: "0", DATA_DIR: yield* folder() })
      const answer = yield* post(`${url}/qa/invoke`, { input: "What does a cache hit cost?" })
      assert.strictEqual(answer.status, 200)
      assert.include(answer.text, '"rung":"retrieval"')
      assert.include(answer.text, '"provider":"local"')
      assert.strictEqual(yield* ended(running, "SIGTERM"), 130) // as every interrupted `runMain`
    })
  )

  it.live("by kill -9 loses no document and no money, and leaves no half of a document", () =>
    Effect.gen(function* () {
      const llm = yield* localLlm()
      const DATA_DIR = yield* folder()
      const environment = { ...environmentOf(llm), DATA_DIR, DOCUMENTS_DIR: yield* folder() }
      const first = yield* child(environment)
      const before = yield* clientOf(first.url)
      const textOf = (i: number) =>
        Array.from({ length: 40 }, (_, j) => `# Ship ${i}-${j}\n\n${`The ship ${i} has mast ${j}. `.repeat(20)}`).join(
          "\n\n"
        )
      const acknowledged: Array<string> = []
      const upload = (i: number) =>
        before.upload({ query: { name: `ship-${i}.md` }, payload: bytes(textOf(i)) }).pipe(
          Effect.tap(({ id }) => Effect.sync(() => acknowledged.push(id))),
          Effect.ignore
        )
      let paid = 0
      const ask = (i: number) =>
        before.invoke({ payload: { input: `What does ship ${i} have?` } }).pipe(
          Effect.tap(({ metadata }) => Effect.sync(() => (paid += metadata.costUsd))),
          Effect.ignore
        )
      const work = Effect.forEach(
        Array.from({ length: 200 }, (_, i) => i),
        (i) => Effect.andThen(upload(i), ask(i)),
        {
          concurrency: 4
        }
      )
      const fiber = yield* Effect.forkChild(work)
      const some = Effect.sync(() => acknowledged.length)
      yield* Effect.repeat(Effect.delay(some, "5 millis"), { until: (count) => count >= 5 })
      yield* ended(first.running, "SIGKILL")
      yield* Fiber.interrupt(fiber)

      const second = yield* child(environment)
      const after = yield* clientOf(second.url)
      const documents = yield* after.list()
      assert.includeMembers(
        documents.map(({ id }) => id),
        acknowledged
      )
      assert.isTrue(documents.every(({ passages }) => passages === documents[0]?.passages))
      const database = new DatabaseSync(join(DATA_DIR, "document-qa.sqlite"), { readOnly: true })
      assert.strictEqual(database.prepare("SELECT id FROM qa_documents WHERE ready = 0").all().length, 0)
      const vectors = database.prepare("SELECT id FROM qa_vectors").all().length
      assert.strictEqual(
        vectors,
        documents.reduce((sum, { passages }) => sum + passages, 0)
      )
      database.close()
      assert.isAbove(paid, 0)
      const { totalUsd } = yield* after.budget()
      assert.isAtLeast(totalUsd, paid - 1e-9)
      const { metadata } = yield* after.invoke({ payload: { input: "What does ship 0 have?" } })
      assert.strictEqual(metadata.rung, "retrieval")
      const known = new Set(documents.map(({ id }) => id))
      assert.isTrue(metadata.sources.every(({ document }) => known.has(document)))
    })
  )
})

/** Uploads, asks, deletes and asks again. */
const works = (environment: Readonly<Record<string, string>>) =>
  Effect.gen(function* () {
    const tenant = `tenant-${yield* Effect.sync(() => randomUUID())}`
    const { url } = yield* running({ ...environment, API_KEYS: keysOf(tenant) })
    const client = yield* clientOf(url, key(tenant))
    const payload = bytes("# Keel\n\nThe keel of the Albatross is made of oak.")
    const document = yield* client.upload({ query: { name: "keel.md" }, payload })
    assert.deepStrictEqual(yield* client.list(), [document])
    const question = { payload: { input: "What is the keel of the Albatross made of?" } }
    const found = yield* client.invoke(question)
    assert.include(found.output, "made of oak")
    assert.deepInclude(found.metadata.sources[0], { document: document.id, heading: "Keel", passage: 1, from: 0 })
    assert.strictEqual((yield* client.health()).status, "healthy")
    yield* client.remove({ params: { id: document.id } })
    assert.deepStrictEqual(yield* client.list(), [])
    assert.strictEqual((yield* client.invoke(question)).metadata.rung, "direct")
  })

describePostgres("with Postgres the document Q&A service", { timeout: 60_000 }, () => {
  it.live("keeps all of it there", () =>
    Effect.gen(function* () {
      const { url: DATABASE_URL } = Context.get(yield* Layer.build(postgres.anyServer), postgres.PostgresServer)
      yield* works({ DATABASE_URL })
    })
  )
})

describeChroma("with Chroma the document Q&A service", { timeout: 60_000 }, () => {
  it.live("finds passages there", () =>
    Effect.gen(function* () {
      const { url: CHROMA_URL } = Context.get(yield* Layer.build(chroma.anyServer), chroma.ChromaServer)
      yield* works({ CHROMA_URL })
    })
  )
})

describeRedis("with Redis the document Q&A service", { timeout: 60_000 }, () => {
  it.live("shares answers, money and limits with its siblings", () =>
    Effect.gen(function* () {
      const { url: REDIS_URL } = Context.get(yield* Layer.build(anyServer), RedisServer)
      const llm = yield* localLlm()
      const environment = { ...environmentOf(llm), REDIS_URL, DATA_DIR: yield* folder() }
      const one = yield* clientOf(yield* serve(environment))
      const two = yield* clientOf(yield* serve(environment))
      const question = { payload: { input: `What is shared at ${REDIS_URL}?` } }
      const first = yield* one.invoke(question)
      const second = yield* two.invoke(question)
      assert.strictEqual(second.metadata.cache, "hit")
      assert.strictEqual(second.output, first.output)
      const [there, here] = [yield* one.budget(), yield* two.budget()]
      assert.isAbove(here.limits[0]?.spentUsd ?? 0, 0)
      assert.deepStrictEqual(
        here.limits.map(({ remainingUsd }) => remainingUsd),
        there.limits.map(({ remainingUsd }) => remainingUsd)
      )
    })
  )
})

describeOwnRedis("while its Redis is down the document Q&A service", { timeout: 60_000 }, () => {
  it.live("apologises, says that it is unavailable, and answers again when Redis is back", () =>
    Effect.gen(function* () {
      const redis = Context.get(yield* Layer.build(own()), RedisServer)
      const { client, url } = yield* running({ REDIS_URL: redis.url })
      assert.strictEqual((yield* client.health()).status, "healthy")
      yield* redis.kill
      const { metadata } = yield* client.invoke({ payload: { input: "Is anybody there?" } })
      assert.strictEqual(metadata.rung, "apology")
      const down = yield* send(`${url}/health`)
      assert.strictEqual(down.status, 503, down.text)
      assert.deepInclude(down.json, { status: "unavailable", rungs: [] })
      yield* redis.start
      const health = Effect.map(client.health(), ({ status }) => status)
      yield* Effect.repeat(Effect.delay(health, "50 millis"), { until: (status) => status === "healthy" })
      const again = yield* client.invoke({ payload: { input: "Is anybody there?" } })
      assert.strictEqual(again.metadata.rung, "direct")
    })
  )
})
