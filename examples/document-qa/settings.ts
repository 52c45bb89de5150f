/** All that can be set, from the environment. Nothing need be: the table is in the README. */
import { createHash, timingSafeEqual } from "node:crypto"
import { fileURLToPath } from "node:url"
import { Config, Effect, Option, Redacted, Schema, SchemaIssue } from "effect"

const text = (name: string, otherwise: string) => Config.withDefault(Config.String(name), otherwise)
const amount = (name: string, otherwise: number) => Config.withDefault(Config.Finite(name), otherwise)
const isSet = (name: string) => Config.map(Config.option(Config.Redacted(name)), Option.isSome)
const wrong = (message: string) =>
  Effect.fail(new Config.ConfigError(new Schema.SchemaError(new SchemaIssue.InvalidValue({ message }))))

const digestOf = (key: string) => createHash("sha256").update(key).digest("hex")

/** Who may ask: tenants by the digest of their key. */
const keysOf = (value: Redacted.Redacted) => {
  const pairs = Array.from(Redacted.value(value).matchAll(/[^\s,]+/g), ([pair]) => pair)
  const keys = new Map(pairs.map((pair) => pair.split(":")).map(([key = "", tenant = ""]) => [digestOf(key), tenant]))
  const isWhole = keys.size === pairs.length && pairs.every((pair) => /^[\w.-]{16,}:[\w.-]{1,64}$/.test(pair))
  return isWhole ? Effect.succeed(keys) : wrong("API_KEYS must be key:tenant,..., different keys of 16 letters or more")
}

/** The tenant of a key; how long it takes says nothing of the keys there are. */
export const tenantOf = ({ keys }: Settings, key: string): string | undefined => {
  const given = Buffer.from(digestOf(key))
  return Array.from(keys).find(([digest]) => timingSafeEqual(Buffer.from(digest), given))?.[1]
}

export const isLoopback = (host: string) => /^(localhost|127(\.\d{1,3}){3}|\[?::1\]?)$/.test(host)

const read = Config.all({
  host: text("HOST", "127.0.0.1"),
  port: Config.withDefault(Config.Int("PORT"), 8000),
  keys: Config.mapEffect(Config.withDefault(Config.Redacted("API_KEYS"), Redacted.make("")), keysOf),
  folder: text("DATA_DIR", ".data"),
  shipped: text("DOCUMENTS_DIR", fileURLToPath(new URL("../../docs/", import.meta.url))),
  openAi: isSet("OPENAI_API_KEY"),
  anthropic: isSet("ANTHROPIC_API_KEY"),
  model: text("OPENAI_MODEL", "gpt-5-mini"),
  embeddingModel: text("OPENAI_EMBEDDING_MODEL", "text-embedding-3-small"),
  anthropicModel: text("ANTHROPIC_MODEL", "claude-haiku-4-5"),
  redis: Config.option(Config.String("REDIS_URL")),
  database: Config.option(Config.Redacted("DATABASE_URL")),
  chroma: Config.option(Config.String("CHROMA_URL")),
  logs: Config.withDefault(Config.Literals(["pretty", "json"], "LOGS"), "pretty"),
  exportsTelemetry: isSet("OTEL_EXPORTER_OTLP_ENDPOINT"),
  usdPerDay: amount("USD_PER_DAY", 10),
  usdPerTenant: amount("USD_PER_TENANT_AND_DAY", 5),
  perMinute: amount("REQUESTS_PER_MINUTE", 600),
  perTenant: amount("REQUESTS_PER_TENANT_AND_MINUTE", 120),
  semanticCache: Config.withDefault(Config.Literals(["shadow", "enforce"], "SEMANTIC_CACHE"), "shadow"),
  /** How long answers are given again while the model can be asked; a week while it cannot. */
  cached: Config.withDefault(Config.Duration("CACHE_FOR"), "1 hour"),
  /** How long a body may come, a question may take, and running answers when the service ends. */
  bodyWithin: Config.withDefault(Config.Duration("BODY_WITHIN"), "10 seconds"),
  within: Config.withDefault(Config.Duration("ANSWER_WITHIN"), "1 minute"),
  drain: Config.withDefault(Config.Duration("DRAIN"), "30 seconds")
})

export type Settings = Effect.Success<typeof read>

/** Without keys everybody may ask who reaches the port, which must be one of this machine alone then. */
export const settings = Config.mapEffect(read, (read) =>
  read.keys.size > 0 || isLoopback(read.host)
    ? Effect.succeed(read)
    : wrong(`HOST must be loopback without API_KEYS, got ${read.host}`)
)

/** Who makes the vectors. Those of two models have nothing to do with each other. */
export const embeddingsOf = ({ embeddingModel, openAi }: Settings) =>
  openAi ? { provider: "openai", name: embeddingModel } : { provider: "local", name: "local-embeddings" }
