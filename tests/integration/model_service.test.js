'use strict';
/* A model service of one's own (source document 5): one call for a batch, the fallback, and all that can be wrong
 * with a service that comes and goes. What takes a minute is in tests/scenario/array_missing.txt. */
const { describe } = require('node:test');
const assert = require('node:assert/strict');
const { useStack, until, sleep, Stack, STRETCH } = require('./harness');
const { FakeProvider } = require('./fake_provider');

const batched = (s, queries, options) => s.post('/chat/batched', { queries }, options);
const queries = (n, tag = 'Question') =>
    Array.from({ length: n }, (_, i) => ({ chat_id: String(i), user_prompt: `${tag} number ${i}?` }));
const answers = (asked) =>
    asked.map(({ chat_id, user_prompt }) => ({ chat_id, response: `Answer to: ${user_prompt}` }));
const paths = (s) => s.fake.calls.map((call) => call.path);
const provider = async (s) => (await s.get('/health')).json.dependencies.provider;

/* What is left to try after a failure is not what these tests are about. */
const QUICK = {
    CARPOOL_BATCH_MEDIUM_WINDOW_MS: '30',
    CARPOOL_BATCH_MEDIUM_MAX_BATCH: '16',
    CARPOOL_RETRY_ATTEMPTS: '1',
};

describe('a model service', () => {
    const s = useStack({ provider: 'model_service', env: { ...QUICK, HOSTING_MAX_CONCURRENCY: '5' } });

    s.test('gets a batch in one call', async () => {
        const asked = queries(16);
        const res = await batched(s, asked);
        assert.deepEqual(res.json, { partial_success: false, responses: answers(asked) });
        assert.equal(s.fake.calls.length, 1);
        const [call] = s.fake.calls;
        assert.equal(call.path, '/generate_batch');
        assert.deepEqual(call.body, { prompts: asked.map((q) => q.user_prompt), max_new_tokens: call.maxTokens });
        assert.equal(call.headers['x-api-key'], 'sk-integration-canary-key-7f3a');
    });

    s.test('gets one prompt the same way, with the system prompt in front', async () => {
        const res = await s.post('/chat', { chat_id: '1', user_prompt: 'Why?', system_prompt: 'Be kind.' });
        assert.equal(res.json.response, 'Answer to: Be kind.\n\nWhy?');
        assert.deepEqual(paths(s), ['/generate_batch']);
    });

    for (const behaviour of ['few', 'many']) {
        s.test(`a wrong number of texts (too ${behaviour}) is never handed out`, async () => {
            s.fake.next(behaviour);
            const asked = queries(8, behaviour);
            assert.deepEqual((await batched(s, asked)).json.responses, answers(asked));
            assert.deepEqual(
                s.fake.calls.map((call) => call.members.length),
                [8, 1, 1, 1, 1, 1, 1, 1, 1],
                'each was asked for again alone',
            );
            s.fake.reset();
            s.fake.when(() => true, behaviour);
            const res = await batched(s, queries(2, 'always'));
            assert.equal(res.json.partial_success, false);
            for (const { error, error_code } of res.json.responses) {
                assert.equal(error_code, 'BAD_UPSTREAM_ANSWER');
                assert.match(error, /another number of texts than of prompts/);
            }
        });
    }

    s.test('a prompt it refuses fails alone, in its words', async () => {
        s.fake.when((call) => call.members.some((m) => m.prompt.includes('number 3')), {
            do: 'status',
            status: 422,
            message: 'prompt 3 is too long',
        });
        const asked = queries(6, 'long');
        const { json } = await batched(s, asked);
        assert.equal(json.partial_success, true);
        const [bad] = json.responses.splice(3, 1);
        assert.deepEqual(json.responses, answers(asked.filter((_, i) => i !== 3)));
        assert.equal(bad.error_code, 'PROVIDER_REJECTED');
        assert.match(bad.error, /prompt 3 is too long/);
    });

    s.test('/health asks it', async () => {
        const said = await until('/health has noticed', async () => {
            const part = await provider(s);
            return part.status !== 'idle' && part;
        });
        assert.deepEqual(said, { status: 'ok' });
    });
});

describe('a model service without /generate_batch', () => {
    for (const status of [404, 405, 501]) {
        const s = useStack({ provider: 'model_service', env: { ...QUICK, HOSTING_MAX_CONCURRENCY: '5' } });

        s.test(
            `${status}: its prompts go one by one, HOSTING_MAX_CONCURRENCY at once, and that is remembered`,
            async () => {
                s.fake.when((call) => call.path === '/generate_batch', { do: 'status', status });
                /* From the first that goes alone on, none is answered before as many run as may. */
                let full;
                const fill = () => {
                    s.fake.hold();
                    return until('five run at once', () => s.fake.runningMost === 5).finally(() => s.fake.release());
                };
                s.fake.when((call) => void (call.path === '/generate' && (full ??= fill())), 'ok');
                const asked = queries(16);
                const res = await batched(s, asked, { headers: { 'X-Priority': 'high' } });
                assert.deepEqual(res.json, { partial_success: false, responses: answers(asked) });
                await full;
                const tried = paths(s).filter((path) => path === '/generate_batch').length;
                assert.ok(
                    tried >= 1 && tried <= 5,
                    `${tried} calls in vain, as many as ran before the first came back`,
                );
                const single = s.fake.calls.filter((call) => call.path === '/generate');
                assert.deepEqual(single.map((call) => call.body.prompt).sort(), asked.map((q) => q.user_prompt).sort());
                assert.ok(single.every((call) => Object.keys(call.body).join() === 'prompt,max_new_tokens'));
                assert.equal(s.fake.runningMost, 5);

                s.fake.reset();
                const more = queries(30, 'More');
                assert.deepEqual((await batched(s, more)).json.responses, answers(more));
                assert.ok(
                    paths(s).every((path) => path === '/generate'),
                    'not asked in vain again',
                );
                await until('/health is well', async () => (await provider(s)).status === 'ok');
            },
        );
    }
});

describe('a model service that comes and goes', () => {
    const s = useStack({
        provider: 'model_service',
        env: { ...QUICK, CARPOOL_BATCH_MEDIUM_MAX_BATCH: '4', CARPOOL_PROVIDER_MAX_CONCURRENCY: '3' },
    });
    const allFail = (res, codes) => {
        assert.equal(res.status, 200, res.text);
        assert.equal(res.json.partial_success, false);
        for (const { error, error_code } of res.json.responses) {
            assert.ok(codes.includes(error_code), `${error_code}: ${error}`);
            assert.ok(error.length > 20, error);
        }
    };
    const recovered = () =>
        until(
            'it is noticed that it is back',
            async () =>
                (await provider(s)).status === 'ok' &&
                (await s.post('/chat', { chat_id: 'r', user_prompt: 'Back?' })).status === 200,
            15000,
        );

    s.test(
        'killed in the middle: what ran is told as unknown, the rest clearly, and all is well when it is back',
        async () => {
            s.fake.when(() => true, 'hang');
            const waiting = batched(s, queries(24, 'Killed'));
            await s.fake.waitForCalls(2);
            await s.fake.down();
            const res = await waiting;
            allFail(res, ['OUTCOME_UNKNOWN', 'PROVIDER_UNAVAILABLE', 'PROVIDER_DOWN']);
            const codes = res.json.responses.map((r) => r.error_code);
            const ran = codes.filter((code) => code === 'OUTCOME_UNKNOWN').length;
            assert.ok(ran === 8 || ran === 12, `those of the calls that ran: ${codes}`);
            const { reason } = await until('/health sees it', async () => {
                const now = await provider(s);
                return now.status === 'down' && now;
            });
            assert.match(reason, /reached|lost|refused|connect/i);

            s.fake.rules = [];
            await s.fake.up();
            await recovered();
            const asked = queries(24, 'Again');
            assert.deepEqual((await batched(s, asked)).json, { partial_success: false, responses: answers(asked) });
            const prompts = s.fake.prompts.filter((p) => p.startsWith('Killed'));
            assert.equal(new Set(prompts).size, prompts.length, 'nothing was sent twice');
        },
    );

    s.test(
        'down for long: after a few failures each query is refused at once, and it is found again without a prompt',
        async () => {
            await s.fake.down();
            await until(
                'the breaker opens',
                async () => {
                    const res = await batched(s, queries(8, 'Down'));
                    allFail(res, ['PROVIDER_UNAVAILABLE', 'PROVIDER_DOWN']);
                    return res.json.responses.every((r) => r.error_code === 'PROVIDER_DOWN');
                },
                20000,
            );
            const refused = await s.post('/chat', { chat_id: '9', user_prompt: 'Now?' });
            if (refused.status === 503) {
                assert.equal(refused.json.chat_id, '9');
                assert.match(refused.headers['retry-after'], /^\d+$/);
            }
            await until('/health sees it', async () => (await provider(s)).status === 'down');
            await s.fake.up();
            await until('/health sees that it is back', async () => (await provider(s)).status === 'ok', 15000);
            const asked = queries(8, 'Up');
            assert.deepEqual((await batched(s, asked)).json.responses, answers(asked));
        },
    );

    s.test('slow: each query is told that it may have run', async () => {
        s.fake.when(() => true, 'hang');
        const waiting = batched(s, queries(4, 'Slow'));
        await s.fake.waitForCalls(1);
        /* As time-outs do (provider.timeout_ms is two minutes here): nothing comes, and then the connection goes. */
        await sleep(300);
        for (const socket of s.fake.sockets) socket.destroy();
        allFail(await waiting, ['OUTCOME_UNKNOWN']);
        s.fake.reset();
        await recovered();
    });

    s.test('loading its model: that is waited for, and /health says so', async () => {
        s.fake.health = { status: 503, body: { detail: 'Model is still loading' } };
        s.fake.when(() => s.fake.health, { do: 'status', status: 503, message: 'Model is still loading' });
        const asked = queries(12, 'Loading');
        const waiting = batched(s, asked);
        const { reason } = await until('/health sees it', async () => {
            const now = await provider(s);
            return now.status === 'down' && now;
        });
        assert.match(reason, /loading/i);
        await sleep(1200);
        s.fake.health = null;
        assert.deepEqual((await waiting).json, { partial_success: false, responses: answers(asked) });
        assert.ok(s.fake.calls.length < 20, `${s.fake.calls.length} calls`);
        await until('/health is well again', async () => (await provider(s)).status === 'ok', 10000);
    });
});

describe('provider.timeout_ms', () => {
    const s = useStack({
        provider: 'model_service',
        env: { ...QUICK, CARPOOL_PROVIDER_TIMEOUT_MS: String(2000 * STRETCH), CARPOOL_BATCH_MEDIUM_MAX_BATCH: '2' },
    });

    s.test('one slow call does not take the others along', async () => {
        s.fake.when((call) => call.members.some((m) => m.prompt.includes('number 2?')), 'hang');
        const asked = queries(6);
        const { json } = await batched(s, asked);
        assert.equal(json.partial_success, true);
        const slow = json.responses.splice(2, 2);
        assert.deepEqual(json.responses, answers(asked.filter((_, i) => i !== 2 && i !== 3)));
        for (const { error, error_code } of slow) {
            assert.equal(error_code, 'OUTCOME_UNKNOWN');
            assert.match(error, /timeout_ms/);
        }
    });
});

describe('a model service that starts later than carpool', () => {
    const lazy = { fake: null };
    const s = useStack({ env: { CARPOOL_BATCH_MEDIUM_WINDOW_MS: '20' } });

    s.test('is found when it is there', async () => {
        lazy.fake = await FakeProvider.start();
        await lazy.fake.down();
        const stack = new Stack({
            env: { ...QUICK, CARPOOL_PROVIDER_KIND: 'model_service', CARPOOL_PROVIDER_BASE_URL: lazy.fake.url },
        });
        try {
            await stack.start();
            const early = await stack.post('/chat', { chat_id: '1', user_prompt: 'Early?' });
            assert.equal(early.status, 503, early.text);
            assert.equal(early.json.error_code, 'PROVIDER_UNAVAILABLE');
            assert.match(early.json.error, /could not be reached, and nothing was sent/);
            await until(
                '/health sees it',
                async () => (await stack.get('/health')).json.dependencies.provider.status === 'down',
            );
            await lazy.fake.up();
            await until('/health sees it', async () => (await stack.get('/health')).json.status === 'ok', 10000);
            const res = await stack.post('/chat', { chat_id: '1', user_prompt: 'Now?' });
            assert.deepEqual(res.json, { chat_id: '1', response: 'Answer to: Now?' });
        } finally {
            await stack.stop();
            await lazy.fake.close();
        }
    });

    s.test('can be chosen while everything runs, also by a Unix socket', async () => {
        const fake = await FakeProvider.start();
        const socket = `${s.dir}/model.sock`;
        const second = new FakeProvider();
        await new Promise((resolve) => second.server.listen(socket, resolve));
        try {
            const put = (body) => s.put('/v1/settings', body);
            assert.equal((await put({ provider: 'model_service', base_url: fake.url })).status, 200);
            assert.equal(
                (await s.post('/chat', { chat_id: '1', user_prompt: 'Port?' })).json.response,
                'Answer to: Port?',
            );
            assert.equal((await put({ base_url: `unix:${socket}` })).json.base_url, `unix:${socket}`);
            assert.equal(
                (await s.post('/chat', { chat_id: '1', user_prompt: 'Path?' })).json.response,
                'Answer to: Path?',
            );
            assert.equal(second.calls[0].headers.host, 'localhost');
            assert.deepEqual([fake.calls.length, second.calls.length], [1, 1]);
            await until('/health is well', async () => (await s.get('/health')).json.status === 'ok');
            for (const base_url of ['unix:model.sock', 'unix:', `unix:/${'x'.repeat(107)}`, 'unix:/a b'])
                assert.equal((await put({ base_url })).status, 400, base_url);
            assert.equal((await put({ base_url: `unix:${s.dir}/nobody.sock` })).status, 200);
            const gone = await s.post('/chat', { chat_id: '1', user_prompt: 'Nobody?' });
            assert.equal(gone.status, 503);
        } finally {
            await fake.close();
            await second.close();
        }
    });
});
