'use strict';
/*
 * make bench: carpool against a bare libfcgi echo in the same process model behind the same lighttpd, in turns, so that a drift of the machine meets both. Only
 * the ratios mean something elsewhere. Then: clients that wait, and what each of them costs in memory; and, where there is a model server
 * (LLAMA_SERVER, LLAMA_MODEL), a batch of queries against asking it directly (model.js).
 *
 *   ROUNDS=7 SECONDS=2 CLIENTS=64 WAITING=1000 CACHE=exact node tests/bench/bench.js
 */
const { execFile } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { Stack, BUILD, ROOT } = require('../integration/harness');
const { missing } = require('../integration/llama_server');
const model = require('./model');

const ROUNDS = Number(process.env.ROUNDS || 7);
const SECONDS = Number(process.env.SECONDS || 2);
const CLIENTS = Number(process.env.CLIENTS || 64);
const WAITING = Number(process.env.WAITING || 1000);
const PROCESSES = 2;
const THREADS = 320;

/* A stack whose lighttpd serves /echo as well. */
async function start(env = {}) {
  const stack = new Stack({ provider: 'mock', env: { CARPOOL_CACHE_MODE: process.env.CACHE || 'exact', ...env } });
  const conf = path.join(stack.dir, 'bench.conf');
  fs.writeFileSync(conf, `include "${ROOT}/lighttpd.conf"
$HTTP["url"] =~ "^/echo$" { fastcgi.server = ( "/" => ( "echo" => (
  "bin-path" => "${BUILD}/bench/fcgi_echo ${PROCESSES} ${THREADS}", "socket" => "${stack.dir}/echo",
  "bin-environment" => ( "LIBFCGI_OS_CLOSE_POLL_TIMEOUT" => "0" ),
  "max-procs" => 1, "listen-backlog" => 4096, "check-local" => "disable" ) ) ) }\n`);
  stack.options.command = ['lighttpd', '-D', '-f', conf];
  await stack.start();
  return stack;
}

let runs = 0;

function wrk(stack, target, { script = 'summary.lua', clients = CLIENTS, seconds = SECONDS, timeout = 10 } = {}) {
  const args = ['-t1', `-c${clients}`, `-d${seconds}s`, `--timeout`, `${timeout}s`, '-s', path.join(__dirname, script), `http://127.0.0.1:${stack.port}${target}`, '--', String(++runs)];
  return new Promise((resolve, reject) => execFile('wrk', args, { encoding: 'utf8', cwd: ROOT }, (error, out) => {
    const line = /^JSON (.*)$/m.exec(out || '');
    if (error || !line) return reject(error || new Error(out));
    const r = JSON.parse(line[1]);
    resolve({ ...r, rps: r.requests / (r.duration_us / 1e6) });
  }));
}

const median = (list) => [...list].sort((a, b) => a - b)[list.length >> 1];
const round = (x, digits = 2) => Number(x.toFixed(digits));

/* Proportional set size without file mappings: the LMDB file is shared with the page cache and is nobody's own. */
function privateKiB(pid) {
  let sum = 0, counts = false;
  for (const line of fs.readFileSync(`/proc/${pid}/smaps`, 'utf8').split('\n')) {
    if (/^[0-9a-f]+-[0-9a-f]+ /.test(line)) counts = !/data\.mdb|lock\.mdb/.test(line);
    const pss = counts && /^Pss:\s+(\d+) kB/.exec(line);
    if (pss) sum += Number(pss[1]);
  }
  return sum;
}

function memoryKiB(stack) {
  return stack.processes().filter((p) => p.name === 'carpool.fcgi' || p.name === 'carpoold').reduce((sum, p) => sum + privateKiB(p.pid), 0);
}

async function throughput() {
  const stack = await start({ CARPOOL_BATCH_HIGH_POLICY: 'adaptive' });
  const subjects = {
    echo: () => wrk(stack, '/echo'),
    health: () => wrk(stack, '/health'),
    settings: () => wrk(stack, '/v1/settings'),
    analytics: () => wrk(stack, '/v1/analytics'),
    stats: () => wrk(stack, '/stats'),
    metrics: () => wrk(stack, '/metrics'),
    'echo (POST)': () => wrk(stack, '/echo', { script: 'prompt.lua' }),
    'fresh prompt': () => wrk(stack, '/v1/query', { script: 'prompt.lua' }),
  };
  const results = Object.fromEntries(Object.keys(subjects).map((name) => [name, []]));
  try {
    for (const run of Object.values(subjects)) await run(); // warm
    for (let i = 0; i < ROUNDS; i++) for (const [name, run] of Object.entries(subjects)) results[name].push(await run());
  } finally { await stack.stop(); }
  return results;
}

async function waiting() {
  const threads = Math.ceil(WAITING * 1.1 / PROCESSES);
  const stack = await start({ CARPOOL_PROVIDER_MOCK_LATENCY_MS: '2000', CARPOOL_WORKER_THREADS: String(threads),
    CARPOOL_LIMITS_WAITING_MAX: String(threads * PROCESSES), CARPOOL_PROVIDER_MAX_CONCURRENCY: String(WAITING),
    CARPOOL_BATCH_HIGH_WINDOW_MS: '50', LIGHTTPD_MAX_CONNECTIONS: String(threads * PROCESSES + 100) });
  try {
    await stack.ask('warm', { priority: 'HIGH' });
    const idle = memoryKiB(stack);
    const run = wrk(stack, '/v1/query', { script: 'prompt.lua', clients: WAITING, seconds: 7, timeout: 20 });
    await new Promise((done) => { setTimeout(done, 3200); });
    const busy = memoryKiB(stack);
    const result = await run;
    return { ...result, clients: WAITING, idle_kib: idle, busy_kib: busy, kib_per_waiting: round((busy - idle) / WAITING, 1), kib_per_waiting_in_all: round(busy / WAITING, 1) };
  } finally { await stack.stop(); }
}

async function main() {
  const results = await throughput();
  const rows = [];
  for (const [name, list] of Object.entries(results)) {
    const base = results[name === 'fresh prompt' ? 'echo (POST)' : 'echo'];
    rows.push({ what: name, 'requests/s': Math.round(median(list.map((r) => r.rps))), 'p50 ms': round(median(list.map((r) => r.p50_us)) / 1000),
      'p99 ms': round(median(list.map((r) => r.p99_us)) / 1000), 'of echo': round(median(list.map((r, i) => r.rps / base[i].rps))),
      'failed': list.reduce((sum, r) => sum + r.non2xx + r.socket_errors, 0) });
  }
  console.table(rows);
  const waited = await waiting();
  console.table([{ clients: waited.clients, answered: waited.requests, failed: waited.non2xx + waited.socket_errors, 'p99 ms': round(waited.p99_us / 1000),
    'KiB idle': waited.idle_kib, 'KiB waiting': waited.busy_kib, 'KiB a waiting request': waited.kib_per_waiting, 'KiB a request in all': waited.kib_per_waiting_in_all }]);
  const answers = missing ? null : model.report(await model.run());
  if (missing) console.log(`Not compared with a model server: ${missing}.`);
  const file = path.join(BUILD, 'bench', 'bench.json');
  fs.writeFileSync(file, JSON.stringify({ rounds: ROUNDS, seconds: SECONDS, clients: CLIENTS, results, waiting: waited, model: answers }, null, 1));
  console.log(`raw figures: ${path.relative(ROOT, file)}`);
  const failures = rows.reduce((sum, r) => sum + r.failed, 0) + waited.non2xx + waited.socket_errors;
  if (failures) { console.error(`${failures} requests failed`); process.exitCode = 1; }
  if (answers && !answers.within) { console.error('one /chat/batched takes longer than it may'); process.exitCode = 1; }
}

main().catch((e) => {
  console.error(e);
  process.exit(1); // the harness ends what still runs
});
