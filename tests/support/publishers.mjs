// What publishers prove themselves by, and the services that vouch for them, on ports of this machine.
import { createECDH, createPrivateKey, createPublicKey, generateKeyPairSync, sign } from "node:crypto";

import { Site } from "./site.mjs";

const json = (response, status, body) => {
  response.writeHead(status, { "content-type": "application/json" });
  response.end(JSON.stringify(body));
};

/// A key with which the owner of a domain signs, of k=ed25519 or k=ecdsap384.
export class DomainKey {
  #key;
  #seconds = new Set();
  kind;
  /// What the domain publishes.
  record;

  constructor(kind = "ed25519", secret = undefined) {
    this.kind = kind;
    this.#key = secret ? fromSecret(kind, secret) : generate(kind);
    const { x, y } = createPublicKey(this.#key).export({ format: "jwk" });
    const point = Buffer.from(x, "base64url");
    const key = kind === "ed25519" ? point : Buffer.concat([Buffer.of(2 + (Buffer.from(y, "base64url").at(-1) & 1)), point]);
    this.record = `v=MCPv1; k=${kind}; p=${key.toString("base64")}`;
  }

  sign(text) {
    const [digest, key] = this.kind === "ed25519" ? [null, this.#key] : ["sha384", { key: this.#key, dsaEncoding: "ieee-p1363" }];
    return sign(digest, Buffer.from(text), key).toString("hex");
  }

  /// PKCS #8 as OpenSSL writes it.
  get pem() {
    return this.#key.export({ type: "pkcs8", format: "pem" });
  }

  /// A login for a domain, signed now, or so many seconds later; `registry` binds it to that. A proof is good once, so none has the
  /// second of an earlier one.
  proof(domain, { registry, ahead = 0 } = {}) {
    let second = Math.floor(Date.now() / 1000) + ahead;
    while (this.#seconds.has(second)) second += 1;
    this.#seconds.add(second);
    const timestamp = new Date(second * 1000).toISOString().replace(/\.\d+/, "");
    const message = registry === undefined ? timestamp : `${timestamp}\n${registry}\n${domain}`;
    return { domain, timestamp, signed_timestamp: this.sign(message), ...(registry !== undefined && { registry }) };
  }
}

function generate(kind) {
  return kind === "ed25519" ? generateKeyPairSync("ed25519").privateKey : generateKeyPairSync("ec", { namedCurve: "P-384" }).privateKey;
}

/// From the seed, or the scalar, in hexadecimal.
function fromSecret(kind, secret) {
  if (kind === "ed25519") {
    const der = Buffer.concat([Buffer.from("302e020100300506032b657004220420", "hex"), Buffer.from(secret, "hex")]);
    return createPrivateKey({ key: der, type: "pkcs8", format: "der" });
  }
  const d = Buffer.from(secret, "hex");
  const pair = createECDH("secp384r1");
  pair.setPrivateKey(d);
  const point = pair.getPublicKey();
  const jwk = { kty: "EC", crv: "P-384", d: d.toString("base64url"), x: point.subarray(1, 49).toString("base64url"), y: point.subarray(49).toString("base64url") };
  return createPrivateKey({ key: jwk, format: "jwk" });
}

/// DNS over HTTPS in JSON, as Cloudflare's resolver answers. `zones` are the TXT records by domain: each a text, or a
/// list of the strings that it consists of.
export async function startResolver() {
  const site = await Site.start((request, response) => {
    const url = new URL(request.url, "http://resolver");
    const [name, type] = [url.searchParams.get("name"), url.searchParams.get("type")];
    if (url.pathname !== "/dns-query" || request.headers.accept !== "application/dns-json") return json(response, 400, {});
    const zone = site.zones[name];
    if (typeof zone === "function") return zone(response);
    const quoted = (record) => [record].flat().map((text) => `"${text.replace(/["\\]/g, "\\$&")}"`).join(" ");
    const Answer = zone?.map((record) => ({ name, type: 16, TTL: 300, data: quoted(record) }));
    const Question = [{ name, type: type === "TXT" ? 16 : 1 }];
    json(response, 200, { Status: zone ? 0 : 3, TC: false, RD: true, RA: true, AD: false, CD: false, Question, ...(Answer && { Answer }) });
  });
  site.zones = {};
  site.url = `${site.origin}/dns-query`;
  return site;
}

/// GitHub: the two calls of its API by which a user is known, and the device flow (RFC 8628). `users` are, by token, {login,
/// orgs, limited}; where `orgs` is left out, the token may not read them; `limited` are, by path, status and headers of
/// an answer in the place of another. `apps` are the client ids of OAuth apps, each with the token
/// that who enters a code at once is given.
export async function startGitHub() {
  let polls = 0;
  const site = await Site.start(async (request, response) => {
    const url = new URL(request.url, "http://github");
    if (site.isDown) return json(response, 503, { message: "Service unavailable" });
    if (!request.headers["user-agent"]) return json(response, 403, { message: "Request forbidden by administrative rules" });
    if (url.pathname.startsWith("/login/")) return json(response, 200, await device(url.pathname, request));
    const user = site.users[request.headers.authorization?.replace(/^Bearer /, "")];
    if (!user) return json(response, 401, { message: "Bad credentials" });
    if (user.limited?.[url.pathname]) {
      const [status, headers] = user.limited[url.pathname];
      return response.writeHead(status, { "content-type": "application/json", ...headers }).end('{"message":"API rate limit exceeded"}');
    }
    if (url.pathname === "/user") return json(response, 200, { login: user.login, id: 1, type: "User" });
    if (url.pathname !== "/user/memberships/orgs") return json(response, 404, { message: "Not Found" });
    if (!user.orgs) return json(response, 403, { message: "Resource not accessible by personal access token" });
    const state = url.searchParams.get("state");
    const memberships = user.orgs.filter((membership) => membership.state === state);
    json(response, 200, memberships.slice(0, Number(url.searchParams.get("per_page"))));
  });
  async function device(path, request) {
    const form = new URLSearchParams((await request.setEncoding("utf8").toArray()).join(""));
    const token = site.apps[form.get("client_id")];
    if (!token) return { error: "incorrect_client_credentials" };
    if (path === "/login/device/code") {
      if (form.get("scope") !== "read:org read:user") return { error: "invalid_scope" };
      return { device_code: "d3v1ce", user_code: "WDJB-MJHT", verification_uri: `${site.origin}/login/device`, expires_in: 900, interval: 0 };
    }
    const isGood = path === "/login/oauth/access_token" && form.get("device_code") === "d3v1ce" && form.get("grant_type").endsWith(":device_code");
    if (!isGood) return { error: "bad_verification_code" };
    return polls++ === 0 ? { error: "authorization_pending" } : { access_token: token, token_type: "bearer", scope: "read:org,read:user" };
  }
  site.users = {};
  site.apps = {};
  return site;
}

export const membership = (login, role, state = "active") => ({ state, role, organization: { login, id: 7 } });
