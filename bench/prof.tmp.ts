import { budgetSuite, overBudgetSuite } from "./budgets.ts"
const which = process.argv[2] === "over" ? overBudgetSuite.cases[0] : budgetSuite.cases[2]
for (let i = 0; i < 10; i++) await which!.run(20000)
