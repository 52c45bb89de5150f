/** An `LlmRequest` in the words of Anthropic's Messages API, or the field that it has no words for. */
import type { Anthropic } from "@anthropic-ai/sdk"
import * as Predicate from "effect/Predicate"
import * as Result from "effect/Result"
import * as AiError from "effect/ai/AiError"
import type * as Prompt from "effect/ai/Prompt"
import * as Base64 from "effect/encoding/Base64"
import * as LlmRequest from "../LlmRequest.ts"
import { type Fields, objectOf } from "./fields.ts"

export interface Dialect {
  readonly name: string
  readonly model: string
  readonly maxOutputTokens: number
  /** API versions from 2026-10-21 on refuse `temperature` and `top_p`, whatever their value. */
  readonly sampling: boolean
}

export interface Params {
  readonly body: Body
  /** Values of the `anthropic-beta` header. */
  readonly betas: ReadonlyArray<string>
}

export type Body = Omit<Anthropic.MessageCreateParamsNonStreaming, "stream"> & {
  readonly temperature?: number
  readonly top_p?: number
}

type Block = Anthropic.ContentBlockParam
type Turn = { readonly role: "user" | "assistant"; readonly content: Array<Block> }

export const toParams = (
  request: LlmRequest.LlmRequest,
  dialect: Dialect
): Result.Result<Params, AiError.InvalidRequestError> => {
  try {
    return Result.succeed(build(request, dialect))
  } catch (error) {
    if (error instanceof AiError.InvalidRequestError) return Result.fail(error)
    throw error
  }
}

const refuse = (parameter: string, constraint: string): never => {
  throw new AiError.InvalidRequestError({ parameter, constraint })
}

const build = (request: LlmRequest.LlmRequest, dialect: Dialect): Params => {
  refuseSampling(request, dialect)
  const { betas, toolOptions, output_config, ...extra } = optionsOf(request.providerOptions, dialect.name)
  const { messages, system } = conversation(request.prompt, dialect.name)
  const maxTokens = request.maxOutputTokens ?? dialect.maxOutputTokens
  const { effort, thinking } = reasoning(request.reasoningEffort, dialect.model, maxTokens)
  const format =
    request.responseFormat?.type === "json"
      ? { format: { type: "json_schema" as const, schema: request.responseFormat.schema } }
      : {}
  const output = { ...effort, ...format, ...objectOf(output_config) }
  const body: Body = {
    max_tokens: maxTokens,
    ...(system.length > 0 ? { system } : {}),
    ...(request.temperature === undefined ? {} : { temperature: request.temperature }),
    ...(request.topP === undefined ? {} : { top_p: request.topP }),
    ...(request.stop === undefined || request.stop.length === 0 ? {} : { stop_sequences: [...request.stop] }),
    ...thinking,
    ...tools(request, objectOf(toolOptions)),
    ...(Object.keys(output).length > 0 ? { output_config: output } : {}),
    ...extra,
    model: dialect.model,
    messages
  }
  return { body, betas: Array.isArray(betas) ? betas.filter((beta) => typeof beta === "string") : [] }
}

const refuseSampling = (request: LlmRequest.LlmRequest, dialect: Dialect): void => {
  if (request.seed !== undefined) refuse("seed", "cannot be passed to Anthropic")
  if (dialect.sampling) return
  const rule = 'cannot be passed to Anthropic since API version 2026-10-21 (set apiVersion to "2023-06-01" to pass it)'
  if (request.temperature !== undefined) refuse("temperature", rule)
  if (request.topP !== undefined) refuse("topP", rule)
}

/** What is meant for this dialect, and for this provider under its own name. */
const optionsOf = (options: Prompt.ProviderOptions | undefined, name: string): Fields => {
  const providerOptions = options
  return {
    ...LlmRequest.providerOptions({ providerOptions }, "anthropic"),
    ...LlmRequest.providerOptions({ providerOptions }, name)
  }
}

const shares = { minimal: 0.1, low: 0.2, medium: 0.5, high: 0.8, xhigh: 0.9 }

/** The closed set of models that know only thinking with a budget. */
const budgeted = /claude-(?:3|(?:opus|sonnet)-4-(?:0|1|2025)|(?:opus|sonnet|haiku)-4-5)/

const reasoning = (
  effort: LlmRequest.ReasoningEffort | undefined,
  model: string,
  maxTokens: number
): { readonly effort?: Anthropic.OutputConfig; readonly thinking?: Pick<Body, "thinking"> } => {
  if (effort === undefined) return {}
  if (effort === "none") return { thinking: { thinking: { type: "disabled" } } }
  if (!budgeted.test(model)) {
    return {
      effort: { effort: effort === "minimal" ? "low" : effort },
      thinking: { thinking: { type: "adaptive" } }
    }
  }
  if (maxTokens <= 1024) refuse("maxOutputTokens", "must be above 1024 for reasoning with this model")
  const budget = Math.max(1024, Math.floor(maxTokens * shares[effort]))
  return { thinking: { thinking: { type: "enabled", budget_tokens: budget } } }
}

const tools = (request: LlmRequest.LlmRequest, options: Fields): Pick<Body, "tools" | "tool_choice"> => {
  const choice = request.toolChoice
  const only = Predicate.isObject(choice) && "oneOf" in choice ? choice.oneOf : undefined
  const offered = (request.tools ?? []).filter((tool) => only === undefined || only.includes(tool.name))
  if (offered.length === 0) return {}
  return {
    tools: offered.map((tool) => toolOf(tool, objectOf(options[tool.name]))),
    ...(choice === undefined ? {} : { tool_choice: toolChoice(choice) })
  }
}

const toolOf = (tool: LlmRequest.Tool, options: Fields): Anthropic.Tool => ({
  name: tool.name,
  ...(tool.description === undefined ? {} : { description: tool.description }),
  // the API wants the type even where it is plain
  input_schema: { ...tool.parameters, type: "object" },
  ...(tool.strict === true ? { strict: true } : {}),
  ...cacheable(options)
})

const toolChoice = (choice: LlmRequest.ToolChoice): Anthropic.ToolChoice => {
  if (choice === "auto" || choice === "none") return { type: choice }
  if (choice === "required") return { type: "any" }
  if ("tool" in choice) return { type: "tool", name: choice.tool }
  const [first, ...others] = choice.oneOf
  if (choice.mode !== "required") return { type: "auto" }
  return first !== undefined && others.length === 0 ? { type: "tool", name: first } : { type: "any" }
}

/** Options of a message, part or tool as fields of its block, with `cacheControl` spelled as the API does. */
const cacheable = ({ cacheControl, ...options }: Fields): Fields =>
  cacheControl === undefined ? options : { ...options, cache_control: cacheControl }

const conversation = (prompt: Prompt.Prompt, name: string) => {
  const system: Array<Anthropic.TextBlockParam> = []
  const turns: Array<Turn> = []
  for (const [i, message] of prompt.content.entries()) {
    const marks = cacheable(optionsOf(message.options, name))
    if (message.role === "system") {
      if (message.content.trim() !== "") system.push({ type: "text", text: message.content, ...marks })
      continue
    }
    const role = message.role === "assistant" ? "assistant" : "user"
    const content = message.content.flatMap((part, j) => blocksOf(part, role, `prompt[${i}].content[${j}]`, name))
    const last = content.pop()
    if (last === undefined) continue
    content.push({ ...last, ...marks })
    const previous = turns.at(-1)
    if (previous?.role === role) previous.content.push(...content)
    else turns.push({ role, content })
  }
  if (turns.length === 0) refuse("prompt", "must hold more than system messages")
  return { system, messages: turns.map(finishTurn) }
}

/** The API wants the results of tools before anything else of their turn, and no space at the end of a prefill. */
const finishTurn = (turn: Turn, i: number, turns: ReadonlyArray<Turn>): Turn => {
  if (turn.role === "user") {
    const isResult = (block: Block) => block.type === "tool_result"
    return {
      role: "user",
      content: [...turn.content.filter(isResult), ...turn.content.filter((block) => !isResult(block))]
    }
  }
  const last = turn.content.at(-1)
  if (i < turns.length - 1 || last?.type !== "text") return turn
  return { role: "assistant", content: [...turn.content.slice(0, -1), { ...last, text: last.text.trimEnd() }] }
}

type Part = Exclude<Prompt.Message["content"], string>[number]

const blocksOf = (part: Part, role: Turn["role"], place: string, name: string): ReadonlyArray<Block> => {
  const options = optionsOf(part.options, name)
  switch (part.type) {
    case "text":
      return part.text.trim() === "" ? [] : [{ type: "text", text: part.text, ...citable(cacheable(options), role) }]
    case "file":
      if (role === "assistant") refuse(place, "cannot be a file: Anthropic takes files from the user only")
      return [{ ...fileBlock(part, place), ...cacheable(options) }]
    case "reasoning":
      return thinkingBlock(part.text, options)
    case "tool-call": {
      const type = part.providerExecuted ? "server_tool_use" : "tool_use"
      // a tool that the provider runs has the name that it gave itself
      return [{ type, id: part.id, name: part.name, input: part.params ?? {}, ...cacheable(options) } as Block]
    }
    case "tool-result":
      return [toolResult(part, options, place)]
    default:
      // approvals are between the program and its user
      return []
  }
}

/** Citations go back with the answer they came in; the API takes them nowhere else, and without the file's id. */
const citable = ({ citations, ...options }: Fields, role: Turn["role"]): Fields => {
  if (role === "user" || !Array.isArray(citations)) return options
  return { ...options, citations: citations.map((citation) => ({ ...objectOf(citation), file_id: undefined })) }
}

/** Only thinking that Anthropic signed can go back to it; another's is left out. */
const thinkingBlock = (thinking: string, options: Fields): ReadonlyArray<Block> => {
  const { redactedData, signature } = options
  if (typeof redactedData === "string") return [{ type: "redacted_thinking", data: redactedData }]
  return typeof signature === "string" ? [{ type: "thinking", thinking, signature }] : []
}

const toolResult = (part: Prompt.ToolResultPart, { type, ...options }: Fields, place: string): Block => {
  if (part.providerExecuted && typeof type === "string") {
    // the block of a tool that the provider ran, as it came
    return { type, tool_use_id: part.id, content: part.result, ...cacheable(options) } as unknown as Block
  }
  const { result } = part
  const text = typeof result === "string" ? result : (JSON.stringify(result) ?? "null")
  return {
    type: "tool_result",
    tool_use_id: part.id,
    content: part.modelOutput?.map((output, i) => outputBlock(output, `${place}.modelOutput[${i}]`)) ?? text,
    ...(part.isFailure ? { is_error: true } : {}),
    ...cacheable(options)
  }
}

const outputBlock = (output: Prompt.ToolModelOutputPart, place: string) =>
  output.type === "text" ? { type: "text" as const, text: output.text } : fileBlock(output, place)

const imageTypes = ["image/jpeg", "image/png", "image/gif", "image/webp"] as const

const fileBlock = (part: Prompt.FilePart, place: string): Anthropic.ImageBlockParam | Anthropic.DocumentBlockParam => {
  const source = sourceOf(part.data, place)
  const title = part.fileName === undefined ? {} : { title: part.fileName }
  const image = imageTypes.find((type) => type === part.mediaType)
  if (typeof source !== "string") {
    if (part.mediaType.startsWith("image/")) return { type: "image", source: { type: "url", url: source.url } }
    if (part.mediaType === pdf) return { type: "document", source: { type: "url", url: source.url }, ...title }
  } else {
    if (image !== undefined) return { type: "image", source: { type: "base64", media_type: image, data: source } }
    if (part.mediaType === pdf) {
      return { type: "document", source: { type: "base64", media_type: pdf, data: source }, ...title }
    }
    if (part.mediaType === "text/plain") {
      const data = Result.getOrElse(Base64.decodeString(source), () => refuse(`${place}.data`, "must be base64"))
      return { type: "document", source: { type: "text", media_type: "text/plain", data }, ...title }
    }
  }
  return refuse(`${place}.mediaType`, `must be one of ${imageTypes.join(", ")}, ${pdf}, or text/plain that is no URL`)
}

const pdf = "application/pdf"

/** Base64, or a URL that the provider can fetch. */
const sourceOf = (data: Prompt.FilePart["data"], place: string): string | { readonly url: string } => {
  if (data instanceof Uint8Array) return Base64.encode(data)
  const text = String(data)
  const inline = /^data:[^,]*;base64,(.*)$/s.exec(text)
  if (inline !== null) return inline[1] ?? ""
  if (/^https?:/i.test(text)) return { url: text }
  return text.includes(":") ? refuse(`${place}.data`, "must be bytes, base64, or an http or https URL") : text
}
