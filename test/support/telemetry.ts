/** What tests of telemetry look at: metrics of their own registry, spans and lines as they come. */
import { Context, Effect, type Exit, Layer, Logger, Metric, Tracer } from "effect"
import type * as Receipt from "effect-ballast/Receipt"

/** A span as it was drawn. */
interface Drawn {
  readonly name: string
  readonly kind: Tracer.SpanKind
  readonly parent: string | undefined
  readonly sampled: boolean
  readonly traceId: string
  readonly spanId: string
  readonly attributes: Record<string, unknown>
  readonly events: Array<{ readonly name: string; readonly attributes: Record<string, unknown> | undefined }>
  exit: Exit.Exit<unknown, unknown> | undefined
}

export interface Watched {
  readonly receipts: Array<Receipt.Receipt>
  readonly onReceipt: (receipt: Receipt.Receipt) => Effect.Effect<void>
  readonly spans: Array<Drawn>
  readonly lines: Array<Record<string, unknown>>
  /** A number of a metric with these labels; `undefined` where there is none. */
  readonly metric: (id: string, labels?: Record<string, string>) => number | undefined
  /** How many series there are of a metric. */
  readonly series: (id: string) => number
  /** Metrics with the labels they have, `unit` apart. */
  readonly labels: () => ReadonlyArray<readonly [id: string, labels: ReadonlyArray<string>]>
  readonly everything: () => string
  readonly layer: Layer.Layer<never>
}

export const watching = (options: { readonly traces?: boolean } = {}): Watched => {
  const registry = new Map<never, never>() as unknown as Context.Service.Shape<typeof Metric.MetricRegistry> // empty
  const context = Context.make(Metric.MetricRegistry, registry)
  const receipts: Array<Receipt.Receipt> = []
  const spans: Array<Drawn> = []
  const lines: Array<Record<string, unknown>> = []
  const tracer = Tracer.make({
    span: (options) => {
      const span = new Tracer.NativeSpan(options)
      const parent =
        options.parent._tag === "Some" && options.parent.value._tag === "Span" ? options.parent.value.name : undefined
      const drawn: Drawn = {
        name: options.name,
        sampled: options.sampled,
        traceId: span.traceId,
        spanId: span.spanId,
        kind: options.kind,
        parent,
        attributes: {},
        events: [],
        exit: undefined
      }
      spans.push(drawn)
      const native = Object.getPrototypeOf(span) as Tracer.Span // the class's methods
      span.attribute = (key, value) => {
        drawn.attributes[key] = value
        native.attribute.call(span, key, value)
      }
      span.event = (name, time, attributes) => {
        drawn.events.push({ name, attributes })
        native.event.call(span, name, time, attributes)
      }
      span.end = (time, exit) => {
        drawn.exit = exit
        native.end.call(span, time, exit)
      }
      return span
    }
  })
  const logger = Logger.make(({ message }) => {
    const [line] = Array.isArray(message) ? message : [message]
    lines.push(typeof line === "object" && line !== null ? line : { message: line })
  })
  const found = (id: string, labels: Record<string, string>) =>
    Metric.snapshotUnsafe(context).filter(
      (one) => one.id === id && Object.entries(labels).every(([key, value]) => one.attributes?.[key] === value)
    )
  const valueOf = (state: object): number =>
    "count" in state ? Number(state.count) : "value" in state ? Number(state.value) : Number.NaN
  return {
    receipts,
    onReceipt: (receipt) => Effect.sync(() => void receipts.push(receipt)),
    spans,
    lines,
    metric: (id, labels = {}) => {
      const those = found(id, labels)
      return those.length === 0 ? undefined : those.reduce((sum, { state }) => sum + valueOf(state), 0)
    },
    series: (id) => found(id, {}).length,
    labels: () =>
      Metric.snapshotUnsafe(context).map(({ attributes, id }) => [
        id,
        Object.keys(attributes ?? {}).filter((label) => label !== "unit")
      ]),
    everything: () =>
      JSON.stringify([
        receipts,
        spans.map(({ exit, ...span }) => [
          span,
          exit !== undefined && exit._tag === "Failure" ? String(exit.cause) : ""
        ]),
        lines,
        Metric.snapshotUnsafe(context)
      ]),
    layer: Layer.mergeAll(
      Layer.succeed(Metric.MetricRegistry, registry),
      Logger.layer([logger]),
      options.traces === true ? Layer.succeed(Tracer.Tracer, tracer) : Layer.empty
    )
  }
}
