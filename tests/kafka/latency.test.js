'use strict';
/*
 * What a prompt takes while Kafka is there, hangs or is away: rounds of each in turn against one carpool, so that the
 * machine's moods meet all of them alike. The rounds with Kafka say how far apart equal rounds are.
 *
 * Of four and four equal rounds, the middle one of the second four is beyond all of the first in every fifth try. So when
 * a state looks slow, more rounds decide: of twelve and twelve, chance does that once in 150 tries, and what really
 * makes prompts wait does it every time.
 */
const assert = require('node:assert/strict');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { before, after, describe, test } = require('node:test');
const { Stack, inParallel, sleep, STRETCH } = require('../integration/harness');
const { Cluster, TOPICS, filed, untilHealth, environment } = require('./kafka');

const LOOKS = [4, 8, 12]; /* rounds of each state after which they are compared */
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

    /* In words, what is slower than with Kafka; empty if nothing is. */
    function slower(rounds) {
        const found = [];
        for (const part of ['p50', 'p99']) {
            const limit = Math.max(...rounds.there.map((r) => r[part])) * 1.1 + 1;
            for (const state of ['hangs', 'away']) {
                const ms = median(rounds[state].map((r) => r[part]));
                if (ms > limit)
                    found.push(`${part} while Kafka ${state}: ${ms} ms, with it at most ${limit} ms`);
            }
        }
        return found.join('; ');
    }

    test('prompts take as long without Kafka as with it', { timeout: 300000 * STRETCH }, async (t) => {
        const rounds = { there: [], hangs: [], away: [] };
        const all = Object.entries(rounds);
        let found = 'nothing was measured';
        await round('there', 'warm');
        for (let n = 0; found && n < LOOKS.at(-1); n++) {
            for (const [state, list] of all) {
                list.push(await round(state, n));
                await sleep(200);
            }
            if (LOOKS.includes(n + 1))
                found = slower(rounds);
        }
        for (const [state, list] of all)
            t.diagnostic(`${state}: ${list.map((r) => `${r.p50.toFixed(1)}/${r.p99.toFixed(1)}`).join('  ')} ms (p50/p99)`);
        assert.equal(found, '');
        assert.ok(filed(stack, TOPICS.requests).length > 0, 'it was away');
        assert.ok(cluster.of(TOPICS.requests).length > 0, 'it was there');
    });
});
