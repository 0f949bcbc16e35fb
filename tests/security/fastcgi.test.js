'use strict';
/*
 * Garbage on the sockets of the pools, as a web server gone mad would write it: what libfcgi takes for nonsense, and what it
 * answers with a failed assertion, costs the connection it came over and nothing else. A process that dies all the same
 * is replaced, the pool is whole within a second, measured; clients in other processes do not notice, and what was lost with it
 * can be asked for again under its request id without being paid twice.
 */
const assert = require('node:assert/strict');
const crypto = require('node:crypto');
const fs = require('node:fs');
const net = require('node:net');
const { performance } = require('node:perf_hooks');
const { describe } = require('node:test');
const { useStack, until, sleep, inParallel, STRETCH } = require('../integration/harness');
const { fcgiRequest } = require('../integration/fcgi_client');
const { socketsOf, record, BEGIN, PARAMS, STDIN } = require('./garbage');

/* What libfcgi asks for there, AddressSanitizer would not let it ask. */
process.env.ASAN_OPTIONS = [process.env.ASAN_OPTIONS, 'allocator_may_return_null=1'].filter(Boolean).join(':');
const WHOLE_MS = 1000 * STRETCH;
const LENGTH = Buffer.from([0xff, 0xff, 0xff, 0xfe]); /* 0x7ffffffe */
/* Both lengths of a variable near 2^31: an assertion in libfcgi 2.4.2, which would end the process. */
const ABORTS = Buffer.concat([BEGIN, record(PARAMS, Buffer.concat([LENGTH, LENGTH, Buffer.alloc(234)]))]);

/* Writes the bytes on a connection of its own, and leaves it after ms. What comes back is of no interest. */
const write = (file, bytes, ms = 100) =>
    new Promise((resolve) => {
        const socket = net.connect(file);
        socket.on('error', () => {});
        socket.on('close', resolve);
        socket.on('data', () => {});
        socket.write(bytes);
        setTimeout(() => socket.destroy(), ms);
    });

const GARBAGE = {
    nothing: Buffer.alloc(0),
    'one byte': Buffer.from([1]),
    zeros: Buffer.alloc(70000),
    'half a header': record(1, Buffer.alloc(8)).subarray(0, 5),
    'half a record': Buffer.concat([BEGIN, record(PARAMS, Buffer.alloc(500)).subarray(0, 100)]),
    'no end of variables': Buffer.concat([BEGIN, record(PARAMS, Buffer.from([3, 1, 65, 66, 67, 49]))]),
    'no begin': record(PARAMS, Buffer.from([3, 1, 65, 66, 67, 49])),
    'another version': Buffer.concat([Buffer.from([9, 1, 0, 1, 0, 8, 0, 0]), Buffer.alloc(8)]),
    'another role': record(1, Buffer.from([0, 77, 0, 0, 0, 0, 0, 0])),
    'a thousand begins': Buffer.concat(Array(1000).fill(BEGIN)),
    'unknown types': Buffer.concat(Array.from({ length: 256 }, (_, type) => record(type, Buffer.alloc(8)))),
    'a value longer than its record': Buffer.concat([BEGIN, record(PARAMS, Buffer.from([200, 200, 65])), record(PARAMS, Buffer.alloc(0))]),
    'a body that was never begun': record(STDIN, Buffer.alloc(60000)),
    'http instead': Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n'),
};

for (const pool of ['prompt', 'manage'])
    describe(`garbage for the ${pool} pool`, () => {
        const s = useStack({ env: { CARPOOL_BATCH_HIGH_WINDOW_MS: '5', CARPOOL_WORKER_THREADS: '64' } });
        const socket = () => socketsOf(s.stack)[pool];
        const good = () =>
            pool === 'prompt' ? fcgiRequest(socket(), 'POST', '/v1/query', { prompt: 'good', priority: 'HIGH' }) : fcgiRequest(socket(), 'GET', '/v1/settings');

        /* Milliseconds until every process is there and as many requests in a row succeed as there are threads. */
        async function timeToWhole(from) {
            const processes = pool === 'prompt' ? 2 : 1;
            await until(
                'the pool is whole',
                async () => {
                    if (s.workers(pool).children.length !== processes) return false;
                    const results = await Promise.all(Array.from({ length: 16 }, () => good().catch((e) => e)));
                    return results.every((res) => res.status === 200);
                },
                10000,
            );
            return performance.now() - from;
        }

        s.test('nonsense is dropped; nobody waits and no process is lost', async (t) => {
            await good();
            const before = s.workers(pool).children.map((p) => p.pid).sort();
            for (const [name, bytes] of Object.entries(GARBAGE)) {
                await write(socket(), bytes);
                const start = performance.now();
                assert.equal((await good()).status, 200, name);
                assert.ok(performance.now() - start < WHOLE_MS, `${name}: ${performance.now() - start} ms`);
            }
            await inParallel(200, 20, () => write(socket(), crypto.randomBytes(Math.floor(Math.random() * 3000)), 20));
            const ms = await timeToWhole(performance.now());
            t.diagnostic(`whole ${ms.toFixed(0)} ms after 200 random texts`);
            assert.ok(ms < WHOLE_MS, `${ms} ms`);
            /* A random text may spell an abort, but never did. */
            assert.deepEqual(s.workers(pool).children.map((p) => p.pid).sort(), before);
        });

        s.test('what libfcgi asserts against costs its own connection, a thousand times over', async (t) => {
            await good();
            const before = s.workers(pool).children.map((p) => p.pid).sort();
            const kilobytes = () => before.map((pid) => Number(/VmRSS:\s+(\d+)/.exec(fs.readFileSync(`/proc/${pid}/status`))[1])).reduce((a, b) => a + b);
            await inParallel(200, 20, () => write(socket(), ABORTS, 10));
            const warm = kilobytes();
            await inParallel(1000, 20, () => write(socket(), ABORTS, 10));
            const ms = await timeToWhole(performance.now());
            t.diagnostic(`whole ${ms.toFixed(0)} ms after 1200 assertions, ${kilobytes() - warm} KB more after the last 1000`);
            assert.ok(ms < WHOLE_MS, `${ms} ms`);
            assert.deepEqual(s.workers(pool).children.map((p) => p.pid).sort(), before);
            assert.ok(kilobytes() - warm < 8192 * STRETCH, `${kilobytes() - warm} KB more`);
            assert.match(s.stack.printed(), /given up, since Malloc/, 'it did assert: otherwise this proves nothing');
        });

        s.test('an assertion in the middle of a body is a body that was cut', async () => {
            const params = Object.entries({ REQUEST_METHOD: 'POST', REQUEST_URI: '/v1/query', REMOTE_ADDR: '127.0.0.1', HTTP_HOST: '127.0.0.1', CONTENT_LENGTH: '14' });
            const pairs = Buffer.concat(params.map(([name, value]) => Buffer.concat([Buffer.from([name.length, value.length]), Buffer.from(name + value)])));
            const manage = record(9, Buffer.concat([LENGTH, LENGTH, Buffer.alloc(34)]));
            manage.writeUInt16BE(0, 2);
            const bytes = Buffer.concat([BEGIN, record(PARAMS, pairs), record(PARAMS, Buffer.alloc(0)), record(STDIN, Buffer.from('{"prom')), manage]);
            const before = s.workers(pool).children.map((p) => p.pid).sort();
            await inParallel(20, 5, () => write(socket(), bytes, 50));
            assert.equal((await good()).status, 200);
            assert.deepEqual(s.workers(pool).children.map((p) => p.pid).sort(), before);
        });

        s.test('a process that dies: whole again within a second', async (t) => {
            const [victim] = s.workers(pool).children;
            process.kill(victim.pid, 'SIGSEGV');
            const ms = await timeToWhole(performance.now());
            t.diagnostic(`whole ${ms.toFixed(0)} ms after a process died`);
            assert.ok(!s.workers(pool).children.some((p) => p.pid === victim.pid));
            assert.ok(ms < WHOLE_MS, `whole after ${ms} ms`);
        });

        s.test('thousands of connections that say nothing, or half a record, leave no trace when they go', async (t) => {
            const children = s.workers(pool).children.map((p) => p.pid).sort();
            const open = [];
            for (let i = 0; i < 3000; i++) {
                const one = net.connect(socket());
                one.on('error', () => {});
                if (i % 2) one.write(GARBAGE['half a record']);
                open.push(one);
                if (i % 200 === 0) await sleep(5);
            }
            await sleep(500);
            const from = performance.now();
            for (const one of open) one.destroy();
            const ms = await timeToWhole(from);
            t.diagnostic(`whole ${ms.toFixed(0)} ms after 3000 connections left`);
            assert.ok(ms < WHOLE_MS, `${ms} ms`);
            assert.deepEqual(s.workers(pool).children.map((p) => p.pid).sort(), children);
        });
    });

describe('clients in flight', () => {
    const s = useStack({ provider: 'openai', env: { CARPOOL_BATCH_HIGH_WINDOW_MS: '50' } });
    const ids = (of) => Array.from({ length: 48 }, (_, i) => `${of}-${i}`);
    const ask = (id) => s.ask(`prompt of ${id}`, { request_id: id, priority: 'HIGH' }, { check: false });
    const answered = ({ id, res }) => assert.equal(res.json?.text, `Answer to: prompt of ${id}`, `${res.status} ${res.text.slice(0, 100)}`);

    s.test('garbage of every kind: they hear nothing of it', async () => {
        s.fake.latencyMs = 1500;
        const flying = ids('garbage').map((id) => ask(id).then((res) => ({ id, res })));
        await s.fake.waitForCalls(6);
        for (const bytes of [ABORTS, ...Object.values(GARBAGE)]) await write(socketsOf(s.stack).prompt, bytes, 20);
        (await Promise.all(flying)).forEach(answered);
    });

    s.test('a process dies: those of the other one hear nothing of it, and what was lost is not bought twice', async (t) => {
        s.fake.latencyMs = 1500;
        const before = s.workers().children.map((p) => p.pid);
        const flying = ids('flight').map((id) => ask(id).then((res) => ({ id, res })));
        await s.fake.waitForCalls(6);
        process.kill(before[0], 'SIGSEGV');
        const from = performance.now();
        await until('it is replaced', () => s.workers().children.length === 2 && !s.workers().children.some((p) => p.pid === before[0]), WHOLE_MS);
        t.diagnostic(`replaced after ${(performance.now() - from).toFixed(0)} ms`);
        assert.ok(s.workers().children.some((p) => p.pid === before[1]), 'one process, and not the other');
        const results = await Promise.all(flying);
        const lost = results.filter(({ res }) => res.status !== 200);
        t.diagnostic(`${results.length - lost.length} answered, ${lost.length} lost with their process`);
        assert.ok(lost.length < results.length, 'all were lost');
        for (const { res } of lost) assert.ok([500, 502, 503].includes(res.status), `${res.status} ${res.text.slice(0, 100)}`);
        results.filter(({ res }) => res.status === 200).forEach(answered);
        for (const { id } of lost) answered({ id, res: await ask(id) });
        const bought = s.fake.calls.flatMap((call) => call.members.map((m) => m.prompt));
        assert.equal(new Set(bought).size, bought.length, 'nothing was bought twice');
    });
});
