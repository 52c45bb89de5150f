/** Whether a request says all that its answer depends on, so that the answer may be given again. */
import type * as Prompt from "effect/ai/Prompt"
import type { LlmRequest } from "../LlmRequest.ts"
import { objectOf } from "./fields.ts"

/**
 * False where a file is given by its URL (what is there can change), where the provider ran or may run a tool, and where it
 * keeps or is asked to keep a conversation. Of the options for providers it knows the names below; any `tools` in them
 * count as run by the provider. A value that cannot be encoded is found out by the missing key.
 */
export const cacheable = (request: LlmRequest): boolean =>
  request.prompt.content.every(({ content }) => typeof content === "string" || content.every(isWhole)) &&
  (request.providerOptions === undefined || Object.values(request.providerOptions).every(isHarmless))

const isWhole = (part: Prompt.Part): boolean => {
  switch (part.type) {
    case "file":
      return !isReference(part.data)
    case "tool-call":
      return !part.providerExecuted
    case "tool-result":
      return !part.providerExecuted && (part.modelOutput ?? []).every(isWhole)
    default:
      return true
  }
}

/** Any URL but one that holds the content itself. Base64 has no colon. */
const isReference = (data: Prompt.FilePart["data"]): boolean =>
  !(data instanceof Uint8Array) && /^(?!data:)[a-z][a-z0-9+.-]{0,30}:/i.test(data instanceof URL ? data.href : data)

/** An API and its SDK may spell a name differently: `_`, `-` and capitals do not count. */
const isHarmless = (options: unknown): boolean =>
  Object.entries(objectOf(options)).every(
    ([name, value]) => !isOn(value) || !outside.has(name.replaceAll(/[_-]/g, "").toLowerCase())
  )

const isOn = (value: unknown): boolean =>
  value !== undefined && value !== null && value !== false && !(Array.isArray(value) && value.length === 0)

/** Options that make an answer depend on the world, or on what the provider keeps. */
const outside: ReadonlySet<string> = new Set([
  "tools",
  "websearch",
  "websearchoptions", // OpenAI
  "searchparameters", // xAI
  "enablesearch", // Qwen
  "plugins", // OpenRouter
  "mcpservers", // Anthropic
  "datasources", // Azure OpenAI
  "previousresponseid",
  "previousinteractionid", // Google
  "conversation",
  "conversationid",
  "threadid",
  "sessionid",
  "container",
  "prompt", // a template at OpenAI
  "store"
])
