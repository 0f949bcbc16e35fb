'use strict';
/* No file descriptor is left, in the coordinator or in the workers: prompts are refused or late, nobody spins or
 * dies, nothing is sent without saying so, and within 5 s after there are some again all is well. */
const assert = require('node:assert/strict');
const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const { describe } = require('node:test');
const { Load, useFaultStack, until, sleep, STRETCH } = require('./stack');

const softLimit = (pid) => /Max open files +(\d+)/.exec(fs.readFileSync(`/proc/${pid}/limits`, 'utf8'))[1];
const setLimit = (pid, n) => execFileSync('prlimit', ['--pid', String(pid), `--nofile=${n}:`]);

/* The lowest descriptor that is not in use. */
function nextFree(pid) {
    const used = new Set(fs.readdirSync(`/proc/${pid}/fd`).map(Number));
    let lowest = 0;
    while (used.has(lowest)) lowest++;
    return lowest;
}

/* CPU time of a process so far, in ms. */
function cpuMs(pid) {
    const fields = fs.readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ').at(-1).split(' ');
    return (Number(fields[11]) + Number(fields[12])) * 10;
}

/* Runs body while the processes get no further descriptor (spare: that many), for at least the time given. None may
 * take more than half of a processor, and none may die. limit: a fixed one, lower than what they hold already. */
async function starved(t, pids, { ms, spare = 0, limit }, body) {
    const before = pids.map((pid) => [softLimit(pid), cpuMs(pid)]);
    const start = performance.now();
    for (const pid of pids) setLimit(pid, limit ?? nextFree(pid) + spare);
    try {
        await body();
        await sleep(Math.max(0, ms - (performance.now() - start)));
        const seconds = (performance.now() - start) / 1000;
        const shares = pids.map((pid, i) => (cpuMs(pid) - before[i][1]) / seconds / 10);
        t.diagnostic(`processor time: ${shares.map((share) => `${share.toFixed(0)} %`).join(', ')}`);
        assert.ok(Math.max(...shares) < 50, `somebody spins: ${shares} %`);
    } finally {
        for (const [i, pid] of pids.entries()) if (fs.existsSync(`/proc/${pid}`)) setLimit(pid, before[i][0]);
    }
}

/* n prompts at once, whose answers are awaited later. */
const ask = (s, tag, n) =>
    Array.from({ length: n }, (_, i) =>
        s.ask(`${tag} ${i}`, { request_id: `${tag}-${i}`, priority: 'HIGH' }, { fresh: true, check: false }),
    );

/* Each was answered, or refused in words, and in either case a second try is answered; all in one call each. */
async function settled(t, s, tag, asked) {
    const first = await Promise.all(asked);
    t.diagnostic(`answers meanwhile: ${first.map((res) => res.status).join(' ')}`);
    for (const res of first) {
        assert.ok([200, 503].includes(res.status), `${res.status} ${res.text}`);
        if (res.status === 503) assert.ok(res.headers['retry-after'] && res.json.error.message, res.text);
    }
    const again = await Promise.all(ask(s, tag, asked.length));
    assert.deepEqual([...new Set(again.map((res) => res.status))], [200], again.map((res) => res.text).join('\n'));
    const sent = s.fake.prompts.filter((prompt) => prompt.startsWith(`${tag} `));
    assert.equal(sent.length, asked.length, 'each is sent once');
    assert.equal(new Set(sent).size, asked.length);
}

async function wellAgain(t, s, what) {
    t.diagnostic(`back after ${(await s.untilWell(what)).toFixed(0)} ms`);
}

describe('the coordinator', () => {
    const s = useFaultStack({ env: { CARPOOL_WORKER_PROCESSES: '2', CARPOOL_WORKER_THREADS: '40' } });

    /* With fewer allowed than it holds, closing one (libuv's way out) does not help either. */
    for (const [what, limit] of [
        ['none is left', undefined],
        ['it holds more than are allowed', 3],
    ]) {
        const tag = `taken${limit ?? ''}`;
        s.test(`takes no connection while ${what}, and those that wait afterwards`, async (t, stack) => {
            await stack.untilWell('the start');
            const pid = stack.coordinatorPid();
            let asked;
            await starved(t, [pid], { ms: 2500, limit }, async () => {
                asked = ask(stack, tag, 40); /* more than there are connections yet */
                await sleep(500);
                for (const target of ['/v1/settings', '/v1/chat?limit=2', '/v1/analytics']) {
                    const res = await stack.get(target, { fresh: true });
                    assert.equal(res.status, 200, res.text);
                    assert.ok(res.ms < 1500 * STRETCH, `${target} took ${res.ms} ms`);
                }
            });
            await wellAgain(t, stack, 'the coordinator has descriptors again');
            assert.equal(stack.coordinatorPid(), pid, 'it is the same one');
            await settled(t, stack, tag, asked);
        });
    }
});

describe('the coordinator towards the provider', () => {
    const s = useFaultStack({
        env: { CARPOOL_WORKER_PROCESSES: '1', CARPOOL_WORKER_THREADS: '2', CARPOOL_RETRY_ATTEMPTS: '1' },
    });

    s.test('a call that gets no socket was not sent: 503, and the id is free', async (t, stack) => {
        await stack.untilWell('the start');
        await Promise.all(ask(stack, 'warm', 8)); /* each thread has its connection now */
        stack.fake.server.closeAllConnections();
        await sleep(200);
        let asked;
        /* Less than it holds, since libcurl has dead connections to close and to use the numbers of. */
        await starved(t, [stack.coordinatorPid()], { ms: 1500, limit: 3 }, async () => {
            asked = ask(stack, 'unsent', 2);
            for (const res of await Promise.all(asked)) assert.equal(res.status, 503, res.text);
            assert.equal(stack.fake.callsWith('unsent').length, 0);
            const health = await stack.get('/health');
            t.diagnostic(`health: ${health.text}`);
        });
        await wellAgain(t, stack, 'the coordinator has descriptors again');
        await settled(t, stack, 'unsent', asked);
    });
});

describe('workers', () => {
    const s = useFaultStack({ env: { CARPOOL_WORKER_PROCESSES: '2', CARPOOL_WORKER_THREADS: '20' } });

    for (const pool of ['prompt', 'manage']) {
        s.test(`of the ${pool} pool wait for a descriptor and go on by themselves`, async (t, stack) => {
            await stack.untilWell('the start');
            const pids = stack.workers(pool).children.map((p) => p.pid);
            let asked;
            let health;
            await starved(t, pids, { ms: 2500 }, async () => {
                asked = pool === 'prompt' ? ask(stack, 'worker', 20) : [];
                health = stack.get('/health', { fresh: true, timeoutMs: 20000 });
                if (pool === 'prompt') assert.equal((await health).json.status, 'ok');
                else assert.equal((await stack.ask('beside', { priority: 'HIGH' })).status, 200);
            });
            /* On a connection that lighttpd has kept it needs no descriptor to come in, but one to ask the coordinator. */
            const { status, text } = await health;
            assert.ok(status === 200 || (status === 503 && /no descriptor for a connection/.test(text)), `${status} ${text}`);
            await wellAgain(t, stack, 'the workers have descriptors again');
            assert.deepEqual(
                stack.workers(pool).children.map((p) => p.pid),
                pids,
                'nobody left',
            );
            if (asked.length) await settled(t, stack, 'worker', asked);
        });
    }

    s.test('with one descriptor too few: whoever cannot reach the coordinator says so', async (t, stack) => {
        await stack.untilWell('the start');
        const pids = stack.workers().children.map((p) => p.pid);
        process.kill(stack.coordinatorPid(), 'SIGKILL'); /* its connections have to be made again */
        await sleep(200);
        let asked;
        await starved(t, pids, { ms: 2000, spare: 1 }, async () => {
            asked = ask(stack, 'halfway', 20);
            await sleep(500);
            assert.equal((await stack.get('/v1/settings', { fresh: true })).status, 200);
        });
        await wellAgain(t, stack, 'the workers have descriptors again');
        await settled(t, stack, 'halfway', asked);
    });

    s.test('under load, with descriptors coming and going', async (t, stack) => {
        await stack.untilWell('the start');
        const load = new Load(stack, 'coming', { lanes: 12, pauseMs: 20 });
        const pids = [...stack.workers().children.map((p) => p.pid), stack.coordinatorPid()];
        for (let round = 0; round < 4; round++)
            await starved(t, pids, { ms: 700, spare: round }, () => sleep(700));
        await wellAgain(t, stack, 'everybody has descriptors again');
        await until('answers come', () => load.told.size > 20);
        await load.stop();
        t.diagnostic(load.summary());
        assert.deepEqual(load.readsDone.failed.filter((line) => !line.startsWith('replay')), []);
        await load.verify();
    });
});
