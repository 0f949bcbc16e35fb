'use strict';
/* What the tests of OpenAI's API have in common: requests, and its answers and errors, key for key. */
const assert = require('node:assert/strict');
const http = require('node:http');
const { performance } = require('node:perf_hooks');
const { piecesOf } = require('./fake_dialects');
const { until } = require('./harness');
const { openapi } = require('./http_client');

const user = (content) => ({ role: 'user', content });
const chat = (s, body, options) =>
    s.post('/v1/chat/completions', typeof body === 'string' ? body : { model: 'fake-model', ...body }, options);
const complete = (s, body, options) =>
    s.post('/v1/completions', typeof body === 'string' ? body : { model: 'fake-model', ...body }, options);
const ask = (s, text, more = {}, options = {}) => chat(s, { messages: [user(text)], ...more }, options);
const idempotent = (key) => ({ headers: { 'Idempotency-Key': key } });

/*
 * An answer as a stream: {status, headers, events, at, comments, text, whole}. events: what stood behind "data: ", at: when each
 * came, in ms; whole: the response came to its end. read: gets (data, n, req) for each event as it comes; comment: is told
 * of each comment.
 */
function listen(s, body, { headers = {}, path = '/v1/chat/completions', read = () => {}, comment = () => {}, pause } = {}) {
    const payload = JSON.stringify({ model: 'fake-model', stream: true, ...body });
    const start = performance.now();
    return new Promise((resolve, reject) => {
        const req = http.request({
            host: '127.0.0.1',
            port: s.port,
            method: 'POST',
            path,
            agent: false,
            headers: { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(payload), ...headers },
        });
        req.on('response', (res) => {
            const result = { status: res.statusCode, headers: res.headers, events: [], at: [], comments: 0, text: '' };
            let rest = '';
            pause?.(res);
            res.setEncoding('utf8');
            res.on('data', (text) => {
                result.text += text.length < 1e6 && result.text.length < 1e6 ? text : '';
                if (!/event-stream/.test(res.headers['content-type'])) return;
                const lines = (rest + text).split('\n\n');
                rest = lines.pop();
                for (const line of lines) {
                    if (line.startsWith(':')) {
                        result.comments++;
                        comment();
                    } else {
                        assert.match(line, /^data: [^\n]+$/);
                        result.events.push(line.slice(6));
                        result.at.push(performance.now() - start);
                        read(line.slice(6), result.events.length, req);
                    }
                }
            });
            const done = () => {
                const faults = path.startsWith('/v1/') ? openapi.check('POST', path, res.statusCode, res.headers, result.text) : [];
                if (faults.length) reject(new Error(`does not fit web/openapi.json: ${faults.join('; ')}`));
                else resolve({ ...result, whole: res.complete && rest === '' });
            };
            res.on('error', done);
            res.on('close', done);
        });
        req.on('error', (e) => (req.res ? undefined : reject(e)));
        req.end(payload);
    });
}
/* Of a stream with this text: each of its pieces is sent when the one before has come out at the other end. each: for the fake
 * provider, read: for listen(), late: what did not come within timeoutMs (5,000). */
function inTurn(text, timeoutMs) {
    const pieces = piecesOf(text).length;
    const late = [];
    let heard = 0;
    const each = (n) => n > pieces || until(`piece ${n}`, () => heard >= n, timeoutMs).catch((e) => late.push(e.message));
    return { each, late, read: () => heard++ };
}
/* The objects of a stream that came to its end. */
function chunksOf(result) {
    assert.equal(result.status, 200, result.text);
    assert.match(result.headers['content-type'], /^text\/event-stream/);
    assert.equal(result.events.at(-1), '[DONE]', result.text.slice(-500));
    assert.ok(result.whole);
    return result.events.slice(0, -1).map((event) => JSON.parse(event));
}
const textOf = (chunks) => chunks.map((c) => c.choices[0]?.delta?.content ?? c.choices[0]?.text ?? '').join('');

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

module.exports = { user, chat, complete, ask, listen, inTurn, chunksOf, textOf, idempotent, assertError, assertCompletion };
