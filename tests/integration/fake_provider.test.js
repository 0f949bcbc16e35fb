'use strict';
/* The fake provider itself, by plain fetch: what the other tests take for granted about it. */
const { test, before, after, beforeEach } = require('node:test');
const assert = require('node:assert/strict');
const { FakeProvider } = require('./fake_provider');

let fake;
before(async () => {
    fake = await FakeProvider.start();
});
beforeEach(() => fake.reset());
after(() => fake.close());

const entry = {
    type: 'object',
    properties: { echo: { type: 'string' }, answer: { type: 'string' } },
    required: ['echo', 'answer'],
    additionalProperties: false,
};
const strip = (schema) =>
    JSON.parse(JSON.stringify(schema, (key, value) => (key === 'additionalProperties' ? undefined : value)));
const schemaOf = (ids) => ({
    type: 'object',
    properties: Object.fromEntries(ids.map((id) => [id, entry])),
    required: ids,
    additionalProperties: false,
});

const post = (path, body) =>
    fetch(fake.url + path, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify(body),
    });
const askOpenai = (questions, schema = schemaOf(Object.keys(questions))) =>
    post('/v1/chat/completions', {
        model: 'm',
        messages: [
            { role: 'system', content: 'be short' },
            { role: 'user', content: JSON.stringify(questions) },
        ],
        response_format: { type: 'json_schema', json_schema: { name: 'answers', strict: true, schema } },
    });
const askGemini = (questions, schema = strip(schemaOf(Object.keys(questions)))) =>
    post('/v1beta/models/m:generateContent', {
        systemInstruction: { parts: [{ text: 'be short' }] },
        contents: [{ role: 'user', parts: [{ text: JSON.stringify(questions) }] }],
        generationConfig: { responseMimeType: 'application/json', responseSchema: schema },
    });
const openaiText = async (res) => (await res.json()).choices[0].message.content;
const geminiText = async (res) => (await res.json()).candidates[0].content.parts[0].text;

test('plain calls come back with their prompt', async () => {
    const res = await post('/v1/chat/completions', { model: 'm', messages: [{ role: 'user', content: 'canary-1' }] });
    assert.equal(await openaiText(res), 'Answer to: canary-1');
    assert.deepEqual(fake.prompts, ['canary-1']);
});

const eventsOf = async (res) =>
    (await res.text())
        .split('\n\n')
        .filter(Boolean)
        .map((event) => event.replace(/^data: /, ''));

test('streams, in every dialect, and what may become of them', async () => {
    const messages = [{ role: 'user', content: 'one two' }];
    const ask = (more) => post('/v1/chat/completions', { model: 'm', messages, stream: true, ...more });
    const text = (events) => events.map((e) => JSON.parse(e).choices[0]?.delta?.content ?? '').join('');
    const plain = await eventsOf(await ask());
    assert.equal(plain.pop(), '[DONE]');
    assert.equal(text(plain), 'Answer to: one two');
    const usage = await eventsOf(await ask({ stream_options: { include_usage: true } }));
    assert.ok(JSON.parse(usage.at(-2)).usage.total_tokens > 0);
    assert.equal(JSON.parse(usage[0]).usage, null);
    const gemini = await eventsOf(
        await post('/v1beta/models/m:streamGenerateContent?alt=sse', { contents: [{ parts: [{ text: 'one two' }] }] }),
    );
    const parts = gemini.map((e) => JSON.parse(e).candidates[0]);
    assert.equal(parts.map((c) => c.content.parts[0].text).join(''), 'Answer to: one two');
    assert.deepEqual(
        parts.map((c) => c.finishReason),
        [undefined, undefined, undefined, 'STOP'],
    );
    const texts = await eventsOf(await post('/v1/completions', { model: 'm', prompt: 'one', stream: true }));
    assert.equal(
        texts
            .slice(0, -1)
            .map((e) => JSON.parse(e).choices[0].text)
            .join(''),
        ', and so on after: one',
    );
    for (const [then, kept] of [
        ['end', 2],
        ['error', 3],
    ]) {
        fake.next({ after: 2, then });
        assert.equal((await eventsOf(await ask())).length, kept, then);
    }
    fake.next({ after: 2, then: 'reset' });
    await assert.rejects(eventsOf(await ask()));
    assert.equal(fake.calls.at(-1).streamed, 2);
});

test('combined calls are answered by id, for both dialects', async () => {
    const questions = { aa: 'What is one plus one?', bb: 'Name "two" {colours}' };
    for (const text of [await openaiText(await askOpenai(questions)), await geminiText(await askGemini(questions))]) {
        assert.deepEqual(JSON.parse(text), {
            aa: { echo: 'What is one plus one?', answer: 'Answer to: What is one plus one?' },
            bb: { echo: 'Name "two" {colours}', answer: 'Answer to: Name "two" {colours}' },
        });
    }
    assert.deepEqual(
        fake.calls.map((c) => [c.dialect, c.combined, c.members.length]),
        [
            ['openai', true, 2],
            ['gemini', true, 2],
        ],
    );
});

test('combined faults', async () => {
    const ask = async (behaviour) => {
        fake.next(behaviour);
        return openaiText(await askOpenai({ aa: 'one', bb: 'two' }));
    };
    assert.deepEqual(Object.keys(JSON.parse(await ask('missing'))), ['bb']);
    assert.equal((await ask('doubled')).match(/"aa":/g).length, 2);
    assert.equal(Object.keys(JSON.parse(await ask('extra'))).length, 3);
    assert.equal(JSON.parse(await ask('swapped')).aa.echo, 'two');
    assert.deepEqual(JSON.parse(await ask('shuffled')), JSON.parse(await ask('ok')));
    const cut = await ask('cut_json');
    assert.throws(() => JSON.parse(cut));
    assert.match(await ask('fenced'), /^```json\n\{/);
});

test('statuses, html, truncation, filter', async () => {
    fake.next({ do: 'status', status: 429, retryAfter: 2 });
    let res = await askOpenai({ aa: 'one' });
    assert.equal(res.status, 429);
    assert.equal(res.headers.get('retry-after'), '2');
    fake.next({ do: 'status', status: 429, retryAfter: 2 });
    res = await askGemini({ aa: 'one' });
    assert.equal((await res.json()).error.details[0].retryDelay, '2s');
    fake.next('html');
    assert.match(await (await askOpenai({ aa: 'one' })).text(), /It works/);
    fake.next('truncated', 2);
    assert.equal((await (await askOpenai({ aa: 'one' })).json()).choices[0].finish_reason, 'length');
    assert.equal((await (await askGemini({ aa: 'one' })).json()).candidates[0].finishReason, 'MAX_TOKENS');
    fake.when((call) => call.members.some((m) => m.prompt.includes('forbidden')), 'filter');
    assert.equal((await (await askOpenai({ aa: 'forbidden' })).json()).error.code, 'content_filter');
    assert.equal(
        (await (await askGemini({ aa: 'forbidden' })).json()).promptFeedback.blockReason,
        'PROHIBITED_CONTENT',
    );
    assert.equal((await askOpenai({ aa: 'fine' })).status, 200);
});

test('resets, hanging, delay', async () => {
    for (const behaviour of ['reset_before', 'reset_mid', 'close_before']) {
        fake.next(behaviour);
        await assert.rejects(async () => (await askOpenai({ aa: 'one' })).text(), behaviour);
    }
    fake.next({ ms: 120 });
    const start = performance.now();
    await askOpenai({ aa: 'one' });
    assert.ok(performance.now() - start >= 115);
    fake.next('hang');
    await assert.rejects(
        fetch(`${fake.url}/v1/chat/completions`, {
            method: 'POST',
            signal: AbortSignal.timeout(100),
            body: JSON.stringify({ model: 'm', messages: [{ role: 'user', content: 'x' }] }),
        }),
        { name: 'TimeoutError' },
    );
});

test('requests that the real services refuse are refused', async () => {
    assert.equal((await askGemini({ aa: 'one' }, schemaOf(['aa']))).status, 400);
    const loose = schemaOf(['aa']);
    delete loose.additionalProperties;
    assert.equal((await askOpenai({ aa: 'one' }, loose)).status, 400);
    assert.equal(fake.faults.length, 2);
});
