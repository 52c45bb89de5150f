/** Which tool LocalLlm calls, and with which arguments. */
import type { ChatRequest, ChatTool } from "./localRequest.ts"
import { overlap, type Reading } from "./localReading.ts"
import { instance } from "./localSchema.ts"
import * as values from "./localValues.ts"
import { contentWords } from "./localWords.ts"

export interface Call {
  readonly name: string
  /** As JSON text. */
  readonly arguments: string
}

/** A call that the request demands or whose tool the question speaks of; none after a tool's result unless demanded. */
export const toolCall = (request: ChatRequest, reading: Reading): Call | undefined => {
  const { demanded, tools } = offered(request)
  const answered = request.messages.at(-1)?.role === "tool"
  if (answered && !demanded) return undefined
  const scored = tools.map((tool) => ({ tool, score: score(tool, reading.question) }))
  const best = scored.reduce<(typeof scored)[number] | undefined>(
    (best, one) => (best === undefined || one.score > best.score ? one : best),
    undefined
  )
  if (best === undefined || (best.score === 0 && !demanded)) return undefined
  return { name: best.tool.function.name, arguments: JSON.stringify(argumentsOf(best.tool, reading)) }
}

const offered = (request: ChatRequest): { readonly tools: ReadonlyArray<ChatTool>; readonly demanded: boolean } => {
  const all = request.tools ?? []
  const choice = request.tool_choice ?? "auto"
  if (choice === "none") return { tools: [], demanded: false }
  if (choice === "auto" || choice === "required") return { tools: all, demanded: choice === "required" }
  if (choice.type === "function") return { tools: named(all, [choice.function.name]), demanded: true }
  const names = choice.allowed_tools.tools.map((tool) => tool.function.name)
  return { tools: named(all, names), demanded: choice.allowed_tools.mode === "required" }
}

const named = (tools: ReadonlyArray<ChatTool>, names: ReadonlyArray<string>) =>
  tools.filter((tool) => names.includes(tool.function.name))

const score = ({ function: { description, name } }: ChatTool, question: string): number =>
  2 * overlap(question, values.spaced(name)) + overlap(question, description ?? "")

const argumentsOf = ({ function: { parameters } }: ChatTool, { question, text }: Reading) =>
  instance({ type: "object", ...parameters }, values.make(text, contentWords(question).slice(-3).join(" ")))
