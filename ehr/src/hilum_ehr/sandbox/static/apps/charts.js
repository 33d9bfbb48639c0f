// Line charts over time as SVG elements, coloured by classes of the style sheet only.
import { h, day } from "./dom.js";

const WIDTH = 340;
const HEIGHT = 150;
const [LEFT, RIGHT, TOP, BOTTOM] = [38, 8, 8, 20];

// Without a usual range the axis spans at least a tenth of the value, so that a trifle does not look like a fall.
function scale(values, usual) {
  let low = Math.min(...values);
  let high = Math.max(...values);
  const missing = usual ? 0 : Math.max(0, (Math.abs(low + high) / 2) * 0.1 - (high - low));
  [low, high] = [low - missing / 2, high + missing / 2];
  const spread = high - low || Math.abs(high) * 0.1 || 1;
  if (usual) {
    low = Math.min(low, Math.max(usual[0], low - spread));
    high = Math.max(high, Math.min(usual[1], high + spread));
  }
  const raw = (high - low || spread) / 4;
  const magnitude = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * magnitude).find((each) => each >= raw);
  let bottom = Math.floor(low / step) * step;
  let top = Math.ceil(high / step) * step;
  if (top === bottom) [bottom, top] = [bottom - step, top + step];
  return [bottom, top, step];
}

const number = (value) => String(Math.round(value * 100) / 100);

function between([low, high], unit) {
  if (low === -Infinity) return `up to ${number(high)} ${unit}`;
  return high === Infinity ? `from ${number(low)} ${unit}` : `${number(low)}–${number(high)} ${unit}`;
}

// series: [{name, points: [{at, value}]}], at as an ISO text. usual: [low, high] of the usual range, called as usualName says.
export function lineChart(series, { unit = "", usual = null, usualName = "Usual range" } = {}) {
  const kept = series.filter((each) => each.points.length).map((each) => ({
    name: each.name,
    points: each.points.map(({ at, value }) => ({ at, value, time: Date.parse(at) })).sort((a, b) => a.time - b.time),
  }));
  const points = kept.flatMap((each) => each.points);
  if (!points.length) return null;
  const [bottom, top, step] = scale(points.map((each) => each.value), usual);
  const first = Math.min(...points.map((each) => each.time));
  const last = Math.max(...points.map((each) => each.time));
  const x = (time) => (first === last ? (LEFT + WIDTH - RIGHT) / 2 : LEFT + ((time - first) / (last - first)) * (WIDTH - LEFT - RIGHT));
  const y = (value) => TOP + ((top - value) / (top - bottom)) * (HEIGHT - TOP - BOTTOM);
  const parts = [];
  let banded = false;
  if (usual) {
    const [upper, lower] = [y(Math.min(usual[1], top)), y(Math.max(usual[0], bottom))];
    banded = lower > upper;
    if (banded) parts.push(h("rect", { class: "chart-band", x: LEFT, y: upper, width: WIDTH - LEFT - RIGHT, height: lower - upper }));
  }
  for (let value = bottom; value <= top + step / 2; value += step) {
    parts.push(h("line", { class: "chart-rule", x1: LEFT, x2: WIDTH - RIGHT, y1: y(value), y2: y(value) }),
      h("text", { class: "chart-text", x: LEFT - 6, y: y(value) + 3.5, "text-anchor": "end" }, number(value)));
  }
  const alone = first === last;
  const earliest = points.find((each) => each.time === first);
  const latest = points.find((each) => each.time === last);
  parts.push(h("text", { class: "chart-text", x: x(first), y: HEIGHT - 4, "text-anchor": alone ? "middle" : "start" }, day(earliest.at.slice(0, 7))));
  if (!alone) parts.push(h("text", { class: "chart-text", x: x(last), y: HEIGHT - 4, "text-anchor": "end" }, day(latest.at.slice(0, 7))));
  kept.forEach((each, index) => {
    const n = index + 1;
    const path = each.points.map((point) => `${x(point.time).toFixed(1)} ${y(point.value).toFixed(1)}`).join(" L");
    parts.push(h("path", { class: `chart-line chart-line-${n}`, d: `M${path}` }));
    if (each.points.length <= 40) {
      parts.push(...each.points.map((point) => h("circle", { class: `chart-dot chart-dot-${n}`, cx: x(point.time).toFixed(1), cy: y(point.value).toFixed(1), r: 3 },
        h("title", {}, `${each.name}, ${day(point.at)}: ${number(point.value)} ${unit}`))));
    }
  });
  const said = kept.map((each) => {
    const end = each.points.at(-1);
    return `${each.name}: ${each.points.length} ${each.points.length === 1 ? "value" : "values"}, last ${number(end.value)} ${unit} on ${day(end.at)}`;
  });
  const svg = h("svg", { class: "chart", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": `${said.join(". ")}.` }, parts);
  const keys = kept.length > 1 ? kept.map((each, index) => h("li", { class: `key-${index + 1}` }, each.name)) : [];
  if (banded) keys.push(h("li", { class: "key-band" }, `${usualName}: ${between(usual, unit)}`));
  return keys.length ? [svg, h("ul", { class: "chart-key" }, keys)] : [svg];
}
