/** What tests of guards have in common. */
import { Effect, Exit } from "effect"
import * as Guard from "effect-ballast/Guard"
import type { Event } from "effect-ballast/Guardrails"
import type { LlmError } from "effect-ballast/LlmError"
import { makeUnsafe } from "effect-ballast/LlmRequest"
import type { LlmPart } from "effect-ballast/LlmResponse"

export const request = makeUnsafe("hello")

/** Why a call failed. */
export const rejected = (exit: Exit.Exit<unknown, LlmError>) => {
  const error = Exit.isFailure(exit) ? exit.cause.reasons.find((reason) => reason._tag === "Fail")?.error : undefined
  return error?.reason
}

export const listening = () => {
  const events: Array<Event> = []
  return { events, onEvent: (event: Event) => Effect.sync(() => void events.push(event)) }
}

export const textOf = (parts: ReadonlyArray<LlmPart>) =>
  parts.map((part) => (part.type === "text-delta" ? part.delta : "")).join("")

export const toolGuard = (toolCall: NonNullable<Guard.Options["toolCall"]>) =>
  Guard.make({ name: "tools", version: "1", toolCall })

/** A text, then a call of a tool whose arguments come in pieces. */
export const calling = (name: string, params: unknown = { path: "/" }): ReadonlyArray<LlmPart> => {
  const json = JSON.stringify(params)
  return [
    { type: "text-start", id: "t" },
    { type: "text-delta", id: "t", delta: "let me see" },
    { type: "text-end", id: "t" },
    { type: "tool-params-start", id: "c", name },
    ...Array.from(json, (delta): LlmPart => ({ type: "tool-params-delta", id: "c", delta })),
    { type: "tool-params-end", id: "c" },
    { type: "tool-call", id: "c", name, params },
    { type: "finish", reason: "tool-calls", usage: { inputTokens: { total: 1 }, outputTokens: { total: 1 } } }
  ]
}
