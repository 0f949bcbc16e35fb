'use strict';
/*
 * A language model provider over real HTTP on a free port: OpenAI's chat and text completions, Gemini's
 * generateContent and a model service, answering every prompt with "Answer to: <prompt>" and misbehaving on command. It records
 * every call. Tests start it in their own process; what the two APIs look like is in fake_dialects.js.
 *
 *   fake.next('missing')                        the next call misbehaves
 *   fake.next({ do: 'status', status: 429 }, 2) the next two do
 *   fake.next({ do: 'say', text: '…' })         what the model says, word for word; finish: 'stop', 'length', 'filter'
 *   fake.next({ pieceMs: 5, after: 3, then: 'reset' })   a stream: pauses between pieces; what comes after three of them
 *                                               ('reset', 'end', 'stall', 'error')
 *   fake.next({ do: 'raw', text: '…' })         a body word for word; type: its Content-Type
 *   fake.when((call) => …, 'hang')              every call that fits, until reset(); (call) => … chooses anew each time
 *   fake.hold(); fake.release()                 no call is answered; until then (or reset()), however long a test takes
 *   fake.next({ each: (n) => … })               a stream: what is awaited after its nth piece
 *   await fake.down(); await fake.up()          nobody listens; and again, on the same port
 *   fake.keys = ['sk-…']                       the keys that are accepted; null: any
 *   fake.health = { status: 503, body: {…} }    what GET /health and GET /v1/models say
 */
const http = require('node:http');
const { performance } = require('node:perf_hooks');
const { openai, gemini, completions, modelService, echoOf, answerTo } = require('./fake_dialects');

const STRETCH = process.env.SANITIZED ? 4 : 1;

const entriesOf = (call) =>
    call.members.map(({ id, prompt }) => [
        id,
        { echo: echoOf(prompt ?? '', call.system), answer: answerTo(prompt ?? '') },
    ]);
/* Written by hand, because an object cannot hold a key twice or keep an order of numeric keys. */
const entriesText = (entries) =>
    `{${entries.map(([id, entry]) => `${JSON.stringify(id)}:${JSON.stringify(entry)}`).join(',')}}`;
const combinedText = (call) => entriesText(entriesOf(call));
const fullText = (call) => (call.combined ? combinedText(call) : answerTo(call.members[0].prompt));

/* What a combined answer's text becomes. A plain call knows none of these and is answered properly. */
const COMBINED_FAULTS = {
    missing: (entries, { index = 0 }) => entries.filter((_, i) => i !== index),
    doubled: (entries, { index = 0 }) => [...entries, entries[index]],
    extra: (entries) => [...entries, ['zzzzzzzzzzz', { echo: 'nobody asked', answer: 'this belongs to nobody' }]],
    shuffled: (entries) => entries.slice(1).concat(entries.slice(0, 1)).reverse(),
    swapped: (entries, { a = 0, b = 1 }) =>
        entries.map(([id, entry], i) => [id, i === a ? entries[b][1] : i === b ? entries[a][1] : entry]),
    renamed: (entries, { index = 0 }) =>
        entries.map(([id, entry], i) => (i === index ? ['qqqqqqqqqqq', entry] : [id, entry])),
    entry_shape: (entries, { index = 0 }) =>
        entries.map(([id, entry], i) => (i === index ? [id, [entry.answer]] : [id, entry])),
};
const TEXT_FAULTS = {
    cut_json: (call) => combinedText(call).slice(0, -9),
    prose: () => 'I am sorry, I cannot answer in that form.',
    fenced: (call) => `\`\`\`json\n${combinedText(call)}\n\`\`\`\n`,
};

const send = (res, status, body, headers = {}) => {
    const text = typeof body === 'string' ? body : JSON.stringify(body);
    res.writeHead(status, {
        'Content-Type': 'application/json',
        'Content-Length': Buffer.byteLength(text),
        ...headers,
    });
    res.end(text);
};

/* An answer as a stream, a piece at a time, never more at once than the other side reads. call.streamed counts them. */
async function stream(call, res, { pieceMs = 0, after = Infinity, then, each }, events) {
    res.writeHead(200, { 'Content-Type': 'text/event-stream' });
    call.streamed = 0;
    for (const event of events) {
        if (call.streamed === after) return STREAM_ENDS[then](res);
        if (!res.write(`data: ${event}\n\n`)) await new Promise((resolve) => res.once('drain', resolve).once('close', resolve));
        if (res.destroyed) return;
        call.streamed++;
        if (each) await each(call.streamed);
        if (pieceMs) await new Promise((resolve) => setTimeout(resolve, pieceMs));
    }
    res.end();
}
const STREAM_ENDS = {
    reset: (res) => setTimeout(() => res.socket?.resetAndDestroy(), 20),
    end: (res) => res.end(),
    stall: () => {},
    error: (res) =>
        res.end(`data: ${JSON.stringify({ error: { message: 'the model has fallen over', type: 'server_error' } })}\n\n`),
};

function answer(call, res, o, dialect, text, finish) {
    if (call.streams) stream(call, res, o, dialect.events(call, text, finish));
    else send(res, 200, dialect.answer(call, text, finish));
}

/* Behaviours of the whole response. Each gets (call, res, options, dialect). */
const RESPONSES = {
    ok: (call, res, o, dialect) => answer(call, res, o, dialect, fullText(call), 'stop'),
    say: (call, res, o, dialect) => answer(call, res, o, dialect, o.text, o.finish ?? 'stop'),
    raw: (call, res, { text, type }) => send(res, 200, text, type ? { 'Content-Type': type } : {}),
    truncated: (call, res, o, dialect) => {
        const text = fullText(call);
        send(res, 200, dialect.answer(call, text.slice(0, Math.ceil(text.length * 0.7)), 'length'));
    },
    html: (call, res, { status = 200 }) =>
        send(res, status, '<!DOCTYPE html><html><body><h1>It works!</h1></body></html>', {
            'Content-Type': 'text/html',
        }),
    other_shape: (call, res) => send(res, 200, { greeting: 'hello', data: [1, 2, 3] }),
    empty_choices: (call, res, o, dialect) =>
        send(res, 200, dialect === openai ? { choices: [], usage: {} } : { candidates: [] }),
    cut_body: (call, res, o, dialect) => {
        const text = JSON.stringify(dialect.answer(call, fullText(call), 'stop'));
        send(res, 200, text.slice(0, Math.floor(text.length / 2)));
    },
    status: (call, res, { status, retryAfter, headerOnly, code, message, delay }, dialect) => {
        const headers =
            retryAfter !== undefined && (headerOnly || dialect === openai) ? { 'Retry-After': String(retryAfter) } : {};
        const body = dialect.error(
            status,
            message ?? `the fake provider says ${status}`,
            code,
            headerOnly ? undefined : retryAfter,
        );
        setTimeout(() => send(res, status, body, headers), delay ?? 0);
    },
    quota: (call, res, o, dialect) =>
        send(
            res,
            429,
            dialect.error(
                429,
                'You exceeded your current quota, please check your plan and billing details.',
                'insufficient_quota',
            ),
        ),
    redirect: (call, res, { status, to }) => {
        res.writeHead(status, { Location: `${to}/chat/completions`, 'Content-Length': 0 });
        res.end();
    },
    few: (call, res, o, dialect) => send(res, 200, dialect.answer(call)),
    many: (call, res, o, dialect) => send(res, 200, dialect.answer(call)),
    hang: () => {},
    reset_before: (call, res) => res.socket.resetAndDestroy(),
    reset_mid: (call, res, o, dialect) => {
        const text = JSON.stringify(dialect.answer(call, fullText(call), 'stop'));
        res.writeHead(200, { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(text) });
        res.write(text.slice(0, Math.floor(text.length / 2)), () =>
            setTimeout(() => res.socket?.resetAndDestroy(), 20),
        );
    },
    close_before: (call, res) => res.socket.destroy(),
    filter: (call, res, o, dialect) => {
        const { status, body } = dialect.filtered(call);
        send(res, status, body);
    },
    filter_finish: (call, res, o, dialect) => send(res, 200, dialect.answer(call, '', 'filter')),
};

function perform(call, res, behaviour, dialect) {
    const name = behaviour.do;
    if (RESPONSES[name]) return RESPONSES[name](call, res, behaviour, dialect);
    if (COMBINED_FAULTS[name]) {
        if (!call.combined) return RESPONSES.ok(call, res, behaviour, dialect);
        return send(
            res,
            200,
            dialect.answer(call, entriesText(COMBINED_FAULTS[name](entriesOf(call), behaviour)), 'stop'),
        );
    }
    if (!call.combined) return RESPONSES.ok(call, res, behaviour, dialect);
    return send(res, 200, dialect.answer(call, TEXT_FAULTS[name](call), 'stop'));
}

const normalise = (behaviour) => {
    const b = typeof behaviour === 'string' ? { do: behaviour } : { do: 'ok', ...behaviour };
    if (!RESPONSES[b.do] && !COMBINED_FAULTS[b.do] && !TEXT_FAULTS[b.do])
        throw new Error(`the fake provider knows no behaviour ${b.do}`);
    return b;
};

const keyOf = (headers) => headers.authorization ?? headers['x-goog-api-key'] ?? headers['x-api-key'];

class FakeProvider {
    constructor() {
        this.server = http.createServer((req, res) => this.#receive(req, res));
        this.server.keepAliveTimeout = 30000;
        this.sockets = new Set();
        this.server.on('connection', (socket) => {
            this.sockets.add(socket);
            socket.on('close', () => this.sockets.delete(socket));
        });
        this.reset();
    }

    static async start() {
        const fake = new FakeProvider();
        await new Promise((resolve) => fake.server.listen(0, '127.0.0.1', resolve));
        fake.url = `http://127.0.0.1:${fake.server.address().port}`;
        return fake;
    }

    /* As each provider's SDK takes its base URL. */
    baseUrl(kind) {
        return kind === 'openai' ? `${this.url}/v1` : this.url;
    }

    /* Forgets calls and behaviours. Calls that hang go on hanging until their client leaves. */
    reset() {
        this.release();
        this.calls = [];
        this.queue = [];
        this.rules = [];
        this.latencyMs = 0;
        this.health = null;
        this.keys = null;
        this.running = 0;
        this.runningMost = 0;
    }

    next(behaviour, times = 1) {
        for (let i = 0; i < times; i++) this.queue.push(normalise(behaviour));
    }

    hold() {
        this.held = new Promise((resolve) => (this.resume = resolve));
    }
    release() {
        this.resume?.();
        this.held = null;
    }

    when(predicate, behaviour, times = Infinity) {
        const choose = typeof behaviour === 'function' ? behaviour : () => behaviour;
        if (choose !== behaviour) normalise(behaviour); /* a wrong name is told at once */
        this.rules.push({ predicate, choose, times });
    }

    /* Calls that carried prompts (not /v1/models). */
    get prompts() {
        return this.calls.flatMap((call) => call.members.map((m) => m.prompt));
    }
    get faults() {
        return this.calls.filter((call) => call.fault).map((call) => call.fault);
    }
    callsWith(text) {
        return this.calls.filter((call) => call.members.some((m) => m.prompt?.includes(text)));
    }

    async waitForCalls(n, timeoutMs = 5000 * STRETCH) {
        const end = performance.now() + timeoutMs;
        while (this.calls.length < n) {
            if (performance.now() > end)
                throw new Error(`${this.calls.length} calls reached the provider within ${timeoutMs} ms, not ${n}`);
            await new Promise((resolve) => setTimeout(resolve, 5));
        }
    }

    /* As if it were killed: nobody listens any more, and what runs is cut off. */
    async down() {
        const closed = new Promise((resolve) => this.server.close(resolve));
        for (const socket of this.sockets) socket.resetAndDestroy();
        await closed;
    }
    async up() {
        await new Promise((resolve, reject) => {
            this.server.once('error', reject);
            this.server.listen(new URL(this.url).port, '127.0.0.1', resolve);
        });
    }

    async close() {
        this.server.closeAllConnections();
        await new Promise((resolve) => this.server.close(resolve));
    }

    #behaviourFor(call) {
        if (this.queue.length) return this.queue.shift();
        const rule = this.rules.find((r) => r.times > 0 && r.predicate(call));
        if (!rule) return { do: 'ok' };
        rule.times--;
        return normalise(rule.choose(call));
    }

    async #receive(req, res) {
        const at = performance.now();
        const chunks = [];
        req.on('error', () => {});
        res.on('error', () => {});
        try {
            for await (const chunk of req) chunks.push(chunk);
        } catch {
            return; /* whoever called died in the middle of it: no call */
        }
        const raw = Buffer.concat(chunks).toString();
        const path = req.url;
        if (req.method === 'GET' && this.health) return send(res, this.health.status, this.health.body);
        if (req.method === 'GET' && path === '/health') return send(res, 200, { status: 'ok' });
        if (req.method === 'GET' && path === '/v1/models') return send(res, 200, openai.models(['fake-model']));
        if (req.method === 'GET' && path.startsWith('/v1beta/models'))
            return send(res, 200, gemini.models(['fake-model']));
        const dialect =
            path === '/v1/chat/completions'
                ? openai
                : path === '/v1/completions'
                  ? completions
                  : path === '/generate_batch' || path === '/generate'
                    ? modelService
                    : /^\/v1beta\/models\/[^/:]+:(generateContent(\?|$)|streamGenerateContent\?alt=sse$)/.test(path)
                      ? gemini
                      : null;
        if (req.method !== 'POST' || !dialect)
            return send(res, 404, openai.error(404, `no such path: ${req.method} ${path}`));
        let body;
        try {
            body = JSON.parse(raw);
        } catch {
            body = {};
        }

        const call = {
            n: this.calls.length,
            at,
            path,
            headers: req.headers,
            port: req.socket.remotePort /* which connection it came over */,
            raw,
            body,
            dialect: dialect.name,
            streams: body.stream === true || path.includes(':streamGenerateContent'),
            ...dialect.read(body, path),
        };
        call.fault =
            dialect.fault(body, path) ??
            (call.members.some((m) => m.prompt === undefined) ? 'a question is missing' : null);
        this.calls.push(call);
        if (call.fault) return send(res, 400, dialect.error(400, call.fault));
        if (this.keys && !this.keys.some((key) => [`Bearer ${key}`, key].includes(keyOf(req.headers))))
            return send(res, 401, dialect.error(401, `Incorrect API key provided: ${keyOf(req.headers)}.`));
        const behaviour = this.#behaviourFor(call);
        call.behaviour = behaviour.do;
        call.echo = behaviour.echo;
        if (behaviour.do === 'missing') call.missing = behaviour.index ?? 0;
        this.running++;
        this.runningMost = Math.max(this.runningMost, this.running);
        res.on('close', () => {
            this.running--;
            call.doneAt = performance.now();
            call.clientLeft = !res.writableFinished;
            call.sentWhole = res.writableFinished;
            call.status = res.statusCode;
        });
        const wait = behaviour.ms ?? this.latencyMs;
        if (wait) await new Promise((resolve) => setTimeout(resolve, wait));
        await this.held;
        call.answeredAt = performance.now();
        if (!res.destroyed) perform(call, res, behaviour, dialect);
    }
}

module.exports = { FakeProvider };
