'use strict';
/*
 * Several machines for a test: as many whole carpools (harness.js), each with a storage directory of its own, one
 * redis-server between them, and one fake provider that they all pay, so that calls are counted over all.
 *
 *   const m = useMachines({ onLoss: 'refuse' });
 *   m.test('…', async () => { await m.a.ask('prompt', { request_id: 'x' }); await m.redis.kill(); … });
 *
 * A request that a test sends while parts are away goes through settled(), which never rejects.
 */
const assert = require('node:assert/strict');
const nodeTest = require('node:test');
const { FakeProvider } = require('../integration/fake_provider');
const { Stack, until, sleep, isAlive, STRETCH } = require('../integration/harness');
const { killAll } = require('../crash/processes');
const { Redis } = require('./redis');

/* A machine that says nothing for so long counts as dead for the others, and a little more. */
const DEAD_MS = 10000;
/* How soon after Redis is there again everything is shared again. */
const BACK_MS = 6000;

/* What /health shows may be a quarter of a second old. */
const HEALTH_KEPT_MS = 300;

const ENV = {
    CARPOOL_BATCH_HIGH_WINDOW_MS: '20',
    CARPOOL_BATCH_MEDIUM_WINDOW_MS: '40',
    CARPOOL_BATCH_LOW_WINDOW_MS: '80',
    CARPOOL_WORKER_PROCESSES: '1',
    CARPOOL_WORKER_THREADS: '160',
};

/* A machine of a group: its provider belongs to all. */
class Machine extends Stack {
    /* Everything of it dies at once, as when its power fails. */
    async die() {
        this.dead = true;
        this.frozen = null;
        await killAll(this);
    }
    /* It comes back with the disk it had. */
    async revive() {
        this.client?.close();
        this.client = null;
        await this.start();
        this.dead = false;
    }
    /* Nothing of it moves, as a virtual machine that is paused. */
    freeze() {
        this.frozen = this.processes().map((p) => p.pid);
        for (const pid of this.frozen) process.kill(pid, 'SIGSTOP');
    }
    thaw() {
        for (const pid of this.frozen ?? []) if (isAlive(pid)) process.kill(pid, 'SIGCONT');
        this.frozen = null;
    }
    killCoordinator() {
        const pid = this.coordinatorPid();
        if (pid) process.kill(pid, 'SIGKILL');
        return pid;
    }
    /* What /health says of Redis, with the status of the whole. */
    async standing() {
        const { status, json } = await this.get('/health', { check: false });
        return { http: status, whole: json?.status, ...json?.dependencies?.redis };
    }
    stands(what, probe, timeoutMs = BACK_MS) {
        let last;
        return until(
            what,
            async () => {
                last = await this.standing();
                if (probe(last)) return last;
                throw new Error(JSON.stringify(last));
            },
            timeoutMs,
        );
    }
    /* Until /health says this of Redis, for that reason; with HTTP 200 in any case. */
    async says(status, reason, timeoutMs) {
        await sleep(HEALTH_KEPT_MS);
        const what = `Redis is ${status}${reason ? `, ${reason}` : ''}`;
        const s = await this.stands(what, (t) => t.status === status && (!reason || reason.test(t.reason ?? '')), timeoutMs);
        assert.equal(s.http, 200, 'prompts may still be served');
        if (status === 'down') assert.equal(s.whole, 'degraded');
        return s;
    }
    stop(options) {
        this.thaw();
        return super.stop(options);
    }
}

class Machines {
    /*
     * n: how many (2); onLoss: redis.on_loss (refuse); redis: options of Redis; lateRedis: it is not started; share: false
     * does not wait until all have it; env: more environment of all, or (number, machines) => of one; url: (machines) =>
     * what to call Redis by; key: an API key that may ask prompts; provider, conf: as for Stack.
     */
    constructor(options = {}) {
        this.options = options;
        this.woken = 0; /* prompts answered for that */
    }

    static async start(options) {
        const machines = new this(options);
        try {
            await machines.start();
        } catch (e) {
            await machines.stop({ checks: false }).catch(() => {});
            throw e;
        }
        return machines;
    }

    async start() {
        const { n = 2, redis = {}, lateRedis = false, share = !lateRedis, provider = 'openai', conf } = this.options;
        this.fake = await FakeProvider.start();
        this.redis = new Redis(redis);
        await this.redis.reserve();
        if (!lateRedis) await this.redis.launch();
        this.all = [];
        for (let i = 0; i < n; i++) this.all.push(new Machine({ provider, conf, ready: ['ok', 'degraded'], env: this.#environment(i) }));
        [this.a, this.b, this.c] = this.all;
        for (const machine of this.all) machine.fake = this.fake;
        await Promise.all(this.all.map((machine) => machine.start()));
        if (share) await this.allShare();
    }

    #environment(i) {
        const { onLoss = 'refuse', env = {}, url = (m) => m.redis.url() } = this.options;
        return {
            ...ENV,
            CARPOOL_REDIS_ENABLED: 'on',
            CARPOOL_REDIS_URL: url(this),
            CARPOOL_REDIS_ON_LOSS: onLoss,
            ...(typeof env === 'function' ? env(i, this) : env),
        };
    }

    /* Every coordinator runs and has Redis. */
    async allShare(timeoutMs = BACK_MS) {
        await sleep(HEALTH_KEPT_MS);
        await Promise.all(
            this.all.filter((machine) => !machine.dead && !machine.frozen).map(async (machine) => {
                if (!machine.coordinatorPid()) await this.wake(machine);
                await machine.stands('it has Redis', (s) => s.status === 'ok', timeoutMs);
            }),
        );
    }

    /* Its coordinator starts with the first prompt. */
    async wake(machine) {
        const { key } = this.options;
        const headers = key ? { 'X-API-Key': key } : {};
        const res = await settled(machine.ask('wakes the coordinator', {}, { check: false, headers }));
        if (res.status === 200) this.woken++;
    }

    /* Between two tests: whatever the last one left, all are there and share. */
    async mend() {
        this.redis.resume();
        if (!isAlive(this.redis.process?.pid ?? -1)) await this.redis.launch();
        for (const machine of this.all) {
            machine.thaw();
            if (machine.dead) await machine.revive();
        }
        await this.allShare();
        this.fake.reset();
    }

    logs() {
        return (this.all ?? []).map((machine, i) => `machine ${'abc'[i]}\n${machine.logs()}`).join('\n');
    }

    async stop({ checks = true } = {}) {
        const faults = [];
        this.redis?.resume();
        for (const machine of this.all ?? []) {
            if (machine !== this.all.at(-1)) machine.fake = null;
            await machine.stop({ checks }).catch((e) => faults.push(e.message));
        }
        if (!this.all?.length) await this.fake?.close();
        await this.redis?.stop();
        assert.deepEqual(faults, []);
    }
}

/* The response, or {status: 0} when the connection broke. */
function settled(promise) {
    return promise.then(
        (res) => res,
        (e) => ({ status: 0, text: e.message, headers: {} }),
    );
}

/* As useStack of the harness: machines that live as long as the tests of the file or describe. */
function useMachines(options = {}) {
    const m = {
        test(name, body) {
            nodeTest.test(name, { timeout: 120000 * STRETCH }, async (t) => {
                await m.machines.mend();
                try {
                    await body(t, m.machines);
                } catch (e) {
                    for (const line of m.machines.logs().split('\n')) t.diagnostic(line);
                    throw e;
                }
            });
        },
    };
    nodeTest.before(async () => {
        m.machines = await Machines.start(options);
    });
    nodeTest.after(async () => {
        await m.machines?.stop();
    });
    return new Proxy(m, {
        get(target, name) {
            if (name in target) return target[name];
            const value = target.machines?.[name];
            return typeof value === 'function' ? value.bind(target.machines) : value;
        },
    });
}

/* How often the provider was asked this. */
const timesPaid = (fake, prompt) => fake.prompts.filter((p) => p === prompt).length;

module.exports = { Machines, Machine, useMachines, settled, timesPaid, sleep, until, STRETCH, DEAD_MS, BACK_MS };
