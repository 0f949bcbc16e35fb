'use strict';
/*
 * carpoolctl backup and restore: one file while everything runs, and back again, with nothing sent twice; what
 * is damaged, cut short, foreign or newer changes nothing.
 */
const { describe, test } = require('node:test');
const assert = require('node:assert/strict');
const { spawn } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { performance } = require('node:perf_hooks');
const { Stack, STRETCH, inParallel, sleep, until } = require('./harness');
const { ctl, PROGRAM } = require('./ctl');

const SEAL = 88;
const PUT_KEY = 'sk-put-canary-key-55aa';

async function done(stack, ...args) {
    const result = await ctl(stack, args);
    assert.equal(result.status, 0, `${args.join(' ')}: ${result.err}`);
    return result;
}
async function refused(stack, pattern, ...args) {
    const result = await ctl(stack, args);
    assert.equal(result.status, 1, `${args.join(' ')}: ${result.err}`);
    assert.match(result.err, pattern);
}

const OPTIONS = { provider: 'openai', env: { CARPOOL_BATCH_LOW_WINDOW_MS: '60000', CARPOOL_BATCH_LOW_LATENCY_MS: '60000' } };
const withStack = (name, body) =>
    test(name, { timeout: 120000 * STRETCH }, async (t) => {
        const stack = await Stack.start(OPTIONS);
        /* Outside of the stack's directory, where no key may be found afterwards. */
        const away = fs.mkdtempSync(path.join(path.dirname(stack.dir), 'cpb-'));
        try {
            await body(stack, (file) => path.join(away, file), t);
        } catch (e) {
            e.message += `\n${stack.logs()}`;
            throw e;
        } finally {
            await stack.stop();
            fs.rmSync(away, { recursive: true });
        }
    });
const ask = async (stack, id, more = {}) => {
    const answer = await stack.ask(`prompt of ${id}`, { request_id: id, priority: 'HIGH', ...more });
    assert.ok([200, 202].includes(answer.status), answer.text);
    return answer;
};
const ids = async (stack) => (await stack.chats()).map((c) => c.request.request_id).sort();
const storeBytes = (stack) => fs.readFileSync(path.join(stack.storage, 'data.mdb'));

describe('carpoolctl backup', () => {
    withStack('is whole under load, private, and has no provider key unless it is asked for', async (stack, away) => {
        stack.secrets.push(PUT_KEY);
        await stack.put('/v1/settings', { api_key: PUT_KEY });
        await ask(stack, 'first');
        const file = away('one');
        fs.writeFileSync(file, '', { mode: 0o644 });
        let asked = 0, over = false;
        const load = inParallel(4, 4, async () => {
            while (!over) await ask(stack, `load-${++asked}`);
        });
        const told = [];
        try {
            for (let i = 0; i < 5; i++) told.push((await done(stack, 'backup', file, '--json')).json);
        } finally {
            over = true;
            await load;
        }
        assert.ok(told[0].chats >= 1 && told[4].chats >= told[0].chats && told[4].chats <= asked + 1);
        assert.equal(told[4].provider_key, false);
        const bytes = fs.readFileSync(file);
        assert.equal(bytes.length, told[4].bytes);
        assert.equal(fs.statSync(file).mode & 0o777, 0o600);
        assert.ok(bytes.includes('prompt of first'), 'it is the store');
        assert.ok(!bytes.includes(PUT_KEY));
        assert.deepEqual(fs.readdirSync(away('.')), ['one'], 'nothing else is left there');
        assert.match((await done(stack, 'backup', file)).err, /provider's key is not in it \(--with-provider-key\)/);
        assert.match((await done(stack, 'backup', file, '--with-provider-key')).err, /key is in the backup/);
        assert.ok(fs.readFileSync(file).includes(PUT_KEY));

        const out = fs.openSync(away('two'), 'w', 0o600);
        const piped = await ctl(stack, ['backup', '-', '--json'], { stdout: out });
        fs.closeSync(out);
        assert.equal(piped.status, 0, piped.err);
        assert.equal(fs.statSync(away('two')).size, JSON.parse(piped.err).bytes);
    });

    withStack('that cannot be written leaves what was there', async (stack, away) => {
        await ask(stack, 'first');
        await refused(stack, /cannot be begun/, 'backup', away('missing/file'));
        fs.mkdirSync(away('directory'));
        await refused(stack, /is no file/, 'backup', away('directory'));
        /* A backup in the place of the store would lose what the coordinator has written since. */
        fs.writeFileSync(away('letter'), 'not a backup');
        fs.symlinkSync('letter', away('link'));
        for (const file of [path.join(stack.storage, 'data.mdb'), path.join(stack.storage, 'coordinator.lock'), away('letter'), away('link')]) {
            const inode = fs.lstatSync(file).ino;
            await refused(stack, /is no backup, so it is not overwritten/, 'backup', file);
            assert.equal(fs.lstatSync(file).ino, inode, file);
        }
        assert.equal(fs.readFileSync(away('letter'), 'utf8'), 'not a backup');
        assert.deepEqual(fs.readdirSync(away('.')).sort(), ['directory', 'letter', 'link']);
        const shut = fs.openSync('/dev/null', 'r');
        const piped = await ctl(stack, ['backup', '-'], { stdout: shut });
        fs.closeSync(shut);
        assert.equal(piped.status, 1);
        assert.match(piped.err, /could not be written to standard output/);
    });
});

describe('carpoolctl restore', () => {
    withStack('brings back what was, under the workers that run, and keeps what is', async (stack, away) => {
        stack.secrets.push(PUT_KEY);
        await stack.put('/v1/settings', { low_priority: { max_batch: 3 }, api_key: PUT_KEY });
        await ask(stack, 'before');
        const epoch = (await done(stack, 'status', '--json')).json.store.epoch;
        await done(stack, 'backup', away('b'), '--with-provider-key');
        await ask(stack, 'after');
        await ask(stack, 'gone');
        assert.equal((await stack.delete('/v1/chat/gone')).status, 200);
        await stack.put('/v1/settings', { low_priority: { max_batch: 5 }, api_key: 'sk-later-canary-key-77bb' });
        stack.secrets.push('sk-later-canary-key-77bb');
        /* Not its bytes: what workers count is written meanwhile. */
        const { ino } = fs.statSync(path.join(stack.storage, 'data.mdb'));
        await refused(stack, /A coordinator runs \(process \d+\)/, 'restore', away('b'));
        assert.equal(fs.statSync(path.join(stack.storage, 'data.mdb')).ino, ino);
        assert.deepEqual(await ids(stack), ['after', 'before']);
        assert.deepEqual(fs.readdirSync(stack.storage).filter((name) => name.startsWith('restore')), []);

        await done(stack, 'drain');
        const lock = path.join(stack.storage, 'lock.mdb');
        const held = fs.openSync(lock, 'r'); /* so that its number is given to no other */
        const told = (await done(stack, 'restore', away('b'), '--json')).json;
        const other = fs.existsSync(lock) && fs.statSync(lock).ino !== fs.fstatSync(held).ino;
        assert.ok(!fs.existsSync(lock) || other, 'a lock file belongs to one data.mdb');
        fs.closeSync(held);
        assert.equal(told.chats, 1);
        assert.equal(told.requests_carried, 2);
        assert.equal(told.sealed, true);
        assert.equal(told.provider_key, true);
        assert.ok(told.epoch > epoch, `${told.epoch} > ${epoch}`);
        assert.ok(fs.readFileSync(path.join(told.kept, 'data.mdb')).includes('prompt of after'), 'the old one is kept');
        assert.deepEqual(fs.readdirSync(stack.storage).filter((name) => name.startsWith('restore.')), []);

        await until('the workers have seen it', async () => (await ids(stack)).join() === 'before');
        assert.equal((await stack.get('/v1/settings')).json.low_priority.max_batch, 3);
        stack.fake.keys = [PUT_KEY];
        const again = await ask(stack, 'before');
        assert.match(again.text, /Answer to: prompt of before/);
        assert.equal(stack.fake.callsWith('before').length, 1, 'it is replayed');
        await until('the answer that came after the backup is lost, and it is known that there was one', async () => {
            const lost = await stack.ask('prompt of after', { request_id: 'after', priority: 'HIGH' }, { check: false });
            if (lost.status === 200) return false; /* a worker that has not looked since replays what it still sees */
            assert.equal(lost.status, 424, lost.text);
            assert.match(lost.text, /backup was restored after this request_id was sent/);
            return true;
        });
        const deleted = await stack.ask('prompt of gone', { request_id: 'gone', priority: 'HIGH' }, { check: false });
        assert.equal(deleted.status, 410, deleted.text);
        for (const id of ['after', 'gone']) assert.equal(stack.fake.callsWith(id).length, 1, `${id} is not paid twice`);
        assert.equal((await ask(stack, 'after-all')).status, 200);
        const now = (await done(stack, 'status', '--json')).json;
        assert.equal(now.state, 'ok');
        assert.ok(now.coordinator.epoch > told.epoch);

        /* And the kept one comes back the same way. */
        await done(stack, 'drain');
        const back = await done(stack, 'restore', path.join(told.kept, 'data.mdb'));
        assert.match(back.err, /has no seal/);
        await until('the workers have seen it', async () => (await ids(stack)).join() === 'after,before');
        const found = await until('its answer is back', async () => {
            const answer = await stack.ask('prompt of after', { request_id: 'after', priority: 'HIGH' }, { check: false });
            return answer.status === 200 && answer;
        });
        assert.equal(found.headers['idempotent-replayed'], 'true');
    });

    withStack('of what waited: it runs where it still waits, and is unknown where it may have run', async (stack, away) => {
        const headers = { Prefer: 'respond-async' };
        const queue = (id) => stack.ask(`prompt of ${id}`, { request_id: id, priority: 'LOW' }, { headers });
        for (const id of ['ran-since', 'waits']) assert.equal((await queue(id)).status, 202);
        await done(stack, 'backup', away('b'));
        await stack.put('/v1/settings', { low_priority: { max_batch: 1, window_ms: 0 } });
        await until('both ran', () => stack.fake.callsWith('ran-since').length + stack.fake.callsWith('waits').length === 2);
        await stack.put('/v1/settings', { low_priority: { max_batch: 4, window_ms: 60000 } });
        assert.equal((await queue('new-wait')).status, 202);
        await done(stack, 'backup', away('c'));
        await done(stack, 'drain');

        const same = (await done(stack, 'restore', away('c'), '--json')).json;
        assert.deepEqual([same.requests_queued, same.requests_unknown], [1, 0]);
        const told = (await done(stack, 'restore', away('b'), '--json')).json;
        assert.deepEqual([told.requests_queued, told.requests_unknown, told.requests_carried], [0, 2, 0]);
        await until('the workers have seen it', async () => (await ids(stack)).length === 0);
        for (const id of ['ran-since', 'waits']) {
            /* A worker that has not looked since replays what it still sees. */
            await until('it is unknown', async () => {
                const answer = await stack.ask(`prompt of ${id}`, { request_id: id, priority: 'LOW' }, { check: false });
                assert.ok([200, 424].includes(answer.status), answer.text);
                return answer.status === 424;
            });
            assert.equal(stack.fake.callsWith(id).length, 1, 'nothing is paid twice');
        }
    });

    withStack('that is killed leaves the one store or the other, whole', async (stack, away, t) => {
        await ask(stack, 'before');
        await done(stack, 'backup', away('b'));
        await ask(stack, 'after');
        await done(stack, 'backup', away('a'));
        await done(stack, 'drain');
        const begun = performance.now();
        await done(stack, 'restore', away('b'));
        const takes = performance.now() - begun;
        const found = { before: 0, 'after,before': 0 };
        for (let i = 0; i < 14; i++) {
            await done(stack, 'drain');
            const args = ['restore', away(i % 2 ? 'b' : 'a')];
            const child = spawn(PROGRAM, args, { env: stack.environment(), stdio: 'ignore' });
            const ended = new Promise((resolve) => child.on('close', (code) => resolve(code)));
            /* All along its way, and beyond. */
            await Promise.race([ended, sleep((takes * i) / 8)]);
            child.kill('SIGKILL');
            await ended;
            assert.equal((await ctl(stack, ['ensure'])).status, 0);
            const { json, err } = await done(stack, 'status', '--json');
            assert.equal(json.state, 'ok', err);
            /* From the store itself: workers need a moment. */
            const text = (await done(stack, 'export')).out;
            const now = text.split('\n').filter(Boolean).map((line) => JSON.parse(line).request.request_id).sort().join();
            assert.ok(now in found, now);
            found[now]++;
        }
        t.diagnostic(`killed within ${takes.toFixed()} ms: ${JSON.stringify(found)}`);
        await done(stack, 'drain');
        await done(stack, 'restore', away('b'));
        assert.ok(!fs.existsSync(path.join(stack.storage, 'restore.new')), 'what the killed ones left is gone');
        await until('the workers see it', async () => (await ids(stack)).join() === 'before', 15000);
    });

    withStack('that still runs is no coordinator: nobody tells it to leave, and no other one begins', async (stack, away) => {
        await ask(stack, 'only');
        await done(stack, 'backup', away('good'));
        await done(stack, 'drain');
        const child = spawn(PROGRAM, ['restore', '-'], { env: stack.environment(), stdio: ['pipe', 'ignore', 'ignore'] });
        const ended = new Promise((resolve) => child.on('close', (code, signal) => resolve([code, signal])));
        await until('it holds the lock', async () => (await ctl(stack, ['status', '--json'])).json.lock_pid === child.pid);
        const running = new RegExp(`A restore runs \\(process ${child.pid}\\)`);
        await refused(stack, running, 'drain');
        await refused(stack, running, 'restore', away('good'));
        child.stdin.end(fs.readFileSync(away('good')));
        assert.deepEqual(await ended, [0, null]);
        await until('it is served', async () => (await ids(stack)).join() === 'only');
    });

    withStack('of a file that is not in order changes nothing', async (stack, away) => {
        await ask(stack, 'only');
        await done(stack, 'backup', away('good'));
        const good = fs.readFileSync(away('good'));
        await done(stack, 'drain');
        const before = storeBytes(stack);
        const damaged = (change) => {
            const bytes = Buffer.from(good);
            change(bytes);
            return bytes;
        };
        const bare = good.subarray(0, good.length - SEAL);
        const schema = bare.indexOf(Buffer.from('schema\x01\0\0\0', 'latin1'));
        assert.ok(schema > 0);
        const newer = Buffer.from(bare);
        newer[schema + 6] = 2;
        const cases = [
            ['a bit of a chat', damaged((b) => (b[b.indexOf('prompt of only')] ^= 1)), /damaged/],
            ['a bit of the seal', damaged((b) => (b[b.length - 40] ^= 1)), /damaged/],
            ['bytes behind its middle are gone', Buffer.concat([good.subarray(0, 8192), good.subarray(12288)]), /damaged/],
            ['a newer version', newer, /newer version of this program \(format 2/],
            ['no store', Buffer.alloc(20480, 'x'), /is no store of this program/],
            ['no store, and of no size that one has', Buffer.alloc(20000, 'x'), /no store in this file/],
            ['nothing', Buffer.alloc(0), /no store/i],
            ['a byte is missing', good.subarray(0, good.length - 1), /cut short/],
            ['the second half is missing', bare.subarray(0, 20480), /damaged/],
            ['the last page is missing', bare.subarray(0, bare.length - 4096), /damaged/],
        ];
        for (const [what, bytes, pattern] of cases) {
            fs.writeFileSync(away('bad'), bytes);
            const result = await ctl(stack, ['restore', away('bad')]);
            assert.equal(result.status, 1, `${what}: ${result.err}`);
            assert.match(result.err, pattern, what);
            assert.deepEqual(storeBytes(stack), before, what);
            assert.ok(!fs.existsSync(path.join(stack.storage, 'restore.new')), what);
        }
        await refused(stack, /Cannot open/, 'restore', away('missing'));
        const piped = await ctl(stack, ['restore', '-'], { input: good });
        assert.equal(piped.status, 0, piped.err);
        assert.deepEqual(await ids(stack), ['only']);

        /* A store that is damaged itself is no reason not to replace it; how far it came, nobody knows. */
        await done(stack, 'drain');
        fs.unlinkSync(path.join(stack.storage, 'data.mdb')); /* workers have it in their memory */
        fs.writeFileSync(path.join(stack.storage, 'data.mdb'), Buffer.alloc(40960, 'x'), { mode: 0o600 });
        const told = await ctl(stack, ['restore', away('good'), '--json']);
        assert.equal(told.status, 0, told.err);
        assert.match(told.err, /The store that is there cannot be read/);
        assert.ok(told.json.epoch > 1 << 20);
        /* One that was cut short ends whoever reads it. */
        fs.unlinkSync(path.join(stack.storage, 'data.mdb'));
        fs.writeFileSync(path.join(stack.storage, 'data.mdb'), bare.subarray(0, 12288), { mode: 0o600 });
        const short = await ctl(stack, ['restore', away('good'), '--json']);
        assert.equal(short.status, 0, `${short.signal} ${short.err}`);
        assert.match(short.err, /The store that is there cannot be read/);
        assert.ok(short.json.epoch > 1 << 20);
        fs.unlinkSync(path.join(stack.storage, 'data.mdb'));
        fs.writeFileSync(path.join(stack.storage, 'provider.key'), 'sk-old\nopenai\n', { mode: 0o600 });
        assert.equal((await done(stack, 'restore', away('good'), '--json')).json.kept, null);
        fs.unlinkSync(path.join(stack.storage, 'provider.key'));
        await until('it is served', async () => (await ids(stack)).join() === 'only');
    });
});

describe('a store that was cut short', () => {
    withStack('is said to be so by every program, ends none, and is replaced', async (stack, away) => {
        await ask(stack, 'only');
        await done(stack, 'backup', away('good'));
        await done(stack, 'drain');
        const file = path.join(stack.storage, 'data.mdb');
        const bytes = storeBytes(stack);
        fs.unlinkSync(file); /* workers have it in their memory */
        fs.writeFileSync(file, bytes.subarray(0, 12288), { mode: 0o600 });
        const commands = [['export'], ['export', 'audit'], ['key', 'list'], ['backup', away('bad')], ['key', 'create']];
        for (const command of commands) {
            const result = await ctl(stack, command);
            assert.equal(result.status, 1, `${command.join(' ')}: ${result.signal} ${result.err}`);
            assert.match(result.err, /data\.mdb is damaged: it was cut short, and has 3 of \d+ pages\./, command.join(' '));
        }
        const status = await ctl(stack, ['status', '--json']);
        assert.equal(status.status, 6, status.err);
        assert.match(JSON.stringify(status.json), /was cut short/);
        const health = await until('the workers see it', async () => {
            const now = await stack.get('/health', { check: false });
            return now.status === 503 && now;
        }, 15000);
        assert.match(health.json.dependencies.store.reason, /was cut short/);
        const refused = await stack.ask('prompt of nobody', { request_id: 'nobody', priority: 'HIGH' }, { check: false });
        assert.equal(refused.status, 503, refused.text);
        assert.match(refused.text, /STORE_UNAVAILABLE/);
        assert.deepEqual(fs.statSync(file).size, 12288, 'nobody has written to it');
        await done(stack, 'restore', away('good'));
        await until('it is served', async () => (await ids(stack)).join() === 'only', 15000);
    });
});
