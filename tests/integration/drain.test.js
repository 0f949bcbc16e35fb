'use strict';
/*
 * SIGTERM while prompts are under way, to the coordinator (30 s for what runs) and to a pool of workers (28 s):
 * what runs is finished and told, what waits is refused or waits for the next coordinator, what takes longer
 * can be asked for by id, and nothing is bought twice. (One process under mod_fcgid: tests/apache.)
 */
const { describe, test } = require('node:test');
const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { Stack, until, sleep, isAlive, STRETCH } = require('./harness');

const OPTIONS = {
    provider: 'openai',
    env: {
        CARPOOL_BATCH_HIGH_WINDOW_MS: '30',
        CARPOOL_BATCH_LOW_WINDOW_MS: '6000',
        CARPOOL_BATCH_HIGH_LATENCY_MS: '10000', /* a prompt waits as long and 30 s more */
        CARPOOL_BATCH_FLUSH_WHEN_ALL_WAIT: 'off',
    },
};

/* Side by side, since the longest of them wait for limits of half a minute. */
const cases = [];
const drains = (name, body) => cases.push({ name, body });
const drain = ({ name, body }) =>
    test(name, { timeout: 120000 * STRETCH }, async (t) => {
        const s = await Stack.start(OPTIONS);
        try {
            await body(s, t);
        } catch (e) {
            e.message += `\n${s.logs()}`;
            throw e;
        } finally {
            await s.stop();
        }
    });

const ask = (s, id, priority, options = {}) =>
    s.ask(`prompt of ${id}`, { request_id: id, priority }, { fresh: true, check: false, ...options });
const sent = (s, id) => s.fake.callsWith(id).length;
const coordinatorLog = (s) => fs.readFileSync(path.join(s.storage, 'logs', 'coordinator.log'), 'utf8');

/* A prompt that is at the provider, for ms, or (null) for ever, or until fake.release(): {answer}, a promise. */
async function running(s, id, ms) {
    if (ms === undefined) s.fake.hold();
    else s.fake.when((call) => call.members.some((m) => m.prompt.includes(id)), ms === null ? 'hang' : { ms });
    const answer = ask(s, id, 'HIGH');
    await until(`${id} is at the provider`, () => sent(s, id) === 1);
    return { answer };
}

drains('the coordinator: what runs is told, what waits is refused, what was promised waits for the next', async (s) => {
    const runs = await running(s, 'runs-0');
    const waits = ask(s, 'waits-0', 'LOW');
    const kept = await ask(s, 'kept-0', 'LOW', { headers: { Prefer: 'respond-async' } });
    assert.equal(kept.status, 202, kept.text);
    await until('one waits', async () => (await s.get('/v1/requests/waits-0')).json?.status === 'queued');
    const pid = s.coordinatorPid();
    process.kill(pid, 'SIGTERM');
    const refused = await waits;
    assert.equal(refused.status, 503, refused.text);
    assert.equal(refused.json.error.error_code, 'SHUTTING_DOWN');
    assert.ok(refused.headers['retry-after']);
    const late = await ask(s, 'late-0', 'HIGH');
    assert.equal(late.status, 503, late.text);
    assert.ok(isAlive(pid), 'it is still finishing');
    s.fake.release();
    const told = await runs.answer;
    assert.equal(told.status, 200, told.text);
    await until('it has left', () => !isAlive(pid), 3000);
    assert.match(coordinatorLog(s), /Finished\./);
    assert.equal(sent(s, 'waits-0') + sent(s, 'late-0') + sent(s, 'kept-0'), 0);
    /* The next one: refused ids are free, the async one is done. */
    for (const id of ['waits-0', 'late-0']) assert.equal((await ask(s, id, 'HIGH')).status, 200, id);
    assert.equal((await s.get('/v1/requests/kept-0?wait=20')).json.status, 'done');
    for (const id of ['runs-0', 'waits-0', 'late-0', 'kept-0']) assert.equal(sent(s, id), 1, id);
});

drains('the coordinator leaves after 30 s, whatever runs; its outcome is unknown and it is not sent again', async (s, t) => {
    const { answer } = await running(s, 'long-0', null);
    const pid = s.coordinatorPid();
    const start = performance.now();
    process.kill(pid, 'SIGTERM');
    await until('it has left', () => !isAlive(pid), 33000);
    const took = performance.now() - start;
    t.diagnostic(`it left after ${took.toFixed(0)} ms`);
    assert.ok(took > 29500, `after ${took} ms already`);
    assert.match(coordinatorLog(s), /Calls still run after the time to finish them/);
    const res = await answer;
    assert.equal(res.status, 424, res.text);
    assert.equal((await ask(s, 'long-0', 'HIGH')).status, 424);
    assert.equal(sent(s, 'long-0'), 1);
});

drains('a second SIGTERM makes the coordinator leave at once; nothing is sent again', async (s) => {
    const { answer } = await running(s, 'twice-0', null);
    const pid = s.coordinatorPid();
    process.kill(pid, 'SIGTERM');
    await until('it has heard the first', () => /Finishing what runs/.test(coordinatorLog(s)));
    assert.ok(isAlive(pid));
    process.kill(pid, 'SIGTERM');
    await until('it has left', () => !isAlive(pid), 2000);
    assert.equal((await answer).status, 424);
    assert.equal(sent(s, 'twice-0'), 1);
});

drains('a pool: what runs is answered, once more SIGTERM changes nothing, lighttpd brings it back', async (s) => {
    const { answer } = await running(s, 'pool-0');
    const { parent, children } = s.workers();
    process.kill(parent.pid, 'SIGTERM');
    await sleep(300);
    process.kill(parent.pid, 'SIGTERM');
    await sleep(300);
    s.fake.release();
    const res = await answer;
    assert.equal(res.status, 200, res.text);
    assert.equal(res.json.text, 'Answer to: prompt of pool-0');
    await until('all of it has left', () => ![parent, ...children].some((p) => isAlive(p.pid)), 3000);
    await until('it serves again', async () => (await ask(s, 'pool-1', 'HIGH').catch(() => ({}))).status === 200);
    assert.equal(sent(s, 'pool-0'), 1);
});

drains('a pool: after 28 s whoever still waits hears where the answer will be', async (s, t) => {
    const { answer } = await running(s, 'slow-0', 33000);
    const { parent, children } = s.workers();
    const start = performance.now();
    process.kill(parent.pid, 'SIGTERM');
    const res = await answer;
    const took = performance.now() - start;
    t.diagnostic(`answered after ${took.toFixed(0)} ms`);
    assert.equal(res.status, 503, res.text);
    assert.equal(res.json.error.error_code, 'SHUTTING_DOWN');
    assert.match(res.json.error.message, /GET \/v1\/requests\/slow-0 has the answer/);
    assert.ok(took > 27000 && took < 30000, `${took} ms`);
    await until('all of it has left', () => ![parent, ...children].some((p) => isAlive(p.pid)), 2000);
    const later = await s.get('/v1/requests/slow-0?wait=20', { fresh: true });
    assert.equal(later.json.status, 'done', later.text);
    assert.equal(later.json.response.text, 'Answer to: prompt of slow-0');
    assert.equal(sent(s, 'slow-0'), 1);
});

describe('drain', { concurrency: true }, () => cases.forEach(drain));
