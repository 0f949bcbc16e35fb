'use strict';
/*
 * A Kafka cluster (broker.c) and a program that reads from it (consume.c), both as processes of their own that tests can
 * stop and kill; and what a record must look like: the examples in etc/kafka.md.
 */
const assert = require('node:assert/strict');
const { spawn } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const readline = require('node:readline');
const { freePort, until, BUILD, ROOT, RFC3339_MS } = require('../integration/harness');

const TOPICS = { requests: 'llm-requests', metrics: 'llm-metrics', errors: 'llm-errors' };
const tool = (name) => path.join(BUILD, 'kafka', name);
const children = new Set();
process.on('exit', () => children.forEach((child) => child.kill('SIGKILL')));

function start(name, args) {
    const child = spawn(tool(name), args, { stdio: ['pipe', 'pipe', 'ignore'] });
    children.add(child);
    child.stdin.on('error', () => {});
    child.gone = new Promise((resolve) => {
        child.on('exit', () => {
            children.delete(child);
            resolve();
        });
    });
    return child;
}

class Cluster {
    /* later: only the port is chosen, nobody listens there until start(). */
    static async create({ later = false, topics = Object.values(TOPICS) } = {}) {
        const cluster = new Cluster();
        cluster.port = await freePort();
        cluster.topics = topics;
        cluster.records = [];
        if (!later) await cluster.start();
        return cluster;
    }
    get address() {
        return `127.0.0.1:${this.port}`;
    }
    /* A broker with nothing in it. */
    async start() {
        this.broker = start('broker', [String(this.port), ...this.topics]);
        this.answers = readline.createInterface({ input: this.broker.stdout })[Symbol.asyncIterator]();
        assert.equal((await this.answers.next()).value, 'ready');
        this.reader = start('consume', [this.address, ...this.topics]);
        readline.createInterface({ input: this.reader.stdout }).on('line', (line) => {
            const [topic, key, value] = line.split('\t');
            this.records.push({ topic, key, value, json: JSON.parse(value) });
        });
    }
    async command(text) {
        this.broker.stdin.write(`${text}\n`);
        assert.equal((await this.answers.next()).value, 'ok');
    }
    freeze() {
        this.broker.kill('SIGSTOP');
    }
    thaw() {
        this.broker.kill('SIGCONT');
    }
    /* All that it holds is lost; what was read before stays in records. */
    async kill() {
        for (const child of [this.reader, this.broker]) child?.kill('SIGKILL');
        await Promise.all([this.reader?.gone, this.broker?.gone]);
    }
    of(topic) {
        return this.records.filter((r) => r.topic === topic).map((r) => r.json);
    }
    /* The records of a topic, once there is one that fits. */
    async find(topic, fits, timeoutMs = 10000) {
        return until(`a record in ${topic}`, () => this.of(topic).find(fits), timeoutMs);
    }
}

/* What was written to the file of a topic instead, the rotated ones first. */
function filed(stack, topic) {
    const dir = path.join(stack.storage, 'logs');
    return fs
        .readdirSync(dir)
        .filter((name) => name === `${topic}.jsonl` || name.startsWith(`${topic}.jsonl.`))
        .sort()
        .reverse()
        .flatMap((name) => fs.readFileSync(path.join(dir, name), 'utf8').split('\n').filter(Boolean))
        .map((line) => JSON.parse(line));
}

const EXAMPLES = [...fs.readFileSync(path.join(ROOT, 'etc', 'kafka.md'), 'utf8').matchAll(/```json\n([\s\S]*?)```/g)].map(
    (found) => JSON.parse(found[1]),
);
const NULLABLE = ['batch_id', 'username', 'error_type', 'error_code', 'finish_reason'];
const kindOf = (value) => (Array.isArray(value) ? 'array' : typeof value);

/* The members of the documented example of its kind, in that order, of those types. */
function assertRecord(record) {
    const example = EXAMPLES.find((e) => e.type === record.type && e.what === record.what);
    assert.ok(example, `a documented kind of record: ${JSON.stringify(record)}`);
    assert.deepEqual(Object.keys(record), Object.keys(example), JSON.stringify(record));
    assert.match(record.time, RFC3339_MS);
    for (const [name, value] of Object.entries(example)) {
        if (record[name] === null) assert.ok(NULLABLE.includes(name), `${name} is null`);
        else if (value !== null) assert.equal(kindOf(record[name]), kindOf(value), name);
    }
}

const kafkaOf = async (stack) => (await stack.get('/health')).json;
/* Until /health says so of Kafka, and what follows from it of the whole. */
async function untilHealth(stack, status, timeoutMs = 30000) {
    return until(
        `/health says that Kafka is ${status}`,
        async () => {
            const health = await kafkaOf(stack);
            const whole = status === 'down' ? 'degraded' : 'ok';
            return health.dependencies.kafka.status === status && health.status === whole && health.dependencies.kafka;
        },
        timeoutMs,
    );
}

const environment = (cluster, more = {}) => ({
    KAFKA_ENABLED: 'true',
    KAFKA_BOOTSTRAP_SERVERS: cluster.address,
    CARPOOL_BATCH_HIGH_WINDOW_MS: '10',
    ...more,
});

module.exports = { Cluster, TOPICS, filed, assertRecord, untilHealth, environment };
