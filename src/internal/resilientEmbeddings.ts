/**
 * An `EmbeddingModel` behind the policies of model calls: to them a batch of texts is a call whose answer has no output, so
 * that nothing of them is written twice.
 */
import { createHash } from "node:crypto"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as AiError from "effect/ai/AiError"
import * as EmbeddingModel from "effect/ai/EmbeddingModel"
import * as Prompt from "effect/ai/Prompt"
import type { Service as CacheStore } from "../CacheStore.ts"
import * as Caller from "../Caller.ts"
import { fromAiError, LlmError, toAiError } from "../LlmError.ts"
import type { Service } from "../LlmProvider.ts"
import type { LlmRequest } from "../LlmRequest.ts"
import { LlmResponse } from "../LlmResponse.ts"
import type { CacheKeeper } from "./cacheKeeper.ts"

export interface Identity {
  readonly provider: string
  readonly model: string
}

/** Vectors that were made before, by text. */
export interface Kept {
  readonly keeper: CacheKeeper
  /** Milliseconds. */
  readonly timeToLive: number
  readonly isShared: boolean
}

/** `wrap` puts the policies around the provider that the model is to them. */
export const make = (
  inner: EmbeddingModel.EmbeddingModel,
  identity: Identity,
  wrap: (provider: Service) => Service,
  kept: Kept | undefined
): Effect.Effect<EmbeddingModel.EmbeddingModel> => {
  const calls = new Calls(inner, identity)
  const provider = wrap(calls.provider)
  const embed = (texts: ReadonlyArray<string>) => calls.embed(provider, texts)
  return EmbeddingModel.make({
    // whoever pays and whose it is must not be mixed up in a batch
    batchKey: (context) => JSON.stringify(Context.get(context, Caller.Caller)),
    embedMany: ({ inputs }) => {
      const all = kept === undefined ? embed(inputs) : remembered(kept, identity, inputs, embed)
      return Effect.mapError(all, (error) => toAiError(error, { module: "Resilient", method: "embeddings" }))
    }
  })
}

export const endpointOf = ({ model, provider }: Identity): string => `embeddings|${provider}|${model}`

type Embedded = EmbeddingModel.ProviderResponse

class Calls {
  readonly provider: Service
  private readonly texts = new WeakMap<LlmRequest, ReadonlyArray<string>>()
  private readonly results = new WeakMap<LlmResponse, Embedded>()

  constructor(inner: EmbeddingModel.EmbeddingModel, identity: Identity) {
    this.provider = {
      ...identity,
      endpoint: endpointOf(identity),
      // a key that one provider refuses says nothing of another one's
      credential: `embeddings|${identity.provider}`,
      generate: (request) =>
        Effect.matchEffect(inner.embedMany(this.texts.get(request) ?? []), {
          onFailure: (error) => Effect.fail(fromAiError(error, identity)),
          onSuccess: (answer) => {
            const results = answer.embeddings.map(({ vector }) => [...vector])
            const { inputTokens } = answer.usage
            return Effect.succeed(this.answered(identity, { results, usage: { inputTokens } }))
          }
        }),
      stream: () => Stream.fail(unstreamed(identity))
    }
  }

  embed(provider: Service, texts: ReadonlyArray<string>): Effect.Effect<Embedded, LlmError> {
    return Effect.suspend(() => {
      // no output, and perhaps no text: less than a request to a model may have
      const request: LlmRequest = { prompt: Prompt.make(texts.join("\n")), maxOutputTokens: 0 }
      this.texts.set(request, texts)
      return Effect.flatMap(provider.generate(request), (response) => {
        const found = this.results.get(response)
        return found === undefined ? Effect.die(new Error("a policy made an answer of its own")) : Effect.succeed(found)
      })
    })
  }

  private answered(identity: Identity, result: Embedded): LlmResponse {
    const { inputTokens: total } = result.usage
    const response = new LlmResponse({
      ...identity,
      parts: [
        { type: "text", text: `${result.results.length} embeddings` },
        {
          type: "finish",
          reason: "stop",
          usage: { inputTokens: total === undefined ? {} : { total }, outputTokens: { total: 0 } }
        }
      ]
    })
    this.results.set(response, result)
    return response
  }
}

const unstreamed = (identity: Identity) =>
  new LlmError({ ...identity, reason: new AiError.InvalidRequestError({ description: "embeddings are not streamed" }) })

/** Only texts that are not known are embedded, all of them in one call. */
const remembered = (
  kept: Kept,
  identity: Identity,
  texts: ReadonlyArray<string>,
  embed: (texts: ReadonlyArray<string>) => Effect.Effect<Embedded, LlmError>
): Effect.Effect<Embedded, LlmError> =>
  Effect.gen(function* () {
    const { keeper } = kept
    const { tenant } = yield* Caller.Caller
    const partition = kept.isShared ? "shared" : tenant === undefined ? undefined : `tenant:${tenant}`
    const keys = texts.map((text) => keyOf(identity, text))
    const found = yield* Effect.forEach(keys, (key) => known(keeper, key, partition), atOnce)
    const missing = [...new Set(texts.filter((_, i) => found[i] === undefined))]
    for (const vector of found) keeper.count(vector === undefined ? "miss" : "hit")
    if (missing.length === 0)
      return { results: found.flatMap((vector) => (vector ? [vector] : [])), usage: { inputTokens: 0 } }
    const made = yield* embed(missing)
    const vectors = new Map(missing.map((text, i) => [text, made.results[i] ?? []]))
    yield* Effect.forEach(vectors, ([text, vector]) => keep(kept, keyOf(identity, text), partition, vector), atOnce)
    return { results: texts.map((text, i) => found[i] ?? vectors.get(text) ?? []), usage: made.usage }
  })

const atOnce = { concurrency: 16 } as const

const keyOf = ({ model, provider }: Identity, text: string): string =>
  createHash("sha256")
    .update(JSON.stringify(["embedding", provider, model, text]))
    .digest("base64url")

const known = (keeper: CacheKeeper, key: string, partition: string | undefined) =>
  Effect.map(keeper.asking(keeper.store.get(key, partition)), (entry) => vectorOf(entry?.value))

/** What comes from outside is checked. */
const vectorOf = (value: unknown): Array<number> | undefined => {
  if (typeof value !== "object" || value === null || !("vector" in value)) return undefined
  const { vector } = value
  if (!Array.isArray(vector) || vector.length === 0) return undefined
  return vector.every((number): number is number => Number.isFinite(number)) ? vector : undefined
}

const keep = (
  { keeper, timeToLive }: Kept,
  key: string,
  partition: Parameters<CacheStore["set"]>[2],
  vector: Array<number>
) =>
  keeper.asking(
    Effect.flatMap(Clock.currentTimeMillis, (createdAt) => {
      const entry = { value: { vector }, createdAt, expiresAt: Math.ceil(createdAt + timeToLive) }
      return keeper.store.set(key, entry, partition)
    })
  )
