'use strict';
/* Against a real llama-server, when LLAMA_SERVER (the command) and LLAMA_MODEL (a model file) are set. */
const { describe, before, after } = require('node:test');
const assert = require('node:assert/strict');
const { spawn } = require('node:child_process');
const { useStack, freePort, until } = require('./harness');

const { LLAMA_SERVER, LLAMA_MODEL } = process.env;
const skip = LLAMA_SERVER && LLAMA_MODEL ? false : 'LLAMA_SERVER and LLAMA_MODEL are not set';

describe('llama-server', { skip }, () => {
    let server;
    const combinedEnv = {};
    const env = {
        CARPOOL_PROVIDER_KIND: 'openai',
        CARPOOL_PROVIDER_MODE: 'concurrent',
        CARPOOL_PROVIDER_MODEL: 'stories15m',
        CARPOOL_BATCH_HIGH_TOKENS: '40',
        CARPOOL_BATCH_HIGH_LATENCY_MS: '30000',
    };

    before(async () => {
        const port = await freePort();
        const [program, ...first] = LLAMA_SERVER.split(' ');
        server = spawn(
            program,
            [
                ...first,
                '-m',
                LLAMA_MODEL,
                '--offline',
                '--no-ui',
                '--host',
                '127.0.0.1',
                '--port',
                String(port),
                '-t',
                '1',
                '-tb',
                '1',
                '-cram',
                '0',
                '-np',
                '16',
                '-c',
                '4096',
                '--alias',
                'stories15m',
            ],
            { stdio: 'ignore', detached: true },
        );
        env.CARPOOL_PROVIDER_BASE_URL = `http://127.0.0.1:${port}/v1`;
        Object.assign(combinedEnv, env, { CARPOOL_PROVIDER_MODE: 'combined', CARPOOL_BATCH_HIGH_TOKENS: '30' });
        await until('llama-server is ready', async () => (await fetch(`http://127.0.0.1:${port}/health`)).ok, 60000);
    });
    const s = useStack({ env });
    const combined = useStack({ env: combinedEnv });
    after(() => {
        try {
            process.kill(-server.pid, 'SIGTERM');
        } catch {
            /* it never started */
        }
    });

    s.test('several prompts are answered with real text', async () => {
        const prompts = [
            'Once upon a time there was a fox',
            'The little dog went to',
            'Tell me a story about the sea',
            'Lily had a red ball',
            'Tom and his mother',
            'One day a bird',
        ];
        const results = await Promise.all(prompts.map((prompt) => s.ask(prompt, { priority: 'HIGH' })));
        results.forEach((res, i) => {
            assert.equal(res.status, 200, res.text);
            assert.ok(res.json.text.trim().length > 10, `${prompts[i]} -> ${res.text}`);
            assert.ok(res.json.tokens_used > 5 && res.json.tokens_used < 500, res.text);
            assert.equal(res.json.model, 'stories15m');
        });
        assert.ok(new Set(results.map((res) => res.json.text)).size > 1);
        assert.equal(new Set(results.map((res) => res.json.batch_id)).size, 1);
    });

    combined.test('combined: a model too small for the format is asked again, prompt by prompt', async () => {
        const results = await Promise.all(
            ['A cat sat', 'The sun was'].map((prompt) => combined.ask(prompt, { priority: 'HIGH' })),
        );
        results.forEach((res) => {
            assert.equal(res.status, 200, res.text);
            assert.ok(res.json.text.trim().length > 10, res.text);
        });
        assert.equal((await combined.get('/v1/analytics')).json.total_requests, 1, 'still one batch');
    });
});
