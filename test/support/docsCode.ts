/**
 * The code of the documents as modules that can be compiled and run. The blocks under one heading of the second level are one
 * module, in their order; imports are put in front of it, since documents leave them out.
 */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import * as ballast from "effect-ballast"
import * as effect from "effect"
import * as Arr from "effect/Array"
import * as ai from "effect/ai"

export const root = fileURLToPath(new URL("../../", import.meta.url))

export const documents: ReadonlyArray<string> = [
  "README.md",
  ...readdirSync(join(root, "docs"))
    .filter((file) => file.endsWith(".md"))
    .map((file) => `docs/${file}`)
]

export interface Block {
  readonly document: string
  /** The heading of the second level above it, or that of the document. */
  readonly heading: string
  /** Of its first line of code, from 1. */
  readonly line: number
  readonly language: string
  /** What follows the language: the file that the block is the text of. */
  readonly file: string | undefined
  readonly code: string
}

const blocksOf = (document: string): ReadonlyArray<Block> => {
  const blocks: Array<Block> = []
  let heading = ""
  let open: { readonly info: string; readonly line: number } | undefined
  const lines = readFileSync(join(root, document), "utf8").split("\n")
  for (const [i, line] of lines.entries()) {
    const title = /^##? (.*)/.exec(line)?.[1]
    const fence = /^\s*```(.*)/.exec(line)?.[1]
    if (open === undefined && title !== undefined) heading = title
    if (fence === undefined) continue
    if (open === undefined) open = { info: fence, line: i + 2 }
    else {
      const [language = "", file] = open.info.split(" ")
      const code = lines.slice(open.line - 1, i).join("\n")
      blocks.push({ document, heading, line: open.line, language, file, code })
      open = undefined
    }
  }
  if (open !== undefined) throw new Error(`${document}: the block at line ${open.line} has no end`)
  return blocks
}

/** Every block of every document. */
export const blocks: ReadonlyArray<Block> = documents.flatMap(blocksOf)

export interface Module {
  /** `docs/cache.md: Any effect`. */
  readonly name: string
  readonly code: string
  /** What it declares at its top, in its order. */
  readonly declared: ReadonlyArray<string>
  /** Its lines are those of the document. */
  readonly text: string
}

/** `given`: by the name of a module, what its document takes for granted. */
export const modulesOf = (given: Readonly<Record<string, string>>): ReadonlyArray<Module> => {
  const own = blocks.filter(({ file, language }) => language === "ts" && file === undefined)
  const groups = Object.entries(Arr.groupBy(own, ({ document, heading }) => `${document}: ${heading}`))
  const unused = Object.keys(given).find((name) => !groups.some(([group]) => group === name))
  if (unused !== undefined) throw new Error(`no document has code under "${unused}"`)
  return groups.map(([name, group]) => {
    const code = group.map((block) => block.code).join("\n")
    const declared = [...code.matchAll(/^(?:const|class|function) (\w+)/gm)].map((match) => match[1] ?? "")
    const prelude = given[name] ?? ""
    const lines = [`${importsOf(`${prelude}\n${code}`)} ${prelude}`]
    for (const block of group) block.code.split("\n").forEach((line, i) => (lines[block.line - 1 + i] = line))
    const placed = Array.from(lines, (line) => line ?? "")
      .join("\n")
      .replace("layerPrometheus()", anyPort)
    return { name, code, declared, text: `${placed}\nexport { ${declared.join(", ")} }\n` }
  })
}

/** The default port may be in use where the tests run. */
const anyPort = "layerPrometheus({ port: 0 })"

const nodeOnly = readdirSync(join(root, "src"))
  .map((file) => file.replace(/\.ts$/, ""))
  .filter((name) => /^[A-Z]\w+$/.test(name) && !(name in ballast))

/** Where documents have their names from; the first that has one, has it. */
const sources: ReadonlyArray<readonly [from: string, names: ReadonlyArray<string>]> = [
  ["effect-ballast", Object.keys(ballast)],
  ...nodeOnly.map((name) => [`effect-ballast/${name}`, [name]] as const),
  ["effect-ballast/testing", ["TestProvider"]],
  ["effect/testing", ["TestClock"]],
  ["@effect/vitest", ["assert", "it"]],
  ["@effect/platform-node/NodeRedis", ["NodeRedis"]],
  ["@effect/sql-pg", ["PgClient"]],
  ["effect/ai", Object.keys(ai)],
  ["effect", Object.keys(effect)]
]

/** In one line, so that errors are at the lines of the document. */
const importsOf = (code: string): string => {
  const bare = code.replaceAll(/\/\/.*|\/\*[^]*?\*\/|"[^"\n]*"/g, "")
  const wanted = new Set([...bare.matchAll(/(?<![\w.])([A-Za-z]\w*)\./g)].map((match) => match[1] ?? ""))
  const imports = sources.flatMap(([from, names]) => {
    const found = names.filter((name) => wanted.delete(name))
    if (found.length === 0) return []
    const isModule = from.endsWith(`/${found[0]}`)
    return [`import ${isModule ? `* as ${found[0]}` : `{ ${found.join(", ")} }`} from "${from}"`]
  })
  return `${imports.join("; ")};`
}

/** The modules as files of a folder inside of the repository, which git ignores; with a tsconfig of their own. */
export const write = (modules: ReadonlyArray<Module>) => {
  mkdirSync(join(root, ".data"), { recursive: true })
  const folder = mkdtempSync(join(root, ".data/docs-"))
  writeFileSync(join(folder, "tsconfig.json"), JSON.stringify({ extends: "../../tsconfig.json", include: ["*.ts"] }))
  const fileOf = ({ name }: Module) => join(folder, `${name.replaceAll(/\W+/g, "-")}.ts`)
  for (const module of modules) writeFileSync(fileOf(module), module.text)
  return { folder, fileOf, remove: () => rmSync(folder, { recursive: true, force: true }) }
}
