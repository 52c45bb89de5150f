/** The document Q&A service on a free port, over a LocalLlm that tests mistreat, and what they ask it with. */
import { request } from "node:http"
import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { ConfigProvider, Context, Effect, Layer, References, type Scope } from "effect"
import { FetchHttpClient, HttpClient, HttpClientRequest, HttpServer } from "effect/http"
import { HttpApiClient } from "effect/http-api"
import * as LocalLlm from "effect-ballast/LocalLlm"
import { Api } from "../../examples/document-qa/api.ts"
import { server } from "../../examples/document-qa/server.ts"

type Environment = Readonly<Record<string, string>>

export const key = (tenant: string) => `${tenant}.${"s".repeat(20)}-${tenant}`
/** For `API_KEYS`. */
export const keysOf = (...tenants: ReadonlyArray<string>) =>
  tenants.map((tenant) => `${key(tenant)}:${tenant}`).join(",")

/** A folder that goes with the scope, and what is in it at first. */
export const folder = (files: Readonly<Record<string, string>> = {}) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const path = await mkdtemp(join(tmpdir(), "document-qa-"))
      for (const [name, text] of Object.entries(files)) await writeFile(join(path, name), text)
      return path
    }),
    (path) => Effect.promise(() => rm(path, { recursive: true, force: true }))
  )

/** What makes the service use this LocalLlm as if it were OpenAI, with prices that are known. */
export const environmentOf = (llm: LocalLlm.LocalLlm["Service"]): Environment => ({
  OPENAI_API_KEY: "local",
  OPENAI_BASE_URL: llm.url,
  OPENAI_MODEL: "local-llm",
  OPENAI_EMBEDDING_MODEL: "local-embeddings",
  PORT: "0"
})

export const clientOf = (url: string, bearer?: string) =>
  HttpApiClient.make(Api, {
    transformClient: (client) =>
      client.pipe(
        HttpClient.mapRequest(HttpClientRequest.prependUrl(url)),
        HttpClient.mapRequest((request) =>
          bearer === undefined ? request : HttpClientRequest.bearerToken(request, bearer)
        )
      )
  }).pipe(Effect.provide(FetchHttpClient.layer))

/** For as long as the scope lives; what is not set is in a folder of its own, and no documents ship with it. */
export const serve = (environment: Environment) =>
  Effect.gen(function* () {
    const own = { DATA_DIR: yield* folder(), DOCUMENTS_DIR: yield* folder() }
    const provider = ConfigProvider.fromUnknown({ ...own, ...environment })
    const context = yield* Layer.build(
      Layer.fresh(server).pipe(
        Layer.provide(ConfigProvider.layer(provider)),
        Layer.provide(Layer.succeed(References.MinimumLogLevel, "None"))
      )
    )
    const { address } = Context.get(context, HttpServer.HttpServer)
    if (address._tag === "UnixPathAddress") return yield* Effect.die("not on a port")
    return `http://127.0.0.1:${address.port}`
  })

export interface Running {
  readonly url: string
  readonly llm: LocalLlm.LocalLlm["Service"]
  readonly client: Effect.Success<ReturnType<typeof clientOf>>
}

/** The service and its model. */
export const running = (
  environment: Environment = {},
  model: LocalLlm.Options = {}
): Effect.Effect<Running, unknown, Scope.Scope> =>
  Effect.gen(function* () {
    const llm = Context.get(yield* Layer.build(LocalLlm.layer(model)), LocalLlm.LocalLlm)
    const url = yield* serve({ ...environmentOf(llm), ...environment })
    return { url, llm, client: yield* clientOf(url) }
  })

export interface Answered {
  readonly status: number
  readonly headers: Headers
  readonly text: string
  /** The body, where it is JSON. */
  readonly json: Readonly<Record<string, unknown>>
}

export const send = (url: string, init?: RequestInit): Effect.Effect<Answered> =>
  Effect.promise(async (signal) => {
    const response = await fetch(url, { ...init, signal })
    const text = await response.text()
    const isJson = /json/.test(response.headers.get("content-type") ?? "")
    return { status: response.status, headers: response.headers, text, json: isJson ? JSON.parse(text) : {} }
  })

export const post = (url: string, body: unknown, headers: Readonly<Record<string, string>> = {}) =>
  send(url, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: typeof body === "string" ? body : JSON.stringify(body)
  })

/** A request as `fetch` would not send it: any path, any header, and a body that comes piece by piece or never. */
export const raw = (
  url: string,
  options: {
    readonly method?: string
    readonly path: string
    readonly headers?: Readonly<Record<string, string>>
    readonly pieces?: ReadonlyArray<Uint8Array | string>
    /** Whether the body comes to its end. Default `true`. */
    readonly ends?: boolean
  }
): Effect.Effect<{ readonly status: number; readonly type: string; readonly text: string }> =>
  Effect.callback((resume) => {
    const { headers = {}, method = "GET", path, pieces = [] } = options
    const sent = request(url, { method, path, headers, agent: false }, (response) => {
      let text = ""
      response.on("data", (chunk: Buffer) => void (text += chunk.toString()))
      response.on("error", () => undefined)
      response.on("close", () => {
        resume(Effect.succeed({ status: response.statusCode ?? 0, type: response.headers["content-type"] ?? "", text }))
        sent.destroy()
      })
    })
    sent.on("error", (error) => resume(Effect.succeed({ status: 0, type: "", text: error.message })))
    for (const piece of pieces) sent.write(piece)
    if (options.ends ?? true) sent.end()
    else sent.flushHeaders()
    return Effect.sync(() => sent.destroy())
  })

/** A PDF whose pages have one line each. */
export const pdfOf = (lines: ReadonlyArray<string>): Uint8Array<ArrayBuffer> => {
  const kids = lines.map((_, i) => `${4 + 2 * i} 0 R`).join(" ")
  const objects = [
    "<< /Type /Catalog /Pages 2 0 R >>",
    `<< /Type /Pages /Kids [${kids}] /Count ${lines.length} >>`,
    "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ...lines.flatMap((line, i) => {
      const content = `BT /F1 14 Tf 72 720 Td (${line}) Tj ET`
      return [
        `<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents ${5 + 2 * i} 0 R /Resources << /Font << /F1 3 0 R >> >> >>`,
        `<< /Length ${content.length} >>\nstream\n${content}\nendstream`
      ]
    })
  ]
  let text = "%PDF-1.4\n"
  const offsets = objects.map((object, i) => {
    const offset = text.length
    text += `${i + 1} 0 obj\n${object}\nendobj\n`
    return `${String(offset).padStart(10, "0")} 00000 n \n`
  })
  const size = objects.length + 1
  const table = `xref\n0 ${size}\n0000000000 65535 f \n${offsets.join("")}`
  const trailer = `trailer << /Size ${size} /Root 1 0 R >>\nstartxref\n${text.length}\n%%EOF\n`
  return new TextEncoder().encode(text + table + trailer)
}

/** The events of a stream, with their data as it was sent. */
export const eventsOf = (text: string) =>
  text
    .split("\n\n")
    .filter((block) => block !== "")
    .map((block) => {
      const field = (name: string) => new RegExp(`^${name}: ?(.*)$`, "m").exec(block)?.[1] ?? ""
      return { event: field("event"), data: JSON.parse(field("data")) as unknown }
    })
