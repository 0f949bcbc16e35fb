'use strict';
/* A few hundred prompts such as pages show them: all priorities, several people, some from the cache, some failed. */
const assert = require('node:assert/strict');
const { inParallel, until } = require('../integration/harness');

const PEOPLE = ['ada', 'grace', 'édith', '林', 'someone-with-a-rather-long-name@example.org', null];
const PRIORITIES = ['HIGH', 'MEDIUM', 'LOW'];
const PROMPTS = 240;

/* Options of a carpool in which it goes fast. */
const SEEDED = {
    provider: 'openai',
    conf: '[prices]\nfake-model = 2.00 8.00\n',
    env: {
        CARPOOL_CACHE_MODE: 'exact',
        CARPOOL_BATCH_HIGH_WINDOW_MS: '30',
        CARPOOL_BATCH_MEDIUM_WINDOW_MS: '60',
        CARPOOL_BATCH_LOW_WINDOW_MS: '90',
        CARPOOL_RETRY_ATTEMPTS: '1',
    },
};

const wordOf = (i) => `${['What', 'Why', 'When', 'Who'][i % 4]} is number ${i}?${i % 17 === 0 ? '\n\n<b>Please</b> & thanks, in detail. '.repeat(20) : ''}`;

async function seed(stack) {
    stack.fake.when((call) => call.members.some((m) => m.prompt?.startsWith('Fail')), { do: 'status', status: 400 });
    stack.fake.latencyMs = 15;
    await inParallel(PROMPTS, 16, async (i) => {
        const more = { username: PEOPLE[i % PEOPLE.length] ?? undefined, priority: PRIORITIES[i % 3] };
        const res = await stack.ask(wordOf(i % 200), more, { timeoutMs: 30000 });
        assert.equal(res.status, 200, res.text);
    });
    for (let i = 0; i < 5; i++) await stack.ask(`Fail ${i}`, { priority: 'HIGH' });
    for (let i = 0; i < 4; i++) await stack.ask('x', { priority: 'urgent' });
    const errors = async () => Object.values((await stack.get('/v1/analytics')).json.errors).reduce((n, v) => n + v, 0);
    await until('all is counted', async () => (await errors()) >= 9);
}

module.exports = { seed, SEEDED, PROMPTS };
