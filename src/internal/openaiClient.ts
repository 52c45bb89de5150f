/** The `openai` package's client: nothing read from the environment, nothing logged, nothing retried. */
import * as Effect from "effect/Effect"
import type { OpenAI } from "openai"
import { boundedFetch } from "./http.ts"
import { needed } from "./optionalPackage.ts"

export interface Client {
  readonly sdk: OpenAI
  /** What is stated for each call, so that headers from the environment cannot change who is asked. */
  readonly stated: (key: string, signal: AbortSignal) => OpenAI.RequestOptions
}

/** Dies when the package is not installed. */
export const make = (settings: {
  readonly baseUrl: URL
  readonly organization: string | undefined
  readonly project: string | undefined
  readonly maxAnswerBytes: number
}): Effect.Effect<Client> => {
  const { baseUrl, maxAnswerBytes, organization = null, project = null } = settings
  return Effect.promise(() => import("openai").catch(needed("OpenAi", "openai"))).pipe(
    Effect.map(({ OpenAI }) => ({
      sdk: new OpenAI({
        apiKey: "stated-per-call",
        adminAPIKey: null,
        organization,
        project,
        webhookSecret: null,
        baseURL: baseUrl.href,
        maxRetries: 0,
        timeout: 2 ** 31 - 1,
        logLevel: "off",
        fetch: boundedFetch(maxAnswerBytes)
      }),
      stated: (key, signal) => ({
        signal,
        headers: { authorization: `Bearer ${key}`, "openai-organization": organization, "openai-project": project }
      })
    }))
  )
}
