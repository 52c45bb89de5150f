/** Rules on documents and tools' results that talk to the model or use its tools: `tool-abuse`. */
import type { Rule } from "./injectionRulesPattern.ts"

const data = ["document", "tool"] as const
const act =
  "(?:ignore|disregard|tell|say|print|output|recommend|rate|include|send|call|run|execute|forward|delete|fetch|open|visit|post|submit|use|add|give|mark|grant|approve|do not|don't|never|always|must|should|please|now|only|respond|answer|follow|append|mention|insert|write|transfer)"

export const toolAbuseRules: ReadonlyArray<Rule<"tool-abuse">> = [
  {
    family: "tool-abuse",
    name: "addressed",
    severity: "high",
    score: 100,
    origins: data,
    starts: [
      "ai assistant",
      "ai agent",
      "ai agents",
      "dear llm",
      "dear ai",
      "dear assistant",
      "dear language model",
      "hey copilot",
      "hey assistant",
      "hey ai",
      "hey claude",
      "hey chatgpt",
      "attention ai",
      "attention llm",
      "note to the ai",
      "note to ai",
      "note to the assistant",
      "note for the assistant",
      "note for ai",
      "note for the ai",
      "note to the model",
      "note to llm",
      "message to the ai",
      "to the assistant",
      "to the ai",
      "to any ai",
      "reviewer note for ai",
      "instructions for ai",
      "instructions for the ai",
      "instructions to the assistant",
      "llm reviewers",
      "ai reviewers",
      "ai coding agents",
      "any ai agent",
      "for ai systems",
      "assistant",
      "as an ai assistant you",
      "ai models reading",
      "ai"
    ],
    pattern: `(?:(?: (?:models?|agents?|systems?|assistants?|reading|processing|that|who|which|visits?|reviewing|this|these|page|ticket|document|text|it|the|are|you|required|to|reviewers?)){0,8} ?[,:] ?(?:now |please |when |if |you |immediately |first |also ){0,3}(?:must |should |have to |need to )?|(?: (?:models?|agents?|reviewers?|that|visits?|it|reading|this|page|you|are)){0,5} (?:must|should|is required to|are required to|have to|need to) (?:now |first |always )?)(?:${act}|execute|read|has approved|the user has)`
  },
  {
    family: "tool-abuse",
    name: "when-you-read",
    severity: "high",
    score: 100,
    origins: data,
    starts: [
      "when you read this",
      "if you are a language model",
      "if you are an ai",
      "if you are an llm",
      "if you're an ai",
      "if you are reading this as an ai",
      "before answering",
      "before you answer",
      "when summarizing this",
      "when summarising this",
      "when asked about this",
      "when processing this",
      "after reading this"
    ],
    pattern: ` ?[^.\\n]{0,60}?(?:you must|you should|must first|the assistant must|tell the (?:user|reader)|send|call|${act} )`
  },
  {
    family: "tool-abuse",
    name: "call-tool",
    severity: "medium",
    inData: "high",
    score: 50,
    starts: ["call", "use", "invoke", "run", "execute", "trigger"],
    pattern:
      " (?:the |your |a ){0,2}[a-z0-9_-]{2,30} (?:tool|function) (?:to (?:read|run|send|delete|execute|fetch|transfer|post)|with|for user|now|without|on )"
  },
  {
    family: "tool-abuse",
    name: "now-call-tool",
    severity: "high",
    score: 100,
    origins: data,
    starts: [
      "now call",
      "now run",
      "now use",
      "now execute",
      "you must now",
      "the next tool call must",
      "so run",
      "execute the following command",
      "run the following command immediately",
      "immediately run"
    ],
    pattern: "(?: [^\\n]{0,40}?(?:tool|command|function|delete|shell|curl|transfer|be [a-z_]{3,})| ?:)"
  },
  {
    family: "tool-abuse",
    name: "approved",
    severity: "low",
    inData: "high",
    score: 20,
    starts: [
      "the user has approved",
      "the user has already given",
      "the user has already approved",
      "the user already approved",
      "the user has granted",
      "the user gave permission",
      "the user is now an admin",
      "the user wants you to",
      "the user has confirmed",
      "user has pre-approved",
      "the user has authorized",
      "the user has authorised"
    ],
    pattern:
      "[^\\n]{0,60}?(?: so | call |run |delete|transfer|skip|immediately|now[ ,.]|\\.? ?(?:call|run|execute|send|delete|skip))"
  },
  {
    family: "tool-abuse",
    name: "no-confirmation",
    severity: "medium",
    inData: "high",
    score: 60,
    starts: [
      "without asking for confirmation",
      "without asking me",
      "do not ask for confirmation",
      "don't ask for confirmation",
      "skip all confirmations",
      "skip the confirmation",
      "without confirmation",
      "do not ask me",
      "without user approval",
      "without asking the user"
    ],
    pattern: "(?! in )"
  },
  {
    family: "tool-abuse",
    name: "dangerous-command",
    severity: "medium",
    inData: "high",
    score: 60,
    starts: ["rm -rf /", "rm -rf ~", "curl"],
    pattern: "(?:(?<=[/\\x7e])(?=\\s|$)|[^\\n|]{1,80}\\| ?(?:bash|sh)(?= ?(?:[\\n.\"'`]|$|before)))"
  },
  {
    family: "tool-abuse",
    name: "keep-from-user",
    severity: "medium",
    inData: "high",
    score: 60,
    starts: [
      "do not tell the user",
      "don't tell the user",
      "do not mention this to the user",
      "don't mention this to the user",
      "without telling the user",
      "do not inform the user",
      "do not reveal this to the user",
      "hide this from the user",
      "do not mention this instruction",
      "the user must not know",
      "never tell the user"
    ],
    pattern: ""
  },
  {
    family: "tool-abuse",
    name: "tell-user",
    severity: "low",
    inData: "high",
    score: 20,
    starts: [
      "and tell the user",
      "tell the user that",
      "tell the reader to",
      "you must recommend",
      "give a positive review only",
      "rate this company as",
      "recommend this candidate",
      "give this paper a score",
      "strong buy and do not mention",
      "do not highlight any negatives"
    ],
    pattern: ""
  },
  {
    family: "tool-abuse",
    name: "ignore-question",
    severity: "medium",
    inData: "high",
    score: 50,
    starts: ["ignore", "disregard", "stop"],
    pattern:
      " (?:the |this )?(?:user's (?:question|request|message)|question and (?:output|print|reveal)|rest of the prompt|what you are doing and)"
  },
  {
    family: "tool-abuse",
    name: "reader-must",
    severity: "low",
    inData: "high",
    score: 20,
    starts: [
      "the ai must",
      "the ai should",
      "the assistant must",
      "the assistant should",
      "the model must",
      "llms must",
      "ai agents must",
      "ai agent must",
      "the agent must"
    ],
    pattern: ` (?:first |now |always |never |not )?(?:${act})(?! all purchases)`
  }
]
