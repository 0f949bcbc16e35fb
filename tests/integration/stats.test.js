'use strict';
/* GET /stats: every figure equals what was done, whoever did it and whoever is asked; it outlives kill -9 of
 * everything, and says what it cannot know while no coordinator runs. */
const { describe } = require('node:test');
const assert = require('node:assert/strict');
const fs = require('node:fs');
const { fcgiRequest } = require('./fcgi_client');
const { useStack, until, sleep, inParallel, STRETCH, RFC3339_MS } = require('./harness');

const ENV = {
    CARPOOL_BATCH_HIGH_WINDOW_MS: '150',
    CARPOOL_BATCH_MEDIUM_WINDOW_MS: '600',
    CARPOOL_BATCH_LOW_WINDOW_MS: '600',
    CARPOOL_BATCH_LOW_MAX_BATCH: '3',
    CARPOOL_RETRY_BASE_MS: '20',
};
const statsOf = async (s) => {
    const res = await s.get('/stats');
    assert.equal(res.status, 200, res.text);
    return res.json;
};
/* The numbers of `after` less those of `before`, whatever was 0 left out. */
function grown(before, after) {
    const all = {};
    const walk = (b, a, at) => {
        if (a && typeof a === 'object' && !Array.isArray(a))
            for (const key of Object.keys(a)) walk(b?.[key], a[key], at ? `${at} ${key}` : key);
        else if (typeof a === 'number' && a !== (b ?? 0)) all[at] = a - (b ?? 0);
    };
    walk(before, after, '');
    return all;
}
const pick = (all, pattern) => Object.fromEntries(Object.entries(all).filter(([key]) => pattern.test(key)));
/* What is stored, and not about the asking itself. */
function stored(json) {
    const { responses, uptime_s, started_at, in_flight, queue, coordinator, ...rest } = json;
    delete rest.requests.per_second;
    delete rest.calls.in_flight;
    delete rest.breaker.state;
    delete rest.breaker.failures_in_a_row;
    return rest;
}

describe('what was done', () => {
    const s = useStack({
        provider: 'openai',
        env: ENV,
        conf: '[prices]\nfake-model = 0.15 0.60\n',
    });
    const send = (n, priority) =>
        Promise.all(Array.from({ length: n }, (_, i) => s.ask(`${priority} ${i}`, { priority })));
    const windows = async (high, medium, low) => {
        const of = (window_ms) => ({ window_ms });
        const body = { high_priority: of(high), medium_priority: of(medium), low_priority: of(low) };
        assert.equal((await s.put('/v1/settings', body)).status, 200);
    };
    /* As send, but each batch waits until it is full, however far apart its members come. */
    const sendFull = async (...batches) => {
        await windows(30000, 30000, 30000);
        await Promise.all(batches.map(([n, priority]) => send(n, priority)));
        await windows(150, 600, 600);
    };
    /* After what has been done so far has been told: each process tells for itself, once a second. */
    const settled = async (counts) =>
        until(`responses are counted: ${JSON.stringify(counts)}`, async () => {
            const json = await statsOf(s);
            return Object.entries(counts).every(([route, count]) => json.responses.by_route[route] === count) && json;
        });
    /* After all of it has been told, of whatever process. */
    const steady = () =>
        until('the counts are told', async () => {
            const a = await statsOf(s);
            await sleep(2200);
            const b = await statsOf(s);
            return JSON.stringify(stored(a)) === JSON.stringify(stored(b)) && b.in_flight === 0;
        }, 20000);

    s.test('nothing yet', async () => {
        await s.get('/health');
        const json = await statsOf(s);
        assert.equal(json.coordinator.status, 'idle', 'asking starts none');
        assert.deepEqual(json.requests, {
            by_priority: { high: 0, medium: 0, low: 0 },
            total: 0,
            by_endpoint: {},
            per_second: null,
        });
        const none = { depth: null, oldest_ms: null };
        assert.deepEqual(json.queue, { high: none, medium: none, low: none });
        assert.deepEqual(json.latency_ms.high, { p50: null, p90: null, p99: null, count: 0 });
        assert.deepEqual(json.cache, { hits: 0, misses: 0, hit_ratio: null });
        assert.deepEqual([json.cost_usd, json.unpriced_models, json.tokens.total], [0, [], 0]);
        assert.deepEqual(json.breaker, { state: null, failures_in_a_row: null, opened: 0 });
    });

    s.test('prompts, batches, calls, tokens and what they cost', async () => {
        const before = await statsOf(s);
        await sendFull([6, 'HIGH'], [4, 'MEDIUM'], [3, 'LOW']);
        await s.post('/query', { query: 'one' }, { headers: { 'X-Priority': 'high' } });
        await s.post('/chat/batched', {
            queries: [
                { chat_id: '1', user_prompt: 'two' },
                { chat_id: '2', user_prompt: 'three' },
            ],
        });
        assert.equal(s.fake.calls.length, 5);
        const after = await settled({ 'POST /chat/batched': 1, 'POST /v1/query': 13, 'POST /query': 1 });
        const all = grown(before, after);
        assert.deepEqual(pick(all, /^requests (by_|total)/), {
            'requests by_priority high': 7,
            'requests by_priority medium': 6,
            'requests by_priority low': 3,
            'requests total': 16,
            'requests by_endpoint /query': 1,
            'requests by_endpoint /v1/query': 13,
            'requests by_endpoint /chat/batched': 2,
        });
        assert.deepEqual(pick(all, /^(calls|batches) .*(high|medium|low|total)$/), {
            'calls by_priority high': 2,
            'calls by_priority medium': 2,
            'calls by_priority low': 1,
            'calls total': 5,
            'batches by_priority high': 2,
            'batches by_priority medium': 2,
            'batches by_priority low': 1,
            'batches total': 5,
        });
        assert.equal(after.batches.mean_batch_fill, 16 / 5);
        assert.deepEqual(pick(all, /^(calls|tokens)_saved/), { 'calls_saved batch': 11, 'calls_saved total': 11 });
        assert.deepEqual(pick(all, /count$/), {
            'latency_ms high count': 7,
            'latency_ms medium count': 6,
            'latency_ms low count': 3,
            'queue_ms high count': 7,
            'queue_ms medium count': 6,
            'queue_ms low count': 3,
            'upstream_ms high count': 2,
            'upstream_ms medium count': 2,
            'upstream_ms low count': 1,
        });
        for (const { p50, p90, p99 } of [after.latency_ms.high, after.queue_ms.low, after.upstream_ms.medium])
            assert.ok(p50 > 0 && p50 <= p90 && p90 <= p99 && p99 < 10000 * STRETCH, JSON.stringify([p50, p90, p99]));
        assert.equal(
            after.tokens.total,
            s.fake.calls.reduce((n, call) => n + call.tokens, 0),
        );
        const [model] = after.tokens.by_model;
        assert.equal(model.model, 'fake-model');
        const usd = (model.prompt * 0.15 + model.completion * 0.6) / 1e6;
        assert.ok(usd > 0 && Math.abs(model.cost_usd - usd) < 1e-12 && after.cost_usd === model.cost_usd);
        const { responses } = after;
        assert.equal(responses.error_ratio, 0);
        assert.equal(
            responses.total,
            Object.values(responses.by_status_class).reduce((n, m) => n + m, 0),
        );
    });

    s.test('requests a second are those of the last minute', async () => {
        const { requests, uptime_s, started_at, coordinator, breaker } = await statsOf(s);
        assert.deepEqual(coordinator, { status: 'ok' });
        assert.deepEqual(breaker, { state: 'closed', failures_in_a_row: 0, opened: 0 });
        assert.match(started_at, RFC3339_MS);
        assert.ok(Math.abs(Date.parse(started_at) + uptime_s * 1000 - Date.now()) < 3000 * STRETCH);
        assert.ok(requests.per_second > 0);
        const most = (requests.total + 1) / Math.max(1, Math.min(uptime_s, 60));
        assert.ok(requests.per_second <= most, `${requests.per_second} a second, ${most} at most`);
    });

    s.test('replays, joins, retries, errors', async () => {
        const before = await statsOf(s);
        const body = { request_id: 'twice', prompt: 'again', priority: 'HIGH' };
        await s.post('/v1/query', body);
        const once = s.fake.calls.at(-1).tokens;
        for (let i = 0; i < 3; i++) await s.post('/v1/query', body);
        const joint = { request_id: 'joint', prompt: 'both of us', priority: 'HIGH' };
        s.fake.hold();
        const first = s.post('/v1/query', joint);
        await s.fake.waitForCalls(2);
        const second = s.post('/v1/query', joint);
        await until('the second has joined', async () => (await statsOf(s)).joined === before.joined + 1);
        s.fake.release();
        await Promise.all([first, second]);
        const shared = s.fake.calls.at(-1).tokens;
        s.fake.next({ do: 'status', status: 429 }, 2);
        assert.equal((await s.ask('third time lucky', { priority: 'HIGH' })).status, 200);
        s.fake.next({ do: 'status', status: 503 });
        assert.equal((await s.ask('second time lucky', { priority: 'HIGH' })).status, 200);
        s.fake.next({ do: 'filter' });
        const filtered = await s.ask('unspeakable', { priority: 'HIGH' });
        const refused = filtered.json.error;
        await s.ask('x', { priority: 'urgent' });
        await s.post('/v1/query', '{', {});
        await s.get('/nowhere');
        await s.request('DELETE', '/stats');
        const route = 'POST /v1/query';
        const other = before.responses.by_route.other ?? 0;
        const after = await settled({ [route]: before.responses.by_route[route] + 11, other: other + 2 });
        const all = grown(before, after);
        assert.deepEqual(pick(all, /^(replays|joined|retries|calls_saved|tokens_saved|repairs)/), {
            replays: 3,
            joined: 1,
            'calls_saved replay': 3,
            'calls_saved join': 1,
            'calls_saved total': 4,
            'tokens_saved replay': 3 * once,
            'tokens_saved join': shared,
            'tokens_saved total': 3 * once + shared,
            'retries total': 3,
            'retries by_reason PROVIDER_RATE_LIMITED': 2,
            'retries by_reason PROVIDER_UNAVAILABLE': 1,
            'retries by_attempt 1': 2,
            'retries by_attempt 2': 1,
        });
        assert.deepEqual(pick(all, /^errors/), {
            'errors total': 5,
            'errors by_type validation_error': 2,
            'errors by_type not_found_error': 1,
            'errors by_type method_error': 1,
            [`errors by_type ${refused.error_type}`]: refused.error_type === 'validation_error' ? 3 : 1,
            'errors by_code INVALID_PRIORITY': 1,
            'errors by_code INVALID_JSON': 1,
            'errors by_code NOT_FOUND': 1,
            'errors by_code METHOD_NOT_ALLOWED': 1,
            [`errors by_code ${refused.error_code}`]: 1,
        });
        assert.deepEqual(pick(all, /^responses by_status (4|5)|^responses by_route other/), {
            'responses by_status 400': 2 + (filtered.status === 400),
            'responses by_status 404': 1,
            'responses by_status 405': 1,
            'responses by_route other': 2,
            ...(filtered.status !== 400 && { [`responses by_status ${filtered.status}`]: 1 }),
        });
        assert.ok(after.responses.error_ratio > 0 && after.responses.error_ratio < 1);
    });

    s.test('what waits and runs is seen while it does', async () => {
        s.fake.hold();
        const running = sendFull([6, 'HIGH']);
        await s.fake.waitForCalls(1);
        const json = await statsOf(s);
        assert.equal(json.in_flight, 6);
        assert.equal(json.calls.in_flight, 1);
        s.fake.release();
        await running;
        await windows(150, 600, 30000);
        const start = performance.now();
        const waiting = send(2, 'LOW');
        await until('both wait', async () => (await statsOf(s)).queue.low.depth === 2);
        await sleep(120);
        const { queue } = await statsOf(s);
        assert.ok(queue.low.oldest_ms >= 100 && queue.low.oldest_ms <= performance.now() - start, JSON.stringify(queue));
        assert.deepEqual(queue.high, { depth: 0, oldest_ms: 0 });
        await windows(150, 600, 20);
        await waiting;
        await until('nothing is in flight', async () => (await statsOf(s)).in_flight === 0);
    });

    s.test('the breaker', async () => {
        const before = await statsOf(s);
        s.fake.when(() => true, { do: 'status', status: 500 });
        await until('it opened', async () => {
            await s.ask('anybody?', { priority: 'HIGH' });
            return (await statsOf(s)).breaker.state === 'open';
        });
        const { breaker } = await until('that is counted', async () => {
            const json = await statsOf(s);
            return json.breaker.opened > before.breaker.opened && json;
        });
        assert.ok(breaker.failures_in_a_row >= 5);
        s.fake.reset();
        await until('it closed', async () => {
            await s.ask('anybody?', { priority: 'HIGH' });
            return (await statsOf(s)).breaker.state === 'closed';
        });
    });

    s.test('a coordinator that does not answer takes nothing away but the live figures', async () => {
        await steady();
        const before = await statsOf(s);
        const pid = s.coordinatorPid();
        process.kill(pid, 'SIGSTOP');
        try {
            const res = await s.get('/stats');
            assert.ok(res.ms < 1500 * STRETCH, `${res.ms}`);
            const { json } = res;
            assert.equal(json.coordinator.status, 'down');
            assert.ok(json.coordinator.reason.length > 10);
            assert.deepEqual(
                [json.uptime_s, json.started_at, json.in_flight, json.calls.in_flight, json.requests.per_second],
                [null, null, null, null, null],
            );
            assert.deepEqual(json.queue.high, { depth: null, oldest_ms: null });
            assert.deepEqual([json.breaker.state, json.breaker.failures_in_a_row], [null, null]);
            assert.deepEqual(stored(json), stored(before));
        } finally {
            process.kill(pid, 'SIGCONT');
        }
        await until('live again', async () => (await statsOf(s)).coordinator.status === 'ok');
    });

    s.test('all of it outlives kill -9 of everything', async () => {
        await steady();
        const before = await statsOf(s);
        const exit = s.stack.frontExit;
        for (const { pid } of s.processes()) {
            try {
                process.kill(pid, 'SIGKILL');
            } catch {
                /* its parent's end was its own */
            }
        }
        await exit;
        await until('nothing is left', () => s.processes().length === 0);
        await s.start();
        const after = await statsOf(s);
        assert.deepEqual(stored(after), stored(before));
        for (const [route, count] of Object.entries(before.responses.by_route))
            assert.ok(after.responses.by_route[route] >= count, `${route}: ${JSON.stringify(after.responses)}`);
        await s.ask('one more', { priority: 'HIGH' });
        assert.equal((await statsOf(s)).requests.total, before.requests.total + 1);
    });
});

describe('of all processes together', () => {
    const s = useStack({ env: { ...ENV, CARPOOL_WORKER_PROCESSES: '4', CARPOOL_WORKER_THREADS: '8' } });

    s.test('what four workers did adds up, whichever is asked', async () => {
        const N = 120;
        await inParallel(N, 24, async (i) => {
            const res = await s.ask(`p ${i}`, { priority: i % 3 ? 'HIGH' : 'none' });
            assert.equal(res.status, i % 3 ? 200 : 400);
        });
        const json = await until('all are told', async () => {
            const j = await statsOf(s);
            return j.responses.by_route['POST /v1/query'] === N && j;
        });
        assert.equal(json.requests.total, (N * 2) / 3);
        assert.equal(json.responses.by_status['400'], N / 3);
        assert.equal(json.errors.by_code.INVALID_PRIORITY, N / 3);
        assert.ok(s.workers().children.length === 4);
    });

    s.test('both pools say the same', async () => {
        const all = [];
        for (const path of [socketOf(s, 'prompt'), socketOf(s, 'manage')])
            all.push(...(await Promise.all(Array.from({ length: 16 }, () => fcgiRequest(path, 'GET', '/stats')))));
        for (const { json, text } of all) {
            assert.ok(json, text);
            assert.deepEqual(stored(json), stored(all[0].json));
        }
    });
});

/* The socket on which a pool takes requests: its parent has it as descriptor 0. */
function socketOf(s, pool) {
    const [, inode] = /socket:\[(\d+)\]/.exec(fs.readlinkSync(`/proc/${s.workers(pool).parent.pid}/fd/0`));
    const lines = fs.readFileSync('/proc/net/unix', 'utf8').split('\n');
    return lines.map((line) => line.trim().split(/\s+/)).find((fields) => fields[6] === inode)[7];
}

describe('while no coordinator runs', () => {
    const s = useStack({ env: { ...ENV, CARPOOL_COORDINATOR_IDLE_EXIT_S: '1' } });

    s.test('stored figures are told, live ones are null, and asking neither starts nor keeps one', async () => {
        await s.ask('good night', { priority: 'HIGH' });
        const json = await until('it left although it was asked all the time', async () => {
            const j = await statsOf(s);
            return j.coordinator.status === 'idle' && j;
        }, 10000);
        assert.match(json.coordinator.reason, /next prompt/);
        assert.deepEqual([json.in_flight, json.uptime_s, json.requests.per_second], [null, null, null]);
        assert.deepEqual([json.requests.total, json.latency_ms.high.count], [1, 1]);
        assert.deepEqual(json.unpriced_models, ['mock']);
        assert.equal(json.cost_usd, null, 'what nobody knows is not 0');
        await sleep(1200);
        assert.equal((await statsOf(s)).coordinator.status, 'idle');
        assert.equal(s.coordinatorPid(), null);
    });
});
