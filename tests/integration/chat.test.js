'use strict';
/* POST /chat and POST /chat/batched (source document 5). */
const { describe } = require('node:test');
const assert = require('node:assert/strict');
const http = require('node:http');
const { useStack, until, untilRead, sleep, isAlive, STRETCH } = require('./harness');

const batched = (s, queries, options) => s.post('/chat/batched', { queries }, options);
const query = (i, more) => ({ chat_id: String(i), user_prompt: `Question number ${i}?`, ...more });
const queries = (n) => Array.from({ length: n }, (_, i) => query(i));

/* Every query has the answer to itself, in the order asked. */
function assertAnswered(res, asked) {
    assert.equal(res.status, 200, res.text.slice(0, 500));
    assert.deepEqual(
        res.json.responses,
        asked.map(({ chat_id, user_prompt }) => ({ chat_id, response: `Answer to: ${user_prompt}` })),
    );
    assert.equal(res.json.partial_success, false);
}
const assertChatError = (res, status, chat_id, error) => {
    assert.equal(res.status, status, res.text);
    assert.equal(res.json.chat_id, chat_id);
    if (error instanceof RegExp) assert.match(res.json.error, error);
    else assert.equal(res.json.error, error);
};
/* The sizes of the batches that left since the last time, and why. */
function batchesSince(s, from) {
    const left = s
        .events()
        .filter((e) => e.event === 'DISPATCH')
        .slice(from);
    return left.map((e) => [e.n, e.reason]);
}

describe('the shapes of source 5', () => {
    const s = useStack({ env: { CARPOOL_BATCH_MEDIUM_WINDOW_MS: '20' } });

    s.test('a single query', async () => {
        const res = await s.post('/chat', { chat_id: '1', user_prompt: 'What is AI?' });
        assert.equal(res.status, 200);
        assert.deepEqual(res.json, { chat_id: '1', response: 'Processed: What is AI?' });
        assert.match(res.headers['server-timing'], /upstream;dur=/);
    });

    s.test('a batch', async () => {
        const res = await batched(s, [
            { chat_id: '1', user_prompt: 'What is 2+2?' },
            { chat_id: '2', user_prompt: 'Define AI?' },
        ]);
        assert.equal(res.status, 200);
        assert.deepEqual(res.json, {
            partial_success: false,
            responses: [
                { chat_id: '1', response: 'Processed: What is 2+2?' },
                { chat_id: '2', response: 'Processed: Define AI?' },
            ],
        });
        assert.match(res.headers['server-timing'], /^accept;dur=[\d.]+, queue;dur=[\d.]+, upstream;dur=/);
    });

    s.test('partial success, word for word', async () => {
        const res = await batched(s, [{ chat_id: '1', user_prompt: 'What is AI?' }, { chat_id: '2' }]);
        assert.equal(res.status, 200);
        assert.deepEqual(res.json, {
            partial_success: true,
            responses: [
                { chat_id: '1', response: 'Processed: What is AI?' },
                { chat_id: '2', error: 'user_prompt required' },
            ],
        });
    });

    s.test('what is wrong with a single query', async () => {
        for (const body of [{ chat_id: '7' }, { chat_id: '7', user_prompt: '' }, { chat_id: '7', user_prompt: null }])
            assertChatError(await s.post('/chat', body), 400, '7', 'user_prompt required');
        for (const body of [
            { user_prompt: 'x' },
            { chat_id: '', user_prompt: 'x' },
            { chat_id: null, user_prompt: 'x' },
        ])
            assert.equal((await s.post('/chat', body)).json.error, 'chat_id required');
        assertChatError(await s.post('/chat', { chat_id: 7, user_prompt: 'x' }), 400, null, /chat_id must be a string/);
        assertChatError(
            await s.post('/chat', { chat_id: '7', user_prompt: 7 }),
            400,
            '7',
            /user_prompt must be a string/,
        );
        assertChatError(await s.post('/chat', { chat_id: 'x'.repeat(257), user_prompt: 'x' }), 400, null, /256/);
        assertChatError(await s.post('/chat', '{"chat_id":"7",'), 400, null, /not valid JSON/);
        assertChatError(await s.post('/chat', '[]'), 400, null, /object/);
        assertChatError(await s.post('/chat', query(7), { headers: { 'X-Priority': '?' } }), 400, '7', /X-Priority/);
        const get = await s.get('/chat', { check: false });
        assertChatError(get, 405, null, /does not take GET/);
        assert.match(get.headers.allow, /POST/);
    });

    s.test('what is wrong with the list of a batch', async () => {
        assertChatError(await s.post('/chat/batched', {}), 400, null, 'queries required');
        assertChatError(await s.post('/chat/batched', { queries: null }), 400, null, 'queries required');
        assertChatError(await s.post('/chat/batched', { queries: {} }), 400, null, /array/);
        assertChatError(await batched(s, []), 400, null, /1 to 256 queries, not 0/);
        assertChatError(await batched(s, queries(257)), 400, null, /1 to 256 queries, not 257/);
        assertChatError(await s.post('/chat/batched', '{"queries":[}'), 400, null, /not valid JSON/);
        assertChatError(
            await batched(s, queries(1), { headers: { 'Content-Type': 'text/plain' } }),
            415,
            null,
            /application\/json/,
        );
    });

    s.test('all wrong: still an answer for each', async () => {
        const wrong = [
            null,
            7,
            'text',
            [],
            {},
            { chat_id: '1' },
            { user_prompt: 'x' },
            { chat_id: {}, user_prompt: 'x' },
        ];
        const res = await batched(s, wrong);
        assert.equal(res.status, 200);
        assert.equal(res.json.partial_success, false);
        assert.equal(res.json.responses.length, wrong.length);
        for (const answer of res.json.responses) assert.ok(answer.error && !('response' in answer), res.text);
        assert.deepEqual(res.json.responses[5], { chat_id: '1', error: 'user_prompt required' });
        assert.deepEqual(res.json.responses[6], { chat_id: null, error: 'chat_id required' });
    });

    s.test('each answered query is a chat of the batch it rode in', async () => {
        const before = (await s.chats()).length;
        await batched(s, [query('a'), { chat_id: 'b' }, query('c')]);
        const chats = await s.chats();
        assert.equal(chats.length, before + 2);
        assert.equal(chats.filter((c) => c.request.prompt === 'Question number a?').length, 1);
    });
});

describe('a batch from one connection', () => {
    const s = useStack({
        provider: 'openai',
        env: { CARPOOL_BATCH_LOW_POLICY: 'adaptive', CARPOOL_BATCH_LOW_WINDOW_MS: '1000', CARPOOL_BATCH_MEDIUM_WINDOW_MS: '3000' },
    });
    const full = (n, times) => Array(times).fill([n, 'full']);

    s.test('256 queries fill whole calls at once, in order', async () => {
        const from = s.events().filter((e) => e.event === 'DISPATCH').length;
        const asked = queries(256);
        const res = await batched(s, asked);
        assertAnswered(res, asked);
        assert.deepEqual(
            s.fake.calls.map((call) => call.members.length),
            Array(64).fill(4),
        );
        await until('all events are there', () => batchesSince(s, from).length === 64);
        assert.deepEqual(batchesSince(s, from), full(4, 64));
        assert.ok(res.ms < 900 * STRETCH, `no window was waited for: ${res.ms}`);
    });

    s.test('only what does not fill a call waits for company', async () => {
        const from = s.events().filter((e) => e.event === 'DISPATCH').length;
        const asked = queries(20);
        const res = await batched(s, asked, { headers: { 'X-Priority': 'high' } });
        assertAnswered(res, asked);
        await until('all events are there', () => batchesSince(s, from).length === 4);
        assert.deepEqual(batchesSince(s, from), [...full(6, 3), [2, 'window']]);
    });

    s.test('adaptive: the first call is full, too', async () => {
        const from = s.events().filter((e) => e.event === 'DISPATCH').length;
        const asked = queries(8);
        assertAnswered(await batched(s, asked, { headers: { 'X-Priority': 'low' } }), asked);
        await until('all events are there', () => batchesSince(s, from).length === 2);
        assert.deepEqual(batchesSince(s, from), full(4, 2));
    });

    s.test('30 % invalid queries leave the other 70 % answered', async () => {
        const wrong = [null, {}, { chat_id: 'x' }, { user_prompt: 'x' }, 'x', { chat_id: 1, user_prompt: 'x' }];
        const asked = queries(256).map((q, i) => ((i * 77) % 256 < 77 ? wrong[i % wrong.length] : q));
        const res = await batched(s, asked);
        assert.equal(res.status, 200);
        assert.equal(res.json.partial_success, true);
        assert.equal(res.json.responses.length, 256);
        let answered = 0;
        res.json.responses.forEach((answer, i) => {
            if (asked[i]?.chat_id !== String(i)) return assert.ok(answer.error, JSON.stringify(answer));
            answered++;
            assert.deepEqual(answer, { chat_id: String(i), response: `Answer to: Question number ${i}?` });
        });
        assert.equal(answered, 179);
        assert.equal(s.fake.prompts.length, 179, 'the others cost nothing');
    });

    s.test('a chat_id may repeat and is no request id', async () => {
        const asked = ['a', 'b', 'c', 'a'].map((text) => ({ chat_id: 'same', user_prompt: `${text}?` }));
        assertAnswered(await batched(s, asked), asked);
        assertAnswered(await batched(s, asked), asked);
        assert.equal(s.fake.prompts.length, 8);
    });

    s.test('several batches at once, one with another system prompt', async () => {
        const many = Array.from({ length: 12 }, (_, b) =>
            Array.from({ length: 16 }, (_, i) =>
                query(`${b}-${i}`, b % 3 ? {} : { system_prompt: i % 2 ? 'Be kind.' : '' }),
            ),
        );
        const results = await Promise.all(many.map((asked) => batched(s, asked)));
        results.forEach((res, b) => assertAnswered(res, many[b]));
        for (const call of s.fake.calls.filter((c) => /Be kind/.test(c.system)))
            for (const { prompt } of call.members) assert.match(prompt, /number \d+-\d*[13579]\?/);
    });

    s.test('the content filter stops the one it means', async () => {
        s.fake.when((call) => call.members.some((m) => m.prompt.includes('number 5')), 'filter');
        const res = await batched(s, queries(8));
        assert.equal(res.json.partial_success, true);
        res.json.responses.forEach((answer, i) => {
            if (i !== 5) return assert.equal(answer.response, `Answer to: Question number ${i}?`);
            assert.equal(answer.error_code, 'CONTENT_FILTERED');
            assert.match(answer.error, /content filter/);
        });
    });

    s.test('a single query that fails keeps its shape and status', async () => {
        s.fake.when(() => true, 'filter');
        assertChatError(await s.post('/chat', query(9)), 400, '9', /content filter/);
    });
});

describe('when everybody waits', () => {
    const s = useStack({
        provider: 'openai',
        env: { CARPOOL_WORKER_PROCESSES: '1', CARPOOL_WORKER_THREADS: '3', CARPOOL_BATCH_LOW_WINDOW_MS: '2500' },
    });
    const low = { headers: { 'X-Priority': 'low' } };

    s.test('a batch of many queries is one client: others may still come', async () => {
        const asked = queries(6);
        assertAnswered(await batched(s, asked, low), asked);
        await until('all events are there', () => batchesSince(s, 0).length === 2);
        assert.deepEqual(batchesSince(s, 0), [
            [4, 'full'],
            [2, 'window'],
        ]);
    });

    s.test('as many clients as there are threads: nobody is left to come', async () => {
        const from = batchesSince(s, 0).length;
        const results = await Promise.all([0, 1, 2].map((i) => batched(s, queries(1 + (i === 0)), low)));
        results.forEach((res) => assert.equal(res.status, 200));
        await until('all events are there', () => batchesSince(s, from).length === 1);
        assert.deepEqual(batchesSince(s, from), [[4, 'full']]);
        await Promise.all([0, 1, 2].map(() => batched(s, queries(1), low)));
        await until('all events are there', () => batchesSince(s, from).length === 2);
        assert.deepEqual(batchesSince(s, from)[1], [3, 'all_wait']);
    });
});

describe('what happens in the middle of a batch', () => {
    const s = useStack({
        provider: 'openai',
        env: {
            CARPOOL_PROVIDER_MODE: 'concurrent',
            CARPOOL_PROVIDER_MAX_CONCURRENCY: '3',
            CARPOOL_BATCH_MEDIUM_WINDOW_MS: '20',
        },
    });

    s.test('the coordinator dies: each query is answered or told, and nothing is bought twice', async () => {
        /* Three run when it dies, since none of these three ends before. */
        s.fake.when((call) => call.n >= 3, 'hang', 3);
        const asked = queries(24);
        const waiting = batched(s, asked);
        await s.fake.waitForCalls(6);
        const pid = s.coordinatorPid();
        process.kill(pid, 'SIGKILL');
        await until('it is dead', () => !isAlive(pid));
        const res = await waiting;
        assert.equal(res.status, 200, res.text);
        assert.deepEqual(
            res.json.responses.map((r) => r.chat_id),
            asked.map((q) => q.chat_id),
        );
        const failed = res.json.responses.filter((r) => r.error);
        for (const { error, error_code } of failed) {
            assert.equal(error_code, 'OUTCOME_UNKNOWN');
            assert.match(error, /charged/);
        }
        assert.equal(failed.length, 3, `those that ran: ${res.text}`);
        for (const r of res.json.responses.filter((r) => r.response))
            assert.equal(r.response, `Answer to: Question number ${r.chat_id}?`);
        assert.equal(new Set(s.fake.prompts).size, 24, 'everything was asked');
        assert.equal(s.fake.prompts.length, 24, 'once');
        assert.notEqual(s.coordinatorPid(), pid);
    });

    s.test('the client leaves: what was not sent is not sent', async () => {
        s.fake.hold();
        const body = JSON.stringify({ queries: queries(60) });
        const req = http.request({
            host: '127.0.0.1',
            port: s.port,
            method: 'POST',
            path: '/chat/batched',
            headers: { 'Content-Type': 'application/json', 'Content-Length': body.length },
            agent: false,
        });
        req.on('error', () => {});
        /* In two pieces: lighttpd does not look at a client again whose whole request was there at once, and so
         * sees it leave only when it answers. */
        await new Promise((written) => req.write(body.slice(0, 100), written));
        await untilRead(req.socket);
        req.end(body.slice(100));
        await s.fake.waitForCalls(2);
        req.socket.resetAndDestroy();
        await until('nothing waits', async () => {
            const { queue } = (await s.get('/stats')).json;
            return Object.values(queue).every(({ depth }) => depth === 0);
        });
        s.fake.release();
        await until('nothing runs', () => s.fake.running === 0, 10000);
        await sleep(600);
        assert.ok(s.fake.calls.length <= 4, `${s.fake.calls.length} of 60 were sent`);
        const asked = queries(2);
        assertAnswered(await batched(s, asked), asked);
    });
});
