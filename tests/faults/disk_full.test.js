'use strict';
/* A disk that runs full and is emptied again, under load: prompts are refused, everything that reads goes on, and
 * within 5 s after there is room again all is well, by itself; nothing that anybody was told of is lost. */
const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { test } = require('node:test');
const { FaultStack, Load, mountTmpfs, until, sleep, STRETCH } = require('./stack');

const NO_MOUNT = 'this user may not mount a tmpfs here (neither as root nor by unshare -rm)';

/* Takes every byte that is left on the disk. */
function fill(disk) {
    const fd = fs.openSync(path.join(disk.dir, 'filler'), 'a');
    try {
        for (const block of [Buffer.alloc(65536, 1), Buffer.alloc(4096, 1)]) {
            try {
                while (fs.writeSync(fd, block) === block.length);
            } catch (e) {
                if (e.code !== 'ENOSPC') throw e;
            }
        }
    } finally {
        fs.closeSync(fd);
    }
}
const empty = (disk) => fs.rmSync(path.join(disk.dir, 'filler'));

/* A test on a stack whose store (or, with on: 'logs', whose log directory) is on a small file system of its own. */
function diskTest(name, { megabytes = 2, ...options }, body) {
    test(name, { timeout: 90000 * STRETCH }, async (t) => {
        const disk = mountTmpfs(megabytes);
        if (!disk) return t.skip(NO_MOUNT);
        let stack;
        try {
            stack = await FaultStack.start({ ...options, disk });
            await body(t, stack, disk);
            await stack.stop();
            stack = null;
        } catch (e) {
            for (const line of stack?.logs().split('\n') ?? []) t.diagnostic(line);
            throw e;
        } finally {
            await stack?.stop({ checks: false }).catch(() => {});
            disk.remove();
        }
    });
}

/* Until a fresh prompt is refused for the store, and /health says why. One that came in just before goes on waiting
 * for the disk, so none is waited for long. */
async function untilRefused(s, limitMs = 10000) {
    const refusal = await until(
        'a prompt is refused',
        async () => {
            const options = { fresh: true, timeoutMs: 1000 * STRETCH };
            const res = await s.ask(`full? ${performance.now()}`, { priority: 'HIGH' }, options);
            return res.status !== 200 && res;
        },
        limitMs,
    );
    assert.equal(refusal.status, 503, refusal.text);
    assert.ok(Number(refusal.headers['retry-after']) > 0, 'Retry-After');
    const health = await until('/health says so', async () => {
        const res = await s.get('/health');
        return res.json.status !== 'ok' && res;
    });
    assert.match(health.json.dependencies.store.reason, /full|space/i);
    return refusal;
}

diskTest('filled by others and emptied, three times', {}, async (t, s, disk) => {
    const load = new Load(s, 'filled');
    for (let round = 0; round < 3; round++) {
        await load.more(20);
        fill(disk);
        await untilRefused(s);
        await sleep(1500);
        /* Pages that the store has to spare may still take a small commit, and with it an answer or two. */
        const before = new Set(load.told.keys());
        await sleep(500);
        for (const id of [...load.told.keys()].filter((each) => !before.has(each))) {
            const { json, text } = await s.get(`/v1/requests/${id}`);
            assert.equal(json.status, 'done', `${id} was answered and is not stored: ${text}`);
        }
        empty(disk);
        const back = await s.untilWell('the disk was emptied');
        t.diagnostic(`back after ${back.toFixed(0)} ms`);
    }
    await load.more(20);
    await load.stop();
    t.diagnostic(load.summary());
    assert.deepEqual(load.readsDone.failed, [], 'reading went on');
    await load.verify();
});

/* Deletes the older half of what a load was told. */
async function deleteHalf(s, load) {
    const ids = [...load.told.keys()];
    for (const id of ids.slice(0, Math.ceil(ids.length / 2))) {
        load.told.delete(id);
        const res = await s.delete(`/v1/chat/${id}`, { check: false });
        assert.equal(res.status, 200, `${id}: ${res.text}`);
    }
    return ids.length;
}

/* The second begins with the smallest map of 16 MiB, which has to grow on the way, in every process. */
for (const { megabytes, size } of [
    { megabytes: 2, size: 8000 },
    { megabytes: 24, size: 80000 },
]) {
    diskTest(`${megabytes} MiB filled by our own data, and emptied by deleting it`, { megabytes }, async (t, s) => {
        const load = new Load(s, 'own', { size, pauseMs: 10, lanes: 4 });
        const streaming = load.stream();
        await untilRefused(s, 30000);
        await sleep(500);
        t.diagnostic(`full after ${await deleteHalf(s, load)} chats`);
        t.diagnostic(`back after ${(await s.untilWell('chats were deleted')).toFixed(0)} ms`);
        await load.stop();
        t.diagnostic(`${load.summary()}; ${await streaming} chats streamed`);
        assert.deepEqual(load.readsDone.failed, [], 'reading went on');
        await load.verify();
    });
}

diskTest('the coordinator is killed on a full disk', {}, async (t, s, disk) => {
    const load = new Load(s, 'killed', { allowed: new Set([200, 503, 504, 424]) });
    await load.more(20);
    fill(disk);
    await untilRefused(s);
    process.kill(s.coordinatorPid(), 'SIGKILL');
    const refusal = await untilRefused(s);
    t.diagnostic(refusal.text);
    assert.equal((await s.get('/v1/chat?limit=2')).status, 200);
    empty(disk);
    t.diagnostic(`back after ${(await s.untilWell('the disk was emptied')).toFixed(0)} ms`);
    await load.stop();
    t.diagnostic(load.summary());
    assert.deepEqual(load.readsDone.failed, [], 'reading went on');
    await load.verify();
});

diskTest('the disk of the logs: no prompt minds', { on: 'logs' }, async (t, s, disk) => {
    const load = new Load(s, 'logs', { allowed: new Set([200]) });
    await load.more(20);
    fill(disk);
    await load.more(40);
    process.kill(s.coordinatorPid(), 'SIGTERM'); /* the next one opens its logs on the full disk */
    load.allowed.add(503);
    await s.untilWell('the coordinator was stopped');
    await load.more(40);
    empty(disk);
    const events = path.join(s.logDir, 'events.jsonl');
    const before = fs.statSync(events).size;
    await until('events are written again', () => fs.statSync(events).size > before + 1000);
    await load.stop();
    t.diagnostic(load.summary());
    assert.deepEqual(load.readsDone.failed, [], 'reading went on');
    await load.verify();
    /* Whole lines only, whatever was dropped in between. */
    for (const line of fs.readFileSync(events, 'utf8').split('\n').filter(Boolean)) JSON.parse(line);
});
