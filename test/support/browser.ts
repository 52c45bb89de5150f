/** Debian's Chromium without a window: one for a group of tests, a context of its own for each page, all of it closed in any case. */
import { existsSync } from "node:fs"
import process from "node:process"
import { describe } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import { type Browser, type BrowserContextOptions, chromium, type Page } from "playwright-core"

const executablePath = "/usr/bin/chromium"

/** In CI a missing browser is a failure; elsewhere its tests are skipped. */
export const describeBrowser = describe.skipIf(!existsSync(executablePath) && process.env["CI"] !== "true")

/** As root there is no sandbox, and nothing outside this machine is to be asked. */
const args = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync"
]

export class Chromium extends Context.Service<Chromium, Browser>()("test/Chromium") {
  static readonly layer = Layer.effect(
    Chromium,
    Effect.acquireRelease(
      Effect.promise(() => chromium.launch({ executablePath, args, timeout: 20_000 })),
      (browser) => Effect.promise(() => browser.close())
    )
  )
}

/** What a page did beside what it shows. */
interface Seen {
  /** Errors that the console shows, a failure to load or a breach of the content security policy among them. */
  readonly errors: Array<string>
  readonly requests: Array<string>
}

/** How long a page may take for any one thing, in milliseconds. */
const patience = 8_000

/** A page of its own at this address, for as long as the scope lives. */
export const open = (url: string, options: BrowserContextOptions = {}, before?: (page: Page) => Promise<void>) =>
  Effect.gen(function* () {
    const browser = yield* Chromium
    const context = yield* Effect.acquireRelease(
      Effect.promise(() => browser.newContext({ viewport: { width: 1280, height: 900 }, ...options })),
      (context) => Effect.promise(() => context.close())
    )
    context.setDefaultTimeout(patience)
    const seen: Seen = { errors: [], requests: [] }
    const page = yield* Effect.promise(async () => {
      const page = await context.newPage()
      page.on("console", (message) => {
        if (message.type() === "error") seen.errors.push(message.text())
      })
      page.on("pageerror", (error) => seen.errors.push(error.message))
      page.on("request", (request) => seen.requests.push(request.url()))
      await before?.(page)
      await page.goto(url)
      return page
    })
    return { page, seen }
  })
