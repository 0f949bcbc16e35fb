'use strict';
/* carpoolctl settings: read and changed while everything runs, and the provider's key on no command line. */
const { describe } = require('node:test');
const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { PROVIDER_KEY, useStack, until } = require('./harness');
const { ctl } = require('./ctl');

describe('carpoolctl settings', () => {
    const s = useStack({ provider: 'openai' });
    const set = (stack, ...words) => ctl(stack, ['settings', 'set', ...words]);
    const get = (stack, ...words) => ctl(stack, ['settings', 'get', ...words]);

    s.test('shows what GET shows, by lines, one value, or as JSON', async (t, stack) => {
        const shown = (await s.get('/v1/settings')).json;
        assert.deepEqual((await get(stack, '--json')).json, shown);
        const lines = (await get(stack)).out.trim().split('\n');
        assert.ok(lines.includes(`low_priority.window_ms=${shown.low_priority.window_ms}`), lines.join());
        assert.ok(lines.includes('provider=openai'));
        assert.ok(lines.includes(`api_key=***${PROVIDER_KEY.slice(-4)}`));
        assert.equal((await get(stack, 'provider')).out, 'openai\n');
        assert.equal((await get(stack, 'high_priority.policy')).out, `${shown.high_priority.policy}\n`);
        assert.equal((await get(stack, 'high_priority')).out.split('\n').length, 6, 'a group, with names');
        assert.deepEqual((await get(stack, 'high_priority.tokens', 'model', '--json')).json, {
            high_priority: { tokens: shown.high_priority.tokens },
            model: shown.model,
        });
        const unknown = await get(stack, 'high_priority.nonsense');
        assert.equal(unknown.status, 3);
        assert.match(unknown.err, /no setting "high_priority\.nonsense"/);
    });

    s.test('changes are in force at once, all or none, and in the audit trail', async (t, stack) => {
        /* One that is started for a change leaves again, and refuses prompts while it does. */
        assert.equal((await s.ask('so that a coordinator runs')).status, 200);
        const done = await set(stack, 'low_priority.window_ms=500', 'low_priority.policy=adaptive', 'model=a-model');
        assert.deepEqual([done.status, done.err], [0, '']);
        assert.deepEqual(done.out.trim().split('\n').sort(), [
            'low_priority.policy=adaptive',
            'low_priority.window_ms=500',
            'model=a-model',
        ]);
        const shown = (await s.get('/v1/settings')).json;
        assert.deepEqual([shown.low_priority.window_ms, shown.model], [500, 'a-model']);
        const refused = await set(stack, 'low_priority.window_ms=700', 'low_priority.max_batch=100000');
        assert.equal(refused.status, 1);
        assert.match(refused.err, /low_priority\.max_batch/);
        assert.equal((await get(stack, 'low_priority.window_ms')).out, '500\n');
        const [entry] = (await ctl(stack, ['audit', '--json', '--limit', '1'])).json.entries;
        assert.equal(entry.action, 'settings.put');
        assert.match(entry.actor, /^carpoolctl, user /);
        const given = await set(stack, 'low_priority.window_ms=400', '--json');
        assert.deepEqual(given.json, { low_priority: { window_ms: 400 } });
        const keyed = await ctl(stack, ['settings', 'set', '--api-key-file=-', '--json'], { input: PROVIDER_KEY });
        assert.deepEqual(keyed.json, (await s.get('/v1/settings')).json, 'no name is all of them');
    });

    s.test('the key comes from a file or standard input, never by argument', async (t, stack) => {
        const key = 'sk-another-canary-key-91cd';
        stack.secrets.push(key);
        const file = path.join(stack.dir, '..', `${path.basename(stack.dir)}.key`);
        fs.writeFileSync(file, `${key}\n`, { mode: 0o600 });
        try {
            const argued = await set(stack, `api_key=${key}`);
            assert.equal(argued.status, 2);
            assert.match(argued.err, /--api-key-file/);
            assert.ok(!argued.err.includes(key));
            assert.equal((await set(stack, '--api-key-file', file)).status, 0);
            assert.equal((await get(stack, 'api_key')).out, '***91cd\n');
            stack.fake.keys = [key];
            assert.equal((await s.ask('with the new key')).status, 200);
            const by = await ctl(stack, ['settings', 'set', '--api-key-file', '-'], { input: `${PROVIDER_KEY}\n` });
            assert.equal(by.status, 0, by.err);
            assert.equal(by.out, `api_key=***${PROVIDER_KEY.slice(-4)}\nprovider=openai\n`, 'whose key it is taken for');
            stack.fake.keys = [PROVIDER_KEY];
            assert.equal((await s.ask('with the old key')).status, 200);
            for (const input of ['', '\n', 'x'.repeat(5000), 'a\0b'])
                assert.notEqual(
                    (await ctl(stack, ['settings', 'set', '--api-key-file', '-'], { input })).status,
                    0,
                    JSON.stringify(input.slice(0, 9)),
                );
            assert.equal((await get(stack, 'api_key')).out, `***${PROVIDER_KEY.slice(-4)}\n`);
        } finally {
            fs.rmSync(file);
        }
    });

    s.test('what is no setting is said before anything is asked', async (t, stack) => {
        for (const words of [[], ['window'], ['=1'], ['model=a', 'model=b'], ['provider.x=1', 'provider=mock']])
            assert.equal((await set(stack, ...words)).status, 2, words.join(' '));
        for (const word of ['nonsense=1', 'low_priority.window_ms=soon', 'low_priority.window_ms=-1', 'provider=acme']) {
            const refused = await set(stack, word);
            assert.equal(refused.status, 1, word);
            assert.match(refused.err, /^carpoolctl: [^\n]+\.\n$/);
        }
    });
});
