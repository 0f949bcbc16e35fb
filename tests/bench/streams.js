'use strict';
/*
 * Streams of OpenAI's API through carpool: how much later their first token comes than directly from the provider, in turns, so that
 * a drift of the machine meets both; then many at once, every token of each in order, and what each costs in memory.
 *
 *   FIRST=400 STREAMS=500 TOKENS=40 PAUSE_MS=100 node tests/bench/streams.js     (BUILD as for the tests)
 *
 * Before a call is sent it is made durable that it will be (so that it is never paid for twice), which takes two synced writes. What
 * these take on this disk is measured in between and told beside the rest. Fails when the median of the first token is, without them,
 * a millisecond or more above the direct one, or a token is missing or out of its place.
 */
const { spawn } = require('node:child_process');
const fs = require('node:fs');
const http = require('node:http');
const path = require('node:path');
const { performance } = require('node:perf_hooks');
const { Stack } = require('../integration/harness');

const FIRST = Number(process.env.FIRST || 400);
const STREAMS = Number(process.env.STREAMS || 500);
const TOKENS = Number(process.env.TOKENS || 40);
const PAUSE_MS = Number(process.env.PAUSE_MS || 100);
const ALLOWED_MS = 1;

const sorted = (list) => [...list].sort((a, b) => a - b);
const at = (list, q) => sorted(list)[Math.min(list.length - 1, Math.floor(list.length * q))];
const round = (x, digits = 3) => Number(x.toFixed(digits));

/* Proportional set size without the mapped store, which is the page cache's. */
function privateKiB(pid) {
  let sum = 0, counts = false;
  for (const line of fs.readFileSync(`/proc/${pid}/smaps`, 'utf8').split('\n')) {
    if (/^[0-9a-f]+-[0-9a-f]+ /.test(line)) counts = !/data\.mdb|lock\.mdb/.test(line);
    const pss = counts && /^Pss:\s+(\d+) kB/.exec(line);
    if (pss) sum += Number(pss[1]);
  }
  return sum;
}
const memoryKiB = (stack, name) => stack.processes().filter((p) => p.name === name).reduce((sum, p) => sum + privateKiB(p.pid), 0);

function provider() {
  const child = spawn(process.execPath, [path.join(__dirname, 'stream_provider.js')], { stdio: ['ignore', 'pipe', 'inherit'] });
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.stdout.once('data', (text) => resolve({ port: Number(text), stop: () => child.kill() }));
  });
}

/* One stream: when its first token came, in ms, and all of its text. */
function listen(agent, port, what) {
  const payload = JSON.stringify({ model: 'm', stream: true, messages: [{ role: 'user', content: what }] });
  return new Promise((resolve, reject) => {
    const headers = { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(payload) };
    let first = 0, text = '', rest = '';
    const start = performance.now();
    const req = http.request({ agent, host: '127.0.0.1', port, path: '/v1/chat/completions', method: 'POST', headers }, (res) => {
      res.setEncoding('utf8');
      res.on('data', (piece) => {
        first = first || performance.now() - start;
        const events = (rest + piece).split('\n\n');
        rest = events.pop();
        for (const event of events) {
          const data = event.replace(/^data: /, '');
          if (data === '[DONE]') text += data;
          else if (data.startsWith('{')) text += JSON.parse(data).choices?.[0]?.delta?.content ?? '';
        }
      });
      res.on('end', () => (res.statusCode === 200 ? resolve({ first, text }) : reject(new Error(`${res.statusCode} ${rest}`))));
      res.on('error', reject);
    });
    req.on('error', reject);
    req.end(payload);
  });
}

/* Two synced writes, in ms, as a commit makes them. */
function syncs(fd) {
  const page = Buffer.alloc(4096, 1);
  const start = performance.now();
  for (let i = 0; i < 2; i++) {
    fs.writeSync(fd, page, 0, page.length, i * 4096);
    fs.fdatasyncSync(fd);
  }
  return performance.now() - start;
}

async function firstTokens(stack, port) {
  const agent = new http.Agent({ keepAlive: true });
  const fd = fs.openSync(path.join(stack.dir, 'synced'), 'w');
  const direct = [], through = [], disk = [];
  for (let i = -20; i < FIRST; i++) {
    const a = await listen(agent, port, 'd 2 0');
    const b = await listen(agent, stack.port, 't 2 0');
    const c = syncs(fd);
    if (i >= 0) direct.push(a.first), through.push(b.first), disk.push(c);
  }
  agent.destroy();
  fs.closeSync(fd);
  const more = { p50: at(through, 0.5) - at(direct, 0.5) };
  console.table([{ streams: FIRST, 'direct p50 ms': round(at(direct, 0.5)), 'carpool p50 ms': round(at(through, 0.5)), 'two synced writes p50 ms': round(at(disk, 0.5)),
    'more at p10': round(at(through, 0.1) - at(direct, 0.1)), 'more at p50': round(more.p50), 'without the writes': round(more.p50 - at(disk, 0.5)) }]);
  return more.p50 - at(disk, 0.5) < ALLOWED_MS;
}

async function crowd(stack) {
  const agent = new http.Agent({ keepAlive: false });
  const idle = { worker: memoryKiB(stack, 'carpool.fcgi'), coordinator: memoryKiB(stack, 'carpoold') };
  const start = performance.now();
  const running = Promise.allSettled(Array.from({ length: STREAMS }, (_, i) => listen(agent, stack.port, `s${i} ${TOKENS} ${PAUSE_MS}`)));
  await new Promise((resolve) => { setTimeout(resolve, (TOKENS * PAUSE_MS) / 2 + 500); });
  const busy = { worker: memoryKiB(stack, 'carpool.fcgi'), coordinator: memoryKiB(stack, 'carpoold') };
  const results = await running;
  const wanted = (i) => `${Array.from({ length: TOKENS }, (_, k) => `s${i}.${k} `).join('')}[DONE]`;
  const wrong = results.filter((r, i) => r.status !== 'fulfilled' || r.value.text !== wanted(i));
  const firsts = results.filter((r) => r.status === 'fulfilled').map((r) => r.value.first);
  const each = (name) => round((busy[name] - idle[name]) / STREAMS, 1);
  console.table([{ streams: STREAMS, tokens: STREAMS * TOKENS, 'seconds': round((performance.now() - start) / 1000, 1), wrong: wrong.length, 'first token p50 ms': round(at(firsts, 0.5), 1),
    'KiB a stream, worker': each('worker'), 'KiB a stream, coordinator': each('coordinator') }]);
  for (const r of wrong.slice(0, 3)) console.error(r.reason ?? r.value.text.slice(0, 200));
  return wrong.length === 0;
}

async function main() {
  const upstream = await provider();
  const stack = await Stack.start({ provider: 'openai', env: { CARPOOL_PROVIDER_BASE_URL: `http://127.0.0.1:${upstream.port}/v1`,
    CARPOOL_PROVIDER_MAX_CONCURRENCY: String(STREAMS + 10), CARPOOL_LIMITS_WAITING_MAX: String(STREAMS + 10) } });
  let good = true;
  try {
    good = await firstTokens(stack, upstream.port);
    good = await crowd(stack) && good;
  } finally {
    await stack.stop();
    upstream.stop();
  }
  if (!good) { console.error('streams are later than they may be, or not whole'); process.exitCode = 1; }
}

main().catch((e) => {
  console.error(e);
  process.exit(1); // the harness ends what still runs
});
