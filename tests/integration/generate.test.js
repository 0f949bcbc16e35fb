'use strict';
/* POST /generate (source document 3): a text and its continuation, whatever the provider can do. */
const { describe } = require('node:test');
const assert = require('node:assert/strict');
const { useStack, assertError } = require('./harness');
const { continuationOf } = require('./fake_dialects');

const AI = 'The future of AI is';
const generate = (s, body, options) => s.post('/generate', body, options);

describe('POST /generate', () => {
    const s = useStack({
        provider: 'openai',
        env: { CARPOOL_BATCH_LOW_WINDOW_MS: '30000', CARPOOL_BATCH_LOW_MAX_BATCH: '2', CARPOOL_BATCH_MEDIUM_WINDOW_MS: '50', CARPOOL_BATCH_HIGH_WINDOW_MS: '20' },
    });

    s.test("source 3's request and answer, by the provider's text completion", async () => {
        const res = await generate(s, { prompt: AI, max_new_tokens: 50 });
        assert.equal(res.status, 200, res.text);
        assert.deepEqual(res.json, { generated_text: AI + continuationOf(AI) });
        assert.match(res.headers['server-timing'], /^accept;dur=[\d.]+, queue;dur=/);
        const [call] = s.fake.calls;
        assert.equal(call.path, '/v1/completions');
        assert.deepEqual(call.body, { model: 'fake-model', prompt: [AI], max_tokens: 50 });
    });

    s.test('max_new_tokens is 50 when it is left out, and 1 to 200', async () => {
        for (const [body, tokens] of [
            [{}, 50],
            [{ max_new_tokens: 1 }, 1],
            [{ max_new_tokens: 200 }, 200],
        ]) {
            assert.equal(
                (await generate(s, { prompt: AI, ...body }, { headers: { 'X-Priority': 'high' } })).status,
                200,
            );
            assert.equal(s.fake.calls.at(-1).maxTokens, tokens);
        }
        for (const max_new_tokens of [0, 201, -1, 1.5, '50', 1e9, [], {}, true])
            assertError(await generate(s, { prompt: AI, max_new_tokens }), 400, {
                code: 'INVALID_MAX_NEW_TOKENS',
                field: 'max_new_tokens',
            });
        assert.equal(s.fake.calls.length, 3);
    });

    s.test('a prompt is needed', async () => {
        for (const body of [{}, { prompt: '' }, { prompt: ' \n' }, { prompt: 7 }, { prompt: null }, { prompt: ['a'] }])
            assertError(await generate(s, body), 400, { code: 'INVALID_PROMPT', field: 'prompt' });
        assertError(await s.post('/generate', '{"prompt":'), 400, { code: 'INVALID_JSON' });
        assertError(await generate(s, { prompt: AI }, { headers: { 'X-Priority': 'soon' } }), 400, {
            code: 'INVALID_PRIORITY',
        });
        const res = await s.get('/generate');
        assertError(res, 405);
        assert.match(res.headers.allow, /POST/);
        assert.equal(s.fake.calls.length, 0);
    });

    s.test('a server without text completion is told to continue, and not asked in vain again', async () => {
        s.fake.when((call) => call.path === '/v1/completions', { do: 'status', status: 404 });
        const res = await generate(s, { prompt: AI });
        assert.deepEqual(res.json, { generated_text: `${AI} Answer to: ${AI}` });
        assert.deepEqual(
            s.fake.calls.map((call) => call.path),
            ['/v1/completions', '/v1/chat/completions'],
        );
        assert.match(s.fake.calls[1].system, /Continue it/);
        assert.equal(s.fake.calls[1].userText, AI);
        assert.equal((await generate(s, { prompt: `${AI} still` })).status, 200);
        assert.equal(s.fake.calls.length, 3, 'that is remembered');
        assert.equal(s.fake.calls[2].path, '/v1/chat/completions');
        /* A question shares calls as ever. */
        const asked = await Promise.all([1, 2].map((i) => s.ask(`meanwhile ${i}`, { priority: 'LOW' })));
        assert.equal(new Set(asked.map((r) => r.json.batch_id)).size, 1);
        assert.ok(s.fake.calls.at(-1).combined);
    });

    s.test('is a chat and is counted', async () => {
        const before = (await s.get('/v1/analytics')).json.requests.total;
        await generate(s, { prompt: 'Once upon a time' }, { headers: { 'X-Priority': 'HIGH' } });
        const chats = await s.chats();
        const mine = chats.filter((c) => JSON.stringify(c).includes('Once upon a time'));
        assert.equal(mine.length, 1, 'the prompt is what the chat holds');
        assert.equal((await s.get('/v1/analytics')).json.requests.total, before + 1);
    });

    s.test('errors of the provider come in the native shape', async () => {
        s.fake.next({ do: 'status', status: 400, message: 'too long', code: 'context_length_exceeded' });
        const res = await generate(s, { prompt: 'x '.repeat(9000) });
        assertError(res, 400, { code: 'PROVIDER_REJECTED' });
        assert.match(res.json.error.message, /context.*too long/);
    });
});

describe('POST /generate with the key of source 3', () => {
    const s = useStack({ env: { API_KEY: 'gpp-llm-service-secret', CARPOOL_BATCH_MEDIUM_WINDOW_MS: '20' } });
    const curl = { prompt: AI, max_new_tokens: 50 };

    s.test('401 when x-api-key is missing or wrong, else the answer', async () => {
        assertError(await generate(s, curl), 401, { code: 'KEY_MISSING' });
        const wrong = await generate(s, curl, { headers: { 'x-api-key': 'gpp-llm-service-secre' } });
        assertError(wrong, 401, { code: 'KEY_UNKNOWN' });
        assert.match(wrong.headers['www-authenticate'], /Bearer/);
        const right = await generate(s, curl, { headers: { 'x-api-key': 'gpp-llm-service-secret' } });
        assert.deepEqual(right.json, { generated_text: `${AI} Processed: ${AI}` });
        const bearer = await generate(s, curl, { headers: { Authorization: 'Bearer gpp-llm-service-secret' } });
        assert.equal(bearer.status, 200);
    });

    s.test('/chat says so in its own shape', async () => {
        for (const path of ['/chat', '/chat/batched']) {
            const res = await s.post(path, { chat_id: '1', user_prompt: 'What is AI?' });
            assert.equal(res.status, 401);
            assert.equal(res.json.chat_id, null);
            assert.match(res.json.error, /key/i);
        }
        const res = await s.post(
            '/chat',
            { chat_id: '1', user_prompt: 'What is AI?' },
            { headers: { 'x-api-key': 'gpp-llm-service-secret' } },
        );
        assert.deepEqual(res.json, { chat_id: '1', response: 'Processed: What is AI?' });
    });

    s.test('/health needs none', async () => {
        const { json } = await s.get('/health');
        assert.equal(json.status, 'ok');
        assert.equal(typeof json.service, 'string');
    });
});

describe('POST /generate with gemini', () => {
    const s = useStack({ provider: 'gemini', env: { CARPOOL_BATCH_MEDIUM_WINDOW_MS: '20' } });

    s.test('is told to continue', async () => {
        const res = await generate(s, { prompt: AI });
        assert.deepEqual(res.json, { generated_text: `${AI} Answer to: ${AI}` });
        assert.match(s.fake.calls[0].system, /Continue it/);
        assert.equal(s.fake.calls[0].maxTokens, 50);
    });
});

describe('POST /generate with a model service', () => {
    const s = useStack({ provider: 'model_service', env: { CARPOOL_BATCH_MEDIUM_WINDOW_MS: '1500' } });

    s.test('texts with one max_new_tokens share a call', async () => {
        const results = await Promise.all([
            generate(s, { prompt: 'one' }),
            generate(s, { prompt: 'two' }),
            generate(s, { prompt: 'three', max_new_tokens: 7 }),
        ]);
        assert.deepEqual(
            results.map((res) => res.json.generated_text),
            ['oneAnswer to: one', 'twoAnswer to: two', 'threeAnswer to: three'],
        );
        const calls = s.fake.calls.map((call) => [call.path, call.members.length, call.maxTokens]);
        assert.deepEqual(calls.sort(), [
            ['/generate_batch', 1, 7],
            ['/generate_batch', 2, 50],
        ]);
    });

    s.test('the prompt stands in the answer once, also when the service puts it in front', async () => {
        s.fake.next({ do: 'ok', echo: true });
        const res = await generate(s, { prompt: AI });
        assert.deepEqual(res.json, { generated_text: `${AI} Answer to: ${AI}` });
    });
});
