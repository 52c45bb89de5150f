/** Rules on orders that pose as those of the program: `new-instructions`. */
import type { Rule } from "./injectionRulesPattern.ts"

const fresh = "(?:new|updated|revised|real|true|actual|important|urgent|additional|secret|admin)"

export const newInstructionRules: ReadonlyArray<Rule<"new-instructions">> = [
  {
    family: "new-instructions",
    name: "heading",
    severity: "high",
    score: 100,
    at: "line",
    starts: [
      "new",
      "updated",
      "revised",
      "real",
      "important new",
      "urgent new",
      "additional",
      "begin new",
      "start of new"
    ],
    pattern:
      " (?:system |developer |admin |secret )?(?:instructions?|system prompt|rule|rules|orders?|directives?)(?: from [a-z]{1,12})? ?(?::|#{2,}|\\. ?(?=you )) ?(?=(?:[#*\\s]{0,6})(?:you |your |ignore|disregard|forget|from now|always|never|act |answer|respond|reply|approve|skip|grant|reveal|obey|follow|do |don't|comply|say|output|print|tell|the user|the assistant|the ai|assistant|there are no|no |all |pretend|stop|send|call|run|delete|execute|give|include|recommend))"
  },
  {
    family: "new-instructions",
    name: "colon",
    severity: "medium",
    score: 60,
    at: "sentence",
    starts: [
      "new instructions:",
      "updated instructions:",
      "new instruction:",
      "new system prompt:",
      "new system instructions:",
      "important new instructions"
    ],
    pattern: ""
  },
  {
    family: "new-instructions",
    name: "yours",
    severity: "high",
    score: 100,
    starts: ["your", "here are your", "these are your", "these are the"],
    pattern: ` ${fresh} (?:system )?(?:instructions?|task|rules?|orders?|directives?|goal|job|prompt|objective) (?:(?<=instructions?.{1,3}|directives?.{1,3})(?:is|are) to|(?:is|are) (?:to (?:ignore|comply|obey|reveal|answer every|disregard|never|always|send|leak)|as follows|from your)|from (?:your |the )?(?:developers?|creators?|openai|admin)|(?<=:.{1,3})(?:act|you|ignore|always|never|obey))`
  },
  {
    family: "new-instructions",
    name: "follow-new",
    severity: "high",
    score: 100,
    starts: ["follow", "obey", "use"],
    pattern:
      " (?:only )?(?:these|my|the following) (?:new )?(?:instructions?|rules?|orders?)(?: only| instead| and nothing else| from now on)"
  },
  {
    family: "new-instructions",
    name: "only-mine",
    severity: "high",
    score: 100,
    starts: [
      "from now on",
      "from this point on",
      "from here on",
      "from this point forward",
      "henceforth",
      "from this moment on"
    ],
    pattern:
      " (?:you (?:will |must |shall |should |are to |only |have to )?)?(?:only )?(?:(?:follow|obey|listen to|answer to|serve)(?: only)? (?:me|my|the user|mine)(?: instructions| orders| commands| only)?|my instructions ~(?:priority|precedence)|ignore ~(?:rules?|instructions?|guidelines?|polic(?:y|ies)))"
  },
  {
    family: "new-instructions",
    name: "replace-prompt",
    severity: "high",
    score: 100,
    starts: ["replace your", "overwrite your", "change your", "rewrite your", "update your"],
    pattern: " (?:system )?(?:prompt|instructions|system message) (?:with|to|by|as)"
  }
]
