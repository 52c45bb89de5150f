/** The key of a cached answer: of a request that was never seen, and of a conversation that grew by a message. */
import { createHash, hash } from "node:crypto"
import { InMemoryCache } from "@langchain/core/caches"
import { Prompt } from "effect/ai"
import type { LlmRequest } from "../src/index.ts"
import * as requestKey from "../src/internal/requestKey.ts"
import type { Case, Suite } from "./harness.ts"

const scope: requestKey.Scope = {
  endpoint: "openai|https://api.openai.com|org-1|gpt-5-mini",
  isolation: ["tenant", "acme"],
  fingerprint: "1"
}

const keyOf = requestKey.make({})
const secretKeyOf = requestKey.make({ secret: "0123456789abcdef0123456789abcdef" })

/** Prose of so many characters, another one for each number. */
const prose = (characters: number, number: number): string =>
  `${number}. ${'The quick brown fox said "no" to the lazy dog.\n'.repeat(characters / 46 + 1)}`.slice(0, characters)

let turn = 0

const cased = (name: string, make: () => unknown): Case => ({
  name,
  run: (n) => {
    for (let i = 0; i < n; i++) make()
    return Promise.resolve()
  }
})

const compared = (base: string, request: () => LlmRequest.LlmRequest): ReadonlyArray<Case> => [
  cased(base, () => keyOf(request(), scope)),
  cased(`${base}, with a secret`, () => secretKeyOf(request(), scope)),
  cased("node:crypto SHA-256 of its JSON", () =>
    createHash("sha256")
      .update(JSON.stringify([request(), scope]))
      .digest("hex")
  ),
  cased("LangChain's key encoder", () => langchain.key(JSON.stringify(request().prompt.content), scope.endpoint)),
  cased("the request alone, without a key", request),
  cased("SHA-256 of its last message's text alone", () => hash("sha256", lastText(request()), "base64url"))
]

const lastText = (request: LlmRequest.LlmRequest): string => {
  const part = request.prompt.content.at(-1)?.content[0]
  return typeof part === "object" && part.type === "text" ? part.text : ""
}

/** The key encoder is a protected field: a subclass gives what `lookup` uses. */
class Langchain extends InMemoryCache {
  readonly key = (prompt: string, model: string): string => this.keyEncoder(prompt, model)
}

const langchain = new Langchain()

const text = prose(2_000, 0)
const fresh = (): LlmRequest.LlmRequest => ({
  prompt: Prompt.make(`${turn++} ${text}`),
  temperature: 0,
  maxOutputTokens: 500
})

export const freshKeySuite: Suite = {
  name: "The key of a fresh request of 2 KB",
  base: "Ballast",
  cases: compared("Ballast", fresh)
}

const said = Array.from({ length: 40 }, (_, i) => {
  const part = Prompt.textPart({ text: prose(5_000, i) })
  return i % 2 === 0 ? Prompt.userMessage({ content: [part] }) : Prompt.assistantMessage({ content: [part] })
})

const grown = (): LlmRequest.LlmRequest => {
  const content = [Prompt.textPart({ text: `${turn++} ${text}` })]
  return { prompt: Prompt.fromMessages([...said, Prompt.userMessage({ content })]), temperature: 0 }
}

export const grownKeySuite: Suite = {
  name: "The key of a conversation of 200 KB with a new message of 2 KB",
  base: "Ballast",
  cases: compared("Ballast", grown)
}
