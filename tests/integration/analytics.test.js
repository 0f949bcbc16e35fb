'use strict';
/* GET /v1/analytics: source 2's keys (all of batches), and that every number equals what was sent. */
const assert = require('node:assert/strict');
const { useStack, until, sleep } = require('./harness');

const s = useStack({
    provider: 'openai',
    env: {
        CARPOOL_BATCH_HIGH_WINDOW_MS: '30000',
        CARPOOL_BATCH_MEDIUM_WINDOW_MS: '30000',
        CARPOOL_BATCH_LOW_WINDOW_MS: '30000',
    },
});
const analytics = async (query = '') => (await s.get(`/v1/analytics${query}`)).json;
const day = (offset = 0) => new Date(Date.now() + offset * 86400000).toISOString().slice(0, 10);
const send = (n, priority) => Promise.all(Array.from({ length: n }, (_, i) => s.ask(`${priority} ${i}`, { priority })));
const window = async (priority, window_ms) =>
    assert.equal((await s.put('/v1/settings', { [`${priority}_priority`]: { window_ms } })).status, 200);
/* One batch that is not full, which leaves when all of it has waited for a while: that time, the least and the most. */
async function sendTogether(n, priority) {
    const name = priority.toLowerCase();
    const start = performance.now();
    const sent = send(n, priority);
    await until('they wait', async () => (await s.get('/stats')).json.queue[name].depth === n);
    const together = performance.now();
    await sleep(150);
    const least = performance.now() - together;
    await window(name, 0);
    await sent;
    const most = performance.now() - start;
    await window(name, 30000);
    return [least, most];
}

s.test('nothing sent yet', async () => {
    const json = await analytics();
    assert.deepEqual([json.total_requests, json.high_priority, json.medium_priority, json.low_priority], [0, 0, 0, 0]);
    assert.deepEqual(json.requests, { high: 0, medium: 0, low: 0, total: 0 });
    assert.deepEqual(json.request_count_over_time, []);
    assert.deepEqual(json.priority_distribution, [
        { name: 'High', value: 0 },
        { name: 'Medium', value: 0 },
        { name: 'Low', value: 0 },
    ]);
});

s.test('counts equal what was sent', async () => {
    const midnight = day();
    const [, , [least, most]] = await Promise.all([send(6, 'HIGH'), send(4, 'MEDIUM'), sendTogether(3, 'LOW')]);
    await sendTogether(2, 'HIGH');
    const json = await analytics();
    assert.equal(s.fake.calls.length, 4);
    assert.deepEqual([json.total_requests, json.high_priority, json.medium_priority, json.low_priority], [4, 2, 1, 1]);
    assert.deepEqual(json.priority_distribution, [
        { name: 'High', value: 2 },
        { name: 'Medium', value: 1 },
        { name: 'Low', value: 1 },
    ]);
    if (day() === midnight) {
        assert.deepEqual(json.request_count_over_time, [{ date: midnight, count: 4 }]);
        assert.deepEqual(json.requests_over_time, [{ date: midnight, count: 15, high: 8, medium: 4, low: 3 }]);
    }
    assert.deepEqual(json.requests, { high: 8, medium: 4, low: 3, total: 15 });
    assert.equal(json.calls_saved, 11);
    assert.equal(json.mean_batch_fill, 15 / 4);
    assert.equal(json.flush_reasons.full, 2);
    assert.equal(json.flush_reasons.window, 2);
    for (const table of [json.latency_ms, json.queue_ms]) {
        for (const name of ['high', 'medium', 'low']) {
            const { p50, p90, p99 } = table[name];
            assert.ok(p50 >= 0 && p50 <= p90 && p90 <= p99 && p99 < 10000, JSON.stringify(table));
        }
    }
    const { p50 } = json.queue_ms.low;
    assert.ok(p50 >= least * 0.95 && p50 <= most * 1.05, `${p50}, not ${least} to ${most}: ${JSON.stringify(json.queue_ms)}`);
    assert.ok('cost_usd' in json && 'errors' in json);
});

s.test('histograms say what is behind the means', async () => {
    const json = await analytics();
    assert.deepEqual(json.batch_fill, [
        { size: 2, count: 1, high: 1, medium: 0, low: 0 },
        { size: 3, count: 1, high: 0, medium: 0, low: 1 },
        { size: 4, count: 1, high: 0, medium: 1, low: 0 },
        { size: 6, count: 1, high: 1, medium: 0, low: 0 },
    ]);
    const waits = json.queue_ms_histogram;
    assert.equal(waits[0].below_ms, 0.4);
    assert.equal(waits.at(-1).below_ms, null);
    for (const name of ['high', 'medium', 'low']) {
        assert.equal(waits.reduce((n, row) => n + row[name], 0), json.requests[name], name);
        const { p50 } = json.queue_ms[name];
        const at = waits.findIndex((_, i) => waits.slice(0, i + 1).reduce((n, row) => n + row[name], 0) >= json.requests[name] / 2);
        assert.ok(p50 < waits[at].below_ms && p50 >= (waits[at - 1]?.below_ms ?? 0), `${name}: ${p50} in row ${at}`);
    }
    assert.ok(waits.every((row) => row.count === row.high + row.medium + row.low));
    const none = await analytics(`?from=${day(2)}`);
    assert.deepEqual(none.batch_fill, []);
    assert.ok(none.queue_ms_histogram.every(({ count }) => count === 0));
});

s.test('tokens are those the provider reported', async () => {
    const before = await analytics();
    await sendTogether(3, 'HIGH');
    const [call] = s.fake.calls;
    const sum = (json) => Object.values(json.tokens).reduce((n, v) => n + (typeof v === 'number' ? v : 0), 0);
    const after = await analytics();
    assert.deepEqual([after.cost_usd, after.unpriced_models], [null, ['fake-model']], 'no price, no cost');
    assert.equal(after.tokens.by_model[0].cost_usd, null);
    assert.equal(
        after.tokens.total - before.tokens.total,
        call.tokens,
        JSON.stringify([before.tokens, after.tokens, sum(after)]),
    );
});

s.test('a replay makes no batch, a refusal is counted as an error', async () => {
    const before = await analytics();
    await window('high', 0);
    const body = { request_id: 'counted-1', prompt: 'again', priority: 'HIGH' };
    await s.post('/v1/query', body);
    await s.post('/v1/query', body);
    await s.post('/v1/query', { prompt: 'x', priority: 'urgent' });
    await until(
        'the workers have sent their counts',
        async () => JSON.stringify((await analytics()).errors) !== JSON.stringify(before.errors),
    );
    const after = await analytics();
    assert.equal(after.total_requests, before.total_requests + 1);
    const total = (errors) => Object.values(errors).reduce((n, v) => n + v, 0);
    assert.equal(total(after.errors), total(before.errors) + 1, JSON.stringify(after.errors));
});

s.test('from and to choose days', async () => {
    const all = await analytics();
    assert.deepEqual((await analytics(`?from=${day(-1)}&to=${day(1)}`)).total_requests, all.total_requests);
    assert.equal((await analytics(`?from=${day(2)}`)).total_requests, 0);
    assert.equal((await analytics(`?to=${day(-2)}`)).total_requests, 0);
    assert.deepEqual((await analytics(`?from=${day(2)}`)).request_count_over_time, []);
    assert.equal((await s.get('/v1/analytics?from=tomorrow')).status, 400);
});

s.test('counters survive the coordinator', async () => {
    const before = await analytics();
    const pid = s.coordinatorPid();
    process.kill(pid, 'SIGTERM');
    await until(
        'another one serves',
        async () => s.coordinatorPid() !== pid && (await s.ask('next', { priority: 'HIGH' })).status === 200,
        10000,
    );
    assert.equal((await analytics()).total_requests, before.total_requests + 1);
});
