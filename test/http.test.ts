import { createServer, type RequestListener, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Redacted, Result } from "effect"
import { describe as describeMessage } from "../src/internal/describe.ts"
import * as http from "../src/internal/http.ts"
import * as LlmRequest from "effect-ballast/LlmRequest"

const now = Date.UTC(2026, 10, 23, 12, 0, 0)

const wait = (headers: Record<string, string>) => {
  const duration = http.retryAfter(new Headers(headers), now)
  return duration === undefined ? undefined : Duration.toMillis(duration)
}

describe("retryAfter", () => {
  it.each<[string, Record<string, string>, number | undefined]>([
    ["milliseconds", { "retry-after-ms": "1500" }, 1500],
    ["milliseconds before seconds", { "retry-after-ms": "20", "retry-after": "7" }, 20],
    ["seconds", { "retry-after": "7" }, 7000],
    ["fractions of seconds, rounded up", { "retry-after": "0.0001" }, 1],
    ["a date", { "retry-after": "Mon, 23 Nov 2026 12:00:30 GMT" }, 30_000],
    ["a date that has passed", { "retry-after": "Mon, 23 Nov 2026 11:00:00 GMT" }, 0],
    [
      "seconds of the reset in 1s form",
      { "x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1s" },
      1000
    ],
    ["6m0s", { "x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "6m0s" }, 360_000],
    ["120ms", { "x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "120ms" }, 120],
    [
      "23h18m29.144s",
      { "x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "23h18m29.144s" },
      ((23 * 60 + 18) * 60 + 29) * 1000 + 144
    ],
    [
      "RFC 3339",
      { "anthropic-ratelimit-tokens-remaining": "0", "anthropic-ratelimit-tokens-reset": "2026-11-23T12:01:00Z" },
      60_000
    ],
    [
      "the longest among the limits that are used up",
      {
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "1s",
        "x-ratelimit-remaining-tokens": "0",
        "x-ratelimit-reset-tokens": "3s"
      },
      3000
    ],
    [
      "nothing from a limit that has some left",
      { "x-ratelimit-remaining-tokens": "1", "x-ratelimit-reset-tokens": "9s" },
      undefined
    ],
    ["nothing from nonsense", { "retry-after": "soon" }, undefined],
    ["nothing from a negative number", { "retry-after-ms": "-5" }, undefined],
    ["nothing from nothing", {}, undefined]
  ])("reads %s", (_, headers, expected) => {
    assert.strictEqual(wait(headers), expected)
  })
})

describe("exposedHeaders", () => {
  it("shows limits and request ids and nothing else", () => {
    const shown = http.exposedHeaders(
      new Headers({
        "x-ratelimit-limit-requests": "60",
        "Retry-After": "1",
        "x-request-id": "r",
        "set-cookie": "session=1",
        authorization: "Bearer k",
        "openai-organization": "org"
      })
    )
    assert.deepStrictEqual(shown, { "retry-after": "1", "x-ratelimit-limit-requests": "60", "x-request-id": "r" })
  })
})

describe("connectionPhase", () => {
  const caused = (code: string) => new TypeError("fetch failed", { cause: Object.assign(new Error("x"), { code }) })
  it.each(["ECONNREFUSED", "ENOTFOUND", "EAI_AGAIN", "UND_ERR_CONNECT_TIMEOUT", "CERT_HAS_EXPIRED"])(
    "%s came before anything was sent",
    (code) => {
      assert.strictEqual(http.connectionPhase(caused(code)), "connecting")
    }
  )
  it.each(["ECONNRESET", "UND_ERR_SOCKET", "EPIPE"])("%s may have come after the request", (code) => {
    assert.strictEqual(http.connectionPhase(caused(code)), "sent")
  })
  it("a timeout while connecting came before anything was sent, another may have come after", () => {
    const timedOut = (syscall: string) => Object.assign(new Error("x"), { code: "ETIMEDOUT", syscall })
    assert.strictEqual(http.connectionPhase(timedOut("connect")), "connecting")
    assert.strictEqual(http.connectionPhase(timedOut("read")), "sent")
  })
  it("looks into an AggregateError and does not follow a circle", () => {
    const refused = new AggregateError([Object.assign(new Error("x"), { code: "ECONNREFUSED" })])
    assert.strictEqual(http.connectionPhase(new Error("a", { cause: refused })), "connecting")
    const circle = new Error("circle")
    circle.cause = circle
    assert.strictEqual(http.connectionPhase(circle), "sent")
  })
})

describe("checkBaseUrl", () => {
  it.each(["nope", "ftp://a.example", "", "/v1", "http://api.example/v1", "https://user:secret@a.example"])(
    "refuses %s and names the field",
    (url) => {
      assert.throws(() => http.checkBaseUrl("OpenAi.layer", url), /^OpenAi\.layer: baseUrl must/)
    }
  )
  it.each(["ftp://user:secret@a.example", "https://user:secret@a.example"])(
    "does not repeat the password of %s",
    (url) => {
      const refused = Result.try(() => http.checkBaseUrl("X", url))
      assert.isTrue(Result.isFailure(refused))
      assert.notInclude(String(Result.isFailure(refused) && refused.failure), "secret")
    }
  )
  it.each(["https://api.example/v1", "http://localhost:1/v1", "http://127.0.0.1:1", "http://[::1]:1/v1"])(
    "accepts %s",
    (url) => {
      assert.strictEqual(http.checkBaseUrl("X", url).href, new URL(url).href)
    }
  )
  it("accepts plain HTTP elsewhere when it is allowed", () => {
    assert.strictEqual(http.checkBaseUrl("X", "http://gateway.internal", true).hostname, "gateway.internal")
  })
})

describe("identities", () => {
  it("no two endpoints share one, whatever characters their parts hold", () => {
    const url = new URL("https://a.example/v1")
    const ids = [
      http.endpointId("openai", url, ["a|b", undefined], "m"),
      http.endpointId("openai", url, ["a", "b"], "m"),
      http.endpointId("openai", url, ["a", undefined], "b|m"),
      http.endpointId("anthropic", url, ["a", "b"], "m")
    ]
    assert.strictEqual(new Set(ids).size, ids.length)
  })
  it("two gateways on one host have two, a slash at the end makes no difference", () => {
    const id = (url: string) => http.endpointId("openai", new URL(url), [], "m")
    assert.notStrictEqual(id("https://a.example/one/v1"), id("https://a.example/two/v1"))
    assert.notStrictEqual(id("https://a.example/v1"), id("https://a.example"))
    assert.strictEqual(id("https://a.example/v1/"), id("https://a.example/v1"))
    assert.strictEqual(id("https://a.example/"), id("https://a.example"))
  })
  it("a credential is named by a digest that does not hold the key", () => {
    const id = http.credentialId(Redacted.make("sk-secret"))
    assert.match(id, /^[0-9a-f]{12}$/)
    assert.notStrictEqual(id, http.credentialId(Redacted.make("sk-other")))
  })
})

const serving = async (listener: RequestListener, use: (url: string) => Promise<void>) => {
  const server = createServer(listener).listen(0, "127.0.0.1")
  await new Promise((resolve) => server.once("listening", resolve))
  try {
    await use(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
  } finally {
    server.closeAllConnections()
    server.close()
  }
}

describe("boundedFetch over HTTP", () => {
  it("lets through a body of exactly the bound and fails one byte later", () =>
    serving(
      (request, response) => response.end("x".repeat(request.url === "/long" ? 101 : 100)),
      async (url) => {
        const bounded = http.boundedFetch(100)
        assert.strictEqual((await (await bounded(url)).text()).length, 100)
        const failure = await (await bounded(`${url}/long`)).text().catch((error: unknown) => error)
        assert.instanceOf(failure, http.AnswerTooLarge)
      }
    ))

  const streaming = (write: (path: string, response: ServerResponse) => void, use: (url: string) => Promise<void>) =>
    serving((request, response) => {
      response.writeHead(200, { "content-type": "text/event-stream" })
      write(request.url ?? "", response)
    }, use)

  const read = async (url: string) => (await http.boundedFetch(100)(url)).text().catch((error: unknown) => error)

  it("bounds an event stream by line: neither the whole nor what comes at once", () =>
    streaming(
      (path, response) => response.end(`data: 1234\n\n${"x".repeat(Number(path.slice(1)))}\n`.repeat(20)),
      async (url) => {
        assert.strictEqual(await read(`${url}/100`), `data: 1234\n\n${"x".repeat(100)}\n`.repeat(20))
        assert.instanceOf(await read(`${url}/101`), http.AnswerTooLarge)
      }
    ))

  it("bounds a line that has no end, or comes in pieces", () => {
    let finish = () => {}
    return streaming(
      (path, response) => {
        response.write(`\n${"x".repeat(path === "/endless" ? 101 : 60)}`)
        finish = () => response.end(`${"x".repeat(41)}\n`)
      },
      async (url) => {
        assert.instanceOf(await read(`${url}/endless`), http.AnswerTooLarge)
        const reader = (await http.boundedFetch(100)(url)).body?.getReader()
        assert.strictEqual((await reader?.read())?.value?.length, 61)
        finish()
        assert.instanceOf(await reader?.read().catch((error: unknown) => error), http.AnswerTooLarge)
      }
    )
  })
})

describe("describe", () => {
  const request = LlmRequest.makeUnsafe("My secret plan is to open a bakery in the old lighthouse.")

  it("removes the key, also as the provider half hides it", () => {
    const text = describeMessage("Incorrect API key provided: sk-abc1********wxyz. key=my-own-key", undefined, [
      "my-own-key"
    ])
    assert.notMatch(text ?? "", /sk-abc1|wxyz|my-own-key/)
    assert.match(text ?? "", /^Incorrect API key provided: <redacted>/)
  })

  it("removes what the provider repeats of the prompt and keeps what it says itself", () => {
    const text = describeMessage('Invalid prompt: "plan is to open a bakery in the old" is not allowed', request, [])
    assert.strictEqual(text, 'Invalid prompt: "<prompt>" is not allowed')
  })

  it("cuts at 500 characters and gives nothing for nothing", () => {
    assert.strictEqual(describeMessage("é".repeat(2000), undefined, [])?.length, 500)
    assert.strictEqual(describeMessage("  ", undefined, []), undefined)
    assert.strictEqual(describeMessage(undefined, undefined, []), undefined)
  })

  it.effect("finishes on hostile input of a megabyte", () =>
    Effect.sync(() => {
      const hostile = "sk-".repeat(350_000)
      assert.isAtMost((describeMessage(hostile, request, []) ?? "").length, 500)
    })
  )
})
