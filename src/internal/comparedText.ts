/** Which text of a request is compared by its meaning, and the request without it. */
import * as Prompt from "effect/ai/Prompt"
import type { LlmRequest } from "../LlmRequest.ts"
import { originOf } from "./guardTexts.ts"

export interface Compared {
  readonly text: string
  /** The same request, in which the text is not: what is left of it must be equal. */
  readonly rest: LlmRequest
}

/** No text that is compared is one of these. */
const hole = "\u0000"

/**
 * The last message must be of the user and of nothing but text, no longer than `longest`. `embed` names the part of it that is
 * compared; by default all of it is that is no document, which must stand in one piece.
 */
export const comparedText = (
  request: LlmRequest,
  embed: ((request: LlmRequest) => string | undefined) | undefined,
  longest: number
): Compared | undefined => {
  const { content } = request.prompt
  const last = content.at(-1)
  if (last?.role !== "user") return undefined
  const texts: Array<string> = []
  const own: Array<string> = []
  for (const part of last.content) {
    if (part.type !== "text") return undefined
    texts.push(part.text)
    if (originOf(part) === "user") own.push(part.text)
  }
  const whole = texts.join("\n")
  const text = embed === undefined ? own.join("\n") : embed(request)
  if (text === undefined || text.trim() === "" || text.length > longest) return undefined
  const at = whole.indexOf(text)
  if (at < 0) return undefined
  const around = whole.slice(0, at) + hole + whole.slice(at + text.length)
  const message = Prompt.userMessage({
    content: [Prompt.textPart({ text: around, options: optionsOf(last) })],
    options: last.options
  })
  return { text, rest: { ...request, prompt: Prompt.fromMessages([...content.slice(0, -1), message]) } }
}

/** Of all parts of the message, in their order. */
const optionsOf = (message: Prompt.UserMessage): Prompt.ProviderOptions =>
  Object.assign({}, ...message.content.map((part) => part.options))
