// Stands before the unchanged Worker, within its isolate, in place of Cloudflare's TLS: what the header
// x-test-certificate says, in JSON, is what `request.cf.tlsClientAuth` says of the client's certificate.
import Authority from "./authority.mjs";

export default class extends Authority {
  fetch(request) {
    const facts = request.headers.get("x-test-certificate");
    const cf = { ...request.cf, ...(facts && { tlsClientAuth: JSON.parse(facts) }) };
    return super.fetch(new Request(request, { cf }));
  }
}
