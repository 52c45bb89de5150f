/** The checks of whole answers and of calls of tools, one guard after the other. */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as AiError from "effect/ai/AiError"
import * as Prompt from "effect/ai/Prompt"
import type * as Response from "effect/ai/Response"
import type { Checked, Guard, Invalid, Output, OutputVerdict, Verdict } from "../Guard.ts"
import { LlmError, OutputRejected, StreamInterrupted } from "../LlmError.ts"
import type { Service as Provider } from "../LlmProvider.ts"
import type { LlmRequest } from "../LlmRequest.ts"
import { LlmResponse } from "../LlmResponse.ts"
import type { Watcher } from "./guardRun.ts"
import { Scanning } from "./guardScanning.ts"
import { onTheSpot } from "./onTheSpot.ts"
import { pass } from "./verdicts.ts"

interface Whole {
  readonly guard: Guard
  readonly check: (output: Output) => Checked<OutputVerdict>
}

/** Most characters of an answer that are held back; a check of more fails. */
export const mostHeld = 2 ** 20

class AnswerTooLong extends Error {
  override readonly name = "AnswerTooLong"
}

/** The guards of one call. */
export class Checking {
  readonly scanning: Scanning
  readonly wholes: ReadonlyArray<Whole>
  readonly ofTools: ReadonlyArray<Guard>
  readonly provider: Provider
  readonly request: LlmRequest
  /** Whether anything of the answer was given out. */
  released = false
  private readonly guards: ReadonlyArray<Guard>
  private readonly watcher: Watcher
  /** Who asks for the answer, or for the next part of it. */
  fiber: Fiber.Fiber<unknown, unknown>

  constructor(
    guards: ReadonlyArray<Guard>,
    watcher: Watcher,
    provider: Provider,
    request: LlmRequest,
    fiber: Fiber.Fiber<unknown, unknown>
  ) {
    this.guards = guards
    this.watcher = watcher
    this.provider = provider
    this.request = request
    this.fiber = fiber
    this.scanning = new Scanning(guards, request)
    this.ofTools = guards.filter(({ toolCall }) => toolCall !== undefined)
    this.wholes = guards.flatMap((guard) => {
      const check = guard.output?.(request)
      return check === undefined ? [] : [{ guard, check }]
    })
  }

  /** A whole answer through all guards; one that has the wrong form is asked for once more. */
  answer(response: LlmResponse, repaired = false): Effect.Effect<LlmResponse, LlmError> {
    const last = response.finishReason === "length" ? response.parts.findLast(isText) : undefined
    const parts = response.parts.map((part) => this.scanning.part(part, part === last))
    const isSame = parts.every((part, i) => part === response.parts[i])
    const scanned = isSame ? response : new LlmResponse({ ...response, parts })
    const calls = this.ofTools.length === 0 ? [] : scanned.toolCalls
    return after(this.settled(), () => after(this.calls(calls, 0), () => this.whole(scanned, 0, repaired)))
  }

  /** Tells what scanning found, and fails where it found what ends the answer. */
  settled(): Effect.Effect<void, LlmError> | undefined {
    const { blocked, found } = this.scanning
    if (found.length === 0) return undefined
    this.scanning.found = []
    const telling = found.flatMap(
      ({ action, guard, kind }) => this.watcher.told(this.fiber, guard, action, [kind]) ?? []
    )
    const told = Effect.all(telling, { discard: true })
    if (blocked === undefined) return telling.length === 0 ? undefined : told
    return Effect.andThen(
      told,
      Effect.fail(this.rejected(blocked.guard, `the answer holds a secret (${blocked.kind})`))
    )
  }

  calls(calls: ReadonlyArray<Response.ToolCallPartEncoded>, at: number): Effect.Effect<void, LlmError> | undefined {
    const call = calls[at]
    return call && after(this.call(call, 0), () => this.calls(calls, at + 1) ?? Exit.void)
  }

  /** One call of a tool through the guards. */
  call(call: Response.ToolCallPartEncoded, at: number): Effect.Effect<void, LlmError> | undefined {
    const guard = this.ofTools[at]
    if (guard === undefined) return undefined
    return proceed(
      this.checked<Verdict>(guard, () => guard.toolCall?.(call, this.request) ?? pass),
      (verdict) => after(this.judged(guard, verdict), () => this.call(call, at + 1) ?? Exit.void)
    )
  }

  /** For an answer of which more would have to be held back than is allowed: every check of it fails. */
  tooLong(at = 0): Effect.Effect<void, LlmError> {
    const guards = [...this.wholes.map(({ guard }) => guard), ...this.ofTools]
    const guard = guards[at]
    if (guard === undefined) return Exit.void
    const failing = this.checked<Verdict>(guard, () => {
      throw new AnswerTooLong()
    })
    return proceed(failing, () => this.tooLong(at + 1))
  }

  whole(response: LlmResponse, at: number, repaired: boolean): Effect.Effect<LlmResponse, LlmError> {
    const one = this.wholes[at]
    if (one === undefined) return Exit.succeed(response)
    const { check, guard } = one
    const next = (answer: LlmResponse) => this.whole(answer, at + 1, repaired)
    return proceed(
      this.checked<OutputVerdict>(guard, () => check({ request: this.request, response })),
      (verdict) => {
        switch (verdict?._tag) {
          case "Replace": {
            const told = this.watcher.told(this.fiber, guard, verdict.action, verdict.kinds)
            return after(told, () => next(guard.mode === "shadow" ? response : verdict.by))
          }
          case "Invalid":
            return this.invalid(guard, verdict, response, repaired, next)
          default:
            return after(this.judged(guard, verdict), () => next(response))
        }
      }
    )
  }

  rejected(guard: Guard, description: string): LlmError {
    return this.failure(new OutputRejected({ guard: guard.name, description, released: this.released }))
  }

  /** What was delivered of a stream that broke, as far as the guards gave it out. */
  interrupted(error: LlmError): LlmError {
    const { reason } = error
    if (reason._tag !== "StreamInterrupted") return error
    const delivered = this.wholes.length > 0 ? [] : this.delivered(reason.delivered)
    return new LlmError({ ...error, reason: new StreamInterrupted({ ...reason, delivered }) })
  }

  private delivered(parts: ReadonlyArray<Response.PartEncoded>): ReadonlyArray<Response.PartEncoded> {
    const scanning = new Scanning(this.guards, this.request)
    return parts.flatMap((part): ReadonlyArray<Response.PartEncoded> => {
      if (scanning.blocked !== undefined || (part.type === "tool-call" && this.ofTools.length > 0)) return []
      if (part.type !== "text" && part.type !== "reasoning") return [scanning.part(part)]
      const chain = scanning.text()
      return [{ ...part, text: chain.push(part.text) + chain.abandon() }]
    })
  }

  private invalid(
    guard: Guard,
    { ask, description }: Invalid,
    response: LlmResponse,
    repaired: boolean,
    next: (response: LlmResponse) => Effect.Effect<LlmResponse, LlmError>
  ): Effect.Effect<LlmResponse, LlmError> {
    const asks = ask !== undefined && !repaired
    const told = this.watcher.told(this.fiber, guard, asks ? "repair" : "block", [])
    if (guard.mode === "shadow") return after(told, () => next(response))
    if (!asks) return after(told, () => Effect.fail(this.failure(new AiError.InvalidOutputError({ description }))))
    const again = asking(this.request, response.text, ask)
    return after(told, () => Effect.flatMap(this.provider.generate(again), (second) => this.answer(second, true)))
  }

  private failure(reason: OutputRejected | AiError.InvalidOutputError): LlmError {
    const { model, provider } = this.provider
    return new LlmError({ provider, model, reason, phase: "answered" })
  }

  private checked<A>(guard: Guard, check: () => Checked<A>): Effect.Effect<A | undefined, LlmError> {
    const rejected = (description: string) => this.rejected(guard, description)
    return this.watcher.checked(this.fiber, guard, this.provider, check, rejected, "answered")
  }

  private judged(guard: Guard, verdict: Verdict | undefined): Effect.Effect<void, LlmError> | undefined {
    if (verdict?._tag === "Flag") return this.watcher.told(this.fiber, guard, "flag", verdict.kinds)
    if (verdict?._tag !== "Block") return undefined
    const told = this.watcher.told(this.fiber, guard, "block", [])
    if (guard.mode === "shadow") return told
    return after(told, () => Effect.fail(this.rejected(guard, verdict.description)))
  }
}

const isText = ({ type }: Response.PartEncoded): boolean => type === "text" || type === "reasoning"

/** The same question, with the answer that it got and what is wrong with it. */
const asking = (request: LlmRequest, text: string, ask: string): LlmRequest => {
  const answer = text === "" ? [] : [Prompt.assistantMessage({ content: [Prompt.textPart({ text })] })]
  const wanted = Prompt.userMessage({ content: [Prompt.textPart({ text: ask })] })
  return { ...request, prompt: Prompt.fromMessages([...request.prompt.content, ...answer, wanted]) }
}

/** `flatMap` that takes no step of the fiber where the first is there already. */
export const proceed = <A, E, B, E2>(
  self: Effect.Effect<A, E>,
  next: (value: A) => Effect.Effect<B, E2>
): Effect.Effect<B, E | E2> => {
  const now = onTheSpot(self)
  return now !== undefined && Exit.isSuccess(now) ? next(now.value) : Effect.flatMap(self, next)
}

/** The same behind what may have nothing to do. */
export const after = <E, B, E2>(
  self: Effect.Effect<void, E> | undefined,
  next: () => Effect.Effect<B, E2>
): Effect.Effect<B, E | E2> => (self === undefined ? next() : proceed(self, next))
