// Keeps parts of a page fresh: asks this site for each part alone, and swaps it when it has changed.
const EVERY_MS = 1000;

async function refresh(part, known) {
  if (document.visibilityState !== "visible") return known;
  const headers = known ? { "If-None-Match": known } : {};
  const answer = await fetch(part.dataset.live, { headers, cache: "no-store" });
  if (answer.status !== 200) return known;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  // What is focused would lose its focus; it is swapped once the person has moved on.
  if (known && part.contains(document.activeElement) && part !== document.activeElement) return known;
  part.replaceChildren(...fresh.body.childNodes);
  return answer.headers.get("ETag") ?? "";
}

async function follow(part, known = "") {
  let next = known;
  try {
    next = await refresh(part, known);
  } catch {
    // The next turn tries again.
  }
  setTimeout(follow, EVERY_MS, part, next);
}

document.querySelectorAll("[data-live]").forEach((part) => follow(part));
