/**
 * Documents of tenants: kept in the database, found by meaning. One is there whole or not at all, whenever the process ends:
 * it is seen once its row says that it is ready, which is the last thing to be written and the first to go.
 */
import { randomUUID } from "node:crypto"
import { Array as Arr, Clock, Context, Effect, Layer, Schedule } from "effect"
import { EmbeddingModel } from "effect/ai"
import { SqlClient } from "effect/sql"
import { type Document, NotFound, Rejected, type Source } from "./api.ts"
import { type Passage, passagesOf, textOf } from "./parsing.ts"
import { isHarmless } from "./prompt.ts"
import { DocumentVectors, Models, mostPassages } from "./stack.ts"

/** How many passages an answer is made from, and how near they must be at least. */
const k = 4
const atLeast = 0.1

/** What is not ready after 10 minutes never will be. */
const patience = 600_000

/** Vectors do not expire. */
const never = Date.UTC(9999, 0)

const together = { concurrency: 8, discard: true } as const

const make = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const vectors = yield* DocumentVectors
  const embeddings = yield* EmbeddingModel.EmbeddingModel
  const { embeddings: model } = yield* Models
  yield* tables(sql)

  const partitionOf = (tenant: string) => `documents:${model}:${tenant}`
  const columns = sql.literal(`id, title, characters, passages, created_at AS "createdAt"`)
  const visible = (tenant: string) => sql`tenant = ${tenant} AND model = ${model} AND ready = 1`

  const list = (tenant: string) =>
    sql<Document>`SELECT ${columns} FROM qa_documents WHERE ${visible(tenant)} ORDER BY created_at, id`

  /** While there is a row, its vectors can be found again. */
  const erase = (tenant: string, { id, passages }: Document) =>
    Effect.gen(function* () {
      yield* sql`UPDATE qa_documents SET ready = 0 WHERE id = ${id}`
      yield* Effect.forEach(Arr.range(0, passages), (i) => vectors.remove(partitionOf(tenant), `${id}:${i}`), together)
      yield* sql`DELETE FROM qa_passages WHERE document = ${id}`
      yield* sql`DELETE FROM qa_documents WHERE id = ${id}`
    })

  /** What a process that was killed left behind. */
  const tidy = Effect.gen(function* () {
    const before = new Date((yield* Clock.currentTimeMillis) - patience).toISOString()
    const rows = yield* sql<Document & { readonly tenant: string }>`SELECT ${columns}, tenant FROM qa_documents
      WHERE ready = 0 AND model = ${model} AND created_at < ${before}`
    yield* Effect.forEach(rows, (row) => erase(row.tenant, row), { discard: true })
  })

  /** The row holds the tenant's room from now on. */
  const begin = (tenant: string, document: Document) =>
    Effect.gen(function* () {
      const { createdAt: created_at, ...row } = document
      yield* sql`INSERT INTO qa_documents ${sql.insert({ ...row, created_at, tenant, model, ready: 0 })}`
      const [sum] = yield* sql<{ readonly total: number }>`SELECT SUM(passages) AS total FROM qa_documents
        WHERE tenant = ${tenant} AND model = ${model}`
      if (Number(sum?.total) > mostPassages)
        yield* new Rejected({ detail: `All documents together have more than ${mostPassages} passages` })
    }).pipe(sql.withTransaction)

  /** A passage without a word has no vector, and is never found. */
  const index = (tenant: string, part: ReadonlyArray<Passage & { readonly id: string }>) =>
    Effect.gen(function* () {
      const { embeddings: made } = yield* embeddings.embedMany(part.map(({ heading, text }) => `${heading}\n${text}`))
      const add = ({ vector }: EmbeddingModel.EmbedResponse, i: number) => {
        const item = { id: part[i]?.id ?? "", vector: [...vector], data: null, expiresAt: never }
        return Effect.catchTag(vectors.add(partitionOf(tenant), item, tenant), "VectorRefused", () => Effect.void)
      }
      yield* Effect.forEach(made, add, together)
    })

  const finish = (tenant: string, { id: document }: Document, passages: ReadonlyArray<Passage>) =>
    Effect.gen(function* () {
      const rows = passages.map((passage, i) => ({ ...passage, id: `${document}:${i}`, document, passage: i + 1 }))
      const parts = Arr.chunksOf(rows, 100)
      yield* Effect.forEach(parts, (part) => index(tenant, part), { discard: true })
      const insert = Effect.forEach(parts, (part) => sql`INSERT INTO qa_passages ${sql.insert(part)}`)
      yield* sql.withTransaction(Effect.andThen(insert, sql`UPDATE qa_documents SET ready = 1 WHERE id = ${document}`))
    })

  const add = (tenant: string, title: string, bytes: Uint8Array) =>
    Effect.gen(function* () {
      const text = yield* textOf(title, bytes)
      if (!(yield* isHarmless({ title, heading: "", text })))
        return yield* new Rejected({ detail: "The document gives the model orders, and is not taken" })
      const found = passagesOf(text)
      const createdAt = new Date(yield* Clock.currentTimeMillis).toISOString()
      const document = { id: randomUUID(), title, characters: text.length, passages: found.length, createdAt }
      yield* begin(tenant, document)
      yield* finish(tenant, document, found).pipe(
        Effect.timeout(patience / 2),
        Effect.onError(() => Effect.ignore(erase(tenant, document)))
      )
      return document
    })

  const remove = (tenant: string, id: string) =>
    Effect.gen(function* () {
      const [document] = yield* sql<Document>`SELECT ${columns} FROM qa_documents
        WHERE ${visible(tenant)} AND id = ${id}`
      if (document === undefined) yield* new NotFound({ detail: "There is no such document" })
      else yield* erase(tenant, document)
    })

  /** Those that the injection guard refuses all the same are left out, and counted. */
  const nearest = (tenant: string, question: string) =>
    Effect.gen(function* () {
      const { vector } = yield* embeddings.embed(question)
      const near = yield* vectors.nearest(partitionOf(tenant), [...vector], { limit: 3 * k, atLeast })
      const ids = near.map(({ id }) => id)
      const rows = yield* sql<Row>`SELECT p.*, d.title FROM qa_passages p JOIN qa_documents d ON d.id = p.document
        WHERE ${visible(tenant)} AND ${ids.length > 0 ? sql.in("p.id", ids) : sql.literal("1 = 0")}`
      const sources = near.flatMap(({ id, similarity }) => {
        const row = rows.find((row) => row.id === id)
        return row === undefined ? [] : [{ ...row, similarity }]
      })
      const best = sources.slice(0, k)
      const found = yield* Effect.filter(best, isHarmless)
      return { found, omitted: best.length - found.length }
    })

  yield* tidy
  yield* Effect.forkScoped(Effect.repeat(Effect.ignore(tidy), Schedule.spaced("1 minute")))
  const probe = Effect.andThen(sql`SELECT 1`, vectors.nearest("probe", [1], { limit: 1, atLeast: 1 }))
  return { list, add, remove, nearest, probe }
})

type Row = Omit<Source, "similarity"> & { readonly id: string; readonly text: string }

export class Documents extends Context.Service<Documents, Effect.Success<typeof make>>()("document-qa/Documents") {
  static readonly layer = Layer.effect(Documents, make)
}

const tables = (sql: SqlClient.SqlClient) =>
  Effect.gen(function* () {
    yield* sql`CREATE TABLE IF NOT EXISTS qa_documents (id TEXT PRIMARY KEY, tenant TEXT NOT NULL, model TEXT NOT NULL,
      title TEXT NOT NULL, characters INTEGER NOT NULL, passages INTEGER NOT NULL, ready INTEGER NOT NULL,
      created_at TEXT NOT NULL)`
    yield* sql`CREATE INDEX IF NOT EXISTS qa_documents_tenant ON qa_documents (tenant, model)`
    yield* sql`CREATE TABLE IF NOT EXISTS qa_passages (id TEXT PRIMARY KEY, document TEXT NOT NULL,
      passage INTEGER NOT NULL, heading TEXT NOT NULL, "from" INTEGER NOT NULL, "to" INTEGER NOT NULL, text TEXT NOT NULL)`
    yield* sql`CREATE INDEX IF NOT EXISTS qa_passages_document ON qa_passages (document)`
  })
