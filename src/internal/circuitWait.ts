/** Waiting for the verdict of those who try a circuit. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type { Service as Store } from "../CircuitBreakerStore.ts"
import { Alarm, wheelOf } from "./timer.ts"

/** Most that wait for the verdicts of one store's circuits at the same time. */
const most = 1000

const waiting = new WeakMap<Store, number>()

const count = (store: Store, change: number) => waiting.set(store, (waiting.get(store) ?? 0) + change)

/** Whether one more may wait. */
export const hasRoom = (store: Store): boolean => (waiting.get(store) ?? 0) < most

/** Until the circuit changes or a place to try it is free; for so many milliseconds at most. */
export const changed = (store: Store, circuit: string, millis: number): Effect.Effect<void> =>
  Effect.withFiber((fiber) =>
    Effect.callback<void>((resume) => {
      const wheel = wheelOf(fiber)
      const end = () => {
        stop()
        resume(Effect.void)
      }
      const alarm = new Alarm(end)
      const unlisten = store.onChange(circuit, end)
      const stop = () => {
        count(store, -1)
        unlisten()
        wheel.clear(alarm)
      }
      count(store, 1)
      wheel.set(alarm, fiber.getRef(Clock.Clock).currentTimeMillisUnsafe() + millis, fiber)
      return Effect.sync(stop)
    })
  )
