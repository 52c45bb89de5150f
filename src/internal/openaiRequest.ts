/** A request as parameters of chat completions; what cannot be expressed is refused with its place, before it is sent. */
import { Buffer } from "node:buffer"
import * as AiError from "effect/ai/AiError"
import * as Prompt from "effect/ai/Prompt"
import type * as Chat from "openai/resources/chat/completions"
import * as LlmRequest from "../LlmRequest.ts"

export type Params = Chat.ChatCompletionCreateParamsNonStreaming

/**
 * Throws an `InvalidRequestError`. The request's options for the provider are merged last and unchecked, but they never
 * replace the model or the messages, which policies have seen, and never make a stream of a call.
 */
export const paramsUnsafe = (request: LlmRequest.LlmRequest, provider: string, model: string): Params => {
  const params = {
    ...settings(request),
    ...LlmRequest.providerOptions(request, provider),
    stream: undefined,
    model,
    messages: request.prompt.content.flatMap((message, i) => messagesOf(message, `prompt[${i}]`, provider))
  }
  return params as unknown as Params // the server judges the provider's own options; JSON leaves out what is undefined
}

const settings = (request: LlmRequest.LlmRequest) => ({
  max_completion_tokens: request.maxOutputTokens,
  temperature: request.temperature,
  top_p: request.topP,
  seed: request.seed,
  stop: request.stop,
  reasoning_effort: request.reasoningEffort,
  tools: hasTools(request) ? request.tools?.map(toolOf) : undefined,
  tool_choice: toolChoice(request),
  response_format: responseFormat(request.responseFormat)
})

/** The API takes neither an empty list of tools nor a choice without tools. */
const hasTools = (request: LlmRequest.LlmRequest) => request.tools !== undefined && request.tools.length > 0

const toolOf = ({ description, name, parameters, strict }: LlmRequest.Tool) => ({
  type: "function",
  function: { name, description, parameters, strict }
})

const toolChoice = (request: LlmRequest.LlmRequest) => {
  const choice = request.toolChoice
  if (choice === "auto" || choice === "none") return hasTools(request) ? choice : undefined
  if (typeof choice !== "object") return choice
  return "tool" in choice
    ? { type: "function", function: { name: choice.tool } }
    : {
        type: "allowed_tools",
        allowed_tools: {
          mode: choice.mode ?? "auto",
          tools: choice.oneOf.map((name) => ({ type: "function", function: { name } }))
        }
      }
}

const responseFormat = (format: LlmRequest.ResponseFormat | undefined) =>
  format?.type !== "json"
    ? undefined
    : {
        type: "json_schema",
        json_schema: {
          name: format.name,
          description: format.description,
          schema: format.schema,
          strict: format.strict ?? true
        }
      }

const messagesOf = (
  message: Prompt.Message,
  at: string,
  provider: string
): ReadonlyArray<Chat.ChatCompletionMessageParam> => {
  const extra = optionsFor(message, provider)
  switch (message.role) {
    case "system": // not "developer": the API takes "system" for every model, compatible servers know no other
      return [{ role: "system", content: message.content, ...extra }]
    case "user": {
      const parts = message.content.map((part, j) => userPart(part, `${at}.content[${j}]`, provider))
      return [{ role: "user", content: contentOf(parts), ...extra }]
    }
    case "assistant":
      return assistantMessages(message, at, provider)
    default:
      return message.content.flatMap((part, j) =>
        part.type === "tool-result" ? [{ ...toolMessage(part, `${at}.content[${j}]`, provider), ...extra }] : []
      )
  }
}

/** What a message or a part says to this provider alone. */
const optionsFor = (target: { readonly options: Prompt.ProviderOptions }, provider: string) =>
  LlmRequest.providerOptions({ providerOptions: target.options }, provider)

/** One plain text as a string, which every compatible server takes. */
const contentOf = <A extends Chat.ChatCompletionContentPart>(parts: Array<A>): string | Array<A> => {
  const [first] = parts
  if (first === undefined) return ""
  return parts.length === 1 && first.type === "text" && Object.keys(first).length === 2 ? first.text : parts
}

const textPart = (part: Prompt.TextPart, provider: string): Chat.ChatCompletionContentPartText => ({
  type: "text",
  text: part.text,
  ...optionsFor(part, provider)
})

const userPart = (part: Prompt.UserMessagePart, at: string, provider: string): Chat.ChatCompletionContentPart =>
  part.type === "text" ? textPart(part, provider) : { ...filePart(part, at), ...optionsFor(part, provider) }

const filePart = (part: Prompt.FilePart, at: string): Chat.ChatCompletionContentPart => {
  if (part.mediaType.startsWith("image/")) {
    const mediaType = part.mediaType === "image/*" ? "image/jpeg" : part.mediaType
    return { type: "image_url", image_url: { url: urlOf(part.data) ?? dataUrl(mediaType, part.data) } }
  }
  const format = audioFormats.get(part.mediaType)
  if (format === undefined && part.mediaType !== "application/pdf") {
    throw invalid(`${at}.mediaType`, "must be an image, audio/wav, audio/mpeg or application/pdf")
  }
  if (urlOf(part.data)?.startsWith("http") === true) {
    throw invalid(`${at}.data`, "must be the bytes themselves: chat completions takes only images by URL")
  }
  return format === undefined
    ? {
        type: "file",
        file: { filename: part.fileName ?? "document.pdf", file_data: dataUrl(part.mediaType, part.data) }
      }
    : { type: "input_audio", input_audio: { data: base64(part.data), format } }
}

const audioFormats: ReadonlyMap<string, "wav" | "mp3"> = new Map([
  ["audio/wav", "wav"],
  ["audio/x-wav", "wav"],
  ["audio/mpeg", "mp3"],
  ["audio/mp3", "mp3"]
])

const urlOf = (data: Prompt.FilePart["data"]): string | undefined => {
  if (data instanceof URL) return data.href
  return typeof data === "string" && /^(data|https?):/.test(data) ? data : undefined
}

const dataUrl = (mediaType: string, data: Prompt.FilePart["data"]): string =>
  urlOf(data) ?? `data:${mediaType};base64,${base64(data)}`

const base64 = (data: Prompt.FilePart["data"]): string => {
  if (data instanceof Uint8Array) return Buffer.from(data).toString("base64")
  const text = String(data)
  return text.startsWith("data:") ? text.slice(text.indexOf(",") + 1) : text
}

const invalid = (parameter: string, constraint: string) => new AiError.InvalidRequestError({ parameter, constraint })

/**
 * Usually one message; results that lie among the assistant's parts (tools that another provider ran) become tool
 * messages, behind the calls that they answer. Reasoning has no place in chat completions and is left out.
 */
const assistantMessages = (message: Prompt.AssistantMessage, at: string, provider: string) => {
  const messages: Array<Chat.ChatCompletionMessageParam> = []
  let texts: Array<Chat.ChatCompletionContentPartText> = []
  let calls: Array<Chat.ChatCompletionMessageToolCall> = []
  const flush = () => {
    if (texts.length > 0 || calls.length > 0) {
      messages.push({
        role: "assistant",
        ...(texts.length === 0 ? {} : { content: contentOf(texts) }),
        ...(calls.length === 0 ? {} : { tool_calls: calls }),
        ...optionsFor(message, provider)
      })
    }
    texts = []
    calls = []
  }
  for (const [j, part] of message.content.entries()) {
    const here = `${at}.content[${j}]`
    if (part.type === "text") texts.push(textPart(part, provider))
    else if (part.type === "tool-call") calls.push(toolCall(part, here, provider))
    else if (part.type === "tool-result") {
      flush()
      messages.push(toolMessage(part, here, provider))
    } else if (part.type === "file") {
      throw invalid(here, "must not be a file: chat completions takes files from the user only")
    }
  }
  flush()
  return messages
}

const toolCall = (part: Prompt.ToolCallPart, at: string, provider: string): Chat.ChatCompletionMessageToolCall => ({
  id: part.id,
  type: "function",
  function: { name: part.name, arguments: json(part.params, `${at}.params`) },
  ...optionsFor(part, provider)
})

const toolMessage = (
  part: Prompt.ToolResultPart,
  at: string,
  provider: string
): Chat.ChatCompletionToolMessageParam => ({
  role: "tool",
  tool_call_id: part.id,
  content: toolContent(part, at),
  ...optionsFor(part, provider)
})

const toolContent = (part: Prompt.ToolResultPart, at: string): string => {
  if (part.modelOutput !== undefined) return Prompt.toolModelOutputToText(part.modelOutput)
  return typeof part.result === "string" ? part.result : json(part.result, `${at}.result`)
}

const json = (value: unknown, at: string): string => {
  try {
    return JSON.stringify(value ?? null)
  } catch {
    throw invalid(at, "must be a value that JSON can hold")
  }
}
