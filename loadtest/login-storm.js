// Everybody logs in at once, as after an outage of an app, while others go on asking for rooms. Logins are none of the
// room requests' business: these stay as fast as ever.

import http from 'k6/http';
import exec from 'k6/execution';
import { check } from 'k6';
import {
  BASE, account, askAround, body, countBefore, enough, findRooms, join, json, logIn, named, optionsFor, steadily, whole,
} from './lib.js';

const LOGINS = whole('LOGINS', 50); // a second
const RATE = whole('RATE', 100);
const SECONDS = 30;
const ACCOUNT_LIMIT = 10; // logins a minute; the gateway's default ACCOUNT_RATE_LIMIT
const MEMBERS = Math.ceil((LOGINS * SECONDS) / (ACCOUNT_LIMIT - 2)); // two: setup logs some in, and all share the load
const WATCHERS = 20;

export const options = optionsFor({
  scenarios: {
    rooms: steadily(RATE, `${SECONDS}s`, 250),
    logins: steadily(LOGINS, `${SECONDS}s`, 1000, { exec: 'login' }),
  },
  p99: { room: 250, login: 1000 },
  auth: 'count<=1',
});

export function setup() {
  enough(WATCHERS, RATE);
  const before = countBefore();
  const members = join(MEMBERS);
  const tokens = logIn(members.slice(0, WATCHERS));
  return { ...before, members, tokens, rooms: findRooms(tokens[0]) };
}

export function login({ members }) {
  const { id, password } = members[exec.scenario.iterationInTest % members.length];
  const params = named(json({ kind: 'login' }), '/public-api/v1/login');
  const res = http.post(`${BASE}/public-api/v1/login`, JSON.stringify({ id, password }), params);
  check(res, { 'login: a token': (r) => r.status === 200 && Boolean(body(r).data.token) });
}

export const teardown = account;
export default askAround;
