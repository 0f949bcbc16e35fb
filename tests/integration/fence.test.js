'use strict';
/*
 * Two coordinators on one store. The one that was there is stopped in the middle of everything (SIGSTOP), a
 * second one takes over and serves the same ids, then the first wakes up: it must write nothing more and send
 * nothing that the other answers for, and leave with a line that says why. Once with nothing but the epoch in
 * the store between them (the second works through hard links in a directory of its own, so that the first
 * finds lock, socket and store where they were), once as it happens in life: somebody removed the lock file.
 */
const { test } = require('node:test');
const assert = require('node:assert/strict');
const { spawn } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { Stack, until, sleep, isAlive, BUILD, STRETCH } = require('./harness');

/* What waits for so long still waits when the first one is stopped, and no longer when it wakes. */
const SHORTLY_S = 3 * STRETCH;

const OPTIONS = {
    provider: 'openai',
    env: {
        CARPOOL_BATCH_HIGH_WINDOW_MS: '50',
        CARPOOL_BATCH_LOW_WINDOW_MS: String(SHORTLY_S * 1250),
        CARPOOL_BATCH_LOW_MAX_BATCH: '50',
        CARPOOL_BATCH_FLUSH_WHEN_ALL_WAIT: 'off',
    },
};

/* Stops the process, but not in the middle of a transaction: it would keep LMDB's lock with it. Its commit
 * thread waits on a condition then, which is system call 202 (futex) on x86-64 and 98 elsewhere. */
async function stopBetweenCommits(pid) {
    const tasks = fs.readdirSync(`/proc/${pid}/task`);
    const commit = tasks.find((t) => fs.readFileSync(`/proc/${pid}/task/${t}/comm`, 'utf8') === 'commit\n');
    assert.ok(commit, 'the coordinator has a commit thread');
    for (;;) {
        process.kill(pid, 'SIGSTOP');
        await until('it is stopped', () => /^State:\s+T/m.test(fs.readFileSync(`/proc/${pid}/task/${commit}/status`, 'utf8')));
        try {
            if (/^(202|98) /.test(fs.readFileSync(`/proc/${pid}/task/${commit}/syscall`, 'utf8'))) return;
        } catch {
            return; /* this user may not look; the odds are good */
        }
        process.kill(pid, 'SIGCONT');
        await sleep(3);
    }
}

const ask = (s, id, priority, more = {}, options = {}) =>
    s.ask(`prompt of ${id}`, { request_id: id, priority, ...more }, { fresh: true, check: false, ...options });
const settle = (promise) => promise.then((r) => r, (e) => ({ status: 0, text: e.message }));

/*
 * Fills a coordinator with work of every kind and stops it there: ids that wait in the queue, one of them
 * async; one that was refused by the provider and is to be sent again; one whose call is under way.
 */
async function stopInTheMiddle(s) {
    const old = s.coordinatorPid() ?? (await ask(s, 'first', 'HIGH'), s.coordinatorPid());
    s.fake.when((call) => call.members.some((m) => m.prompt.includes('running-')), { ms: 1500 });
    s.fake.when((call) => call.members.some((m) => m.prompt.includes('again-')), { do: 'status', status: 429, retryAfter: SHORTLY_S }, 1);
    const waiting = [0, 1, 2].map((i) => settle(ask(s, `queued-${i}`, 'LOW')));
    const kept = await ask(s, 'kept-0', 'LOW', {}, { headers: { Prefer: 'respond-async' } });
    assert.equal(kept.status, 202);
    waiting.push(settle(ask(s, 'again-0', 'HIGH')));
    await until('the provider has refused one', () => s.fake.callsWith('again-').some((c) => c.doneAt));
    waiting.push(settle(ask(s, 'running-0', 'HIGH')));
    await until('a call is under way', () => s.fake.callsWith('running-').length === 1);
    await sleep(50); /* what the refusal and the dispatch left to do is done */
    await stopBetweenCommits(old);
    assert.equal(s.fake.callsWith('queued-').length + s.fake.callsWith('kept-').length, 0, 'these wait in the queue');
    return { old, waiting };
}

/* What the next coordinator makes of those ids: it has the ones that were never sent, and knows no more. */
async function serveThem(s) {
    const results = await Promise.all([0, 1, 2].map((i) => ask(s, `queued-${i}`, 'LOW')));
    results.forEach((res, i) => {
        assert.equal(res.status, 200, res.text);
        assert.equal(res.json.text, `Answer to: prompt of queued-${i}`);
    });
    await until('the async one is done', async () => (await s.get('/v1/requests/kept-0')).json?.status === 'done', 2000 * SHORTLY_S);
    for (const id of ['again-0', 'running-0']) assert.equal((await ask(s, id, 'HIGH')).status, 424, id);
}

function assertSentOnce(s) {
    for (const id of ['queued-0', 'queued-1', 'queued-2', 'kept-0', 'again-0', 'running-0'])
        assert.equal(s.fake.callsWith(id).length, 1, `${id} was sent once`);
}

/* The records that the other coordinator made, unchanged. */
async function assertRecordsStand(s) {
    for (const id of ['queued-0', 'queued-1', 'queued-2', 'kept-0'])
        assert.equal((await s.get(`/v1/requests/${id}`)).json.status, 'done', id);
    for (const id of ['again-0', 'running-0'])
        assert.equal((await s.get(`/v1/requests/${id}`)).json.status, 'unknown', id);
    const chats = (await s.chats()).map((c) => c.request.request_id).filter((id) => id.includes('-'));
    assert.deepEqual(chats.sort(), ['kept-0', 'queued-0', 'queued-1', 'queued-2']);
}

const coordinatorLog = (s) => fs.readFileSync(path.join(s.storage, 'logs', 'coordinator.log'), 'utf8');

test('the epoch alone keeps the first one out', { timeout: 120000 * STRETCH }, async (t) => {
    const first = await Stack.start(OPTIONS);
    const second = new Stack(OPTIONS);
    second.fake = first.fake;
    let old;
    try {
        const stopped = await stopInTheMiddle(first);
        old = stopped.old;
        fs.mkdirSync(second.storage, { mode: 0o700 });
        for (const name of ['data.mdb', 'lock.mdb'])
            fs.linkSync(path.join(first.storage, name), path.join(second.storage, name));
        await second.start();
        await serveThem(second);
        process.kill(old, 'SIGCONT');
        await until('the first one has left', () => !isAlive(old), 5000);
        const said = coordinatorLog(first);
        assert.match(said, /Another coordinator took over the store; this one leaves without writing anything more/);
        await sleep(300); /* what it sent at the last moment would be there by now */
        assertSentOnce(first);
        await assertRecordsStand(second);
        /* The workers of the first move to a coordinator of their own, which fences the second in its turn. */
        const results = await Promise.all(stopped.waiting);
        t.diagnostic(results.map((r) => r.status).join(', '));
        results.slice(0, 3).forEach((res, i) => {
            assert.equal(res.status, 200, res.text);
            assert.equal(res.json.text, `Answer to: prompt of queued-${i}`);
        });
        for (const res of results.slice(3)) assert.equal(res.status, 424, res.text);
        assertSentOnce(first);
    } catch (e) {
        e.message += `\n${first.logs()}\n${second.logs()}`;
        throw e;
    } finally {
        if (old && isAlive(old)) process.kill(old, 'SIGCONT');
        second.fake = null;
        await second.stop();
        await first.stop();
    }
});

test('the lock file is removed and a second coordinator started', { timeout: 120000 * STRETCH }, async (t) => {
    const s = await Stack.start(OPTIONS);
    let old, next;
    try {
        const stopped = await stopInTheMiddle(s);
        old = stopped.old;
        fs.unlinkSync(path.join(s.storage, 'coordinator.lock'));
        const log = path.join(s.dir, 'second.log');
        const out = fs.openSync(log, 'a');
        next = spawn(path.join(BUILD, 'carpoold'), [], { env: s.environment(), stdio: ['ignore', out, out] });
        await until('the second one is ready', () => fs.readFileSync(log, 'utf8').includes('Ready.'));
        assert.equal(s.coordinatorPid(), next.pid);
        await serveThem(s);
        process.kill(old, 'SIGCONT');
        await until('the first one has left', () => !isAlive(old), 5000);
        assert.match(coordinatorLog(s), /"level":"error".*(Another coordinator took over|its lock or its store was removed).*leaves/);
        const results = await Promise.all(stopped.waiting);
        t.diagnostic(results.map((r) => r.status).join(', '));
        results.slice(0, 3).forEach((res, i) => {
            assert.equal(res.status, 200, res.text);
            assert.equal(res.json.text, `Answer to: prompt of queued-${i}`);
        });
        for (const res of results.slice(3)) assert.equal(res.status, 424, res.text);
        assertSentOnce(s);
        await assertRecordsStand(s);
        assert.equal(s.coordinatorPid(), next.pid, 'the second one is still the one');
    } catch (e) {
        e.message += `\n${s.logs()}`;
        throw e;
    } finally {
        if (old && isAlive(old)) process.kill(old, 'SIGCONT');
        await s.stop();
        if (next && isAlive(next.pid)) next.kill('SIGKILL');
    }
});
