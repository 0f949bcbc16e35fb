'use strict';
/* POST /v1/query and GET /v1/requests/{id}, source document 2 and api.md: shape, ids, replay, async. */
const { describe } = require('node:test');
const assert = require('node:assert/strict');
const { useStack, until, sleep, assertError, UUID, RFC3339_MS } = require('./harness');

const s = useStack({
    provider: 'openai',
    env: {
        CARPOOL_BATCH_HIGH_WINDOW_MS: '20',
        CARPOOL_BATCH_MEDIUM_WINDOW_MS: '20',
        CARPOOL_BATCH_LOW_WINDOW_MS: '20',
    },
});
const MS_OF = (header, part) => Number(new RegExp(`${part};dur=([\\d.]+)`).exec(header)?.[1]);

describe('shape', () => {
    s.test("the source's example", async () => {
        const created = '2026-02-01T12:00:00Z';
        const before = Date.now();
        const res = await s.post('/v1/query', {
            username: 'user',
            request_id: 'uuid-or-string',
            prompt: 'Your question here',
            created_at: created,
            priority: 'HIGH',
        });
        assert.equal(res.status, 200, res.text);
        const { batch_id, tokens_used, latency_ms, created_at, completed_at, priority, ...rest } = res.json;
        assert.deepEqual(rest, {
            request_id: 'uuid-or-string',
            username: 'user',
            text: 'Answer to: Your question here',
            model: 'fake-model',
            cached: false,
        });
        assert.match(batch_id, UUID);
        assert.ok(['HIGH', 2].includes(priority), String(priority));
        assert.equal(tokens_used, s.fake.calls[0].tokens);
        assert.ok(latency_ms > 0 && latency_ms < 5000);
        assert.equal(Date.parse(created_at), Date.parse(created));
        assert.ok(
            Date.parse(completed_at) >= before - 1000 && Date.parse(completed_at) <= Date.now() + 1000,
            completed_at,
        );
    });

    s.test('only a prompt is needed', async () => {
        const res = await s.post('/v1/query', { prompt: 'bare' });
        assert.equal(res.status, 200, res.text);
        assert.match(res.json.request_id, /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
        assert.equal(res.json.username, null);
        assert.match(res.json.created_at, RFC3339_MS);
        assert.ok(Math.abs(Date.parse(res.json.created_at) - Date.now()) < 5000);
        const { chats } = (await s.get('/v1/chat')).json;
        assert.equal(chats.find((c) => c.request.request_id === res.json.request_id).request.priority, 1);
    });

    s.test('priority in any case, as a number, or as a header', async () => {
        const ways = [
            ['HIGH', 2],
            ['high', 2],
            ['Medium', 1],
            ['mEdIuM', 1],
            ['LOW', 0],
            [2, 2],
            [1, 1],
            [0, 0],
        ];
        for (const [priority, wanted] of ways) {
            const res = await s.ask('ranked', { priority });
            assert.equal(res.status, 200, res.text);
            const chat = (await s.chats()).find((c) => c.request.request_id === res.json.request_id);
            assert.equal(chat.request.priority, wanted, String(priority));
        }
        for (const [header, wanted] of [
            ['high', 2],
            ['medium', 1],
            ['low', 0],
            ['HIGH', 2],
        ]) {
            const res = await s.ask('ranked', {}, { headers: { 'X-Priority': header } });
            assert.equal(
                (await s.chats()).find((c) => c.request.request_id === res.json.request_id).request.priority,
                wanted,
                header,
            );
        }
    });

    s.test('metadata is stored and given back', async () => {
        const metadata = { source: 'test', nested: { list: [1, 2.5, null, 'ä'] } };
        const res = await s.ask('with metadata', { metadata });
        assert.equal(res.status, 200, res.text);
        const chat = (await s.chats()).find((c) => c.request.request_id === res.json.request_id);
        assert.deepEqual(chat.request.metadata, metadata);
    });

    s.test('Server-Timing adds up to about the time taken', async () => {
        s.fake.next({ ms: 150 });
        const res = await s.ask('timed');
        const parts = ['accept', 'queue', 'upstream', 'split', 'commit'].map((part) =>
            MS_OF(res.headers['server-timing'], part),
        );
        assert.ok(
            parts.every((ms) => ms >= 0),
            res.headers['server-timing'],
        );
        assert.ok(parts[2] >= 145, `upstream: ${res.headers['server-timing']}`);
        assert.ok(parts[1] >= 15, `queue: ${res.headers['server-timing']}`);
        assert.ok(parts.reduce((a, b) => a + b) <= res.ms + 5, `${res.headers['server-timing']} of ${res.ms}`);
    });
});

describe('request ids', () => {
    s.test('the same id again is replayed byte for byte', async () => {
        const body = {
            username: 'u',
            request_id: 'replay-1',
            prompt: 'once only "ü"',
            priority: 'HIGH',
            metadata: { a: 1 },
        };
        const first = await s.post('/v1/query', body);
        assert.equal(first.status, 200, first.text);
        assert.equal(first.headers['idempotent-replayed'], undefined);
        for (const changed of [
            body,
            { ...body, metadata: { a: 2 } },
            { ...body, created_at: '2020-01-01T00:00:00Z' },
            { ...body, priority: 2 },
        ]) {
            const again = await s.post('/v1/query', changed);
            assert.equal(again.status, 200);
            assert.equal(again.text, first.text);
            assert.equal(again.headers['idempotent-replayed'], 'true');
        }
        assert.equal(s.fake.calls.length, 1);
        assert.equal((await s.chats()).filter((c) => c.request.request_id === 'replay-1').length, 1);
    });

    s.test('the same id with another body is refused', async () => {
        const body = { request_id: 'reused-1', prompt: 'first', priority: 'HIGH' };
        assert.equal((await s.post('/v1/query', body)).status, 200);
        for (const changed of [
            { ...body, prompt: 'second' },
            { ...body, priority: 'LOW' },
        ]) {
            const res = await s.post('/v1/query', changed);
            assertError(res, 409, { code: 'REQUEST_ID_REUSED' });
            assert.equal(res.json.request_id, 'reused-1');
        }
        s.fake.next({ ms: 300 });
        const running = s.post('/v1/query', { request_id: 'reused-2', prompt: 'still running', priority: 'HIGH' });
        await s.fake.waitForCalls(2);
        assertError(await s.post('/v1/query', { request_id: 'reused-2', prompt: 'other', priority: 'HIGH' }), 409, {
            code: 'REQUEST_ID_REUSED',
        });
        assert.equal((await running).status, 200);
        assert.equal(s.fake.calls.length, 2);
    });

    s.test('duplicates of a running request join it: one call, the same bytes', async () => {
        s.fake.next({ ms: 300 });
        const body = { request_id: 'joined-1', prompt: 'asked by many', priority: 'HIGH' };
        const early = Array.from({ length: 4 }, () => s.post('/v1/query', body));
        await s.fake.waitForCalls(1);
        const late = Array.from({ length: 4 }, () => s.post('/v1/query', body));
        const all = await Promise.all([...early, ...late]);
        assert.deepEqual(
            all.map((res) => res.status),
            Array(8).fill(200),
        );
        assert.equal(new Set(all.map((res) => res.text)).size, 1);
        assert.equal(s.fake.calls.length, 1);
        assert.equal(s.fake.calls[0].members.length, 1);
    });

    s.test('different ids with the same prompt are different requests', async () => {
        const [a, b] = await Promise.all(
            ['twin-a', 'twin-b'].map((request_id) => s.post('/v1/query', { request_id, prompt: 'the same words' })),
        );
        assert.deepEqual([a.json.request_id, b.json.request_id], ['twin-a', 'twin-b']);
        assert.equal(s.fake.prompts.filter((p) => p === 'the same words').length, 2);
    });

    s.test('every id that the rules allow', async () => {
        for (const id of ['a', 'A-b_c.d:e', '0'.repeat(128), 'x'.repeat(127) + '.']) {
            const res = await s.post('/v1/query', { request_id: id, prompt: 'id' });
            assert.equal(res.status, 200, res.text);
            assert.equal(res.json.request_id, id);
            assert.equal((await s.get(`/v1/requests/${id}`)).json.status, 'done');
        }
    });
});

describe('async', () => {
    const PREFER = { headers: { Prefer: 'respond-async' } };

    s.test('202, then the answer can be fetched', async () => {
        s.fake.hold();
        const accepted = await s.ask('later', { request_id: 'async-1', metadata: { k: 'v' } }, PREFER);
        assert.equal(accepted.status, 202, accepted.text);
        assert.equal(accepted.headers.location, '/v1/requests/async-1');
        assert.equal(accepted.json.request_id, 'async-1');
        assert.ok(['queued', 'running'].includes(accepted.json.status), accepted.text);
        assert.equal(accepted.json.response, null);
        assert.equal(accepted.json.error, null);
        await s.fake.waitForCalls(1);
        assert.equal((await s.get('/v1/requests/async-1')).json.status, 'running');
        s.fake.release();
        const done = await until('it is done', async () => {
            const { json } = await s.get('/v1/requests/async-1');
            return json.status === 'done' && json;
        });
        assert.equal(done.response.text, 'Answer to: later');
        assert.equal(done.response.request_id, 'async-1');
        assert.equal(done.error, null);
        const replay = await s.ask('later', { request_id: 'async-1' });
        assert.equal(replay.headers['idempotent-replayed'], 'true');
        assert.deepEqual(replay.json, done.response);
    });

    s.test('long-polling answers when it is done, and no sooner than it must', async () => {
        s.fake.hold();
        await s.ask('polled', { request_id: 'async-2' }, PREFER);
        /* It does not end while this is asked, so that an answer at all is one before the end. */
        const short = await s.get('/v1/requests/async-2?wait=0.1', { timeoutMs: 20000 });
        assert.ok(['queued', 'running'].includes(short.json.status), short.text);
        assert.ok(short.ms >= 95, `${short.ms}`);
        await s.fake.waitForCalls(1);
        const [long] = await Promise.all([
            s.get('/v1/requests/async-2?wait=30'),
            sleep(400).then(() => s.fake.release()),
        ]);
        assert.equal(long.json.status, 'done', long.text);
        assert.ok(long.ms > 100 && long.ms < 2000, `${long.ms}`);
    });

    s.test('without an id, Location names the one that was made', async () => {
        const accepted = await s.ask('nameless', {}, PREFER);
        assert.equal(accepted.headers.location, `/v1/requests/${accepted.json.request_id}`);
        const done = await s.get(`${accepted.headers.location}?wait=5`);
        assert.equal(done.json.response.text, 'Answer to: nameless');
    });

    s.test('a failed one says why', async () => {
        s.fake.when((call) => call.members.some((m) => m.prompt === 'doomed'), {
            do: 'status',
            status: 404,
            message: 'no such model',
        });
        const accepted = await s.ask('doomed', { request_id: 'async-3' }, PREFER);
        assert.equal(accepted.status, 202);
        const { json } = await s.get('/v1/requests/async-3?wait=5');
        assert.equal(json.status, 'failed', JSON.stringify(json));
        assert.equal(json.response, null);
        assert.ok(json.error.message.length > 10);
    });

    s.test('an id that nobody used, and one that is none', async () => {
        assertError(await s.get('/v1/requests/nobody'), 404);
        assertError(await s.get('/v1/requests/nobody?wait=1'), 404);
        assertError(await s.get('/v1/requests/async-1?wait=soon'), 400);
        const bad = await s.get('/v1/requests/a%20b');
        assert.ok([400, 404].includes(bad.status), bad.text);
    });

    s.test('the async way and the waiting way meet under one id', async () => {
        s.fake.next({ ms: 200 });
        await s.ask('both ways', { request_id: 'async-4', priority: 'HIGH' }, PREFER);
        const waited = await s.ask('both ways', { request_id: 'async-4', priority: 'HIGH' });
        assert.equal(waited.json.text, 'Answer to: both ways');
        assert.equal(s.fake.calls.length, 1);
        const again = await s.ask('both ways', { request_id: 'async-4', priority: 'HIGH' }, PREFER);
        assert.ok([200, 202].includes(again.status), again.text);
        assert.equal(s.fake.calls.length, 1);
    });
});
