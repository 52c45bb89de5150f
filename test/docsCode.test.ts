/** Every block of code in the README and the documents is compiled and run, or is the text of a file that is. */
import { spawnSync } from "node:child_process"
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs"
import { once } from "node:events"
import { createServer } from "node:http"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import process from "node:process"
import { afterAll, afterEach, assert, beforeEach, describe, it, vi } from "@effect/vitest"
import { ConfigProvider, Console, Context, Effect, Layer, type Scope, Stream } from "effect"
import { Guard, Guardrails, LlmProvider, LlmRequest } from "effect-ballast"
import * as LocalLlm from "effect-ballast/LocalLlm"
import { blocks, documents, type Module, modulesOf, root, write } from "./support/docsCode.ts"
import { anyServer as anyPostgres, describePostgres, PostgresServer } from "./support/postgres.ts"
import { anyServer as anyRedis, describeRedis, RedisServer } from "./support/redis.ts"

/** What a document takes for granted, in one line. */
const given = {
  "docs/guardrails.md: Guardrails, in words that are true": `const token = "canary-5b1f03c9"`
}

vi.stubEnv("OPENAI_API_KEY", undefined) // no vendor is asked

const modules = modulesOf(given)
const written = write(modules)
afterAll(written.remove)

describe("blocks", () => {
  it("are found in every document that has some", () => {
    for (const document of documents) {
      const fences = readFileSync(join(root, document), "utf8").match(/^\s*```/gm) ?? []
      assert.lengthOf(
        blocks.filter((block) => block.document === document),
        fences.length / 2,
        document
      )
    }
  })

  it("are in languages that are checked, or shown as they are elsewhere", () => {
    const languages = new Set(blocks.map(({ language }) => language))
    assert.deepStrictEqual(
      [...languages].filter((one) => !["ts", "sh", "js", "py", "text"].includes(one)),
      []
    )
  })

  it.each(blocks.filter(({ file }) => file !== undefined))("are what the file $file is", ({ code, file = "" }) => {
    assert.match(file, /^(?:examples\/\d\d-[\w-]+\.ts|test\/\w+\.test\.ts)$/) // which are run elsewhere
    assert.strictEqual(`${code}\n`, readFileSync(join(root, file), "utf8"))
  })

  it("are commands that there are", () => {
    const { scripts } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
      readonly scripts: Readonly<Record<string, string>>
    } // npm reads it so
    const commands = blocks.filter(({ language }) => language === "sh").flatMap(({ code }) => code.split(/\n|&&/))
    assert.isAbove(commands.length, 0)
    for (const command of commands) {
      const [tool, verb = "", name = ""] = command
        .trim()
        .replace(/\s*#.*/, "")
        .split(" ")
      assert.include(["npm", "npx"], tool, command)
      if (["ci", "install"].includes(verb)) continue
      if (tool === "npx") assert.isTrue(verb === "tsx" && existsSync(join(root, name)), command)
      else assert.property(scripts, verb === "run" ? name : verb, command)
    }
  })

  it("compile, as strictly as the sources", { timeout: 120_000 }, () => {
    const compiler = ["tsc", "--noEmit", "-p", written.folder]
    const { status, stdout } = spawnSync("npx", compiler, { cwd: root, encoding: "utf8" })
    assert.deepStrictEqual({ status, stdout }, { status: 0, stdout: "" })
  })
})

describe("links", () => {
  const textOf = (file: string) => readFileSync(join(root, file), "utf8")

  /** As GitHub names a heading. */
  const anchorsOf = (file: string) =>
    [...textOf(file).matchAll(/^#+ (.*)/gm)].map(([, heading = ""]) =>
      heading
        .toLowerCase()
        .replaceAll(/[^\w\s-]/g, "")
        .replaceAll(" ", "-")
    )

  it.each(documents)("of %s lead somewhere", (document) => {
    const links = [...textOf(document).matchAll(/\]\(([^)]+)\)/g)].map(([, link = ""]) => link)
    const missing = links.filter((link) => {
      if (/^https?:/.test(link)) return false
      const [path = "", anchor] = link.split("#")
      const file = path === "" ? document : join(dirname(document), path)
      if (!existsSync(join(root, file))) return true
      return anchor !== undefined && !anchorsOf(file).includes(anchor)
    })
    assert.deepStrictEqual(missing, [])
  })

  it.each(documents)("of %s by reference are all defined and used", (document) => {
    const text = textOf(document)
    const defined = [...text.matchAll(/^\[([\w-]+)\]: https:/gm)].map(([, name]) => name)
    const used = [...text.matchAll(/\]\[([\w-]+)\]/g)].map(([, name]) => name)
    assert.sameMembers([...new Set(used)], defined)
  })
})

describe("the documents that the service of the examples begins with", () => {
  const allows = Guardrails.allows({ guards: [Guard.promptInjection()] })

  it.effect.each(documents)("may be read by a model: %s", (document) =>
    Effect.gen(function* () {
      const content = [LlmRequest.document(readFileSync(join(root, document), "utf8"))]
      const isAllowed = yield* allows({ prompt: [{ role: "user", content }] })
      assert.strictEqual(isAllowed, document !== "docs/guardrails.md") // which quotes attacks
    })
  )
})

/** Of each slot what the README says, and where the sources say so. */
const defaults: ReadonlyArray<readonly [slot: string, says: string, file: string, source: string]> = [
  ["timeouts", "Call 10 minutes", "Timeouts", `options.total ?? "10 minutes"`],
  ["timeouts", "attempt 5 minutes", "Timeouts", `attempt = "5 minutes"`],
  ["timeouts", "first part 60 s (180 s with reasoning)", "Timeouts", `"none" ? 60_000 : 180_000`],
  ["timeouts", "pause 60 s", "Timeouts", `idle = "1 minute"`],
  ["retry", "4 retries", "Retry", "options.times ?? 4"],
  ["retry", "1 before another provider", "Resilient", "retry?.timesBeforeFallback ?? 1"],
  ["retry", "waits 1 s", "Retry", `options.base ?? "1 second"`],
  ["retry", "doubling to 60 s", "Retry", `options.cap ?? "1 minute"`],
  ["retry", "at most 20 % of calls", "Retry", "budget.ratio ?? 0.2"],
  ["retry", "and 10 in 10 s", "Retry", `budget.per ?? "10 seconds"`],
  ["cache", "kept for an hour", "Cache", `options.timeToLive ?? "1 hour"`],
  ["cache", "apart by tenant", "Cache", `options.isolation ?? "tenant"`],
  ["inputGuard", "10,000 characters of a user", "internal/guardInputs", "10_000"],
  ["inputGuard", "200,000 of a document", "internal/guardInputs", "200_000"],
  ["inputGuard", "of high severity", "internal/guardInputs", `blockAt = "high"`],
  ["inputGuard", "a guard that fails refuses", "Guard", `onError = "block"`],
  ["semanticCache", "at least 0.95 alike", "SemanticCache", "options.threshold ?? 0.95"],
  ["hedge", "95th percentile", "Hedge", "new Quantile(0.95)"],
  ["hedge", "at most 5 % of calls", "Hedge", "options.ratio ?? 0.05"],
  ["circuitBreaker", "5 failures in a row", "internal/circuitRules", "failures = 5"],
  ["circuitBreaker", "half of at least 10 in a minute", "internal/circuitRules", "options.minimumCalls ?? 10"],
  ["circuitBreaker", "for 30 s doubling", "internal/circuitRules", `Schedule.exponential("30 seconds")`],
  ["circuitBreaker", "to 5 minutes", "internal/circuitRules", `options.maxOpenFor ?? "5 minutes"`],
  ["circuitBreaker", "a used-up quota for 5 minutes", "CircuitBreaker", `options.lockedFor ?? "5 minutes"`],
  ["rateLimiter", "at most 30 s", "RateLimiter", `options.maxWait ?? "30 seconds"`],
  ["rateLimiter", "a queue of 1,000", "RateLimiter", "options.maxQueue ?? 1000"],
  ["budget", "the day in UTC", "Budget", `zone = "UTC"`],
  ["budget", "one that is too dear is passed over", "Budget", `onExceeded = "next"`]
]

describe("the table of policies in the README", () => {
  const rows = readFileSync(join(root, "README.md"), "utf8").split("\n")

  it.each(defaults)("says the default of %s: %s", (slot, says, file, source) => {
    assert.include(rows.find((row) => row.startsWith(`| \`${slot}\``)) ?? "no row", says)
    assert.include(readFileSync(join(root, `src/${file}.ts`), "utf8"), source)
  })

  it("has a row for each slot", () => {
    const slots =
      /^export interface Slots \{[^]*?^\}/m.exec(readFileSync(join(root, "src/Resilient.ts"), "utf8"))?.[0] ?? ""
    const names = [...slots.matchAll(/readonly (\w+)\?:/g)].map(([, name]) => name)
    assert.isAbove(names.length, 10)
    assert.deepStrictEqual(
      names.filter((name) => !rows.some((row) => row.startsWith(`| \`${name}\``))),
      []
    )
  })
})

/** Answers every request for a message with one. */
const claude = Effect.gen(function* () {
  const server = createServer((request, response) => {
    const message = {
      id: "msg_1",
      type: "message",
      role: "assistant",
      model: "claude-haiku-4-5",
      content: [{ type: "text", text: "This is what Claude would say." }],
      stop_reason: "end_turn",
      stop_sequence: null,
      usage: { input_tokens: 10, output_tokens: 10 }
    }
    request.resume().on("end", () => {
      response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(message))
    })
  })
  yield* Effect.acquireRelease(
    Effect.promise(() => once(server.listen(0, "127.0.0.1"), "listening")),
    () => Effect.promise(() => once(server.close(), "close"))
  )
  const address = server.address()
  return `http://127.0.0.1:${typeof address === "object" ? address?.port : ""}`
})

/** What the programs of documents read from their environment: stand-ins for the vendors, and servers for the stores. */
const environmentOf = (code: string) =>
  Layer.unwrap(
    Effect.gen(function* () {
      const env: Record<string, string> = {
        OPENAI_API_KEY: "local",
        OPENAI_BASE_URL: (yield* LocalLlm.LocalLlm).url,
        ANTHROPIC_API_KEY: "local",
        ANTHROPIC_BASE_URL: yield* claude
      }
      if (needsRedis(code)) env["REDIS_URL"] = Context.get(yield* Layer.build(anyRedis), RedisServer).url
      if (needsPostgres(code)) env["DATABASE_URL"] = Context.get(yield* Layer.build(anyPostgres), PostgresServer).url
      return ConfigProvider.layer(ConfigProvider.fromEnv({ env }))
    })
  ).pipe(Layer.provideMerge(LocalLlm.layer()))

const needsRedis = (code: string) => code.includes("NodeRedis.")
const needsPostgres = (code: string) => code.includes("PgClient.")

/** The programs of documents write to nobody. */
const silent = Effect.provideService(Console.Console, new Proxy(console, { get: () => () => {} }))

type Results = Readonly<Record<string, unknown>>

/**
 * Builds the layers that a module declares, one upon the other, and runs its effects and streams on them. Where there are
 * none, the provider that was built answers a question.
 */
const run = ({ code, declared }: Module, exports: Results, scene?: Scene) =>
  Effect.gen(function* () {
    const environment = yield* Layer.build(environmentOf(code))
    yield* Effect.provide(scene?.before ?? Effect.void, environment)
    let context: Context.Context<never> = environment
    for (const name of declared) {
      const value = exports[name]
      if (Layer.isLayer(value)) {
        context = Context.merge(context, yield* Effect.provide(Layer.build(value), context))
      }
      const isFunction = typeof value === "function" && /^[a-z]/.test(name)
      if (isFunction) assert.isTrue(code.split(new RegExp(`\\b${name}\\b`)).length > 2, `${name} is never called`)
    }
    const programs = declared.filter((name) => /^[a-z]/.test(name) && isProgram(exports[name]))
    const results: Record<string, unknown> = {}
    for (const name of programs) results[name] = yield* Effect.provide(toEffect(exports[name]), context)
    if (programs.length === 0) results["answer"] = yield* Effect.provide(question, context)
    return results
  }).pipe(silent) as Effect.Effect<Results, unknown, Scope.Scope> // what is not in the context makes it die

const isProgram = (value: unknown) => Effect.isEffect(value) || Stream.isStream(value)

const toEffect = (value: unknown): Effect.Effect<unknown, unknown, unknown> =>
  Stream.isStream(value) ? Stream.runCollect(value) : Effect.isEffect(value) ? value : Effect.die("no program")

const question = LlmProvider.generateText("What is ballast?")

/** What is the matter when a module is run, and what must come of it. */
interface Scene {
  readonly before?: Effect.Effect<void, never, LocalLlm.LocalLlm>
  readonly then: (results: Results) => void
}

const behave = (behaviour: LocalLlm.Behaviour) => LocalLlm.LocalLlm.use((local) => local.behave(behaviour))

const apology = "I cannot answer right now. Please try again in a few minutes."

const scenes: Readonly<Record<string, Scene>> = {
  "docs/recipes.md: My bill exploded": {
    then: ({ bill }) => assert.include(JSON.stringify(bill), `"model":"gpt-5","user":"jane","charges":2`)
  },
  "docs/recipes.md: An agent does not stop": {
    then: ({ agent }) => assert.strictEqual(agent, "stopped by run.requests per 1d")
  },
  "docs/recipes.md: 429 storms": {
    before: LocalLlm.LocalLlm.use((local) => local.script(LocalLlm.rateLimited("1 second"))),
    then: ({ answer }) => assert.include(answer, "ballast")
  },
  "docs/recipes.md: The provider is down": {
    before: behave(LocalLlm.status(503)),
    then: ({ answer }) => assert.strictEqual(answer, "anthropic: This is what Claude would say.")
  },
  "docs/recipes.md: Something must be answered": {
    before: behave(LocalLlm.status(503)),
    then: ({ answer }) => assert.strictEqual(answer, `apology: ${apology}`)
  },
  "docs/recipes.md: A ladder of several models": {
    before: LocalLlm.LocalLlm.use((local) => local.script(LocalLlm.status(503))),
    then: ({ answer }) => assert.include(answer, { rung: "small", value: "Ballast is weight low in a ship." })
  },
  "docs/recipes.md: Answers must not leak personal data": {
    then: ({ answer, words }) => {
      assert.strictEqual(answer, "Jane writes from [REDACTED:email].")
      assert(Array.isArray(words))
      assert.strictEqual(words.join(""), answer)
    }
  },
  "docs/recipes.md: Documents give the model orders": {
    then: (results) =>
      assert.deepStrictEqual(results, {
        harmless: "We open at nine.",
        poisoned: "rejected by promptInjection",
        uploaded: true
      })
  },
  "docs/recipes.md: The same question is paid for twice": {
    then: ({ program }) => assert.deepStrictEqual(program, ["miss", "hit", "miss"])
  },
  "docs/recipes.md: The first word comes late": {
    before: behave(LocalLlm.withDelay(LocalLlm.normal, "1 minute")),
    then: ({ answer }) => assert.strictEqual(answer, "anthropic")
  },
  "docs/recipes.md: The answer is no JSON": {
    before: LocalLlm.LocalLlm.use((local) => local.script(LocalLlm.answer("It fails."))),
    then: ({ ticket }) => assert.property(ticket, "severity")
  },
  "docs/recipes.md: Try a limit out": { then: ({ answer }) => assert.isString(answer) },
  "docs/from-langchain.md: safe_generate": {
    before: behave(LocalLlm.status(503)),
    then: ({ answer }) => assert.strictEqual(answer, apology)
  },
  "docs/from-langchain.md: Validation": {
    then: ({ answer }) => assert.strictEqual(answer, "refused by promptInjection")
  },
  "docs/from-cockatiel.md: State and events": { then: ({ program }) => assert.strictEqual(program, "isolated") }
}

const played = (module: Module, exports: Results) => {
  const scene = scenes[module.name]
  return Effect.map(Effect.scoped(run(module, exports, scene)), (results) => {
    assert.isNotEmpty(results)
    scene?.then(results)
  })
}

describe("blocks run:", () => {
  const home = process.cwd()
  let folder = home
  beforeEach(() => process.chdir((folder = mkdtempSync(join(tmpdir(), "ballast-docs-"))))) // for the files that they make
  afterEach(() => {
    process.chdir(home)
    rmSync(folder, { recursive: true })
  })

  it("the scenes are those of modules", () => {
    const names = new Set(modules.map(({ name }) => name))
    assert.deepStrictEqual(
      Object.keys(scenes).filter((name) => !names.has(name)),
      []
    )
  })

  for (const module of modules) {
    const { code, name } = module
    const load = () => import(written.fileOf(module)) as Promise<Results> // any module is
    const on = needsRedis(code) ? describeRedis : describe
    const own = async () => {
      // tests, which are run by being declared
      if (code.includes("it.effect(")) await load()
      else it.live("runs", () => Effect.flatMap(Effect.promise(load), (exports) => played(module, exports)), 60_000)
    }
    on(name, () => (needsPostgres(code) ? void describePostgres("on Postgres", own) : own()))
  }
})
