/** Compiled by `npm run check`: what the type of a ladder promises. */
import { type Context, Effect } from "effect"
import { expectTypeOf } from "vitest"
import * as Degrade from "effect-ballast/Degrade"
import type { LlmError } from "effect-ballast/LlmError"
import type * as LlmProvider from "effect-ballast/LlmProvider"

declare class Documents extends (null as unknown as Context.ServiceClass<Documents, "Documents", {}>) {}
interface NoDocuments {
  readonly _tag: "NoDocuments"
}
interface Rag {
  readonly text: string
  readonly sources: ReadonlyArray<string>
}
declare const ragProgram: Effect.Effect<Rag, NoDocuments | LlmError, LlmProvider.LlmProvider | Documents>
declare const directProgram: Effect.Effect<string, LlmError, LlmProvider.LlmProvider>
declare const lookup: Effect.Effect<string, "miss">

type Failures =
  | Degrade.Failure<"rag", NoDocuments | LlmError>
  | Degrade.Failure<"direct", LlmError>
  | Degrade.Failure<"stale", "miss" | LlmError>

const rag = Degrade.rung("rag", ragProgram)
const direct = Degrade.rung("direct", directProgram)
const stale = Degrade.rung("stale", lookup, { asks: "nothing" })
const sorry = Degrade.otherwise("static", (failures) => failures.length)

// a ladder that can fail: the names are literals, the errors and services those of its rungs; the clock may end a rung
const fallible = Degrade.ladder([rag, direct, stale])
expectTypeOf(fallible).toEqualTypeOf<
  Effect.Effect<
    | Degrade.Answer<"rag", Rag, Failures>
    | Degrade.Answer<"direct", string, Failures>
    | Degrade.Answer<"stale", string, Failures>,
    NoDocuments | LlmError | "miss",
    LlmProvider.LlmProvider | Documents
  >
>()

// one that ends in `otherwise` cannot fail
const infallible = Degrade.ladder([rag, direct, stale, sorry], { within: "10 seconds" })
expectTypeOf<Effect.Error<typeof infallible>>().toBeNever()
expectTypeOf<Effect.Services<typeof infallible>>().toEqualTypeOf<LlmProvider.LlmProvider | Documents>()
expectTypeOf<Effect.Success<typeof infallible>["rung"]>().toEqualTypeOf<"rag" | "direct" | "stale" | "static">()

// the name of the rung narrows the value, and that of a failure its error
export const narrowed = Effect.map(infallible, (answer) => {
  for (const failure of answer.failures) {
    if (failure.rung === "rag") expectTypeOf(failure.error).toEqualTypeOf<NoDocuments | LlmError>()
    if (failure.rung === "direct") expectTypeOf(failure.error).toEqualTypeOf<LlmError>()
  }
  switch (answer.rung) {
    case "rag":
      expectTypeOf(answer.value).toEqualTypeOf<Rag>()
      return answer.value.sources.length
    case "direct":
    case "stale":
      expectTypeOf(answer.value).toEqualTypeOf<string>()
      return answer.value.length
    default:
      expectTypeOf(answer.rung).toEqualTypeOf<"static">()
      expectTypeOf(answer.value).toEqualTypeOf<number>()
      return answer.value
  }
})

// rungs that need and fail with nothing leave nothing behind
expectTypeOf(Degrade.ladder([Degrade.rung("only", Effect.succeed(1)), sorry])).toEqualTypeOf<
  Effect.Effect<
    | Degrade.Answer<"only", number, Degrade.Failure<"only", LlmError>>
    | Degrade.Answer<"static", number, Degrade.Failure<"only", LlmError>>
  >
>()

// @ts-expect-error an empty ladder
Degrade.ladder([])
// @ts-expect-error nothing stands above `otherwise`
Degrade.ladder([sorry])
// @ts-expect-error `otherwise` before a rung
Degrade.ladder([rag, sorry, direct])
// @ts-expect-error `otherwise` twice
Degrade.ladder([rag, sorry, sorry])
// @ts-expect-error a rung asks a model or nothing
Degrade.rung("rag", ragProgram, { asks: "money" })
// @ts-expect-error a misspelled option
Degrade.ladder([rag], { witin: "1 second" })

// the slot keeps the layer's type
expectTypeOf(Degrade.make).returns.toEqualTypeOf<(inner: LlmProvider.Service) => LlmProvider.Service>()
// @ts-expect-error a number is no answer
Degrade.make({ static: 42 })
