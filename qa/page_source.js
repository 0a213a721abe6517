// The panel that shows a source with the quote marked.

import { byId, call, clean, count, dayOf, el, escaped, linkTo, markOf, placesIn } from "./page_dom.js";

const AROUND = 15000; // characters shown before and after a quote at first, and more of at a time
const LINE_END = /\r\n|\r|\n/g;
const SEPARATED = new Set(["page", "chapter", "cell"]); // units that stand between lines; others stand beside them

const panel = byId("source");
const text = byId("source-text");
const isBeside = matchMedia("(min-width: 68rem)");

let shown = null;
let opener = null;
let latest = 0;

/** Show a source: `place` has path, start and end of what to mark, and if it is a quote, its sentence and page. */
export async function openSource(place, from) {
  shown = { ...place, first: Math.max(0, place.start - AROUND), last: place.end + AROUND };
  opener?.closest(".cite")?.classList.remove("open");
  opener = from ?? null;
  opener?.closest(".cite")?.classList.add("open");
  byId("source-title").textContent = clean(place.title);
  byId("source-place").textContent = clean(place.path);
  byId("source-facts").replaceChildren();
  text.replaceChildren(el("p", { class: "note" }, "Opening\u2026"));
  panel.hidden = false;
  document.body.classList.add("reading-source");
  setModal();
  byId("source-title").focus({ preventScroll: true });
  await load();
}

export function closeSource() {
  if (panel.hidden) return false;
  latest += 1;
  panel.hidden = true;
  document.body.classList.remove("reading-source");
  setModal();
  opener?.closest(".cite")?.classList.remove("open");
  if (opener?.isConnected) opener.focus();
  opener = null;
  return true;
}

function setModal() {
  const isModal = !panel.hidden && !isBeside.matches;
  byId("main").inert = isModal;
  document.querySelector(".top").inert = isModal;
  panel.setAttribute("aria-modal", String(isModal));
}

async function load(keep) {
  const turn = (latest += 1);
  let source;
  try {
    source = await call(`/api/source?path=${escaped(shown.path)}&start=${shown.first}&end=${shown.last}`);
  } catch (error) {
    if (turn === latest) text.replaceChildren(el("p", { class: "problem", role: "alert" }, error.message));
    return;
  }
  if (turn !== latest) return;
  const anchor = keep && { height: text.scrollHeight, top: text.scrollTop };
  showFacts(source);
  showText(source);
  if (keep === "before") text.scrollTop = anchor.top + text.scrollHeight - anchor.height;
  else if (keep === "after") text.scrollTop = anchor.top;
  else scrollTo(text.querySelector("mark, .around"));
}

/** Bring what is marked to the upper third of the panel; the page behind stays where it is. */
function scrollTo(marked) {
  if (!marked) return;
  const above = marked.getBoundingClientRect().top - text.getBoundingClientRect().top;
  text.scrollTop += above - text.clientHeight / 3;
}

function showFacts(source) {
  byId("source-title").textContent = clean(source.title);
  const mark = markOf(shown);
  const line = !mark && shown.line ? `:${shown.line}` : "";
  byId("source-place").textContent = clean(source.path) + line;
  const page = shown.unit === "page" && /^\d+$/.test(shown.mark) ? `#page=${shown.mark}` : "";
  const file = source.file && el("a", { href: `/api/file?path=${escaped(source.path)}${page}`, target: "_blank", rel: "noopener" },
    page ? `Open the file at page ${shown.mark}` : "Open the file");
  const facts = [mark, source.author, dayOf(source.date)].filter(Boolean).map(clean);
  const items = [facts.join(" \u00b7 "), file, linkTo(source.url)].filter(Boolean);
  byId("source-facts").replaceChildren(...items.flatMap((item, i) => (i ? [" \u00b7 ", item] : [item])));
}

function showText(source) {
  const at = placesIn(source.text);
  const place = (offset) => at(Math.min(Math.max(offset, source.start), source.end) - source.start);
  let ranges = [{ start: place(shown.start), end: place(shown.end), tag: shown.quote ? "mark" : "span" }];
  const nodes = [];
  const isInside = source.start <= shown.start && shown.end <= source.end;
  if (shown.quote && isInside && source.text.slice(ranges[0].start, ranges[0].end) !== shown.quote) {
    ranges = [];
    nodes.push(el("p", { class: "problem", role: "status" }, "The source has changed since this answer was given. Ask again."));
  } else if (shown.sentence) {
    ranges.push({ start: place(shown.sentence.start), end: place(shown.sentence.end), tag: "span" });
  }
  const marks = source.marks.map((mark) => ({ ...mark, start: place(mark.start) }));
  const isTimed = source.unit && !SEPARATED.has(source.unit);
  text.className = `text${isTimed ? " timed" : source.unit || source.is_record ? "" : " numbered"}`;
  let number = source.line;
  for (const [start, end, labels] of rowsOf(source.text, marks)) {
    if (!isTimed) labels.forEach((label) => nodes.push(el("div", { class: "pagemark" }, clean(markOf({ unit: source.unit, mark: label })))));
    const beside = isTimed ? labels.join(" ") : source.unit || source.is_record ? "" : String(number);
    nodes.push(el("div", { class: "line", "data-n": beside ? clean(beside) : null }, el("div", { dir: "auto" }, ...pieces(source.text, start, end, ranges))));
    number += 1;
  }
  const more = (label, name, change) => el("button", { class: "button more", type: "button", click: () => (Object.assign(shown, change), load(name)) }, label);
  if (source.start > 0) nodes.unshift(more(`${count(source.start, "character")} before`, "before", { first: Math.max(0, source.start - 2 * AROUND), last: source.end }));
  if (source.end < source.length) nodes.push(more(`${count(source.length - source.end, "character")} after`, "after", { first: source.start, last: source.end + 2 * AROUND }));
  text.replaceChildren(...nodes);
}

/** Yield start, end and the labels of the marks that begin there, for each line, and for each part of it from a mark on. */
function* rowsOf(whole, marks) {
  let next = 0;
  for (const [start, end] of linesOf(whole)) {
    let from = start;
    for (;;) {
      const labels = [];
      while (next < marks.length && marks[next].start <= from) labels.push(marks[next++].label);
      const to = next < marks.length && marks[next].start < end ? marks[next].start : end;
      yield [from, to, labels];
      if (to === end) break;
      from = to;
    }
  }
}

function* linesOf(whole) {
  let start = 0;
  for (const match of whole.matchAll(LINE_END)) {
    yield [start, match.index];
    start = match.index + match[0].length;
  }
  if (start < whole.length) yield [start, whole.length];
}

/** Return a line in pieces: what the first range covers stands in its element, what only the second covers in that. */
function pieces(whole, start, end, ranges) {
  const cuts = new Set([start, end]);
  for (const range of ranges) for (const cut of [range.start, range.end]) if (cut > start && cut < end) cuts.add(cut);
  const sorted = [...cuts].sort((one, other) => one - other);
  return sorted.slice(1).map((to, i) => {
    const from = sorted[i];
    const range = ranges.find((one) => one.start <= from && to <= one.end);
    const piece = clean(whole.slice(from, to));
    if (!range) return piece;
    return range.tag === "mark" ? el("mark", {}, piece) : el("span", { class: "around" }, piece);
  });
}

byId("source-close").addEventListener("click", closeSource);
isBeside.addEventListener("change", setModal);
