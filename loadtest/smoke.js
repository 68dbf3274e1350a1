// A few requests of every kind, to see in ten seconds whether everything runs and is connected. Some of them must be refused.

import http from 'k6/http';
import { check } from 'k6';
import { BASE, account, as, askAround, optionsFor, prepare, steadily } from './lib.js';

const TURNED_AWAY = { kind: 'turned-away' };

export const options = optionsFor({
  scenarios: {
    rooms: steadily(20, '10s', 250),
    others: { executor: 'per-vu-iterations', vus: 1, iterations: 1, exec: 'others' },
  },
  p99: { room: 250 },
  auth: 'count<=1',
});

export const setup = () => prepare(5);
export const teardown = account;
export default askAround;

// others sends the requests that members don't send.
export function others({ tokens }) {
  const forged = `${tokens[0].slice(0, -4)}AAAA`;
  for (const [what, res, status] of [
    ['no token', http.get(`${BASE}/v1/info`, { tags: TURNED_AWAY }), 401],
    ['a forged token', http.get(`${BASE}/v1/info`, as(forged, TURNED_AWAY)), 401],
    ['/v1/auth', http.post(`${BASE}/v1/auth`, null, as(tokens[0], TURNED_AWAY)), 404],
    ['another method', http.del(`${BASE}/v1/info`, null, as(tokens[0], TURNED_AWAY)), 405],
    ['check_login', http.get(`${BASE}/api/v1/check_login`, as(tokens[0])), 200],
  ]) {
    check(res, { [`${what}: ${status}`]: (r) => r.status === status });
  }
}
