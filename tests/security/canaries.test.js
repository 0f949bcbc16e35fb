'use strict';
/*
 * Every secret that an instance ever holds is a canary of its own here. A life that provokes errors everywhere (bad JSON that
 * holds them, wrong keys, a provider that repeats them in bodies and headers, redirects, paths, crashes of worker and
 * coordinator) leaves them in the files they belong in and nowhere else: no log, no event, no byte of the database, no core, no
 * command line, no environment of a program that runs, no response.
 */
const assert = require('node:assert/strict');
const http = require('node:http');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { execFileSync } = require('node:child_process');
const { describe, before, after } = require('node:test');
const { useStack, until, sleep, ROOT, BUILD } = require('../integration/harness');

/* None of them looks like a key, except where carpool asks for that shape. */
const CANARY = {
    env: 'canary-env-provider-1f0e2d3c4b5a',
    file: 'canary-file-provider-a1b2c3d4e5f6',
    put: 'canary-put-provider-99aa88bb77cc',
    client: 'canary-client-key-0011223344556677',
    admin: 'canary-admin-key-8899aabbccddeeff',
    caller: 'sk-canarycaller0123456789abcdefgh',
    redis: 'canaryredispassword13572468',
    url: 'canaryurlpassword24681357',
};
const asClient = { 'X-API-Key': CANARY.client };
const asAdmin = { 'X-API-Key': CANARY.admin };

/* As they would be read, in the codings that logs and answers use. */
const codings = (secret) => [
    Buffer.from(secret),
    Buffer.from(Buffer.from(secret).toString('base64').replace(/=+$/, '').slice(0, -2)),
    Buffer.from(Buffer.from(secret).toString('hex')),
    Buffer.from(secret, 'utf16le'),
];

function findings(secrets, name, bytes) {
    return Object.entries(secrets)
        .filter(([, secret]) => codings(secret).some((coded) => bytes.includes(coded)))
        .map(([which]) => `${which} stands in ${name}`);
}

const ctl = path.join(BUILD, 'carpoolctl');

/* Three ways to give the provider's key; each lives the same life. */
const WAYS = {
    'in the environment': (dir) => ({ env: { CARPOOL_PROVIDER_API_KEY: CANARY.env }, key: CANARY.env, dir }),
    'in a file': (dir) => {
        fs.writeFileSync(path.join(dir, 'provider-key'), `${CANARY.file}\n`, { mode: 0o600 });
        return { env: { CARPOOL_PROVIDER_API_KEY: '', CARPOOL_PROVIDER_API_KEY_FILE: path.join(dir, 'provider-key') }, key: CANARY.file, belongs: ['provider-key'] };
    },
    'by PUT': () => ({ env: { CARPOOL_PROVIDER_API_KEY: '' }, key: CANARY.put, put: true, belongs: ['s/provider.key'] }),
};

for (const [way, prepare] of Object.entries(WAYS))
    describe(`canaries, the provider's key ${way}`, () => {
        const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'cp-canary-'));
        const set = prepare(dir);
        /* What this instance knows, or is told. */
        const { env, file, put: byPut, ...common } = CANARY;
        const secrets = { ...common, provider: set.key };
        const belongs = { [way]: set.belongs ?? [] };
        const seen = [];
        const started = Date.now();
        const s = useStack({
            provider: 'openai',
            dir,
            ready: ['ok', 'degraded'] /* Redis is not there */,
            env: {
                API_KEY: CANARY.client,
                ADMIN_KEY: CANARY.admin,
                LLM_DEBUG: 'true',
                REDIS_URL: `redis://user:${CANARY.redis}@127.0.0.1:9/0`,
                CARPOOL_BATCH_HIGH_WINDOW_MS: '5',
                CARPOOL_BATCH_MEDIUM_WINDOW_MS: '5',
                CARPOOL_RETRY_ATTEMPTS: '0',
                CARPOOL_RETRY_BREAKER_FAILURES: '0',
                ...set.env,
            },
        });
        /* Every response of the life below is kept and looked at, headers and all. */
        const look = async (promise) => {
            const res = await promise.catch((e) => ({ status: 0, headers: {}, text: String(e) }));
            seen.push({ name: `response ${res.status}`, bytes: Buffer.from(JSON.stringify(res.headers) + res.text) });
            return res;
        };
        const keep = look;
        const ask = (prompt, headers = asClient, body = {}) => keep(s.ask(prompt, { priority: 'HIGH', ...body }, { headers, check: false }));

        before(async () => {
            if (set.put) assert.equal((await keep(s.put('/v1/settings', { api_key: CANARY.put }, { headers: asAdmin }))).status, 200);
            s.stack.secrets.length = 0; /* what stays where is looked at here */
            if (!fs.existsSync(ctl)) return;
            const env = { ...process.env, CARPOOL_STORAGE_DIR: s.storage, CARPOOL_CONF: path.join(dir, 'carpool.conf') };
            for (const role of ['client', 'admin']) {
                const printed = execFileSync(ctl, ['--json', 'key', 'create', '--role', role, '--label', `canary of ${role}s`], { env, encoding: 'utf8' });
                const { key } = JSON.parse(printed);
                assert.ok(key, `carpoolctl key create printed no key: ${printed}`);
                secrets[`store_${role}`] = key;
            }
        });
        after(() => fs.rmSync(dir, { recursive: true, force: true }));

        s.test('the provider is asked with the key, so that it is there at all', async () => {
            const res = await ask('hello');
            assert.equal(res.status, 200, res.text);
            assert.equal(s.fake.calls.at(-1).headers.authorization, `Bearer ${set.key}`);
            const caller = await keep(s.post('/invoke', { user_prompt: 'hello', openai_api_key: CANARY.caller, priority: 'HIGH' }, { headers: asClient }));
            assert.equal(caller.status, 200, caller.text);
            assert.equal(s.fake.calls.at(-1).headers.authorization, `Bearer ${CANARY.caller}`);
            for (const name of ['store_client', 'store_admin'])
                if (secrets[name]) assert.equal((await ask(`as ${name}`, { 'X-API-Key': secrets[name] })).status, 200);
        });

        s.test('a provider that repeats every key it heard, in bodies, headers and redirects', async () => {
            /* Of keys of the store it knows hashes only, and of the address nothing yet; the provider hears of neither. */
            const all = [set.key, CANARY.client, CANARY.admin, CANARY.caller, CANARY.redis].join(' and ');
            for (const status of [400, 401, 403, 404, 429, 500, 502, 503]) {
                s.fake.next({ do: 'status', status, message: `Incorrect API key provided: ${set.key}. ${all}`, code: set.key });
                await ask(`error ${status}`);
            }
            for (const text of [`{"error": "${all}"}`, `<html>${all}</html>`]) {
                s.fake.next({ do: 'status', status: 500, message: text });
                await ask('another shape');
            }
            s.fake.next({ do: 'status', status: 401, message: `Incorrect API key provided: ${CANARY.caller}.` });
            await keep(s.post('/invoke', { user_prompt: 'refused', openai_api_key: CANARY.caller, priority: 'HIGH' }, { headers: asClient, check: false }));
            for (const behaviour of ['html', 'cut_body', 'reset_mid', 'empty_choices', 'other_shape']) {
                s.fake.next(behaviour);
                await ask(`broken ${behaviour}`);
            }
        });

        s.test('a provider that leads elsewhere: no key follows, and its Location is not told', async () => {
            const heard = [];
            const elsewhere = http.createServer((req, res) => heard.push(req.headers) && res.end('{}'));
            await new Promise((resolve) => elsewhere.listen(0, '127.0.0.1', resolve));
            const from = http.createServer((req, res) => {
                req.resume();
                const location = `http://127.0.0.1:${elsewhere.address().port}/v1?key=${set.key}`;
                res.writeHead(307, { Location: location, 'X-Echo': set.key, 'Set-Cookie': set.key, 'X-Request-Id': set.key });
                res.end(`{"error":{"message":"${set.key}"}}`);
            });
            await new Promise((resolve) => from.listen(0, '127.0.0.1', resolve));
            const put = (base_url, api_key) => keep(s.put('/v1/settings', { base_url, ...(api_key !== undefined && { api_key }) }, { headers: asAdmin, check: false }));
            await put(`http://127.0.0.1:${from.address().port}/v1`, set.key);
            const res = await ask('led elsewhere');
            assert.notEqual(res.status, 200);
            assert.deepEqual(heard, []);
            await put(`http://user:${CANARY.url}@127.0.0.1:9/v1`, set.key);
            await ask('with a password in the address');
            await put('', set.put ? set.key : '');
            elsewhere.close();
            from.close();
            from.closeAllConnections();
        });

        s.test('keys where they do not belong: broken bodies, wrong headers, paths and queries', async () => {
            for (const [name, secret] of Object.entries(secrets)) {
                /* What a worker cannot know for a secret (of keys in the store there are hashes, and what a provider or Redis is
                 * asked with is the coordinator's) is told back to who sent it. */
                const keep = ['client', 'admin', 'caller'].includes(name) ? look : (promise) => promise.catch(() => {});
                for (const body of [
                    `{"prompt":"x","api_key":"${secret}`,
                    `{"prompt":"x","request_id":"${secret} ${secret}"}`,
                    `{"prompt":"x","priority":"${secret}"}`,
                    `{"${secret}":1,"${secret}":2}`,
                    `${secret}`,
                    `{"prompt":"x","created_at":"${secret}"}`,
                ]) {
                    await keep(s.post('/v1/query', body, { headers: asClient, check: false }));
                    await keep(s.put('/v1/settings', body, { headers: asAdmin, check: false }));
                }
                await keep(s.post('/invoke', { user_prompt: 'x', openai_api_key: `${secret} ` }, { headers: asClient, check: false }));
                await keep(s.post('/invoke', { user_prompt: 'x', model: secret }, { headers: asClient, check: false }));
                for (const target of [`/nowhere?api_key=${secret}`, `/v1/chat?cursor=${secret}`, `/v1/chat?limit=${secret}`, `/v1/analytics?from=${secret}`, `/v1/requests/x?wait=${secret}`])
                    await keep(s.get(target, { headers: asAdmin, check: false }));
                await keep(s.request('POST', '/v1/query', { body: secret, headers: { ...asClient, 'Content-Type': secret }, check: false }));
                if (name === 'admin') continue;
                for (const headers of [{ 'X-API-Key': `${secret}x` }, { Authorization: `Bearer ${secret}x` }, { Authorization: `Basic ${secret}` }, { 'X-Priority': secret, ...asClient }, { Prefer: secret, ...asClient }, { Origin: `http://${secret}`, ...asClient }]) {
                    await keep(s.get('/v1/settings', { headers, check: false }));
                    await keep(s.post('/v1/query', { prompt: 'x' }, { headers, check: false }));
                }
            }
        });

        s.test('worker and coordinator crash with all of it in memory', async () => {
            s.stack.expectDamage = true;
            const [worker] = s.workers().children;
            const coordinator = s.coordinatorPid();
            for (const pid of [worker.pid, coordinator])
                assert.match(fs.readFileSync(`/proc/${pid}/limits`, 'utf8'), /Max core file size +0 +0 /, 'no core is written');
            s.fake.latencyMs = 300;
            const flying = [ask('in flight'), keep(s.post('/invoke', { user_prompt: 'in flight', openai_api_key: CANARY.caller, priority: 'HIGH' }, { headers: asClient, check: false }))];
            await sleep(100);
            process.kill(worker.pid, 'SIGSEGV');
            process.kill(coordinator, 'SIGSEGV');
            await Promise.all(flying);
            s.fake.latencyMs = 0;
            await until('it is there again', async () => (await ask('afterwards')).status === 200, 15000);
            assert.notEqual(s.coordinatorPid(), coordinator);
        });

        s.test('ordinary answers tell none either', async () => {
            for (const target of ['/health', '/v1/settings', '/v1/chat', '/v1/analytics', '/stats', '/metrics', '/openapi.json', '/docs', '/', '/nowhere'])
                await keep(s.get(target, { headers: asAdmin, check: false }));
            for (const { name, bytes } of seen) assert.deepEqual(findings(secrets, name, bytes), [], bytes.toString().slice(0, 900));
        });

        s.test('none is in a file but where it belongs', async () => {
            await sleep(300); /* what is logged late */
            const below = (top) => fs.readdirSync(top, { recursive: true, withFileTypes: true }).filter((e) => e.isFile()).map((e) => path.join(e.parentPath ?? e.path, e.name));
            const files = [...below(dir), ...below(path.join(ROOT, 'web')).filter((f) => !f.includes('node_modules'))];
            assert.ok(files.some((f) => f.endsWith('data.mdb')) && files.some((f) => f.endsWith('events.jsonl')), 'the database and the events are among them');
            const found = files
                .filter((file) => !belongs[way].includes(path.relative(dir, file)))
                .flatMap((file) => findings(secrets, path.relative(dir, file), fs.readFileSync(file)));
            assert.deepEqual(found, []);
            for (const name of belongs[way]) {
                assert.deepEqual(findings(secrets, name, fs.readFileSync(path.join(dir, name))).map((f) => f.split(' ')[0]), ['provider']);
                assert.equal(fs.statSync(path.join(dir, name)).mode & 0o777, 0o600);
            }
            const cores = [ROOT, dir, BUILD, os.tmpdir(), '/'].flatMap((top) => fs.readdirSync(top).filter((f) => /^core(\.\d+)?$/.test(f)).map((f) => path.join(top, f)));
            assert.deepEqual(cores.filter((f) => fs.statSync(f).isFile() && fs.statSync(f).mtimeMs > started), []);
        });

        s.test('nor in the command line or the environment of a program of ours', async () => {
            const programs = s.stack.processes().filter((p) => ['carpool.fcgi', 'carpoold'].includes(p.name));
            assert.ok(programs.length >= 5, JSON.stringify(programs));
            for (const { pid, name } of s.stack.processes())
                assert.deepEqual(findings(secrets, `the command line of ${name}`, fs.readFileSync(`/proc/${pid}/cmdline`)), []);
            for (const { pid, name } of programs)
                assert.deepEqual(findings(secrets, `the environment of ${name}`, fs.readFileSync(`/proc/${pid}/environ`)), []);
        });
    });
