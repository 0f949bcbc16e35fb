'use strict';
/* POST /query, source document 1: one question in, one result out. */
const assert = require('node:assert/strict');
const { useStack, inParallel, assertError } = require('./harness');

const s = useStack({ env: { CARPOOL_BATCH_MEDIUM_WINDOW_MS: '60', CARPOOL_BATCH_HIGH_WINDOW_MS: '20' } });

s.test("the source's example", async () => {
    const res = await s.post('/query', { query: 'What is AI?' });
    assert.equal(res.status, 200, res.text);
    assert.equal(res.headers['content-type'], 'application/json');
    assert.deepEqual(res.json, { result: 'Processed: What is AI?' });
});

s.test('any text comes back as it was', async () => {
    const texts = [
        '"quoted" \\ and / and \t tab\nline',
        'Grüße, 世界 🚗',
        ' leading and trailing ',
        '<script>alert(1)</script>',
        '{"json":[1]}',
        'x'.repeat(100000),
    ];
    for (const query of texts)
        assert.deepEqual((await s.post('/query', { query })).json, { result: `Processed: ${query}` });
});

s.test('many at once: each gets its own', async () => {
    await inParallel(100, 50, async (i) => {
        assert.deepEqual((await s.post('/query', { query: `canary-${i}` })).json, { result: `Processed: canary-${i}` });
    });
});

s.test('it becomes a chat without a user, counted under its priority', async () => {
    assert.equal((await s.post('/query', { query: 'filed one' })).status, 200);
    assert.equal((await s.post('/query', { query: 'filed two' }, { headers: { 'X-Priority': 'high' } })).status, 200);
    const filed = (await s.chats()).filter((chat) => chat.request.prompt.startsWith('filed'));
    assert.deepEqual(
        filed.map((c) => [c.request.prompt, c.request.username, c.request.priority, c.endpoint, c.response.text]),
        [
            ['filed one', null, 1, '/query', 'Processed: filed one'],
            ['filed two', null, 2, '/query', 'Processed: filed two'],
        ],
    );
});

s.test('further keys are ignored, Server-Timing says where the time went', async () => {
    const res = await s.post('/query', { query: 'timed', colour: 'red' });
    assert.equal(res.status, 200);
    for (const part of ['accept', 'queue', 'upstream', 'split', 'commit']) {
        assert.match(res.headers['server-timing'] ?? '', new RegExp(`(^|,)\\s*${part};dur=\\d+(\\.\\d+)?`), part);
    }
});

s.test('what is no question is refused', async () => {
    for (const body of [{}, { query: null }, { query: 7 }, { query: ['x'] }, { Query: 'x' }]) {
        assertError(await s.post('/query', body), 400, { field: 'query', type: 'validation_error' });
    }
    assertError(await s.post('/query', { query: 'x' }, { headers: { 'X-Priority': 'urgent' } }), 400);
});
