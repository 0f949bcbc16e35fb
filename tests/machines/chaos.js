'use strict';
/*
 * make machines, its last part: two machines under load, and in each round Redis (or, in the second half, a
 * coordinator too) is killed, stopped or restarted at some moment. redis.on_loss is refuse and Redis keeps what it
 * acknowledges, so the promise of request ids holds over both: the history of all clients, the provider's calls and
 * both stores must have no violation (tests/crash/README.md, I1 to I5), and service must be back soon after Redis.
 *
 *   ROUNDS=30 SEED=7 node tests/machines/chaos.js
 */
const { once } = require('node:events');
const { performance } = require('node:perf_hooks');
const { inParallel, PROVIDER_KEY } = require('../integration/harness');
const { History, report } = require('../crash/history');
const { Load, randomFrom } = require('../crash/load');
const { misbehave } = require('../crash/misbehave');
const { Stalls } = require('../crash/stalls');
const { SEED } = require('../seed');
const { Machines, sleep, until, STRETCH, BACK_MS } = require('./machines');

const ROUNDS = Number(process.env.ROUNDS || 30);
const LANES = Number(process.env.LANES || 20);
const RETRY_ATTEMPTS = 3;
/* After Redis or a coordinator is there again, somebody may not know yet what the others know. */
const BLUR_MS = BACK_MS * STRETCH;

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
const stalls = new Stalls(history);
const machines = new Machines({
    onLoss: 'refuse',
    env: {
        API_KEY: SECRETS.client,
        ADMIN_KEY: SECRETS.admin,
        CARPOOL_AUTH_REQUIRED: 'off',
        CARPOOL_PROVIDER_TIMEOUT_MS: '2500',
        CARPOOL_PROVIDER_MAX_CONCURRENCY: '16',
        CARPOOL_RETRY_ATTEMPTS: String(RETRY_ATTEMPTS),
        CARPOOL_RETRY_CAP_MS: '500',
    },
});

/* The clients of tests/crash, each request at one machine or the other. */
class SpreadLoad extends Load {
    constructor(options) {
        const front = { request: (...args) => requestAt(random.of(machines.all), ...args) };
        super({ stack: front, ...options });
        /* While all that goes wrong is Redis, only these, whose answers can be foretold. */
        this.calm = [
            [30, this.overlapping],
            [10, this.once],
            [14, this.asynchronous],
            [8, this.leaver],
            [14, this.again],
        ];
        /* Whether an answer is given again for another id depends on who was there to tell it. */
        const sure = this.scenarios.filter(([, scenario]) => scenario !== this.echo);
        this.wild = [[20, this.overlapping], ...sure];
        this.scenarios = this.calm;
    }

    /* One machine only. */
    at(machine) {
        return Object.create(this, { stack: { value: { request: (...args) => requestAt(machine, ...args) } } });
    }

    /* One id several times at each machine. */
    async overlapping() {
        const q = this.fresh('both');
        const one = async (machine) => {
            await sleep(this.random.between(0, 1) * this.random.between(0, 400));
            return this.at(machine).insist(q, { isAsync: this.random() < 0.15 });
        };
        await Promise.all(machines.all.flatMap((machine) => Array.from({ length: this.random.between(1, 3) }, () => one(machine))));
    }
}

async function requestAt(machine, ...args) {
    const res = await machine.request(...args);
    return { ...res, machine: 'ab'[machines.all.indexOf(machine)] };
}

const load = new SpreadLoad({ history, random, groups: ['', '', '', SECRETS.client, SECRETS.admin], adminKey: SECRETS.admin, secrets: SECRETS });

/* Now, or just after something that a part is busy with. */
async function strikingMoment() {
    await sleep(random.between(100, 900));
    const moment = random.of(['any', 'asked', 'called', 'answering', 'told']);
    if (moment === 'any') return;
    await Promise.race([once(load.moments, moment), sleep(500)]);
    await sleep(random.between(0, 3));
}

const REDIS_BLOWS = {
    async kill() {
        await machines.redis.kill();
        await sleep(random.between(0, 1500));
        await machines.redis.launch();
    },
    async 'kill twice'() {
        await machines.redis.kill();
        await machines.redis.launch();
        await sleep(random.between(0, 300));
        await machines.redis.kill();
        await sleep(random.between(0, 300));
        await machines.redis.launch();
    },
    async stop() {
        machines.redis.pause();
        await sleep(random.between(50, 3000));
        machines.redis.resume();
    },
    async 'stop and kill'() {
        machines.redis.pause();
        await sleep(random.between(50, 1500));
        await machines.redis.kill();
        await machines.redis.launch();
    },
    async flicker() {
        for (let i = 0; i < 4; i++) {
            machines.redis.pause();
            await sleep(random.between(5, 400));
            machines.redis.resume();
            await sleep(random.between(5, 200));
        }
    },
};

/* Time until this machine answers a fresh prompt, but for stalls of this process. */
async function timeUntilServed(machine, tag) {
    const start = performance.now();
    for (let i = 0; performance.now() - start < 20000 * STRETCH; i++) {
        const name = 'ab'[machines.all.indexOf(machine)];
        const q = { id: `probe-${name}-${tag}-${i}`, group: '', prompt: `probe ${name} ${tag} ${i}`, priority: 'HIGH' };
        const attempt = await load.at(machine).ask(q);
        if (attempt.status === 200) {
            load.told.push(q);
            return performance.now() - start - stalls.since(start);
        }
        await sleep(20);
    }
    throw new Error(`not served within ${20 * STRETCH} s`);
}

/* What happens to a coordinator: nothing, or it is killed before, while or after Redis is. */
async function killCoordinators(whileRedisIsHit) {
    const victims = machines.all.filter(() => random() < 0.5);
    const from = performance.now();
    const delay = random.between(0, 1500);
    const hit = whileRedisIsHit();
    await sleep(delay);
    for (const machine of victims) machine.killCoordinator();
    await hit;
    return { victims, from };
}

async function round(n, isWild) {
    const name = random.of(Object.keys(REDIS_BLOWS));
    await strikingMoment();
    const from = performance.now();
    let victims = [];
    if (isWild) ({ victims } = await killCoordinators(REDIS_BLOWS[name]));
    else await REDIS_BLOWS[name]();
    let times = [];
    try {
        times = await Promise.all(machines.all.map((machine) => timeUntilServed(machine, n)));
    } finally {
        const to = performance.now();
        history.blur({ from, to: to + BLUR_MS });
        for (const machine of victims) history.outage({ part: `coordinator ${'ab'[machines.all.indexOf(machine)]}`, from, to });
    }
    const killed = victims.map((machine) => 'ab'[machines.all.indexOf(machine)]).join('');
    console.log(
        `round ${n}/${ROUNDS}  ${name.padEnd(14)} ${(killed && `coordinator ${killed}`).padEnd(15)} served again after ${times.map((ms) => ms.toFixed(0).padStart(5)).join(' ')} ms  ${history.attempts.length} requests, ${load.told.length} answers`,
    );
    return Math.max(...times);
}

/* Everything accepted has come to an end, and nothing runs. */
async function settle() {
    await inParallel(load.promised.length, 16, async (i) => {
        const q = load.promised[i];
        await until(
            `${q.id} ends`,
            async () => ['done', 'failed', 'unknown', 'gone', 'missing'].includes((await load.fetch(q, { waitS: 2 })).word.state),
            20000,
        );
    });
    await until('the provider is idle', () => machines.fake.running === 0, 10000);
    await machines.allShare();
}

/* In the end both machines say the same of every id, the answer where one was told. */
async function askBothAgain() {
    const faults = [];
    const asked = new Map();
    for (const { unit, id, prompt, word } of history.attempts) {
        if (!id || prompt === undefined || !['done', 'unknown'].includes(word.state) || asked.get(unit)?.isTold) continue;
        const isTold = word.state === 'done' && !id.startsWith('deleted');
        asked.set(unit, { q: { id, group: unit.group, prompt, priority: priorityOf(prompt) }, isTold, family: unit.family });
    }
    const list = [...asked.values()];
    await inParallel(list.length, 16, async (i) => {
        const { q, isTold, family } = list[i];
        const ends = [];
        for (const machine of machines.all) {
            const at = load.at(machine);
            const options = { mustSucceed: isTold || undefined };
            ends.push(await (family === 'openai' ? at.listen(q, options) : at.ask(q, options)));
        }
        const [a, b] = ends;
        if (a.status !== b.status || (a.status === 200 && a.text !== b.text))
            faults.push(`${q.id}: in the end A says ${a.status} ${a.text}, B ${b.status} ${b.text}`);
    });
    return { n: list.length, faults };
}
const priorityOf = (prompt) => [...prompt.matchAll(/ (HIGH|MEDIUM|LOW)(?= |$)/g)].at(-1)?.[1] ?? 'HIGH';

/* While the provider answers well and only Redis goes away, these are the words there are. */
function strictWords(attempts) {
    const faults = [];
    for (const a of attempts) {
        if (a.gone || a.isRead) continue;
        const isLate = a.status === 504 && a.end - a.start > a.deadlineMs - 1000;
        if (![200, 202, 424, 503].includes(a.status) && !isLate) faults.push(`told neither 200, 424 nor 503: ${a}`);
    }
    return faults.slice(0, 20);
}

function lookForSecrets() {
    const onDisk = machines.redis.onDisk();
    for (const { name, text } of history.secrets) {
        if (onDisk.includes(text)) history.addLeaks([{ secret: name, where: 'the files of Redis' }]);
        for (const machine of machines.all)
            history.addLeaks(machine.filesWith(text).filter((file) => file !== 's/provider.key').map((where) => ({ secret: name, where })));
    }
}

const percentile = (sorted, p) => sorted[Math.max(0, Math.ceil((p / 100) * sorted.length) - 1)];

function tally(list) {
    const counts = {};
    for (const word of list) counts[word] = (counts[word] ?? 0) + 1;
    return Object.entries(counts).sort().map(([word, n]) => `${word} ${n}`).join(', ');
}

/* A load that does not do what it is for proves nothing. */
function coverage() {
    const units = [...history.units];
    const bothTold = (u) => new Set(u.attempts.filter((a) => a.word.state === 'done').map((a) => a.machine)).size === 2;
    const n = {
        'answer told by both machines': units.filter(bothTold).length,
        503: history.attempts.filter((a) => a.status === 503).length,
        replay: history.attempts.filter((a) => a.replayed).length,
        202: history.attempts.filter((a) => a.status === 202).length,
        'id sent to both machines at the same time': units.filter((u) =>
            u.attempts.some((x) => u.attempts.some((y) => x.machine !== y.machine && x.start < y.end && y.start < x.end)),
        ).length,
    };
    console.log(`coverage: ${Object.entries(n).map(([what, count]) => `${what} ${count}`).join(', ')}`);
    return Object.entries(n).filter(([, count]) => !count).map(([what]) => `no ${what} in the whole run`);
}

const quickProvider = () => ({ do: 'ok', ms: random.weighted([[8, random.between(1, 120)], [1, random.between(200, 1500)]]) });

async function main() {
    console.log(`machines: ${ROUNDS} rounds, SEED=${SEED}`);
    const faults = [];
    await machines.start();
    stalls.watch();
    machines.fake.reset(); /* what woke the coordinators */
    const wildProvider = misbehave(random, load.moments);
    let isWild = false;
    machines.fake.when(
        () => true,
        (call) => {
            if (isWild) return wildProvider(call);
            load.moments.emit('called');
            return quickProvider();
        },
    );
    load.start(LANES);
    const start = performance.now();
    const times = [];
    try {
        for (let n = 1; n <= ROUNDS; n++) {
            if (!isWild && n > ROUNDS * 0.6) {
                faults.push(...strictWords(history.attempts.filter((a) => a.end)));
                isWild = true;
                load.scenarios = load.wild;
            }
            times.push(await round(n, isWild));
        }
    } catch (e) {
        faults.push(`round ${times.length + 1}: ${e.message}`);
    }
    const seconds = (performance.now() - start) / 1000;
    isWild = false;
    await load.stop();
    let ends = { n: 0, faults: [] };
    try {
        await settle();
        await sleep(BLUR_MS); /* from now on nothing is excused any more */
        ends = await askBothAgain();
    } catch (e) {
        faults.push(e.message);
    }
    faults.push(...ends.faults.slice(0, 10));

    history.addCalls(machines.fake.calls);
    history.readStore(machines.all.map((machine) => machine.storage));
    lookForSecrets();
    const violations = history.check();
    if (ROUNDS >= 10) faults.push(...coverage());
    const sorted = [...times].sort((a, b) => a - b);
    console.log(`clients: ${tally(history.attempts.map((a) => (a.gone ? 'left' : a.error ? 'broke' : a.status)))}`);
    console.log(`provider: ${machines.fake.calls.length} calls; prompts ${tally(history.dispatches.map((d) => d.outcome))}`);
    console.log(`served again: p50 ${percentile(sorted, 50)?.toFixed(0)} ms, at most ${sorted.at(-1)?.toFixed(0)} ms; ${seconds.toFixed(0)} s; ${ends.n} ids asked of both in the end; this process itself hung ${stalls.longestMs.toFixed(0)} ms at most`);
    if (!(sorted.at(-1) <= BACK_MS * STRETCH)) faults.push(`served again after ${sorted.at(-1)?.toFixed(0)} ms, ${BACK_MS * STRETCH} are allowed`);
    if (violations.length) faults.push(`${violations.length} violations:\n${report(violations)}`);
    if (faults.length) console.log(machines.logs());
    try {
        await machines.stop();
    } catch (e) {
        faults.push(e.message);
    }
    if (!faults.length) return console.log(`machines: ${ROUNDS} rounds, 0 violations`);
    console.log(`\n${faults.join('\n')}\n\nmachines: failed; to run it again: make machines ROUNDS=${ROUNDS} SEED=${SEED}`);
    process.exitCode = 1;
}

main().catch((e) => {
    console.error(e);
    process.exit(1);
});
