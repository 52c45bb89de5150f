/** Makes the reason of another library's `AiError` fit to be seen: no prompt, no answer, no key, no HTTP body. */
import type * as AiError from "effect/ai/AiError"
import type { LlmRequest } from "../LlmRequest.ts"
import { describe } from "./describe.ts"
import { exposedHeaders } from "./http.ts"

/** The same reason with its texts cut and cleaned; where a text would quote the answer it is replaced. */
export const harmless = <Reason extends AiError.AiErrorReason>(reason: Reason, request: LlmRequest): Reason => {
  // an error's cause is not enumerable and stays behind
  const fields: Record<string, unknown> = { ...reason }
  for (const field of ["description", "constraint", "parameter"]) {
    const text = fields[field]
    if (typeof text === "string") fields[field] = describe(text, request, []) ?? "no description"
  }
  switch (reason._tag) {
    case "InvalidOutputError":
    case "StructuredOutputError":
    case "ToolParameterValidationError":
    case "InvalidToolResultError":
    case "ToolResultEncodingError":
      fields["description"] = "it does not fit its schema"
      break
    case "NetworkError":
      fields["url"] = withoutQuery(reason.url)
      break
  }
  if ("responseText" in reason) fields["responseText"] = ""
  if ("toolResult" in reason) fields["toolResult"] = null
  if ("http" in reason) fields["http"] = withoutBody(reason.http)
  const copy = Object.create(Object.getPrototypeOf(reason)) as Reason // its class; its fields follow, texts as texts
  return Object.assign(copy, fields)
}

/** A query may hold the key. */
const withoutQuery = (url: string): string => url.split(/[?#]/, 1)[0] ?? ""

const withoutBody = (http: typeof AiError.HttpContext.Type | undefined): typeof AiError.HttpContext.Type => {
  if (http?.response === undefined) return {}
  const { headers, status } = http.response
  const plain = Object.entries(headers).flatMap(([name, value]) =>
    typeof value === "string" ? [[name, value] as const] : []
  )
  return { response: { status, headers: exposedHeaders(plain) } }
}
