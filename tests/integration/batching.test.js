'use strict';
/* Which prompts share a call and when it leaves (api.md "Batching", source document 2). Sensitive to time. */
const { describe } = require('node:test');
const assert = require('node:assert/strict');
const { performance } = require('node:perf_hooks');
const { useStack, inParallel, sleep, until, STRETCH } = require('./harness');

const many = (s, n, tag, more) => Array.from({ length: n }, (_, i) => s.ask(`${tag} number ${i}`, more));
const checkAnswers = (results) =>
    results.forEach((res) => {
        assert.equal(res.status, 200, res.text);
        assert.match(res.json.text, /^Answer to: \S+ number \d+$/);
    });

/* What the coordinator says about the batches of these results: [{n, reason, waited_ms}], in order of dispatch. */
async function dispatches(s, results) {
    const ids = new Set(results.map((res) => res.json.batch_id));
    const events = () => s.events().filter((e) => e.event === 'DISPATCH' && ids.has(e.batch_id));
    await until('every dispatch is in the event log', () => events().length === ids.size);
    return events();
}

/* Sends n prompts at once; their calls, the sizes of these, and what the event log says of their batches. */
async function volley(s, n, tag, more) {
    const start = performance.now();
    const results = await Promise.all(many(s, n, tag, more));
    checkAnswers(results);
    const calls = s.fake.callsWith(`${tag} `);
    return {
        results,
        calls,
        sizes: calls.map((c) => c.members.length),
        left: calls.map((c) => c.at - start),
        batches: await dispatches(s, results),
    };
}
const between = (value, from, to, what) =>
    assert.ok(value >= from && value <= to * STRETCH, `${what}: ${value.toFixed(1)}, not ${from} to ${to * STRETCH}`);

/* A batch that left when its oldest prompt had waited the window. The clock of this process allows for a busy
 * machine, the coordinator's own does not. */
function leftByWindow({ batches, left, sizes }, i, n, window) {
    assert.deepEqual([sizes[i], batches[i].n, batches[i].reason], [n, n, 'window']);
    between(batches[i].waited_ms, window, window + 120, 'waited');
    between(left[i], window - 5, window + 1000, 'left');
}
/* One that was full and left at once: its oldest prompt only waited for the last one to arrive. */
function leftFull({ batches, left, sizes }, i, n) {
    assert.deepEqual([sizes[i], batches[i].n, batches[i].reason], [n, n, 'full']);
    between(batches[i].waited_ms, 0, 150, 'waited');
    between(left[i], 0, 900, 'left');
}

describe("source 2's windows and sizes", () => {
    const s = useStack({ provider: 'openai' });

    s.test('3 HIGH, 3 MEDIUM and 2 LOW sent together make exactly 3 calls', async () => {
        const plan = [
            [3, 'HIGH', 200],
            [3, 'MEDIUM', 1000],
            [2, 'LOW', 4000],
        ];
        const start = performance.now();
        const all = await Promise.all(
            plan.flatMap(([n, priority]) => many(s, n, priority.toLowerCase(), { priority })),
        );
        checkAnswers(all);
        assert.equal(s.fake.calls.length, 3);
        for (const [n, priority, window] of plan) {
            const [call] = s.fake.callsWith(`${priority.toLowerCase()} `);
            assert.deepEqual(
                call.members.map((m) => m.prompt).sort(),
                Array.from({ length: n }, (_, i) => `${priority.toLowerCase()} number ${i}`),
            );
            const results = all.filter((res) => res.json.text.includes(`${priority.toLowerCase()} `));
            leftByWindow(
                { batches: await dispatches(s, results), left: [call.at - start], sizes: [call.members.length] },
                0,
                n,
                window,
            );
        }
        assert.equal(new Set(all.map((res) => res.json.batch_id)).size, 3);
    });

    s.test('6 HIGH at once, 5 after 0.2 s, 3 LOW after 4 s, 4 LOW at once', async () => {
        const low = volley(s, 3, 'waiting', { priority: 'LOW' });
        await until(
            'they are in',
            () => s.events().filter((e) => e.event === 'ENQUEUE' && e.priority === 'LOW').length >= 5,
        );
        leftFull(await volley(s, 6, 'full', { priority: 'HIGH' }), 0, 6);
        leftByWindow(await volley(s, 5, 'five', { priority: 'HIGH' }), 0, 5, 200);
        leftFull(await volley(s, 4, 'medium', { priority: 'MEDIUM' }), 0, 4);
        leftByWindow(await low, 0, 3, 4000);
        leftFull(await volley(s, 4, 'four', { priority: 'LOW' }), 0, 4);
    });

    s.test('more than a batch: full ones leave, the rest waits its window', async () => {
        const fourteen = await volley(s, 14, 'fourteen', { priority: 'HIGH' });
        leftFull(fourteen, 0, 6);
        leftFull(fourteen, 1, 6);
        assert.deepEqual([fourteen.sizes[2], fourteen.batches[2].reason], [2, 'window']);
        between(fourteen.batches[2].waited_ms, 200, 320, 'the rest');
    });

    s.test('users and metadata do not keep prompts apart', async () => {
        const results = await Promise.all(
            [1, 2, 3].map((i) =>
                s.post('/v1/query', {
                    username: `user-${i}`,
                    metadata: { i },
                    prompt: `mixed number ${i}`,
                    priority: 'HIGH',
                }),
            ),
        );
        checkAnswers(results);
        assert.deepEqual(
            results.map((res) => res.json.username),
            ['user-1', 'user-2', 'user-3'],
        );
        assert.equal(s.fake.calls.length, 1);
    });

    s.test('shares of the usage add up to the whole', async () => {
        const { results, calls } = await volley(s, 6, 'shared', { priority: 'HIGH' });
        const shares = results.map((res) => res.json.tokens_used);
        assert.ok(
            shares.every((n) => Number.isInteger(n) && n > 0),
            String(shares),
        );
        assert.equal(
            shares.reduce((a, b) => a + b),
            calls[0].tokens,
        );
    });

    s.test('a combined call: random ids, an instruction that differs by priority, tokens for all', async () => {
        await Promise.all([
            ...many(s, 2, 'first', { priority: 'HIGH' }),
            ...many(s, 2, 'second', { priority: 'MEDIUM' }),
        ]);
        const [high] = s.fake.callsWith('first ');
        const [medium] = s.fake.callsWith('second ');
        assert.notEqual(
            high.system.replaceAll(/[a-z0-9]{8,11}/gi, ''),
            medium.system.replaceAll(/[a-z0-9]{8,11}/gi, ''),
        );
        const ids = [...high.members, ...medium.members].map((m) => m.id);
        assert.equal(new Set(ids).size, 4);
        between(high.maxTokens, 2 * 1000, 3 * 1000, 'tokens for two HIGH answers and the JSON around them');
        between(medium.maxTokens, 2 * 5000, 3 * 5000, 'tokens for two MEDIUM answers');
        for (const call of [high, medium])
            assert.equal(call.headers.authorization, 'Bearer sk-integration-canary-key-7f3a');
        await volley(s, 2, 'again', { priority: 'HIGH' });
        assert.ok(
            s.fake.callsWith('again ')[0].members.every((m) => !ids.includes(m.id)),
            'ids are made anew',
        );
    });
});

describe('adaptive', () => {
    const s = useStack({
        provider: 'openai',
        env: { CARPOOL_BATCH_LOW_POLICY: 'adaptive', CARPOOL_BATCH_HIGH_POLICY: 'adaptive' },
    });

    s.test('leaves at once while the provider is idle, gathers while it works', async () => {
        const {
            batches: [alone],
        } = await volley(s, 1, 'alone', { priority: 'LOW' });
        assert.equal(alone.reason, 'idle');
        between(alone.waited_ms, 0, 100, 'an idle provider is asked at once');
        s.fake.next({ ms: 400 });
        const first = s.ask('busy number 0', { priority: 'HIGH' });
        await s.fake.waitForCalls(2);
        const start = performance.now();
        const rest = await Promise.all([1, 2, 3].map((i) => s.ask(`busy number ${i}`, { priority: 'LOW' })));
        checkAnswers([await first, ...rest]);
        assert.equal(s.fake.calls.length, 3, 'what came meanwhile shares one call');
        assert.equal(s.fake.calls[2].members.length, 3);
        between(s.fake.calls[2].at - start, 100, 700, 'it left when the call before it had ended');
    });
});

describe('concurrent', () => {
    const s = useStack({
        provider: 'openai',
        env: { CARPOOL_PROVIDER_MODE: 'concurrent', CARPOOL_PROVIDER_MAX_CONCURRENCY: '4' },
    });

    s.test('one call each, at most max_concurrency at a time', async () => {
        s.fake.latencyMs = 100;
        const { results, sizes } = await volley(s, 18, 'each', { priority: 'HIGH' });
        assert.deepEqual(sizes, Array(18).fill(1));
        assert.ok(s.fake.calls.every((call) => !call.combined));
        assert.equal(s.fake.runningMost, 4);
        assert.equal(new Set(results.map((res) => res.json.text)).size, 18);
    });
});

describe('slots', () => {
    const s = useStack({
        provider: 'openai',
        env: { CARPOOL_PROVIDER_MAX_CONCURRENCY: '3', CARPOOL_BATCH_LOW_WINDOW_MS: '50' },
    });

    s.test('LOW holds at most N-2 of them and MEDIUM N-1; HIGH finds one free', async () => {
        s.fake.latencyMs = 300;
        const flood = (priority) =>
            inParallel(12, 12, async (i) => checkAnswers([await s.ask(`${priority} number ${i}`, { priority })]));
        const most = (calls) =>
            Math.max(...calls.map((a) => calls.filter((b) => b.at <= a.at && b.doneAt > a.at + 20).length));
        await flood('LOW');
        assert.equal(most(s.fake.callsWith('LOW ')), 1);
        const medium = flood('MEDIUM');
        await s.fake.waitForCalls(s.fake.callsWith('LOW ').length + 2);
        const high = await volley(s, 6, 'high', { priority: 'HIGH' });
        leftFull(high, 0, 6);
        await medium;
        assert.equal(most(s.fake.callsWith('MEDIUM ')), 2);
    });
});

describe('when everybody waits', () => {
    const small = { CARPOOL_WORKER_PROCESSES: '1', CARPOOL_WORKER_THREADS: '3' };
    const s = useStack({ provider: 'openai', env: small });

    s.test('nobody is left to join: no need to wait for the window', async () => {
        const {
            sizes,
            batches: [batch],
        } = await volley(s, 3, 'all', { priority: 'LOW' });
        assert.deepEqual([sizes, batch.reason], [[3], 'all_wait']);
        between(batch.waited_ms, 0, 900, '3 LOW in a pool of 3');
    });
});

describe("source 2's rule alone", () => {
    const s = useStack({
        provider: 'openai',
        env: { CARPOOL_WORKER_PROCESSES: '1', CARPOOL_WORKER_THREADS: '2', CARPOOL_BATCH_FLUSH_WHEN_ALL_WAIT: 'off' },
    });

    s.test('with flush_when_all_wait off the window is waited for', async () => {
        leftByWindow(await volley(s, 2, 'off', { priority: 'MEDIUM' }), 0, 2, 1000);
    });
});
