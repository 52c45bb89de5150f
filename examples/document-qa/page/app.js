/** The page. What comes from outside, a model's text above all, stays text: nothing here makes HTML of a string. */
const $ = (id) => document.getElementById(id)

/** An element with these properties, and in it texts and elements. */
const make = (tag, properties, ...children) => {
  const element = Object.assign(document.createElement(tag), properties)
  element.append(...children)
  return element
}

const hint = (text) => make("p", { className: "hint" }, text)

/** Says it only where it is new, so that screen readers are not told the same twice. */
const say = (element, text, className = element.className) => {
  if (element.textContent !== text) element.textContent = text
  element.className = className
}

const number = new Intl.NumberFormat("en")
const counted = (count, one) => `${number.format(count)} ${one}${count === 1 ? "" : "s"}`
const money = (usd) => `$${usd.toFixed(usd === 0 || usd >= 1 ? 2 : 6)}`
const span = (seconds) => {
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`
  if (seconds < 90) return counted(Math.round(seconds * 10) / 10, "second")
  return seconds < 5400 ? counted(Math.round(seconds / 60), "minute") : counted(Math.round(seconds / 3600), "hour")
}

/** What went wrong, in words for who sits here. */
class Refused extends Error {
  static of({ detail, retryAfter, title }) {
    const what = (detail || title).replace(/\.?$/, ".")
    return new Refused(retryAfter > 0 ? `${what} Try again in ${span(retryAfter)}.` : what)
  }
}

/** A response that is well, or `Refused`; asked for with the key of this tab, where there is one. */
const call = async (path, { headers, ...init } = {}) => {
  const key = sessionStorage.getItem("api-key")
  const authorization = key === null ? {} : { authorization: `Bearer ${key}` }
  const response = await fetch(path, { ...init, headers: { ...headers, ...authorization } }).catch((error) => {
    throw init.signal?.aborted ? error : new Refused("The service cannot be reached.")
  })
  if (response.ok) return response
  const problem = await response.json().catch(() => ({}))
  const retryAfter = Number(response.headers.get("retry-after"))
  const failure = Refused.of({ retryAfter, title: `The service answers ${response.status}`, ...problem })
  if (response.status === 401 && sessionStorage.getItem("api-key") === key) lock(key === null ? "" : failure.message)
  throw failure
}

/** The events of a stream, wherever the network cuts it: inside a character, a line or an event. */
const eventsOf = async function* (body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader()
  const lineEnd = /\r\n|\n|\r(?!$)/ // a carriage return that is the last for now may be the half of one
  let rest = ""
  let [name, data] = ["", []]
  try {
    for (let { done, value } = await reader.read(); !done; { done, value } = await reader.read()) {
      rest += value
      for (let end = lineEnd.exec(rest); end !== null; end = lineEnd.exec(rest)) {
        const [, field, text] = /^([^:]*):? ?(.*)$/s.exec(rest.slice(0, end.index))
        rest = rest.slice(end.index + end[0].length)
        if (field === "event") name = text
        if (field === "data") data.push(text)
        if (end.index > 0) continue
        if (data.length > 0) yield { name, data: JSON.parse(data.join("\n")) }
        ;[name, data] = ["", []]
      }
    }
  } finally {
    reader.cancel().catch(() => undefined)
  }
}

const showSources = (sources) => {
  const rows = sources.map(({ from, heading, passage, title, to }, i) => {
    const position = `Passage ${passage}, characters ${number.format(from)} to ${number.format(to)}`
    const head = make("p", {}, make("strong", {}, title), heading === "" ? "" : ` – ${heading}`)
    return make("li", { id: `source-${i + 1}` }, make("span", {}, `[${i + 1}]`), head, hint(position))
  })
  $("source-list").replaceChildren(...rows)
  $("sources").hidden = rows.length === 0
}

/** Citations of sources that are there become links to them. */
const linked = (text) =>
  text.split(/(\[\d+\])/).map((piece) => {
    const id = `source-${piece.slice(1, -1)}`
    return /^\[\d+\]$/.test(piece) && $(id) !== null ? make("a", { href: `#${id}` }, piece) : piece
  })

const showEnd = ({ cache, costUsd, latencyMs, model, omitted, provider, rung, sources }) => {
  showSources(sources)
  for (const notice of $("notices").children) notice.hidden = notice.dataset.rung !== rung
  $("omitted").hidden = omitted === 0
  say($("omitted"), `${counted(omitted, "passage")} left out, which would have given the model orders.`)
  const at = [...$("rungs").children].findIndex(({ dataset }) => dataset.rung === rung)
  say($("rung"), `${at + 1} of 4: ${$("rungs").children[at].firstElementChild.textContent}`)
  const who = provider === "none" ? provider : `${provider}, ${model}`
  const facts = { provider: who, cost: money(costUsd), cache, latency: span(latencyMs / 1000) }
  for (const [id, fact] of Object.entries(facts)) say($(id), fact)
  $("facts").hidden = false
  $("text").replaceChildren(...linked($("text").textContent))
  say($("progress"), rung === "apology" ? "Not answered" : `Answered from ${counted(sources.length, "source")}`)
}

let running

/** Of the two buttons the one is there that is of use, and focus does not get lost with the other. */
const setRunning = (controller) => {
  running = controller
  const isRunning = controller !== undefined
  const hadFocus = document.activeElement === (isRunning ? $("ask") : $("stop"))
  $("ask").hidden = isRunning
  $("stop").hidden = !isRunning
  $("text").setAttribute("aria-busy", String(isRunning))
  if (hadFocus) (isRunning ? $("stop") : $("question")).focus()
}

const read = async (question, signal) => {
  const headers = { "content-type": "application/json" }
  const body = JSON.stringify({ input: question })
  const response = await call("/qa/stream", { method: "POST", headers, body, signal })
  for await (const { data, name } of eventsOf(response.body)) {
    if (name === "sources") showSources(data)
    if (name === "error") throw Refused.of(data)
    if (name === "end") return showEnd(data.metadata)
    if (name !== "data") continue
    say($("progress"), "Answering …")
    $("text").append(data)
  }
  throw new Refused("The answer broke off.")
}

$("ask-form").addEventListener("submit", async (event) => {
  event.preventDefault()
  const question = $("question").value.trim()
  if (running !== undefined || question === "") return
  const controller = new AbortController()
  setRunning(controller)
  for (const element of [...$("notices").children, $("facts")]) element.hidden = true
  for (const id of ["text", "problem"]) $(id).replaceChildren()
  showSources([])
  say($("asked"), question)
  say($("progress"), "Looking through the documents …")
  $("question").value = ""
  try {
    await read(question, controller.signal)
  } catch (error) {
    const isStopped = controller.signal.aborted
    say($("progress"), isStopped ? "Stopped" : "Not answered")
    if (!isStopped) say($("problem"), error instanceof Refused ? error.message : "The answer broke off.")
    if ($("question").value === "" && $("text").textContent === "") $("question").value = question
  }
  setRunning(undefined)
  void watch()
})
$("question").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return
  event.preventDefault()
  if (running === undefined) $("ask-form").requestSubmit()
})
$("stop").addEventListener("click", () => running?.abort())

/** What goes wrong with the documents is said there. */
const withDocuments = (work) => work.catch(({ message }) => say($("documents-problem"), isLocked ? "" : message))

const showDocuments = async () => {
  const documents = await (await call("/documents")).json()
  const rows = documents.map(({ characters, id, passages, title }) => {
    const size = `${counted(passages, "passage")}, ${counted(characters, "character")}`
    const button = make("button", { type: "button", ariaLabel: `Delete ${title}` }, "Delete")
    button.addEventListener("click", () => {
      say($("sure-title"), `Delete ${title}?`)
      $("sure").returnValue = "keep"
      $("sure").addEventListener("close", () => $("sure").returnValue === "delete" && removing(id), { once: true })
      $("sure").showModal()
    })
    return make("li", {}, make("div", {}, make("p", {}, title), hint(size)), button)
  })
  $("documents").replaceChildren(...rows)
  $("no-documents").hidden = rows.length > 0
  say($("documents-problem"), "")
}

const removing = async (id) => {
  await withDocuments(call(`/documents/${encodeURIComponent(id)}`, { method: "DELETE" }).then(showDocuments))
  $("documents-title").focus()
}

const upload = async (file, row) => {
  if (file.size > 10 * 1024 * 1024) throw new Refused("It is larger than 10 MiB.")
  say(row, `${file.name}: is being sent and read …`)
  const body = await file.arrayBuffer().catch(() => {
    throw new Refused("It cannot be read here.")
  })
  const headers = { "content-type": "application/octet-stream" }
  const path = `/documents?name=${encodeURIComponent(file.name)}`
  const { passages } = await (await call(path, { method: "POST", headers, body })).json()
  say(row, `${file.name}: is in, as ${counted(passages, "passage")}`, "good")
}

let uploads = Promise.resolve()

/** One file after the other; what was said of those before goes. */
const uploadAll = (files) => {
  for (const done of $("uploads").querySelectorAll(".good, .bad")) done.remove()
  const rows = files.map(({ name }) => make("li", {}, `${name}: waits`))
  $("uploads").append(...rows)
  uploads = uploads.then(async () => {
    for (const [i, file] of files.entries())
      await upload(file, rows[i]).catch(({ message }) => say(rows[i], `${file.name}: ${message}`, "bad"))
    await withDocuments(showDocuments())
    void watch()
  })
}

$("files").addEventListener("change", () => {
  uploadAll([...$("files").files])
  $("files").value = "" // the same file may be chosen again
})
for (const type of ["dragover", "dragleave", "drop"])
  document.addEventListener(type, (event) => {
    event.preventDefault() // a file that misses would replace the page
    $("drop").classList.toggle("over", type === "dragover")
    if (type === "drop") uploadAll([...event.dataTransfer.files])
  })

const looks = { healthy: "good", up: "good", closed: "good", degraded: "warn", halfOpen: "warn" }

const showHealth = ({ dependencies, rungs, status }) => {
  say($("health"), status, `pill ${looks[status] ?? "bad"}`)
  for (const { dataset, lastElementChild } of $("rungs").children) {
    const can = dataset.rung === "apology" ? status !== "unreachable" : rungs.includes(dataset.rung)
    say(lastElementChild, can ? "can" : "cannot now", `mark ${can ? "good" : "bad"}`)
  }
  const rows = Object.entries(dependencies).map(([name, state]) => {
    const said = name.includes("/") ? `circuit ${state}` : state
    return make("div", {}, make("dt", {}, name), make("dd", { className: `mark ${looks[state] ?? "bad"}` }, said))
  })
  $("parts").replaceChildren(...rows)
}

const showBudget = ({ limits, totalUsd }) => {
  say($("spent"), `Spent by you in all: ${money(totalUsd)}`)
  const rows = limits.map(({ limitUsd, name, remainingUsd, resetSeconds, spentUsd, window }) => {
    const title = `${name === "all" ? "Everybody" : "You"} per ${window}`
    const left = `${money(remainingUsd)} of ${money(limitUsd)} left`
    const said = `${money(spentUsd)} spent, ${left}, all of it again in ${span(resetSeconds)}`
    return make("li", {}, title, make("meter", { max: limitUsd, value: remainingUsd, ariaLabel: title }), said)
  })
  $("budget").replaceChildren(...rows)
}

let isLocked = false,
  timer

/** Looks every five seconds while somebody may be looking. */
const watch = async () => {
  if (document.hidden) return
  const signal = AbortSignal.timeout(10_000)
  const json = (response) => response.json()
  const nowhere = () => ({ dependencies: {}, rungs: [], status: "unreachable" })
  const health = fetch("/health", { signal }).then(json).catch(nowhere).then(showHealth) // of a 503 as well
  const unseen = () => say($("spent"), "It cannot be seen now.")
  await Promise.all([health, isLocked || call("/budget", { signal }).then(json).then(showBudget).catch(unseen)])
  clearTimeout(timer)
  timer = setTimeout(watch, 5_000)
}
document.addEventListener("visibilitychange", watch)

/** Asks for a key, and says what is wrong with the one there was. */
const lock = (problem) => {
  isLocked = true
  sessionStorage.removeItem("api-key")
  $("key-form").hidden = false
  $("forget").hidden = true
  $("documents").replaceChildren()
  say($("key-problem"), problem)
  $("key").focus()
}

const enter = () => {
  isLocked = false
  $("forget").hidden = sessionStorage.getItem("api-key") === null
  $("key-form").hidden = true
  void withDocuments(showDocuments())
  void watch()
}

$("key-form").addEventListener("submit", (event) => {
  event.preventDefault()
  sessionStorage.setItem("api-key", $("key").value)
  $("key").value = ""
  $("question").focus()
  enter()
})
$("forget").addEventListener("click", () => lock(""))

enter()
