'use strict';
/* kill -9 of each part of `make run` under load: the service is back within 2 s, what a client was told of is
 * still there, nothing is bought twice, and stopping leaves no process behind. */
const { beforeEach } = require('node:test');
const assert = require('node:assert/strict');
const { useStack, until, sleep, isAlive, STRETCH } = require('./harness');

const s = useStack({
    provider: 'openai',
    command: ['etc/run'],
    env: { CARPOOL_BATCH_HIGH_WINDOW_MS: '30', CARPOOL_BATCH_MEDIUM_WINDOW_MS: '50' },
});
const told = new Map(); /* id -> body of a 200 */
const promised = new Set(); /* ids that got a 202 */

/* 24 clients that go on asking until stopped; what breaks meanwhile is theirs to ask again, under the same id. */
function load(tag) {
    let running = true;
    let n = 0;
    const client = async (lane) => {
        while (running) {
            const id = `${tag}-${n++}`;
            const asynchronous = lane % 4 === 0;
            const body = { request_id: id, prompt: `prompt of ${id}`, priority: lane % 2 ? 'HIGH' : 'MEDIUM' };
            try {
                const res = await s.post('/v1/query', body, {
                    fresh: true,
                    check: false,
                    headers: asynchronous ? { Prefer: 'respond-async' } : {},
                });
                if (res.status === 200) {
                    assert.equal(res.json.text, `Answer to: prompt of ${id}`);
                    told.set(id, res.text);
                } else if (res.status === 202) promised.add(id);
                else await sleep(20);
            } catch (e) {
                if (e.code === 'ERR_ASSERTION') throw e;
                await sleep(20); /* the connection broke: allowed for those who wait at that moment */
            }
        }
    };
    const lanes = Array.from({ length: 24 }, (_, lane) => client(lane));
    return async () => {
        running = false;
        await Promise.all(lanes);
    };
}

/* Time until a fresh prompt is answered, asking every 20 ms from now. */
async function timeUntilServed(tag, limitMs = 6000) {
    const start = performance.now();
    for (let i = 0; ; i++) {
        try {
            const res = await s.ask(
                `probe ${tag} ${i}`,
                { priority: 'HIGH' },
                { fresh: true, check: false, timeoutMs: 1000 * STRETCH },
            );
            if (res.status === 200) return performance.now() - start;
        } catch {
            /* not yet */
        }
        if (performance.now() - start > limitMs * STRETCH)
            throw new Error(`not served again within ${limitMs * STRETCH} ms after ${tag}`);
        await sleep(20);
    }
}

/* A part that does not come back fails its own test only: the next one starts on a whole service. */
beforeEach(async () => {
    try {
        await timeUntilServed('before', 1500);
        assert.equal((await s.get('/v1/settings', { check: false })).status, 200);
    } catch {
        s.front.kill('SIGTERM');
        await s.frontExit;
        await s.start();
    }
    s.fake.reset();
});

async function killUnderLoad(t, tag, pick) {
    const stop = load(tag);
    try {
        await killAndWatch(t, tag, pick);
    } finally {
        await stop();
    }
    await nothingLost(tag);
}

async function killAndWatch(t, tag, pick) {
    await until('the load runs', () => [...told.keys()].filter((id) => id.startsWith(tag)).length > 20);
    const victims = [].concat(pick());
    assert.ok(
        victims.length && victims.every(Boolean),
        `nothing to kill: ${JSON.stringify(s.processes().map((p) => p.args))}`,
    );
    for (const pid of victims) process.kill(pid, 'SIGKILL');
    const back = await timeUntilServed(tag);
    t.diagnostic(`back after ${back.toFixed(0)} ms`);
    await sleep(200);
    assert.ok(back < 2000 * STRETCH, `back after ${back.toFixed(0)} ms`);
    for (const pid of victims) assert.ok(!isAlive(pid));
}

async function nothingLost(tag) {
    const ids = [...told.keys()].filter((id) => id.startsWith(tag));
    for (const id of ids) {
        const res = await s.get(`/v1/requests/${id}`);
        assert.equal(res.json?.status, 'done', `${id}: ${res.text}`);
        assert.deepEqual(res.json.response, JSON.parse(told.get(id)));
    }
    for (const id of [...promised].filter((p) => p.startsWith(tag))) {
        const { json, text } = await s.get(`/v1/requests/${id}?wait=10`);
        if (json.status === 'done') assert.equal(json.response.text, `Answer to: prompt of ${id}`);
        else assert.equal(json.status, 'unknown', `${id}: ${text}`); /* its call was under way: only that is allowed */
    }
    const asked = s.fake.prompts.filter((p) => p.startsWith(`prompt of ${tag}`));
    assert.equal(asked.length, new Set(asked).size, 'nothing was sent twice');
    const chats = (await s.chats()).map((c) => c.request.request_id).filter((id) => id.startsWith(tag));
    assert.equal(chats.length, new Set(chats).size);
    for (const id of ids) assert.ok(chats.includes(id), `${id} is among the chats`);
}

s.test('a worker child', (t) => killUnderLoad(t, 'child', () => s.workers().children[0]?.pid));
s.test('every worker child', (t) => killUnderLoad(t, 'children', () => s.workers().children.map((p) => p.pid)));
s.test('the parent of the workers', (t) => killUnderLoad(t, 'parent', () => s.workers().parent?.pid));
s.test('the parent of the management workers', (t) =>
    killUnderLoad(t, 'manage', () => s.workers('manage').parent?.pid),
);
for (const pool of ['prompt', 'manage']) {
    s.test(`the parent of the ${pool} pool while nobody asks`, async () => {
        /* After the test before, orphans may still be leaving, and the heir counts as one of them. */
        const { pid } = await until('the pool has one parent', () => s.workers(pool).parent);
        process.kill(pid, 'SIGKILL');
        await sleep(300); /* lighttpd has noticed by now, and the next request comes before it starts another */
        const target =
            pool === 'prompt'
                ? () => s.ask('anybody?', { priority: 'HIGH' }, { fresh: true, check: false })
                : () => s.get('/v1/settings', { fresh: true, check: false });
        await until(`the ${pool} pool is back`, async () => (await target()).status === 200, 2000);
    });
}
/* A pool that lighttpd has not started itself it never starts again: any of it that is left has to. */
s.test('the parent of the workers, and then the one in its place with all of its children', async () => {
    const pool = () => s.processes().filter((p) => p.args.includes('--pool=prompt')).map((p) => p.pid);
    const serves = async () => (await s.ask('anybody?', { priority: 'HIGH' }, { fresh: true, check: false })).status === 200;
    const three = (pids) => pids.length === 3 && pids;
    const first = await until('the pool is whole', () => three(pool()));
    process.kill(s.workers().parent.pid, 'SIGKILL');
    const second = await until('it is another one', () => three(pool()) && !pool().some((pid) => first.includes(pid)) && pool());
    await sleep(1500); /* once a second lighttpd looks whether there is somebody */
    await until('it serves', serves, 2000);
    s.fake.reset();
    s.fake.next({ do: 'ok', ms: 3000 * STRETCH });
    const long = s.ask('it takes long', { priority: 'HIGH' }, { fresh: true });
    await s.fake.waitForCalls(1);
    process.kill(s.workers().parent.pid, 'SIGKILL');
    const third = await until('there is a third one', () => three(pool().filter((pid) => !second.includes(pid))));
    for (const signal of ['SIGSTOP', 'SIGKILL']) for (const pid of third) process.kill(pid, signal); /* none outlives another */
    await until('it serves', serves, 2000);
    assert.equal((await long).status, 200);
});
s.test('the coordinator', (t) => killUnderLoad(t, 'coordinator', () => s.coordinatorPid()));
s.test('lighttpd', (t) => killUnderLoad(t, 'lighttpd', () => s.processes().find((p) => p.name === 'lighttpd')?.pid));
s.test('coordinator and lighttpd together', (t) =>
    killUnderLoad(t, 'both', () => [s.coordinatorPid(), s.processes().find((p) => p.name === 'lighttpd')?.pid]),
);

s.test('requests accepted as async before a kill are done afterwards', async () => {
    const ids = Array.from({ length: 30 }, (_, i) => `kept-${i}`);
    await s.put('/v1/settings', { low_priority: { window_ms: 30000, max_batch: 50, tokens: 100 } });
    const accepted = await Promise.all(
        ids.map((id) =>
            s.ask(`prompt of ${id}`, { request_id: id, priority: 'LOW' }, { headers: { Prefer: 'respond-async' } }),
        ),
    );
    assert.ok(accepted.every((res) => res.status === 202));
    assert.equal(s.fake.callsWith('kept-').length, 0, 'they still wait in the queue');
    process.kill(s.coordinatorPid(), 'SIGKILL');
    await timeUntilServed('kept');
    await s.put('/v1/settings', { low_priority: { window_ms: 100 } });
    for (const id of ids) {
        const res = await s.get(`/v1/requests/${id}?wait=15`);
        assert.equal(res.json.status, 'done', `${id}: ${res.text}`);
        assert.equal(res.json.response.text, `Answer to: prompt of ${id}`);
    }
    assert.equal(s.fake.prompts.filter((p) => p.startsWith('prompt of kept-')).length, 30);
});

s.test('those who wait in the queue when the coordinator is killed get their answer from the next one', async () => {
    await s.put('/v1/settings', { low_priority: { window_ms: 20000, max_batch: 50, tokens: 100 } });
    const waiting = Array.from({ length: 10 }, (_, i) =>
        s.ask(`prompt of waiting-${i}`, { request_id: `waiting-${i}`, priority: 'LOW' }),
    );
    const wait = () => until('they wait', async () => (await s.get('/stats')).json.queue.low.depth === 10);
    await wait();
    const pid = s.coordinatorPid();
    process.kill(pid, 'SIGKILL');
    await until('it is dead', () => !isAlive(pid));
    await wait();
    assert.equal(s.fake.callsWith('waiting-').length, 0);
    await s.put('/v1/settings', { low_priority: { window_ms: 100 } });
    const results = await Promise.all(waiting);
    results.forEach((res, i) => {
        assert.equal(res.status, 200, res.text);
        assert.equal(res.json.text, `Answer to: prompt of waiting-${i}`);
    });
});

s.test('a call under way when the coordinator is killed: unknown, never sent again', async () => {
    s.fake.when((call) => call.members.some((m) => m.prompt.includes('underway')), { ms: 3000 });
    const waiting = s.ask('prompt underway', { request_id: 'underway-1', priority: 'HIGH' });
    await s.fake.waitForCalls(1);
    process.kill(s.coordinatorPid(), 'SIGKILL');
    const res = await waiting;
    assert.equal(res.status, 424, res.text);
    assert.equal((await s.ask('prompt underway', { request_id: 'underway-1', priority: 'HIGH' })).status, 424);
    assert.equal(s.fake.callsWith('underway').length, 1);
});
