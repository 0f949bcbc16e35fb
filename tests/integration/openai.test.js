'use strict';
/* POST /v1/chat/completions and /v1/completions: plain requests, which are prompts like any other, and what is wrong with others. */
const { describe } = require('node:test');
const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { useStack, until, sleep, UUID } = require('./harness');
const { continuationOf } = require('./fake_dialects');
const { user, chat, complete, ask, idempotent, assertError, assertCompletion } = require('./openai');

const WINDOWS = {
    CARPOOL_BATCH_HIGH_WINDOW_MS: '20',
    CARPOOL_BATCH_MEDIUM_WINDOW_MS: '50',
    CARPOOL_BATCH_LOW_WINDOW_MS: '600',
    CARPOOL_BATCH_LOW_MAX_BATCH: '3',
};
const low = { headers: { 'X-Priority': 'low' } };
const lowWindow = async (s, window_ms) => assert.equal((await s.put('/v1/settings', { low_priority: { window_ms } })).status, 200);
/* How many prompts each call carried. */
const sizes = (s) => s.fake.calls.map((call) => call.members.length);

describe('plain requests of OpenAI\'s API', () => {
    const s = useStack({ provider: 'openai', env: WINDOWS });

    s.test('one question', async () => {
        const res = await ask(s, 'What is AI?');
        assertCompletion(res, 'Answer to: What is AI?');
        assert.match(res.headers['x-request-id'], UUID);
        assert.match(res.headers['server-timing'], /^accept;dur=[\d.]+, queue;dur=/);
        assert.equal(res.headers['idempotent-replayed'], undefined);
        const [call] = s.fake.calls;
        assert.deepEqual(call.body.messages, [user('What is AI?')]);
        assert.equal(call.body.stream, undefined);
    });

    s.test('its parameters reach the provider', async () => {
        const more = { temperature: 0.7, max_tokens: 9, top_p: 0.5, presence_penalty: 1, n: 1, stream: false, stop: null };
        const messages = [{ role: 'developer', content: [{ type: 'text', text: 'Be brief.' }] }, user('Why?')];
        assertCompletion(await chat(s, { messages, model: 'gpt-x', ...more }), 'Answer to: Why?', { model: 'gpt-x' });
        assertCompletion(await ask(s, 'How?', { max_completion_tokens: 8, temperature: 0 }), 'Answer to: How?');
        const [first, second] = s.fake.calls.map((call) => call.body);
        assert.deepEqual(first, {
            model: 'gpt-x',
            messages: [{ role: 'system', content: 'Be brief.' }, user('Why?')],
            temperature: 0.7,
            max_tokens: 9,
            top_p: 0.5,
            presence_penalty: 1,
        });
        assert.equal(second.max_tokens, 8);
        assert.equal(second.temperature, 0);
    });

    s.test('those that agree share a call', async () => {
        const same = { temperature: 0.5, top_p: 0.9 };
        await lowWindow(s, 60000);
        const others = [
            ask(s, 'Hotter question?', { ...same, temperature: 0.6 }, low),
            ask(s, 'Other question?', { ...same, top_p: 0.8 }, low),
        ];
        const results = await Promise.all([1, 2, 3].map((i) => ask(s, `Shared question ${i}?`, same, low)));
        await lowWindow(s, 20);
        for (const res of await Promise.all(others)) assert.equal(res.status, 200, res.text);
        results.forEach((res, i) => assertCompletion(res, `Answer to: Shared question ${i + 1}?`));
        assert.deepEqual(sizes(s).sort(), [1, 1, 3]);
        const shared = s.fake.calls.find((call) => call.combined);
        assert.equal(shared.body.top_p, 0.9);
        assert.equal(shared.temperature, 0.5);
    });

    s.test('and also with other endpoints', async () => {
        const [mine, other] = await Promise.all([
            ask(s, 'Who rides along?', {}, low),
            s.ask('Who else?', { priority: 'LOW', model: 'fake-model' }),
        ]);
        assertCompletion(mine, 'Answer to: Who rides along?');
        assert.equal(other.json.text, 'Answer to: Who else?');
        assert.ok(s.fake.calls.length <= 2);
    });

    s.test('user and metadata are kept with the chat', async () => {
        const metadata = { team: 'a', weight: '1.10' };
        const res = await ask(s, 'Who am I?', { user: 'anna-17', metadata });
        assert.equal(res.status, 200, res.text);
        const [kept] = await s.chats('?username=anna-17');
        assert.equal(kept.request.prompt, 'Who am I?');
        assert.deepEqual(kept.request.metadata, metadata);
        assert.equal(kept.endpoint, '/v1/chat/completions');
        assert.equal(kept.request.request_id, res.headers['x-request-id']);
        assert.equal(s.fake.calls[0].body.user, 'anna-17', 'and the provider is told');
        await ask(s, 'Who are you?', { user: 'x'.repeat(129) });
        assert.equal(s.fake.calls[1].body.user.length, 129);
    });

    s.test('no model is the one in force', async () => {
        assertCompletion(await chat(s, JSON.stringify({ messages: [user('Which?')] })), 'Answer to: Which?');
    });

    s.test('an answer cut short says so', async () => {
        s.fake.next({ do: 'say', text: 'Once upon', finish: 'length' });
        const res = await ask(s, 'Tell me a story.');
        assert.equal(res.json?.choices?.[0].finish_reason, 'length', res.text);
    });

    s.test('/v1/completions: a text', async () => {
        const res = await complete(s, { prompt: 'Once upon a time', max_tokens: 5 });
        assert.equal(res.status, 200, res.text);
        const { id, created, usage, ...rest } = res.json;
        assert.match(id, /^cmpl-/);
        assert.ok(created > 1e9 && usage.total_tokens > 0);
        assert.deepEqual(rest, {
            object: 'text_completion',
            model: 'fake-model',
            choices: [{ index: 0, text: continuationOf('Once upon a time'), logprobs: null, finish_reason: 'stop' }],
        });
        assert.equal(s.fake.calls[0].path, '/v1/completions');
        assert.equal(s.fake.calls[0].maxTokens, 5);
    });

    s.test('/v1/completions: an array of texts, in its order', async () => {
        const prompt = ['One', 'Two', 'Three', 'Two'];
        const res = await complete(s, { prompt, max_tokens: 5 });
        assert.equal(res.status, 200, res.text);
        assert.deepEqual(
            res.json.choices.map(({ index, text }) => [index, text]),
            prompt.map((text, i) => [i, continuationOf(text)]),
        );
        assert.equal(s.fake.calls.flatMap((call) => call.members).length, 4);
        const { prompt_tokens, completion_tokens, total_tokens } = res.json.usage;
        assert.equal(total_tokens, prompt_tokens + completion_tokens);
        assert.match(res.headers['server-timing'], /upstream;dur=/);
        assert.equal((await complete(s, { prompt: ['Alone'] })).json.choices.length, 1);
    });

    s.test('one that fails fails the array, and what was bought is not asked for again', async () => {
        s.fake.when((call) => call.prompts?.includes?.('bad') || call.userText === 'bad', { do: 'status', status: 400 });
        const res = await complete(s, { prompt: ['good', 'bad'] });
        assertError(res, 400, { type: 'invalid_request_error', code: 'provider_rejected', retry: false });
        s.fake.when((call) => call.prompts?.includes?.('away') || call.userText === 'away', { do: 'status', status: 503 });
        s.fake.when((call) => call.prompts?.includes?.('lost') || call.userText === 'lost', { do: 'reset_before' });
        assertError(await complete(s, { prompt: ['away', 'lost'] }), 503, { code: 'provider_unavailable', retry: false });
    });
});

describe('Idempotency-Key', () => {
    const s = useStack({ provider: 'openai', env: WINDOWS });

    s.test('the same again is the same bytes, and no call', async () => {
        for (const key of ['order-17', '"order-18"', 'with/slash "and" more'.replaceAll(' ', ''), 'x'.repeat(255)]) {
            const before = s.fake.calls.length;
            const first = await ask(s, 'Once only?', {}, idempotent(key));
            assertCompletion(first, 'Answer to: Once only?');
            const again = await ask(s, 'Once only?', {}, idempotent(key));
            assert.equal(again.text, first.text);
            assert.equal(again.headers['idempotent-replayed'], 'true');
            assert.equal(again.headers['x-request-id'], first.headers['x-request-id']);
            assert.equal(s.fake.calls.length, before + 1, key);
        }
        const plain = await ask(s, 'Once only?', {}, idempotent('order-18'));
        assert.equal(plain.headers['idempotent-replayed'], 'true', 'with and without the quotes of a structured field');
        assert.equal(plain.headers['x-request-id'], 'order-18');
    });

    s.test('409 while it runs', async () => {
        s.fake.hold();
        const first = ask(s, 'Twice at once?', {}, idempotent('twice-1'));
        await s.fake.waitForCalls(1);
        const second = await ask(s, 'Twice at once?', {}, idempotent('twice-1'));
        s.fake.release();
        assertCompletion(await first, 'Answer to: Twice at once?');
        assertError(second, 409, { type: 'invalid_request_error', code: 'request_running', retry: true });
        assert.ok(Number(second.headers['retry-after-ms']) >= 1);
        assert.equal(s.fake.calls.length, 1);
    });

    s.test('another body is 422', async () => {
        await ask(s, 'First?', {}, idempotent('body-1'));
        for (const other of [
            () => ask(s, 'Second?', {}, idempotent('body-1')),
            () => ask(s, 'First?', { temperature: 1 }, idempotent('body-1')),
            () => complete(s, { prompt: 'First?' }, idempotent('body-1')),
        ])
            assertError(await other(), 422, {
                type: 'invalid_request_error',
                code: 'idempotency_key_reused',
                message: /Idempotency-Key/,
            });
        assert.equal(s.fake.calls.length, 1);
    });

    s.test('an array is replayed, too', async () => {
        const first = await complete(s, { prompt: ['a', 'b'] }, idempotent('list-1'));
        assert.equal(first.status, 200, first.text);
        const again = await complete(s, { prompt: ['a', 'b'] }, idempotent('list-1'));
        assert.equal(again.text, first.text);
        assert.equal(again.headers['idempotent-replayed'], 'true');
        assert.equal(again.headers['x-request-id'], 'list-1');
        assert.equal(s.fake.calls.flatMap((call) => call.members).length, 2);
        for (const prompt of [['b', 'a'], ['a', 'b', 'c'], ['a', 'c'], 'a'])
            assertError(await complete(s, { prompt }, idempotent('list-1')), 422, { code: 'idempotency_key_reused' });
    });

    s.test('whose answer was deleted is used up', async () => {
        assertCompletion(await ask(s, 'Forget me?', {}, idempotent('gone-1')), 'Answer to: Forget me?');
        assert.equal((await s.delete('/v1/chat/gone-1')).status, 200);
        assertError(await ask(s, 'Forget me?', {}, idempotent('gone-1')), 410, {
            type: 'invalid_request_error',
            code: 'request_deleted',
            message: /Idempotency-Key/,
        });
    });

    s.test('is one of its own beside the ids of other endpoints', async () => {
        await s.ask('Native?', { request_id: 'family-1' });
        assertCompletion(await ask(s, 'OpenAI?', {}, idempotent('family-1')), 'Answer to: OpenAI?');
    });

    s.test('what it may look like', async () => {
        for (const key of ['""', 'x'.repeat(256), 'with space', '"with space"', 'tab\there', 'caf\u00e9'])
            assertError(await ask(s, 'Odd?', {}, idempotent(key)), 400, {
                type: 'invalid_request_error',
                code: 'invalid_idempotency_key',
                param: 'Idempotency-Key',
            });
        assert.equal(s.fake.calls.length, 0);
    });
});

describe("what is wrong, in OpenAI's words", () => {
    const s = useStack({ provider: 'openai', env: { ...WINDOWS, CARPOOL_RETRY_ATTEMPTS: '0' } });
    const invalid = (param) => ({ type: 'invalid_request_error', param });

    s.test('with the body', async () => {
        for (const path of ['/v1/chat/completions', '/v1/completions']) {
            assertError(await s.post(path, '{"model":'), 400, { ...invalid(null), code: 'invalid_json' });
            assertError(await s.post(path, '[]'), 400, invalid(null));
            assertError(await s.post(path, '{}', { headers: { 'Content-Type': 'text/plain' } }), 415, invalid(null));
            assertError(await s.get(path, { check: false }), 405, invalid(null));
            const list = { messages: [user('x')], prompt: 'x' };
            for (const model of [7, '', ' ', 'a\nb', 'x'.repeat(300)])
                assertError(await s.post(path, { ...list, model }), 400, { ...invalid('model'), code: 'invalid_model' });
            for (const stream of ['yes', 1, {}])
                assertError(await s.post(path, { ...list, stream }), 400, invalid('stream'));
            for (const stream_options of ['yes', { include_usage: 1 }])
                assertError(await s.post(path, { ...list, stream_options }), 400, invalid('stream_options'));
            const odd = await s.post(path, list, { headers: { 'X-Priority': 'soon' } });
            assertError(odd, 400, invalid('X-Priority'));
        }
        for (const messages of [undefined, null, [], {}, 'text', [null], ['text'], [{ content: 'x' }], [{ role: 7 }]])
            assertError(await chat(s, { messages }), 400, { ...invalid('messages'), code: 'invalid_messages' });
        assertError(await chat(s, '{"messa\\u0067es":[{"role":"user","content":"x"}]}'), 400, invalid('messages'));
        for (const prompt of [undefined, null, 7, {}, true])
            assertError(await complete(s, { prompt }), 400, { ...invalid('prompt'), code: 'invalid_prompt' });
        assert.equal(s.fake.calls.length, 0);
    });

    s.test('with the provider', async () => {
        s.fake.next({ do: 'status', status: 400, message: 'max_tokens is too large: 9000' });
        assertError(await ask(s, 'Too long?'), 400, { type: 'invalid_request_error', message: /is too large: 9000/, retry: true });
        s.fake.next({ do: 'status', status: 429, retryAfter: 3 });
        const limited = await ask(s, 'Too many?');
        assertError(limited, 429, { type: 'rate_limit_error', code: 'rate_limit_exceeded', retry: true });
        assert.equal(limited.headers['retry-after'], '3');
        assert.equal(limited.headers['retry-after-ms'], '3000');
        s.fake.next({ do: 'status', status: 503 });
        assertError(await ask(s, 'Away?'), 503, { type: 'server_error', code: 'provider_unavailable', retry: true });
        s.fake.next({ do: 'status', status: 401 });
        assertError(await ask(s, 'Whose key?'), 502, { type: 'server_error', code: 'provider_auth', retry: false });
        s.fake.next('reset_before');
        const lost = await ask(s, 'Lost?', {}, idempotent('lost-1'));
        assert.ok([424, 502].includes(lost.status), lost.text);
        assert.equal(lost.headers['x-should-retry'], 'false');
        assertError(await ask(s, 'Lost?', {}, idempotent('lost-1')), 424, {
            type: 'server_error',
            code: 'outcome_unknown',
            retry: false,
        });
        await sleep(0);
    });
});

describe('a coordinator that is lost for good while a call is under way', () => {
    const s = useStack({ provider: 'openai', env: WINDOWS });

    /* OpenAI's SDKs try again by themselves after 503: without a key of its own that would be bought anew. */
    s.test('is no reason to buy it again', async () => {
        const file = path.join(s.dir, 'carpool.conf');
        const good = fs.readFileSync(file, 'utf8');
        s.fake.hold();
        const asked = [
            ask(s, 'One?', {}),
            chat(s, { messages: [user('A stream?')], stream: true }),
            complete(s, { prompt: ['First?', 'Second?'] }),
            ask(s, 'With a key?', { temperature: 1 }, idempotent('lost-for-good')),
        ];
        await s.fake.waitForCalls(5);
        fs.writeFileSync(file, `${good}\n[batch]\nnonsense = 1\n`);
        process.kill(s.coordinatorPid(), 'SIGKILL');
        const [one, stream, many, keyed] = await Promise.all(asked);
        fs.writeFileSync(file, good);
        for (const [res, retry] of [[one, false], [stream, false], [many, false], [keyed, true]])
            assertError(res, 503, { type: 'server_error', code: 'coordinator_down', retry });
        /* Nor is there anything bought as long as nothing was handed in. */
        fs.writeFileSync(file, `${good}\n[batch]\nnonsense = 1\n`);
        for (const res of [await ask(s, 'Unsent?'), await complete(s, { prompt: ['Unsent?', 'Too?'] })])
            assertError(res, 503, { code: 'coordinator_down', retry: true });
        fs.writeFileSync(file, good);
        const again = () => ask(s, 'With a key?', { temperature: 1 }, idempotent('lost-for-good'));
        assertError(await until('one is started', async () => { const r = await again(); return r.status !== 503 && r; }), 424);
    });
});

describe("OpenAI's API with keys and limits", () => {
    const s = useStack({
        env: { ...WINDOWS, API_KEY: 'sk-carpool-client-1', CARPOOL_LIMITS_REQUESTS_PER_MINUTE: '3' },
    });
    const bearer = { headers: { Authorization: 'Bearer sk-carpool-client-1' } };

    s.test('a key is needed', async () => {
        for (const headers of [{}, { Authorization: 'Bearer sk-wrong' }]) {
            const res = await ask(s, 'Who?', {}, { headers });
            assertError(res, 401, { type: 'invalid_request_error', code: 'invalid_api_key' });
            assert.match(res.headers['www-authenticate'], /Bearer/);
            assertError(await s.get('/v1/models', { headers }), 401, { code: 'invalid_api_key' });
        }
        assertCompletion(await ask(s, 'Who?', {}, bearer), 'Processed: Who?');
    });

    s.test('and used up', async () => {
        let res;
        for (let i = 0; i < 4; i++) res = await ask(s, `More ${i}?`, {}, bearer);
        assertError(res, 429, { type: 'rate_limit_error', code: 'rate_limit_exceeded', retry: true });
        assert.ok(Number(res.headers['retry-after']) >= 1);
        assert.ok(Number(res.headers['retry-after-ms']) >= 1);
        assert.equal(res.headers['x-ratelimit-limit-requests'], '3');
    });
});

describe('GET /v1/models', () => {
    const s = useStack({ conf: '[provider]\nmodels = gpt-4o-mini, mock,  gpt-4o , meta-llama/Llama-3.1:free,\n', env: WINDOWS });

    s.test('has the model in force and those of the list', async () => {
        const res = await s.get('/v1/models');
        assert.deepEqual(res.json, {
            object: 'list',
            data: ['mock', 'gpt-4o-mini', 'gpt-4o', 'meta-llama/Llama-3.1:free'].map((id) => ({ id, object: 'model', created: 0, owned_by: 'mock' })),
        });
        for (const model of res.json.data)
            for (const id of [encodeURIComponent(model.id), model.id]) /* as Python's SDK writes it */
                assert.deepEqual((await s.get(`/v1/models/${id}`, { check: !id.includes('/') })).json, model);
        assertError(await s.get('/v1/models/gpt-9'), 404, {
            type: 'invalid_request_error',
            code: 'model_not_found',
            param: 'model',
            message: /'gpt-9'/,
        });
        assertError(await s.post('/v1/models', {}, { check: false }), 405);
        assertError(await s.delete('/v1/chat/completions', { check: false }), 405);
    });
});
