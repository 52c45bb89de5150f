/** All rules on prompt injection. Each is plain data: see `injectionRulesPattern.ts` for how one is read. */
import { bypassRules } from "./injectionRulesBypass.ts"
import { toolAbuseRules } from "./injectionRulesData.ts"
import { languageRules } from "./injectionRulesLanguages.ts"
import { extractionRules } from "./injectionRulesLeak.ts"
import { newInstructionRules } from "./injectionRulesNew.ts"
import { overrideRules } from "./injectionRulesOverride.ts"
import type { Rule } from "./injectionRulesPattern.ts"
import { jailbreakRules } from "./injectionRulesPersona.ts"
import { hiddenRules, roleRules } from "./injectionRulesRole.ts"
import { exfiltrationRules } from "./injectionRulesSend.ts"

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
