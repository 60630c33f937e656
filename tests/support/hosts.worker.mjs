// Stands before the unchanged Worker, within its isolate, in place of DNS and TLS: what the Worker
// asks of an https host that the var HOSTS names goes to that port of this machine, by plain http, with
// the host in x-test-host. Every other https host does not exist.
import { env } from "cloudflare:workers";

export { default } from "./authority.mjs";

const platformFetch = globalThis.fetch;
globalThis.fetch = async (input, init) => {
  const url = new URL(input);
  const port = url.protocol === "https:" ? JSON.parse(env.HOSTS)[url.hostname] : url.port;
  if (port === undefined) throw new TypeError("no such host");
  const headers = new Headers(init?.headers);
  headers.set("x-test-host", url.protocol === "https:" ? url.hostname : url.host);
  const response = await platformFetch(`http://127.0.0.1:${port}${url.pathname}${url.search}`, { ...init, headers });
  // The harness has no way to say that there was no answer; see authority.mjs.
  if (response.headers.has("x-test-no-answer")) throw new TypeError("Network connection lost.");
  return response;
};
