'use strict';
/*
 * POST /invoke: every error of source document 4's table, and that a key which a request brings reaches the provider and
 * nothing else.
 */
const { describe } = require('node:test');
const assert = require('node:assert/strict');
const { useStack, assertError, until, RFC3339_MS, PROVIDER_KEY } = require('./harness');
const { invoke, SEED_KEY, KEYS, WINDOWS, SEEDS, keysOf, bearer, assertAnswer, assertNothingLeft } = require('./invoke');

describe('POST /invoke with an OpenAI provider: errors and keys', () => {
    const s = useStack({
        provider: 'openai',
        conf: '[provider]\nmodels = gpt-4o-mini, gpt-4o,gpt-3.5-turbo , gpt-3.5-turbo-16k\n',
        env: WINDOWS,
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

    s.test('nothing of a key is left in a file or an answer of ours', (t, stack) => assertNothingLeft(s, stack, 'Why?'));
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
