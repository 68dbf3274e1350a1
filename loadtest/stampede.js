// All access tokens become invalid at once, under load: first they expire before the load begins at its full rate, then
// they are revoked while it continues. A new token takes 300 ms. Each time all requests share one fetch, on all replicas.

import http from 'k6/http';
import { fail, sleep } from 'k6';
import {
  BASE, account, as, askAround, enough, optionsFor, prepare, revoke, setFaults, stats, steadily, whole,
} from './lib.js';

const RATE = whole('RATE', 500);
const MEMBERS = whole('MEMBERS', 50);
const REVOCATIONS = 3;
const EVERY = 5; // seconds
const FETCH = '300ms';

export const options = optionsFor({
  scenarios: {
    rooms: steadily(RATE, `${(REVOCATIONS + 1) * EVERY}s`, 1000),
    revocations: { executor: 'per-vu-iterations', vus: 1, iterations: 1, exec: 'revocations' },
  },
  p99: { room: 1000 }, // a fetch, and the request sent once more
  auth: `count==${1 + REVOCATIONS}`,
});

// setup leaves every replica with a token that has expired.
export function setup() {
  enough(MEMBERS, RATE);
  const data = prepare(MEMBERS);
  setFaults([{ path: '/v1/auth', token: { ttl: '5s' } }]);
  revoke(); // tokens of earlier runs
  for (let i = 0; i < 30; i++) http.get(`${BASE}/v1/info`, as(data.tokens[0]));
  for (let waited = 0; stats().tokens_live > 0; waited++) {
    if (waited === 30) fail('the tokens do not expire: somebody else is using the gateway');
    sleep(1);
  }
  setFaults([{ path: '/v1/auth', delay: FETCH }]);
  return { ...data, authCallsBefore: stats().auth_calls };
}

export function teardown(data) {
  setFaults([]);
  account(data);
}

export function revocations() {
  for (let i = 0; i < REVOCATIONS; i++) {
    sleep(EVERY);
    revoke();
  }
}

export default askAround;
