'use strict';
/* OpenAI's API under mod_fcgid: a stream comes at its end where Apache buffers (its default), and live where it does not. */
const { describe } = require('node:test');
const assert = require('node:assert/strict');
const nodeTest = require('node:test');
const { ApacheStack } = require('./apache_stack');
const { until, STRETCH } = require('../integration/harness');
const { piecesOf } = require('../integration/fake_dialects');
const { user, ask, listen, inTurn, chunksOf, textOf, assertCompletion, assertError } = require('../integration/openai');

function useApache(options) {
    const s = {};
    nodeTest.before(async () => {
        s.stack = await ApacheStack.start({ provider: 'openai', conf: '[batch_medium]\nwindow_ms = 20\n', ...options });
    });
    nodeTest.after(() => s.stack?.stop());
    return s;
}
const TEXT = 'Answer to: a b c d e f g h';
const question = { messages: [user('a b c d e f g h')] };

describe('by default', () => {
    const s = useApache({});

    nodeTest.test('answers, errors, and streams that come at their end', { timeout: 60000 * STRETCH }, async () => {
        assertCompletion(await ask(s.stack, 'What is AI?'), 'Answer to: What is AI?');
        assertError(await ask(s.stack, '', { messages: [] }), 400, { param: 'messages' });
        s.stack.fake.next({ pieceMs: 100 });
        let sent;
        const result = await listen(s.stack, question, { read: () => (sent ??= s.stack.fake.calls.at(-1).streamed) });
        assert.equal(textOf(chunksOf(result)), TEXT);
        assert.ok(sent > piecesOf(TEXT).length, `${sent} pieces had been sent when the first one came`);
    });
});

describe('with FcgidOutputBufferSize 0', () => {
    const s = useApache({ apache: 'FcgidOutputBufferSize 0' });

    nodeTest.test('a stream is live', { timeout: 60000 * STRETCH }, async () => {
        const { each, read, late } = inTurn(TEXT);
        s.stack.fake.next({ each });
        const result = await listen(s.stack, question, { read });
        assert.equal(textOf(chunksOf(result)), TEXT);
        assert.deepEqual(late, []);
    });

    nodeTest.test('who leaves ends it', { timeout: 60000 * STRETCH }, async () => {
        s.stack.fake.reset();
        s.stack.fake.next({ pieceMs: 20 });
        await listen(s.stack, { messages: [user('word '.repeat(300))] }, { read: (event, n, req) => n === 5 && req.destroy() });
        await until('the call was ended', () => s.stack.fake.calls[0].clientLeft);
        assert.ok(s.stack.fake.calls[0].streamed < 250, String(s.stack.fake.calls[0].streamed));
    });
});
