/** What telemetry adds to a call, without a tracer. */
import { Effect, Exit, Stream } from "effect"
import { type Gate, LlmRequest, Resilient } from "../src/index.ts"
import { inFiber, type Suite } from "./harness.ts"
import { bare } from "./guards.ts"
import { sync } from "./stacks.ts"

const request = LlmRequest.makeUnsafe("What is ballast?")
/** What any circuit breaker, limiter or budget is at least. */
const gates: ReadonlyArray<Gate.Gate> = [
  { _tag: "Admitting", name: "open", admit: () => Exit.succeed({ settle: () => Effect.void }) }
]
const without = Resilient.make({ telemetry: false, retry: {}, gates }, 1)([sync])
const withIt = Resilient.make({ retry: {}, gates }, 1)([sync])
const bareStack = Resilient.make({ telemetry: false, retry: {} }, 1)([sync])
const toldStack = Resilient.make({ retry: {} }, 1)([sync])
const streamed = (slots: Resilient.Slots) => {
  const { stream } = Resilient.make(slots, 1)([bare])
  return Effect.suspend(() => Stream.runDrain(stream(request)))
}

export const telemetrySuite: Suite = {
  name: "Telemetry without a tracer, a call that answers on the spot, behind one gate",
  base: "Ballast, without telemetry",
  cases: [
    inFiber(
      "Ballast, without telemetry",
      Effect.suspend(() => without.generate(request))
    ),
    inFiber(
      "Ballast, with telemetry",
      Effect.suspend(() => withIt.generate(request))
    ),
    inFiber(
      "No gate at all, without telemetry",
      Effect.suspend(() => bareStack.generate(request))
    ),
    inFiber(
      "No gate at all, with telemetry",
      Effect.suspend(() => toldStack.generate(request))
    )
  ]
}

export const telemetryStreamSuite: Suite = {
  name: "Telemetry without a tracer, a stream of 50 deltas",
  base: "Ballast, without telemetry",
  cases: [
    inFiber("Ballast, without telemetry", streamed({ telemetry: false })),
    inFiber("Ballast, with telemetry", streamed({})),
    inFiber("Ballast, with telemetry and the output guard", streamed({ outputGuard: {} }))
  ]
}
