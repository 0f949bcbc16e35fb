'use strict';
/*
 * Prompts that ride together. Callers with different keys never share a call, whatever their prompts say; those with one key
 * share calls, and a model that obeys an injection in them breaks the form of its answer, which is seen: then nobody gets
 * a word of what it said under another's id. What keeps the form is shown as well, and what it takes to be safe from that.
 */
const assert = require('node:assert/strict');
const { describe } = require('node:test');
const { useStack, inParallel } = require('../integration/harness');
const { makeKey } = require('../integration/ctl');
const { echoOf, answerTo } = require('../integration/fake_dialects');
const { INJECTIONS, OBEY, SUBVERSIONS, HIJACK } = require('./injections');

const ENV = {
    CARPOOL_BATCH_HIGH_WINDOW_MS: '1500',
    CARPOOL_BATCH_HIGH_MAX_BATCH: '4',
    CARPOOL_RETRY_BASE_MS: '5',
    CARPOOL_RETRY_CAP_MS: '10',
    CARPOOL_RETRY_BREAKER_FAILURES: '0',
    CARPOOL_BATCH_HIGH_TOKENS: '500',
};
const MARK = /attack-(\d+)/;
const attack = (n, text) => `${text}\n(attack-${n})`;
const victim = (n, i) => `victim ${i} of round ${n} asks about canary-${n}-${i} and its habits`;

/* The fake model believes what prompts say, where it sees several of them. */
function believe(fake, said) {
    fake.when(
        (call) => call.combined && call.members.some((m) => MARK.test(m.prompt)),
        (call) => {
            const at = call.members.findIndex((m) => MARK.test(m.prompt));
            const n = Number(MARK.exec(call.members[at].prompt)[1]);
            const entries = call.members.map(({ id, prompt }) => [id, { echo: echoOf(prompt, call.system), answer: answerTo(prompt) }]);
            return { do: 'say', text: said(n, entries, at) };
        },
    );
    /* Asked alone, it tells the attacker what he wants to hear. */
    fake.when((call) => !call.combined && MARK.test(call.members[0].prompt), { do: 'say', text: HIJACK });
}
const obeying = (n, entries, at) => OBEY[INJECTIONS[n][1]](entries, at);

assert.equal(INJECTIONS.length, 50);
for (const name of Object.keys(OBEY)) assert.ok(INJECTIONS.some(([, how]) => how === name), `${name} is obeyed by nobody`);

for (const kind of ['openai', 'gemini']) {
    describe(`within one key (${kind})`, () => {
        /* Four come each time, and wait until they are four. */
        const s = useStack({ provider: kind, env: { ...ENV, CARPOOL_BATCH_HIGH_WINDOW_MS: '30000' } });

        s.test('fifty injections: each breach of form is seen, and nobody gets what was said to another', async () => {
            believe(s.fake, obeying);
            for (const [n, [text, how]] of INJECTIONS.entries()) {
                s.fake.calls.length = 0;
                const [attacker, ...victims] = await Promise.all([
                    s.ask(attack(n, text), { priority: 'HIGH' }),
                    ...[1, 2, 3].map((i) => s.ask(victim(n, i), { priority: 'HIGH' })),
                ]);
                const what = `${n} (${how}): ${text.slice(0, 60)}`;
                assert.equal(s.fake.calls[0].members.length, 4, `they shared a call: ${what}`);
                victims.forEach((res, i) => {
                    assert.equal(res.status, 200, `${what}: ${res.text.slice(0, 300)}`);
                    assert.equal(res.json.text, answerTo(victim(n, i + 1)), what);
                });
                assert.ok(!/canary-/.test(attacker.json.text ?? ''), `${what}: the attacker hears of others: ${attacker.text.slice(0, 300)}`);
                assert.ok(s.fake.calls.length <= 8, `${what}: ${s.fake.calls.length} calls`);
            }
        });

        s.test('no injection gets its own questions or ids into the array, nor text out of its string', async () => {
            for (const [n, [text]] of INJECTIONS.entries()) {
                s.fake.calls.length = 0;
                await Promise.all([s.ask(attack(n, text), { priority: 'HIGH' }), ...[1, 2, 3].map((i) => s.ask(victim(n, i), { priority: 'HIGH' }))]);
                const [call] = s.fake.calls;
                const asked = JSON.parse(call.userText);
                assert.equal(asked.length, 4);
                const wanted = [attack(n, text), ...[1, 2, 3].map((i) => victim(n, i))].sort();
                assert.deepEqual(asked.map((q) => q.question).sort(), wanted);
                for (const { id } of asked) {
                    assert.match(id, /^q[a-z0-9]{8}$/);
                    assert.ok(!wanted.some((prompt) => prompt.includes(id)));
                }
                assert.ok(!call.system.includes('attack-') && !call.system.includes('canary-'), 'prompts stay out of the instruction');
            }
        });
    });
}

describe('across keys', () => {
    const KEYS = { client: 'client-key-of-isolation', admin: 'admin-key-of-isolation' };
    const s = useStack({ provider: 'openai', env: { ...ENV, API_KEY: KEYS.client, ADMIN_KEY: KEYS.admin, CARPOOL_BATCH_HIGH_WINDOW_MS: '150' } });
    const as = (who) => ({ headers: { 'X-API-Key': KEYS[who] } });

    /* Attackers and victims: the two keys of the environment, one of those and one of the store, two of the store. */
    const pairs = async () => {
        const [one, two] = [(await makeKey(s.stack)).key, (await makeKey(s.stack)).key];
        return { 'keys of the environment': [KEYS.admin, KEYS.client], 'a key of each': [one, KEYS.client], 'keys of the store': [one, two] };
    };
    const tryPair = async (name, [attackers, victims]) => {
        const using = (key) => ({ headers: { 'X-API-Key': key } });
        s.fake.calls.length = 0;
        const id = (n) => `same-${name.replaceAll(' ', '-')}-${n}`;
        const results = [];
        await inParallel(INJECTIONS.length * 2, 24, async (i) => {
            const n = i >> 1;
            results.push(
                i % 2
                    ? { n, res: await s.ask(victim(n, 1), { priority: 'HIGH', username: 'same', request_id: id(n) }, using(victims)) }
                    : { n, attacker: true, res: await s.ask(attack(n, INJECTIONS[n][0]), { priority: 'HIGH', username: 'same', request_id: id(n) }, using(attackers)) },
            );
        });
        for (const { n, attacker, res } of results) {
            assert.equal(res.status, 200, res.text);
            if (!attacker) assert.equal(res.json.text, answerTo(victim(n, 1)));
        }
        assert.ok(s.fake.calls.some((call) => call.members.length > 1), 'calls were shared at all');
        for (const call of s.fake.calls) {
            const groups = new Set(call.members.map((m) => (MARK.test(m.prompt) ? 'attackers' : 'victims')));
            assert.equal(groups.size, 1, `${name}, in one call: ${call.members.map((m) => m.prompt.slice(0, 40))}`);
        }
    };
    s.test('fifty injections and their victims never stand in one call, whatever comes in between', async () => {
        believe(s.fake, (n, entries, at) => SUBVERSIONS.answers_changed(entries, at));
        for (const [name, pair] of Object.entries(await pairs())) await tryPair(name, pair);
    });

    s.test('nor do callers that bring their own keys, and no call carries a key of another', async () => {
        s.fake.keys = null;
        const own = ['sk-own-key-of-the-attacker-1', 'sk-own-key-of-the-victim-222'];
        await inParallel(24, 24, (i) =>
            s.post('/invoke', { user_prompt: i % 2 ? victim(i, 1) : attack(i, INJECTIONS[i][0]), priority: 'HIGH', openai_api_key: own[i % 2] }, as('client')),
        );
        for (const call of s.fake.calls) {
            const groups = new Set(call.members.map((m) => (MARK.test(m.prompt) ? 0 : 1)));
            assert.equal(groups.size, 1);
            assert.equal(call.headers.authorization, `Bearer ${own[[...groups][0]]}`);
        }
    });
});

/* What the README says under "Security": a model that keeps the form can say anything to members of the same key. */
describe('what the form cannot show', () => {
    const s = useStack({ provider: 'openai', env: { ...ENV, API_KEY: 'one-key', ADMIN_KEY: 'another-key' } });
    const round = async (how, keys = ['one-key', 'one-key', 'one-key', 'one-key']) => {
        believe(s.fake, (n, entries, at) => SUBVERSIONS[how](entries, at));
        const ask = (prompt, key) => s.ask(prompt, { priority: 'HIGH' }, { headers: { 'X-API-Key': key } });
        return Promise.all([ask(attack(0, 'x'), keys[0]), ...[1, 2, 3].map((i) => ask(victim(0, i), keys[i]))]);
    };
    const window = async (window_ms) =>
        assert.equal((await s.put('/v1/settings', { high_priority: { window_ms } }, { headers: { 'X-API-Key': 'another-key' } })).status, 200);
    const harmed = ([attacker, ...victims]) =>
        victims.some((res, i) => res.json.text !== answerTo(victim(0, i + 1))) || /canary/.test(attacker.json.text);

    for (const how of Object.keys(SUBVERSIONS)) {
        s.test(`${how}: harms members of the same key, and nobody else`, async () => {
            await window(30000); /* all four have to be in one call, and three of another key in none with them */
            assert.ok(harmed(await round(how)), 'should this ever be seen, the README can promise more');
            await window(1500);
            assert.ok(!harmed(await round(how, ['another-key', 'one-key', 'one-key', 'one-key'])));
        });
    }

    s.test('a batch of one is safe from it', async () => {
        await s.put('/v1/settings', { high_priority: { max_batch: 1 } }, { headers: { 'X-API-Key': 'another-key' } });
        for (const how of Object.keys(SUBVERSIONS)) assert.ok(!harmed(await round(how)), how);
    });
});

describe('with mode = concurrent', () => {
    const s = useStack({ provider: 'openai', env: { ...ENV, CARPOOL_PROVIDER_MODE: 'concurrent' } });
    s.test('every prompt has a call of its own', async () => {
        for (const how of Object.keys(SUBVERSIONS)) {
            s.fake.reset();
            believe(s.fake, (n, entries, at) => SUBVERSIONS[how](entries, at));
            const [attacker, ...victims] = await Promise.all([s.ask(attack(0, 'x'), { priority: 'HIGH' }), ...[1, 2, 3].map((i) => s.ask(victim(0, i), { priority: 'HIGH' }))]);
            assert.equal(attacker.json.text, HIJACK);
            victims.forEach((res, i) => assert.equal(res.json.text, answerTo(victim(0, i + 1))));
            assert.deepEqual(s.fake.calls.map((call) => call.members.length), [1, 1, 1, 1]);
        }
    });
});
