'use strict';
/* GET /v1/chat and DELETE /v1/chat/{request_id}: shape, paging, filters, tombstones. */
const { describe } = require('node:test');
const assert = require('node:assert/strict');
const { useStack, inParallel, until, assertError, UUID } = require('./harness');

const FAST = {
    CARPOOL_BATCH_HIGH_WINDOW_MS: '20',
    CARPOOL_BATCH_MEDIUM_WINDOW_MS: '20',
    CARPOOL_BATCH_LOW_WINDOW_MS: '20',
};

describe('listing', () => {
    const s = useStack({ env: FAST });

    s.test('an empty store', async () => {
        assert.deepEqual((await s.get('/v1/chat')).json, { chats: [], count: 0 });
        assert.equal((await s.get('/v1/chat?limit=5')).json.count, 0);
    });

    s.test("source 2's shape", async () => {
        const body = {
            username: 'ann',
            request_id: 'shape-1',
            prompt: 'Shape?',
            created_at: '2026-02-01T12:00:00Z',
            priority: 'HIGH',
            metadata: { tag: 'x' },
        };
        const answer = (await s.post('/v1/query', body)).json;
        const { json } = await s.get('/v1/chat');
        assert.equal(json.count, 1);
        const [chat] = json.chats;
        assert.ok(Math.abs(Date.parse(chat.timestamp) - Date.now()) < 10000);
        assert.match(chat.batch_id, UUID);
        assert.equal(chat.batch_id, answer.batch_id);
        assert.equal(chat.endpoint, '/v1/query');
        const { created_at, ...request } = chat.request;
        assert.equal(Date.parse(created_at), Date.parse(body.created_at));
        for (const [key, value] of Object.entries({
            request_id: 'shape-1',
            username: 'ann',
            prompt: 'Shape?',
            priority: 2,
            metadata: { tag: 'x' },
        })) {
            assert.deepEqual(request[key], value, key);
        }
        for (const key of ['request_id', 'text', 'tokens_used', 'latency_ms', 'completed_at'])
            assert.deepEqual(chat.response[key], answer[key], key);
    });

    s.test('pages, filters and order over 120 chats', async () => {
        await inParallel(120, 60, async (i) => {
            const res = await s.post('/v1/query', {
                username: i % 3 ? 'bob' : 'cat',
                request_id: `list-${i}`,
                prompt: `entry ${i} ${'long '.repeat(800)}`,
                priority: ['LOW', 'MEDIUM', 'HIGH'][i % 3],
            });
            assert.equal(res.status, 200, res.text);
        });
        const whole = await s.get('/v1/chat', { fresh: true });
        assert.equal(whole.json.count, 121);
        assert.equal(whole.json.chats.length, 121);
        assert.equal(whole.headers['content-length'], undefined, 'it is streamed');
        const times = whole.json.chats.map((c) => Date.parse(c.timestamp));
        assert.deepEqual(
            times,
            times.toSorted((a, b) => a - b),
            'oldest first',
        );

        const paged = [];
        let cursor = '';
        for (let page = 0; page < 20; page++) {
            const { json } = await s.get(`/v1/chat?limit=25${cursor && `&cursor=${encodeURIComponent(cursor)}`}`);
            assert.equal(json.count, json.chats.length);
            assert.ok(json.count <= 25);
            paged.push(...json.chats);
            cursor = json.next_cursor;
            if (!cursor) break;
        }
        assert.deepEqual(paged, whole.json.chats, 'the pages make up the whole');

        const newest = await s.chats('?order=newest');
        assert.deepEqual(newest, whole.json.chats.toReversed(), 'the newest first');
        const [first, second] = [await s.get('/v1/chat?order=newest&limit=7&username=bob'), '/v1/chat?order=newest&limit=7&username=bob&cursor='];
        const bobs = newest.filter((c) => c.request.username === 'bob');
        assert.deepEqual(first.json.chats, bobs.slice(0, 7));
        assert.deepEqual((await s.get(second + first.json.next_cursor)).json.chats, bobs.slice(7, 14));
        assert.deepEqual(await s.chats('?order=oldest&limit=3'), whole.json.chats.slice(0, 3));

        assert.equal((await s.chats('?username=bob')).length, 80);
        assert.equal((await s.chats('?username=nobody')).length, 0);
        assert.equal((await s.chats('?priority=LOW')).length, 40);
        assert.equal((await s.chats('?priority=2')).length, 41);
        assert.ok(
            (await s.chats('?username=bob&priority=high')).every(
                (c) => c.request.username === 'bob' && c.request.priority === 2,
            ),
        );
        assert.equal((await s.chats('?username=cat&limit=7')).length, 7);
        const middle = whole.json.chats[60].timestamp;
        const [older, newer] = [
            await s.chats(`?to=${encodeURIComponent(middle)}`),
            await s.chats(`?from=${encodeURIComponent(middle)}`),
        ];
        assert.equal(older.length + newer.length, 121, 'from is in, to is out');
        assert.ok(
            older.every((c) => Date.parse(c.timestamp) < Date.parse(middle)) &&
                newer.every((c) => Date.parse(c.timestamp) >= Date.parse(middle)),
        );
    });

    s.test('a filtered page goes on where it stopped', async () => {
        const wanted = await s.chats('?username=cat');
        const got = [];
        let next = '/v1/chat?username=cat&limit=9';
        while (next) {
            const { json } = await s.get(next);
            got.push(...json.chats);
            next = json.next_cursor && `/v1/chat?username=cat&limit=9&cursor=${encodeURIComponent(json.next_cursor)}`;
        }
        assert.deepEqual(got, wanted);
    });

    s.test('what is no filter is refused', async () => {
        for (const query of [
            'limit=0',
            `username=${'u'.repeat(129)}`,
            'limit=-1',
            'order=up',
            'limit=ten',
            'priority=urgent',
            'from=yesterday',
            'to=2026-13-01T00:00:00Z',
            'cursor=x!',
        ]) {
            assertError(await s.get(`/v1/chat?${query}`), 400, { field: query.split('=')[0] });
        }
    });
});

describe('deleting', () => {
    const s = useStack({ provider: 'openai', env: FAST });

    s.test('the chat is gone, the id stays taken, the counters stay', async () => {
        await s.ask('delete me', { request_id: 'del-1', username: 'dan' });
        await s.ask('keep me', { request_id: 'del-2', username: 'dan' });
        const counted = (await s.get('/v1/analytics')).json;
        const res = await s.delete('/v1/chat/del-1');
        assert.ok([200, 204].includes(res.status), res.text);
        assert.deepEqual(
            (await s.chats()).map((c) => c.request.request_id),
            ['del-2'],
        );
        assert.deepEqual(
            (await s.chats('?username=dan')).map((c) => c.request.request_id),
            ['del-2'],
        );
        const calls = s.fake.calls.length;
        assertError(await s.ask('delete me', { request_id: 'del-1', username: 'dan' }), 410);
        assertError(await s.ask('another prompt', { request_id: 'del-1' }), 410);
        assertError(await s.get('/v1/requests/del-1'), 410);
        assert.equal(s.fake.calls.length, calls, 'never a new dispatch');
        assert.equal((await s.get('/v1/analytics')).json.total_requests, counted.total_requests);
        assert.equal(
            (await s.ask('keep me', { request_id: 'del-2', username: 'dan' })).headers['idempotent-replayed'],
            'true',
        );
    });

    s.test('while it runs: 409; an id that nobody used: 404', async () => {
        s.fake.hold();
        const running = s.ask('running', { request_id: 'del-3' });
        await s.fake.waitForCalls(1);
        assertError(await s.delete('/v1/chat/del-3'), 409);
        s.fake.release();
        assert.equal((await running).status, 200);
        assert.ok([200, 204].includes((await s.delete('/v1/chat/del-3')).status));
        assertError(await s.delete('/v1/chat/never-used'), 404);
        assertError(await s.request('POST', '/v1/chat/del-2', { body: {} }), 405);
    });

    s.test('a tombstone outlives the coordinator', async () => {
        process.kill(s.coordinatorPid(), 'SIGKILL');
        await until('another coordinator serves', async () => (await s.ask('after the kill')).status === 200);
        assertError(await s.ask('delete me', { request_id: 'del-1', username: 'dan' }), 410);
    });
});
