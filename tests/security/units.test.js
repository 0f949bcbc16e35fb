'use strict';
/*
 * The units of etc/systemd: systemd finds no fault in them and rates them at 1.4 or better, and what they start runs as
 * they say: the coordinator reports that it is ready, a pool takes over a socket from systemd, answers, and finds the
 * coordinator without starting one. A systemd that runs them: tests/install/systemd.test.js.
 */
const assert = require('node:assert/strict');
const { execFileSync, spawn, spawnSync } = require('node:child_process');
const fs = require('node:fs');
const net = require('node:net');
const os = require('node:os');
const path = require('node:path');
const { describe, test, before, after } = require('node:test');
const { until, cleanEnvironment, BUILD, STRETCH } = require('../integration/harness');
const { fcgiRequest } = require('../integration/fcgi_client');

const UNITS = path.join(__dirname, '..', '..', 'etc', 'systemd');
const HOME = '/usr/libexec/carpool';
const EXPOSURE_MAX = 1.4;
const names = fs.readdirSync(UNITS).filter((name) => /\.(service|socket)$/.test(name));
const services = names.filter((name) => name.endsWith('.service'));
const has = (tool) => spawnSync('sh', ['-c', `command -v ${tool}`]).status === 0;

/* A unit's settings: {ExecStart: ['…'], …}; a line that is set twice has two values. */
function settings(name) {
    const all = {};
    for (const [, key, value] of fs.readFileSync(path.join(UNITS, name), 'utf8').matchAll(/^(\w+)=(.*)$/gm)) (all[key] ??= []).push(value);
    return all;
}

test('there is a service for the coordinator, and a service and a socket for each pool', () => {
    assert.deepEqual(names.sort(), ['carpool-manage.service', 'carpool-manage.socket', 'carpool-prompt.service', 'carpool-prompt.socket', 'carpoold.service']);
});

describe('what systemd-analyze says', { skip: has('systemd-analyze') ? false : 'systemd-analyze is not here' }, () => {
    const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'cp-units-'));
    after(() => fs.rmSync(dir, { recursive: true }));
    const write = (name, change = (text) => text) =>
        fs.writeFileSync(path.join(dir, name), change(fs.readFileSync(path.join(UNITS, name), 'utf8').replaceAll(`=${HOME}/carpool`, `=${BUILD}/carpool`)));
    const verify = () => {
        const files = names.map((name) => path.join(dir, name));
        return spawnSync('systemd-analyze', ['verify', '--man=no', ...files], { encoding: 'utf8' });
    };
    const exposure = (name) => {
        const said = spawnSync('systemd-analyze', ['security', '--offline=true', '--no-pager', path.join(dir, name)], { encoding: 'utf8' });
        return Number(/Overall exposure level[^:]*: ([\d.]+)/.exec(said.stdout)?.[1] ?? NaN);
    };

    test('verify has nothing to say', () => {
        for (const name of names) write(name);
        const { status, stdout, stderr } = verify();
        assert.deepEqual([status, `${stdout}${stderr}`], [0, '']);
    });
    test('and would, about a word that it does not know', () => {
        write('carpoold.service', (text) => text.replace('PrivateTmp=', 'PrivateTemp='));
        assert.match(verify().stderr, /PrivateTemp/);
        write('carpoold.service');
    });
    for (const name of services)
        test(`${name} is exposed at most ${EXPOSURE_MAX}`, (t) => {
            const rated = exposure(name);
            t.diagnostic(`${rated}`);
            assert.ok(rated <= EXPOSURE_MAX, `${rated}`);
            write(name, (text) => text.replace(/^(System|Capability|Protect).*$/gm, ''));
            assert.ok(exposure(name) > EXPOSURE_MAX, 'without half of it, it would be found out');
            write(name);
        });
});

/* Receives datagrams for NOTIFY_SOCKET, a line each; Node has no such sockets, and perl is always there. */
const LISTENER = `use Socket; $| = 1; my $s; socket($s, AF_UNIX, SOCK_DGRAM, 0) && bind($s, pack_sockaddr_un($ARGV[0])) or die $!;
print "listening\\n"; while (defined recv($s, my $b, 4096, 0)) { print "$b\\n" }`;

describe('what the units start', { skip: has('systemd-socket-activate') && has('perl') ? false : 'systemd-socket-activate or perl is not here' }, () => {
    const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'cp-sd-'));
    const [storage, run, notify] = ['var', 'run', 'notify'].map((name) => path.join(dir, name));
    const children = [];
    let told = '';

    /* The unit's command with its environment; its directories are ours. */
    function command(name) {
        const unit = settings(name);
        const environment = Object.fromEntries(unit.Environment.flatMap((line) => line.split(' ')).map((pair) => pair.split(/=(.*)/)));
        environment.CARPOOL_STORAGE_DIR = storage;
        if (environment.CARPOOL_LOG_DIR) environment.CARPOOL_LOG_DIR = path.join(dir, 'log');
        return { args: unit.ExecStart[0].replace(HOME, BUILD).split(' '), environment };
    }
    function start(args, environment, options = {}) {
        const log = fs.openSync(path.join(dir, 'log.txt'), 'a');
        const env = { ...cleanEnvironment(), HOME: dir, ...environment };
        const child = spawn(args[0], args.slice(1), { env, stdio: ['ignore', options.out ?? log, log] });
        child.ended = new Promise((resolve) => child.on('exit', (code) => resolve(code)));
        children.push(child);
        return child;
    }
    /* As systemd does it: the socket is there before the program is. */
    async function activate(pool) {
        const unit = settings(`carpool-${pool}.socket`);
        const socket = path.join(run, path.basename(unit.ListenStream[0]));
        const { args, environment } = command(`carpool-${pool}.service`);
        const set = Object.entries(environment).flatMap(([name, value]) => ['-E', `${name}=${value}`]);
        start(['systemd-socket-activate', '-l', socket, ...set, ...args], {});
        /* 00010000: it listens; its file is there a moment before. */
        const listens = () => fs.readFileSync('/proc/net/unix', 'utf8').split('\n').some((line) => line.endsWith(` ${socket}`) && line.includes(' 00010000 '));
        await until('the socket listens', listens, 10000);
        fs.chmodSync(socket, Number.parseInt(unit.SocketMode[0], 8)); /* that tool has a mode of its own */
        return socket;
    }

    before(async () => {
        fs.mkdirSync(run, { mode: 0o750 });
        const listener = start(['perl', '-e', LISTENER, notify], {}, { out: 'pipe' });
        listener.stdout.on('data', (bytes) => (told += bytes));
        await until('somebody listens for news', () => told.includes('listening'));
    });
    after(async () => {
        for (const child of children.reverse()) {
            child.kill('SIGTERM');
            await child.ended;
        }
        fs.rmSync(dir, { recursive: true });
    });

    let coordinator;
    test('the coordinator tells when it is ready', async () => {
        const { args, environment } = command('carpoold.service');
        coordinator = start(args, { ...environment, NOTIFY_SOCKET: notify });
        await until('READY=1', () => told.includes('READY=1\n'), 10000);
        assert.ok(net.connect(path.join(storage, 'coordinator.sock')).on('error', assert.fail).end());
    });

    test('each pool takes the socket, which keeps its permissions, and answers', async () => {
        for (const [pool, request] of [['prompt', ['POST', '/query', Buffer.from('{"query":"by unit"}')]], ['manage', ['GET', '/health']]]) {
            const socket = await activate(pool);
            const [method, uri, body] = request;
            const res = await fcgiRequest(socket, method, uri, body && JSON.parse(body), { timeoutMs: 10000 * STRETCH });
            assert.equal(res.status, 200, res.text);
            assert.equal(fs.statSync(socket).mode & 0o777, 0o660);
        }
    });

    test('without a coordinator a pool starts none, and has one again when systemd brings it back', async () => {
        coordinator.kill('SIGTERM');
        await coordinator.ended;
        await until('STOPPING=1', () => told.includes('STOPPING=1\n'), 10000); /* by way of the listener */
        const at = path.join(run, 'prompt.sock');
        const res = await fcgiRequest(at, 'POST', '/query', { query: 'nobody there' }, { timeoutMs: 20000 * STRETCH });
        assert.equal(res.status, 503, res.text);
        assert.ok(!fs.existsSync(path.join(storage, 'coordinator.sock')));
        const { args, environment } = command('carpoold.service');
        coordinator = start(args, environment);
        const again = await until('it answers', async () => {
            const r = await fcgiRequest(at, 'POST', '/query', { query: 'back' }, { timeoutMs: 20000 * STRETCH });
            return r.status === 200 && r;
        }, 10000);
        assert.equal(again.json.result, 'Processed: back');
    });
});
