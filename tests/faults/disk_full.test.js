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

/* Until a fresh prompt is refused for the store, and /health says why. */
async function untilRefused(s) {
    const refusal = await until('a prompt is refused', async () => {
        const res = await s.ask(`full? ${performance.now()}`, { priority: 'HIGH' }, { fresh: true });
        return res.status !== 200 && res;
    });
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
        const told = load.told.size;
        await sleep(500);
        assert.equal(load.told.size, told, 'nothing is answered that could not be stored');
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
