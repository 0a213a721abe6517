// The state of the index: a chip that is always there, the facts behind it, and the sync with its progress.

import { byId, call, clean, count, el } from "./page_dom.js";

const SHOWN_SKIPS = 200;
const LOOK = 60000; // milliseconds between two looks whether the index is another one
const POLL = 700; // milliseconds between two looks at a sync that is running

let status = null;
let timer = 0;

export const indexStatus = () => status;

/** Ask for the state of the index and show it; `brief` without what takes longer, which is then as it was before. */
export async function refreshStatus({ brief = false } = {}) {
  clearTimeout(timer);
  timer = 0;
  const before = status;
  try {
    const found = await call(`/api/status?brief=${brief}`);
    const isSame = before?.generation === found.generation;
    if (isSame) found.changes ??= before.changes;
    status = { formats: before?.formats, skipped: before?.skipped, keys: before?.keys ?? [], ...found };
  } catch (error) {
    setChip("bad", error.code === "index_unavailable" ? "the index cannot be read" : "no server");
    if (before?.sync.state === "running") timer = setTimeout(() => refreshStatus({ brief: true }), 5 * POLL);
    showOutcome(error.message, true);
    return;
  }
  show();
  const isRunning = status.sync.state === "running";
  if (isRunning || status.models === "loading") timer = setTimeout(() => refreshStatus({ brief: true }), isRunning ? POLL : 5 * POLL);
  if (before?.sync.state === "running" && !isRunning) refreshStatus();
  if (before && before.generation !== status.generation) document.dispatchEvent(new CustomEvent("generation"));
}

function show() {
  const { sync, changes } = status;
  const isRunning = sync.state === "running";
  const pending = changes ? changes.new + changes.changed + changes.missing : 0;
  if (isRunning) setChip("busy", sync.bytes_total ? `updating, ${percent(sync)} %` : "updating");
  else if (sync.state === "failed") setChip("bad", "update failed");
  else if (pending) setChip("stale", `${count(pending, "file")} to update`);
  else setChip("good", count(status.documents, "document"));
  byId("sync-button").hidden = !sync.allowed;
  byId("sync-button").disabled = isRunning;
  byId("sync-progress").hidden = !isRunning;
  if (isRunning) showProgress(sync);
  else if (sync.state === "failed") showOutcome(sync.problem, true);
  else if (sync.report) showOutcome(reportText(sync.report), false);
  byId("filter-keys").textContent = status.keys.length ? `Known here: ${clean(status.keys.join(", "))}.` : "";
  showFacts();
}

const percent = (sync) => (sync.bytes_total ? Math.min(99, Math.floor((100 * sync.bytes_read) / sync.bytes_total)) : 0);

function showProgress(sync) {
  byId("sync-outcome").hidden = true;
  byId("sync-bar").style.inlineSize = `${percent(sync)}%`;
  byId("sync-bar").parentElement.setAttribute("aria-valuenow", String(percent(sync)));
  const whole = sync.passages_expected && sync.passages_expected > sync.passages_done ? ` of about ${sync.passages_expected.toLocaleString("en")}` : "";
  const left = whole && sync.passages_per_second ? (sync.passages_expected - sync.passages_done) / sync.passages_per_second : 0;
  const parts = sync.bytes_total ? [`${sync.passages_done.toLocaleString("en")}${whole} passages`] : ["Looking at the sources"];
  if (sync.passages_per_second) parts.push(`${Math.round(sync.passages_per_second)}/s`);
  if (left >= 1) parts.push(left < 90 ? `${Math.round(left)} s left` : `${Math.round(left / 60)} min left`);
  byId("sync-text").textContent = parts.join(", ");
}

function reportText({ documents, skipped }) {
  const parts = Object.entries(documents).filter(([kind, number]) => number && kind !== "unchanged");
  const told = parts.map(([kind, number]) => `${number.toLocaleString("en")} ${kind}`);
  if (skipped.length) told.push(`${skipped.length.toLocaleString("en")} skipped`);
  return told.length ? `Updated: ${told.join(", ")}.` : "Everything was up to date.";
}

function showOutcome(message, isProblem) {
  const outcome = byId("sync-outcome");
  outcome.textContent = clean(message);
  outcome.className = isProblem ? "note problem" : "note";
  outcome.hidden = false;
}

function setChip(kind, label) {
  byId("index-dot").className = `dot ${kind}`;
  if (byId("index-short").textContent !== label) byId("index-short").textContent = label;
}

function showFacts() {
  const { changes } = status;
  const pending = changes && Object.entries(changes).filter(([, number]) => number).map(([kind, number]) => `${number.toLocaleString("en")} ${kind}`);
  const known = status.skipped ?? [];
  const skipped = [...known, ...(status.sync.report?.skipped ?? []).filter((item) => !known.some(({ path }) => path === item.path))];
  const formats = Object.entries(status.formats ?? {}).map(([name, number]) => `${number.toLocaleString("en")} ${name || "unknown"}`);
  const rows = [
    ["Documents", status.documents.toLocaleString("en") + (formats.length ? ` (${formats.join(", ")})` : "")],
    ["Passages", status.passages.toLocaleString("en")],
    ["Generation", status.generation.toLocaleString("en")],
    ["Size", `${(status.bytes / 1e6).toFixed(1)} MB`],
    ["Model", (status.model || "none yet") + (status.models === "loading" ? " (loading)" : "")],
    ["Index", status.index],
    ["Sources", status.sources.map(({ path, exclude }) => path + (exclude.length ? ` (without ${exclude.join(", ")})` : ""))],
    ["Since then", pending ? pending.join(", ") || "no source has changed" : "\u2026"],
  ];
  if (skipped.length) {
    const shown = skipped.slice(0, SHOWN_SKIPS).map(({ path, reason }) => `${path}: ${reason}`);
    const rest = skipped.length - shown.length;
    rows.push(["Skipped", rest ? [...shown, `and ${rest.toLocaleString("en")} more: pincite status --json`] : shown]);
  }
  byId("index-facts").replaceChildren(...rows.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, valueNode(value))]));
}

function valueNode(value) {
  if (!Array.isArray(value)) return clean(value);
  return el("ul", { class: "scroll" }, ...value.map((item) => el("li", {}, clean(item))));
}

export function setCard(isOpen) {
  if (byId("index-card").hidden !== isOpen) return false;
  byId("index-card").hidden = !isOpen;
  byId("index-button").setAttribute("aria-expanded", String(isOpen));
  if (isOpen) refreshStatus();
  return true;
}

byId("index-button").addEventListener("click", () => setCard(byId("index-card").hidden));
byId("sync-button").addEventListener("click", async () => {
  try {
    await call("/api/sync", { body: {} });
  } catch (error) {
    if (error.code !== "sync_running") return showOutcome(error.message, true);
  }
  refreshStatus({ brief: true });
});
document.addEventListener("click", (event) => {
  if (!event.target.closest(".top")) setCard(false);
});
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) refreshStatus();
});
setInterval(() => {
  if (!document.hidden && !timer) refreshStatus({ brief: true });
}, LOOK);
refreshStatus({ brief: true }).then(() => refreshStatus());
