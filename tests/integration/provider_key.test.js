'use strict';
/*
 * A provider key goes to the host that it was given for. Two providers note which keys reach them, whatever moves
 * base_url from one to the other: a PUT, another carpool.conf, a coordinator killed between its two files, a redirect,
 * a proxy or a .netrc in the environment.
 */
const assert = require('node:assert/strict');
const fs = require('node:fs');
const http = require('node:http');
const path = require('node:path');
const { spawn } = require('node:child_process');
const { describe, before, after } = require('node:test');
const { useStack, until, assertError, PROVIDER_KEY } = require('./harness');
const { FakeProvider } = require('./fake_provider');

const KEY_A = 'sk-canary-of-host-a-1111';
const KEY_B = 'sk-canary-of-host-b-2222';
const ENV = { CARPOOL_BATCH_HIGH_WINDOW_MS: '1', CARPOOL_RETRY_ATTEMPTS: '0', CARPOOL_RETRY_BREAKER_FAILURES: '0' };

/* Keys that have reached a provider. */
const keysAt = (fake) => fake.calls.map((call) => call.headers.authorization ?? 'none');
const host = (fake) => new URL(fake.url).host;

/* A stack at provider A (its fake), and another provider B; all keys that reach either are looked at in the end. */
function useTwoHosts(options = {}) {
    const s = useStack({ provider: 'openai', ...options, env: { ...ENV, ...options.env } });
    const two = { s };
    before(async () => {
        two.b = await FakeProvider.start();
    });
    after(() => two.b?.close());
    two.urlA = () => s.fake.baseUrl('openai');
    two.urlB = () => two.b.baseUrl('openai');
    two.ask = (prompt) => s.ask(prompt, { priority: 'HIGH' });
    /* /health may be a moment behind. */
    two.provider = (status) =>
        until(`the provider is ${status}`, async () => {
            const { provider } = (await s.get('/health')).json.dependencies;
            return provider.status === status && provider;
        });
    two.test = (name, body) =>
        s.test(name, async (t, stack) => {
            two.b.reset();
            s.secrets.push(KEY_A, KEY_B);
            await body(t, stack);
            const strays = [
                ...keysAt(s.fake).filter((key) => key.includes(KEY_B)),
                ...keysAt(two.b).filter((key) => key.includes(KEY_A) || key.includes(PROVIDER_KEY)),
            ];
            assert.deepEqual(strays, [], 'a key has reached a host that it was not given for');
        });
    /* The coordinator goes at once, and the next one comes with the next prompt. between: what happens meanwhile. */
    two.restart = async (stack, between = () => {}) => {
        stack.front.kill('SIGTERM');
        await stack.frontExit;
        await until('the workers are gone', () => !stack.processes().some((p) => p.name === 'carpool.fcgi'), 20000);
        const pid = stack.coordinatorPid();
        if (pid) process.kill(pid, 'SIGKILL');
        await until('the coordinator is gone', () => stack.processes().length === 0, 20000);
        between();
        await stack.launch();
        await until('it answers', async () => (await s.get('/health', { check: false })).status === 200, 20000);
    };
    return two;
}

describe('a PUT', () => {
    const two = useTwoHosts();
    const { s } = two;
    const put = (body) => s.put('/v1/settings', body);

    two.test("leaves the configuration's key behind only when it says which one is for the new host", async () => {
        assert.equal((await two.ask('at a')).status, 200);
        const before = (await s.get('/v1/settings')).text;
        for (const body of [{ base_url: two.urlB() }, { base_url: 'https://api.openai.com/v1' }, { base_url: two.urlA().replace('http:', 'https:') }]) {
            const res = await put({ ...body, high_priority: { tokens: 7 } });
            assertError(res, 400, { field: 'base_url', code: 'INVALID_SETTING' });
            assert.match(res.json.error.message, new RegExp(`is for http://${host(s.fake)}; send api_key together with base_url`));
            assert.ok(!res.text.includes(PROVIDER_KEY));
        }
        assert.equal((await s.get('/v1/settings')).text, before, 'nothing of them is saved');
        assert.equal((await put({ base_url: `${two.urlA()}/` })).status, 200, 'the same host');
        assert.equal((await two.ask('still at a')).status, 200);
        assert.deepEqual(keysAt(s.fake), Array(2).fill(`Bearer ${PROVIDER_KEY}`));
    });

    two.test('may say that the new host needs none', async () => {
        assert.equal((await put({ base_url: two.urlB(), api_key: '' })).json.api_key, '');
        assert.equal((await two.ask('at b')).status, 200);
        await two.provider('ok');
        assert.deepEqual(keysAt(two.b), ['none']);
        assert.equal((await put({ base_url: '' })).json.base_url, two.urlA(), "back, where the configuration's key is for");
        assert.equal((await two.ask('at a again')).status, 200);
        assert.deepEqual(keysAt(s.fake), [`Bearer ${PROVIDER_KEY}`]);
    });

    two.test('binds the key that it brings', async () => {
        const res = await put({ base_url: two.urlB(), api_key: KEY_B });
        assert.deepEqual([res.json.base_url, res.json.api_key], [two.urlB(), '***2222']);
        assert.equal((await two.ask('at b')).status, 200);
        assert.deepEqual(keysAt(two.b), [`Bearer ${KEY_B}`]);
        assert.equal(fs.readFileSync(path.join(s.storage, 'provider.key'), 'utf8'), `${KEY_B}\nopenai\nhttp://${host(two.b)}\n`);
        for (const base_url of [`http://localhost:${new URL(two.b.url).port}/v1`, 'unix:/run/model.sock'])
            assertError(await put({ base_url }), 400, { field: 'base_url' });
        assert.equal((await put({ model: 'fake-model', low_priority: { tokens: 9 } })).status, 200, 'what else is put asks for none');
        const shown = (await s.get('/v1/settings')).json;
        assert.equal((await put(shown)).status, 200, 'a page may put back what it got');
        assert.equal((await put({ api_key: '', base_url: '' })).status, 200);
    });

    two.test('while prompts come in: each goes with the key of its host', async () => {
        let over = false;
        const asking = (async () => {
            for (let i = 0; !over; i++) await Promise.all([1, 2, 3].map((n) => two.ask(`prompt ${i}-${n}`)));
        })();
        const reached = () => two.b.calls.length > 0 && s.fake.calls.length > 0;
        for (let round = 0; round < 12 || !reached(); round++) {
            assert.ok(round < 1000, 'a call reaches either host');
            assert.equal((await put({ base_url: two.urlB(), api_key: KEY_B })).status, 200);
            assert.equal((await put({ base_url: '', api_key: '' })).status, 200);
        }
        over = true;
        await asking;
        assert.deepEqual([...new Set(keysAt(two.b))], [`Bearer ${KEY_B}`]);
        assert.deepEqual([...new Set(keysAt(s.fake))], [`Bearer ${PROVIDER_KEY}`]);
    });

    two.test('with a key that no header may carry is refused', async () => {
        for (const api_key of ['sk-a\r\nX-Evil: 1', 'sk-a\nb', 'sk-\u0001', 'sk-é', 'sk a', 'x'.repeat(501)])
            assertError(await put({ base_url: two.urlB(), api_key }), 400, { field: 'api_key' });
        assertError(await put('{"api_key":"sk-a\\u0000b"}'), 400);
    });

    two.test('to what only looks like this machine is refused', async () => {
        const names = ['localhost.example.org', '127.0.0.1.example.org', '2130706433', '0x7f000001', '127.1', '0177.0.0.1', '0.0.0.0',
            '[::]', '[::ffff:10.0.0.1]', '169.254.169.254', '[fd00:ec2::254]', '127.0.0.1%2eexample.org', '127.0.0.1@example.org'];
        for (const name of names)
            assertError(await put({ base_url: `http://${name}/v1`, api_key: KEY_A }), 400, { field: 'base_url' });
        for (const base_url of [`${two.urlA()}?key=1`, `${two.urlA()}#x`, 'https://user@api.openai.com/v1', 'https://a.example/\r\nX: 1', 'file:///etc/passwd'])
            assertError(await put({ base_url, api_key: KEY_A }), 400, { field: 'base_url' });
        assert.equal((await s.get('/v1/settings')).json.base_url, two.urlA());
    });
});

describe('a start', () => {
    const two = useTwoHosts();
    const { s } = two;

    two.test('with another base_url in the configuration does not take the key that was put along', async (t, stack) => {
        assert.equal((await s.put('/v1/settings', { api_key: KEY_A })).status, 200);
        assert.equal((await two.ask('at a')).status, 200);
        await two.restart(stack, () => {
            stack.options.env = { ...ENV, CARPOOL_PROVIDER_BASE_URL: two.urlB(), CARPOOL_PROVIDER_API_KEY: '' };
        });
        assert.equal((await two.ask('at b')).status, 200);
        assert.deepEqual([keysAt(s.fake), keysAt(two.b)], [[`Bearer ${KEY_A}`], ['none']]);
        assert.equal((await s.get('/v1/settings')).json.api_key, '');
        await two.restart(stack, () => {
            stack.options.env = ENV;
        });
        assert.equal((await two.ask('at a, as before')).status, 200);
        assert.equal(keysAt(s.fake).at(-1), `Bearer ${KEY_A}`);
    });

    two.test('says that a key is needed until a call works', async (t, stack) => {
        await two.restart(stack, () => {
            stack.options.env = { ...ENV, CARPOOL_PROVIDER_BASE_URL: two.urlB(), CARPOOL_PROVIDER_API_KEY: '' };
        });
        two.b.keys = [KEY_B];
        const res = await two.ask('at b without a key');
        assert.equal(res.status, 502, res.text);
        await s.put('/v1/settings', { model: 'fake-model' });
        const { reason } = await two.provider('down');
        assert.ok(reason.startsWith(`The provider key was put for http://${host(s.fake)}, and is not sent to ${two.urlB()}`), reason);
        assert.equal((await s.put('/v1/settings', { api_key: KEY_B })).status, 200);
        assert.equal((await two.ask('at b')).status, 200);
        await two.provider('ok');
        assert.deepEqual(keysAt(two.b), ['none', `Bearer ${KEY_B}`]);
        await two.restart(stack, () => {
            stack.options.env = ENV;
        });
        await s.put('/v1/settings', { api_key: '' });
    });

    two.test('with a key file of before keys had a host', async (t, stack) => {
        const file = path.join(s.storage, 'provider.key');
        const old = () => fs.writeFileSync(file, `${KEY_A}\nopenai\n`, { mode: 0o600 });
        await s.put('/v1/settings', { api_key: KEY_A });
        await two.restart(stack, old);
        assert.equal((await two.ask('at a')).status, 200);
        assert.equal(keysAt(s.fake).at(-1), `Bearer ${KEY_A}`, 'where the store says it was sent');
        assert.equal(fs.readFileSync(file, 'utf8'), `${KEY_A}\nopenai\nhttp://${host(s.fake)}\n`);
        await s.put('/v1/settings', { api_key: KEY_B, base_url: two.urlB() });
        await two.restart(stack, old);
        assert.equal((await two.ask('at b')).status, 200);
        assert.deepEqual(keysAt(two.b), ['none'], 'killed before the file of another key was written');
        await s.put('/v1/settings', { api_key: '', base_url: '' });
    });
});

describe('a coordinator that is killed', () => {
    const two = useTwoHosts();
    const { s } = two;

    two.test('between the commit of the settings and the file of their key', async (t, stack) => {
        assert.equal((await s.put('/v1/settings', { api_key: KEY_A })).status, 200);
        const pid = s.coordinatorPid();
        const tracer = spawn('strace', ['-f', '-qq', '-e', 'trace=rename', '-e', 'inject=rename:signal=SIGKILL', '-p', String(pid)], {
            stdio: ['ignore', 'ignore', 'pipe'],
        });
        let said = '';
        tracer.stderr.on('data', (text) => (said += text));
        try {
            await until('strace is attached', () => {
                if (tracer.exitCode !== null) throw Object.assign(new Error('no'), { final: true });
                const tasks = fs.readdirSync(`/proc/${pid}/task`);
                return tasks.every((id) => /^TracerPid:\t[1-9]/m.test(fs.readFileSync(`/proc/${pid}/task/${id}/status`, 'utf8')));
            });
        } catch {
            t.skip(`strace may not attach here: ${said}`);
            tracer.kill();
            return;
        }
        const res = await s.put('/v1/settings', { base_url: two.urlB(), api_key: KEY_B });
        assert.ok(res.status >= 500, `nobody is told that it is done: ${res.text}`);
        await until('it is dead', () => s.coordinatorPid() !== pid);
        await until('strace says where', () => /rename\(.*provider\.key\.new/.test(said));
        await until('another one serves', async () => (await two.ask('after the crash')).status === 200, 15000);
        assert.equal((await s.get('/v1/settings')).json.base_url, two.urlB(), 'the settings were committed');
        assert.equal(fs.readFileSync(path.join(s.storage, 'provider.key'), 'utf8').split('\n')[0], KEY_A, 'the file was not');
        assert.deepEqual([...new Set(keysAt(two.b))], ['none']);
        assert.ok(!fs.existsSync(path.join(s.storage, 'provider.key.new')));
        assert.equal((await s.put('/v1/settings', { api_key: KEY_B })).status, 200);
        assert.equal((await two.ask('with its key')).status, 200);
        assert.equal(keysAt(two.b).at(-1), `Bearer ${KEY_B}`);
    });
});

describe('what else could lead a call elsewhere', () => {
    const heard = [];
    const spy = http.createServer((req, res) => {
        heard.push(`${req.method} ${req.url} ${req.headers.authorization}`);
        res.end('{}');
    });
    before(() => new Promise((resolve) => spy.listen(0, '127.0.0.1', resolve)));
    after(() => spy.close());
    const env = {};
    before(() => {
        const proxy = `http://127.0.0.1:${spy.address().port}`;
        for (const name of ['http_proxy', 'HTTP_PROXY', 'https_proxy', 'HTTPS_PROXY', 'all_proxy', 'ALL_PROXY']) env[name] = proxy;
    });
    const two = useTwoHosts({ env });
    const { s } = two;

    two.test('a redirect is an error that says so, and nobody follows it', async () => {
        for (const status of [301, 302, 307, 308]) {
            s.fake.next({ do: 'redirect', status, to: two.urlB() });
            const res = await two.ask(`redirected with ${status}`);
            assertError(res, 502, { code: 'BAD_UPSTREAM_ANSWER' });
            assert.match(res.json.error.message, /redirect; set provider\.base_url to where it leads/);
        }
        assert.deepEqual(two.b.calls, []);
    });

    two.test('a proxy or a .netrc in the environment', async () => {
        fs.writeFileSync(path.join(s.dir, '.netrc'), 'machine 127.0.0.1 login canary password netrc-canary\n', { mode: 0o600 });
        assert.equal((await two.ask('straight')).status, 200);
        assert.equal((await s.put('/v1/settings', { base_url: two.urlB(), api_key: '' })).status, 200);
        assert.equal((await two.ask('without a key')).status, 200);
        assert.deepEqual([keysAt(s.fake), keysAt(two.b)], [[`Bearer ${PROVIDER_KEY}`], ['none']]);
        assert.deepEqual(heard, []);
    });
});
