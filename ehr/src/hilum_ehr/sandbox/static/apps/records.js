// Reading FHIR resources: the few questions both sample apps ask of them.

export const text = (concept) => concept?.text || concept?.coding?.[0]?.display || concept?.coding?.[0]?.code || "";
export const code = (concept) => concept?.coding?.[0]?.code ?? "";
export const hasCode = (resource, wanted) => (resource.code?.coding ?? []).some((each) => each.code === wanted);
export const when = (observation) => observation.effectiveDateTime ?? observation.effectivePeriod?.start ?? observation.issued ?? "";

export function nameOf(patient) {
  const names = (patient.name ?? []).filter((each) => !["old", "maiden"].includes(each.use));
  const name = names[0] ?? {};
  return name.text || [...(name.given ?? []), name.family, ...(name.suffix ?? [])].filter(Boolean).join(" ") || "Name unknown";
}

export function ageOf(patient, today = new Date()) {
  const born = Date.parse(patient.birthDate ?? "");
  if (Number.isNaN(born)) return "age unknown";
  const days = Math.floor(((patient.deceasedDateTime ? Date.parse(patient.deceasedDateTime) : today.getTime()) - born) / 86400000);
  if (days < 60) return `${days} days`;
  if (days < 730) return `${Math.floor(days / 30)} months`;
  return `${Math.floor(days / 365.2425)} years`;
}

export const isAdult = (patient, today = Date.now()) => today - Date.parse(patient.birthDate ?? "") >= 18 * 365.2425 * 86400000;

export function unitOf(quantity) {
  return (quantity?.unit ?? "").replace("{1.73_m2}", "1.73 m²").replaceAll(/[{}]/g, "").replace("10*3/uL", "thousand/µL");
}

export function points(observations, wanted) {
  return observations.filter((each) => hasCode(each, wanted) && Number.isFinite(each.valueQuantity?.value) && when(each))
    .map((each) => ({ at: when(each), value: each.valueQuantity.value, unit: unitOf(each.valueQuantity) }))
    .sort((a, b) => Date.parse(a.at) - Date.parse(b.at));
}

export function componentPoints(observations, wanted) {
  return observations.filter((each) => when(each)).flatMap((each) => (each.component ?? [])
    .filter((part) => hasCode(part, wanted) && Number.isFinite(part.valueQuantity?.value))
    .map((part) => ({ at: when(each), value: part.valueQuantity.value, unit: unitOf(part.valueQuantity) })))
    .sort((a, b) => Date.parse(a.at) - Date.parse(b.at));
}

// Medicines are named in the order itself or in a Medication of their own, which is read once each.
export async function nameMedicines(session, orders) {
  const names = new Map();
  const references = orders.map((order) => order.medicationReference?.reference).filter((each) => /^Medication\/[A-Za-z0-9.-]{1,64}$/.test(each ?? ""));
  await Promise.all([...new Set(references)].map(async (reference) => {
    const found = await session.read(reference).catch(() => null);
    if (found) names.set(reference, text(found.code));
  }));
  return (order) => text(order.medicationCodeableConcept) || order.medicationReference?.display
    || names.get(order.medicationReference?.reference) || "A medicine named elsewhere in the record";
}
