'use strict';
/*
 * The clients of the crash rounds: lanes that go on asking, each request written into the history. What breaks or is
 * refused for the moment they ask again under the same id, as a careful client does. Which scenario comes next is
 * decided by the seed.
 */
const { EventEmitter } = require('node:events');
const { sleep } = require('../integration/harness');

const DEADLINE_MS = { HIGH: 30500, MEDIUM: 32000, LOW: 35000 };
const STREAM_MS = 5000; /* from the first piece to the last */
const PATIENCE_MS = 25000; /* over the deadline: what takes longer is a violation by then */

/* mulberry32: numbers in [0, 1) that only the seed decides. */
function randomFrom(seed) {
    let state = seed >>> 0;
    const next = () => {
        state = (state + 0x6d2b79f5) >>> 0;
        let t = state;
        t = Math.imul(t ^ (t >>> 15), t | 1);
        t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
        return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
    };
    next.between = (low, high) => low + Math.floor(next() * (high - low + 1));
    next.of = (list) => list[Math.floor(next() * list.length)];
    /* weights: [[weight, value], …] */
    next.weighted = (weights) => {
        let at = next() * weights.reduce((sum, [weight]) => sum + weight, 0);
        return weights.find(([weight]) => (at -= weight) < 0)?.[1] ?? weights.at(-1)[1];
    };
    return next;
}

class Load {
    /* groups: API keys, "" for none; secrets: what clients send that nobody may show. */
    constructor({ stack, history, random, groups, adminKey, secrets }) {
        Object.assign(this, { stack, history, random, groups, adminKey, secrets });
        this.moments = new EventEmitter(); /* "asked", "told": for whoever wants to strike just then */
        this.running = true;
        this.n = 0;
        this.told = []; /* {id, prompt, group, priority, path} */
        this.heard = []; /* the same of streams */
        this.promised = [];
        this.scenarios = [
            [26, this.once],
            [14, this.duplicates],
            [8, this.otherBody],
            [14, this.asynchronous],
            [10, this.leaver],
            [8, this.plain],
            [10, this.streamed],
            [4, this.streamedOnce],
            [8, this.again],
            [6, this.echo],
            [3, this.nobody],
            [3, this.twins],
            [3, this.deletion],
            [3, this.refused],
            [2, this.settings],
        ];
    }

    start(lanes) {
        this.lanes = Array.from({ length: lanes }, () => this.#lane());
    }
    async stop() {
        this.running = false;
        await Promise.all(this.lanes);
    }

    async #lane() {
        while (this.running) {
            await this.random.weighted(this.scenarios).call(this);
            await sleep(this.random.between(0, 60));
        }
    }

    fresh(tag) {
        const id = `${tag}-${this.n++}`;
        const group = this.random.of(this.groups);
        const priority = this.random.of(['HIGH', 'HIGH', 'MEDIUM', 'MEDIUM', 'LOW']);
        const padding = this.random() < 0.02 ? ` ${'long '.repeat(this.random.between(2000, 12000))}` : '';
        return { id, group, priority, prompt: `prompt of ${id} for ${this.groups.indexOf(group)}${padding} ${priority}` };
    }

    /* One request, written down. what: for history.begin(); options: for the client. */
    async send(what, options) {
        const { method = 'POST', path = '/v1/query', deadlineMs = 0 } = what;
        const attempt = this.history.begin({ ...what, method, path, deadlineMs });
        const headers = { ...(what.group && { 'X-API-Key': what.group }), ...options.headers };
        const request = { ...options, headers, check: false, fresh: true, timeoutMs: deadlineMs + PATIENCE_MS };
        this.moments.emit('asked');
        try {
            attempt.answered(await this.stack.request(method, path, request));
        } catch (e) {
            if (options.signal?.aborted) attempt.left();
            else attempt.broke(e);
        }
        this.moments.emit('told');
        return attempt;
    }

    ask({ id, group, prompt, priority, isEcho }, { isAsync = false, signal, mustSucceed } = {}) {
        const body = { request_id: id, prompt, priority, openai_api_key: this.secrets.body };
        if (id.length % 2) Object.assign(body, { username: 'Zoë "Z"', metadata: { id, list: [1, 2.5, null, '\u2028'] } });
        const headers = isAsync ? { Prefer: 'respond-async' } : {};
        const what = { id, group, prompt, isAsync, isEcho, mustSucceed, deadlineMs: DEADLINE_MS[priority] };
        return this.send(what, { body, headers, signal });
    }

    fetch({ id, group }, { waitS, mustSucceed } = {}) {
        const path = `/v1/requests/${id}${waitS === undefined ? '' : `?wait=${waitS}`}`;
        return this.send({ id, group, method: 'GET', path, mustSucceed, deadlineMs: (waitS ?? 0) * 1000 }, {});
    }

    /* As a stream of OpenAI's API; without an id nobody can ask for it again. */
    listen({ id, group, prompt, priority }, { signal, mustSucceed } = {}) {
        const body = { messages: [{ role: 'user', content: prompt }], stream: true };
        const headers = { 'X-Priority': priority, ...(id && { 'Idempotency-Key': id }) };
        const deadlineMs = DEADLINE_MS[priority] + STREAM_MS;
        const what = { id, group, prompt, mustSucceed, deadlineMs, family: 'openai', path: '/v1/chat/completions' };
        return this.send({ ...what, streams: true }, { body, headers, signal });
    }

    /* Asks until there is a word that stands, a few times at most. */
    async insist(q, options = {}) {
        for (let i = 0; i < 12; i++) {
            const attempt = await this.ask(q, options);
            const { state } = attempt.word;
            if (state === 'done') this.told.push(q);
            if (state === 'promised') this.promised.push(q);
            if (!['none', 'refused'].includes(state) || attempt.status === 409 || attempt.status === 400) return attempt;
            await sleep(this.random.between(10, 80) * (i + 1));
        }
        return null;
    }

    async once() {
        await this.insist(this.fresh('once'));
    }

    /* The same request several times at once, or a little apart. */
    async duplicates() {
        const q = this.fresh('dup');
        const one = async (delay) => {
            await sleep(delay);
            return this.insist(q, { isAsync: q.priority === 'LOW' && delay > 20 });
        };
        await Promise.all([one(0), one(this.random.between(0, 30)), one(this.random.between(0, 150))]);
    }

    async otherBody() {
        const q = this.fresh('body');
        const other = { ...q, prompt: `another ${q.prompt}` };
        const first = this.insist(q);
        await sleep(this.random.between(0, 60));
        await Promise.all([first, this.ask(other)]);
    }

    async asynchronous() {
        const q = this.fresh('async');
        const accepted = await this.insist(q, { isAsync: true });
        if (accepted?.word.state !== 'promised') return;
        for (let i = 0; i < 10 && this.running; i++) {
            const { state } = (await this.fetch(q, { waitS: this.random.of([undefined, 0.3, 1, 2]) })).word;
            if (state === 'done') this.told.push(q);
            if (['done', 'failed', 'unknown'].includes(state)) return;
            await sleep(this.random.between(5, 100));
        }
    }

    async leaver() {
        const q = this.fresh('leaver');
        const leave = new AbortController();
        setTimeout(() => leave.abort(), this.random.between(1, 120));
        await this.ask(q, { signal: leave.signal });
        await sleep(this.random.between(0, 200));
        if (this.random() < 0.7) await this.insist(q);
    }

    /* Source 1's form, where the server makes the id. */
    async plain() {
        const q = this.fresh('plain');
        const { group, prompt } = q;
        const headers = { 'X-Priority': q.priority, ...(!group && { 'X-API-Key': this.secrets.stray }) };
        const what = { group, prompt, path: '/query', deadlineMs: DEADLINE_MS[q.priority] };
        const attempt = await this.send(what, { body: { query: prompt }, headers });
        const { id } = attempt.unit;
        if (attempt.word.state === 'done') await this.fetch({ id, group });
    }

    /* Heard to the end, or left and asked for again. */
    async streamed() {
        const q = this.fresh('stream');
        if (this.random() < 0.4) await this.#leave(q);
        for (let i = 0; i < 12; i++) {
            const attempt = await this.listen(q);
            const { state } = attempt.word;
            if (state === 'done') this.heard.push(q);
            if (state === 'done' || state === 'unknown' || [400, 422].includes(attempt.status)) return;
            await sleep(this.random.between(10, 80) * (i + 1));
        }
    }

    async streamedOnce() {
        const q = { ...this.fresh('stream'), id: undefined };
        if (this.random() < 0.5) await this.#leave(q);
        else await this.listen(q);
    }

    #leave(q) {
        const leave = new AbortController();
        setTimeout(() => leave.abort(), this.random.between(1, 200));
        return this.listen(q, { signal: leave.signal });
    }

    /* Something told long ago. */
    async again() {
        if (this.heard.length && this.random() < 0.2) {
            await this.listen(this.random.of(this.heard));
            return;
        }
        if (!this.told.length) return;
        const q = this.random.of(this.told);
        if (this.random() < 0.5) await this.ask(q);
        else await this.fetch(q);
    }

    /* Somebody else of the same group asks what was answered before. */
    async echo() {
        const told = this.told.filter((q) => q.id && !q.id.startsWith('deleted') && !q.isEcho);
        if (!told.length) return;
        const q = { ...this.random.of(told), id: `echo-${this.n++}`, isEcho: true };
        await Promise.all([this.insist(q, { isAsync: this.random() < 0.3 }), this.insist(q)]);
    }

    async nobody() {
        await this.fetch(this.fresh('nobody'));
    }

    /* One id of two callers: two requests. */
    async twins() {
        const q = this.fresh('twin');
        const group = this.groups.find((g) => g !== q.group);
        await Promise.all([this.insist(q), this.insist({ ...q, group, prompt: `${q.prompt} and its twin` })]);
    }

    /* An answer is deleted, and asked for again. */
    async deletion() {
        const q = this.fresh('deleted');
        if ((await this.insist(q))?.word.state !== 'done') return;
        const what = { id: q.id, group: q.group, method: 'DELETE', path: `/v1/chat/${q.id}` };
        for (let i = 0; i < 12; i++) {
            const { status } = await this.send(what, { headers: { 'X-API-Key': this.adminKey } });
            if (status === 200 || status === 404) break;
            await sleep(this.random.between(10, 80) * (i + 1));
        }
        await Promise.all([this.ask(q), this.fetch(q)]);
    }

    /* The provider refuses it each time: accepted, it is known as failed from then on, whoever asks again. */
    async refused() {
        const q = this.fresh('refused');
        const accepted = await this.insist(q, { isAsync: true });
        if (accepted?.word.state !== 'promised') return;
        await this.fetch(q, { waitS: 2 });
        await this.ask(q);
        await this.fetch(q);
    }

    /* A provider key is put while everything runs. */
    async settings() {
        const what = { group: this.adminKey, method: 'PUT', path: '/v1/settings' };
        await this.send(what, { body: { api_key: this.random.of(this.secrets.put) } });
    }

    /* Everything that was told, once more. */
    *replays() {
        const seen = new Set();
        for (const q of this.told) {
            const name = `${q.group} ${q.id}`;
            if (seen.has(name)) continue;
            seen.add(name);
            const mustSucceed = !q.id.startsWith('deleted');
            yield () => (seen.size % 3 ? this.ask(q, { mustSucceed }) : this.fetch(q, { mustSucceed }));
        }
        for (const q of this.heard) yield () => this.listen(q, { mustSucceed: true });
    }
}

module.exports = { Load, randomFrom };
