// Lumen Chart: a clinician's view of one patient, launched from the chart.
import { begin, complete, explain } from "./smart.js";
import { card, day, h, notice, show, stop } from "./dom.js";
import { lineChart } from "./charts.js";
import { ageOf, code, componentPoints, hasCode, isAdult, nameMedicines, nameOf, points, text } from "./records.js";

const CLIENT_ID = "lumen-chart";
const TYPES = ["Patient", "Observation", "Condition", "MedicationRequest", "Medication", "AllergyIntolerance", "Encounter"];
const RECORDS = TYPES.map((type) => `patient/${type}.rs`).join(" ");
const REDIRECT_URI = `${location.origin}/apps/lumen/app`;
const VITALS = [
  { name: "Heart rate", code: "8867-4", unit: "/min", usual: [60, 100], ofAdults: true },
  { name: "Weight", code: "29463-7", unit: "kg" },
  { name: "BMI", code: "39156-5", unit: "kg/m²" },
  { name: "Oxygen saturation", code: "59408-5", unit: "%", usual: [94, 100] },
  { name: "Temperature", code: "8310-5", unit: "°C", usual: [36.1, 37.5] },
  { name: "Respiratory rate", code: "9279-1", unit: "/min", usual: [12, 20], ofAdults: true },
];
const PERIODS = [["All", 0], ["2 years", 730], ["1 year", 365], ["6 months", 183]];
const main = document.querySelector("main");

function trouble(error) {
  const said = explain(error);
  show(main, stop("bad", said.title, said.message, said.next,
    h("p", {}, h("a", { href: "/apps/lumen" }, "About Lumen Chart")),
    said.requestId && h("p", { class: "small" }, "If you need help, quote this number: ", h("code", {}, said.requestId))));
}

function vital({ name, unit, usual, ofAdults }, series, since) {
  const kept = series.map((each) => ({ ...each, points: each.points.filter((point) => !since || Date.parse(point.at) >= since) }));
  const chart = lineChart(kept, { unit, usual, usualName: ofAdults ? "Usual in adults" : "Usual range" });
  if (!chart) return null;
  const latest = kept.map((each) => each.points.at(-1).value).join("/");
  return h("figure", { class: "card vital" }, h("figcaption", {}, h("span", { class: "vital-name" }, name),
    h("span", { class: "vital-latest" }, `${latest} ${unit}`), h("span", { class: "muted small" }, day(kept[0].points.at(-1).at))), chart);
}

function drawVitals(place, observations, since, adult) {
  // A pressure counts when both of its parts were measured.
  const pressures = observations.filter((each) => hasCode(each, "85354-9")
    && ["8480-6", "8462-4"].every((wanted) => (each.component ?? []).some((part) => hasCode(part, wanted) && Number.isFinite(part.valueQuantity?.value))));
  const pressure = [{ name: "Systolic", points: componentPoints(pressures, "8480-6") }, { name: "Diastolic", points: componentPoints(pressures, "8462-4") }];
  const drawn = [
    vital({ name: "Blood pressure", unit: "mmHg" }, pressure.every((each) => each.points.length) ? pressure : [], since),
    ...VITALS.map((each) => vital(each.ofAdults && !adult ? { ...each, usual: null } : each, [{ name: each.name, points: points(observations, each.code) }], since)),
  ].filter(Boolean);
  show(place, drawn.length ? h("div", { class: "vitals" }, drawn) : h("p", { class: "card muted" }, observations.length ? "No vital signs in this period. Choose a longer one." : "No vital signs are recorded for this patient."));
}

// Some usual ranges are those of adults only; a child's chart is drawn without.
function vitalsSection(observations, adult) {
  const place = h("div");
  const choices = PERIODS.map(([name, days], index) => h("button", { class: "period", "aria-pressed": String(index === 0), onclick: (event) => {
    for (const each of event.currentTarget.parentNode.children) each.setAttribute("aria-pressed", "false");
    event.currentTarget.setAttribute("aria-pressed", "true");
    drawVitals(place, observations, days ? Date.now() - days * 86400000 : 0, adult);
  } }, name));
  drawVitals(place, observations, 0, adult);
  return h("section", {}, h("div", { class: "section-head" }, h("h2", {}, "Vital signs over time"), h("div", { class: "periods", role: "group", "aria-label": "Period" }, choices)), place);
}

function list(items, nothing) {
  if (!items.length) return h("p", { class: "muted" }, nothing);
  return h("ul", { class: "plain-list" }, items.map((item) => h("li", {},
    h("div", { class: "row" }, h("span", {}, item.title), item.when && h("span", { class: "muted small nowrap" }, item.when)),
    item.detail && h("div", { class: "muted small" }, item.detail))));
}

const problems = (found) => found.filter((each) => ["active", "recurrence", ""].includes(code(each.clinicalStatus))
  && !(each.category ?? []).some((category) => code(category) === "encounter-diagnosis"))
  .map((each) => ({ title: text(each.code), when: each.onsetDateTime ? `since ${day(each.onsetDateTime.slice(0, 7))}` : "" }));
const medications = (found, named) => found.filter((each) => each.status === "active")
  .sort((a, b) => String(b.authoredOn ?? "").localeCompare(String(a.authoredOn ?? "")))
  .map((each) => ({ title: named(each), detail: each.dosageInstruction?.[0]?.text, when: day((each.authoredOn ?? "").slice(0, 7)) }));
const allergies = (found) => found.filter((each) => ["active", ""].includes(code(each.clinicalStatus)))
  .map((each) => ({ title: text(each.code), detail: (each.reaction ?? []).flatMap((one) => one.manifestation ?? []).map(text).join(", "), when: each.criticality === "high" ? "high risk" : "" }));

// One panel fails alone: a refused type says so where it would stand.
async function panel(title, session, type, parameters, draw) {
  try {
    return card(title, await draw(await session.search(type, parameters)));
  } catch (error) {
    const said = explain(error);
    if (said.kind === "expired") throw error;
    return card(title, notice("warn", said.title, said.message));
  }
}

function granted(session) {
  const missing = session.asked.filter((scope) => !session.granted.includes(scope) && !["launch", "launch/patient", "launch/encounter"].includes(scope));
  return h("details", { class: "card scopes" }, h("summary", {}, `What this app was given: ${session.granted.length} scopes`),
    h("ul", { class: "badges" }, session.granted.map((scope) => h("li", { class: "badge badge-accent" }, scope))),
    missing.length > 0 && h("div", {}, h("p", { class: "small muted space-above" }, "Asked for, not given:"), h("ul", { class: "badges" }, missing.map((scope) => h("li", { class: "badge badge-warn" }, scope)))),
    h("p", { class: "small muted space-above" }, `The access token lasts until ${new Date(session.until).toLocaleTimeString("en-GB")}.`));
}

function who(session, patient) {
  const facts = [ageOf(patient), patient.gender, patient.birthDate && `born ${day(patient.birthDate)}`, patient.deceasedDateTime && `died ${day(patient.deceasedDateTime)}`];
  return session.showsBanner
    ? h("div", { class: "who-is" }, h("h1", {}, nameOf(patient)), h("p", { class: "muted" }, facts.filter(Boolean).join(" · ")))
    : h("h1", { class: "unseen" }, nameOf(patient));
}

async function app() {
  const session = await complete(CLIENT_ID);
  if (!session.patient) {
    show(main, stop("warn", "No patient is open", "Lumen Chart needs a patient. Open one in the chart, then launch the app from there."));
    return;
  }
  const patient = await session.read(`Patient/${session.patient}`);
  const about = { patient: session.patient };
  const [vitals, ...side] = await Promise.all([
    session.search("Observation", { ...about, category: "vital-signs", _sort: "-date", _count: "200" }).then((found) => vitalsSection(found, isAdult(patient))).catch((error) => {
      const said = explain(error);
      if (said.kind === "expired") throw error;
      return card("Vital signs over time", notice("warn", said.title, said.message));
    }),
    panel("Problems", session, "Condition", about, (found) => list(problems(found), "No active problems.")),
    panel("Medications", session, "MedicationRequest", about, async (found) => list(medications(found, await nameMedicines(session, found)), "No active prescriptions.")),
    panel("Allergies", session, "AllergyIntolerance", about, (found) => list(allergies(found), "None recorded.")),
  ]);
  show(main, who(session, patient), h("div", { class: "columns" }, vitals, h("div", {}, side, granted(session))));
  document.title = "Lumen Chart";
}

async function launch() {
  const asked = new URLSearchParams(location.search);
  const [iss, handle] = [asked.get("iss"), asked.get("launch")];
  if (!iss || !handle) {
    show(main, stop("warn", "This page is opened by an EHR", "A chart sends along which hospital and which patient it is about (iss and launch). Opened by hand, it knows neither.", h("p", {}, h("a", { href: "/sandbox" }, "Open a chart"))));
    return;
  }
  await begin({ iss, launch: handle, clientId: CLIENT_ID, redirectUri: REDIRECT_URI, scope: `launch openid fhirUser online_access ${RECORDS}` });
}

function start() {
  for (const button of document.querySelectorAll("button[data-iss]")) {
    button.disabled = false;
    button.addEventListener("click", () => {
      begin({ iss: button.dataset.iss, clientId: CLIENT_ID, redirectUri: REDIRECT_URI, scope: `launch/patient openid fhirUser ${RECORDS}` }).catch(trouble);
    });
  }
}

const parts = { app, launch, start: async () => start() };
parts[document.body.dataset.part]().catch(trouble);
