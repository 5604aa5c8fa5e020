// What is shown, kept in the address after the # so that it can be shared, reloaded and gone back to.

export const DEFAULT_K = "20";
export const DEFAULT_SURFACE = "home";

const decode = (text) => {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // typed by hand: a stray % means itself
  }
};

/**
 * `#user=196&surface=email&k=50&similar=174` → { user: "196", anonymous: null, surface: "email", k: "50", … };
 * `#anonymous=50,174&interests=jazz` → { user: null, anonymous: ["50", "174"], interests: ["jazz"], … }, newest first.
 */
export function parse(hash) {
  const state = { user: null, anonymous: null, interests: [], surface: DEFAULT_SURFACE, k: DEFAULT_K, similar: null };
  for (const part of hash.replace(/^#/, "").split("&")) {
    const [name, ...rest] = part.split("=");
    const value = rest.join("=");
    if (["anonymous", "interests"].includes(name)) state[name] = [...new Set(value.split(",").filter(Boolean).map(decode))];
    else if (value && ["user", "surface", "k", "similar"].includes(name)) state[name] = decode(value);
  }
  if (state.anonymous) state.user = null;
  return state;
}

/** The other way round; what stands at its default is left out. */
export function format({ user, anonymous, interests, surface, k, similar }) {
  const parts = [];
  if (anonymous) parts.push(`anonymous=${anonymous.map(encodeURIComponent).join(",")}`);
  else if (user) parts.push(`user=${encodeURIComponent(user)}`);
  if (anonymous && interests.length) parts.push(`interests=${interests.map(encodeURIComponent).join(",")}`);
  if (surface !== DEFAULT_SURFACE) parts.push(`surface=${encodeURIComponent(surface)}`);
  if (k !== DEFAULT_K) parts.push(`k=${encodeURIComponent(k)}`);
  if (similar) parts.push(`similar=${encodeURIComponent(similar)}`);
  return `#${parts.join("&")}`;
}

export const read = () => parse(location.hash);

/** Change some of it; the page hears of it by ``hashchange``. ``quietly``: without a step in the browser's history. */
export function change(some, { quietly = false } = {}) {
  const hash = format({ ...read(), ...some });
  if (quietly) location.replace(hash);
  else location.hash = hash;
}
