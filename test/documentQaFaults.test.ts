/**
 * A minute of the document Q&A service under fifty clients, while its model dies, then its Redis, and both come back. What it
 * answers is one of the documented shapes each time, and no document is lost.
 */
import { type ChildProcess, spawn } from "node:child_process"
import process from "node:process"
import { assert, it } from "@effect/vitest"
import { Clock, Context, Effect, Fiber, Layer, Schema } from "effect"
import * as LocalLlm from "effect-ballast/LocalLlm"
import { Output } from "../examples/document-qa/api.ts"
import { type Answered, environmentOf, eventsOf, folder, post, send } from "./support/documentQa.ts"
import { describeOwnRedis, own, RedisServer } from "./support/redis.ts"

const root = new URL("../", import.meta.url)

interface Service {
  readonly url: string
  readonly process: ChildProcess
  /** What it wrote to standard error, and its lines that tell of a bug. */
  readonly complaints: () => string
}

const service = (environment: Readonly<Record<string, string>>) =>
  Effect.gen(function* () {
    const child = yield* Effect.acquireRelease(
      Effect.sync(() =>
        spawn(process.execPath, ["--import", "tsx", "examples/document-qa/main.ts"], {
          cwd: root,
          env: { PATH: process.env["PATH"] ?? "", LOGS: "json", ...environment },
          stdio: ["ignore", "pipe", "pipe"]
        })
      ),
      (child) => Effect.sync(() => child.kill("SIGKILL"))
    )
    let complaints = ""
    let output = ""
    child.stderr.on("data", (data: Buffer) => void (complaints += data.toString()))
    const url = yield* Effect.callback<string>((resume) => {
      child.stdout.on("data", (data: Buffer) => {
        for (const line of data.toString().split("\n"))
          if (/"level":"(ERROR|FATAL)"/.test(line) && !line.includes("llm_request_failed")) complaints += `${line}\n`
        output = (output + data.toString()).slice(-10_000)
        const found = /Listening on (http:\/\/127\.0\.0\.1:\d+)/.exec(output)?.[1]
        if (found !== undefined) resume(Effect.succeed(found))
      })
      child.once("exit", () => resume(Effect.die(new Error(`it ended: ${output}${complaints}`))))
    })
    return { url, process: child, complaints: () => complaints } satisfies Service
  })

const isAnswer = Schema.is(Output)
const isProblem = Schema.is(
  Schema.Struct({
    type: Schema.Literal("about:blank"),
    title: Schema.String,
    status: Schema.Int,
    detail: Schema.String,
    retryAfter: Schema.optionalKey(Schema.Int)
  })
)

/** What is wrong with an answer; `undefined` for one of the documented shapes. */
const wrong = ({ headers, json, status, text }: Answered): string | undefined => {
  const type = headers.get("content-type") ?? ""
  if (type.startsWith("text/event-stream")) {
    const last = eventsOf(text).at(-1)?.event
    return last === "end" || last === "error" ? undefined : `a stream that ends in ${last ?? "nothing"}`
  }
  if (status === 200) return isAnswer(json) ? undefined : `200 ${text.slice(0, 200)}`
  const isKnown = [422, 429, 503].includes(status) && type.startsWith("application/problem+json") && isProblem(json)
  if (!isKnown) return `${status} ${type} ${text.slice(0, 200)}`
  return status === 422 || headers.get("retry-after") !== null ? undefined : `${status} without Retry-After`
}

const rungOf = ({ json }: Answered): string => (isAnswer(json) ? json.metadata.rung : "")

describeOwnRedis("the document Q&A service in a bad minute", { timeout: 150_000 }, () => {
  it.live("answers everybody in one of its shapes, and loses no document", () =>
    Effect.gen(function* () {
      const redis = Context.get(yield* Layer.build(own()), RedisServer)
      const llm = Context.get(yield* Layer.build(LocalLlm.layer()), LocalLlm.LocalLlm)
      const {
        complaints,
        process: child,
        url
      } = yield* service({
        ...environmentOf(llm),
        REDIS_URL: redis.url,
        DATA_DIR: yield* folder(),
        DOCUMENTS_DIR: yield* folder({
          "ship.md": "# Ballast\n\nBallast is weight low in a ship. It keeps it upright."
        }),
        REQUESTS_PER_TENANT_AND_MINUTE: "600000",
        REQUESTS_PER_MINUTE: "600000",
        ANSWER_WITHIN: "3 seconds"
      })
      const began = yield* Clock.currentTimeMillis
      const wrongs: Array<string> = []
      const counts = new Map<string, number>()
      const taken = new Set<string>()
      let turn = 0
      const one = Effect.gen(function* () {
        const n = turn++
        if (n % 40 === 0) {
          const uploaded = yield* send(`${url}/documents?name=note-${n}.md`, {
            method: "POST",
            headers: { "content-type": "application/octet-stream" },
            body: `# Note ${n}\n\nThe ship number ${n} carries ${n} tons of ballast.`
          })
          if (uploaded.status < 300 && typeof uploaded.json["id"] === "string") taken.add(uploaded.json["id"])
          else if (uploaded.status !== 429 && uploaded.status !== 503)
            wrongs.push(`upload: ${uploaded.status} ${uploaded.text}`)
          return
        }
        const path = n % 3 === 0 ? "/qa/stream" : "/qa/invoke"
        const answered = yield* post(`${url}${path}`, { input: `What keeps ship number ${n % 200} upright?` })
        const complaint = wrong(answered)
        if (complaint !== undefined) wrongs.push(complaint)
        const name = `${answered.status} ${rungOf(answered)}`
        counts.set(name, (counts.get(name) ?? 0) + 1)
      })
      const until = began + 60_000
      const client = Effect.suspend(function again(): Effect.Effect<void> {
        return Effect.flatMap(Clock.currentTimeMillis, (now) =>
          now >= until ? Effect.void : Effect.andThen(one, again())
        )
      })
      const clients = yield* Effect.forkChild(
        Effect.all(
          Array.from({ length: 50 }, () => client),
          { concurrency: "unbounded", discard: true }
        )
      )
      yield* Effect.sleep("12 seconds")
      yield* llm.behave(LocalLlm.status(500))
      yield* Effect.sleep("12 seconds")
      yield* redis.kill
      yield* Effect.sleep("12 seconds")
      yield* llm.behave(undefined)
      yield* redis.start
      yield* Fiber.join(clients)

      assert.deepStrictEqual([...new Set(wrongs)].slice(0, 5), [])
      assert.isNull(child.exitCode)
      assert.strictEqual(complaints(), "")
      assert.isAbove(counts.get("200 retrieval") ?? 0, 50)
      assert.isAbove(counts.get("200 apology") ?? 0, 10)

      const health = Effect.map(send(`${url}/health`), ({ json }) => json["status"])
      yield* Effect.repeat(Effect.delay(health, "200 millis"), { until: (status) => status === "healthy" })
      const listed = yield* send(`${url}/documents`)
      const missing = [...taken].filter((id) => !listed.text.includes(id))
      assert.isAbove(taken.size, 10)
      assert.deepStrictEqual(missing, [])
      const metrics = (yield* send(`${url}/metrics`)).text
      assert.match(metrics, /llm_circuit_breaker_transitions_total\{[^}]*to="open"[^}]*\} [1-9]/)
      assert.match(metrics, /llm_degraded_total\{[^}]*rung="static"[^}]*\} [1-9]/)
    })
  )
})
