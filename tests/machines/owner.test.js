'use strict';
/* What became of an id whose machine is dead, stopped, or back: the other one never buys it again, and in the end
 * both say the same. And answers outlive their machine and a restart of Redis. */
const assert = require('node:assert/strict');
const { useMachines, settled, timesPaid, sleep, until, STRETCH, DEAD_MS } = require('./machines');

const m = useMachines({
    env: { CARPOOL_BATCH_LOW_WINDOW_MS: '30000', CARPOOL_BATCH_LOW_MAX_BATCH: '100', CARPOOL_BATCH_FLUSH_WHEN_ALL_WAIT: 'off' },
});
const FINAL_MS = 31000; /* the deadline of HIGH and a little: latency_ms / 1000 + 30 s */
const patient = { check: true, fresh: true, timeoutMs: (FINAL_MS + 5000) * STRETCH };

const ask = (machine, id, more = {}, options = {}) =>
    machine.ask(`prompt of ${id}`, { request_id: id, priority: 'HIGH', ...more }, { ...patient, ...options });

/* Both machines, asked until neither says that it runs or cannot know; then they must agree. */
async function agreedEnd(id) {
    const ends = [];
    for (const machine of [m.a, m.b])
        ends.push(
            await until(
                'an end is told',
                async () => {
                    const res = await ask(machine, id, {}, { check: true });
                    return [200, 424].includes(res.status) && res;
                },
                FINAL_MS,
            ),
        );
    const [onA, onB] = ends;
    assert.equal(onA.status, onB.status, `${onA.text}\n${onB.text}`);
    if (onA.status === 200) assert.equal(onA.text, onB.text);
    assert.ok(timesPaid(m.fake, `prompt of ${id}`) <= 1, 'paid once at most');
    return onA.status;
}

m.test('killed while its call runs: 424 on the other within the deadline, and never a second call', async (t) => {
    m.fake.latencyMs = 2500;
    const mine = settled(ask(m.a, 'cut'));
    await m.fake.waitForCalls(1, 5000 * STRETCH);
    await m.a.die();
    await mine;
    const start = performance.now();
    const res = await ask(m.b, 'cut');
    const took = performance.now() - start;
    t.diagnostic(`B said ${res.status} after ${took.toFixed(0)} ms`);
    assert.equal(res.status, 424, res.text);
    assert.ok(took < DEAD_MS * STRETCH, `${took.toFixed(0)} ms until the others know that it is dead`);
    assert.equal((await m.b.get('/v1/requests/cut')).json.status, 'unknown');
    assert.equal(timesPaid(m.fake, 'prompt of cut'), 1);
    await m.a.revive();
    await m.allShare();
    assert.equal(await agreedEnd('cut'), 424, 'nothing of the answer reached the store of A');
    assert.equal(m.fake.callsWith('prompt of cut').length, 1);
});

m.test('killed while others wait for it on the other machine: they hear 424, too', async () => {
    m.fake.latencyMs = 2500;
    const mine = settled(ask(m.a, 'awaited'));
    await m.fake.waitForCalls(1, 5000 * STRETCH);
    const waiting = [ask(m.b, 'awaited'), ask(m.b, 'awaited')];
    const read = m.b.get('/v1/requests/awaited?wait=30', patient);
    await sleep(200);
    await m.a.die();
    await mine;
    for (const res of await Promise.all(waiting)) assert.equal(res.status, 424, res.text);
    const told = await read;
    assert.equal(told.json.status, 'unknown', told.text);
    assert.equal(timesPaid(m.fake, 'prompt of awaited'), 1);
});

m.test('killed before its call left: no call at all, and free again once it is back', async () => {
    const mine = settled(ask(m.a, 'unsent', { priority: 'LOW' }));
    await sleep(400);
    await m.a.die();
    await mine;
    assert.equal(m.fake.calls.length, 0);
    const meanwhile = await ask(m.b, 'unsent');
    assert.ok([200, 409, 424].includes(meanwhile.status), meanwhile.text);
    await m.a.revive();
    await m.allShare();
    assert.ok(timesPaid(m.fake, 'prompt of unsent') <= 1);
    if (meanwhile.status === 200) return;
    const again = await ask(m.b, 'unsent', { priority: 'LOW' });
    assert.ok([200, 424].includes(again.status), again.text);
    assert.ok(timesPaid(m.fake, 'prompt of unsent') <= 1);
});

m.test('accepted, then killed before its call left: it runs when its machine is back, once', async () => {
    const body = { prompt: 'promised by A', request_id: 'promised', priority: 'LOW' };
    const headers = { Prefer: 'respond-async' };
    const accepted = await m.a.post('/v1/query', body, { headers });
    assert.equal(accepted.status, 202, accepted.text);
    await m.a.die();
    const meanwhile = await m.b.get('/v1/requests/promised');
    assert.ok(['queued', 'running', 'unknown'].includes(meanwhile.json.status), meanwhile.text);
    assert.equal(m.fake.calls.length, 0);
    await m.a.revive();
    await m.allShare();
    await until('it is done', async () => {
        const { json } = await m.b.get('/v1/requests/promised?wait=5');
        return json.status === 'done';
    }, 45000);
    assert.equal((await m.a.get('/v1/requests/promised')).text, (await m.b.get('/v1/requests/promised')).text);
    assert.equal(timesPaid(m.fake, 'promised by A'), 1);
});

m.test('frozen beyond the time that it counts as alive, then back: one call, one end', async (t) => {
    m.fake.latencyMs = 1000;
    const mine = settled(ask(m.a, 'frozen'));
    await m.fake.waitForCalls(1, 5000 * STRETCH);
    m.a.freeze();
    const res = await ask(m.b, 'frozen');
    t.diagnostic(`B said ${res.status} while A was frozen`);
    assert.equal(res.status, 424, res.text);
    m.a.thaw();
    const own = await mine;
    assert.ok([200, 424].includes(own.status), own.text);
    await m.allShare();
    const end = await agreedEnd('frozen');
    if (own.status === 200) assert.equal(end, 200, 'what A told stays told');
    assert.equal(timesPaid(m.fake, 'prompt of frozen'), 1);
});

m.test('frozen while prompts wait for their call: what the other did meanwhile is not bought again', async () => {
    const ids = Array.from({ length: 6 }, (_, i) => `thawed-${i}`);
    await ask(m.a, 'warm');
    const mine = ids.map((id) => settled(ask(m.a, id, { priority: 'HIGH' })));
    m.a.freeze();
    await sleep(DEAD_MS);
    const other = await Promise.all(ids.map((id) => ask(m.b, id)));
    for (const res of other) assert.ok([200, 424].includes(res.status), res.text);
    m.a.thaw();
    await Promise.all(mine);
    await m.allShare();
    for (const [i, id] of ids.entries()) {
        const end = await agreedEnd(id);
        if (other[i].status === 200) assert.equal(end, 200, id);
    }
});

m.test('what A finished, B tells: after A is gone, after a restart of Redis, after both', async () => {
    const texts = new Map();
    for (const id of ['kept-1', 'kept-2', 'kept-3']) texts.set(id, (await ask(m.a, id)).text);
    const replay = await ask(m.b, 'kept-1');
    assert.equal(replay.text, texts.get('kept-1'));
    assert.equal(replay.headers['idempotent-replayed'], 'true');
    await m.a.die();
    assert.equal((await ask(m.b, 'kept-2')).text, texts.get('kept-2'));
    await m.redis.kill();
    await m.redis.launch();
    await m.b.says('ok');
    for (const [id, text] of texts) assert.equal((await ask(m.b, id)).text, text, id);
    assert.equal(m.fake.calls.length, 3);
});

m.test('the coordinator alone is killed: its ids are settled by the next one within seconds', async () => {
    m.fake.latencyMs = 1500;
    const mine = settled(ask(m.a, 'orphan'));
    await m.fake.waitForCalls(1, 5000 * STRETCH);
    m.a.killCoordinator();
    const res = await ask(m.b, 'orphan');
    assert.equal(res.status, 424, res.text);
    assert.equal((await mine).status, 424);
    assert.equal(await agreedEnd('orphan'), 424);
});

m.test('Redis loses everything: what is known here still holds here', async () => {
    const before = await ask(m.a, 'forgotten');
    await m.redis.kill();
    m.redis.lose();
    await m.redis.launch();
    await m.allShare();
    assert.equal((await ask(m.a, 'forgotten')).text, before.text);
    assert.equal(timesPaid(m.fake, 'prompt of forgotten'), 1);
    m.fake.latencyMs = 300;
    const [onA, onB] = await Promise.all([ask(m.a, 'afresh'), ask(m.b, 'afresh')]);
    assert.equal(onA.text, onB.text);
    assert.equal(timesPaid(m.fake, 'prompt of afresh'), 1);
});
