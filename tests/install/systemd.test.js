'use strict';
/*
 * The package under a systemd that runs: in a clean Debian whose process 1 it is (the script "boot" beside this), the units
 * come up as they are, behind everything they take from themselves; workers start with the first request, who waits is
 * answered when they are restarted, a coordinator that dies comes back, an upgrade changes over, and a removal ends it all.
 */
const { describe, test, before, after } = require('node:test');
const assert = require('node:assert/strict');
const { execFile, execFileSync, spawn, spawnSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { promisify } = require('node:util');
const { Client } = require('../integration/http_client');
const { ROOT, BUILD, STRETCH, freePort, until, sleep, cleanEnvironment } = require('../integration/harness');
const { bodyOf } = require('./endpoints');
const { SCRIPT: CHROOT, noChroot, copyTo } = require('./chroot.js');

const BOOT = path.join(__dirname, 'boot');
const run = promisify(execFile);
/* What a container has no use for, or what would reach beyond it. */
const MASKED = `systemd-journald-audit.socket systemd-udevd.service systemd-udev-trigger.service systemd-sysctl.service systemd-timesyncd.service
    systemd-logind.service getty.target sys-kernel-debug.mount sys-kernel-tracing.mount sys-kernel-config.mount sys-fs-fuse-connections.mount dev-hugepages.mount
    dev-mqueue.mount apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer fstrim.timer logrotate.timer dpkg-db-backup.timer`;
const UNITS = ['carpoold.service', 'carpool-prompt.service', 'carpool-manage.service', 'carpool-prompt.socket', 'carpool-manage.socket'];

let cgroup;
function noSystemd() {
    const none = noChroot();
    if (none) return none;
    const can = spawnSync(BOOT, ['--can'], { encoding: 'utf8' });
    cgroup = can.stdout.trim();
    return can.status === 0 ? false : `systemd cannot run here: ${cgroup}`;
}

describe('under systemd', { skip: noSystemd() }, () => {
    const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'cp-systemd-'));
    const tree = path.join(dir, 'tree');
    let machine, init, client;

    /* A command beside that systemd; what it prints. */
    async function inside(...command) {
        const args = ['--target', String(init), '--mount', '--pid', '--uts', '--ipc', '--cgroup', '--root', '--wd', '--', 'env', '-i', 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', 'HOME=/root', 'LANG=C', 'DEBIAN_FRONTEND=noninteractive', ...command];
        try {
            return (await run('nsenter', args, { encoding: 'utf8', timeout: 200000 * STRETCH, maxBuffer: 1 << 26 })).stdout;
        } catch (e) {
            throw new Error(`${command.join(' ')}: ${e.message}\n${e.stdout}\n${await journal()}`);
        }
    }
    const sh = (script) => inside('sh', '-ec', script);
    const journal = () => run('nsenter', ['--target', String(init), '--mount', '--root', '--', 'journalctl', '--no-pager', '-n', '60'], { encoding: 'utf8' }).then((r) => r.stdout, (e) => e.message);
    const state = async () => Object.fromEntries(await Promise.all(UNITS.map(async (name) => [name, (await inside('systemctl', 'show', '-P', 'ActiveState', name)).trim()])));
    const mainPid = async (unit) => Number(await inside('systemctl', 'show', '-P', 'MainPID', unit));
    const ask = (prompt, more = {}) => client.post('/carpool/v1/query', { username: 'u', prompt, ...more }, { check: false, fresh: true, timeoutMs: 60000 * STRETCH });
    const it = (name, body) =>
        test(name, { timeout: 200000 * STRETCH }, async () => {
            try {
                await body();
            } catch (e) {
                e.message += `\n${await journal()}`;
                throw e;
            }
        });

    before(async () => {
        const made = spawnSync('make', ['-s', '-C', ROOT, 'deb', `BUILD=${path.relative(ROOT, BUILD)}`, `DIST=${dir}`], { encoding: 'utf8', env: cleanEnvironment() });
        assert.equal(made.status, 0, made.stdout + made.stderr);
        copyTo(tree);
        const deb = path.join(dir, fs.readdirSync(dir).find((name) => name.endsWith('.deb')));
        fs.copyFileSync(deb, path.join(tree, 'packages/carpool.deb'));
        const next = path.join(dir, 'next');
        execFileSync('dpkg-deb', ['-R', deb, next]);
        execFileSync('sed', ['-i', 's/^Version: .*/Version: 9.0.0-1/', `${next}/DEBIAN/control`]);
        execFileSync('dpkg-deb', ['--root-owner-group', '--build', next, path.join(tree, 'packages/next.deb')], { stdio: 'ignore' });

        const port = await freePort();
        const there = spawnSync(CHROOT, ['--enter', tree, 'sh', '-ec', 'apt-get update -qq && apt-get install -y -qq --no-install-recommends systemd lighttpd logrotate && apt-get install -y -qq --no-install-recommends --download-only /packages/carpool.deb'], { encoding: 'utf8', timeout: 300000 });
        assert.equal(there.status, 0, there.stderr.slice(-2000));
        const lighttpd = path.join(tree, 'etc/lighttpd/lighttpd.conf');
        fs.writeFileSync(lighttpd, `${fs.readFileSync(lighttpd, 'utf8').replace(/^server\.port .*/m, `server.port = ${port}`)}server.bind = "127.0.0.1"\n`);
        for (const name of MASKED.split(/\s+/)) {
            fs.rmSync(path.join(tree, 'etc/systemd/system', name), { force: true });
            fs.symlinkSync('/dev/null', path.join(tree, 'etc/systemd/system', name));
        }
        fs.mkdirSync(path.join(tree, 'etc/systemd/journald.conf.d'));
        fs.writeFileSync(path.join(tree, 'etc/systemd/journald.conf.d/test.conf'), '[Journal]\nAudit=no\nReadKMsg=no\nStorage=volatile\n');
        fs.rmSync(path.join(tree, 'usr/sbin/policy-rc.d'));

        const log = fs.openSync(path.join(dir, 'boot.log'), 'a');
        machine = spawn(BOOT, [tree, cgroup], { stdio: ['ignore', log, log] });
        const child = () => Number(fs.readFileSync(`/proc/${machine.pid}/task/${machine.pid}/children`, 'utf8').trim()) || null;
        init = await until('systemd is process 1', () => {
            assert.equal(machine.exitCode, null, fs.readFileSync(path.join(dir, 'boot.log'), 'utf8'));
            return child() && /systemd/.test(fs.readFileSync(`/proc/${child()}/comm`, 'utf8')) && child();
        }, 20000);
        await until('it is up', async () => /^(running|degraded)/.test(await inside('sh', '-c', 'systemctl is-system-running || true')), 60000);
        assert.equal(await inside('systemctl', '--failed', '--no-legend', '--plain'), '');
        client = new Client(port);
    });
    after(async () => {
        client?.close();
        if (machine) {
            const ended = new Promise((resolve) => machine.on('exit', resolve));
            machine.kill('SIGKILL');
            await ended;
            await until('its cgroup is empty', () => spawnSync(BOOT, ['--clean', cgroup, String(machine.pid)]).status === 0, 10000);
        }
        fs.rmSync(dir, { recursive: true, force: true });
    });

    it('apt brings it up: the coordinator runs, workers are waited for', async () => {
        await sh('apt-get install -y -qq --no-install-recommends /packages/carpool.deb 2>&1');
        assert.deepEqual(await state(), {
            'carpoold.service': 'active',
            'carpool-prompt.service': 'inactive',
            'carpool-manage.service': 'inactive',
            'carpool-prompt.socket': 'active',
            'carpool-manage.socket': 'active',
        });
        assert.equal(await sh('stat -c "%U:%G %a" /run/carpool /run/carpool/*.sock'), 'carpool:www-data 750\ncarpool:www-data 660\ncarpool:www-data 660\n');
    });

    it('the first request starts workers, confined as their units say', async () => {
        await sh("printf '\\n[provider]\\nkind = mock\\nmock_latency_ms = 2000\\n[batch_high]\\nwindow_ms = 50\\n' >>/etc/carpool/carpool.conf; systemctl restart carpoold; lighty-enable-mod carpool >/dev/null; systemctl restart lighttpd");
        await until('it serves', async () => (await client.get('/carpool/health', { check: false, timeoutMs: 5000 }).catch(() => null))?.json?.status === 'ok', 20000);
        const res = await ask('What is AI?', { priority: 'HIGH' });
        assert.equal(res.json?.text, 'Processed: What is AI?', res.text);
        assert.equal((await client.post('/carpool/v1/query', bodyOf(131073), { check: false })).status, 200);
        const now = await state();
        assert.ok(Object.values(now).every((one) => one === 'active'), JSON.stringify(now));
        for (const name of UNITS.filter((unit) => unit.endsWith('.service'))) {
            const pid = await mainPid(name);
            const status = await inside('cat', `/proc/${pid}/status`);
            assert.match(status, /^NoNewPrivs:\t1$/m, name);
            assert.match(status, /^Seccomp:\t2$/m, name);
            assert.match(status, /^CapEff:\t0+$/m, name);
            assert.match(status, /^Umask:\t0077$/m, name);
            const own = (await inside('readlink', `/proc/${pid}/ns/net`)) !== (await inside('readlink', '/proc/1/ns/net'));
            assert.equal(own, name !== 'carpoold.service', `${name}: workers have no network`);
            assert.equal((await inside('systemctl', 'show', '-P', 'NRestarts', name)).trim(), '0', name);
        }
        assert.equal(await inside('journalctl', '--quiet', '--no-pager', '-p', 'warning', '-u', 'carpool*'), '');
    });

    it('workers that are restarted answer who waits, and who comes meanwhile', async () => {
        const asked = [0, 1].map((i) => ask(`waits ${i}`, { priority: 'HIGH' }));
        await sleep(700);
        const before = await mainPid('carpool-prompt.service');
        const restarted = inside('systemctl', 'restart', 'carpool-prompt.service');
        await sleep(300);
        asked.push(ask('came meanwhile', { priority: 'HIGH' }));
        await restarted;
        for (const res of await Promise.all(asked)) assert.equal(res.status, 200, res.text);
        assert.notEqual(await mainPid('carpool-prompt.service'), before);
    });

    it('a coordinator that is told to restart ends its calls; one that is killed comes back', async () => {
        const asked = ask('runs meanwhile', { priority: 'HIGH', request_id: 'meanwhile' });
        await until('it runs', async () => (await client.get('/carpool/v1/requests/meanwhile', { check: false })).json?.status === 'running');
        await inside('systemctl', 'restart', 'carpoold.service');
        assert.equal((await asked).status, 200, (await asked).text);
        const before = await mainPid('carpoold.service');
        await inside('systemctl', 'kill', '--signal=SIGKILL', 'carpoold.service');
        await until('another one runs', async () => {
            const pid = await mainPid('carpoold.service');
            return pid && pid !== before && (await state())['carpoold.service'] === 'active';
        }, 20000);
        await until('it answers', async () => (await ask('after the kill', { priority: 'HIGH' })).status === 200, 20000);
        assert.deepEqual((await client.get('/carpool/v1/requests/meanwhile', { check: false })).json?.status, 'done');
    });

    it('an upgrade changes all over to the new programs', async () => {
        const services = UNITS.filter((unit) => unit.endsWith('.service'));
        const before = await Promise.all(services.map(mainPid));
        const asked = ask('during the upgrade', { priority: 'HIGH' });
        await sleep(500);
        await sh('dpkg -i /packages/next.deb 2>&1');
        assert.equal((await asked).status, 200, (await asked).text);
        const now = await Promise.all(services.map(mainPid));
        services.forEach((name, i) => assert.ok(now[i] && now[i] !== before[i], name));
        assert.equal((await ask('after the upgrade', { priority: 'HIGH' })).status, 200);
        assert.equal((await client.get('/carpool/v1/requests/meanwhile', { check: false })).json?.status, 'done');
    });

    it('logrotate takes its file', async () => {
        await sh('setpriv --reuid carpool --regid carpool --clear-groups sh -c "umask 077; echo line >/var/log/carpool/coordinator.log"; logrotate --force /etc/logrotate.d/carpool');
        assert.match(await sh('cd /var/log/carpool; stat -c "%n %U %a" coordinator.log*'), /coordinator\.log carpool 600\ncoordinator\.log\.1 carpool 600\n/);
    });

    it('a removal ends all of it', async () => {
        await sh('apt-get remove -y -qq carpool 2>&1');
        assert.equal(await sh('cat /proc/[0-9]*/comm | grep ^carpool || true; ls /run/carpool 2>/dev/null || true'), '');
        assert.equal(await inside('systemctl', '--failed', '--no-legend', '--plain'), '');
        await sh('apt-get purge -y -qq carpool 2>&1');
        assert.equal(await sh("ls -d /run/carpool /var/lib/carpool /var/log/carpool /etc/carpool /etc/systemd/system/*/carpool* /etc/systemd/system/carpool* 2>/dev/null || true"), '');
        assert.notEqual((await ask('nobody there').catch(() => ({ status: 0 }))).status, 200);
    });

    it('make install, and the commands that go with it, for a prefix of its own', async () => {
        await sh('userdel carpool');
        const make = (target) => run('make', ['-s', '-C', ROOT, target, `BUILD=${path.relative(ROOT, BUILD)}`, 'PREFIX=/usr/local', `DESTDIR=${tree}`], { encoding: 'utf8', env: cleanEnvironment() });
        await make('install');
        await sh('systemd-sysusers && systemd-tmpfiles --create; systemctl daemon-reload; systemctl enable --quiet --now carpoold carpool-prompt.socket carpool-manage.socket; lighty-enable-mod carpool >/dev/null; systemctl restart lighttpd');
        await until('it serves', async () => (await client.get('/carpool/health', { check: false, timeoutMs: 5000 }).catch(() => null))?.json?.status === 'ok', 20000);
        assert.equal((await ask('from /usr/local')).json?.text, 'Processed: from /usr/local');
        assert.equal((await client.get('/carpool/', { check: false })).status, 200);
        for (const name of UNITS.filter((unit) => unit.endsWith('.service')))
            assert.match(await inside('readlink', `/proc/${await mainPid(name)}/exe`), /^\/usr\/local\/libexec\/carpool\//, name);
        assert.match(await inside('carpoolctl', 'status'), /mock/);
        await sh('systemctl disable --quiet --now carpoold.service carpool-prompt.socket carpool-manage.socket carpool-prompt.service carpool-manage.service; lighty-disable-mod carpool >/dev/null');
        await make('uninstall');
        assert.equal(await sh("find /usr/local /etc -name '*carpool*' -not -name carpool.conf.new"), '');
    });
});
