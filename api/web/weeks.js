// A user's playlist of the week, and last week's beside it. Nothing of it is there while none is published.
import * as api from "./api.js";
import { empty, h, plural, rows } from "./view.js";

const $ = (id) => document.getElementById(id);

/** A playlist as a column: which week, from which release, and its items with what of the history each is near. */
function column(list, described, options, name) {
  const items = list.items.map((item) => ({
    ...described.get(item.item_id),
    ...item,
    rank: item.position,
    because: item.because ? [described.get(item.because)] : [],
  }));
  return h(
    "div",
    { class: "week", "data-week": list.week },
    h("h3", {}, `${name} · ${list.week}`),
    h("p", { class: "quiet" }, `${plural(items.length, "item")} · ${list.level} · ${list.edition} · ${list.release}`),
    items.length ? rows(items, options) : empty(list.reason),
  );
}

/** Show the section for a user; hide it for a visitor, and where nothing is published. */
export async function showWeeks(user, options) {
  const signal = api.newest("weeks");
  if (!user) {
    $("weeks").hidden = true;
    return;
  }
  try {
    const { playlists, release } = await api.playlists(user, signal);
    const ids = [...new Set(playlists.flatMap(({ items }) => items.flatMap((item) => [item.item_id, item.because])))];
    const wanted = ids.filter(Boolean);
    const described = new Map((await api.describe(wanted, release, signal)).map((item, at) => [wanted[at], item]));
    if (signal.aborted) return;
    $("weeks").hidden = !playlists.length;
    const names = ["This week", "The week before"];
    $("weeks-body").replaceChildren(
      ...playlists.map((list, place) => column(list, described, options, names[place])),
    );
  } catch (error) {
    if (signal.aborted) return;
    if (!(error instanceof api.Problem)) throw error;
    $("weeks").hidden = true;
  }
}
