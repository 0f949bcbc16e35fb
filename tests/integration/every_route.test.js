'use strict';
/*
 * Every route of the route table, asked with every kind of key, in every mode of auth.required, by somebody at this machine and by
 * somebody behind a proxy. The list of routes is read from fcgi_app/worker/route.c and held against web/openapi.json, so a route
 * that is added is tested here, or missed here.
 */
const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { describe, test, before } = require('node:test');
const { useStack, openapi, until, ROOT } = require('./harness');
const { createKey, rotateKey, revokeKey } = require('./carpoolctl');

const SOURCE = fs.readFileSync(path.join(ROOT, 'fcgi_app', 'worker', 'route.c'), 'utf8');
const ROUTES = [...SOURCE.matchAll(/^ {4}X\("([^"]+)", (\w+), (\w+), (\w+), (\w+)\)/gm)].map(([, pattern, method, role, , errors]) => ({
    name: `${method} ${pattern}`,
    pattern,
    path: pattern.replace(/\{[^}]+\}/, 'nobody'),
    method,
    role: role.toLowerCase(),
    errors,
}));

/* What a request without anything in it gets from the endpoint itself: the sign that it was let in. */
const SERVED = {
    'POST /query': 400,
    'POST /v1/query': 400,
    'POST /generate': 400,
    'POST /invoke': 400,
    'POST /chat': 400,
    'POST /chat/batched': 400,
    'POST /v1/chat/completions': 400,
    'POST /v1/completions': 400,
    'GET /v1/models/{name}': 404,
    'GET /v1/requests/{id}': 404,
    'DELETE /v1/chat/{id}': 404,
};
const served = (route) => SERVED[route.name] ?? 200;

const CLIENT = 'client-key-of-every-route';
const ADMIN = 'admin-key-of-every-route';
const bearer = (key) => ({ Authorization: `Bearer ${key}` });
const proxied = { 'X-Forwarded-For': '203.0.113.9' };

function ask(s, route, headers = {}, { method = route.method, query = '' } = {}) {
    const body = ['POST', 'PUT'].includes(method) ? {} : undefined;
    return s.request(method, route.path + query, { headers, body, check: method !== 'HEAD' });
}

/* "200", or the status and code of an error, in any shape. */
const said = (res) => {
    const code = res.json?.error?.error_code ?? res.json?.error_code ?? res.json?.error?.code;
    return [401, 403, 503].includes(res.status) ? `${res.status} ${code}` : String(res.status);
};

/* The same in the words of OpenAI's API, where a route speaks them. */
const worded = (route, wanted) =>
    !/OPENAI/.test(route.errors) ? wanted : wanted.startsWith('401') ? '401 invalid_api_key' : wanted.toLowerCase();

/* What a browser is told with every answer. */
function assertGuarded(route, res) {
    const where = `${route.name} ${res.status}`;
    assert.equal(res.headers['x-content-type-options'], 'nosniff', where);
    assert.equal(res.headers['referrer-policy'], 'no-referrer', where);
    assert.match(res.headers['content-security-policy'] ?? '', /^default-src 'none'; .*frame-ancestors 'none'$/, where);
    const kept = route.name === 'GET /openapi.json' && res.status === 200;
    assert.equal(res.headers['cache-control'], kept ? 'public, max-age=300' : 'no-store', where);
    assert.equal(res.headers['access-control-allow-credentials'], undefined, where);
    if (res.status === 401) assert.match(res.headers['www-authenticate'] ?? '', /^Bearer /, where);
}

/* One kind of caller on all routes. wanted: by role of the route; null: it is served. */
async function expectOn(s, who, headers, wanted, { query = '' } = {}) {
    for (const route of ROUTES) {
        const expected = (route.role === 'open' ? null : wanted[route.role]) ?? String(served(route));
        const res = await ask(s, route, headers, { query });
        assert.equal(said(res), worded(route, expected), `${who}, ${route.name}: ${res.text.slice(0, 300)}`);
        assertGuarded(route, res);
        if (route.method !== 'GET') continue;
        const head = await ask(s, route, headers, { method: 'HEAD', query });
        assert.equal(head.status, res.status, `${who}, HEAD ${route.pattern}`);
        assert.equal(head.text, '', `${who}, HEAD ${route.pattern}`);
        assertGuarded(route, head);
    }
}

const both = (answer) => ({ client: answer, admin: answer });
const SERVED_ALL = both(null);
const NO_ADMIN = { client: null, admin: '403 ADMIN_ONLY' };

/* Whatever these are, they are no key. */
const NO_KEYS = {
    'no key': {},
    'an empty key': { 'X-API-Key': '' },
    'an empty Bearer': { Authorization: 'Bearer ' },
    'Bearer alone': { Authorization: 'Bearer' },
    'a key without Bearer': { Authorization: ADMIN },
    'another scheme': { Authorization: `Basic ${Buffer.from(`admin:${ADMIN}`).toString('base64')}` },
    'a cookie': { Cookie: `api_key=${ADMIN}; X-API-Key=${ADMIN}` },
    'other headers': { 'Proxy-Authorization': `Bearer ${ADMIN}`, 'X-Auth-Token': ADMIN, 'Api-Key': ADMIN },
};
const WRONG_KEYS = {
    'a wrong key': { 'X-API-Key': 'wrong' },
    'a wrong Bearer': bearer('wrong'),
    'the beginning of a key': { 'X-API-Key': ADMIN.slice(0, -1) },
    'a key and more': { 'X-API-Key': `${ADMIN}x` },
    'a key in other letters': { 'X-API-Key': ADMIN.toUpperCase() },
    'two keys in one': bearer(`${ADMIN} ${ADMIN}`),
    'a long key': { 'X-API-Key': 'k'.repeat(513) },
    'a very long key': { 'X-API-Key': 'k'.repeat(6000) },
    'a key that is no ASCII': { 'X-API-Key': 'schl\u00fcssel' },
    'a wrong key beside a good one': { 'X-API-Key': 'wrong', ...bearer(ADMIN) },
};

async function expectAll(s, kinds, headers, wanted) {
    for (const [who, own] of Object.entries(kinds)) await expectOn(s, who, { ...headers, ...own }, wanted);
}

/* In the URL a key would stand in logs and histories: it counts for nothing there. */
const expectInUrl = (s, key, headers, wanted) =>
    expectOn(s, 'a key in the URL', headers, wanted, {
        query: `?api_key=${key}&key=${key}&x-api-key=${key}&X-API-Key=${key}&access_token=${key}&authorization=Bearer%20${key}`,
    });

describe('the route table', () => {
    test('is the document of the API', () => {
        assert.ok(ROUTES.length > 10, 'it is still found in route.c');
        const rows = SOURCE.slice(SOURCE.indexOf('ROUTE_LIST(X)'), SOURCE.indexOf('ROUTE_ROW(')).match(/\bX\("/g);
        assert.equal(ROUTES.length, rows.length, 'every row is read');
        const documented = Object.entries(openapi.document.paths).flatMap(([pattern, item]) =>
            ['get', 'post', 'put', 'delete', 'patch', 'head', 'options', 'trace']
                .filter((m) => item[m])
                .map((m) => `${m.toUpperCase()} ${pattern.replace('{request_id}', '{id}')} ${roleOf(item[m])}`),
        );
        assert.deepEqual(documented.sort(), ROUTES.map((r) => `${r.name} ${r.role}`).sort());
    });

    function roleOf(operation) {
        if (operation.security?.length === 0) return 'open';
        const roles = new Set(operation.security.flatMap((scheme) => Object.values(scheme).flat()));
        assert.deepEqual(
            operation.security.map((scheme) => Object.keys(scheme).join()),
            ['ApiKey', 'Bearer', ''],
            operation.operationId,
        );
        return [...roles].join();
    }
});

describe('auto, while no key exists', () => {
    const s = useStack();

    s.test('this machine is served, whatever it sends for a key', async () => {
        await expectAll(s, NO_KEYS, {}, SERVED_ALL);
        await expectAll(s, WRONG_KEYS, {}, SERVED_ALL);
    });

    s.test('nobody else is', async () => {
        const elsewhere = {
            'a proxy': proxied,
            'another proxy': { Forwarded: 'for=203.0.113.9' },
            'a proxy that hides': { 'X-Forwarded-For': '127.0.0.1' },
            'X-Real-IP': { 'X-Real-IP': '127.0.0.1' },
            'X-Forwarded-Host': { 'X-Forwarded-Host': 'localhost' },
            Via: { Via: '1.1 proxy' },
            'X-Client-IP': { 'X-Client-IP': '127.0.0.1' },
            Cloudflare: { 'CF-Connecting-IP': '203.0.113.9' },
            'a name that leads here': { Host: 'rebound.example.org' },
            'a name like ours': { Host: `127.0.0.1.example.org:${s.port}` },
            'a page elsewhere': { Origin: 'https://evil.example.org' },
            'a page in a sandbox': { Origin: 'null' },
            'a page of another port': { Origin: 'http://127.0.0.1:1' },
            'an image or a link elsewhere': { 'Sec-Fetch-Site': 'cross-site' },
            'one of another port': { 'Sec-Fetch-Site': 'same-site' },
        };
        await expectAll(s, elsewhere, {}, both('403 KEY_NEEDED'));
        await expectOn(s, 'a wrong key behind a proxy', { ...proxied, 'X-API-Key': 'wrong' }, both('401 KEY_UNKNOWN'));
        await expectInUrl(s, ADMIN, proxied, both('403 KEY_NEEDED'));
    });

    s.test('and the pages of this server are', async () => {
        const own = `http://127.0.0.1:${s.port}`;
        await expectOn(s, 'our own page', { Origin: own, 'Sec-Fetch-Site': 'same-origin' }, SERVED_ALL);
        await expectOn(s, 'an address that was typed', { 'Sec-Fetch-Site': 'none' }, SERVED_ALL);
    });

    s.test('the refusal says how to make a key', async () => {
        const res = await s.ask('x', {}, { headers: proxied });
        assert.match(res.json.error.message, /run carpoolctl key create --role admin\b/);
        assert.match(res.json.error.message, /\bADMIN_KEY\b/);
    });

    s.test('/health says so', async () => {
        assert.deepEqual((await s.get('/health')).json.auth, { required: 'auto', key_needed: false });
    });
});

describe('auto, with keys', () => {
    const s = useStack({ env: { API_KEY: CLIENT, ADMIN_KEY: ADMIN } });
    const keys = {};
    before(async () => {
        keys.client = await createKey(s.stack, 'client', 'shop');
        keys.admin = await createKey(s.stack, 'admin', 'backoffice');
        keys.replaced = await createKey(s.stack, 'admin', 'replaced');
        keys.fresh = await rotateKey(s.stack, 'replaced');
        keys.old = await createKey(s.stack, 'client', 'in-grace');
        keys.young = await rotateKey(s.stack, 'in-grace', '1h');
        keys.revoked = await createKey(s.stack, 'admin', 'revoked');
        await revokeKey(s.stack, 'revoked');
    });

    for (const [where, headers] of [
        ['at this machine', {}],
        ['behind a proxy', proxied],
    ]) {
        s.test(`without a key nobody is served, ${where}`, async () => {
            await expectAll(s, NO_KEYS, headers, both('401 KEY_MISSING'));
            await expectAll(s, WRONG_KEYS, headers, both('401 KEY_UNKNOWN'));
            for (const key of [ADMIN, keys.admin]) await expectInUrl(s, key, headers, both('401 KEY_MISSING'));
        });

        s.test(`each key does what its role may, ${where}`, async () => {
            for (const form of [(key) => ({ 'X-API-Key': key }), bearer]) {
                for (const key of [CLIENT, keys.client, keys.old, keys.young])
                    await expectOn(s, 'a client key', { ...headers, ...form(key) }, NO_ADMIN);
                for (const key of [ADMIN, keys.admin, keys.fresh])
                    await expectOn(s, 'an admin key', { ...headers, ...form(key) }, SERVED_ALL);
                await expectOn(s, 'a revoked key', { ...headers, ...form(keys.revoked) }, both('401 KEY_REVOKED'));
                await expectOn(s, 'a replaced key', { ...headers, ...form(keys.replaced) }, both('401 KEY_REPLACED'));
            }
        });
    }

    s.test('X-API-Key counts where an SDK sends something else', async () => {
        await expectOn(s, 'both', { 'X-API-Key': keys.admin, ...bearer('sk-of-the-sdk') }, SERVED_ALL);
    });

    s.test('methods and paths that are none tell everybody the same', async () => {
        const callers = [{}, { 'X-API-Key': 'wrong' }, { 'X-API-Key': CLIENT }, { 'X-API-Key': ADMIN }, proxied];
        const plain = (res) => [res.status, res.headers.allow, res.text.replace(/"timestamp":"[^"]*"/, '')];
        const targets = [
            ...['/nothing', '/v1', '/v1/', '/v1/chat/a/b', '/v1/settings/', '/admin', '/.git/config'].map((p) => ['GET', p]),
            ...ROUTES.flatMap((r) => ['OPTIONS', 'GET', 'PUT', 'DELETE', 'PATCH'].map((m) => [m, r.path])),
        ];
        const allowed = new Set(ROUTES.map((r) => `${r.method} ${r.path}`));
        for (const [method, target] of targets) {
            if (allowed.has(`${method} ${target}`)) continue;
            const [first, ...others] = await Promise.all(
                callers.map((headers) => s.request(method, target, { headers, check: false })),
            );
            assert.ok([204, 404, 405].includes(first.status), `${method} ${target}: ${first.status}`);
            for (const other of others) assert.deepEqual(plain(other), plain(first), `${method} ${target}`);
        }
    });

    s.test('an id belongs to its key, whichever of its texts it came with', async () => {
        const first = await s.ask('mine', { request_id: 'of-a-key' }, { headers: bearer(keys.old) });
        assert.equal(first.status, 200);
        const again = await s.ask('mine', { request_id: 'of-a-key' }, { headers: bearer(keys.young) });
        assert.equal(again.headers['idempotent-replayed'], 'true');
        assert.equal(again.text, first.text);
        const other = await s.ask('yours', { request_id: 'of-a-key' }, { headers: bearer(keys.client) });
        assert.equal(other.json.text, 'Processed: yours');
    });

    s.test('/health says so', async () => {
        assert.deepEqual((await s.get('/health')).json.auth, { required: 'auto', key_needed: true });
    });
});

describe('auto, from the first key to the last', () => {
    const s = useStack();

    s.test('each change is in force for the next request', async () => {
        const settings = (key) => s.get('/v1/settings', { headers: key && { 'X-API-Key': key }, fresh: true });
        assert.equal(said(await settings()), '200');
        const key = await createKey(s.stack, 'admin', 'first');
        for (let i = 0; i < 20; i++) assert.equal(said(await settings()), '401 KEY_MISSING');
        for (let i = 0; i < 20; i++) assert.equal(said(await settings(key)), '200');
        const next = await rotateKey(s.stack, 'first');
        for (let i = 0; i < 20; i++) assert.equal(said(await settings(key)), '401 KEY_REPLACED');
        assert.equal(said(await settings(next)), '200');
        await revokeKey(s.stack, 'first');
        for (let i = 0; i < 20; i++) assert.equal(said(await settings(next)), '401 KEY_REVOKED');
        assert.equal(said(await settings()), '401 KEY_MISSING', 'the door does not open again');
        await until('/health knows', async () => (await s.get('/health')).json.auth.key_needed);
    });
});

describe('on', () => {
    const s = useStack({ env: { LLM_ENABLE_AUTH: 'true' } });

    s.test('a key is needed while none exists, and where it exists', async () => {
        await expectAll(s, NO_KEYS, {}, both('401 KEY_MISSING'));
        await expectAll(s, WRONG_KEYS, {}, both('401 KEY_UNKNOWN'));
        assert.match((await s.ask('x')).json.error.message, /carpoolctl key create --role admin\b/);
        const client = await createKey(s.stack, 'client', 'shop');
        const admin = await createKey(s.stack, 'admin', 'backoffice');
        await expectOn(s, 'no key', {}, both('401 KEY_MISSING'));
        await expectOn(s, 'a client key', bearer(client), NO_ADMIN);
        await expectOn(s, 'an admin key', bearer(admin), SERVED_ALL);
        await revokeKey(s.stack, 'shop');
        await expectOn(s, 'a revoked key', bearer(client), both('401 KEY_REVOKED'));
        await expectInUrl(s, admin, {}, both('401 KEY_MISSING'));
        assert.deepEqual((await s.get('/health')).json.auth, { required: 'on', key_needed: true });
    });
});

describe('off', () => {
    const s = useStack({ env: { LLM_ENABLE_AUTH: 'false', ADMIN_KEY: ADMIN } });

    s.test('prompts are open to all, the rest to an admin key and this machine', async () => {
        await expectAll(s, NO_KEYS, {}, SERVED_ALL);
        await expectAll(s, WRONG_KEYS, {}, SERVED_ALL);
        await expectAll(s, NO_KEYS, proxied, { client: null, admin: '403 KEY_NEEDED' });
        await expectAll(s, WRONG_KEYS, proxied, { client: null, admin: '401 KEY_UNKNOWN' });
        await expectOn(s, 'a page elsewhere', { Origin: 'https://evil.example.org' }, { client: null, admin: '403 KEY_NEEDED' });
        await expectInUrl(s, ADMIN, proxied, { client: null, admin: '403 KEY_NEEDED' });
        await expectOn(s, 'an admin key', { ...proxied, ...bearer(ADMIN) }, SERVED_ALL);
        const client = await createKey(s.stack, 'client', 'shop');
        await expectOn(s, 'a client key', bearer(client), NO_ADMIN);
        await revokeKey(s.stack, 'shop');
        await expectOn(s, 'a revoked key', bearer(client), both('401 KEY_REVOKED'));
    });

    s.test('and everybody is warned', async () => {
        const health = (await s.get('/health')).json;
        assert.deepEqual(health.auth, { required: 'off', key_needed: false });
        assert.ok(health.warnings.some((w) => /auth\.required is off/.test(w)));
        assert.match(s.stack.logs(), /auth\.required is off/);
    });
});
