'use strict';
/* One request id, many requests, on both machines at once: one call, one answer. */
const assert = require('node:assert/strict');
const { useMachines, settled, timesPaid, sleep, until, STRETCH } = require('./machines');

const m = useMachines();

const EACH = 50;
/* What ask(machine) says, EACH times on each machine, all begun at once. */
const onBoth = (ask) => Promise.all([m.a, m.b].flatMap((machine) => Array.from({ length: EACH }, () => ask(machine))));
const distinct = (responses, of = (res) => res.text) => new Set(responses.map(of)).size;

function assertAll(responses, status) {
    const counts = {};
    for (const res of responses) counts[res.status] = (counts[res.status] ?? 0) + 1;
    assert.deepEqual(counts, { [status]: responses.length }, responses.find((res) => res.status !== status)?.text);
}

for (const [how, latencyMs] of [
    ['while its call runs', 800],
    ['to a provider that answers at once', 0],
])
    m.test(`100 times ${how}: one call, equal answers`, async () => {
        m.fake.latencyMs = latencyMs;
        const prompt = `asked a hundred times ${how}`;
        const body = { username: 'tester', prompt, request_id: `hundred-${latencyMs}`, priority: 'HIGH' };
        const responses = await onBoth((machine) => machine.post('/v1/query', body));
        assertAll(responses, 200);
        assert.equal(distinct(responses), 1, 'the same bytes for all');
        assert.equal(responses[0].json.text, `Answer to: ${prompt}`);
        assert.equal(timesPaid(m.fake, prompt), 1);
        assert.equal(m.fake.calls.length, 1);
    });

m.test('many ids at once, each on both machines, a little apart', async () => {
    const ids = Array.from({ length: 40 }, (_, i) => `pair-${i}`);
    const responses = await Promise.all(
        ids.flatMap((id, i) =>
            [m.a, m.b, m.a, m.b].map(async (machine, k) => {
                await sleep(((i * 7 + k * 13) % 10) * 12);
                return machine.ask(`prompt of ${id}`, { request_id: id, priority: i % 2 ? 'HIGH' : 'MEDIUM' });
            }),
        ),
    );
    assertAll(responses, 200);
    for (const [i, id] of ids.entries()) {
        assert.equal(distinct(responses.slice(i * 4, i * 4 + 4)), 1, id);
        assert.equal(timesPaid(m.fake, `prompt of ${id}`), 1, id);
    }
});

m.test('accepted a hundred times: one call, and both tell what became of it', async () => {
    m.fake.hold();
    const body = { prompt: 'asynchronous', request_id: 'async', username: 'tester' };
    const responses = await onBoth((machine) =>
        machine.post('/v1/query', body, { headers: { Prefer: 'respond-async' } }),
    );
    assertAll(responses, 202);
    m.fake.release();
    const told = await Promise.all([m.a, m.b].map((machine) => machine.get('/v1/requests/async?wait=10')));
    for (const { json, text } of told) assert.equal(json.status, 'done', text);
    assert.equal(distinct(told), 1);
    assert.equal(timesPaid(m.fake, 'asynchronous'), 1);
    const replay = await m.b.post('/v1/query', body);
    assert.deepEqual(replay.json, told[0].json.response);
});

m.test('POST /invoke a hundred times: one call, equal but for what a replay has of its own', async () => {
    m.fake.latencyMs = 500;
    const body = { request_id: 'invoked', user_prompt: 'invoked a hundred times', model: 'gpt-4o-mini' };
    const responses = await onBoth((machine) => machine.post('/invoke', body));
    assertAll(responses, 200);
    const rest = ({ json }) => {
        const { request_id, data, usage, model } = json;
        return JSON.stringify({ request_id, data, usage, model });
    };
    assert.equal(distinct(responses, rest), 1);
    assert.equal(timesPaid(m.fake, 'invoked a hundred times'), 1);
    /* Another family is another request. */
    assert.equal((await m.b.ask('a query', { request_id: 'invoked' })).status, 200);
    assert.equal(m.fake.calls.length, 2);
});

m.test('GET on the other machine: missing, running, waited for, done', async () => {
    m.fake.hold();
    assert.equal((await m.b.get('/v1/requests/elsewhere')).status, 404);
    const asked = m.a.ask('what B can see', { request_id: 'elsewhere', priority: 'HIGH' });
    await m.fake.waitForCalls(1, 5000 * STRETCH);
    const meanwhile = await m.b.get('/v1/requests/elsewhere');
    assert.equal(meanwhile.json.status, 'running', meanwhile.text);
    const short = await m.b.get('/v1/requests/elsewhere?wait=0.2');
    assert.equal(short.json.status, 'running', short.text);
    const waiting = m.b.get('/v1/requests/elsewhere?wait=20');
    await sleep(300);
    m.fake.release();
    const waited = await waiting;
    assert.equal(waited.json.status, 'done', waited.text);
    const answer = await asked;
    assert.deepEqual(waited.json.response, answer.json);
    assert.ok(waited.text.includes(answer.text), 'byte for byte');
    assert.equal((await m.b.get('/v1/requests/elsewhere')).text, (await m.a.get('/v1/requests/elsewhere')).text);
});

m.test('another body under the id: 409 on the other machine, while it runs and when it is done', async () => {
    m.fake.hold();
    const asked = m.a.ask('the first body', { request_id: 'taken', priority: 'HIGH' });
    await m.fake.waitForCalls(1, 5000 * STRETCH);
    const during = await m.b.ask('another body', { request_id: 'taken', priority: 'HIGH' });
    assert.equal(during.status, 409, during.text);
    assert.equal(during.json.error.error_code, 'REQUEST_ID_REUSED');
    m.fake.release();
    assert.equal((await asked).status, 200);
    const after = await m.b.ask('a third body', { request_id: 'taken', priority: 'HIGH' });
    assert.equal(after.status, 409, after.text);
    assert.deepEqual(m.fake.prompts, ['the first body']);
});

m.test('another body while the id waits in the queue of the other machine', async () => {
    const [first, second] = await Promise.all([
        m.a.ask('this or', { request_id: 'race', priority: 'LOW' }),
        m.b.ask('that', { request_id: 'race', priority: 'LOW' }),
    ]);
    assert.deepEqual([first.status, second.status].sort(), [200, 409], `${first.text}\n${second.text}`);
    assert.equal(m.fake.prompts.length, 1);
});

for (const where of ['a', 'b'])
    m.test(`deleted on ${where === 'a' ? 'the machine that asked' : 'the other machine'}: gone on both`, async () => {
        const id = `deleted-${where}`;
        const more = { request_id: id, priority: 'HIGH' };
        assert.equal((await m.a.ask('to be forgotten', more)).status, 200);
        assert.equal((await m.b.ask('to be forgotten', more)).status, 200);
        const deletion = await m[where].delete(`/v1/chat/${id}`);
        assert.equal(deletion.status, 200, deletion.text);
        for (const machine of [m.a, m.b]) {
            await until('it answers 410', async () => (await machine.ask('to be forgotten', more)).status === 410, 2000);
            assert.equal((await machine.get(`/v1/requests/${id}`)).status, 410);
            const left = (await machine.chats()).filter((chat) => chat.request.request_id === id);
            assert.deepEqual(left, []);
        }
        assert.equal(timesPaid(m.fake, 'to be forgotten'), 1);
    });

m.test('an id that its machine refused is free on the other', async () => {
    m.fake.next({ do: 'status', status: 400 });
    const refused = await m.a.ask('refused once', { request_id: 'refused', priority: 'HIGH' });
    assert.notEqual(refused.status, 200, refused.text);
    const again = await m.b.ask('refused once', { request_id: 'refused', priority: 'HIGH' });
    assert.equal(again.status, 200, again.text);
    assert.equal(m.fake.calls.length, 2);
});

m.test('an id kept and refused on one machine, then answered on the other: both tell the answer', async () => {
    m.fake.next({ do: 'status', status: 400 });
    const body = { prompt: 'refused, then asked again', request_id: 'refused-kept', username: 'tester' };
    const kept = await m.a.post('/v1/query', body, { headers: { Prefer: 'respond-async' } });
    assert.equal(kept.status, 202, kept.text);
    const refused = await m.a.get('/v1/requests/refused-kept?wait=10');
    assert.equal(refused.json.status, 'failed', refused.text);
    assert.equal((await m.b.get('/v1/requests/refused-kept?wait=5')).json.status, 'failed');
    const again = await m.b.post('/v1/query', body);
    assert.equal(again.status, 200, again.text);
    for (const machine of [m.a, m.b]) {
        const told = await machine.get('/v1/requests/refused-kept?wait=5'); /* the server hears of an end just after the client */
        assert.equal(told.json.status, 'done', told.text);
        assert.deepEqual(told.json.response, again.json);
    }
    assert.equal(m.fake.calls.length, 2);
});

m.test('unknown on one machine is unknown on the other', async () => {
    m.fake.next('reset_mid');
    const more = { request_id: 'lost', priority: 'HIGH' };
    assert.equal((await m.a.ask('whose answer was lost', more)).status, 424);
    assert.equal((await m.b.ask('whose answer was lost', more)).status, 424);
    assert.equal((await m.b.get('/v1/requests/lost')).json.status, 'unknown');
    assert.equal(m.fake.calls.length, 1);
});

m.test('a client that leaves one machine finds its answer on the other', async () => {
    m.fake.latencyMs = 600;
    const leave = new AbortController();
    const more = { request_id: 'left', priority: 'HIGH' };
    const asked = settled(m.a.ask('and gone', more, { signal: leave.signal, fresh: true }));
    await m.fake.waitForCalls(1, 5000 * STRETCH);
    leave.abort();
    await asked;
    const res = await m.b.ask('and gone', more);
    assert.equal(res.status, 200, res.text);
    assert.equal(m.fake.calls.length, 1);
});
