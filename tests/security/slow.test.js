'use strict';
/*
 * Five hundred clients who send or read as slowly as they can (slowhttptest): slow headers, slow bodies, slow reading. A good
 * client's p99 over /health and /query stays within twice of what it is without them. Both are measured in one run, in turns;
 * when the machine is too busy with other things to decide, more rounds are added to both sides, and none is left out. Does
 * time run out over that, what counts as idle is a second server that was asked in turns with the attacked one, and it is said.
 * Whoever waits long for a good reason is not cut off.
 */
const assert = require('node:assert/strict');
const { spawn, spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { performance } = require('node:perf_hooks');
const { describe, after } = require('node:test');
const { ROOT, useStack, sleep, until, STRETCH } = require('../integration/harness');
const { copySite } = require('./site');

const CONNECTIONS = 500;
const ROUNDS_MIN = 2;
const SAMPLES_MIN = 100 / STRETCH;
const TIME_MS = 55000; /* for rounds */
const IDLE_MS = 2000;
const ATTACK_MS = 2000;
const skip = spawnSync('slowhttptest', ['-h']).error ? 'slowhttptest is not installed (etc/setup check)' : false;

const ATTACKS = {
    'slow headers': ['-H', '-i', '2', '-x', '24'],
    'slow bodies': ['-B', '-i', '2', '-s', '8192', '-x', '24', '-t', 'POST', '-f', 'application/json'],
    'slow reading': ['-X', '-n', '2', '-w', '64', '-y', '128', '-z', '16'],
};
const TARGET = { 'slow headers': '/health', 'slow bodies': '/query', 'slow reading': '/assets/slow-reading.txt' };

/* Connections that this port holds, from /proc/net/tcp. */
function established(port) {
    const here = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
    return fs
        .readFileSync('/proc/net/tcp', 'latin1')
        .split('\n')
        .filter((line) => line.trim().split(/\s+/)[1]?.endsWith(here) && line.trim().split(/\s+/)[3] === '01').length;
}
const p99 = (times) => times.toSorted((a, b) => a - b)[Math.ceil(times.length * 0.99) - 1];

describe('five hundred slow clients', { skip }, () => {
    const site = copySite();
    /* More than a small window takes at once; no page is that large. */
    fs.writeFileSync(path.join(site.web, 'assets', 'slow-reading.txt'), 'slow '.repeat(1 << 18));
    const s = useStack({ command: site.command, env: { CARPOOL_BATCH_MEDIUM_WINDOW_MS: '0', CARPOOL_BATCH_HIGH_WINDOW_MS: '0' } });

    after(() => site.remove());

    const twin = useStack({ env: { CARPOOL_BATCH_MEDIUM_WINDOW_MS: '0' } });

    /* What a good client measures for ms: both requests in turns, each lane with a pause, so that it is no load itself; and the
     * same of the other server, which nobody attacks. */
    async function measure(ms, into, beside) {
        const end = performance.now() + ms;
        const lane = async () => {
            while (performance.now() < end) {
                for (const [server, times] of [[s, into], [twin, beside]]) {
                    const health = await server.get('/health', { check: false, timeoutMs: 10000 });
                    const query = await server.post('/query', { query: 'good' }, { check: false, timeoutMs: 10000 });
                    assert.equal(health.status, 200);
                    assert.deepEqual(query.json, { result: 'Processed: good' });
                    times.health.push(health.ms);
                    times.query.push(query.ms);
                }
                await sleep(4);
            }
        };
        await Promise.all([lane(), lane(), lane(), lane()]);
    }

    function attack(name) {
        const url = `http://127.0.0.1:${s.port}${TARGET[name]}`;
        const args = [...ATTACKS[name], '-c', String(CONNECTIONS), '-r', '400', '-l', '60', '-p', '5', '-u', url];
        /* It stands for five hundred machines elsewhere, so it leaves the processors of this one to others. */
        const child = spawn('nice', ['-n', '19', 'slowhttptest', ...args], { stdio: 'ignore' });
        child.gone = new Promise((resolve) => child.on('close', resolve));
        return child;
    }

    for (const name of Object.keys(ATTACKS))
        s.test(`${name}: p99 at most twice that of an idle server`, async (t) => {
            const none = () => ({ health: [], query: [] });
            const [idle, busy, beside] = [none(), none(), none()];
            const ratio = (what) => p99(busy[what]) / p99(idle[what]);
            await measure(500, none(), none());
            let held = 0;
            const lastMs = performance.now() + TIME_MS * STRETCH;
            const undecided = () => performance.now() < lastMs && (ratio('health') > 2 || ratio('query') > 2);
            const enough = () => busy.health.length > SAMPLES_MIN || performance.now() > lastMs;
            for (let round = 0; round < ROUNDS_MIN || !enough() || undecided(); round++) {
                await measure(IDLE_MS, idle, none());
                const child = attack(name);
                try {
                    await until('the attack is there', () => established(s.port) > CONNECTIONS * 0.9, 30000);
                    await sleep(500);
                    await measure(ATTACK_MS, busy, beside);
                    held = Math.max(held, established(s.port));
                } finally {
                    child.kill('SIGKILL');
                    await child.gone;
                }
                await until('they are gone', () => established(s.port) < 50, 20000);
            }
            for (const what of ['health', 'query'])
                t.diagnostic(
                    `/${what}: p99 ${p99(idle[what]).toFixed(1)} ms of ${idle[what].length} idle, ${p99(busy[what]).toFixed(1)} ms of ${busy[what].length} beside ${held} slow ones`,
                );
            assert.ok(busy.health.length > SAMPLES_MIN, `${busy.health.length} samples are too few`);
            assert.ok(held > CONNECTIONS * 0.9, `${held} connections were held`);
            for (const what of ['health', 'query'])
                if (ratio(what) > 2) {
                    t.diagnostic(`/${what}: ${ratio(what).toFixed(2)} times; the other server at the same time: p99 ${p99(beside[what]).toFixed(1)} ms`);
                    assert.ok(p99(busy[what]) <= 2 * p99(beside[what]), `/${what}: ${ratio(what).toFixed(2)} times`);
                }
        });
});

describe('patient clients', () => {
    const s = useStack({ provider: 'openai', env: { CARPOOL_BATCH_LOW_LATENCY_MS: '60000', CARPOOL_PROVIDER_TIMEOUT_MS: '90000' } });

    s.test('a LOW prompt, its window, a slow provider and a long poll are waited for to their end', async () => {
        const slow = 34000;
        s.fake.latencyMs = slow;
        const start = performance.now();
        const accepted = await s.ask('asynchronous', { request_id: 'patient', priority: 'LOW' }, { headers: { Prefer: 'respond-async' } });
        assert.equal(accepted.status, 202, accepted.text);
        s.fake.when((call) => call.members.some((m) => m.prompt.includes('never')), 'hang');
        const never = await s.ask('never', { request_id: 'patient-never', priority: 'HIGH' }, { headers: { Prefer: 'respond-async' } });
        assert.equal(never.status, 202, never.text);
        const [low, poll, long] = await Promise.all([
            s.ask('low', { priority: 'LOW' }, { timeoutMs: 80000 }),
            s.get('/v1/requests/patient?wait=60', { timeoutMs: 80000 }),
            s.get('/v1/requests/patient-never?wait=60', { timeoutMs: 80000 }).then((res) => ({ res, ms: performance.now() - start })),
        ]);
        assert.equal(low.status, 200, low.text);
        assert.equal(low.json.text, 'Answer to: low');
        assert.ok(low.ms > slow, `${low.ms} ms`);
        assert.equal(poll.json.status, 'done', poll.text);
        assert.equal(long.res.json.status, 'running', long.res.text);
        s.fake.server.closeAllConnections();
        assert.ok(long.ms >= 59000, `a poll of 60 s was answered after ${long.ms} ms`);
    });

    s.test('who says nothing, or half a request, is let go in time; a kept connection too', async (t) => {
        const net = require('node:net');
        const limits = Object.fromEntries(
            [...fs.readFileSync(path.join(ROOT, 'lighttpd.conf'), 'utf8').matchAll(/^server\.(max-[a-z-]+-idle)\s*=\s*(\d+)/gm)].map(([, name, value]) => [name, Number(value)]),
        );
        assert.ok(limits['max-read-idle'] <= 30 && limits['max-write-idle'] > 120 && limits['max-keep-alive-idle'] <= 10, JSON.stringify(limits));
        const life = (bytes) =>
            new Promise((resolve) => {
                const start = performance.now();
                const socket = net.connect(s.port, '127.0.0.1');
                socket.on('data', () => {});
                socket.on('error', () => {});
                socket.on('close', () => resolve((performance.now() - start) / 1000));
                if (bytes) socket.write(bytes);
            });
        const whole = 'GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n';
        const [silent, half, body, kept] = await Promise.all([
            life(''),
            life(whole.slice(0, 30)),
            life('POST /query HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{'),
            life(whole),
        ]);
        t.diagnostic(`let go after ${[silent, half, body, kept].map((n) => n.toFixed(1)).join(', ')} s`);
        for (const lived of [silent, half, body]) assert.ok(lived < limits['max-read-idle'] + 5 * STRETCH, `${lived} s`);
        assert.ok(kept < limits['max-keep-alive-idle'] + 5 * STRETCH, `${kept} s`);
    });
});
