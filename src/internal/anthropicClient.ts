/** The `@anthropic-ai/sdk` client behind the provider: nothing read from the environment, nothing logged, nothing retried. */
import * as Effect from "effect/Effect"
import type { Params } from "./anthropicRequest.ts"
import { boundedFetch } from "./http.ts"
import { needed } from "./optionalPackage.ts"

/** Sends one request and gives its answer: the body, or its events if `stream`. */
export type Send = (
  params: Params,
  options: { readonly key: string; readonly signal: AbortSignal; readonly stream: boolean }
) => Promise<{ readonly data: unknown; readonly response: Response }>

/** Dies when the package is not installed. */
export const makeSend = (settings: {
  readonly baseUrl: URL
  readonly apiVersion: string
  readonly maxAnswerBytes: number
}): Effect.Effect<Send> =>
  Effect.promise(() => import("@anthropic-ai/sdk").catch(needed("Anthropic", "@anthropic-ai/sdk"))).pipe(
    Effect.map(({ Anthropic }): Send => {
      const bounded = boundedFetch(settings.maxAnswerBytes)
      const client = new Anthropic({
        apiKey: "stated-per-call",
        webhookKey: null,
        baseURL: settings.baseUrl.href,
        maxRetries: 0,
        timeout: 2 ** 31 - 1,
        logLevel: "off",
        openTelemetry: false,
        fetch: (input, init) => bounded(input, { ...init, headers: ownHeaders(init?.headers) })
      })
      return (params, { key, signal, stream }) =>
        // not `messages.create`, which writes to the console about models that are going to retire
        client
          .post("/v1/messages", {
            body: { ...params.body, stream },
            stream,
            signal,
            // stated for each call, so that headers from the environment cannot replace them
            headers: {
              authorization: `Bearer ${key}`,
              "anthropic-version": settings.apiVersion,
              "anthropic-beta": params.betas.length === 0 ? null : params.betas.join(",")
            }
          })
          .withResponse()
    })
  )

/** The package adds the headers of the variable `ANTHROPIC_CUSTOM_HEADERS`, whatever its options say. */
const ownHeaders = (headers: RequestInit["headers"]): Headers =>
  new Headers([...new Headers(headers)].filter(([name]) => own.test(name)))

const own = /^(accept|authorization|content-type|user-agent|anthropic-(version|beta)|x-stainless-[\w-]+)$/
