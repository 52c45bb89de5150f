/**
 * A quota store in Redis: one script for each operation, and in this process only what it must still tell Redis: which of
 * its leases live on, and what became of those that could not be settled at once.
 */
import * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { Redis, RedisError } from "effect/persistence/Redis"
import type { Entry, Service } from "../QuotaStore.ts"
import { Background } from "./background.ts"
import { type Message, Outbox } from "./outbox.ts"
import { usedOf } from "./quotas.ts"
import { StoreUnavailable } from "./reasons.ts"
import { answerOf, argsOf, type Keys, scripts, statesOf } from "./redisQuotas.ts"
import * as timer from "./timer.ts"

export interface Settings {
  readonly redis: Redis["Service"]
  readonly keys: Keys
  /** Milliseconds. */
  readonly commandTimeout: number
  /** Milliseconds that the scripts add to the server's time: tests let time pass with them. */
  readonly offset: () => number
}

/** How long after its end a lease is still corrected, and a settle is remembered. */
const remembered = Duration.toMillis("10 minutes")

/** No ttl is longer. */
const longest = Duration.toMillis("365 days")

/** Shortest pause between two renewals, and most leases renewed by one command. */
const minPeriod = 10
const atOnce = 1000

const periodOf = (ttl: number): number => Math.max(minPeriod, ttl / 3)

/** A lease that was asked for and is not settled. */
interface Held {
  readonly key: string
  readonly entries: ReadonlyArray<Entry>
  readonly ttl: number
  /** By this process's clock. */
  until: number
  granted: boolean
}

interface Settlement extends Message {
  readonly keys: ReadonlyArray<string>
  readonly args: ReadonlyArray<string>
}

export class Store implements Service {
  private readonly settings: Settings
  private readonly evaluate: ReturnType<typeof evaluators>
  private readonly held = new Map<string, Held>()
  private readonly outbox: Outbox<Settlement>
  private readonly renewals: Background
  private period = Infinity

  constructor(settings: Settings, context: Context.Context<never>) {
    this.settings = settings
    this.evaluate = evaluators(settings.redis)
    this.outbox = new Outbox(context, (settlement) => this.tell(settlement))
    const step = Effect.suspend(() => Effect.andThen(Effect.sleep(this.period), this.renew))
    this.renewals = new Background(context, () => this.held.size === 0, step)
  }

  readonly reserve: Service["reserve"] = (lease, entries, ttl) =>
    Effect.flatMap(Clock.currentTimeMillis, (now) => {
      const args = argsOf(entries)
      const held = this.hold(lease, entries, ttl, now)
      args.push(`${held.ttl}`, `${remembered}`)
      const asked = this.ask("reserve", this.evaluate.reserve, this.keysOf(entries, held.key), args)
      return Effect.map(asked, (reply) => {
        const answer = answerOf(reply)
        if (answer._tag === "Granted") held.granted = true
        else if (this.held.get(lease) === held) this.held.delete(lease)
        return answer
      })
    })

  /** Never fails: what is not answered in time is told again until the lease is forgotten. */
  readonly settle: Service["settle"] = (lease, actual) =>
    Effect.uninterruptible(
      Effect.flatMap(Clock.currentTimeMillis, (now) => {
        const held = this.held.get(lease)
        this.held.delete(lease)
        const { entries, key, until } = held ?? { entries: [], key: this.settings.keys.lease(lease), until: now }
        const args = argsOf(entries)
        args.push(`${remembered}`, ...entries.map(({ amount }, i) => `${usedOf(actual[i], amount)}`))
        const settlement = { keys: this.keysOf(entries, key), args, until: until + remembered }
        return Effect.catch(this.tell(settlement), () => Effect.sync(() => this.outbox.add(settlement)))
      })
    )

  readonly read: Service["read"] = (entries) =>
    Effect.suspend(() => {
      if (entries.length === 0) return Effect.succeed([])
      const args = argsOf(entries.map(({ quota }) => ({ quota, amount: 0 })))
      return Effect.map(this.ask("read", this.evaluate.read, this.keysOf(entries), args), statesOf)
    })

  readonly observe: Service["observe"] = (entry) =>
    Effect.suspend(() => this.ask("observe", this.evaluate.observe, this.keysOf([entry]), argsOf([entry])))

  /** Ends the renewals, and tries for the last time to settle what could not be settled. */
  readonly close: Effect.Effect<void> = Effect.suspend(() => Effect.andThen(this.renewals.close, this.outbox.close))

  /** How much is remembered, for tests. */
  get size(): { readonly held: number; readonly outbox: number } {
    return { held: this.held.size, outbox: this.outbox.size }
  }

  /** From the question on, since it may be carried out though its answer is lost. */
  private hold(lease: string, entries: ReadonlyArray<Entry>, duration: Duration.Duration, now: number): Held {
    const ttl = Math.ceil(Math.min(longest, Math.max(1, Duration.toMillis(duration))))
    const held = { key: this.settings.keys.lease(lease), entries, ttl, until: now + ttl, granted: false }
    if (this.held.has(lease)) return held
    this.held.set(lease, held)
    const period = periodOf(ttl)
    if (this.renewals.running && period >= this.period) return held
    this.period = period
    this.renewals.restart()
    return held
  }

  /** One command for all. A lease that was never granted is forgotten at its end. */
  private readonly renew: Effect.Effect<void> = Effect.flatMap(Clock.currentTimeMillis, (now) => {
    const leases: Array<Held> = []
    let shortest = longest
    for (const [lease, held] of this.held) {
      shortest = Math.min(shortest, held.ttl)
      if (held.granted) leases.push(held)
      else if (held.until <= now) this.held.delete(lease)
    }
    this.period = periodOf(shortest)
    const parts = Array.from({ length: Math.ceil(leases.length / atOnce) }, (_, i) => i * atOnce)
    const renewed = Effect.forEach(parts, (from) => this.renewSome(leases.slice(from, from + atOnce), now))
    return Effect.ignore(renewed) // the next one comes before the leases end
  })

  private renewSome(leases: ReadonlyArray<Held>, now: number): Effect.Effect<void, StoreUnavailable> {
    const keys: Array<string> = []
    const args: Array<string> = []
    const add = (key: string, member: string, millis: number) => {
      keys.push(key)
      args.push(member, `${millis}`)
    }
    for (const { entries, key, ttl } of leases) {
      add(key, "", ttl + remembered)
      for (const [i, entry] of entries.entries())
        if (entry.quota._tag === "Concurrency")
          add(this.settings.keys.entry(entry), `${entry.amount}:${i + 1}:${key}`, ttl)
    }
    return Effect.map(this.ask("renew", this.evaluate.renew, keys, args), () => {
      for (const held of leases) held.until = now + held.ttl
    })
  }

  private keysOf(entries: ReadonlyArray<Pick<Entry, "key" | "quota">>, lease?: string): ReadonlyArray<string> {
    const keys = entries.map((entry) => this.settings.keys.entry(entry))
    if (lease !== undefined) keys.push(lease)
    return keys
  }

  private tell({ args, keys }: Settlement): Effect.Effect<void, StoreUnavailable> {
    return this.ask("settle", this.evaluate.settle, keys, args)
  }

  private ask<A>(operation: string, evaluate: Evaluate<A>, keys: ReadonlyArray<string>, args: ReadonlyArray<string>) {
    const { commandTimeout, offset } = this.settings
    return within(commandTimeout, operation, () => evaluate(keys, [`${offset()}`, ...args]))
  }
}

type Evaluate<A> = (keys: ReadonlyArray<string>, args: ReadonlyArray<string>) => Effect.Effect<A, RedisError>

const evaluators = (redis: Redis["Service"]) => ({
  reserve: redis.eval(scripts.reserve),
  settle: redis.eval(scripts.settle),
  renew: redis.eval(scripts.renew),
  read: redis.eval(scripts.read),
  observe: redis.eval(scripts.observe)
})

/** The answer to a command, or `StoreUnavailable` if it does not come in so many milliseconds, whoever may interrupt. */
const within = <A>(millis: number, operation: string, command: () => Effect.Effect<A, RedisError>) =>
  Effect.withFiber<A, StoreUnavailable>((fiber) => {
    const failed = (description: string) => new StoreUnavailable({ store: "redis", operation, description })
    const at = fiber.getRef(Clock.Clock).currentTimeMillisUnsafe() + millis
    const answer = Effect.mapError(command(), ({ cause }) => failed(codeOf(cause)))
    return timer.endAt(fiber, at, answer, () => failed(`no answer within ${millis} ms`))
  })

/** Only the code or the kind of what went wrong: messages may hold keys, addresses and passwords. */
const codeOf = (cause: unknown): string => {
  if (!(cause instanceof Error)) return "unknown"
  if ("code" in cause && typeof cause.code === "string") return cause.code
  return /^[A-Z]{2,}(?= )/.exec(cause.message)?.[0] ?? cause.constructor.name
}

/** Fails where a full memory evicts any key. Where the server does not tell, nothing is refused. */
export const checkEviction = (redis: Redis["Service"], millis: number): Effect.Effect<void, StoreUnavailable> => {
  const info = within(millis, "start", () => redis.send("INFO", "memory"))
  const told = Effect.catchIf(
    info,
    ({ description }) => description === "NOPERM" || description === "ERR",
    () => Effect.succeed("")
  )
  return Effect.flatMap(told, (memory) => {
    const policy = /^maxmemory_policy:(\S+)/m.exec(String(memory))?.[1] ?? "noeviction"
    const description = `maxmemory-policy ${policy} evicts quotas, set noeviction`
    if (policy.startsWith("allkeys-"))
      return Effect.fail(new StoreUnavailable({ store: "redis", operation: "start", description }))
    return policy === "noeviction" ? Effect.void : Effect.logWarning(`RedisQuotaStore: ${description}`)
  })
}
