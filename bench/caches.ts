/** Answers that are there already: a hit with a request that was made anew, its key included, and a miss. */
import { InMemoryCache } from "@langchain/core/caches"
import { generateText, type LanguageModelMiddleware, wrapLanguageModel } from "ai"
import { MockLanguageModelV3 } from "ai/test"
import { Cacheable } from "cacheable"
import { Effect, Layer, Schema, Scope } from "effect"
import { Persistable, PersistedCache, Persistence } from "effect/persistence"
import { Keyv } from "keyv"
import { LRUCache } from "lru-cache"
import { Cache, CacheStore, LlmProvider, LlmRequest } from "../src/index.ts"
import { LlmResponse } from "../src/LlmResponse.ts"
import { awaited, built, eachInFiber, type Suite } from "./harness.ts"
import { keyOf } from "./stacks.ts"

const prose = 'The quick brown fox said "no" to the lazy dog.\n'.repeat(44)
const text = "Weight low in a ship."
const who = { provider: "bench", model: "bench", endpoint: "bench", credential: "none" }
const answer = new LlmResponse({
  ...who,
  parts: [
    { type: "text", text },
    { type: "finish", reason: "stop", usage: { inputTokens: { total: 500 }, outputTokens: { total: 5 } } }
  ]
})
const provider: LlmProvider.Service = {
  ...who,
  generate: () => Effect.succeed(answer),
  stream: () => {
    throw new Error("not used")
  }
}

const ballast = built(
  Cache.Cache,
  Cache.layer({ isolation: "shared" }).pipe(Layer.provide(CacheStore.layerMemory()))
).wrap(provider)

/** 2 KB, never the same object twice. */
const fresh = (): LlmRequest.LlmRequest => LlmRequest.makeUnsafe({ prompt: prose, temperature: 0 })
let turn = 0
const unseen = (): LlmRequest.LlmRequest => LlmRequest.makeUnsafe({ prompt: `${turn++} ${prose}`, temperature: 0 })

const lru = new LRUCache<string, LlmResponse>({ max: 10_000 })
const keyv = new Keyv()
const cacheable = new Cacheable()
const langchain = new InMemoryCache()
const key = keyOf(fresh())
lru.set(key, answer)
await keyv.set(key, answer.parts)
await cacheable.set(key, answer.parts)
await langchain.update(prose, "bench", [{ text }])

class Asked extends Persistable.Class<{ payload: { readonly request: LlmRequest.LlmRequest } }>()("Asked", {
  primaryKey: ({ request }) => keyOf(request),
  success: Schema.String
}) {}
const persisted = Effect.runSync(
  PersistedCache.make<Asked>(() => Effect.succeed(text), { storeId: "bench", timeToLive: () => "1 hour" }).pipe(
    Effect.provide(Persistence.layerMemory),
    Effect.provideService(Scope.Scope, Effect.runSync(Scope.make()))
  )
)

const vercelModel = new MockLanguageModelV3({
  doGenerate: {
    content: [{ type: "text", text }],
    finishReason: { unified: "stop", raw: undefined },
    usage: {
      inputTokens: { total: 500, noCache: 500, cacheRead: undefined, cacheWrite: undefined },
      outputTokens: { total: 5, text: 5, reasoning: undefined }
    },
    warnings: []
  }
})
const kept = new Map<string, Awaited<ReturnType<NonNullable<LanguageModelMiddleware["wrapGenerate"]>>>>()
/** As its documentation writes one. */
const middleware: LanguageModelMiddleware = {
  specificationVersion: "v3",
  wrapGenerate: async ({ doGenerate, params }) => {
    const name = JSON.stringify(params)
    const known = kept.get(name)
    if (known !== undefined) return known
    const result = await doGenerate()
    kept.set(name, result)
    return result
  }
}
const vercel = wrapLanguageModel({ model: vercelModel, middleware })
const vercelCall = {
  prompt: [{ role: "user" as const, content: [{ type: "text" as const, text: prose }] }],
  temperature: 0
}

const asked = () =>
  Effect.provideService(LlmProvider.generateText({ prompt: prose, temperature: 0 }), LlmProvider.LlmProvider, ballast)

export const hitSuite: Suite = {
  name: "A cache hit, a fresh request of 2 KB, its key included",
  base: "Ballast",
  cases: [
    eachInFiber("Ballast", () => ballast.generate(fresh())),
    awaited("Ballast generateText, runPromise", () => Effect.runPromise(asked())),
    eachInFiber("lru-cache with SHA-256 of its JSON", () => Effect.sync(() => lru.get(keyOf(fresh())))),
    awaited("keyv with SHA-256 of its JSON", () => keyv.get(keyOf(fresh()))),
    awaited("cacheable with SHA-256 of its JSON", () => cacheable.get(keyOf(fresh()))),
    eachInFiber("effect/persistence PersistedCache in memory with SHA-256 of its JSON", () =>
      persisted.get(new Asked({ request: fresh() }))
    ),
    awaited("LangChain InMemoryCache.lookup", () => langchain.lookup(prose, "bench")),
    awaited("Vercel AI SDK, cache middleware, doGenerate", async () => vercel.doGenerate({ ...vercelCall })),
    awaited("Vercel AI SDK, cache middleware, generateText", () => generateText({ model: vercel, prompt: prose }))
  ]
}

/** One text again and again is the best case of the table of texts met lately; two thousand in turn do not fit a processor's caches. */
const prompts = Array.from({ length: 2000 }, (_, i) => `${i} ${prose}`)
for (const prompt of prompts) await langchain.update(prompt, "bench", [{ text }])
const inTurn = () => prompts[turn++ % prompts.length] ?? ""

export const manyHitsSuite: Suite = {
  name: "A cache hit, two thousand prompts of 2 KB in turn, their keys included",
  base: "Ballast",
  cases: [
    eachInFiber("Ballast", () => ballast.generate(LlmRequest.makeUnsafe({ prompt: inTurn(), temperature: 0 }))),
    awaited("LangChain InMemoryCache.lookup", () => langchain.lookup(inTurn(), "bench"))
  ]
}

const missed = new InMemoryCache()

export const missSuite: Suite = {
  name: "A cache miss that is stored, a fresh request of 2 KB",
  base: "Ballast",
  cases: [
    eachInFiber("Ballast", () => ballast.generate(unseen())),
    eachInFiber("lru-cache with SHA-256 of its JSON, no single flight", () =>
      Effect.sync(() => {
        const name = keyOf(unseen())
        if (lru.get(name) === undefined) lru.set(name, answer)
      })
    ),
    awaited("LangChain InMemoryCache, lookup and update", async () => {
      const prompt = `${turn++} ${prose}`
      if ((await missed.lookup(prompt, "bench")) === null) await missed.update(prompt, "bench", [{ text }])
    })
  ]
}
