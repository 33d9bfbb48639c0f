// Keeps the inspector's list fresh: asks this site for the list alone, and swaps it when it has changed.
const EVERY_MS = 1000;
const list = document.querySelector("[data-inspector]");
let etag = "";

async function refresh() {
  if (document.visibilityState !== "visible") return;
  const headers = etag ? { "If-None-Match": etag } : {};
  const answer = await fetch(list.dataset.inspector, { headers, cache: "no-store" });
  if (answer.status !== 200) return;
  etag = answer.headers.get("ETag") ?? "";
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  list.replaceChildren(...fresh.body.childNodes);
}

async function run() {
  try {
    await refresh();
  } catch {
    // The next turn tries again.
  }
  setTimeout(run, EVERY_MS);
}

if (list) run();
