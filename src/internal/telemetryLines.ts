/** The lines of a call in the log: lengths, never content. */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Tracer from "effect/Tracer"
import { LlmError } from "../LlmError.ts"
import type { Service } from "../LlmProvider.ts"
import type { LlmRequest } from "../LlmRequest.ts"
import type { Receipt } from "../Receipt.ts"

export interface Lines {
  readonly started: () => void
  readonly over: (receipt: Receipt, exit: Exit.Exit<unknown, unknown>, outputLength: number) => void
}

export const lines = (
  fiber: Fiber.Fiber<unknown, unknown>,
  { model, provider }: Service,
  request: LlmRequest,
  span: Tracer.Span | undefined
): Lines => {
  const { context } = fiber
  const write = (line: Effect.Effect<void>) => {
    const within = span === undefined ? line : Effect.provideService(line, Tracer.ParentSpan, span)
    Effect.runSyncExitWith(context)(within)
  }
  return {
    started: () =>
      write(Effect.logInfo({ event: "llm_request_started", provider, model, prompt_length: lengthOf(request) })),
    over: (receipt, exit, output_length) => {
      const { attempts, latency: latency_ms, source } = receipt
      const common = { provider: receipt.provider, model: receipt.model, latency_ms, source, attempts: attempts.length }
      if (Exit.isSuccess(exit)) write(Effect.logInfo({ event: "llm_request_completed", ...common, output_length }))
      else write(Effect.logError({ event: "llm_request_failed", ...common, error: nameOf(exit) }))
    }
  }
}

const lengthOf = ({ prompt }: LlmRequest): number => {
  let length = 0
  for (const { content } of prompt.content) {
    if (typeof content === "string") length += content.length
    else for (const part of content) if (part.type === "text") length += part.text.length
  }
  return length
}

/** The reason's tag; what it says may hold what others wrote. */
const nameOf = (exit: Exit.Failure<unknown, unknown>): string => {
  const failure = exit.cause.reasons.find((reason) => reason._tag === "Fail")?.error
  if (failure instanceof LlmError) return failure.reason._tag
  return Exit.hasInterrupts(exit) ? "interrupted" : "defect"
}
