'use strict';
/* redis.on_loss = local: while Redis is away each machine goes on with what it knows, says so, and shares again when
 * Redis is back. */
const assert = require('node:assert/strict');
const { useMachines, timesPaid, sleep, until, STRETCH } = require('./machines');

const m = useMachines({ onLoss: 'local' });
const more = (id) => ({ request_id: id, priority: 'HIGH' });

for (const [what, away, back] of [
    ['killed', () => m.redis.kill(), () => m.redis.launch()],
    ['stopped', () => m.redis.pause(), () => m.redis.resume()],
])
    m.test(`Redis is ${what} under load: every request is answered with 200, and then all is shared again`, async (t) => {
        let running = true;
        const results = [];
        const lane = async (machine, n) => {
            for (let i = 0; running; i++) {
                const id = `${what}-${n}-${i}`;
                results.push([id, await machine.ask(`prompt of ${id}`, more(id), { fresh: true, timeoutMs: 20000 * STRETCH })]);
                await sleep(30);
            }
        };
        const lanes = Array.from({ length: 12 }, (_, n) => lane(m.all[n % 2], n));
        try {
            await until('each lane has an answer, which is shared', () => results.length >= lanes.length);
            await sleep(500);
            await away();
            const start = performance.now();
            for (const machine of m.all) {
                await machine.says('down', /machine/i);
            }
            await sleep(Math.max(0, 3000 - (performance.now() - start)));
            await back();
            for (const machine of m.all) await machine.says('ok');
            await sleep(500);
        } finally {
            running = false;
            await Promise.all(lanes);
        }
        for (const [id, res] of results) {
            assert.equal(res.status, 200, `${id}: ${res.text}`);
            assert.equal(timesPaid(m.fake, `prompt of ${id}`), 1, id);
        }
        const worst = Math.max(...results.map(([, res]) => res.ms));
        t.diagnostic(`${results.length} requests, the slowest ${worst.toFixed(0)} ms`);
        assert.ok(worst < 5000 * STRETCH, `${worst.toFixed(0)} ms`);

        /* What was answered stays so where it was answered, and what was shared before or is new belongs to all. */
        for (const i of [0, Math.floor(results.length / 2), results.length - 1]) {
            const [id, alone] = results[i];
            const isOwn = (machine) => machine === m.all[Number(id.split('-')[1]) % 2];
            for (const machine of m.all)
                if (i === 0 || isOwn(machine)) assert.equal((await machine.ask(`prompt of ${id}`, more(id))).text, alone.text);
        }
        m.fake.latencyMs = 300;
        const both = await Promise.all(m.all.map((machine) => machine.ask('shared again', more(`again-${what}`))));
        assert.equal(both[0].text, both[1].text);
        assert.equal(timesPaid(m.fake, 'shared again'), 1);
    });

m.test('away for a while with work on both sides: replays on the own machine are the same bytes', async () => {
    await m.redis.kill();
    const alone = await m.a.ask('on A alone', more('alone'));
    assert.equal(alone.status, 200, alone.text);
    const replay = await m.a.ask('on A alone', more('alone'));
    assert.equal(replay.text, alone.text);
    assert.equal(replay.headers['idempotent-replayed'], 'true');
    await m.redis.launch();
    await m.allShare();
    assert.equal((await m.a.ask('on A alone', more('alone'))).text, alone.text);
    assert.equal(timesPaid(m.fake, 'on A alone'), 1);
});

m.test('a deletion while Redis is away is refused, or reaches the other machine later', async () => {
    assert.equal((await m.a.ask('deleted alone', more('deleted'))).status, 200);
    await m.redis.kill();
    const deletion = await m.a.delete('/v1/chat/deleted');
    assert.ok([200, 503].includes(deletion.status), deletion.text);
    await m.redis.launch();
    await m.allShare();
    if (deletion.status === 503) {
        assert.doesNotMatch(deletion.text, /on_loss is refuse/, 'it is not');
        assert.equal((await m.a.ask('deleted alone', more('deleted'))).status, 200, 'nothing is gone');
        assert.equal((await m.a.delete('/v1/chat/deleted')).status, 200);
    }
    await until('B says 410', async () => (await m.b.ask('deleted alone', more('deleted'))).status === 410, 3000);
});
