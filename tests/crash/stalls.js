'use strict';
/*
 * When the test's own process did not get to run: what it measured then is longer than it was. Each such time is an
 * outage in the history, of a part that is none of carpool's.
 *
 *   const stalls = new Stalls(history);
 *   stalls.watch();
 *   const ms = performance.now() - start - stalls.since(start);
 */
const { performance } = require('node:perf_hooks');

const TICK_MS = 20;
const STALL_MS = 150; /* shorter ones are not worth a line */

class Stalls {
    #last = 0;
    #list = [];
    constructor(history) {
        this.history = history;
        this.longestMs = 0;
    }

    watch() {
        this.#last = performance.now();
        setInterval(() => this.#tick(), TICK_MS).unref();
    }

    #tick() {
        const from = this.#last + TICK_MS;
        const to = performance.now();
        this.#last = to;
        this.longestMs = Math.max(this.longestMs, to - from);
        if (to - from < STALL_MS) return;
        this.#list.push({ from, to });
        this.history.outage({ part: 'the test itself', from, to });
    }

    /* How much of the time from then to now it was; ms. */
    since(start) {
        this.#tick();
        return this.#list.reduce((sum, { from, to }) => sum + Math.max(0, to - Math.max(from, start)), 0);
    }
}

module.exports = { Stalls };
