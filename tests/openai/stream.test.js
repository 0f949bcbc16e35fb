'use strict';
/* Streams through the SDK. */
const { describe } = require('node:test');
const assert = require('node:assert/strict');
const { until } = require('../integration/harness');
const { inTurn } = require('../integration/openai');
const { OpenAI, useCarpool, client, question } = require('./sdk');

describe('streams', () => {
    const s = useCarpool();

    s.test('come piece by piece', async () => {
        const { each, read, late } = inTurn('Answer to: a b c d e f');
        s.fake.next({ each });
        let text = '';
        for await (const chunk of await client(s).chat.completions.create(question('a b c d e f', { stream: true }))) {
            read();
            text += chunk.choices[0]?.delta?.content ?? '';
        }
        assert.equal(text, 'Answer to: a b c d e f');
        assert.deepEqual(late, []);
    });

    s.test("are gathered by the SDK to what would have come without, usage included", async () => {
        const stream = client(s).chat.completions.stream(question('Gathered?', { stream_options: { include_usage: true } }));
        const snapshots = [];
        stream.on('content', (delta, snapshot) => snapshots.push(snapshot));
        const whole = await stream.finalChatCompletion();
        assert.equal(whole.choices[0].message.content, 'Answer to: Gathered?');
        assert.equal(snapshots.at(-1), 'Answer to: Gathered?');
        assert.ok((await stream.totalUsage()).total_tokens > 0);
    });

    s.test('of texts to be continued', async () => {
        let text = '';
        for await (const chunk of await client(s).completions.create({ model: 'fake-model', prompt: 'Once', stream: true }))
            text += chunk.choices[0]?.text ?? '';
        assert.equal(text, ', and so on after: Once');
    });

    s.test('that are aborted end at the provider', async () => {
        s.fake.next({ pieceMs: 30 });
        const stream = await client(s).chat.completions.create(question('word '.repeat(300), { stream: true }));
        let pieces = 0;
        for await (const _ of stream) if (++pieces === 5) stream.controller.abort();
        assert.equal(pieces, 5);
        await until('the call was ended', () => s.fake.calls[0].clientLeft);
        assert.ok(s.fake.calls[0].streamed < 250);
    });

    s.test('that break off throw in the middle', async () => {
        for (const then of ['reset', 'error']) {
            s.fake.next({ after: 4, then });
            let text = '';
            await assert.rejects(
                async () => {
                    for await (const chunk of await client(s, { maxRetries: 3 }).chat.completions.create(question('a b c d', { stream: true })))
                        text += chunk.choices[0]?.delta?.content ?? '';
                },
                (e) => e instanceof OpenAI.APIError,
            );
            assert.equal(text, 'Answer to: a');
        }
        assert.equal(s.fake.calls.length, 2, 'and are not bought again');
    });

    s.test('that are given again are streams', async () => {
        const sdk = client(s, { defaultHeaders: { 'Idempotency-Key': 'stream-1' } });
        const texts = [];
        for (let i = 0; i < 2; i++) {
            let text = '';
            for await (const chunk of await sdk.chat.completions.create(question('Again?', { stream: true })))
                text += chunk.choices[0]?.delta?.content ?? '';
            texts.push(text);
        }
        assert.deepEqual(texts, ['Answer to: Again?', 'Answer to: Again?']);
        assert.equal(s.fake.calls.length, 1);
    });
});
