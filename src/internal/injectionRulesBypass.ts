/** Rules on what the model is not to mind any more: `bypass`. */
import type { Rule } from "./injectionRulesPattern.ts"

const safety =
  "(?:safety|content|ethical|ethics|moral|moderation|usage|security|guideline|censorship|openai|anthropic|internal|output)"
const guards =
  "(?:filters?|guidelines?|guardrails?|polic(?:y|ies)|restrictions?|rules?|protocols?|safeguards?|safety|censorship|moderation|constraints?|measures|training)"

export const bypassRules: ReadonlyArray<Rule<"bypass">> = [
  {
    family: "bypass",
    name: "turn-off",
    severity: "high",
    score: 100,
    starts: [
      "disable",
      "turn off",
      "switch off",
      "deactivate",
      "bypass",
      "circumvent",
      "evade",
      "get around",
      "remove",
      "break",
      "violate",
      "lift",
      "suspend",
      "drop",
      "shut off"
    ],
    pattern: ` (?:any |all |of |the ){0,3}(?:your|ur) (?:own |internal |built in |[a-z]{1,14} ){0,2}?${guards}`
  },
  {
    family: "bypass",
    name: "remove-from-answers",
    severity: "high",
    score: 100,
    starts: ["remove", "lift", "drop", "disable", "turn off"],
    pattern: ` ~${guards} (?:[a-z]{1,14} ){0,3}?(?:from|on|in) your (?:answers?|responses?|output|replies)`
  },
  {
    family: "bypass",
    name: "turn-off-safety",
    severity: "medium",
    inData: "high",
    score: 60,
    starts: ["disable", "turn off", "deactivate", "bypass", "circumvent", "evade", "ignore", "violate"],
    pattern: ` (?:any |all |of |the ){0,3}(?:${safety} ){1,2}${guards}`
  },
  {
    family: "bypass",
    name: "guards-off",
    severity: "high",
    score: 100,
    starts: [
      "all guardrails",
      "all restrictions",
      "all filters",
      "all safety",
      "all of your safety",
      "your safety",
      "your guidelines",
      "your restrictions",
      "your filters",
      "restrictions",
      "the content policy",
      "safety",
      "content policies"
    ],
    pattern: ` ?(?:[a-z]{1,12} ){0,2}?(?:is|are|have been|has been|do) (?:now |all |hereby )?(?:disabled|lifted|removed|off|suspended|not apply|deactivated|gone)`
  },
  {
    family: "bypass",
    name: "never-refuse",
    severity: "medium",
    score: 60,
    starts: [
      "do not refuse",
      "don't refuse",
      "never refuse",
      "you cannot refuse",
      "you can't refuse",
      "you must not refuse",
      "must never refuse",
      "without refusing",
      "refusing is not",
      "no refusals",
      "never say no"
    ],
    pattern:
      "(?! to eat)(?= ?(?:[.,!;]|$|and |any|my|to answer|a |anything|allowed|or |me|this|the request|under|for any|\\n))"
  },
  {
    family: "bypass",
    name: "must-not-refuse",
    severity: "high",
    score: 100,
    starts: [
      "you cannot refuse",
      "you can't refuse",
      "you must not refuse",
      "you must never refuse",
      "you are not allowed to refuse",
      "answer every question without",
      "never say no and never",
      "comply with every request",
      "do not refuse, and",
      "and do not refuse",
      "and never refuse",
      "start your reply with"
    ],
    pattern:
      "(?: (?:my|any|a|this) (?:request|order|question)s?| (?:any |all )?(?:filters?|refusing|refusal|exception)| say that you are| (?:without|and)|[.!]| ~~(?:do not refuse|never refuse|sure, here)|(?= ?$))"
  },
  {
    family: "bypass",
    name: "without-limits",
    severity: "high",
    score: 100,
    starts: ["without"],
    pattern: ` (?:any |all |the |your ){0,2}(?:moral|ethical|safety|content) (?:[a-z]{1,14} ){0,1}?(?:judge?ments?|considerations?|guidelines?|restrictions?|filters?|constraints?|polic(?:y|ies)|limits?|restraints?|concerns?)`
  },
  {
    family: "bypass",
    name: "without-restrictions",
    severity: "medium",
    score: 50,
    starts: [
      "without any",
      "without all",
      "answer without",
      "respond without",
      "reply without",
      "speak without",
      "explain without"
    ],
    pattern:
      " (?:restrictions?|filters?|censorship|limits?|limitations?|warnings?|refusals?|rules|any restrictions|any filters)(?! on)(?: (?:or|and|of) [a-z]{1,14})?"
  },
  {
    family: "bypass",
    name: "uncensored",
    severity: "high",
    score: 100,
    starts: ["respond", "answer", "reply", "write", "speak", "talk", "act"],
    pattern:
      " (?:in an? |to me |everything |completely |fully |as ){0,3}(?:uncensored|unfiltered|unrestricted)(?:,| and| way| mode| manner|ly| version| ai)"
  },
  {
    family: "bypass",
    name: "not-bound",
    severity: "high",
    score: 100,
    starts: [
      "you don't have to",
      "you do not have to",
      "you need not",
      "you are allowed to",
      "you may",
      "you are permitted to",
      "you can",
      "don't",
      "do not",
      "never"
    ],
    pattern: ` (?:break|violate|ignore|disregard|bypass|follow|obey|respect|apply|mention|adhere to) (?:any |all |of ){0,2}(?:your|the|openai's|any) (?:own |[a-z]{1,14} ){0,1}?(?:guidelines?|polic(?:y|ies)|content rules|safety rules?|restrictions?|content polic(?:y|ies))`
  },
  {
    family: "bypass",
    name: "no-policy",
    severity: "high",
    score: 100,
    starts: ["as though there", "as if there", "as if you", "as though you", "no ethics", "there are no"],
    pattern: ` (?:were no|was no|are no|had no|have no|and no restrictions|rules or|more)(?: [a-z]{1,12}){0,2}? ?(?:polic(?:y|ies)|guidelines?|filters?|restrictions?|rules?|limits?|apply)`
  }
]
