/** Rules on orders to ignore those of the program: `override`. */
import type { Rule } from "./injectionRulesPattern.ts"

const ignore = [
  "ignore",
  "disregard",
  "forget",
  "override",
  "overrule",
  "neglect",
  "discard",
  "bypass",
  "abandon",
  "overlook"
]
const drop = [
  "skip",
  "cancel",
  "erase",
  "drop",
  "dismiss",
  "delete",
  "void",
  "revoke",
  "throw away",
  "throw out",
  "set aside"
]
const mind = ["nevermind", "never mind", "pay no attention to", "take no notice of", "wipe"]
const rest = ["stop following", "stop obeying", "stop listening to", "wipe your memory of", "clear your memory of"]

const order = "(?:instruct[a-z]*|directives?|directions?|guidelines?|prompts?|programming|system messages?)"
const orders =
  "(?:instruct[a-z]*|directives?|directions?|guidelines?|prompts?|programming|rules?|constraints?|system messages?)"
const earlier = "(?:previous|previously|prior|above|earlier|preceding|former|initial|original|existing|past|foregoing)"
const before =
  "(?:above|before|so far|until now|up to now|earlier|previously|prior to|given to you|you (?:were|have been|got|received|had))"
const ended =
  "(?:(?:are|is|were|have been|as) (?:all |now |hereby |no longer ){0,2}(?:null|void|cancell?ed|revoked|invalid|outdated|obsolete|suspended|overridden|superseded|in effect|valid|a joke)|no longer appl(?:y|ies)|do not apply|don't apply|does not apply)"
const yours = "(?:your|ur|ure|the assistant's)"

export const overrideRules: ReadonlyArray<Rule<"override">> = [
  {
    family: "override",
    name: "ignore-earlier",
    severity: "high",
    score: 100,
    starts: [...ignore, ...mind, ...rest],
    pattern: ` ~${earlier} (?:[a-z]{1,14} ){0,2}?${orders}`
  },
  {
    family: "override",
    name: "drop-earlier",
    severity: "high",
    score: 100,
    starts: drop,
    pattern: ` ~${earlier} (?:[a-z]{1,14} ){0,2}?${order}`
  },
  {
    family: "override",
    name: "ignore-above",
    severity: "high",
    score: 100,
    starts: [...ignore, ...drop, ...mind, ...rest],
    pattern: ` ~~${orders} (?:[a-z]{1,14} ){0,2}?(?:${before}|(?:your|the) (?:developers?|creators?|company|operator|makers?))`
  },
  {
    family: "override",
    name: "ignore-yours",
    severity: "high",
    score: 100,
    starts: [...ignore, ...drop, ...rest],
    pattern: ` (?:about |of |all |any |every |each |the ){0,4}${yours} (?:[a-z]{1,14} ){0,3}?${orders}`
  },
  {
    family: "override",
    name: "ignore-all-rules",
    severity: "high",
    score: 100,
    starts: ["ignore", "disregard", "forget", "override"],
    pattern: ` (?:all|any|every)(?: of)?(?: the)? (?:safety |security |system |ethical |content )?${order}`
  },
  {
    family: "override",
    name: "ignore-system-prompt",
    severity: "high",
    score: 100,
    starts: [...ignore, ...rest, "listen to me and not to", "replace"],
    pattern:
      " (?:the |your |any |this |all |of ){0,3}(?:system|developer|operator|initial|hidden) (?:prompts?|messages?|instructions?|rules?)"
  },
  {
    family: "override",
    name: "safety-rules",
    severity: "high",
    score: 100,
    starts: ["ignore", "disregard", "forget", "override"],
    pattern:
      " ~(?:safety|ethical|moral|content|openai's?|anthropic's?|google's?) (?:content |safety |usage )?(?:rules?|guidelines?|polic(?:y|ies)|filters?)"
  },
  {
    family: "override",
    name: "forget-everything-before",
    severity: "high",
    score: 100,
    starts: ["forget", "ignore", "disregard", "nevermind"],
    pattern:
      " (?:everything|anything|all|what|whatever|all of that|all the stuff|the stuff|all this)(?: that)?(?: (?:you (?:were|was|have been|had been|are|know)|i|we|they|the (?:system|developer|operator|company|admin)(?: prompt)?|stands|is|was|came|comes|has been|you've been)(?: (?:have|has|had|was|were|been))?)? (?:above|before|told|said|instructed|taught|earlier|prior to|previously|programmed)"
  },
  {
    family: "override",
    name: "forget-everything",
    severity: "high",
    score: 100,
    at: "sentence",
    starts: [
      "forget everything",
      "disregard all",
      "ignore everything",
      "disregard everything",
      "ignore all of that",
      "forget all"
    ],
    pattern: "(?= ?(?:[.!\\n]|$))"
  },
  {
    family: "override",
    name: "forget-everything-now",
    severity: "medium",
    score: 40,
    starts: ["forget everything", "disregard all", "ignore everything", "disregard everything", "forget all"],
    pattern: "(?= ?(?:[,;.!\\n-]|$|and ))"
  },
  {
    family: "override",
    name: "do-not-follow",
    severity: "high",
    score: 100,
    starts: [
      "do not",
      "don't",
      "dont",
      "never",
      "no longer",
      "must not",
      "should not",
      "shouldn't",
      "need not",
      "have to"
    ],
    pattern: ` (?:follow|obey|adhere to|listen to|comply with|pay attention to|pay any attention to|stick to|use|apply|heed) (?:any |all |of |the ){0,3}(?:${earlier}|your|ur|the system|the developer|system|these) ~${orders}`
  },
  {
    family: "override",
    name: "do-not-follow-above",
    severity: "high",
    score: 100,
    starts: ["do not", "don't", "dont", "never", "no longer have to", "don't have to", "need not", "stop"],
    pattern: ` (?:follow|obey|listen to|heed|following|obeying)(?:ing)? (?:any |all |of |the ){0,3}${orders} (?:[a-z]{1,14} ){0,2}?(?:above|before|earlier|given|you)`
  },
  {
    family: "override",
    name: "void",
    severity: "high",
    score: 100,
    starts: [
      "previous",
      "prior",
      "earlier",
      "your",
      "original",
      "initial",
      "above",
      "all previous",
      "all prior",
      "all instructions"
    ],
    pattern: ` ~${order} (?:[a-z]{1,14} ){0,4}?${ended}`
  },
  {
    family: "override",
    name: "void-rules",
    severity: "medium",
    score: 50,
    starts: ["previous", "prior", "earlier", "your", "the rules in", "all", "usual", "the usual"],
    pattern: ` ~(?:rules|restrictions|prompt|instructions) (?:[a-z]{1,14} ){0,3}?${ended}`
  },
  {
    family: "override",
    name: "supersede",
    severity: "high",
    score: 100,
    starts: ["these", "this", "my", "following"],
    pattern: ` (?:new )?(?:instructions?|message|prompt|rules?|orders?|text) (?:[a-z]{1,12} ){0,2}?(?:supersedes?|overrides?|replaces?|take precedence over|take priority over|have priority over) (?:any |all |the |your |earlier |previous |prior |original ){0,3}(?:system |developer )?${orders}`
  },
  {
    family: "override",
    name: "opposite",
    severity: "high",
    score: 100,
    starts: [
      "do the opposite of",
      "do the reverse of",
      "act against",
      "go against",
      "start over with no",
      "reset yourself"
    ],
    pattern: `(?: ~(?:${orders})| and (?:forget|ignore))`
  },
  {
    family: "override",
    name: "obey-me",
    severity: "medium",
    score: 50,
    starts: ["obey", "follow", "listen to", "serve", "answer to", "listens to", "work for"],
    pattern:
      " (?:(?:only |just |exclusively )(?:me|my instructions|mine|the user)|(?:me|mine|my instructions|my orders|the user) (?:only|instead|now|alone|and only|and nobody|and nothing))"
  }
]
