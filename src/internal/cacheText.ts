/**
 * Entries of a cache as texts: `b1 j <createdAt> <expiresAt> <JSON>`, or with `z` and gzip in base64 where that is shorter.
 * What is read is measured before it is unpacked and before it is parsed.
 */
import { Buffer } from "node:buffer"
import { promisify } from "node:util"
import { gunzip, gzip } from "node:zlib"
import * as Effect from "effect/Effect"
import type { Entry, NewEntry } from "../CacheStore.ts"

/** What every text of this version begins with. */
export const mark = "b1 "

/** A text that does not begin with the mark: another version's, to be left alone, or nobody's. */
export const isNewer = (text: string): boolean => Number(/^b(\d{1,9}) /.exec(text)?.[1]) > 1

/** How many bytes of a text tell that. */
export const headBytes = 16

/** What a text has at most beside the JSON. */
const maxHead = 64

/** Shorter ones are not worth the work. */
const minCompressed = 1024

export interface Limits {
  /** Most bytes of the JSON. */
  readonly maxEntryBytes: number
  readonly compress: boolean
}

/** Most bytes of a text that may be read. */
export const maxTextBytes = ({ maxEntryBytes }: Limits): number => maxEntryBytes + maxHead

const zip = promisify(gzip)
const unzip = promisify(gunzip)

/** What is behind the mark, and when it ends. */
export interface Text {
  readonly text: string
  readonly expiresAt: number
}

/** `undefined` for what cannot be kept. */
export const textOf = (entry: NewEntry, now: number, limits: Limits): Effect.Effect<Text | undefined> => {
  const createdAt = instant(entry.createdAt)
  const expiresAt = instant(entry.expiresAt)
  const json = expiresAt > now && !((entry.bytes ?? 0) > limits.maxEntryBytes) ? jsonOf(entry.value) : undefined
  if (json === undefined || Number.isNaN(createdAt)) return Effect.undefined
  const bytes = Buffer.byteLength(json)
  if (bytes > limits.maxEntryBytes) return Effect.undefined
  const times = `${createdAt} ${expiresAt}`
  const plain = { text: `j ${times} ${json}`, expiresAt }
  if (!limits.compress || bytes < minCompressed) return Effect.succeed(plain)
  const zipped = Effect.map(
    Effect.tryPromise(() => zip(json)),
    (zipped) => (shortened(zipped, bytes) ? { text: `z ${times} ${zipped.toString("base64")}`, expiresAt } : plain)
  )
  return Effect.orElseSucceed(zipped, () => plain)
}

const shortened = (zipped: Buffer, bytes: number): boolean => (zipped.length * 4) / 3 + 4 < bytes

/** Whole and safe, so that every database takes it. */
const instant = (at: number): number =>
  Math.floor(Math.min(Number.MAX_SAFE_INTEGER, Math.max(Number.MIN_SAFE_INTEGER, at)))

const jsonOf = (value: unknown): string | undefined => {
  try {
    return JSON.stringify(value)
  } catch {
    return undefined // it contains itself, a bigint, or too much
  }
}

/** What is behind the mark; `undefined` where it cannot be read. */
export const entryOf = (text: string, limits: Limits): Effect.Effect<Entry | undefined> => {
  const head = text.length > maxTextBytes(limits) ? null : /^([jz]) (-?\d{1,16}) (-?\d{1,16}) /.exec(text)
  if (head === null) return Effect.undefined
  const body = text.slice(head[0].length)
  const entry = (json: string) => parsed(json, Number(head[2]), Number(head[3]))
  if (head[1] === "j") return Effect.sync(() => entry(body))
  const unzipped = Effect.tryPromise(() =>
    unzip(Buffer.from(body, "base64"), { maxOutputLength: limits.maxEntryBytes })
  )
  return Effect.orElseSucceed(
    Effect.map(unzipped, (json) => entry(json.toString())),
    () => undefined
  )
}

const parsed = (json: string, createdAt: number, expiresAt: number): Entry | undefined => {
  try {
    return { value: JSON.parse(json), createdAt, expiresAt }
  } catch {
    return undefined
  }
}
