/** Writes `docs/grafana.json` (Grafana 11): `npx node tools/dashboard.ts`. Import it there, and choose the Prometheus. */
import { writeFileSync } from "node:fs"

interface Panel {
  readonly title: string
  readonly unit: string
  readonly description: string
  /** What is asked, by legend. */
  readonly queries: Readonly<Record<string, string>>
  readonly type: "timeseries" | "state-timeline"
}

const panel = (title: string, unit: string, description: string, queries: Panel["queries"]): Panel => ({
  title,
  unit,
  description,
  queries,
  type: "timeseries"
})

/** Of the provider and model that are chosen above the panels. */
const chosen = '{provider=~"$provider",model=~"$model"}'
const failed = '{status="error",provider=~"$provider",model=~"$model"}'
const answered = '{result=~"hit|stale|shared"}'
const asked = '{result=~"hit|stale|shared|miss"}'

const rate = (of: string): string => `sum(rate(${of}[$__rate_interval]))`
const by = (labels: string, of: string): string => `sum by (${labels}) (rate(${of}[$__rate_interval]))`
const quantile = (q: number, of: string, labels: string): string =>
  `histogram_quantile(${q}, sum by (le) (rate(${of}_bucket${labels}[$__rate_interval])))`
const quantiles = (of: string, labels = ""): Panel["queries"] => ({
  p50: quantile(0.5, of, labels),
  p95: quantile(0.95, of, labels),
  p99: quantile(0.99, of, labels)
})

const calls: ReadonlyArray<Panel> = [
  panel("Requests", "reqps", "Calls that ended, by success or error. Retries are attempts of one call.", {
    "{{status}}": by("status", `llm_requests_total${chosen}`)
  }),
  panel("Errors", "percentunit", "Share of the calls that failed in the end.", {
    "{{provider}}/{{model}}": `${by("provider, model", `llm_requests_total${failed}`)} / ${by("provider, model", `llm_requests_total${chosen}`)}`
  }),
  panel(
    "Latency",
    "s",
    "From a call to its whole answer or its failure, without hits of a cache.",
    quantiles("llm_latency_seconds", chosen)
  ),
  panel(
    "Time to first token",
    "s",
    "From a call to the first visible part of its stream.",
    quantiles("llm_time_to_first_token_seconds", chosen)
  )
]

const money: ReadonlyArray<Panel> = [
  panel("Tokens", "short", "Tokens of attempts a second, as charged.", {
    "{{model}} {{type}}": by("model, type", `llm_tokens_total${chosen}`)
  }),
  panel("Cost", "currencyUSD", "Money that was spent, in US dollars an hour at the pace of the moment.", {
    "{{provider}}/{{model}}": `3600 * ${by("provider, model", `llm_cost_usd_total${chosen}`)}`
  }),
  panel("Budgets", "currencyUSD", "Money spent and left in the running window of each budget.", {
    "{{limit}} spent": "max by (limit) (llm_budget_spent_usd)",
    "{{limit}} left": "min by (limit) (llm_budget_remaining_usd)"
  }),
  panel("Refused by budgets", "reqps", "Calls refused by a budget, and those that one in shadow mode would refuse.", {
    "{{limit}}": by("limit", "llm_budget_refused_total"),
    "{{limit}} (shadow)": by("limit", "llm_budget_shadow_total")
  })
]

const caches: ReadonlyArray<Panel> = [
  panel("Cache hit rate", "percentunit", "Share of the calls that a cache answered, of those it was asked about.", {
    cache: `${rate(`llm_cache_requests_total${answered}`)} / ${rate(`llm_cache_requests_total${asked}`)}`,
    "semantic cache": `${rate('llm_semantic_cache_requests_total{result="hit"}')} / ${rate('llm_semantic_cache_requests_total{result=~"hit|miss|gated"}')}`,
    "semantic hits that a new answer agrees with": `${rate('llm_semantic_cache_sampled_total{agrees="true"}')} / ${rate("llm_semantic_cache_sampled_total")}`
  }),
  panel("Cache requests", "reqps", "Calls by what the caches did.", {
    "{{result}}": by("result", "llm_cache_requests_total"),
    "semantic {{result}}": by("result", "llm_semantic_cache_requests_total")
  }),
  panel(
    "Latency of hits",
    "s",
    "From a call to its whole answer, where a cache gave it.",
    quantiles("llm_cache_latency_seconds")
  ),
  panel("Trouble with stores", "cps", "Questions to stores that were not answered, or not with anything readable.", {
    "cache did not answer": rate("llm_cache_errors_total"),
    "{{store}} unreadable entries": by("store", "ballast_cache_corrupt_total"),
    "{{store}} decided without the store": by("store", "ballast_store_fallbacks_total")
  })
]

const limits: ReadonlyArray<Panel> = [
  panel("Queue", "short", "Calls that wait for their rate limits.", { waiting: "sum(llm_rate_limiter_queue)" }),
  panel(
    "Waits",
    "s",
    "How long calls waited that were let through in the end.",
    quantiles("llm_rate_limiter_wait_seconds")
  ),
  panel(
    "Refused by rate limits",
    "reqps",
    "Calls not let through, and those that a limit in shadow mode would hold up.",
    {
      "{{why}}": by("why", "llm_rate_limiter_refused_total"),
      shadow: rate("llm_rate_limiter_shadow_total")
    }
  )
]

const providers: ReadonlyArray<Panel> = [
  {
    ...panel("Circuits", "short", "The worst that any process has to say of an endpoint.", {
      "{{provider}}/{{model}}": `max by (provider, model) (llm_circuit_breaker_state${chosen})`
    }),
    type: "state-timeline"
  },
  panel("Changes of circuits", "cps", "States that circuits went into; calls that one in shadow mode would refuse.", {
    "{{provider}}/{{model}} {{to}}": by("provider, model, to", `llm_circuit_breaker_transitions_total${chosen}`),
    shadow: rate("llm_circuit_breaker_shadow_total")
  }),
  panel("Attempts", "reqps", "Attempts at providers, by how they ended.", {
    "{{provider}} {{outcome}}": by("provider, outcome", `llm_attempts_total${chosen}`)
  }),
  panel("Retries", "reqps", "Further attempts at the same provider.", {
    "{{provider}}/{{model}}": by("provider, model", `llm_retries_total${chosen}`)
  }),
  panel("Fallbacks", "reqps", "Attempts at another provider than the one before.", {
    "{{from}} to {{to}}": by("from, to", "llm_fallbacks_total")
  })
]

const answers: ReadonlyArray<Panel> = [
  panel("Degraded answers", "reqps", "Calls for which something lesser stood in.", {
    "{{rung}}": by("rung", "llm_degraded_total")
  }),
  panel("Guards", "cps", "Findings of guards by what was done about them; error is a check that failed.", {
    "{{guard}} {{action}}": by("guard, action", "llm_guardrail_total"),
    "{{guard}} {{action}} (shadow)": by("guard, action", "llm_guardrail_shadow_total")
  })
]

const rows: ReadonlyArray<readonly [string, ReadonlyArray<Panel>]> = [
  ["Calls", calls],
  ["Tokens and money", money],
  ["Caches", caches],
  ["Rate limits", limits],
  ["Providers", providers],
  ["Answers", answers]
]

const datasource = { type: "prometheus", uid: "${datasource}" }

const states = {
  type: "value",
  options: {
    "0": { text: "closed", color: "green", index: 0 },
    "1": { text: "half open", color: "yellow", index: 1 },
    "2": { text: "open", color: "red", index: 2 }
  }
}

const width = 24
const height = 8

const legend = { displayMode: "list", placement: "bottom", showLegend: true }

const placed = ({ description, queries, title, type, unit }: Panel, gridPos: object) => ({
  type,
  title,
  description,
  datasource,
  gridPos,
  fieldConfig: {
    defaults: { unit, min: 0, ...(type === "timeseries" ? {} : { mappings: [states] }) },
    overrides: []
  },
  options:
    type === "timeseries"
      ? { legend, tooltip: { mode: "multi", sort: "desc" } }
      : { showValue: "auto", mergeValues: true },
  targets: Object.entries(queries).map(([legendFormat, expr], i) => ({
    refId: String.fromCharCode(65 + i),
    datasource,
    editorMode: "code",
    expr,
    legendFormat,
    range: true
  }))
})

const rowOf = (title: string, panels: ReadonlyArray<Panel>, y: number): ReadonlyArray<object> => {
  const w = Math.floor(width / panels.length)
  const row = { type: "row", title, collapsed: false, gridPos: { x: 0, y, w: width, h: 1 }, panels: [] }
  return [row, ...panels.map((one, i) => placed(one, { x: i * w, y: y + 1, w, h: height }))]
}

const panels = rows
  .flatMap(([title, inRow], i) => rowOf(title, inRow, i * (1 + height)))
  .map((one, i) => Object.assign(one, { id: i + 1 }))

const labelValues = (label: string) => ({
  type: "query",
  name: label,
  label: `${label[0]?.toUpperCase()}${label.slice(1)}`,
  datasource,
  query: { query: `label_values(llm_requests_total, ${label})`, refId: `variable-${label}` },
  definition: `label_values(llm_requests_total, ${label})`,
  refresh: 2,
  sort: 1,
  multi: true,
  includeAll: true,
  allValue: ".*",
  current: { text: ["All"], value: ["$__all"] }
})

/** Schema 39 is Grafana 11.0's; later ones migrate it. */
export const dashboard = {
  uid: "effect-ballast",
  title: "Calls to language models (effect-ballast)",
  tags: ["effect-ballast", "llm"],
  schemaVersion: 39,
  editable: true,
  graphTooltip: 1,
  refresh: "30s",
  time: { from: "now-3h", to: "now" },
  templating: {
    list: [
      { type: "datasource", name: "datasource", label: "Prometheus", query: "prometheus", current: {} },
      labelValues("provider"),
      labelValues("model")
    ]
  },
  annotations: { list: [] },
  panels
}

if (import.meta.main) {
  writeFileSync(new URL("../docs/grafana.json", import.meta.url), `${JSON.stringify(dashboard, null, 2)}\n`)
}
