/**
 * How many tokens a text or a request has, counted at once and without asking the provider: the estimate that limits and
 * budgets reserve before a call, and settle after it.
 *
 * Without a layer it is `approximate`. Messages and tools are counted once and remembered by identity, so that a long chat
 * costs only its new message.
 */
import { Buffer } from "node:buffer"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Prompt from "effect/ai/Prompt"
import * as approximation from "./internal/approximateTokens.ts"
import { type Encoding, load } from "./internal/exactTokens.ts"
import * as files from "./internal/fileTokens.ts"
import * as requests from "./internal/requestTokens.ts"
import type { LlmRequest } from "./LlmRequest.ts"

export { ExpectedOutput } from "./internal/expectedOutput.ts"

export type { Encoding }

/** How many tokens a request is expected to have. */
export interface Estimate {
  /** Tokens of the whole input: messages and tools. */
  readonly input: number
  /** Of the messages alone. */
  readonly messages: number
  /** Of the tools and of a schema that the answer must fit. */
  readonly tools: number
}

/** A way to count. It answers on the spot and never fails. */
export interface Service {
  /** Tokens of a text. */
  readonly count: (text: string) => number
  /**
   * Texts are counted, tool schemas as JSON, and what wraps each message and tool is added. A picture counts 1,600, sound a
   * token per 1,000 bytes, a PDF 2,000 per 50 kB (20,000 behind a URL), any other file as text.
   */
  readonly estimate: (request: LlmRequest) => Estimate
}

/** The counter in use; `approximate` by default. */
export const Tokens: Context.Reference<Service> = Context.Reference<Service>("ballast/Tokens", {
  defaultValue: () => approximate
})

/** A service from any way to count the tokens of a text. */
export const make = (count: (text: string) => number): Service => {
  const sums = requests.make({
    text: count,
    file: (part: Prompt.FilePart) => files.estimate(part, count),
    hidden: () => 0,
    message: 4,
    tool: 12,
    tools: 12,
    request: 3
  })
  return {
    count,
    estimate: (request) => {
      const { messages, tools } = sums(request)
      return { input: messages + tools, messages, tools }
    }
  }
}

/**
 * Four characters a token, corrected by the kind of the characters (words, digits, punctuation, script), in one pass of
 * about 3 ns a character. From a quarter below `o200k_base` to a third above it; further off for random letters (base64).
 */
export const approximate: Service = make(approximation.count)

/**
 * Counts with the package `gpt-tokenizer` (4.0 or later, an optional peer), by default with `"o200k_base"`, which OpenAI's
 * models use since GPT-4o. Loaded when the layer is built, which takes some 200 ms; a missing package is a defect.
 */
export const layerExact = (encoding: Encoding = "o200k_base"): Layer.Layer<never> =>
  Layer.effect(Tokens, Effect.map(load(encoding), make))

/**
 * Tokens that the input cannot exceed with any tokenizer that works on bytes, for budgets that must never be passed: its
 * UTF-8 bytes plus 16 for each message and tool, and 1,024 when there are tools. A picture counts 50,000; `Infinity` where
 * there is no bound, for a PDF and for files behind a URL. Tools that run on the provider's side are not covered.
 */
export const upperBound = (request: LlmRequest): number => {
  const { messages, tools } = bounds(request)
  return messages + tools + hiddenBytes(request.providerOptions)
}

const bytes = (text: string): number => Buffer.byteLength(text)

const hiddenBytes = (value: unknown): number => bytes(requests.json(value))

const bounds = requests.make({
  text: bytes,
  file: files.bound,
  hidden: hiddenBytes,
  message: 16,
  tool: 16,
  tools: 1024,
  request: 16
})
