/** What LocalLlm answers to one HTTP request, before any fault is put on it. */
import * as Result from "effect/Result"
import type { Behaviour } from "./localBehaviour.ts"
import { complete, events, type Scripted, whole } from "./localChat.ts"
import { embeddingsAnswer } from "./localEmbeddings.ts"
import { moderationsAnswer } from "./localModerations.ts"
import {
  type ApiError,
  chatRequest,
  embeddingsRequest,
  moderationsRequest,
  type Refusal,
  refusal
} from "./localRequest.ts"

export interface Incoming {
  readonly method: string
  readonly path: string
  readonly authorization: string | undefined
  /** Parsed JSON where it is JSON, `undefined` where the body was too large to keep. */
  readonly body: Result.Result<unknown, "empty" | "not JSON" | "too large">
}

export interface Reply {
  readonly status: number
  readonly type: "application/json" | "text/event-stream" | "text/html"
  /** The events of a stream, or the body in one. */
  readonly chunks: ReadonlyArray<string>
}

export const json = (status: number, body: unknown): Reply => ({
  status,
  type: "application/json",
  chunks: [JSON.stringify(body)]
})

/** OpenAI's form of an error; the type follows from the status where none is given. */
export const errorBody = (status: number, error: Partial<ApiError>): { readonly error: ApiError } => ({
  error: { ...refusal(status, `LocalLlm was told to answer ${status}.`, null).error, ...error }
})

const refused = ({ error, status }: Refusal): Reply => json(status, { error })

/** The models it names; it answers under any name. */
export const models = ["local-llm", "local-embeddings"] as const

export const maxBodyBytes = 10 * 1024 * 1024

export const reply = (incoming: Incoming, behaviour: Behaviour, nowMillis: number): Reply => {
  const { authorization, method, path } = incoming
  if (!/^Bearer +\S/i.test(authorization ?? "")) {
    return refused(refusal(401, "You didn't provide an API key: send any non-empty one as a bearer token.", null))
  }
  const created = Math.floor(nowMillis / 1000)
  const allowed = path.startsWith("/v1/models") ? "GET" : "POST"
  switch (path) {
    case "/v1/models":
    case "/v1/chat/completions":
    case "/v1/embeddings":
    case "/v1/moderations":
      if (method === allowed) break
      return refused(refusal(405, `Not allowed to ${method} on ${path}.`, "method_not_supported"))
    default:
      if (path.startsWith("/v1/models/") && method === allowed) return model(path.slice("/v1/models/".length))
      return refused(refusal(404, `Invalid URL (${method} ${path})`, "unknown_url"))
  }
  if (path === "/v1/models") return json(200, { object: "list", data: models.map(modelOf) })
  return Result.match(body(incoming), {
    onFailure: refused,
    onSuccess: (body) => {
      switch (path) {
        case "/v1/embeddings":
          return answered(embeddingsRequest(body), embeddingsAnswer)
        case "/v1/moderations":
          return answered(moderationsRequest(body), moderationsAnswer)
        default:
          return chat(body, behaviour, created)
      }
    }
  })
}

const answered = <A>(request: Result.Result<A, Refusal>, answer: (request: A) => unknown): Reply =>
  Result.match(request, { onFailure: refused, onSuccess: (request) => json(200, answer(request)) })

const modelOf = (id: string) => ({ id, object: "model", created: 0, owned_by: "local" })

const model = (id: string): Reply =>
  models.some((known) => known === id)
    ? json(200, modelOf(id))
    : refused(refusal(404, "The model does not exist.", "model_not_found", "model"))

const body = ({ body }: Incoming): Result.Result<unknown, Refusal> =>
  Result.mapError(body, (why) => {
    if (why === "too large")
      return refusal(413, `The body must have at most ${maxBodyBytes} bytes.`, "request_too_large")
    return refusal(400, `The body must be JSON, and it is ${why}.`, null)
  })

const chat = (body: unknown, behaviour: Behaviour, created: number): Reply =>
  Result.match(chatRequest(body), {
    onFailure: refused,
    onSuccess: (request): Reply => {
      const completion = complete(request, scripted(behaviour), created)
      if (request.stream !== true) return json(200, whole(completion))
      const includeUsage = request.stream_options?.include_usage === true
      return { status: 200, type: "text/event-stream", chunks: events(completion, includeUsage) }
    }
  })

const scripted = (behaviour: Behaviour): Scripted | undefined =>
  behaviour._tag === "Answer" || behaviour._tag === "ToolCall" ? behaviour : undefined
