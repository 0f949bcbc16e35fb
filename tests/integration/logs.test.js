'use strict';
/* What operators find in logs/: a block for each call, one for each prompt and its answer, and a line for each event. */
const { describe } = require('node:test');
const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { useStack, until, inParallel } = require('./harness');

const TIME = String.raw`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z`;
const ID = '[0-9a-f-]{36}';
const CONFIGURED = { CARPOOL_BATCH_HIGH_WINDOW_MS: '30000', CARPOOL_BATCH_HIGH_MAX_BATCH: '2', CARPOOL_CACHE_MODE: 'exact' };

describe('logs of what was asked', () => {
    const s = useStack({ provider: 'openai', env: CONFIGURED });
    const read = (name) => fs.readFileSync(path.join(s.storage, 'logs', name), 'utf8');
    const written = (name, pattern) => until(`${name} has ${pattern}`, () => pattern.exec(read(name)));

    s.test('a prompt and its answer, a call, its events', async () => {
        const prompts = ['What is one?', 'What is two?\nAnd "three"?'];
        const asked = [];
        await inParallel(2, 2, async (i) => {
            asked[i] = (await s.ask(prompts[i], { priority: 'HIGH', request_id: `log-${i}` })).json;
        });
        for (const [i, json] of asked.entries()) {
            const text = `--- prompt ---\n${prompts[i]}\n--- answer ---\n${json.text}\n\n`;
            const words = `batch ${json.batch_id}, HIGH, ${json.tokens_used} tokens`;
            const head = new RegExp(`==== (${TIME}) request log-${i}, ${words}, (\\d+\\.\\d{3}) ms ====\n`);
            const found = await written('individual_request_response.log', head);
            assert.deepEqual([found[1], Number(found[2])], [json.completed_at, json.latency_ms]);
            assert.ok(read('individual_request_response.log').includes(found[0] + text));
        }
        const sent = `==== ${TIME} batch (${ID}), HIGH, 2 prompts, openai \\S+ ====\n--- sent ---\n(.*)\n--- received \\(HTTP 200\\) ---\n`;
        const call = await written('llm_request_response.log', new RegExp(sent));
        assert.equal(call[1], asked[0].batch_id);
        assert.ok(JSON.parse(call[2]).messages);
        await written('events.jsonl', /"BATCH_COMPLETE"/);
        const events = read('events.jsonl').trim().split('\n').map((line) => JSON.parse(line));
        for (const e of events) assert.match(e.time, new RegExp(`^${TIME}$`));
        const tags = ['ENQUEUE', 'ENQUEUE', 'DISPATCH', 'BATCH_START', 'LLM_BATCH', 'BATCH_COMPLETE'];
        assert.deepEqual(events.map((e) => e.event), tags);
        const done = events.at(-1);
        assert.deepEqual([done.n, done.answered, done.failed, done.calls], [2, 2, 0, 1]);
        assert.ok(done.waited_ms > 0 && done.total_ms > 0);
    });

    s.test('an answer given again says so', async () => {
        await s.ask('What is one?', { priority: 'HIGH', request_id: 'log-2' });
        await written('individual_request_response.log', new RegExp(`request log-2, batch ${ID} \\(cached\\), HIGH`));
    });
});
