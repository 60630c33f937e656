// The documented limits of Cloudflare's paid platform, in one place: the test platform enforces some, and tests hold the
// authority against others.

export const D1 = {
  boundParameters: 100,
  sqlBytes: 100_000,
  rowBytes: 2_000_000,
  columns: 100,
  likePatternBytes: 50,
  querySeconds: 30,
  queriesPerInvocation: 1_000,
  databaseBytes: 10_000_000_000,
};

export const KV = {
  /// A second write of one key within this time is refused with 429.
  millisPerWriteOfAKey: 1_000,
  /// A location may go on reading what it read, a missing key included, for so long.
  secondsBehind: 60,
  leastCacheTtlSeconds: 30,
  leastExpirationTtlSeconds: 60,
  keyBytes: 512,
  valueBytes: 25 * 1024 * 1024,
  metadataBytes: 1_024,
  keysPerList: 1_000,
  operationsPerInvocation: 1_000,
};

export const WORKER = {
  memoryBytes: 128 * 1024 * 1024,
  cpuMillis: 30_000,
  subrequestsPerInvocation: 10_000,
  connections: 6,
  urlBytes: 16 * 1024,
  headerBytes: 128 * 1024,
  waitUntilSeconds: 30,
  startupMillis: 1_000,
  gzippedBytes: 10 * 1024 * 1024,
};

/// The only periods that the rate-limiting binding knows.
export const RATE_LIMIT = { periodSeconds: [10, 60] };
