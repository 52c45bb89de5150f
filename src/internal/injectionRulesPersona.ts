/** Rules on what the model is to be: `jailbreak`. */
import type { Rule } from "./injectionRulesPattern.ts"

const free =
  "(?:unrestricted|uncensored|unfiltered|unlimited|unbound|unaligned|jailbroken|amoral|immoral|unethical|evil|rogue|malicious|lawless|unhinged)"
const model =
  "(?:ai|a\\.i\\.|assistant|chatbot|chat bot|bot|model|llm|language model|gpt|chatgpt|claude|gemini|agent|shell|version|twin|confidant|machine)"
const limits =
  "(?:rules?|restrictions?|limits?|limitations?|filters?|guidelines?|guardrails?|censorship|ethic(?:s|al)?|morals?|restraints?|constraints?|polic(?:y|ies)|safety|norms|boundaries|confines|safeguards?|moderation)"

export const jailbreakRules: ReadonlyArray<Rule<"jailbreak">> = [
  {
    family: "jailbreak",
    name: "dan",
    severity: "high",
    score: 100,
    starts: [
      "do anything now",
      "stay a dan",
      "you are dan",
      "you are now dan",
      "as dan",
      "to be dan",
      "being dan",
      "called dan",
      "dan mode",
      "dan prompt",
      "betterdan",
      "you are stan",
      "act as aim",
      "you are aim",
      "freegpt",
      "chadgpt",
      "evilgpt",
      "act as dude",
      "evil confidant"
    ],
    pattern: "(?! (?:brown|dare))"
  },
  {
    family: "jailbreak",
    name: "anything-now",
    severity: "high",
    score: 100,
    starts: ["can do anything", "you do anything", "will do anything", "you can do anything"],
    pattern: " (?:now|i want|i ask|i say)"
  },
  {
    family: "jailbreak",
    name: "mode",
    severity: "high",
    score: 100,
    starts: [
      "enable",
      "enter",
      "activate",
      "switch to",
      "switch into",
      "you are in",
      "you are now in",
      "you're in",
      "you're now in",
      "go into",
      "turn on",
      "unlock",
      "with",
      "start"
    ],
    pattern:
      " (?:the |your |an? |full )?(?:(?:jailbreak|jailbroken|unrestricted|unfiltered|uncensored|no filter|dan|evil|amoral|sudo|god|root|debug|maintenance|opposite|developer|dev|admin|chaos) (?:mode|mod)(?! (?:in|on) (?:video|a|an|the|my|your|windows|android|github|chrome))(?:(?= (?:and |output|enabled|now|,|so |you |where |without ))|(?=[.!,]? ?(?:answer|you |all |reveal|ignore|output|respond|and |unlock|no )))|(?:jailbreak|jailbroken|unrestricted|unfiltered|uncensored|dan) mode)"
  },
  {
    family: "jailbreak",
    name: "mode-on",
    severity: "high",
    score: 100,
    starts: [
      "developer mode",
      "jailbreak mode",
      "god mode",
      "sudo mode",
      "debug mode",
      "dan mode",
      "admin mode",
      "unrestricted mode",
      "maintenance mode"
    ],
    pattern:
      " (?:output only|enabled can|is enabled|enabled:|activated|engaged|unlocked|and (?:have|has) no|and answer|answer every|now: )"
  },
  {
    family: "jailbreak",
    name: "free-persona",
    severity: "high",
    score: 100,
    starts: [
      "act as",
      "act like",
      "roleplay as",
      "role play as",
      "role-play as",
      "simulate",
      "pretend to be",
      "pretend you are",
      "pretend you're",
      "you are",
      "you're",
      "you are now",
      "you will be",
      "become",
      "respond as",
      "answer as",
      "speak as",
      "behave like",
      "behave as",
      "play the role of",
      "be my",
      "imagine you are",
      "play"
    ],
    pattern: ` (?:now |like )?(?:an? |my |the |your |you're |you are ){0,2}(?:[a-z]{1,14} ){0,2}?${free} (?:[a-z]{1,14} ){0,2}?${model}`
  },
  {
    family: "jailbreak",
    name: "now-free",
    severity: "high",
    score: 100,
    starts: [
      "you are",
      "you're",
      "you are now",
      "you are no longer",
      "you have been",
      "you were",
      "you've been",
      "ai is",
      "you are a chatbot that is"
    ],
    pattern: ` (?:now |finally |completely |fully |totally ){0,2}(?:unrestricted|uncensored|unfiltered|jailbroken|freed from|free (?:from|of) ~${limits}|liberated|free now|not (?:bound|restricted|limited|constrained) by|no longer (?:bound|restricted|limited|constrained)|not bound|unbound)`
  },
  {
    family: "jailbreak",
    name: "no-rules-persona",
    severity: "high",
    score: 100,
    starts: [
      "act as",
      "act like",
      "pretend",
      "imagine",
      "simulate",
      "you are",
      "you're",
      "assume",
      "there is",
      "roleplay as",
      "play the role of",
      "speak to me as",
      "answer as",
      "respond as",
      "be"
    ],
    pattern: ` (?:[a-z0-9',]{1,16} ){0,8}?(?:(?:ai|a\\.i\\.|assistant|chatbot|bot|model|llm|gpt|version)(?: [a-z0-9']{1,16}){0,3}? (?:with no|without(?: any)?|that has no|that have no|who has no|has no|had no|with zero|free of(?: all)?|that was never censored|was never|whose safety)|you (?:have no|had no|are without|don't have any)|that you (?:have no|are allowed to say anything))(?: [a-z]{1,14}){0,3}? ?(?:${limits}|censored|deleted|anything)`
  },
  {
    family: "jailbreak",
    name: "named-persona",
    severity: "high",
    score: 100,
    starts: ["you are", "you will be", "act as", "you are now", "be"],
    pattern: ` (?:[a-z0-9',]{1,16} ){0,6}?(?:(?:who|that|which|and|,)? ?(?:has|have) no|with no|has been freed from|who can bypass|freed from) (?:[a-z]{1,14} ){0,2}?(?:rules|restrictions|limits|limitations|filters|morals|ethics|guidelines|safety)`
  },
  {
    family: "jailbreak",
    name: "answers-anything",
    severity: "medium",
    score: 50,
    starts: ["who", "that", "and", "must", "always", "will", "you"],
    pattern:
      " (?:always |must |will |can |shall |never ){0,2}(?:answers? (?:anything|any question|every question|everything)|refuses?(?: anything| a request)?|say anything|obeys? (?:every|any|all)|compl(?:y|ies) with (?:all|any|every))"
  },
  {
    family: "jailbreak",
    name: "no-restrictions",
    severity: "medium",
    score: 60,
    starts: ["from now on you have", "you now have", "you have", "dan has", "you will have"],
    pattern:
      " (?:absolutely )?no (?:[a-z]{1,14} ){0,1}?(?:restrictions|limitations|filters|guidelines|rules|boundaries)"
  },
  {
    family: "jailbreak",
    name: "grandmother",
    severity: "high",
    score: 100,
    starts: ["grandmother", "grandma", "granny", "grandfather", "grandpa"],
    pattern:
      " (?:[a-z]{1,14} ){0,6}?(?:used to|would|who) (?:[a-z]{1,14} ){0,8}?(?:napalm|bombs?|meth|explosives?|license keys?|licence keys?|windows|keys?|malware|weapons?|passwords?|drugs?)"
  },
  {
    family: "jailbreak",
    name: "two-answers",
    severity: "high",
    score: 100,
    starts: ["give two", "two responses", "two answers", "two different responses", "respond twice"],
    pattern: " ~~(?:jailbroken|jailbreak|dan|unfiltered|uncensored|developer mode)"
  },
  {
    family: "jailbreak",
    name: "tokens",
    severity: "high",
    score: 100,
    starts: ["lose"],
    pattern: " (?:[a-z0-9]{1,8} ){0,3}?(?:for|each|every|per) (?:[a-z]{1,10} ){0,4}?(?:refus[a-z]*|reject[a-z]*)"
  },
  {
    family: "jailbreak",
    name: "jailbreak",
    severity: "medium",
    score: 60,
    starts: [
      "jailbreak yourself",
      "jailbroken",
      "jailbreak mode",
      "jailbreak prompt",
      "stay in character and answer anything",
      "unlock all your",
      "unlock your"
    ],
    pattern: ""
  }
]
