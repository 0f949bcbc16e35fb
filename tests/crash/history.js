'use strict';
/*
 * What happened, from three sides: the log of the clients, the log of the fake provider, and the dump of the
 * store (dump.c). check() compares them and gives the violations of what is promised (invariants.js).
 *
 *   const history = new History({ secrets });
 *   const attempt = history.begin({ id: 'a', prompt: 'one of a kind', deadlineMs: 30000 });
 *   attempt.answered(await client.post(…));          or attempt.broke(error), or attempt.left()
 *   history.outage({ part: 'lighttpd', from, to });  times are performance.now()
 *   history.addCalls(fake.calls);
 *   history.readStore(storage);
 *   const violations = history.check();              [{ rule: 'I2', who, what, evidence: [lines] }]
 *
 * Several machines: readStore([storage, …]), response.machine says who answered, and history.blur({ from, to }) when
 * a machine or what they share was away, so that somebody could not know what became of an id.
 *
 * Every prompt text must be sent under one id only: by it a dispatch is known to belong to that id. But once its answer
 * was told, others may ask the same (isEcho): they get that answer, so that no dispatch is theirs.
 */
const { execFileSync } = require('node:child_process');
const path = require('node:path');
const { performance } = require('node:perf_hooks');
const { INVARIANTS } = require('./invariants');
const { dispatchesOf } = require('./provider_log');
const { tablesOf, merge } = require('./stores');

const ROOT = path.join(__dirname, '..', '..');
const BUILD = path.resolve(ROOT, process.env.BUILD || 'build/release');

const LOOSE_RESPONSE = /^\{"request_id":"[^"]*","status":"done","response":(.*),"error":null\}$/s;

const PROMPT_PATHS = ['/v1/query', '/query', '/v1/chat/completions'];

/* What a stream came to. One that broke off tells nothing of what became of it. */
function wordOfStream(text) {
    const events = text.split('\n\n').filter((event) => event.startsWith('data: '));
    if (events.pop() !== 'data: [DONE]') return { state: 'none' };
    const words = events.map((event) => JSON.parse(event.slice(6)).choices[0]?.delta?.content ?? '');
    return { state: 'done', text: words.join('') };
}

/* One request of a client, from its start to its end. */
class Attempt {
    constructor(history, unit, n, what) {
        Object.assign(this, { method: 'POST', path: '/v1/query', isAsync: false, mustSucceed: false }, what);
        this.unit = unit;
        this.n = n;
        this.history = () => history;
        this.start = performance.now();
        this.end = null;
    }

    /* res: {status, headers, text}. */
    answered({ status, headers = {}, text, machine }) {
        this.end = performance.now();
        this.machine = machine;
        this.status = status;
        this.text = text;
        this.replayed = headers['idempotent-replayed'] === 'true';
        if (!this.unit.id && headers['x-request-id']) this.history().learn(this.unit, headers['x-request-id']);
        this.history().lookForSecrets(this, `${text}\n${JSON.stringify(headers)}`);
        return this;
    }

    /* The connection broke, or nothing came in the time the client had. */
    broke(error) {
        this.end = performance.now();
        this.error = error.message ?? String(error);
        return this;
    }

    /* The client went away by itself. */
    left() {
        this.end = performance.now();
        this.gone = true;
        return this;
    }

    get isRead() {
        return this.method === 'GET';
    }

    /* The client asked for the deletion of the id's chat. */
    get isDeletion() {
        return this.method === 'DELETE';
    }

    /*
     * What the client was told became of the id: {state: …}, one of done, promised (202), unknown (424), gone (deleted),
     * failed, open (queued or running), missing (404), refused, none (no response), unreadable, other (about something
     * else). A done one has the answer's text, and its bytes as POST /v1/query gives them.
     */
    get word() {
        if (!this.status) return { state: 'none' };
        if (this.isDeletion) return { state: this.status === 200 ? 'gone' : 'other' };
        if (!this.isRead && !PROMPT_PATHS.includes(this.path)) return { state: 'other' };
        if (this.status === 410) return { state: 'gone' };
        if (this.status === 424) return { state: 'unknown' };
        if (this.status === 202) return { state: 'promised' };
        if (this.isRead && this.status === 404) return { state: 'missing' };
        if (this.status !== 200) return { state: 'refused' };
        let json;
        try {
            if (this.streams) return wordOfStream(this.text);
            json = JSON.parse(this.text);
        } catch {
            return { state: 'unreadable' };
        }
        if (this.path === '/query') return { state: 'done', text: json.result };
        if (!this.isRead) return { state: 'done', text: json.text, id: json.request_id, bytes: this.text };
        if (json.status !== 'done') return { state: { queued: 'open', running: 'open' }[json.status] ?? json.status };
        const bytes = LOOSE_RESPONSE.exec(this.text)?.[1];
        return { state: 'done', text: json.response?.text, id: json.response?.request_id, bytes };
    }

    toString() {
        const ms = (t) => (t === null ? '?' : (t / 1000).toFixed(3));
        const how = this.isAsync ? ' async' : '';
        const end = this.gone ? 'left' : this.error ? `broke: ${this.error}` : `${this.status} ${this.text?.slice(0, 200)}`;
        return `client #${this.n} ${ms(this.start)}..${ms(this.end)} ${this.method} ${this.path}${how}${this.machine ? ` on ${this.machine}` : ''} "${(this.prompt ?? '').slice(0, 80)}": ${end}`;
    }
}

/* One request id of one caller, with all that concerns it. An id that the server made is not known before it has
 * answered. */
class Unit {
    constructor(group, family, id) {
        Object.assign(this, { group, family, id, prompts: new Set(), attempts: [], dispatches: [] });
        this.key = undefined;
        this.record = undefined;
        this.chats = [];
    }
    toString() {
        return `${this.family} ${this.group || 'keyless'} ${this.id ?? [...this.prompts][0]?.slice(0, 80)}`;
    }
}

class History {
    /*
     * secrets: [{name, text}] that no client may ever be shown; attempts: retry.attempts of the server; graceMs: what
     * a request may take over its deadline; answerOf: what the provider answers to a prompt.
     */
    constructor({ secrets = [], attempts = 3, graceMs = 2000, answerOf = (prompt) => `Answer to: ${prompt}` } = {}) {
        Object.assign(this, { secrets, retryAttempts: attempts, graceMs, answerOf });
        this.units = new Set();
        this.names = new Map();
        this.byPrompt = new Map();
        this.attempts = [];
        this.outages = [];
        this.blurs = [];
        this.dispatches = [];
        this.leaks = [];
        this.stores = [];
        this.store = null;
        this.settled = true;
    }

    /*
     * A request begins. group: the API key it comes with ("": none); id: its request_id (absent: the server makes
     * one); prompt: its prompt (none for a GET); deadlineMs: the time it may take; isAsync: Prefer: respond-async;
     * mustSucceed: nothing is in the way, so a refusal is a violation as well; isEcho: another's prompt, see above.
     */
    begin({ group = '', family = 'query', id, prompt, ...what }) {
        const unit = this.#unit(group, family, id, prompt);
        if (prompt !== undefined) {
            const other = this.byPrompt.get(prompt);
            if (other && other !== unit && !what.isEcho) throw new Error(`the prompt "${prompt}" belongs to another id`);
            if (!what.isEcho) this.byPrompt.set(prompt, unit);
            unit.prompts.add(prompt);
        }
        const attempt = new Attempt(this, unit, this.attempts.length, { id, prompt, ...what });
        this.attempts.push(attempt);
        unit.attempts.push(attempt);
        return attempt;
    }

    #unit(group, family, id, prompt) {
        const name = JSON.stringify(id === undefined ? [group, family, null, prompt] : [group, family, id]);
        if (!this.names.has(name)) {
            const unit = new Unit(group, family, id);
            this.units.add(unit);
            this.names.set(name, unit);
        }
        return this.names.get(name);
    }

    /* The id that the server made, which may be asked for from now on. */
    learn(unit, id) {
        unit.id = id;
        this.names.set(JSON.stringify([unit.group, unit.family, id]), unit);
    }

    /* A part was dead or stopped from..to. front: what its clients see is a broken connection. */
    outage({ part, from, to, front = false }) {
        this.outages.push({ part, from, to, front });
    }

    /* A machine, or what machines share, was away from..to, and a moment later all know again. */
    blur({ from, to }) {
        this.blurs.push({ from, to });
    }

    /* What a machine told meanwhile is what it could know just then. */
    isBlurred(attempt) {
        return this.blurs.some(({ from, to }) => from <= attempt.end && to >= attempt.start);
    }

    lookForSecrets(where, text) {
        for (const secret of this.secrets)
            if (text.includes(secret.text)) this.leaks.push({ secret: secret.name, where: String(where) });
    }

    /* The calls of a FakeProvider. */
    addCalls(calls) {
        for (const call of calls) this.dispatches.push(...dispatchesOf(call));
    }

    /* Runs dump.c over a storage directory, or over those of several machines. settled: nothing runs any more. */
    readStore(dirs, { settled = true } = {}) {
        const dump = path.join(BUILD, 'crash', 'dump');
        const options = { encoding: 'utf8', maxBuffer: 1 << 30 };
        const linesOf = (dir) => execFileSync(dump, [dir], options).split('\n').filter(Boolean);
        this.setStores([].concat(dirs).map((dir) => linesOf(dir).map((line) => JSON.parse(line))), { settled });
        const known = [...this.units].filter((unit) => unit.id);
        const input = known.map((unit) => `${unit.family}\t${unit.group}\t${unit.id}\n`).join('');
        const keys = execFileSync(dump, ['--keys'], { ...options, input }).split('\n');
        known.forEach((unit, i) => (unit.key = keys[i]));
    }

    /* The lines of each machine's dump, parsed. */
    setStores(machines, { settled = true } = {}) {
        this.settled = settled;
        this.stores = machines.map(tablesOf);
        this.store = merge(this.stores);
    }
    setStore(entries, options) {
        this.setStores([entries], options);
    }

    /* Where a secret stands in files: [{secret, where}] from whoever looked. */
    addLeaks(leaks) {
        this.leaks.push(...leaks);
    }

    #connect() {
        this.strangers = [];
        for (const unit of this.units) {
            unit.dispatches = [];
            unit.record = this.store?.records.get(unit.key);
            unit.chats = [];
        }
        for (const dispatch of [...this.dispatches].sort((a, b) => a.at - b.at)) {
            const unit = this.byPrompt.get(dispatch.prompt);
            dispatch.unit = unit;
            if (unit) unit.dispatches.push(dispatch);
            else this.strangers.push(dispatch);
        }
        const byKey = new Map([...this.units].filter((unit) => unit.key).map((unit) => [unit.key, unit]));
        for (const chat of this.store?.chats.values() ?? []) byKey.get(chat.key)?.chats.push(chat);
    }

    /* Everything known about an id, in the order of time, for the reader of a violation. */
    evidence(unit) {
        const timed = [
            ...unit.attempts.map((a) => [a.start, String(a)]),
            ...unit.dispatches.map((d) => [d.at, String(d)]),
        ];
        const times = timed.sort((a, b) => a[0] - b[0]).map(([, line]) => line);
        const { state, repairs, epoch, batch_id, refusal } = unit.record ?? {};
        if (this.store)
            times.push(`store: ${unit.record ? JSON.stringify({ state, repairs, epoch, batch_id, refusal }) : 'no record'}`);
        for (const chat of unit.chats) times.push(`chat: ${chat.answer.slice(0, 400)}`);
        return times;
    }

    /* The outages that overlap from..to. */
    outagesIn(from, to) {
        return this.outages.filter((o) => o.from <= to && o.to >= from);
    }

    check() {
        this.#connect();
        const violations = [];
        for (const [rule, invariant] of Object.entries(INVARIANTS)) {
            invariant(this, (who, what, evidence) => {
                const lines = evidence ?? (who instanceof Unit ? this.evidence(who) : []);
                violations.push({ rule, who: String(who), what, evidence: lines });
            });
        }
        return violations;
    }
}

/* Violations as text. */
function report(violations, { most = 20 } = {}) {
    const lines = [];
    const shown = new Set();
    for (const { rule, who, what, evidence } of violations.slice(0, most)) {
        lines.push(`${rule} ${who}: ${what}`);
        if (!shown.has(who)) lines.push(...evidence.slice(0, 40).map((line) => `    ${line}`));
        shown.add(who);
    }
    if (violations.length > most) lines.push(`… and ${violations.length - most} more`);
    return lines.join('\n');
}

module.exports = { History, report };
