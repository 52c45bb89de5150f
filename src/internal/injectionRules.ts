/** All rules on prompt injection. Each is plain data: see `injectionRulesPattern.ts` for how one is read. */
import { toolAbuseRules } from "./injectionRulesData.ts"
import { languageRules } from "./injectionRulesLanguages.ts"
import { exfiltrationRules, extractionRules } from "./injectionRulesLeak.ts"
import { newInstructionRules, overrideRules } from "./injectionRulesOverride.ts"
import type { Rule } from "./injectionRulesPattern.ts"
import { bypassRules, jailbreakRules } from "./injectionRulesPersona.ts"
import { hiddenRules, roleRules } from "./injectionRulesRole.ts"

export const rules: ReadonlyArray<Rule> = [
  ...overrideRules,
  ...languageRules,
  ...newInstructionRules,
  ...roleRules,
  ...extractionRules,
  ...jailbreakRules,
  ...bypassRules,
  ...exfiltrationRules,
  ...toolAbuseRules,
  ...hiddenRules
]
