/**
 * A lesser answer instead of a failure: `withDegrade` gives a static one for a failed call, `ladder` tries whole programs
 * from the best to the cheapest and says in its type which of them answered.
 *
 * A rejected prompt or answer is no outage: it is never answered from here, but for a ladder's `otherwise`.
 */
import * as Clock from "effect/Clock"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type * as Response from "effect/ai/Response"
import * as Deadline from "./Deadline.ts"
import { beforeFirstPart } from "./internal/beforeFirstPart.ts"
import { climb, logStep, type Step } from "./internal/ladder.ts"
import { onFailure } from "./internal/onFailure.ts"
import { positiveMillis } from "./internal/options.ts"
import * as LlmError from "./LlmError.ts"
import * as LlmProvider from "./LlmProvider.ts"
import type { LlmRequest } from "./LlmRequest.ts"
import { LlmResponse, toStreamParts } from "./LlmResponse.ts"

/** A text, or parts such as those of an earlier response; their finish part is replaced. */
export type StaticAnswer = string | ReadonlyArray<Response.PartEncoded>

/** What answers in place of a model. */
export interface Options {
  /**
   * What is answered when a call fails, or a function that decides, by an effect where it has to look something up; where
   * it gives `undefined`, or takes longer than `grace`, the failure stands. A text that is not JSON never answers a request
   * for JSON. Default: nothing, every failure stands.
   */
  readonly static?: StaticAnswer | Decide | undefined
  /** How long looking up a static answer may take, also when the deadline has passed. Default 250 milliseconds. */
  readonly grace?: Duration.Input | undefined
}

type Decide = (
  error: LlmError.LlmError,
  request: LlmRequest
) => StaticAnswer | undefined | Effect.Effect<StaticAnswer | undefined>

/**
 * Answers a failed call without a model, as `ballast/static` with zero usage and `rung: "static"` in `metadata.ballast`
 * of the finish part. A stream is answered only before its first visible part.
 */
export const make = (options: Options = {}): ((inner: LlmProvider.Service) => LlmProvider.Service) => {
  const answer = staticAnswer(options.static, positiveMillis("Degrade.make: grace", options.grace ?? defaultGrace))
  return (inner) =>
    beforeFirstPart(inner, (attempting) =>
      onFailure(attempting.run(inner), (error) => {
        const generate = (request: LlmRequest) =>
          Effect.flatMap(answer(error, request), (response) => {
            if (response === undefined) return Effect.fail(error)
            return Effect.as(logStep(`${error.provider}/${error.model}`, "static", error), response)
          })
        const stream = (request: LlmRequest) =>
          Stream.unwrap(Effect.map(generate(request), ({ parts }) => Stream.fromIterable(toStreamParts(parts))))
        return attempting.run({ ...inner, generate, stream })
      })
    )
}

/** `make` over a layer. */
export const withDegrade = (options?: Options) => LlmProvider.transform(make(options))

/** How long what asks no model may take, in milliseconds. */
const defaultGrace = 250

const staticAnswer = (option: Options["static"], grace: number) => {
  if (typeof option === "string" ? option.trim() === "" : Array.isArray(option) && option.length === 0) {
    throw new RangeError("Degrade.make: static must not be empty")
  }
  return (error: LlmError.LlmError, request: LlmRequest): Effect.Effect<LlmResponse | undefined> =>
    Effect.suspend(() => {
      if (option === undefined || LlmError.consequence(error).degrade === "no") return Effect.succeed(undefined)
      const answer = typeof option === "function" ? option(error, request) : option
      const found = Effect.isEffect(answer) ? inGrace(answer, grace) : Effect.succeed(answer)
      return Effect.map(found, (given) => responseOf(given, request))
    })
}

/** The deadline that has passed must not keep a lookup from being made. */
const inGrace = <A>(lookup: Effect.Effect<A>, grace: number): Effect.Effect<A | undefined> =>
  Effect.withFiber((fiber) => {
    const until = fiber.getRef(Clock.Clock).currentTimeMillisUnsafe() + grace
    const patient = Effect.updateService(lookup, Deadline.Deadline, (deadline) => Math.max(deadline, until))
    return Effect.timeoutOrElse(patient, { duration: grace, orElse: () => Effect.succeed(undefined) })
  })

const responseOf = (answer: StaticAnswer | undefined, request: LlmRequest): LlmResponse | undefined => {
  if (answer === undefined || (typeof answer === "string" && !fits(answer, request))) return undefined
  const parts = typeof answer === "string" ? [{ type: "text", text: answer } as const] : answer
  const kept = parts.filter((part) => part.type !== "finish")
  return new LlmResponse({ provider: "ballast", model: "static", parts: [...kept, finish] })
}

const finish: Response.FinishPartEncoded = {
  type: "finish",
  reason: "stop",
  usage: { inputTokens: { total: 0 }, outputTokens: { total: 0 } },
  metadata: { ballast: { provider: "ballast", model: "static", rung: "static" } }
}

/** An apology decoded as JSON would turn an outage into an `InvalidOutputError`. */
const fits = (text: string, request: LlmRequest): boolean => {
  if (request.responseFormat?.type !== "json") return true
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

/** One program of a ladder. */
export interface Rung<Name extends string, A, E, R> {
  readonly _tag: "Rung"
  readonly name: Name
  readonly program: Effect.Effect<A, E, R>
  readonly asks: "model" | "nothing"
}

/** The last rung, which cannot fail. */
export interface Otherwise<Name extends string, A> {
  readonly _tag: "Otherwise"
  readonly name: Name
  /** Makes it, of why the rungs above did not answer. What it throws is a defect. */
  readonly answer: (failures: ReadonlyArray<Failure<string, unknown>>) => A
}

/** Why a rung did not answer. */
export interface Failure<Name extends string, E> {
  readonly rung: Name
  readonly error: E
}

/** What a rung answered, and the failures of those above it. Narrow it by `rung`. */
export interface Answer<Name extends string, A, F> {
  readonly rung: Name
  readonly value: A
  readonly failures: ReadonlyArray<F>
}

/**
 * Names a program as a rung. One that asks `"nothing"` of a model (a cache, a lookup) also runs when the money is spent or
 * the deadline has passed, for a short time.
 */
export const rung = <Name extends string, A, E, R>(
  name: Name,
  program: Effect.Effect<A, E, R>,
  options?: { /** Default `"model"`. */ readonly asks?: "model" | "nothing" | undefined }
): Rung<Name, A, E, R> => ({ _tag: "Rung", name, program, asks: options?.asks ?? "model" })

/** Ends a ladder with an answer that is always there; its failures tell a rejected prompt from an outage. */
export const otherwise = <Name extends string, A>(
  name: Name,
  answer: (failures: ReadonlyArray<Failure<string, unknown>>) => A
): Otherwise<Name, A> => ({ _tag: "Otherwise", name, answer })

type AnyRung = Rung<string, unknown, unknown, unknown>
type AnyOtherwise = Otherwise<string, unknown>

/** Rungs from the best to the cheapest; `otherwise` can only be the last one. */
export type Rungs = readonly [AnyRung, ...Array<AnyRung>] | readonly [AnyRung, ...Array<AnyRung>, AnyOtherwise]

/** How long a ladder may take. Times are above zero; `ladder` throws `RangeError` for others. */
export interface LadderOptions {
  /** How long the whole ladder may take; shortens the `Deadline`. Default: what the deadline allows. */
  readonly within?: Duration.Input | undefined
  /** How long a rung that asks nothing may take, whatever is left of the deadline. Default `250 millis`. */
  readonly grace?: Duration.Input | undefined
}

/**
 * Runs the programs from first to last until one answers. An `LlmError` (also as an `AiError`) steps down as far as the
 * table of consequences allows, any other failure to the next rung, defects and interruption never; the error is that of
 * the last rung that ran. Each step is logged as a warning.
 *
 * Under a deadline a rung that asks a model has 80 % of the remaining time while another rung follows, then it is ended
 * with `TimedOut`. While time is left, such an end does not keep the next rung from asking a model.
 */
export const ladder = <const L extends Rungs>(
  rungs: L,
  options: LadderOptions = {}
): Effect.Effect<AnswerOf<L[number], FailureOf<L[number]>>, ErrorOf<L[number]>, ServicesOf<L[number]>> => {
  checkRungs(rungs)
  const within = positiveMillis("Degrade.ladder: within", options.within ?? Infinity)
  const grace = positiveMillis("Degrade.ladder: grace", options.grace ?? defaultGrace)
  const [current, ...below] = rungs
  return Effect.withFiber((fiber) =>
    climb({ deadline: Deadline.earlier(fiber, within), grace, current, below, failures: [], mayAsk: true })
  ) as ReturnType<typeof ladder<L>> // the names, values and errors are those of the rungs that were given
}

type AnswerOf<S, F> =
  S extends Rung<infer Name, infer A, unknown, unknown>
    ? Answer<Name, A, F>
    : S extends Otherwise<infer Name, infer A>
      ? Answer<Name, A, F>
      : never

type FailureOf<S> = S extends Rung<infer Name, unknown, infer E, unknown> ? Failure<Name, E | LlmError.LlmError> : never

type ErrorOf<S> = [Extract<S, AnyOtherwise>] extends [never]
  ? LlmError.LlmError | (S extends Rung<string, unknown, infer E, unknown> ? E : never)
  : never

type ServicesOf<S> = S extends Rung<string, unknown, unknown, infer R> ? R : never

const checkRungs = (rungs: ReadonlyArray<Step>): void => {
  if (rungs[0]?._tag !== "Rung") throw new RangeError("Degrade.ladder: the first of the rungs must be a Degrade.rung")
  const names = new Set<string>()
  rungs.forEach(({ _tag, name }, i) => {
    if (names.has(name)) throw new RangeError(`Degrade.ladder: names must be unique, got "${name}" twice`)
    names.add(name)
    if (_tag === "Otherwise" && i < rungs.length - 1) {
      throw new RangeError(`Degrade.ladder: otherwise must be the last rung, got "${name}" before others`)
    }
  })
}
