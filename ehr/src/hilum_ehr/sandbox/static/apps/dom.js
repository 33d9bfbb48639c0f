// Elements from plain values. Text is always text, so nothing read from a record can become markup.
const SVG = "http://www.w3.org/2000/svg";
const SVG_TAGS = new Set(["svg", "path", "line", "rect", "circle", "text", "title", "g"]);

export function h(tag, attributes = {}, ...children) {
  const element = SVG_TAGS.has(tag) ? document.createElementNS(SVG, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (name === "onclick") element.addEventListener("click", value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat(4).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export function show(place, ...children) {
  place.replaceChildren(...children.flat(4).filter(Boolean));
}

export function day(text) {
  const found = /^(\d{4})(?:-(\d{2})(?:-(\d{2}))?)?/.exec(text ?? "");
  if (!found) return "";
  const [, year, month, date] = found;
  if (!month) return year;
  const name = new Date(Date.UTC(2000, Number(month) - 1, 1)).toLocaleString("en", { month: "short", timeZone: "UTC" });
  return date ? `${Number(date)} ${name} ${year}` : `${name} ${year}`;
}

// A notice that is all there is to see: its title is the page's.
export function stop(kind, title, ...body) {
  return h("div", { class: "app-trouble" }, told("h1", kind, title, body));
}

export function notice(kind, title, ...body) {
  return told("p", kind, title, body);
}

function told(heading, kind, title, body) {
  return h("div", { class: `notice notice-${kind}`, role: kind === "bad" ? "alert" : "status" },
    h(heading, { class: "notice-title" }, title), ...body.filter(Boolean).map((each) => (typeof each === "string" ? h("p", {}, each) : each)));
}

export function card(title, ...body) {
  return h("section", { class: "card" }, h("h2", { class: "card-title space-below" }, title), ...body);
}
