// Descriptors that are bound to their sender: to a key, which jose proves to hold as any DPoP library
// does, or to the client certificate of the connection; and the reference server, which checks them.
import assert from "node:assert/strict";
import { createHash, randomUUID } from "node:crypto";
import { after, before, describe, test } from "node:test";

import { SignJWT, calculateJwkThumbprint, decodeJwt, exportJWK, generateKeyPair } from "jose";

import { startAuthority } from "./support/authority.mjs";
import { assertProblem } from "./support/problem.mjs";
import { connectctl, startReferenceServer } from "./support/programs.mjs";

const SERVER = "com.example/reference";
let authority, server, key;

before(async () => {
  authority = await startAuthority({ certificates: true });
  server = await startReferenceServer(authority.url, SERVER);
  await authority.publish(SERVER, { endpoint: server.endpoint });
  key = (await authority.createClient("desktop", { tenant_id: "acme" })).api_key;
});
after(() => authority?.stop());
after(() => server?.stop());

const now = () => Math.floor(Date.now() / 1000);

/// A key pair, and what proves that it is held.
async function holder(alg = "ES256") {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true });
  const jwk = await exportJWK(publicKey);
  const jkt = await calculateJwkThumbprint(jwk, "sha256");
  const sign = (claims, header = {}) =>
    new SignJWT(claims).setProtectedHeader({ alg, typ: "dpop+jwt", jwk, ...header }).sign(privateKey);
  /// For `POST /v1/connect`, with these changes; `undefined` takes a claim away.
  const toAuthority = (claims, header) =>
    sign({ jti: randomUUID(), htm: "POST", htu: `${authority.url}/v1/connect`, iat: now(), ...claims }, header);
  /// For a request to the server.
  const toServer = (descriptor, claims) => {
    const ath = createHash("sha256").update(descriptor).digest("base64url");
    return sign({ jti: randomUUID(), htm: "POST", htu: server.endpoint, iat: now(), ath, ...claims });
  };
  return { jkt, jwk, privateKey, toAuthority, toServer };
}

const connect = (headers, members = {}) =>
  authority.request("/v1/connect", { body: { server_ref: SERVER, ...members }, bearer: key, headers });

const granted = async (headers, members) => {
  const answer = await connect(headers, members);
  assert.equal(answer.status, 200, answer.text);
  return answer.body.descriptor;
};

describe("a descriptor that is bound to a key", () => {
  test("names the thumbprint of the proof's key, of either algorithm", async () => {
    const { body } = await authority.request("/.well-known/mcp-connect-authority");
    assert.deepEqual(body.dpop_signing_alg_values_supported, ["EdDSA", "ES256"]);
    for (const alg of body.dpop_signing_alg_values_supported) {
      const { jkt, toAuthority } = await holder(alg);
      const descriptor = await granted({ dpop: await toAuthority() });
      assert.deepEqual(decodeJwt(descriptor).cnf, { jkt });
      assert.ok(descriptor.length < 1024);
    }
    assert.ok(!("cnf" in decodeJwt(await granted())), "nobody is bound unasked");
  });

  test("may be asked for a little late or early, and by any spelling of the URL", async () => {
    const { toAuthority } = await holder();
    for (const claims of [{ iat: now() - 50 }, { iat: now() + 3 }, { htu: `${authority.url}/v1/./%63onnect?x#y` }]) {
      await granted({ dpop: await toAuthority(claims) });
    }
  });

  test("is asked for with one good proof", async () => {
    const { toAuthority, jwk, privateKey } = await holder();
    const good = await toAuthority();
    const other = await holder();
    const rsa = await generateKeyPair("RS256", { extractable: true });
    const byRsa = new SignJWT(decodeJwt(good))
      .setProtectedHeader({ alg: "RS256", typ: "dpop+jwt", jwk: await exportJWK(rsa.publicKey) })
      .sign(rsa.privateKey);
    for (const [name, proof, detail] of [
      ["nothing", "", "DPoP"],
      ["garbage", "garbage", "DPoP"],
      ["two of them", `${good}, ${await toAuthority()}`, "DPoP"],
      ["another method", toAuthority({ htm: "GET" }), "htm"],
      ["another URL", toAuthority({ htu: `${authority.url}/v1/servers` }), "htu"],
      ["another host", toAuthority({ htu: "https://other.example/v1/connect" }), "htu"],
      ["old", toAuthority({ iat: now() - 65 }), "iat"],
      ["of the future", toAuthority({ iat: now() + 20 }), "iat"],
      ["no date", toAuthority({ iat: undefined }), "iat"],
      ["no jti", toAuthority({ jti: undefined }), "jti"],
      ["another typ", toAuthority({}, { typ: "JWT" }), "typ"],
      ["no key", toAuthority({}, { jwk: undefined }), "jwk"],
      ["the private key", toAuthority({}, { jwk: await exportJWK(privateKey) }), "private"],
      ["another's key", toAuthority({}, { jwk: other.jwk }), "signature"],
      ["no point", toAuthority({}, { jwk: { ...jwk, y: jwk.x } }), "signature"],
      ["tampered", good.replace(/.{4}$/, "AAAA"), "signature"],
      ["RSA", byRsa, "alg"],
    ]) {
      const answer = await connect({ dpop: await proof });
      assertProblem(answer, 400, "request_invalid", "the DPoP proof");
      assert.ok(answer.body.detail.includes(detail), `${name}: ${answer.body.detail}`);
    }
  });

  test("is not given to strangers, however good the proof", async () => {
    const { toAuthority } = await holder();
    const headers = { dpop: await toAuthority() };
    const stranger = await authority.request("/v1/connect", { body: { server_ref: SERVER }, headers });
    assert.equal(stranger.status, 401);
  });

  test("lets in who proves to hold the key, once by each proof", async () => {
    const { toAuthority, toServer } = await holder("EdDSA");
    const descriptor = await granted({ dpop: await toAuthority() });
    const show = async (...proofs) => {
      const headers = new Headers({ "mcp-connect": descriptor, "content-type": "application/json" });
      headers.set("accept", "application/json, text/event-stream");
      for (const proof of proofs) headers.append("mcp-connect-proof", proof);
      const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method: "tools/list" });
      const response = await fetch(server.endpoint, { method: "POST", headers, body });
      const text = await response.text();
      if (response.status === 403) assert.equal(JSON.parse(text).error.data.code, "descriptor_invalid");
      return response.status;
    };
    const proof = await toServer(descriptor);
    const other = await holder("EdDSA");
    assert.equal(await show(), 403, "none");
    assert.equal(await show(await other.toServer(descriptor)), 403, "another key");
    assert.equal(await show(await toServer(descriptor, { htm: "GET" })), 403, "another method");
    assert.equal(await show(await toServer(descriptor, { ath: undefined })), 403, "no ath");
    assert.equal(await show(await toServer(await granted())), 403, "another descriptor");
    assert.equal(await show(await toAuthority()), 403, "a proof for the authority");
    assert.notEqual(await show(proof), 403);
    assert.equal(await show(proof), 403, "again");
    assert.notEqual(await show(await toServer(descriptor)), 403);
  });

  test("is what our own client asks for, and uses", async () => {
    const call = ["call", "--bind", SERVER, "add", '{"a": 2, "b": 40}'];
    const { code, stdout, stderr } = await connectctl(["--authority", authority.url, "--api-key", key, ...call]);
    assert.equal(code, 0, stderr);
    assert.match(stdout, /42/);
  });
});

describe("a descriptor that is bound to a client certificate", () => {
  const fingerprint = createHash("sha256").update("the DER form of a certificate");
  const certFingerprintSHA256 = fingerprint.copy().digest("hex");
  const good = { certPresented: "1", certVerified: "SUCCESS", certRevoked: "0", certFingerprintSHA256 };
  const presenting = (facts) => ({ "x-test-certificate": JSON.stringify(facts) });

  test("names its thumbprint", async () => {
    const { cnf } = decodeJwt(await granted(presenting(good), { bind: "mtls" }));
    assert.deepEqual(cnf, { "x5t#S256": fingerprint.copy().digest("base64url") });
    assert.ok(!("cnf" in decodeJwt(await granted(presenting(good)))), "nobody is bound unasked");
  });

  test("is refused without one that Cloudflare has verified", async () => {
    for (const facts of [
      undefined,
      { certPresented: "0", certVerified: "NONE", certRevoked: "0", certFingerprintSHA256: "" },
      { ...good, certVerified: "FAILED:self signed certificate" },
      { ...good, certRevoked: "1" },
      { ...good, certFingerprintSHA256: undefined },
    ]) {
      const answer = await connect(facts && presenting(facts), { bind: "mtls" });
      assertProblem(answer, 400, "request_invalid", "bind: ");
      assert.match(answer.body.detail, /client certificate/);
    }
  });

  test("is bound to nothing else", async () => {
    const { toAuthority } = await holder();
    const both = await connect({ ...presenting(good), dpop: await toAuthority() }, { bind: "mtls" });
    assertProblem(both, 400, "request_invalid", "bind: ");
    for (const bind of ["", "dpop", "MTLS", 7, true, {}]) {
      assertProblem(await connect(presenting(good), { bind }), 400, "request_invalid", "bind: ");
    }
  });

  test("is of no use without that certificate", async () => {
    const descriptor = await granted(presenting(good), { bind: "mtls" });
    const response = await fetch(server.endpoint, { method: "POST", headers: { "mcp-connect": descriptor } });
    assert.equal(response.status, 403);
  });
});

test("no proof is in the log", async () => {
  const { toAuthority } = await holder();
  const [good, bad] = [await toAuthority(), await toAuthority({ htm: "GET" })];
  authority.clearLog();
  await granted({ dpop: good });
  await connect({ dpop: bad });
  const log = authority.log().join("\n");
  assert.match(log, /"connect"/);
  for (const proof of [good, bad]) for (const part of proof.split(".")) assert.ok(!log.includes(part));
});
