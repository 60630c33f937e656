import assert from "node:assert/strict";
import { STATUS_CODES } from "node:http";

/// That an answer is an RFC 9457 problem of this status and code; `detail` is what its text must
/// speak of.
export function assertProblem(answer, status, code, detail = "") {
  const shown = `${answer.status} ${answer.text}`;
  assert.equal(answer.status, status, shown);
  assert.equal(answer.headers.get("content-type"), "application/problem+json", shown);
  assert.equal(answer.headers.get("cache-control"), "no-store", shown);
  const { detail: text, ...members } = answer.body;
  // Who asked too often, or in vain, is told when to come back.
  const wait = { rate_limited: 10, authority_unavailable: 5, server_unavailable: 30 }[code];
  assert.equal(answer.headers.get("retry-after"), wait ? String(wait) : null, shown);
  const expected = { type: "about:blank", title: STATUS_CODES[status], status, code };
  assert.deepEqual(members, status === 429 ? { ...expected, retry_after: wait } : expected, shown);
  assert.ok(text.length > 0 && text.includes(detail), `${shown}: says nothing of ${detail}`);
}
