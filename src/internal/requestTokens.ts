/** Walks a request and adds up its tokens by given rules; what a message or a tool costs is remembered by identity. */
import type * as JsonSchema from "effect/JsonSchema"
import type * as Prompt from "effect/ai/Prompt"
import type { LlmRequest } from "../LlmRequest.ts"

export interface Rules {
  readonly text: (text: string) => number
  readonly file: (part: Prompt.FilePart) => number
  /** What a provider may or may not show to the model: ids, file names, the options of messages and parts. */
  readonly hidden: (value: unknown) => number
  /** What wraps each message, tool call and tool result. */
  readonly message: number
  /** What wraps each tool and each schema that the answer must fit. */
  readonly tool: number
  /** What the provider says to the model once when there are tools. */
  readonly tools: number
  /** What is there even without messages. */
  readonly request: number
}

export interface Sums {
  readonly messages: number
  readonly tools: number
}

export const make = (rules: Rules): ((request: LlmRequest) => Sums) => {
  const ofMessage = remembered((message: Prompt.Message) => messageTokens(rules, message))
  const ofTool = remembered((tool: Definition) => toolTokens(rules, tool, tool.parameters))
  const ofFormat = remembered((format: Format) => toolTokens(rules, format, format.schema))
  return (request) => {
    let messages = rules.request
    for (const message of request.prompt.content) messages += ofMessage(message)
    let tools = 0
    if (request.tools !== undefined && request.tools.length > 0) tools += rules.tools
    for (const tool of request.tools ?? []) tools += ofTool(tool)
    if (request.responseFormat?.type === "json") tools += ofFormat(request.responseFormat)
    return { messages, tools }
  }
}

type Definition = NonNullable<LlmRequest["tools"]>[number]
type Format = Extract<LlmRequest["responseFormat"], { type: "json" }>

const remembered = <K extends object>(measure: (key: K) => number): ((key: K) => number) => {
  const known = new WeakMap<K, number>()
  return (key) => {
    const found = known.get(key)
    if (found !== undefined) return found
    const value = measure(key)
    known.set(key, value)
    return value
  }
}

const toolTokens = (
  rules: Rules,
  named: { readonly name: string; readonly description?: string | undefined },
  schema: JsonSchema.JsonSchema
): number => rules.tool + rules.text(named.name) + rules.text(named.description ?? "") + rules.text(json(schema))

const messageTokens = (rules: Rules, message: Prompt.Message): number => {
  const around = rules.message + rules.hidden(message.options)
  return typeof message.content === "string"
    ? around + rules.text(message.content)
    : message.content.reduce((sum, part) => sum + rules.hidden(part.options) + partTokens(rules, part), around)
}

const partTokens = (rules: Rules, part: Prompt.Part): number => {
  switch (part.type) {
    case "text":
    case "reasoning":
      return rules.text(part.text)
    case "file":
      return rules.hidden(part.fileName) + rules.file(part)
    case "tool-call":
      return rules.message + rules.hidden(part.id) + rules.text(part.name) + rules.text(json(part.params))
    case "tool-result":
      return rules.message + rules.hidden(part.id) + rules.text(part.name) + resultTokens(rules, part)
    default:
      return 0 // requests for approval and their answers are not sent
  }
}

const resultTokens = (rules: Rules, { modelOutput, result }: Prompt.ToolResultPart): number =>
  modelOutput === undefined
    ? rules.text(typeof result === "string" ? result : json(result))
    : modelOutput.reduce((sum, part) => sum + rules.hidden(part.options) + partTokens(rules, part), 0)

/** Empty for what JSON cannot hold: no provider can be sent it either. */
export const json = (value: unknown): string => {
  try {
    return JSON.stringify(value) ?? ""
  } catch {
    return ""
  }
}
