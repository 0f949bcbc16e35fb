'use strict';
/* What lighttpd refuses by itself is JSON like everything else, and in OpenAI's words where OpenAI's API is. */
const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { useStack, ROOT } = require('./harness');
const { ask, complete, assertError } = require('./openai');

const s = useStack({ provider: 'openai' });
const unchecked = { check: false }; /* lighttpd's own have no X-Request-Id */

for (const target of ['127.0.0.1:80', '/health']) {
    s.test(`CONNECT ${target}`, async () => {
        const res = await s.raw(`CONNECT ${target} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n`);
        assert.ok([400, 405, 501].includes(res.status), `${res.status} ${res.text}`);
        assert.equal(res.json?.success, false, `JSON, not ${res.headers['content-type']}: ${res.text.slice(0, 120)}`);
    });
}

s.test('a worker that dies: OpenAI\'s clients hear so in OpenAI\'s words', async (t, stack) => {
    stack.expectDamage = true;
    s.fake.hold();
    const asked = [{ stream: true }, { n: 2 }].map((more) => ask(s, 'Anybody there?', more, unchecked));
    const native = s.ask('And here?', { priority: 'HIGH' }, unchecked);
    await s.fake.waitForCalls(3);
    for (const { pid } of s.workers().children) process.kill(pid, 'SIGKILL');
    for (const res of await Promise.all(asked))
        assertError(res, 500, { code: 'workers_failed', type: 'server_error', message: /may have been charged.*Idempotency-Key/ });
    assert.equal((await native).json.error.error_code, 'WORKERS_FAILED');
    s.fake.release();
});

s.test('a body that is larger than lighttpd lets through', async () => {
    const text = 'x'.repeat(17 << 20);
    for (const res of [await ask(s, text, {}, unchecked), await complete(s, { prompt: text }, unchecked)])
        assertError(res, 413, { code: 'body_too_large', type: 'invalid_request_error' });
});

s.test('every error of lighttpd has both forms', () => {
    const dir = path.join(ROOT, 'etc', 'errors');
    const files = fs.readdirSync(dir);
    const native = files.filter((name) => /^\d{3}\.html$/.test(name));
    assert.deepEqual(files.filter((name) => !native.includes(name)).sort(), native.map((name) => `openai-${name}`).sort());
    for (const name of native) {
        const ours = JSON.parse(fs.readFileSync(path.join(dir, name))).error;
        const { error } = JSON.parse(fs.readFileSync(path.join(dir, `openai-${name}`)));
        assert.deepEqual(Object.keys(error), ['message', 'type', 'param', 'code']);
        assert.equal(error.code, ours.error_code.toLowerCase(), name);
    }
});
