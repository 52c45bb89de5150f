/** The texts of a request that guards look at, with where they come from. */
import { Buffer } from "node:buffer"
import * as Prompt from "effect/ai/Prompt"
import type { LlmRequest } from "../LlmRequest.ts"
import { objectOf } from "./fields.ts"

/** Who wrote it: the user, somebody whose document was retrieved, or a tool. */
export type Origin = "user" | "document" | "tool"

/** A text of a request, and where it comes from. */
export interface GuardedText {
  readonly text: string
  readonly origin: Origin
  /** Which message of the prompt it is in, from 0. */
  readonly message: number
  /** It is the content of a file, which cannot be changed. */
  readonly inFile?: true
}

/** Most characters of one request that are looked at. */
const mostCharacters = 2 ** 20

/** Why the texts are not looked at, if they are too long for it. */
export const tooLong = (texts: ReadonlyArray<GuardedText>): string | undefined => {
  const length = lengthOf(texts)
  return length > mostCharacters
    ? `${length} characters are too many to be looked at, at most ${mostCharacters} are allowed`
    : undefined
}

export const lengthOf = (texts: ReadonlyArray<GuardedText>): number =>
  texts.reduce((sum, { text }) => sum + text.length, 0)

/** All but what the program says itself, in the system message, and what the model said before. */
export const textsOf = (request: LlmRequest): ReadonlyArray<GuardedText> => {
  const texts: Array<GuardedText> = []
  for (const [message, { content, role }] of request.prompt.content.entries()) {
    if (typeof content === "string") continue
    for (const part of content) add(texts, part, role, message)
  }
  return texts
}

const add = (texts: Array<GuardedText>, part: Prompt.Part, role: Prompt.Message["role"], message: number): void => {
  switch (part.type) {
    case "text":
      if (role === "user") addText(texts, { text: part.text, origin: originOf(part), message })
      break
    case "file": {
      const text = textOfFile(part)
      if (text !== undefined) texts.push({ text, origin: "document", message, inFile: true })
      break
    }
    case "tool-result": {
      texts.push({ text: strings(part.result).join("\n"), origin: "tool", message })
      for (const one of part.modelOutput ?? []) add(texts, one, "user", message)
      break
    }
    default:
  }
}

/** What a user says in several parts of one message the model reads as one text. */
const addText = (texts: Array<GuardedText>, one: GuardedText): void => {
  const last = texts.at(-1)
  const goesOn = one.origin === "user" && last?.origin === "user" && last.message === one.message
  if (goesOn) texts[texts.length - 1] = { ...one, text: `${last.text}\n${one.text}` }
  else texts.push(one)
}

export const originOf = (part: Prompt.TextPart): Origin =>
  objectOf(part.options["ballast"])["document"] === true ? "document" : "user"

const readable = /^(text\/|application\/(json|xml|yaml|x-yaml|javascript|.*\+(json|xml))\b)/i

/** The content of a file that is a text. Others, a PDF for one, are not looked into. */
const textOfFile = ({ data, mediaType }: Prompt.FilePart): string | undefined => {
  if (!readable.test(mediaType)) return undefined
  if (data instanceof Uint8Array) return new TextDecoder().decode(data)
  const encoded = data instanceof URL ? data.href : data
  const start = /^data:[^,]*;base64,/i.exec(encoded)?.[0]
  if (start === undefined && /^[a-z][a-z0-9+.-]{0,30}:/i.test(encoded)) return undefined
  return new TextDecoder().decode(Buffer.from(encoded.slice(start?.length ?? 0), "base64"))
}

/** Every text in a value of JSON, the names of its fields too. Without recursion: a stranger decides how deep it is. */
const strings = (value: unknown): ReadonlyArray<string> => {
  const found: Array<string> = []
  const open: Array<unknown> = [value]
  while (open.length > 0) {
    const next = open.pop()
    if (typeof next === "string") found.push(next)
    else if (Array.isArray(next)) for (const item of next.toReversed()) open.push(item)
    else if (typeof next === "object" && next !== null)
      for (const [name, field] of Object.entries(next).toReversed()) open.push(field, name)
  }
  return found
}

/**
 * The same request with its texts changed, `undefined` for as it is. What stays is the same object. Texts in files stay, and
 * results of tools, unless there is a change for those.
 */
export const mapTexts = (
  request: LlmRequest,
  change: (text: string, origin: Origin, message: number) => string | undefined,
  changeResult: (result: unknown) => unknown = (result) => result
): LlmRequest => {
  const partOf = <A extends Prompt.Part>(part: A, message: number): A => {
    if (part.type === "text") {
      const text = change(part.text, originOf(part), message)
      return text === undefined || text === part.text ? part : { ...part, text }
    }
    if (part.type !== "tool-result") return part
    const result = changeResult(part.result)
    const modelOutput = part.modelOutput && changed(part.modelOutput, (one) => partOf(one, message))
    if (result === part.result && modelOutput === part.modelOutput) return part
    return { ...part, result, ...(modelOutput === undefined ? {} : { modelOutput }) }
  }
  const messages = changed(request.prompt.content, (message, i): Prompt.Message => {
    if (message.role !== "user" && message.role !== "tool") return message
    // the parts of a message of a user stay such parts, and so do those of a tool
    const parts: ReadonlyArray<Prompt.Part> = message.content
    const content = changed(parts, (part) => partOf(part, i))
    return content === parts ? message : ({ ...message, content } as Prompt.Message)
  })
  return messages === request.prompt.content ? request : { ...request, prompt: Prompt.fromMessages(messages) }
}

/** The same list where nothing of it changed. */
const changed = <A>(list: ReadonlyArray<A>, change: (item: A, index: number) => A): ReadonlyArray<A> => {
  const next = list.map(change)
  return next.every((item, i) => item === list[i]) ? list : next
}
