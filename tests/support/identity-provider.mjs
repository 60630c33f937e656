// An identity provider of a tenant: oidc-provider on a port of this machine, which gives JWT access
// tokens (RFC 9068) for client credentials. It counts who asks for what, can change its keys, and can
// be made to fail.
import { once } from "node:events";
import { createServer } from "node:http";

import { SignJWT, exportJWK, generateKeyPair } from "jose";
import Provider from "oidc-provider";

const SECRET = "secret of the tests";
export const ALGORITHMS = ["RS256", "PS256", "ES256", "EdDSA", "ES384", "ES512", "RS384", "RS512", "PS384", "PS512"];

async function generateKeys(generation) {
  const keys = ALGORITHMS.map(async (alg) => {
    const { privateKey } = await generateKeyPair(alg, { extractable: true });
    return { ...(await exportJWK(privateKey)), alg, use: "sig", kid: `${alg}-${generation}` };
  });
  return Promise.all(keys);
}

/// `clients` are the ids of those who may ask for tokens.
export async function startIdentityProvider(clients) {
  const provider = new IdentityProvider(clients);
  await provider.start();
  return provider;
}

class IdentityProvider {
  #clients;
  #server;
  #answer;
  #generation = 0;
  /// The private JWKs with which it signs.
  keys;
  issuer;
  /// How often each path was asked for.
  hits = new Map();
  /// Whether it answers 503 to everything.
  isDown = false;
  /// Answers of ours instead of the provider's: path to [status, body].
  instead = new Map();

  constructor(clients) {
    this.#clients = clients;
  }

  async start() {
    this.#server = createServer((request, response) => this.#handle(request, response));
    this.#server.listen(0, "127.0.0.1");
    await once(this.#server, "listening");
    this.issuer = `http://127.0.0.1:${this.#server.address().port}`;
    await this.rotate();
  }

  #handle(request, response) {
    const path = request.url.split("?")[0];
    this.hits.set(path, (this.hits.get(path) ?? 0) + 1);
    const [status, body] = this.isDown ? [503, "down"] : (this.instead.get(path) ?? []);
    if (status === undefined) return this.#answer(request, response);
    response.writeHead(status, { "content-type": "application/json" });
    response.end(typeof body === "string" ? body : JSON.stringify(body));
  }

  /// From now on it signs with other keys, and publishes only those.
  async rotate() {
    this.keys = await generateKeys(++this.#generation);
    const provider = new Provider(this.issuer, {
      clients: this.#clients.map((client_id) => ({
        client_id,
        client_secret: SECRET,
        grant_types: ["client_credentials"],
        redirect_uris: [],
        response_types: [],
        token_endpoint_auth_method: "client_secret_post",
      })),
      jwks: { keys: this.keys },
      ttl: { ClientCredentials: 600 },
      features: {
        devInteractions: { enabled: false },
        clientCredentials: { enabled: true },
        resourceIndicators: {
          enabled: true,
          getResourceServerInfo: ({ oidc }, resource) => ({
            audience: resource,
            scope: ALGORITHMS.join(" "),
            accessTokenFormat: "jwt",
            accessTokenTTL: 600,
            jwt: { sign: { alg: oidc.params.scope ?? "RS256" } },
          }),
        },
      },
    });
    provider.on("server_error", (_, error) => console.error(error));
    this.#answer = provider.callback();
  }

  /// An access token as the provider gives it to a client.
  async token(client_id, resource, alg = "RS256") {
    const form = { grant_type: "client_credentials", client_id, client_secret: SECRET, resource, scope: alg };
    const response = await fetch(`${this.issuer}/token`, { method: "POST", body: new URLSearchParams(form) });
    const answer = await response.json();
    if (!response.ok) throw new Error(`the provider says ${JSON.stringify(answer)}`);
    return answer.access_token;
  }

  /// A token that the provider would never give, signed with its own key.
  async forge(claims, { alg = "ES256", key, ...header } = {}) {
    const own = this.keys.find((candidate) => candidate.alg === alg);
    const now = Math.floor(Date.now() / 1000);
    return new SignJWT({ iss: this.issuer, iat: now, exp: now + 600, ...claims })
      .setProtectedHeader({ alg, typ: "at+jwt", kid: own?.kid, ...header })
      .sign(key ?? own);
  }

  /// How often its keys were fetched.
  get keyFetches() {
    return this.hits.get("/jwks") ?? 0;
  }

  async stop() {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, "close");
  }
}
