/** What stands before every handler and behind it: who asks, what may come in, and what goes out whatever happens. */
import { STATUS_CODES } from "node:http"
import { fileURLToPath } from "node:url"
import { ByteSize, Effect, Layer, Redacted } from "effect"
import * as Http from "effect/http"
import { Caller } from "effect-ballast"
import { Entrance, Forbidden, Unauthorized } from "./api.ts"
import { isLoopback, type Settings, tenantOf } from "./settings.ts"

const { HttpEffect, HttpRouter, HttpServerRequest, HttpServerRespondable, HttpServerResponse, ProblemDetails } = Http

/** The tenant is that of the key, and it is the one that all policies count. */
export const entrance = (settings: Settings) =>
  Layer.succeed(Entrance, {
    bearer: (httpEffect, { credential, endpoint }) =>
      Effect.gen(function* () {
        const tenant = settings.keys.size === 0 ? yield* local : tenantOf(settings, Redacted.value(credential))
        if (tenant === undefined) return yield* new Unauthorized({ detail: "A valid API key is needed" })
        const most = ByteSize.mebibytes(endpoint.identifier === "upload" ? 10 : 1)
        const asked = Effect.provideService(httpEffect, Http.HttpIncomingMessage.MaxBodySize, most)
        return yield* Caller.provide(asked, { tenant, feature: "document-qa" })
      })
  })

/** Without keys a page of another site must not ask through the browser of whoever runs the service. */
const local = Effect.gen(function* () {
  const { host = "", origin = `http://${host}` } = (yield* HttpServerRequest.HttpServerRequest).headers
  if (isLoopback(host.replace(/:\d+$/, "")) && origin === `http://${host}`) return "local"
  return yield* new Forbidden({ detail: "Without API keys only this machine may ask" })
})

/** Around everything: every failure is a problem, every response has the headers that browsers heed. */
export const outermost = HttpRouter.middleware(
  (httpEffect) =>
    httpEffect.pipe(
      Effect.tapDefect((defect) =>
        HttpServerRespondable.isRespondable(defect) ? Effect.void : Effect.logError("Unhandled", defect)
      ),
      HttpEffect.withPreResponseHandler(({ url }, response) => {
        const { body, status } = response
        const isTold = status < 400 || ("contentType" in body && /json/.test(body.contentType ?? ""))
        const told = isTold ? response : problem(status)
        const asksForKey = status === 401 ? { "www-authenticate": "Bearer" } : {}
        const policy = { "content-security-policy": url === "/docs" ? reference : strict }
        const all = { ...headers, ...policy, ...asksForKey, ...told.headers }
        return Effect.succeed(HttpServerResponse.setHeaders(told, all))
      })
    ),
  { global: true }
)

const problem = (status: number) =>
  ProblemDetails.toResponse({ type: ProblemDetails.blankType, status, title: STATUS_CODES[status] ?? "Error" })

const shut = "default-src 'none'; connect-src 'self'; base-uri 'none'; frame-ancestors 'none'; form-action 'none'"
const strict = `${shut}; script-src 'self'; style-src 'self'; img-src 'self'`
/** The reference brings its script along, within the page. */
const reference = `${shut}; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:`
const headers = {
  "cross-origin-resource-policy": "same-origin",
  "referrer-policy": "no-referrer",
  "x-content-type-options": "nosniff",
  "cache-control": "no-store"
}

/** The files of the page; whatever else is asked for is not there. */
export const page = HttpRouter.use((router) =>
  Effect.gen(function* () {
    const files = yield* Http.HttpStaticServer.make({ root: fileURLToPath(new URL("./page/", import.meta.url)) })
    const found = Effect.orElseSucceed(files, () => problem(404))
    yield* router.add("GET", "/*", found)
  })
)
