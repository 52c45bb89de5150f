/** The order of admission: peek first, then reserve and admit in order, and admit last what was peeked. */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { Admitting, Gate, Permit, Reserving } from "../Gate.ts"
import { RateLimitExceeded, type Reason } from "../LlmError.ts"
import { onTheSpot } from "./onTheSpot.ts"
import { reserving } from "./reserving.ts"
import type { Running } from "./running.ts"

/** A step of admission; `undefined` when it was done on the spot. */
export type Step = (running: Running) => Effect.Effect<void, Reason> | undefined

export const stepsOf = (gates: ReadonlyArray<Gate>): ReadonlyArray<Step> => {
  const peeking = gates.filter((gate): gate is Admitting => gate._tag === "Admitting" && gate.peek !== undefined)
  const others = gates.filter((gate) => gate._tag === "Reserving" || gate.peek === undefined)
  return [...peeking.map(peek), ...inOrder(others), ...peeking.map(admitting)]
}

const inOrder = (gates: ReadonlyArray<Gate>): ReadonlyArray<Step> => {
  const steps: Array<Step> = []
  let run: Array<Reserving> = []
  const endRun = () => {
    if (run.length > 0) steps.push(reserving(run))
    run = []
  }
  for (const gate of gates) {
    if (gate._tag === "Reserving") run.push(gate)
    else {
      endRun()
      steps.push(admitting(gate))
    }
  }
  endRun()
  return steps
}

const peek =
  (gate: Admitting): Step =>
  (running) => {
    const peeked = gate.peek?.(running)
    const exit = peeked && onTheSpot(peeked)
    return exit !== undefined && Exit.isSuccess(exit) ? undefined : peeked
  }

const admitting =
  (gate: Admitting): Step =>
  (running) => {
    const admitted = gate.admit(running)
    const exit = onTheSpot(admitted)
    if (exit !== undefined) return Exit.isSuccess(exit) ? hold(running, gate, exit.value) : exit
    const held = Effect.uninterruptible(Effect.map(admitted, (permit) => hold(running, gate, permit)))
    return Effect.flatMap(held, (ready) => ready ?? Effect.void)
  }

const hold = (running: Running, gate: Admitting, permit: Permit): Effect.Effect<void, Reason> | undefined => {
  running.permits.push({ name: gate.name, settle: permit.settle })
  if (permit.ready === undefined || running.mayWait) return permit.ready
  return Effect.fail(new RateLimitExceeded({ limit: gate.name, why: "limited" }))
}
