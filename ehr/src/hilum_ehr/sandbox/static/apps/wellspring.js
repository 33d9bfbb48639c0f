// Wellspring: somebody's own record in plain words.
import { begin, complete, explain } from "./smart.js";
import { card, day, h, notice, show, stop } from "./dom.js";
import { lineChart } from "./charts.js";
import { code, nameMedicines, nameOf, text, unitOf, when } from "./records.js";

const CLIENT_ID = "wellspring";
const RECORDS = "openid fhirUser offline_access patient/Patient.rs patient/Observation.rs patient/Immunization.rs patient/MedicationRequest.rs patient/Medication.rs";
const REDIRECT_URI = `${location.origin}/apps/wellspring/app`;
const WORDS = {
  "4548-4": ["Long-term blood sugar", "HbA1c: your average blood sugar over about three months."],
  "2345-7": ["Blood sugar", "The sugar in your blood at that moment."],
  "27353-2": ["Average blood sugar", "Worked out from your long-term blood sugar."],
  "2951-2": ["Sodium", "A salt that balances the water in your body."],
  "2823-3": ["Potassium", "A salt that your heart and muscles need."],
  "2075-0": ["Chloride", "A salt that works together with sodium."],
  "2028-9": ["Bicarbonate", "Keeps your blood from becoming too acid."],
  "3094-0": ["Urea", "Waste that your kidneys clear away."],
  "2160-0": ["Creatinine", "Waste from your muscles; shows how well your kidneys work."],
  "98979-8": ["Kidney function", "How much blood your kidneys clean in a minute."],
  "30522-7": ["hs-CRP", "A sign of inflammation, also used to estimate the risk of heart disease."],
  "2093-3": ["Total cholesterol", "All the fats of this kind in your blood."],
  "13457-7": ["LDL cholesterol", "The kind that can narrow blood vessels."],
  "2085-9": ["HDL cholesterol", "The kind that protects blood vessels."],
  "2571-8": ["Triglycerides", "Fat that comes mostly from food."],
  "718-7": ["Hemoglobin", "Carries oxygen in your blood."],
  "4544-3": ["Hematocrit", "The share of red cells in your blood."],
  "6690-2": ["White blood cells", "Cells that fight infections."],
  "777-3": ["Platelets", "Cells that stop bleeding."],
  "3016-3": ["Thyroid hormone control", "TSH: tells your thyroid how hard to work."],
  "6301-6": ["Blood clotting", "INR: how long your blood takes to clot."],
};
const VACCINES = [
  [/influenza/i, "Flu"], [/covid|sars-cov-2/i, "COVID-19"], [/dtap|tdap|diphtheria/i, "Tetanus, diphtheria and whooping cough"],
  [/mmr|measles/i, "Measles, mumps and rubella"], [/zoster/i, "Shingles"], [/varicella/i, "Chickenpox"], [/pneumo/i, "Pneumonia"],
  [/hep ?b|hepatitis b/i, "Hepatitis B"], [/hep ?a|hepatitis a/i, "Hepatitis A"], [/hpv|papilloma/i, "HPV"], [/polio|ipv/i, "Polio"],
  [/rotavirus/i, "Rotavirus"], [/mening/i, "Meningitis"], [/haemophilus|hib/i, "Hib"], [/rsv|respiratory syncytial/i, "RSV"],
];
const plainVaccine = (name) => VACCINES.find(([pattern]) => pattern.test(name))?.[1] ?? name;
const STATES = { H: ["above the usual range", "warn"], HH: ["far above the usual range", "bad"], L: ["below the usual range", "warn"], LL: ["far below the usual range", "bad"], N: ["in the usual range", "good"] };
const PLAIN = {
  declined: ["You said no", "That is fine. If it was a mistake, start again."],
  expired: ["Wellspring is not connected now", "You or your hospital ended it, or its time was over. To see your record here, connect again."],
  forbidden: ["Your hospital does not let Wellspring see this", "Ask your hospital's help desk if you need it."],
  mixed: ["This could not be finished safely", "So it was stopped. Start again."],
  missing: ["Wellspring is not connected yet", "Start again and choose where you were treated."],
  discovery: ["The hospital cannot be reached", "Try again in a few minutes."],
};
const main = document.querySelector("main");

function trouble(error) {
  const said = explain(error, PLAIN);
  show(main, stop(said.kind === "declined" ? "info" : "bad", said.title, said.kind === "expired" ? "" : said.message, said.next,
    h("p", { class: "actions" }, h("a", { class: "button button-primary", href: "/apps/wellspring" }, "Start again")),
    said.requestId && h("p", { class: "small" }, "If you need help, quote this number: ", h("code", {}, said.requestId))));
}

function stateOf(observation) {
  const flag = STATES[code(observation.interpretation?.[0])];
  if (flag) return flag;
  const range = observation.referenceRange?.[0];
  const value = observation.valueQuantity?.value;
  if (!range || !Number.isFinite(value)) return ["", ""];
  if (range.high && value > range.high.value) return STATES.H;
  if (range.low && value < range.low.value) return STATES.L;
  return STATES.N;
}

function usualOf(observation) {
  const range = observation.referenceRange?.[0];
  if (!range) return null;
  return [range.low?.value ?? -Infinity, range.high?.value ?? Infinity];
}

function result(observations) {
  const [latest] = observations;
  const [name, about] = WORDS[code(latest.code)] ?? [text(latest.code), ""];
  const [state, kind] = stateOf(latest);
  const unit = unitOf(latest.valueQuantity);
  const values = observations.map((each) => ({ at: when(each), value: each.valueQuantity.value }));
  const chart = values.length > 1 ? lineChart([{ name, points: values }], { unit, usual: usualOf(latest) }) : null;
  return h("article", { class: "card result" },
    h("div", { class: "row" }, h("h3", {}, name), state && h("span", { class: `badge badge-${kind}` }, state)),
    h("p", { class: "result-value" }, `${latest.valueQuantity.value} ${unit}`, h("span", { class: "muted small" }, ` on ${day(when(latest))}`)),
    about && h("p", { class: "muted" }, about), chart);
}

function results(found) {
  const groups = new Map();
  for (const each of found.filter((one) => Number.isFinite(one.valueQuantity?.value) && when(one))) {
    groups.set(code(each.code), [...(groups.get(code(each.code)) ?? []), each]);
  }
  const sorted = [...groups.values()].map((group) => group.sort((a, b) => Date.parse(when(b)) - Date.parse(when(a))));
  const weight = (group) => (["warn", "bad"].includes(stateOf(group[0])[1]) ? 0 : 1);
  sorted.sort((a, b) => weight(a) - weight(b) || Date.parse(when(b[0])) - Date.parse(when(a[0])));
  if (!sorted.length) return h("p", { class: "card muted" }, "There are no lab results in your record here.");
  return h("div", { class: "results" }, sorted.map(result));
}

function lines(items, nothing) {
  if (!items.length) return h("p", { class: "muted" }, nothing);
  return h("ul", { class: "plain-list" }, items.map(([title, detail, date]) => h("li", {},
    h("div", { class: "row" }, h("span", {}, title), date && h("span", { class: "muted small nowrap" }, date)), detail && h("div", { class: "muted small" }, detail))));
}

const vaccines = (found) => found.filter((each) => each.status === "completed")
  .sort((a, b) => String(b.occurrenceDateTime).localeCompare(String(a.occurrenceDateTime)))
  .map((each) => [plainVaccine(text(each.vaccineCode)), text(each.vaccineCode), day(each.occurrenceDateTime ?? each.occurrenceString)]);
const medicines = (found, named) => found.filter((each) => each.status === "active")
  .map((each) => [named(each), each.dosageInstruction?.[0]?.text ?? "", ""]);

async function part(session, type, parameters, draw) {
  try {
    return await draw(await session.search(type, parameters));
  } catch (error) {
    const said = explain(error);
    if (said.kind === "expired") throw error;
    const title = said.kind === "forbidden" ? "You did not share this" : said.title;
    return notice("info", title, said.kind === "forbidden" ? "Wellspring can show it if you connect again and leave it ticked." : said.message);
  }
}

function sharing(session) {
  const disconnect = h("button", { class: "button button-danger", onclick: async () => {
    const done = await session.revoke().catch(() => false);
    show(main, stop(done ? "good" : "warn", done ? "Disconnected" : "Forgotten here",
      done ? "Wellspring holds no key to your record any more." : "Wellspring forgot its key, but the hospital did not confirm.",
      h("p", {}, h("a", { href: "/apps/wellspring" }, "Connect again"))));
  } }, "Disconnect Wellspring");
  return card("What you share", h("p", {}, "Wellspring shows your record and keeps no copy. You can take its key back at any time."),
    session.server.management_endpoint && h("p", {}, h("a", { href: session.server.management_endpoint, target: "_blank", rel: "noopener" }, "All apps connected at your hospital")),
    h("p", { class: "actions" }, disconnect));
}

async function app() {
  const session = await complete(CLIENT_ID);
  if (!session.patient) {
    show(main, stop("warn", "No record was chosen", "Connect again and choose whose record to show.", h("p", {}, h("a", { href: "/apps/wellspring" }, "Connect again"))));
    return;
  }
  const about = { patient: session.patient };
  const name = await session.read(`Patient/${session.patient}`).then(nameOf).catch((error) => {
    if (explain(error).kind === "expired") throw error;
    return "Your record";
  });
  const [labs, shots, pills] = await Promise.all([
    part(session, "Observation", { ...about, category: "laboratory", _sort: "-date", _count: "200" }, results),
    part(session, "Immunization", about, (found) => lines(vaccines(found), "No vaccines are in your record here.")),
    part(session, "MedicationRequest", about, async (found) => lines(medicines(found, await nameMedicines(session, found)), "No current medicines are in your record here.")),
  ]);
  show(main, h("header", { class: "heading" }, h("h1", {}, name), h("p", { class: "lead" }, "Your record, in plain words. It does not replace talking to your doctor.")),
    h("div", { class: "columns" }, h("section", {}, h("h2", {}, "Your results"), labs), h("div", {}, card("Your medicines", pills), card("Your vaccines", shots), sharing(session))));
}

async function launch() {
  const asked = new URLSearchParams(location.search);
  const [iss, handle] = [asked.get("iss"), asked.get("launch")];
  if (!iss) {
    location.replace("/apps/wellspring");
    return;
  }
  await begin({ iss, launch: handle, clientId: CLIENT_ID, redirectUri: REDIRECT_URI, scope: `${handle ? "launch" : "launch/patient"} ${RECORDS}` });
}

function start() {
  for (const button of document.querySelectorAll("button[data-iss]")) {
    button.disabled = false;
    button.addEventListener("click", () => {
      begin({ iss: button.dataset.iss, clientId: CLIENT_ID, redirectUri: REDIRECT_URI, scope: `launch/patient ${RECORDS}` }).catch(trouble);
    });
  }
}

const parts = { app, launch, start: async () => start() };
parts[document.body.dataset.part]().catch(trouble);
