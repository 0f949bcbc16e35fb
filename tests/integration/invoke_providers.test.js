'use strict';
/* POST /invoke with servers that are not OpenAI's, which get no key of a caller. */
const { describe } = require('node:test');
const assert = require('node:assert/strict');
const { useStack, assertError } = require('./harness');
const { invoke, SEED_KEY, KEYS, WINDOWS, SEEDS, assertAnswer } = require('./invoke');

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
