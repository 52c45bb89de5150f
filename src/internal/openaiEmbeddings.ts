/** Embeddings in requests of at most 2,048 texts, in the order of the texts. */
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import * as AiError from "effect/ai/AiError"
import * as EmbeddingModel from "effect/ai/EmbeddingModel"
import * as Prompt from "effect/ai/Prompt"
import { type LlmError, toAiError } from "../LlmError.ts"
import { InBandError } from "./callErrors.ts"
import type { Connection } from "./connection.ts"
import { objectOf } from "./fields.ts"
import type { Client } from "./openaiClient.ts"

const maxBatch = 2048

export const make = (
  connection: Connection,
  client: Client,
  model: string,
  dimensions: number | undefined
): Effect.Effect<EmbeddingModel.EmbeddingModel> => {
  const batch = (input: ReadonlyArray<string>) =>
    // the prompt is there for errors: what of it they repeat is taken out
    connection.call({ prompt: Prompt.make(input.join("\n")) }, async (key, signal) => {
      const params = { model, input: [...input], encoding_format: "float" as const }
      const sized = dimensions === undefined ? params : { ...params, dimensions }
      const { data, response } = await client.sdk.embeddings.create(sized, client.stated(key, signal)).withResponse()
      return vectorsUnsafe(data, input.length, response.headers)
    })
  return EmbeddingModel.make({
    embedMany: ({ inputs }) =>
      Effect.forEach(batches(inputs), batch).pipe(
        Effect.map((answers) => ({
          results: answers.flatMap((answer) => answer.vectors),
          usage: { inputTokens: sum(answers.map((answer) => answer.tokens)) }
        })),
        Effect.mapError((error: LlmError) => toAiError(error, { module: "OpenAi", method: "embedMany" }))
      )
  })
}

const batches = (inputs: ReadonlyArray<string>): ReadonlyArray<ReadonlyArray<string>> =>
  Array.from({ length: Math.ceil(inputs.length / maxBatch) }, (_, i) => inputs.slice(i * maxBatch, (i + 1) * maxBatch))

/** Throws the reason where the answer is not one vector for each text. */
const vectorsUnsafe = (body: unknown, count: number, headers: Headers) => {
  if (!Predicate.isObject(body)) throw invalid("it is not an object")
  const { data, error, usage } = objectOf(body)
  if (Predicate.isNotNullish(error)) throw new InBandError(error, headers)
  if (!Array.isArray(data) || data.length !== count) throw invalid("it does not hold one embedding for each text")
  const vectors: Array<Array<number>> = []
  for (const [i, item] of (data as ReadonlyArray<unknown>).entries()) {
    const { embedding, index = i } = objectOf(item)
    if (typeof index !== "number" || index < 0 || index >= count || index in vectors) {
      throw invalid("its indices are not those of the texts")
    }
    if (!Array.isArray(embedding) || embedding.length === 0 || !embedding.every(Number.isFinite)) {
      throw invalid("an embedding is not a list of numbers")
    }
    vectors[index] = embedding
  }
  const tokens = objectOf(usage)["prompt_tokens"]
  return { vectors, tokens: typeof tokens === "number" ? tokens : undefined }
}

const invalid = (what: string) =>
  new AiError.InvalidResponseError({ description: `the answer is not a list of embeddings: ${what}` })

const sum = (counts: ReadonlyArray<number | undefined>): number | undefined =>
  counts.reduce((a, b) => (a === undefined || b === undefined ? undefined : a + b), 0)
