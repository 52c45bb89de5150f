/**
 * `npm run package`, behind `npm run build`: what the tarball holds, what a program that needs one module is bundled to, and a
 * project that installs it, with types and on each Node that is promised.
 */
import assert from "node:assert/strict"
import { execFileSync } from "node:child_process"
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { build } from "esbuild"

const root = join(import.meta.dirname, "..")
const project = mkdtempSync(join(tmpdir(), "ballast-consumer-"))
const run = (command: string, ...parameters: ReadonlyArray<string>): string =>
  execFileSync(command, parameters, { cwd: project, encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] })

interface Packed {
  readonly filename: string
  readonly unpackedSize: number
  readonly files: ReadonlyArray<{ readonly path: string }>
}

const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
  readonly devDependencies: Readonly<Record<string, string>>
}
const version = (name: string): string => `${name}@${manifest.devDependencies[name] ?? assert.fail(name)}`

/** Sources, what was built of them, and papers; nothing else. */
const contents = ({ files }: Packed): void => {
  const paths = files.map(({ path }) => path)
  const papers = new Set(["package.json", "README.md", "LICENSE", "CHANGELOG.md"])
  const others = paths.filter(
    (path) => !papers.has(path) && !/^(src\/.*\.(ts|lua)|dist\/.*\.(js|d\.ts|map))$/.test(path)
  )
  assert.deepEqual(others, [], "files that do not belong into the package")
  for (const path of papers) assert.ok(paths.includes(path), path)
  const has = new Set(paths)
  for (const path of paths.filter((one) => one.startsWith("src/") && one.endsWith(".ts"))) {
    const built = path.replace(/^src/, "dist").replace(/\.ts$/, "")
    for (const end of [".js", ".d.ts", ".js.map", ".d.ts.map"])
      assert.ok(has.has(built + end), `${built}${end} is missing`)
  }
}

/** Kilobytes of a minified program that uses one module, and what of us is in it. */
const bundled = async (module: string, program: string) => {
  const { metafile, outputFiles } = await build({
    stdin: { contents: program, resolveDir: project },
    bundle: true,
    minify: true,
    write: false,
    metafile: true,
    platform: "node",
    format: "esm"
  })
  const inputs = Object.entries(Object.values(metafile.outputs)[0]?.inputs ?? {}).filter(
    ([, of]) => of.bytesInOutput > 0
  )
  const ours = inputs.filter(([path]) => path.includes("effect-ballast/"))
  const strangers = inputs
    .map(([path]) => path)
    .filter((path) => /openai|anthropic|gpt-tokenizer|genai-prices/i.test(path))
  assert.deepEqual(strangers, [], `a program with only ${module} must not hold these`)
  const kilobytes = (bytes: number) => Math.round(bytes / 1000)
  return {
    all: kilobytes(outputFiles[0]?.contents.length ?? 0),
    ours: kilobytes(ours.reduce((sum, [, { bytesInOutput }]) => sum + bytesInOutput, 0))
  }
}

const breaker = `import { Effect, Layer } from "effect"
import { CircuitBreaker, CircuitBreakerStore } from "effect-ballast"
const guarded = CircuitBreaker.execute("payments")(Effect.succeed(1))
const layer = CircuitBreaker.layer({}).pipe(Layer.provide(CircuitBreakerStore.layerMemory))
Effect.runPromise(Effect.provide(guarded, layer)).then(console.log)`

/** The bound that the README names. */
const mostKilobytes = 60

const tsconfig = (module: string, moduleResolution: string) => ({
  compilerOptions: {
    target: "ES2023",
    lib: ["ES2023", "DOM"],
    module,
    moduleResolution,
    strict: true,
    exactOptionalPropertyTypes: true,
    skipLibCheck: false,
    types: ["node"],
    outDir: "out"
  },
  files: ["main.ts"]
})

try {
  const [packed] = JSON.parse(
    execFileSync("npm", ["pack", "--json", "--pack-destination", project], { cwd: root, encoding: "utf8" })
  ) as ReadonlyArray<Packed>
  assert.ok(packed)
  contents(packed)
  console.log(`${packed.filename}: ${packed.files.length} files, ${Math.round(packed.unpackedSize / 1000)} kB unpacked`)

  writeFileSync(join(project, "package.json"), JSON.stringify({ name: "consumer", private: true, type: "module" }))
  cpSync(join(import.meta.dirname, "consumer/main.ts"), join(project, "main.ts"))
  const nodes = ["node22@npm:node@22.23.3", `node24@npm:${version("node")}`]
  const others = [version("effect"), version("typescript"), version("@types/node")]
  run("npm", "install", "--loglevel=error", "--no-audit", "--no-fund", `./${packed.filename}`, ...others, ...nodes)

  const size = await bundled("CircuitBreaker", breaker)
  assert.ok(size.ours <= mostKilobytes, `CircuitBreaker alone takes ${size.ours} kB, more than ${mostKilobytes}`)
  console.log(`CircuitBreaker alone: ${size.ours} kB minified of ours, ${size.all} kB with what it needs of effect`)

  for (const [module, resolution] of [
    ["preserve", "bundler"],
    ["nodenext", "nodenext"]
  ] as const) {
    writeFileSync(join(project, "tsconfig.json"), JSON.stringify(tsconfig(module, resolution)))
    run("npx", "tsc", "-p", ".")
  }
  for (const node of ["node22", "node24"]) process.stdout.write(run(`node_modules/${node}/bin/node`, "out/main.js"))
} finally {
  rmSync(project, { recursive: true, force: true })
}
