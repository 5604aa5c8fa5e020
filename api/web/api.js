// What the page asks of the server: answers, how long they took, and problems as errors with a readable message.

/** An error that the server explained (RFC 9457), or that kept us from reaching it. */
export class Problem extends Error {
  constructor(title, detail, errors = []) {
    super(detail);
    this.title = title;
    this.errors = errors;
  }
}

const DESCRIBED_AT_ONCE = 100;
const descriptions = new Map();
let describedBy = null;

const q = encodeURIComponent;

performance.setResourceTimingBufferSize(10_000);

/** Milliseconds on the wire where the browser tells them, else on this page's busy clock. */
function elapsed(url, start) {
  const timing = performance.getEntriesByName(url, "resource").findLast((entry) => entry.startTime >= start - 1);
  return timing?.responseEnd > 0 && timing.requestStart > 0
    ? timing.responseEnd - timing.requestStart
    : performance.now() - start;
}

/** The stages of an answer as its Server-Timing header names them: [{ stage, ms }], in their order. */
function stagesOf(header) {
  return (header ?? "")
    .split(",")
    .map((part) => part.trim().match(/^([^;]+);dur=([\d.]+)$/))
    .filter(Boolean)
    .map(([, stage, ms]) => ({ stage, ms: Number(ms) }));
}

/** The answer's content, its stages, and the milliseconds from the question to its last byte. Problem if there is none. */
async function ask(path, signal, options = {}) {
  const start = performance.now();
  let response;
  let text;
  try {
    response = await fetch(path, { ...options, signal });
    text = await response.text();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem("No answer", "The server could not be reached: is it still running?");
  }
  const milliseconds = elapsed(response.url, start);
  let content;
  try {
    content = JSON.parse(text);
  } catch {
    throw new Problem(`${response.status} ${response.statusText}`, "The answer is not JSON.");
  }
  if (!response.ok) throw new Problem(`${content.status} ${content.title}`, content.detail, content.errors);
  return { ...content, milliseconds, stages: stagesOf(response.headers.get("Server-Timing")) };
}

export const release = (signal) => ask("releases/current", signal);
export const users = (prefix, limit, signal) => ask(`page/users?prefix=${q(prefix)}&limit=${limit}`, signal);
export const history = (user, signal) => ask(`page/users/${q(user)}/history?limit=100`, signal);
export const playlists = (user, signal) => ask(`page/users/${q(user)}/playlists`, signal);
export const search = (text, limit, signal) => ask(`page/items?q=${q(text)}&limit=${limit}`, signal);
export const similar = (item, k, signal) => ask(`items/${q(item)}/similar?k=${q(k)}`, signal);
export const recommend = (user, surface, k, signal) =>
  ask(`recommend?user_id=${q(user)}&k=${q(k)}&surface=${q(surface)}&explain=true`, signal);

const json = (method, content) => ({
  method,
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify(content),
});

/** A list for a visitor of whom only ``items``, newest first, and what they named is known. */
export const recommendAnonymous = (items, interests, surface, k, signal) => {
  const history = items.map((item_id) => ({ item_id }));
  return ask("recommend", signal, json("POST", { history, interests, surface, k: Number(k), explain: true }));
};

/** Tell what a user did; the id makes it one event, also if it has to be sent twice. */
export const tell = (event) => {
  const id = [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return ask("events", undefined, json("POST", { event_id: id, ...event }));
};

/** Describe an item, known or new. */
export async function put(item, description) {
  const answer = await ask(`items/${q(item)}`, undefined, json("PUT", description));
  descriptions.delete(item);
  return answer;
}

/** The items with these ids, in their order; one that the server cannot describe has its id alone. */
export async function describe(ids, ofRelease, signal) {
  if (describedBy !== ofRelease) {
    descriptions.clear();
    describedBy = ofRelease;
  }
  const missing = [...new Set(ids)].filter((id) => !descriptions.has(id));
  for (let at = 0; at < missing.length; at += DESCRIBED_AT_ONCE) {
    const some = missing.slice(at, at + DESCRIBED_AT_ONCE);
    const { items } = await ask(`page/items?${some.map((id) => `ids=${q(id)}`).join("&")}`, signal);
    for (const item of items) descriptions.set(item.item_id, item);
  }
  return ids.map((id) => descriptions.get(id) ?? { item_id: id });
}

const asking = new Map();

/** A signal for the newest question of a ``topic``; the one before it is called off, so no stale answer is shown. */
export function newest(topic) {
  asking.get(topic)?.abort();
  const control = new AbortController();
  asking.set(topic, control);
  return control.signal;
}
