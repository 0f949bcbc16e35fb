'use strict';
/* GET and PUT /v1/settings: shape, masking, validation, in force at once everywhere, kept across restarts. */
const { describe } = require('node:test');
const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { useStack, until, inParallel, assertError, PROVIDER_KEY } = require('./harness');

const NEW_KEY = 'AIza-second-canary-key-42c9';
const priorityOf = ({ tokens, latency_ms, window_ms, max_batch, policy }) => [
    tokens,
    latency_ms,
    window_ms,
    max_batch,
    policy,
];

describe('shape and validation', () => {
    const s = useStack({ provider: 'openai', env: { CARPOOL_BATCH_HIGH_WINDOW_MS: undefined } });

    s.test("source 2's shape and defaults, the key masked", async () => {
        const { json } = await s.get('/v1/settings');
        assert.equal(json.api_key, `***${PROVIDER_KEY.slice(-4)}`);
        assert.deepEqual(priorityOf(json.high_priority), [1000, 500, 200, 6, 'window']);
        assert.deepEqual(priorityOf(json.medium_priority), [5000, 2000, 1000, 4, 'window']);
        assert.deepEqual(priorityOf(json.low_priority), [10000, 5000, 4000, 4, 'window']);
        assert.deepEqual(
            [json.provider, json.model, json.base_url],
            ['openai', 'fake-model', s.fake.baseUrl('openai')],
        );
    });

    s.test('PUT changes what it names and nothing else', async () => {
        const before = (await s.get('/v1/settings')).json;
        const res = await s.put('/v1/settings', {
            high_priority: { tokens: 1234 },
            low_priority: { window_ms: 3000, policy: 'adaptive' },
        });
        assert.equal(res.status, 200, res.text);
        before.high_priority.tokens = 1234;
        Object.assign(before.low_priority, { window_ms: 3000, policy: 'adaptive' });
        assert.deepEqual(res.json, before);
        assert.deepEqual((await s.get('/v1/settings')).json, before);
        assert.deepEqual((await s.put('/v1/settings', {})).json, before, 'an empty body changes nothing');
    });

    s.test('one wrong member: 400 with its name, and nothing is saved', async () => {
        const before = (await s.get('/v1/settings')).text;
        const wrong = [
            [{ colour: 1 }, 'colour'],
            [{ high_priority: { tokens: 5, speed: 1 } }, 'high_priority.speed'],
            [{ high_priority: 5 }, 'high_priority'],
            [{ high_priority: { tokens: '5' } }, 'high_priority.tokens'],
            [{ high_priority: { tokens: 0 } }, 'high_priority.tokens'],
            [{ high_priority: { tokens: -1 } }, 'high_priority.tokens'],
            [{ high_priority: { tokens: 1.5 } }, 'high_priority.tokens'],
            [{ high_priority: { tokens: 1e18 } }, 'high_priority.tokens'],
            [{ low_priority: { latency_ms: -5 } }, 'low_priority.latency_ms'],
            [{ low_priority: { max_batch: 0 } }, 'low_priority.max_batch'],
            [{ low_priority: { max_batch: 1e7 } }, 'low_priority.max_batch'],
            [{ low_priority: { window_ms: -1 } }, 'low_priority.window_ms'],
            [{ low_priority: { policy: 'greedy' } }, 'low_priority.policy'],
            [{ provider: 'oracle' }, 'provider'],
            [{ model: 7 }, 'model'],
            [{ model: 'm'.repeat(1000) }, 'model'],
            [{ api_key: 5 }, 'api_key'],
            [{ api_key: 'a\r\nX-Evil: 1' }, 'api_key'],
            [{ base_url: 'ftp://example.org' }, 'base_url'],
            [{ base_url: 'nonsense' }, 'base_url'],
            [{ base_url: 'http://user:pw@127.0.0.1/' }, 'base_url'],
            [{ base_url: 'http://example.org/v1' }, 'base_url'],
        ];
        for (const [body, field] of wrong)
            assertError(await s.put('/v1/settings', { medium_priority: { tokens: 77 }, ...body }), 400, { field });
        for (const body of [[], 'text', 5, null]) assertError(await s.put('/v1/settings', JSON.stringify(body)), 400);
        assertError(await s.request('POST', '/v1/settings', { body: {} }), 405);
        assert.equal((await s.get('/v1/settings')).text, before);
    });
});

describe('in force at once', () => {
    const s = useStack({ provider: 'openai' });

    s.test('every worker process answers with the new values', async () => {
        for (let round = 1; round <= 5; round++) {
            await s.put('/v1/settings', { high_priority: { latency_ms: 500 + round } });
            await inParallel(16, 8, async () => {
                assert.equal((await s.get('/v1/settings', { fresh: true })).json.high_priority.latency_ms, 500 + round);
            });
        }
    });

    s.test('the next prompt rides under them: tokens, size, window, policy, model', async () => {
        for (const tokens of [101, 202, 303]) {
            await s.put('/v1/settings', { high_priority: { tokens, window_ms: 1 } });
            await inParallel(4, 1, (i) => s.ask(`tokens ${tokens} ${i}`, { priority: 'HIGH' }));
            assert.deepEqual(
                s.fake.callsWith(`tokens ${tokens}`).map((c) => c.maxTokens),
                Array(4).fill(tokens),
            );
        }
        const long = 20000;
        await s.put('/v1/settings', { high_priority: { window_ms: long, max_batch: 2 } });
        const pair = await Promise.all([1, 2].map((i) => s.ask(`pair ${i}`, { priority: 'HIGH' })));
        assert.ok(
            pair.every((res) => res.ms < 1000),
            'a full batch of the new size leaves at once',
        );
        await s.put('/v1/settings', { high_priority: { window_ms: 400 } });
        const alone = await s.ask('alone', { priority: 'HIGH' });
        assert.ok(alone.ms >= 395 && alone.ms < 1500, `the new window: ${alone.ms}`);
        await s.put('/v1/settings', { high_priority: { window_ms: long, policy: 'adaptive' }, model: 'other-model' });
        const quick = await s.ask('quick', { priority: 'HIGH' });
        assert.ok(quick.ms < 1000, `adaptive: ${quick.ms}`);
        assert.equal(quick.json.model, 'other-model');
        assert.equal(s.fake.calls.at(-1).model, 'other-model');
    });

    s.test('another provider and key', async () => {
        s.secrets.push(NEW_KEY);
        const res = await s.put('/v1/settings', {
            provider: 'gemini',
            base_url: s.fake.url,
            model: 'gem-1',
            api_key: NEW_KEY,
        });
        assert.equal(res.status, 200, res.text);
        assert.deepEqual(
            [res.json.provider, res.json.base_url, res.json.model, res.json.api_key],
            ['gemini', s.fake.url, 'gem-1', '***42c9'],
        );
        assert.ok(!res.text.includes(NEW_KEY));
        assert.equal((await s.ask('to gemini', { priority: 'HIGH' })).json.text, 'Answer to: to gemini');
        const [call] = s.fake.calls;
        assert.deepEqual([call.dialect, call.model, call.headers['x-goog-api-key']], ['gemini', 'gem-1', NEW_KEY]);
        assert.ok(!call.path.includes(NEW_KEY));
    });

    s.test('the key stands in one private file and nowhere else', async () => {
        const file = path.join(s.storage, 'provider.key');
        assert.equal(fs.statSync(file).mode & 0o777, 0o600);
        assert.equal(fs.readFileSync(file, 'utf8'), `${NEW_KEY}\n${(await s.get('/v1/settings')).json.provider}\n${s.fake.url}\n`);
        assert.equal(fs.statSync(s.storage).mode & 0o077, 0);
        assert.deepEqual(s.filesWith(NEW_KEY), [path.join('s', 'provider.key')]);
        for (const target of ['/v1/settings', '/v1/chat', '/v1/analytics', '/health'])
            assert.ok(!(await s.get(target)).text.includes(NEW_KEY), target);
    });

    for (const signal of ['SIGTERM', 'SIGKILL']) {
        s.test(`they survive the coordinator's ${signal}`, async () => {
            const before = (await s.get('/v1/settings')).json;
            const pid = s.coordinatorPid();
            process.kill(pid, signal);
            await until(
                'another coordinator serves',
                async () =>
                    s.coordinatorPid() !== pid && (await s.ask(`after ${signal}`, { priority: 'HIGH' })).status === 200,
                10000,
            );
            assert.deepEqual((await s.get('/v1/settings')).json, before);
            assert.equal(s.fake.calls.at(-1).headers['x-goog-api-key'], NEW_KEY);
        });
    }

    s.test('an empty key removes the one that was put', async () => {
        const res = await s.put('/v1/settings', { api_key: '' });
        assert.equal(res.status, 200, res.text);
        assert.deepEqual(s.filesWith(NEW_KEY), []);
    });
});

describe('a key alone', () => {
    const s = useStack({ env: { CARPOOL_PROVIDER_KIND: undefined } });

    s.test('selects gemini where no provider was ever chosen', async () => {
        assert.equal((await s.get('/v1/settings')).json.provider, 'mock');
        assert.equal((await s.get('/v1/settings')).json.api_key, '');
        s.secrets.push(NEW_KEY);
        const res = await s.put('/v1/settings', { api_key: NEW_KEY });
        assert.equal(res.json.provider, 'gemini');
        assert.equal(res.json.api_key, '***42c9');
        assert.equal((await s.put('/v1/settings', { provider: 'mock' })).json.provider, 'mock');
        assert.deepEqual(
            (await s.post('/query', { query: 'mock again' }, { headers: { 'X-Priority': 'high' } })).json,
            { result: 'Processed: mock again' },
        );
    });
});
