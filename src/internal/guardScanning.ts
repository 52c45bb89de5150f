/** The texts of one answer on their way through all guards that scan, one after the other. */
import type * as Response from "effect/ai/Response"
import type { Guard } from "../Guard.ts"
import type { LlmRequest } from "../LlmRequest.ts"
import type { LlmPart } from "../LlmResponse.ts"
import { JsonRedactor, redactJson } from "./jsonRedactor.ts"
import { type Compiled, type Finding, redact, Redactor } from "./redactor.ts"

interface Scan {
  readonly guard: Guard
  readonly compiled: Compiled
}

/** What was found, and by whom. */
export interface Found extends Finding {
  readonly guard: Guard
}

type Scanner = Pick<Redactor, "push" | "end" | "abandon">

export class Scanning {
  /** What was found and not told yet. */
  found: Array<Found> = []
  /** The finding that ends the answer. */
  blocked: Found | undefined
  private readonly scans: ReadonlyArray<Scan>

  constructor(guards: ReadonlyArray<Guard>, request: LlmRequest) {
    this.scans = guards.flatMap((guard) => (guard.scan === undefined ? [] : [{ guard, compiled: guard.scan(request) }]))
  }

  get isIdle(): boolean {
    return this.scans.length === 0
  }

  text(): Chain {
    return new Chain(
      this.scans,
      ({ compiled, guard }) => new Redactor(compiled, (finding) => this.report(guard, finding))
    )
  }

  json(): Chain {
    return new Chain(
      this.scans,
      ({ compiled, guard }) => new JsonRedactor(compiled, (finding) => this.report(guard, finding))
    )
  }

  /** A part that came as a whole; the same object where nothing was found. Of one that was cut off the undecided end is left out. */
  part<A extends Response.PartEncoded | LlmPart>(part: A, isCutOff = false): A {
    if (this.isIdle) return part
    switch (part.type) {
      case "text":
      case "reasoning": {
        const text = isCutOff ? this.cutOff(part.text) : this.whole(part.text)
        // what the provider signed is not what it says any more
        return text === part.text ? part : { ...part, text, metadata: {} }
      }
      case "tool-call": {
        const params = this.value(part.params)
        return params === part.params ? part : { ...part, params }
      }
      case "tool-result": {
        const result = this.value(part.result)
        return result === part.result ? part : { ...part, result }
      }
      case "source": {
        const title = this.whole(part.title)
        return title === part.title ? part : { ...part, title }
      }
      default:
        return part
    }
  }

  private cutOff(text: string): string {
    const chain = this.text()
    return chain.push(text) + chain.abandon()
  }

  private whole(text: string): string {
    return this.each(text, (compiled, before, report) => redact(compiled, before, report))
  }

  private value(value: unknown): unknown {
    return this.each(value, (compiled, before, report) => redactJson(compiled, before, report))
  }

  private each<A>(value: A, run: (compiled: Compiled, before: A, report: (finding: Finding) => void) => A): A {
    return this.scans.reduce((before, { compiled, guard }) => {
      const after = run(compiled, before, (finding) => this.report(guard, finding))
      return guard.mode === "shadow" ? before : after
    }, value)
  }

  private report(guard: Guard, finding: Finding): void {
    const found = { ...finding, guard }
    this.found.push(found)
    if (finding.action === "block" && guard.mode === "enforce") this.blocked ??= found
  }
}

/** One text through the scanners of all guards; those in shadow mode read along. */
export class Chain {
  private readonly scanners: ReadonlyArray<{ readonly scanner: Scanner; readonly changes: boolean }>

  constructor(scans: ReadonlyArray<Scan>, make: (scan: Scan) => Scanner) {
    this.scanners = scans.map((scan) => ({ scanner: make(scan), changes: scan.guard.mode === "enforce" }))
  }

  push(text: string): string {
    let left = text
    for (const { changes, scanner } of this.scanners) {
      const out = scanner.push(left)
      if (changes) left = out
    }
    return left
  }

  end(): string {
    return this.last("end")
  }

  /** Where the text breaks off. */
  abandon(): string {
    return this.last("abandon")
  }

  private last(method: "end" | "abandon"): string {
    let left = ""
    for (const { changes, scanner } of this.scanners) {
      const out = scanner.push(left) + scanner[method]()
      if (changes) left = out
    }
    return left
  }
}
