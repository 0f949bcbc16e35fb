'use strict';
/* A provider that is down: after some failures in a row it is left alone and clients hear so at once, with the
 * time to come back; what was promised waits; and it is noticed when it is up again. */
const { describe } = require('node:test');
const assert = require('node:assert/strict');
const { useStack, until, assertError, STRETCH } = require('./harness');

describe('the circuit breaker', () => {
    const s = useStack({
        provider: 'openai',
        env: { CARPOOL_RETRY_ATTEMPTS: '1', CARPOOL_BATCH_HIGH_WINDOW_MS: '10' },
    });

    s.test('opens, says so, and closes by itself', async () => {
        s.fake.when(() => true, { do: 'status', status: 503 });
        for (let i = 0; i < 5; i++) {
            const res = await s.ask(`failing ${i}`, { priority: 'HIGH' });
            assertError(res, 503, 'PROVIDER_UNAVAILABLE');
        }
        const refused = await s.ask('at once', { priority: 'HIGH', request_id: 'refused' });
        assertError(refused, 503, 'PROVIDER_DOWN');
        assert.ok(refused.ms < 200 * STRETCH, `refused after ${refused.ms} ms`);
        assert.match(refused.headers['retry-after'], /^[12]$/);
        assert.equal(s.fake.calls.length, 5, 'nothing was sent');

        const promised = await s.post(
            '/v1/query',
            { prompt: 'promised', priority: 'HIGH', request_id: 'promised' },
            { headers: { Prefer: 'respond-async' } },
        );
        assert.equal(promised.status, 202);
        const health = await until('/health has noticed', async () => {
            const { json } = await s.get('/health');
            return json.status === 'degraded' && json;
        });
        assert.equal(health.dependencies.provider.status, 'down');
        assert.match(health.dependencies.provider.reason, /not available/);

        s.fake.reset();
        const answer = await until('the promised answer', async () => {
            const { json } = await s.get('/v1/requests/promised?wait=1');
            return json.status === 'done' && json;
        });
        assert.equal(answer.response.text, 'Answer to: promised');
        const again = await s.ask('at once', { priority: 'HIGH', request_id: 'refused' });
        assert.equal(again.json.text, 'Answer to: at once', 'the id was left free');
        /* What it says may be a quarter of a second old. */
        await until('/health is well', async () => (await s.get('/health')).json.dependencies.provider.status === 'ok');
    });
});
