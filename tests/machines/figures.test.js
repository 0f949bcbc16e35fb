'use strict';
/* What is counted, limited and cached for all machines together. */
const { describe } = require('node:test');
const assert = require('node:assert/strict');
const { useMachines, settled, timesPaid, sleep, until, STRETCH } = require('./machines');

describe('counters', () => {
    const m = useMachines();
    const requests = async (machine) => (await machine.get('/v1/analytics')).json.requests;
    const load = (machine, tag, n) =>
        Promise.all(
            Array.from({ length: n }, (_, i) => machine.ask(`${tag} ${i}`, { priority: ['HIGH', 'MEDIUM', 'LOW'][i % 3] })),
        );
    const WORDS_MS = 5000; /* from an answer until its count has reached the other machine */

    /* Both say the same, and it is what was sent since before. */
    async function assertSum(before, sent) {
        const expected = before.total + sent;
        await until(
            `both count ${expected}`,
            async () => {
                const both = await Promise.all(m.all.map(requests));
                if (both.every(({ total }) => total === expected)) return true;
                throw new Error(JSON.stringify(both));
            },
            WORDS_MS,
        );
        await sleep(1500);
        const [onA, onB] = await Promise.all(m.all.map(requests));
        assert.equal(onA.total, expected, 'and it stays so');
        assert.deepEqual(onA, onB);
        return onA;
    }

    /* What both say once nothing is on its way any more. */
    const steady = () =>
        until(
            'both say the same for a while',
            async () => {
                const before = await Promise.all(m.all.map(requests));
                await sleep(1500);
                const [onA, onB] = await Promise.all(m.all.map(requests));
                const totals = [...before, onA, onB].map(({ total }) => total);
                return new Set(totals).size === 1 && onA;
            },
            4 * WORDS_MS,
        );

    m.test('both machines tell the sum of both, and count nothing twice after restarts', async () => {
        let sum = await steady();
        await Promise.all([load(m.a, 'on A', 30), load(m.b, 'on B', 21)]);
        sum = await assertSum(sum, 51);
        assert.deepEqual([sum.high, sum.medium, sum.low].reduce((x, y) => x + y), sum.total);

        const woken = m.woken;
        await m.b.die();
        await load(m.a, 'while B is away', 6);
        await m.b.revive();
        await m.allShare();
        await m.redis.kill();
        await m.redis.launch();
        await m.allShare();
        sum = await assertSum(sum, 6 + m.woken - woken);
        for (const machine of m.all) machine.killCoordinator();
        await m.allShare();
        /* What woke the coordinators, and a sum that was given up with one, which is allowed for figures. */
        const restarted = await steady();
        assert.ok(restarted.total >= sum.total - 1 && restarted.total <= sum.total + 2, JSON.stringify(restarted));
        await load(m.b, 'after all that', 3);
        await assertSum(restarted, 3);
    });

    m.test('/stats tells the same figures on both', async () => {
        await load(m.a, 'for stats', 4);
        const figures = async (machine) => {
            const { requests: asked, latency_ms } = (await machine.get('/stats')).json;
            return { by_priority: asked.by_priority, total: asked.total, latency_ms };
        };
        await until(
            'both tell the same',
            async () => {
                const [onA, onB] = await Promise.all(m.all.map(figures));
                assert.deepEqual(onA, onB);
                return onA.total >= 4;
            },
            WORDS_MS,
        );
    });

    m.test('an answer replayed by the other machine buys nothing and is counted once as answered', async () => {
        const before = await steady();
        const ids = Array.from({ length: 5 }, (_, i) => `counted-${i}`);
        await Promise.all(ids.map((id) => m.a.ask(`prompt of ${id}`, { request_id: id })));
        for (let i = 0; i < 3; i++) await Promise.all(ids.map((id) => m.b.ask(`prompt of ${id}`, { request_id: id })));
        await assertSum(before, 5);
    });
});

describe('requests a minute', () => {
    const LIMIT = 30;
    const m = useMachines({ env: { CARPOOL_LIMITS_REQUESTS_PER_MINUTE: String(LIMIT) } });

    m.test('over both machines together', async (t) => {
        const start = performance.now();
        const results = [];
        for (let i = 0; i < LIMIT; i++)
            results.push(...(await Promise.all(m.all.map((machine) => machine.ask(`limited ${i}`, { priority: 'HIGH' })))));
        const minutes = (performance.now() - start) / 60000;
        const served = results.filter((res) => res.status === 200).length;
        t.diagnostic(`${served} of ${results.length} in ${(minutes * 60).toFixed(1)} s`);
        for (const res of results) assert.ok([200, 429].includes(res.status), res.text);
        const refused = results.find((res) => res.status === 429);
        assert.ok(Number(refused.headers['retry-after']) >= 1);
        assert.equal(refused.headers['x-ratelimit-limit-requests'], String(LIMIT));
        /* Two to wake the coordinators may have been taken before. */
        assert.ok(served >= LIMIT - 2, `${served} served of ${LIMIT}`);
        assert.ok(served <= LIMIT + Math.ceil(minutes * LIMIT), `${served} served, ${LIMIT} a minute are allowed`);
    });
});

describe('the cache', () => {
    const m = useMachines({ env: { CARPOOL_CACHE_MODE: 'exact' } });
    /* What Redis has of it. It hears of an end just after the client. */
    const answers = () => m.redis.command('KEYS', '{carpool}:c:*');
    const kept = (n) => until(`Redis has ${n} answers`, async () => (await answers()).length >= n);

    m.test('an answer of A is given by B without a call', async () => {
        const before = (await answers()).length;
        const first = await m.a.ask('what is shared', { priority: 'HIGH' });
        assert.equal(first.json.cached, false);
        await kept(before + 1);
        const second = await m.b.ask('what is shared', { priority: 'HIGH' });
        assert.equal(second.status, 200, second.text);
        assert.equal(second.json.cached, true);
        assert.equal(second.json.text, first.json.text);
        assert.notEqual(second.json.request_id, first.json.request_id);
        assert.equal(timesPaid(m.fake, 'what is shared'), 1);
    });

    m.test('… after A is gone, too, and under an id of its own that both then know', async () => {
        const before = (await answers()).length;
        assert.equal((await m.a.ask('and outlives A', { priority: 'HIGH' })).status, 200);
        await kept(before + 1);
        await m.a.die();
        const second = await m.b.ask('and outlives A', { priority: 'HIGH', request_id: 'from-cache' });
        assert.equal(second.json.cached, true, second.text);
        await m.a.revive();
        await m.allShare();
        const replay = await m.a.ask('and outlives A', { priority: 'HIGH', request_id: 'from-cache' });
        assert.equal(replay.text, second.text);
        assert.equal(timesPaid(m.fake, 'and outlives A'), 1);
    });

    m.test('what is deleted on A is not given by B any more', async () => {
        const first = await m.a.ask('to be forgotten', { priority: 'HIGH', request_id: 'forget' });
        assert.equal(first.status, 200);
        assert.equal((await m.a.delete('/v1/chat/forget')).status, 200);
        await until('B has heard of it', async () => (await m.b.get('/v1/requests/forget')).status === 410);
        const second = await m.b.ask('to be forgotten', { priority: 'HIGH' });
        assert.equal(second.json.cached, false, second.text);
        assert.equal(timesPaid(m.fake, 'to be forgotten'), 2);
    });

    m.test('Redis away: asked anew or refused, never hung', async () => {
        await m.a.ask('asked before', { priority: 'HIGH' });
        await m.redis.kill();
        const res = await settled(m.b.ask('asked before', { priority: 'HIGH', request_id: 'x' }));
        assert.equal(res.status, 503, res.text);
        assert.ok(res.ms < 5000 * STRETCH, `${res.ms} ms`);
    });
});
