'use strict';
/* What a key may use: limits of its own, and a budget for the month, through all that prompts come in by. */
const { describe } = require('node:test');
const assert = require('node:assert/strict');
const { ctl, makeKey } = require('./ctl');
const { useStack, until, inParallel, assertError } = require('./harness');

const FAST = {
    CARPOOL_BATCH_HIGH_WINDOW_MS: '5',
    CARPOOL_BATCH_MEDIUM_WINDOW_MS: '5',
    CARPOOL_BATCH_LOW_WINDOW_MS: '3000',
    CARPOOL_BATCH_HIGH_TOKENS: '500',
    CARPOOL_BATCH_MEDIUM_TOKENS: '500',
    CARPOOL_BATCH_LOW_TOKENS: '500',
    CARPOOL_CACHE_MODE: 'off',
};
const CALLER_KEY = 'sk-abcdefghijklmnopqrstuvwxyz012345';
const as = (key) => ({ headers: { 'X-API-Key': key } });

async function set(stack, id, ...args) {
    const result = await ctl(stack, ['key', 'set', id, ...args]);
    assert.equal(result.status, 0, result.err);
}

/* USD, as `carpoolctl key list` says. */
async function spent(stack, id) {
    const { json } = await ctl(stack, ['key', 'list', '--json']);
    return json.keys.find((k) => k.id === id).spent_usd;
}

const nearly = (a, b) => Math.abs(a - b) < 1e-9;

describe('budgets', () => {
    const s = useStack({ provider: 'openai', env: FAST, conf: '[prices]\nfake-model = 1 2\n' });
    const wake = () => s.ask('so that a coordinator runs, which stays');

    s.test('what prompts cost is counted, and beyond the budget nothing is sent', async (t, stack) => {
        assert.equal((await wake()).status, 200);
        s.fake.reset();
        const { id, key } = await makeKey(stack, '--budget', '0.0021');
        stack.secrets.push(key);
        const first = await s.ask('What is one?', {}, as(key));
        assert.equal(first.status, 200, first.text);
        /* As the fake provider counts: a token for four bytes. */
        const tokens = (text) => Math.ceil(Buffer.byteLength(text) / 4);
        const cost = (tokens('What is one?') + 2 * tokens(first.json.text)) / 1e6;
        assert.ok(nearly(await spent(stack, id), cost), `${await spent(stack, id)}, ${cost}`);

        await set(stack, id, '--budget', '0.0003');
        const refused = await s.ask('What is two?', { request_id: 'two' }, as(key));
        assertError(refused, 429);
        assert.equal(refused.json.error.error_code, 'BUDGET_SPENT');
        assert.match(refused.json.error.message, /has spent 0\.0000\d+ of the 0\.0003 USD.*may cost 0\.00\d+.*carpoolctl key set/);
        const now = new Date();
        const end = Date.UTC(now.getUTCFullYear(), now.getUTCMonth() + 1);
        const wait = Number(refused.headers['retry-after']);
        assert.ok(Math.abs(wait - (end - now) / 1000) < 120, `${wait} s`);
        assert.equal((await s.get('/v1/requests/two', as(key))).status, 404, 'it leaves nothing behind');
        assert.equal(s.fake.calls.length, 1);

        await set(stack, id, '--budget', '0.0021');
        const again = await s.ask('What is two?', { request_id: 'two' }, as(key));
        assert.equal(again.status, 200, 'in force for the next prompt');
        const replay = await s.ask('What is two?', { request_id: 'two' }, as(key));
        assert.equal(replay.headers['idempotent-replayed'], 'true');
        assert.ok((await spent(stack, id)) < 3 * cost, 'a replay is free');
    });

    s.test('an answer counts as often as it is asked for', async (t, stack) => {
        const { key } = await makeKey(stack, '--budget', '0.0021');
        stack.secrets.push(key);
        const chat = (more) =>
            s.post('/v1/chat/completions', { messages: [{ role: 'user', content: 'How many?' }], ...more }, as(key));
        const complete = (more) => s.post('/v1/completions', { prompt: ['Once', 'Twice'], ...more }, as(key));
        for (const refused of [
            await chat({ n: 3 }),
            await chat({ n: 3, stream: true }),
            await chat({ n: 30, max_tokens: 50 }),
            await complete({ n: 2 }),
            await complete({ best_of: 2 }),
        ]) {
            assert.equal(refused.status, 429, refused.text);
            assert.equal(refused.json.error.code, 'insufficient_quota');
        }
        assert.equal(s.fake.calls.length, 0);
        assert.equal((await chat({ n: 2 })).status, 200);
        assert.equal((await chat({ n: 3, max_tokens: 50 })).status, 200);
    });

    s.test('every endpoint refuses in its own shape, and the key of another has its own', async (t, stack) => {
        const { key } = await makeKey(stack, '--budget', '0.000001');
        const { key: other } = await makeKey(stack, '--budget', '1');
        stack.secrets.push(key, other);
        const asks = {
            '/query': { query: 'a' },
            '/v1/query': { prompt: 'a', priority: 'HIGH' },
            '/generate': { prompt: 'a' },
            '/invoke': { user_prompt: 'a' },
            '/chat': { chat_id: '1', user_prompt: 'a' },
            '/chat/batched': { queries: [{ chat_id: '1', user_prompt: 'b' }] },
        };
        for (const [path, body] of Object.entries(asks)) {
            const res = await s.post(path, body, as(key));
            const many = path === '/chat/batched';
            assert.equal(res.status, many ? 200 : 429, `${path}: ${res.text}`);
            if (!many) assert.ok(Number(res.headers['retry-after']) > 0, path);
            const said = many ? res.json.responses[0].error : (res.json.error.message ?? res.json.error);
            assert.match(said, /has spent 0\.00 of the 0\.000001 USD/, path);
            assert.equal((await s.post(path, body, as(other))).status, 200, path);
        }
        const later = await s.ask('later', {}, { headers: { ...as(key).headers, Prefer: 'respond-async' } });
        assertError(later, 429);
        const own = await s.post('/invoke', { user_prompt: 'mine', openai_api_key: CALLER_KEY }, as(key));
        stack.secrets.push(CALLER_KEY);
        assert.equal(own.status, 200, `a key that the caller brings pays for itself: ${own.text}`);
    });

    s.test('a model without a price is not for a key with a budget', async (t, stack) => {
        const { id, key } = await makeKey(stack, '--budget', '1');
        stack.secrets.push(key);
        const ask = () => s.post('/chat', { chat_id: '1', user_prompt: 'a' }, as(key));
        const admin = await makeKey(stack, '--role', 'admin');
        stack.secrets.push(admin.key);
        const put = (model) => s.put('/v1/settings', { model }, as(admin.key));
        assert.equal((await put('unpriced-model')).status, 200);
        const refused = await s.ask('what is it?', {}, as(key));
        assertError(refused, 403);
        assert.equal(refused.json.error.error_code, 'PRICE_UNKNOWN');
        assert.match(refused.json.error.message, /\[prices\].*"unpriced-model"/);
        assert.equal((await ask()).status, 403);
        await set(stack, id, '--budget', '0');
        assert.equal((await ask()).status, 200, 'without a budget nobody need count');
        assert.equal((await put('fake-model')).status, 200);
    });

    s.test('prompts at once share what is left', async (t, stack) => {
        /* Each is estimated at 1004 microdollars, and costs less than a tenth of that. */
        const { id, key } = await makeKey(stack, '--budget', '0.0051');
        stack.secrets.push(key);
        s.fake.hold();
        const ask = (i) => s.ask(`of many, ${i}`, { priority: 'LOW' }, as(key));
        let refused = 0;
        const asked = Array.from({ length: 9 }, async (_, i) => {
            const res = await ask(i);
            refused += res.status === 429;
            return res;
        });
        await until('some are refused', () => refused === 4);
        s.fake.release();
        const all = await Promise.all(asked);
        const statuses = all.map((res) => res.status).sort();
        assert.deepEqual(statuses, [...Array(5).fill(200), ...Array(4).fill(429)]);
        for (const res of all.filter((r) => r.status === 429)) {
            assert.match(res.json.error.message, /prompts that wait or run may take 0\.00\d+/);
            assert.equal(res.headers['retry-after'], '1', 'they may end in a moment');
        }
        assert.ok((await spent(stack, id)) < 0.0051);
        assert.equal((await ask('again')).status, 200, 'what was not spent is there again');
    });

    s.test('kill -9 of the coordinator in the middle of a call counts what it may have cost', async (t, stack) => {
        const { id, key } = await makeKey(stack, '--budget', '0.0015');
        stack.secrets.push(key);
        s.fake.next('hang');
        const before = s.fake.calls.length;
        const cut = s.ask('cut off', { request_id: 'cut-off' }, as(key));
        await until('it is sent', () => s.fake.calls.length > before);
        process.kill(stack.coordinatorPid(), 'SIGKILL');
        assert.equal((await cut).status, 424);
        await until('it is counted', async () => (await spent(stack, id)) > 0.001);
        assertError(await s.ask('one more', {}, as(key)), 429);
    });

    s.test('no endpoint tells what a key spends', async (t, stack) => {
        const { id, key } = await makeKey(stack, '--role', 'admin', '--budget', '1');
        stack.secrets.push(key);
        assert.equal((await s.ask('paid for', {}, as(key))).status, 200);
        for (const path of ['/metrics', '/stats', '/v1/analytics', '/v1/settings', '/health']) {
            const res = await s.get(path, as(key));
            assert.equal(res.status, 200, path);
            assert.ok(!res.text.includes(id) && !/spent/.test(res.text), path);
        }
    });
});

describe('limits of a key', () => {
    const s = useStack({ env: { ...FAST, CARPOOL_LIMITS_REQUESTS_PER_MINUTE: '3' } });

    s.test('win over those of the configuration, each for itself, from the next prompt on', async (t, stack) => {
        assert.equal((await s.ask('so that a coordinator runs, which stays')).status, 200);
        const tight = await makeKey(stack, '--requests-per-minute', '1');
        const wide = await makeKey(stack, '--requests-per-minute', '40');
        const plain = await makeKey(stack);
        stack.secrets.push(tight.key, wide.key, plain.key);
        const ask = (k) => s.ask('what may I?', {}, as(k.key));
        assert.equal((await ask(tight)).headers['x-ratelimit-limit-requests'], '1');
        const refused = await ask(tight);
        assertError(refused, 429);
        assert.match(refused.json.error.message, /Your API key may ask for 1 requests a minute \(this key's own limit\)/);
        await inParallel(10, 5, async () => assert.equal((await ask(wide)).status, 200));
        assert.equal((await ask(plain)).headers['x-ratelimit-limit-requests'], '3');
        await until('the configured limit is reached', async () => {
            const res = await ask(plain);
            if (res.status === 429) assert.match(res.json.error.message, /3 requests a minute \(limits\.requests_per_minute\)/);
            return res.status === 429;
        });
        await set(stack, tight.id, '--requests-per-minute', '6000');
        await until('the new limit lets it in', async () => (await ask(tight)).headers['x-ratelimit-limit-requests'] === '6000');
        await set(stack, wide.id, '--tokens-per-minute', '10');
        const small = await ask(wide);
        assert.equal(small.headers['x-ratelimit-limit-tokens'], '10');
    });
});
