'use strict';
/* carpoolctl doctor: on a host that is well, on hosts with one thing wrong, and through web servers that take away. */
const assert = require('node:assert/strict');
const fs = require('node:fs');
const http = require('node:http');
const net = require('node:net');
const path = require('node:path');
const { describe } = require('node:test');
const { BUILD, freePort, useStack } = require('./harness');
const { ctl } = require('./ctl');

const PROGRAMS = ['carpoolctl', 'carpoold', 'carpool.fcgi'];
const env = { CARPOOL_BATCH_MEDIUM_WINDOW_MS: '20' };

/* The checks by name; status of the program is checked against them. */
async function examine(stack, args = [], options = {}) {
    const { status, json, err, out } = await ctl(stack, ['doctor', '--json', ...args], options);
    assert.ok(json, out + err);
    const states = json.checks.map((c) => c.state);
    assert.equal(json.failed, states.filter((s) => s === 'fail').length);
    assert.equal(json.warnings, states.filter((s) => s === 'warn').length);
    assert.equal(status, json.failed ? 1 : 0);
    for (const c of json.checks) assert.match(c.message, /^[A-Za-z/"1-9][^\n]*[.)]$/, `${c.check}: a sentence`);
    const checks = {};
    for (const c of json.checks) if (!checks[c.check] || c.state !== 'ok') checks[c.check] = c;
    return checks;
}
const url = (port, base = '') => `http://127.0.0.1:${port}${base}`;

/* A web server in front of the stack. change(req, headers, body): an answer {status, headers, body} of its own,
 * or nothing; it may take headers away. */
async function front(stack, change) {
    const server = http.createServer((req, res) => {
        const parts = [];
        req.on('data', (bytes) => parts.push(bytes));
        req.on('end', () => {
            const headers = { ...req.headers };
            const body = Buffer.concat(parts);
            const own = change(req, headers, body);
            if (own) {
                res.writeHead(own.status, own.headers);
                res.end(own.body);
                return;
            }
            const inner = http.request(
                { host: '127.0.0.1', port: stack.port, method: req.method, path: own?.path ?? req.url, headers },
                (answer) => {
                    const kept = { ...answer.headers };
                    if (req.dropId) delete kept['x-request-id'];
                    res.writeHead(answer.statusCode, kept);
                    answer.pipe(res);
                },
            );
            inner.on('error', () => res.destroy());
            inner.end(body);
        });
    });
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
    return {
        port: server.address().port,
        close: () => new Promise((resolve) => server.close(resolve)),
    };
}
async function through(stack, change) {
    const server = await front(stack, change);
    try {
        return await examine(stack, [url(server.port)]);
    } finally {
        await server.close();
    }
}
const html = (status, body = '<html><h1>Error</h1></html>') => ({
    status,
    headers: { 'Content-Type': 'text/html' },
    body,
});

describe('carpoolctl doctor', () => {
    const s = useStack({ env });

    s.test('finds nothing on a host that is well', async (t, stack) => {
        assert.equal((await s.ask('so that a coordinator runs')).status, 200);
        const checks = await examine(stack, [url(stack.port)]);
        const wrong = Object.values(checks).filter((c) => c.state === 'fail');
        assert.deepEqual(wrong, []);
        for (const name of ['configuration', 'carpoold', 'storage.dir', 'storage.disk', 'coordinator', 'web.handler'])
            assert.equal(checks[name]?.state, 'ok', name);
        for (const name of ['web.authorization', 'web.x_api_key', 'web.body', 'web.private'])
            assert.equal(checks[name]?.state, 'ok', name);
        assert.match(checks.coordinator.message, new RegExp(`process ${stack.coordinatorPid()}\\)`));
        assert.equal(checks.provider.state, 'warn', 'the mock is told');
        /* The same in words, and with keys. */
        const text = await ctl(stack, ['doctor', `${url(stack.port)}/`]);
        assert.match(text.out, /^ok {4}web\.authorization +A key sent so reaches carpool\.$/m);
        assert.match(text.out, /^0 failed, \d to look at$/m);
        await ctl(stack, ['key', 'create', '--role', 'admin']);
        const keyed = await examine(stack, [url(stack.port)]);
        for (const name of ['web.authorization', 'web.x_api_key', 'web.body']) assert.equal(keyed[name].state, 'ok');
    });

    s.test('headers that are taken away', async (t, stack) => {
        const stripped = await through(stack, (req, headers) => {
            delete headers.authorization;
        });
        assert.equal(stripped['web.authorization'].state, 'fail');
        assert.match(stripped['web.authorization'].message, /SetEnvIf Authorization/);
        assert.equal(stripped['web.x_api_key'].state, 'ok');
        const other = await through(stack, (req, headers) => {
            delete headers['x-api-key'];
            req.dropId = true;
        });
        assert.equal(other['web.x_api_key'].state, 'fail');
        assert.equal(other['web.authorization'].state, 'ok');
        assert.match(other['web.headers'].message, /X-Request-Id/);
    });

    s.test('bodies that are too large for what stands between', async (t, stack) => {
        const apache = await through(stack, (req, headers, body) => (body.length > 131072 ? html(500) : undefined));
        assert.equal(apache['web.body'].state, 'warn');
        assert.match(apache['web.body'].message, /FcgidMaxRequestLen/);
        const nginx = await through(stack, (req, headers, body) => (body.length > 131072 ? html(413) : undefined));
        assert.match(nginx['web.body'].message, /client_max_body_size/);
        const enough = await through(stack, (req, headers, body) => (body.length > 131073 ? html(500) : undefined));
        assert.equal(enough['web.body'].state, 'ok');
    });

    s.test('a web server that does not run the program', async (t, stack) => {
        const bytes = fs.readFileSync(path.join(BUILD, 'carpool.fcgi')); /* more than the doctor reads */
        const cases = [
            [{ status: 200, headers: { 'Content-Type': 'application/octet-stream' }, body: bytes }, /AddHandler/],
            [html(500), /error log/],
            [html(403), /ExecCGI/],
            [html(404), /rewrite/],
            [html(503), /workers do not run/],
            [html(200), /Something else/],
            [{ status: 301, headers: { Location: 'https://example.org/health' } }, /https:\/\/example\.org\/health/],
        ];
        for (const [answer, words] of cases) {
            const checks = await through(stack, () => answer);
            assert.equal(checks['web.handler'].state, 'fail', String(words));
            assert.match(checks['web.handler'].message, words);
            assert.equal(checks['web.body'], undefined, 'no more is asked');
        }
        const base = await examine(stack, [url(stack.port, '/llm')]);
        assert.match((base['web.base_path'] ?? base['web.handler']).message, /base_path|path/);
        const nobody = await examine(stack, [url(await freePort())]);
        assert.match(nobody['web.server'].message, /No web server answers/);
        const cut = net.createServer((socket) => socket.once('data', () => socket.end('HTTP/1.1 200 OK\r\nContent-Le')));
        await new Promise((resolve) => cut.listen(0, '127.0.0.1', resolve));
        assert.match((await examine(stack, [url(cut.address().port)]))['web.server'].message, /closed the connection/);
        await new Promise((resolve) => cut.close(resolve));
    });

    s.test('files that everybody can read, and strangers who are let in', async (t, stack) => {
        const open = await through(stack, (req) =>
            req.url === '/carpool.conf'
                ? { status: 200, headers: { 'Content-Type': 'text/plain' }, body: '[provider]\napi_key = x\n' }
                : undefined,
        );
        assert.equal(open['web.private'].state, 'fail');
        assert.match(open['web.private'].message, /carpool\.conf/);
        const free = await through(stack, (req) =>
            req.url === '/v1/settings' ? { status: 200, headers: {}, body: '{}' } : undefined,
        );
        assert.match(free['web.authorization'].message, /let in/);
    });

    s.test('addresses that it cannot ask are a wrong command line', async (t, stack) => {
        for (const bad of ['https://127.0.0.1', 'ftp://x', 'http://', 'http://a:0', 'http://a b', 'http://u@h']) {
            const { status, err } = await ctl(stack, ['doctor', bad]);
            assert.equal(status, 2, bad);
            assert.match(err, bad.startsWith('https') ? /speaks no https/ : /URL must look like/);
        }
    });
});

describe('carpoolctl doctor on a host', () => {
    const s = useStack({ env });

    s.test('a storage directory that is open, away, or another kind of thing', async (t, stack) => {
        fs.chmodSync(stack.storage, 0o755);
        assert.match((await examine(stack))['storage.dir'].message, /chmod 700/);
        fs.chmodSync(stack.storage, 0o700);
        const key = path.join(stack.storage, 'provider.key');
        fs.writeFileSync(key, 'nothing', { mode: 0o644 });
        fs.chmodSync(key, 0o644);
        const open = await examine(stack);
        assert.equal(open['provider.key'].state, 'fail');
        assert.match(open['provider.key'].message, /chmod 600/);
        fs.chmodSync(key, 0o600);
        assert.equal((await examine(stack))['provider.key'].state, 'ok');
        fs.rmSync(key);
        const at = (dir) => examine(stack, [], { env: { CARPOOL_STORAGE_DIR: dir } });
        assert.equal((await s.ask('stored')).status, 200);
        assert.match((await examine(stack))['storage.store'].message, /Every record/);
        const short = path.join(stack.dir, 'short');
        fs.mkdirSync(short, { mode: 0o700 });
        assert.match((await at(short))['storage.store'].message, /Nothing is stored yet/);
        const bytes = fs.readFileSync(path.join(stack.storage, 'data.mdb'));
        assert.ok(bytes.length > 12288);
        fs.writeFileSync(path.join(short, 'data.mdb'), bytes.subarray(0, 12288));
        const cut = (await at(short))['storage.store'];
        assert.equal(cut.state, 'fail');
        assert.match(cut.message, /damaged: it was cut short.*carpoolctl restore/);
        assert.match((await at(path.join(stack.dir, 'none/yet')))['storage.dir'].message, /made at the first start/);
        const file = path.join(stack.dir, 'file');
        fs.writeFileSync(file, '');
        assert.match((await at(file))['storage.dir'].message, /no directory/);
        const fenced = await at('/proc/carpool');
        assert.equal(fenced['storage.dir'].state, process.getuid() === 0 ? fenced['storage.dir'].state : 'fail');
    });

    s.test('a configuration that is wrong is the first thing told', async (t, stack) => {
        const conf = path.join(stack.dir, 'wrong.conf');
        fs.writeFileSync(conf, '[batch]\nnonsense = 1\n');
        const checks = await examine(stack, [url(stack.port), '--config', conf]);
        assert.equal(checks.configuration.state, 'fail');
        assert.match(checks.configuration.message, /nonsense/);
        assert.equal(checks['web.handler'].state, 'ok', 'the rest is looked at all the same');
    });

    s.test('no coordinator, and none that may be started', async (t, stack) => {
        const dir = path.join(stack.dir, 'idle');
        fs.mkdirSync(dir, { mode: 0o700 });
        const idle = await examine(stack, [], { env: { CARPOOL_STORAGE_DIR: dir } });
        assert.match(idle.coordinator.message, /first prompt starts one/);
        const off = await examine(stack, [], { env: { CARPOOL_STORAGE_DIR: dir, CARPOOL_COORDINATOR_AUTOSTART: 'off' } });
        assert.equal(off.coordinator.state, 'fail');
        const proxied = await examine(stack, [], { env: { CARPOOL_STORAGE_DIR: dir, http_proxy: 'http://192.0.2.1:1' } });
        assert.equal(proxied.proxy.state, 'warn');
    });

    s.test('programs that are missing, or open to others', async (t, stack) => {
        const dir = path.join(stack.dir, 'bin');
        fs.mkdirSync(dir, { mode: 0o755 });
        for (const name of PROGRAMS) {
            fs.copyFileSync(path.join(BUILD, name), path.join(dir, name));
            fs.chmodSync(path.join(dir, name), 0o755);
        }
        const program = path.join(dir, 'carpoolctl');
        assert.equal((await examine(stack, [], { program })).carpoold.state, 'ok');
        fs.chmodSync(path.join(dir, 'carpool.fcgi'), 0o775);
        fs.rmSync(path.join(dir, 'carpoold'));
        fs.chmodSync(dir, 0o775);
        const checks = await examine(stack, [], { program });
        assert.match(checks['carpool.fcgi'].message, /its group.*suexec/);
        assert.match(checks.carpoold.message, /missing/);
        assert.match(checks.programs.message, /suexec/);
        /* As make install lays it out. */
        const bin = path.join(stack.dir, 'usr/bin');
        const libexec = path.join(stack.dir, 'usr/libexec/carpool');
        fs.mkdirSync(bin, { recursive: true });
        fs.mkdirSync(libexec, { recursive: true });
        fs.copyFileSync(program, path.join(bin, 'carpoolctl'));
        for (const name of ['carpoold', 'carpool.fcgi']) {
            fs.copyFileSync(path.join(BUILD, name), path.join(libexec, name));
            fs.chmodSync(path.join(libexec, name), 0o755);
        }
        const installed = await examine(stack, [], { program: path.join(bin, 'carpoolctl') });
        assert.match(installed.carpoold.message, /libexec\/carpool\/carpoold can be run/);
        assert.equal(installed['carpool.fcgi'].state, 'ok');
    });

    s.test('limits that are low', async (t, stack) => {
        const program = path.join(stack.dir, 'limited');
        fs.writeFileSync(
            program,
            `#!/bin/sh\nulimit -n 128\nulimit -v 524288\nexec ${path.join(BUILD, 'carpoolctl')} "$@"\n`,
            { mode: 0o755 },
        );
        fs.chmodSync(program, 0o755);
        if (process.env.SANITIZED) return t.skip('sanitizers need address space');
        const checks = await examine(stack, [], { program });
        assert.equal(checks['limit.files'].state, 'warn');
        assert.match(checks['storage.map'].message, /512 MiB.*map_max_mib/);
    });
});
