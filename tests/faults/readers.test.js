'use strict';
/* Readers of the store that die or dawdle: a worker killed inside a read transaction holds pages back only until the
 * coordinator notices; and the map grows under the feet of those who read. */
const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { Load, useFaultStack, until, sleep, inParallel } = require('./stack');

const s = useFaultStack({ env: { CARPOOL_WORKER_PROCESSES: '2', CARPOOL_WORKER_THREADS: '16' } });

/* The reader slots of LMDB's lock file: 64 bytes each behind two of the kind; the transaction's number is all ones
 * while it rests. */
function slots(stack) {
    const bytes = fs.readFileSync(path.join(stack.storage, 'lock.mdb'));
    const found = [];
    for (let at = 128; at + 64 <= bytes.length; at += 64) {
        const pid = bytes.readUInt32LE(at + 8);
        if (pid) found.push({ pid, reading: bytes.readBigUInt64LE(at) !== 0xffffffffffffffffn });
    }
    return found;
}

const dataBytes = (stack) => fs.statSync(path.join(stack.storage, 'data.mdb')).size;
const isStopped = (pid) =>
    fs
        .readdirSync(`/proc/${pid}/task`)
        .every((tid) => / T /.test(fs.readFileSync(`/proc/${pid}/task/${tid}/stat`, 'latin1').split(')').at(-1)));

/* Bytes by which the file grows while n prompts are answered, one after the other: two commits each. */
async function growth(stack, tag, n) {
    const before = dataBytes(stack);
    for (let i = 0; i < n; i++) {
        const res = await stack.ask(`${tag} ${i}`, { priority: 'HIGH' });
        assert.equal(res.status, 200, res.text);
    }
    return dataBytes(stack) - before;
}

/* Stops a process at a moment when it reads the store. */
async function stopInside(stack, pid) {
    await until(
        'the worker is inside a read transaction',
        async () => {
            process.kill(pid, 'SIGSTOP');
            while (!isStopped(pid)) await sleep(1);
            if (slots(stack).some((slot) => slot.pid === pid && slot.reading)) return true;
            process.kill(pid, 'SIGCONT');
            await sleep(Math.random() * 20);
            return false;
        },
        20000,
    );
}

s.test('a worker killed inside a read transaction holds no page back', async (t, stack) => {
    const filling = 'x'.repeat(2000);
    await inParallel(400, 8, (i) => stack.ask(`filling ${i} ${filling}`, { priority: 'HIGH' }, { fresh: true }));
    const { pid } = stack.workers('manage').children[0];
    let streaming = true;
    const streams = Array.from({ length: 6 }, async () => {
        while (streaming) await stack.get('/v1/chat', { fresh: true, check: false, timeoutMs: 30000 }).catch(() => {});
    });
    await stopInside(stack, pid);
    const held = await growth(stack, 'held', 100);
    process.kill(pid, 'SIGKILL');
    streaming = false;
    await Promise.all(streams);
    const dead = () => slots(stack).filter((slot) => !fs.existsSync(`/proc/${slot.pid}`)).length;
    await until('its slots are taken from it', () => dead() === 0, 5000);
    const freed = await growth(stack, 'freed', 100);
    t.diagnostic(`grown by ${held} bytes while it was held, by ${freed} afterwards`);
    assert.ok(held > 1 << 20, `the page was never held: ${held} bytes`);
    assert.ok(freed < held / 8, `grown by ${freed} bytes after ${held}`);
    await stack.untilWell('the worker was killed');
});

s.test('slots of workers that are killed again and again are used again', async (t, stack) => {
    const load = new Load(stack, 'again', { allowed: new Set([200, 500, 503, 'broken']), server: true });
    let most = 0;
    for (let round = 0; round < 8; round++) {
        await load.more(10);
        for (const pid of stack.pids('workers')) process.kill(pid, 'SIGKILL');
        await sleep(250);
        most = Math.max(most, slots(stack).length);
    }
    await stack.untilWell('workers were killed');
    const dead = () => slots(stack).filter((slot) => !fs.existsSync(`/proc/${slot.pid}`)).length;
    await until('no slot belongs to the dead', () => dead() === 0, 5000);
    await load.stop();
    t.diagnostic(`${load.summary()}; ${most} slots at most, ${slots(stack).length} now`);
    await load.verify();
});

s.test('the map grows while everybody reads', async (t, stack) => {
    const before = dataBytes(stack);
    const load = new Load(stack, 'grows', { size: 120000, lanes: 4, pauseMs: 5, allowed: new Set([200]) });
    const streams = [load.stream(), load.stream(), load.stream()];
    await until('the file has 48 MiB', () => dataBytes(stack) > 48 << 20, 40000);
    await load.stop();
    const streamed = (await Promise.all(streams)).reduce((a, b) => a + b);
    t.diagnostic(`from ${before >> 20} to ${dataBytes(stack) >> 20} MiB; ${load.summary()}; ${streamed} streamed`);
    assert.ok(streamed > 0);
    assert.deepEqual(load.readsDone.failed, [], 'reading went on');
    await load.verify();
});
