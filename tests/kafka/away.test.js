'use strict';
/*
 * Kafka that goes, hangs, refuses, never comes or comes late: prompts go on, every prompt has its record in a topic or in a
 * file, /health says how it is, and the coordinator ends in time.
 */
const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { describe, before, after, test } = require('node:test');
const { performance } = require('node:perf_hooks');
const { Stack, until, sleep, inParallel, isAlive, STRETCH } = require('../integration/harness');
const { Cluster, TOPICS, filed, assertRecord, untilHealth, environment } = require('./kafka');

const LIFE_MS = 3000; /* of a record; carpool's own 10 s make slow tests */

/* A stack on a cluster; options: more properties of librdkafka. */
async function stackOn(cluster, { properties = '', env = {} } = {}) {
    const dir = fs.mkdtempSync(path.join(require('node:os').tmpdir(), 'cp-'));
    const file = path.join(dir, 'kafka.properties');
    fs.writeFileSync(file, `# of the test\nmessage.timeout.ms = ${LIFE_MS}\ntopic.metadata.propagation.max.ms = 1000\n${properties}\n`, { mode: 0o600 });
    return Stack.start({
        dir,
        provider: 'openai',
        env: environment(cluster, { CARPOOL_KAFKA_OPTIONS_FILE: file, ...env }),
    });
}

/* n prompts, each answered; returns their ids. */
async function ask(stack, name, n) {
    const ids = Array.from({ length: n }, (_, i) => `${name}-${i}`);
    await inParallel(n, 4, async (i) => {
        const res = await stack.ask(`prompt ${ids[i]}`, { request_id: ids[i], priority: 'HIGH' });
        assert.equal(res.status, 200, res.text);
    });
    return ids;
}

/* Each of them has its record somewhere, in the end. */
async function assertRecorded(stack, cluster, ids) {
    let missing = ids;
    await until(`records of ${ids.length} prompts`, () => {
        const known = new Set(
            [...cluster.of(TOPICS.requests), ...filed(stack, TOPICS.requests)].map((r) => r.request_id),
        );
        missing = ids.filter((id) => !known.has(id));
        return missing.length === 0;
    }, 20000).catch((e) => assert.fail(`${e.message}; missing: ${missing.join(' ')}`));
}

const delivered = (cluster, ids) => ids.filter((id) => cluster.of(TOPICS.requests).some((r) => r.request_id === id));
const written = (stack, ids) => ids.filter((id) => filed(stack, TOPICS.requests).some((r) => r.request_id === id));

/* How long the coordinator takes to end. */
async function end(stack) {
    const pid = stack.coordinatorPid();
    const started = performance.now();
    process.kill(pid, 'SIGTERM');
    await until('the coordinator ends', () => !isAlive(pid), 20000);
    return performance.now() - started;
}

/* One life of a stack and a cluster. */
function life(name, options, body) {
    describe(name, () => {
        let cluster, stack;
        before(async () => {
            cluster = await Cluster.create(options.cluster);
            stack = await stackOn(cluster, options);
        });
        after(async () => {
            await stack?.stop();
            await cluster?.kill();
        });
        test(name, { timeout: 120000 * STRETCH }, async (t) => {
            try {
                await body(stack, cluster, t);
            } catch (e) {
                for (const line of stack.logs().split('\n')) t.diagnostic(line);
                throw e;
            }
        });
    });
}

life('killed, and back with nothing in it', {}, async (stack, cluster) => {
    const first = await ask(stack, 'before', 8);
    await until('they are in the topic', () => delivered(cluster, first).length === 8);
    await cluster.kill();
    const away = await ask(stack, 'away', 8);
    const { reason } = await untilHealth(stack, 'down');
    assert.match(reason, /files do meanwhile: .*refused/i);
    /* It is known to be away: what comes now does not wait in memory. */
    const later = await ask(stack, 'later', 8);
    await until('all but the one that tries are in the file', () => written(stack, later).length >= 7, 1500);
    await assertRecorded(stack, cluster, [...away, ...later]);
    await cluster.start();
    await untilHealth(stack, 'ok');
    const back = await ask(stack, 'back', 8);
    await until('they are in the topic', () => delivered(cluster, back).length === 8);
    assert.deepEqual(written(stack, back), []);
    const log = fs.readFileSync(path.join(stack.storage, 'logs', 'coordinator.log'), 'utf8');
    assert.equal(log.match(/Kafka: .*Its records go to files/g)?.length, 1, 'said once');
    assert.match(log, /Kafka takes records again/);
    for (const record of filed(stack, TOPICS.requests)) assertRecord(record);
});

life('frozen with its connections open, then awake again', {}, async (stack, cluster) => {
    const first = await ask(stack, 'before', 4);
    await until('they are in the topic', () => delivered(cluster, first).length === 4);
    cluster.freeze();
    const ids = await ask(stack, 'frozen', 20);
    await untilHealth(stack, 'down');
    ids.push(...(await ask(stack, 'still', 20)));
    await until('what was on its way came back', () => written(stack, ids).length >= 39, 3 * LIFE_MS);
    cluster.thaw();
    await untilHealth(stack, 'ok');
    const back = await ask(stack, 'awake', 4);
    await until('they are in the topic', () => delivered(cluster, back).length === 4);
    await assertRecorded(stack, cluster, ids);
});

life('never there', { cluster: { later: true } }, async (stack, cluster) => {
    const ids = await ask(stack, 'alone', 30);
    await untilHealth(stack, 'down');
    const ms = await end(stack);
    assert.ok(ms < 5000 * STRETCH, `the coordinator took ${ms} ms to end`);
    assert.deepEqual(written(stack, ids).sort(), [...ids].sort(), 'at the end all of them are in the file');
    assert.ok(filed(stack, TOPICS.metrics).length >= 1);
});

life('comes later', { cluster: { later: true } }, async (stack, cluster) => {
    const early = await ask(stack, 'early', 5);
    await untilHealth(stack, 'down');
    await cluster.start();
    await untilHealth(stack, 'ok');
    const late = await ask(stack, 'late', 5);
    await until('they are in the topic', () => delivered(cluster, late).length === 5);
    await assertRecorded(stack, cluster, early);
});

life('frozen while the coordinator ends', {}, async (stack, cluster) => {
    await ask(stack, 'before', 4);
    cluster.freeze();
    const ids = await ask(stack, 'frozen', 10);
    const ms = await end(stack);
    assert.ok(ms < 5000 * STRETCH, `the coordinator took ${ms} ms to end`);
    assert.deepEqual(written(stack, ids).sort(), [...ids].sort());
    cluster.thaw();
});

life('there while the coordinator ends: nothing is left to files', {}, async (stack, cluster) => {
    await ask(stack, 'before', 4);
    await until('it is known to be there', () => cluster.of(TOPICS.requests).length === 4);
    const ids = await ask(stack, 'last', 10);
    const ms = await end(stack);
    assert.ok(ms < 5000 * STRETCH, `the coordinator took ${ms} ms to end`);
    await until('the last ones are in the topic', () => delivered(cluster, ids).length === 10);
    assert.deepEqual(written(stack, ids), []);
});

life('a topic that is not there', {}, async (stack, cluster) => {
    await cluster.command(`hide ${TOPICS.errors}`);
    stack.fake.next({ do: 'status', status: 400 });
    const res = await stack.ask('refuse me', { request_id: 'hidden-1', priority: 'HIGH' });
    assert.equal(res.status, 400);
    const file = () => filed(stack, TOPICS.errors);
    await until('its record is in the file', () => file().some((e) => e.request_id === 'hidden-1'), 20000);
    const { reason } = await untilHealth(stack, 'down');
    assert.match(reason, /llm-errors/);
    const ids = await ask(stack, 'others', 5);
    await until('the other topics go on', () => delivered(cluster, ids).length === 5);
    assert.deepEqual(written(stack, ids), []);
});

life('brokers that refuse for a while', {}, async (stack, cluster) => {
    await ask(stack, 'before', 2);
    await until('it is known to be there', () => cluster.of(TOPICS.requests).length === 2);
    await cluster.command('reject 1 29'); /* TOPIC_AUTHORIZATION_FAILED: final for that record */
    const ids = await ask(stack, 'refused', 1);
    await until('its record is in the file', () => written(stack, ids).length === 1, 20000);
    const { reason } = await untilHealth(stack, 'down');
    assert.match(reason, /topic llm-requests: .*authorization/);
    /* Whether the topic takes records again is known when there is one for it. */
    await ask(stack, 'again', 1);
    await untilHealth(stack, 'ok');
    await until('it is in the topic', () => cluster.of(TOPICS.requests).length >= 3);
    assert.equal(cluster.of(TOPICS.requests).length, 3);
});

life('files that cannot be written either: counted', { cluster: { later: true } }, async (stack) => {
    const file = path.join(stack.storage, 'logs', `${TOPICS.requests}.jsonl`);
    await ask(stack, 'first', 1);
    fs.rmSync(file);
    fs.symlinkSync('/dev/full', file);
    await untilHealth(stack, 'down');
    await sleep(1200); /* the path is looked at once a second */
    await ask(stack, 'lost', 10);
    const metrics = await until(
        'the loss is told',
        () => filed(stack, TOPICS.metrics).find((m) => m.sink_dropped >= 9),
        25000,
    );
    assert.equal(metrics.kafka.status, 'down');
});

for (const [name, properties, said] of [
    ['an options file that librdkafka does not take', 'no.such.property = 1', /kafka\.properties line 4.*no\.such\.property/],
    ['a value that is no value', 'acks = perhaps-a-secret', /kafka\.properties line 4.*acks/],
]) {
    life(name, { properties, cluster: { later: true } }, async (stack) => {
        const ids = await ask(stack, 'anyway', 3);
        const { reason } = await untilHealth(stack, 'down');
        assert.match(reason, said);
        assert.doesNotMatch(reason, /perhaps-a-secret/);
        await until('everything goes to the file', () => written(stack, ids).length === 3);
    });
}
