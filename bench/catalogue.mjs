// A made-up catalogue in the shape of the official registry's (of December 2025, counted by hand): the
// same every time. Of its names half are io.github.<user>/<project>, a fifth belongs to one namespace
// with hundreds, a third has a title; two thirds have one version, few have dozens; words come as often
// as words do, "mcp" and "server" in every second text, most brands once.

/** mulberry32: numbers in [0, 1), the same for the same seed. */
function numbers(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

const TOPICS = `search data api tools code agent memory browser database files weather payments calendar email docs maps
  finance image video audio translate github gitlab slack notion jira postgres mysql redis mongodb kubernetes docker
  terraform aws azure cloudflare stripe shopify salesforce hubspot figma linear sentry grafana datadog elasticsearch
  snowflake bigquery airtable discord telegram twitter reddit youtube spotify wikipedia arxiv pubmed crypto bitcoin
  ethereum solana trading stocks news recipes travel flights hotels music games sports health fitness legal contracts
  invoices accounting tax payroll recruiting crm marketing seo analytics dashboards charts spreadsheets documents pdf
  markdown ocr speech vision embeddings vector graph ontology knowledge research papers citations testing debugging
  profiling linting refactoring compilers packages registry security vulnerabilities secrets identity audit compliance
  logging metrics tracing alerts incidents deployment pipelines scheduling queues events webhooks proxies networking dns`
  .split(/\s+/);
const VERBS = `manage search query access analyze create fetch read write monitor generate connect automate explore
  inspect convert summarize translate validate track sync export import list update`.split(/\s+/);
const GLUE = `and for with to from via using in of the your any over through by on`.split(/\s+/);
const NOUNS = `context agents assistants models workflows projects tasks repositories issues users teams records
  resources content messages pages results reports insights accounts services applications environments clusters`
  .split(/\s+/);
const SYLLABLES = `ba bel bi bo bra ca cel co cra da del di do dra el en fa fi flo ga gen gi glo gra ha hel hi ho in
  ja jo ka kel ki ko kra la len li lo lu ma mel mi mo na nel ni no nu o or pa pel pi plo po qua ra rel ri ro sa sel
  si so spa sta ta tel ti to tri u va vel vi vo wa wel wi xa xen ya yo za zel zi zo`.split(/\s+/);

/** `names` servers with `versions` versions between them. */
export function catalogue({ names = 33_000, versions = 100_000, seed = 5 } = {}) {
  const random = numbers(seed);
  const below = (count) => Math.floor(random() * count);
  const oneOf = (list) => list[below(list.length)];
  // The first of a list come far more often than the last.
  const common = (list) => list[Math.floor(list.length * random() ** 2.2)];
  const brand = () => Array.from({ length: 2 + below(3) }, () => oneOf(SYLLABLES)).join("");
  const brands = Array.from({ length: Math.ceil(names / 3) }, brand);
  const capital = (word) => word[0].toUpperCase() + word.slice(1);

  const namespace = () => {
    const kind = random();
    if (kind < 0.55) return `io.github.${random() < 0.2 ? capital(oneOf(brands)) : oneOf(brands)}${random() < 0.3 ? below(100) : ""}`;
    if (kind < 0.75) return "ai.smithery";
    const suffix = kind < 0.9 ? "com" : oneOf(["dev", "co", "app", "net", "org", "io", "ai", "finance", "live.alpic.staging"]);
    return `${suffix}.${oneOf(brands)}`;
  };
  const project = () => {
    const topic = random() < 0.6 ? common(TOPICS) : common(brands);
    const kind = random();
    if (kind < 0.35) return `${topic}-mcp`;
    if (kind < 0.5) return `${topic}-mcp-server`;
    if (kind < 0.6) return `mcp-${topic}`;
    if (kind < 0.7) return `mcp-server-${topic}`;
    return random() < 0.5 ? `${brand()}-${topic}` : topic;
  };
  const description = (name) => {
    const words = [];
    if (random() < 0.55) words.push(random() < 0.9 ? "MCP server" : "Model Context Protocol", oneOf(GLUE));
    const length = 4 + below(11);
    while (words.length < length) {
      const kind = random();
      words.push(kind < 0.3 ? common(TOPICS) : kind < 0.45 ? oneOf(VERBS) : kind < 0.7 ? oneOf(GLUE)
        : kind < 0.9 ? common(NOUNS) : common(brands));
    }
    if (random() < 0.4) words.push(name.split("/")[1].replaceAll("-", " "));
    while (words.join(" ").length > 98) words.pop();
    return `${capital(words.join(" "))}.`;
  };

  const taken = new Set();
  const servers = [];
  while (servers.length < names) {
    const name = `${namespace()}/${project()}`;
    const unique = taken.has(name) ? `${name}-${brand()}` : name;
    if (taken.has(unique)) continue;
    taken.add(unique);
    servers.push({
      name: unique,
      title: random() < 0.35 ? unique.split("/")[1].split("-").map(capital).join(" ") : null,
      description: description(unique),
      tags: random() < 0.1 ? Array.from({ length: 1 + below(6) }, () => common(TOPICS)) : [],
      endpoint: random() < 0.4 ? `https://${unique.split("/")[0].split(".").reverse().join(".")}/mcp` : null,
      isVerified: random() < 0.02,
      versions: 1,
    });
  }
  // Whoever has versions gets more of them.
  const bags = servers.filter(() => random() < 0.37);
  for (let left = versions - names; left > 0; left -= 1) bags[Math.floor(bags.length * random() ** 1.5)].versions += 1;
  return servers;
}

/** The server.json of one version. */
export function serverJson({ name, title, description, tags, endpoint }, version) {
  return {
    $schema: "https://static.modelcontextprotocol.io/schemas/2025-09-29/server.schema.json",
    name,
    ...(title && { title }),
    description,
    version,
    repository: { url: `https://github.com/example/${name.split("/")[1]}`, source: "github" },
    ...(endpoint && { remotes: [{ type: "streamable-http", url: endpoint }] }),
    ...(!endpoint && { packages: [{ registryType: "npm", identifier: `@example/${name.split("/")[1]}`, version, transport: { type: "stdio" } }] }),
    ...(tags.length && { _meta: { "io.modelcontextprotocol.registry/publisher-provided": { tags } } }),
  };
}
