'use strict';
/*
 * A whole carpool for a test: lighttpd with the repository's configuration, both worker pools and the
 * coordinator, in a temporary directory on a free port, with a fake provider beside it. After the tests
 * everything is stopped as an administrator would stop it, and a process that stays behind, a provider key in
 * a log, or a sanitizer's report fails the test.
 *
 *   BUILD=build/asan     the build tree to test (build/release)
 *   SANITIZED=1          programs are slow: time limits stretch
 *   PRISM=1              requests go through prism (tests/prism), whose document knows no base path
 */
const assert = require('node:assert/strict');
const { spawn } = require('node:child_process');
const fs = require('node:fs');
const net = require('node:net');
const os = require('node:os');
const path = require('node:path');
const { performance } = require('node:perf_hooks');
const nodeTest = require('node:test');
const { FakeProvider } = require('./fake_provider');
const { Client, openapi } = require('./http_client');
const { assertError, UUID, RFC3339_MS } = require('./expect');
const { findProcesses, isAlive } = require('./processes');

const ROOT = path.join(__dirname, '..', '..');
const BUILD = path.resolve(ROOT, process.env.BUILD || process.env.CARPOOL_BUILD || 'build/release');
const STRETCH = process.env.SANITIZED ? 4 : 1;
const PROVIDER_KEY = 'sk-integration-canary-key-7f3a';

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/* Waits until probe() gives something true and returns that; the last error is the reason when it never does. */
async function until(what, probe, timeoutMs = 5000) {
    const end = performance.now() + timeoutMs * STRETCH;
    for (;;) {
        let reason = '';
        try {
            const value = await probe();
            if (value) return value;
        } catch (e) {
            if (e.final) throw e;
            reason = `: ${e.message}`;
        }
        if (performance.now() > end) throw new Error(`${what}: not within ${timeoutMs * STRETCH} ms${reason}`);
        await sleep(10);
    }
}

/* Waits until the other end has read all that this socket has written. */
async function untilRead({ localPort, remotePort }) {
    const at = (port) => `0100007F:${port.toString(16).toUpperCase().padStart(4, '0')}`;
    const there = new RegExp(`: ${at(remotePort)} ${at(localPort)} 01 [0-9A-F]{8}:([0-9A-F]{8}) `);
    await until('it is read', () => there.exec(fs.readFileSync('/proc/net/tcp', 'utf8'))?.[1] === '00000000');
}

/* A port that nobody has now, and that the system gives to nobody who asks for any: those begin at 32768. */
async function freePort() {
    for (;;) {
        const port = 20000 + Math.floor(Math.random() * 12000);
        const free = await new Promise((resolve, reject) => {
            const server = net.createServer();
            server.on('error', (e) => (e.code === 'EADDRINUSE' ? resolve(false) : reject(e)));
            server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
        });
        if (free) return port;
    }
}

/* The environment of this process without anything that would configure carpool. */
function cleanEnvironment() {
    const ours =
        /^(CARPOOL_|LLM_|GEMINI_|OPENAI_|REDIS_|KAFKA_|HOSTING_|LIGHTTPD_|NODE_)|_API_KEY(_FILE)?$|^(API_KEY|ADMIN_KEY|HOST|PORT|BUILD|MAKEFLAGS|MFLAGS|MAKELEVEL)$|_proxy$/i;
    const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !ours.test(name)));
    return { ...env, PATH: `${env.PATH}:/usr/sbin:/sbin` };
}

/* Should the test process itself be ended early, nothing of it stays behind. */
const running = new Set();
process.on('exit', () => {
    for (const stack of running) {
        for (const { pid } of stack.processes()) {
            try {
                process.kill(pid, 'SIGKILL');
            } catch {
                /* gone */
            }
        }
    }
});
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(1));

class Stack {
    /*
     * provider: 'mock' (default), 'openai', 'gemini' or 'model_service' (the fake one); env: more environment; conf: text of
     * carpool.conf; dir: an existing directory to start on again; command: what to run instead of lighttpd; ready: the
     * states of /health in which it counts as started (ok).
     */
    constructor(options = {}) {
        this.options = options;
        this.dir = options.dir ?? fs.mkdtempSync(path.join(os.tmpdir(), 'cp-'));
        this.storage = path.join(this.dir, 's');
        this.secrets = [PROVIDER_KEY];
        this.expectDamage = false;
    }

    static async start(options) {
        const stack = new this(options);
        try {
            await stack.start();
        } catch (e) {
            e.message += `\n${stack.logs()}`;
            await stack.stop({ checks: false }).catch(() => {});
            throw e;
        }
        return stack;
    }

    async start() {
        const { provider = 'mock', ready = ['ok'] } = this.options;
        if (provider !== 'mock' && !this.fake) this.fake = await FakeProvider.start();
        this.port ??= await freePort();
        this.client ??= new Client(this.port);
        await this.launch();
        await until(
            'the service is ready',
            async () => {
                if (this.front.exitCode !== null)
                    throw Object.assign(new Error(`it ended with status ${this.front.exitCode}`), { final: true });
                const health = `${this.options.base ?? ''}/health`;
                return ready.includes((await this.get(health, { check: false, timeoutMs: 2000 })).json?.status);
            },
            10000,
        );
        if (process.env.PRISM && !this.options.base) {
            this.prism ??= await require('../prism/prism').Prism.start(this.port);
            this.client.prismPort = this.prism.port;
        }
        if (this.options.command?.[0].endsWith('etc/run'))
            await until('etc/run has seen it, too', () => this.printed().includes('carpool answers at'), 10000);
    }

    /* What the front program printed since it was launched. */
    printed() {
        return fs.readFileSync(path.join(this.dir, 'front.log')).subarray(this.printedFrom).toString();
    }

    environment() {
        const { provider = 'mock', conf = '', env = {} } = this.options;
        const file = path.join(this.dir, 'carpool.conf');
        fs.writeFileSync(file, conf);
        const report = `log_path=${this.dir}/sanitizer`;
        return {
            ...cleanEnvironment(),
            HOST: '127.0.0.1',
            PORT: String(this.port),
            HOME: this.dir,
            CARPOOL_STORAGE_DIR: this.storage,
            CARPOOL_BUILD: BUILD,
            CARPOOL_CONF: file,
            ASAN_OPTIONS: [process.env.ASAN_OPTIONS, report].filter(Boolean).join(':'),
            TSAN_OPTIONS: [process.env.TSAN_OPTIONS, report].filter(Boolean).join(':'),
            UBSAN_OPTIONS: [process.env.UBSAN_OPTIONS, report, 'print_stacktrace=1'].filter(Boolean).join(':'),
            CARPOOL_PROVIDER_KIND: provider,
            CARPOOL_CACHE_MODE: 'off',
            ...(this.fake && {
                CARPOOL_PROVIDER_BASE_URL: this.fake.baseUrl(provider),
                CARPOOL_PROVIDER_MODEL: 'fake-model',
                CARPOOL_PROVIDER_API_KEY: PROVIDER_KEY,
                CARPOOL_RETRY_BASE_MS: '50',
            }),
            ...env,
        };
    }

    /* stdin: "pipe" for a program that reads from its terminal. */
    async launch({ stdin = 'ignore' } = {}) {
        running.add(this);
        const [program, ...args] = this.options.command ?? ['lighttpd', '-D', '-f', 'lighttpd.conf'];
        const out = fs.openSync(path.join(this.dir, 'front.log'), 'a');
        this.printedFrom = fs.fstatSync(out).size;
        this.front = spawn(program, args, { cwd: ROOT, env: this.environment(), stdio: [stdin, out, out] });
        fs.closeSync(out);
        this.frontExit = new Promise((resolve) => {
            this.front.on('exit', (code, signal) => resolve({ code, signal }));
            this.front.on('error', (e) => resolve({ code: null, signal: e.message }));
        });
    }

    /* Everything that belongs to this instance. */
    processes() {
        return findProcesses('CARPOOL_STORAGE_DIR', this.storage);
    }
    /* The pool's parent, and its children. After a parent's death its children are leaving for a while, and one of them
     * is the parent of the new one, which is no child here as soon as it has children of its own. */
    workers(pool = 'prompt') {
        const all = this.processes().filter((p) => p.name === 'carpool.fcgi' && p.args.includes(`--pool=${pool}`));
        const pids = new Set(all.map((p) => p.pid));
        const parents = new Set(all.map((p) => p.ppid));
        return { parent: all.find((p) => !pids.has(p.ppid)), children: all.filter((p) => pids.has(p.ppid) && !parents.has(p.pid)) };
    }
    coordinatorPid() {
        try {
            const pid = Number.parseInt(fs.readFileSync(path.join(this.storage, 'coordinator.lock'), 'utf8'), 10);
            return pid > 0 && isAlive(pid) ? pid : null;
        } catch {
            return null;
        }
    }

    async stop({ checks = true } = {}) {
        const faults = [];
        this.fake?.release(); /* what a failed test still holds */
        if (this.front && this.front.exitCode === null && this.front.signalCode === null) this.front.kill('SIGTERM');
        if (
            this.front &&
            (await this.#goneWithin(() => this.front.exitCode !== null || this.front.signalCode !== null, 15000))
        )
            faults.push('lighttpd did not stop');
        if (await this.#goneWithin(() => !this.processes().some((p) => p.name === 'carpool.fcgi'), 10000))
            faults.push('workers stayed behind');
        const coordinator = this.coordinatorPid();
        if (coordinator) {
            process.kill(coordinator, 'SIGTERM');
            if (await this.#goneWithin(() => !isAlive(coordinator), 10000)) faults.push('the coordinator did not stop');
        }
        const left = this.processes();
        if (left.length) faults.push(`left over: ${left.map((p) => `${p.pid} ${p.args.join(' ')}`).join('; ')}`);
        for (const { pid } of left) {
            try {
                process.kill(pid, 'SIGKILL');
            } catch {
                /* it went by itself */
            }
        }
        running.delete(this);
        this.client?.close();
        await this.prism?.stop();
        await this.fake?.close();
        if (checks) faults.push(...this.#findings());
        const logs = faults.length ? `\n${this.logs()}` : '';
        fs.rmSync(this.dir, { recursive: true, force: true });
        assert.deepEqual(faults, [], `after the tests${logs}`);
    }

    async #goneWithin(probe, timeoutMs) {
        try {
            await until('gone', probe, timeoutMs);
            return false;
        } catch {
            return true;
        }
    }

    /* What no run may leave: reports of sanitizers, refused provider requests, secrets in files. */
    #findings() {
        const faults = fs
            .readdirSync(this.dir)
            .filter((name) => name.startsWith('sanitizer'))
            .map((name) => fs.readFileSync(path.join(this.dir, name), 'utf8').slice(0, 3000));
        faults.push(...(this.fake?.faults ?? []).map((fault) => `the provider would have refused: ${fault}`));
        for (const secret of this.secrets) {
            faults.push(
                ...this.filesWith(secret)
                    .filter((name) => !/^s\/provider\.key$/.test(name))
                    .map((name) => `a provider key stands in ${name}`),
            );
        }
        return faults;
    }

    /* Files of the instance that contain a text, relative to its directory. */
    filesWith(text) {
        const files = fs
            .readdirSync(this.dir, { recursive: true, withFileTypes: true })
            .filter((entry) => entry.isFile());
        return files
            .map((entry) => path.join(entry.parentPath ?? entry.path, entry.name))
            .filter((file) => fs.readFileSync(file).includes(text))
            .map((file) => path.relative(this.dir, file));
    }

    logFiles() {
        const dir = path.join(this.storage, 'logs');
        const inside = fs.existsSync(dir) ? fs.readdirSync(dir).map((name) => path.join(dir, name)) : [];
        return [path.join(this.dir, 'front.log'), ...inside].filter(
            (file) => fs.existsSync(file) && fs.statSync(file).isFile(),
        );
    }
    /* The end of every log, for the reader of a failure. */
    logs() {
        const read = (file) => {
            try {
                return fs.readFileSync(file, 'utf8');
            } catch {
                return ''; /* it was stopped, and is being cleared away */
            }
        };
        const tail = (file) =>
            read(file)
                .split('\n')
                .filter(Boolean)
                .slice(-10)
                .map((line) => `  ${line.slice(0, 400)}`);
        return this.logFiles()
            .map((file) => [path.relative(this.dir, file), ...tail(file)].join('\n'))
            .join('\n');
    }
    /* The events written so far, oldest first. A line without its end is being written. */
    events() {
        const file = path.join(this.storage, 'logs', 'events.jsonl');
        return fs.existsSync(file)
            ? fs
                  .readFileSync(file, 'utf8')
                  .split('\n')
                  .slice(0, -1)
                  .map((line) => JSON.parse(line))
            : [];
    }

    get(...args) {
        return this.client.get(...args);
    }
    post(...args) {
        return this.client.post(...args);
    }
    put(...args) {
        return this.client.put(...args);
    }
    delete(...args) {
        return this.client.delete(...args);
    }
    request(...args) {
        return this.client.request(...args);
    }
    raw(...args) {
        return this.client.raw(...args);
    }

    /* POST /v1/query with a prompt; more: further members of the body, options: as for post. */
    ask(prompt, more = {}, options = {}) {
        return this.post('/v1/query', { username: 'tester', prompt, ...more }, options);
    }
    async chats(query = '') {
        return (await this.get(`/v1/chat${query}`)).json.chats;
    }
}

/*
 * Registers a stack that lives from before the first to after the last test of the surrounding describe or
 * file. The object returned has the stack's requests (s.post …) and s.test, which adds the logs to a failure.
 */
function useStack(options = {}) {
    const s = {
        test(name, body) {
            nodeTest.test(name, { timeout: 90000 * STRETCH }, async (t) => {
                s.stack.fake?.reset();
                try {
                    await body(t, s.stack);
                } catch (e) {
                    for (const line of s.stack.logs().split('\n')) t.diagnostic(line);
                    throw e;
                }
            });
        },
    };
    nodeTest.before(async () => {
        s.stack = await Stack.start(options);
    });
    nodeTest.after(async () => {
        await s.stack?.stop();
    });
    return new Proxy(s, {
        get(target, name) {
            if (name in target) return target[name];
            const value = target.stack?.[name];
            return typeof value === 'function' ? value.bind(target.stack) : value;
        },
    });
}

/* Runs job(i) for i in 0..n-1, at most width at a time. */
async function inParallel(n, width, job) {
    let next = 0;
    const lane = async () => {
        while (next < n) await job(next++);
    };
    await Promise.all(Array.from({ length: Math.min(width, n) }, lane));
}

module.exports = {
    Stack,
    useStack,
    until,
    untilRead,
    sleep,
    inParallel,
    freePort,
    cleanEnvironment,
    assertError,
    isAlive,
    openapi,
    ROOT,
    BUILD,
    STRETCH,
    PROVIDER_KEY,
    UUID,
    RFC3339_MS,
};
