/**
 * Documents of tenants, found by meaning. One is there whole or not at all, whenever the process ends: that its row is ready is
 * the last thing to be written and the first to go.
 */
import { randomUUID } from "node:crypto"
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import { Array as Arr, Clock, Context, Effect, Layer, Option, Schema } from "effect"
import { EmbeddingModel } from "effect/ai"
import { SqlClient } from "effect/sql"
import { Caller, Guard, Guardrails, LlmRequest } from "effect-ballast"
import * as ChromaVectorIndex from "effect-ballast/ChromaVectorIndex"
import * as SqlVectorIndex from "effect-ballast/SqlVectorIndex"
import { type Document, NotFound, place, Rejected, Unavailable } from "./api.ts"
import { passagesOf, textOf } from "./parsing.ts"
import { embeddingsOf, type Settings } from "./settings.ts"

const k = 4 // passages that an answer is made from
const mostPassages = 10_000 // of one tenant; files that come at the same time may pass it together
const expiresAt = Date.UTC(9999, 0) // vectors do not expire

/** An index of their own, since the semantic cache's may forget. */
const vectorsOf = ({ chroma }: Settings) =>
  Option.match(chroma, {
    onNone: () => SqlVectorIndex.make({ prefix: "qa", maxEntries: 2 * mostPassages, commandTimeout: "5 seconds" }),
    onSome: (url) => ChromaVectorIndex.make({ url, collection: "qa", allowInsecure: true })
  })

/** What is kept beside a vector. */
const Passage = Schema.Struct({ ...place, text: Schema.String })
export type Passage = typeof Passage.Type
const isPassage = Schema.is(Passage)

const allows = Guardrails.allows({ guards: [Guard.promptInjection()] })

/** Whether the injection guard lets a document pass, its title too. */
const isHarmless = ({ heading, text, title }: Pick<Passage, "heading" | "text" | "title">) =>
  allows({ prompt: [{ role: "user", content: [LlmRequest.document(`${heading}\n${text}`, { title })] }] })

/** Whose documents: without a tenant nobody comes this far. */
const asked = Effect.map(Effect.orDie(Caller.required), ({ tenant }) => tenant)

const together = { concurrency: 8, discard: true } as const

const make = (settings: Settings) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    const vectors = yield* vectorsOf(settings)
    const embeddings = yield* EmbeddingModel.EmbeddingModel
    const { name: model } = embeddingsOf(settings)
    yield* sql`CREATE TABLE IF NOT EXISTS qa_documents (id TEXT PRIMARY KEY, tenant TEXT NOT NULL, model TEXT NOT NULL,
      title TEXT NOT NULL, characters INTEGER NOT NULL, passages INTEGER NOT NULL, ready INTEGER NOT NULL,
      "createdAt" TEXT NOT NULL)`
    yield* sql`CREATE INDEX IF NOT EXISTS qa_documents_tenant ON qa_documents (tenant, model)`

    const partitionOf = (tenant: string) => `documents:${model}:${tenant}`
    const listOf = (tenant: string) => sql<Document>`SELECT * FROM qa_documents
      WHERE model = ${model} AND tenant = ${tenant} AND ready = 1 ORDER BY "createdAt", id`
    const list = Effect.flatMap(asked, listOf)

    /** While there is a row, its vectors can be found again. */
    const erase = (tenant: string, { id, passages }: Document) =>
      Effect.gen(function* () {
        yield* sql`UPDATE qa_documents SET ready = 0 WHERE id = ${id}`
        const ids = Arr.makeBy(passages, (i) => `${id}:${i + 1}`)
        yield* Effect.forEach(ids, (id) => vectors.remove(partitionOf(tenant), id), together)
        yield* sql`DELETE FROM qa_documents WHERE id = ${id}`
      })

    /** A passage without a word has no vector, and is never found. */
    const index = (tenant: string, { id, title }: Document, part: ReturnType<typeof passagesOf>) =>
      Effect.gen(function* () {
        const made = yield* embeddings.embedMany(part.map(({ heading, text }) => `${heading}\n${text}`))
        const items = Arr.zipWith(part, made.embeddings, (passage, { vector }) => {
          const data = { ...passage, document: id, title }
          return { id: `${id}:${passage.passage}`, vector: [...vector], data, expiresAt }
        })
        const add = (item: (typeof items)[number]) => vectors.add(partitionOf(tenant), item, tenant)
        yield* Effect.forEach(items, (item) => Effect.catchTag(add(item), "VectorRefused", () => Effect.void), together)
      })

    const add = (title: string, bytes: Uint8Array) =>
      Effect.gen(function* () {
        const tenant = yield* asked
        const text = yield* textOf(title, bytes)
        if (!(yield* isHarmless({ title, heading: "", text })))
          return yield* new Rejected({ detail: "The document gives the model orders, and is not taken" })
        const found = passagesOf(text)
        const there = (yield* list).reduce((sum, { passages }) => sum + passages, found.length)
        if (there > mostPassages)
          return yield* new Rejected({ detail: `All documents together have more than ${mostPassages} passages` })
        const createdAt = new Date(yield* Clock.currentTimeMillis).toISOString()
        const document = { id: randomUUID(), title, characters: text.length, passages: found.length, createdAt }
        yield* sql`INSERT INTO qa_documents ${sql.insert({ ...document, tenant, model, ready: 0 })}`
        yield* Effect.forEach(Arr.chunksOf(found, 100), (part) => index(tenant, document, part)).pipe(
          Effect.onError(() => Effect.ignore(erase(tenant, document)))
        )
        const shown = yield* sql`UPDATE qa_documents SET ready = 1 WHERE id = ${document.id} RETURNING id`
        // a process that began meanwhile took it for one that was left behind
        if (shown.length === 0) yield* new Unavailable({ detail: "Please send it again", retryAfter: 1 })
        return document
      })

    const remove = (id: string) =>
      Effect.gen(function* () {
        const document = (yield* list).find((one) => one.id === id)
        if (document === undefined) yield* new NotFound({ detail: "There is no such document" })
        else yield* erase(yield* asked, document)
      })

    /** Those that the injection guard refuses all the same are left out, and counted. */
    const nearest = (question: string) =>
      Effect.gen(function* () {
        const { vector } = yield* embeddings.embed(question)
        const near = yield* vectors.nearest(partitionOf(yield* asked), [...vector], { limit: 3 * k, atLeast: 0.1 })
        const passages = near.flatMap(({ data, similarity }) => (isPassage(data) ? [{ ...data, similarity }] : []))
        const ids = ["", ...passages.map(({ document }) => document)] // no database takes an empty list
        const ready = yield* sql<Document>`SELECT id FROM qa_documents WHERE ready = 1 AND ${sql.in("id", ids)}`
        const best = passages.filter(({ document }) => ready.some(({ id }) => id === document)).slice(0, k)
        const found = yield* Effect.filter(best, isHarmless)
        return { found, omitted: best.length - found.length }
      })

    /** What a process that was killed left behind. */
    const left = yield* sql<Document & { readonly tenant: string }>`SELECT * FROM qa_documents
      WHERE model = ${model} AND ready = 0`
    yield* Effect.forEach(left, (one) => erase(one.tenant, one))
    const probe = Effect.andThen(sql`SELECT 1`, vectors.nearest("probe", [1], { limit: 1, atLeast: 1 }))
    return { list, add, remove, nearest, probe }
  })

export class Documents extends Context.Service<Documents>()("document-qa/Documents", { make }) {
  static readonly layer = (settings: Settings) =>
    Layer.effect(Documents, Documents.make(settings)).pipe(Layer.provide(NodeHttpClient.layerUndici))
}
