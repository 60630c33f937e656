// What tests of the registry's API share.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { STATUS_CODES } from "node:http";

import { importJWK, SignJWT } from "jose";

export const PREFIXES = ["/v0", "/v0.1"];
export const SCHEMA = "https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json";
export const OFFICIAL = "io.modelcontextprotocol.registry/official";
export const OURS = "org.mcp-connect/authority";

/// A server.json as it is published. `remote: null` leaves out the remote.
export function serverJson(name, { version = "1.0.0", remote = null, ...members } = {}) {
  const remotes = remote === null ? {} : { remotes: [{ type: "streamable-http", url: remote }] };
  return { $schema: SCHEMA, name, description: "A server of the tests", version, ...remotes, ...members };
}

/// A token as the authority gives it out, signed by its own key. `changes` are to its other claims.
export async function registryToken(authority, { permissions, ...claims }, changes = {}, header = {}) {
  const { status, kid, ...jwk } = JSON.parse(authority.settings.SIGNING_KEYS).keys[0];
  const alg = jwk.kty === "OKP" ? "EdDSA" : "ES256";
  const now = Math.floor(Date.now() / 1000);
  const issuer = authority.settings.ISSUER;
  const all = { iss: issuer, aud: issuer, iat: now, nbf: now, exp: now + 300, jti: randomUUID() };
  return new SignJWT({ ...all, auth_method: "dns", auth_method_sub: "tests", ...claims, permissions, ...changes })
    .setProtectedHeader({ alg, kid, typ: "mcp-registry+jwt", ...header })
    .sign(await importJWK(jwk, alg));
}

/// A token that may do these, of `publish` and `edit`, with a resource.
export const tokenFor = (authority, resource, ...actions) =>
  registryToken(authority, { permissions: actions.map((action) => ({ action, resource })) });

/// Each sentence stands in a refusal once, and nothing in it is empty: stock clients show all of it.
function assertToldOnce({ detail, errors = [] }, shown) {
  const told = [detail, ...errors.map(({ message, location = "", value }) => `${location} ${message} ${JSON.stringify(value)}`)];
  assert.equal(new Set(told).size, told.length, shown);
  for (const { location, message } of errors) assert.ok(location !== "" && message, shown);
}

/// What a registry answers with when it refuses.
export function assertRefused(answer, status, detail) {
  const shown = `${answer.status} ${answer.text}`;
  assert.equal(answer.status, status, shown);
  assert.equal(answer.headers.get("content-type"), "application/problem+json", shown);
  assert.equal(answer.body.title, STATUS_CODES[status], shown);
  assert.equal(answer.body.status, status, shown);
  assertToldOnce(answer.body, shown);
  assert.ok(answer.text.includes(detail), `${shown}: says nothing of ${detail}`);
}

const TABLES = ["changes", "revocations", "editions", "remotes", "audit_seals", "audit", "proofs", "versions", "servers"];

/// Makes a registry as empty as a new one. What it keeps for ever, triggers keep: they are taken away for that
/// moment, and put back as they were.
export async function emptyRegistry(authority) {
  const [database, kv] = [await authority.database(), await authority.kv()];
  const { results } = await database.prepare("SELECT name, sql, tbl_name FROM sqlite_master WHERE type = 'trigger'").all();
  const keepers = results.filter(({ tbl_name, name }) => TABLES.includes(tbl_name) && !/^servers_(unnamed|searched)$/.test(name));
  await database.batch(
    [
      ...keepers.map(({ name }) => `DROP TRIGGER "${name}"`),
      "UPDATE servers SET default_version = NULL, latest_version = NULL",
      ...TABLES.map((table) => `DELETE FROM ${table}`),
      ...keepers.map(({ sql }) => sql),
    ].map((sql) => database.prepare(sql)),
  );
  for (const { name } of (await kv.list()).keys) await kv.delete(name);
}
