'use strict';
/*
 * Clients that go away while their prompt is under way. Before it is sent, a prompt that nobody else waits for
 * and that is not async is dropped; after that its answer is finished, kept, and can be fetched by id. lighttpd
 * (1.4.69) shows a worker a reset connection, but not one that was closed in order: that one counts as waiting.
 */
const assert = require('node:assert/strict');
const net = require('node:net');
const { useStack, until, untilRead, sleep, STRETCH } = require('./harness');

const LOW_WINDOW_MS = 3000 * STRETCH; /* long enough for a busy machine to notice who left */

const s = useStack({
    provider: 'openai',
    env: {
        CARPOOL_BATCH_HIGH_WINDOW_MS: '50',
        CARPOOL_BATCH_LOW_WINDOW_MS: String(LOW_WINDOW_MS),
        CARPOOL_BATCH_FLUSH_WHEN_ALL_WAIT: 'off',
    },
});

/* A client that has sent its request and waits: a socket to be reset or closed. */
async function waitingClient(id, priority, path = '/v1/query') {
    const body = JSON.stringify({ request_id: id, prompt: `prompt of ${id}`, priority });
    const socket = net.connect(s.port, '127.0.0.1');
    socket.on('error', () => {});
    const head = path.startsWith('/v1/requests')
        ? `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n`
        : `POST ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
    await new Promise((resolve, reject) => {
        socket.on('connect', async () => {
            /* In two pieces: lighttpd does not watch a client whose request was whole when it came. */
            socket.setNoDelay(true);
            await new Promise((written) => socket.write(head.slice(0, 20), written));
            await untilRead(socket);
            socket.write(head.slice(20), (e) => (e ? reject(e) : resolve()));
        });
    });
    return socket;
}

const statusOf = async (id) => (await s.get(`/v1/requests/${id}`, { check: false })).json?.status ?? 'none';
const sent = (id) => s.fake.callsWith(id).length;

s.test('reset before it is sent, alone: dropped', async () => {
    const client = await waitingClient('reset-1', 'LOW');
    await until('it waits in the queue', async () => (await statusOf('reset-1')) === 'queued');
    client.resetAndDestroy();
    await until('it is dropped', async () => (await statusOf('reset-1')) === 'none', 1000);
    await sleep(LOW_WINDOW_MS + 300 * STRETCH);
    assert.equal(sent('reset-1'), 0);
    /* The id is free. */
    const res = await s.ask('prompt of reset-1', { request_id: 'reset-1', priority: 'HIGH' });
    assert.equal(res.status, 200, res.text);
    assert.equal(sent('reset-1'), 1);
});

s.test('reset before it is sent, but another waits under the same id: that one is answered', async () => {
    const client = await waitingClient('reset-2', 'LOW');
    await until('it waits in the queue', async () => (await statusOf('reset-2')) === 'queued');
    const other = s.ask('prompt of reset-2', { request_id: 'reset-2', priority: 'LOW' });
    await sleep(200);
    client.resetAndDestroy();
    const res = await other;
    assert.equal(res.status, 200, res.text);
    assert.equal(res.json.text, 'Answer to: prompt of reset-2');
    assert.equal(sent('reset-2'), 1);
});

s.test('reset before it is sent, but asked for asynchronously as well: it is done', async () => {
    const client = await waitingClient('reset-3', 'LOW');
    await until('it waits in the queue', async () => (await statusOf('reset-3')) === 'queued');
    const kept = await s.ask(
        'prompt of reset-3',
        { request_id: 'reset-3', priority: 'LOW' },
        { headers: { Prefer: 'respond-async' } },
    );
    assert.equal(kept.status, 202, kept.text);
    client.resetAndDestroy();
    const res = await s.get('/v1/requests/reset-3?wait=30');
    assert.equal(res.json.status, 'done', res.text);
    assert.equal(sent('reset-3'), 1);
});

s.test('only somebody who watches it is left: it is dropped, and the watcher hears so', async () => {
    const client = await waitingClient('reset-4', 'LOW');
    await until('it waits in the queue', async () => (await statusOf('reset-4')) === 'queued');
    const watcher = s.get('/v1/requests/reset-4?wait=30');
    await sleep(200);
    client.resetAndDestroy();
    const res = await watcher;
    assert.equal(res.status, 404, res.text);
    assert.ok(res.ms < 5000 * STRETCH, `${res.ms} ms`);
    assert.equal(sent('reset-4'), 0);
});

s.test('a watcher that is reset changes nothing', async () => {
    const asked = s.ask('prompt of reset-5', { request_id: 'reset-5', priority: 'LOW' });
    await until('it waits in the queue', async () => (await statusOf('reset-5')) === 'queued');
    const watcher = await waitingClient('', '', '/v1/requests/reset-5?wait=30');
    await sleep(200);
    watcher.resetAndDestroy();
    assert.equal((await asked).status, 200);
});

s.test('reset after it was sent: the answer is finished and kept', async () => {
    s.fake.when((call) => call.members.some((m) => m.prompt.includes('reset-6')), { ms: 700 });
    const client = await waitingClient('reset-6', 'HIGH');
    await until('it is under way', () => sent('reset-6') === 1);
    client.resetAndDestroy();
    const res = await s.get('/v1/requests/reset-6?wait=10');
    assert.equal(res.json.status, 'done', res.text);
    assert.equal(res.json.response.text, 'Answer to: prompt of reset-6');
    const again = await s.ask('prompt of reset-6', { request_id: 'reset-6', priority: 'HIGH' });
    assert.equal(again.headers['idempotent-replayed'], 'true');
    assert.deepEqual(again.json, res.json.response);
    assert.equal(sent('reset-6'), 1);
});

for (const [how, id, priority, close] of [
    ['half-closed before it is sent', 'fin-1', 'LOW', (socket) => socket.end()],
    ['half-closed after it was sent', 'fin-2', 'HIGH', (socket) => socket.end()],
    ['closed before it is sent', 'fin-3', 'LOW', (socket) => socket.destroy()],
])
    s.test(`${how}: one answer, kept, or none sent`, async (t) => {
        s.fake.when((call) => call.members.some((m) => m.prompt.includes(id)), { ms: 300 });
        const client = await waitingClient(id, priority);
        await until('it is known', async () => (await statusOf(id)) !== 'none');
        if (priority === 'HIGH') await until('it is under way', () => sent(id) === 1);
        close(client);
        if (priority === 'LOW') await sleep(LOW_WINDOW_MS + 100 * STRETCH);
        const state = await until('it has ended', async () => {
            const now = await statusOf(id);
            return ['done', 'none'].includes(now) && now;
        });
        t.diagnostic(`${how}: ${state}, sent ${sent(id)} times`);
        assert.ok(state === 'done' ? sent(id) === 1 : priority === 'LOW' && state === 'none' && sent(id) === 0, state);
        const res = await s.ask(`prompt of ${id}`, { request_id: id, priority });
        assert.equal(res.status, 200, res.text);
        assert.equal(sent(id), 1);
        client.destroy();
    });

s.test('thirty clients reset at any moment: nothing is sent twice, whatever was sent is kept', async () => {
    s.fake.latencyMs = 30;
    await Promise.all(
        Array.from({ length: 30 }, async (_, i) => {
            const client = await waitingClient(`any-${i}`, 'HIGH');
            await sleep(i * 5);
            client.resetAndDestroy();
        }),
    );
    await sleep(500 * STRETCH);
    const times = (i) => s.fake.prompts.filter((p) => p === `prompt of any-${i}`).length;
    await until('all have come to their end', async () => {
        for (let i = 0; i < 30; i++)
            assert.equal(await statusOf(`any-${i}`), times(i) ? 'done' : 'none', `any-${i}, sent ${times(i)} times`);
        return true;
    });
    for (let i = 0; i < 30; i++) assert.ok(times(i) <= 1, `any-${i}`);
});
