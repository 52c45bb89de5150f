/**
 * Tells of every call from its receipt: metrics always, spans where there is a tracer, lines in the log where they are asked
 * for. Prompts, answers, tenants and keys are in none of them.
 *
 * An answer carries its receipt (`LlmResponse.receipt`), a failure too (`LlmError.receipt`), a stream has it in the metadata
 * of its finish part.
 */
import * as Cause from "effect/Cause"
import * as Channel from "effect/Channel"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as Stream from "effect/Stream"
import * as Tracer from "effect/Tracer"
import * as Attempts from "./Attempts.ts"
import type * as Guard from "./Guard.ts"
import { between, integer } from "./internal/options.ts"
import { Call, type Settings } from "./internal/telemetryCall.ts"
import { captured } from "./internal/telemetryContent.ts"
import * as jsonLogs from "./internal/telemetryJsonLogs.ts"
import { AllMeters } from "./internal/telemetryMeters.ts"
import { Series } from "./internal/telemetrySeries.ts"
import { told } from "./internal/telemetryStream.ts"
import * as LlmProvider from "./LlmProvider.ts"
import type { LlmRequest } from "./LlmRequest.ts"
import type { LlmPart, LlmResponse } from "./LlmResponse.ts"
import type { LlmError } from "./LlmError.ts"
import * as Receipt from "./Receipt.ts"

/** What is told of calls, and to whom. */
export interface Options {
  /**
   * A line when a call begins and one when it is over; `sample` is the share of the calls, from 0 to 1, that have them.
   * Default: where `layerJsonLogs` is.
   */
  readonly logs?: boolean | { readonly sample: number } | undefined
  /** Models that the metrics of a program tell apart, in all its stacks; all others are `other`. Default 50. */
  readonly maxModels?: number | undefined
  /** Told of every call when it is over. A second at most; its failures are ignored. */
  readonly onReceipt?: ((receipt: Receipt.Receipt) => Effect.Effect<void>) | undefined
  /**
   * Puts what is asked and answered into the spans of calls, behind these guards (those that scan: `Guard.sensitive()`).
   * Default: never.
   */
  readonly captureContent?: ReadonlyArray<Guard.Guard> | undefined
}

/** Whether calls write lines into the log where their options do not say so. */
export const Logs: Context.Reference<boolean> = Context.Reference<boolean>("ballast/Telemetry/Logs", {
  defaultValue: () => false
})

/** Provider in, provider out: the outermost of all but the deadline. Options that can never work throw `RangeError`. */
export const make = (options: Options = {}): ((inner: LlmProvider.Service) => LlmProvider.Service) => {
  const most = integer("Telemetry.make: maxModels", options.maxModels ?? 50, 1)
  const { captureContent, logs, onReceipt } = options
  const sample = typeof logs === "object" ? between("Telemetry.make: logs.sample", logs.sample, 0, 1) : 1
  const capture = captureContent && captured(captureContent)
  const loud: Settings = { logs: logs !== false, sample, onReceipt, capture }
  const quiet: Settings = { ...loud, logs: false }
  const metered = new Metered(most)
  return (inner) => {
    const begin = (fiber: Fiber.Fiber<unknown, unknown>, request: LlmRequest, open: Receipt.Open): Call =>
      new Call(logs === undefined && !fiber.getRef(Logs) ? quiet : loud, metered.of(fiber), inner, request, open, fiber)
    const generate = (request: LlmRequest): Effect.Effect<LlmResponse, LlmError> =>
      Effect.withFiber((fiber) => {
        const open = Attempts.receiptOf(fiber)
        if (open === undefined) return Effect.updateService(generate(request), Attempts.Current, opening(fiber))
        if (isTold(open)) return inner.generate(request)
        const call = begin(fiber, request, open)
        const asked = inner.generate(request)
        const traced = call.span === undefined ? asked : Effect.provideService(asked, Tracer.ParentSpan, call.span.call)
        // exits, and not effects, cost no step of the fiber
        const signed = Effect.matchCauseEffect(traced, {
          onSuccess: (response) => call.counted(Exit.succeed(call.answered(response))),
          onFailure: (cause) => call.counted(Exit.failCause(Cause.map(cause, (error) => call.failed(error))))
        })
        return call.isCountedOnly ? signed : Effect.onExitPrimitive(signed, (exit) => call.over(exit))
      })
    const stream = (request: LlmRequest): Stream.Stream<LlmPart, LlmError> =>
      Stream.fromChannel(
        Channel.fromTransform((_, scope) =>
          Effect.withFiber((fiber: Fiber.Fiber<unknown, unknown>) => {
            const open = Attempts.receiptOf(fiber)
            if (open !== undefined && isTold(open)) return Channel.toPullScoped(inner.stream(request).channel, scope)
            if (open !== undefined) return told(begin(fiber, request, open), inner.stream(request), scope)
            const ledger = opening(fiber)(fiber.getRef(Attempts.Current))
            const own = Stream.provideService(inner.stream(request), Attempts.Current, ledger)
            return told(begin(fiber, request, ledger.receipt), own, scope)
          })
        )
      )
    return { ...inner, generate, stream }
  }
}

/** For a call that nobody has opened a receipt for. */
const opening = (fiber: Fiber.Fiber<unknown, unknown>) => {
  const clock = fiber.getRef(Clock.Clock)
  const startedAt = clock.currentTimeMillisUnsafe()
  return (ledger: Attempts.Ledger | undefined) =>
    Attempts.withReceipt(ledger ?? Attempts.make(Attempts.defaultMax), new Receipt.Open(clock, startedAt))
}

/** Within a call that is told of. */
const isTold = ({ isHidden, listener }: Receipt.Open): boolean => isHidden || listener !== undefined

/** `make` over a layer. */
export const withTelemetry = (options?: Options) => LlmProvider.transform(make(options))

/** Logs as JSON, one object a line, and with it the lines of every call. See `telemetryJsonLogs.ts` for its fields. */
export const layerJsonLogs = (options?: jsonLogs.Options): Layer.Layer<never> =>
  Layer.merge(jsonLogs.layer(options), Layer.succeed(Logs, true))

export {
  /** `GET /metrics` on a port of its own, 9464 by default, for as long as the layer lives. */
  layer as layerPrometheus,
  PrometheusServer,
  /** The same as a route of the program's own `HttpRouter`. */
  route as routePrometheus
} from "./internal/telemetryPrometheus.ts"

/** Spans, metrics and logs by OTLP, as the standard `OTEL_*` variables say; needs `@effect/opentelemetry` and `sdk-node`. */
export { layer as layerNode } from "./internal/telemetryNode.ts"

/** The metrics of a registry. A program may have several, one for each test for one; mostly it is that of the call before. */
class Metered {
  private readonly most: number
  private readonly known = new WeakMap<object, AllMeters>()
  private last: { readonly registry: object; readonly meters: AllMeters } | undefined

  constructor(most: number) {
    this.most = most
  }

  of(fiber: Fiber.Fiber<unknown, unknown>): AllMeters {
    const registry = fiber.getRef(Metric.MetricRegistry)
    if (this.last?.registry === registry) return this.last.meters
    const meters = this.known.get(registry) ?? new AllMeters(this.most, new Series(registry))
    this.known.set(registry, meters)
    this.last = { registry, meters }
    return meters
  }
}
