// Makes or uses a passkey for the form it is pressed in, and sends the browser's answer with it.
// The form's data-passkey is "create" or "get"; data-options holds the options, in which bytes are base64url.

const bytes = (text) => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (each) => each.charCodeAt(0));

const text = (buffer) => {
  let found = "";
  for (const each of new Uint8Array(buffer)) found += String.fromCharCode(each);
  return btoa(found).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
};

const described = (list) => (list || []).map((each) => ({ ...each, id: bytes(each.id) }));

async function create(options) {
  const made = await navigator.credentials.create({
    publicKey: {
      ...options,
      challenge: bytes(options.challenge),
      user: { ...options.user, id: bytes(options.user.id) },
      excludeCredentials: described(options.excludeCredentials),
    },
  });
  return answer(made, { attestationObject: text(made.response.attestationObject) });
}

async function get(options) {
  const used = await navigator.credentials.get({
    publicKey: {
      ...options,
      challenge: bytes(options.challenge),
      allowCredentials: described(options.allowCredentials),
    },
  });
  return answer(used, {
    authenticatorData: text(used.response.authenticatorData),
    signature: text(used.response.signature),
    userHandle: used.response.userHandle ? text(used.response.userHandle) : null,
  });
}

function answer(credential, response) {
  return JSON.stringify({
    id: credential.id,
    rawId: text(credential.rawId),
    type: credential.type,
    clientExtensionResults: {},
    response: { clientDataJSON: text(credential.response.clientDataJSON), ...response },
  });
}

// What to say of an error: an attribute of the form, which is in the page's language.
const SAID = { InvalidStateError: "held", NotAllowedError: "nothing", SecurityError: "address" };

for (const form of window.PublicKeyCredential ? document.querySelectorAll("form[data-passkey]") : []) {
  const status = form.querySelector("[data-status]");
  form.hidden = false;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    status.textContent = form.dataset.waiting;
    try {
      const options = JSON.parse(form.dataset.options);
      form.elements.passkey.value = await (form.dataset.passkey === "create" ? create : get)(options);
    } catch (error) {
      status.textContent = form.dataset[SAID[error.name] || "failed"];
      return;
    }
    form.submit();
  });
}
