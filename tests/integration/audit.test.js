'use strict';
/*
 * The audit trail: who changed which setting, in logs/audit.log as JSON lines. What is in the store is the scenarios'
 * business (tests/scenario/audit.txt).
 */
const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { describe } = require('node:test');
const { ctl } = require('./ctl');
const { useStack, until, sleep, assertError, PROVIDER_KEY, RFC3339_MS } = require('./harness');

const NEW_KEY = 'sk-audit-canary-key-42c9';
const ADMIN_KEY = 'admins-canary-e5f6a7b8';
const API_KEY = 'callers-canary-a1b2c3d4';

const file = (s) => path.join(s.storage, 'logs', 'audit.log');
const entries = (s) =>
    fs
        .readFileSync(file(s), 'utf8')
        .split('\n')
        .slice(0, -1)
        .map((line) => JSON.parse(line));
/* The sink's thread is a moment behind. */
const atLeast = (s, n) => until(`${n} entries`, () => entries(s).length >= n && entries(s));

describe('changes of settings', () => {
    const s = useStack({ provider: 'openai' });

    s.test('stand there with what was and what is', async () => {
        assert.equal((await s.ask('Is a coordinator there?', { priority: 'HIGH' })).status, 200);
        assert.equal(fs.statSync(file(s)).mode & 0o7777, 0o600);
        assert.deepEqual(entries(s), [], 'a start is no change');
        const res = await s.put('/v1/settings', { model: 'other', high_priority: { tokens: 77, policy: 'adaptive' } });
        assert.equal(res.status, 200, res.text);
        const [entry] = await atLeast(s, 1);
        assert.deepEqual(Object.keys(entry), ['time', 'actor', 'action', 'details']);
        assert.match(entry.time, RFC3339_MS);
        assert.ok(Math.abs(Date.parse(entry.time) - Date.now()) < 60000);
        assert.equal(entry.actor, '127.0.0.1 without a key');
        assert.equal(entry.action, 'settings.put');
        assert.deepEqual(entry.details, {
            changed: { model: ['fake-model', 'other'], 'high_priority.tokens': [1000, 77], 'high_priority.policy': ['window', 'adaptive'] },
        });
    });

    s.test('of a key the last four characters, or that it was removed', async () => {
        s.secrets.push(NEW_KEY);
        await s.put('/v1/settings', { api_key: NEW_KEY });
        await s.put('/v1/settings', { base_url: 'https://a.example/v1', api_key: 'short' });
        await s.put('/v1/settings', { base_url: '', api_key: '' });
        const base_url = s.fake.baseUrl('openai');
        assert.deepEqual(
            (await atLeast(s, 4)).slice(1).map((entry) => entry.details.changed),
            [
                { api_key: '***42c9' },
                { api_key: '***', base_url: [base_url, 'https://a.example/v1'] },
                { api_key: 'removed', base_url: ['https://a.example/v1', base_url] },
            ],
        );
        assert.deepEqual(s.filesWith(NEW_KEY), []);
        assert.deepEqual(s.filesWith(PROVIDER_KEY), []);
    });

    s.test('not what is refused, and not what changes nothing', async () => {
        const before = entries(s).length;
        assertError(await s.put('/v1/settings', { model: 'x', base_url: 'http://example.org' }), 400);
        assertError(await s.put('/v1/settings', { model: 'x', base_url: 'https://b.example' }), 400);
        assertError(await s.put('/v1/settings', { model: 'x', colour: 1 }), 400);
        assertError(await s.put('/v1/settings', '{'), 400);
        assert.equal((await s.put('/v1/settings', {})).status, 200);
        assert.equal((await s.put('/v1/settings', (await s.get('/v1/settings')).json)).status, 200);
        await s.put('/v1/settings', { model: 'the next one' });
        assert.deepEqual(
            (await atLeast(s, before + 1)).slice(before).map((entry) => entry.details),
            [{ changed: { model: ['other', 'the next one'] } }],
        );
    });

    s.test('one line each, whatever is put', async () => {
        const before = entries(s).length;
        const model = 'a "model" \\ {"time":"0"}  \u{1f600} é';
        assert.equal((await s.put('/v1/settings', { model })).json.model, model);
        assert.equal((await atLeast(s, before + 1)).at(-1).details.changed.model[1], model);
        assertError(await s.put('/v1/settings', { model: 'two\nlines' }), 400, { field: 'model' });
        await sleep(200);
        assert.equal(entries(s).length, before + 1);
    });

    s.test('and the same in the store, the newest first', async () => {
        const { out, status, err } = await ctl(s.stack, ['audit', '--json']);
        assert.equal(status, 0, err);
        assert.deepEqual(JSON.parse(out).entries ?? JSON.parse(out), entries(s).reverse());
    });

    s.test('after a crash it goes on, and a file that was moved away comes anew', async () => {
        const before = entries(s).length;
        const pid = s.coordinatorPid();
        process.kill(pid, 'SIGKILL');
        await until('it is dead', () => s.coordinatorPid() === null || s.coordinatorPid() !== pid);
        await until('it is put', async () => (await s.put('/v1/settings', { model: 'after' })).status === 200, 15000);
        assert.equal((await atLeast(s, before + 1)).at(-1).details.changed.model[1], 'after');
        fs.renameSync(file(s), `${file(s)}.away`);
        await until('there is another file', async () => {
            await s.put('/v1/settings', { low_priority: { tokens: 1 + Math.floor(Math.random() * 9999) } });
            return fs.existsSync(file(s)) && entries(s).length > 0;
        });
        assert.equal(fs.statSync(file(s)).mode & 0o7777, 0o600);
    });
});

describe('who', () => {
    const s = useStack({ env: { API_KEY, ADMIN_KEY } });
    const put = (body, key) => s.put('/v1/settings', body, { headers: { 'X-API-Key': key } });

    s.test('is the admin key; others change nothing, and leave no entry', async () => {
        s.secrets.push(ADMIN_KEY, API_KEY);
        assertError(await s.put('/v1/settings', { model: 'm1' }), 401);
        assertError(await put({ model: 'm1' }, 'wrong'), 401);
        assertError(await put({ model: 'm1' }, API_KEY), 403);
        assertError(await put({ base_url: 'https://a.example' }, API_KEY), 403);
        assert.equal((await put({ model: 'm2' }, ADMIN_KEY)).status, 200);
        const all = await atLeast(s, 1);
        assert.equal(all.length, 1);
        assert.match(all[0].actor, /^ADMIN_KEY/);
        assert.deepEqual(all[0].details, { changed: { model: ['mock', 'm2'] } });
    });
});
