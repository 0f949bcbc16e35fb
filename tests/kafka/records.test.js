'use strict';
/* What is in the topics, against what was asked and answered. */
const assert = require('node:assert/strict');
const fs = require('node:fs');
const nodeTest = require('node:test');
const path = require('node:path');
const { useStack, Stack, until, untilRead, STRETCH, PROVIDER_KEY } = require('../integration/harness');
const { Cluster, TOPICS, filed, assertRecord, untilHealth, environment } = require('./kafka');

/* Hooks of a file run side by side, those of a describe one after the other. */
nodeTest.describe('records', () => {
    const env = {};
    let cluster;
    nodeTest.before(async () => {
        cluster = await Cluster.create();
        Object.assign(
            env,
            environment(cluster, {
                CARPOOL_BATCH_LOW_WINDOW_MS: '500',
                CARPOOL_BATCH_FLUSH_WHEN_ALL_WAIT: 'off',
                CARPOOL_CACHE_MODE: 'exact',
            }),
        );
    });
    nodeTest.after(() => cluster.kill());
    const s = useStack({ provider: 'openai', env });

    /* How long a low one waits: until it has been seen waiting, and then no longer. */
    const lowWindow = async (window_ms) => assert.equal((await s.put('/v1/settings', { low_priority: { window_ms } })).status, 200);
    const request = (id) => cluster.find(TOPICS.requests, (r) => r.request_id === id);
    const error = (id) => cluster.find(TOPICS.errors, (r) => r.request_id === id);

    s.test('an answer', async () => {
        const res = await s.ask('what is it?', { request_id: 'answered-1', priority: 'HIGH', username: 'ann' });
        assert.equal(res.status, 200, res.text);
        const r = await request('answered-1');
        const { time, host, batch_id, latency_ms, queue_ms, upstream_ms, prompt_tokens, completion_tokens, ...rest } = r;
        assert.deepEqual(rest, {
            type: 'request',
            request_id: 'answered-1',
            endpoint: '/v1/query',
            username: 'ann',
            priority: 'HIGH',
            provider: 'openai',
            model: 'fake-model',
            async: false,
            outcome: 'answered',
            status: 200,
            error_type: null,
            error_code: null,
            finish_reason: 'stop',
            cached: false,
            retries: 0,
            rate_limited: false,
        });
        assert.equal(host, require('node:os').hostname());
        assert.ok(Math.abs(Date.parse(time) - Date.parse(res.json.completed_at)) < 2000 * STRETCH);
        assert.equal(batch_id, res.json.batch_id);
        assert.equal(latency_ms, res.json.latency_ms);
        assert.equal(prompt_tokens + completion_tokens, res.json.tokens_used);
        assert.ok(queue_ms >= 10 && upstream_ms > 0 && queue_ms + upstream_ms <= latency_ms, JSON.stringify(r));
    });

    s.test('its key is the request id, and no text of prompt or answer is in any record', async () => {
        await request('answered-1');
        const found = cluster.records.find((r) => r.json.request_id === 'answered-1');
        assert.equal(found.key, 'answered-1');
        for (const { value } of cluster.records) assert.doesNotMatch(value, /what is it|Answer to/);
    });

    s.test('an answer given again from the cache', async () => {
        const res = await s.ask('what is it?', { request_id: 'cached-1', priority: 'HIGH', username: 'bob' });
        assert.equal(res.json.cached, true, res.text);
        const r = await request('cached-1');
        assert.deepEqual(
            [r.outcome, r.cached, r.prompt_tokens, r.completion_tokens, r.username],
            ['answered', true, 0, 0, 'bob'],
        );
    });

    s.test('one record a prompt: replays and joined duplicates have none of their own', async () => {
        const both = await Promise.all([1, 2].map(() => s.ask('twin', { request_id: 'twin-1', priority: 'LOW' })));
        assert.deepEqual(
            both.map((res) => res.status),
            [200, 200],
        );
        assert.equal((await s.ask('twin', { request_id: 'twin-1', priority: 'LOW' })).status, 200);
        await request('twin-1');
        await s.ask('later', { request_id: 'later-1', priority: 'HIGH' });
        await request('later-1');
        assert.equal(cluster.of(TOPICS.requests).filter((r) => r.request_id === 'twin-1').length, 1);
    });

    s.test('a whole batch, asynchronously', async () => {
        const ids = ['async-1', 'async-2', 'async-3'];
        await lowWindow(60000);
        for (const id of ids)
            await s.ask(`prompt ${id}`, { request_id: id, priority: 'LOW' }, { headers: { Prefer: 'respond-async' } });
        await lowWindow(20);
        const records = await Promise.all(ids.map(request));
        for (const r of records) assert.deepEqual([r.async, r.outcome, r.priority], [true, 'answered', 'LOW']);
        assert.equal(new Set(records.map((r) => r.batch_id)).size, 1);
    });

    s.test('a refusal of the provider, in which its key stands', async () => {
        s.fake.when(() => true, { do: 'status', status: 400, message: `no: ${PROVIDER_KEY} is wrong` });
        const res = await s.ask('refuse me', { request_id: 'refused-1', priority: 'HIGH' });
        const r = await request('refused-1');
        assert.deepEqual(
            [r.outcome, r.status, r.error_type, r.error_code],
            ['refused', res.status, res.json.error.error_type, res.json.error.error_code],
        );
        const e = await error('refused-1');
        assert.deepEqual(
            [e.what, e.status, e.error_code, e.message, e.batch_id],
            ['refusal', res.status, res.json.error.error_code, res.json.error.message, r.batch_id],
        );
        const call = await cluster.find(TOPICS.errors, (c) => c.what === 'call' && c.batch_id === r.batch_id);
        assert.deepEqual([call.status, call.request_ids, call.error_code], [400, ['refused-1'], r.error_code]);
        for (const { value } of cluster.records) assert.ok(!value.includes(PROVIDER_KEY), value);
    });

    s.test('a call that is tried again', async () => {
        s.fake.next({ do: 'status', status: 429 });
        const res = await s.ask('try again', { request_id: 'retried-1', priority: 'HIGH' });
        assert.equal(res.status, 200, res.text);
        const r = await request('retried-1');
        assert.deepEqual([r.outcome, r.retries, r.rate_limited], ['answered', 1, true]);
        const call = await cluster.find(TOPICS.errors, (c) => c.what === 'call' && c.batch_id === r.batch_id);
        assert.deepEqual([call.status, call.error_code], [429, 'PROVIDER_RATE_LIMITED']);
    });

    s.test('a prompt that is not taken in', async () => {
        await s.ask('first', { request_id: 'reused-1', priority: 'HIGH' });
        const res = await s.ask('second', { request_id: 'reused-1', priority: 'HIGH' });
        if (res.status !== 409) assert.fail(res.text);
        /* The worker knows the finished request and refuses by itself; while it runs, the coordinator does. */
        await lowWindow(60000);
        const running = s.ask('third', { request_id: 'reused-2', priority: 'LOW' });
        await until('it runs', async () => (await s.get('/v1/requests/reused-2', { check: false })).status === 200);
        const refused = await s.ask('fourth', { request_id: 'reused-2', priority: 'LOW' });
        assert.equal(refused.status, 409);
        await lowWindow(20);
        const e = await cluster.find(TOPICS.errors, (x) => x.request_id === 'reused-2');
        assert.deepEqual([e.error_code, e.batch_id], ['REQUEST_ID_REUSED', null]);
        await running;
        const records = await until('both have a record', () => {
            const found = cluster.of(TOPICS.requests).filter((r) => r.request_id === 'reused-2');
            return found.length === 2 && found;
        });
        assert.deepEqual(records.map((r) => r.outcome).sort(), ['answered', 'refused']);
    });

    s.test('a client that leaves before its prompt is sent', async () => {
        const net = require('node:net');
        const body = JSON.stringify({ request_id: 'gone-1', prompt: 'never mind', priority: 'LOW' });
        const socket = net.connect(s.port, '127.0.0.1');
        socket.on('error', () => {});
        socket.setNoDelay(true);
        await lowWindow(60000);
        /* In two pieces: lighttpd does not watch one whose request was whole when it came. */
        await new Promise((written) => socket.write('POST /v1/query HTTP/1.1\r\nHost: 127.0.0.1\r\n', written));
        await untilRead(socket);
        socket.write(`Content-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
        await until('it waits', async () => (await s.get('/v1/requests/gone-1', { check: false })).status === 200);
        socket.resetAndDestroy();
        const r = await request('gone-1');
        assert.deepEqual([r.outcome, r.status, r.error_code, r.batch_id], ['cancelled', 499, 'CLIENT_GONE', null]);
        assert.ok(!cluster.of(TOPICS.errors).some((e) => e.request_id === 'gone-1'), 'nobody was refused anything');
        await lowWindow(20);
    });

    s.test('metrics come by themselves and count what was answered', async () => {
        const answered = cluster.of(TOPICS.requests).filter((r) => r.outcome === 'answered').length;
        const sum = (m) =>
            Object.entries(m.totals)
                .filter(([name]) => name.startsWith('answered.'))
                .reduce((n, [, v]) => n + v, 0);
        const m = await cluster.find(TOPICS.metrics, (x) => sum(x) >= answered, 25000);
        assert.equal(sum(m), answered);
        assert.equal(m.pid, s.coordinatorPid());
        assert.equal(m.totals['cache.hits'], 1);
    assert.ok(!Object.keys(m.totals).some((name) => /\.[0-9]{10}$/.test(name)), 'no buckets of histograms');
        assert.equal(m.kafka.status, 'ok');
        const found = cluster.records.find((r) => r.json === m);
        assert.equal(found.key, `${m.host}/${m.pid}`);
    });

    s.test('every record is as documented, nothing went to the files, /health is content', async () => {
        for (const { json } of cluster.records) assertRecord(json);
        for (const topic of Object.values(TOPICS)) assert.deepEqual(filed(s, topic), []);
        await untilHealth(s, 'ok');
    });

    nodeTest.test('switched off, there is nothing of it', { timeout: 60000 * STRETCH }, async () => {
        const off = await Stack.start({ env: { KAFKA_BOOTSTRAP_SERVERS: cluster.address } });
        try {
            await off.ask('quiet', { request_id: 'quiet-1', priority: 'HIGH' });
            assert.equal((await off.get('/health')).json.dependencies.kafka.status, 'disabled');
            assert.deepEqual(
                fs.readdirSync(path.join(off.storage, 'logs')).filter((name) => name.startsWith('llm-')),
                [],
            );
            const threads = fs.readdirSync(`/proc/${off.coordinatorPid()}/task`);
            assert.ok(
                !threads.some((id) =>
                    fs.readFileSync(`/proc/${off.coordinatorPid()}/task/${id}/comm`, 'utf8').startsWith('rdk:'),
                ),
            );
        } finally {
            await off.stop();
        }
        assert.ok(!cluster.records.some((r) => r.json.request_id === 'quiet-1'));
    });
});
