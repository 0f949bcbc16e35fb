'use strict';
/* Clocks that are set while everything runs (libfaketime, in the coordinator and in the workers): nothing expires
 * early, nothing hangs, nothing is late, and whoever pages through the chats misses none and sees none twice. */
const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { describe } = require('node:test');
const { Load, useFaultStack, until, sleep, inParallel, STRETCH } = require('./stack');

const LIBRARY = ['x86_64-linux-gnu', 'aarch64-linux-gnu']
    .map((arch) => `/usr/lib/${arch}/faketime/libfaketimeMT.so.1`)
    .find((file) => fs.existsSync(file));
const clocks = [];

/* A stack whose clock s.set() sets: "+262s" from now on is that much ahead of ours. */
function useClockStack(env = {}) {
    const file = path.join(fs.mkdtempSync(path.join(require('node:os').tmpdir(), 'cp-clock-')), 'clock');
    clocks.push(path.dirname(file));
    const set = (offset) => {
        fs.writeFileSync(`${file}.new`, `${offset}\n`);
        fs.renameSync(`${file}.new`, file);
    };
    set('+0s');
    const preload = {
        LD_PRELOAD: LIBRARY,
        FAKETIME_DONT_FAKE_MONOTONIC: '1',
        FAKETIME_NO_CACHE: '1',
        FAKETIME_TIMESTAMP_FILE: file,
    };
    const s = useFaultStack({
        preload,
        env: { CARPOOL_WORKER_PROCESSES: '2', CARPOOL_WORKER_THREADS: '16', ...env },
    });
    return Object.assign(s, { set });
}
process.on('exit', () => clocks.forEach((dir) => fs.rmSync(dir, { recursive: true, force: true })));

/* How far the clock of the programs is ahead of ours, in seconds. */
async function ahead(stack) {
    const res = await stack.get('/nowhere', { fresh: true });
    return (Date.parse(res.json.timestamp) - Date.now()) / 1000;
}

async function restartCoordinator(stack) {
    const pid = stack.coordinatorPid();
    process.kill(pid, 'SIGTERM');
    await until('the coordinator has gone', () => !fs.existsSync(`/proc/${pid}`), 10000);
    await stack.untilWell('the coordinator was stopped');
    assert.notEqual(stack.coordinatorPid(), pid);
}

/* Follows the chats with a cursor, page by page, as they come, until the load has stopped and none is left.
 * The last page, which gives no cursor, is read again. */
async function follow(stack, load) {
    const seen = new Set();
    let cursor = '';
    for (let last = false; ; last = load.stopped) {
        const { json } = await stack.get(`/v1/chat?limit=7${cursor && `&cursor=${cursor}`}`, { fresh: true });
        for (const c of json.chats) seen.add(c.request.request_id);
        if (json.next_cursor) cursor = json.next_cursor;
        else if (last) return seen;
        if (!json.next_cursor) await sleep(30);
    }
}

describe('under load', () => {
    const s = useClockStack();

    s.test('steps of 262 s forwards and back', async (t, stack) => {
        await stack.untilWell('the start');
        const load = new Load(stack, 'steps', { allowed: new Set([200]) });
        const slow = [];
        const lows = [];
        for (const [i, offset] of ['+262s', '+0s', '-262s', '+0s', '-262s', '+262s', '-262s', '+0s'].entries()) {
            s.set(offset);
            await until('the clock is set', async () => Math.abs((await ahead(stack)) - Number.parseInt(offset, 10)) < 5);
            lows.push(stack.ask(`window ${i}`, { priority: 'MEDIUM' }).then((res) => ({ res, offset })));
            const res = await stack.ask(`quick ${i}`, { priority: 'HIGH' });
            if (res.status !== 200 || res.ms > 1000 * STRETCH) slow.push(`${offset}: ${res.status} in ${res.ms} ms`);
            await sleep(500);
        }
        for (const { res, offset } of await Promise.all(lows)) {
            assert.equal(res.status, 200, res.text);
            /* The window of a MEDIUM prompt is a second, from the first that waits in it. */
            assert.ok(res.ms < 3000 * STRETCH, `${offset}: ${res.ms} ms`);
            assert.ok(res.json.latency_ms > 0 && res.json.latency_ms <= res.ms + 1, res.text);
        }
        assert.ok((await lows[0]).res.ms > 900);
        await load.stop();
        t.diagnostic(load.summary());
        assert.deepEqual(slow, []);
        assert.deepEqual(load.readsDone.failed, [], 'what was told is there all the time');
        await load.verify();
    });

    s.test('paging with a cursor across steps and restarts', async (t, stack) => {
        const load = new Load(stack, 'paged', { allowed: new Set([200, 503]), pauseMs: 30, lanes: 3 });
        const following = follow(stack, load);
        for (const offset of ['+262s', '+0s', '-262s', '+131s', '-262s']) {
            await load.more(5);
            s.set(offset);
            await load.more(5);
            await restartCoordinator(stack);
        }
        s.set('+0s');
        await load.stop();
        const seen = [...(await following)].filter((id) => id.startsWith('paged-'));
        t.diagnostic(`${load.summary()}; ${seen.length} seen`);
        assert.deepEqual(
            [...load.told.keys()].filter((id) => !seen.includes(id)),
            [],
            'none is missed',
        );
        /* Those of the last minutes are found by their time, whatever the clock was when they were made. */
        const from = new Date(Date.now() - 600000).toISOString();
        const to = new Date(Date.now() + 600000).toISOString();
        const { json } = await stack.get(`/v1/chat?from=${from}&to=${to}`);
        assert.equal(json.chats.filter((c) => c.request.request_id.startsWith('paged-')).length, seen.length);
        await load.verify();
    });

    s.test('requests that wait for a time or are promised for later', async (t, stack) => {
        const waiting = Array.from({ length: 4 }, (_, i) =>
            stack.ask(`async ${i}`, { request_id: `async-${i}`, priority: 'MEDIUM' }, {
                headers: { Prefer: 'respond-async' },
            }),
        );
        for (const res of await Promise.all(waiting)) assert.equal(res.status, 202, res.text);
        s.set('-262s');
        const polls = Array.from({ length: 4 }, (_, i) => stack.get(`/v1/requests/async-${i}?wait=10`));
        await sleep(200);
        s.set('+262s');
        for (const res of await Promise.all(polls)) {
            assert.equal(res.json.status, 'done', res.text);
            assert.ok(res.ms < 4000 * STRETCH, `${res.ms} ms`);
        }
        /* The provider's Retry-After, passed on as a time to wait, and not as a time of day. */
        stack.fake.when((call) => call.members.some((m) => m.prompt.includes('too many')), {
            do: 'status',
            status: 429,
            retryAfter: 2,
        });
        const asked = stack.ask('too many', { priority: 'HIGH' });
        s.set('-262s');
        const res = await asked;
        s.set('+0s');
        stack.fake.reset();
        t.diagnostic(`${res.status}, Retry-After ${res.headers['retry-after']} after ${res.ms.toFixed(0)} ms`);
        if (res.status !== 200) assert.ok(Number(res.headers['retry-after']) <= 60, res.headers['retry-after']);
    });
});

describe('what is kept', () => {
    const s = useClockStack({ CARPOOL_IDEMPOTENCY_TTL_HOURS: '1', CARPOOL_STORAGE_CHAT_RETENTION_DAYS: '1' });
    const again = (stack, id) => stack.ask(`keep ${id}`, { request_id: id, priority: 'HIGH' }, { fresh: true });
    const swept = () => sleep(2500); /* housekeeping comes once a second */

    s.test('one hour is promised: a step of a day, taken back, ends nothing', async (t, stack) => {
        assert.equal((await again(stack, 'kept-1')).status, 200);
        for (const offset of ['+1d', '+0s', '-1d']) {
            s.set(offset);
            await swept();
            const res = await again(stack, 'kept-1');
            assert.equal(res.headers['idempotent-replayed'], 'true', `${offset}: ${res.text}`);
            assert.equal((await again(stack, `kept-${offset.slice(1)}-${offset.charCodeAt(0)}`)).status, 200);
        }
        s.set('+0s');
        for (const id of ['kept-1', 'kept-1d-43', 'kept-0s-43', 'kept-1d-45']) {
            const res = await again(stack, id);
            assert.equal(res.headers['idempotent-replayed'], 'true', `${id}: ${res.text}`);
        }
        assert.equal(stack.fake.callsWith('keep kept').length, 4, 'bought once each');
    });

    s.test('a coordinator that starts 262 s ahead, or behind, ends nothing', async (t, stack) => {
        s.set('-3590s'); /* an hour ago, but for ten seconds */
        await restartCoordinator(stack);
        assert.equal((await again(stack, 'old')).status, 200);
        s.set('-3328s');
        await restartCoordinator(stack);
        for (const offset of ['+262s', '-262s', '+0s']) {
            s.set(offset);
            await restartCoordinator(stack);
            await swept();
            const res = await again(stack, 'old');
            assert.equal(res.headers['idempotent-replayed'], 'true', `${offset}: ${res.text}`);
        }
        assert.equal(stack.fake.callsWith('keep old').length, 1);
    });

    s.test('what is over is over: after an hour and the ten minutes more the id is free', async (t, stack) => {
        assert.equal((await again(stack, 'over')).status, 200);
        s.set('+4210s');
        await restartCoordinator(stack);
        const res = await again(stack, 'over');
        assert.equal(res.status, 200);
        assert.equal(res.headers['idempotent-replayed'], undefined, res.text);
        assert.equal(stack.fake.callsWith('keep over').length, 2);
        s.set('+0s');
        await restartCoordinator(stack);
    });

    s.test('a clock that begins in 1970 drops no chat', async (t, stack) => {
        await inParallel(20, 4, (i) => again(stack, `chat-${i}`));
        const before = (await stack.chats()).length;
        s.set(`-${Math.floor(Date.now() / 1000) - 7200}s`);
        await restartCoordinator(stack);
        await swept();
        s.set('+0s');
        assert.ok((await stack.chats()).length >= before, `${before} before, ${(await stack.chats()).length} now`);
        await restartCoordinator(stack);
        assert.equal((await again(stack, 'chat-3')).headers['idempotent-replayed'], 'true');
    });
});
