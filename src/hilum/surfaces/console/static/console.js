// What script adds to pages that work without it: keys, live values, copying.

const field = (target) => target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName));
const links = () => [...document.querySelectorAll("[data-row]")].map((row) => row.querySelector("a")).filter(Boolean);

function step(by) {
  const all = links();
  if (!all.length) return;
  const at = all.findIndex((link) => link.closest("[data-row]").contains(document.activeElement));
  const next = at < 0 ? (by > 0 ? 0 : all.length - 1) : Math.min(all.length - 1, Math.max(0, at + by));
  all[next].focus();
}

document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || field(event.target)) return;
  if (event.key === "/") {
    const search = document.getElementById("desk-search") ?? document.getElementById("list-q");
    if (search) { event.preventDefault(); search.focus(); search.select(); }
  } else if (event.key === "j" || event.key === "k") {
    event.preventDefault();
    step(event.key === "j" ? 1 : -1);
  } else if (event.key === "?") {
    document.getElementById("keys")?.showModal();
  }
});

// In a text of several lines Enter begins a new one. Only a form with one button: which of several is meant is not guessed.
document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.key !== "Enter" || !(event.ctrlKey || event.metaKey) || !field(event.target)) return;
  const form = event.target.form;
  const buttons = form ? form.querySelectorAll("button[type=submit], button:not([type])") : [];
  if (buttons.length !== 1) return;
  event.preventDefault();
  form.requestSubmit(buttons[0]);
});

// A page that holds live values is read again when the platform says that it changed. What is shown is what the server rendered:
// nothing is computed here. While somebody types or reads inside, nothing moves.
const live = document.querySelector("[data-live]");
if (live) {
  const console_ = location.pathname.split("/")[1];
  let busy = false;
  // What a job works on says after how many seconds it is to be read again: no worker announces that.
  let timer = 0;
  const refresh = async () => {
    clearTimeout(timer);
    if (live.dataset.live) timer = setTimeout(refresh, live.dataset.live * 1000);
    if (busy || document.hidden || live.querySelector("form :focus")) return;
    busy = true;
    try {
      const answer = await fetch(location.href, {headers: {accept: "text/html"}});
      if (answer.ok && !answer.redirected) {
        const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("[data-live]");
        if (fresh && fresh.innerHTML !== live.innerHTML) {
          const at = links().findIndex((link) => link === document.activeElement);
          live.innerHTML = fresh.innerHTML;
          if (at >= 0) links()[at]?.focus();
        }
        if (fresh) live.dataset.live = fresh.dataset.live;
      }
    } catch {
      // The next event tries again; the values that are shown say as of when they are.
    } finally {
      busy = false;
    }
  };
  const source = new EventSource(`/${console_}/live`);
  // A worker's own words about a change, such as that it has begun to refuse, come a moment after it.
  const again = () => setTimeout(refresh, 1200);
  source.addEventListener("changed", () => { refresh(); again(); });
  source.addEventListener("tick", refresh);
  again();
  addEventListener("pagehide", () => source.close());
}

// Under the pointer a time also says what it is in the reader's own zone.
document.addEventListener("pointerover", (event) => {
  const time = event.target instanceof Element ? event.target.closest("time[datetime]") : null;
  const at = time && !time.dataset.here ? new Date(time.dateTime) : null;
  if (!at || Number.isNaN(at.getTime())) return;
  time.dataset.here = "yes";
  time.title = `${time.title}; where you are: ${at.toLocaleString([], {dateStyle: "medium", timeStyle: "short"})}`;
});

for (const button of document.querySelectorAll("[data-copy]")) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent.trim());
    button.textContent = "Copied";
  });
}

// The digest of a document that stays where it is: the file is read here and sent nowhere.
for (const line of document.querySelectorAll("[data-digest]")) {
  if (!crypto.subtle) continue;
  line.hidden = false;
  line.querySelector("input").addEventListener("change", async (event) => {
    const file = event.target.files[0];
    if (!file) return;
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", await file.arrayBuffer()));
    document.getElementById(line.dataset.digest).value = [...digest].map((each) => each.toString(16).padStart(2, "0")).join("");
  });
}

// A text that is in a file: it is read here, and sent with its form.
for (const line of document.querySelectorAll("[data-text]")) {
  line.hidden = false;
  line.querySelector("input").addEventListener("change", async (event) => {
    const file = event.target.files[0];
    if (file && file.size <= 65536) document.getElementById(line.dataset.text).value = (await file.text()).trim();
  });
}
