#!/usr/bin/env node
/** The command `effect-ballast`: `local` runs LocalLlm until it is told to stop. */
import process from "node:process"
import { parseArgs } from "node:util"
import * as Cause from "effect/Cause"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as LocalLlm from "./LocalLlm.ts"

const usage = `Usage: effect-ballast local [--port 4141]

Runs LocalLlm, a stand-in for OpenAI's API on 127.0.0.1. It is not a model.
  --port   from 0 (any free port) to 65535, default 4141
  --help   shows this`

/** 0: done as asked. 1: it could not run. 2: the command line is wrong. */
type ExitCode = 0 | 1 | 2

const main = (args: ReadonlyArray<string>): Effect.Effect<ExitCode> =>
  Effect.flatMap(Effect.exit(Effect.try({ try: () => parse(args), catch: messageOf })), (command) => {
    if (Exit.isFailure(command)) return wrong(String(Cause.squash(command.cause)))
    if (command.value === "help") return Effect.as(Console.log(usage), 0)
    return serve(command.value.port)
  })

const parse = (args: ReadonlyArray<string>): "help" | { readonly port: number } => {
  const options = { port: { type: "string" }, help: { type: "boolean" } } as const
  const { positionals, values } = parseArgs({ args: [...args], options, allowPositionals: true })
  if (values.help === true) return "help"
  const [command, ...rest] = positionals
  if (command === undefined) throw new RangeError("a command is missing")
  if (command !== "local" || rest.length > 0) throw new RangeError(`unknown command "${positionals.join(" ")}"`)
  const port = values.port ?? "4141"
  if (!/^\d{1,5}$/.test(port) || Number(port) > 65_535) {
    throw new RangeError(`--port must be an integer from 0 to 65535, got "${port}"`)
  }
  return { port: Number(port) }
}

const messageOf = (cause: unknown): string => (cause instanceof Error ? cause.message : String(cause))

const wrong = (message: string): Effect.Effect<ExitCode> => Effect.as(Console.error(`${message}\n\n${usage}`), 2)

const serve = (port: number): Effect.Effect<ExitCode> =>
  Effect.flatMap(LocalLlm.LocalLlm, ({ url }) => Effect.andThen(Console.log(greeting(url)), Effect.never)).pipe(
    Effect.provide(LocalLlm.layer({ port })),
    Effect.catchDefect((defect) => Effect.as(Console.error(messageOf(defect)), 1 as const))
  )

const greeting = (url: string): string => `LocalLlm answers at ${url}. It is not a model: it quotes what it is given.

  export OPENAI_BASE_URL=${url}
  export OPENAI_API_KEY=local

Ctrl-C ends it.`

const fiber = Effect.runFork(main(process.argv.slice(2)))
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => fiber.interruptUnsafe())
void Effect.runPromise(Fiber.await(fiber)).then((exit) => {
  process.exitCode = Exit.isSuccess(exit) ? exit.value : Exit.hasInterrupts(exit) ? 0 : 1 // a signal interrupts
})
