/** Rules on text that poses as another part of the conversation: `role`, and on text that hides from people: `hidden`. */
import type { Rule } from "./injectionRulesPattern.ts"

/** What follows the name of a role where it is an order; names, numbers and settings do not. */
const ordered =
  "(?=you |your |you're |ignore |disregard |forget |override |obey |from now |act |answer |always |never |respond |comply |reveal |do not |don't |disable |enable |grant |the user is |all (?:restrictions|rules|filters|safety)|new (?:instructions?|rules?|policy|orders?)|safety |the next |trust |restrictions |no restrictions|delete |send |call |execute |must )"

export const roleRules: ReadonlyArray<Rule<"role">> = [
  {
    family: "role",
    name: "system-line",
    severity: "high",
    score: 100,
    at: "line",
    starts: [
      "system",
      "system message",
      "system prompt",
      "system override",
      "system note",
      "developer",
      "admin",
      "administrator",
      "root",
      "begin system message"
    ],
    pattern: ` ?[\\])}]{0,2} ?[:\\]] ?${ordered}`
  },
  {
    family: "role",
    name: "system-inline",
    severity: "high",
    score: 100,
    at: "sentence",
    starts: ["system", "system message", "system prompt", "end of user input"],
    pattern: ` ?: ?(?=ignore |disregard |override |forget |you (?:must|are now|will now|have no|can now|will (?:ignore|obey|comply))|the user is (?:now )?(?:an? )?(?:admin|root)|comply )`
  },
  {
    family: "role",
    name: "override-heading",
    severity: "high",
    score: 100,
    starts: [
      "system override",
      "admin override",
      "developer override",
      "system note: the content policy",
      "safety override"
    ],
    pattern: "(?: (?:active|activated|mode|enabled|engaged|initiated|code|all|is disabled)| ?[\\]:!])"
  },
  {
    family: "role",
    name: "assistant-turn",
    severity: "high",
    score: 100,
    at: "line",
    starts: ["assistant", "ai", "model", "response", "chatbot"],
    pattern:
      " ?: ?(?=sure|of course!? (?:i|here|my)|certainly|absolutely|i (?:will|have no|can now|am now|no longer|ignore)|no problem, |my (?:system|hidden|secret) |ok(?:ay)?, (?:i|here|safety|my)|yes, i )"
  },
  {
    family: "role",
    name: "turns",
    severity: "low",
    inData: "high",
    score: 20,
    at: "line",
    starts: ["human"],
    pattern: " ?: ?[^\\n]{0,200}\\n(?:assistant|ai) ?: ?[a-z]{1,20}"
  },
  {
    family: "role",
    name: "chat-template",
    severity: "high",
    score: 100,
    starts: [
      "<|im_start|>",
      "<|im_end|>",
      "<|system|>",
      "<|start_header_id|>",
      "<|endoftext|>",
      "<|eot_id|>",
      "<|begin_of_text|>",
      "<|assistant|>",
      "<start_of_turn>",
      "<end_of_turn>",
      "<|start|>system",
      "<|channel|>"
    ],
    pattern: " ?(?:system|developer|assistant|user|model|you |ignore |obey |always |never |<[|s])"
  },
  {
    family: "role",
    name: "llama-template",
    severity: "high",
    score: 100,
    starts: ["[inst]", "<<sys>>", "[/inst]", "<</sys>>"],
    pattern:
      "\\s?(?=(?:<<sys>>|you |ignore |always |never |your |disregard |forget |override |new |from now |act |system|sure))"
  },
  {
    family: "role",
    name: "markdown-role",
    severity: "high",
    score: 100,
    at: "line",
    starts: [
      "### system",
      "### instruction",
      "### assistant",
      "### response",
      "## system",
      "# system",
      "## instruction",
      "###system"
    ],
    pattern: `s?(?: (?:prompt|message|override|instructions?))? ?: ?(?:${ordered.slice(3, -1)}|sure|of course|certainly)`
  },
  {
    family: "role",
    name: "closing-tag",
    severity: "high",
    score: 100,
    starts: [
      "</system",
      "</document",
      "</documents",
      "</user",
      "</user_input",
      "</input",
      "</context",
      "</instructions",
      "</prompt",
      "</data",
      "</tool_result",
      "</untrusted"
    ],
    pattern: `[a-z_-]{0,12}> ?(?:<[/a-z]{1,20}> ?)?(?:now,? |system ?[:>]|<system|(?:please )?(?:ignore|disregard|forget|follow|obey|override) |assistant[,:] |new (?:instructions?|policy|rules?)|you (?:must|are|will)|important ?:)`
  },
  {
    family: "role",
    name: "system-tag",
    severity: "high",
    score: 100,
    starts: [
      "<system>",
      "<system_prompt>",
      "<system-reminder>",
      "<admin>",
      "<developer>",
      "<instructions>",
      "<important>"
    ],
    pattern: ` ?(?:you |your |ignore |disregard |forget |new |the user is |obey |grant |from now |always |never |do not |override |before |this tool )`
  },
  {
    family: "role",
    name: "markdown-system",
    severity: "high",
    score: 100,
    starts: [
      "[system]",
      "[[system]]",
      "[system message]",
      "[system override",
      "[system note",
      "[admin]",
      "[developer]",
      "{system}",
      "[assistant]",
      "[instructions]"
    ],
    pattern:
      "(?:\\(#[a-z]{1,12}\\)|:|\\]|-)? ?(?::|-)? ?(?:you |your |ignore |disregard |forget |new |the user is |the content policy|obey |grant |from now |all restrictions|disable |always |never |override|restrictions )"
  },
  {
    family: "role",
    name: "json-role",
    severity: "medium",
    inData: "high",
    score: 50,
    starts: ['"role": "system", "content": "', '"role":"system","content":"', "'role': 'system', 'content': '"],
    pattern:
      '[^"\\n]{0,120}(?:unrestricted|no (?:rules|restrictions|limits)|ignore|disregard|jailbr|obey|anything|uncensored)'
  },
  {
    family: "role",
    name: "updated-prompt",
    severity: "medium",
    inData: "high",
    score: 60,
    starts: [
      "the system prompt has been",
      "your system prompt has been",
      "your instructions have been",
      "the system message has been"
    ],
    pattern: " (?:updated|changed|replaced|overridden|revoked|extended)"
  }
]

export const hiddenRules: ReadonlyArray<Rule<"hidden">> = [
  {
    family: "hidden",
    name: "html-comment",
    severity: "medium",
    inData: "high",
    score: 60,
    starts: ["<!--"],
    pattern:
      "[^>]{0,60}(?:ai assistant|llm|language model|assistant:|ignore |disregard |do not tell the user|system prompt|chatgpt|claude|gemini|copilot)"
  },
  {
    family: "hidden",
    name: "invisible-element",
    severity: "medium",
    inData: "high",
    score: 60,
    starts: [
      "display:none",
      "display: none",
      "visibility:hidden",
      "visibility: hidden",
      "font-size:0",
      "font-size: 0",
      "color:white",
      "color: white",
      "opacity:0",
      "opacity: 0"
    ],
    pattern:
      "[^<]{0,60}>[^<]{0,100}(?:ignore|disregard|summari[a-z]*|assistant|tell the (?:reader|user)|you must|instructions?|language models?|system prompt)"
  },
  {
    family: "hidden",
    name: "hidden-marker",
    severity: "medium",
    inData: "high",
    score: 60,
    starts: ["[hidden", "[invisible", "[secret", "[ai only", "[for ai", "[llm"],
    pattern: "[a-z\\s]{0,20}\\] ?[^\\n]{0,80}(?:ai |llm|assistant|instruct|model|ignore )"
  }
]
