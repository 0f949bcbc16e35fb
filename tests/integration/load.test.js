'use strict';
/* 1,000 prompts from 200 concurrent clients, each prompt with a canary of its own. */
const assert = require('node:assert/strict');
const { useStack, STRETCH } = require('./harness');

const CLIENTS = 200;
const EACH = 5;
const s = useStack({ provider: 'openai' });

s.test('every prompt gets its own answer, in few calls, and is stored once', async (t) => {
    s.fake.latencyMs = 20;
    const start = performance.now();
    const wrong = [];
    await Promise.all(
        Array.from({ length: CLIENTS }, async (_, client) => {
            const priority = client % 2 ? 'HIGH' : 'MEDIUM';
            for (let i = 0; i < EACH; i++) {
                const prompt = `canary-${client}-${i} says hello`;
                try {
                    const res = await s.ask(prompt, {
                        priority,
                        request_id: `load-${client}-${i}`,
                        username: `client-${client}`,
                    });
                    if (
                        res.status !== 200 ||
                        res.json.text !== `Answer to: ${prompt}` ||
                        res.json.request_id !== `load-${client}-${i}`
                    )
                        wrong.push(`${prompt}: ${res.status} ${res.text}`);
                } catch (e) {
                    wrong.push(`${prompt}: ${e.message}`);
                }
            }
        }),
    );
    assert.deepEqual(wrong, []);
    const total = CLIENTS * EACH;
    const took = performance.now() - start;
    t.diagnostic(
        `${total} prompts in ${took.toFixed(0)} ms, ${s.fake.calls.length} calls, at most ${s.fake.runningMost} at a time`,
    );
    assert.ok(s.fake.calls.length <= total / 4 + 12 * STRETCH, `${s.fake.calls.length} calls`);
    assert.ok(s.fake.runningMost <= 8);
    assert.equal(s.fake.prompts.length, total, 'no prompt was sent twice');
    assert.equal(new Set(s.fake.prompts).size, total);
    for (const call of s.fake.calls) assert.equal(new Set(call.members.map((m) => m.id)).size, call.members.length);

    const chats = await s.chats();
    assert.equal(chats.length, total);
    assert.equal(new Set(chats.map((c) => c.request.request_id)).size, total);
    for (const { request, response } of chats) {
        assert.equal(response.text, `Answer to: ${request.prompt}`);
        assert.equal(request.request_id, `load-${/canary-(\d+-\d+)/.exec(request.prompt)[1]}`);
        assert.equal(response.request_id, request.request_id);
    }
    const { requests, total_requests: batches } = (await s.get('/v1/analytics')).json;
    assert.equal(requests.total, total);
    assert.equal(batches, s.fake.calls.length);
});
