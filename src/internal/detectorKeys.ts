/** Shapes of the API keys of the main providers, and of keys whose context says what they are. */
import { ahead, chars, check, either, mark, maybe, oneOf, type Pattern, seq, set, text, unless } from "./pattern.ts"
import type { Shape, Tail } from "./redactor.ts"

const alphanumeric = set("0-9A-Za-z")
const digits = set("0-9")
const hex = set("0-9a-f")
const wordy = either(alphanumeric, set("_-"))
const base64 = either(alphanumeric, set("+/="))
const token = either(alphanumeric, set("._~+/=-"))
const blank = set(" \t")

const classes = { A: set("0-9A-Z"), a: alphanumeric, w: wordy, h: hex }

/** What documentation writes where a key belongs. */
const isKey = (found: string): boolean => !/xxxx|your|\*\*\*\*|example[-_]|placeholder|<|\.\.\./i.test(found)

/** A word of letters alone is none, nor is a name in lower case with hyphens. */
const isMixed = (found: string): boolean => isKey(found) && /[0-9]/.test(found) && /[A-Za-z]/.test(found)

/** All that may still belong to a key. */
const rest: Tail = { step: chars(wordy, 1) }

/**
 * Prefix, class and number of the characters that make it a key. Classes: `a` letters and digits, `A` capitals and digits,
 * `w` also `_` and `-`, `h` hexadecimal.
 */
const prefixes: ReadonlyArray<string> = [
  "AKIA A 16", // AWS access keys, and temporary ones
  "ASIA A 16",
  "ABIA A 16",
  "ACCA A 16",
  "AIza w 35", // Google
  "GOCSPX- w 24",
  "ya29. w 30",
  "ghp_ a 30", // GitHub
  "gho_ a 30",
  "ghu_ a 30",
  "ghs_ a 30",
  "ghr_ a 30",
  "github_pat_ w 30",
  "glpat- w 20", // GitLab
  "gldt- w 20",
  "glrt- w 20",
  "glptt- w 20",
  "sk_live_ a 16", // Stripe
  "rk_live_ a 16",
  "sk_test_ a 16",
  "rk_test_ a 16",
  "whsec_ a 24",
  "hf_ a 30", // Hugging Face
  "npm_ a 30",
  "pypi-AgE w 30",
  "gsk_ a 30", // Groq
  "xai- a 40", // xAI
  "r8_ a 30", // Replicate
  "pplx- a 30", // Perplexity
  "nvapi- w 40",
  "tgp_v1_ w 30", // Together
  "fw_ a 22", // Fireworks
  "tvly- w 24", // Tavily
  "pcsk_ w 30", // Pinecone
  "jina_ a 40",
  "lsv2_pt_ a 30", // LangSmith
  "lsv2_sk_ a 30",
  "sk-lf- w 30", // Langfuse
  "dop_v1_ h 40", // DigitalOcean
  "doo_v1_ h 40",
  "dor_v1_ h 40",
  "SK h 32", // Twilio
  "AC h 32",
  "shpat_ h 32", // Shopify
  "shpss_ h 32",
  "dapi h 32", // Databricks
  "sbp_ h 40", // Supabase
  "figd_ w 30",
  "lin_api_ a 30",
  "ntn_ a 30",
  "dckr_pat_ w 20",
  "hvs. w 24", // Vault
  "glsa_ a 30", // Grafana
  "sntrys_ w 30",
  "PMAK- w 40", // Postman
  "xkeysib- w 40",
  "tskey-auth- w 20",
  "ATATT3x w 40", // Atlassian
  "sq0atp- w 20",
  "sq0csp- w 30",
  "AGE-SECRET-KEY-1 A 40"
]

const prefixed = prefixes.map((line): Shape => {
  const [prefix = "", of = "", count = ""] = line.split(" ")
  // the table above names no other classes
  return { head: seq(text(prefix), key(chars(classes[of as keyof typeof classes], Number(count)))), tail: rest }
})

function key(pattern: Pattern): Pattern {
  return check(pattern, isKey)
}

/** OpenAI, Anthropic, OpenRouter, DeepSeek and others that took over `sk-`. */
const openai: ReadonlyArray<Shape> = [
  ...["sk-proj-", "sk-svcacct-", "sk-admin-", "sk-None-", "sk-ant-", "sk-or-v1-"].map((prefix) => ({
    head: seq(
      text(prefix),
      check(chars(wordy, 20), (found) => isKey(found) && /[0-9A-Z]/.test(found))
    ),
    tail: rest
  })),
  { head: seq(text("sk-"), check(chars(alphanumeric, 20), isMixed)), tail: rest },
  { head: seq(text("sk-"), chars(alphanumeric, 48)), tail: rest }
]

/** Keys with a structure of their own. */
const structured: ReadonlyArray<Shape> = [
  // Slack tokens and webhooks
  ...["xoxa-", "xoxb-", "xoxe-", "xoxp-", "xoxr-", "xoxs-", "xoxe.xoxp-", "xoxe.xoxb-", "xapp-"].map((prefix) => ({
    head: seq(
      text(prefix),
      check(chars(wordy, 12), (found) => isKey(found) && /[0-9]/.test(found))
    ),
    tail: rest
  })),
  {
    head: seq(
      text("hooks.slack.com/"),
      oneOf(text("services/"), text("workflows/"), text("triggers/")),
      mark,
      chars(set("A-Z"), 1),
      key(chars(either(alphanumeric, set("/")), 30))
    ),
    tail: { step: chars(either(alphanumeric, set("/")), 1) }
  },
  // Discord
  {
    head: seq(
      oneOf(text("discord.com"), text("discordapp.com")),
      text("/api/webhooks/"),
      mark,
      chars(digits, 17, 20),
      text("/"),
      key(chars(wordy, 30))
    ),
    tail: rest
  },
  { head: seq(text("SG."), key(chars(wordy, 16, 32)), text("."), chars(wordy, 32)), tail: rest }, // SendGrid
  { head: seq(chars(digits, 8, 10), text(":AA"), key(chars(wordy, 32))), tail: rest } // Telegram
]

/** `name = "`, `"name": "`, `name=`. */
const assignment = (name: Pattern): Pattern =>
  seq(
    name,
    chars(set("\"'`]\\"), 0, 3),
    chars(blank, 0, 8),
    oneOf(text(":="), text("=>"), text("="), text(":")),
    chars(blank, 0, 8),
    chars(set("\"'`\\"), 0, 2)
  )

/** `word("auth", "token")`: together, with a hyphen or a low line between them, in any case. */
const word = (...parts: ReadonlyArray<string>): Pattern =>
  seq(...parts.flatMap((part, i) => (i === 0 ? [text(part, true)] : [chars(set("_-"), 0, 1), text(part, true)])))

const secretNames = [
  word("api", "key"),
  word("auth", "token"),
  word("access", "token"),
  word("access", "key"),
  word("account", "key"),
  word("client", "secret"),
  word("secret", "access", "key"),
  word("secret", "key"),
  word("session", "token"),
  word("shared", "access", "key")
]

/** With at least two characters that are no letters: what a program writes there instead, a name or a call, has none. */
const isRandom = (found: string): boolean => isMixed(found) && /[0-9+/][^0-9+/]*[0-9+/]/.test(found)

const inContext: ReadonlyArray<Shape> = [
  ...secretNames.map((name) => ({
    head: seq(assignment(name), mark, unless(text("eyJ")), check(chars(base64, 32), isRandom)),
    tail: { step: chars(base64, 1) }
  })),
  {
    head: seq(text("bearer", true), chars(blank, 1, 4), mark, unless(text("eyJ")), check(chars(token, 20), isMixed)),
    tail: { step: oneOf(chars(either(wordy, set("~+/=")), 1), seq(text("."), chars(wordy, 1))) }
  },
  {
    head: seq(
      text("authorization", true),
      chars(set("\"'"), 0, 1),
      text(":"),
      chars(set(" \"'"), 0, 3),
      text("basic", true),
      chars(blank, 1, 4),
      mark,
      check(chars(base64, 12), isKey)
    ),
    tail: { step: chars(base64, 1) }
  }
]

const schemes =
  "postgresql postgres mysql mariadb mongodb+srv mongodb rediss redis amqps amqp mssql sqlserver clickhouse cockroachdb " +
  "neo4j+s neo4j bolt nats kafka ldaps ldap smtps smtp sftp ftp ssh https http"

/** What stands for a password where there is none. */
const isPassword = (found: string): boolean => !dummy.test(found) && !found.includes("[REDACTED:")
const dummy = /^(?:[$<{%*]|(?:x+|\.+|changeme|example|(?:your|my|the|db|user)?[-_]?(?:pass(?:word|wd)?|pwd|secret))$)/i

/** The password of a URL: `postgres://user:password@host`. */
const urlPasswords = schemes.split(" ").map((scheme): Shape => ({
  head: seq(
    text(scheme),
    maybe(seq(text("+"), chars(set("0-9a-z_"), 1, 12))),
    text("://"),
    chars(either(alphanumeric, set("._%+~$-")), 0, 64),
    text(":"),
    mark,
    check(chars(either(alphanumeric, set("!#-.:;=?^_{-~[]")), 1, 128), isPassword),
    ahead(text("@"))
  )
}))

export const keyShapes: ReadonlyArray<Shape> = [...openai, ...prefixed, ...structured, ...inContext, ...urlPasswords]
