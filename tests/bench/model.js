'use strict';
/*
 * Part of make bench when LLAMA_SERVER and LLAMA_MODEL are set: 16 queries of 64 tokens in one POST /chat/batched against the same
 * model server asked directly with 16 concurrent calls, and both one by one. In turns, in an order that rotates from round to round;
 * each turn has prompts of its own, alike in length, so that none finds what another left in the server's prompt cache.
 * The direct calls are made twice a round: how far they are from each other is what the machine cannot tell apart.
 */
const http = require('node:http');
const { performance } = require('node:perf_hooks');
const { Stack, freePort, until } = require('../integration/harness');
const { LlamaServer } = require('../integration/llama_server');

const ROUNDS = Number(process.env.MODEL_ROUNDS || 9);
const QUERIES = 16;
const TOKENS = 64;
const ALLOWED = 0.05;

const names = ['Tim', 'Sue', 'Ben', 'Lily', 'Tom', 'Mia', 'Max', 'Amy'];
let turn = 0;
/* As many tokens each, none equal to another. */
function prompts() {
  turn++;
  return Array.from({ length: QUERIES }, (_, i) => `Once upon a time ${names[turn % 8]} and ${names[(turn >> 3) % 8]} met a ${names[i % 8]}${i} cat and`);
}

function post(agent, port, path, body) {
  const payload = JSON.stringify(body);
  return new Promise((resolve, reject) => {
    const req = http.request({ agent, host: '127.0.0.1', port, path, method: 'POST', headers: { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(payload) } }, (res) => {
      const chunks = [];
      res.on('data', (chunk) => chunks.push(chunk));
      res.on('end', () => {
        const text = Buffer.concat(chunks).toString();
        if (res.statusCode !== 200) reject(new Error(`${path}: ${res.statusCode} ${text.slice(0, 300)}`));
        else resolve(JSON.parse(text));
      });
    });
    req.on('error', reject);
    req.end(payload);
  });
}

/* One call of the model server, as carpool makes it. Returns how many tokens were generated. */
async function direct(agent, port, prompt) {
  const body = { model: 'stories15m', messages: [{ role: 'user', content: prompt }], temperature: 0, max_tokens: TOKENS };
  return (await post(agent, port, '/v1/chat/completions', body)).usage.completion_tokens;
}

function subjects(agent, server, stack) {
  const concurrently = async () => (await Promise.all(prompts().map((p) => direct(agent, server, p)))).reduce((a, b) => a + b);
  const answered = (r) => { if (!r.response) throw new Error(r.error); };
  return {
    'server, 16 concurrent calls': concurrently,
    'the same again': concurrently,
    'carpool, one /chat/batched': async () => {
      const { responses } = await post(agent, stack, '/chat/batched', { queries: prompts().map((p, i) => ({ chat_id: String(i), user_prompt: p })) });
      responses.forEach(answered);
    },
    'server, one by one': async () => { for (const p of prompts()) await direct(agent, server, p); },
    'carpool, one by one': async () => { for (const p of prompts()) answered(await post(agent, stack, '/chat', { chat_id: '1', user_prompt: p })); },
  };
}

const sorted = (list) => [...list].sort((a, b) => a - b);
const at = (list, share) => sorted(list)[Math.min(list.length - 1, Math.floor(list.length * share))];
const round = (x, digits = 3) => Number(x.toFixed(digits));

async function measure(agent, server, stack) {
  const runs = Object.entries(subjects(agent, server, stack));
  const times = Object.fromEntries(runs.map(([name]) => [name, []]));
  let tokens = 0;
  for (const [, run] of runs) await run(); // warm
  for (let i = 0; i < ROUNDS; i++) {
    for (let k = 0; k < runs.length; k++) {
      const [name, run] = runs[(i + k) % runs.length];
      const start = performance.now();
      tokens = (await run()) ?? tokens;
      times[name].push(performance.now() - start);
    }
  }
  return { times, tokens };
}

async function run() {
  const port = await freePort();
  const server = new LlamaServer(port, { slots: QUERIES });
  let stack;
  try {
    await until('llama-server is ready', async () => (await server.health()) === 200, 60000);
    stack = await Stack.start({ env: { CARPOOL_PROVIDER_KIND: 'openai', CARPOOL_PROVIDER_BASE_URL: `${server.url}/v1`, CARPOOL_PROVIDER_MODEL: 'stories15m',
      CARPOOL_PROVIDER_MODE: 'concurrent', HOSTING_MAX_CONCURRENCY: String(QUERIES + 1), CARPOOL_PROVIDER_TEMPERATURE: '0',
      CARPOOL_BATCH_MEDIUM_TOKENS: String(TOKENS), CARPOOL_BATCH_MEDIUM_WINDOW_MS: '0', CARPOOL_BATCH_MEDIUM_LATENCY_MS: '60000' } });
    /* Idle connections are given up before lighttpd and llama-server (5 s) do. */
    const agent = new http.Agent({ keepAlive: true, maxSockets: QUERIES, timeout: 3000 });
    const { times, tokens } = await measure(agent, port, stack.port);
    agent.destroy();
    return { times, tokens };
  } finally {
    await stack?.stop();
    await server.kill('SIGTERM');
  }
}

/* Ratios are taken within a round; its median and what lies between its quarters are told. */
function report({ times, tokens }) {
  const [first, again, batched, , single] = Object.values(times);
  const ratio = (a, b) => a.map((x, i) => x / b[i]);
  const rows = Object.entries(times).map(([what, list]) => {
    const r = ratio(list, first);
    return { what, 'median s': round(at(list, 0.5) / 1000), 'of 16 concurrent calls': round(at(r, 0.5)), quarters: `${round(at(r, 0.25))} to ${round(at(r, 0.75))}` };
  });
  const own = ratio(again, first).map((x) => Math.abs(x - 1));
  const spread = at(own, 0.75), over = at(ratio(batched, first), 0.5) - 1;
  const allowed = Math.max(ALLOWED, spread);
  console.table(rows);
  console.log(`${tokens} tokens of ${QUERIES} queries. One /chat/batched takes ${round(at(ratio(batched, single), 0.5))} of the time of 16 /chat one by one, and ${round(100 * over, 1)} % ` +
    `more than the server asked directly (allowed: ${round(100 * allowed, 1)} %; the direct calls differ from themselves by ${round(100 * spread, 1)} %).`);
  return { rounds: ROUNDS, times, over, spread, within: over <= allowed };
}

module.exports = { run, report };

if (require.main === module)
  run().then((r) => { process.exitCode = report(r).within ? 0 : 1; }).catch((e) => { console.error(e); process.exit(1); });
