'use strict';
/*
 * POST /invoke (source document 4): its three requests word for word, its answer, and what shares a call.
 */
const { describe } = require('node:test');
const assert = require('node:assert/strict');
const { useStack, assertError, openapi, sleep, PROVIDER_KEY, UUID } = require('./harness');
const { invoke, SEED_KEY, KEYS, WINDOWS, SEEDS, bearer, assertAnswer, assertNothingLeft } = require('./invoke');

describe('POST /invoke with an OpenAI provider', () => {
    const s = useStack({
        provider: 'openai',
        conf: '[provider]\nmodels = gpt-4o-mini, gpt-4o,gpt-3.5-turbo , gpt-3.5-turbo-16k\n',
        env: WINDOWS,
    });


    s.test("source 4's first request", async (t, stack) => {
        stack.secrets.push(SEED_KEY, ...KEYS);
        const json = assertAnswer(await invoke(s, SEEDS.basic), { id: '550e8400-e29b-41d4-a716-446655440000' });
        assert.equal(json.data.response, 'Answer to: Explain quantum computing in simple terms');
        assert.equal(json.model, 'gpt-4o-mini');
        assert.equal(json.priority, 'MEDIUM');
        assert.match(json.batch_id, UUID);
        assert.ok(json.usage.prompt_tokens > 0 && json.usage.completion_tokens > 0);
        const { performance } = json;
        assert.ok(performance.llm_latency_ms > 0 && performance.request_latency_ms > performance.llm_latency_ms);
        assert.equal(performance.retry_count, 0);
        assert.equal(performance.rate_limited, false);
        const [call] = s.fake.calls;
        assert.equal(bearer(call), `Bearer ${SEED_KEY}`, 'the key of the caller, not ours');
        assert.equal(call.model, 'gpt-4o-mini');
        assert.equal(call.temperature, 0.7);
        assert.equal(call.maxTokens, 500);
        assert.deepEqual(call.body.messages, [{ role: 'user', content: 'Explain quantum computing in simple terms' }]);
    });

    s.test("source 4's request with a system prompt", async () => {
        const json = assertAnswer(await invoke(s, SEEDS.system), { id: '550e8400-e29b-41d4-a716-446655440001' });
        assert.equal(json.model, 'fake-model', 'the default');
        assert.deepEqual(s.fake.calls[0].body.messages, [
            { role: 'system', content: 'You are a physics professor. Explain concepts clearly and concisely.' },
            { role: 'user', content: 'Explain quantum computing' },
        ]);
        assert.equal(bearer(s.fake.calls[0]), `Bearer ${SEED_KEY}`);
    });

    s.test("source 4's request with messages, and the order of all three", async () => {
        const history = [
            { role: 'system', content: 'You are a helpful assistant.' },
            { role: 'user', content: 'What is quantum computing?' },
            { role: 'assistant', content: 'Quantum computing is a type of computation...' },
            { role: 'user', content: 'Can you give me a simple example?' },
        ];
        const last = { role: 'user', content: 'Follow up question' };
        assertAnswer(await invoke(s, SEEDS.messages), { id: '550e8400-e29b-41d4-a716-446655440002' });
        assert.deepEqual(s.fake.calls[0].body.messages, [...history, last]);
        const all = { ...JSON.parse(SEEDS.messages), request_id: 'all-three', system_prompt: 'Be brief. "é"\n' };
        assertAnswer(await invoke(s, all), { id: 'all-three' });
        assert.deepEqual(s.fake.calls[1].body.messages, [
            { role: 'system', content: 'Be brief. "é"\n' },
            ...history,
            last,
        ]);
    });

    s.test('its examples in the document are those of source 4', () => {
        const { examples } = openapi.document.paths['/invoke'].post.requestBody.content['application/json'];
        assert.deepEqual(
            Object.values(examples).map((e) => e.value),
            Object.values(SEEDS).map((text) => JSON.parse(text)),
        );
    });

    s.test('only user_prompt is needed: id, key and the rest are ours', async () => {
        const json = assertAnswer(await invoke(s, { user_prompt: 'Why?' }));
        assert.match(json.request_id, UUID);
        assert.equal(bearer(s.fake.calls[0]), `Bearer ${PROVIDER_KEY}`);
        assert.equal(s.fake.calls[0].model, 'fake-model');
        const nulls = Object.fromEntries(
            ['request_id', 'openai_api_key', 'model', 'temperature', 'max_tokens', 'system_prompt'].map((k) => [k, null]),
        );
        assertAnswer(await invoke(s, { user_prompt: 'Why?', ...nulls, messages: null, metadata: null, username: null }));
        assertAnswer(await invoke(s, { user_prompt: 'Why?', messages: [], system_prompt: ' \n', unknown: [1] }));
        assert.deepEqual(s.fake.calls[2].body.messages, [{ role: 'user', content: 'Why?' }]);
    });

    s.test('is a chat with username and metadata, in a family of ids of its own', async () => {
        const body = { user_prompt: 'Who am I?', request_id: 'kept-1', username: 'anna', metadata: { a: [1.10, 'é'] } };
        const raw = '{"user_prompt":"Who am I?","request_id":"kept-1","username":"anna","metadata":{"a":[1.10,"é"]}}';
        const res = await invoke(s, raw, { headers: { 'X-Priority': 'high' } });
        const json = assertAnswer(res, { id: 'kept-1' });
        assert.equal(json.priority, 'HIGH');
        assert.ok(res.text.endsWith('"metadata":{"a":[1.10,"é"]}}'), res.text);
        assert.deepEqual(json.metadata, body.metadata);
        const [chat] = await s.chats('?username=anna');
        assert.equal(chat.request.request_id, 'kept-1');
        assert.equal(chat.endpoint, '/invoke');
        const other = await s.ask('Who are you?', { request_id: 'kept-1' });
        assert.equal(other.status, 200, 'the same id of /v1/query is another');
        assert.equal((await s.get('/v1/requests/kept-1')).json.response.text, 'Answer to: Who are you?');
        assert.equal((await invoke(s, { ...body, priority: 2 })).json.cached, true, 'the body may say it, too');
    });

    s.test('100 times the same id: one call, one answer', async () => {
        const body = { ...JSON.parse(SEEDS.basic), request_id: 'hundred', priority: 'HIGH' };
        s.fake.latencyMs = 150;
        const results = await Promise.all(Array.from({ length: 100 }, () => invoke(s, body)));
        assert.equal(s.fake.calls.length, 1);
        for (const res of results) {
            assert.equal(res.status, 200, res.text);
            const { data, usage, model, batch_id } = res.json;
            assert.deepEqual({ data, usage, model, batch_id }, {
                data: results[0].json.data,
                usage: results[0].json.usage,
                model: 'gpt-4o-mini',
                batch_id: results[0].json.batch_id,
            });
        }
    });

    s.test('a replay has its own time and latency, says so, and is the same otherwise', async () => {
        s.fake.latencyMs = 300;
        const body = { ...JSON.parse(SEEDS.system), request_id: 'replayed' };
        const first = await invoke(s, body);
        assertAnswer(first);
        await sleep(20);
        const second = await invoke(s, { ...body, openai_api_key: KEYS[1] });
        assertAnswer(second, { cached: true });
        assert.equal(second.headers['idempotent-replayed'], 'true');
        assert.equal(s.fake.calls.length, 1);
        assert.ok(Date.parse(second.json.timestamp) > Date.parse(first.json.timestamp));
        const [a, b] = [first.json.performance, second.json.performance];
        assert.ok(b.request_latency_ms < a.request_latency_ms, `${b.request_latency_ms} < ${a.request_latency_ms}`);
        assert.equal(b.llm_latency_ms, a.llm_latency_ms);
        const rest = ({ timestamp, cached, performance, ...others }) => ({
            ...others,
            performance: { ...performance, request_latency_ms: 0, cache_hit: 0 },
            known: [typeof timestamp, typeof cached],
        });
        assert.deepEqual(rest(second.json), rest(first.json));
    });

    s.test('409: the id belongs to another body', async () => {
        const body = { user_prompt: 'one', request_id: 'taken' };
        assertAnswer(await invoke(s, body));
        for (const other of [
            { user_prompt: 'two' },
            { system_prompt: 'x' },
            { temperature: 0.5 },
            { max_tokens: 7 },
            { model: 'gpt-4o' },
            { messages: [{ type: 'human', content: 'x' }] },
            { priority: 'LOW' },
        ]) {
            const res = await invoke(s, { ...body, ...other });
            assertError(res, 409, { code: 'REQUEST_ID_REUSED', field: 'request_id' });
            assert.equal(res.json.request_id, 'taken');
        }
        assert.equal(s.fake.calls.length, 1);
    });

    s.test('confidence is the geometric mean of the tokens where the provider gives it, else null', async () => {
        const alone = await invoke(s, { user_prompt: 'How sure are you?', request_id: 'sure' });
        assert.ok(Math.abs(assertAnswer(alone).data.confidence - 0.95) < 1e-9, alone.text);
        assert.equal(s.fake.calls[0].body.logprobs, true);
        const replay = await invoke(s, { user_prompt: 'How sure are you?', request_id: 'sure' });
        assert.deepEqual(assertAnswer(replay, { cached: true }).data, alone.json.data);
        const history = { messages: [{ type: 'human', content: 'Hm.' }] };
        const [told, plain] = await Promise.all([
            invoke(s, { user_prompt: 'And with a history?', ...history }),
            s.ask('Others are not asked', { priority: 'HIGH' }),
        ]);
        assert.ok(Math.abs(told.json.data.confidence - 0.95) < 1e-9, told.text);
        assert.equal(plain.status, 200);
        assert.ok(!('logprobs' in s.fake.callsWith('Others')[0].body));
        s.fake.reset();
        const shared = await Promise.all([1, 2].map((i) => invoke(s, { user_prompt: `together ${i}`, priority: 'LOW' })));
        assert.equal(s.fake.calls.length, 1);
        assert.ok(!('logprobs' in s.fake.calls[0].body));
        for (const res of shared) assert.equal(assertAnswer(res).data.confidence, null);
    });

    s.test('requests without a history ride together, those with one alone', async () => {
        const history = { messages: [{ type: 'ai', content: 'Hello.' }] };
        const results = await Promise.all([
            invoke(s, { user_prompt: 'plain 1', priority: 'LOW' }),
            invoke(s, { user_prompt: 'with history', ...history, priority: 'LOW' }),
            invoke(s, { user_prompt: 'plain 2', priority: 'LOW' }),
            s.ask('from elsewhere', { priority: 'LOW' }),
        ]);
        for (const res of results) assert.equal(res.status, 200, res.text);
        const sizes = s.fake.calls.map((call) => call.members.length).sort();
        assert.deepEqual(sizes, [1, 3]);
        assert.equal(s.fake.calls.find((call) => call.members.length === 1).userText, 'with history');
    });

    s.test('a provider that gives no log-probabilities is asked without', async () => {
        s.fake.when((call) => call.body.logprobs, {
            do: 'status',
            status: 403,
            message: 'You are not allowed to request logprobs from this model.',
        });
        const json = assertAnswer(await invoke(s, { user_prompt: 'Sure?', openai_api_key: KEYS[2] }));
        assert.equal(json.data.confidence, null);
        assert.equal(json.performance.retry_count, 0);
        assert.equal(s.fake.calls.length, 2);
        assertAnswer(await invoke(s, { user_prompt: 'And now?' }));
        assert.equal(s.fake.calls.length, 3, 'that is remembered');
    });

    s.test('nothing of a key is left in a file or an answer of ours', (t, stack) => assertNothingLeft(s, stack, 'Explain quantum computing'));
});

describe('POST /invoke and what is known already', () => {
    const s = useStack({ provider: 'openai', env: { ...WINDOWS, CARPOOL_CACHE_MODE: 'exact' } });

    s.test('an equal prompt is answered from the cache, and says so', async (t, stack) => {
        stack.secrets.push(...KEYS);
        const body = { user_prompt: 'What is a qubit?', model: 'gpt-4o', openai_api_key: KEYS[0] };
        const first = assertAnswer(await invoke(s, { ...body, request_id: 'cache-1' }));
        const again = await invoke(s, { ...body, request_id: 'cache-2' });
        const second = assertAnswer(again, { id: 'cache-2', cached: true });
        assert.equal(again.headers['idempotent-replayed'], undefined, 'it is a request of its own');
        assert.deepEqual([second.data, second.usage, second.model], [first.data, first.usage, 'gpt-4o']);
        assert.ok(second.data.confidence > 0.9);
        assert.equal(s.fake.calls.length, 1);
        assertAnswer(await invoke(s, { ...body, request_id: 'cache-2' }), { cached: true });
        /* Who pays with another key, or says anything else, asks for themselves. */
        for (const other of [{ openai_api_key: KEYS[1] }, { system_prompt: 'Be brief.' }, { temperature: 1 }])
            assertAnswer(await invoke(s, { ...body, ...other }));
        assert.equal(s.fake.calls.length, 4);
    });

    s.test('Cache-Control: no-cache asks all the same, at every prompt endpoint', async () => {
        const prompts = [
            ['/query', { query: 'fresh at query?' }],
            ['/v1/query', { prompt: 'fresh at v1?' }],
            ['/generate', { prompt: 'fresh at generate?' }],
            ['/chat', { chat_id: '1', user_prompt: 'fresh at chat?' }],
            ['/chat/batched', { queries: [{ chat_id: '1', user_prompt: 'fresh at batched?' }] }],
            ['/invoke', { user_prompt: 'fresh at invoke?' }],
        ];
        for (const [path, body] of prompts) {
            const calls = async (value) => {
                const before = s.fake.calls.length;
                const headers = { 'X-Priority': 'high', 'Cache-Control': value };
                assert.equal((await s.post(path, body, { headers })).status, 200);
                return s.fake.calls.length - before;
            };
            const asked = [];
            for (const value of [undefined, undefined, 'no-cache', 'max-age=0, No-Store', 'max-age=60'])
                asked.push(await calls(value));
            assert.deepEqual(asked, [1, 0, 1, 1, 0], path);
        }
    });
});
