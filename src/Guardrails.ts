/**
 * Guards around a provider: requests are looked at before anything is asked or found in a cache, answers before anything of
 * them is given out, also while they stream.
 *
 * Guards run in their order, each on what those before it left; the first one that refuses ends it, and the call fails with
 * `InputRejected` or `OutputRejected`, which nothing answers in place of. An answer that is refused was paid for.
 */
import * as Channel from "effect/Channel"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import * as Guard from "./Guard.ts"
import { after, Checking, proceed } from "./internal/guardChecking.ts"
import { type Event, type OnEvent, Watcher } from "./internal/guardRun.ts"
import { GuardedStream } from "./internal/guardStream.ts"
import { textsOf } from "./internal/guardTexts.ts"
import { InputRejected, type LlmError, refuse } from "./LlmError.ts"
import * as LlmProvider from "./LlmProvider.ts"
import * as LlmRequest from "./LlmRequest.ts"
import { LlmResponse } from "./LlmResponse.ts"

export type { Event }

/** Which guards look at requests, in this order. */
export interface InputOptions {
  /** Default: `Guard.maxLength()` and `Guard.promptInjection()`. */
  readonly guards?: ReadonlyArray<Guard.Guard> | undefined
  /** Told of all that a guard finds, without a word of the text. A second at most; its failures are ignored. */
  readonly onEvent?: OnEvent | undefined
}

/** Which guards look at answers, in this order. */
export interface OutputOptions {
  /** Default: `Guard.sensitive()`. */
  readonly guards?: ReadonlyArray<Guard.Guard> | undefined
  /** As in `InputOptions`. */
  readonly onEvent?: OnEvent | undefined
}

/** Requests through guards. Throws `RangeError` for an empty list, two of one name, and for one that has no check of requests. */
export const makeInput = (options: InputOptions = {}): ((inner: LlmProvider.Service) => LlmProvider.Service) => {
  const guards = options.guards ?? [Guard.maxLength(), Guard.promptInjection()]
  checkNames("Guardrails.makeInput", guards)
  for (const guard of guards) {
    if (guard.input === undefined)
      throw new RangeError(`Guardrails.makeInput: guard ${guard.name} has no check of requests`)
  }
  const watcher = new Watcher("input", options.onEvent)
  return (inner) => {
    const checked = (request: LlmRequest.LlmRequest, fiber: Fiber.Fiber<unknown, unknown>) =>
      admitted({ guards, watcher, inner, fiber }, { request, texts: textsOf(request) }, 0)
    return {
      ...inner,
      generate: (request) => Effect.withFiber((fiber) => proceed(checked(request, fiber), inner.generate)),
      stream: (request) => Stream.unwrap(Effect.withFiber((fiber) => Effect.map(checked(request, fiber), inner.stream)))
    }
  }
}

interface Admitting {
  readonly guards: ReadonlyArray<Guard.Guard>
  readonly watcher: Watcher
  readonly inner: LlmProvider.Service
  readonly fiber: Fiber.Fiber<unknown, unknown>
}

/** The request as the guards from one on leave it. */
const admitted = (call: Admitting, input: Guard.Input, at: number): Effect.Effect<LlmRequest.LlmRequest, LlmError> => {
  const { fiber, guards, inner, watcher } = call
  const guard = guards[at]
  if (guard === undefined) return Exit.succeed(input.request)
  const rejected = (description: string) =>
    refuse(inner.provider, inner.model, new InputRejected({ guard: guard.name, description }))
  const next = (changed = input) => admitted(call, changed, at + 1)
  const check = () => guard.input?.(input) ?? Guard.pass
  return proceed(watcher.checked(fiber, guard, inner, check, rejected, "refused"), (verdict) => {
    switch (verdict?._tag) {
      case "Flag":
        return after(watcher.told(fiber, guard, "flag", verdict.kinds), next)
      case "Replace": {
        const told = watcher.told(fiber, guard, verdict.action, verdict.kinds)
        const { by } = verdict
        return after(told, () => next(guard.mode === "shadow" ? input : { request: by, texts: textsOf(by) }))
      }
      case "Block": {
        const told = watcher.told(fiber, guard, "block", [])
        return after(told, () => (guard.mode === "shadow" ? next() : Effect.fail(rejected(verdict.description))))
      }
      default:
        return next()
    }
  })
}

/** Answers through guards. Throws `RangeError` for an empty list, two of one name, and for one that has no check of answers. */
export const makeOutput = (options: OutputOptions = {}): ((inner: LlmProvider.Service) => LlmProvider.Service) => {
  const guards = options.guards ?? [Guard.sensitive()]
  checkNames("Guardrails.makeOutput", guards)
  for (const { name, output, scan, toolCall } of guards) {
    if (output === undefined && scan === undefined && toolCall === undefined) {
      throw new RangeError(`Guardrails.makeOutput: guard ${name} has no check of answers`)
    }
  }
  const watcher = new Watcher("output", options.onEvent)
  const enforced = guards.filter(({ mode }) => mode === "enforce")
  return (inner) => ({
    ...inner,
    guards: {
      fingerprint: JSON.stringify([inner.guards?.fingerprint, ...enforced.map(({ fingerprint }) => fingerprint)]),
      scope: [inner.guards, ...enforced].some((one) => one?.scope === "caller") ? "caller" : "all"
    },
    generate: (request) =>
      Effect.withFiber((fiber) => {
        const checking = new Checking(guards, watcher, inner, request, fiber)
        const answered = Effect.flatMap(inner.generate(request), (response) => checking.answer(response))
        return Effect.mapError(answered, (error) => checking.interrupted(error))
      }),
    stream: (request) =>
      Stream.fromChannel(
        Channel.fromTransform((_, scope) =>
          Effect.withFiber((fiber: Fiber.Fiber<unknown, unknown>) => {
            const checking = new Checking(guards, watcher, inner, request, fiber)
            return Effect.map(
              Channel.toPullScoped(inner.stream(request).channel, scope),
              (pull) => new GuardedStream(checking, pull).pull
            )
          })
        )
      )
  })
}

const checkNames = (owner: string, guards: ReadonlyArray<Guard.Guard>): void => {
  if (guards.length === 0) throw new RangeError(`${owner}: guards must not be empty, leave the slot out instead`)
  const names = guards.map(({ name }) => name)
  const twice = names.find((name, i) => names.indexOf(name) !== i)
  if (twice !== undefined) throw new RangeError(`${owner}: guards must have different names, got ${twice} twice`)
}

/**
 * Whether the guards let a request pass that nobody is asked: for documents, before they are kept or stand in a prompt. What
 * a guard would change passes; a request that breaks a rule does not, nor one at which a guard fails that blocks then.
 */
export const allows = (options: InputOptions = {}): ((input: LlmRequest.Input) => Effect.Effect<boolean>) => {
  const guarded = makeInput(options)(nobody)
  return (input) => Effect.isSuccess(Effect.flatMap(LlmRequest.make(input), guarded.generate))
}

const nobody: LlmProvider.Service = {
  provider: "ballast",
  model: "nobody",
  endpoint: "ballast:nobody",
  credential: "",
  generate: () => Effect.succeed(new LlmResponse({ provider: "ballast", model: "nobody", parts: [] })),
  stream: () => Stream.empty
}

/** `makeInput` over a layer. */
export const withInputGuard = (options?: InputOptions) => LlmProvider.transform(makeInput(options))

/** `makeOutput` over a layer. A cache must stand outside of it, so that only guarded answers are kept. */
export const withOutputGuard = (options?: OutputOptions) => LlmProvider.transform(makeOutput(options))
