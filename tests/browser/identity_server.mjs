// A hospital's identity provider: npm oidc-provider with a login page of its own. Configured by one JSON argument, ready when it prints "ready".
import { createServer } from 'node:http';
import { Provider } from 'oidc-provider';

const { port, client, people } = JSON.parse(process.argv[2]);
const issuer = `http://127.0.0.1:${port}`;

const page = (body) => `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Hospital sign-in</title></head><body><main>${body}</main></body></html>`;

const provider = new Provider(issuer, {
  clients: [{ response_types: ['code'], grant_types: ['authorization_code'], token_endpoint_auth_method: 'client_secret_basic', ...client }],
  // The library calls no address of this machine; here the platform is on it.
  fetch: (url, options) => { const { dispatcher, ...rest } = options; return fetch(url, rest); },
  pkce: { required: () => true },
  conformIdTokenClaims: false,
  claims: { openid: ['sub'], profile: ['preferred_username', 'name', 'roles'] },
  cookies: { keys: ['a key of the test'] },
  features: {
    devInteractions: { enabled: false },
    backchannelLogout: { enabled: true },
    rpInitiatedLogout: {
      enabled: true,
      postLogoutSuccessSource: (ctx) => { ctx.body = page('<h1>You are signed out of the hospital</h1>'); },
      logoutSource: (ctx, form) => {
        ctx.body = page(`<h1>Sign out of the hospital?</h1>${form}<button form="op.logoutForm" type="submit" value="yes" name="logout">Sign out everywhere</button>`);
      },
    },
  },
  interactions: { url: (ctx, interaction) => `/interaction/${interaction.uid}` },
  // The hospital's own service: nobody is asked whether it may know who they are.
  loadExistingGrant: async (ctx) => {
    const grant = new ctx.oidc.provider.Grant({ clientId: ctx.oidc.client.clientId, accountId: ctx.oidc.session.accountId });
    grant.addOIDCScope('openid profile');
    await grant.save();
    return grant;
  },
  findAccount: (ctx, id) => people[id] && { accountId: id, claims: () => ({ sub: id, ...people[id] }) },
  renderError: (ctx, out) => { ctx.type = 'html'; ctx.body = page(`<h1>Refused</h1><p>${out.error}: ${out.error_description}</p>`); },
});
for (const name of ['server_error', 'backchannel.error']) provider.on(name, (ctx, error) => console.error(name, error));

const answer = provider.callback();
createServer(async (request, response) => {
  if (!request.url.startsWith('/interaction/')) return answer(request, response);
  try {
    if (request.method === 'GET') {
      await provider.interactionDetails(request, response);
      response.setHeader('content-type', 'text/html; charset=utf-8');
      return response.end(page('<h1>Sign in to the hospital</h1><form method="post"><label>Staff number <input name="login"></label><button>Continue</button></form>'));
    }
    let body = '';
    for await (const part of request) body += part;
    const accountId = new URLSearchParams(body).get('login');
    const result = people[accountId] ? { login: { accountId, amr: ['pwd', 'mfa'] } } : { error: 'access_denied' };
    return await provider.interactionFinished(request, response, result, { mergeWithLastSubmission: false });
  } catch (error) {
    console.error(error);
    response.statusCode = 500;
    return response.end();
  }
}).listen(port, '127.0.0.1', () => console.log('ready'));
