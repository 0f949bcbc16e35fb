'use strict';
/* etc/run, the program behind `make run`: says where it listens, shows batches, stops cleanly, and refuses what
 * cannot work with a sentence. */
const { test } = require('node:test');
const assert = require('node:assert/strict');
const fs = require('node:fs');
const http = require('node:http');
const os = require('node:os');
const path = require('node:path');
const { makeKey } = require('./ctl');
const { Client } = require('./http_client');
const { Stack, until, sleep, freePort, STRETCH, BUILD } = require('./harness');

const start = (options = {}) => Stack.start({ command: ['etc/run'], ...options });

/* Ends the run by signals and gives its exit status; nothing may be left then, without any help. */
async function end(stack, ...signals) {
    for (const [i, signal] of signals.entries()) {
        /* Two at once would be one. */
        if (i) await until('it has noticed', () => stack.printed().includes('carpool: stopping.'));
        stack.front.kill(signal);
    }
    const { code, signal } = await stack.frontExit;
    const left = stack.processes();
    const said = stack.printed();
    await stack.stop();
    assert.deepEqual(
        left.map((p) => p.args.join(' ')),
        [],
    );
    assert.equal(signal, null);
    return { code, said };
}

async function refused(options) {
    const stack = new Stack({ command: ['etc/run'], ...options });
    stack.port = options.port ?? (await freePort());
    await stack.launch();
    const ended = await Promise.race([stack.frontExit, sleep(8000 * STRETCH)]);
    const said = stack.printed();
    await stack.stop({ checks: false });
    assert.ok(ended, `it goes on although it cannot work, saying: ${said}`);
    assert.notEqual(ended.code, 0);
    return said;
}

test('prints the URL and a line a batch, Ctrl-C ends it with 0', async () => {
    /* Full at six, and it waits until it is. */
    const stack = await start({ env: { CARPOOL_BATCH_HIGH_WINDOW_MS: '30000' } });
    await until('it greets', () => stack.printed().includes(`http://127.0.0.1:${stack.port}`));
    await Promise.all(Array.from({ length: 6 }, (_, i) => stack.ask(`q${i}`, { priority: 'HIGH' })));
    const line = await until('a readable line for the batch', () =>
        stack
            .printed()
            .split('\n')
            .find((l) => l.includes('[BATCH_COMPLETE]')),
    );
    assert.match(line, /HIGH 6 prompts/);
    for (const tag of ['ENQUEUE', 'DISPATCH', 'BATCH_START', 'LLM_BATCH'])
        assert.ok(stack.printed().includes(`[${tag}]`), tag);
    const { code } = await end(stack, 'SIGINT');
    assert.equal(code, 0);
});

/* Other build trees are built with flags that make run does not have. */
const ofRelease = { skip: path.basename(BUILD) !== 'release' && 'make run is of the release build' };
test('make that is told to end ends all of it', ofRelease, async () => {
    const stack = await start({ command: ['make', 'run'] });
    stack.front.kill('SIGTERM');
    await until('nothing is left', () => stack.processes().length === 0, 10000);
    await stack.stop();
});

test('answers under way are still given', async () => {
    const stack = await start({ provider: 'openai' });
    stack.fake.hold();
    const running = stack.ask('last words', { priority: 'HIGH' });
    await stack.fake.waitForCalls(1);
    const ending = end(stack, 'SIGINT');
    await until('it has begun to stop', () => stack.printed().includes('carpool: stopping.'));
    await sleep(300);
    stack.fake.release();
    assert.equal((await running).json.text, 'Answer to: last words');
    assert.equal((await ending).code, 0);
});

test('lighttpd is started again soon, also the third time, when it had served for a while', async () => {
    const stack = await start();
    const restarts = () => stack.printed().match(/starting lighttpd again in \S+ s/g) ?? [];
    for (let n = 1; n <= 3; n++) {
        process.kill(stack.processes().find((p) => p.name === 'lighttpd').pid, 'SIGKILL');
        await until('it is started again', () => restarts().length === n);
        await until('it serves', async () => (await stack.get('/health', { check: false, fresh: true })).status === 200);
        await sleep(3000);
    }
    assert.deepEqual([...new Set(restarts())], ['starting lighttpd again in 0.1 s']);
    assert.equal((await end(stack, 'SIGTERM')).code, 0);
});

test('SIGTERM ends it as well, and a second Ctrl-C does not wait', async () => {
    assert.equal((await end(await start(), 'SIGTERM')).code, 0);
    const stack = await start({ provider: 'openai' });
    stack.fake.when(() => true, 'hang');
    const hanging = stack.ask('for ever', { priority: 'HIGH' }, { check: false }).catch(() => {});
    await stack.fake.waitForCalls(1);
    const began = performance.now();
    assert.equal((await end(stack, 'SIGINT', 'SIGINT')).code, 0);
    assert.ok(performance.now() - began < 5000 * STRETCH, `${performance.now() - began} ms`);
    await hanging;
});

test('a port in use, a directory in use, a missing build: one sentence each', async () => {
    const busy = http.createServer();
    await new Promise((resolve) => busy.listen(0, '127.0.0.1', resolve));
    assert.match(await refused({ port: busy.address().port }), /in use.*PORT=/);
    busy.close();
    const first = await start();
    assert.match(await refused({ dir: undefined, env: { CARPOOL_STORAGE_DIR: first.storage } }), /in use/);
    assert.equal((await end(first, 'SIGINT')).code, 0);
    assert.match(await refused({ env: { CARPOOL_BUILD: '/nonexistent' } }), /missing/);
    assert.match(await refused({ env: { PORT: 'eighty' } }), /PORT/);
});

test('two instances side by side, and one that starts again on its state', async () => {
    const [a, b] = await Promise.all([start(), start()]);
    await a.ask('only in a', { request_id: 'a-1', priority: 'HIGH' });
    assert.equal((await b.chats()).length, 0);
    assert.equal((await end(b, 'SIGINT')).code, 0);
    const kept = await a.ask('only in a', { request_id: 'a-1', priority: 'HIGH' });
    a.front.kill('SIGINT');
    assert.equal((await a.frontExit).code, 0);
    await a.start();
    const replay = await a.ask('only in a', { request_id: 'a-1', priority: 'HIGH' });
    assert.equal(replay.headers['idempotent-replayed'], 'true');
    assert.equal(replay.text, kept.text);
    assert.equal((await end(a, 'SIGINT')).code, 0);
});

test('the command it greets with has a key where one is needed', async () => {
    const stack = new Stack({ command: ['etc/run'] });
    try {
        for (const needed of [false, true]) {
            if (needed) await makeKey(stack);
            await stack.start();
            const greeting = await until('it greets', () => /^ +curl .*$/m.exec(stack.printed())?.[0], 10000);
            assert.equal(greeting.includes("-H 'X-API-Key: …'"), needed, greeting);
            assert.doesNotMatch(stack.printed(), /Other machines/, 'it listens for none');
            stack.front.kill('SIGINT');
            assert.equal((await stack.frontExit).code, 0);
        }
    } finally {
        await stack.stop();
    }
});

test('configuration errors are said', async () => {
    assert.match(await refused({ env: { CARPOOL_BATCH_HIGH_WINDOW_MS: 'soon' } }), /window_ms|WINDOW_MS/);
    assert.match(await refused({ conf: '[batch_high]\nwindw_ms = 5\n' }), /windw_ms/);
    assert.match(
        await refused({ env: { CARPOOL_PROVIDER_KIND: undefined, OPENAI_API_KEY: 'sk-1', GEMINI_API_KEY: 'g-1' } }),
        /kind|PROVIDER_KIND/,
    );
});

/* A terminal sends Ctrl-C to every process in the foreground, not to the script alone. */
test('what the coordinator has to say at its start is printed, wherever its log is', async () => {
    const nobody = await freePort();
    const file = path.join(fs.mkdtempSync(path.join(os.tmpdir(), 'carpool-log-')), 'own.log');
    for (const env of [{}, { LLM_LOG_FILE: file }]) {
        const stack = await start({ ready: ['degraded'], env: { ...env, REDIS_URL: `redis://127.0.0.1:${nobody}` } });
        const said = () => /\[WARNING\] carpoold: .*Redis/.test(stack.printed());
        await until('it is printed', said).catch(() => {});
        const printed = said();
        assert.equal((await end(stack, 'SIGTERM')).code, 0);
        assert.ok(printed, `not printed with ${JSON.stringify(env)}`);
    }
    fs.rmSync(path.dirname(file), { recursive: true });
});

test('Ctrl-C in a terminal, twice in a row: all is stopped, the coordinator too', async () => {
    const stack = new Stack({ command: ['script', '-qec', 'etc/run', '/dev/null'] });
    stack.port = await freePort();
    stack.client = new Client(stack.port);
    await stack.launch({ stdin: 'pipe' });
    await until('it greets', () => stack.printed().includes('carpool answers at'), 10000);
    const waiting = stack.get('/health').then(() => stack.ask('nobody waits for this', { priority: 'LOW' })).catch(() => {});
    await until('the prompt waits', () => stack.events().some((e) => e.event === 'ENQUEUE'));
    stack.front.stdin.write('\x03');
    await sleep(350);
    stack.front.stdin.write('\x03');
    await stack.frontExit;
    const left = stack.processes().map((p) => p.args.join(' '));
    await stack.stop({ checks: false });
    await waiting;
    assert.deepEqual(left, []);
});
