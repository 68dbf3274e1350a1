// Interwater takes a second for every answer. Members wait for that and no longer, no request is refused, and requests to
// Glory are as fast as usual.

import http from 'k6/http';
import exec from 'k6/execution';
import { check } from 'k6';
import { BASE, account, as, askAround, enough, named, optionsFor, prepare, setFaults, steadily, whole } from './lib.js';

const RATE = whole('RATE', 200);
const MEMBERS = whole('MEMBERS', 50);
const DURATION = __ENV.DURATION || '30s';
const SLOW = 1000; // milliseconds

export const options = optionsFor({
  scenarios: {
    rooms: steadily(RATE, DURATION, SLOW + 500),
    glory: steadily(Math.ceil(RATE / 4), DURATION, 250, { exec: 'glory' }),
  },
  p99: { room: SLOW + 500, glory: 250 },
  auth: 'count<=1',
});

export function setup() {
  enough(MEMBERS, RATE);
  const data = prepare(MEMBERS);
  setFaults([{ path: '/v1/sessions*', delay: `${SLOW}ms` }, { path: '/v1/info', delay: `${SLOW}ms` }]);
  return data;
}

export function teardown(data) {
  setFaults([]);
  account(data);
}

export function glory({ tokens }) {
  const params = named(as(tokens[exec.scenario.iterationInTest % tokens.length], { kind: 'glory' }), '/api/v1/profile');
  const res = http.get(`${BASE}/api/v1/profile`, params);
  check(res, { 'profile: 200': (r) => r.status === 200 });
}

export default askAround;
