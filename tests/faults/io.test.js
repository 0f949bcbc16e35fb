'use strict';
/* System calls that fail (libfiu), in the coordinator or in the workers, switched on under load and off again: prompts
 * are answered or refused in words, what only reads goes on, /health says what is wrong, and within 5 s afterwards
 * all is well. What was told is there, and nothing was bought twice. */
const assert = require('node:assert/strict');
const { errno } = require('node:os').constants;
const { describe } = require('node:test');
const { Load, useFaultStack, until, sleep, STRETCH } = require('./stack');

/* What libfiu is told for {point, errno, p, more}: on and off. */
const all = (fault) => [fault, ...(fault.more ?? [])];
const enable = (fault) =>
    all(fault).map(
        ({ point, error, p = 1 }) =>
            `enable_random name=posix/${point},probability=${p},failinfo=${error ? errno[error] : 1}`,
    );
const disable = (fault) => all(fault).map(({ point }) => `disable name=posix/${point}`);
const nameOf = (fault) =>
    all(fault)
        .map(({ point, error, p = 1 }) => [point, error, p < 1 && `at ${p * 100} %`].filter(Boolean).join(' '))
        .join(' and ');

const STORE = /failed to write|store|disk|full|space/i;
/* health: while it lasts, /health is not ok and the reason matches; calm: no prompt can be answered meanwhile. */
const COORDINATOR = [
    { point: 'io/rw/pwrite', error: 'EIO', health: STORE, calm: true },
    { point: 'io/rw/pwrite', error: 'ENOSPC', health: STORE, calm: true },
    { point: 'io/rw/pwrite', error: 'EIO', p: 0.3 },
    { point: 'io/rw/pwrite', error: 'EINTR', p: 0.5 },
    { point: 'io/rw/pwrite/reduce', health: STORE, calm: true },
    { point: 'io/rw/writev', error: 'EIO', p: 0.5 },
    { point: 'io/rw/writev/reduce', p: 0.5 },
    { point: 'io/sync/fdatasync', error: 'EIO', health: STORE, calm: true },
    { point: 'io/sync/fdatasync', error: 'ENOSPC', p: 0.3 },
    /* A commit of unknown outcome makes the store be opened again, which then fails, too. */
    { point: 'io/rw/pwrite', error: 'EIO', more: [{ point: 'mm/mmap', error: 'ENOMEM' }], calm: true },
    { point: 'io/rw/pwrite', error: 'EIO', more: [{ point: 'io/oc/open', error: 'EMFILE' }], calm: true },
    { point: 'io/sync/fdatasync', error: 'EIO', more: [{ point: 'io/oc/open', error: 'EIO', p: 0.5 }], calm: true },
    { point: 'io/net/accept4', error: 'EMFILE' },
    { point: 'io/net/accept4', error: 'ECONNABORTED', p: 0.5 },
    { point: 'io/net/socket', error: 'EMFILE' },
    { point: 'io/net/connect', error: 'ECONNREFUSED' },
    { point: 'io/net/send', error: 'ECONNRESET', p: 0.3 },
    { point: 'io/net/recv', error: 'ECONNRESET', p: 0.3 },
    { point: 'io/rw/read', error: 'EINTR', p: 0.5 },
    { point: 'io/rw/read', error: 'EIO', p: 0.05 },
    { point: 'io/rw/write', error: 'EINTR', p: 0.5 },
    { point: 'io/rw/write', error: 'EIO', p: 0.05 },
    { point: 'io/net/poll', error: 'EINTR', p: 0.5 },
];

/* restart: the workers are killed, and the next ones start under the fault.
 * server: the web server may have to answer in a worker's place (500, 503 without Retry-After), since the worker's
 * connection with it broke. */
const WORKERS = [
    { point: 'io/net/accept4', error: 'EMFILE' },
    { point: 'io/net/accept4', error: 'EINTR', p: 0.5 },
    { point: 'io/net/accept4', error: 'ECONNABORTED', p: 0.5 },
    { point: 'io/net/socket', error: 'EMFILE' },
    { point: 'io/net/connect', error: 'ECONNREFUSED', p: 0.5 },
    { point: 'io/net/send', error: 'EPIPE', p: 0.3 },
    { point: 'io/net/recv', error: 'ECONNRESET', p: 0.3 },
    { point: 'io/net/poll', error: 'EINTR', p: 0.5 },
    { point: 'io/oc/open', error: 'EMFILE', restart: true, server: true },
    { point: 'io/oc/open', error: 'EIO', p: 0.3, restart: true, server: true },
    { point: 'mm/mmap', error: 'ENOMEM', p: 0.3, restart: true, server: true },
    { point: 'io/rw/read', error: 'EIO', p: 0.1, server: true },
    { point: 'io/rw/write', error: 'EIO', p: 0.1, server: true },
    { point: 'io/rw/write/reduce', p: 0.5 },
    { point: 'io/oc/close', error: 'EIO', p: 0.2 },
];

async function untilUnwell(s, reason) {
    const health = await until('/health says so', async () => {
        const res = await s.get('/health', { fresh: true });
        return res.json.status !== 'ok' && res;
    });
    assert.match(health.json.dependencies.store.reason, reason, health.text);
    const { store } = health.json.dependencies;
    return `${health.json.status}: ${store.reason}`;
}

const INTERVAL_MS = 1200;

async function withFault(t, s, part, fault) {
    await s.untilWell('the start');
    const options = { allowed: new Set([200, 424, 502, 503, 504, ...(fault.server ? [500, 'broken'] : [])]) };
    const load = new Load(s, nameOf(fault).replace(/[^a-zA-Z0-9]+/g, '.'), { ...options, server: fault.server });
    await load.more(5);
    const parts = fault.restart ? [part, 'parents'] : [part];
    for (const one of parts) await s.fiu(one, ...enable(fault));
    try {
        if (fault.restart) for (const pid of s.pids(part)) process.kill(pid, 'SIGKILL');
        if (fault.health) t.diagnostic(await untilUnwell(s, fault.health));
        /* What was stored before may still be on its way to its client. */
        if (fault.calm)
            await until('no more is told', async () => {
                const before = load.told.size;
                await sleep(300);
                return load.told.size === before;
            });
        const told = load.told.size;
        await sleep(INTERVAL_MS);
        if (fault.calm) assert.equal(load.told.size, told, 'nothing is told that could not be stored');
        if (part === 'coordinator') assert.deepEqual(load.readsDone.failed, [], 'reading goes on');
    } finally {
        for (const one of parts.reverse()) await s.fiu(one, ...disable(fault));
    }
    const back = await s.untilWell(`${nameOf(fault)} was switched off`);
    await load.more(5);
    await load.stop();
    t.diagnostic(`back after ${back.toFixed(0)} ms; ${load.summary()}`);
    await load.verify();
}

for (const [part, faults] of [
    ['coordinator', COORDINATOR],
    ['workers', WORKERS],
]) {
    describe(`in the ${part}`, () => {
        const s = useFaultStack({
            fiu: true,
            env: { CARPOOL_WORKER_PROCESSES: '2', CARPOOL_WORKER_THREADS: '16', CARPOOL_RETRY_ATTEMPTS: '2' },
        });
        for (const fault of faults)
            s.test(nameOf(fault), (t, stack) => withFault(t, stack, part, fault));
    });
}
