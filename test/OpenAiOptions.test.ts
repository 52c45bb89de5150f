import { inspect } from "node:util"
import { assert, describe, it } from "@effect/vitest"
import { Config, ConfigProvider, Effect, Redacted } from "effect"
import * as AiError from "effect/ai/AiError"
import { LlmError } from "effect-ballast/LlmError"
import * as LlmProvider from "effect-ballast/LlmProvider"
import * as LlmRequest from "effect-ballast/LlmRequest"
import * as OpenAi from "effect-ballast/OpenAi"
import { vi } from "vitest"
import { completion, json, provider, secret, serve, shown } from "./fixtures/openai/server.ts"

const apiKey = Redacted.make(secret)

const request = LlmRequest.makeUnsafe("hi")

const answering = serve((response) => json(response, completion({ content: "ok" })))

describe("options", () => {
  it.each<[Partial<OpenAi.Options>, string]>([
    [{ model: " " }, "OpenAi.make: model must not be empty"],
    [{ name: "" }, "OpenAi.make: name must not be empty"],
    [{ apiKey: Redacted.make("") }, "OpenAi.make: apiKey must not be empty"],
    [
      { apiKey: Redacted.make(`${secret}\n`) },
      "OpenAi.make: apiKey must not be empty and must hold nothing but visible"
    ],
    [{ organization: "a b" }, "OpenAi.make: organization must not be empty"],
    [{ project: "" }, "OpenAi.make: project must not be empty"],
    [
      { baseUrl: "api.example.com" },
      'OpenAi.make: baseUrl must be an absolute http or https URL, got "api.example.com"'
    ],
    [{ baseUrl: "http://api.example.com/v1" }, "OpenAi.make: baseUrl must be https"],
    [{ baseUrl: "https://me:pw@api.example.com" }, "OpenAi.make: baseUrl must not hold credentials"],
    [{ baseUrl: "https://api.example.com/v1?key=1" }, "OpenAi.make: baseUrl must have no query"],
    [{ requestTimeout: 0 }, "OpenAi.make: requestTimeout must be a duration > 0, got 0"],
    [{ requestTimeout: Number.NaN }, "OpenAi.make: requestTimeout must be a duration > 0, got NaN"],
    [{ requestTimeout: "Infinity" }, "OpenAi.make: requestTimeout must be finite"],
    [{ maxAnswerBytes: 0 }, "OpenAi.make: maxAnswerBytes must be an integer >= 1, got 0"],
    [{ maxAnswerBytes: 1.5 }, "OpenAi.make: maxAnswerBytes must be an integer >= 1, got 1.5"]
  ])("that can never work throw: %o", (options, message) => {
    for (const build of [OpenAi.make, OpenAi.layer]) {
      const thrown = (() => {
        try {
          return build({ model: "m", apiKey, ...options })
        } catch (error) {
          return error
        }
      })()
      assert(thrown instanceof RangeError)
      assert.include(thrown.message, message)
      assert.notInclude(shown(inspect, thrown), secret)
    }
  })

  it.effect("make an identity: protocol, base URL, organisation, project and model; the key as a digest", () =>
    Effect.gen(function* () {
      const self = yield* OpenAi.make({ model: "m", apiKey, organization: "org", project: "p:1" })
      assert.strictEqual(self.endpoint, "openai|https%3A%2F%2Fapi.openai.com%2Fv1|org|p%3A1|m")
      assert.match(self.credential, /^[0-9a-f]{12}$/)
      assert.strictEqual(self.provider, "openai")
      assert.strictEqual((yield* OpenAi.make({ model: "m", apiKey, credentialId: "team-a" })).credential, "team-a")
      assert.strictEqual((yield* OpenAi.make({ model: "m", apiKey: Effect.succeed(apiKey) })).credential, "rotating")
    })
  )

  it.effect("allow plain HTTP elsewhere only on demand", () =>
    Effect.gen(function* () {
      const self = yield* OpenAi.make({ model: "m", apiKey, baseUrl: "http://gpu.lan/v1", allowInsecure: true })
      assert.include(self.endpoint, "gpu.lan")
    })
  )

  it.effect("say who asks, whatever the environment says", () =>
    Effect.gen(function* () {
      const server = yield* answering
      const variables = {
        OPENAI_API_KEY: "sk-env",
        OPENAI_ORG_ID: "org-env",
        OPENAI_PROJECT_ID: "project-env",
        OPENAI_BASE_URL: "http://127.0.0.1:9/env",
        OPENAI_CUSTOM_HEADERS: "authorization: Bearer sk-env\nopenai-organization: org-env",
        OPENAI_LOG: "debug"
      }
      for (const [name, value] of Object.entries(variables)) vi.stubEnv(name, value)
      const logs = (["log", "debug", "info", "warn", "error"] as const).map((level) => vi.spyOn(console, level))
      yield* Effect.addFinalizer(() =>
        Effect.sync(() => {
          vi.unstubAllEnvs()
          vi.restoreAllMocks()
        })
      )
      yield* (yield* provider(server)).generate(request)
      yield* (yield* provider(server, { organization: "org", project: "p" })).generate(request)
      const [plain, scoped] = server.requests
      assert.strictEqual(plain?.headers.authorization, `Bearer ${secret}`)
      assert.notInclude(JSON.stringify(plain?.headers), "env")
      assert.include(scoped?.headers, { "openai-organization": "org", "openai-project": "p" })
      assert.deepStrictEqual(
        logs.flatMap((log) => log.mock.calls),
        []
      )
    })
  )
})

describe("an apiKey that is an effect", () => {
  it.effect("is read for every call", () =>
    Effect.gen(function* () {
      const server = yield* answering
      let reads = 0
      const self = yield* provider(server, { apiKey: Effect.sync(() => Redacted.make(`key-${++reads}`)) })
      assert.strictEqual(reads, 0)
      yield* self.generate(request)
      yield* self.generate(request)
      assert.deepStrictEqual(
        server.requests.map((one) => one.headers.authorization),
        ["Bearer key-1", "Bearer key-2"]
      )
    })
  )

  it.effect.each([
    ["", "MissingKey"],
    ["sk-0123456789\n", "InvalidKey"],
    ["ключ-секрет", "InvalidKey"]
  ] as const)("fails typed, unsent and unseen for a key that cannot be sent: %j", ([key, kind]) =>
    Effect.gen(function* () {
      const server = yield* answering
      const self = yield* provider(server, { apiKey: Effect.succeed(Redacted.make(key)) })
      const failure = yield* Effect.flip(self.generate(request))
      assert(failure.reason._tag === "AuthenticationError")
      assert.strictEqual(failure.reason.kind, kind)
      assert.strictEqual(failure.phase, "refused")
      assert.strictEqual(server.requests.length, 0)
      if (key !== "") assert.notInclude(shown(inspect, failure), key.trim())
    })
  )

  it.effect("fails as it fails", () =>
    Effect.gen(function* () {
      const reason = new AiError.AuthenticationError({ kind: "Unknown" })
      const failed = new LlmError({ provider: "vault", model: "-", reason, phase: "refused" })
      const self = yield* provider({ url: "http://127.0.0.1:9/v1" }, { apiKey: Effect.fail(failed) })
      assert.strictEqual(yield* Effect.flip(self.generate(request)), failed)
    })
  )
})

describe("layerConfig", () => {
  const built = (options: Parameters<typeof OpenAi.layerConfig>[0], env: Record<string, string>) =>
    Effect.provideService(
      Effect.provide(LlmProvider.LlmProvider, OpenAi.layerConfig(options)),
      ConfigProvider.ConfigProvider,
      ConfigProvider.fromUnknown(env)
    )

  it.effect("reads the key and the URL from the environment", () =>
    Effect.gen(function* () {
      const server = yield* answering
      const self = yield* built({ model: "m" }, { OPENAI_API_KEY: secret, OPENAI_BASE_URL: server.url })
      yield* self.generate(request)
      assert.strictEqual(server.requests[0]?.headers.authorization, `Bearer ${secret}`)
    })
  )

  it.effect("takes any option as a Config, and what is given before the environment", () =>
    Effect.gen(function* () {
      const env = {
        MODEL: "from-env",
        KEY: secret,
        OPENAI_API_KEY: "sk-other",
        OPENAI_BASE_URL: "http://127.0.0.1:9/v1"
      }
      const self = yield* built(
        { model: Config.String("MODEL"), apiKey: Config.Redacted("KEY"), baseUrl: "https://gateway.example/v1" },
        env
      )
      assert.strictEqual(self.model, "from-env")
      assert.include(self.endpoint, "gateway.example")
      const same = yield* OpenAi.make({ model: "m", apiKey })
      assert.strictEqual(self.credential, same.credential)
    })
  )

  it.effect("asks OpenAI where no URL is set, or an empty one", () =>
    Effect.gen(function* () {
      for (const env of [{}, { OPENAI_BASE_URL: "" }]) {
        const self = yield* built({ model: "m" }, { OPENAI_API_KEY: secret, ...env })
        assert.include(self.endpoint, "api.openai.com")
      }
    })
  )

  it.effect.each<[string, Record<string, string>, string]>([
    ["no key", {}, "OPENAI_API_KEY"],
    ["an empty key", { OPENAI_API_KEY: "" }, "OPENAI_API_KEY"],
    ["a key with a line break", { OPENAI_API_KEY: `${secret}\n` }, "OPENAI_API_KEY must not be empty and must hold"],
    [
      "a malformed URL",
      { OPENAI_API_KEY: secret, OPENAI_BASE_URL: "nowhere" },
      "OPENAI_BASE_URL: baseUrl must be an absolute http or https URL"
    ],
    [
      "an insecure URL",
      { OPENAI_API_KEY: secret, OPENAI_BASE_URL: "http://api.example.com" },
      "OPENAI_BASE_URL: baseUrl must be https"
    ]
  ])("fails with a ConfigError that names the variable for %s", ([, env, message]) =>
    Effect.gen(function* () {
      const failure = yield* Effect.flip(built({ model: "m" }, env))
      assert(failure instanceof Config.ConfigError)
      assert.include(failure.message, message)
      assert.notInclude(shown(inspect, failure), secret)
    })
  )

  it.effect("fails with a ConfigError for options that can never work", () =>
    Effect.gen(function* () {
      const failure = yield* Effect.flip(built({ model: Config.succeed(" ") }, { OPENAI_API_KEY: secret }))
      assert(failure instanceof Config.ConfigError)
      assert.include(failure.message, "model must not be empty")
    })
  )
})
