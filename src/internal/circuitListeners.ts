/** Who wants to know of circuits that change: once, or as a stream. */
import * as Effect from "effect/Effect"
import * as PubSub from "effect/PubSub"
import * as Stream from "effect/Stream"
import type { Service, Transition } from "../CircuitBreakerStore.ts"

export class Listeners {
  static readonly make: Effect.Effect<Listeners> = Effect.map(
    PubSub.sliding<Transition>(256),
    (published) => new Listeners(published)
  )

  readonly changes: Stream.Stream<Transition>
  private readonly published: PubSub.PubSub<Transition>
  private readonly listeners = new Map<string, Set<() => void>>()

  private constructor(published: PubSub.PubSub<Transition>) {
    this.published = published
    this.changes = Stream.fromPubSub(published)
  }

  /** The circuits that somebody waits for. */
  get names(): ReadonlyArray<string> {
    return [...this.listeners.keys()]
  }

  get size(): number {
    return this.listeners.size
  }

  readonly onChange: Service["onChange"] = (name, callback) => {
    const listeners = this.listeners.get(name) ?? new Set()
    this.listeners.set(name, listeners.add(callback))
    return () => {
      listeners.delete(callback)
      if (listeners.size === 0 && this.listeners.get(name) === listeners) this.listeners.delete(name)
    }
  }

  /** `publishUnsafe` does not slide, but refuses the newest. */
  publish(transition: Transition): void {
    if (!PubSub.publishUnsafe(this.published, transition)) {
      this.published.pubsub.slide()
      PubSub.publishUnsafe(this.published, transition)
    }
    this.call(transition.circuit)
  }

  call(name: string): void {
    const listeners = this.listeners.get(name)
    if (listeners === undefined) return
    this.listeners.delete(name)
    for (const listener of listeners) listener()
  }
}
