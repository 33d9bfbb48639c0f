// A SMART App Launch client in one file: discovery, PKCE, the token, and reads that say what went wrong.
// Source: SMART App Launch 2.2; RFC 7636; RFC 9207. It uses the platform's public surface only.

const PAGES_BOUND = 6;
const WAIT_BOUND_S = 15;

export class SmartError extends Error {
  // kind: discovery | declined | refused | mixed | expired | forbidden | missing | busy | failed
  constructor(kind, message, facts = {}) {
    super(message);
    this.kind = kind;
    this.status = facts.status ?? 0;
    this.requestId = facts.requestId ?? "";
  }
}

const encode = (bytes) => btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
const random = (size) => encode(crypto.getRandomValues(new Uint8Array(size)));
const stateKey = (state) => `smart:state:${state}`;
const sessionKey = (clientId) => `smart:session:${clientId}`;

export async function discover(iss) {
  let answer;
  try {
    answer = await fetch(`${iss}/.well-known/smart-configuration`, { headers: { Accept: "application/json" } });
  } catch {
    throw new SmartError("discovery", "The hospital's server does not answer.");
  }
  if (!answer.ok) throw new SmartError("discovery", "The hospital's server does not describe itself.", { status: answer.status });
  return answer.json();
}

// Sends the browser to the authorization server. With launch: as opened from a chart; without: standalone.
export async function begin({ iss, launch, clientId, scope, redirectUri }) {
  const server = await discover(iss);
  if (!server.code_challenge_methods_supported?.includes("S256")) {
    throw new SmartError("discovery", "The hospital's server does not support PKCE.");
  }
  const verifier = random(48);
  const state = random(24);
  const challenge = encode(new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(verifier))));
  const kept = { iss, clientId, redirectUri, verifier, scope, server };
  sessionStorage.setItem(stateKey(state), JSON.stringify(kept));
  sessionStorage.removeItem(sessionKey(clientId));
  const address = new URL(server.authorization_endpoint);
  const asked = {
    response_type: "code", client_id: clientId, redirect_uri: redirectUri, scope, state, aud: iss,
    code_challenge: challenge, code_challenge_method: "S256", ...(launch ? { launch } : {}),
  };
  for (const [name, value] of Object.entries(asked)) address.searchParams.set(name, value);
  location.replace(address);
}

// Finishes what begin() began, or takes up the session this tab already has.
export async function complete(clientId) {
  const answer = new URLSearchParams(location.search);
  if (answer.has("error")) {
    history.replaceState(null, "", location.pathname);
    throw refusal(answer.get("error"), answer.get("error_description") ?? "");
  }
  if (!answer.has("code")) {
    const kept = sessionStorage.getItem(sessionKey(clientId));
    if (kept) return new Session(JSON.parse(kept));
    throw new SmartError("missing", "Nothing was launched here.");
  }
  const key = stateKey(answer.get("state") ?? "");
  const text = sessionStorage.getItem(key);
  sessionStorage.removeItem(key);
  history.replaceState(null, "", location.pathname);
  if (!text) throw new SmartError("mixed", "This answer belongs to no question of ours.");
  const asked = JSON.parse(text);
  const issuer = answer.get("iss");
  if (asked.server.authorization_response_iss_parameter_supported && issuer !== asked.server.issuer) {
    throw new SmartError("mixed", "This answer comes from another server than the one that was asked.");
  }
  const form = {
    grant_type: "authorization_code", code: answer.get("code"), redirect_uri: asked.redirectUri,
    code_verifier: asked.verifier, client_id: asked.clientId,
  };
  const token = await redeem(asked.server.token_endpoint, form);
  return new Session({ ...asked, verifier: "", token, until: Date.now() + 1000 * token.expires_in }).keep();
}

// A refusal may begin with its reason as a code, which is for programs; people are told the sentence.
function refusal(code, description) {
  const [, reason, sentence] = /^(?:([a-z_]+): )?(.*)$/s.exec(description);
  if (code === "access_denied" && !reason) return new SmartError("declined", "Nothing was shared.");
  return new SmartError("refused", sentence || code);
}

async function redeem(endpoint, form) {
  let answer;
  try {
    answer = await fetch(endpoint, { method: "POST", body: new URLSearchParams(form), headers: { Accept: "application/json" } });
  } catch {
    throw new SmartError("failed", "The hospital's server does not answer.");
  }
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) {
    throw new SmartError("expired", body.error_description || body.error || "The server gave no token.", { status: answer.status });
  }
  return body;
}

export class Session {
  constructor(facts) {
    this.facts = facts;
  }

  get iss() { return this.facts.iss; }
  get server() { return this.facts.server; }
  get patient() { return this.facts.token.patient ?? ""; }
  get until() { return this.facts.until; }
  get showsBanner() { return this.facts.token.need_patient_banner !== false; }
  get granted() { return (this.facts.token.scope ?? "").split(" ").filter(Boolean); }
  get asked() { return this.facts.scope.split(" "); }

  // Who is signed in, from the id_token. It came over TLS from the token endpoint, so it is read, not verified again.
  get fhirUser() {
    const parts = (this.facts.token.id_token ?? "").split(".");
    if (parts.length !== 3) return "";
    try {
      return JSON.parse(atob(parts[1].replaceAll("-", "+").replaceAll("_", "/"))).fhirUser ?? "";
    } catch {
      return "";
    }
  }

  keep() {
    sessionStorage.setItem(sessionKey(this.facts.clientId), JSON.stringify(this.facts));
    return this;
  }

  forget() {
    sessionStorage.removeItem(sessionKey(this.facts.clientId));
  }

  async renew() {
    const { token, clientId, server } = this.facts;
    if (!token.refresh_token) return false;
    const form = { grant_type: "refresh_token", refresh_token: token.refresh_token, client_id: clientId };
    const fresh = await redeem(server.token_endpoint, form);
    this.facts.token = { ...token, ...fresh };
    this.facts.until = Date.now() + 1000 * fresh.expires_in;
    this.keep();
    return true;
  }

  async revoke() {
    const { token, clientId, server } = this.facts;
    this.forget();
    const form = new URLSearchParams({ token: token.refresh_token ?? token.access_token, client_id: clientId });
    const answer = await fetch(server.revocation_endpoint, { method: "POST", body: form });
    return answer.ok;
  }

  // Reads one address below the FHIR base (or an absolute page link of it).
  async read(path, again = true) {
    const address = path.startsWith("http") ? path : `${this.iss}/${path}`;
    if (!address.startsWith(`${this.iss}/`)) throw new SmartError("failed", "A link leads elsewhere; it was not followed.");
    let answer;
    try {
      answer = await fetch(address, {
        headers: { Authorization: `Bearer ${this.facts.token.access_token}`, Accept: "application/fhir+json" },
      });
    } catch {
      throw new SmartError("failed", "The hospital's server does not answer.");
    }
    const facts = { status: answer.status, requestId: answer.headers.get("X-Request-Id") ?? "" };
    if (answer.ok) return answer.json();
    if (answer.status === 401 && again && (await this.renew().catch(() => false))) return this.read(path, false);
    if (answer.status === 429 && again) {
      const wait = Math.min(Number(answer.headers.get("Retry-After")) || 1, WAIT_BOUND_S);
      await new Promise((resolve) => setTimeout(resolve, wait * 1000));
      return this.read(path, false);
    }
    const kinds = { 401: "expired", 403: "forbidden", 404: "missing", 429: "busy", 503: "busy" };
    throw new SmartError(kinds[answer.status] ?? "failed", await outcome(answer), facts);
  }

  async search(type, parameters) {
    const found = [];
    let path = `${type}?${new URLSearchParams(parameters)}`;
    for (let page = 0; path && page < PAGES_BOUND; page += 1) {
      const bundle = await this.read(path);
      found.push(...(bundle.entry ?? []).map((entry) => entry.resource).filter((each) => each?.resourceType === type));
      path = (bundle.link ?? []).find((link) => link.relation === "next")?.url ?? "";
    }
    return found;
  }
}

async function outcome(answer) {
  const body = await answer.json().catch(() => ({}));
  const issue = body.issue?.[0] ?? {};
  return issue.details?.text || issue.diagnostics || `The server answered ${answer.status}.`;
}

// What to tell somebody about an error, and what they can do.
// more: an app's own words, {kind: [title, next]}.
export function explain(error, more = {}) {
  const said = error instanceof SmartError ? error : new SmartError("failed", "Something in this app failed.");
  const words = {
    discovery: ["The hospital cannot be reached", "Check that the server is running, then launch again."],
    declined: ["Access was not given", "If that was a mistake, open the app again."],
    refused: ["Access was not given", "Nothing was shared. Once that is settled, open the app again."],
    mixed: ["This launch does not fit", "For your safety it was stopped. Open the app again."],
    expired: ["Your session has ended", "Open the app again from the chart."],
    forbidden: ["Not permitted", "Ask your hospital's administrator if you need it."],
    missing: ["Nothing to show", "There is no such record, or it is not yours to see."],
    busy: ["The hospital's server is busy", "Wait a moment, then reload this page."],
    failed: ["That did not work", "Reload this page; if it happens again, tell your hospital's help desk."],
    ...more,
  };
  const [title, next] = words[said.kind] ?? words.failed;
  return { title, message: said.message, next, requestId: said.requestId, kind: said.kind };
}
