'use strict';
/*
 * Fifty workers, each a process with one thread as under mod_fcgid, get a prompt at the same moment while no
 * coordinator runs, and what an earlier one left behind varies. However it is: one coordinator comes up, all
 * fifty prompts are answered, nobody spins or leaves children, and the logs say what happened.
 */
const { test } = require('node:test');
const assert = require('node:assert/strict');
const { spawn, spawnSync } = require('node:child_process');
const fs = require('node:fs');
const net = require('node:net');
const os = require('node:os');
const path = require('node:path');
const { until, isAlive, BUILD, STRETCH } = require('./harness');
const { Crowd } = require('./crowd');

const WORKERS = 50;
const NOBODY = 65534;
const CPU_MAX_S = 0.25; /* of a worker and all it started */

/* One prompt each, at once; all are answered and one coordinator is there. */
async function assertServed(t, crowd) {
    const start = performance.now();
    const asked = crowd.askAll('first');
    crowd.asked?.();
    const results = await asked;
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
        const crowd = new Crowd({ n: WORKERS, ...options });
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

const untilLocked = (file) =>
    until('it is locked', () => fs.existsSync(file) && spawnSync('flock', ['--nonblock', file, 'true']).status === 1);

/* A coordinator lived here and was killed: its socket and its lock file are still there. */
async function leaveTraces(crowd) {
    const before = spawn(path.join(BUILD, 'carpoold'), ['--background'], { env: crowd.env, stdio: 'ignore' });
    await new Promise((resolve) => before.on('exit', resolve));
    await until('it has said that it is ready', () => crowd.coordinatorLog().includes('Ready.'));
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
    const holder = spawn('flock', [crowd.lock, 'cat'], { stdio: ['pipe', 'ignore', 'ignore'] });
    const ended = new Promise((resolve) => holder.on('exit', resolve));
    await untilLocked(crowd.lock);
    crowd.asked = () => setTimeout(() => holder.stdin.end(), 1500);
    return () => {
        holder.stdin.end();
        return ended;
    };
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
function hopeless(name, prepare, { status = 503, message, logged, limitMs, options = {} }) {
    test(name, { timeout: 120000 * STRETCH }, async (t) => {
        const crowd = new Crowd({ n: WORKERS, ...options });
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
            if (logged) assert.match(crowd.workersLog(), logged);
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
        await untilLocked(crowd.lock);
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
    /* A stranger does not hear where carpool keeps its things. */
    { message: /cannot be looked up now; see its log/, logged: /Permission denied/, limitMs: 5000, options: { user: asNobody } },
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
