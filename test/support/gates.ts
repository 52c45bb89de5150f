/** Gates and a quota store that write down what they grant and what is given back, for `Gate.through` and its policies. */
import { assert } from "@effect/vitest"
import { Effect, Exit, Logger, Stream } from "effect"
import type * as Gate from "effect-ballast/Gate"
import type { LlmError, Reason, StoreUnavailable } from "effect-ballast/LlmError"
import type { Service } from "effect-ballast/LlmProvider"
import type { LlmRequest } from "effect-ballast/LlmRequest"
import type * as QuotaStore from "effect-ballast/QuotaStore"

type Method = "generate" | "stream"

export const methods: ReadonlyArray<Method> = ["generate", "stream"]

/** A call to its end, by either method. */
export const run = (provider: Service, method: Method, request: LlmRequest): Effect.Effect<void, LlmError> =>
  method === "generate"
    ? Effect.asVoid(provider.generate(request))
    : Stream.runDrain(Stream.suspend(() => provider.stream(request)))

interface Settled {
  readonly name: string
  readonly settlement: Gate.Settlement
}

export class Trace {
  /** `?lease` asked, `+name` granted, `!lease` denied, `-name` settled. */
  readonly events: Array<string> = []
  readonly settled: Array<Settled> = []
  private permits = 0

  /** A gate that grants on the spot, or after what `admit` does. */
  admitting(
    name: string,
    options: {
      readonly peek?: (call: Gate.Call) => Effect.Effect<void, Reason>
      readonly admit?: (call: Gate.Call) => Effect.Effect<unknown, Reason>
      readonly ready?: Effect.Effect<void, Reason>
      readonly settle?: () => Effect.Effect<void>
    } = {}
  ): Gate.Admitting {
    const grant = (): Gate.Permit => {
      const id = `${name}#${this.permits++}`
      this.events.push(`+${id}`)
      return {
        ready: options.ready,
        settle: (settlement) => {
          const record = () => {
            this.events.push(`-${id}`)
            this.settled.push({ name, settlement })
          }
          return recorded(record, options.settle)
        }
      }
    }
    return {
      _tag: "Admitting",
      name,
      peek: options.peek,
      admit: (call) => {
        const first = options.admit?.(call)
        return first === undefined ? Exit.succeed(grant()) : Effect.map(first, grant)
      }
    }
  }

  /** A claim of one unit of each quota that counts its settlements. */
  reserving(
    name: string,
    store: Gate.Reserving["store"],
    options: Partial<Gate.Claim> & { readonly quotas?: ReadonlyArray<string> } = {}
  ): Gate.Reserving {
    const { quotas = [name], ...claim } = options
    return {
      _tag: "Reserving",
      name,
      store,
      claim: () => ({
        entries: quotas.map((key) => ({ key, amount: 1, quota: { _tag: "Concurrency", limit: 1 } })),
        denied: () => Effect.void,
        ...claim,
        actual: (settlement) => {
          this.settled.push({ name, settlement })
          return claim.actual?.(settlement) ?? quotas.map(() => 0)
        }
      })
    }
  }

  /** The gates as they were settled. */
  get names(): ReadonlyArray<string> {
    return this.settled.map(({ name }) => name)
  }

  settlement(name: string): Gate.Settlement {
    const found = this.settled.filter((settled) => settled.name === name)
    assert.strictEqual(found.length, 1, `${name} is settled once`)
    return found[0]?.settlement ?? assert.fail()
  }

  /**
   * Reads the events back: what is settled was asked or granted, was not settled before, and was the last that was held;
   * nothing is held in the end. The lease of a denial whose answer was lost may be settled, but need not be.
   */
  assertBalanced(): void {
    const held: Array<{ readonly id: string; denied: boolean }> = []
    for (const event of this.events) {
      const id = event.slice(1)
      switch (event[0]) {
        case "?":
          held.push({ id, denied: false })
          break
        case "+":
          if (held.at(-1)?.id !== id) held.push({ id, denied: false })
          break
        case "!": {
          const asked = held.find((one) => one.id === id)
          if (asked !== undefined) asked.denied = true
          break
        }
        default: {
          while (held.at(-1)?.denied === true && held.at(-1)?.id !== id) held.pop()
          assert.strictEqual(id, held.pop()?.id, `settled out of order: ${this.events.join(" ")}`)
        }
      }
    }
    const left = held.filter((one) => !one.denied).map((one) => one.id)
    assert.deepStrictEqual(left, [], `never settled: ${this.events.join(" ")}`)
  }
}

/** What is done on the spot is written down on the spot, and what an effect does when it runs. */
const recorded = <E>(
  record: () => void,
  settle: (() => Effect.Effect<void, E>) | undefined
): Effect.Effect<void, E> => {
  let settled: Effect.Effect<void, E>
  try {
    settled = settle?.() ?? Exit.void
  } catch (defect) {
    record()
    throw defect
  }
  if (!Exit.isExit(settled)) return Effect.andThen(Effect.sync(record), settled)
  record()
  return settled
}

/** A quota store in memory that grants, unless `deny` says which entry does not fit. */
export class TestStore implements Pick<QuotaStore.Service, "reserve" | "settle"> {
  readonly leases = new Map<string, ReadonlyArray<QuotaStore.Entry>>()
  readonly reserved: Array<ReadonlyArray<string>> = []
  readonly amounts: Array<ReadonlyArray<number>> = []
  private readonly ended = new Set<string>()
  private readonly trace: Trace
  private readonly options: StoreOptions

  constructor(trace: Trace, options: StoreOptions = {}) {
    this.trace = trace
    this.options = options
  }

  reserve(lease: string, entries: ReadonlyArray<QuotaStore.Entry>) {
    this.trace.events.push(`?${lease}`)
    const { after, before } = this.options
    if (before === undefined && after === undefined) return Exit.succeed(this.take(lease, entries))
    const asked = Effect.andThen(
      before ?? Effect.void,
      Effect.sync(() => this.take(lease, entries))
    )
    return Effect.tap(asked, () => after ?? Effect.void)
  }

  settle(lease: string, actual: ReadonlyArray<number>): Effect.Effect<void, StoreUnavailable> {
    const record = () => {
      this.trace.events.push(`-${lease}`)
      assert.isFalse(this.ended.has(lease), "a lease is settled once")
      this.ended.add(lease)
      this.leases.delete(lease)
      this.amounts.push(actual)
    }
    return recorded(record, this.options.settle)
  }

  private take(lease: string, entries: ReadonlyArray<QuotaStore.Entry>): QuotaStore.Granted | QuotaStore.Denied {
    const remaining = entries.map((_, i) => i)
    const keys = entries.map((entry) => entry.key)
    const entry = this.ended.has(lease) ? 0 : this.options.deny?.(keys, this.reserved.length)
    if (entry !== undefined) {
      this.trace.events.push(`!${lease}`)
      return { _tag: "Denied", entry, remaining, now: 0 }
    }
    this.trace.events.push(`+${lease}`)
    this.leases.set(lease, entries)
    this.reserved.push(keys)
    return { _tag: "Granted", remaining, now: 0 }
  }
}

interface StoreOptions {
  /** Before the store takes, and before its answer arrives. */
  readonly before?: Effect.Effect<void, StoreUnavailable> | undefined
  readonly after?: Effect.Effect<void, StoreUnavailable> | undefined
  /** The entry that does not fit, by the keys asked for and how often was granted before. */
  readonly deny?: ((keys: ReadonlyArray<string>, granted: number) => number | undefined) | undefined
  readonly settle?: (() => Effect.Effect<void, StoreUnavailable>) | undefined
}

/** What is logged while the effect runs, one text per entry. */
export const logged = <A, E, R>(self: Effect.Effect<A, E, R>) =>
  Effect.suspend(() => {
    const lines: Array<string> = []
    const logger = Logger.make<unknown, void>(({ message }) => void lines.push(String(message)))
    return Effect.map(Effect.provide(Effect.exit(self), Logger.layer([logger])), (exit) => ({ exit, lines }))
  })
