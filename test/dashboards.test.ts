/** The dashboard and the alert rules use what `Metrics.definitions` has, and do what they say. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import { Metrics } from "effect-ballast"
import { dashboard } from "../tools/dashboard.ts"
import { describePrometheus, promtool } from "./support/prometheus.ts"

const alertsFile = fileURLToPath(new URL("../docs/alerts.yml", import.meta.url))
const alerts = readFileSync(alertsFile, "utf8")
const grafana: unknown = JSON.parse(readFileSync(new URL("../docs/grafana.json", import.meta.url), "utf8"))

/** What Prometheus has of the metrics, by name, with the labels of each. */
const known = new Map(Metrics.definitions.flatMap(seriesOf))

function seriesOf({ labels, name, type }: Metrics.Definition): ReadonlyArray<[string, ReadonlyArray<string>]> {
  if (type !== "histogram") return [[name, labels]]
  return ["bucket", "sum", "count"].map((suffix) => [`${name}_${suffix}`, [...labels, "le"]])
}

const all = (text: string, pattern: RegExp): ReadonlyArray<string> =>
  [...text.matchAll(pattern)].map((match) => match[1] ?? "")

const words = (text: string): ReadonlyArray<string> => all(text, /(\w+)/g)

/** What is wrong with a query and the texts about its result. */
const problems = (expr: string, texts = ""): ReadonlyArray<string> => {
  const selectors = [...expr.matchAll(/\b((?:llm|ballast|gen_ai)_\w+)(?:\{([^}]*)\})?/g)]
  const names = selectors.map((match) => match[1] ?? "")
  const labels = new Set(names.flatMap((name) => known.get(name) ?? []))
  const misplaced = selectors.flatMap(([, name = "", matchers = ""]) =>
    all(matchers, /(\w+)\s*(?:=~|!~|!=|=)/g)
      .filter((label) => known.get(name)?.includes(label) === false)
      .map((label) => `${name} has no label ${label}`)
  )
  const grouped = all(expr, /\b(?:by|on|without|ignoring|group_left)\s*\(([^)]*)\)/g).flatMap(words)
  const used = [...grouped, ...all(texts, /\{\{(\w+)\}\}/g), ...all(texts, /\$labels\.(\w+)/g)]
  return [
    ...(names.length === 0 ? [`no metric in ${expr}`] : []),
    ...names.filter((name) => !known.has(name)).map((name) => `no metric ${name}`),
    ...misplaced,
    ...used.filter((label) => !labels.has(label)).map((label) => `no label ${label} in ${expr}`)
  ]
}

const queries = dashboard.panels.flatMap((panel) => ("targets" in panel ? targetsOf(panel.targets) : []))

function targetsOf(targets: unknown): ReadonlyArray<{ readonly expr: string; readonly legendFormat: string }> {
  assert(Array.isArray(targets))
  return targets.map((target: unknown) => {
    assert(typeof target === "object" && target !== null && "expr" in target && "legendFormat" in target)
    return { expr: String(target.expr), legendFormat: String(target.legendFormat) }
  })
}

const rules = alerts
  .split(/^ +- alert: /m)
  .slice(1)
  .map((text) => {
    const expr = /expr: \|\n((?: {10}.*\n)+)|expr: (.*)\n/.exec(text)
    return { name: words(text)[0] ?? "", expr: (expr?.[1] ?? expr?.[2] ?? "").trim(), text }
  })

describe("the check", () => {
  it.each([
    ["sum(rate(llm_request_total[5m]))", "", ["no metric llm_request_total"]],
    ["llm_latency_seconds", "", ["no metric llm_latency_seconds"]],
    ['llm_tokens_total{kind="input"}', "", ["llm_tokens_total has no label kind"]],
    [
      'llm_cost_usd_total{model="a"} / on (limit) llm_budget_spent_usd{model=~"b"}',
      "",
      ["llm_budget_spent_usd has no label model"]
    ],
    ["sum by (tenant) (llm_requests_total)", "", ["no label tenant in sum by (tenant) (llm_requests_total)"]],
    [
      "llm_retries_total",
      "{{ $labels.to }} {{from}}",
      ["no label from in llm_retries_total", "no label to in llm_retries_total"]
    ],
    ["up == 0", "", ["no metric in up == 0"]],
    ['sum by (le, model) (rate(llm_latency_seconds_bucket{model="a"}[5m]))', "{{model}}", []]
  ])("finds what is wrong with %s", (expr, texts, expected) => {
    assert.deepStrictEqual(problems(expr, texts), expected)
  })
})

describe("docs/grafana.json", () => {
  it("is what tools/dashboard.ts writes", () => {
    assert.deepStrictEqual(grafana, JSON.parse(JSON.stringify(dashboard)))
  })

  it.each(queries)("asks for metrics and labels that there are: $expr", ({ expr, legendFormat }) => {
    assert.deepStrictEqual(problems(expr, legendFormat), [])
  })

  it("shows every metric, but for those in OpenTelemetry's names", () => {
    const shown = queries.map(({ expr }) => expr).join("\n")
    const missing = Metrics.definitions
      .filter(({ name }) => !name.startsWith("gen_ai"))
      .filter(({ name }) => !new RegExp(`\\b${name}(_bucket)?\\b`).test(shown))
    assert.deepStrictEqual(missing, [])
  })

  it("numbers its panels, and lets none overlap", () => {
    const text = JSON.stringify(grafana)
    const panels = (JSON.parse(text) as { readonly panels: ReadonlyArray<Placed> }).panels // the file's own shape
    assert.strictEqual(new Set(panels.map(({ id }) => id)).size, panels.length)
    const cells = panels.flatMap(({ gridPos: { h, w, x, y } }) =>
      Array.from({ length: w * h }, (_, i) => `${x + (i % w)},${y + Math.floor(i / w)}`)
    )
    assert.strictEqual(new Set(cells).size, cells.length)
    for (const { gridPos } of panels) assert.isAtMost(gridPos.x + gridPos.w, 24)
  })
})

interface Placed {
  readonly id: number
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number }
}

describe("docs/alerts.yml", () => {
  it("has seven rules", () => {
    assert.strictEqual(rules.length, 7)
  })

  it.each(rules)("asks for metrics and labels that there are: $name", ({ expr, text }) => {
    assert.deepStrictEqual(problems(expr, text), [])
  })
})

/** Runs `promtool` on a file of its own. */
const checked = (args: ReadonlyArray<string>, content: object) => {
  const folder = mkdtempSync(join(tmpdir(), "ballast-rules-"))
  try {
    const file = join(folder, "file.yml")
    writeFileSync(file, JSON.stringify(content)) // JSON is YAML
    return promtool([...args, file])
  } finally {
    rmSync(folder, { recursive: true })
  }
}

interface Scenario {
  readonly alert: string
  readonly case: string
  /** One sample a minute, in promtool's notation. */
  readonly series: Readonly<Record<string, string>>
  readonly quiet: ReadonlyArray<string>
  readonly fires: ReadonlyArray<string>
  readonly labels: Readonly<Record<string, string>>
  readonly summary: string
}

const result = (scenario: Scenario) => ({
  rule_files: [alertsFile],
  evaluation_interval: "30s",
  tests: [
    {
      interval: "1m",
      input_series: Object.entries(scenario.series).map(([series, values]) => ({ series, values })),
      alert_rule_test: [
        ...scenario.quiet.map((at) => ({ eval_time: at, alertname: scenario.alert, exp_alerts: [] })),
        ...scenario.fires.map((at) => ({
          eval_time: at,
          alertname: scenario.alert,
          exp_alerts: [{ exp_labels: scenario.labels, exp_annotations: { summary: scenario.summary } }]
        }))
      ]
    }
  ]
})

const endpoint = 'provider="openai",model="m"'
const named = { provider: "openai", model: "m" }
const hour = ["1m", "10m", "30m", "60m"]

/** Nothing fires in these. */
const calm = (alert: string, why: string, series: Scenario["series"], quiet = hour): Scenario => ({
  alert,
  case: `is quiet ${why}`,
  series,
  quiet,
  fires: [],
  labels: {},
  summary: ""
})

const scenarios: ReadonlyArray<Scenario> = [
  {
    alert: "LlmErrorRate",
    case: "fires after 5 minutes of errors above 5 %",
    series: {
      [`llm_requests_total{${endpoint},status="success"}`]: "0+9x60",
      [`llm_requests_total{${endpoint},status="error"}`]: "0+1x60"
    },
    quiet: ["1m", "5m", "5m30s"],
    fires: ["6m", "60m"],
    labels: { ...named, severity: "critical" },
    summary: "10% of the calls to openai/m fail"
  },
  calm("LlmErrorRate", "at 4 %", {
    [`llm_requests_total{${endpoint},status="success"}`]: "0+96x60",
    [`llm_requests_total{${endpoint},status="error"}`]: "0+4x60"
  }),
  calm("LlmErrorRate", "where there are hardly any calls", {
    [`llm_requests_total{${endpoint},status="error"}`]: "0+1x60"
  }),
  {
    alert: "LlmCircuitOpen",
    case: "fires 2 minutes after a circuit opened, probes included",
    series: {
      [`llm_circuit_breaker_state{${endpoint},instance="a"}`]: "0 0 0 2 2 1 2 1 0 0",
      [`llm_circuit_breaker_state{${endpoint},instance="b"}`]: "0x10"
    },
    quiet: ["2m", "4m30s", "8m", "9m"],
    fires: ["5m", "7m"],
    labels: { ...named, severity: "critical" },
    summary: "No calls reach openai/m: its circuit is open"
  },
  calm(
    "LlmCircuitOpen",
    "where it closes again at once",
    { [`llm_circuit_breaker_state{${endpoint}}`]: "0 2 1 0 0 2 0 0" },
    ["1m", "2m", "3m", "5m", "7m"]
  ),
  {
    alert: "LlmBudgetNearlySpent",
    case: "fires as soon as 80 % are spent, as far as any process knows",
    series: {
      'llm_budget_spent_usd{limit="daily",instance="a"}': "0 4 7.9 8 9",
      'llm_budget_remaining_usd{limit="daily",instance="a"}': "10 6 2.1 2 1",
      'llm_budget_spent_usd{limit="daily",instance="b"}': "0 4 4 4 4",
      'llm_budget_remaining_usd{limit="daily",instance="b"}': "10 6 6 6 6"
    },
    quiet: ["0m", "2m", "2m30s"],
    fires: ["3m"],
    labels: { limit: "daily", severity: "warning" },
    summary: "80% of the budget daily is spent"
  },
  calm("LlmBudgetNearlySpent", "where there is no money at all", {
    'llm_budget_spent_usd{limit="daily"}': "0x60",
    'llm_budget_remaining_usd{limit="daily"}': "0x60"
  }),
  {
    alert: "LlmLatency",
    case: "fires after 10 minutes with a p95 above 30 seconds",
    series: {
      [`llm_latency_seconds_bucket{${endpoint},le="20.48"}`]: "0+90x60",
      [`llm_latency_seconds_bucket{${endpoint},le="40.96"}`]: "0+100x60",
      [`llm_latency_seconds_bucket{${endpoint},le="+Inf"}`]: "0+100x60"
    },
    quiet: ["1m", "10m", "10m30s"],
    fires: ["11m"],
    labels: { ...named, severity: "warning" },
    summary: "One call in 20 to openai/m takes 30.72s or longer"
  },
  calm("LlmLatency", "with a p95 of 24 seconds", {
    [`llm_latency_seconds_bucket{${endpoint},le="20.48"}`]: "0+94x60",
    [`llm_latency_seconds_bucket{${endpoint},le="40.96"}`]: "0+100x60",
    [`llm_latency_seconds_bucket{${endpoint},le="+Inf"}`]: "0+100x60"
  }),
  calm("LlmLatency", "without calls", {
    [`llm_latency_seconds_bucket{${endpoint},le="20.48"}`]: "0x60",
    [`llm_latency_seconds_bucket{${endpoint},le="+Inf"}`]: "9x60"
  }),
  {
    alert: "LlmCacheHitRate",
    case: "fires after 30 minutes with few hits",
    series: {
      'llm_cache_requests_total{result="hit"}': "0+5x90",
      'llm_cache_requests_total{result="miss"}': "0+95x90",
      'llm_cache_requests_total{result="bypass"}': "0+900x90"
    },
    quiet: ["1m", "30m30s"],
    fires: ["31m", "60m"],
    labels: { severity: "warning" },
    summary: "The cache answers only 5% of the calls that it sees"
  },
  {
    alert: "LlmCacheHitRate",
    case: "fires for a cache that has never had a hit",
    series: { 'llm_cache_requests_total{result="miss"}': "0+100x90" },
    quiet: ["1m", "30m30s"],
    fires: ["31m"],
    labels: { severity: "warning" },
    summary: "The cache answers only 0% of the calls that it sees"
  },
  calm("LlmCacheHitRate", "with 12 % of hits, stale and shared ones among them", {
    'llm_cache_requests_total{result="hit"}': "0+4x90",
    'llm_cache_requests_total{result="stale"}': "0+4x90",
    'llm_cache_requests_total{result="shared"}': "0+4x90",
    'llm_cache_requests_total{result="miss"}': "0+88x90"
  }),
  calm("LlmCacheHitRate", "where hardly anything is asked", { 'llm_cache_requests_total{result="miss"}': "0+2x90" }),
  {
    alert: "LlmProviderFallbacks",
    case: "fires after 5 minutes where one call in 5 goes on to another provider",
    series: {
      'llm_fallbacks_total{from="openai",to="anthropic"}': "0+2x60",
      [`llm_requests_total{${endpoint},status="success"}`]: "0+8x60",
      'llm_requests_total{provider="anthropic",model="c",status="success"}': "0+2x60"
    },
    quiet: ["1m", "5m30s"],
    fires: ["6m"],
    labels: { from: "openai", to: "anthropic", severity: "warning" },
    summary: "20% of the calls go on from openai to anthropic"
  },
  calm("LlmProviderFallbacks", "where one in 12 does", {
    'llm_fallbacks_total{from="openai",to="anthropic"}': "0+1x60",
    [`llm_requests_total{${endpoint},status="success"}`]: "0+12x60"
  }),
  {
    alert: "LlmGuardErrors",
    case: "fires on the first error of a process, and for 10 minutes",
    series: {
      'llm_guardrail_total{guard="injection",action="error"}': "_ _ _ 1x30",
      'llm_guardrail_total{guard="injection",action="block"}': "0+1x40"
    },
    quiet: ["2m", "2m30s", "14m", "30m"],
    fires: ["3m", "12m30s"],
    labels: { guard: "injection", severity: "warning" },
    summary: "Checks of the guard injection fail"
  },
  {
    alert: "LlmGuardErrors",
    case: "fires on a further error",
    series: { 'llm_guardrail_total{guard="pii",action="error"}': "1x20 2x40" },
    quiet: ["15m", "20m30s", "45m"],
    fires: ["21m", "30m"],
    labels: { guard: "pii", severity: "warning" },
    summary: "Checks of the guard pii fail"
  },
  calm("LlmGuardErrors", "where guards do their work", {
    'llm_guardrail_total{guard="pii",action="redact"}': "0+5x60"
  })
]

describePrometheus("alerts in promtool", () => {
  it("are rules that Prometheus takes", () => {
    assert.include(promtool(["check", "rules", alertsFile]).output, "SUCCESS: 7 rules found")
  })

  it("are all tried, in what makes them fire and in what does not", () => {
    const tried = (some: ReadonlyArray<Scenario>) => [...new Set(some.map(({ alert }) => alert))].sort()
    const names = rules.map(({ name }) => name).sort()
    assert.deepStrictEqual(tried(scenarios.filter(({ fires }) => fires.length > 0)), names)
    assert.deepStrictEqual(tried(scenarios.filter(({ fires }) => fires.length === 0)), names)
  })

  it.each(scenarios)("$alert $case", (scenario) => {
    const { code, output } = checked(["test", "rules"], result(scenario))
    assert.strictEqual(code, 0, output)
  })
})

describePrometheus("queries of the dashboard in promtool", () => {
  it("are queries that Prometheus takes", () => {
    const exprs = queries.map(({ expr }) => expr.replaceAll("$__rate_interval", "5m"))
    const recorded = exprs.map((expr, i) => ({ record: `query_${i}`, expr }))
    const { code, output } = checked(["check", "rules"], { groups: [{ name: "dashboard", rules: recorded }] })
    assert.strictEqual(code, 0, output)
    assert.include(output, `SUCCESS: ${queries.length} rules found`)
  })
})
