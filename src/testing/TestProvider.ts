/**
 * A scripted provider for tests: answers, fails and paces its parts by the clock as told, and records every call.
 *
 * The steps are taken one per call; the last one stays. A failing step fails `generate` and `stream` alike.
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import * as AiError from "effect/ai/AiError"
import type * as Response from "effect/ai/Response"
import { LlmError, type Reason } from "../LlmError.ts"
import * as LlmProvider from "../LlmProvider.ts"
import type { LlmRequest } from "../LlmRequest.ts"
import { collectParts, type LlmPart, LlmResponse, toStreamParts, type Usage } from "../LlmResponse.ts"

/** A text, parts, a failure, a paced `Script`, or an effect or function that decides when the call is made. */
export type Step =
  | string
  | ReadonlyArray<Response.PartEncoded>
  | LlmError
  | Reason
  | Script
  | Effect.Effect<Step>
  | ((request: LlmRequest, call: number) => Step)

/** Parts with the time that passes before each of them, and how the stream ends. */
export interface Script {
  readonly _tag: "Script"
  readonly parts: ReadonlyArray<{ readonly after: Duration.Duration; readonly part: LlmPart }>
  readonly end: "finished" | { readonly after: Duration.Duration; readonly failure: LlmError | Reason }
}

/** A call as it was recorded. */
export interface Call {
  readonly method: "generate" | "stream"
  readonly request: LlmRequest
  /** Milliseconds of the clock when the call was made, and when it ended. */
  readonly startedAt: number
  endedAt: number | undefined
  outcome: "running" | "success" | "failure" | "interrupted"
}

/** Who the provider says it is, and what it does. */
export interface Options {
  /** Default `"test"`. */
  readonly provider?: string | undefined
  /** Default `"test-model"`. */
  readonly model?: string | undefined
  /** Circuits, limits and caches know it by this. Default: made of provider and model. */
  readonly endpoint?: string | undefined
  /** Default `"test-key"`. */
  readonly credential?: string | undefined
  /** One per call, the last one stays. Default: every call answers `"ok"`. */
  readonly steps?: ReadonlyArray<Step> | undefined
}

/** The provider and its record. */
export interface Service extends LlmProvider.Service {
  /** In the order in which they were made; grows while the test runs. */
  readonly calls: ReadonlyArray<Call>
}

/** The record of the provider that a program is tested with; `layer` makes both. */
export class TestProvider extends Context.Service<TestProvider, Service>()("ballast/testing/TestProvider") {}

/** A provider on its own. Times pass by the clock of whoever calls it. */
export const make = (options: Options = {}): Service => {
  const { credential = "test-key", model = "test-model", provider = "test" } = options
  const { endpoint = `test|${provider}|${model}`, steps = ["ok"] } = options
  const calls: Array<Call> = []
  const identity = { provider, model }
  const begin = (method: Call["method"], request: LlmRequest) =>
    Effect.flatMap(Clock.currentTimeMillis, (startedAt) => {
      const call: Call = { method, request, startedAt, endedAt: undefined, outcome: "running" }
      const step = steps[Math.min(calls.length, steps.length - 1)] ?? "ok"
      calls.push(call)
      return Effect.map(resolve(step, request, calls.length - 1), (script) => ({ call, script }))
    })
  return {
    ...identity,
    endpoint,
    credential,
    calls,
    generate: (request) =>
      Effect.flatMap(begin("generate", request), ({ call, script }) =>
        Effect.onExit(whole(script, identity), (exit) => end(call, exit))
      ),
    stream: (request) =>
      Stream.unwrap(
        Effect.map(begin("stream", request), ({ call, script }) =>
          Stream.onExit(parts(script, identity), (exit) => end(call, exit))
        )
      )
  }
}

/** The provider itself, and the record of its calls as `TestProvider`. */
export const layer = (options?: Options): Layer.Layer<LlmProvider.LlmProvider | TestProvider> =>
  Layer.effectContext(
    Effect.sync(() => {
      const service = make(options)
      return Context.make(LlmProvider.LlmProvider, service).pipe(Context.add(TestProvider, service))
    })
  )

const end = (call: Call, exit: Exit.Exit<unknown, unknown>) =>
  Effect.map(Clock.currentTimeMillis, (now) => {
    call.endedAt = now
    call.outcome = Exit.isSuccess(exit) ? "success" : Exit.hasInterrupts(exit) ? "interrupted" : "failure"
  })

const resolve = (step: Step, request: LlmRequest, call: number): Effect.Effect<Script> => {
  if (typeof step === "string") return Effect.succeed(paced(step))
  if (typeof step === "function") return resolve(step(request, call), request, call)
  if (step instanceof LlmError || isReason(step)) return Effect.succeed(failing(step))
  if (Effect.isEffect(step)) return Effect.flatMap(step, (next) => resolve(next, request, call))
  return Effect.succeed("_tag" in step ? step : paced(step))
}

const isReason = (step: Step): step is Reason => step instanceof Error

/**
 * An answer whose parts come at a pace: `firstPart` before the first, `every` before each later one. A finish part is
 * added where there is none, with the given usage.
 */
export const paced = (
  answer: string | ReadonlyArray<Response.PartEncoded | LlmPart>,
  pace: {
    readonly firstPart?: Duration.Input | undefined
    readonly every?: Duration.Input | undefined
    readonly usage?: Usage | undefined
    readonly finishReason?: Response.FinishReason | undefined
  } = {}
): Script => {
  const stream = streamed(answer)
  const finish: ReadonlyArray<LlmPart> = stream.some((part) => part.type === "finish")
    ? []
    : [{ type: "finish", reason: pace.finishReason ?? "stop", usage: pace.usage ?? usage(stream.length) }]
  const every = Duration.fromInputUnsafe(pace.every ?? 0)
  const first = pace.firstPart === undefined ? every : Duration.fromInputUnsafe(pace.firstPart)
  return {
    _tag: "Script",
    parts: [...stream, ...finish].map((part, i) => ({ after: i === 0 ? first : every, part })),
    end: "finished"
  }
}

/** A stream that breaks after `count` parts: with the failure, or by just ending where none is given. */
export const broken = (script: Script, count: number, failure?: LlmError | Reason): Script => ({
  ...script,
  parts: script.parts.slice(0, count),
  end: failure === undefined ? "finished" : { after: Duration.zero, failure }
})

/** A step that fails after a while. */
export const failing = (failure: LlmError | Reason, after: Duration.Input = 0): Script => ({
  _tag: "Script",
  parts: [],
  end: { after: Duration.fromInputUnsafe(after), failure }
})

/** A provider that never answers. */
export const hanging: Effect.Effect<never> = Effect.never

const streamed = (answer: string | ReadonlyArray<Response.PartEncoded | LlmPart>): ReadonlyArray<LlmPart> => {
  if (typeof answer === "string") {
    const words = answer.match(/\s*\S+\s*$|\s*\S+/g) ?? []
    const deltas = words.map((delta): LlmPart => ({ type: "text-delta", id: "0", delta }))
    return [{ type: "text-start", id: "0" }, ...deltas, { type: "text-end", id: "0" }]
  }
  return answer.flatMap((part) => (part.type === "text" || part.type === "reasoning" ? toStreamParts([part]) : [part]))
}

const usage = (tokens: number): Usage => ({
  inputTokens: { total: 10, uncached: 10 },
  outputTokens: { total: tokens, text: tokens }
})

const failureOf = (failure: LlmError | Reason, identity: { readonly provider: string; readonly model: string }) => {
  if (failure instanceof LlmError) return failure
  const retryAfter = "retryAfter" in failure ? failure.retryAfter : undefined
  return new LlmError({ ...identity, reason: failure, retryAfter, phase: "sent" })
}

const parts = (
  script: Script,
  identity: { readonly provider: string; readonly model: string }
): Stream.Stream<LlmPart, LlmError> => {
  const body = Stream.mapEffect(Stream.fromIterable(script.parts), ({ after, part }) =>
    Duration.isZero(after) ? Effect.succeed(part) : Effect.as(Effect.sleep(after), part)
  )
  if (script.end === "finished") return Stream.rechunk(body, 1)
  const { after, failure } = script.end
  const failed = Effect.flatMap(Effect.sleep(after), () => Effect.fail(failureOf(failure, identity)))
  return Stream.rechunk(Stream.concat(body, Stream.fromEffect(failed)), 1)
}

const whole = (script: Script, identity: { readonly provider: string; readonly model: string }) =>
  Effect.flatMap(Stream.runCollect(parts(script, identity)), (collected) => {
    const response = new LlmResponse({ ...identity, parts: collectParts(collected) })
    if (response.finish !== undefined) return Effect.succeed(response)
    const reason = new AiError.InternalProviderError({ description: "the stream ended without a finish part" })
    return Effect.fail(new LlmError({ ...identity, reason, phase: "answered" }))
  })
