/** Imports point down: a file may use lower floors, never its own floor or a higher one, but for the exceptions named. */
import { readdirSync, readFileSync } from "node:fs"
import { assert, describe, it } from "@effect/vitest"

const src = new URL("../src/", import.meta.url)

const floors: ReadonlyArray<ReadonlyArray<string>> = [
  [
    "LlmRequest",
    "LlmResponse",
    "LlmError",
    "Caller",
    "Deadline",
    "Attempts",
    "Ledger",
    "QuotaStore",
    "CircuitBreakerStore",
    "CacheStore",
    "CacheControl",
    "VectorIndex",
    "Metrics",
    "Receipt"
  ],
  ["LlmProvider", "Tokens", "Guard"],
  ["Gate", "Pricing"],
  [
    "Retry",
    "Timeouts",
    "Fallback",
    "Hedge",
    "Degrade",
    "RateLimiter",
    "CircuitBreaker",
    "Budget",
    "Cache",
    "SemanticCache",
    "Guardrails",
    "Telemetry"
  ],
  [
    "OpenAi",
    "Anthropic",
    "RedisQuotaStore",
    "RedisCircuitBreakerStore",
    "SqliteClient",
    "SqlQuotaStore",
    "SqlCacheStore",
    "RedisCacheStore",
    "SqlVectorIndex",
    "RedisVectorIndex",
    "ChromaVectorIndex"
  ],
  ["LocalLlm", "Resilient"],
  ["index", "Stores", "bin", "testing"]
]

const floorOf = (module: string): number => floors.findIndex((floor) => floor.includes(module))

const files = readdirSync(src, { recursive: true, encoding: "utf8" }).filter((file) => file.endsWith(".ts"))

/** The run-time imports of a file as module names; `internal/` files belong to whoever imports them. */
const importsOf = (file: string): ReadonlyArray<string> => {
  const text = readFileSync(new URL(file, src), "utf8")
  return [...text.matchAll(/^(?:import|export) (?!type )[^"]*? from "(\.[^"]+)"/gm)].map((match) =>
    new URL(match[1] ?? "", new URL(file, src)).pathname.slice(src.pathname.length).replace(/\.ts$/, "")
  )
}

const moduleOf = (path: string): string => path.replace(/\.ts$/, "").split("/")[0] ?? ""

describe("floors", () => {
  it("every module has a floor", () => {
    const modules = new Set(files.map(moduleOf).filter((module) => module !== "internal"))
    assert.deepStrictEqual(
      [...modules].filter((module) => floorOf(module) === -1),
      []
    )
  })

  it.each(files)("%s imports only what lies below it", (file) => {
    const above = reach(file.replace(/\.ts$/, ""), new Set())
      .filter((module) => module !== moduleOf(file))
      .filter((module) => floorOf(module) >= floorOf(moduleOf(file)))
    if (moduleOf(file) !== "internal") assert.deepStrictEqual(above, [])
  })
})

/** The modules that a file imports, directly or through internal files. */
const reach = (file: string, seen: Set<string>): ReadonlyArray<string> =>
  importsOf(`${file}.ts`).flatMap((path) => {
    if (!path.startsWith("internal/")) return [moduleOf(path)]
    if (seen.has(path)) return []
    seen.add(path)
    return reach(path, seen)
  })
