/** What stands before every handler: who asks, what may come in, what goes out whatever happens, and the end of the service. */
import { randomUUID } from "node:crypto"
import { STATUS_CODES } from "node:http"
import { fileURLToPath } from "node:url"
import { ByteSize, Cause, Context, type Duration, Effect, Fiber, Latch, Layer, Redacted } from "effect"
import * as Http from "effect/http"
import { Caller } from "effect-ballast"
import { Authentication, Body, Forbidden, Principal, TooLarge, TooSlow, Unauthorized } from "./api.ts"
import { isLoopback, type Settings, tenantOf } from "./settings.ts"

const { HttpRouter, HttpServerRequest, HttpServerResponse, ProblemDetails } = Http

/** The id of the request that is being answered, also in its header. */
export const RequestId: Context.Reference<string> = Context.Reference<string>("document-qa/RequestId", {
  defaultValue: () => "none"
})

/** The tenant is that of the key, and it is the one that all policies count. */
export const authentication = ({ keys }: Settings) =>
  Layer.succeed(Authentication, {
    bearer: (httpEffect, { credential }) =>
      Effect.gen(function* () {
        const tenant = keys.size === 0 ? yield* local : tenantOf(keys, Redacted.value(credential))
        if (tenant === undefined) return yield* new Unauthorized({ detail: "A valid API key is needed" })
        const asked = Effect.provideService(httpEffect, Principal, { tenant })
        return yield* Caller.provide(asked, { tenant, feature: "document-qa" })
      })
  })

/** Without keys a page of another site must not ask through the browser of whoever runs the service. */
const local = Effect.gen(function* () {
  const { host = "", origin = `http://${host}` } = (yield* HttpServerRequest.HttpServerRequest).headers
  if (isLoopback(host.replace(/:\d+$/, "")) && origin === `http://${host}`) return "local"
  return yield* new Forbidden({ detail: "Without API keys only this machine may ask" })
})

/** Handlers read the body again from memory. */
export const body = ({ bodyWithin: duration }: Settings) =>
  Layer.succeed(Body, (httpEffect, { endpoint }) =>
    Effect.gen(function* () {
      const most = ByteSize.mebibytes(endpoint.identifier === "upload" ? 10 : 1)
      const tooLarge = new TooLarge({ detail: `The body is larger than ${most} bytes` })
      const tooSlow = new TooSlow({ detail: "The body takes too long to come" })
      const request = yield* HttpServerRequest.HttpServerRequest
      // whoever gives up reading loses the connection, and there is an answer to send
      const reading = yield* request.arrayBuffer.pipe(
        Effect.provideService(Http.HttpIncomingMessage.MaxBodySize, most),
        Effect.forkScoped
      )
      yield* Fiber.join(reading).pipe(
        Effect.catch(({ reason }) =>
          "reason" in reason && reason.reason === "BodyTooLarge" ? Effect.fail(tooLarge) : Effect.die(reason)
        ),
        Effect.timeoutOrElse({ duration, orElse: () => Effect.fail(tooSlow) })
      )
      return yield* httpEffect
    })
  )

/** Counts what is being answered, so that the service ends when it is done. */
export class Lifecycle extends Context.Service<Lifecycle>()("document-qa/Lifecycle", {
  make: Effect.sync(() => {
    const idle = Latch.makeUnsafe(true)
    let running = 0
    let isEnding = false
    const begin = Effect.sync(() => (running++, idle.closeUnsafe()))
    const end = Effect.sync(() => --running === 0 && idle.openUnsafe())
    /** Whether a request is let in: until its scope is closed it is waited for. */
    const enter = Effect.as(
      Effect.acquireRelease(begin, () => end),
      true
    )
    return {
      enter: Effect.suspend(() => (isEnding ? Effect.succeed(false) : enter)),
      /** Lets nobody in any more, and waits for those who are. */
      drain: (within: Duration.Input) =>
        Effect.suspend(() => {
          isEnding = true
          return Effect.timeoutOption(idle.await, within)
        })
    }
  })
}) {
  static readonly layer = Layer.effect(Lifecycle, Lifecycle.make)
}

/** Around everything: every failure is a problem, every response has the headers that browsers heed. */
export const outermost = HttpRouter.middleware(
  Effect.map(
    Lifecycle,
    ({ enter }) =>
      (httpEffect) =>
        Effect.gen(function* () {
          const requestId = yield* Effect.sync(() => randomUUID())
          if (!(yield* enter)) return HttpServerResponse.setHeaders(problem(503), { ...headers, ...ending })
          const response = yield* httpEffect.pipe(
            Effect.provideService(RequestId, requestId),
            Effect.catchCause((cause) => (Cause.hasInterrupts(cause) ? Effect.failCause(cause) : responseTo(cause)))
          )
          const { body, status } = response
          const isTold =
            status < 400 || ("contentType" in body && /^application\/(problem\+)?json/.test(body.contentType ?? ""))
          const extra = status === 401 ? { "www-authenticate": "Bearer" } : {}
          const told = isTold ? response : problem(status)
          return HttpServerResponse.setHeaders(told, {
            ...headers,
            ...extra,
            "x-request-id": requestId,
            ...told.headers
          })
        })
  ),
  { global: true }
)

const problem = (status: number) =>
  ProblemDetails.toResponse({ type: ProblemDetails.blankType, status, title: STATUS_CODES[status] ?? "Error" })

const responseTo = (cause: Cause.Cause<unknown>) =>
  Effect.flatMap(Http.HttpServerError.causeResponse(cause), ([response]) =>
    response.status < 500 ? Effect.succeed(response) : Effect.as(Effect.logError("Unhandled", cause), response)
  )

const ending = { connection: "close", "retry-after": "5" }

const policy = (rest: string) =>
  `default-src 'none'; connect-src 'self'; base-uri 'none'; frame-ancestors 'none'; ${rest}`
const headers = {
  "content-security-policy": policy("script-src 'self'; style-src 'self'; img-src 'self'; form-action 'none'"),
  "cross-origin-resource-policy": "same-origin",
  "referrer-policy": "no-referrer",
  "x-content-type-options": "nosniff",
  "cache-control": "no-store"
}

/** The reference brings its script along, within the page. */
const unsafe = policy("script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; form-action 'none'")
export const reference = HttpRouter.middleware(
  Effect.map(HttpServerResponse.setHeader("content-security-policy", unsafe))
).layer

const file = (path: Http.HttpRouter.PathInput, name: string) => {
  const found = HttpServerResponse.file(fileURLToPath(new URL(`./page/${name}`, import.meta.url)))
  return HttpRouter.add(
    "GET",
    path,
    Effect.catch(found, () => Effect.succeed(HttpServerResponse.empty({ status: 404 })))
  )
}

/** The files of the page, and no others. */
export const page = Layer.mergeAll(
  file("/", "index.html"),
  file("/app.js", "app.js"),
  file("/style.css", "style.css"),
  file("/icon.svg", "icon.svg")
)
