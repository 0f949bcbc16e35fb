'use strict';
/* Settings put on one machine are in force on all; the provider's key stays where it was put; and no secret is ever
 * told to Redis. */
const { describe } = require('node:test');
const assert = require('node:assert/strict');
const { useMachines, sleep, until, STRETCH } = require('./machines');
const { PROVIDER_KEY } = require('../integration/harness');

const SECRETS = {
    client: 'canary-client-api-key',
    admin: 'canary-admin-api-key',
    caller: 'sk-canary-caller-key',
    put: 'sk-canary-put-provider-key',
};
const settingsOf = async (machine, options) => (await machine.get('/v1/settings', options)).json;

describe('put on one machine', () => {
    const m = useMachines();
    const windowOf = (settings) => settings.high_priority.window_ms;
    const put = (machine, window_ms) => machine.put('/v1/settings', { high_priority: { window_ms } });

    m.test('in force on the other within a second', async (t) => {
        const times = [];
        for (let i = 0; i < 10; i++) {
            const [from, to] = i % 2 ? [m.a, m.b] : [m.b, m.a];
            const start = performance.now();
            const res = await put(from, 100 + i);
            assert.equal(res.status, 200, res.text);
            assert.equal(windowOf(await settingsOf(from)), 100 + i, 'at once where it was put');
            await until('the other one has it', async () => windowOf(await settingsOf(to)) === 100 + i, 5000);
            times.push(performance.now() - start);
        }
        t.diagnostic(`in force on the other after ${times.map((ms) => ms.toFixed(0)).join(', ')} ms`);
        assert.ok(Math.max(...times) < 1000 * STRETCH, `${Math.max(...times).toFixed(0)} ms`);
    });

    m.test('it is not only shown, it works: the window of the other machine is another one', async () => {
        assert.equal((await put(m.a, 1500)).status, 200);
        await sleep(1000 * STRETCH);
        const start = performance.now();
        assert.equal((await m.b.ask('waits its window', { priority: 'HIGH' })).status, 200);
        assert.ok(performance.now() - start >= 1450, 'the window that was put on A');
        assert.equal((await put(m.a, 20)).status, 200);
    });

    m.test('put on both at once: both end with the same', async () => {
        for (let round = 0; round < 10; round++) {
            const results = await Promise.all(
                [m.a, m.b].flatMap((machine, i) => [put(machine, 200 + round * 10 + i), put(machine, 300 + round * 10 + i)]),
            );
            for (const res of results) assert.ok([200, 409, 503].includes(res.status), res.text);
            assert.ok(results.some((res) => res.status === 200), 'somebody wins');
            const ends = async () => [windowOf(await settingsOf(m.a)), windowOf(await settingsOf(m.b))];
            await sleep(300);
            await until('both say the same', async () => new Set(await ends()).size === 1, 3000);
            const settled = await ends();
            await sleep(100);
            assert.deepEqual(await ends(), settled, 'and it stays so');
        }
    });

    m.test('different settings put on both at once are both kept', async () => {
        const results = await Promise.all([
            m.a.put('/v1/settings', { medium_priority: { max_batch: 7 } }),
            m.b.put('/v1/settings', { low_priority: { max_batch: 9 } }),
        ]);
        for (const res of results) assert.equal(res.status, 200, res.text);
        await until('both have both', async () => {
            const both = await Promise.all([m.a, m.b].map((machine) => settingsOf(machine)));
            return both.every((s) => s.medium_priority.max_batch === 7 && s.low_priority.max_batch === 9);
        }, 3000);
    });

    m.test('put while the other machine was away: in force when it is back', async () => {
        await m.b.die();
        assert.equal((await put(m.a, 77)).status, 200);
        await m.b.revive();
        await m.allShare();
        await until('it caught up', async () => windowOf(await settingsOf(m.b)) === 77, 3000);
    });

    m.test('put while Redis is away: refused, or shared when it is back', async () => {
        await m.redis.kill();
        const res = await put(m.a, 55);
        assert.ok([200, 503].includes(res.status), res.text);
        await m.redis.launch();
        await m.allShare();
        const end = async () => [windowOf(await settingsOf(m.a)), windowOf(await settingsOf(m.b))];
        await until('both say the same', async () => new Set(await end()).size === 1, 3000);
        if (res.status === 200) assert.equal((await end())[1], 55);
    });
});

describe('secrets', () => {
    const m = useMachines({ key: SECRETS.client, env: { API_KEY: SECRETS.client, ADMIN_KEY: SECRETS.admin } });
    const admin = { headers: { 'X-API-Key': SECRETS.admin } };
    const client = { headers: { 'X-API-Key': SECRETS.client } };

    m.test('the provider key does not travel, and Redis is told no secret', async () => {
        const heard = await m.redis.monitor();
        for (const machine of m.all) machine.secrets.push(SECRETS.put);
        const changed = { api_key: SECRETS.put, high_priority: { window_ms: 33 } };
        assert.equal((await m.a.put('/v1/settings', changed, admin)).status, 200);
        const other = () => settingsOf(m.b, admin);
        await until('the rest of it has travelled', async () => (await other()).high_priority.window_ms === 33, 3000);
        const body = { request_id: 'invoked', user_prompt: 'with a key of my own', openai_api_key: SECRETS.caller };
        for (const machine of m.all) {
            assert.equal((await machine.ask('with a client key', { request_id: 'q' }, client)).status, 200);
            assert.equal((await machine.post('/invoke', body, client)).status, 200);
            await machine.post('/v1/query', { prompt: 'later', request_id: 'later' }, { headers: { ...client.headers, Prefer: 'respond-async' } });
        }
        assert.equal((await m.b.get('/v1/requests/later?wait=10', client)).json.status, 'done');
        const keys = m.fake.calls.map((call) => call.headers.authorization ?? '');
        assert.ok(keys.some((key) => key.includes(SECRETS.put)), 'A pays with the key that was put there');
        assert.ok(keys.some((key) => key.includes(SECRETS.caller)), 'and for its caller with his');
        await m.b.ask('on B', { priority: 'HIGH' }, client);
        assert.ok(m.fake.callsWith('on B')[0].headers.authorization.includes(PROVIDER_KEY), 'B pays with its own');
        assert.doesNotMatch(JSON.stringify(await other()), /canary/);

        const told = heard.text() + m.redis.onDisk();
        heard.close();
        assert.ok(told.includes('with a client key'), 'Redis was told something');
        for (const secret of [PROVIDER_KEY, ...Object.values(SECRETS)]) assert.ok(!told.includes(secret), secret);
    });

    m.test('one id under two keys is two requests, under one key on two machines one', async () => {
        const ask = (machine, who) => machine.ask('whose is it', { request_id: 'mine', priority: 'HIGH' }, who);
        const [one, two, other] = await Promise.all([ask(m.a, client), ask(m.b, client), ask(m.b, admin)]);
        for (const res of [one, two, other]) assert.equal(res.status, 200, res.text);
        assert.equal(one.text, two.text);
        assert.equal(m.fake.prompts.length, 2);
        assert.equal(m.fake.calls.length, 2, 'and never in one call');
    });
});
