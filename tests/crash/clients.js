'use strict';
/*
 * Clients as they ought to be: they ask under one id until they hear something final, whatever breaks
 * meanwhile, and all of it goes into the history (history.js). Used by visit.js, powercut.js and mutants.js.
 */
const { performance } = require('node:perf_hooks');
const { sleep } = require('../integration/harness');

const DEADLINE_MS = 31000; /* the longest wait of the priorities used here: latency_ms / 1000 + 30 s */
const END_MS = 20000; /* from the first attempt to something final, over any number of crashes */
const PAUSE_MS = 15;
/* 202 is final for the POST; what became of it is asked for afterwards. */
const FINAL = [200, 202, 400, 404, 409, 410, 424];

class Clients {
    constructor(stack, history) {
        this.stack = stack;
        this.history = history;
        this.asked = new Map(); /* id -> {id, prompt, priority, isAsync} as first asked */
        this.told = new Set(); /* ids that were answered */
        this.faults = [];
        this.stopped = false; /* nobody tries again: the machine is about to lose its power */
    }

    async #untilFinal(what, attempt, isFinal) {
        const end = performance.now() + END_MS;
        for (;;) {
            let res = { status: 0, text: '' };
            try {
                res = await attempt();
            } catch (e) {
                res.text = e.message;
            }
            if (isFinal(res) || this.stopped) return res;
            if (performance.now() > end) {
                this.faults.push(`${what}: nothing final within ${END_MS} ms, last ${res.status} ${res.text}`);
                return res;
            }
            await sleep(PAUSE_MS);
        }
    }

    async #attempt(what, send) {
        const attempt = this.history.begin({ deadlineMs: DEADLINE_MS, ...what });
        try {
            const res = await send({ fresh: true, check: false, timeoutMs: DEADLINE_MS + 5000 });
            attempt.answered(res);
            return res;
        } catch (e) {
            attempt.broke(e);
            throw e;
        }
    }

    /* POST /v1/query until 200, 202, 409, 410 or 424. */
    async ask(id, prompt, { priority = 'HIGH', isAsync = false, mustSucceed = false } = {}) {
        if (!this.asked.has(id)) this.asked.set(id, { id, prompt, priority, isAsync });
        const body = { request_id: id, username: 'tester', prompt, priority };
        const headers = isAsync ? { Prefer: 'respond-async' } : {};
        const res = await this.#untilFinal(
            `POST ${id}`,
            () =>
                this.#attempt({ id, prompt, isAsync, mustSucceed }, (options) =>
                    this.stack.post('/v1/query', body, { ...options, headers }),
                ),
            ({ status }) => FINAL.includes(status),
        );
        if (res.status === 200) this.told.add(id);
        return res;
    }

    again(id, more) {
        const { prompt, priority } = this.asked.get(id);
        return this.ask(id, prompt, { priority, ...more });
    }

    /* GET /v1/requests/{id} until it neither waits nor runs. */
    follow(id) {
        const path = `/v1/requests/${id}`;
        return this.#untilFinal(
            `GET ${path}`,
            () =>
                this.#attempt({ id, method: 'GET', path }, (options) => this.stack.get(`${path}?wait=5`, options)),
            ({ status, json }) =>
                status === 410 || status === 404 || (status === 200 && !['queued', 'running'].includes(json?.status)),
        );
    }

    remove(id) {
        const path = `/v1/chat/${id}`;
        return this.#untilFinal(
            `DELETE ${path}`,
            () => this.#attempt({ id, method: 'DELETE', path }, (options) => this.stack.delete(path, options)),
            ({ status }) => [200, 404, 410].includes(status),
        );
    }

    /* Of no request id, so nothing for the history. */
    put(settings) {
        return this.#untilFinal(
            'PUT settings',
            () => this.stack.put('/v1/settings', settings, { fresh: true, check: false, timeoutMs: DEADLINE_MS }),
            ({ status }) => status === 200 || status === 400,
        );
    }
}

module.exports = { Clients };
