// Stands before the unchanged Worker and counts its rate limits in memory, as Cloudflare does on the
// machine that runs the isolate; miniflare's stand-in writes each count to a disk, which would be
// measured instead of the Worker.
import Authority from "../build/index.js";

const PERIOD_MS = 10_000;

// The name is how the Worker knows the binding.
class Ratelimit {
  #most;
  #period;
  #counts = new Map();

  constructor(most) {
    this.#most = most;
  }

  async limit({ key }) {
    const period = Math.floor(Date.now() / PERIOD_MS);
    if (period !== this.#period) {
      this.#period = period;
      this.#counts.clear();
    }
    const count = (this.#counts.get(key) ?? 0) + 1;
    this.#counts.set(key, count);
    return { success: count <= this.#most };
  }
}

let limiters;

export default class extends Authority {
  constructor(context, env) {
    limiters ??= Object.fromEntries(
      Object.entries(env.LIMITS).map(([name, most]) => [`${name}_LIMIT`, new Ratelimit(most)]),
    );
    super(context, { ...env, ...limiters });
  }
}
