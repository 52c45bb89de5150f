/** Makes a provider's message fit to be seen: no key, nothing of the prompt, no more than 500 characters. */
import type { LlmRequest } from "../LlmRequest.ts"
import { detectors } from "./detectors.ts"
import { compile, redact } from "./redactor.ts"

const maxLength = 500
/** From this length on, a passage that the prompt has too is taken for an echo of it. */
const echoLength = 20

export const describe = (
  message: string | undefined,
  request: LlmRequest | undefined,
  secrets: ReadonlyArray<string>
): string | undefined => {
  if (message === undefined || message.trim() === "") return undefined
  const known = secrets
    .filter((secret) => secret !== "")
    .reduce((text, secret) => text.replaceAll(secret, mask), message)
  const text = redact(sensitive, withoutEcho(known.slice(0, 4 * maxLength).replace(keyShaped, mask), request))
  return text.length > maxLength ? `${text.slice(0, maxLength - 1)}…` : text
}

const mask = "<redacted>"

const { phone: _, ...kinds } = detectors
const sensitive = compile(Object.values(kinds).map((detector) => ({ detector, action: "redact" })))

/** Keys as the main providers write them, whole or with the middle starred out, and bearer tokens. */
const keyShaped = /\b(?:sk|pk|rk|gsk|xai|key|AIza|ghp|hf|eyJ)[-_A-Za-z0-9]*[-_*.A-Za-z0-9]{8,}|\bBearer\s+\S+/g

const withoutEcho = (message: string, request: LlmRequest | undefined): string => {
  if (request === undefined) return message
  const prompt = promptText(request)
  let result = ""
  for (let i = 0; i < message.length;) {
    let length = echoLength
    if (i + length > message.length || !prompt.includes(message.slice(i, i + length))) {
      result += message[i++]
      continue
    }
    while (i + length < message.length && prompt.includes(message.slice(i, i + length + 1))) length++
    result += "<prompt>"
    i += length
  }
  return result
}

/** All text that the caller wrote, at most the first million characters. */
const promptText = (request: LlmRequest): string => {
  const texts: Array<string> = []
  for (const message of request.prompt.content) {
    if (typeof message.content === "string") texts.push(message.content)
    else {
      for (const part of message.content) {
        if (part.type === "text" || part.type === "reasoning") texts.push(part.text)
        else if (part.type === "tool-call") texts.push(JSON.stringify(part.params) ?? "")
        else if (part.type === "tool-result") texts.push(JSON.stringify(part.result) ?? "")
      }
    }
  }
  return texts.join("\n").slice(0, 1_000_000)
}
