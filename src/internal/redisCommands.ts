/**
 * Scripts run by Redis, each answered within a while or failed with `StoreUnavailable`, whoever may interrupt.
 *
 * All commands sent in one millisecond share an alarm, and nothing else is between them and the client: at a hundred at the
 * same time that is what a command costs here.
 */
import { createHash } from "node:crypto"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import type { Redis, RedisError } from "effect/persistence/Redis"
import { StoreUnavailable } from "./reasons.ts"
import { Alarm, type Wheel, wheelOf } from "./timer.ts"

/** A script, its name, and what its reply means. */
export interface Script<Reply, A> {
  readonly lua: string
  readonly sha: string
  readonly decode: (reply: Reply) => A
}

export const script = <Reply, A>(lua: string, decode: (reply: Reply) => A): Script<Reply, A> => ({
  lua,
  sha: createHash("sha1").update(lua).digest("hex"),
  decode
})

export class Commands {
  private readonly redis: Redis["Service"]
  private readonly millis: number
  private watch: Watch | undefined

  constructor(redis: Redis["Service"], millis: number) {
    this.redis = redis
    this.millis = millis
  }

  /** The arguments begin with the number of keys. The server may have forgotten the script. */
  run<Reply, A>(
    operation: string,
    { decode, lua, sha }: Script<Reply, A>,
    args: ReadonlyArray<string>
  ): Effect.Effect<A, StoreUnavailable> {
    const known = this.redis.send<Reply>("EVALSHA", sha, ...args)
    return this.within(operation, known, decode, () => this.redis.send<Reply>("EVAL", lua, ...args))
  }

  send<A>(operation: string, command: string, ...args: ReadonlyArray<string>): Effect.Effect<A, StoreUnavailable> {
    return this.within(operation, this.redis.send<A>(command, ...args), (reply) => reply)
  }

  /** As a child with the same context: a fiber cannot take back its own interruption. */
  private within<Reply, A>(
    operation: string,
    command: Effect.Effect<Reply, RedisError>,
    decode: (reply: Reply) => A,
    unknownScript?: () => Effect.Effect<Reply, RedisError>
  ): Effect.Effect<A, StoreUnavailable> {
    return Effect.withFiber((parent) =>
      Effect.callback<A, StoreUnavailable>((resume) => {
        const watch = this.watchOf(parent)
        const failed = (description: string) =>
          resume(Exit.fail(new StoreUnavailable({ store: "redis", operation, description })))
        let child: Fiber.Fiber<Reply, RedisError>
        const start = (command: Effect.Effect<Reply, RedisError>, again: typeof unknownScript) => {
          const fiber = Effect.runForkWith(parent.context)(command)
          child = fiber
          watch.add(fiber)
          fiber.addObserver((exit) => {
            if (Exit.isSuccess(exit)) resume(Exit.succeed(decode(exit.value)))
            else {
              const error = Cause.findError(exit.cause)
              if (watch.rang && Cause.hasInterrupts(exit.cause)) failed(`no answer within ${this.millis} ms`)
              else if (Result.isFailure(error)) resume(Exit.failCause(error.failure))
              else if (again !== undefined && isUnknownScript(error.success)) start(again(), undefined)
              else failed(codeOf(error.success.cause))
            }
            watch.delete(fiber)
          })
        }
        start(command, unknownScript)
        return Effect.suspend(() => {
          child.interruptUnsafe(parent.id)
          return Effect.asVoid(Fiber.await(child))
        })
      })
    )
  }

  private watchOf(parent: Fiber.Fiber<unknown, unknown>): Watch {
    const wheel = wheelOf(parent)
    const at = parent.getRef(Clock.Clock).currentTimeMillisUnsafe() + this.millis
    const { watch } = this
    if (watch !== undefined && watch.at === at && watch.wheel === wheel && watch.isOpen) return watch
    const next = new Watch(wheel, at)
    wheel.set(next.alarm, at, parent)
    this.watch = next
    return next
  }
}

/** Interrupts at an instant what has not ended by then. */
class Watch {
  readonly wheel: Wheel
  readonly at: number
  readonly alarm: Alarm
  rang = false
  private readonly fibers = new Set<Fiber.Fiber<unknown, unknown>>()

  constructor(wheel: Wheel, at: number) {
    this.wheel = wheel
    this.at = at
    this.alarm = new Alarm(() => {
      this.rang = true
      for (const fiber of this.fibers) fiber.interruptUnsafe()
    })
  }

  /** Whether its alarm is set. */
  get isOpen(): boolean {
    return this.alarm.index >= 0
  }

  add(fiber: Fiber.Fiber<unknown, unknown>): void {
    this.fibers.add(fiber)
  }

  delete(fiber: Fiber.Fiber<unknown, unknown>): void {
    this.fibers.delete(fiber)
    if (this.fibers.size === 0) this.wheel.clear(this.alarm)
  }
}

const isUnknownScript = ({ cause }: RedisError): boolean => cause instanceof Error && cause.message.includes("NOSCRIPT")

/** Only the code or the kind of what went wrong: messages may hold keys, addresses and passwords. */
const codeOf = (cause: unknown): string => {
  if (!(cause instanceof Error)) return "unknown"
  if ("code" in cause && typeof cause.code === "string") return cause.code
  return /^[A-Z]{2,}(?= )/.exec(cause.message)?.[0] ?? cause.constructor.name
}
