'use strict';
/* Against a real llama-server, when LLAMA_SERVER (the command) and LLAMA_MODEL (a model file) are set: everything
 * that source documents 3 and 5 ask, with real text, and what is special about that server. */
const { describe, before, after } = require('node:test');
const assert = require('node:assert/strict');
const { useStack, freePort, until, Stack, sleep, STRETCH } = require('./harness');
const { LlamaServer, missing, hasStrace } = require('./llama_server');

const ready = (server) => until('llama-server is ready', async () => (await server.health()) === 200, 60000);
const isText = (text) => assert.ok(typeof text === 'string' && text.trim().length > 10, JSON.stringify(text));
const provider = async (s) => (await s.get('/health')).json.dependencies.provider;
const stories = (n, tag = '') =>
    Array.from({ length: n }, (_, i) => ({ chat_id: String(i), user_prompt: `${tag} Tell me a story of ${i} cats.` }));
const TOO_LONG = 'once upon a time there was a cat '.repeat(60);
const ENV = {
    CARPOOL_PROVIDER_KIND: 'openai',
    CARPOOL_PROVIDER_MODE: 'concurrent',
    CARPOOL_PROVIDER_MODEL: 'stories15m',
    CARPOOL_PROVIDER_MAX_CONCURRENCY: '17',
    CARPOOL_BATCH_HIGH_TOKENS: '40',
    CARPOOL_BATCH_HIGH_LATENCY_MS: '30000',
    CARPOOL_BATCH_MEDIUM_TOKENS: '40',
    CARPOOL_BATCH_MEDIUM_WINDOW_MS: '0',
    CARPOOL_RETRY_ATTEMPTS: '1',
};

describe('llama-server', { skip: missing }, () => {
    const env = { ...ENV, API_KEY: 'gpp-llm-service-secret', ADMIN_KEY: 'llama-admin-key' };
    const combinedEnv = { ...ENV, CARPOOL_PROVIDER_MODE: 'combined', CARPOOL_BATCH_HIGH_TOKENS: '30' };
    const arrayEnv = { ...ENV, CARPOOL_PROVIDER_MODE: 'array', CARPOOL_BATCH_MEDIUM_WINDOW_MS: '100' };
    let server;

    before(async () => {
        server = new LlamaServer(await freePort());
        for (const e of [env, combinedEnv, arrayEnv]) e.CARPOOL_PROVIDER_BASE_URL = `${server.url}/v1`;
        await ready(server);
    });
    const s = useStack({ env });
    const combined = useStack({ env: combinedEnv });
    const array = useStack({ env: arrayEnv });
    after(() => server.kill('SIGTERM'));
    const key = { headers: { 'x-api-key': 'gpp-llm-service-secret' } };

    s.test('/invoke knows how sure the model was', async () => {
        const body = {
            user_prompt: 'Tell me a story about a cat.',
            system_prompt: 'You tell stories.',
            messages: [
                { type: 'human', content: 'Hello!' },
                { type: 'ai', content: 'Hello, once upon a time' },
            ],
            temperature: 0.7,
            max_tokens: 30,
        };
        const results = await Promise.all([0, 1, 2].map((i) => s.post('/invoke', { ...body, temperature: i }, key)));
        for (const { status, text, json } of results) {
            assert.equal(status, 200, text);
            isText(json.data.response);
            assert.equal(json.model, 'stories15m');
            assert.equal(json.usage.completion_tokens, 30);
            assert.ok(json.data.confidence > 0 && json.data.confidence <= 1, text);
        }
        const [greedy, , wild] = results.map((res) => res.json.data.confidence);
        assert.ok(greedy > wild, `${greedy} > ${wild}: the likeliest tokens are likelier than others`);
        const bad = await s.post('/invoke', { ...body, model: 'gpt-5' }, key);
        assert.equal(bad.json.error.error_code, 'INVALID_MODEL');
    });

    s.test('a stream comes to what is answered without one', async () => {
        const messages = [{ role: 'user', content: 'Once upon a time' }];
        const cases = [
            ['chat/completions', { messages, n: 2 }],
            ['chat/completions', { messages, logprobs: true, top_logprobs: 2 }],
            ['completions', { prompt: 'Once upon a time', stop: ['nobody'] }],
            ['completions', { prompt: ['Lily', 'Tom'], stop: ['nobody'] }],
        ];
        for (const [path, body] of cases) {
            /* The likeliest words are the same whatever the seed, and with another one they are not in the cache. */
            const ask = (seed, stream) =>
                fetch(`http://127.0.0.1:${s.port}/v1/${path}`, {
                    method: 'POST',
                    headers: { authorization: 'Bearer gpp-llm-service-secret', 'content-type': 'application/json' },
                    body: JSON.stringify({ model: 'stories15m', temperature: 0, max_tokens: 12, ...body, seed, stream }),
                });
            const { choices, usage } = await (await ask(1, false)).json();
            const events = (await (await ask(2, true)).text()).split('\n\n').filter((event) => event.startsWith('data: '));
            assert.equal(events.pop(), 'data: [DONE]');
            const chunks = events.map((event) => JSON.parse(event.slice(6)));
            assert.ok(chunks.length > 10 && usage.completion_tokens > 10, String(chunks.length));
            const words = choices.map(() => '');
            for (const { index, delta, text } of chunks.flatMap((chunk) => chunk.choices)) words[index] += text ?? delta.content ?? '';
            choices.forEach(({ message, text }, i) => {
                const whole = text ?? message.content;
                /* Of several texts that stream, the server itself leaves out the last token of some. */
                if (body.prompt?.length === 2) assert.ok(whole.startsWith(words[i]) && words[i].length > whole.length - 8, words[i]);
                else assert.equal(words[i], whole);
            });
        }
    });

    s.test('several prompts are answered with real text', async () => {
        const prompts = [
            'Once upon a time there was a fox',
            'The little dog went to',
            'Tell me a story about the sea',
            'Lily had a red ball',
            'Tom and his mother',
            'One day a bird',
        ];
        const results = await Promise.all(prompts.map((prompt) => s.ask(prompt, { priority: 'HIGH' }, key)));
        results.forEach((res, i) => {
            assert.equal(res.status, 200, res.text);
            assert.ok(res.json.text.trim().length > 10, `${prompts[i]} -> ${res.text}`);
            assert.ok(res.json.tokens_used > 5 && res.json.tokens_used < 500, res.text);
            assert.equal(res.json.model, 'stories15m');
        });
        assert.ok(new Set(results.map((res) => res.json.text)).size > 1);
        assert.equal(new Set(results.map((res) => res.json.batch_id)).size, 1);
    });

    s.test("source 3's curls", async () => {
        const body = { prompt: 'The future of AI is', max_new_tokens: 50 };
        const res = await s.post('/generate', body, key);
        assert.equal(res.status, 200, res.text);
        assert.deepEqual(Object.keys(res.json), ['generated_text']);
        assert.ok(res.json.generated_text.startsWith(body.prompt), res.text);
        isText(res.json.generated_text.slice(body.prompt.length));
        assert.equal((await s.post('/generate', body)).status, 401);
        assert.equal((await s.post('/generate', body, { headers: { 'x-api-key': 'wrong' } })).status, 401);
        const { json } = await s.get('/health');
        assert.equal(json.status, 'ok');
        assert.deepEqual(json.dependencies.provider, { status: 'ok' });
    });

    s.test('max_new_tokens is held to', async () => {
        const lengths = [];
        for (const max_new_tokens of [1, 200])
            lengths.push(
                (await s.post('/generate', { prompt: 'Once upon a time', max_new_tokens }, key)).json.generated_text
                    .length,
            );
        assert.ok(lengths[0] < 16 + 20 && lengths[1] > 16 + 100, lengths.join());
    });

    s.test("source 5's curls", async () => {
        const one = await s.post('/chat', { chat_id: '1', user_prompt: 'What is AI?' }, key);
        assert.equal(one.status, 200, one.text);
        assert.equal(one.json.chat_id, '1');
        isText(one.json.response);
        const queries = [
            { chat_id: '1', user_prompt: 'What is 2+2?' },
            { chat_id: '2', user_prompt: 'Define AI?' },
        ];
        const both = (await s.post('/chat/batched', { queries }, key)).json;
        assert.equal(both.partial_success, false);
        both.responses.forEach((r, i) => {
            assert.equal(r.chat_id, queries[i].chat_id);
            isText(r.response);
        });
        const part = await s.post('/chat/batched', { queries: [queries[0], { chat_id: '2' }] }, key);
        assert.equal(part.status, 200);
        assert.equal(part.json.partial_success, true);
        isText(part.json.responses[0].response);
        assert.deepEqual(part.json.responses[1], { chat_id: '2', error: 'user_prompt required' });
    });

    s.test('concurrent: each has its own usage', async () => {
        const admin = { headers: { 'x-api-key': 'llama-admin-key' } };
        await s.post('/chat/batched', { queries: stories(8, 'Please.') }, key);
        const { chats } = (await s.get('/v1/chat', admin)).json;
        const mine = chats.filter((c) => c.request.prompt.startsWith('Please.'));
        assert.equal(mine.length, 8);
        for (const { response } of mine) assert.ok(response.tokens_used > 20 && response.tokens_used < 120);
    });

    s.test('concurrent: a prompt too long for a slot fails alone, and says why', async () => {
        const queries = stories(8);
        queries[3].user_prompt = TOO_LONG;
        const { json } = await s.post('/chat/batched', { queries }, key);
        assert.equal(json.partial_success, true);
        json.responses.forEach((r, i) => {
            if (i !== 3) return isText(r.response);
            assert.equal(r.error_code, 'PROVIDER_REJECTED');
            assert.match(r.error, /do not fit into the model's context.*exceeds the available context size/);
        });
    });

    combined.test('combined: a model too small for the format is asked again, prompt by prompt', async () => {
        const results = await Promise.all(
            ['A cat sat', 'The sun was'].map((prompt) => combined.ask(prompt, { priority: 'HIGH' })),
        );
        results.forEach((res) => {
            assert.equal(res.status, 200, res.text);
            assert.ok(res.json.text.trim().length > 10, res.text);
        });
        assert.equal((await combined.get('/v1/analytics')).json.total_requests, 1, 'still one batch');
    });

    array.test('array: several prompts in one call, and one too long fails alone', async () => {
        const queries = stories(4);
        const all = (await array.post('/chat/batched', { queries })).json;
        all.responses.forEach((r) => isText(r.response));
        const calls = array.events().filter((e) => e.event === 'BATCH_START');
        assert.deepEqual([calls.length, calls[0].mode], [1, 'array']);
        queries[1].user_prompt = TOO_LONG;
        const { json } = await array.post('/chat/batched', { queries });
        assert.deepEqual(
            json.responses.map((r) => Boolean(r.error)),
            [false, true, false, false],
        );
        assert.match(json.responses[1].error, /context/);
    });

    array.test('array: texts to be continued share a call', async () => {
        const prompts = ['Once upon a time', 'The little cat', 'Lily and Tom', 'One day'];
        const results = await Promise.all(
            prompts.map((prompt) => array.post('/generate', { prompt, max_new_tokens: 20 })),
        );
        results.forEach((res, i) => {
            assert.ok(res.json.generated_text.startsWith(prompts[i]), res.text);
            isText(res.json.generated_text.slice(prompts[i].length));
        });
    });

    array.test('another model than the server has: it answers all the same, so /health says it', async () => {
        await array.put('/v1/settings', { model: 'gpt-17' });
        const { reason } = await until('/health sees it', async () => {
            const now = await provider(array);
            return now.status === 'down' && now;
        });
        assert.match(reason, /no model "gpt-17".*it has: stories15m/);
        assert.equal((await array.get('/health')).json.status, 'degraded');
        isText((await array.post('/chat', { chat_id: '1', user_prompt: 'Still?' })).json.response);
        await array.put('/v1/settings', { model: 'stories15m' });
        await until('/health is well', async () => (await provider(array)).status === 'ok');
    });
});

describe('llama-server behind a Unix socket', { skip: missing }, () => {
    const s = useStack();
    let server;
    after(() => server?.kill('SIGTERM'));

    s.test('is a base_url, too', async () => {
        const socket = `${s.dir}/llama.sock`;
        server = new LlamaServer(socket);
        await ready(server);
        const change = { provider: 'openai', model: 'stories15m', base_url: `unix:${socket}` };
        assert.equal((await s.put('/v1/settings', change)).status, 200);
        await until('/health is well', async () => (await provider(s)).status === 'ok');
        isText((await s.post('/chat', { chat_id: '1', user_prompt: 'Tell me a story.' })).json.response);
        const { generated_text } = (await s.post('/generate', { prompt: 'Once upon a time' })).json;
        isText(generated_text.slice(16));
    });
});

describe('llama-server that comes and goes', { skip: missing }, () => {
    const env = { ...ENV, CARPOOL_BATCH_MEDIUM_TOKENS: '150' };
    const at = {};
    before(async () => {
        at.port = await freePort();
        env.CARPOOL_PROVIDER_BASE_URL = `http://127.0.0.1:${at.port}/v1`;
        at.server = new LlamaServer(at.port);
        await ready(at.server);
    });
    const s = useStack({ env });
    after(() => at.server.kill());

    s.test('killed in the middle: clear errors for what ran, the others wait for it to come back', async () => {
        const waiting = s.post('/chat/batched', { queries: stories(40) });
        await until('calls run', () => s.events().filter((e) => e.event === 'BATCH_START').length > 8);
        await sleep(50);
        await at.server.kill();
        await until('/health sees it', async () => (await provider(s)).status === 'down');
        at.server = new LlamaServer(at.port);
        await ready(at.server);
        const { json, status } = await waiting;
        assert.equal(status, 200);
        assert.equal(json.partial_success, true);
        const failed = json.responses.filter((r) => r.error);
        for (const { error, error_code } of failed) {
            assert.match(error_code, /^(OUTCOME_UNKNOWN|PROVIDER_UNAVAILABLE)$/);
            assert.match(error, /charged|nothing was sent/);
        }
        const ran = failed.filter((r) => r.error_code === 'OUTCOME_UNKNOWN');
        assert.ok(ran.length >= 1 && ran.length <= 16, `${ran.length} of 16 slots`);
        const answered = json.responses.filter((r) => r.response);
        assert.ok(answered.length >= 8, `${answered.length} answered`);
        answered.forEach((r) => isText(r.response));

        await until('/health sees that it is back', async () => (await provider(s)).status === 'ok', 15000);
        const again = await s.post('/chat/batched', { queries: stories(20) });
        assert.equal(again.json.partial_success, false);
        again.json.responses.forEach((r) => isText(r.response));
    });

    const slow = missing || hasStrace() ? false : 'strace is not there to slow the server down';
    (slow ? () => {} : s.test)('while it loads its model it is waited for', async () => {
        await at.server.kill();
        await until('/health sees it', async () => {
            await s.post('/chat', { chat_id: '0', user_prompt: 'Anybody?' });
            return (await provider(s)).status === 'down';
        });
        at.server = new LlamaServer(at.port, { slow: true });
        await until('it loads', async () => (await at.server.health()) === 503, 60000);
        const waiting = s.post('/chat/batched', { queries: stories(6) });
        const { reason } = await until('/health says so', async () => {
            const now = await provider(s);
            return /loading/i.test(now.reason) && now;
        });
        assert.match(reason, /still loading its model/);
        const { json } = await waiting;
        assert.equal(json.partial_success, false, JSON.stringify(json));
        json.responses.forEach((r) => isText(r.response));
        assert.equal(await at.server.health(), 200);
    });
});

describe('llama-server that starts later than carpool', { skip: missing }, () => {
    const s = useStack();
    s.test('is found when it is there', async () => {
        const port = await freePort();
        const stack = new Stack({ env: { ...ENV, CARPOOL_PROVIDER_BASE_URL: `http://127.0.0.1:${port}/v1` } });
        let server;
        try {
            await stack.start();
            const early = await stack.post('/chat', { chat_id: '1', user_prompt: 'Early?' });
            assert.equal(early.json.error_code, 'PROVIDER_UNAVAILABLE', early.text);
            server = new LlamaServer(port);
            await ready(server);
            await until(
                '/health sees it',
                async () => (await stack.get('/health')).json.status === 'ok',
                10000 * STRETCH,
            );
            isText((await stack.post('/chat', { chat_id: '1', user_prompt: 'Now?' })).json.response);
        } finally {
            await stack.stop();
            await server?.kill();
        }
    });
});
