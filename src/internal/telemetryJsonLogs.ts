/** One JSON object a line for each log: facts in fields, with the ids of the trace it belongs to. */
import { Buffer } from "node:buffer"
import * as Arr from "effect/Array"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Inspectable from "effect/Inspectable"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as References from "effect/References"
import * as Tracer from "effect/Tracer"
import * as AiError from "effect/ai/AiError"
import { carriedBy, isLlmError, StoreUnavailable } from "../LlmError.ts"

export interface Options {
  /** Default `"stdout"`. */
  readonly stream?: "stdout" | "stderr" | undefined
}

/**
 * Replaces the default logger; others stay. A plain object that is logged becomes fields of the line, beside the annotations;
 * errors and causes are described in `errors` by class and `_tag`, never by a stack, and with a message only where it cannot
 * hold content (`LlmError`, `StoreUnavailable`). A line has at most 16 KiB: what was cut says `"truncated": true`.
 */
export const layer = (options: Options = {}): Layer.Layer<never> => {
  const lines = Logger.make(lineOf)
  const logger = options.stream === "stderr" ? Logger.withConsoleError(lines) : Logger.withConsoleLog(lines)
  return Layer.effect(
    Logger.CurrentLoggers,
    Effect.map(
      Logger.CurrentLoggers,
      (loggers) => new Set([...[...loggers].filter((one) => one !== Logger.defaultLogger), logger])
    )
  )
}

const maxBytes = 16 * 1024
/** For the fields of every line, and for what the last value may be longer than its room. */
const reservedBytes = 512
const maxDepth = 8
const maxIdLength = 64

/** What the logger says itself, which no field of a program stands above. */
const own = new Set(["timestamp", "level", "trace_id", "span_id", "truncated"])

/** What is left of the line, and whether something had to be left out. */
interface Room {
  bytes: number
  short: boolean
}

const roomy = (): Room => ({ bytes: maxBytes - reservedBytes, short: false })

const lineOf = (options: Logger.Options<unknown>): string => {
  const room = roomy()
  const start = `"timestamp":"${options.date.toISOString()}","level":"${options.logLevel.toUpperCase()}"`
  const body = bodyOf(options, room)
  return `{${[start, ...body, ...(room.short ? ['"truncated":true'] : []), ...idsOf(options)].join(",")}}`
}

/** A logger that fails would end the program: what cannot be read is said to be so. */
const bodyOf = (options: Logger.Options<unknown>, room: Room): ReadonlyArray<string> => {
  try {
    return members(fieldsOf(options), room, [])
  } catch {
    return ['"message":"[unreadable]"']
  }
}

const idsOf = ({ fiber }: Logger.Options<unknown>): ReadonlyArray<string> => {
  const span = Context.getOrUndefined(fiber.context, Tracer.ParentSpan)
  if (span === undefined || span.traceId === "noop") return []
  const id = (value: string) => JSON.stringify(value.slice(0, maxIdLength))
  return [`"trace_id":${id(span.traceId)}`, `"span_id":${id(span.spanId)}`]
}

/** What is said itself stands above annotations of the same name. */
const fieldsOf = ({ cause, date, fiber, message }: Logger.Options<unknown>): ReadonlyMap<string, unknown> => {
  const parts = Arr.ensure(message)
  const texts = parts.filter((part) => !isFields(part) && !isFailure(part))
  const fields = new Map<string, unknown>(texts.length === 0 ? [] : [["message", texts.map(asText).join(" ")]])
  const add = (values: object) => {
    for (const [name, value] of Object.entries(values)) {
      if (!own.has(name) && !fields.has(name)) fields.set(name, value)
    }
  }
  parts.filter(isFields).forEach(add)
  const errors = [...parts.filter(isFailure).flatMap(failures), ...failures(cause)]
  if (errors.length > 0) fields.set("errors", errors)
  add(fiber.getRef(References.CurrentLogAnnotations))
  const spans = fiber.getRef(References.CurrentLogSpans)
  const passed = spans.map(([label, since]) => [label, date.getTime() - since] as const)
  if (passed.length > 0) add({ spans: Object.fromEntries(passed) })
  return fields
}

const isFields = (value: unknown): value is Record<string, unknown> => {
  if (!Predicate.isObject(value)) return false
  const prototype: unknown = Object.getPrototypeOf(value)
  return (prototype === Object.prototype || prototype === null) && typeof value["toJSON"] !== "function"
}

const isFailure = (value: unknown): value is Error | Cause.Cause<unknown> =>
  value instanceof Error || Cause.isCause(value)

const asText = (value: unknown): string =>
  typeof value === "string" ? value : (json(value, roomy(), []) ?? String(value))

const failures = (value: Error | Cause.Cause<unknown>): ReadonlyArray<object> => {
  if (!Cause.isCause(value)) return [described(value)]
  return value.reasons.map((reason) => {
    switch (reason._tag) {
      case "Fail":
        return { kind: "Fail", ...described(reason.error) }
      case "Die":
        return { kind: "Die", ...described(reason.defect) }
      default:
        return { kind: "Interrupt" }
    }
  })
}

const described = (value: unknown): object => {
  const error = AiError.isAiError(value) ? Option.getOrElse(carriedBy(value), () => value) : value
  return {
    class: Predicate.isObject(error) ? error.constructor?.name : typeof error,
    _tag: tagOf(error),
    reason: Predicate.hasProperty(error, "reason") ? tagOf(error.reason) : undefined,
    message: isLlmError(error) || error instanceof StoreUnavailable ? error.message : undefined
  }
}

const tagOf = (value: unknown): string | undefined =>
  Predicate.hasProperty(value, "_tag") && typeof value._tag === "string" ? value._tag : undefined

/** The value as JSON that fits into the room; nothing for what JSON has no word for. */
const json = (value: unknown, room: Room, above: ReadonlyArray<object>): string | undefined => {
  switch (typeof value) {
    case "string":
      return text(value, room)
    case "number":
      return Number.isFinite(value) ? raw(String(value), room) : text(String(value), room)
    case "boolean":
      return raw(String(value), room)
    case "bigint":
      return text(String(value), room)
    case "object":
      return value === null ? raw("null", room) : objectJson(value, room, above)
    default:
      return undefined
  }
}

const objectJson = (value: object, room: Room, above: ReadonlyArray<object>): string | undefined => {
  if (above.includes(value)) return text("[circular]", room)
  if (above.length >= maxDepth) return text("[too deep]", room)
  const path = [...above, value]
  if (isFailure(value)) return json(failures(value), room, path)
  if (value instanceof Date) return text(Number.isNaN(value.getTime()) ? "[invalid date]" : value.toISOString(), room)
  const plain = Inspectable.toJson(value)
  if (plain !== value && !Array.isArray(value)) return json(plain, room, path)
  room.bytes -= 2
  return Array.isArray(value) ? `[${items(value, room, path).join(",")}]` : `{${safe(value, room, path).join(",")}}`
}

const items = (values: ReadonlyArray<unknown>, room: Room, path: ReadonlyArray<object>): ReadonlyArray<string> => {
  const written: Array<string> = []
  for (const value of values) {
    if (isFull(room)) break
    room.bytes -= 1
    written.push(json(value, room, path) ?? raw("null", room))
  }
  return written
}

/** A getter may throw. */
const safe = (value: object, room: Room, path: ReadonlyArray<object>): ReadonlyArray<string> => {
  try {
    return members(Object.entries(value), room, path)
  } catch {
    return ['"unreadable":true']
  }
}

const members = (
  fields: Iterable<readonly [string, unknown]>,
  room: Room,
  path: ReadonlyArray<object>
): ReadonlyArray<string> => {
  const written: Array<string> = []
  for (const [name, value] of fields) {
    if (typeof value === "undefined" || typeof value === "function" || typeof value === "symbol") continue
    if (isFull(room)) break
    room.bytes -= 2
    const key = text(name, room)
    const content = json(value, room, path)
    if (content !== undefined) written.push(`${key}:${content}`)
  }
  return written
}

const isFull = (room: Room): boolean => {
  if (room.bytes <= 0) room.short = true
  return room.bytes <= 0
}

const raw = (written: string, room: Room): string => {
  room.bytes -= written.length
  return written
}

const text = (value: string, room: Room): string => {
  const limit = Math.max(room.bytes, 0)
  let kept = value.slice(0, limit)
  let written = quoted(kept)
  let bytes = Buffer.byteLength(written)
  while (bytes > limit && kept !== "") {
    kept = kept.slice(0, Math.floor((kept.length * limit) / bytes))
    written = quoted(kept)
    bytes = Buffer.byteLength(written)
  }
  if (kept.length < value.length) room.short = true
  room.bytes -= bytes
  return written
}

/** Half a character, which strict readers refuse, is written as U+FFFD. */
const quoted = (value: string): string => JSON.stringify(value.replace(/\p{Surrogate}/gu, "\u{fffd}"))
