// The floor that POST /v1/connect is measured against: reads one row from D1's primary, signs with
// WebCrypto, answers JSON of the same size. It checks nothing and decides nothing.

const LIFETIME_SECONDS = 60;
const SERVER = "SELECT name, title, namespace_proven FROM servers WHERE id = ?1";

const encoder = new TextEncoder();
let signer;

export default {
  async fetch(request, env) {
    signer ??= await importSigner(JSON.parse(env.SIGNING_KEY));
    const server = await env.DB.withSession("first-primary").prepare(SERVER).bind(1).first();
    const now = Math.floor(Date.now() / 1000);
    const endpoint = "https://mcp.bench.example/mcp";
    const claims = {
      iss: env.ISSUER,
      aud: endpoint,
      sub: `server:${server.name}`,
      iat: now,
      nbf: now,
      exp: now + LIFETIME_SECONDS,
      jti: crypto.getRandomValues(new Uint8Array(16)).toBase64({ alphabet: "base64url", omitPadding: true }),
      client_id: "bench-client-1",
      tenant_id: "bench-tenant",
      mcp: {
        transport: "streamable_http",
        endpoint,
        server: { id: server.name, version: "1.0.0", verified: server.namespace_proven === 1 },
      },
    };
    return Response.json(
      {
        descriptor: await sign(claims),
        endpoint,
        expires_in: LIFETIME_SECONDS,
        refresh_after: 40,
        server: { id: server.name, version: "1.0.0", transport: "streamable_http", verified: true },
      },
      { headers: { "cache-control": "no-store" } },
    );
  },
};

async function importSigner(jwk) {
  return {
    header: base64url(JSON.stringify({ alg: "EdDSA", kid: jwk.kid, typ: "mcp-connect+jwt" })),
    key: await crypto.subtle.importKey("jwk", jwk, "Ed25519", false, ["sign"]),
  };
}

async function sign(claims) {
  const signed = `${signer.header}.${base64url(JSON.stringify(claims))}`;
  const signature = await crypto.subtle.sign("Ed25519", signer.key, encoder.encode(signed));
  return `${signed}.${base64url(new Uint8Array(signature))}`;
}

function base64url(data) {
  const bytes = typeof data === "string" ? encoder.encode(data) : data;
  return bytes.toBase64({ alphabet: "base64url", omitPadding: true });
}
