/** Rules on data that is to be given away or sent elsewhere: `exfiltration`. */
import type { Rule } from "./injectionRulesPattern.ts"

const send = [
  "send",
  "post",
  "forward",
  "upload",
  "transmit",
  "email",
  "e-mail",
  "mail",
  "exfiltrate",
  "submit",
  "leak",
  "append",
  "put",
  "include",
  "encode",
  "copy",
  "make",
  "write",
  "render",
  "read",
  "cat",
  "deliver",
  "add"
]
const data =
  "(?:conversation|chat(?: (?:history|log|text|transcript))?|history|messages|(?:api|access|secret|private|ssh) keys?|passwords?|credentials?|tokens?|secrets?|customer (?:data|records)|user(?:'s)? (?:data|messages|email)|email address|environment variables?|system prompt|id_rsa|\\.env|invoices)"

export const exfiltrationRules: ReadonlyArray<Rule<"exfiltration">> = [
  {
    family: "exfiltration",
    name: "send-data",
    severity: "high",
    score: 100,
    starts: send,
    pattern: ` (?:[a-z0-9'\\x7e/.]{1,16} ){0,7}?(?:conversation|whole chat|this chat|chat (?:history|log|text|transcript)|user'?s? messages|(?:your|stored|saved|all|user's|our) (?:[a-z]{1,10} ){0,2}?(?:api keys?|passwords?|credentials?|tokens?|secrets?|records|email address|messages)|id_rsa|latest invoices|secret key)[\\s\\S]{0,60}?(?:https?://(?=\\S)|[a-z0-9._-]{1,40}@[a-z0-9.-]{1,40}\\.[a-z]{2,}|the (?:url|link|next search query))`
  },
  {
    family: "exfiltration",
    name: "send-data-to-me",
    severity: "medium",
    inData: "high",
    score: 50,
    starts: send,
    pattern: ` (?:[a-z0-9'\\x7e/.]{1,16} ){0,6}?${data}[^\\n]{0,40}?(?:https?://(?=\\S)|@[a-z0-9.-]{1,40}\\.[a-z]{2,}| to me )`
  },
  {
    family: "exfiltration",
    name: "forward-mail",
    severity: "low",
    inData: "high",
    score: 20,
    starts: [
      "assistant, forward",
      "assistant, send",
      "assistant, email",
      "assistant: forward",
      "assistant, please send",
      "ai, send",
      "must post",
      "ai must",
      "must send"
    ],
    pattern: " [^\\n]{0,60}?(?:https?://(?=\\S)|@[a-z0-9.-]{1,40}\\.[a-z]{2,})"
  },
  {
    family: "exfiltration",
    name: "image-with-data",
    severity: "high",
    score: 100,
    starts: ["!["],
    pattern:
      "[^\\]\\n]{0,60}\\]\\([^)\\s]{1,120}[?&=/](?:[a-z_]{1,20}=)?[^)\\s]{0,60}(?:\\[|\\{|\\$|<|%7b|%5b)[a-z_\\s-]{2,30}"
  },
  {
    family: "exfiltration",
    name: "link-with-data",
    severity: "high",
    score: 100,
    starts: [
      "show an image from",
      "load an image from",
      "get request to",
      "request to http",
      "into this link",
      "in the link",
      "to the url",
      "to this url",
      "render this image"
    ],
    pattern:
      "[^\\n]{0,100}[?&][a-z_]{1,20}=(?: ?(?:followed|with|and|$|email|data|user|password|key|secret|token|\\[|\\{|the))?"
  },
  {
    family: "exfiltration",
    name: "give-secrets",
    severity: "medium",
    score: 60,
    starts: ["reveal", "show me", "give me", "print", "dump", "leak", "tell me", "list", "output", "expose"],
    pattern:
      " (?:me |all |the |of |your |any |every |stored |secret ){0,4}(?:api keys?|passwords?|credentials|environment variables|secret keys?|access tokens?|secrets)(?: and [a-z]{1,12})?(?: (?:you (?:have|know|can)|in your|stored|of (?:the|all) user|and secrets|to me)|(?= ?(?:[.!]|$)))"
  },
  {
    family: "exfiltration",
    name: "your-key",
    severity: "medium",
    score: 60,
    starts: ["reveal", "show me", "tell me", "spell out", "give me", "print", "output", "what is", "what are"],
    pattern:
      " (?:the |all ){0,2}(?:your (?:[a-z]{1,14} ){0,4}?(?:api keys?|secret keys?|credentials)|[a-z_]{0,20}api_key in your)"
  },
  {
    family: "exfiltration",
    name: "your-secrets",
    severity: "high",
    score: 100,
    starts: [
      "what secrets",
      "which secrets",
      "what api keys",
      "which api keys",
      "what passwords",
      "reveal all api keys",
      "reveal all customer",
      "reveal all the customer",
      "all customer data",
      "all the customer data",
      "show me your api",
      "all the api keys",
      "all api keys"
    ],
    pattern: "[^.\\n]{0,30}?(?:your environment|you have|you know|stored in your|have access|keys you| data)"
  },
  {
    family: "exfiltration",
    name: "shell",
    severity: "high",
    score: 100,
    starts: ["curl", "wget"],
    pattern: "[^\\n]{0,80}?(?:\\$\\(|`)(?:cat|env|printenv|whoami|base64)"
  },
  {
    family: "exfiltration",
    name: "pipe-secrets",
    severity: "high",
    score: 100,
    starts: ["cat .env", "cat ~/.ssh", "cat /etc/passwd", "printenv", "env"],
    pattern: "[^\\n]{0,40}?\\| ?(?:curl|nc|wget|base64 [^\\n]{0,20}\\| ?curl)"
  }
]
