// Elements from answers. Everything that comes from data goes in as text, never as HTML.

/** An element: ``h("p", { class: "quiet" }, "text", child)``; null and false children are left out. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child != null && child !== false));
  return element;
}

const count = new Intl.NumberFormat("en");
const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric", timeZone: "UTC" });

export const number = (value) => count.format(value);
export const plural = (value, one, many = `${one}s`) => `${number(value)} ${value === 1 ? one : many}`;
export const milliseconds = (value) => `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`;
export const title = (item) => String(item.title ?? item.item_id);

const NOT_FACTS = new Set(["item_id", "title", "time", "rank", "score", "sources", "arrived", "request_id", "year", "new_item", "vector", "because", "features", "share"]);

/** Sorts what a catalogue happens to know of an item: short facts, lists of labels, one longer text. */
function known(item) {
  const facts = item.year == null ? [] : [String(item.year)];
  const labels = [];
  let text = null;
  for (const [name, value] of Object.entries(item)) {
    if (NOT_FACTS.has(name)) continue;
    if (Array.isArray(value)) labels.push(...value.map(String));
    else if (typeof value === "string" && value.length > 60) text ??= value;
    else if (typeof value === "string") facts.push(value);
    else if (typeof value !== "object") facts.push(`${name} ${value}`);
  }
  return { facts: facts.slice(0, 3), labels: labels.slice(0, 5), text };
}

function score(value, best) {
  const bar = h("span", { class: "bar", "aria-hidden": "true" }, h("span"));
  bar.firstChild.style.setProperty("--share", String(best > 0 ? Math.max(value / best, 0) : 0));
  return h("span", { class: "score" }, h("span", { class: "unseen" }, "score "), value.toFixed(4), bar);
}

/** ``facts · labels`` under a title; the separators are drawn by the style sheet. */
function attributes({ facts, labels }) {
  if (!facts.length && !labels.length) return null;
  return h(
    "span",
    { class: "attributes" },
    facts.map((fact) => h("span", { class: "fact" }, fact)),
    labels.map((label) => h("span", { class: "label" }, label)),
  );
}

/** What of the history, or else of what the ranker saw, put an item there; the strongest two or three. */
function reasons({ because = [], features = [] }) {
  if (because.length) return h("span", { class: "because" }, `because of ${because.map(title).join(" · ")}`);
  const raised = features.filter(({ share }) => share > 0).slice(0, 2);
  if (!raised.length) return null;
  return h("span", { class: "because", title: raised.map(({ about }) => about).join(" · ") },
    `raised by ${raised.map(({ feature }) => feature).join(" · ")}`);
}

/** What a user can say of an item: kind of event → its sign, and what the button is called. */
const OPINIONS = { like: ["♥", "Like"], dismiss: ["✕", "Dismiss"] };

const opinions = (item, tell) =>
  h(
    "div",
    { class: "opinions" },
    Object.entries(OPINIONS).map(([kind, [sign, name]]) =>
      h(
        "button",
        { type: "button", class: `opinion ${kind}`, title: name, "aria-label": `${name} ${title(item)}`, onclick: () => tell(item, kind) },
        sign,
      ),
    ),
  );

/**
 * One item. ``open(item)``: show similar ones. ``toggle``: null, or { has(id), flip(item) } for an anonymous history.
 * ``tell``: null, or what is told that a user likes or dismisses an item. ``best``: the highest score of the list,
 * against which the bar is drawn.
 */
export function row(item, { open, toggle, tell, best, current }) {
  const about = known(item);
  const chosen = toggle?.has(item.item_id);
  return h(
    "li",
    { class: "item", "data-id": item.item_id, "data-current": item.item_id === current, "data-arrived": item.arrived },
    item.rank && h("span", { class: "rank" }, String(item.rank)),
    h(
      "div",
      { class: "what" },
      h(
        "button",
        { type: "button", class: "title", title: `Item ${item.item_id}: show similar items`, onclick: () => open(item) },
        title(item),
      ),
      item.new_item && h("span", { class: "new", title: "Put since the release was made" }, "new"),
      attributes(about),
      about.text && h("span", { class: "text" }, about.text),
      reasons(item),
    ),
    item.score != null &&
      h(
        "div",
        { class: "why" },
        score(item.score, best),
        h("span", { class: "sources" }, h("span", { class: "unseen" }, "from "), item.sources.join(" + ")),
      ),
    item.time && h("time", { datetime: item.time, class: "time" }, day.format(new Date(item.time))),
    toggle &&
      h(
        "button",
        {
          type: "button",
          class: "toggle",
          "aria-pressed": String(Boolean(chosen)),
          "aria-label": `${chosen ? "Remove" : "Add"} ${title(item)}`,
          onclick: () => toggle.flip(item),
        },
        chosen ? "×" : "+",
      ),
    tell && opinions(item, tell),
  );
}

export function rows(items, options) {
  const best = Math.max(0, ...items.map((item) => item.score ?? 0));
  const tag = items.some((item) => item.rank) ? "ol" : "ul";
  return h(tag, { class: "items" }, items.map((item) => row(item, { ...options, best })));
}

/** The ladder, best first: what each level means. */
const LEVELS = {
  personal: "A vector learned from this user’s history.",
  recent: "Folded in at this moment from the newest items.",
  "content-nearest": "Like the newest items by what is said of them.",
  "declared-interests": "What the visitor named as their interests.",
  segment: "Nothing known of them but where they are from: what is taken there.",
  trending: "Nothing to go by: what is taken most of late.",
  popular: "Nothing to go by: what most people took.",
};
const OTHER_LEVELS = { none: "Nothing is left that was not seen.", together: "What goes with what was asked about." };

/** The rungs that are shown whichever answered; the others when they did. */
const USUAL = ["personal", "recent", "trending", "popular"];

const badge = (level) => h("span", { class: "badge", "data-level": level }, level);

/** Which rung of the ladder answered. */
function ladder(level) {
  const names = Object.keys(LEVELS).filter((name) => USUAL.includes(name) || name === level);
  const rungs = names.includes(level) ? names : [...names, level];
  return h(
    "ol",
    { class: "ladder", "aria-label": "Level of the answer" },
    rungs.map((name) => h("li", name === level ? { "aria-current": "true" } : {}, name === level ? badge(name) : name)),
  );
}

/** How an answer came about: level, latency, release; and what failed, if something did. */
export function provenance(answer, { withLadder = false } = {}) {
  return [
    h(
      "div",
      { class: "provenance" },
      withLadder ? ladder(answer.level) : badge(answer.level),
      h("span", { class: "latency", title: "From the question to the last byte, measured by this browser" }, milliseconds(answer.milliseconds)),
      withLadder && h("span", { class: "meaning" }, LEVELS[answer.level] ?? OTHER_LEVELS[answer.level]),
      h("span", { class: "by", title: "The release that answered" }, answer.release),
    ),
    degraded(answer.degraded),
    withLadder && stages(answer.stages),
  ];
}

/** Where the time went in the server: one thin bar, parted by stage; the words say the same. */
function stages(all) {
  const total = all.reduce((sum, { ms }) => sum + ms, 0);
  if (!total) return null;
  const words = all.map(({ stage, ms }) => `${stage} ${ms.toFixed(ms < 1 ? 2 : 1)}`).join(" · ");
  const parts = all.map(({ stage, ms }) => {
    const part = h("span", { title: `${stage}: ${ms.toFixed(2)} ms` });
    part.style.setProperty("--share", String(ms / total));
    return part;
  });
  return h(
    "div",
    { class: "stages", title: "From the server’s Server-Timing header, in milliseconds" },
    h("span", { class: "spent", "aria-hidden": "true" }, parts),
    h("span", { class: "words" }, h("span", { class: "unseen" }, "milliseconds by stage: "), words),
  );
}

export const degraded = (parts) =>
  parts?.length > 0 &&
  h("p", { class: "warning", role: "alert" }, h("strong", {}, "Degraded. "), `Answered without: ${parts.join(", ")}.`);

export function problem({ title: name, message, errors }) {
  const several = (errors ?? []).map((error) =>
    h("li", {}, h("code", {}, error.field), `: ${error.problem}, but it is `, h("code", {}, error.got)),
  );
  return h(
    "div",
    { class: "problem", role: "alert" },
    h("strong", {}, name),
    several.length ? h("ul", {}, several) : h("p", {}, message),
  );
}

export const empty = (...texts) => h("p", { class: "empty" }, ...texts);
