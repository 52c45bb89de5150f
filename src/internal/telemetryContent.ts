/** What was asked and answered, as far as it may be told. */
import type { Guard } from "../Guard.ts"
import type { LlmRequest } from "../LlmRequest.ts"
import { redactJson } from "./jsonRedactor.ts"
import type { Content } from "./telemetrySpans.ts"

export const captured = (guards: ReadonlyArray<Guard>): ((request: LlmRequest, answer: unknown) => Content) => {
  for (const { name, scan } of guards) {
    if (scan === undefined) throw new RangeError(`Telemetry.make: captureContent, guard ${name} does not scan texts`)
  }
  return (request, answer) => {
    const guarded = (value: unknown): unknown =>
      guards.reduce((left, { scan }) => (scan === undefined ? left : redactJson(scan(request), left, () => {})), value)
    return { input: guarded(request.prompt.content), output: guarded(answer) }
  }
}
