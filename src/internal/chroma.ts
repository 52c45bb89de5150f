/** Chroma's REST API v2, as far as an index of vectors needs it: answers of a bounded size and of a known shape. */
import { Buffer } from "node:buffer"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as HttpBody from "effect/http/HttpBody"
import type * as HttpClient from "effect/http/HttpClient"
import type { HttpClientError } from "effect/http/HttpClientError"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import { causes } from "./http.ts"
import { StoreUnavailable } from "./reasons.ts"

/** There is no such collection (any more). */
export class Gone extends Data.TaggedError("Gone") {}

/** Chroma does not take it: a vector of other dimensions, most likely. */
export class Refused extends Data.TaggedError("Refused") {}

const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i

const Named = Schema.Struct({ id: Schema.String.check(Schema.isPattern(uuid)), name: Schema.String })
const Space = Schema.optional(Schema.NullOr(Schema.Struct({ space: Schema.String })))
const Collection = Schema.Struct({
  ...Named.fields,
  /** Of its first vector; none was added so far where it is missing. */
  dimension: Schema.optional(Schema.NullOr(Schema.Number)),
  configuration_json: Schema.Struct({ hnsw: Space, spann: Space })
})
const Metadata = Schema.NullOr(Schema.Record(Schema.String, Schema.Unknown))
const Ids = Schema.Array(Schema.String)

const found = Schema.Struct({
  ids: Schema.Tuple([Ids]),
  distances: Schema.Tuple([Schema.Array(Schema.NullOr(Schema.Number))]),
  documents: Schema.Tuple([Schema.Array(Schema.NullOr(Schema.String))]),
  metadatas: Schema.Tuple([Schema.Array(Metadata)])
})
const records = Schema.Struct({ ids: Ids, metadatas: Schema.optional(Schema.NullOr(Schema.Array(Metadata))) })

/** What JSON a collection, a list of them, and so on are read from. */
const readers = {
  collection: Schema.decodeUnknownOption(Schema.fromJsonString(Collection)),
  collections: Schema.decodeUnknownOption(Schema.fromJsonString(Schema.Array(Named))),
  found: Schema.decodeUnknownOption(Schema.fromJsonString(found)),
  records: Schema.decodeUnknownOption(Schema.fromJsonString(records)),
  count: Schema.decodeUnknownOption(Schema.fromJsonString(Schema.Number)),
  error: Schema.decodeUnknownOption(Schema.fromJsonString(Schema.Struct({ error: Schema.String }))),
  nothing: () => Option.some(undefined)
}

type Reader<A> = (text: string) => Option.Option<A>
type Method = "GET" | "POST" | "DELETE"

export type Collection = typeof Collection.Type
export type Named = typeof Named.Type
export type Found = typeof found.Type
export type Where = Readonly<Record<string, unknown>>
type Failure = StoreUnavailable | Gone | Refused

/** Of one answer: a hundred items of 64 KiB, escaped. */
const maxAnswerBytes = 32 * 2 ** 20

export class Chroma {
  private readonly client: HttpClient.HttpClient
  private readonly collections: string

  /** `collections`: the URL of all collections. */
  constructor(client: HttpClient.HttpClient, collections: string) {
    this.client = client
    this.collections = collections
  }

  find(operation: string, name: string): Effect.Effect<Collection, Failure> {
    return this.ask(operation, "GET", `/${name}`, undefined, readers.collection)
  }

  /** Makes it where there is none. */
  open(operation: string, name: string): Effect.Effect<Collection, Failure> {
    // up to a hundred are asked for; vectors that are equal lose one another in a graph of fewer neighbours
    const configuration = { hnsw: { space: "cosine", ef_construction: 200, ef_search: 200, max_neighbors: 64 } }
    return this.ask(operation, "POST", "", { name, get_or_create: true, configuration }, readers.collection)
  }

  drop(operation: string, name: string): Effect.Effect<void, Failure> {
    return this.ask(operation, "DELETE", `/${name}`, undefined, readers.nothing)
  }

  /** All collections in one look, whoever made them, or some of them. */
  list(operation: string, page = ""): Effect.Effect<ReadonlyArray<Named>, Failure> {
    return this.ask(operation, "GET", page, undefined, readers.collections)
  }

  upsert(operation: string, id: string, body: Where): Effect.Effect<void, Failure> {
    return this.ask(operation, "POST", `/${id}/upsert`, body, readers.nothing)
  }

  query(operation: string, id: string, body: Where): Effect.Effect<Found, Failure> {
    const include = ["distances", "documents", "metadatas"]
    return this.ask(operation, "POST", `/${id}/query`, { ...body, include }, readers.found)
  }

  get(operation: string, id: string, body: Where): Effect.Effect<typeof records.Type, Failure> {
    return this.ask(operation, "POST", `/${id}/get`, body, readers.records)
  }

  delete(operation: string, id: string, body: Where): Effect.Effect<void, Failure> {
    return this.ask(operation, "POST", `/${id}/delete`, body, readers.nothing)
  }

  count(operation: string, id: string): Effect.Effect<number, Failure> {
    return this.ask(operation, "GET", `/${id}/count`, undefined, readers.count)
  }

  private ask<A>(
    operation: string,
    method: Method,
    path: string,
    body: Where | undefined,
    read: Reader<A>
  ): Effect.Effect<A, Failure> {
    const failed = (description: string, answered?: boolean) =>
      Effect.fail(unavailable(operation, description, answered))
    const plain = HttpClientRequest.make(method)(this.collections + path)
    const request =
      body === undefined
        ? plain
        : HttpClientRequest.setBody(plain, HttpBody.text(JSON.stringify(body), "application/json"))
    const answer = Effect.flatMap(this.client.execute(request), ({ status, stream }) =>
      Effect.map(bounded(stream), (text) => ({ status, text }))
    )
    return Effect.matchEffect(answer, {
      onFailure: (error) => failed(codeOf(error)),
      onSuccess: ({ status, text }): Effect.Effect<A, Failure> => {
        if (text === undefined) return failed(`more than ${maxAnswerBytes} bytes`, true)
        if (status === 404 && Option.isSome(readers.error(text))) return Effect.fail(new Gone())
        if (status === 400 || status === 422) return Effect.fail(new Refused())
        if (status < 200 || status > 299) return failed(`status ${status}`)
        return Option.match(read(text), {
          onNone: () => failed("an answer of an unknown shape"),
          onSome: (value) => Effect.succeed(value)
        })
      }
    })
  }
}

export const unavailable = (operation: string, description: string, answered?: boolean): StoreUnavailable =>
  new StoreUnavailable({ store: "chroma", operation, description, answered })

/** `undefined` where it is too much. */
const bounded = <E>(stream: Stream.Stream<Uint8Array, E>): Effect.Effect<string | undefined, E> =>
  Effect.suspend(() => {
    const chunks: Array<Uint8Array> = []
    let bytes = 0
    const taken = Stream.takeWhile(stream, (chunk) => {
      bytes += chunk.length
      return bytes <= maxAnswerBytes
    })
    return Effect.map(
      Stream.runForEach(taken, (chunk) => Effect.sync(() => chunks.push(chunk))),
      () => (bytes > maxAnswerBytes ? undefined : Buffer.concat(chunks).toString())
    )
  })

/** Only the code or the kind of what went wrong: messages hold URLs, and errors hold requests. */
const codeOf = ({ reason }: HttpClientError): string => {
  const code = causes(reason.cause).findLast(({ code }) => typeof code === "string")?.code
  return typeof code === "string" ? code : reason._tag
}
