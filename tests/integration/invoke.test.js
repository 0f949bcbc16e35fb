'use strict';
/*
 * POST /invoke (source document 4): its three requests word for word, its answer, every error of its table, and
 * that a key which a request brings reaches the provider and nothing else.
 */
const { describe } = require('node:test');
const assert = require('node:assert/strict');
const { useStack, assertError, openapi, sleep, until, RFC3339_MS, PROVIDER_KEY, STRETCH, UUID } = require('./harness');

const invoke = (s, body, options) => s.post('/invoke', body, options);
const SEED_KEY = 'sk-your-api-key-here';
const KEYS = Array.from({ length: 3 }, (_, i) => `sk-caller-canary-${i}-b81f3c`);
/* What has to meet in a call asks with LOW. */
const WINDOWS = {
    CARPOOL_BATCH_HIGH_WINDOW_MS: '20',
    CARPOOL_BATCH_MEDIUM_WINDOW_MS: '80',
    CARPOOL_BATCH_LOW_WINDOW_MS: String(600 * STRETCH),
};

/* The requests of source 4, as they stand there. */
const SEEDS = {
    basic: `{
    "request_id": "550e8400-e29b-41d4-a716-446655440000",
    "user_prompt": "Explain quantum computing in simple terms",
    "openai_api_key": "sk-your-api-key-here",
    "model": "gpt-4o-mini",
    "temperature": 0.7,
    "max_tokens": 500
  }`,
    system: `{
  "request_id": "550e8400-e29b-41d4-a716-446655440001",
  "user_prompt": "Explain quantum computing",
  "system_prompt": "You are a physics professor. Explain concepts clearly and concisely.",
  "openai_api_key": "sk-your-api-key-here"
}`,
    messages: `{
  "request_id": "550e8400-e29b-41d4-a716-446655440002",
  "user_prompt": "Follow up question",
  "openai_api_key": "sk-your-api-key-here",
  "messages": [
    {"type": "system", "content": "You are a helpful assistant."},
    {"type": "human", "content": "What is quantum computing?"},
    {"type": "ai", "content": "Quantum computing is a type of computation..."},
    {"type": "human", "content": "Can you give me a simple example?"}
  ]
}`,
};
const keysOf = (object) => Object.keys(object);
const bearer = (call) => call.headers.authorization;

/* Source 4's response, key for key and in its order; what is added stands behind. */
function assertAnswer(res, { id, cached = false } = {}) {
    assert.equal(res.status, 200, res.text);
    const { json } = res;
    assert.deepEqual(keysOf(json), [
        'success',
        'request_id',
        'data',
        'usage',
        'performance',
        'model',
        'cached',
        'timestamp',
        'error',
        'batch_id',
        'priority',
        ...('metadata' in json ? ['metadata'] : []),
    ]);
    assert.deepEqual(keysOf(json.data), ['response', 'confidence']);
    assert.deepEqual(keysOf(json.usage), ['prompt_tokens', 'completion_tokens', 'total_tokens']);
    assert.deepEqual(keysOf(json.performance), [
        'request_latency_ms',
        'llm_latency_ms',
        'cache_hit',
        'retry_count',
        'rate_limited',
    ]);
    assert.equal(json.success, true);
    assert.equal(json.error, null);
    assert.match(json.timestamp, RFC3339_MS);
    assert.ok(Math.abs(Date.parse(json.timestamp) - Date.now()) < 60000, json.timestamp);
    assert.equal(json.usage.total_tokens, json.usage.prompt_tokens + json.usage.completion_tokens);
    assert.equal(json.cached, cached);
    assert.equal(json.performance.cache_hit, cached);
    if (id) assert.equal(json.request_id, id);
    assert.equal(res.headers['x-request-id'], json.request_id);
    return json;
}

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

    s.test('400: a key of another form, as in source 4, and never shown again', async () => {
        const id = '550e8400-e29b-41d4-a716-446655440000';
        const bad = ['pk-wrong-canary-1', 'sk-', '', ' sk-canary', 'sk-can ary', 'sk-canary\r\nX: y', 'SK-canary', 'sk-é', 'sk-"can', 'sk-\\can'];
        for (const key of [...bad, `sk-${'x'.repeat(498)}`, 7, ['sk-canary'], { key: 'sk-canary' }, true]) {
            const res = await invoke(s, { user_prompt: 'Why?', request_id: id, openai_api_key: key });
            assertError(res, 400);
            const { timestamp, ...rest } = res.json;
            assert.match(timestamp, RFC3339_MS);
            assert.deepEqual(rest, {
                success: false,
                request_id: id,
                error: {
                    error_type: 'validation_error',
                    error_code: 'INVALID_API_KEY',
                    message: 'Invalid OpenAI API key format',
                    field: 'openai_api_key',
                    details: { expected_format: 'sk-...' },
                },
            });
            assert.deepEqual(keysOf(res.json), ['success', 'request_id', 'error', 'timestamp']);
            assert.deepEqual(keysOf(res.json.error), ['error_type', 'error_code', 'message', 'field', 'details']);
        }
        assert.equal(s.fake.calls.length, 0);
    });

    s.test('400: every other field that is wrong, by its name', async () => {
        const message = (m) => ({ messages: [{ type: 'human', content: 'x' }, m] });
        const cases = [
            [{ user_prompt: undefined }, 'INVALID_PROMPT', 'user_prompt'],
            [{ user_prompt: ' \n\u3000' }, 'INVALID_PROMPT', 'user_prompt'],
            [{ user_prompt: 7 }, 'INVALID_PROMPT', 'user_prompt'],
            [{ request_id: 'a b' }, 'INVALID_REQUEST_ID', 'request_id'],
            [{ request_id: 7 }, 'INVALID_REQUEST_ID', 'request_id'],
            [{ model: 7 }, 'INVALID_MODEL', 'model'],
            [{ model: ' ' }, 'INVALID_MODEL', 'model'],
            [{ model: 'gpt-4o\u0007' }, 'INVALID_MODEL', 'model'],
            [{ model: 'g'.repeat(129) }, 'INVALID_MODEL', 'model'],
            [{ temperature: -0.1 }, 'INVALID_TEMPERATURE', 'temperature'],
            [{ temperature: 2.1 }, 'INVALID_TEMPERATURE', 'temperature'],
            [{ temperature: '0.7' }, 'INVALID_TEMPERATURE', 'temperature'],
            [{ max_tokens: 0 }, 'INVALID_MAX_TOKENS', 'max_tokens'],
            [{ max_tokens: 1.5 }, 'INVALID_MAX_TOKENS', 'max_tokens'],
            [{ max_tokens: 1000001 }, 'INVALID_MAX_TOKENS', 'max_tokens'],
            [{ max_tokens: '5' }, 'INVALID_MAX_TOKENS', 'max_tokens'],
            [{ system_prompt: ['x'] }, 'INVALID_SYSTEM_PROMPT', 'system_prompt'],
            [{ messages: 'x' }, 'INVALID_MESSAGES', 'messages'],
            [{ messages: { type: 'human', content: 'x' } }, 'INVALID_MESSAGES', 'messages'],
            [message('x'), 'INVALID_MESSAGES', 'messages[1]'],
            [message(null), 'INVALID_MESSAGES', 'messages[1]'],
            [message({ content: 'x' }), 'INVALID_MESSAGES', 'messages[1].type'],
            [message({ type: 'robot', content: 'x' }), 'INVALID_MESSAGES', 'messages[1].type'],
            [message({ type: 'AI', content: 'x' }), 'INVALID_MESSAGES', 'messages[1].type'],
            [message({ type: 'ai' }), 'INVALID_MESSAGES', 'messages[1].content'],
            [message({ type: 'ai', content: ' ' }), 'INVALID_MESSAGES', 'messages[1].content'],
            [message({ type: 'ai', content: ['x'] }), 'INVALID_MESSAGES', 'messages[1].content'],
            [{ priority: 'soon' }, 'INVALID_PRIORITY', 'priority'],
            [{ username: 7 }, 'INVALID_USERNAME', 'username'],
            [{ username: 'x'.repeat(129) }, 'INVALID_USERNAME', 'username'],
            [{ metadata: [] }, 'INVALID_METADATA', 'metadata'],
            [{ metadata: { x: 'x'.repeat(8192) } }, 'INVALID_METADATA', 'metadata'],
        ];
        for (const [change, code, field] of cases)
            assertError(await invoke(s, { user_prompt: 'Why?', ...change }), 400, { code, field });
        assertError(await invoke(s, '{"user_prompt":'), 400, { code: 'INVALID_JSON' });
        assertError(await invoke(s, '["user_prompt"]'), 400, { code: 'INVALID_JSON' });
        const get = await s.get('/invoke');
        assertError(get, 405);
        assert.match(get.headers.allow, /POST/);
        assertError(await invoke(s, 'x', { headers: { 'Content-Type': 'text/plain' } }), 415);
        assert.equal(s.fake.calls.length, 0);
    });

    s.test('400: a model that is not offered, with the list of those that are', async () => {
        for (const model of ['gpt-5', 'gpt-4', 'GPT-4o', 'gpt-4o-mini,', 'fake']) {
            const res = await invoke(s, { user_prompt: 'Why?', model, request_id: 'which' });
            assertError(res, 400, { code: 'INVALID_MODEL', field: 'model' });
            assert.deepEqual(res.json.error.details, {
                supported_models: ['gpt-4o-mini', 'gpt-4o', 'gpt-3.5-turbo', 'gpt-3.5-turbo-16k', 'fake-model'],
            });
        }
        for (const model of ['gpt-4o', 'gpt-3.5-turbo-16k', 'fake-model']) {
            const json = assertAnswer(await invoke(s, { user_prompt: 'Why?', model, priority: 'HIGH' }));
            assert.equal(json.model, model);
            assert.equal(s.fake.calls.at(-1).model, model);
        }
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

    s.test('401: the provider does not accept the key of the caller; nothing of it is told', async () => {
        s.fake.keys = [KEYS[0]];
        const body = { user_prompt: 'Why?', request_id: 'whose', openai_api_key: KEYS[1] };
        const res = await invoke(s, body);
        assertError(res, 401, { code: 'PROVIDER_AUTH', type: 'authentication_error' });
        assert.ok(!res.text.includes('canary'), res.text);
        assert.equal(res.json.request_id, 'whose');
        assertAnswer(await invoke(s, { ...body, openai_api_key: KEYS[0] }), { id: 'whose' });
        assert.deepEqual(s.fake.calls.map(bearer), [`Bearer ${KEYS[1]}`, `Bearer ${KEYS[0]}`]);
        /* Our own key being wrong is not the client's fault. */
        assertError(await invoke(s, { user_prompt: 'And ours?' }), 502, { code: 'PROVIDER_AUTH' });
    });

    s.test('429 and 503 of the provider, and what a retry leaves in the answer', async () => {
        s.fake.next({ do: 'status', status: 429, retryAfter: 0 });
        const json = assertAnswer(await invoke(s, { user_prompt: 'again?', openai_api_key: KEYS[0] }));
        assert.equal(json.performance.retry_count, 1);
        assert.equal(json.performance.rate_limited, true);
        s.fake.when(() => true, 'quota');
        const limited = await invoke(s, { user_prompt: 'no credit', openai_api_key: KEYS[0] });
        assertError(limited, 429, { code: 'PROVIDER_RATE_LIMITED', type: 'rate_limit_error' });
        assert.equal(limited.json.error.details.rate_limited, true);
        s.fake.reset();
        s.fake.when(() => true, { do: 'status', status: 503 });
        const away = await invoke(s, { user_prompt: 'away', openai_api_key: KEYS[0], priority: 'HIGH' });
        assertError(away, 503, { code: 'PROVIDER_UNAVAILABLE' });
        assert.ok(Number(away.headers['retry-after']) >= 1);
        s.fake.reset();
    });

    s.test('requests that bring a key share calls with the same key only', async () => {
        const ask = (i, key) => invoke(s, { user_prompt: `shared ${i}`, openai_api_key: key, priority: 'LOW' });
        await Promise.all([ask(0, KEYS[0]), ask(1, KEYS[1]), ask(2, KEYS[0]), ask(3, undefined), ask(4, KEYS[1])]);
        const calls = s.fake.calls.map((call) => [bearer(call), call.members.map((m) => m.prompt.slice(-1)).sort().join('')]);
        assert.deepEqual(calls.sort(), [
            [`Bearer ${KEYS[0]}`, '02'],
            [`Bearer ${KEYS[1]}`, '14'],
            [`Bearer ${PROVIDER_KEY}`, '3'],
        ]);
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

    s.test('Prefer: respond-async has no meaning here, and is refused with a key', async () => {
        const headers = { Prefer: 'wait=5, respond-async' };
        const plain = await invoke(s, { user_prompt: 'later?' }, { headers });
        assertAnswer(plain);
        assert.equal(plain.headers['preference-applied'], undefined);
        const keyed = await invoke(s, { user_prompt: 'later?', openai_api_key: KEYS[0] }, { headers });
        assertError(keyed, 400, { code: 'ASYNC_WITH_KEY', field: 'openai_api_key' });
        assert.equal(s.fake.calls.length, 1);
    });

    s.test('a deleted chat is gone for good', async () => {
        const body = { user_prompt: 'forget me', request_id: 'forgotten' };
        assertAnswer(await invoke(s, body));
        assert.equal((await s.delete('/v1/chat/forgotten')).status, 200);
        assertError(await invoke(s, body), 410, { code: 'REQUEST_DELETED' });
    });

    s.test('Cache-Control is taken on every prompt endpoint, once', async () => {
        const prompts = [
            ['/query', { query: 'fresh?' }],
            ['/v1/query', { prompt: 'fresh?' }],
            ['/generate', { prompt: 'fresh?' }],
            ['/chat', { chat_id: '1', user_prompt: 'fresh?' }],
            ['/chat/batched', { queries: [{ chat_id: '1', user_prompt: 'fresh?' }] }],
            ['/invoke', { user_prompt: 'fresh?' }],
        ];
        for (const [path, body] of prompts)
            for (const value of ['no-cache', 'No-Store', 'max-age=0, no-cache', '', 'private="no-cache"'])
                assert.equal(
                    (await s.post(path, body, { headers: { 'Cache-Control': value, 'X-Priority': 'high' } })).status,
                    200,
                    `${path} ${value}`,
                );
        const raw = (headers) =>
            s.raw(
                'POST /invoke HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\n' +
                    `${headers}X-Priority: high\r\nContent-Length: 21\r\n\r\n{"user_prompt":"Why"}`,
            );
        assert.equal((await raw('Cache-Control: a\r\nCache-Control: no-cache\r\n')).status, 200, 'a list may come in two');
        const spelt = await raw('Cache-Control: no-cache\r\nCache_Control: max-age=60\r\n');
        assertError(spelt, 400, { code: 'DOUBLED_HEADER', field: 'CACHE-CONTROL' });
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

    s.test('nothing of a key is left in a file or an answer of ours', async (t, stack) => {
        for (const key of [SEED_KEY, ...KEYS]) assert.deepEqual(stack.filesWith(key), []);
        assert.ok(stack.filesWith('Explain quantum computing').length > 0, 'the search finds what is there');
        for (const path of ['/v1/chat', '/v1/settings', '/v1/analytics', '/health']) {
            const { text } = await s.get(path);
            for (const key of [SEED_KEY, ...KEYS]) assert.ok(!text.includes(key), path);
        }
    });
});

describe('POST /invoke where the server has no key', () => {
    const s = useStack({
        provider: 'openai',
        env: { ...WINDOWS, CARPOOL_PROVIDER_BASE_URL: '', CARPOOL_PROVIDER_API_KEY: '', CARPOOL_PROVIDER_MODEL: '' },
    });

    s.test('a key must come with the request, and it says how', async () => {
        for (const body of [{}, { model: 'gpt-4o' }, { openai_api_key: null }]) {
            const res = await invoke(s, { user_prompt: 'Why?', request_id: 'keyless', ...body });
            assertError(res, 400, { code: 'MISSING_API_KEY', field: 'openai_api_key', type: 'validation_error' });
            assert.match(res.json.error.message, /openai_api_key/);
            assert.equal(res.json.request_id, 'keyless');
        }
    });

    s.test('but not for a server of our own that needs none', async () => {
        const base_url = s.fake.baseUrl('openai');
        assert.equal((await s.put('/v1/settings', { base_url })).status, 200);
        assertAnswer(await invoke(s, { user_prompt: 'Why?', request_id: 'keyless' }), { id: 'keyless' });
        assert.equal(s.fake.calls[0].model, 'gpt-4o-mini', 'the default of source 4');
        assert.equal(bearer(s.fake.calls[0]), undefined);
        assertAnswer(await invoke(s, { user_prompt: 'Why?', openai_api_key: KEYS[0] }));
        assert.equal(bearer(s.fake.calls[1]), `Bearer ${KEYS[0]}`);
    });
});

describe('POST /invoke after a start with another configuration', () => {
    const s = useStack({
        provider: 'openai',
        env: {
            ...WINDOWS,
            CARPOOL_PROVIDER_BASE_URL: '',
            CARPOOL_PROVIDER_API_KEY: '',
            CARPOOL_COORDINATOR_IDLE_EXIT_S: '1',
        },
    });

    s.test('what is stored of the last run refuses nobody', async (t, stack) => {
        assert.equal((await s.put('/v1/settings', { low_priority: { tokens: 7 } })).status, 200, 'which is stored');
        assertError(await invoke(s, { user_prompt: 'Why?' }), 400, { code: 'MISSING_API_KEY' });
        stack.front.kill('SIGTERM');
        await stack.frontExit;
        await until('all have left', () => stack.processes().length === 0, 20000);
        stack.options.env = { ...WINDOWS };
        await stack.launch();
        await until('it answers', async () => (await s.get('/health', { check: false })).status === 200, 20000);
        assert.equal(stack.coordinatorPid(), null, '/health starts none');
        assert.equal((await s.get('/v1/settings')).json.api_key, '', 'as it was');
        assertAnswer(await invoke(s, { user_prompt: 'Why?' }));
        assert.equal(bearer(s.fake.calls[0]), `Bearer ${PROVIDER_KEY}`);
    });
});

/* A key for OpenAI has no business at anybody else's. */
async function assertKeysStayHere(s, stack) {
    stack.secrets.push(...KEYS);
    const res = await invoke(s, { user_prompt: 'Why?', openai_api_key: KEYS[0] });
    assertError(res, 400, { code: 'API_KEY_NOT_ACCEPTED', field: 'openai_api_key' });
    assert.ok(!res.text.includes('canary'));
    assertError(await invoke(s, { user_prompt: 'Why?', openai_api_key: 'no key' }), 400, { code: 'INVALID_API_KEY' });
    assert.equal(s.fake.calls.length, 0);
}

describe('POST /invoke with gemini', () => {
    const s = useStack({ provider: 'gemini', env: WINDOWS });

    s.test('a key of the caller is refused', (t, stack) => assertKeysStayHere(s, stack));

    s.test('system prompt, history with several system messages, question, in this order', async () => {
        const messages = [
            { type: 'system', content: 'Second.' },
            { type: 'human', content: 'a' },
            { type: 'ai', content: 'b' },
            { type: 'system', content: 'Third.' },
            { type: 'human', content: 'c' },
        ];
        const res = await invoke(s, { user_prompt: 'now?', system_prompt: 'First.', messages, temperature: 2 });
        assert.equal(assertAnswer(res).data.confidence, null);
        const { body } = s.fake.calls[0];
        assert.deepEqual(
            body.systemInstruction.parts.map((p) => p.text),
            ['First.', 'Second.', 'Third.'],
        );
        assert.deepEqual(
            body.contents.map((c) => [c.role, ...c.parts.map((p) => p.text)]),
            [
                ['user', 'a'],
                ['model', 'b'],
                ['user', 'c'],
                ['user', 'now?'],
            ],
        );
        assert.equal(body.generationConfig.temperature, 2);
    });

    s.test('any model goes that could be one of its own', async () => {
        assertAnswer(await invoke(s, { user_prompt: 'Why?', model: 'gemini-9-pro' }));
        assert.equal(s.fake.calls[0].model, 'gemini-9-pro');
        for (const model of ['a:b', '../x', 'a?key=1'])
            assertError(await invoke(s, { user_prompt: 'Why?', model }), 400, { code: 'INVALID_MODEL' });
    });
});

describe('POST /invoke with a model service', () => {
    const s = useStack({ provider: 'model_service', env: WINDOWS });

    s.test('a key of the caller is refused', (t, stack) => assertKeysStayHere(s, stack));

    s.test('it has one model, whatever is asked for', async () => {
        const messages = [{ type: 'human', content: 'a' }];
        const results = await Promise.all([
            invoke(s, { user_prompt: 'one', model: 'gpt-4o', priority: 'LOW' }),
            invoke(s, { user_prompt: 'two', priority: 'LOW' }),
            invoke(s, { user_prompt: 'three', system_prompt: 'Be brief.', messages }),
        ]);
        for (const res of results) assert.equal(assertAnswer(res).model, 'fake-model');
        assert.deepEqual(s.fake.prompts.sort(), ['Be brief.\n\nuser: a\n\nthree', 'one', 'two']);
        assert.equal(s.fake.calls.length, 2, 'what may share a call does');
    });
});

describe('POST /invoke with the mock', () => {
    const s = useStack({ env: WINDOWS, conf: '[provider]\nmodel = mock-1\n' });

    s.test("source 4's requests, word for word", async (t, stack) => {
        stack.secrets.push(SEED_KEY);
        for (const seed of Object.values(SEEDS)) {
            const { request_id, user_prompt, model } = JSON.parse(seed);
            const json = assertAnswer(await invoke(s, seed), { id: request_id });
            assert.equal(json.data.response, `Processed: ${user_prompt}`);
            assert.equal(json.data.confidence, null, 'never made up');
            assert.equal(json.model, model ?? 'mock-1');
        }
        assert.deepEqual(stack.filesWith(SEED_KEY), []);
    });

    s.test('keys and models are looked at all the same', async () => {
        assertError(await invoke(s, { user_prompt: 'x', openai_api_key: 'x' }), 400, { code: 'INVALID_API_KEY' });
        const res = await invoke(s, { user_prompt: 'x', model: 'gpt-5' });
        assertError(res, 400, { code: 'INVALID_MODEL' });
        const offered = ['gpt-4o-mini', 'gpt-4o', 'gpt-3.5-turbo', 'gpt-3.5-turbo-16k', 'mock-1'];
        assert.deepEqual(res.json.error.details.supported_models, offered, 'those of source 4, and the default');
        for (const model of offered)
            assertAnswer(await invoke(s, { user_prompt: 'x', model, priority: 'HIGH' }));
    });
});

describe('POST /invoke with an empty list of models', () => {
    const s = useStack({ provider: 'openai', env: WINDOWS, conf: '[provider]\nmodels =\n' });

    s.test('any model goes', async () => {
        assertAnswer(await invoke(s, { user_prompt: 'Why?', model: 'llama3:8b' }));
        assert.equal(s.fake.calls[0].model, 'llama3:8b');
    });
});

describe('POST /invoke where API_KEY is set', () => {
    const s = useStack({ env: { ...WINDOWS, API_KEY: 'ours-1', ADMIN_KEY: 'ours-2' } });

    s.test('the key of the service is another than the one in the body', async () => {
        const body = JSON.parse(SEEDS.basic);
        assertError(await invoke(s, body), 401, { code: 'KEY_MISSING', type: 'authentication_error' });
        const bearerOf = (key) => ({ headers: { Authorization: `Bearer ${key}` } });
        assertError(await invoke(s, body, bearerOf(SEED_KEY)), 401, { code: 'KEY_UNKNOWN' });
        assertAnswer(await invoke(s, body, bearerOf('ours-1')));
        assertAnswer(await invoke(s, body, bearerOf('ours-2')), { cached: false });
    });
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
