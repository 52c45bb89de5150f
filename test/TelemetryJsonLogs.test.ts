import { Buffer } from "node:buffer"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Clock, Console, Data, Effect, Layer, Logger, Redacted, Schema, Tracer } from "effect"
import { TestClock } from "effect/testing"
import { AiError } from "effect/ai"
import { LlmError } from "effect-ballast"
import * as OtelTracer from "@effect/opentelemetry/OtelTracer"
import { tracing } from "@opentelemetry/sdk-node"
import * as JsonLogs from "../src/internal/telemetryJsonLogs.ts"

/** The lines that a program writes, by stream. */
const written = (program: Effect.Effect<unknown, unknown>, options?: JsonLogs.Options) =>
  Effect.gen(function* () {
    const out: Array<string> = []
    const err: Array<string> = []
    const console = {
      ...(yield* Console.Console),
      log: (line: string) => void out.push(line),
      error: (line: string) => void err.push(line)
    }
    yield* program.pipe(
      Effect.provideService(Console.Console, console),
      Effect.provide(JsonLogs.layer(options)),
      Effect.ignore
    )
    return { out, err }
  })

const linesOf = (program: Effect.Effect<unknown, unknown>): Effect.Effect<ReadonlyArray<unknown>> =>
  Effect.map(written(program), ({ out }) => out.map((line): unknown => JSON.parse(line)))

const lineOf = (program: Effect.Effect<unknown, unknown>): Effect.Effect<unknown> =>
  Effect.map(linesOf(program), (lines) => {
    assert.strictEqual(lines.length, 1)
    return lines[0]
  })

const epoch = "1970-01-01T00:00:00.000Z"

class Secretive extends Data.TaggedError("Secretive")<{ readonly prompt: string }> {
  override readonly message = `no answer to: ${this.prompt}`
}

const budget = new LlmError.LlmError({
  provider: "openai",
  model: "m",
  reason: new AiError.QuotaExhaustedError({})
})

describe("layerJsonLogs", () => {
  it.effect("writes one object a line, with the clock's time and the level", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(Date.UTC(2026, 0, 2, 3, 4, 5, 6))
      const { err, out } = yield* written(
        Effect.andThen(Effect.logInfo("a\nb", 3, [true]), Effect.logError("second").pipe(Effect.annotateLogs("n", 1)))
      )
      assert.deepStrictEqual(out, [
        '{"timestamp":"2026-01-02T03:04:05.006Z","level":"INFO","message":"a\\nb 3 [true]"}',
        '{"timestamp":"2026-01-02T03:04:05.006Z","level":"ERROR","message":"second","n":1}'
      ])
      assert.deepStrictEqual(err, [])
    })
  )

  it.effect("writes to stderr where it is told to", () =>
    Effect.gen(function* () {
      const { err, out } = yield* written(Effect.logInfo("a"), { stream: "stderr" })
      assert.deepStrictEqual([out.length, err.length], [0, 1])
    })
  )

  it.effect("spreads a plain object into the line, which stands above annotations, and below what is its own", () =>
    Effect.gen(function* () {
      const log = Effect.logInfo({ event: "llm_request_started", prompt_length: 12, level: "x", truncated: 1 })
      assert.deepStrictEqual(yield* lineOf(Effect.annotateLogs(log, { event: "other", provider: "openai" })), {
        timestamp: epoch,
        level: "INFO",
        event: "llm_request_started",
        prompt_length: 12,
        provider: "openai"
      })
    })
  )

  it.effect("has a text and fields in one line, and the log spans", () =>
    Effect.gen(function* () {
      const log = Effect.andThen(TestClock.adjust("20 millis"), Effect.logInfo("slow", { latency_ms: 20 }))
      assert.deepStrictEqual(yield* lineOf(Effect.withLogSpan(log, "call")), {
        timestamp: "1970-01-01T00:00:00.020Z",
        level: "INFO",
        message: "slow",
        latency_ms: 20,
        spans: { call: 20 }
      })
    })
  )

  it.effect("carries the ids of the span that a real tracer made", () =>
    Effect.gen(function* () {
      const exporter = new tracing.InMemorySpanExporter()
      const provider = new tracing.BasicTracerProvider({ spanProcessors: [new tracing.SimpleSpanProcessor(exporter)] })
      const tracer = OtelTracer.layer.pipe(Layer.provide(Layer.succeed(OtelTracer.OtelTracerProvider, provider)))
      const line = yield* lineOf(Effect.logInfo("a").pipe(Effect.withSpan("call"), Effect.provide(tracer)))
      const span = exporter.getFinishedSpans()[0]?.spanContext()
      assert.match(span?.traceId ?? "", /^[0-9a-f]{32}$/)
      assert.deepStrictEqual(line, {
        timestamp: epoch,
        level: "INFO",
        message: "a",
        trace_id: span?.traceId,
        span_id: span?.spanId
      })
    })
  )

  it.effect("has no ids where tracing is off, and cuts those that somebody made up", () =>
    Effect.gen(function* () {
      const off = yield* lineOf(Effect.logInfo("a").pipe(Effect.withSpan("call"), Effect.withTracerEnabled(false)))
      assert.notProperty(off, "trace_id")
      const outside = Tracer.externalSpan({ traceId: "t".repeat(100_000), spanId: '"' })
      const line = yield* lineOf(Effect.withParentSpan(Effect.logInfo("a"), outside))
      assert.containSubset(line, { trace_id: "t".repeat(64), span_id: '"' })
    })
  )

  it.effect("replaces the default logger alone", () =>
    Effect.gen(function* () {
      const others: Array<unknown> = []
      const other = Logger.make(({ message }) => void others.push(message))
      const { out } = yield* written(Effect.logInfo("a")).pipe(
        Effect.provide(Logger.layer([other, Logger.defaultLogger]))
      )
      assert.strictEqual(out.length, 1)
      assert.strictEqual(others.length, 1)
    })
  )
})

describe("layerJsonLogs on errors", () => {
  it.effect("tells the message of an LlmError and of a store's error, also inside an AiError", () =>
    Effect.gen(function* () {
      const store = new LlmError.StoreUnavailable({ store: "redis", operation: "get" })
      const ai = LlmError.toAiError(budget, { module: "M", method: "m" })
      const described = {
        class: "LlmError",
        _tag: "LlmError",
        reason: "QuotaExhaustedError",
        message: budget.message
      }
      assert.containSubset(yield* lineOf(Effect.logError("failed", budget, store, ai)), {
        message: "failed",
        errors: [described, { class: "StoreUnavailable", _tag: "StoreUnavailable", message: store.message }, described]
      })
    })
  )

  it.effect("tells no more of another error than its class and tags: no message, no stack, no field", () =>
    Effect.gen(function* () {
      const content = "my password is hunter2"
      const failing = Effect.fail(new Secretive({ prompt: content }))
      const { out } = yield* written(
        Effect.all([
          Effect.logError(new Secretive({ prompt: content })),
          Effect.logError({ event: "x", error: new TypeError(content), inner: { causes: [Cause.die(content)] } }),
          Effect.catchCause(failing, (cause) => Effect.logError("failed", cause)),
          Effect.logError(Cause.fail({ _tag: "Odd", content }), Cause.interrupt(1)),
          Effect.logError(
            "of the provider",
            Cause.fail(
              new AiError.AiError({
                module: "M",
                method: "m",
                reason: new AiError.InvalidRequestError({ description: content })
              })
            )
          )
        ])
      )
      const errors = out.map((line) => (JSON.parse(line) as { readonly errors?: unknown }).errors) // a line is an object
      assert.notInclude(out.join("\n"), "hunter2")
      assert.notInclude(out.join("\n"), "test.ts")
      const secretive = { class: "Secretive", _tag: "Secretive" }
      assert.deepStrictEqual(errors, [
        [secretive],
        undefined,
        [{ kind: "Fail", ...secretive }],
        [{ kind: "Fail", class: "Object", _tag: "Odd" }, { kind: "Interrupt" }],
        [{ kind: "Fail", class: "AiError", _tag: "AiError", reason: "InvalidRequestError" }]
      ])
      assert.containSubset(JSON.parse(out[1] ?? ""), {
        error: [{ class: "TypeError" }],
        inner: { causes: [[{ kind: "Die", class: "string" }]] }
      })
    })
  )
})

describe("layerJsonLogs on what JSON cannot say", () => {
  it.effect("writes bigints, dates, circles and numbers that are none as text, and leaves out what is nothing", () =>
    Effect.gen(function* () {
      const circle: Record<string, unknown> = { name: "c" }
      circle["self"] = circle
      let deep: unknown = "end"
      for (let i = 0; i < 100; i++) deep = { deep }
      const twice = { a: 1 }
      const line = yield* lineOf(
        Effect.logInfo({
          big: 12345678901234567890n,
          date: new Date(0),
          bad: new Date(Number.NaN),
          nan: Number.NaN,
          nothing: undefined,
          f: () => 1,
          symbol: Symbol("s"),
          list: [undefined, () => 1, null, -0],
          circle,
          twice: [twice, twice],
          key: Redacted.make("secret"),
          ["__proto__"]: "p",
          url: new URL("http://a/b"),
          map: new Map([[1, 2]])
        })
      )
      assert.deepStrictEqual(line, {
        timestamp: epoch,
        level: "INFO",
        big: "12345678901234567890",
        date: epoch,
        bad: "[invalid date]",
        nan: "NaN",
        list: [null, null, null, 0],
        circle: { name: "c", self: "[circular]" },
        twice: [{ a: 1 }, { a: 1 }],
        key: "<redacted>",
        ["__proto__"]: "p",
        url: "http://a/b",
        map: {}
      })
      const nested = yield* lineOf(Effect.logInfo({ deep }))
      assert.include(JSON.stringify(nested), '"[too deep]"')
    })
  )

  it.effect("goes on where a value cannot be read", () =>
    Effect.gen(function* () {
      const broken = {
        get field(): string {
          throw new Error("broken getter")
        }
      }
      const unwilling = {
        toJSON: () => {
          throw new Error("broken toJSON")
        }
      }
      const proxy = new Proxy(
        {},
        {
          getPrototypeOf: () => {
            throw new Error("broken proxy")
          }
        }
      )
      const endless = { toJSON: (): unknown => ({ ...endless }) }
      const lines = yield* linesOf(
        Effect.all([
          Effect.logInfo({ a: 1, broken }),
          Effect.logInfo(broken),
          Effect.logInfo({ a: 1, unwilling, endless }),
          Effect.logInfo(proxy),
          Effect.logInfo(undefined, Symbol("s"))
        ])
      )
      const base = { timestamp: epoch, level: "INFO" }
      assert.deepStrictEqual(lines[0], { ...base, a: 1, broken: { unreadable: true } })
      assert.deepStrictEqual(lines[1], { ...base, message: "[unreadable]" })
      assert.containSubset(lines[2], { ...base, a: 1, unwilling: "[toJSON threw]", endless: "[too deep]" })
      assert.deepStrictEqual(lines[3], { ...base, message: "[unreadable]" })
      assert.deepStrictEqual(lines[4], { ...base, message: "undefined Symbol(s)" })
    })
  )

  it.effect("cuts a line at 16 KiB, and says so", () =>
    Effect.gen(function* () {
      const huge = [
        "a".repeat(1_000_000),
        "\u0000".repeat(100_000),
        "😀".repeat(50_000),
        Array.from({ length: 100_000 }, (_, i) => i),
        Object.fromEntries(Array.from({ length: 10_000 }, (_, i) => [`key ${i} 😀`, { i }])),
        Array.from({ length: 5_000 }, () => [[[[[]]]]])
      ]
      for (const value of huge) {
        const logs = Effect.logInfo("text", { value, after: "x".repeat(20_000) }).pipe(Effect.withSpan("call"))
        const { out } = yield* written(logs)
        const line: unknown = JSON.parse(out[0] ?? "")
        assert.isAtMost(Buffer.byteLength(out[0] ?? ""), 16 * 1024)
        assert.isAtLeast(Buffer.byteLength(out[0] ?? ""), 8 * 1024)
        assert.notMatch(out[0] ?? "", /\\ud83d/)
        assert.containSubset(line, { message: "text", truncated: true })
        assert.property(line, "trace_id")
      }
      const fits = yield* lineOf(Effect.logInfo({ value: "a".repeat(15_000) }))
      assert.containSubset(fits, { value: "a".repeat(15_000) })
      assert.notProperty(fits, "truncated")
    })
  )

  it.effect.prop(
    "is JSON of at most 16 KiB whatever is logged",
    { value: Schema.Json, text: Schema.String },
    ({ text, value }) =>
      Effect.gen(function* () {
        const { out } = yield* written(
          Effect.logInfo(text, { value, text, many: Array.from({ length: 400 }, () => text) })
        )
        assert.strictEqual(out.length, 1)
        assert.notInclude(out[0], "\n")
        assert.isAtMost(Buffer.byteLength(out[0] ?? ""), 16 * 1024)
        const line: unknown = JSON.parse(out[0] ?? "")
        assert.propertyVal(line, "timestamp", new Date(yield* Clock.currentTimeMillis).toISOString())
      })
  )
})
