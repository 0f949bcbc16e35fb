'use strict';
/*
 * What a prompt takes while Kafka is there, hangs or is away: rounds of each in turn against one carpool, so that the
 * machine's moods meet all of them alike. The rounds with Kafka say how far apart equal rounds are.
 */
const assert = require('node:assert/strict');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { before, after, describe, test } = require('node:test');
const { Stack, inParallel, sleep, STRETCH } = require('../integration/harness');
const { Cluster, TOPICS, filed, untilHealth, environment } = require('./kafka');

const ROUNDS = 4;
const PROMPTS = 150; /* when its state begins, and again when that is known */

const at = (sorted, share) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];
const median = (list) => at([...list].sort((a, b) => a - b), 0.5);

describe('latency', () => {
    let cluster, stack;
    before(async () => {
        cluster = await Cluster.create();
        const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'cp-'));
        const properties = path.join(dir, 'kafka.properties');
        fs.writeFileSync(properties, 'message.timeout.ms = 2000\n');
        stack = await Stack.start({ dir, env: environment(cluster, { CARPOOL_KAFKA_OPTIONS_FILE: properties }) });
    });
    after(async () => {
        await stack?.stop();
        await cluster?.kill();
    });

    const states = {
        there: [async () => {}, async () => {}],
        hangs: [async () => cluster.freeze(), async () => cluster.thaw()],
        away: [() => cluster.command('down'), () => cluster.command('up')],
    };

    async function ask(name, n) {
        const times = [];
        await inParallel(n, 6, async (i) => {
            const res = await stack.ask('how long?', { request_id: `${name}-${i}`, priority: 'HIGH' });
            assert.equal(res.status, 200, res.text);
            times.push(res.ms);
        });
        return times;
    }

    async function round(state, number) {
        const name = `${state}-${number}`;
        await states[state][0]();
        const times = await ask(`${name}-a`, PROMPTS);
        await untilHealth(stack, state === 'there' ? 'ok' : 'down');
        times.push(...(await ask(`${name}-b`, PROMPTS)));
        await states[state][1]();
        await untilHealth(stack, 'ok');
        times.sort((a, b) => a - b);
        return { p50: at(times, 0.5), p99: at(times, 0.99) };
    }

    test('prompts take as long without Kafka as with it', { timeout: 300000 * STRETCH }, async (t) => {
        const rounds = { there: [], hangs: [], away: [] };
        await round('there', 'warm');
        for (let n = 0; n < ROUNDS; n++) {
            for (const state of Object.keys(rounds)) {
                rounds[state].push(await round(state, n));
                await sleep(200);
            }
        }
        for (const [state, list] of Object.entries(rounds))
            t.diagnostic(`${state}: ${list.map((r) => `${r.p50.toFixed(1)}/${r.p99.toFixed(1)}`).join('  ')} ms (p50/p99)`);
        for (const part of ['p50', 'p99']) {
            const usual = rounds.there.map((r) => r[part]);
            for (const state of ['hangs', 'away']) {
                const found = median(rounds[state].map((r) => r[part]));
                const limit = Math.max(...usual) * 1.1 + 1;
                assert.ok(found <= limit, `${part} while Kafka ${state}: ${found} ms, with it at most ${limit} ms`);
            }
        }
        assert.ok(filed(stack, TOPICS.requests).length > 0, 'it was away');
        assert.ok(cluster.of(TOPICS.requests).length > 0, 'it was there');
    });
});
