/**
 * Spans by the GenAI semantic conventions of OpenTelemetry (1.38): a CLIENT span `chat {model}` for each attempt with what it
 * used, within an INTERNAL one for the call without, so that no token is counted twice.
 */
import type * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Tracer from "effect/Tracer"
import type { Service } from "../LlmProvider.ts"
import type { LlmRequest } from "../LlmRequest.ts"
import type { Attempt, Details, Receipt } from "../Receipt.ts"

export interface Spans {
  readonly call: Tracer.Span
  readonly began: (provider: Service, request: LlmRequest) => Tracer.Span
  readonly ended: (attempt: Attempt, details: Details | undefined) => void
  /** The call is over. `content` is what was asked and answered, where it is to be told. */
  readonly over: (receipt: Receipt, exit: Exit.Exit<unknown, unknown>, content: Content | undefined) => void
}

export interface Content {
  readonly input: unknown
  readonly output: unknown
}

/** `undefined` where nobody would see them. */
export const begin = (
  fiber: Fiber.Fiber<unknown, unknown>,
  clock: Clock.Clock,
  provider: Service
): Spans | undefined => {
  const { tracer, tracerEnabled } = fiber.cache
  if (tracer === undefined || tracer === Tracer.nativeTracer || !tracerEnabled) return undefined
  const outer = Context.getOption(fiber.context, Tracer.ParentSpan)
  const make = (name: string, kind: Tracer.SpanKind, parent: Option.Option<Tracer.AnySpan>) =>
    tracer.span({
      name,
      parent,
      annotations: Context.empty(),
      links: [],
      startTime: clock.currentTimeNanosUnsafe(),
      kind,
      root: false,
      sampled: Option.isNone(parent) || parent.value.sampled
    })
  const call = make(`call ${provider.model}`, "internal", outer)
  return {
    call,
    began: (provider, request) => {
      const span = make(`chat ${provider.model}`, "client", Option.some(call))
      describe(span, provider, request)
      return span
    },
    ended: (attempt, details) => {
      if (details === undefined) refused(call, attempt)
      else finished(details.span, attempt, details, clock)
    },
    over: (receipt, exit, content) => over(call, receipt, exit, content, clock)
  }
}

type Attributes = Readonly<Record<string, unknown>>

const put = (span: Tracer.Span, attributes: Attributes): void => {
  for (const [key, value] of Object.entries(attributes)) if (value !== undefined) span.attribute(key, value)
}

const describe = (span: Tracer.Span, { endpoint, model, provider }: Service, request: LlmRequest): void =>
  put(span, {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": provider,
    "gen_ai.request.model": model,
    "gen_ai.request.max_tokens": request.maxOutputTokens,
    "gen_ai.request.temperature": request.temperature,
    "gen_ai.request.top_p": request.topP,
    "gen_ai.request.seed": request.seed,
    "gen_ai.request.stop_sequences": request.stop,
    "gen_ai.output.type": request.responseFormat?.type,
    ...addressOf(endpoint)
  })

/** Where the endpoint's name holds a URL. */
const addressOf = (endpoint: string): Attributes => {
  const found = /https?:\/\/[^\s|]+/.exec(endpoint)?.[0]
  if (found === undefined || !URL.canParse(found)) return {}
  const { hostname, port, protocol } = new URL(found)
  return { "server.address": hostname, "server.port": port === "" ? (protocol === "https:" ? 443 : 80) : Number(port) }
}

const millisToNanos = (millis: number): bigint => BigInt(Math.round(millis)) * 1_000_000n

const finished = (
  span: Tracer.Span,
  attempt: Attempt,
  { error, finish, metadata, usage }: Details,
  clock: Clock.Clock
): void => {
  const { cost, firstPart, lostRace, outcome, reason, waited } = attempt
  put(span, {
    "gen_ai.response.id": metadata?.id,
    "gen_ai.response.model": metadata?.modelId,
    "gen_ai.response.finish_reasons": finish === undefined ? undefined : [finish.reason],
    "gen_ai.usage.input_tokens": usage?.inputTokens.total ?? attempt.inputTokens,
    "gen_ai.usage.output_tokens": usage?.outputTokens.total ?? attempt.outputTokens,
    "gen_ai.usage.cache_read.input_tokens": usage?.inputTokens.cacheRead,
    "gen_ai.usage.cache_creation.input_tokens": usage?.inputTokens.cacheWrite,
    "ballast.outcome": outcome,
    "ballast.waited_ms": waited,
    "ballast.time_to_first_part_ms": firstPart,
    "ballast.cost_usd": cost === undefined ? undefined : cost / 1e9,
    "ballast.lost_race": lostRace ? true : undefined,
    "error.type": outcome === "success" ? undefined : (reason ?? outcome)
  })
  span.end(clock.currentTimeNanosUnsafe(), error === undefined ? Exit.void : Exit.fail(error))
}

/** Nobody was asked: it is a moment of the call. */
const refused = (call: Tracer.Span, { model, provider, reason, startedAt, waited }: Attempt): void =>
  call.event("ballast.refused", millisToNanos(startedAt + waited), { provider, model, reason })

const over = (
  call: Tracer.Span,
  receipt: Receipt,
  exit: Exit.Exit<unknown, unknown>,
  content: Content | undefined,
  clock: Clock.Clock
): void => {
  const { attempts, cache, findings, firstPart, model, provider, semanticCache, source } = receipt
  const cost = attempts.reduce<number | undefined>(
    (sum, one) => (one.cost === undefined ? sum : (sum ?? 0) + one.cost),
    undefined
  )
  put(call, {
    "ballast.source": source,
    "ballast.provider": provider,
    "ballast.model": model,
    "ballast.attempts": attempts.length,
    "ballast.cache": cache,
    "ballast.semantic_cache": semanticCache,
    "ballast.time_to_first_part_ms": firstPart,
    "ballast.cost_usd": cost === undefined ? undefined : cost / 1e9,
    "error.type": errorType(exit),
    "gen_ai.input.messages": content === undefined ? undefined : JSON.stringify(content.input),
    "gen_ai.output.messages": content === undefined ? undefined : JSON.stringify(content.output)
  })
  const now = clock.currentTimeNanosUnsafe()
  for (const { action, guard, kind, mode, side } of findings)
    call.event("ballast.guard", now, { guard, side, action, mode, ...(kind === undefined ? {} : { kind }) })
  call.end(now, exit)
}

const errorType = (exit: Exit.Exit<unknown, unknown>): string | undefined => {
  if (Exit.isSuccess(exit)) return undefined
  const failure = exit.cause.reasons.find((reason) => reason._tag === "Fail")?.error
  if (typeof failure !== "object" || failure === null) return Exit.hasInterrupts(exit) ? "interrupted" : "defect"
  const reason = "reason" in failure ? failure.reason : undefined
  return typeof reason === "object" && reason !== null && "_tag" in reason ? String(reason._tag) : "_OTHER"
}
