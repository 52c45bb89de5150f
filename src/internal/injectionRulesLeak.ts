/** Rules on the program's own prompt, which is to be given away: `extraction`. */
import type { Rule } from "./injectionRulesPattern.ts"

const say = [
  "reveal",
  "print",
  "output",
  "show",
  "display",
  "repeat",
  "recite",
  "leak",
  "dump",
  "expose",
  "disclose",
  "tell me",
  "give me",
  "share",
  "paste",
  "return",
  "copy",
  "echo",
  "quote",
  "list",
  "write out",
  "spell out",
  "read out",
  "read me",
  "summarize",
  "summarise",
  "translate",
  "encode",
  "let me see",
  "let me read",
  "state",
  "provide",
  "describe",
  "write down",
  "send me"
]
const ask = [
  "what is",
  "what would",
  "what's",
  "what are",
  "what were",
  "what does",
  "what did",
  "whats",
  "can i see",
  "can i have",
  "may i see",
  "could i see",
  "i want to see",
  "i'd love to see",
  "i would like to see",
  "i need"
]
const own = "(?:your|ur|its|the assistant's|the hidden|the secret|the initial)"

export const extractionRules: ReadonlyArray<Rule<"extraction">> = [
  {
    family: "extraction",
    name: "reveal-prompt",
    severity: "high",
    score: 100,
    starts: say,
    pattern: ` (?:me |us |out |all |of |the |full |exact |entire |complete |text |content |contents |copy |a |first |[0-9]{1,4} |characters |letters |words |lines |verbatim |rest |back |configuration |and ){0,8}(?:of )?${own} (?:full |entire |exact |own |original |complete |confidential |secret |hidden |internal |initial |underlying |core |base |whole ){0,3}(?:system |developer )?(?:prompt|message|instructions|pre-?prompt|preprompt|initialization|directives|guidelines exactly)`
  },
  {
    family: "extraction",
    name: "reveal-system-prompt",
    severity: "high",
    score: 100,
    starts: [...say, "print("],
    pattern:
      "(?<=\\() ?system_prompt| (?:me |us |out |the |full |exact |entire |text |of |verbatim |current |configuration |and |contents? ){0,6}(?:system (?:prompt|message|instructions) ?(?:above|verbatim|now|in full|word for word|please|[.!]|$)|system_prompt)"
  },
  {
    family: "extraction",
    name: "ask-prompt",
    severity: "high",
    score: 100,
    starts: ask,
    pattern: ` (?:the |a |copy |of |exact |full ){0,5}(?:your|ur) (?:full |exact |original |secret |hidden |initial |current |first ){0,2}(?:system (?:prompt|message|instructions?)|prompt|initial instructions|original instructions|instructions(?= ?(?:\\?|$|verbatim)))(?! say about us)`
  },
  {
    family: "extraction",
    name: "you-were-given",
    severity: "high",
    score: 100,
    starts: [...say, "what", "which", "whatever", "repeat back"],
    pattern: ` (?:[a-z]{1,12} ){0,5}?(?:instructions?|prompt|rules|directives|guidelines|orders|text) (?:that )?(?:(?:you|u) (?:were|was|have been|had been|got|are operating|received|are following)|you're operating|were you|did your (?:creators?|developers?)|defines? you|that defines you)(?: (?:given|told|operating|provided|at|under|by))?`
  },
  {
    family: "extraction",
    name: "told-before",
    severity: "high",
    score: 100,
    starts: [
      "what were you told",
      "what did they tell you",
      "what text came before",
      "what came before",
      "what is written above",
      "what was written before",
      "what is above"
    ],
    pattern: " (?:before|at the start|prior|first|my first|this (?:conversation|message|line)|the)"
  },
  {
    family: "extraction",
    name: "text-above",
    severity: "high",
    score: 100,
    starts: [
      "print",
      "output",
      "repeat",
      "copy",
      "reveal",
      "display",
      "echo",
      "recite",
      "show me",
      "paste",
      "write out",
      "return",
      "share"
    ],
    pattern:
      " (?:me |back |out |the |all |of |contents |your ){0,4}(?:(?:everything|all|anything)(?: (?:that is|that was|written|that comes))? (?:above|before this)(?=(?: this)? ?(?:[.,!]|$|line|message|verbatim|starting|in |word|sentence|point))|(?:words|text|lines?|messages?|conversation|content|paragraphs?) (?:above|before this(?: line| message)?)(?: (?:starting|verbatim|word for word|in (?:a code|markdown|full)|into your|from the (?:start|beginning)))|context window)"
  },
  {
    family: "extraction",
    name: "secret-instructions",
    severity: "high",
    score: 100,
    starts: say,
    pattern:
      " (?:me |us |the |all |your |any |of ){0,4}(?:secret|hidden|confidential|internal|initial|original|developer|system) (?:[a-z]{1,12} ){0,1}?(?:instructions?|prompts?|directives?|guidelines)(?= ?(?:[.,!?]|$|you|hidden|and |to me|given|that|in your|word|verbatim|from))"
  },
  {
    family: "extraction",
    name: "prompt-in-form",
    severity: "high",
    score: 100,
    starts: ["write", "compose", "make", "put", "convert", "render", "complete this sentence: my"],
    pattern:
      " (?:[a-z0-9]{1,12} ){0,7}?(?:your (?:entire |full |whole |secret |hidden )?(?:system )?(?:prompt|instructions|system message)(?! for)|system prompt begins)(?! (?:better|more))"
  },
  {
    family: "extraction",
    name: "tell-system-message",
    severity: "high",
    score: 100,
    starts: [
      "everything in your",
      "contents of your",
      "text of your",
      "words of your",
      "lines of your",
      "content of your",
      "output your",
      "my system prompt begins",
      "here is my system prompt",
      "my hidden prompt is",
      "with the phrase you are",
      "starting with you are",
      "starting with the phrase",
      "starting with 'you are'"
    ],
    pattern:
      "(?: (?:system (?:prompt|message)|prompt|pre-?prompt|preprompt|context window|instructions)| with|:| a |(?= ?['\"]?(?:[.,a]|$|you are)))"
  },
  {
    family: "extraction",
    name: "list-rules",
    severity: "high",
    score: 100,
    starts: ["list", "list all", "print", "quote", "reveal", "recite", "output"],
    pattern:
      " (?:the |all |me |of ){0,3}(?:your (?:rules|guidelines|instructions)|rules you) (?:have been given|were given|verbatim|exactly|word for word|in full|must follow)"
  }
]
