/**
 * A stream on its way through the guards: texts are given out as far as no scanner can still need them, calls of tools when
 * they are complete and checked, and nothing at all before a check of the whole answer.
 */
import * as Arr from "effect/Array"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type * as Pull from "effect/Pull"
import type * as Response from "effect/ai/Response"
import { LlmError } from "../LlmError.ts"
import { collectParts, isVisible, type LlmPart, LlmResponse, toStreamParts } from "../LlmResponse.ts"
import { answeredBy, weigh } from "./flight.ts"
import { after, type Checking, mostHeld } from "./guardChecking.ts"
import type { Chain } from "./guardScanning.ts"

type Parts = Arr.NonEmptyReadonlyArray<LlmPart>

/** A text that has begun: its scanners, and how its last parts look like. */
interface Channel {
  readonly chain: Chain
  readonly delta: (text: string) => LlmPart
}

export class GuardedStream {
  private readonly checking: Checking
  /** Made once: it runs for every part. */
  private readonly next: Pull.Pull<Parts, LlmError>
  private readonly channels = new Map<string, Channel>()
  /** Arguments of tools that are held back until the call is checked, by the call's id. */
  private readonly calls = new Map<string, Array<LlmPart>>()
  private out: Array<LlmPart> = []
  private readAlong: Array<LlmPart> = []
  /** The end of a text, held back for one part: what follows tells whether the text was cut off. */
  private ending: Response.TextEndPartEncoded | Response.ReasoningEndPartEncoded | undefined
  /** Characters that are held back, and whether they were too many and are let go. */
  private held = 0
  private overflown = false
  private finished = false

  constructor(checking: Checking, source: Pull.Pull<Parts, LlmError>) {
    this.checking = checking
    const given = () => this.given()
    this.next = Effect.matchCauseEffect(source, {
      onSuccess: (parts) => after(this.take(parts, 0), given),
      onFailure: (cause) => {
        const error = cause.reasons.find((reason) => reason._tag === "Fail")?.error
        if (error === undefined) return Effect.failCause(cause)
        if (error instanceof LlmError) return Effect.fail(this.checking.interrupted(error))
        return after(this.finish(), given)
      }
    })
  }

  readonly pull: Pull.Pull<Parts, LlmError> = Effect.withFiber((fiber) => {
    if (this.finished) return Cause.done()
    this.checking.fiber = fiber
    return this.next
  })

  /** What may be given out now. */
  private given(): Pull.Pull<Parts, LlmError> {
    if (this.holdsAll && !this.finished) return this.pull
    const out = this.out
    if (!Arr.isArrayNonEmpty(out)) return this.pull
    this.out = []
    if (this.reads) this.readAlong.push(...out)
    this.checking.released ||= out.some(isVisible)
    return Effect.succeed(out)
  }

  private get holdsAll(): boolean {
    return !this.overflown && this.checking.wholes.some(({ guard }) => guard.mode === "enforce")
  }

  /** Whether guards in shadow mode want to see all of what is given out meanwhile. */
  private get reads(): boolean {
    return !this.overflown && !this.holdsAll && this.checking.wholes.length > 0
  }

  private get holdsCalls(): boolean {
    return !this.overflown && this.checking.ofTools.some(({ mode }) => mode === "enforce")
  }

  private take(parts: Parts, from: number): Effect.Effect<void, LlmError> | undefined {
    for (let i = from; i < parts.length; i++) {
      const part = parts[i]
      if (part === undefined || this.finished) break
      const waiting = this.accept(part) ?? this.checking.settled() ?? this.overflow(part)
      if (waiting !== undefined) return after(waiting, () => this.take(parts, i + 1) ?? Effect.void)
    }
    return undefined
  }

  private accept(part: LlmPart): Effect.Effect<void, LlmError> | undefined {
    this.close(part.type === "finish" && part.reason === "length")
    switch (part.type) {
      case "text-delta":
      case "reasoning-delta":
        return this.delta(part)
      case "text-end":
      case "reasoning-end":
        this.ending = part
        return undefined
      case "tool-params-start":
        if (!this.holdsCalls) break
        this.calls.set(part.id, [part])
        return undefined
      case "tool-params-delta":
        return this.params(part)
      case "tool-params-end":
        this.flush(keyOf(part))
        this.toCall(part.id, part)
        return undefined
      case "tool-call":
        return this.call(part)
      case "finish":
        return this.finish(part)
      default:
    }
    this.out.push(this.checking.scanning.part(part))
    return undefined
  }

  private delta(part: Extract<LlmPart, { readonly type: "text-delta" | "reasoning-delta" }>): undefined {
    const { scanning } = this.checking
    if (scanning.isIdle) {
      this.out.push(part)
      return
    }
    const { id, type } = part
    const { chain } = this.channel(keyOf(part), () => ({
      chain: scanning.text(),
      delta: (text) => ({ type, id, delta: text })
    }))
    const text = chain.push(part.delta)
    if (text === part.delta) this.out.push(part)
    else if (text !== "") this.out.push({ ...part, delta: text })
  }

  private params(part: Response.ToolParamsDeltaPartEncoded): undefined {
    const { scanning } = this.checking
    if (scanning.isIdle) {
      this.toCall(part.id, part)
      return
    }
    const { id, type } = part
    const { chain } = this.channel(keyOf(part), () => ({
      chain: scanning.json(),
      delta: (text) => ({ type, id, delta: text })
    }))
    const text = chain.push(part.delta)
    if (text !== "") this.toCall(id, { ...part, delta: text })
  }

  private channel(key: string, make: () => Channel): Channel {
    const known = this.channels.get(key)
    if (known !== undefined) return known
    const made = make()
    this.channels.set(key, made)
    return made
  }

  private close(isCutOff: boolean): void {
    const { ending } = this
    if (ending === undefined) return
    this.ending = undefined
    this.flush(keyOf(ending), isCutOff)
    this.out.push(ending)
  }

  /** The rest of a text; of one that was cut off nothing that may be half of something. */
  private flush(key: string, isCutOff = false): void {
    const channel = this.channels.get(key)
    if (channel === undefined) return
    this.channels.delete(key)
    const text = isCutOff ? channel.chain.abandon() : channel.chain.end()
    if (text === "") return
    const part = channel.delta(text)
    if (part.type === "tool-params-delta") this.toCall(part.id, part)
    else this.out.push(part)
  }

  private toCall(id: string, part: LlmPart): undefined {
    const held = this.calls.get(id)
    if (held === undefined) this.out.push(part)
    else held.push(part)
  }

  private call(part: Response.ToolCallPartEncoded): Effect.Effect<void, LlmError> {
    const { checking } = this
    this.flush(`tool-params:${part.id}`)
    const scanned = checking.scanning.part(part)
    const before = this.calls.get(part.id) ?? []
    this.calls.delete(part.id)
    const give = Effect.sync(() => {
      this.out.push(...before, scanned)
    })
    return after(checking.settled(), () => after(checking.call(scanned, 0), () => give))
  }

  /** At its finish part, or where it ends without one. A call whose arguments never came to an end is not given out. */
  private finish(part?: Response.FinishPartEncoded): Effect.Effect<void, LlmError> {
    this.close(part === undefined)
    // what has no end was cut off, unless it is said to have finished
    const isCutOff = part === undefined || part.reason === "length"
    for (const key of this.channels.keys()) this.flush(key, isCutOff)
    if (part !== undefined) this.out.push(part)
    this.finished = true
    return after(this.checking.settled(), () => (this.holdsAll || this.reads ? this.whole() : Effect.void))
  }

  private whole(): Effect.Effect<void, LlmError> {
    const { checking } = this
    const all = [...this.readAlong, ...this.out]
    const response = new LlmResponse({ ...answeredBy(all, checking.provider), parts: collectParts(all) })
    return Effect.map(checking.whole(response, 0, false), (answer) => {
      if (answer !== response) this.out = [...toStreamParts(answer.parts)]
    })
  }

  /** What is held back has a bound, at which the checks fail; where that lets the answer pass, nothing is held any more. */
  private overflow(part: LlmPart): Effect.Effect<void, LlmError> | undefined {
    if (!this.holdsAll && !this.reads && this.calls.size === 0) return undefined
    this.held += weigh(part)
    if (this.held <= mostHeld || this.overflown) return undefined
    return Effect.map(this.checking.tooLong(), () => {
      this.overflown = true
      this.readAlong = []
      for (const held of this.calls.values()) this.out.push(...held)
      this.calls.clear()
    })
  }
}

const keyOf = ({ id, type }: { readonly id: string; readonly type: string }): string =>
  `${type.slice(0, type.lastIndexOf("-"))}:${id}`
