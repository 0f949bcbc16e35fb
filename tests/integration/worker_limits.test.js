'use strict';
/*
 * Workers that get less than they want: too few descriptors for the connections that come, too little room for
 * their threads, a log that nobody reads. They go on, and catch up when there is room again. And SIGTERM at
 * every stage of a start: it is never lost, and nothing stays behind.
 */
const { test } = require('node:test');
const assert = require('node:assert/strict');
const { spawn } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { until, sleep, isAlive, inParallel, BUILD, STRETCH } = require('./harness');
const { Crowd } = require('./crowd');
const { fcgiRequest } = require('./fcgi_client');

const SANITIZED = Boolean(process.env.SANITIZED);

function withCrowd(name, options, body, { skip = false } = {}) {
    test(name, { timeout: 120000 * STRETCH, skip }, async (t) => {
        const crowd = new Crowd(options);
        try {
            await crowd.start();
            await body(t, crowd);
        } catch (e) {
            e.message += `\n${crowd.workersLog().slice(-4000)}\n${crowd.coordinatorLog().slice(-2000)}`;
            throw e;
        } finally {
            await crowd.stop();
        }
    });
}

const post = (crowd, id, more = {}) =>
    fcgiRequest(crowd.workers[0].socket, 'POST', '/v1/query', {
        request_id: id,
        prompt: id,
        priority: 'HIGH',
        ...more,
    });

/* 120 clients at once, each wanting two descriptors of a process that has 48. */
withCrowd(
    'fewer descriptors than connections',
    {
        pool: true,
        command: ['prlimit', '--nofile=48:48'],
        args: ['--processes=1', '--threads=120'],
        env: { CARPOOL_BATCH_HIGH_WINDOW_MS: '100', CARPOOL_BATCH_FLUSH_WHEN_ALL_WAIT: 'off' },
    },
    async (t, crowd) => {
        const { pid } = await until('the pool has its child', () =>
            crowd.processes('carpool.fcgi').find((p) => p.ppid === crowd.workers[0].child.pid),
        );
        const start = performance.now();
        const results = await Promise.all(Array.from({ length: 120 }, (_, i) => post(crowd, `crowded-${i}`)));
        const count = (status) => results.filter((res) => res.status === status).length;
        t.diagnostic(`${count(200)} answered, ${count(503)} refused, ${(performance.now() - start).toFixed(0)} ms`);
        assert.equal(count(200), 120, results.find((res) => res.status !== 200)?.text);
        assert.match(crowd.workersLog(), /120 threads are configured, but 48 descriptors are allowed/);
        assert.ok(isAlive(pid), 'it did not leave over it');
        await inParallel(20, 4, async (i) => assert.equal((await post(crowd, `later-${i}`)).status, 200));
        const [{ cpuS }] = crowd.inspectWorkers();
        assert.ok(cpuS < 2 * STRETCH, `${cpuS} s`);
    },
);

/* The coordinator has fewer descriptors than there are threads, which all keep their connection: those that
 * nobody waits on make room. */
withCrowd(
    'a coordinator with few descriptors',
    {
        pool: true,
        args: ['--processes=1', '--threads=80'],
        env: { CARPOOL_BATCH_HIGH_WINDOW_MS: '50', CARPOOL_BATCH_FLUSH_WHEN_ALL_WAIT: 'off' },
    },
    async (t, crowd) => {
        const limited = spawn('prlimit', ['--nofile=80:80', path.join(BUILD, 'carpoold'), '--background'], {
            env: crowd.env,
            stdio: 'inherit',
        });
        await new Promise((resolve) => limited.on('exit', resolve));
        const [{ pid }] = crowd.processes('carpoold');
        const results = await Promise.all(Array.from({ length: 80 }, (_, i) => post(crowd, `many-${i}`)));
        const count = (status) => results.filter((res) => res.status === status).length;
        t.diagnostic(`${count(200)} answered, ${count(503)} refused`);
        assert.equal(count(200), 80, results.find((res) => res.status !== 200)?.text);
        assert.ok(isAlive(pid), 'the coordinator is still there');
        const before = cpuOf(pid);
        await sleep(500);
        assert.ok(cpuOf(pid) - before < 0.2 * STRETCH, 'it does not spin');
        await inParallel(160, 40, async (i) => assert.equal((await post(crowd, `then-${i}`)).status, 200));
    },
);

function cpuOf(pid) {
    const stat = fs.readFileSync(`/proc/${pid}/stat`, 'latin1');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return (Number(fields[11]) + Number(fields[12])) / 100;
}

/* Threads count as processes of their user; one that nobody else has is needed to count on that. */
const OWN_USER = { uid: 200000 + (process.pid % 100000), gid: 65534 };
withCrowd(
    'fewer threads than configured',
    {
        pool: true,
        user: OWN_USER,
        command: ['prlimit', '--nproc=60:60'],
        args: ['--processes=1', '--threads=200'],
        env: { CARPOOL_BATCH_HIGH_WINDOW_MS: '50', CARPOOL_COORDINATOR_AUTOSTART: 'off' },
    },
    async (t, crowd) => {
        const coordinator = spawn(path.join(BUILD, 'carpoold'), ['--background'], { env: crowd.env, ...OWN_USER });
        await new Promise((resolve) => coordinator.on('exit', resolve));
        await inParallel(100, 20, async (i) => {
            const res = await post(crowd, `few-${i}`);
            assert.equal(res.status, 200, res.text);
        });
        const said = /Only (\d+) of 200 request threads could be started/.exec(crowd.workersLog());
        assert.ok(said, 'it says so');
        t.diagnostic(said[0]);
        assert.ok(Number(said[1]) >= 20 && Number(said[1]) < 60);
    },
    { skip: process.getuid() !== 0 && 'needs a user of its own' },
);

/* The children of a pool that cannot start are tried again, later each time. */
withCrowd(
    'no thread at all: tried again with pauses, and the pool stays',
    { pool: true, args: ['--processes=1', '--threads=4'] },
    async (t, crowd) => {
        const parent = crowd.workers[0].child.pid;
        assert.equal((await post(crowd, 'before')).status, 200);
        const limit = (bytes) => {
            const child = spawn('prlimit', ['--pid', String(parent), `--as=${bytes}`], { stdio: 'inherit' });
            return new Promise((resolve) => child.on('exit', resolve));
        };
        const childPid = () => crowd.processes('carpool.fcgi').find((p) => p.ppid === parent)?.pid;
        const first = childPid();
        /* What the parent has already fits, a thread's stack more does not. */
        const kb = Number(/^VmSize:\s+(\d+)/m.exec(fs.readFileSync(`/proc/${parent}/status`, 'utf8'))[1]);
        await limit(`${(kb + 64) * 1024}:unlimited`);
        process.kill(first, 'SIGKILL');
        await sleep(2500);
        const tries = crowd.workersLog().match(/left with status 1; it is replaced/g)?.length ?? 0;
        t.diagnostic(`${tries} tries in 2.5 s`);
        assert.ok(tries >= 2 && tries <= 8, `${tries} tries in 2.5 s`);
        assert.ok(isAlive(parent));
        await limit('unlimited:unlimited');
        await until('it serves again', async () => {
            try {
                return (await fcgiRequest(crowd.workers[0].socket, 'GET', '/health', null, { timeoutMs: 1000 })).status;
            } catch {
                return false;
            }
        }, 10000);
        assert.equal((await post(crowd, 'after')).status, 200);
    },
    { skip: SANITIZED && 'sanitizers need address space' },
);

withCrowd('SIGPIPE ends nobody', { pool: true, args: ['--processes=2', '--threads=4'] }, async (t, crowd) => {
    assert.equal((await post(crowd, 'before')).status, 200);
    const all = await until('all are there', () => {
        const pids = [...crowd.processes('carpool.fcgi'), ...crowd.processes('carpoold')].map((p) => p.pid);
        return pids.length === 4 && pids;
    });
    for (const pid of all) process.kill(pid, 'SIGPIPE');
    await sleep(100);
    assert.ok(all.every(isAlive));
    assert.equal((await post(crowd, 'after')).status, 200);
});

/* A SIGTERM that comes after ms: the process has left soon, in order or (early) by the signal. */
async function endAfter(ms, program, args, env) {
    const child = spawn(program, args, { env, stdio: 'ignore' });
    const exited = new Promise((resolve) => child.on('exit', (code, signal) => resolve({ code, signal })));
    await sleep(ms);
    child.kill('SIGTERM');
    const end = await Promise.race([exited, sleep(5000 * STRETCH)]);
    if (!end) child.kill('SIGKILL');
    assert.ok(end, `SIGTERM after ${ms} ms was lost`);
    assert.ok(end.code === 0 || end.signal === 'SIGTERM', `after ${ms} ms: ${JSON.stringify(end)}`);
    return end.code === 0;
}

for (const [what, stepMs, program, args] of [
    ['a process under mod_fcgid', 0.5, 'carpool.fcgi', (dir) => [`--socket=${dir}/1.0`]],
    ['a pool', 0.5, 'carpool.fcgi', (dir) => [`--socket=${dir}/pool.sock`, '--processes=3', '--threads=50']],
    ['the coordinator', 2, 'carpoold', () => []],
])
    test(`SIGTERM at every stage of the start: ${what}`, { timeout: 120000 * STRETCH }, async (t) => {
        const crowd = new Crowd({ n: 0 });
        let inOrder = 0;
        try {
            /* How long a start takes is the machine's: on until ten were old enough. */
            let i = 0;
            for (; i < 60 || (inOrder <= 10 && i < 1000); i++)
                inOrder += await endAfter(i * stepMs * STRETCH, path.join(BUILD, program), args(crowd.dir), crowd.env);
            t.diagnostic(`${inOrder} of ${i} left in order, the others were too young to`);
            assert.ok(inOrder > 10, 'late ones leave in order');
            await until('nobody is left', () => !crowd.processes('carpool.fcgi').length && !crowd.processes('carpoold').length);
            /* What they left behind stops nobody. */
            crowd.n = 1;
            await crowd.start();
            assert.equal((await post(crowd, 'after all')).status, 400, 'an id with a blank');
            assert.equal((await post(crowd, 'after-all')).status, 200);
        } finally {
            await crowd.stop();
        }
    });

/* As Apache does it: SIGTERM, again, and SIGKILL at 8 s. */
test('a process under mod_fcgid that waits for a start that hangs leaves in time', { timeout: 60000 * STRETCH }, async () => {
    const crowd = new Crowd({ n: 1 });
    const holder = spawn('flock', [crowd.lock, 'sh', '-c', 'echo held; exec sleep 600'], {
        stdio: ['ignore', 'pipe', 'ignore'],
        detached: true,
    });
    try {
        await new Promise((resolve) => holder.stdout.once('data', resolve));
        await crowd.start();
        const asked = post(crowd, 'hung-1');
        await until('a coordinator is being started', () => crowd.processes('carpoold').length > 0);
        const start = performance.now();
        const [{ child, exited }] = crowd.workers;
        child.kill('SIGTERM');
        await sleep(1000);
        child.kill('SIGTERM');
        const [res, end] = await Promise.all([asked, exited]);
        assert.ok(performance.now() - start < 7900 * (SANITIZED ? 1.5 : 1), `${performance.now() - start} ms`);
        assert.equal(res.status, 503, res.text);
        assert.deepEqual(end, { code: 0, signal: null });
    } finally {
        process.kill(-holder.pid, 'SIGKILL');
        await until('nothing is left', () => crowd.processes('carpoold').length === 0, 10000);
        await crowd.stop();
    }
});
