'use strict';
/*
 * make powercut: the power fails, again and again, under load. All processes are killed, and the files get one of
 * the states that a disk may have then (disk.js, from the journal of powercut.c); then carpool starts again. What
 * was told before must be there, nothing may be bought twice, and it must start at all. Needs no root.
 *
 *   ROUNDS=30 SEED=7 node tests/crash/powercut.js
 *   KEYS=0      no provider keys are put meanwhile (many: more often)
 */
const { once } = require('node:events');
const fs = require('node:fs');
const path = require('node:path');
const { performance } = require('node:perf_hooks');
const { Stack, inParallel, sleep, until, freePort, BUILD, PROVIDER_KEY } = require('../integration/harness');
const { FakeProvider } = require('../integration/fake_provider');
const { Client } = require('../integration/http_client');
const { Disk, putBack } = require('./disk');
const { History, report } = require('./history');
const { Load, randomFrom } = require('./load');
const { misbehave } = require('./misbehave');
const { killAll } = require('./processes');
const { SEED } = require('../seed');

const ROUNDS = Number(process.env.ROUNDS || 30);
const LANES = 12;
/* The longest time between two keys that are put. */
const KEYS_MS = { 0: Infinity, many: 40 }[process.env.KEYS] ?? 400;

const SECRETS = { body: 'sk-canary-brought-by-caller-1', stray: 'canary-stray-api-key-1', put: 'sk-canary-cut-key-' };

class PowerCuts {
    constructor() {
        this.random = randomFrom(SEED); /* when the power fails; what is found then has a seed of its own each */
        this.history = new History({
            secrets: [['provider', PROVIDER_KEY], ...Object.entries(SECRETS)].map(([name, text]) => ({ name, text })),
        });
        this.stack = new Stack({
            provider: 'openai',
            env: {
                LD_PRELOAD: path.join(BUILD, 'crash', 'powercut.so'),
                CARPOOL_COORDINATOR_SANDBOX: 'off', /* the journal lies outside of what Landlock leaves */
                CARPOOL_WORKER_PROCESSES: '1',
                CARPOOL_WORKER_THREADS: '32',
                CARPOOL_CACHE_MODE: 'exact',
                CARPOOL_BATCH_HIGH_WINDOW_MS: '10',
                CARPOOL_BATCH_MEDIUM_WINDOW_MS: '20',
                CARPOOL_BATCH_LOW_WINDOW_MS: '40',
                CARPOOL_PROVIDER_TIMEOUT_MS: '2500',
                CARPOOL_PROVIDER_MAX_CONCURRENCY: '16',
            },
        });
        this.journal = path.join(this.stack.dir, 'journal');
        this.stack.options.env.POWERCUT_JOURNAL = this.journal;
        this.keys = { told: -1, asked: -1 }; /* numbers of the provider keys that were put */
        this.cuts = this.syncs = 0;
        this.faults = [];
    }

    async run() {
        const { stack, history } = this;
        const random = randomFrom(SEED + 1);
        stack.fake = await FakeProvider.start();
        stack.port = await freePort();
        stack.client = new Client(stack.port);
        this.load = new Load({ stack, history, random, groups: [''], adminKey: '', secrets: SECRETS });
        stack.fake.when(() => true, misbehave(random, this.load.moments));
        this.load.scenarios = this.load.scenarios.filter(([, scenario]) => scenario !== this.load.settings);
        this.outageBegins();
        this.load.start(LANES);
        const keys = this.putKeys();
        try {
            await this.start(0);
            for (let n = 1; n <= ROUNDS && !this.faults.length; n++) await this.round(n);
        } catch (e) {
            this.faults.push(`${e.message}\n${stack.logs()}`);
        } finally {
            this.stopped = true;
            await this.load.stop();
            await keys;
        }
    }

    /* Provider keys, one after the other, each another. */
    async putKeys() {
        const { stack, keys } = this;
        const random = randomFrom(SEED + 2);
        while (!this.stopped && KEYS_MS < Infinity) {
            await sleep(random.between(5, KEYS_MS));
            keys.asked++;
            const body = { provider: 'openai', api_key: `${SECRETS.put}${keys.asked}` };
            const n = keys.asked;
            const res = await stack.put('/v1/settings', body, { check: false, fresh: true }).catch(() => null);
            if (res?.status === 200) keys.told = n;
        }
    }

    /* Some time under load, then a cut, at any moment or just after a call, an answer. */
    async round(n) {
        const { random } = this;
        await sleep(random.between(20, 500));
        const moment = random.of([null, 'called', 'answering', 'told']);
        if (moment) await Promise.race([once(this.load.moments, moment), sleep(500)]);
        await this.cut();
        await this.start(n);
    }

    /* Power is back. It may fail again while carpool starts, the first start of all included. */
    async start(n) {
        const { stack, random } = this;
        while (random() < 0.4) {
            this.beginJournal();
            await stack.launch();
            await sleep(random.between(0, 150));
            await this.cut();
        }
        this.beginJournal();
        await stack.start();
        await this.probe(n);
        this.outage.to = performance.now();
        this.outage = null;
    }

    outageBegins() {
        this.outage = { part: 'everything', from: performance.now(), to: Infinity, front: true };
        this.history.outages.push(this.outage);
    }

    beginJournal() {
        this.disk = new Disk(this.stack.storage);
        fs.rmSync(this.journal, { force: true });
    }

    async cut() {
        const { stack } = this;
        if (!this.outage) this.outageBegins();
        await killAll(stack);
        if (fs.existsSync(this.journal)) this.disk.read(fs.readFileSync(this.journal));
        this.syncs += this.disk.syncs;
        this.cuts++;
        const data = path.join(stack.storage, 'data.mdb');
        if (fs.existsSync(data) && !this.disk.explains('data.mdb', fs.readFileSync(data)))
            this.faults.push('data.mdb was written in a way that powercut.c does not see');
        putBack(stack.storage, this.disk.cut(randomFrom(SEED * 1000 + this.cuts)));
    }

    /* Serves, and with a provider key that was not taken back. */
    async probe(n) {
        const { told } = this.keys;
        const end = performance.now() + 20000;
        for (let i = 0; ; i++) {
            const q = { id: `probe-${n}-${i}`, group: '', prompt: `probe ${n} ${i}`, priority: 'HIGH' };
            const attempt = await this.load.ask(q);
            if (attempt.word.state === 'done') {
                this.load.told.push(q);
                const used = this.stack.fake.callsWith(q.prompt)[0].headers.authorization;
                const number = used.includes(SECRETS.put) ? Number(used.split(SECRETS.put)[1]) : -1;
                if (number < told) this.faults.push(`round ${n}: key ${told} was told to be saved, ${number} is in use`);
                return;
            }
            if (performance.now() > end) throw new Error(`round ${n}: not served again within 20 s`);
            await sleep(20);
        }
    }

    async verdict() {
        const { stack, history, load } = this;
        const over = ['done', 'failed', 'unknown', 'missing'];
        await inParallel(load.promised.length, 16, async (i) => {
            const q = load.promised[i];
            for (let n = 0; n < 10; n++) if (over.includes((await load.fetch(q, { waitS: 2 })).word.state)) return;
            this.faults.push(`${q.id} was accepted and has come to no end`);
        });
        const replays = [...load.replays()];
        await inParallel(replays.length, 16, (i) => replays[i]());
        await until('the provider is idle', () => stack.fake.running === 0, 10000);
        history.addCalls(stack.fake.calls);
        history.readStore(stack.storage);
        const violations = history.check();
        if (violations.length) this.faults.push(`${violations.length} violations:\n${report(violations)}`);
        /* A cut that had nothing to lose proves nothing. */
        if (ROUNDS >= 10) {
            if (this.syncs < ROUNDS) this.faults.push(`only ${this.syncs} syncs are in the journals`);
            if (load.told.length < 5 * ROUNDS) this.faults.push(`only ${load.told.length} answers were told`);
            if (this.keys.told < 0 && KEYS_MS < Infinity) this.faults.push('no provider key was saved');
        }
    }
}

async function main() {
    console.log(`powercut: ${ROUNDS} rounds, SEED=${SEED}`);
    const started = performance.now();
    const cuts = new PowerCuts();
    try {
        await cuts.run();
        if (!cuts.faults.length) await cuts.verdict();
    } catch (e) {
        cuts.faults.push(`${e.stack}\n${cuts.stack.logs()}`);
    }
    fs.rmSync(cuts.journal, { force: true }); /* it holds the keys */
    await killAll(cuts.stack);
    await cuts.stack.stop({ checks: !cuts.faults.length }).catch((e) => cuts.faults.push(e.message));
    const seconds = ((performance.now() - started) / 1000).toFixed(0);
    console.log(`${cuts.cuts} cuts, ${cuts.load?.told.length} answers told, ${cuts.keys.told + 1} keys saved, ${cuts.syncs} syncs, ${seconds} s`);
    if (cuts.faults.length)
        console.log(`${cuts.faults.join('\n')}\nto run it again: make powercut ROUNDS=${ROUNDS} SEED=${SEED}`);
    console.log(`${cuts.faults.length ? 0 : ROUNDS} passed, ${cuts.faults.length ? 1 : 0} failed`);
    process.exit(cuts.faults.length ? 1 : 0);
}

main();
