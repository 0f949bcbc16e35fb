'use strict';
/*
 * Two promises that no crash is needed for, each put to one hard question with the history checker as the judge;
 * mutants.js breaks the code under them.
 *
 *   node tests/crash/probes.js reuse    other bodies under ids that run or are done: 409, never another's answer
 *   node tests/crash/probes.js resend   a kept connection that dies with a call on it: not sent again
 */
const { FakeProvider } = require('../integration/fake_provider');
const { Stack, until, sleep, freePort } = require('../integration/harness');
const { Clients } = require('./clients');
const { History, report } = require('./history');

const PROBES = {
    async reuse({ stack, clients }) {
        stack.fake.latencyMs = 300;
        const first = clients.ask('a', 'prompt a', { priority: 'LOW' });
        await sleep(100); /* it waits in the queue, where only the coordinator knows of it */
        const second = clients.ask('a', 'another prompt a', { priority: 'LOW' });
        await stack.fake.waitForCalls(1);
        await Promise.all([first, second, clients.ask('a', 'a third prompt', { priority: 'LOW' })]);
        await clients.ask('a', 'the fourth', { priority: 'LOW' });
        const statuses = clients.history.attempts.map((attempt) => attempt.status).sort();
        return String(statuses) === '200,409,409,409' ? [] : [`told ${statuses}, not 200, 409, 409, 409`];
    },

    async resend({ stack, clients }) {
        await clients.ask('a', 'prompt a');
        stack.fake.next('close_before');
        await clients.ask('b', 'prompt b');
        await until('the provider is idle', () => stack.fake.running === 0);
        /* Else there was no reason for libcurl to try. */
        const ports = stack.fake.calls.slice(0, 2).map((call) => call.port);
        return ports[0] === ports[1] ? [] : ['the second call went over a connection of its own'];
    },
};

async function main(name) {
    if (!PROBES[name]) throw new Error(`there is no probe ${name}`);
    const stack = new Stack({ provider: 'openai', env: { CARPOOL_BATCH_HIGH_WINDOW_MS: '5', CARPOOL_BATCH_LOW_WINDOW_MS: '500' } });
    stack.fake = await FakeProvider.start();
    stack.port = await freePort();
    const history = new History();
    const clients = new Clients(stack, history);
    const faults = [];
    try {
        await stack.start();
        faults.push(...(await PROBES[name]({ stack, clients })), ...clients.faults);
        history.addCalls(stack.fake.calls);
        history.readStore(stack.storage);
        const violations = history.check();
        if (violations.length) faults.push(report(violations));
    } finally {
        await stack.stop().catch((e) => faults.push(e.message));
    }
    console.log(faults.join('\n'));
    console.log(`${faults.length ? 0 : 1} passed, ${faults.length ? 1 : 0} failed`);
    process.exitCode = faults.length ? 1 : 0;
}

main(process.argv[2]);
