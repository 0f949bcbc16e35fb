'use strict';
/* What /health says of Redis, and what a start without it is like. Passwords are in no word and no file. */
const { describe, test } = require('node:test');
const assert = require('node:assert/strict');
const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { Machines, useMachines, timesPaid, until, STRETCH } = require('./machines');
const { Redis } = require('./redis');
const { ROOT, BUILD, cleanEnvironment } = require('../integration/harness');

/* One machine for the length of body. */
async function withOne(options, body) {
    const m = await Machines.start({ n: 1, ...options });
    try {
        await body(m.a, m);
    } catch (e) {
        e.message += `\n${m.logs()}`;
        throw e;
    } finally {
        await m.stop();
    }
}
const alone = (name, body) => test(name, { timeout: 120000 * STRETCH }, body);

describe('one machine and its Redis', () => {
    const m = useMachines({ n: 1, redis: { socket: true } });

    m.test('ok, over a Unix socket', async () => {
        const standing = await m.a.standing();
        assert.deepEqual({ ...standing, reason: undefined }, { http: 200, whole: 'ok', status: 'ok', reason: undefined });
    });

    for (const [what, away, back] of [
        ['killed', () => m.redis.kill(), () => m.redis.launch()],
        ['stopped', () => m.redis.pause(), () => m.redis.resume()],
    ])
        m.test(`${what}: down and degraded with HTTP 200, new ids 503, what is known is told`, async (t) => {
            const known = await m.a.ask('known', { request_id: `known-${what}` });
            assert.equal(known.status, 200);
            await away();
            const start = performance.now();
            const refused = await m.a.ask('new', { request_id: `new-${what}` });
            assert.equal(refused.status, 503, refused.text);
            assert.match(refused.json.error.message, /Redis/);
            assert.ok(Number(refused.headers['retry-after']) >= 1, 'says when to come again');
            t.diagnostic(`refused after ${(performance.now() - start).toFixed(0)} ms`);
            await m.a.says('down', /Redis/);
            const again = await m.a.ask('known', { request_id: `known-${what}` });
            assert.equal(again.text, known.text);
            await back();
            const from = performance.now();
            assert.equal((await m.a.says('ok')).whole, 'ok');
            t.diagnostic(`back after ${(performance.now() - from).toFixed(0)} ms`);
            assert.equal((await m.a.ask('new', { request_id: `new-${what}` })).status, 200);
            assert.equal(timesPaid(m.fake, 'new'), 1);
        });
});

for (const [what, redis] of [
    ['appendfsync everysec', { appendfsync: 'everysec' }],
    ['no append-only file', { args: ['--appendonly', 'no'] }],
])
    alone(`${what}: it works, and says that the promise holds per machine`, () =>
        withOne({ redis, share: false }, async (machine, m) => {
            await m.wake(machine);
            const { reason } = await machine.says('ok', /appendfsync|appendonly/);
            assert.match(reason, /machine/i, 'whose promise it is then');
            assert.equal((await machine.ask('works', { request_id: 'works' })).status, 200);
        }),
    );

alone('appendfsync changed while it runs is noticed', () =>
    withOne({}, async (machine, m) => {
        await m.redis.command('CONFIG', 'SET', 'appendfsync', 'no');
        await m.redis.command('CLIENT', 'KILL', 'TYPE', 'normal');
        await machine.says('ok', /appendfsync/);
    }),
);

alone('with a password', () =>
    withOne({ redis: { password: 'canary-right-password' } }, async (machine, m) => {
        assert.equal((await machine.ask('works', { request_id: 'works' })).status, 200);
        assert.deepEqual(machine.filesWith('canary-right-password'), []);
        assert.ok((await m.redis.command('DBSIZE')) > 0, 'it is used');
    }),
);

for (const [what, password] of [
    ['a wrong password', 'canary-wrong-password'],
    ['no password where one is needed', ''],
])
    alone(`${what}: the reason says so and shows none`, () =>
        withOne(
            { redis: { password: 'canary-right-password' }, url: (m) => m.redis.url({ password }), share: false },
            async (machine, m) => {
                await m.wake(machine);
                await machine.says('down', /password/i);
                const { text } = await machine.get('/health');
                assert.doesNotMatch(text, /canary/);
                assert.deepEqual(machine.filesWith('canary-'), []);
            },
        ),
    );

/* Two nodes of a cluster, and the url of the one that has not our keys. */
async function cluster() {
    const nodes = [];
    for (let i = 0; i < 2; i++) nodes.push(await Redis.start({ args: ['--cluster-enabled', 'yes'] }));
    await nodes[0].command('CLUSTER', 'ADDSLOTSRANGE', '0', '8191');
    await nodes[1].command('CLUSTER', 'ADDSLOTSRANGE', '8192', '16383');
    await nodes[0].command('CLUSTER', 'MEET', '127.0.0.1', String(nodes[1].port));
    await until('the nodes know each other', async () => {
        const infos = await Promise.all(nodes.map((node) => node.command('CLUSTER', 'INFO')));
        return infos.every((info) => info.includes('cluster_state:ok'));
    }, 20000);
    const slot = await nodes[0].command('CLUSTER', 'KEYSLOT', '{carpool}');
    return { nodes, foreign: nodes[slot < 8192 ? 1 : 0] };
}

alone('a node of a Redis Cluster that does not have our keys: its redirection is followed', async () => {
    const { nodes, foreign } = await cluster();
    try {
        await withOne({ url: () => foreign.url(), share: false }, async (machine, m) => {
            await m.wake(machine);
            await machine.says('ok');
            assert.equal((await machine.ask('works', { request_id: 'works' })).status, 200);
            const held = await Promise.all(nodes.map((node) => node.command('DBSIZE')));
            assert.ok(held[nodes.indexOf(foreign)] === 0 && Math.max(...held) > 0, 'where the cluster wants it');
        });
    } finally {
        for (const node of nodes) await node.stop();
    }
});

alone('a replica, which only reads', async () => {
    const main = await Redis.start();
    try {
        await withOne({ redis: { args: ['--replicaof', '127.0.0.1', String(main.port)] }, share: false }, async (machine, m) => {
            await m.wake(machine);
            await machine.says('down', /replica/i);
            await m.redis.command('REPLICAOF', 'NO', 'ONE');
            await machine.says('ok');
        });
    } finally {
        await main.stop();
    }
});

alone('not there at the start, and coming later', () =>
    withOne({ lateRedis: true }, async (machine, m) => {
        assert.equal((await machine.ask('too early', { request_id: 'early' })).status, 503);
        await machine.says('down');
        await m.redis.launch();
        await machine.says('ok');
        assert.equal((await machine.ask('too early', { request_id: 'early' })).status, 200);
        assert.equal(timesPaid(m.fake, 'too early'), 1);
    }),
);

describe('REDIS_URL and REDIS_ENABLED', () => {
    const ours = { CARPOOL_REDIS_ENABLED: '', CARPOOL_REDIS_URL: '' };
    const keys = (m) => m.redis.command('DBSIZE');

    alone('REDIS_URL alone switches it on', () =>
        withOne({ env: (i, m) => ({ ...ours, REDIS_URL: m.redis.url() }) }, async (machine, m) => {
            assert.equal((await machine.ask('shared', { request_id: 'x' })).status, 200);
            assert.equal((await machine.standing()).status, 'ok');
            assert.ok((await keys(m)) > 0);
        }),
    );
    alone('… unless REDIS_ENABLED says false', () =>
        withOne(
            { env: (i, m) => ({ ...ours, REDIS_URL: m.redis.url(), REDIS_ENABLED: 'false' }), share: false },
            async (machine, m) => {
                assert.equal((await machine.ask('alone', { request_id: 'x' })).status, 200);
                assert.equal((await machine.standing()).status, 'disabled');
                assert.equal(await keys(m), 0);
            },
        ),
    );
    alone('… or the file says off', () =>
        withOne(
            { conf: '[redis]\nenabled = off\n', env: (i, m) => ({ ...ours, REDIS_URL: m.redis.url() }), share: false },
            async (machine, m) => {
                assert.equal((await machine.ask('alone', { request_id: 'x' })).status, 200);
                assert.equal((await machine.standing()).status, 'disabled');
                assert.equal(await keys(m), 0);
            },
        ),
    );
});

/* What carpoold says when it will not start with these variables. */
function refusalOf(build, env) {
    const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'cp-'));
    try {
        const run = spawnSync(path.join(build, 'carpoold'), [], {
            cwd: ROOT,
            env: { ...cleanEnvironment(), CARPOOL_STORAGE_DIR: dir, ...env },
            encoding: 'utf8',
            timeout: 10000 * STRETCH,
        });
        return { status: run.status, said: run.stderr + run.stdout };
    } finally {
        fs.rmSync(dir, { recursive: true, force: true });
    }
}

test('a URL of a kind that it cannot speak: no start, and a sentence without the password', () => {
    const { status, said } = refusalOf(BUILD, { REDIS_URL: 'rediss://:canary-password@127.0.0.1:1' });
    assert.notEqual(status, 0, said);
    assert.notEqual(status, null, 'it ends by itself');
    assert.match(said, /TLS/);
    assert.doesNotMatch(said, /canary/);
});

test('built without hiredis: Redis switched on means no start, and a sentence', { skip: !process.env.BARE && 'BARE is not set' }, () => {
    const { status, said } = refusalOf(path.resolve(ROOT, process.env.BARE), { REDIS_URL: 'redis://127.0.0.1:1' });
    assert.notEqual(status, 0, said);
    assert.notEqual(status, null, 'it ends by itself');
    assert.match(said, /hiredis/);
});
