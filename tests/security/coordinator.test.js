'use strict';
/*
 * Garbage on the coordinator's socket, from the right user: a broken tool, or a program of another version. Its connection is
 * closed and nothing else happens: prompts that run beside it are answered, memory stays bounded, and connections that
 * never say hello make way for those that do.
 */
const assert = require('node:assert/strict');
const crypto = require('node:crypto');
const fs = require('node:fs');
const net = require('node:net');
const { performance } = require('node:perf_hooks');
const { describe, before } = require('node:test');
const { useStack, until, sleep, inParallel, STRETCH } = require('../integration/harness');
const { frame, hello, HELLO, SUBMIT, socketsOf } = require('./garbage');

const MAX = 32 << 20;
const FAST = { CARPOOL_BATCH_HIGH_WINDOW_MS: '5' };

/* Opens, writes, and tells whether the coordinator closed the connection within ms. */
const closedOn = (file, bytes, ms = 3000 * STRETCH) =>
    new Promise((resolve) => {
        const socket = net.connect(file);
        const timer = setTimeout(() => socket.destroy() && resolve(false), ms);
        socket.on('error', () => {});
        socket.on('data', () => {});
        socket.on('close', () => clearTimeout(timer) || resolve(true));
        socket.write(bytes);
    });

const BROKEN = {
    'version 0': frame(HELLO, Buffer.alloc(24), { version: 0 }),
    'version 1': frame(HELLO, Buffer.alloc(24), { version: 1 }),
    'version 3': frame(HELLO, Buffer.alloc(24), { version: 3 }),
    'version 255': frame(HELLO, Buffer.alloc(24), { version: 255 }),
    'id 0': frame(HELLO, Buffer.alloc(24), { id: 0n }),
    'a header with more than zero': frame(HELLO, Buffer.alloc(24), { zero: 7 }),
    'an unknown type': frame(200),
    'an answer': frame(34, Buffer.alloc(10)),
    'a short hello': frame(HELLO, Buffer.alloc(3)),
    'a long hello': frame(HELLO, Buffer.alloc(25)),
    'a length of 4 GiB': frame(SUBMIT, Buffer.alloc(0), { length: 0xffffffff }),
    'a byte beyond the largest payload': Buffer.concat([hello(), frame(SUBMIT, Buffer.alloc(0), { length: MAX + 1, id: 2n })]),
    'hello twice': Buffer.concat([hello(), hello()]),
    'a prompt before hello': frame(SUBMIT, Buffer.alloc(200)),
    'a large frame before hello, not even complete': frame(SUBMIT, Buffer.alloc(100), { length: MAX }),
    'a prompt of zeros': Buffer.concat([hello(), frame(SUBMIT, Buffer.alloc(200), { id: 2n })]),
    'a prompt of texts that are longer than it': Buffer.concat([hello(), frame(SUBMIT, Buffer.alloc(200, 0xfe), { id: 2n })]),
    'http instead': Buffer.from('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n'),
};

describe("garbage on the coordinator's socket", () => {
    const s = useStack({ env: FAST });
    const socket = () => socketsOf(s.stack).coordinator;
    const kilobytes = () => Number(/VmRSS:\s+(\d+)/.exec(fs.readFileSync(`/proc/${s.coordinatorPid()}/status`, 'utf8'))[1]);
    let pid;
    before(async () => {
        await s.ask('so that there is one', { priority: 'HIGH' });
        pid = s.coordinatorPid();
    });

    s.test('each broken rule closes its connection, and prompts go on', async () => {
        const flying = inParallel(60, 4, async (i) => {
            const res = await s.ask(`beside garbage ${i}`, { priority: 'HIGH' });
            assert.equal(res.json.text, `Processed: beside garbage ${i}`);
        });
        for (const [name, bytes] of Object.entries(BROKEN)) assert.ok(await closedOn(socket(), bytes), `${name} was taken`);
        await flying;
        assert.equal(s.coordinatorPid(), pid);
    });

    s.test('random bytes, before and after hello', async () => {
        await inParallel(400, 20, async (i) => {
            const noise = crypto.randomBytes(1 + (i * 37) % 5000);
            await closedOn(socket(), i % 2 ? noise : Buffer.concat([hello(), noise]), 50);
        });
        assert.equal((await s.ask('after noise', { priority: 'HIGH' })).status, 200);
        assert.equal(s.coordinatorPid(), pid);
    });

    s.test('a thousand large frames that are never completed: memory stays bounded', async (t) => {
        const start = kilobytes();
        const open = [];
        for (let i = 0; i < 1000; i++) {
            const one = net.connect(socket());
            one.on('error', () => {});
            one.write(frame(SUBMIT, Buffer.alloc(256 << 10), { length: MAX }));
            open.push(one);
            if (i % 50 === 0) await sleep(5);
        }
        await sleep(500);
        const res = await s.ask('beside large frames', { priority: 'HIGH' });
        const most = kilobytes() - start;
        for (const one of open) one.destroy();
        t.diagnostic(`${most} KB more for 1000 connections`);
        assert.equal(res.status, 200);
        assert.ok(most < 64 << 10, `${most} KB more`);
        assert.equal(s.coordinatorPid(), pid);
    });
});

describe('connections that never say hello', () => {
    const LIMIT = 400;
    const s = useStack({
        env: { ...FAST, CARPOOL_WORKER_THREADS: '32' },
        command: ['sh', '-c', `ulimit -n ${LIMIT}; exec lighttpd -D -f lighttpd.conf`],
    });

    for (const [name, bytes] of Object.entries({ nothing: null, 'half a header': hello().subarray(0, 7), 'half a hello': hello().subarray(0, 30) }))
        s.test(`more of them than there are descriptors (${name}): everybody else is served as before`, async (t) => {
            await s.ask('so that there is one', { priority: 'HIGH' });
            const pid = s.coordinatorPid();
            const file = socketsOf(s.stack).coordinator;
            const open = [];
            for (let i = 0; i < LIMIT * 2; i++) {
                const one = net.connect(file);
                one.on('error', () => {});
                if (bytes) one.write(bytes);
                open.push(one);
                if (i % 50 === 0) await sleep(5);
            }
            await sleep(300);
            const from = performance.now();
            await inParallel(200, 40, async (i) => {
                const res = await s.ask(`beside ${name} ${i}`, { priority: 'HIGH' });
                assert.equal(res.status, 200, `after ${(performance.now() - from).toFixed(0)} ms: ${res.text}`);
            });
            t.diagnostic(`200 prompts in ${(performance.now() - from).toFixed(0)} ms`);
            assert.ok(performance.now() - from < 5000 * STRETCH);
            for (const one of open) one.destroy();
            assert.equal(s.coordinatorPid(), pid);
            await until('they are gone', async () => (await s.ask('after', { priority: 'HIGH' })).status === 200);
        });
});
