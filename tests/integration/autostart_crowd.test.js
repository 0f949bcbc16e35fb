'use strict';
/*
 * Fifty workers, each a process with one thread as under mod_fcgid, get a prompt at the same moment while no
 * coordinator runs, and what an earlier one left behind varies. However it is: one coordinator comes up, all
 * fifty prompts are answered, nobody spins or leaves children, and the logs say what happened.
 */
const { test } = require('node:test');
const assert = require('node:assert/strict');
const { spawn } = require('node:child_process');
const fs = require('node:fs');
const net = require('node:net');
const os = require('node:os');
const path = require('node:path');
const { cleanEnvironment, until, sleep, isAlive, BUILD, STRETCH } = require('./harness');
const { findProcesses } = require('./processes');
const { fcgiRequest } = require('./fcgi_client');

const WORKERS = 50;
const NOBODY = 65534;
const CPU_MAX_S = 0.25; /* of a worker and all it started */
const TICKS = 100; /* a second, of /proc/<pid>/stat */

class Crowd {
    constructor({ env = {}, user = {}, n = WORKERS } = {}) {
        this.dir = fs.mkdtempSync(path.join(os.tmpdir(), 'cr-'));
        this.storage = path.join(this.dir, 's');
        fs.mkdirSync(this.storage, { mode: 0o700 });
        this.socket = path.join(this.storage, 'coordinator.sock');
        this.lock = path.join(this.storage, 'coordinator.lock');
        this.n = n;
        this.user = user;
        this.env = {
            ...cleanEnvironment(),
            HOME: this.dir,
            CARPOOL_STORAGE_DIR: this.storage,
            CARPOOL_PROVIDER_KIND: 'mock',
            CARPOOL_CACHE_MODE: 'off',
            CARPOOL_BATCH_HIGH_WINDOW_MS: '20',
            ASAN_OPTIONS: `log_path=${this.dir}/sanitizer`,
            TSAN_OPTIONS: `log_path=${this.dir}/sanitizer`,
            UBSAN_OPTIONS: `log_path=${this.dir}/sanitizer`,
            ...env,
        };
    }

    /* Starts the workers; the names of their sockets are as mod_fcgid makes them. */
    async start() {
        if (this.user.uid) fs.chownSync(this.dir, this.user.uid, this.user.gid);
        const log = fs.openSync(path.join(this.dir, 'workers.log'), 'a');
        this.workers = Array.from({ length: this.n }, (_, i) => {
            const socket = path.join(this.dir, `${process.pid}.${i}`);
            const child = spawn(path.join(BUILD, 'carpool.fcgi'), [`--socket=${socket}`], {
                env: this.env,
                stdio: ['ignore', log, log],
                ...this.user,
            });
            const exited = new Promise((resolve) => child.on('exit', (code, signal) => resolve({ code, signal })));
            return { socket, child, exited };
        });
        fs.closeSync(log);
        await until('all workers listen', () => this.workers.every((w) => fs.existsSync(w.socket)), 10000);
    }

    askAll(tag) {
        return Promise.all(
            this.workers.map((w, i) =>
                fcgiRequest(w.socket, 'POST', '/v1/query', {
                    request_id: `${tag}-${i}`,
                    prompt: `${tag} ${i}`,
                    priority: 'HIGH',
                }),
            ),
        );
    }

    processes(name) {
        return findProcesses('CARPOOL_STORAGE_DIR', this.storage).filter((p) => p.name === name);
    }
    read(...name) {
        try {
            return fs.readFileSync(path.join(this.dir, ...name), 'utf8');
        } catch {
            return '';
        }
    }
    workersLog() {
        return this.read('workers.log');
    }
    coordinatorLog() {
        return this.read('s', 'logs', 'coordinator.log');
    }

    /* Processor seconds of each worker with what it started and waited for; no children, zombies included. */
    inspectWorkers() {
        const parents = new Map();
        for (const pid of fs.readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
            try {
                const stat = fs.readFileSync(`/proc/${pid}/stat`, 'latin1');
                const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
                parents.set(Number(pid), { ppid: Number(fields[1]), ticks: fields.slice(11, 15).map(Number) });
            } catch {
                /* gone */
            }
        }
        return this.workers.map(({ child }) => ({
            cpuS: parents.get(child.pid).ticks.reduce((a, b) => a + b) / TICKS,
            children: [...parents.values()].filter((p) => p.ppid === child.pid).length,
        }));
    }

    async stop() {
        for (const w of this.workers ?? []) w.child.kill('SIGTERM');
        const ends = await Promise.all((this.workers ?? []).map((w) => w.exited));
        for (const { pid } of this.processes('carpoold')) process.kill(pid, 'SIGTERM');
        await until('no coordinator is left', () => this.processes('carpoold').length === 0, 10000);
        const reports = fs.readdirSync(this.dir).filter((name) => name.startsWith('sanitizer'));
        const said = reports.map((name) => this.read(name).slice(0, 3000));
        fs.rmSync(this.dir, { recursive: true, force: true });
        assert.deepEqual(said, []);
        for (const end of ends) assert.deepEqual(end, { code: 0, signal: null }, 'an idle worker leaves when told');
    }
}

/* One prompt each, at once; all are answered and one coordinator is there. */
async function assertServed(t, crowd) {
    const start = performance.now();
    const results = await crowd.askAll('first');
    t.diagnostic(`${crowd.n} answers after ${(performance.now() - start).toFixed(0)} ms`);
    results.forEach((res, i) => {
        assert.equal(res.status, 200, res.text);
        assert.equal(res.json.text, `Processed: first ${i}`);
    });
    await until('one coordinator is left', () => crowd.processes('carpoold').length === 1);
    const pid = Number.parseInt(fs.readFileSync(crowd.lock, 'utf8'), 10);
    assert.equal(crowd.processes('carpoold')[0].pid, pid, 'the one that holds the lock');
    const seen = crowd.inspectWorkers();
    t.diagnostic(`processor time of a worker: ${Math.max(...seen.map((w) => w.cpuS)).toFixed(2)} s at most`);
    for (const { cpuS, children } of seen) {
        assert.equal(children, 0, 'no child, not even a dead one');
        assert.ok(cpuS < CPU_MAX_S * STRETCH, `${cpuS} s`);
    }
    const starts = crowd.workersLog().match(/no coordinator (ran: started one|answered: another process had started one)/g) ?? [];
    t.diagnostic(`${starts.length} starts tried`);
    assert.ok(starts.length >= 1 && starts.length <= crowd.n, `${starts.length} starts for ${crowd.n} workers`);
    for (const res of await crowd.askAll('second')) assert.equal(res.status, 200, res.text);
    assert.equal(crowd.processes('carpoold')[0].pid, pid, 'it is the same one still');
}

/* readies: how often a coordinator said that it was ready, those before the crowd included. */
function scenario(name, prepare, { readies = 1, ...options } = {}) {
    test(name, { timeout: 120000 * STRETCH }, async (t) => {
        const crowd = new Crowd(options);
        let undo;
        try {
            undo = await prepare(crowd);
            await crowd.start();
            await assertServed(t, crowd);
            assert.equal(crowd.coordinatorLog().match(/Ready\./g)?.length, readies, crowd.coordinatorLog());
        } catch (e) {
            e.message += `\n${crowd.workersLog().slice(-4000)}\n${crowd.coordinatorLog().slice(-4000)}`;
            throw e;
        } finally {
            await undo?.();
            await crowd.stop();
        }
    });
}

/* A coordinator lived here and was killed: its socket and its lock file are still there. */
async function leaveTraces(crowd) {
    const before = spawn(path.join(BUILD, 'carpoold'), ['--background'], { env: crowd.env, stdio: 'ignore' });
    await new Promise((resolve) => before.on('exit', resolve));
    const [{ pid }] = crowd.processes('carpoold');
    process.kill(pid, 'SIGKILL');
    await until('it is dead', () => !isAlive(pid));
    assert.ok(fs.existsSync(crowd.socket) && fs.existsSync(crowd.lock));
}

scenario('nothing was there', () => {});
scenario('a stale socket', async (crowd) => {
    await leaveTraces(crowd);
    fs.unlinkSync(crowd.lock);
}, { readies: 2 });
scenario('a stale lock file', async (crowd) => {
    await leaveTraces(crowd);
    fs.unlinkSync(crowd.socket);
}, { readies: 2 });
scenario('both', leaveTraces, { readies: 2 });

scenario('the lock is held by a process that is about to end', async (crowd) => {
    const holder = spawn('flock', [crowd.lock, 'sleep', '1.5'], { stdio: 'ignore' });
    const ended = new Promise((resolve) => holder.on('exit', resolve));
    await until('the lock file is there', () => fs.existsSync(crowd.lock));
    await sleep(100);
    return () => ended;
});

/* The socket lies in the storage directory, and whoever holds the lock is its master. */
for (const [how, onConnection] of [
    ['closes every connection', (socket) => socket.destroy()],
    ['never says a word', (socket) => socket.on('error', () => {})],
])
    scenario(`a program that ${how} listens at the socket`, async (crowd) => {
        const server = net.createServer(onConnection);
        await new Promise((resolve) => server.listen(crowd.socket, resolve));
        return () => {
            /* Node removes the path when it closes: not the coordinator's. */
            const aside = path.join(crowd.dir, 'aside');
            if (fs.existsSync(crowd.socket)) fs.renameSync(crowd.socket, aside);
            server.close();
        };
    });

/* What cannot work is said in the answer, at once or after a bounded time, and nothing is left running. */
function hopeless(name, prepare, { status = 503, message, limitMs, options = {} }) {
    test(name, { timeout: 120000 * STRETCH }, async (t) => {
        const crowd = new Crowd(options);
        let undo;
        try {
            undo = await prepare(crowd);
            await crowd.start();
            const start = performance.now();
            const results = await crowd.askAll('first');
            const ms = performance.now() - start;
            t.diagnostic(`${crowd.n} refusals after ${ms.toFixed(0)} ms: ${results[0].json?.error.message}`);
            for (const res of results) {
                assert.equal(res.status, status, res.text);
                assert.match(res.json.error.message, message);
            }
            assert.ok(ms < limitMs * STRETCH, `${ms} ms`);
            await until('nothing that was started is left', () => crowd.processes('carpoold').length === 0);
            for (const { cpuS, children } of crowd.inspectWorkers()) {
                assert.equal(children, 0);
                assert.ok(cpuS < CPU_MAX_S * STRETCH, `${cpuS} s`);
            }
        } catch (e) {
            e.message += `\n${crowd.workersLog().slice(-4000)}\n${crowd.coordinatorLog().slice(-4000)}`;
            throw e;
        } finally {
            await undo?.();
            await crowd.stop();
        }
    });
}

hopeless(
    'the lock is held by something that hangs',
    async (crowd) => {
        const holder = spawn('flock', [crowd.lock, 'sleep', '600'], { stdio: 'ignore', detached: true });
        const ended = new Promise((resolve) => holder.on('exit', resolve));
        await until('the lock file is there', () => fs.existsSync(crowd.lock));
        await sleep(100);
        return () => {
            process.kill(-holder.pid, 'SIGKILL');
            return ended;
        };
    },
    { message: /A process holds .*coordinator\.lock .*but after 5000 ms it does not listen at/, limitMs: 15000 },
);

const asNobody = process.getuid() === 0 ? { uid: NOBODY, gid: NOBODY } : {};
hopeless(
    'the storage directory may not be entered',
    (crowd) => {
        fs.chmodSync(crowd.storage, 0);
        return () => fs.chmodSync(crowd.storage, 0o700);
    },
    { message: /Permission denied/, limitMs: 5000, options: { user: asNobody } },
);

const elsewhere = fs.mkdtempSync(path.join(os.tmpdir(), 'cr-'));
process.on('exit', () => fs.rmSync(elsewhere, { recursive: true, force: true }));
const foreign = path.join(elsewhere, 'foreign.sock');
hopeless(
    'coordinator.socket names the socket of another program, which keeps it',
    async () => {
        let connections = 0;
        const server = net.createServer((socket) => {
            connections++;
            socket.destroy();
        });
        await new Promise((resolve) => server.listen(foreign, resolve));
        return async () => {
            const before = connections;
            await fcgiRequestless(foreign);
            await until('it is still asked there', () => connections > before);
            server.close();
        };
    },
    {
        message: /Another program listens at .*foreign\.sock; set coordinator\.socket/,
        limitMs: 15000,
        options: { env: { CARPOOL_COORDINATOR_SOCKET: foreign } },
    },
);

/* Connects and hangs up. */
function fcgiRequestless(socketPath) {
    return new Promise((resolve, reject) => {
        const socket = net.connect(socketPath);
        socket.on('error', reject);
        socket.on('close', resolve);
        socket.on('data', () => {});
    });
}
