'use strict';
/*
 * Apache's mod_fcgid, with both MPMs: prompts end to end, and stop, restart and graceful restart while prompts
 * run. Who waits gets the answer or a clean error, the answer can be fetched by id, nothing is bought twice,
 * workers are gone before Apache's patience is, and nothing but the coordinator stays behind.
 */
const { describe, test, before, after } = require('node:test');
const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { until, isAlive, STRETCH } = require('../integration/harness');
const { ApacheStack } = require('./apache_stack');

const LEAVE_MS = 7000; /* what a worker promises, from its SIGTERM on: mod_fcgid sends SIGKILL after 8 s */
const NOTICE_MS = 3500; /* its process manager looks every 3 s whether Apache wants it to stop */

const CONF = '[batch_high]\nwindow_ms = 100\n[batch_medium]\nwindow_ms = 100\n';

/* Asks under the ids tag-0 …, each with the outcome as a result: {id, status, json} or {id, broken}. */
function ask(s, tag, n, more = {}) {
    return Array.from({ length: n }, async (_, i) => {
        const id = `${tag}-${i}`;
        try {
            const body = { request_id: id, priority: 'HIGH', ...more };
            const { status, json, text } = await s.ask(`prompt of ${id}`, body, { fresh: true, check: false });
            return { id, status, json, text };
        } catch (e) {
            if (e.code === 'ERR_ASSERTION') throw e;
            return { id, broken: e.message };
        }
    });
}

/* Whatever the client saw of it, it is done, was bought once, and is told in the same words again. */
async function assertDoneOnce(s, results) {
    for (const { id, status, json } of results) {
        const res = await until(`${id} is done`, async () => {
            const r = await s.get(`/v1/requests/${id}`, { fresh: true, check: false });
            return r.json?.status === 'done' && r;
        }, 20000);
        assert.equal(res.json.response.text, `Answer to: prompt of ${id}`);
        if (status === 200) assert.deepEqual(res.json.response, json);
        const again = await s.ask(`prompt of ${id}`, { request_id: id, priority: 'HIGH' }, { fresh: true });
        assert.equal(again.status, 200, again.text);
        assert.deepEqual(again.json, res.json.response);
        assert.equal(s.fake.callsWith(id).length, 1, `${id} was sent once`);
    }
}

/* SIGTERM has come: workers leave it pending. */
function isTold(pid) {
    try {
        const pending = /^ShdPnd:\s*([0-9a-f]+)$/m.exec(fs.readFileSync(`/proc/${pid}/status`, 'latin1'));
        return (BigInt(`0x${pending[1]}`) & 0x4000n) !== 0n;
    } catch {
        return false;
    }
}

/* Waits until those workers have left. Gives the longest time one took from its SIGTERM on, and all from now. */
async function watchLeaving(s, pids) {
    const start = performance.now();
    const told = new Map();
    let longest = 0;
    await until(
        'the workers have left',
        () => {
            const now = performance.now();
            const here = new Set(s.fcgi().map((p) => p.pid));
            for (const pid of pids) {
                if (!told.has(pid) && isTold(pid)) told.set(pid, now);
                if (here.has(pid) && told.has(pid)) longest = Math.max(longest, now - told.get(pid));
            }
            return !pids.some((pid) => here.has(pid));
        },
        LEAVE_MS + NOTICE_MS + 3000,
    );
    return { longest, gone: performance.now() - start };
}

/* Every worker left by itself. */
function assertNoneKilled(s) {
    const log = fs.readFileSync(path.join(s.dir, 'apache.log'), 'utf8');
    const ends = log.match(/mod_fcgid: process \S+ exit\(.*$/gm) ?? [];
    for (const line of ends) assert.match(line, /terminated by calling exit\(\), return code: 0$/);
    assert.doesNotMatch(log, /mod_fcgid: process .*SIGKILL/);
}

async function prompts(s) {
    /* Processes come one after the other, as quickly as the machine makes them; a batch of six waits for its six. */
    const window = async (window_ms) => assert.equal((await s.put('/v1/settings', { high_priority: { window_ms } })).status, 200);
    await window(30000);
    const results = await Promise.all(ask(s, 'plain', 12));
    await window(100);
    for (const { id, status, json, text } of results) {
        assert.equal(status, 200, text);
        assert.equal(json.text, `Answer to: prompt of ${id}`);
    }
    assert.ok(s.fake.calls.length < 12, `${s.fake.calls.length} calls for 12 prompts: some shared one`);
    const refused = await s.post('/v1/query', { prompt: 17 }, { check: false });
    assert.equal(refused.status, 400, refused.text);
    assert.equal((await s.get('/v1/settings')).json.provider, 'openai');
    const coordinator = s.coordinatorPid();
    assert.ok(coordinator, 'the first worker started a coordinator');
    const all = s.processes();
    assert.equal(all.filter((p) => p.name === 'carpoold').length, 1);
    const workers = all.filter((p) => p.name === 'carpool.fcgi');
    const managers = new Set(workers.map((p) => p.ppid));
    assert.equal(managers.size, 1, 'all are children of the process manager');
    for (const p of workers) {
        assert.ok(!managers.has(p.pid));
        assert.ok(p.threads <= 2, `one thread serves and one waits for signals, here are ${p.threads}`);
    }
}

/* Stops Apache while six prompts are at the provider for latencyMs, and starts it again. */
async function stopWhile(s, tag, latencyMs) {
    s.fake.latencyMs = latencyMs;
    const coordinator = s.coordinatorPid();
    const asked = ask(s, tag, 6);
    await until('all are at the provider', () => new Set(s.fake.prompts.filter((p) => p.includes(tag))).size === 6);
    const workers = s.fcgi().map((p) => p.pid);
    s.front.kill('SIGTERM');
    const { longest, gone } = await watchLeaving(s, workers);
    await s.frontExit;
    const results = await Promise.all(asked);
    assert.ok(isAlive(coordinator), 'the coordinator goes on');
    assert.deepEqual(
        s.processes().map((p) => p.name),
        ['carpoold'],
    );
    fs.rmSync(path.join(s.dir, 'apache.pid'), { force: true });
    await s.launch();
    await until('it serves again', async () => (await s.get('/health', { fresh: true, check: false })).status === 200);
    assert.equal(s.coordinatorPid(), coordinator);
    assertNoneKilled(s);
    return { longest, gone, results };
}

/* Sends Apache a signal while six prompts are at the provider for latencyMs. */
async function signalWhile(s, tag, signal, latencyMs) {
    s.fake.latencyMs = latencyMs;
    const coordinator = s.coordinatorPid();
    const asked = ask(s, tag, 6);
    await until('all are at the provider', () => new Set(s.fake.prompts.filter((p) => p.includes(tag))).size === 6);
    const workers = s.fcgi().map((p) => p.pid);
    const start = performance.now();
    s.front.kill(signal);
    const { longest, gone } = await watchLeaving(s, workers);
    const results = await Promise.all(asked);
    s.fake.latencyMs = 0;
    const [next] = await Promise.all(ask(s, `${tag}-after`, 1));
    const servedMs = performance.now() - start;
    assert.equal(next.status, 200, next.text ?? next.broken);
    assert.equal(s.coordinatorPid(), coordinator, 'the coordinator survives');
    assertNoneKilled(s);
    return { longest, gone, servedMs, results };
}

function assertCleanEnd(results) {
    for (const { id, status, json, broken } of results) {
        if (broken) continue; /* Apache closed the connection */
        if (status === 200) continue;
        assert.equal(status, 503, `${id}: ${status}`);
        assert.equal(json?.error.error_code, 'SHUTTING_DOWN', `${id} got an answer of ours`);
        assert.match(json.error.message, new RegExp(`/v1/requests/${id}`));
    }
}

const figures = (longest, gone) =>
    `a worker took ${longest.toFixed(0)} ms at most, all were gone after ${gone.toFixed(0)} ms`;
const words = (results) => results.map((r) => r.status ?? r.broken).join(', ');

for (const mpm of ['event', 'prefork'])
    describe(`mod_fcgid with mpm_${mpm}`, () => {
        let s;
        const it = (name, body) =>
            test(name, { timeout: 90000 * STRETCH }, async (t) => {
                s.fake.reset();
                try {
                    await body(t);
                } catch (e) {
                    for (const line of s.logs().split('\n')) t.diagnostic(line);
                    throw e;
                }
            });
        before(async () => {
            s = await ApacheStack.start({ provider: 'openai', mpm, conf: CONF });
        });
        after(() => s?.stop());

        it('prompts share calls; one process a request, one coordinator', () => prompts(s));

        it('stop while nothing runs: at once', async (t) => {
            await Promise.all(ask(s, 'idle', 3));
            const coordinator = s.coordinatorPid();
            const start = performance.now();
            s.front.kill('SIGTERM');
            await s.frontExit;
            const took = performance.now() - start;
            await until('the workers have left', () => s.fcgi().length === 0);
            t.diagnostic(`Apache stopped within ${took.toFixed(0)} ms`);
            assert.ok(took < (NOTICE_MS + 2000) * STRETCH, `${took} ms`);
            assert.ok(isAlive(coordinator));
            fs.rmSync(path.join(s.dir, 'apache.pid'), { force: true });
            await s.launch();
            await until('it serves again', async () => (await s.get('/health', { fresh: true, check: false })).status === 200);
        });

        it('stop while prompts run for 5 s', async (t) => {
            const { longest, gone, results } = await stopWhile(s, 'stop5', 5000);
            t.diagnostic(`${figures(longest, gone)} ${words(results)}`);
            assert.ok(longest < LEAVE_MS, `a worker took ${longest} ms`);
            assertCleanEnd(results);
            s.fake.latencyMs = 0;
            await assertDoneOnce(s, results);
        });

        it('stop while prompts run for 15 s', async (t) => {
            const { longest, gone, results } = await stopWhile(s, 'stop15', 15000);
            t.diagnostic(`${figures(longest, gone)} ${words(results)}`);
            assert.ok(longest < LEAVE_MS, `a worker took ${longest} ms`);
            assertCleanEnd(results);
            s.fake.latencyMs = 0;
            await assertDoneOnce(s, results);
        });

        for (const [word, signal] of [
            ['graceful', 'SIGUSR1'],
            ['restart', 'SIGHUP'],
        ]) {
            it(`${word} while prompts run for 5 s`, async (t) => {
                const { longest, gone, servedMs, results } = await signalWhile(s, `${word}5`, signal, 5000);
                t.diagnostic(`${figures(longest, gone)}, next answer ${servedMs.toFixed(0)} ms; ${words(results)}`);
                assertCleanEnd(results);
                if (word === 'graceful') assert.ok(results.every((r) => r.status === 200), 'everybody was answered');
                await assertDoneOnce(s, results);
            });
            it(`${word} while prompts run for 15 s`, async (t) => {
                const { longest, gone, servedMs, results } = await signalWhile(s, `${word}15`, signal, 15000);
                t.diagnostic(`${figures(longest, gone)}, next answer ${servedMs.toFixed(0)} ms; ${words(results)}`);
                assert.ok(longest < LEAVE_MS, `a worker took ${longest} ms`);
                assertCleanEnd(results);
                if (word === 'graceful') assert.ok(results.every((r) => r.status === 503), 'everybody was told');
                await assertDoneOnce(s, results);
            });
        }
    });
