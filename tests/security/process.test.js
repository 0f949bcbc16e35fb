'use strict';
/*
 * What the programs do to themselves (README, "Security"), seen from outside on running ones: no cores, no new rights,
 * not traceable, system calls filtered; secrets neither in an environment nor, for the provider's key, in a worker's
 * memory; nothing on the disk that others could read, whatever the umask. And that the sandbox lets through what
 * is needed: TLS with names to resolve, an autostarted coordinator, a coordinator that was killed.
 */
const assert = require('node:assert/strict');
const { execFileSync, spawn } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const tls = require('node:tls');
const { describe, test, before, after } = require('node:test');
const { useStack, Stack, until, BUILD, PROVIDER_KEY } = require('../integration/harness');
const { isAlive } = require('../integration/processes');

const ROOT_USER = process.getuid() === 0;
const SANITIZED = Boolean(process.env.SANITIZED);
const NOBODY = 65534;
const CANARIES = { OPENAI_API_KEY: 'canary-of-openai-0123456789', API_KEY: 'canary-of-callers-0123456789', ADMIN_KEY: 'canary-of-admins-0123456789', REDIS_URL: 'redis://u:canary-of-redis-0123456789@127.0.0.1:9/0' };
const asClient = { headers: { 'X-API-Key': CANARIES.API_KEY } };

const statusOf = (pid) =>
    Object.fromEntries([...fs.readFileSync(`/proc/${pid}/status`, 'utf8').matchAll(/^(\w+):\s+(.*)$/gm)].map(([, k, v]) => [k, v]));

function assertLocked(pid, name) {
    const status = statusOf(pid);
    assert.equal(status.NoNewPrivs, '1', name);
    assert.equal(fs.readFileSync(`/proc/${pid}/limits`, 'utf8').match(/^Max core file size +(\d+) +(\d+)/m).slice(1).join(), '0,0', name);
    if (SANITIZED) return;
    for (const task of fs.readdirSync(`/proc/${pid}/task`))
        if (/carpool/.test(name)) assert.equal(statusOf(`${pid}/task/${task}`).Seccomp, '2', `${name}, thread ${task}`);
}

/* Whether the text stands in the memory of a process; as root, who may look into what is closed to tracing. */
function inMemory(pid, text) {
    const wanted = Buffer.from(text);
    const memory = fs.openSync(`/proc/${pid}/mem`, 'r');
    try {
        return fs.readFileSync(`/proc/${pid}/maps`, 'utf8').split('\n').filter((line) => /^\S+ rw/.test(line)).some((line) => {
            const [from, to] = line.split(' ')[0].split('-').map((x) => Number.parseInt(x, 16));
            for (let at = from; at < to; at += 1 << 20) {
                const block = Buffer.alloc(Math.min((1 << 20) + wanted.length, to - at));
                try {
                    if (block.subarray(0, fs.readSync(memory, block, 0, block.length, at)).includes(wanted)) return true;
                } catch {
                    return false; /* a guard page */
                }
            }
            return false;
        });
    } finally {
        fs.closeSync(memory);
    }
}

describe('running programs', () => {
    const s = useStack({ provider: 'openai', ready: ['ok', 'degraded'] /* no Redis there */, env: { ...CANARIES, CARPOOL_PROVIDER_API_KEY: PROVIDER_KEY } });
    const programs = () => s.processes().filter((p) => /^carpool/.test(p.name));

    s.test('each is locked in, all its threads', async () => {
        await s.ask('so that a coordinator runs', {}, asClient);
        /* A child that is only just starting is not yet. */
        await until('two parents, three children, a coordinator, all locked', () => {
            assert.equal(programs().length, 6);
            for (const { pid, name } of programs()) assertLocked(pid, name);
            return true;
        });
        if (!SANITIZED) {
            const log = fs.readFileSync(path.join(s.storage, 'logs', 'coordinator.log'), 'utf8');
            assert.match(log, /Sandbox: (Landlock ABI \d+|no Landlock), (system call filter|no system call filter), not dumpable\./);
        }
    });

    s.test('no environment shows a secret, and the rest of it is as it was', async (t) => {
        if (!ROOT_USER) return t.skip('only root can look into what is closed to tracing');
        for (const { pid, name } of programs()) {
            const environment = fs.readFileSync(`/proc/${pid}/environ`, 'utf8');
            assert.ok(!/canary/.test(environment), `${name}: ${environment.match(/\w+=[^\0]*canary/)}`);
            assert.ok(environment.includes(`CARPOOL_STORAGE_DIR=${s.storage}`));
        }
    });

    s.test('a coordinator that a worker starts anew knows the key all the same', async () => {
        s.fake.keys = [PROVIDER_KEY];
        const old = s.coordinatorPid();
        process.kill(old, 'SIGKILL');
        await until('it is gone', () => !isAlive(old));
        assert.equal((await s.ask('after a kill', {}, asClient)).status, 200);
        assert.notEqual(s.coordinatorPid(), old);
        assertLocked(s.coordinatorPid(), 'carpoold');
        assert.ok(!ROOT_USER || !/canary/.test(fs.readFileSync(`/proc/${s.coordinatorPid()}/environ`, 'utf8')));
    });

    s.test('so does one that is started by the heir of a killed pool', async () => {
        const { parent, children } = s.workers();
        process.kill(parent.pid, 'SIGKILL');
        await until('another pool is there', () => {
            const now = s.workers();
            return now.parent && now.parent.pid !== parent.pid && now.children.length === children.length;
        }, 10000);
        process.kill(s.coordinatorPid(), 'SIGKILL');
        const res = await until('it answers', async () => {
            const answer = await s.ask('after two kills', {}, { ...asClient, check: false });
            return answer.status === 200 && answer;
        }, 10000);
        assert.ok(res.json.text);
        for (const { pid, name } of programs()) assertLocked(pid, name);
        if (ROOT_USER) for (const { pid } of programs()) assert.ok(!/canary/.test(fs.readFileSync(`/proc/${pid}/environ`, 'utf8')));
    });
});

describe('the whole of `make run`, with umask 000 and a directory that was open', () => {
    let s;
    before(async () => {
        const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'cp-'));
        for (const name of ['s', 's/logs']) {
            fs.mkdirSync(path.join(dir, name));
            fs.chmodSync(path.join(dir, name), 0o755);
        }
        for (const name of ['run.lock', 'logs/lighttpd.log', 'logs/events.jsonl']) fs.writeFileSync(path.join(dir, 's', name), '', { mode: 0o644 });
        s = await Stack.start({
            dir,
            command: ['sh', '-c', 'umask 000; exec etc/run'],
            provider: 'openai',
            env: { OPENAI_API_KEY: CANARIES.OPENAI_API_KEY, API_KEY: CANARIES.API_KEY, ADMIN_KEY: CANARIES.ADMIN_KEY, CARPOOL_PROVIDER_API_KEY: '' },
        });
    });
    after(() => s?.stop());

    test('nothing below the storage directory is for others, and it itself is shut', async () => {
        s.fake.keys = [CANARIES.OPENAI_API_KEY];
        assert.equal((await s.ask('hello', {}, asClient)).status, 200);
        const put = await s.put('/v1/settings', { api_key: 'sk-put-by-the-test-0123456789' }, { headers: { 'X-API-Key': CANARIES.ADMIN_KEY } });
        assert.equal(put.status, 200, put.text);
        await until('the events are there', () => s.events().length > 3);
        const open = [s.storage, ...fs.readdirSync(s.storage, { recursive: true }).map((name) => path.join(s.storage, name))]
            .map((file) => [file, fs.lstatSync(file)])
            .filter(([, st]) => !st.isSymbolicLink() && (st.mode & 0o077) !== 0)
            .map(([file, st]) => `${path.relative(s.dir, file)} ${(st.mode & 0o777).toString(8)}`);
        assert.deepEqual(open, []);
        const names = fs.readdirSync(s.storage, { recursive: true });
        for (const name of ['data.mdb', 'lock.mdb', 'provider.key', 'coordinator.lock', 'coordinator.sock', 'run.lock', 'health.json', 'logs/lighttpd.log', 'logs/events.jsonl'])
            assert.ok(names.includes(name), `${name} is there to be looked at`);
    });

    test('no process below the script has a secret in its environment or an open file of it', { skip: !ROOT_USER }, () => {
        const names = ['lighttpd', 'node', 'carpoold', 'carpool.fcgi'];
        const all = s.processes().filter((p) => names.includes(p.name));
        assert.deepEqual(names.filter((name) => !all.some((p) => p.name === name)), []);
        for (const { pid, name } of all) {
            assert.ok(!/canary/.test(fs.readFileSync(`/proc/${pid}/environ`, 'utf8')), name);
            const files = fs.readdirSync(`/proc/${pid}/fd`).map((fd) => {
                try {
                    return fs.readlinkSync(`/proc/${pid}/fd/${fd}`);
                } catch {
                    return '';
                }
            });
            assert.deepEqual(files.filter((file) => file.includes('.secret')), [], name);
        }
        assert.ok(!/canary/.test(fs.readFileSync(`/proc/${s.front.pid}/environ`, 'utf8')), 'the script itself');
    });

    test("no worker has the provider's key in its memory; the coordinator has", { skip: !ROOT_USER || SANITIZED }, () => {
        const workers = s.processes().filter((p) => p.name === 'carpool.fcgi');
        assert.ok(workers.length >= 5);
        assert.ok(inMemory(s.coordinatorPid(), CANARIES.OPENAI_API_KEY), 'or this test sees nothing');
        assert.deepEqual(workers.filter((p) => inMemory(p.pid, CANARIES.OPENAI_API_KEY)).map((p) => p.args), []);
    });
});

describe('a key in carpool.conf', { skip: !ROOT_USER || SANITIZED }, () => {
    const CONF_KEY = 'canary-of-the-file-0123456789';
    let s;
    before(async () => {
        const conf = `[provider]\nkind = openai\napi_key = ${CONF_KEY}\n`;
        s = await Stack.start({ provider: 'openai', conf, env: { CARPOOL_PROVIDER_API_KEY: '' } });
        s.fake.keys = [CONF_KEY];
    });
    after(() => s?.stop());

    test('is in the memory of the coordinator only', async () => {
        assert.equal((await s.ask('with the key of the file')).status, 200);
        assert.ok(inMemory(s.coordinatorPid(), CONF_KEY), 'or this test sees nothing');
        const workers = s.processes().filter((p) => p.name === 'carpool.fcgi');
        assert.deepEqual(workers.filter((p) => inMemory(p.pid, CONF_KEY)).map((p) => p.args), []);
    });
});

/* A program of its own, as an ordinary user: /proc/PID belongs to root when it is not dumpable. */
async function ownerOfProc(program, args, env) {
    const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'cp-own-'));
    const user = ROOT_USER ? { uid: NOBODY, gid: NOBODY } : {};
    if (ROOT_USER) fs.chownSync(dir, NOBODY, NOBODY);
    const log = path.join(dir, 'log');
    const child = spawn(path.join(BUILD, program), args(dir), {
        env: { PATH: process.env.PATH, HOME: dir, CARPOOL_STORAGE_DIR: dir, ...env },
        stdio: ['ignore', 'ignore', fs.openSync(log, 'w')],
        ...user,
    });
    const ended = new Promise((resolve) => child.on('exit', resolve));
    try {
        await until('it runs', () => fs.existsSync(path.join(dir, program === 'carpoold' ? 'coordinator.sock' : 'w.sock')), 10000);
        if (program === 'carpoold') await until('it is ready', () => fs.readFileSync(log, 'utf8').includes('Ready'));
        return { uid: fs.statSync(`/proc/${child.pid}/environ`).uid, seccomp: statusOf(child.pid).Seccomp, log: fs.readFileSync(log, 'utf8') };
    } finally {
        child.kill('SIGTERM');
        await ended;
        fs.rmSync(dir, { recursive: true, force: true });
    }
}

for (const [program, args] of [['carpoold', () => []], ['carpool.fcgi', (dir) => [`--socket=${dir}/w.sock`, '--threads=2', '--processes=1']]]) {
    test(`${program} of an ordinary user is closed to that user, unless the sandbox is off`, { skip: SANITIZED }, async () => {
        const closed = await ownerOfProc(program, args, {});
        assert.equal(closed.uid, 0);
        assert.equal(closed.seccomp, '2');
        const open = await ownerOfProc(program, args, { CARPOOL_COORDINATOR_SANDBOX: 'off' });
        assert.equal(open.uid, ROOT_USER ? NOBODY : process.getuid());
        assert.equal(open.seccomp, '0');
        if (program === 'carpoold') assert.match(open.log, /"warning".*coordinator\.sandbox is off/);
    });
}

describe('a provider behind TLS, by name', () => {
    const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'cp-tls-'));
    const [key, certificate] = ['key.pem', 'certificate.pem'].map((name) => path.join(dir, name));
    let s;
    let server;
    before(async () => {
        execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2', '-subj', '/CN=localhost',
            '-addext', 'subjectAltName=DNS:localhost', '-keyout', key, '-out', certificate], { stdio: 'ignore' });
        server = tls.createServer({ key: fs.readFileSync(key), cert: fs.readFileSync(certificate) }, (client) => client.destroy());
        server.on('tlsClientError', () => {});
        await new Promise((resolve) => server.listen(0, 'localhost', resolve));
        s = await Stack.start({
            provider: 'openai',
            env: { CARPOOL_PROVIDER_BASE_URL: `https://localhost:${server.address().port}/v1`, CARPOOL_RETRY_ATTEMPTS: '0' },
        });
    });
    after(async () => {
        server.close();
        await s?.stop();
        fs.rmSync(dir, { recursive: true });
    });

    /* libcurl takes the system's certificates and no others, so that one made here cannot be trusted; but to say so it
     * has found the name, loaded those certificates, and shaken hands. */
    test('is reached from inside of the sandbox, as far as its certificate', async () => {
        const res = await s.ask('over TLS');
        assert.equal(res.status, 503, res.text);
        assert.match(res.json.error.message, /SSL certificate problem: self.signed certificate/);
    });
});
