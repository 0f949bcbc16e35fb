'use strict';
/*
 * Another user of the machine, before whom nothing stands but permissions: the directory around the instance is open
 * to all. Neither sockets, files, logs nor processes are theirs, with an ordinary umask and with one that allows everything;
 * and who gets at the coordinator's socket all the same is turned away by his uid.
 */
const assert = require('node:assert/strict');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { describe, before, after, test } = require('node:test');
const { Stack, until, ROOT } = require('../integration/harness');
const { cannotPlay, asNobody, everythingBelow, tryPaths, tryProcesses } = require('./neighbour');

const skip = cannotPlay() ?? false;
const ENV = { CARPOOL_BATCH_HIGH_WINDOW_MS: '5', CARPOOL_BATCH_MEDIUM_WINDOW_MS: '5' };

/* A stack in a directory that everybody may enter and read; umask as given while it starts. */
async function startInTheOpen({ umask, env = {}, prepare = () => {}, command }) {
    const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'cp-open-'));
    fs.chmodSync(dir, 0o755);
    prepare(dir);
    const before = process.umask(umask);
    try {
        return await Stack.start({ provider: 'openai', dir, command, env: { ...ENV, ...env } });
    } finally {
        process.umask(before);
    }
}

/* Everything that a life leaves: chats, logs, an event file, a key that was put. */
async function live(stack) {
    assert.equal((await stack.put('/v1/settings', { api_key: 'sk-put-by-an-admin' })).status, 200);
    await Promise.all(['a', 'b', 'c'].map((prompt) => stack.ask(prompt, { priority: 'HIGH' })));
    await until('its logs are there', () => stack.events().some((e) => /BATCH_COMPLETE/.test(JSON.stringify(e))));
}

for (const [name, umask] of [
    ['an ordinary umask', 0o022],
    ['umask 000', 0o000],
]) {
    describe(`a neighbour, with ${name}`, { skip }, () => {
        let stack;
        let logs;
        before(async () => {
            logs = fs.mkdtempSync(path.join(os.tmpdir(), 'cp-logs-'));
            fs.chmodSync(logs, 0o755);
            stack = await startInTheOpen({ umask, env: { CARPOOL_LOG_DIR: path.join(logs, 'deep', 'logs') } });
            stack.secrets.push('sk-put-by-an-admin');
            const events = path.join(logs, 'deep', 'logs', 'events.jsonl');
            stack.events = () => fs.readFileSync(events, 'utf8').split('\n').filter(Boolean).map((l) => JSON.parse(l));
            await live(stack);
        });
        after(async () => {
            await stack?.stop();
            fs.rmSync(logs, { recursive: true, force: true });
        });

        test('sees, reads and writes nothing of it', async () => {
            /* Otherwise the walk below would prove nothing. */
            assert.deepEqual(asNobody(tryPaths, [{ path: stack.dir, kind: 'directory' }]), [`list ${stack.dir}`]);
            const all = [...everythingBelow(stack.storage), ...everythingBelow(path.join(logs, 'deep', 'logs'))];
            const names = all.map((e) => path.basename(e.path));
            for (const expected of ['data.mdb', 'provider.key', 'coordinator.sock', 'coordinator.lock', 'events.jsonl'])
                assert.ok(names.includes(expected), `${expected} is not there: ${names}`);
            assert.equal(all.filter((e) => e.kind === 'socket').length, 3, 'coordinator and two pools');
            assert.deepEqual(asNobody(tryPaths, all), []);
        });

        test('each file is private by itself, too, should a directory be opened', () => {
            const open = [...everythingBelow(stack.storage), ...everythingBelow(path.join(logs, 'deep', 'logs'))].filter(
                ({ path: file }) => fs.lstatSync(file).mode & 0o077,
            );
            assert.deepEqual(
                open.map(({ path: file }) => `${file} ${(fs.lstatSync(file).mode & 0o777).toString(8)}`),
                [],
            );
        });

        test('reads nothing of its processes', () => {
            const programs = stack.processes().filter((p) => ['carpool.fcgi', 'carpoold'].includes(p.name));
            assert.ok(programs.some((p) => p.name === 'carpoold') && programs.length >= 5, JSON.stringify(programs));
            assert.ok(asNobody(tryProcesses, ['self']).length > 5, 'of its own it reads all, or this would prove nothing');
            assert.deepEqual(asNobody(tryProcesses, programs.map((p) => p.pid)), []);
        });
    });
}

describe('a neighbour who got at the directory of the sockets', { skip }, () => {
    let stack;
    before(async () => {
        stack = await startInTheOpen({ umask: 0o022 });
        await live(stack);
        stack.secrets.push('sk-put-by-an-admin');
        fs.chmodSync(stack.storage, 0o755);
        fs.chmodSync(path.join(stack.storage, 'coordinator.sock'), 0o777);
    });
    after(() => stack?.stop());

    test('is turned away by the coordinator for his uid', async () => {
        const talk = (file, hello) =>
            new Promise((resolve) => {
                const net = require('node:net');
                const socket = net.connect(file);
                let connected = false;
                const bytes = [];
                socket.on('connect', () => (connected = true) && socket.write(Buffer.from(hello, 'hex')));
                socket.on('data', (chunk) => bytes.push(chunk) && socket.end());
                socket.on('error', () => {});
                socket.on('close', () => resolve({ connected, answer: Buffer.concat(bytes).toString('hex') }));
                setTimeout(() => socket.destroy(), 5000).unref();
            });
        const file = path.join(stack.storage, 'coordinator.sock');
        const hello = Buffer.alloc(16 + 24);
        hello.writeUInt32LE(24, 0);
        hello[4] = 2; /* version */
        hello[5] = 1; /* HELLO */
        hello.writeBigUInt64LE(1n, 8);
        const own = await talk(file, hello.toString('hex')).catch((e) => e);
        assert.match(own.answer, /^0c000000/, 'the same bytes from the right user are welcome');
        const other = asNobody(talk, file, hello.toString('hex'));
        assert.deepEqual(other, { connected: true, answer: '' });
        assert.equal((await stack.ask('still here', { priority: 'HIGH' })).status, 200);
    });
});

describe('directories that were there before', { skip }, () => {
    test('keep their permissions, and what is made in them is private all the same', async () => {
        const theirs = ['s', 's/logs'];
        const prepare = (dir) => {
            for (const name of [...theirs, 's/run']) {
                fs.mkdirSync(path.join(dir, name), { mode: 0o755 });
                fs.chmodSync(path.join(dir, name), 0o755);
            }
        };
        const stack = await startInTheOpen({ umask: 0o022, prepare });
        try {
            await live(stack);
            stack.secrets.push('sk-put-by-an-admin');
            const listed = theirs.map((name) => `list ${path.join(stack.dir, name)}`);
            const found = asNobody(tryPaths, everythingBelow(stack.storage));
            assert.deepEqual(
                found.filter((what) => !listed.includes(what)),
                [],
            );
        } finally {
            await stack.stop();
        }
    });
});

describe('a neighbour and make run', { skip }, () => {
    test('umask 000 makes nothing of it readable', async () => {
        const stack = await startInTheOpen({ umask: 0, command: [path.join(ROOT, 'etc', 'run')] });
        try {
            await live(stack);
            stack.secrets.push('sk-put-by-an-admin');
            assert.deepEqual(asNobody(tryPaths, everythingBelow(stack.storage)), []);
        } finally {
            await stack.stop();
        }
    });
});
