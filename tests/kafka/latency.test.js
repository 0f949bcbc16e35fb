'use strict';
/*
 * What a prompt takes while Kafka is there, hangs or is away: rounds of each in turn against one carpool, so that the
 * machine's moods meet all of them alike, and each round is compared with the one with Kafka just before.
 *
 * Equal rounds differ by chance. So when three of four look slow, more rounds decide. Of twenty, eighteen are slow by chance
 * once in five thousand tries if each were by every second; what really makes prompts wait makes it twenty.
 */
const assert = require('node:assert/strict');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { before, after, describe, test } = require('node:test');
const { Stack, inParallel, sleep, STRETCH } = require('../integration/harness');
const { Cluster, TOPICS, filed, untilHealth, environment } = require('./kafka');

/* After that many rounds of each state, so many slow ones say that it is slower. */
const LOOKS = new Map([
    [4, 3],
    [8, 7],
    [12, 10],
    [16, 14],
    [20, 18],
]);
const PROMPTS = 150; /* when its state begins, and again when that is known */

const at = (sorted, share) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];

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
        const n = rounds.there.length;
        for (const part of ['p50', 'p99']) {
            for (const state of ['hangs', 'away']) {
                const slow = rounds[state].filter((r, i) => r[part] > rounds.there[i][part] * 1.1 + 1).length;
                if (slow >= LOOKS.get(n))
                    found.push(`${part} while Kafka ${state}: slower in ${slow} of ${n} rounds`);
            }
        }
        return found.join('; ');
    }

    test('prompts take as long without Kafka as with it', { timeout: 500000 * STRETCH }, async (t) => {
        const rounds = { there: [], hangs: [], away: [] };
        const all = Object.entries(rounds);
        let found = 'nothing was measured';
        await round('there', 'warm');
        for (let n = 0; found && n < Math.max(...LOOKS.keys()); n++) {
            for (const [state, list] of all) {
                list.push(await round(state, n));
                await sleep(200);
            }
            if (LOOKS.has(n + 1))
                found = slower(rounds);
        }
        for (const [state, list] of all)
            t.diagnostic(`${state}: ${list.map((r) => `${r.p50.toFixed(1)}/${r.p99.toFixed(1)}`).join('  ')} ms (p50/p99)`);
        assert.equal(found, '');
        assert.ok(filed(stack, TOPICS.requests).length > 0, 'it was away');
        assert.ok(cluster.of(TOPICS.requests).length > 0, 'it was there');
    });
});
