/**
 * Tells Redis what happened to a circuit, and learns what it is now: reads it, lets the state machine do the rest, and writes
 * it if nobody else did meanwhile. Where somebody did, that is in the answer, and it is tried again with what they wrote.
 */
import { createHash, randomUUID } from "node:crypto"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as machine from "./circuit.ts"
import type { Batch, Copy } from "./circuitCopy.ts"
import * as lua from "./lua/circuit.ts"
import type { StoreUnavailable } from "./reasons.ts"
import { type Commands, script } from "./redisCommands.ts"

/** What is in Redis, and its time. */
interface Reply {
  readonly now: number
  readonly version: string
  readonly text: string
  readonly written: boolean
}

const replyOf = ([now, value, written = 0]: readonly [now: number, value: string, written?: number]): Reply => ({
  now,
  version: value.slice(0, versionLength),
  text: value.slice(versionLength),
  written: written === 1
})

const versionLength = 36

export const scripts = { read: script(lua.read, replyOf), swap: script(lua.swap, replyOf) }

/** How long an unused circuit lives at least, and at first; what keeps it open is added. */
const idle = Duration.toMillis("1 hour")
const life = 2 * idle
const longestLife = Duration.toMillis("365 days")

/** Others that may come between. */
const maxTries = 5

/** A circuit that is open for ever has an end that can be written. */
const longest = 8.64e15

export class Exchange {
  /** All it is about, once Redis has answered. */
  batch: Batch | undefined
  /** The circuit after it, unless others always came between: then as they left it. */
  circuit: machine.Circuit | undefined
  answers: ReadonlyArray<machine.Ticket | machine.Refusal> = []
  written = true
  /** What was written and nobody has confirmed. */
  doubt: string | undefined
  private readonly commands: Commands
  private readonly key: string
  private readonly copy: Copy
  private readonly heard: (now: number) => void

  /** `heard` is told the server's time with each answer. */
  constructor(commands: Commands, key: string, copy: Copy, heard: (now: number) => void) {
    this.commands = commands
    this.key = key
    this.copy = copy
    this.heard = heard
  }

  readonly run: Effect.Effect<void, StoreUnavailable> = Effect.suspend(() => {
    const reading = this.commands.run("circuit", scripts.read, ["1", this.key, `${idle}`, `${life}`])
    return Effect.flatMap(reading, (reply) => {
      this.heard(reply.now)
      const batch = this.copy.take(reply.version)
      this.batch = batch
      return this.attempt(reply, batch, 1)
    })
  })

  private attempt(reply: Reply, batch: Batch, tries: number): Effect.Effect<void, StoreUnavailable> {
    const { now } = reply
    const circuit = decode(reply.text) ?? this.unknown(now)
    const before = encode(circuit)
    for (const event of batch.events) event.apply(circuit, now)
    this.answers = batch.asks.map((ask) => ask.admit(circuit, now))
    this.circuit = circuit
    const after = encode(circuit)
    if (after === before) return Effect.void
    const last = tries === maxTries
    const replaces = last && batch.events.some((event) => event.isForced) ? "*" : reply.version
    const version = randomUUID()
    const args = ["1", this.key, replaces, version + after, `${lifeOf(circuit, now)}`]
    this.doubt = version
    return Effect.flatMap(this.commands.run("circuit", scripts.swap, args), (reply) => {
      this.doubt = undefined
      this.heard(reply.now)
      if (reply.written) return Effect.void
      return last ? Effect.sync(() => this.giveUp(reply, batch)) : this.attempt(reply, batch, tries + 1)
    })
  }

  /** Those who ask are told to ask again: others are changing it right now. */
  private giveUp({ now, text }: Reply, batch: Batch): void {
    const circuit = decode(text) ?? this.unknown(now)
    this.written = false
    this.circuit = circuit
    this.answers = batch.asks.map(({ rules }) => machine.peek(circuit, rules, now) ?? busy(circuit))
  }

  /** Nobody has written it: as it is here if nothing ever happened. */
  private unknown(now: number): machine.Circuit {
    const { generation, since } = this.copy.circuit
    return machine.fresh(generation === machine.first ? Math.min(now, since) : now)
  }
}

const busy = ({ cause }: machine.Circuit): machine.Refusal => ({ cause, retryAfter: 100, undecided: true })

const lifeOf = ({ leases, state, until }: machine.Circuit, now: number): number => {
  if (state === "isolated") return longestLife
  const busyFor = Math.max(until, ...leases.map(([, until]) => until)) - now
  return Math.ceil(Math.min(longestLife, life + Math.max(0, busyFor)))
}

const Counts = Schema.mutable(Schema.Array(Schema.Finite))

const Stored = Schema.Struct({
  state: Schema.Literals(["closed", "open", "halfOpen", "isolated"]),
  generation: Schema.String,
  cause: Schema.optional(Schema.Literals(["failures", "slow", "credential", "quota", "unavailable", "isolated"])),
  since: Schema.Finite,
  until: Schema.Finite,
  openings: Schema.Finite,
  consecutive: Schema.Finite,
  window: Schema.Struct({
    rule: Schema.optionalKey(
      Schema.Union([
        Schema.Struct({ _tag: Schema.tag("calls"), size: Schema.Finite }),
        Schema.Struct({ _tag: Schema.tag("time"), span: Schema.Finite })
      ])
    ),
    calls: Schema.Finite,
    failures: Schema.Finite,
    slow: Schema.Finite,
    ring: Counts,
    at: Schema.Finite
  }),
  leases: Schema.mutable(Schema.Array(Schema.Tuple([Schema.String, Schema.Finite]))),
  successes: Schema.Finite
})

const decodeText = Schema.decodeUnknownOption(Schema.fromJsonString(Stored))

/** No circuit of ours is longer. */
const maxLength = 1_048_576

/** `undefined` for what is no circuit. */
const decode = (text: string): machine.Circuit | undefined => {
  if (text === "" || text.length > maxLength) return undefined
  const stored = Option.getOrUndefined(decodeText(text))
  return stored === undefined ? undefined : { ...stored, cause: stored.cause }
}

const encode = (circuit: machine.Circuit): string => {
  if (circuit.until > longest) circuit.until = longest
  return JSON.stringify(circuit)
}

/** Names the keys. They are in any slot of a cluster, for no two circuits change together. */
export const keyOf = (prefix: string, group: string): ((name: string) => string) => {
  const before = `${part(prefix)}:[${part(group)}]:`
  return (name) => before + part(name)
}

/** A part that is long or unusual is hashed, by UTF-16 units, so that texts which are no Unicode have a name, too. */
const part = (text: string): string =>
  usual.test(text) ? text : `#${createHash("sha256").update(text, "utf16le").digest("hex")}`

const usual = /^[\w.:~/@-]{1,200}$/
