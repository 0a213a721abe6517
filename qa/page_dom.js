// Text -> elements, and requests to the API. What articles say is only ever put in as text.

const CONTROL = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g;

export const byId = (id) => document.getElementById(id);

/** Return the text with control characters, and those that turn the direction of what follows, made visible. */
export const clean = (text) => text.replace(CONTROL, "\ufffd");

/** Return an element; attributes whose value is a function are listeners, children are text or nodes. */
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(name, value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return node;
}

/** Return a function from offsets in characters, as the API counts them, to places in a string of JavaScript. */
export function placesIn(text) {
  if (!/[\ud800-\udbff]/.test(text)) return (offset) => offset;
  const places = [];
  let place = 0;
  for (const character of text) {
    places.push(place);
    place += character.length;
  }
  return (offset) => (offset < places.length ? places[offset] : place);
}

/** Return text for a query string; bytes of a path that are no UTF-8 come as halves of pairs and go back as bytes. */
export function escaped(text) {
  let found = "";
  for (const character of text) {
    const code = character.codePointAt(0);
    if (code >= 0xdc80 && code <= 0xdcff) found += `%${(code - 0xdc00).toString(16)}`;
    else if (code >= 0xd800 && code <= 0xdfff) found += "%EF%BF%BD";
    else found += encodeURIComponent(character);
  }
  return found;
}

/** Return what the API answers; throws an Error whose message is for people. */
export async function call(path, { body, signal } = {}) {
  const options = { signal, headers: { accept: "application/json" } };
  if (body) {
    options.method = "POST";
    options.headers["content-type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  let response;
  let answer = null;
  try {
    response = await fetch(path, options);
    answer = await response.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    if (!response) throw new Error("The server does not answer. Is pincite serve still running?");
  }
  if (response.ok && answer) return answer;
  const error = new Error(answer?.error?.message ?? `The server answers with ${response.status}.`);
  error.code = answer?.error?.code;
  throw error;
}

/** Return a number with its noun, as in "1,200 passages". */
export const count = (number, noun) => `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;

/** Return where in its document something begins, as a reader would look it up; empty where only lines count. */
export function markOf({ unit, mark }) {
  if (!unit || !mark) return "";
  if (mark.toLowerCase().startsWith(unit)) return mark;
  return unit === "time" ? `at ${mark}` : `${unit} ${mark}`;
}

/** Return a date as it is shown: of one with a time, only the day. */
export const dayOf = (date) => (/^\d{4}-\d\d-\d\dT/.test(date ?? "") ? date.slice(0, 10) : date);

/** Return a link to where a document was published, if it names a place of the web. */
export function linkTo(url) {
  if (!/^https?:\/\//i.test(url ?? "")) return null;
  return el("a", { href: url, rel: "noopener noreferrer", target: "_blank", click: (event) => event.stopPropagation() }, clean(url));
}
