'use strict';
/* OpenAI's API: what a shared call cannot keep goes to the provider alone and as it stands, and its answer comes back so. */
const { describe } = require('node:test');
const assert = require('node:assert/strict');
const { useStack, PROVIDER_KEY } = require('./harness');
const { user, chat, complete, idempotent, assertError } = require('./openai');

const WINDOWS = {
    CARPOOL_BATCH_HIGH_WINDOW_MS: '20',
    CARPOOL_BATCH_MEDIUM_WINDOW_MS: '50',
    CARPOOL_RETRY_ATTEMPTS: '0',
};
const HISTORY = [
    { role: 'system', content: 'Be brief.' },
    user('What is a qubit?'),
    { role: 'assistant', content: 'A two-level system.' },
    user('And in one word?'),
];
const TOOL = { type: 'function', function: { name: 'weather', parameters: { type: 'object', properties: {} } } };
const CALL = { id: 'call_1', type: 'function', function: { name: 'weather', arguments: '{"city":"Köln"}' } };
const IMAGE = { type: 'image_url', image_url: { url: 'data:image/png;base64,iVBORw0KGgo=', detail: 'low' } };

describe('what goes through as it stands', () => {
    const s = useStack({ provider: 'openai', env: WINDOWS });

    s.test('each of these, and nothing is added', async () => {
        const question = { messages: [user('Which?')] };
        const bodies = [
            { messages: HISTORY },
            { messages: [user([{ type: 'text', text: 'What is this?' }, IMAGE])] },
            { messages: [user('Weather?'), { role: 'assistant', content: null, tool_calls: [CALL] }, { role: 'tool', tool_call_id: 'call_1', content: '17' }] },
            { messages: [{ ...user('Which?'), name: 'anna' }] },
            { ...question, tools: [TOOL], tool_choice: 'auto', parallel_tool_calls: false },
            { ...question, response_format: { type: 'json_object' } },
            { ...question, response_format: { type: 'json_schema', json_schema: { name: 'mine', schema: { type: 'object' } } } },
            { ...question, stop: ['\n', '###'] },
            { ...question, seed: 7 },
            { ...question, logprobs: true, top_logprobs: 3 },
            { ...question, n: 2 },
            { ...question, temperature: 3 },
            { ...question, max_tokens: 10, max_completion_tokens: 20 },
            { ...question, mirostat: 2, an_option: { of: ['another', 'server'], null: null } },
            { ...question, prompt_cache_key: 'k', seed: null },
        ];
        for (const body of bodies) {
            const before = s.fake.calls.length;
            const res = await chat(s, body);
            assert.equal(res.status, 200, `${JSON.stringify(body)}: ${res.text}`);
            const [call, ...more] = s.fake.calls.slice(before);
            assert.equal(more.length, 0);
            assert.deepEqual(call.body, { model: 'fake-model', ...body });
            assert.equal(call.headers.authorization, `Bearer ${PROVIDER_KEY}`);
            assert.equal(res.json.id, `chatcmpl-${call.n}`, "the provider's own object");
            assert.equal(res.json.choices.length, body.n ?? 1);
            assert.match(res.headers['server-timing'], /upstream;dur=/);
        }
    });

    s.test('bytes stay as they are, both ways', async () => {
        const messages = '[ {"role":"user", "content":"Gr\\u00fc\\u00dfe \\ud83d\\ude00 \\/"} ]';
        const extra = '"big":123456789012345678901234567890,"small":1.10e-5,"zero":-0.0,"deep":{"a":[ 1.0 ,{"b":null}]}';
        const answer = `{"id":"x-1","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"\\u00e9\\n","own":1.50},"finish_reason":"stop","extra":[1E2]}],"usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7,"details":{"n":12345678901234567890}},"own":true}`;
        s.fake.next({ do: 'raw', text: answer });
        const res = await chat(s, `{"model":"fake-model","messages":${messages},"stream":false,${extra},"stop":null}`, idempotent('bytes-1'));
        assert.equal(res.status, 200, res.text);
        const { raw } = s.fake.calls[0];
        assert.ok(raw.includes(`"messages":${messages}`), raw);
        for (const member of extra.split(/,(?="(?:small|zero|deep)")/)) assert.ok(raw.includes(member), `${member} in ${raw}`);
        assert.ok(raw.includes('"stop":null') && !raw.includes('"stream"'), raw);
        assert.equal(res.text, answer);
        const again = await chat(s, `{"model":"fake-model","messages":${messages},"stream":false,${extra},"stop":null}`, idempotent('bytes-1'));
        assert.equal(again.text, answer);
        assert.equal(again.headers['idempotent-replayed'], 'true');
        assert.equal(s.fake.calls.length, 1);
        const [kept] = (await s.chats('?order=newest&limit=1')) ?? [];
        assert.equal(kept.request.prompt, 'Grüße 😀 /');
        assert.equal(kept.response.text, 'é\n');
        assert.equal(kept.response.tokens_used, 7);
    });

    s.test('the texts of a message are all in its chat', async () => {
        const parts = (...texts) => ({ role: 'user', content: texts.map((text) => (text ? { type: 'text', text } : { type: 'image_url', image_url: { url: 'data:,' } })) });
        for (const [messages, prompt] of [
            [[parts('What is this?', null, 'And this?')], 'What is this?\nAnd this?'],
            [[parts('First.', 'Second.'), { role: 'assistant', content: 'Well?' }, parts(null)], 'First.\nSecond.'],
            [[parts('Before?'), user('After?')], 'After?'],
            [[parts(null)], ''],
        ]) {
            assert.equal((await chat(s, { messages })).status, 200);
            const [kept] = await s.chats('?order=newest&limit=1');
            assert.equal(kept.request.prompt, prompt);
        }
    });

    s.test('a name with an escape is the same name', async () => {
        const res = await chat(s, '{"model":"fake-model","messages":[{"role":"user","content":"x"}],"se\\u0065d":5,"\\u0073tream":false}');
        assert.equal(res.status, 200, res.text);
        assert.deepEqual(s.fake.calls[0].body, { model: 'fake-model', messages: [user('x')], seed: 5 });
    });

    s.test('calls of tools come back', async () => {
        const answer = {
            id: 'chatcmpl-t',
            object: 'chat.completion',
            created: 5,
            model: 'fake-model',
            choices: [{ index: 0, message: { role: 'assistant', content: null, tool_calls: [CALL] }, finish_reason: 'tool_calls' }],
            usage: { prompt_tokens: 1, completion_tokens: 2, total_tokens: 3 },
        };
        s.fake.next({ do: 'raw', text: JSON.stringify(answer) });
        const res = await chat(s, { messages: [user('Weather?')], tools: [TOOL] });
        assert.deepEqual(res.json, answer);
        const [kept] = await s.chats('?order=newest&limit=1');
        assert.equal(kept.request.prompt, 'Weather?');
    });

    s.test('texts to be continued', async () => {
        for (const body of [{ prompt: 'Once', suffix: 'end.' }, { prompt: ['a', 'b'], stop: 'x' }, { prompt: ['a', 'b'], echo: true, best_of: 2 }]) {
            const before = s.fake.calls.length;
            const res = await complete(s, body);
            assert.equal(res.status, 200, res.text);
            assert.deepEqual(s.fake.calls[before].body, { model: 'fake-model', ...body });
            assert.equal(s.fake.calls[before].path, '/v1/completions');
            assert.equal(res.json.id, `cmpl-${before}`);
            assert.equal(s.fake.calls.length, before + 1);
        }
    });

    s.test('no model is the one in force', async () => {
        const res = await chat(s, JSON.stringify({ messages: HISTORY }));
        assert.equal(res.status, 200, res.text);
        assert.deepEqual(s.fake.calls[0].body, { model: 'fake-model', messages: HISTORY });
    });

    s.test("the provider's own words on what is wrong", async () => {
        s.fake.next({ do: 'status', status: 400, message: `Unknown parameter: 'mirostat'. Key ${PROVIDER_KEY}.` });
        const res = await chat(s, { messages: HISTORY, mirostat: 2 });
        assertError(res, 400, { type: 'invalid_request_error', message: /Unknown parameter: 'mirostat'/ });
        assert.ok(!res.text.includes(PROVIDER_KEY), res.text);
        s.fake.next({ do: 'status', status: 429, retryAfter: 2 });
        const limited = await chat(s, { messages: HISTORY, seed: 1 });
        assertError(limited, 429, { code: 'rate_limit_exceeded', retry: true });
        assert.equal(limited.headers['retry-after'], '2');
        for (const behaviour of ['cut_body', 'html', 'other_shape']) {
            s.fake.next(behaviour);
            const broken = await chat(s, { messages: HISTORY, seed: 2 });
            assertError(broken, 502, { type: 'server_error', retry: false });
        }
    });

    s.test('two at once are two calls', async () => {
        const results = await Promise.all([chat(s, { messages: HISTORY }), chat(s, { messages: HISTORY })]);
        assert.deepEqual(results.map((res) => res.status), [200, 200]);
        assert.equal(s.fake.calls.length, 2);
    });
});

/* What a provider of another kind cannot give is refused by name; what it has to know nothing of is no hindrance. */
for (const [provider, refused, answer] of [
    ['mock', ['n'], 'Processed: '],
    ['gemini', ['logit_bias', 'mirostat'], 'Answer to: '],
    ['model_service', ['tools', 'n', 'response_format'], 'Answer to: '],
])
    describe(`the same with ${provider}`, () => {
        const s = useStack({ provider, env: WINDOWS });
        const VALUES = {
            tools: [TOOL],
            n: 3,
            response_format: { type: 'json_object' },
            logit_bias: { 50256: -100 },
            mirostat: 2,
        };

        s.test('a question, and who asks', async () => {
            const res = await chat(s, { messages: [{ role: 'system', content: 'Be brief.' }, user('Why?')], user: 'anna', temperature: 0.5, max_tokens: 50 });
            assert.equal(res.status, 200, res.text);
            assert.ok(res.json.choices[0].message.content.endsWith('Why?'), res.text);
            assert.equal((await s.chats('?username=anna')).length, 1);
            const [first, second] = (await complete(s, { prompt: ['One', 'Two'] })).json.choices;
            assert.ok(first.text && second.text);
        });

        s.test('what it cannot give is refused by name', async () => {
            for (const name of refused)
                assertError(await chat(s, { messages: [user('x')], [name]: VALUES[name] }), 400, {
                    type: 'invalid_request_error',
                    param: name,
                    message: new RegExp(`^${name}: `),
                });
        });

        s.test('what is no list of parts has no texts', async () => {
            if (provider !== 'mock') return;
            const res = await chat(s, { messages: [user({ part: { type: 'text', text: 'No list.' } })] });
            assert.equal(res.json.choices[0].message.content, answer);
        });

        s.test('what it can, it gives', async () => {
            if (provider === 'model_service') return;
            const res = await chat(s, { messages: HISTORY });
            assert.equal(res.status, 200, res.text);
            assert.equal(res.json.object, 'chat.completion');
            assert.equal(res.json.choices[0].message.content, `${answer}And in one word?`);
            assert.equal(res.json.choices[0].finish_reason, 'stop');
            assert.ok(res.json.usage.total_tokens > 0);
        });
    });
