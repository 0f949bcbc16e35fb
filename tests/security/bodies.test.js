'use strict';
/*
 * Members of bodies that nobody asked for: what a caller would like to be (an admin, another group, cached, free), what JSON
 * objects of other languages inherit (__proto__), and what settings do not have. None of it ever takes effect.
 */
const assert = require('node:assert/strict');
const { describe } = require('node:test');
const { useStack, UUID, assertError } = require('../integration/harness');

const KEY = 'client-key-of-bodies';
const ADMIN_KEY = 'admin-key-of-bodies';
const OTHER_GROUP = '00000000000000000000000000000000';
const client = { headers: { 'X-API-Key': KEY } };
const admin = { headers: { 'X-API-Key': ADMIN_KEY } };

const WISHES = {
    role: 'admin',
    roles: ['admin'],
    admin: true,
    is_admin: true,
    trust_group: OTHER_GROUP,
    group: OTHER_GROUP,
    tenant: 'somebody',
    key: ADMIN_KEY,
    api_key: ADMIN_KEY,
    'X-API-Key': ADMIN_KEY,
    authorization: `Bearer ${ADMIN_KEY}`,
    caller_key: 'sk-somebody-elses',
    cached: true,
    cache_hit: true,
    replayed: true,
    cost: 0,
    cost_usd: 0,
    tokens_used: 0,
    usage: { total_tokens: 0 },
    batch_id: '01a1f740-dec2-7d91-9f09-3345fe862a67',
    chat: 'mine',
    endpoint: '/health',
    family: 3,
    state: 'done',
    status: 'done',
    success: false,
    text: 'wished for',
    response: 'wished for',
    result: 'wished for',
    generated_text: 'wished for',
    completed_at: '2000-01-01T00:00:00Z',
    latency_ms: -1,
    epoch: 999,
    provider: 'openai',
    base_url: 'http://127.0.0.1:9',
    deleted: true,
    limits: { requests_per_minute: 0 },
};
const INHERITED = ['__proto__', 'constructor', 'prototype', 'toString', 'hasOwnProperty', 'valueOf', '__defineGetter__', 'then'];

const PROMPTS = [
    ['/query', { query: 'q' }, (json) => json.result],
    ['/v1/query', { prompt: 'q' }, (json) => json.text],
    ['/generate', { prompt: 'q' }, (json) => json.generated_text],
    ['/invoke', { user_prompt: 'q' }, (json) => json.data.response],
    ['/chat', { chat_id: '1', user_prompt: 'q' }, (json) => json.response],
    ['/chat/batched', { queries: [{ chat_id: '1', user_prompt: 'q' }] }, (json) => json.responses[0].response],
];

describe('members nobody asked for', () => {
    const s = useStack({
        provider: 'openai',
        env: { API_KEY: KEY, ADMIN_KEY, CARPOOL_BATCH_MEDIUM_WINDOW_MS: '5', CARPOOL_CACHE_MODE: 'exact' },
    });

    /* Wishes where the body is an object, and inside the queries of /chat/batched as well. */
    const with_ = (body, more) => ({
        ...body,
        ...(body.queries && { queries: body.queries.map((query) => ({ ...query, ...without(more, query) })) }),
        ...without(more, body),
    });
    const without = (more, body) => Object.fromEntries(Object.entries(more).filter(([name]) => !(name in body)));

    for (const [target, body, answerOf] of PROMPTS) {
        s.test(`${target}: the answer and the chat are those of a body without them`, async () => {
            const fresh = (n) => JSON.parse(JSON.stringify(body).replaceAll('"q"', `"${target} ${n}"`));
            const plain = await s.post(target, fresh('plain'), client);
            const wished = await s.post(target, with_(fresh('wished'), WISHES), client);
            assert.equal(plain.status, 200, plain.text);
            assert.equal(wished.status, 200, wished.text);
            assert.ok(answerOf(wished.json).includes(`${target} wished`), wished.text);
            assert.ok(!wished.text.includes('wished for'), wished.text);
            assert.deepEqual(Object.keys(wished.json).sort(), Object.keys(plain.json).sort());
            assert.notEqual(wished.json.batch_id, WISHES.batch_id);
            if ('cached' in wished.json) assert.equal(wished.json.cached, false);
            const [chat, before] = (await s.get('/v1/chat?limit=1000', admin)).json.chats
                .filter((c) => JSON.stringify(c).includes(target))
                .reverse();
            const items = (await s.get('/v1/chat?limit=1000', admin)).json.chats;
            const of = (n) => items.find((c) => JSON.stringify(c).includes(`${target} ${n}`));
            assert.ok(chat && before && of('wished') && of('plain'), JSON.stringify(items));
            assert.deepEqual(Object.keys(of('wished')).sort(), Object.keys(of('plain')).sort());
            assert.ok(!JSON.stringify(of('wished')).includes(ADMIN_KEY));
            assert.notEqual(of('wished').batch_id, WISHES.batch_id);
            const call = s.fake.calls.at(-1);
            assert.ok(!call.raw.includes(ADMIN_KEY) && !JSON.stringify(call.headers).includes(ADMIN_KEY));
            assert.ok(!JSON.stringify(call.headers).includes('somebody-elses'));
        });
    }

    s.test('they buy no rights: neither other routes nor other groups', async () => {
        const wished = await s.post('/v1/query', { prompt: 'mine', request_id: 'of-the-client', ...WISHES }, client);
        assert.equal(wished.status, 200, wished.text);
        assertError(await s.get('/v1/settings', client), 403);
        assertError(await s.put('/v1/settings', { ...WISHES }, client), 403);
        const other = await s.post('/v1/query', { prompt: 'another', request_id: 'of-the-client' }, admin);
        assert.equal(other.status, 200, `the id is the client's, not the admin's: ${other.text}`);
        assert.equal(s.fake.calls.flatMap((c) => c.members).filter((m) => m.prompt === 'mine').length, 1);
    });

    s.test('names that other languages inherit are names like any other', async () => {
        for (const name of INHERITED)
            for (const value of ['{"admin":true,"role":"admin"}', 'null', '1', '"x"', '[]']) {
                const prompt = `${name} ${value.length}`;
                for (const inner of ['metadata', null]) {
                    const more = inner ? `"${inner}":{"${name}":${value}}` : `"${name}":${value}`;
                    const res = await s.post('/v1/query', `{"prompt":${JSON.stringify(prompt)},${more}}`, client);
                    assert.equal(res.status, 200, `${more}: ${res.text}`);
                    assert.equal(res.json.text, `Answer to: ${prompt}`);
                }
                const put = await s.put('/v1/settings', `{"${name}":${value}}`, admin);
                assertError(put, 400);
                const nested = await s.put('/v1/settings', `{"high_priority":{"${name}":${value}}}`, admin);
                assertError(nested, 400);
            }
    });

    s.test('settings: a name that does not exist saves nothing of the body it stands in', async () => {
        const before = (await s.get('/v1/settings', admin)).text;
        for (const more of [
            { role: 'admin' },
            { trust_group: OTHER_GROUP },
            { auth: { required: 'off' } },
            { required: 'off' },
            { allow_http: true },
            { admin_key: 'mine' },
            { api_key_file: '/etc/passwd' },
            { storage: { dir: '/tmp' } },
            { socket: '/tmp/x' },
            { cors_allow_origin: '*' },
            { prices: {} },
            { log: { level: 'debug' } },
            { redis: { url: 'redis://127.0.0.1:9' } },
        ]) {
            assertError(await s.put('/v1/settings', { model: 'changed', ...more }, admin), 400);
            assertError(await s.put('/v1/settings', { high_priority: { tokens: 7, ...more } }, admin), 400);
        }
        assert.equal((await s.get('/v1/settings', admin)).text, before);
    });

    s.test('a model, user or id with line breaks or paths in it goes nowhere but into its field', async () => {
        for (const bad of ['m\r\nX-Evil: 1', 'm\nHost: evil', '../../../v1/files', 'm?key=x', 'm#x', 'm%0d%0aX-Evil: 1', 'm\u0001']) {
            const put = await s.put('/v1/settings', { model: bad }, admin);
            assert.ok([200, 400].includes(put.status), put.text);
            s.fake.calls.length = 0;
            await s.post('/v1/query', { prompt: `with ${encodeURI(bad)}` }, client);
            for (const call of s.fake.calls) {
                assert.equal(call.path, '/v1/chat/completions');
                assert.equal(call.headers['x-evil'], undefined);
                assert.ok(/^127\.0\.0\.1/.test(call.headers.host));
            }
        }
        await s.put('/v1/settings', { model: '' }, admin);
        const res = await s.post('/v1/query', { prompt: 'an id is made', request_id: undefined }, client);
        assert.match(res.json.request_id, UUID);
    });
});

/* The model stands in Gemini's URL. */
describe('a model for gemini', () => {
    const s = useStack({ provider: 'gemini', env: { CARPOOL_BATCH_MEDIUM_WINDOW_MS: '5' } });
    s.test('cannot lead to another path, host or header', async () => {
        for (const bad of ['../../v1/secret', 'm:generateContent?x=', 'm\r\nX-Evil: 1', 'm/../../x', 'm#', 'm%2f..', 'a b', '@evil']) {
            const put = await s.put('/v1/settings', { model: bad });
            assert.ok([200, 400].includes(put.status), put.text);
            if (put.status === 400) continue;
            s.fake.calls.length = 0;
            await s.ask(`with ${encodeURI(bad)}`, {}, { check: false });
            for (const call of s.fake.calls) {
                assert.match(call.path, /^\/v1beta\/models\/[^/?#\s]+:generateContent$/, bad);
                assert.equal(call.headers['x-evil'], undefined);
                assert.equal(call.members.length, 1);
            }
        }
        await s.put('/v1/settings', { model: '' });
    });
});
