'use strict';
/* What the tests of OpenAI's API have in common: requests, and its answers and errors, key for key. */
const assert = require('node:assert/strict');

const user = (content) => ({ role: 'user', content });
const chat = (s, body, options) =>
    s.post('/v1/chat/completions', typeof body === 'string' ? body : { model: 'fake-model', ...body }, options);
const complete = (s, body, options) =>
    s.post('/v1/completions', typeof body === 'string' ? body : { model: 'fake-model', ...body }, options);
const ask = (s, text, more = {}, options = {}) => chat(s, { messages: [user(text)], ...more }, options);
const idempotent = (key) => ({ headers: { 'Idempotency-Key': key } });

/* An error in OpenAI's words. */
function assertError(res, status, { type, code, param = null, message, retry } = {}) {
    const where = `${res.status} ${res.text.slice(0, 400)}`;
    assert.equal(res.status, status, where);
    assert.match(res.headers['content-type'] ?? '', /^application\/json/, where);
    assert.deepEqual(Object.keys(res.json), ['error'], where);
    const { error } = res.json;
    assert.deepEqual(Object.keys(error), ['message', 'type', 'param', 'code'], where);
    assert.ok(error.message.length > 10, `a sentence a person can act on: ${where}`);
    assert.match(error.type, /^[a-z_]+$/, where);
    if (type) assert.equal(error.type, type, where);
    if (code) assert.equal(error.code, code, where);
    assert.equal(error.param, param, where);
    if (message) assert.match(error.message, message, where);
    if (retry !== undefined) assert.equal(res.headers['x-should-retry'], retry ? undefined : 'false', where);
}

/* A chat completion that carpool wrote, of one answer. */
function assertCompletion(res, text, { model = 'fake-model', finish = 'stop' } = {}) {
    assert.equal(res.status, 200, res.text.slice(0, 500));
    const { id, created, usage, ...rest } = res.json;
    assert.match(id, /^chatcmpl-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
    assert.ok(Math.abs(created - Date.now() / 1000) < 600, String(created));
    assert.deepEqual(rest, {
        object: 'chat.completion',
        model,
        choices: [
            {
                index: 0,
                message: { role: 'assistant', content: text, refusal: null },
                logprobs: null,
                finish_reason: finish,
            },
        ],
    });
    assert.ok(usage.prompt_tokens > 0 && usage.completion_tokens > 0, JSON.stringify(usage));
    assert.equal(usage.total_tokens, usage.prompt_tokens + usage.completion_tokens);
}

module.exports = { user, chat, complete, ask, idempotent, assertError, assertCompletion };
