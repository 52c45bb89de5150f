/** An instance of a JSON Schema, filled from a text where it can be; a schema without a small instance gets the nearest. */
import * as scalars from "./localScalars.ts"
import { numeric } from "./localScalars.ts"
import type { Finder } from "./localValues.ts"

export type Json = null | boolean | number | string | ReadonlyArray<Json> | { readonly [key: string]: Json }
type Node = Readonly<Record<string, unknown>>

type Made = scalars.Made<Json>

interface State {
  readonly root: Node
  readonly finder: Finder
  /** Values that may still be made: schemas can describe trees of any size. */
  left: number
}

/** How deep one is, and the references on the way: one that comes again is closed as soon as the schema allows. */
interface Path {
  readonly field: string
  /** Whether a value will do that nothing in the text ties to the field: not where the field may be left out. */
  readonly loose: boolean
  readonly depth: number
  readonly refs: ReadonlyArray<string>
}

const maxValues = 10_000
const maxDepth = 64

export const instance = (schema: Node, finder: Finder): Json =>
  make(schema, { root: schema, finder, left: maxValues }, { field: "", loose: true, depth: 0, refs: [] }).value

const nothing: Made = { value: null, found: false }

const make = (schema: unknown, state: State, path: Path): Made => {
  if (!isNode(schema)) return nothing
  state.left--
  if (state.left < 0 || path.depth > maxDepth) return nothing
  const node = flat(schema, state)
  const { $ref, ...siblings } = node
  if (typeof $ref === "string") {
    const refs = [...path.refs, $ref]
    return make({ ...resolve($ref, state.root), ...siblings }, state, { ...path, refs, depth: path.depth + 1 })
  }
  if ("const" in node) return made(node["const"])
  if (Array.isArray(node["enum"])) return choice(node["enum"], state)
  const branches = node["anyOf"] ?? node["oneOf"]
  if (Array.isArray(branches)) return union(node, branches, state, path)
  switch (typeOf(node, path)) {
    case "object":
      return object(node, state, path)
    case "array":
      return array(node, state, path)
    case "string":
      return scalars.text(node, state.finder, path)
    case "number":
      return scalars.number(node, state.finder, path, false)
    case "integer":
      return scalars.number(node, state.finder, path, true)
    case "boolean":
      return { value: state.finder.boolean(path.field), found: false }
    default:
      return nothing
  }
}

const isNode = (u: unknown): u is Node => typeof u === "object" && u !== null && !Array.isArray(u)
const isJson = (u: unknown): u is Json => u !== undefined // everything here was parsed from JSON
const made = (value: unknown, found = false): Made => ({ value: isJson(value) ? value : null, found })
const isRepeated = (path: Path): boolean => new Set(path.refs).size < path.refs.length

/** `allOf` put into the schema that holds it; each part counts as a value, so that a circle of them ends. */
const flat = (schema: Node, state: State, depth = 0): Node => {
  const { allOf, ...rest } = schema
  if (!Array.isArray(allOf)) return schema
  const parts: ReadonlyArray<unknown> = allOf
  return parts.reduce<Node>((whole, part) => {
    state.left--
    if (!isNode(part) || state.left < 0 || depth > maxDepth) return whole
    const { $ref, ...siblings } = part
    const inner = typeof $ref === "string" ? { ...resolve($ref, state.root), ...siblings } : part
    return merge(whole, flat(inner, state, depth + 1))
  }, rest)
}

const merge = (a: Node, b: Node): Node => {
  const merged: Record<string, unknown> = { ...a, ...b }
  for (const key of ["properties", "$defs"]) {
    if (isNode(a[key]) && isNode(b[key])) merged[key] = { ...a[key], ...b[key] }
  }
  if (Array.isArray(a["required"]) && Array.isArray(b["required"]))
    merged["required"] = [...a["required"], ...b["required"]]
  for (const key of ["minimum", "exclusiveMinimum", "minLength", "minItems"]) tighten(merged, key, a, b, Math.max)
  for (const key of ["maximum", "exclusiveMaximum", "maxLength", "maxItems"]) tighten(merged, key, a, b, Math.min)
  return merged
}

const tighten = (into: Record<string, unknown>, key: string, a: Node, b: Node, f: (x: number, y: number) => number) => {
  const x = numeric(a[key])
  const y = numeric(b[key])
  if (x !== undefined && y !== undefined) into[key] = f(x, y)
}

/** A local reference, a JSON pointer behind `#`. */
const resolve = (ref: string, root: Node): Node => {
  const keys = ref
    .replace(/^#\/?/, "")
    .split("/")
    .filter((key) => key !== "")
  const target = keys.reduce<unknown>((node, key) => {
    const name = decodeURIComponent(key).replaceAll("~1", "/").replaceAll("~0", "~")
    return isNode(node) || Array.isArray(node) ? (node as Node)[name] : undefined // an array's keys are its indices
  }, root)
  return isNode(target) ? target : {}
}

const choice = (options: ReadonlyArray<unknown>, state: State): Made => {
  const found = state.finder.option(options)
  return found === undefined ? made(options.find((option) => option !== null) ?? null) : made(found, true)
}

/** The first branch that is something, `null` where the text has nothing for it; null first where a reference repeats. */
const union = (node: Node, branches: ReadonlyArray<unknown>, state: State, path: Path): Made => {
  const { anyOf: _, oneOf: __, ...rest } = node
  const nullBranch = branches.some((branch) => isNull(branch))
  if (nullBranch && isRepeated(path)) return nothing
  const others = branches.filter((branch) => !isNull(branch))
  const closed = isRepeated(path) ? others.find((branch) => !JSON.stringify(branch).includes('"$ref"')) : undefined
  const options = others.map(literals)
  if (options.every((some) => some.length > 0))
    return choice(nullBranch ? [...options.flat(), null] : options.flat(), state)
  const best = isNode(closed ?? others[0]) ? merge(rest, (closed ?? others[0]) as Node) : undefined // checked before
  if (best === undefined) return nothing
  const result = make(best, state, { ...path, loose: path.loose && !nullBranch, depth: path.depth + 1 })
  return nullBranch && !result.found ? nothing : result
}

const isNull = (branch: unknown): boolean => isNode(branch) && (branch["type"] === "null" || branch["const"] === null)

const literals = (branch: unknown): ReadonlyArray<unknown> => {
  if (!isNode(branch)) return []
  return "const" in branch ? [branch["const"]] : Array.isArray(branch["enum"]) ? branch["enum"] : []
}

const typeOf = (node: Node, path: Path): unknown => {
  const { type } = node
  if (Array.isArray(type)) {
    const types: ReadonlyArray<unknown> = type
    return isRepeated(path) && types.includes("null") ? "null" : types.find((one) => one !== "null")
  }
  if (type !== undefined) return node["nullable"] === true && isRepeated(path) ? "null" : type
  if ("properties" in node || "required" in node || "additionalProperties" in node) return "object"
  if ("items" in node || "prefixItems" in node) return "array"
  if ("pattern" in node || "minLength" in node || "maxLength" in node || "format" in node) return "string"
  return "minimum" in node || "maximum" in node || "multipleOf" in node ? "number" : "string"
}

/** Every required property; another only if the text has something for it, or where there would be too few. */
const object = (node: Node, state: State, path: Path): Made => {
  const required = new Set<unknown>(Array.isArray(node["required"]) ? node["required"] : [])
  const properties = isNode(node["properties"]) ? node["properties"] : {}
  const other = isNode(node["additionalProperties"]) ? node["additionalProperties"] : { type: "string" }
  const atLeast = Math.min(numeric(node["minProperties"]) ?? 0, maxValues)
  const value = new Map<string, Json>()
  let found = false
  const down = (field: string, loose: boolean): Path => ({ ...path, field, loose, depth: path.depth + 1 })
  for (const [key, schema] of Object.entries(properties)) {
    if (!required.has(key) && isRepeated(path)) continue
    const one = make(schema, state, down(key, path.loose && required.has(key)))
    if (required.has(key) || one.found) value.set(key, one.value)
    found ||= one.found
  }
  const missing = [...required].filter((key) => typeof key === "string" && !value.has(key))
  const spare = [...Object.keys(properties), ...Array.from({ length: atLeast }, (_, i) => `key${i + 1}`)]
  for (const [i, key] of [...missing, ...spare].entries()) {
    if (i >= missing.length && value.size >= atLeast) break
    if (typeof key !== "string" || value.has(key)) continue
    value.set(key, make(Object.hasOwn(properties, key) ? properties[key] : other, state, down(key, path.loose)).value)
  }
  return { value: Object.fromEntries(value), found }
}

/** As many items as must be, and more while the text has more. */
const array = (node: Node, state: State, path: Path): Made => {
  const atLeast = numeric(node["minItems"]) ?? 0
  const atMost = numeric(node["maxItems"]) ?? Math.max(20, atLeast)
  const down: Path = { ...path, depth: path.depth + 1 }
  const prefix: ReadonlyArray<unknown> = Array.isArray(node["prefixItems"]) ? node["prefixItems"] : []
  const items = prefix.slice(0, atMost).map((schema) => make(schema, state, down))
  const rest = node["items"] ?? { type: "string" }
  const enough = isRepeated(path) || !isNode(rest) ? atLeast : Math.max(atLeast, 1)
  const seen = new Set(items.map(({ value }) => JSON.stringify(value)))
  while (isNode(rest) && items.length < atMost && state.left > 0) {
    const one = make(rest, state, down)
    const isNew = !seen.has(JSON.stringify(one.value))
    if (items.length >= enough && !(one.found && isNew && !isRepeated(path))) break
    const value = isNew || node["uniqueItems"] !== true ? one.value : other(one.value, rest, seen)
    seen.add(JSON.stringify(value))
    items.push({ ...one, value })
  }
  return { value: items.map(({ value }) => value), found: items.some(({ found }) => found) }
}

/** A value near this one that was not used yet. */
const other = (value: Json, schema: Node, seen: ReadonlySet<string>): Json => {
  const step = numeric(schema["multipleOf"]) ?? 1
  const near = Array.from({ length: seen.size + 1 }, (_, i): Json => {
    if (typeof value === "number") return value + (i + 1) * step
    return typeof value === "string" ? `${value}${i + 2}` : typeof value === "boolean" ? !value : value
  })
  const options: ReadonlyArray<unknown> = Array.isArray(schema["enum"]) ? schema["enum"] : near
  return made(options.find((option) => !seen.has(JSON.stringify(option))) ?? value).value
}
