'use strict';
/* carpoolctl status, ensure and drain: what runs, that one runs, that none does. */
const { describe, test } = require('node:test');
const assert = require('node:assert/strict');
const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { ROOT, Stack, STRETCH, freePort, isAlive, sleep, until, useStack } = require('./harness');
const { ctl, PROGRAM } = require('./ctl');

const status = async (stack, expected, options) => {
    const result = await ctl(stack, ['status', '--json'], options);
    assert.equal(result.status, expected, `${result.out}${result.err}`);
    assert.equal(result.err, '');
    return result.json;
};

/* carpoolctl without the descriptors 0, 1 and 2. */
const shut = (stack, ...words) =>
    spawnSync('sh', ['-c', 'exec "$@" <&- >&- 2>&-', 'sh', PROGRAM, ...words], { cwd: ROOT, env: stack.environment(), timeout: 60000 * STRETCH });

describe('carpoolctl without standard output', () => {
    const s = useStack({ provider: 'openai' });

    s.test('fails, and writes into nothing else: neither the store nor the coordinator', async (t, stack) => {
        assert.equal((await s.ask('stored', { request_id: 'shut-out' })).status, 200);
        for (const words of [['status'], ['export'], ['backup', '-'], ['settings', 'get'], ['audit', '--json'], ['key', 'list', '--json'], ['ensure', '--json']]) {
            assert.equal(shut(stack, ...words).status, 1, words.join(' '));
            for (const name of ['data.mdb', 'lock.mdb']) {
                const bytes = fs.readFileSync(path.join(stack.storage, name), 'latin1');
                assert.doesNotMatch(bytes, /carpool backup|coordinator pid|"request_id":"shut-out"|low_priority\.|"entries"|"keys"/, `${words.join(' ')}: ${name}`);
            }
        }
        assert.equal((await status(stack, 0)).state, 'ok');
    });
});

describe('carpoolctl status', () => {
    const s = useStack({ provider: 'openai', env: { CARPOOL_BATCH_LOW_WINDOW_MS: '20000' } });

    s.test('tells what runs, waits and is stored, as JSON and as a table', async (t, stack) => {
        assert.equal((await s.ask('stored')).status, 200);
        const waits = s.ask('waits', { priority: 'LOW', request_id: 'status-waits' }, { check: false });
        await until('one waits', async () => (await status(stack, 0)).coordinator.queue.low.waiting === 1);
        await sleep(30);
        const told = await status(stack, 0);
        assert.equal(told.state, 'ok');
        assert.equal(told.coordinator.pid, stack.coordinatorPid());
        assert.equal(told.lock_pid, stack.coordinatorPid());
        assert.ok(told.coordinator.queue.low.oldest_ms >= 30);
        assert.ok(told.coordinator.capacity > 0);
        assert.equal(told.settings.provider, 'openai');
        assert.equal(told.settings.model, 'fake-model');
        assert.equal(told.store.chats, 1);
        assert.equal(told.store.epoch, told.coordinator.epoch);
        assert.ok(told.store.used_bytes > 0 && told.store.used_bytes <= told.store.map_bytes);
        assert.ok(told.store.readers > 0 && told.store.readers < told.store.readers_max);
        assert.deepEqual(told.warnings, []);
        const table = await ctl(stack, ['status']);
        assert.equal(table.status, 0);
        assert.match(table.out, /^state +ok\n/);
        assert.match(table.out, new RegExp(`^coordinator +pid ${stack.coordinatorPid()}, epoch \\d+, up \\d+ s$`, 'm'));
        assert.match(table.out, /^queue +HIGH 0, MEDIUM 0, LOW 1 \(the oldest \d+\.\d s\)$/m);
        assert.match(table.out, /^store +1 chats, .* readers$/m);
        assert.match(table.out, /^redis +disabled$/m);
        await s.put('/v1/settings', { low_priority: { window_ms: 0 } });
        await waits;
    });

    s.test('a provider that is down makes it degraded, and the breaker warns', async (t, stack) => {
        await stack.fake.down();
        try {
            await until('the provider is noticed', async () => {
                await s.ask(`fails ${Math.random()}`, { priority: 'HIGH' }, { check: false });
                return (await ctl(stack, ['status', '--json'])).json.warnings.some((w) => /circuit breaker/.test(w));
            }, 30000);
            const told = await status(stack, 5);
            assert.equal(told.state, 'degraded');
            assert.equal(told.coordinator.provider.status, 'down');
            assert.match((await ctl(stack, ['status'])).out, /^provider +down: .+$/m);
        } finally {
            await stack.fake.up();
        }
    });

    s.test('one that is stopped while it holds the lock is down', async (t, stack) => {
        const pid = stack.coordinatorPid();
        process.kill(pid, 'SIGSTOP');
        try {
            const told = await status(stack, 6);
            assert.equal(told.state, 'down');
            assert.equal(told.coordinator, null);
            assert.equal(told.lock_pid, pid);
            assert.match(told.reason, /did not answer in time/);
        } finally {
            process.kill(pid, 'SIGCONT');
        }
    });
});

/* A storage directory that nothing serves. */
const lone = (name, env, body) =>
    test(name, { timeout: 90000 * STRETCH }, async () => {
        const stack = new Stack({ env });
        stack.port = await freePort();
        fs.mkdirSync(stack.storage, { mode: 0o700 });
        try {
            await body(stack);
        } finally {
            await stack.stop();
        }
    });

describe('carpoolctl ensure and drain', () => {
    lone('from nothing to one that runs, to none', {}, async (stack) => {
        assert.equal((await status(stack, 0)).state, 'idle');
        const made = await ctl(stack, ['ensure']);
        assert.deepEqual([made.status, made.out, made.err], [0, '', '']);
        const pid = stack.coordinatorPid();
        assert.ok(pid, 'it stays');
        const again = await ctl(stack, ['ensure', '--json']);
        assert.deepEqual([again.status, again.json.pid, again.json.started], [0, pid, false]);
        assert.equal((await status(stack, 0)).coordinator.pid, pid);
        const drained = await ctl(stack, ['drain', '--json']);
        assert.deepEqual([drained.status, drained.json.drained, drained.json.pid], [0, true, pid], drained.err);
        assert.ok(!isAlive(pid) || !stack.coordinatorPid());
        const nothing = await ctl(stack, ['drain']);
        assert.deepEqual([nothing.status, nothing.err], [0, 'carpoolctl: No coordinator runs.\n']);
        const third = await ctl(stack, ['ensure', '--json']);
        assert.deepEqual([third.status, third.json.started], [0, true]);
    });

    lone('where another program has to start it, ensure says so', { CARPOOL_COORDINATOR_AUTOSTART: 'off' }, async (stack) => {
        const refused = await ctl(stack, ['ensure']);
        assert.equal(refused.status, 1);
        assert.match(refused.err, /coordinator\.autostart is off\.\n$/);
        assert.match((await status(stack, 6)).reason, /autostart is off/);
        assert.ok(!fs.existsSync(path.join(stack.storage, 'coordinator.lock')), 'looking starts nothing');
    });

    lone('ensure gives up on one that hangs, and drain within its time', {}, async (stack) => {
        assert.equal((await ctl(stack, ['ensure'])).status, 0);
        const pid = stack.coordinatorPid();
        process.kill(pid, 'SIGSTOP');
        try {
            const begun = Date.now();
            const refused = await ctl(stack, ['ensure', '--timeout', '2s']);
            assert.equal(refused.status, 1);
            assert.ok(Date.now() - begun < 30000 * STRETCH);
            const late = await ctl(stack, ['drain', '--timeout', '1s']);
            assert.equal(late.status, 1, late.err);
            assert.match(late.err, /has not left in time/);
        } finally {
            process.kill(pid, 'SIGCONT');
        }
        await until('it leaves, as it was told', () => !stack.coordinatorPid());
    });

    test('drain waits for what runs, with a word on how far it is, and asks once only', { timeout: 90000 * STRETCH }, async () => {
        const stack = await Stack.start({ provider: 'openai', env: { CARPOOL_BATCH_HIGH_WINDOW_MS: '10' } });
        try {
            stack.fake.when(() => true, { ms: 6000 });
            const answer = stack.ask('drain-runs', { priority: 'HIGH', request_id: 'drain-runs' });
            answer.catch(() => {});
            await until('it is sent', () => stack.fake.callsWith('drain-runs').length === 1);
            const pid = stack.coordinatorPid();
            /* Two at once: a second signal would cut short what runs. */
            const first = ctl(stack, ['drain']);
            await until('it drains', async () => (await status(stack, 5)).state === 'draining');
            const [one, two] = await Promise.all([first, ctl(stack, ['drain'])]);
            assert.deepEqual([one.status, two.status], [0, 0], one.err + two.err);
            assert.match(one.err, new RegExp(`Waiting for process ${pid} since \\d+ s: 1 prompts, 1 calls are left\\.`));
            assert.match(one.err, /has left\. The next prompt starts another one/);
            assert.equal((await answer).status, 200, 'what ran was told');
        } finally {
            await stack.stop();
        }
    });
});
