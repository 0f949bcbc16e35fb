'use strict';
/* Limits a minute of API keys and of their users: 429, Retry-After, and OpenAI's x-ratelimit headers. */
const { describe } = require('node:test');
const assert = require('node:assert/strict');
const { useStack, until, sleep, assertError } = require('./harness');

const FAST = { CARPOOL_BATCH_HIGH_WINDOW_MS: '5', CARPOOL_BATCH_MEDIUM_WINDOW_MS: '5' };
const CLIENT = { 'X-API-Key': 'client-key-1' };
const ADMIN = { 'X-API-Key': 'admin-key-1' };
const KINDS = ['requests', 'tokens'];
const NAMES = ['limit', 'remaining', 'reset'].flatMap((what) => KINDS.map((kind) => `x-ratelimit-${what}-${kind}`));

/* The headers as numbers; what is left comes back while a test runs. */
function limits(res, kind) {
    const [limit, remaining, reset] = ['limit', 'remaining', 'reset'].map((what) => res.headers[`x-ratelimit-${what}-${kind}`]);
    return { limit: Number(limit), remaining: Number(remaining), resetMs: milliseconds(reset) };
}

function milliseconds(text) {
    const [, ms, minutes, seconds] = /^(?:(\d+)ms|(?:(\d+)m)?(\d+(?:\.\d{1,3})?)s)$/.exec(text) ?? assert.fail(String(text));
    return ms ? Number(ms) : Number(minutes ?? 0) * 60000 + Math.round(Number(seconds) * 1000);
}

describe('requests', () => {
    const s = useStack({
        env: { ...FAST, API_KEY: 'client-key-1', ADMIN_KEY: 'admin-key-1', CARPOOL_CACHE_MODE: 'exact', CARPOOL_LIMITS_REQUESTS_PER_MINUTE: '5' },
    });

    s.test('what is left is said, and beyond it 429 until it is there again', async () => {
        for (let left = 4; left >= 0; left--) {
            const res = await s.ask(`one of five, ${left}`, {}, { headers: CLIENT });
            assert.equal(res.status, 200, res.text);
            const { limit, remaining, resetMs } = limits(res, 'requests');
            assert.equal(limit, 5);
            assert.ok(remaining >= left && remaining <= 4, String(remaining));
            assert.ok(resetMs > 0 && resetMs <= (5 - left) * 12000, String(resetMs));
            assert.ok(NAMES.filter((name) => name.endsWith('tokens')).every((name) => !(name in res.headers)));
        }
        let refused, id;
        await until('the sixth is refused', async () => {
            id = `one-too-many-${Math.random()}`;
            refused = await s.ask(id, { request_id: id }, { headers: CLIENT });
            return refused.status === 429;
        });
        assertError(refused, 429);
        assert.equal(refused.json.error.error_type, 'rate_limit_error');
        assert.equal(refused.json.error.error_code, 'RATE_LIMITED');
        assert.match(refused.json.error.message, /5 requests a minute.*limits\.requests_per_minute/);
        const wait = Number(refused.headers['retry-after']);
        assert.ok(wait >= 1 && wait <= 12, String(wait));
        assert.deepEqual({ ...limits(refused, 'requests'), resetMs: 0 }, { limit: 5, remaining: 0, resetMs: 0 });
        assert.equal((await s.get(`/v1/requests/${id}`, { headers: CLIENT })).status, 404, 'it leaves nothing behind');
    });

    s.test('another key has its own; what is known already is free', async () => {
        const other = await s.ask('another key', { request_id: 'theirs' }, { headers: ADMIN });
        assert.equal(other.status, 200, other.text);
        assert.equal(limits(other, 'requests').remaining, 4);
        for (let i = 0; i < 8; i++) {
            const replay = await s.ask('another key', { request_id: 'theirs' }, { headers: ADMIN });
            assert.equal(replay.headers['idempotent-replayed'], 'true');
            const again = await s.ask('another key', {}, { headers: ADMIN });
            assert.equal(again.json.cached, true);
            assert.ok(NAMES.every((name) => !(name in again.headers)));
        }
        assert.equal(limits(await s.ask('one more', {}, { headers: ADMIN }), 'requests').limit, 5);
    });

    s.test('every endpoint keeps to it, in its own shape', async () => {
        /* And will not be for a while: one of five a minute comes back every 12 s. */
        await until('nothing is left', async () => {
            const res = await s.ask(`more ${Math.random()}`, {}, { headers: CLIENT });
            if (res.status !== 429 || Number(res.headers['retry-after']) >= 8) return res.status === 429;
            await sleep(1000);
            return false;
        }, 20000);
        const asks = {
            '/query': { query: 'a' },
            '/generate': { prompt: 'a' },
            '/chat': { chat_id: '1', user_prompt: 'a' },
            '/invoke': { prompt: 'a', user_prompt: 'a' },
        };
        for (const [path, body] of Object.entries(asks)) {
            const res = await s.post(path, body, { headers: CLIENT });
            assert.equal(res.status, 429, `${path}: ${res.text}`);
            assert.ok(res.headers['retry-after'], path);
            assert.equal(res.headers['x-ratelimit-limit-requests'], '5', path);
        }
        const batched = await s.post('/chat/batched', { queries: [{ chat_id: '1', user_prompt: 'b' }] }, { headers: CLIENT });
        assert.equal(batched.status, 200);
        assert.match(batched.json.responses[0].error, /5 requests a minute/);
        const async = await s.ask('later', {}, { headers: { ...CLIENT, Prefer: 'respond-async' } });
        assertError(async, 429);
    });

    s.test('a page of another origin may read them', async () => {
        const res = await s.ask('from elsewhere', {}, { headers: { ...CLIENT, Origin: 'http://elsewhere.example' } });
        const exposed = res.headers['access-control-expose-headers'].split(/, */);
        for (const name of NAMES) assert.ok(exposed.includes(name), name);
    });
});

describe('tokens and users', () => {
    const s = useStack({
        env: {
            ...FAST,
            CARPOOL_BATCH_HIGH_TOKENS: '100',
            CARPOOL_LIMITS_TOKENS_PER_MINUTE: '100000',
            CARPOOL_LIMITS_USER_TOKENS_PER_MINUTE: '500',
            CARPOOL_LIMITS_USER_REQUESTS_PER_MINUTE: '100',
        },
    });
    const ask = (username, n) => s.ask('x'.repeat(3 * n), { username, priority: 'HIGH' });

    s.test('an estimate is taken, and what was not used comes back', async () => {
        const first = await ask('anne', 200);
        assert.deepEqual({ ...limits(first, 'tokens'), resetMs: 0 }, { limit: 500, remaining: 200, resetMs: 0 });
        assert.deepEqual({ ...limits(first, 'requests'), resetMs: 0 }, { limit: 100, remaining: 99, resetMs: 0 });
        const second = await ask('anne', 1);
        const least = 500 - first.json.tokens_used - 101;
        assert.ok(limits(second, 'tokens').remaining >= least, `${limits(second, 'tokens').remaining} of ${least}`);
    });

    s.test('one user is refused, another is not, and without a name there is no user', async () => {
        const long = await ask('bert', 2000);
        assert.equal(long.status, 200, 'more than a minute has goes when all is there');
        const refused = await ask('bert', 10);
        assertError(refused, 429);
        assert.match(refused.json.error.message, /This user may use 500 tokens a minute/);
        assert.equal(limits(refused, 'tokens').remaining, 0);
        assert.equal((await ask('carl', 10)).status, 200);
        const nobody = await s.post('/v1/query', { prompt: 'whose?', priority: 'HIGH' });
        assert.equal(nobody.status, 200);
        assert.equal(limits(nobody, 'tokens').limit, 100000);
    });
});
