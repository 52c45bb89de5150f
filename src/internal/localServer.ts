/** LocalLlm's HTTP server on loopback: reads, records, answers or misbehaves; closing its scope ends every socket at once. */
import { Buffer } from "node:buffer"
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FiberSet from "effect/FiberSet"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import { type Behaviour, normal } from "./localBehaviour.ts"
import { event } from "./localChat.ts"
import { errorBody, type Incoming, json, maxBodyBytes, type Reply, reply } from "./localRoutes.ts"

/** A request that came whole, as far as it may be shown. */
export interface RecordedRequest {
  readonly method: string
  /** Without its query. */
  readonly path: string
  /** By lower-case name; what identifies the caller is `"[redacted]"`. */
  readonly headers: Readonly<Record<string, string>>
  /** The parsed JSON, `undefined` where there was none. */
  readonly body: unknown
  /** Whether the client went away before the answer had ended. */
  readonly closed: boolean
}

export interface Running {
  readonly port: number
  readonly script: (...steps: ReadonlyArray<Behaviour>) => Effect.Effect<void>
  readonly behave: (behaviour: Behaviour | undefined) => Effect.Effect<void>
  readonly requests: Effect.Effect<ReadonlyArray<RecordedRequest>>
}

/** How many requests are remembered, and how many bytes of bodies. */
const maxRequests = 1_000
const maxRememberedBytes = 64 * 1024 * 1024

interface Memory {
  readonly requests: Array<Kept>
  bytes: number
  count: number
  steps: ReadonlyArray<Behaviour>
  always: Behaviour | undefined
}

interface Kept {
  request: RecordedRequest
  readonly bytes: number
}

export const run = (port: number, chunkDelay: Duration.Duration): Effect.Effect<Running, never, Scope.Scope> =>
  Effect.gen(function* () {
    const memory: Memory = { requests: [], bytes: 0, count: 0, steps: [], always: undefined }
    const server = createServer()
    server.maxConnections = 1_000
    const listening = yield* Effect.acquireRelease(listen(server, port), () => close(server))
    const fork = yield* FiberSet.makeRuntime<never, void, never>()
    server.on("request", (request, response) => {
      const fiber = fork(handle(request, response, memory, chunkDelay))
      response.once("close", () => fiber.interruptUnsafe())
    })
    return {
      port: listening,
      script: (...steps) => Effect.sync(() => void (memory.steps = steps)),
      behave: (behaviour) => Effect.sync(() => void (memory.always = behaviour)),
      requests: Effect.sync(() => memory.requests.map(({ request }) => request))
    }
  })

/** A port that cannot be had is a defect: nobody can go on from it. */
const listen = (server: Server, port: number): Effect.Effect<number> =>
  Effect.callback((resume) => {
    server.on("error", (error) => {
      const code = "code" in error ? String(error.code) : error.message
      resume(Effect.die(new Error(`LocalLlm.layer: cannot listen on 127.0.0.1:${port}: ${code}`)))
    })
    server.listen(port, "127.0.0.1", () => {
      const address = server.address()
      resume(Effect.succeed(typeof address === "object" && address !== null ? address.port : port))
    })
  })

const close = (server: Server): Effect.Effect<void> =>
  Effect.callback((resume) => {
    server.close(() => resume(Effect.void))
    server.closeAllConnections()
  })

const handle = (request: IncomingMessage, response: ServerResponse, memory: Memory, chunkDelay: Duration.Duration) =>
  Effect.gen(function* () {
    response.on("error", () => undefined) // the client left: "close" follows
    const { bytes, incoming } = yield* read(request)
    const kept = remember(memory, request, incoming, bytes)
    const id = `req_local_${memory.count}`
    const onClose = () => void (kept.request = { ...kept.request, closed: !response.writableFinished })
    response.once("close", onClose)
    const [step = memory.always ?? normal, ...rest] = memory.steps
    memory.steps = rest
    if (step.delay !== undefined) yield* Effect.sleep(step.delay)
    const now = yield* Clock.currentTimeMillis
    const whole = yield* Effect.orElseSucceed(
      Effect.try(() => reply(incoming, step, now)),
      () => json(500, errorBody(500, { message: "LocalLlm failed on this request: please report it." }))
    )
    const { chunks, ending } = misbehave(whole, step)
    if (chunks.length > 0 || ending === "end") {
      response.writeHead(step._tag === "Status" ? step.status : whole.status, {
        "content-type": typeOf(step, whole),
        "x-request-id": id,
        ...step.headers
      })
    }
    for (const [i, chunk] of chunks.entries()) {
      if (i > 0 && !Duration.isZero(chunkDelay)) yield* Effect.sleep(chunkDelay)
      yield* write(response, chunk)
    }
    if (ending === "hang") yield* Effect.never
    if (ending === "end") response.end()
    else {
      response.off("close", onClose)
      request.socket.resetAndDestroy()
    }
  })

/** The whole body is read even when it is too large to keep: an answer in the middle of an upload may be lost. */
const read = (request: IncomingMessage): Effect.Effect<{ readonly incoming: Incoming; readonly bytes: number }> =>
  Effect.callback((resume) => {
    const chunks: Array<Buffer> = []
    let bytes = 0
    request.on("error", () => undefined) // the client left: the response's "close" follows
    request.on("data", (chunk: Buffer) => {
      bytes += chunk.length
      if (bytes <= maxBodyBytes) chunks.push(chunk)
      else chunks.length = 0
    })
    request.once("end", () => {
      const { authorization } = request.headers
      const path = (request.url ?? "/").split("?", 1)[0] ?? "/"
      const body = bytes > maxBodyBytes ? Result.fail("too large" as const) : parsed(Buffer.concat(chunks).toString())
      resume(Effect.succeed({ incoming: { method: request.method ?? "GET", path, authorization, body }, bytes }))
    })
  })

const parsed = (text: string): Incoming["body"] =>
  text === "" ? Result.fail("empty") : Result.try({ try: () => JSON.parse(text) as unknown, catch: () => "not JSON" })

const remember = (memory: Memory, request: IncomingMessage, { body, method, path }: Incoming, size: number) => {
  const headers = Object.fromEntries(
    Object.entries(request.headers).map(([name, value]) => [name, isPrivate.test(name) ? "[redacted]" : String(value)])
  )
  const bytes = Math.min(size, maxBodyBytes)
  const kept: Kept = { request: { method, path, headers, body: Result.getOrUndefined(body), closed: false }, bytes }
  memory.requests.push(kept)
  memory.count++
  memory.bytes += bytes
  while (memory.requests.length > maxRequests || memory.bytes > maxRememberedBytes) {
    memory.bytes -= memory.requests.shift()?.bytes ?? 0
  }
  return kept
}

const isPrivate = /authorization|cookie|api-key|token/i

/** What is sent of a reply, and how it ends. */
const misbehave = (
  reply: Reply,
  step: Behaviour
): { readonly chunks: ReadonlyArray<string>; readonly ending: "end" | "hang" | "reset" } => {
  const isStream = reply.type === "text/event-stream"
  const cut = (count: number) =>
    isStream ? reply.chunks.slice(0, count) : [reply.chunks.join("").slice(0, 64 * count)]
  switch (step._tag) {
    case "Status":
      return { chunks: [errorText(step.status, step.error)], ending: "end" }
    case "Garbage":
      return { chunks: [isStream ? event(step.body) : step.body], ending: "end" }
    case "ErrorEvent": {
      const error = errorText(500, step.error)
      return { chunks: isStream ? [...cut(step.after), event(error)] : [error], ending: "end" }
    }
    case "Truncated":
      return { chunks: cut(step.after), ending: "end" }
    case "Reset":
    case "Hanging": {
      const ending = step._tag === "Reset" ? "reset" : "hang"
      return { chunks: step.after === 0 ? [] : cut(step.after), ending }
    }
    default:
      return { chunks: reply.chunks, ending: "end" }
  }
}

const errorText = (status: number, error: Parameters<typeof errorBody>[1] | string): string =>
  typeof error === "string" ? error : JSON.stringify(errorBody(status, error))

const typeOf = (step: Behaviour, reply: Reply): Reply["type"] => {
  if (step._tag === "Status") return typeof step.error === "string" ? "text/html" : "application/json"
  return step._tag === "Garbage" && step.body.startsWith("<") ? "text/html" : reply.type
}

/** Waits until the chunk has left, so that a slow reader slows the answer. */
const write = (response: ServerResponse, chunk: string): Effect.Effect<void> =>
  chunk === "" ? Effect.void : Effect.callback((resume) => void response.write(chunk, () => resume(Effect.void)))
