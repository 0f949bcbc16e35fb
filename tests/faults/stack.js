'use strict';
/*
 * What the fault tests share: a whole carpool (the harness of the integration tests) whose programs can be
 * started under libraries that make system calls fail or clocks lie, clients that go on asking meanwhile, and the
 * check of everything they were told against the provider's calls and the store.
 */
const assert = require('node:assert/strict');
const { execFile, spawnSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { performance } = require('node:perf_hooks');
const nodeTest = require('node:test');
const { promisify } = require('node:util');
const { Stack, until, sleep, inParallel, BUILD, STRETCH } = require('../integration/harness');

const run = promisify(execFile);

/* What is switched off must be forgotten within this time. */
const RECOVERY_MS = 5000 * STRETCH;

const FIU = ['/usr/lib/fiu/fiu_run_preload.so', '/usr/lib/fiu/fiu_posix_preload.so', `${BUILD}/faults/accept4.so`];

class FaultStack extends Stack {
    /*
     * As Stack, and: fiu: the programs run under libfiu; preload: other libraries and their environment
     * {LD_PRELOAD, …}; disk: what mountTmpfs() gave, for the store or, with on: 'logs', for the logs.
     */
    constructor(options = {}) {
        super({ provider: 'openai', ...options });
        this.logDir = path.join(this.dir, 'logs');
        if (options.disk && options.on === 'logs') this.logDir = path.join(options.disk.dir, 'logs');
        else if (options.disk) this.storage = path.join(options.disk.dir, 's');
    }

    logFiles() {
        const inside = fs.existsSync(this.logDir) ? fs.readdirSync(this.logDir) : [];
        return [path.join(this.dir, 'front.log'), ...inside.map((name) => path.join(this.logDir, name))];
    }

    /* The libraries go into the workers and what these start; lighttpd itself and its shell stay as they are. */
    environment() {
        const { fiu, preload } = this.options;
        const env = { CARPOOL_BATCH_HIGH_WINDOW_MS: '20', CARPOOL_LOG_DIR: this.logDir, ...super.environment() };
        const into = fiu ? { LD_PRELOAD: FIU.join(' '), FIU_CTRL_FIFO: `${this.dir}/fiu` } : preload;
        if (!into) return env;
        const dir = path.join(this.dir, 'programs');
        fs.mkdirSync(dir, { recursive: true });
        const words = Object.entries(into).map(([name, value]) => `'${name}=${value}'`);
        fs.writeFileSync(
            path.join(dir, 'carpool.fcgi'),
            `#!/bin/sh\nexec env ${words.join(' ')} '${BUILD}/carpool.fcgi' "$@"\n`,
            { mode: 0o755 },
        );
        /* These libraries open files of their own all the time, and are told what to do by programs outside. */
        return { ...env, CARPOOL_BUILD: dir, CARPOOL_COORDINATOR_SANDBOX: 'off' };
    }

    /* Also ends the loads that a failed test has left running. */
    async stop(options) {
        for (const load of this.loads ?? []) load.running = false;
        await super.stop(options);
    }

    /* part: 'coordinator', 'workers' (those that serve) or 'parents' (those that start them). */
    pids(part) {
        if (part === 'coordinator') return [this.coordinatorPid()].filter(Boolean);
        const pools = ['prompt', 'manage'].map((pool) => this.workers(pool));
        if (part === 'parents') return pools.map((pool) => pool.parent?.pid).filter(Boolean);
        return pools.flatMap((pool) => pool.children.map((p) => p.pid));
    }

    /* Sends libfiu commands to a part. A process that has gone meanwhile is no matter. */
    async fiu(part, ...commands) {
        const words = commands.flatMap((command) => ['-c', command]);
        await Promise.all(
            this.pids(part).map((pid) =>
                run('timeout', ['10', 'fiu-ctrl', '-f', `${this.dir}/fiu`, ...words, String(pid)]).catch((e) => {
                    if (this.pids(part).includes(pid)) throw e;
                }),
            ),
        );
    }

    /* Waits until a prompt, the management pages and /health are what they are on a good day. Gives the time. */
    async untilWell(what, limitMs = RECOVERY_MS) {
        const start = performance.now();
        let last = '';
        const options = { fresh: true, check: false, timeoutMs: 2000 * STRETCH };
        for (let i = 0; ; i++) {
            try {
                const asked = await this.ask(`well? ${what} ${i}`, { priority: 'HIGH' }, options);
                const health = await this.get('/health', options);
                const chats = await this.get('/v1/chat?limit=1', options);
                last = `${asked.status} ${asked.text}, ${health.text}, ${chats.status}`;
                if (asked.status === 200 && health.json?.status === 'ok' && chats.status === 200)
                    return performance.now() - start;
            } catch (e) {
                last = e.message;
            }
            if (performance.now() - start > limitMs)
                throw new Error(`not well ${limitMs} ms after ${what}: ${last}\n${this.logs()}`);
            await sleep(50);
        }
    }
}

/* Statuses a prompt may meet while something is broken; 424 only when its answer was cut off on the way. */
const ALLOWED = new Set([200, 502, 503, 504, 424]);

/*
 * Clients that ask without pause. Each asks under an id of its own until it is answered or told that the outcome
 * is unknown: a refusal is followed by the same request again, as an honest client does.
 */
class Load {
    constructor(stack, tag, { lanes = 6, allowed = ALLOWED, pauseMs = 40, size = 0, server = false } = {}) {
        Object.assign(this, { stack, tag, allowed, pauseMs, server });
        this.filling = 'x'.repeat(size);
        this.told = new Map(); /* id -> body of a 200 */
        this.statuses = new Map(); /* status -> how often */
        this.faults = [];
        this.running = true;
        this.readsDone = { ok: 0, failed: [] };
        this.n = 0;
        this.lanes = Array.from({ length: lanes }, () => this.#lane());
        this.reads = this.#reads();
        (stack.loads ??= []).push(this);
    }

    #count(status) {
        this.statuses.set(status, (this.statuses.get(status) ?? 0) + 1);
    }

    prompt(id) {
        return `prompt of ${id} ${this.filling}`.trim();
    }

    async #lane() {
        while (this.running) {
            const id = `${this.tag}-${this.n++}`;
            for (let attempt = 0; this.running || attempt === 0; attempt++) {
                const res = await this.#ask(id);
                await sleep(res === 'over' ? 10 : this.pauseMs);
                if (res === 'over') break;
            }
        }
    }

    async #ask(id) {
        const body = { request_id: id, prompt: this.prompt(id), priority: 'HIGH' };
        let res;
        try {
            res = await this.stack.post('/v1/query', body, { fresh: true, check: false, timeoutMs: 40000 * STRETCH });
        } catch (e) {
            this.#count('broken');
            if (!this.allowed.has('broken')) this.faults.push(`${id}: ${e.message}`);
            return 'again';
        }
        this.#count(res.status);
        if (!this.allowed.has(res.status)) this.faults.push(`${id}: ${res.status} ${res.text.slice(0, 300)}`);
        if (res.status === 200) {
            if (res.json.text !== `Answer to: ${this.prompt(id)}`) this.faults.push(`${id}: foreign ${res.text}`);
            this.told.set(id, res.json);
            return 'over';
        }
        if (res.status === 503 && !res.headers['retry-after'] && !this.server)
            this.faults.push(`${id}: 503 without Retry-After ${res.text}`);
        if (!res.json?.error?.message) this.faults.push(`${id}: ${res.status} without a sentence: ${res.text}`);
        return res.status === 424 ? 'over' : 'again';
    }

    /* Reading goes on whatever happens to prompts: settings, chats, a replay and the state of a request. */
    async #reads() {
        for (let i = 0; this.running; i++) {
            const id = [...this.told.keys()].at(-1);
            const targets = ['/v1/settings', '/v1/chat?limit=3', '/v1/analytics'];
            if (id) targets.push(`/v1/requests/${id}`);
            await this.#read(targets[i % targets.length]);
            if (id && i % 4 === 0) await this.#replay(id);
            await sleep(this.pauseMs);
        }
    }

    async #read(target) {
        try {
            const res = await this.stack.get(target, { fresh: true, check: false, timeoutMs: 5000 * STRETCH });
            if (res.status === 200) this.readsDone.ok++;
            else this.readsDone.failed.push(`${target}: ${res.status} ${res.text.slice(0, 200)}`);
        } catch (e) {
            this.readsDone.failed.push(`${target}: ${e.message}`);
        }
    }

    async #replay(id) {
        const body = { request_id: id, prompt: this.prompt(id), priority: 'HIGH' };
        try {
            const res = await this.stack.post('/v1/query', body, {
                fresh: true,
                check: false,
                timeoutMs: 5000 * STRETCH,
            });
            if (res.status === 200 && res.headers['idempotent-replayed'] === 'true') this.readsDone.ok++;
            else this.readsDone.failed.push(`replay of ${id}: ${res.status} ${res.text.slice(0, 200)}`);
        } catch (e) {
            this.readsDone.failed.push(`replay of ${id}: ${e.message}`);
        }
    }

    /* Reads all chats again and again until stopped; gives how many. */
    async stream() {
        let chats = 0;
        while (this.running) {
            const res = await this.stack.get('/v1/chat', { fresh: true, check: false });
            if (res.status === 200 && res.json) chats += res.json.count;
            else this.readsDone.failed.push(`all chats: ${res.status} ${res.text.slice(-200)}`);
            await sleep(this.pauseMs);
        }
        return chats;
    }

    /* Waits until n more prompts were answered. */
    async more(n, limitMs = 15000) {
        const goal = this.told.size + n;
        await until(`${n} more answers`, () => this.told.size >= goal, limitMs);
    }

    async stop() {
        this.running = false;
        await Promise.all([...this.lanes, this.reads]);
        this.stopped = true; /* nothing is under way any more */
    }

    summary() {
        const statuses = [...this.statuses].sort().map(([status, n]) => `${n} x ${status}`);
        return `${this.told.size} told; ${statuses.join(', ')}; reads ${this.readsDone.ok} ok, ${this.readsDone.failed.length} not`;
    }

    /* After stop(), with everything well again: nothing told is lost, nothing bought twice. */
    async verify() {
        assert.deepEqual(this.faults.slice(0, 5), [], `${this.faults.length} faults`);
        const ids = [...this.told.keys()];
        for (const id of ids) {
            const res = await this.stack.get(`/v1/requests/${id}`, { check: false });
            assert.equal(res.json?.status, 'done', `${id}: ${res.text}`);
            assert.deepEqual(res.json.response, this.told.get(id), id);
        }
        const bought = this.stack.fake.prompts.filter((p) => p.startsWith(`prompt of ${this.tag}-`));
        const twice = bought.filter((p, i) => bought.indexOf(p) !== i);
        assert.deepEqual(twice, [], 'bought twice');
        const stored = new Map();
        for (let cursor = ''; cursor !== null; ) {
            const { json } = await this.stack.get(`/v1/chat?limit=500${cursor && `&cursor=${cursor}`}`);
            for (const c of json.chats) stored.set(c.request.request_id, (stored.get(c.request.request_id) ?? 0) + 1);
            cursor = json.next_cursor ?? null;
        }
        for (const id of ids) assert.equal(stored.get(id), 1, `${id} is among the chats once`);
    }
}

/* A tmpfs of its own for a test, or null where nobody may mount one. tests/faults/run gives us our own mounts. */
function mountTmpfs(megabytes) {
    const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'cp-fs-'));
    const { status } = spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${megabytes}m,mode=700`, 'carpool-faults', dir]);
    if (status === 0) {
        const remove = () => {
            const { status: failed } = spawnSync('umount', [dir]);
            if (failed) spawnSync('umount', ['-l', dir]);
            fs.rmSync(dir, { recursive: true, force: true });
        };
        return { dir, remove };
    }
    fs.rmdirSync(dir);
    return null;
}

/* Registers a stack for the tests of the surrounding describe; s.stack is there from before the first of them. */
function useFaultStack(options) {
    const s = {
        test(name, body, more = {}) {
            nodeTest.test(name, { timeout: 90000 * STRETCH, ...more }, async (t) => {
                try {
                    await body(t, s.stack);
                } catch (e) {
                    for (const line of s.stack?.logs().split('\n') ?? []) t.diagnostic(line);
                    throw e;
                }
            });
        },
    };
    nodeTest.before(async () => {
        s.stack = await FaultStack.start(typeof options === 'function' ? options() : options);
    });
    nodeTest.after(async () => {
        await s.stack?.stop();
    });
    return s;
}

module.exports = {
    FaultStack,
    Load,
    useFaultStack,
    mountTmpfs,
    until,
    sleep,
    inParallel,
    RECOVERY_MS,
    STRETCH,
};
