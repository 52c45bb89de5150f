/** What was measured where: the machine, and the versions that are installed. */
import { spawnSync } from "node:child_process"
import { readFileSync } from "node:fs"
import { cpus, release, totalmem, type } from "node:os"

const root = new URL("../", import.meta.url)

const manifest = (path: string) =>
  JSON.parse(readFileSync(new URL(path, root), "utf8")) as {
    readonly version: string
    readonly dependencies?: Readonly<Record<string, string>>
  } // npm writes it so

const versionIn = (folder: string) => (name: string) => ({
  name,
  version: manifest(`${folder}node_modules/${name}/package.json`).version
})

export interface Version {
  readonly name: string
  readonly version: string
}

/** Of Effect, and of every peer. */
export const versions = (): ReadonlyArray<Version> => [
  ...["effect", "@effect/platform-node"].map(versionIn("")),
  ...Object.keys(manifest("bench/package.json").dependencies ?? {}).map(versionIn("bench/"))
]

const redisVersion = (): string =>
  /v=(\S+)/.exec(spawnSync("redis-server", ["--version"], { encoding: "utf8" }).stdout ?? "")?.[1] ?? "none"

/** By name, in the order they are shown. */
export const machine = (): ReadonlyArray<Version> => [
  { name: "date", version: new Date().toISOString().slice(0, 10) },
  { name: "effect-ballast", version: manifest("package.json").version },
  { name: "processor", version: `${cpus().length} x ${cpus()[0]?.model.trim() ?? "unknown"}` },
  { name: "memory", version: `${(totalmem() / 2 ** 30).toFixed(0)} GB` },
  { name: "kernel", version: `${type()} ${release()}` },
  { name: "Node", version: process.versions.node },
  { name: "V8", version: process.versions.v8 },
  { name: "redis-server", version: redisVersion() }
]
