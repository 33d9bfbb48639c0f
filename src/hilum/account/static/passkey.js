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

const SENTENCES = {
  InvalidStateError: "This device has a passkey for your account already.",
  NotAllowedError: "Nothing was confirmed. Try again, or use another way.",
  SecurityError: "Passkeys do not work at this address. Open the page under the platform's own name.",
};

for (const form of window.PublicKeyCredential ? document.querySelectorAll("form[data-passkey]") : []) {
  const status = form.querySelector("[data-status]");
  form.hidden = false;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    status.textContent = "Waiting for your device …";
    try {
      const options = JSON.parse(form.dataset.options);
      form.elements.passkey.value = await (form.dataset.passkey === "create" ? create : get)(options);
    } catch (error) {
      status.textContent = SENTENCES[error.name] || "This device could not answer. Try again, or use another way.";
      return;
    }
    form.submit();
  });
}
