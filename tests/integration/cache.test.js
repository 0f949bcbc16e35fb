'use strict';
/* Answers given again (cache.mode = exact): what is the same question, whose answers, and for how long. */
const { describe } = require('node:test');
const assert = require('node:assert/strict');
const { useStack, until, UUID } = require('./harness');

const FAST = {
    CARPOOL_BATCH_HIGH_WINDOW_MS: '5',
    CARPOOL_BATCH_MEDIUM_WINDOW_MS: '5',
    CARPOOL_BATCH_LOW_WINDOW_MS: '5',
    CARPOOL_CACHE_MODE: 'exact',
};

describe('one caller', () => {
    const s = useStack({ provider: 'openai', env: FAST });

    s.test('the same question is asked once, and told under the id of each', async () => {
        const first = (await s.ask('What is AI?', { request_id: 'first', priority: 'HIGH' })).json;
        const res = await s.ask('What is AI?', {
            request_id: 'second',
            username: 'other',
            created_at: '2026-02-01T12:00:00Z',
            metadata: { n: 2 },
            priority: 'HIGH',
        });
        const second = res.json;
        assert.equal(s.fake.calls.length, 1);
        assert.equal(first.cached, false);
        assert.deepEqual(
            { ...second, latency_ms: 0, completed_at: '' },
            {
                ...first,
                request_id: 'second',
                username: 'other',
                created_at: second.created_at,
                metadata: { n: 2 },
                cached: true,
                latency_ms: 0,
                completed_at: '',
            },
        );
        assert.equal(Date.parse(second.created_at), Date.parse('2026-02-01T12:00:00Z'));
        assert.match(second.batch_id, UUID);
        assert.equal(second.batch_id, first.batch_id, 'the batch that bought it');
        assert.ok(Date.parse(second.completed_at) >= Date.parse(first.completed_at));
        assert.match(res.headers['server-timing'], /upstream;dur=0\.000/);
        const replay = await s.ask('What is AI?', { request_id: 'second', username: 'other', priority: 'HIGH' });
        assert.equal(replay.headers['idempotent-replayed'], 'true');
        assert.equal(replay.text, res.text, 'a replay is the same bytes');
        assert.equal((await s.get('/v1/requests/second')).json.response.cached, true);
        const chats = (await s.chats()).filter((chat) => chat.request.prompt === 'What is AI?');
        assert.deepEqual(chats.map((chat) => chat.response.cached), [false, true]);
    });

    s.test('asynchronously, too', async () => {
        await s.ask('Later?', { priority: 'HIGH' });
        const res = await s.ask('Later?', { request_id: 'later', priority: 'HIGH' }, { headers: { Prefer: 'respond-async' } });
        assert.equal(res.status, 202);
        const { json } = await s.get('/v1/requests/later');
        assert.equal(json.status, 'done', 'it is there when that is told');
        assert.equal(json.response.cached, true);
        assert.equal(s.fake.calls.length, 1);
    });

    s.test('another priority, system prompt or endpoint that asks otherwise is another question', async () => {
        await s.ask('The same?', { priority: 'HIGH' });
        await s.ask('The same?', { priority: 'LOW' });
        await s.post('/chat', { chat_id: '1', user_prompt: 'The same?', system_prompt: 'Be kind.' });
        await s.post('/generate', { prompt: 'The same?' });
        assert.equal(s.fake.calls.length, 4);
        await s.post('/query', { query: 'The same?' }, { headers: { 'X-Priority': 'high' } });
        await s.post('/chat', { chat_id: '2', user_prompt: 'The same?', system_prompt: 'Be kind.' });
        await s.post('/generate', { prompt: 'The same?' });
        assert.equal(s.fake.calls.length, 4, 'the family does not matter');
    });

    s.test('no-cache asks anew, and its answer is given from then on', async () => {
        const old = (await s.ask('Fresh?', { priority: 'HIGH' })).json;
        const fresh = await s.ask('Fresh?', { request_id: 'fresh', priority: 'HIGH' }, { headers: { 'Cache-Control': 'no-cache' } });
        assert.equal(fresh.json.cached, false);
        assert.equal(s.fake.calls.length, 2);
        const again = (await s.ask('Fresh?', { priority: 'HIGH' })).json;
        assert.equal(again.cached, true);
        assert.equal(again.batch_id, fresh.json.batch_id);
        assert.notEqual(again.batch_id, old.batch_id);
    });

    s.test('who deletes the chat deletes what would be given again', async () => {
        await s.ask('Secret?', { request_id: 'secret', priority: 'HIGH' });
        assert.equal((await s.ask('Secret?', { request_id: 'told', priority: 'HIGH' })).json.cached, true);
        assert.equal((await s.delete('/v1/chat/secret')).status, 200);
        const res = await s.ask('Secret?', { request_id: 'anew', priority: 'HIGH' });
        assert.equal(res.json.cached, false);
        assert.equal(s.fake.calls.length, 2);
        assert.equal((await s.get('/v1/requests/told')).json.status, 'done', 'what was told is a chat of its own');
    });

    s.test('another model in force asks anew', async () => {
        await s.ask('Whose?', { priority: 'HIGH' });
        assert.equal((await s.put('/v1/settings', { model: 'other-model' })).status, 200);
        const other = await s.ask('Whose?', { priority: 'HIGH' });
        assert.equal(other.json.cached, false);
        assert.equal(other.json.model, 'other-model');
        assert.equal((await s.put('/v1/settings', { model: 'fake-model' })).status, 200);
        assert.equal((await s.ask('Whose?', { priority: 'HIGH' })).json.model, 'fake-model');
        assert.equal(s.fake.calls.length, 2);
    });

    s.test('no refusal is given again', async () => {
        s.fake.next({ do: 'status', status: 400 });
        assert.equal((await s.ask('Refused?', { priority: 'HIGH' })).status, 400);
        assert.equal((await s.ask('Refused?', { priority: 'HIGH' })).status, 200);
        assert.equal(s.fake.calls.length, 2);
    });

    s.test('calls and tokens are counted once, answers each time', async () => {
        const of = async () => (await s.get('/v1/analytics')).json;
        await until('the counters stand', async () => (await of()).requests.total > 0);
        const sum = (json) => ({ requests: json.requests.total, calls: json.calls, saved: json.calls_saved, tokens: json.tokens.total });
        let before;
        await until('nothing moves any more', async () => {
            const now = JSON.stringify(sum(await of()));
            const same = now === before;
            before = now;
            return same;
        });
        before = JSON.parse(before);
        for (let i = 0; i < 3; i++) assert.equal((await s.ask('What is AI?', { priority: 'HIGH' })).json.cached, true);
        await until('they are counted', async () => (await of()).requests.total === before.requests + 3);
        const after = sum(await of());
        assert.deepEqual(after, { ...before, requests: before.requests + 3, saved: before.saved + 3 });
    });

    s.test('a coordinator that died has forgotten nothing', async () => {
        await s.ask('Still there?', { priority: 'HIGH' });
        process.kill(s.coordinatorPid(), 'SIGKILL');
        assert.equal((await s.ask('Still there?', { priority: 'HIGH' })).json.cached, true);
        assert.equal(s.fake.calls.length, 1);
    });
});

describe('several callers', () => {
    const s = useStack({ provider: 'openai', env: { ...FAST, API_KEY: 'client-key-1', ADMIN_KEY: 'admin-key-1' } });

    s.test('an answer is given to the key that paid for it only', async () => {
        const ask = (key) => s.ask('Ours?', { priority: 'HIGH' }, { headers: { 'X-API-Key': key } });
        assert.equal((await ask('client-key-1')).json.cached, false);
        assert.equal((await ask('admin-key-1')).json.cached, false);
        assert.equal((await ask('client-key-1')).json.cached, true);
        assert.equal((await ask('admin-key-1')).json.cached, true);
        assert.equal(s.fake.calls.length, 2);
    });
});

describe('off', () => {
    const s = useStack({ provider: 'openai', env: { ...FAST, CARPOOL_CACHE_MODE: 'off' } });

    s.test('every prompt is asked', async () => {
        for (let i = 0; i < 2; i++) assert.equal((await s.ask('Again?', { priority: 'HIGH' })).json.cached, false);
        assert.equal(s.fake.calls.length, 2);
    });
});
