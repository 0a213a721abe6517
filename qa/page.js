// Question -> answer on the page, and the keys.

import { byId, call, clean, count, dayOf, el, linkTo, markOf, placesIn } from "./page_dom.js";
import { indexStatus, refreshStatus, setCard } from "./page_index.js";
import { closeSource, openSource } from "./page_source.js";

const SURENESS = [
  [0.75, "Very likely right", "high"],
  [0.5, "Likely right", "high"],
  [0.3, "May be right", "middle"],
  [0, "Unsure: read the source", "low"],
];
const SHOWN_COPIES = 3;
const LONG = 90; // characters of an answer from which on it is set smaller

const result = byId("result");
const question = byId("question");
const filter = byId("filter");
let filters = [];
let running = null;

async function ask({ text, where, least }) {
  running?.abort();
  const mine = (running = new AbortController());
  document.title = `${clean(text)} \u2013 pincite`;
  document.body.classList.add("asked");
  closeSource();
  result.setAttribute("aria-busy", "true");
  const slow = setTimeout(() => {
    const isLoading = indexStatus()?.models === "loading";
    const message = isLoading ? "Loading the models. The very first time, this takes a minute\u2026" : "Reading\u2026";
    byId("live").textContent = message;
    result.replaceChildren(el("p", { class: "reading" }, el("span", { class: "dot busy" }), message));
  }, 350);
  const body = { question: text, where };
  if (least !== null) body.min_confidence = least;
  try {
    const answer = await call("/api/ask", { body, signal: mine.signal });
    result.replaceChildren(...(answer.answered ? answerNodes(answer) : silenceNodes(answer, where)));
    byId("live").textContent = summary(answer);
  } catch (error) {
    if (error.name === "AbortError") return;
    result.replaceChildren(failureNode(error));
  } finally {
    clearTimeout(slow);
    if (running === mine) result.setAttribute("aria-busy", "false");
  }
}

function summary({ answered, answer, confidence, citations }) {
  if (!answered) return "The articles do not say.";
  return `Answer: ${clean(answer)}. ${sureness(confidence)[1]}, ${confidence.toFixed(2)}. ${count(citations.length, "citation")}.`;
}

const sureness = (confidence) => SURENESS.find(([from]) => confidence >= from);

function answerNodes(answer) {
  const files = new Set(answer.citations.map(({ path }) => path)).size;
  const disagreeing = answer.alternatives.filter(({ disagrees }) => disagrees);
  const others = answer.alternatives.filter(({ disagrees }) => !disagrees);
  const isLong = answer.answer.length > LONG;
  return [
    el("section", { "aria-label": "Answer" },
      el("h1", { class: `answer${isLong ? " long" : ""}`, dir: "auto" }, clean(answer.answer)),
      surenessNode(answer.confidence, files > 1 ? `${files} sources agree` : "")),
    disagreeing.length && el("section", { class: "notice", "aria-labelledby": "disagree" },
      el("h2", { id: "disagree" }, "The sources disagree: others say"),
      el("ul", { class: "others" }, ...disagreeing.map(otherNode))),
    el("section", { "aria-labelledby": "where" },
      el("h2", { class: "overline", id: "where" }, "Where it stands"),
      el("ol", { class: "cards" }, ...answer.citations.map(citationNode))),
    others.length && el("section", { "aria-labelledby": "others" },
      el("h2", { class: "overline", id: "others" }, "Other answers found"),
      el("ul", { class: "others" }, ...others.map(otherNode))),
    passagesNode(answer.passages, false),
  ].filter(Boolean);
}

function surenessNode(confidence, more) {
  const [, words, kind] = sureness(confidence);
  const bar = el("span", {});
  bar.style.inlineSize = `${Math.round(100 * confidence)}%`;
  return el("p", { class: `sureness ${kind}` },
    el("span", { class: "bar", "aria-hidden": "true" }, bar),
    el("span", {}, words),
    el("span", { class: "number" }, `confidence ${confidence.toFixed(2)}`),
    more && el("span", { class: "number" }, more));
}

function placeOf(item) {
  const file = clean(item.path);
  if (markOf(item)) return `${file}, ${clean(markOf(item))}`;
  return `${file}:${item.line}${item.column ? `:${item.column}` : ""}`;
}

/** Return a button that opens the source of a citation or passage. */
function placeNode(item, label) {
  const sentence = "sentence_start" in item ? { start: item.sentence_start, end: item.sentence_end } : null;
  const open = (event) => {
    event.stopPropagation();
    openSource({ ...item, sentence }, event.currentTarget);
  };
  return el("button", { class: "place", type: "button", "data-stop": true, "aria-label": `${label}: ${placeOf(item)}`, click: open }, placeOf(item));
}

function citationNode(citation, number) {
  const button = placeNode(citation, `Open source ${number + 1}`);
  const open = (event) => {
    if (!event.target.closest("a, button") && !String(getSelection())) button.click();
  };
  const facts = [citation.author, dayOf(citation.date)].filter(Boolean).map((fact) => el("bdi", {}, clean(fact)));
  return el("li", { class: "card cite", click: open },
    el("span", { class: "n", "aria-hidden": "true" }, `[${number + 1}]`),
    el("blockquote", { dir: "auto" }, ...sentencePieces(citation)),
    el("p", { class: "where" },
      el("bdi", { class: "title" }, clean(citation.title)), ...facts, button,
      el("span", { class: citation.verified ? "verified" : "problem" }, citation.verified ? "as in the file" : `not verified: ${clean(citation.problem ?? "")}`),
      linkTo(citation.url)),
    alsoNode(citation.also));
}

/** Return the other places in which the same stands, of each file the best. */
function alsoNode(copies) {
  const places = [...new Map([...copies].reverse().map((copy) => [copy.path, copy])).values()].reverse();
  if (!places.length) return null;
  const rest = places.length - SHOWN_COPIES;
  return el("p", { class: "where also" }, "also in ",
    ...places.slice(0, SHOWN_COPIES).map((copy) => placeNode(copy, "Open the copy")),
    rest > 0 ? `and ${rest.toLocaleString("en")} more` : null);
}

function sentencePieces({ sentence, sentence_start: first, start, end }) {
  const at = placesIn(sentence);
  const [from, to] = [at(start - first), at(end - first)];
  return [clean(sentence.slice(0, from)), el("mark", {}, clean(sentence.slice(from, to))), clean(sentence.slice(to))];
}

function otherNode(other) {
  return el("li", { class: "other" },
    el("span", { class: "what", dir: "auto" }, clean(other.answer)),
    el("span", { class: "number" }, `confidence ${other.confidence.toFixed(2)}`),
    ...other.citations.slice(0, 3).map((citation) => placeNode(citation, "Open the source")));
}

function passagesNode(passages, isOpen) {
  if (!passages.length) return null;
  return el("details", { open: isOpen },
    el("summary", { "data-stop": true }, `${count(passages.length, "passage")} found`),
    el("ol", { class: "others" }, ...passages.map(passageNode)));
}

function passageNode(passage) {
  return el("li", { class: "other" },
    el("bdi", { class: "what" }, clean(passage.title)),
    el("span", { class: "number" }, passage.score.toFixed(2)),
    placeNode(passage, "Open the passage"),
    alsoNode(passage.also),
    el("p", { class: "snippet", dir: "auto" }, clean(passage.text)));
}

function silenceNodes({ confidence, passages, index }, where) {
  let why = `The best guess has a confidence of ${confidence.toFixed(2)}, which is too little for an answer.`;
  if (!index.passages) why = "There is nothing in the index yet.";
  else if (!passages.length) why = where.length ? `No document fits these filters, or none that does has these words. Filters can ask about ${indexStatus()?.keys.join(", ") ?? "metadata"}.` : "Nothing in the index fits these words.";
  const anyway = passages.length ? el("button", { class: "button", type: "button", click: () => go({ least: 0 }) }, "Show the best guess") : null;
  return [
    el("section", { class: "silent", "aria-label": "No answer" },
      el("h1", { class: "answer" }, "The articles do not say."), el("p", { class: "note" }, why), anyway && el("p", {}, anyway)),
    passagesNode(passages, true),
  ].filter(Boolean);
}

function failureNode(error) {
  return el("section", { class: "failed", role: "alert" },
    el("p", {}, clean(error.message)),
    el("p", {}, el("button", { class: "button", type: "button", click: () => go({}) }, "Try again")));
}

function intro() {
  document.title = "pincite";
  document.body.classList.remove("asked");
  result.replaceChildren(el("section", { class: "intro" },
    el("h1", {}, "Ask, and read where it stands."),
    el("p", {}, "Every answer is a quote from your own articles. Where they do not say, you are told so.")));
}

// The question is in the address, so that it can be linked to and gone back to.

function asked() {
  const hash = new URLSearchParams(location.hash.slice(1));
  const least = Number.parseFloat(hash.get("min"));
  return { text: hash.get("q") ?? "", where: hash.getAll("where"), least: least >= 0 && least <= 1 ? least : null };
}

function go({ least = null }) {
  const text = question.value.trim();
  if (!text) return;
  if (filter.value.trim()) addFilter();
  const hash = new URLSearchParams([["q", text], ...filters.map((one) => ["where", one]), ...(least === null ? [] : [["min", least]])]);
  if (`#${hash}` === location.hash) fromAddress();
  else location.hash = hash;
}

function fromAddress() {
  const wanted = asked();
  question.value = wanted.text;
  filters = wanted.where;
  showFilters();
  if (filters.length) setFilters(true);
  if (wanted.text.trim()) ask(wanted);
  else intro();
}

function setFilters(isOpen) {
  byId("filters").hidden = !isOpen;
  byId("filters-button").setAttribute("aria-expanded", String(isOpen));
}

function addFilter() {
  const text = filter.value.trim();
  if (text && !filters.includes(text)) filters.push(text);
  filter.value = "";
  showFilters();
}

function showFilters() {
  byId("filters-button").textContent = filters.length ? count(filters.length, "filter") : "Filters";
  byId("filter-list").replaceChildren(...filters.map((one) => el("li", {},
    el("button", { type: "button", "aria-label": `Remove the filter ${one}`, click: () => {
      filters = filters.filter((other) => other !== one);
      showFilters();
      go({});
    } }, clean(one)))));
}

// Keys: / to the question, arrows or j and k through what can be opened, Enter opens it, Esc closes.

function move(step) {
  const stops = [...document.querySelectorAll("[data-stop]")].filter((stop) => stop.checkVisibility?.() ?? stop.offsetParent);
  const next = stops[Math.min(stops.indexOf(document.activeElement) + step, stops.length - 1)];
  if (next) next.focus();
  else if (step < 0) question.focus();
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  const isTyping = event.target.matches?.("input, textarea");
  const isScrolling = event.target.closest?.(".text");
  if (event.key === "Escape") {
    if (setCard(false) || closeSource() || !isTyping) return;
    event.target.blur();
  } else if (event.key === "/" && !isTyping) {
    event.preventDefault();
    question.focus();
    question.select();
  } else if ((event.key === "j" && !isTyping) || (event.key === "ArrowDown" && !isScrolling && event.target !== filter)) {
    event.preventDefault();
    move(1);
  } else if ((event.key === "k" && !isTyping) || (event.key === "ArrowUp" && !isScrolling && !isTyping)) {
    event.preventDefault();
    move(-1);
  }
});

byId("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  go({});
});
byId("filters-button").addEventListener("click", () => {
  setFilters(byId("filters").hidden);
  if (!byId("filters").hidden) filter.focus();
});
byId("filter-add").addEventListener("click", addFilter);
filter.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || !filter.value.trim()) return;
  event.preventDefault();
  addFilter();
  go({});
});
document.querySelector(".brand").addEventListener("click", (event) => {
  event.preventDefault();
  location.hash = "";
  question.focus();
});
document.addEventListener("generation", () => {
  if (!asked().text || byId("again")) return;
  result.prepend(el("p", { class: "note", id: "again" }, "The index has been updated since. ",
    el("button", { class: "quiet", type: "button", click: () => go({}) }, "Ask again")));
});
addEventListener("hashchange", fromAddress);
fromAddress();
if (!asked().text && matchMedia("(hover: hover)").matches) question.focus();
