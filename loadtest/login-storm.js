// Everybody logs in at once, as after an outage of an app, while other members ask for rooms. Logins must not slow room
// requests down.

import http from 'k6/http';
import exec from 'k6/execution';
import { check } from 'k6';
import {
  BASE, ROOM, account, askAround, body, countBefore, enough, findRooms, join, json, logIn, named, optionsFor, steadily, whole,
} from './lib.js';

const LOGINS = whole('LOGINS', 50); // a second
const RATE = whole('RATE', 100);
const SECONDS = 30;
const SESSIONS = __ENV.SESSIONS === 'true'; // log in as browsers do, by cookie, and log out again
const ACCOUNT_LIMIT = 10; // logins a minute; the gateway's default ACCOUNT_RATE_LIMIT
// Watchers ask for rooms and don't log in again. A second login within a second would get the same token, and its logout would
// end both.
const WATCHERS = 20;
const MEMBERS = Math.ceil((LOGINS * SECONDS) / (ACCOUNT_LIMIT - 1)); // minus 1: the load isn't shared exactly

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
  const tokens = logIn(join(WATCHERS));
  return { ...before, members: join(MEMBERS), tokens, rooms: findRooms(tokens[0]) };
}

export function login({ members }) {
  const { id, password } = members[exec.scenario.iterationInTest % members.length];
  if (SESSIONS) return session(JSON.stringify({ id, password }));
  const params = named(json({ kind: 'login' }), '/public-api/v1/login');
  const res = http.post(`${BASE}/public-api/v1/login`, JSON.stringify({ id, password }), params);
  check(res, { 'login: a token': (r) => r.status === 200 && Boolean(body(r).data.token) });
}

// session sends the cookie that its login has set: k6 keeps it for the iteration.
function session(credentials) {
  const begun = http.post(`${BASE}/session/login`, credentials, named(json({ kind: 'login' }), '/session/login'));
  check(begun, { 'session: a cookie, no token': (r) => r.status === 200 && !body(r).data.token && Object.keys(r.cookies).length === 1 });
  const rooms = http.get(`${BASE}/v1/sessions`, named({ tags: ROOM }, '/v1/sessions'));
  check(rooms, { 'session: rooms': (r) => r.status === 200 && body(r).status === true });
  const out = http.post(`${BASE}/session/logout`, null, named({ tags: { kind: 'login' } }, '/session/logout'));
  check(out, { 'session: logged out': (r) => r.status === 200 && body(r).data.result === 'ok' });
}

export const teardown = account;
export default askAround;
