// The page itself: the address says what to show, each pane asks for its part of it, clicks change the address.
import * as api from "./api.js";
import { change, DEFAULT_SURFACE, read } from "./state.js";
import { showWeeks } from "./weeks.js";
import { degraded, empty, h, milliseconds, number, plural, problem, provenance, rows, title } from "./view.js";

const $ = (id) => document.getElementById(id);
const KS = ["5", "10", "20", "50", "100", "200"];
const SUGGESTED = 6;
const FOUND = 12;
const WAIT_FOR_TYPING = 120;
const WAIT_FOR_EVENTS = 60;
const TRIES = 50;

let shown = {}; // the state that the panes stand for
let from = null; // what had the focus when the similar panel was opened

/** Fill a pane with what ``fill(signal)`` gives; a problem is shown in its place, a stale answer nowhere. */
async function pane(name, fill) {
  const [body, note] = [$(`${name}-body`), $(`${name}-note`)];
  const signal = api.newest(name);
  body.setAttribute("aria-busy", "true");
  try {
    const { content, about = "" } = await fill(signal);
    if (signal.aborted) return;
    keepingFocus(body, () => body.replaceChildren(...content.flat().filter(Boolean)));
    if (note) note.textContent = about;
  } catch (error) {
    if (signal.aborted) return;
    if (!(error instanceof api.Problem)) throw error;
    body.replaceChildren(problem(error));
    if (note) note.textContent = "";
  }
  body.removeAttribute("aria-busy");
}

/** Replacing a list must not throw a keyboard user back to the top of the page. */
function keepingFocus(body, replace) {
  const active = body.contains(document.activeElement) ? document.activeElement : null;
  const buttons = () => [...body.querySelectorAll("button")];
  const [place, kind] = [buttons().indexOf(active), active?.className];
  const id = active?.closest("[data-id]")?.dataset.id;
  replace();
  if (!active) return;
  const same = buttons().find((button) => button.className === kind && button.closest("[data-id]")?.dataset.id === id);
  (same ?? buttons()[Math.min(place, buttons().length - 1)])?.focus();
}

const open = (item) => {
  from = item.item_id;
  change({ similar: item.item_id });
};

/** What a row needs to know of the moment. */
function options(state) {
  const toggle = state.anonymous && {
    has: (id) => state.anonymous.includes(id),
    flip: ({ item_id: id }) => {
      const others = read().anonymous.filter((other) => other !== id);
      change({ anonymous: toggle.has(id) ? others : [id, ...others] });
    },
  };
  return { open, toggle, current: state.similar };
}

/** What was said and is not in the list's answer yet: it is read in the background, within tens of milliseconds. */
const leaving = new Set();

/** The list as it is, asked for again for a while as long as it holds what a user has just taken out of it. */
async function listed(state, signal) {
  for (let left = TRIES; ; left -= 1) {
    const answer = state.anonymous
      ? await api.recommendAnonymous(state.anonymous, state.interests, state.surface, state.k, signal)
      : await api.recommend(state.user, state.surface, state.k, signal);
    if (!left || !answer.items.some((item) => leaving.has(item.item_id))) return answer;
    await new Promise((wake) => setTimeout(wake, WAIT_FOR_EVENTS));
    signal.throwIfAborted();
  }
}

/** A user likes or dismisses an item: it leaves the list at once, and then the list is asked for again. */
async function tell(item, kind) {
  const state = read();
  const rowsOf = () => document.querySelectorAll(`#list-body [data-id="${CSS.escape(item.item_id)}"]`);
  leaving.add(item.item_id);
  for (const row of rowsOf()) row.toggleAttribute("data-leaving", true);
  const shownIn = item.request_id && { request_id: item.request_id, position: item.rank, surface: state.surface };
  try {
    await api.tell({ user_id: state.user, item_id: item.item_id, kind, ...shownIn });
    const here = read();
    if (here.user === state.user) {
      // The list waits until what was said has had its effect; the history is read when it has.
      await showList(here);
      if (read().user === state.user) await showHistory(here);
    }
    $("said").textContent = `${title(item)}: ${kind === "like" ? "liked" : "dismissed"}. ${$("said").textContent}`;
  } catch (error) {
    if (!(error instanceof api.Problem)) throw error;
    for (const row of rowsOf()) row.toggleAttribute("data-leaving", false);
    $("list-body").prepend(problem(error));
  } finally {
    leaving.delete(item.item_id);
  }
}

async function showList(state) {
  const before = new Set([...$("list-body").querySelectorAll("[data-id]")].map((row) => row.dataset.id));
  const told = leaving.size > 0;
  await pane("list", async (signal) => {
    const answer = await listed(state, signal);
    const named = answer.items.flatMap((item) => [item, ...(item.because ?? [])]).map((item) => item.item_id);
    const about = new Map((await api.describe(named, answer.release, signal)).map((item) => [item.item_id, item]));
    const items = answer.items.map((item) => {
      const because = (item.because ?? []).map((why) => ({ ...about.get(why.item_id), ...why }));
      const arrived = told && !before.has(item.item_id);
      return { ...about.get(item.item_id), ...item, because, arrived, request_id: answer.request_id };
    });
    const whom = state.anonymous ? "an anonymous visitor" : `user ${state.user}`;
    $("said").textContent =
      `${plural(items.length, "recommendation")} for ${whom}, level ${answer.level}, ${milliseconds(answer.milliseconds)}`;
    return {
      content: [
        ...provenance(answer, { withLadder: true }),
        items.length
          ? rows(items, { ...options(state), tell: state.anonymous ? null : tell })
          : empty("Every item has been seen: nothing is left to recommend."),
      ],
      about: state.surface === DEFAULT_SURFACE ? `for ${whom}` : `for ${whom}, on ${state.surface}`,
    };
  });
}

async function showHistory(state) {
  if (state.anonymous) return showChosen(state);
  await pane("history", async (signal) => {
    const answer = await api.history(state.user, signal);
    const { items, seen } = answer;
    const nobody = empty(
      "Nobody by this id has been seen. Recommendations come all the same, from the last rung of the ladder.",
    );
    const many = seen > items.length ? `newest ${number(items.length)} of ${number(seen)}` : plural(seen, "item");
    return {
      content: [
        degraded(answer.degraded),
        items.length ? rows(items, options(state)) : answer.known ? empty("No items yet.") : nobody,
      ],
      about: answer.known ? many : "unknown user",
    };
  });
}

async function showChosen(state) {
  await pane("history", async (signal) => {
    const { release } = await api.release(signal);
    const items = await api.describe(state.anonymous, release, signal);
    return {
      content: [
        items.length
          ? rows(items, options(state))
          : empty("Nothing chosen yet. Add items with + below, or from the recommendations."),
      ],
      about: items.length ? plural(items.length, "item") : "",
    };
  });
}

async function showFound(state) {
  if (!state.anonymous) return;
  const text = $("search").value.trim();
  await pane("found", async (signal) => {
    const { items } = await api.search(text, FOUND + state.anonymous.length, signal);
    const others = items.filter((item) => !state.anonymous.includes(item.item_id)).slice(0, FOUND);
    $("found-title").textContent = text ? `Found for “${text}”` : "Popular, to begin with";
    return { content: [others.length ? rows(others, options(state)) : empty("Nothing else is found.")] };
  });
}

async function showSimilar(state) {
  $("similar").hidden = !state.similar;
  $("panes").toggleAttribute("data-three", Boolean(state.similar));
  if (!state.similar) {
    api.newest("similar");
    return;
  }
  await pane("similar", async (signal) => {
    const answer = await api.similar(state.similar, state.k, signal);
    const ids = answer.items.map((item) => item.item_id);
    const [item, ...described] = await api.describe([state.similar, ...ids], answer.release, signal);
    const items = answer.items.map((found, place) => ({ ...described[place], ...found }));
    return {
      content: [...provenance(answer), rows(items, options(state))],
      about: `to ${title(item)}${item.title ? ` · item ${item.item_id}` : ""}`,
    };
  });
}

function showControls(state) {
  const anonymous = Boolean(state.anonymous);
  $("mode-user").setAttribute("aria-pressed", String(!anonymous));
  $("mode-anonymous").setAttribute("aria-pressed", String(anonymous));
  $("for-user").hidden = $("suggestions").hidden = anonymous;
  $("for-anonymous").hidden = $("found").hidden = !anonymous;
  $("clear").hidden = !state.anonymous?.length;
  $("history-title").textContent = anonymous ? "Your history" : "History";
  if (!anonymous && document.activeElement !== $("user")) $("user").value = state.user ?? "";
  if (document.activeElement !== $("interests")) $("interests").value = state.interests.join(", ");
  showSurfaces(state.surface);
  const ks = KS.includes(state.k) ? KS : [...KS, state.k];
  $("k").replaceChildren(...ks.map((k) => h("option", { value: k, selected: k === state.k }, `${k} items`)));
  for (const chip of $("suggestions").querySelectorAll("button")) {
    chip.setAttribute("aria-pressed", String(chip.dataset.user === state.user));
  }
  for (const item of document.querySelectorAll(".item")) {
    item.toggleAttribute("data-current", item.dataset.id === state.similar);
  }
}

let surfaces = [DEFAULT_SURFACE]; // those that the release answers by

/** Offer the surfaces; the one that is asked for also where the release does not have it. */
function showSurfaces(chosen) {
  const names = surfaces.includes(chosen) ? surfaces : [...surfaces, chosen];
  $("surface").replaceChildren(...names.map((name) => h("option", { value: name, selected: name === chosen }, name)));
}

/** Show the state; ask again only for what has changed, or for everything if ``again``. */
async function show({ again = false } = {}) {
  const [state, before] = [read(), shown];
  shown = state;
  showControls(state);
  if (!state.user && !state.anonymous) return begin();
  const changed = (...names) => again || names.some((name) => String(state[name]) !== String(before[name]));
  const whom = changed("user", "anonymous");
  await Promise.all([
    (whom || changed("interests", "surface", "k")) && showList(state),
    whom && showHistory(state),
    whom && showWeeks(state.user, { open, current: state.similar }),
    whom && showFound(state),
    (changed("similar", "k") || (state.similar && Boolean(state.anonymous) && whom)) && showSimilar(state),
  ]);
}

/** Nobody is chosen: offer the user with the longest history. */
async function begin() {
  await pane("list", async (signal) => {
    const { users } = await api.users("", 1, signal);
    if (users.length && !read().user && !read().anonymous) change({ user: users[0].user_id }, { quietly: true });
    return { content: users.length ? [] : [empty("No users yet: try an anonymous visitor.")] };
  });
}

async function showRelease() {
  const release = await api.release();
  const { users, items, dimensions } = release;
  // Those that answer about an item are asked for by clicking on one.
  const others = release.surfaces.filter((name) => name !== DEFAULT_SURFACE && name !== "similar");
  surfaces = [DEFAULT_SURFACE, ...others];
  showSurfaces(read().surface);
  $("release").textContent = `${plural(users, "user")} · ${plural(items, "item")} · ${plural(dimensions, "dimension")}`;
}

async function suggest() {
  const { users } = await api.users("", SUGGESTED);
  $("suggestions").replaceChildren(
    h("span", { "aria-hidden": "true" }, "Long histories"),
    ...users.map(({ user_id: id, items }) =>
      h(
        "button",
        {
          type: "button",
          "data-user": id,
          "aria-pressed": String(id === shown.user),
          "aria-label": `User ${id}, ${plural(items, "item")}`,
          onclick: () => change({ user: id, anonymous: null, similar: null }),
        },
        h("strong", {}, id),
        plural(items, "item"),
      ),
    ),
  );
}

/** Ids that begin with what is typed, offered by the browser's own list. */
async function complete() {
  const { users } = await api.users($("user").value.trim(), 20, api.newest("complete"));
  $("users").replaceChildren(...users.map(({ user_id: id, items }) => h("option", { value: id }, plural(items, "item"))));
}

function typing(act) {
  let waiting;
  return () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => act().catch(report), WAIT_FOR_TYPING);
  };
}

/** What helps with choosing (suggestions, completion) may fail; the panes say what is wrong. */
function report(error) {
  if (!(error instanceof api.Problem) && error.name !== "AbortError") throw error;
}

function chooseUser() {
  const user = $("user").value.trim();
  if (!user) return $("user").focus();
  if (user === shown.user) return show({ again: true });
  change({ user, anonymous: null, similar: null });
}

function closeSimilar() {
  const rows = [...document.querySelectorAll("#list [data-id], #history [data-id]")];
  const opener = rows.find((row) => row.dataset.id === from)?.querySelector(".title");
  change({ similar: null });
  (opener ?? $("list")).focus({ preventScroll: !opener });
}

const byCommas = (text) => [...new Set(text.split(",").map((word) => word.trim()).filter(Boolean))];

const PLACED = {
  learned: "what was learned of it stays",
  content: "placed by what its description says",
  "no-information": "its description says nothing that the encoder knows, so it is found by its title only",
  "no-encoder": "this release has no encoder, so it is found by its title only",
};

/** Put the item of the form, then show what is like it. */
async function add(event) {
  event.preventDefault();
  const id = $("item-id").value.trim();
  const description = { title: $("item-title").value.trim(), text: $("item-text").value.trim() };
  const tags = byCommas($("item-tags").value);
  if (tags.length) description.tags = tags;
  let answer;
  try {
    answer = await api.put(id, description);
  } catch (error) {
    if (!(error instanceof api.Problem)) throw error;
    $("adding-problem").replaceChildren(problem(error));
    return;
  }
  $("adding").close();
  $("added").textContent = `${description.title || id}: ${PLACED[answer.placed] ?? answer.placed}.`;
  open({ item_id: id });
  await show({ again: true });
}

$("add").addEventListener("click", () => {
  $("adding-problem").replaceChildren();
  $("adding").showModal();
});
$("adding-cancel").addEventListener("click", () => $("adding").close());
$("adding-form").addEventListener("submit", add);

let lastUser = null;
$("mode-user").addEventListener("click", () => change({ user: lastUser, anonymous: null, similar: null }));
$("mode-anonymous").addEventListener("click", () => {
  if (shown.anonymous) return;
  lastUser = shown.user;
  change({ anonymous: [], similar: null });
});
$("controls").addEventListener("submit", (event) => {
  event.preventDefault();
  if (!shown.anonymous) chooseUser();
});
$("user").addEventListener("input", (event) => {
  // Taking one from the browser's list is a decision; typing is not yet.
  const taken = !event.inputType || event.inputType === "insertReplacementText";
  if (taken && $("user").value) chooseUser();
});
$("user").addEventListener("input", typing(complete));
$("user").addEventListener("focus", typing(complete));
$("search").addEventListener("input", typing(() => showFound(shown)));
$("interests").addEventListener(
  "input",
  typing(async () => change({ interests: byCommas($("interests").value) })),
);
$("surface").addEventListener("change", () => change({ surface: $("surface").value }));
$("k").addEventListener("change", () => change({ k: $("k").value }));
$("clear").addEventListener("click", () => change({ anonymous: [] }));
$("close").addEventListener("click", closeSimilar);
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault(); // the address after the # is ours
  $("list").focus();
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && shown.similar && !$("adding").open) closeSimilar();
});
window.addEventListener("hashchange", async () => {
  const opened = read().similar && read().similar !== shown.similar;
  const showing = show();
  if (opened) $("similar-title").focus({ preventScroll: true });
  await showing;
});

await Promise.all([show(), showRelease().catch(report), suggest().catch(report)]);
