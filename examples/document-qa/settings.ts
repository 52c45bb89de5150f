/** All that can be set, from the environment. Nothing need be: the table is in the README. */
import { createHash, timingSafeEqual } from "node:crypto"
import { fileURLToPath } from "node:url"
import { Config, Effect, Option, Redacted, Schema, SchemaIssue } from "effect"

const text = (name: string, otherwise: string) => Config.withDefault(Config.String(name), otherwise)
const amount = (name: string, otherwise: number) => Config.withDefault(Config.Finite(name), otherwise)
const isSet = (name: string) => Config.map(Config.option(Config.Redacted(name)), Option.isSome)
const wrong = (message: string) =>
  Effect.fail(new Config.ConfigError(new Schema.SchemaError(new SchemaIssue.InvalidValue({ message }))))

/** Who may ask: by the public beginning of a key, the digest of its secret and whose it is. */
export type Keys = ReadonlyMap<string, { readonly digest: Buffer; readonly tenant: string }>

const digest = (secret: string) => createHash("sha256").update(secret).digest()
const nobody = Buffer.alloc(32)

const keysOf = (value: Redacted.Redacted): Effect.Effect<Keys, Config.ConfigError> => {
  const keys = new Map<string, { readonly digest: Buffer; readonly tenant: string }>()
  for (const one of Redacted.value(value)
    .split(",")
    .map((one) => one.trim())) {
    if (one === "") continue
    const [, prefix, secret, tenant] = /^([\w-]+)\.([^\s:,]{16,}):([\w.-]{1,64})$/.exec(one) ?? []
    if (prefix === undefined || secret === undefined || tenant === undefined || keys.has(prefix))
      return wrong("API_KEYS must be prefix.secret:tenant,..., secrets of at least 16 characters, each prefix once")
    keys.set(prefix, { digest: digest(secret), tenant })
  }
  return Effect.succeed(keys)
}

/** The tenant of a key. A wrong secret takes as long as the right one. */
export const tenantOf = (keys: Keys, key: string): string | undefined => {
  const at = key.indexOf(".")
  const known = keys.get(key.slice(0, Math.max(at, 0)))
  const isRight = timingSafeEqual(digest(key.slice(at + 1)), known?.digest ?? nobody)
  return isRight ? known?.tenant : undefined
}

export const isLoopback = (host: string) => /^(localhost|127(\.\d{1,3}){3}|\[?::1\]?)$/.test(host)

const read = Config.all({
  host: text("HOST", "127.0.0.1"),
  port: Config.withDefault(Config.Int("PORT"), 8000),
  keys: Config.mapEffect(Config.withDefault(Config.Redacted("API_KEYS"), Redacted.make("")), keysOf),
  /** Where SQLite keeps its file. */
  folder: text("DATA_DIR", ".data"),
  /** What every tenant without documents has at the start. */
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
