'use strict';
/*
 * make crash: a whole carpool under load, and in each round one part of it is killed or stopped at some moment.
 * Measures how long it takes until it serves again, and checks the history of all rounds at the end.
 *
 *   ROUNDS=200 SEED=7 node tests/crash/rounds.js
 */
const { once } = require('node:events');
const { performance } = require('node:perf_hooks');
const { Stack, inParallel, sleep, until, PROVIDER_KEY, STRETCH } = require('../integration/harness');
const { History, report } = require('./history');
const { Load, randomFrom } = require('./load');
const { misbehave } = require('./misbehave');
const { Stalls } = require('./stalls');
const { SEED } = require('../seed');

const ROUNDS = Number(process.env.ROUNDS || 40);
const LANES = Number(process.env.LANES || 24);
const READY_MS = 2000 * STRETCH;
const RETRY_ATTEMPTS = 3;

const SECRETS = {
    provider: PROVIDER_KEY,
    client: 'canary-client-api-key-1',
    admin: 'canary-admin-api-key-1',
    stray: 'canary-stray-api-key-1',
    body: 'sk-canary-brought-by-caller-1',
    put: ['sk-canary-put-key-1', 'sk-canary-put-key-2'],
};

const random = randomFrom(SEED);
const history = new History({
    attempts: RETRY_ATTEMPTS,
    secrets: Object.entries(SECRETS).flatMap(([name, texts]) => [].concat(texts).map((text) => ({ name, text }))),
});
const PROVIDER = random.of(['openai', 'gemini']);
const MODE = random.of(['combined', 'combined', 'concurrent']);
const stack = new Stack({
    provider: PROVIDER,
    command: ['etc/run'],
    env: {
        API_KEY: SECRETS.client,
        ADMIN_KEY: SECRETS.admin,
        CARPOOL_AUTH_REQUIRED: 'off', /* so that there are callers without a key, too */
        CARPOOL_BATCH_HIGH_WINDOW_MS: '30',
        CARPOOL_BATCH_MEDIUM_WINDOW_MS: '100',
        CARPOOL_BATCH_LOW_WINDOW_MS: '200',
        CARPOOL_PROVIDER_MODE: MODE,
        CARPOOL_PROVIDER_TIMEOUT_MS: '2500',
        CARPOOL_PROVIDER_MAX_CONCURRENCY: '16',
        CARPOOL_RETRY_ATTEMPTS: String(RETRY_ATTEMPTS),
        CARPOOL_RETRY_CAP_MS: '500',
        CARPOOL_CACHE_MODE: 'exact',
    },
});
const stalls = new Stalls(history);
const load = new Load({ stack, history, random, groups: ['', '', '', SECRETS.client, SECRETS.admin], adminKey: SECRETS.admin, secrets: SECRETS });

const coordinator = () => [stack.coordinatorPid()];
const lighttpd = () => [stack.processes().find((p) => p.name === 'lighttpd')?.pid];
const child = (pool) => () => [random.of(stack.workers(pool).children)?.pid];
const children = (pool) => () => stack.workers(pool).children.map((p) => p.pid);
const parent = (pool) => () => [stack.workers(pool).parent?.pid];
const VICTIMS = [
    [5, { part: 'coordinator', pids: coordinator }],
    [3, { part: 'a worker', pids: child('prompt') }],
    [1, { part: 'all workers', pids: children('prompt') }],
    [2, { part: 'the parent of the workers', pids: parent('prompt') }],
    [1, { part: 'a management worker', pids: child('manage') }],
    [1, { part: 'the parent of management', pids: parent('manage') }],
    [2, { part: 'lighttpd', pids: lighttpd, front: true }],
    [3, { part: 'coordinator and worker', pids: () => [...coordinator(), ...child('prompt')()] }],
    [1, { part: 'coordinator and lighttpd', pids: () => [...coordinator(), ...lighttpd()], front: true }],
];

function signal(pids, name) {
    for (const pid of pids) {
        try {
            process.kill(pid, name);
        } catch (e) {
            if (e.code !== 'ESRCH') throw e;
        }
    }
}

/* Time from now until a fresh prompt is answered and can be read by its id, but for stalls of this process. Each probe
 * waits as long as it takes. */
async function timeUntilServed(tag) {
    const start = performance.now();
    for (let i = 0; performance.now() - start < 20000 * STRETCH; i++) {
        const q = { id: `probe-${tag}-${i}`, group: '', prompt: `probe ${tag} ${i}`, priority: 'HIGH' };
        const attempt = await load.ask(q);
        if (attempt.status === 200) {
            load.told.push(q);
            if ((await load.fetch(q)).status === 200) return performance.now() - start - stalls.since(start);
        }
        await sleep(10);
    }
    throw new Error(`not served within ${20 * STRETCH} s`);
}

/* Now, or just after something happened that a part is busy with. */
async function strikingMoment() {
    await sleep(random.between(100, 900));
    const moment = random.of(['any', 'asked', 'called', 'answering', 'told']);
    if (moment === 'any') return;
    await Promise.race([once(load.moments, moment), sleep(500)]);
    await sleep(random.between(0, 3));
}

/* What happens to a part. Several signals: it dies again while it comes back. */
const BLOWS = [
    [4, { name: 'kill', strike: (pids) => signal(pids(), 'SIGKILL') }],
    [4, { name: 'stop', strike: stop }],
    [2, { name: 'kill twice', strike: killTwice }],
];
const QUIT = { name: 'quit', strike: (pids) => signal(pids(), 'SIGTERM'), isOrderly: true };

async function stop(pids) {
    const stopped = pids();
    const ms = random.between(100, 3000);
    signal(stopped, 'SIGSTOP');
    await sleep(ms);
    signal(stopped, 'SIGCONT');
    return ms;
}

async function killTwice(pids) {
    const first = pids();
    signal(first, 'SIGKILL');
    const next = await until('it is back', () => {
        const found = pids();
        return found.length && found.every((pid) => pid && !first.includes(pid)) && found;
    }, 10000);
    await sleep(random.between(0, 150));
    signal(next, 'SIGKILL');
}

async function round(n) {
    const victim = random.weighted(VICTIMS);
    const blow = victim.part === 'coordinator' && random() < 0.2 ? QUIT : random.weighted(BLOWS);
    await strikingMoment();
    await until(`there is ${victim.part}`, () => victim.pids().length && victim.pids().every(Boolean));
    const from = performance.now();
    let ms = Infinity;
    let stopped;
    try {
        stopped = await blow.strike(() => victim.pids());
        ms = await timeUntilServed(n);
    } finally {
        const front = Boolean(victim.front) && blow.strike !== stop;
        history.outage({ part: victim.part, from, to: performance.now(), front });
        const what = stopped ? `${blow.name} ${stopped} ms` : blow.name;
        console.log(
            `round ${n}/${ROUNDS}  ${what.padEnd(12)} ${victim.part.padEnd(26)} served again after ${ms.toFixed(0).padStart(5)} ms  ${history.attempts.length} requests, ${load.told.length} answers`,
        );
    }
    /* One that was asked to leave finishes its calls first, which is no failure. */
    return blow.isOrderly ? null : ms;
}

/* Everything accepted has come to an end. */
async function settle() {
    await inParallel(load.promised.length, 16, async (i) => {
        const q = load.promised[i];
        const end = performance.now() + 20000 * STRETCH;
        for (;;) {
            const { state } = (await load.fetch(q, { waitS: 2 })).word;
            if (['done', 'failed', 'unknown', 'gone', 'missing'].includes(state)) return;
            if (performance.now() > end) throw new Error(`${q.id} is still "${state}"`);
            await sleep(50);
        }
    });
    await until('the provider is idle', () => stack.fake.running === 0, 10000);
}

function lookIntoFiles() {
    const texts = history.secrets;
    for (const { name, text } of texts)
        history.addLeaks(
            stack
                .filesWith(text)
                .filter((file) => file !== 's/provider.key')
                .map((where) => ({ secret: name, where })),
        );
}

const percentile = (sorted, p) => sorted[Math.max(0, Math.ceil((p / 100) * sorted.length) - 1)];

function tally(list) {
    const counts = {};
    for (const word of list) counts[word] = (counts[word] ?? 0) + 1;
    return Object.entries(counts).sort().map(([word, n]) => `${word} ${n}`).join(', ');
}

/* A load that does not do what it is for proves nothing. */
function coverage() {
    const has = (what, n) => (n ? null : `no ${what} in the whole run`);
    const states = (state) => history.attempts.filter((a) => a.word.state === state).length;
    return [
        has('answer', states('done')),
        has('202', states('promised')),
        has('424', states('unknown')),
        has('replay', history.attempts.filter((a) => a.replayed).length),
        has('409', history.attempts.filter((a) => a.status === 409).length),
        has('deletion', states('gone')),
        has('stream', history.attempts.filter((a) => a.streams && a.word.state === 'done').length),
        has('stream that broke off', history.attempts.filter((a) => a.streams && a.status === 200 && a.word.state === 'none').length),
        has('client that left', history.attempts.filter((a) => a.gone).length),
        ...['answered', 'unanswered', 'free', 'lost'].map((o) => has(`call that was ${o}`, history.dispatches.filter((d) => d.outcome === o).length)),
    ].filter(Boolean);
}

async function main() {
    console.log(`crash: ${ROUNDS} rounds, SEED=${SEED}, ${PROVIDER} ${MODE}`);
    const faults = [];
    stalls.watch();
    await stack.start();
    stack.fake.when(() => true, misbehave(random, load.moments));
    load.start(LANES);
    const times = [];
    try {
        for (let n = 1; n <= ROUNDS; n++) times.push(await round(n));
    } catch (e) {
        faults.push(`round ${times.length + 1}: ${e.message}`);
    }
    await load.stop();
    try {
        await settle();
    } catch (e) {
        faults.push(e.message);
    }
    const replays = [...load.replays()];
    await inParallel(replays.length, 16, (i) => replays[i]());

    history.addCalls(stack.fake.calls);
    history.readStore(stack.storage);
    lookIntoFiles();
    const violations = history.check();
    if (ROUNDS >= 20) faults.push(...coverage());
    const sorted = times.filter((ms) => ms !== null).sort((a, b) => a - b);
    const p99 = percentile(sorted, 99);
    if (!(p99 <= READY_MS)) faults.push(`served again within ${p99?.toFixed(0)} ms at p99, ${READY_MS} are allowed`);
    console.log(`clients: ${tally(history.attempts.map((a) => (a.gone ? 'left' : a.error ? 'broke' : a.status)))}`);
    console.log(`provider: ${stack.fake.calls.length} calls; prompts ${tally(history.dispatches.map((d) => d.outcome))}`);
    console.log(`store: ${tally([...history.store.records.values()].map((r) => r.state))}; epoch ${history.store.meta.epoch}`);
    console.log(`served again: p50 ${percentile(sorted, 50)?.toFixed(0)} ms, p99 ${p99?.toFixed(0)} ms, at most ${sorted.at(-1)?.toFixed(0)} ms; ${replays.length} answers replayed; this process itself hung ${stalls.longestMs.toFixed(0)} ms at most`);
    if (violations.length) faults.push(`${violations.length} violations:\n${report(violations)}`);
    if (faults.length && !violations.length) console.log(stack.logs());
    try {
        await stack.stop();
    } catch (e) {
        faults.push(e.message);
    }
    if (!faults.length) return console.log(`crash: ${ROUNDS} rounds, 0 violations`);
    console.log(`\n${faults.join('\n')}\n\ncrash: failed; to run it again: make crash ROUNDS=${ROUNDS} SEED=${SEED}`);
    process.exitCode = 1;
}

main().catch((e) => {
    console.error(e);
    process.exit(1);
});
