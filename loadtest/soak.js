// A moderate load for a long time, with access tokens that live a minute, so that they are replaced many times. At the end
// it checks that goroutines and memory of the replicas in ADMIN_URLS haven't grown.

import http from 'k6/http';
import { fail } from 'k6';
import { Gauge } from 'k6/metrics';
import { account, askAround, enough, optionsFor, prepare, revoke, seconds, setFaults, steadily, whole } from './lib.js';

const RATE = whole('RATE', 100);
const MEMBERS = whole('MEMBERS', 50);
const DURATION = seconds('DURATION', '1h');
const TOKEN_LIFE = 60; // seconds
const ADMINS = (__ENV.ADMIN_URLS || '').split(',').filter((url) => url);

const goroutines = new Gauge('goroutines_grown');
const memory = new Gauge('memory_grown_mib');

// The fewest calls: one in a token's life, and one at the start. (In fact a token is replaced when 6/7 of its life are over.)
const ideal = Math.ceil(DURATION / TOKEN_LIFE) + 1;

const usual = optionsFor({
  scenarios: { rooms: steadily(RATE, `${DURATION}s`, 250) },
  p99: { room: 250 },
  auth: `count<=${Math.ceil(1.5 * ideal)}`,
});

export const options = {
  ...usual,
  thresholds: ADMINS.length === 0 ? usual.thresholds
    : { ...usual.thresholds, goroutines_grown: ['value<200'], memory_grown_mib: ['value<64'] },
};

export function setup() {
  enough(MEMBERS, RATE);
  if (DURATION > 100 * 60) fail('member tokens live two hours: at most 100m');
  const data = prepare(MEMBERS);
  setFaults([{ path: '/v1/auth', token: { ttl: `${TOKEN_LIFE}s` } }]);
  revoke();
  return { ...data, before: ADMINS.map(size) };
}

export function teardown(data) {
  setFaults([]);
  account(data);
  const grown = ADMINS.map(size).map((now, i) => ({
    goroutines: now.goroutines - data.before[i].goroutines,
    memory: now.memory - data.before[i].memory,
  }));
  // The replica that has grown most counts.
  if (grown.length > 0) {
    goroutines.add(Math.max(...grown.map((g) => g.goroutines)));
    memory.add(Math.max(...grown.map((g) => g.memory)));
  }
}

// size returns the goroutines and memory of a replica, by its own metrics.
function size(admin) {
  const text = http.get(`${admin}/metrics`).body || '';
  const value = (name) => Number((new RegExp(`^${name} (\\S+)$`, 'm').exec(text) || fail(`${admin}: no ${name}`))[1]);
  return { goroutines: value('go_goroutines'), memory: value('process_resident_memory_bytes') / (1 << 20) };
}

export default askAround;
