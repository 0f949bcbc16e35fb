'use strict';
/*
 * One visit to a crash point: a fresh instance, its first coordinator (or a worker) under strace, which kills
 * it on entering the Nth call of one kind, a fixed and short scenario around it, and then everybody asks
 * again. What the clients heard, what the provider was asked and what is stored goes to the history checker.
 * points.js decides which points there are.
 */
const { spawn } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { performance } = require('node:perf_hooks');
const { FakeProvider } = require('../integration/fake_provider');
const { Stack, until, isAlive, freePort, BUILD, PROVIDER_KEY } = require('../integration/harness');
const { Clients } = require('./clients');
const { History, report } = require('./history');
const { killAll } = require('./processes');

const SECOND_KEY = 'sk-second-canary-key-9b1c';
const MAY_TRACE = 'be root, with the capability SYS_PTRACE in a container (docker run --cap-add=SYS_PTRACE)';
const SETTINGS = {
    CARPOOL_WORKER_PROCESSES: '1',
    CARPOOL_WORKER_THREADS: '2',
    CARPOOL_WORKER_MANAGE_THREADS: '2',
    CARPOOL_BATCH_HIGH_WINDOW_MS: '5',
    CARPOOL_BATCH_MEDIUM_WINDOW_MS: '40',
    CARPOOL_BATCH_LOW_WINDOW_MS: '5',
    CARPOOL_BATCH_FLUSH_WHEN_ALL_WAIT: 'off' /* both members of the pair shall ride together */,
    CARPOOL_RETRY_BASE_MS: '20',
};

class Visit {
    constructor() {
        this.stack = new Stack({ provider: 'openai', env: { ...SETTINGS } });
        this.stack.secrets.push(SECOND_KEY);
        this.tracers = new Set();
    }

    /* Runs it all; {reached, faults}. */
    static run(point) {
        return Visit.#with((visit) => visit.#run(point));
    }

    static async #with(body) {
        const visit = new Visit();
        try {
            return await body(visit);
        } finally {
            for (const tracer of visit.tracers) tracer.kill('SIGKILL');
            await visit.stack.stop({ checks: false }).catch(() => {});
        }
    }

    /* A visit without injection: what there is to inject into, [{phase, thread, syscall, calls}]. */
    static async count(syscalls, workerSyscalls) {
        const dry = (body) => Visit.#with((visit) => visit.#dry(body, syscalls));
        return [
            ...(await dry(async (visit, trace) => {
                const ready = await visit.startAndCount('start', trace);
                await visit.stack.start();
                const skip = readTrace(trace.file).length;
                await visit.scenario();
                return [...ready, ...countCalls('run', readTrace(trace.file).slice(skip), visit.pid)];
            })),
            ...(await dry(async (visit, trace) => {
                await visit.leaveUnfinished();
                return visit.startAndCount('recover', trace);
            })),
            ...(await dry(async (visit, trace) => {
                visit.stack.options.env.CARPOOL_WORKER_THREADS = '1';
                await visit.startTraced(null);
                await visit.stack.start();
                await visit.attach('worker', null, [...trace.options.slice(0, -1), `trace=${workerSyscalls}`]);
                await visit.scenario();
                return countCalls('worker', readTrace(trace.file), null);
            })),
        ];
    }

    async #dry(body, syscalls) {
        const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'cp-count-'));
        const file = path.join(dir, 'trace');
        try {
            await this.prepare();
            return await body(this, { file, options: ['-s', '120', '-o', file, '-e', `trace=${syscalls}`] });
        } finally {
            fs.rmSync(dir, { recursive: true });
        }
    }

    async startAndCount(phase, trace) {
        this.pid = await this.startTraced(trace.options);
        const lines = readTrace(trace.file);
        return countCalls(phase, lines.slice(0, lines.findIndex(({ text }) => text.includes('Ready.')) + 1), this.pid)
            .filter(({ thread }) => thread === 'main');
    }

    async #run(point) {
        const { stack } = this;
        const attached = point.phase === 'run' || point.phase === 'worker';
        await this.prepare();
        /* One thread makes all calls then, in one order. */
        if (point.phase === 'worker') stack.options.env.CARPOOL_WORKER_THREADS = '1';
        if (point.phase === 'recover') await this.leaveUnfinished();
        this.pid = await this.startTraced(attached ? null : injection(point));
        const from = performance.now();
        await stack.start();
        if (attached) this.pid = await this.attach(point.phase, point.thread, injection(point));
        if (point.phase === 'recover') await this.finishUnfinished();
        else await this.scenario();
        const reached = await this.wasReached();
        for (const tracer of this.tracers) tracer.kill('SIGKILL');
        /* A point that was not reached is a crash at the end, as good as any. */
        if (!reached && point.phase !== 'worker') process.kill(this.pid, 'SIGKILL');
        if (point.phase === 'worker')
            this.history.outage({ part: 'a worker', from, to: performance.now(), front: true });
        await this.everybodyAsksAgain();
        const faults = [...this.clients.faults, ...this.violations()];
        const last = stack.coordinatorPid();
        if (last) process.kill(last, 'SIGKILL'); /* all is known; its drain would take most of the time */
        await stack.stop().catch((e) => faults.push(e.message));
        return { reached, faults };
    }

    async prepare() {
        const { stack } = this;
        stack.fake = await FakeProvider.start();
        stack.port = await freePort();
        this.history = new History({
            secrets: [
                { name: 'the provider key', text: PROVIDER_KEY },
                { name: 'the second key', text: SECOND_KEY },
            ],
        });
        this.clients = new Clients(stack, this.history);
        const has = (call, prompt) => call.members.some((m) => m.prompt === prompt);
        stack.fake.when((call) => call.combined && has(call, 'prompt x'), { do: 'missing', index: 0 }, 1);
        stack.fake.when((call) => has(call, 'prompt d'), { do: 'status', status: 429 }, 1);
    }

    /* The coordinator, under strace when there is something to inject or a file to trace to. Gives its process
     * id once it is ready or gone. */
    async startTraced(options) {
        const program = path.join(BUILD, 'carpoold');
        const env = this.stack.environment();
        const [file, args] = options ? ['strace', ['-f', '-qq', ...options, program]] : [program, []];
        const child = spawn(file, args, { env, stdio: ['ignore', 'ignore', 'pipe'] });
        let said = '';
        child.stderr.on('data', (data) => (said += data));
        child.ended = new Promise((resolve) => child.on('exit', resolve));
        if (options) this.tracers.add(child);
        await until(
            'the first coordinator is ready or dead',
            () => said.includes('Ready.') || child.exitCode !== null || child.signalCode !== null,
            10000,
        );
        this.saidFirst = said;
        return options ? (this.stack.coordinatorPid() ?? (said.includes('Ready.') ? null : -1)) : child.pid;
    }

    /*
     * strace on one thread, so that "the Nth call" is the Nth of that thread; on all threads of a worker, where
     * it is the first thread to get that far. Gives the process that is going to die.
     */
    async attach(phase, thread, options) {
        const worker = () => this.stack.workers().children[0]?.pid;
        const pid = phase === 'worker' ? await until('there is a worker', worker) : this.pid;
        const target = phase === 'worker' ? ['-f', '-p', String(pid)] : ['-p', String(threadOf(pid, thread))];
        const tracer = spawn('strace', [...options, ...target], { stdio: ['ignore', 'ignore', 'pipe'] });
        let said = '';
        tracer.stderr.on('data', (data) => (said += data));
        this.tracers.add(tracer);
        await until('strace is attached', () => {
            if (tracer.exitCode === null) return /attached/.test(said);
            throw Object.assign(new Error(`strace cannot attach; ${MAY_TRACE}. It says: ${said}`), { final: true });
        });
        return pid;
    }

    async wasReached() {
        if (this.pid === -1) return true;
        try {
            await until('it is gone', () => !isAlive(this.pid), 30);
            return true;
        } catch {
            return false;
        }
    }

    async scenario() {
        const { clients } = this;
        await clients.ask('a', 'prompt a');
        await clients.ask('a', 'prompt a');
        await Promise.all([clients.ask('b', 'prompt b'), clients.ask('b', 'prompt b')]);
        await clients.ask('c', 'prompt c', { isAsync: true });
        await clients.follow('c');
        await Promise.all([
            clients.ask('x', 'prompt x', { priority: 'MEDIUM' }),
            clients.ask('y', 'prompt y', { priority: 'MEDIUM' }),
        ]);
        await clients.ask('d', 'prompt d');
        await clients.ask('b', 'another prompt');
        await clients.put({
            provider: 'openai',
            base_url: this.stack.fake.baseUrl('openai'),
            model: 'second-model',
            api_key: SECOND_KEY,
        });
        await clients.ask('f', 'prompt f');
        this.settingsHold('prompt f');
        await this.removeTold('a');
    }

    /* Settings that were told of are in force from then on, the key in its file as well as the rest. */
    settingsHold(prompt) {
        for (const { headers, model, n } of this.stack.fake.callsWith(prompt))
            if (headers.authorization !== `Bearer ${SECOND_KEY}` || model !== 'second-model')
                this.clients.faults.push(`call ${n} was made with ${model} and another key than was put`);
    }

    /* An answer that was told is there to be deleted; from then on its id is gone, never new. */
    async removeTold(id) {
        const { clients } = this;
        if (!clients.told.has(id)) return;
        this.deleted = id;
        await clients.remove(id);
        await clients.again(id);
    }

    /* What the recovery at a start meets: queued asynchronous requests, a call under way, answers. */
    async leaveUnfinished() {
        const { stack, clients } = this;
        stack.options.env.CARPOOL_BATCH_LOW_WINDOW_MS = '60000';
        await stack.start();
        await clients.ask('a', 'prompt a');
        await clients.ask('q1', 'prompt q1', { isAsync: true, priority: 'LOW' });
        await clients.ask('q2', 'prompt q2', { isAsync: true, priority: 'LOW' });
        const isUnder = (prompt) => prompt === 'prompt u' || prompt === 'prompt v';
        stack.fake.when((call) => call.members.some((m) => isUnder(m.prompt)), 'hang');
        clients.stopped = true;
        const under = [clients.ask('u', 'prompt u'), clients.ask('v', 'prompt v', { isAsync: true })];
        await until('the calls are under way', () => stack.fake.prompts.filter(isUnder).length === 2);
        const from = performance.now();
        await killAll(stack);
        await Promise.all(under);
        clients.stopped = false;
        this.history.outage({ part: 'everything', from, to: performance.now(), front: true });
        stack.fake.rules.pop();
        stack.options.env.CARPOOL_BATCH_LOW_WINDOW_MS = '5';
    }

    async finishUnfinished() {
        for (const id of ['u', 'v', 'a']) await this.clients.again(id);
        for (const id of ['v', 'q1', 'q2']) await this.clients.follow(id);
        await this.clients.ask('f', 'prompt f');
    }

    async everybodyAsksAgain() {
        if (this.clients.asked.has('x')) {
            await this.clients.ask('g', 'prompt g');
            this.settingsHold('prompt g');
        }
        for (const { id, isAsync } of this.clients.asked.values()) {
            await this.clients.again(id, { mustSucceed: id !== this.deleted });
            if (isAsync) await this.clients.follow(id);
        }
    }

    violations() {
        this.history.addCalls(this.stack.fake.calls);
        this.history.readStore(this.stack.storage);
        const violations = this.history.check();
        return violations.length ? [report(violations)] : [];
    }
}

function injection({ syscall, n }) {
    return ['-e', `trace=${syscall}`, '-e', `inject=${syscall}:signal=SIGKILL:when=${n}`, '-o', '/dev/null'];
}

/* The lines of a trace, {tid, syscall, text}; the second half of a call that was interrupted does not count. */
function readTrace(file) {
    return fs
        .readFileSync(file, 'latin1')
        .split('\n')
        .map((text) => ({ match: /^(\d+) +([a-z0-9]+)\(/.exec(text), text }))
        .filter(({ match }) => match)
        .map(({ match, text }) => ({ tid: Number(match[1]), syscall: match[2], text }));
}

/* pid null: whichever thread made most calls (the threads of a worker are alike). */
function countCalls(phase, lines, pid) {
    const calls = new Map();
    for (const { tid, syscall } of lines) {
        const key = `${tid} ${syscall}`;
        calls.set(key, (calls.get(key) ?? 0) + 1);
    }
    const most = new Map();
    for (const [key, n] of calls) {
        const [tid, syscall] = key.split(' ');
        const thread = pid === null ? 'any' : threadName(pid, Number(tid));
        const name = `${thread} ${syscall}`;
        most.set(name, Math.max(most.get(name) ?? 0, n));
    }
    return [...most].map(([name, n]) => {
        const [thread, syscall] = name.split(' ');
        return { phase, thread, syscall, calls: n };
    });
}

function threadName(pid, tid) {
    return tid === pid ? 'main' : fs.readFileSync(`/proc/${pid}/task/${tid}/comm`, 'utf8').trim();
}

function threadOf(pid, name) {
    if (name === 'main') return pid;
    for (const tid of fs.readdirSync(`/proc/${pid}/task`)) {
        const comm = fs.readFileSync(`/proc/${pid}/task/${tid}/comm`, 'utf8').trim();
        if (comm === name) return Number(tid);
    }
    throw new Error(`process ${pid} has no thread ${name}`);
}

module.exports = { Visit };
