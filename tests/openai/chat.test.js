'use strict';
/* Chat and text completions through the SDK. */
const { describe } = require('node:test');
const assert = require('node:assert/strict');
const { OpenAI, useCarpool, client, question } = require('./sdk');
const { continuationOf } = require('../integration/fake_dialects');

describe('the SDK', () => {
    const ADMIN_KEY = 'sk-carpool-sdk-admin';
    const s = useCarpool({ env: { ADMIN_KEY } });

    s.test('asks a question', async () => {
        const answer = await client(s).chat.completions.create(question('What is AI?'));
        assert.equal(answer.choices[0].message.content, 'Answer to: What is AI?');
        assert.equal(answer.choices[0].finish_reason, 'stop');
        assert.equal(answer.object, 'chat.completion');
        assert.ok(answer.usage.total_tokens > 0);
        assert.ok(answer._request_id, 'the header that it looks for');
    });

    s.test('asks several at once, which share calls', async () => {
        const sdk = client(s, { defaultHeaders: { 'X-Priority': 'high' } });
        const window = async (window_ms) =>
            assert.equal((await s.put('/v1/settings', { high_priority: { window_ms } }, { headers: { 'X-API-Key': ADMIN_KEY } })).status, 200);
        await window(30000); /* each call waits until it has its six */
        const answers = await Promise.all(
            Array.from({ length: 12 }, (_, i) => sdk.chat.completions.create(question(`Question ${i}?`))),
        );
        await window(20);
        answers.forEach((a, i) => assert.equal(a.choices[0].message.content, `Answer to: Question ${i}?`));
        assert.ok(s.fake.calls.length < 12, `${s.fake.calls.length} calls`);
    });

    s.test('goes on with a history, images among it', async () => {
        const messages = [
            { role: 'developer', content: 'Be brief.' },
            { role: 'user', content: [{ type: 'text', text: 'What is this?' }, { type: 'image_url', image_url: { url: 'data:image/png;base64,iVBORw0KGgo=' } }] },
            { role: 'assistant', content: 'A picture.' },
            { role: 'user', content: 'Of what?' },
        ];
        const answer = await client(s).chat.completions.create({ model: 'fake-model', messages, temperature: 0.2 });
        assert.equal(answer.choices[0].message.content, 'Answer to: Of what?');
        assert.deepEqual(s.fake.calls[0].body, { model: 'fake-model', messages, temperature: 0.2 });
    });

    s.test('runs tools in a loop', async () => {
        const call = { id: 'call_1', type: 'function', function: { name: 'weather', arguments: '{"city":"Ulm"}' } };
        s.fake.next({
            do: 'raw',
            text: JSON.stringify({
                id: 'x',
                object: 'chat.completion',
                created: 1,
                model: 'fake-model',
                choices: [{ index: 0, message: { role: 'assistant', content: null, tool_calls: [call] }, finish_reason: 'tool_calls' }],
                usage: { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 },
            }),
        });
        const asked = [];
        const tool = {
            type: 'function',
            function: {
                name: 'weather',
                parse: JSON.parse,
                function: ({ city }) => {
                    asked.push(city);
                    return 'rain';
                },
                parameters: { type: 'object', properties: { city: { type: 'string' } } },
            },
        };
        const runner = client(s).chat.completions.runTools({ ...question('Weather in Ulm?'), tools: [tool] });
        assert.equal(await runner.finalContent(), 'Answer to: Weather in Ulm?');
        assert.deepEqual(asked, ['Ulm']);
        const { messages } = s.fake.calls[1].body;
        assert.deepEqual(messages.map((m) => m.role), ['user', 'assistant', 'tool']);
        assert.equal(messages[1].tool_calls[0].id, 'call_1');
        assert.equal(messages[2].content, 'rain');
    });

    s.test('has texts continued, one or several', async () => {
        const sdk = client(s);
        const one = await sdk.completions.create({ model: 'fake-model', prompt: 'Once', max_tokens: 5 });
        assert.equal(one.choices[0].text, continuationOf('Once'));
        const more = await sdk.completions.create({ model: 'fake-model', prompt: ['One', 'Two', 'Three'] });
        assert.deepEqual(more.choices.map((c) => c.text), ['One', 'Two', 'Three'].map(continuationOf));
    });

    s.test('lists models', async () => {
        const sdk = client(s);
        const listed = [];
        for await (const model of sdk.models.list()) listed.push(model.id);
        assert.deepEqual(listed, ['fake-model', 'gpt-4o-mini', 'gpt-4o', 'gpt-3.5-turbo', 'gpt-3.5-turbo-16k']);
        assert.equal((await sdk.models.retrieve('gpt-4o')).owned_by, 'openai');
    });

    s.test('asks once under an Idempotency-Key', async () => {
        const sdk = client(s, { defaultHeaders: { 'Idempotency-Key': 'sdk-1' } });
        const first = await sdk.chat.completions.create(question('Once?'));
        const { data, response } = await sdk.chat.completions.create(question('Once?')).withResponse();
        assert.deepEqual(data, first);
        assert.equal(response.headers.get('idempotent-replayed'), 'true');
        assert.equal(s.fake.calls.length, 1);
    });
});

describe('what was answered before', () => {
    const s = useCarpool({ env: { CARPOOL_CACHE_MODE: 'exact' } });
    const told = async (stream) => {
        let text = '';
        for await (const chunk of await stream) text += chunk.choices[0]?.delta?.content ?? '';
        return text;
    };

    s.test('is given again, unless Cache-Control says to ask', async () => {
        const sdk = client(s);
        const body = question('Again?', { temperature: 1 });
        const first = await sdk.chat.completions.create(body);
        const again = await sdk.chat.completions.create(body);
        assert.notEqual(again.id, first.id, 'an answer of its own');
        assert.deepEqual([again.choices, again.usage], [first.choices, first.usage]);
        assert.equal(s.fake.calls.length, 1);
        await sdk.chat.completions.create(body, { headers: { 'Cache-Control': 'no-cache' } });
        assert.equal(s.fake.calls.length, 2);
    });

    s.test('is streamed again, too', async () => {
        const { completions } = client(s).chat;
        const body = question('a b c d', { stream: true });
        for (let i = 0; i < 2; i++) assert.equal(await told(completions.create(body)), 'Answer to: a b c d');
        assert.equal(s.fake.calls.length, 1);
        await told(completions.create(body, { headers: { 'Cache-Control': 'no-cache' } }));
        assert.equal(s.fake.calls.length, 2);
    });
});

describe('without a key', () => {
    const s = useCarpool({ env: { API_KEY: '' } });

    s.test('any text will do, and the environment says where', async () => {
        process.env.OPENAI_BASE_URL = `http://127.0.0.1:${s.port}/v1`;
        process.env.OPENAI_API_KEY = 'none';
        try {
            const answer = await new OpenAI({ maxRetries: 0 }).chat.completions.create(question('Who?'));
            assert.equal(answer.choices[0].message.content, 'Answer to: Who?');
        } finally {
            delete process.env.OPENAI_BASE_URL;
            delete process.env.OPENAI_API_KEY;
        }
    });
});
