'use strict';
/*
 * What every way of installing has to show: all endpoints answer as openapi.json has them, keys go through in each of
 * the ways to send one, pages come with their headers, and nothing but pages is served as a file.
 */
const assert = require('node:assert/strict');

const CSP = /^default-src 'none'; script-src 'self'/;

async function everyEndpoint(s) {
    const bodies = {
        '/query': { query: 'What is AI?' },
        '/v1/query': { username: 'u', prompt: 'What is AI?', request_id: `every-${Date.now()}` },
        '/generate': { prompt: 'Once', max_new_tokens: 20 },
        '/invoke': { user_prompt: 'And?' },
        '/chat': { chat_id: '1', user_prompt: 'What?' },
        '/v1/chat/completions': { messages: [{ role: 'user', content: 'What is AI?' }] },
        '/v1/completions': { prompt: ['One', 'Two'] },
        '/chat/batched': { queries: [{ chat_id: '1', user_prompt: 'Two?' }] },
    };
    await Promise.all(
        Object.entries(bodies).map(async ([name, body]) => {
            const res = await s.ask('POST', name, { body, headers: s.asAdmin });
            assert.equal(res.status, 200, `${name}: ${res.text}`);
        }),
    );
    for (const name of ['/health', '/stats', '/metrics', '/docs', '/openapi.json', '/v1/settings', '/v1/analytics', '/v1/models', '/v1/models/gpt-4o', '/v1/chat', `/v1/requests/${bodies['/v1/query'].request_id}`]) {
        const res = await s.ask('GET', name, { headers: s.asAdmin });
        assert.equal(res.status, 200, `${name}: ${res.text}`);
    }
    const put = await s.ask('PUT', '/v1/settings', { body: { model: 'fake-model' }, headers: s.asAdmin });
    assert.equal(put.status, 200, put.text);
    const id = bodies['/v1/query'].request_id;
    const gone = await s.ask('DELETE', `/v1/chat/${id}`, { headers: s.asAdmin });
    assert.ok([200, 204].includes(gone.status), gone.text);
    const missing = await s.ask('GET', '/no/such/path', { headers: s.asAdmin, check: false });
    assert.equal(missing.status, 404);
    assert.ok(missing.json?.error, `a path that is none is answered in JSON: ${missing.text}`);
    const preflight = await s.ask('OPTIONS', '/v1/query', { headers: { Origin: 'https://example.org', 'Access-Control-Request-Method': 'POST' }, check: false });
    assert.ok(preflight.status < 300, `${preflight.status} ${preflight.text}`);
}

/* Makes keys with the installation's carpoolctl; s.asAdmin are the headers of the admin's from then on. */
function makeKeys(s) {
    const admin = s.ctl('key', 'create', '--role', 'admin', '--label', 'me');
    const client = s.ctl('key', 'create', '--label', 'site');
    assert.match(client, /^cp_/);
    s.asAdmin = { 'X-API-Key': admin };
    return { admin, client };
}

async function keysInEachWay(s, client) {
    for (const headers of [{ 'X-API-Key': client }, { Authorization: `Bearer ${client}` }, { 'X-API-Key': client, Authorization: 'Bearer other' }]) {
        const res = await s.query('hello', { priority: 'HIGH' }, { headers });
        assert.equal(res.status, 200, `${Object.keys(headers)}: ${res.text}`);
    }
    assert.equal((await s.query('hello')).status, 401);
    assert.equal((await s.query('hello', {}, { headers: { Authorization: 'Bearer cp_wrong' } })).status, 401);
    assert.equal((await s.ask('GET', '/v1/settings', { headers: { Authorization: `Bearer ${client}` } })).status, 403);
}

async function pages(s) {
    for (const [name, type] of [
        ['/', 'text/html'],
        ['/index.html', 'text/html'],
        ['/assets/style.css', 'text/css'],
        ['/assets/app.js', /javascript/],
        ['/assets/favicon.svg', 'image/svg'],
    ]) {
        const res = await s.ask('GET', name, { check: false });
        assert.equal(res.status, 200, `${name}: ${res.text.slice(0, 200)}`);
        assert.match(res.headers['content-type'], new RegExp(type), name);
        assert.match(res.headers['content-security-policy'] ?? '', CSP, name);
        assert.equal(res.headers['x-content-type-options'], 'nosniff', name);
        assert.equal(res.headers['cache-control'], 'no-cache', name);
    }
    const doubled = await s.ask('GET', '/health', { check: false });
    assert.equal(doubled.headers['x-content-type-options'], 'nosniff', 'answers of workers have it once');
}

/* names: paths below the base that must not come as files. */
async function noOtherFile(s, names) {
    for (const name of names) {
        const res = await s.ask('GET', name, { check: false });
        assert.ok([401, 403, 404].includes(res.status), `${name}: ${res.status} ${res.text.slice(0, 200)}`);
        assert.doesNotMatch(res.text, /carpool\.fcgi|RewriteRule|base_path|secret/, name);
    }
}

const bodyOf = (bytes) => {
    const frame = JSON.stringify({ username: 'tester', prompt: '' }).length;
    return { username: 'tester', prompt: 'x'.repeat(bytes - frame) };
};

module.exports = { everyEndpoint, makeKeys, keysInEachWay, pages, noOtherFile, bodyOf };
