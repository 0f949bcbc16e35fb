'use strict';
/* carpoolctl: keys are made, shown, changed, given new texts, ended and copied, whoever runs meanwhile. */
const assert = require('node:assert/strict');
const { spawn } = require('node:child_process');
const fs = require('node:fs');
const net = require('node:net');
const os = require('node:os');
const path = require('node:path');
const { describe } = require('node:test');
const nodeTest = require('node:test');
const { BUILD, Stack, STRETCH, assertError, isAlive, sleep, until, useStack } = require('./harness');
const { ctl, makeKey, PROGRAM } = require('./ctl');

const TEXT = /^cp_[A-Za-z0-9_-]{43}$/;
const env = { CARPOOL_BATCH_MEDIUM_WINDOW_MS: '20' };
const as = (key) => ({ headers: { 'X-API-Key': key } });

async function done(stack, ...args) {
    const result = await ctl(stack, args);
    assert.equal(result.status, 0, `${args.join(' ')}: ${result.err}`);
    return result;
}

async function fails(stack, status, pattern, ...args) {
    const result = await ctl(stack, args);
    assert.equal(result.status, status, `${args.join(' ')}: ${result.out}${result.err}`);
    assert.match(result.err, status === 2 ? /^carpoolctl: [^\n]+\n$/ : /^carpoolctl: [^\n]+\.\n$/, 'one sentence');
    assert.match(result.err, pattern);
    return result;
}

async function find(stack, id) {
    const { json } = await done(stack, 'key', 'list', '--json');
    return json.keys.find((k) => k.id === id);
}

/* The texts of all keys that were made: none of them may be in a file afterwards. */
function secret(stack, key) {
    assert.match(key, TEXT);
    stack.secrets.push(key);
    return key;
}

describe('carpoolctl key', () => {
    const s = useStack({ env });

    s.test('the first key closes keyless access at once, and opens it to the key', async (t, stack) => {
        assert.equal((await s.ask('free')).status, 200);
        const made = await done(stack, 'key', 'create', '--label', 'first');
        assert.match(made.out, /^cp_[A-Za-z0-9_-]{43}\n$/, 'nothing but the text');
        assert.match(made.err, /shown this once/);
        const key = secret(stack, made.out.trim());
        assertError(await s.ask('closed'), 401);
        assert.equal((await s.ask('open', {}, as(key))).status, 200);
        assertError(await s.get('/v1/settings', as(key)), 403);
        const admin = await makeKey(stack, '--role', 'admin', '--label', 'boss');
        secret(stack, admin.key);
        assert.equal((await s.get('/v1/settings', as(admin.key))).status, 200);
        assert.equal((await s.ask('by the boss', {}, as(admin.key))).status, 200);
    });

    s.test('a revoked key is out with the next request, for ever', async (t, stack) => {
        const { id, key } = await makeKey(stack, '--label', 'short-lived');
        secret(stack, key);
        assert.equal((await s.ask('in', {}, as(key))).status, 200);
        await done(stack, 'key', 'revoke', 'short-lived');
        assertError(await s.ask('out', {}, as(key)), 401);
        assert.equal((await find(stack, id)).state, 'revoked');
        await done(stack, 'key', 'revoke', id); /* it is so already */
        await fails(stack, 1, /revoked/, 'key', 'rotate', id);
        await fails(stack, 1, /revoked/, 'key', 'set', id, '--label', 'again');
        /* Its label is free again. */
        secret(stack, (await makeKey(stack, '--label', 'short-lived')).key);
    });

    s.test('a rotated key has two texts for a while, and stays the same caller', async (t, stack) => {
        const { id, key } = await makeKey(stack, '--label', 'turning');
        secret(stack, key);
        const first = await s.ask('mine', { request_id: 'turning-1' }, as(key));
        const grace = 3 * STRETCH;
        const turned = await done(stack, 'key', 'rotate', 'turning', '--grace', `${grace}s`);
        const fresh = secret(stack, turned.out.trim());
        const ends = Date.parse((await find(stack, id)).old_text_until);
        assert.ok(ends > Date.now() - 1000 && ends < Date.now() + (grace + 1) * 1000, 'when the old one ends');
        const again = await s.ask('mine', { request_id: 'turning-1' }, as(fresh));
        assert.equal(again.json.text, first.json.text);
        assert.equal(again.headers['idempotent-replayed'], 'true', 'one trust group');
        if (Date.now() < ends - 500) assert.equal((await s.ask('old', {}, as(key))).status, 200);
        await until(
            'the old text has ended',
            async () => (await s.ask('old', {}, as(key))).status === 401,
            (grace + 3) * 1000,
        );
        assert.ok(Date.now() >= ends, 'not before its time');
        assert.equal((await s.ask('new', {}, as(fresh))).status, 200);
        /* Without grace at once. */
        const last = secret(stack, (await done(stack, 'key', 'rotate', id)).out.trim());
        assertError(await s.ask('x', {}, as(fresh)), 401);
        assert.equal((await s.ask('x', {}, as(last))).status, 200);
    });

    s.test('the list says what there is, and no secret', async (t, stack) => {
        const { id, key } = await makeKey(
            ...[stack, '--label', 'größer', '--budget', '12.50', '--tokens-per-minute', '9000'],
        );
        secret(stack, key);
        const entry = await find(stack, id);
        assert.equal(entry.label, 'größer');
        assert.equal(entry.role, 'client');
        assert.equal(entry.state, 'active');
        assert.equal(entry.budget_usd, 12.5);
        assert.equal(entry.tokens_per_minute, 9000);
        assert.equal(entry.requests_per_minute, 0);
        await done(stack, 'key', 'set', id.slice(0, 10), '--budget', '0', '--requests-per-minute', '60');
        const table = (await done(stack, 'key', 'list')).out;
        const line = table.split('\n').find((text) => text.includes('größer'));
        const shown = `^${id.slice(0, 12)} +größer +client +active +20\\d\\d-\\d\\d-\\d\\d +60 +9000 +- `;
        assert.match(line, new RegExp(shown));
        assert.equal(new Set(table.trimEnd().split('\n').map((text) => text.length)).size, 1, 'straight columns');
        for (const text of [table, JSON.stringify(await find(stack, id))]) {
            assert.ok(!text.includes(key.slice(3)));
            assert.ok(!/[0-9a-f]{64}/.test(text), 'no hash either');
        }
    });

    s.test('what is wrong is said in one sentence', async (t, stack) => {
        secret(stack, (await makeKey(stack, '--label', 'taken')).key);
        await fails(stack, 1, /"taken"/, 'key', 'create', '--label', 'taken');
        await fails(stack, 1, /label/, 'key', 'create', '--label', 'a\u0007b');
        await fails(stack, 1, /label/, 'key', 'create', '--label', 'x'.repeat(65));
        await fails(stack, 3, /"nobody"/, 'key', 'revoke', 'nobody');
        await fails(stack, 3, /4 digits/, 'key', 'revoke', 'abc');
        await fails(stack, 2, /--label/, 'key', 'set', 'taken');
        await fails(stack, 2, /--help/, 'key', 'erase', 'taken');
        await fails(stack, 2, /key revoke KEY/, 'key', 'revoke');
        await fails(stack, 1, /no-such-file/, 'key', 'import', '/tmp/no-such-file');
        await fails(stack, 1, /carpool\.conf/, 'key', 'list', '--config=/nonexistent/carpool.conf');
        const help = await done(stack, '--help');
        assert.match(help.out, /Exit status: 0 done/);
        assert.match((await done(stack, '--version')).out, /^carpoolctl \d/);
    });

    s.test('the trail says who did what', async (t, stack) => {
        const { id, key } = await makeKey(stack, '--label', 'watched', '--budget', '3');
        secret(stack, key);
        await done(stack, 'key', 'set', 'watched', '--budget', '4');
        await done(stack, 'key', 'revoke', 'watched');
        const { json } = await done(stack, 'audit', '--json', '--limit', '3');
        assert.deepEqual(
            json.entries.map((e) => e.action),
            ['key.revoke', 'key.set', 'key.create'],
            'the newest first',
        );
        for (const entry of json.entries) {
            assert.match(entry.actor, /^carpoolctl, user /);
            assert.equal(entry.details.id, id);
            assert.equal(entry.details.label, 'watched');
        }
        assert.equal(json.entries[1].details.budget_usd, 4);
        assert.equal(json.entries[1].details.before.budget_usd, 3);
        const text = (await done(stack, 'audit')).out;
        assert.match(text, /key\.revoke {2}carpoolctl, user /);
        assert.ok(!text.includes(key.slice(3)) && !/[0-9a-f]{64}/.test(text));
    });

    s.test('many at once are made one after the other', async (t, stack) => {
        const made = await Promise.all(
            Array.from({ length: 8 }, () => ctl(stack, ['key', 'create', '--label', 'race', '--json'])),
        );
        const winners = made.filter((m) => m.status === 0);
        assert.equal(winners.length, 1, made.map((m) => m.err).join(''));
        secret(stack, winners[0].json.key);
        for (const m of made.filter((other) => other.status !== 0)) assert.match(m.err, /"race"/);
        assert.equal((await s.ask('x', {}, as(winners[0].json.key))).status, 200);
    });

    s.test('prompts of a revoked key that wait are refused', async (t, stack) => {
        const { key } = await makeKey(stack, '--label', 'waiting');
        secret(stack, key);
        const waiting = s.ask('a slow one', { priority: 'LOW' }, as(key)); /* for 4 s */
        await until('it waits', async () => (await ctl(stack, ['status', '--json'])).json.coordinator.queue.low.waiting === 1);
        await done(stack, 'key', 'revoke', 'waiting');
        const res = await waiting;
        assertError(res, 403, { code: 'KEY_REVOKED' });
        assert.ok(res.ms < 4000 * STRETCH);
    });

    s.test('a text that cannot be written is not lost without a word', async (t, stack) => {
        const full = fs.openSync('/dev/full', 'w');
        const made = await ctl(stack, ['key', 'create', '--label', 'unseen'], { stdout: full });
        fs.closeSync(full);
        assert.equal(made.status, 1);
        assert.match(made.err, /could not be written/);
        const { json } = await done(stack, 'key', 'list', '--json');
        const entry = json.keys.find((k) => k.label === 'unseen');
        assert.ok(made.err.includes(entry.id), 'it says which key to revoke');
    });
});

describe('keys of several machines', () => {
    const one = useStack({ env });
    const two = useStack({ env });

    one.test('a copy lets the same keys in, and never brings one back', async () => {
        /* So that coordinators run: one that carpoolctl starts for its change leaves again, and refuses while it does. */
        for (const s of [one, two]) assert.equal((await s.ask('x')).status, 200);
        const kept = await makeKey(one.stack, '--label', 'kept', '--requests-per-minute', '500');
        const gone = await makeKey(one.stack, '--label', 'gone');
        for (const stack of [one.stack, two.stack]) stack.secrets.push(kept.key, gone.key);
        const early = (await done(one.stack, 'key', 'export')).out;
        for (const { key } of [kept, gone]) assert.ok(!early.includes(key.slice(3)), 'hashes only');
        const taken = await ctl(two.stack, ['key', 'import', '-'], { input: early });
        assert.equal(taken.status, 0, taken.err);
        assert.match(taken.err, /2 records/);
        assertError(await two.ask('x'), 401);
        for (const { key } of [kept, gone]) assert.equal((await two.ask('x', {}, as(key))).status, 200);
        assert.equal((await find(two.stack, kept.id)).requests_per_minute, 500);

        await done(two.stack, 'key', 'revoke', 'gone');
        const file = path.join(two.stack.dir, 'keys.json');
        fs.writeFileSync(file, early);
        await done(two.stack, 'key', 'import', file);
        assertError(await two.ask('x', {}, as(gone.key)), 401);
        /* And back: what was revoked there is so here, too. */
        const late = (await done(two.stack, 'key', 'export')).out;
        assert.equal((await ctl(one.stack, ['key', 'import', '-'], { input: late })).status, 0);
        assertError(await one.ask('x', {}, as(gone.key)), 401);
        assert.equal((await one.ask('x', {}, as(kept.key))).status, 200);
    });

    one.test('what is no such file is refused whole', async () => {
        const before = (await done(one.stack, 'key', 'export')).out;
        const record = JSON.parse(before).keys[0];
        for (const text of [
            '',
            'no JSON',
            '[]',
            '{"keys":[]}',
            '{"carpool_keys":2,"keys":[]}',
            JSON.stringify({ carpool_keys: 1, keys: [{ ...record, hash: 'zz' }] }),
            JSON.stringify({ carpool_keys: 1, keys: [{ ...record, role: 'admin' }] }),
            JSON.stringify({ carpool_keys: 1, keys: [{ ...record, secret: 'x' }] }),
        ]) {
            const result = await ctl(one.stack, ['key', 'import', '-'], { input: text });
            assert.equal(result.status, 1, text);
            assert.match(result.err, /^carpoolctl: /);
            if (!/carpool_keys/.test(text)) assert.match(result.err, /no file of `carpoolctl key export`/, text);
        }
        assert.equal((await done(one.stack, 'key', 'export')).out, before);
    });

    one.test('more than one message holds', async () => {
        const hex = (n, size) => n.toString(16).padStart(size, '0');
        const keys = Array.from({ length: 600 }, (_, i) => ({
            id: hex(i + 1, 32),
            hash: hex(i + 1, 64),
            role: 'client',
            label: `bulk ${i}`,
            created_s: 1700000000 + i,
        }));
        const input = JSON.stringify({ carpool_keys: 1, keys });
        const taken = await ctl(one.stack, ['key', 'import', '-', '--json'], { input });
        assert.equal(taken.status, 0, taken.err);
        assert.deepEqual(taken.json, { records: 600 });
        assert.ok((await done(one.stack, 'key', 'list', '--json')).json.keys.length >= 600);
    });
});

/* An installation that nobody has started. */
class Still extends Stack {
    async start() {
        this.port = 1;
        fs.mkdirSync(this.storage, { mode: 0o700 });
    }
}

/* Stands between carpoolctl and the coordinator, and closes the connection over the answers to the first so many
 * changes, which are made. An answer (etc/protocol.md) is any frame behind the first, which is WELCOME. */
async function interrupter(at, coordinator, losses) {
    let lost = 0;
    const server = net.createServer((client) => {
        const there = net.connect(coordinator);
        let said = Buffer.alloc(0);
        let told = 0;
        there.on('data', (bytes) => {
            said = Buffer.concat([said, bytes]);
            const welcome = said.length < 4 ? Infinity : 16 + said.readUInt32LE(0);
            if (said.length > welcome && lost < losses) {
                lost++;
                client.destroy();
                there.destroy();
            } else client.write(said.subarray(told));
            told = said.length;
        });
        client.on('data', (bytes) => there.write(bytes));
        for (const [one, other] of [
            [client, there],
            [there, client],
        ]) {
            one.on('close', () => other.destroy());
            one.on('error', () => {});
        }
    });
    await new Promise((resolve) => server.listen(at, resolve));
    return { path: at, lost: () => lost, close: () => server.close() };
}

describe('without a server', () => {
    const use = async (body, options = {}) => {
        const stack = await Still.start({ env, ...options });
        try {
            await body(stack);
            await until('nothing of it stays', () => !stack.processes().length, 10000);
        } finally {
            await stack.stop();
        }
    };

    nodeTest.test('a coordinator comes for the change and leaves again', () =>
        use(async (stack) => {
            const none = await done(stack, 'key', 'list');
            assert.equal(none.out, '');
            assert.match(none.err, /key create/);
            const { id, key } = await makeKey(stack, '--label', 'early');
            secret(stack, key);
            await until('it has left', () => !stack.coordinatorPid(), 10000);
            assert.equal((await find(stack, id)).label, 'early');
        }),
    );

    nodeTest.test('one that runs, or comes meanwhile, serves it and stays', () =>
        use(async (stack) => {
            const start = () =>
                spawn(path.join(BUILD, 'carpoold'), [], { env: stack.environment(), stdio: 'ignore' });
            const gone = (child) => new Promise((resolve) => child.once('exit', resolve));
            const coordinator = start();
            const made = await Promise.all(
                Array.from({ length: 4 }, (_, i) => makeKey(stack, '--label', `meanwhile ${i}`)),
            );
            for (const { key } of made) secret(stack, key);
            /* Whichever of them won is there now, or gone; nothing was lost. */
            const { json } = await done(stack, 'key', 'list', '--json');
            assert.equal(json.keys.length, 4);
            if (coordinator.exitCode === null && stack.coordinatorPid() === coordinator.pid) {
                await makeKey(stack);
                assert.ok(isAlive(coordinator.pid), 'a coordinator that others started stays');
            }
            const end = gone(coordinator);
            coordinator.kill('SIGTERM');
            if (coordinator.exitCode === null && coordinator.signalCode === null) await end;
        }),
    );

    nodeTest.test('an answer that is lost on the way loses no key', () =>
        use(async (stack) => {
            for (const [losses, status] of [
                [1, 0],
                [2, 0],
                [3, 4],
            ]) {
                const label = `lost ${losses}`;
                const coordinator = spawn(path.join(BUILD, 'carpoold'), [], {
                    env: stack.environment(),
                    stdio: 'ignore',
                });
                const gone = new Promise((resolve) => coordinator.once('exit', resolve));
                const socket = path.join(stack.storage, 'coordinator.sock');
                await until('it listens', () => stack.coordinatorPid() === coordinator.pid && fs.existsSync(socket));
                const between = await interrupter(path.join(stack.dir, 'between.sock'), socket, losses);
                const made = await ctl(stack, ['key', 'create', '--json', '--label', label], {
                    env: { CARPOOL_COORDINATOR_SOCKET: between.path },
                });
                between.close();
                const { json } = await done(stack, 'key', 'list', '--json');
                assert.equal(json.keys.filter((k) => k.label === label).length, 1, 'made once');
                assert.equal(made.status, status, made.err);
                if (status) assert.match(made.err, /not known whether/);
                else secret(stack, made.json.key);
                assert.equal(between.lost(), losses);
                coordinator.kill('SIGTERM');
                await gone;
            }
        }),
    );

    nodeTest.test('a coordinator that goes away under the change is replaced', () =>
        use(async (stack) => {
            const socket = path.join(stack.storage, 'coordinator.sock');
            const false_one = net.createServer((c) => {
                c.on('error', () => {});
                c.once('data', () => {
                    false_one.close();
                    c.destroy();
                });
            });
            await new Promise((resolve) => false_one.listen(socket, resolve));
            secret(stack, (await makeKey(stack, '--label', 'after all')).key);
        }),
    );

    nodeTest.test('where none may be started it says so', () =>
        use(
            async (stack) => {
                await fails(stack, 1, /No coordinator listens .* Start carpool/, 'key', 'create');
            },
            { env: { ...env, CARPOOL_COORDINATOR_AUTOSTART: 'off' } },
        ),
    );

    const notRoot = process.getuid() !== 0 && 'only root can turn into somebody';
    nodeTest.test('root turns into the owner of the storage directory', { skip: notRoot }, () =>
        use(async (stack) => {
            const owner = 65534;
            stack.environment(); /* writes carpool.conf */
            fs.chmodSync(stack.dir, 0o755);
            fs.chownSync(stack.storage, owner, owner);
            fs.chmodSync(path.join(stack.dir, 'carpool.conf'), 0o644);
            /* The programs must be where that user can read them. */
            const programs = fs.mkdtempSync(path.join(os.tmpdir(), 'cp-bin-'));
            fs.chmodSync(programs, 0o755);
            for (const name of ['carpoold', 'carpoolctl'])
                fs.copyFileSync(path.join(BUILD, name), path.join(programs, name));
            const run = (args, more) => ctl(stack, args, { program: path.join(programs, 'carpoolctl'), ...more });
            try {
                const made = await run(['key', 'create', '--json']);
                assert.equal(made.status, 0, made.err);
                secret(stack, made.json.key);
                await until('it has left', () => !stack.processes().length, 10000);
                for (const name of fs.readdirSync(stack.storage))
                    assert.equal(fs.statSync(path.join(stack.storage, name)).uid, owner, `${name} is the owner's`);
                assert.equal((await run(['key', 'list', '--json'])).json.keys[0].id, made.json.id);
                const { json } = await run(['audit', '--json']);
                assert.match(json.entries[0].actor, /^carpoolctl, user root/);
                const other = await run(['key', 'create'], { uid: owner - 1 });
                assert.equal(other.status, 1, other.err);
                assert.equal(other.out, '', 'somebody else may not');
                assert.match(other.err, /another user's: run this as that user, or as root/);
            } finally {
                fs.rmSync(programs, { recursive: true, force: true });
            }
        }),
    );

    nodeTest.test('in the wrong place nothing is made', () =>
        use(async (stack) => {
            fs.rmdirSync(stack.storage);
            for (const command of ['create', 'list', 'export'])
                await fails(stack, 1, /no storage directory .*CARPOOL_STORAGE_DIR/, 'key', command);
            assert.ok(!fs.existsSync(stack.storage));
            fs.mkdirSync(stack.storage);
            fs.writeFileSync(path.join(stack.storage, 'letters.txt'), 'of somebody');
            for (const command of ['create', 'list', 'export'])
                await fails(stack, 1, /holds other things .*CARPOOL_STORAGE_DIR/, 'key', command);
            assert.deepEqual(fs.readdirSync(stack.storage), ['letters.txt']);
        }),
    );

    nodeTest.test('the text is nowhere but in its output', () =>
        use(async (stack) => {
            assert.ok(fs.existsSync(PROGRAM));
            const { key } = await makeKey(stack);
            secret(stack, key); /* stop() looks through all files */
            assert.deepEqual(stack.filesWith(key), []);
            assert.deepEqual(stack.filesWith(key.slice(3)), []);
        }),
    );
});
