'use strict';
/* Who may ask for what: keyless mode, keys and roles, CORS, and the base path (api.md "Keys"). */
const { describe } = require('node:test');
const assert = require('node:assert/strict');
const { useStack, assertError } = require('./harness');
const { createKey } = require('./carpoolctl');

const QUERY = '/v1/query';

describe('who may ask', () => {
    const s = useStack({ env: { CARPOOL_BATCH_MEDIUM_WINDOW_MS: '20' } });

    s.test('without any key only this machine, directly', async () => {
        for (const headers of [
            { 'X-Forwarded-For': '10.1.1.1' },
            { Forwarded: 'for=10.1.1.1' },
            { Host: 'carpool.example.org' },
            { Origin: 'https://evil.example.org' },
        ]) {
            const res = await s.ask('x', {}, { headers });
            assertError(res, 403);
            assert.match(res.json.error.message, /key/i, 'it says how to create one');
            assertError(await s.get('/v1/settings', { headers }), 403);
            assert.equal((await s.get('/health', { headers })).status, 200);
        }
        for (const headers of [
            { Host: `localhost:${s.port}` },
            { Host: `127.0.0.1:${s.port}` },
            { Origin: `http://127.0.0.1:${s.port}` },
        ]) {
            assert.equal((await s.ask('x', {}, { headers })).status, 200, JSON.stringify(headers));
        }
    });

    s.test('no CORS for strangers in keyless mode', async () => {
        const res = await s.get('/health', { headers: { Origin: 'https://evil.example.org' } });
        assert.equal(res.headers['access-control-allow-origin'], undefined);
    });
});

describe('with keys', () => {
    const s = useStack({
        env: { CARPOOL_BATCH_MEDIUM_WINDOW_MS: '20', API_KEY: 'client-key-1', ADMIN_KEY: 'admin-key-1' },
    });
    const client = { 'X-API-Key': 'client-key-1' };
    const admin = { Authorization: 'Bearer admin-key-1' };

    s.test('401 without or with a wrong one, 403 for the wrong role', async () => {
        assertError(await s.ask('x'), 401);
        assertError(await s.ask('x', {}, { headers: { 'X-API-Key': 'wrong' } }), 401);
        assertError(await s.ask('x', {}, { headers: { Authorization: 'Bearer client-key-' } }), 401);
        assertError(await s.ask('x', {}, { headers: { Authorization: 'Basic Y2xpZW50LWtleS0x' } }), 401);
        assert.equal((await s.ask('x', {}, { headers: client })).status, 200);
        assert.equal((await s.ask('x', {}, { headers: { Authorization: 'Bearer client-key-1' } })).status, 200);
        for (const path of ['/v1/settings', '/v1/chat', '/v1/analytics', '/stats', '/metrics']) {
            assertError(await s.get(path), 401);
            assertError(await s.get(path, { headers: client }), 403);
            assert.equal((await s.get(path, { headers: admin })).status, 200);
        }
        assert.equal((await s.get('/health')).status, 200);
        assert.equal((await s.get('/openapi.json')).status, 200);
    });

    s.test('an id belongs to the key it came with', async () => {
        const first = await s.ask('mine', { request_id: 'group-1' }, { headers: client });
        assert.equal(first.status, 200);
        const other = await s.ask('yours', { request_id: 'group-1' }, { headers: admin });
        assert.equal(other.status, 200, 'another trust group, another id');
        assert.equal(other.json.text, 'Processed: yours');
        assertError(await s.ask('yours', { request_id: 'group-1' }, { headers: client }), 409);
    });

    s.test('CORS for a frontend on another port, preflight included', async () => {
        const origin = { Origin: 'http://localhost:3000' };
        const preflight = await s.request('OPTIONS', QUERY, {
            headers: {
                ...origin,
                'Access-Control-Request-Method': 'POST',
                'Access-Control-Request-Headers': 'content-type,x-api-key',
            },
        });
        assert.ok([200, 204].includes(preflight.status), preflight.text);
        assert.equal(preflight.headers['access-control-allow-origin'], '*');
        for (const method of ['GET', 'POST', 'PUT', 'DELETE'])
            assert.ok(preflight.headers['access-control-allow-methods'].includes(method), method);
        for (const header of ['content-type', 'x-api-key', 'authorization', '*'])
            assert.ok(preflight.headers['access-control-allow-headers'].toLowerCase().includes(header), header);
        const res = await s.ask('cross', {}, { headers: { ...client, ...origin } });
        assert.equal(res.headers['access-control-allow-origin'], '*');
        assert.equal(
            (await s.ask('cross', {}, { headers: origin })).headers['access-control-allow-origin'],
            '*',
            'errors can be read, too',
        );
    });
});

describe('CORS', () => {
    const listed = 'https://app.example.org';
    const foreign = 'https://evil.example.org';
    const cors = (res) =>
        Object.fromEntries(
            Object.entries(res.headers)
                .filter(([name]) => /^access-control-allow-(origin|credentials)$|^vary$/.test(name))
                .map(([name, value]) => [name.replace('access-control-allow-', ''), value]),
        );
    const preflight = (s, origin, path = QUERY) =>
        s.request('OPTIONS', path, {
            headers: { Origin: origin, 'Access-Control-Request-Method': 'POST', 'Access-Control-Request-Headers': 'x-api-key' },
        });

    describe('while no key exists', () => {
        const s = useStack({ env: { CARPOOL_BATCH_MEDIUM_WINDOW_MS: '20' } });

        s.test('nobody may read, and with the first key everybody who has one', async () => {
            for (const path of [QUERY, '/health', '/v1/settings', '/nothing']) {
                const asked = await preflight(s, foreign, path);
                assert.deepEqual(cors(asked), { vary: 'Origin' }, path);
                assert.equal(asked.headers['access-control-allow-headers'], undefined);
                assert.deepEqual(cors(await s.get(path, { headers: { Origin: foreign } })), { vary: 'Origin' }, path);
            }
            const key = await createKey(s.stack, 'client', 'page');
            assert.deepEqual(cors(await preflight(s, foreign)), { origin: '*' });
            const headers = { Origin: foreign, 'X-API-Key': key, 'Sec-Fetch-Site': 'cross-site' };
            const answer = await s.ask('x', {}, { headers });
            assert.equal(answer.status, 200, 'a key is worth the same wherever its page comes from');
            assert.deepEqual(cors(answer), { origin: '*' });
            assert.deepEqual(cors(await s.ask('x', {}, { headers: { Origin: foreign } })), { origin: '*' });
        });
    });

    describe('for one origin', () => {
        const s = useStack({
            env: { CARPOOL_BATCH_MEDIUM_WINDOW_MS: '20', CARPOOL_SERVER_CORS_ALLOW_ORIGIN: listed },
        });

        s.test('its pages may read and ask, others neither', async () => {
            const allowed = { origin: listed, vary: 'Origin' };
            assert.deepEqual(cors(await preflight(s, listed)), allowed);
            const answer = await s.ask('x', {}, { headers: { Origin: listed, 'Sec-Fetch-Site': 'cross-site' } });
            assert.equal(answer.status, 200);
            assert.deepEqual(cors(answer), allowed);
            for (const origin of [foreign, 'null', `${listed}.evil.org`, `${listed}:8443`, listed.toUpperCase(), '*', ''])
                for (const res of [await preflight(s, origin), await s.ask('x', {}, { headers: { Origin: origin } })])
                    assert.ok(!('origin' in cors(res)) && !('credentials' in cors(res)), origin);
            assertError(await s.ask('x', {}, { headers: { Origin: foreign } }), 403, { code: 'KEY_NEEDED' });
        });

        s.test('what may be kept is kept for each origin apart', async () => {
            assert.equal((await s.get('/openapi.json')).headers.vary, 'Origin');
            assert.equal((await s.get('/openapi.json', { headers: { Origin: foreign } })).headers.vary, 'Origin');
        });
    });

    describe('for everybody, without keys', () => {
        const s = useStack({ env: { CARPOOL_BATCH_MEDIUM_WINDOW_MS: '20', CARPOOL_SERVER_CORS_ALLOW_ORIGIN: '*' } });

        s.test('what is refused can be read, no more', async () => {
            const res = await s.ask('x', {}, { headers: { Origin: foreign } });
            assertError(res, 403, { code: 'KEY_NEEDED' });
            assert.deepEqual(cors(res), { origin: '*' });
        });
    });
});

describe('under a base path', () => {
    const s = useStack({
        env: {
            CARPOOL_SERVER_BASE_PATH: '/llm',
            CARPOOL_BATCH_MEDIUM_WINDOW_MS: '20',
            CARPOOL_SERVER_MAX_BODY_BYTES: '2000',
        },
        base: '/llm',
    });

    s.test('endpoints live below it, nothing lives outside', async () => {
        assert.deepEqual((await s.post('/llm/query', { query: 'below' }, { check: false })).json, {
            result: 'Processed: below',
        });
        const accepted = await s.post(
            '/llm/v1/query',
            { prompt: 'x', request_id: 'b-1' },
            { check: false, headers: { Prefer: 'respond-async' } },
        );
        assert.equal(accepted.headers.location, '/llm/v1/requests/b-1');
        assertError(await s.get('/llmx/health', { check: false }), 404);
        assertError(await s.post('/llm/query', { query: 'q'.repeat(2000) }, { check: false }), 413);
    });
});
