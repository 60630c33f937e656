// A registry of this machine that speaks as the official one does: pages by name, cursors that are
// the last name and version, dates of change that are not those of isLatest.
import { Site } from "./site.mjs";

const OFFICIAL = "io.modelcontextprotocol.registry/official";
const order = (a, b) => (a < b ? -1 : a > b ? 1 : 0);

export class Upstream {
  /// By name and version.
  entries = new Map();
  /// What it answers instead, if this gives anything: `intervene(url, response)`.
  intervene = () => false;
  /// The query of each question for its list.
  asked = [];
  #site;

  static async start() {
    const upstream = new Upstream();
    upstream.#site = await Site.start((request, response) => upstream.#answer(request, response));
    return upstream;
  }

  get origin() {
    return this.#site.origin;
  }

  stop() {
    return this.#site.stop();
  }

  /// Entries that it has from now on, changed now unless they say when.
  put(...entries) {
    for (const { server, _meta } of entries) {
      const now = new Date().toISOString();
      const official = { status: "active", publishedAt: now, updatedAt: now, statusChangedAt: now, ..._meta?.[OFFICIAL] };
      this.entries.set(`${server.name}:${server.version}`, { server, _meta: { ..._meta, [OFFICIAL]: official } });
    }
  }

  /// What it says of a version from now on.
  change(name, version, official, server = {}) {
    const entry = this.entries.get(`${name}:${version}`);
    const updatedAt = new Date().toISOString();
    this.put({
      server: { ...entry.server, ...server },
      _meta: { ...entry._meta, [OFFICIAL]: { ...entry._meta[OFFICIAL], updatedAt, ...official } },
    });
  }

  #answer(request, response) {
    const url = new URL(request.url, this.origin);
    this.asked.push(url.searchParams);
    if (this.intervene(url, response)) return;
    if (url.pathname !== "/v0.1/servers") return response.writeHead(404).end();
    const cursor = url.searchParams.get("cursor") ?? "";
    const since = Date.parse(url.searchParams.get("updated_since") ?? 0);
    const limit = Number(url.searchParams.get("limit") ?? 30);
    const servers = [...this.entries]
      .sort(([a], [b]) => order(a, b))
      .filter(([key, entry]) => key > cursor && !(Date.parse(entry?._meta?.[OFFICIAL]?.updatedAt) <= since))
      .slice(0, limit);
    const metadata = { count: servers.length, ...(servers.length === limit && { nextCursor: servers.at(-1)[0] }) };
    response.writeHead(200, { "content-type": "application/json" });
    response.end(JSON.stringify({ servers: servers.map(([, entry]) => entry), metadata }));
  }
}
