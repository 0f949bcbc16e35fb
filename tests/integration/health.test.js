'use strict';
/* GET /health: its shape, and that it answers however busy, broken or asleep the rest is. */
const { describe } = require('node:test');
const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { ctl } = require('./ctl');
const { useStack, until, assertError, STRETCH } = require('./harness');

describe('shape', () => {
    const s = useStack({ env: { LLM_APP_NAME: 'my-pool' } });

    s.test('before the first prompt the coordinator is not needed', async () => {
        const { json } = await s.get('/health');
        assert.deepEqual([json.status, json.dependencies.coordinator.status], ['ok', 'idle']);
    });

    s.test('everything in order', async () => {
        await s.ask('wake up', { priority: 'HIGH' });
        const res = await until('/health has noticed', async () => {
            const r = await s.get('/health');
            return r.json.dependencies.coordinator.status === 'ok' && r;
        });
        assert.equal(res.status, 200);
        assert.equal(res.json.status, 'ok');
        assert.equal(res.json.service, 'my-pool');
        assert.match(res.json.version, /^\d+\.\d+/);
        const { dependencies } = res.json;
        assert.deepEqual(Object.keys(dependencies).sort(), ['coordinator', 'kafka', 'provider', 'redis', 'store']);
        assert.deepEqual(
            ['coordinator', 'store', 'provider', 'redis', 'kafka'].map((name) => dependencies[name].status),
            ['ok', 'ok', 'ok', 'disabled', 'disabled'],
        );
        assert.match(res.text, /mock/, 'it says that the mock answers');
    });

    s.test('other methods', async () => {
        const res = await s.request('POST', '/health', { body: {} });
        assertError(res, 405);
        assert.match(res.headers.allow, /GET/);
    });
});

describe('a provider without its key', () => {
    const s = useStack({ env: { CARPOOL_PROVIDER_KIND: 'openai' } });

    s.test('is told as a warning, until there is one', async () => {
        const warnings = async () => (await s.get('/health')).json.warnings.join(' ');
        assert.match(await warnings(), /needs a key/, 'while no coordinator runs');
        assert.equal((await s.put('/v1/settings', { base_url: 'http://127.0.0.1:9/v1' })).status, 200);
        await until('a server of one\'s own needs none', async () => (await warnings()) === '');
        assert.equal((await s.put('/v1/settings', { base_url: '' })).status, 200);
        await until('OpenAI does', async () => /needs a key/.test(await warnings()));
        assert.equal((await s.put('/v1/settings', { api_key: s.secrets[0] })).status, 200);
        await until('there is one', async () => (await warnings()) === '');
    });
});

describe('while every prompt thread waits', () => {
    const s = useStack({
        provider: 'openai',
        env: {
            CARPOOL_WORKER_PROCESSES: '2',
            CARPOOL_WORKER_THREADS: '4',
            CARPOOL_PROVIDER_TIMEOUT_MS: '60000',
            CARPOOL_BATCH_HIGH_WINDOW_MS: '20',
        },
    });

    s.test('management answers in well under a second', async () => {
        s.fake.hold();
        const prompts = Array.from({ length: 24 }, (_, i) => s.ask(`busy ${i}`, { priority: 'HIGH' }));
        await until('as many prompts are in as there are threads', async () => (await s.get('/stats')).json.in_flight === 8);
        for (const target of ['/health', '/v1/settings', '/v1/analytics', '/stats', '/metrics', '/v1/chat', '/health']) {
            const res = await s.get(target, { fresh: true });
            assert.equal(res.status, 200, res.text);
            assert.ok(res.ms < 500 * STRETCH, `${target} took ${res.ms} ms`);
        }
        s.fake.release();
        assert.ok((await Promise.all(prompts)).every((res) => res.status === 200));
    });
});

describe('too many', () => {
    const s = useStack({
        provider: 'openai',
        env: { CARPOOL_LIMITS_WAITING_MAX: '6', CARPOOL_WORKER_PROCESSES: '1', CARPOOL_BATCH_HIGH_WINDOW_MS: '20' },
    });

    s.test('above waiting_max the newest are refused at once, with Retry-After; the others are served', async () => {
        s.fake.hold();
        let over = 0;
        const asked = Array.from({ length: 20 }, async (_, i) => {
            const res = await s.ask(`crowd ${i}`, { priority: 'HIGH' });
            over += res.status !== 200;
            return res;
        });
        await until('all but six are refused', () => over === 14);
        s.fake.release();
        const results = await Promise.all(asked);
        const served = results.filter((res) => res.status === 200);
        const refused = results.filter((res) => res.status !== 200);
        assert.equal(served.length, 6);
        for (const res of refused) {
            assertError(res, 503);
            assert.match(res.headers['retry-after'], /^\d+$/);
            assert.ok(res.ms < 500 * STRETCH, `${res.ms}`);
        }
        assert.equal((await s.get('/health')).json.status, 'ok');
        s.fake.reset();
        assert.equal((await s.ask('afterwards', { priority: 'HIGH' })).status, 200);
        assert.equal((await s.chats()).length, 7, 'what was refused left nothing behind');
    });
});

describe('a full queue', () => {
    const s = useStack({
        provider: 'openai',
        env: { CARPOOL_LIMITS_QUEUE_MAX: '5', CARPOOL_BATCH_LOW_WINDOW_MS: '20000', CARPOOL_BATCH_LOW_MAX_BATCH: '50' },
    });

    s.test('refuses the newest, keeps the oldest', async () => {
        const first = Array.from({ length: 5 }, (_, i) => s.ask(`queued ${i}`, { priority: 'LOW' }));
        await until('they wait', async () => (await s.get('/stats')).json.queue.low.depth === 5);
        const late = await s.ask('late', { priority: 'LOW' });
        assert.ok([429, 503].includes(late.status), late.text);
        assertError(late, late.status);
        assert.match(late.headers['retry-after'], /^\d+$/);
        assert.equal((await s.put('/v1/settings', { low_priority: { window_ms: 0 } })).status, 200);
        assert.ok((await Promise.all(first)).every((res) => res.status === 200));
    });
});

describe('asleep', () => {
    const s = useStack({ env: { CARPOOL_COORDINATOR_IDLE_EXIT_S: '1' } });

    s.test('an idle coordinator leaves, /health says so, the next prompt brings one back', async () => {
        const pid = await until('one runs', async () => {
            await s.ask('good night', { priority: 'HIGH' });
            return s.coordinatorPid();
        });
        await until('it left', () => s.coordinatorPid() === null, 8000);
        const res = await until('/health has noticed', async () => {
            const r = await s.get('/health');
            return r.json.dependencies.coordinator.status === 'idle' && r;
        });
        assert.equal(res.status, 200, res.text);
        assert.equal(res.json.status, 'ok');
        assert.deepEqual((await s.post('/query', { query: 'wake up' }, { headers: { 'X-Priority': 'high' } })).json, {
            result: 'Processed: wake up',
        });
        assert.notEqual(s.coordinatorPid(), pid);
    });
});

describe('a start that failed', () => {
    const s = useStack({ env: { CARPOOL_COORDINATOR_IDLE_EXIT_S: '1' } });

    s.test('is told with its reason by every process, until one succeeds', async () => {
        const coordinator = async () => (await s.get('/health')).json.dependencies.coordinator;
        const file = path.join(s.dir, 'carpool.conf');
        const good = fs.readFileSync(file, 'utf8');
        const note = path.join(s.storage, 'coordinator.failed');
        /* Who answers has read its configuration; /health comes from the other pool. */
        await s.ask('before', { priority: 'HIGH' });
        await until('it left', () => s.coordinatorPid() === null, 8000);
        fs.writeFileSync(file, `${good}\n[batch]\nnonsense = 1\n`);
        const refused = await s.ask('to nobody', { priority: 'HIGH' }, { check: false });
        assert.equal(refused.status, 503, refused.text);
        assert.match(refused.text, /nonsense/);
        const health = await until('/health has noticed', async () => {
            const r = await s.get('/health');
            return r.json.status !== 'ok' && r;
        });
        /* Not 503: a balancer that sends no prompts would keep it so. */
        assert.deepEqual([health.status, health.json.status], [200, 'degraded']);
        assert.equal(health.json.dependencies.coordinator.status, 'down');
        assert.match(health.json.dependencies.coordinator.reason, /did not start: .*nonsense/);
        assert.equal(fs.statSync(note).mode & 0o777, 0o600);
        fs.writeFileSync(file, good);
        const status = await ctl(s, ['status', '--json']);
        assert.equal(status.status, 5, status.err);
        assert.match(status.out, /did not start: .*nonsense/);
        /* For 200 ms what a start came to is told to whoever asks next. */
        await until('it is tried again', async () => {
            const res = await s.ask('to somebody', { priority: 'HIGH' }, { check: false });
            assert.ok(res.status === 200 || /nonsense/.test(res.text), res.text);
            return res.status === 200;
        });
        /* Asked for each time, since it leaves a second later. */
        await until('one runs', async () => {
            assert.equal((await s.ask('to it', { priority: 'HIGH' })).status, 200);
            return (await coordinator()).status === 'ok';
        });
        assert.ok(!fs.existsSync(note));
        await until('it left', () => s.coordinatorPid() === null, 8000);
        await until('it is missed by nobody', async () => (await coordinator()).status === 'idle');
    });
});

describe('a provider that is away', () => {
    const s = useStack({
        provider: 'openai',
        env: {
            CARPOOL_BATCH_HIGH_WINDOW_MS: '5',
            CARPOOL_PROVIDER_BASE_URL: 'http://127.0.0.1:9/v1',
            CARPOOL_RETRY_ATTEMPTS: '2',
            CARPOOL_RETRY_CAP_MS: '50',
        },
    });

    s.test('prompts get 503 with Retry-After, /health says what is wrong', async () => {
        const res = await s.ask('anybody there?', { priority: 'HIGH', request_id: 'away-1' });
        assertError(res, 503);
        assert.match(res.headers['retry-after'] ?? '', /^\d+$/);
        const { json } = await until('/health has noticed', async () => {
            const r = await s.get('/health');
            return r.json.status !== 'ok' && r;
        });
        assert.deepEqual([json.status, json.dependencies.provider.status], ['degraded', 'down']);
        assert.ok(json.dependencies.provider.reason.length > 10, json.dependencies.provider.reason);
        assertError(await s.ask('anybody there?', { priority: 'HIGH', request_id: 'away-1' }), 503);
    });
});

describe('a model server that answers prompts, whatever it says of itself', () => {
    const s = useStack({ provider: 'openai', env: { CARPOOL_BATCH_HIGH_WINDOW_MS: '5' } });
    const provider = async () => (await s.get('/health')).json.dependencies.provider;

    s.test('is there once it has answered', async () => {
        s.fake.health = { status: 500, body: {} };
        assert.equal((await s.put('/v1/settings', { model: 'another' })).status, 200, 'so that it is asked');
        await until('/health has noticed', async () => /answers with HTTP 500/.test((await provider()).reason), 8000);
        assert.equal((await s.ask('well?', { priority: 'HIGH' })).status, 200);
        await until('/health has noticed', async () => (await provider()).status === 'ok', 3000);
    });
});
