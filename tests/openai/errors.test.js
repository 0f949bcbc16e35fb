'use strict';
/* What the SDK makes of errors, and which of them it tries again. */
const { describe } = require('node:test');
const assert = require('node:assert/strict');
const { OpenAI, useCarpool, client, question } = require('./sdk');

const ask = (sdk, text, more) => sdk.chat.completions.create(question(text, more));

describe('errors', () => {
    const s = useCarpool();

    /* Rejects with an error of that class, and what it says. */
    async function rejects(promise, kind, expected) {
        await assert.rejects(promise, (e) => {
            assert.ok(e instanceof kind, `${e.constructor.name}: ${e.message}`);
            for (const [key, value] of Object.entries(expected))
                assert.deepEqual(value instanceof RegExp ? value.test(e[key]) : e[key], value instanceof RegExp ? true : value, key);
            assert.ok(e.requestID, 'the header that it looks for');
            return true;
        });
    }

    s.test('are of the class that OpenAI would have', async () => {
        const sdk = client(s);
        await rejects(ask(sdk, 'x', { messages: [] }), OpenAI.BadRequestError, { status: 400, type: 'invalid_request_error', param: 'messages' });
        await rejects(ask(client(s, { apiKey: 'sk-wrong' }), 'x'), OpenAI.AuthenticationError, { status: 401, code: 'invalid_api_key' });
        await rejects(sdk.models.retrieve('gpt-9'), OpenAI.NotFoundError, { status: 404, code: 'model_not_found', param: 'model' });
        await rejects(sdk.embeddings.create({ model: 'm', input: 'x' }), OpenAI.NotFoundError, { status: 404, message: /nothing at this path/ });
        const keyed = client(s, { defaultHeaders: { 'Idempotency-Key': 'errors-1' } });
        await ask(keyed, 'First?');
        await rejects(ask(keyed, 'Second?'), OpenAI.UnprocessableEntityError, { status: 422, code: 'idempotency_key_reused' });
        s.fake.next({ do: 'status', status: 400, message: "Unknown parameter: 'colour'." });
        await rejects(ask(sdk, 'x', { colour: 'red' }), OpenAI.BadRequestError, { message: /Unknown parameter: 'colour'/ });
    });

    s.test('429 and 503 are tried again', async () => {
        const sdk = client(s, { maxRetries: 2 });
        s.fake.next({ do: 'status', status: 429, retryAfter: 1 });
        s.fake.next({ do: 'status', status: 503 });
        const before = Date.now();
        const answer = await ask(sdk, 'Third time lucky?');
        assert.equal(answer.choices[0].message.content, 'Answer to: Third time lucky?');
        assert.equal(s.fake.calls.length, 3);
        assert.ok(Date.now() - before >= 1000, 'Retry-After is heeded');
        s.fake.next({ do: 'status', status: 429 }, 3);
        await rejects(ask(sdk, 'Never?'), OpenAI.RateLimitError, { status: 429, type: 'rate_limit_error', code: 'rate_limit_exceeded' });
        assert.equal(s.fake.calls.length, 6);
    });

    s.test('what may have been charged is not', async () => {
        const sdk = client(s, { maxRetries: 5 });
        for (const behaviour of ['reset_before', 'html', { do: 'status', status: 401 }, { do: 'status', status: 504 }]) {
            const before = s.fake.calls.length;
            s.fake.next(behaviour);
            await assert.rejects(ask(sdk, `Once only ${before}?`, { seed: 1 }), (e) => e.status >= 424 && e.status <= 504);
            assert.equal(s.fake.calls.length, before + 1, JSON.stringify(behaviour));
        }
    });
});

describe('a budget', () => {
    const { ctl } = require('../integration/carpoolctl');
    const s = useCarpool({ env: { ADMIN_KEY: 'sk-carpool-sdk-admin' }, conf: '[prices]\nfake-model = 100 100\n' });

    s.test('that is spent is insufficient_quota, and not tried again', async (t, stack) => {
        const apiKey = await ctl(stack, 'key', 'create', '--role', 'client', '--label', 'poor', '--budget', '0.000001');
        const started = Date.now();
        await assert.rejects(ask(client(s, { apiKey, maxRetries: 5 }), 'Too dear?'), (e) => {
            assert.ok(e instanceof OpenAI.RateLimitError, e.message);
            assert.equal(e.code, 'insufficient_quota');
            return true;
        });
        assert.ok(Date.now() - started < 5000);
        assert.equal(s.fake.calls.length, 0);
    });
});
