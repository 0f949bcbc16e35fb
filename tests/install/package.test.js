'use strict';
/*
 * make deb: what is in the package, and its life in a clean Debian: installed with what it depends on, run behind that
 * Debian's lighttpd on sockets as systemd makes them, upgraded, removed, purged. The chroot is CHROOT, or made by the
 * script beside this; it needs root and network, and without either that part is left out.
 */
const { describe, test, before, after } = require('node:test');
const assert = require('node:assert/strict');
const { execFileSync, spawn, spawnSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { Client } = require('../integration/http_client');
const { ROOT, BUILD, STRETCH, freePort, until, cleanEnvironment } = require('../integration/harness');
const { bodyOf } = require('./endpoints');
const { SCRIPT: CHROOT, noChroot, copyTo } = require('./chroot.js');

const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'cp-deb-'));
let deb;

before(() => {
    const said = spawnSync('make', ['-s', '-C', ROOT, 'deb', `BUILD=${path.relative(ROOT, BUILD)}`, `DIST=${dir}`], { encoding: 'utf8', env: cleanEnvironment() });
    assert.equal(said.status, 0, said.stdout + said.stderr);
    deb = path.join(dir, fs.readdirSync(dir).find((name) => name.endsWith('.deb')));
});
after(() => fs.rmSync(dir, { recursive: true, force: true }));

describe('the package', () => {
    const files = () =>
        execFileSync('dpkg-deb', ['--fsys-tarfile', deb], { maxBuffer: 1 << 28 }) &&
        execFileSync('sh', ['-c', `dpkg-deb --fsys-tarfile '${deb}' | tar -tv --numeric-owner`], { encoding: 'utf8' })
            .trim()
            .split('\n')
            .map((line) => ({ mode: line.slice(0, 10), owner: line.split(/\s+/)[1], name: line.slice(line.indexOf('./') + 1) }));
    const control = (name) => execFileSync('dpkg-deb', ['--info', deb, name], { encoding: 'utf8' });

    test('everything is root’s, nothing is in /usr/local, nobody else may write', () => {
        for (const file of files()) {
            assert.equal(file.owner, '0/0', file.name);
            assert.doesNotMatch(file.mode, /^.....w|^........w/, file.name);
            assert.match(file.name, /^\/(etc|usr)?\/?/, file.name);
            assert.doesNotMatch(file.name, /^\/usr\/local|^\/var|^\/run/, file.name);
        }
    });
    test('all of /etc are conffiles, all else has a sum, the rest that Debian asks for is there', () => {
        const plain = files().filter((file) => file.mode[0] === '-').map((file) => file.name);
        assert.deepEqual(control('conffiles').trim().split('\n').sort(), plain.filter((name) => name.startsWith('/etc/')).sort());
        const sums = control('md5sums').trim().split('\n').map((line) => `/${line.slice(34)}`);
        assert.deepEqual(sums.sort(), plain.filter((name) => !name.startsWith('/etc/')).sort());
        for (const name of ['copyright', 'changelog.Debian.gz']) assert.ok(plain.includes(`/usr/share/doc/carpool/${name}`), name);
        for (const name of ['man8/carpoold.8.gz', 'man8/carpool.fcgi.8.gz', 'man5/carpool.conf.5.gz']) assert.ok(plain.includes(`/usr/share/man/${name}`), name);
    });
    test('it depends on what its programs load', () => {
        const depends = control('control').match(/^Depends: (.*)$/m)[1];
        for (const library of ['libc6', 'libcurl4', 'libfcgi0ldbl', 'liblmdb0', 'libsodium23', 'libuv1', 'libcjson1', 'libinih1']) assert.match(depends, new RegExp(`\\b${library}\\b`));
    });
});

describe('in a clean Debian', { skip: noChroot() }, () => {
    const tree = path.join(dir, 'tree');
    let port, nginxPort, server;
    const inside = (...command) => spawnSync(CHROOT, ['--enter', tree, ...command], { encoding: 'utf8', timeout: 300000, maxBuffer: 1 << 26 });
    const must = (...command) => {
        const said = inside(...command);
        assert.equal(said.status, 0, `${command.join(' ')}\n${said.stdout.slice(-3000)}${said.stderr.slice(-3000)}`);
        return said.stdout;
    };
    const sh = (script) => must('sh', '-ec', script);
    const at = (name) => path.join(tree, name);
    const it = (name, body) => test(name, { timeout: 400000 * STRETCH }, body);

    before(() => {
        copyTo(tree);
        fs.copyFileSync(deb, at('packages/carpool.deb'));
    });
    after(() => server?.kill('SIGKILL'));

    it('installs with its dependencies: user, directories, rights, units enabled', () => {
        sh('apt-get update -qq && apt-get install -y -qq --no-install-recommends /packages/carpool.deb lighttpd nginx-light apache2');
        assert.match(sh('getent passwd carpool'), /^carpool:x:\d+:\d+:carpool:\/var\/lib\/carpool:/);
        assert.equal(sh('stat -c "%U:%G %a" /etc/carpool/carpool.conf /var/lib/carpool /var/log/carpool'), 'root:carpool 640\ncarpool:carpool 700\ncarpool:carpool 700\n');
        for (const link of ['multi-user.target.wants/carpoold.service', 'sockets.target.wants/carpool-prompt.socket', 'sockets.target.wants/carpool-manage.socket'])
            assert.ok(fs.lstatSync(at(`etc/systemd/system/${link}`)).isSymbolicLink(), link);
        assert.match(sh('dpkg -V carpool; dpkg -S /usr/bin/carpoolctl'), /^carpool: \/usr\/bin\/carpoolctl$/m);
        sh('systemd-analyze verify --man=no /usr/lib/systemd/system/carpoold.service /usr/lib/systemd/system/carpool-*.s* 2>&1 | grep carpool && exit 1 || true');
    });

    it('its Apache accepts what it brings', () => {
        sh('a2enmod -q proxy_fcgi headers && a2enconf -q carpool && apache2ctl configtest 2>&1 | grep -q "Syntax OK"');
        sh('a2disconf -q carpool && a2dismod -q -f mpm_event && a2enmod -q mpm_prefork && apache2ctl configtest');
    });

    it('runs behind that Debian’s lighttpd and nginx, on sockets as systemd makes them', async () => {
        port = await freePort();
        nginxPort = await freePort();
        sh(`printf 'server {\\n listen 127.0.0.1:${nginxPort};\\n include /usr/share/doc/carpool/examples/nginx.conf;\\n}\\n' >/etc/nginx/sites-enabled/default; nginx -t`);
        sh(`lighty-enable-mod carpool >/dev/null; sed -i 's/^server.port .*/server.port = ${port}/' /etc/lighttpd/lighttpd.conf; echo 'server.bind = "127.0.0.1"' >>/etc/lighttpd/lighttpd.conf`);
        const script = `
            set -e
            systemd-tmpfiles --create carpool.conf
            systemd-tmpfiles --create lighttpd.tmpfile.conf || install -d -o www-data -g www-data /run/lighttpd
            as() { setpriv --reuid carpool --regid carpool --clear-groups --no-new-privs env HOME=/var/lib/carpool "$@"; }
            as /usr/libexec/carpool/carpoold --background
            for pool in prompt manage; do
                as systemd-socket-activate -l /run/carpool/$pool.sock /usr/libexec/carpool/carpool.fcgi --pool=$pool &
                until [ -S /run/carpool/$pool.sock ]; do sleep 0.1; done
                chgrp www-data /run/carpool/$pool.sock
                chmod 660 /run/carpool/$pool.sock
            done
            nginx
            # Not exec: lighttpd changes its user, and would no longer end with the name space.
            lighttpd -D -f /etc/lighttpd/lighttpd.conf &
            wait $!`;
        const log = fs.openSync(path.join(dir, 'server.log'), 'a');
        server = spawn(CHROOT, ['--enter', tree, 'bash', '-c', script], { stdio: ['ignore', log, log] });
        const client = new Client(port);
        const said = () => fs.readFileSync(path.join(dir, 'server.log'), 'utf8').slice(-3000);
        await until('it serves', async () => (await client.get('/carpool/health', { check: false, timeoutMs: 2000 })).json?.status === 'ok', 20000).catch((e) => {
            throw new Error(`${e.message}\n${said()}`);
        });
        const res = await client.post('/carpool/v1/query', bodyOf(131073), { check: false });
        assert.equal(res.status, 200, res.text.slice(0, 500));
        const page = await client.get('/carpool/', { check: false });
        assert.equal(page.status, 200);
        assert.match(page.headers['content-security-policy'], /^default-src 'none'/);
        const behindNginx = new Client(nginxPort);
        for (const [name, body] of [['/carpool/health'], ['/carpool/v1/settings'], ['/carpool/'], ['/carpool/assets/style.css'], ['/carpool/v1/query', bodyOf(131073)]]) {
            const got = await behindNginx.request(body ? 'POST' : 'GET', name, { body, check: false });
            assert.equal(got.status, 200, `nginx ${name}: ${got.text.slice(0, 300)}`);
            if (/\/$|css$/.test(name)) assert.match(got.headers['content-security-policy'], /^default-src 'none'/);
        }
        for (const name of ['/carpool/lighttpd.conf', '/carpool/assets/', '/carpool/web/index.html']) assert.equal((await behindNginx.get(name, { check: false })).status, 404, name);
        behindNginx.close();
        /* Root's carpoolctl turns into carpool, finds the configuration, and the coordinator that runs. */
        const key = execFileSync('nsenter', ['--target', String(await lighttpdPid()), '--mount', '--pid', '--root', '--wd', 'carpoolctl', 'key', 'create', '--label', 'first'], { encoding: 'utf8' }).trim();
        assert.match(key, /^cp_/);
        assert.equal((await client.post('/carpool/v1/query', { username: 'u', prompt: 'x' }, { check: false })).status, 401);
        assert.equal((await client.post('/carpool/v1/query', { username: 'u', prompt: 'x' }, { check: false, headers: { Authorization: `Bearer ${key}` } })).status, 200);
        assert.equal(sh('find /var/lib/carpool -not -user carpool'), '', 'nothing there is root’s');
        client.close();
        server.kill('SIGKILL'); /* unshare ignores SIGTERM; all in its name space go with it */
        await new Promise((resolve) => server.on('exit', resolve));
    });
    /* As this machine counts: the server's, which is in the chroot's name space of processes. */
    const lighttpdPid = () =>
        until('lighttpd runs', () =>
            fs.readdirSync('/proc').find((pid) => {
                try {
                    return fs.readlinkSync(`/proc/${pid}/root`) === tree && fs.readFileSync(`/proc/${pid}/comm`, 'utf8') === 'lighttpd\n';
                } catch {
                    return false;
                }
            }),
        );

    it('upgrades: what the administrator changed stays, and the store', () => {
        const next = path.join(dir, 'next');
        execFileSync('dpkg-deb', ['-R', deb, next]);
        execFileSync('sed', ['-i', 's/^Version: .*/Version: 9.0.0-1/', `${next}/DEBIAN/control`]);
        execFileSync('dpkg-deb', ['--root-owner-group', '--build', next, at('packages/next.deb')], { stdio: 'ignore' });
        sh("sed -i 's/^base_path = .*/base_path = \\/mine/' /etc/carpool/carpool.conf; chmod 600 /etc/carpool/carpool.conf; chown carpool /etc/carpool/carpool.conf");
        sh('dpkg -i /packages/next.deb');
        assert.match(sh('dpkg -s carpool'), /^Version: 9\.0\.0-1$/m);
        assert.match(fs.readFileSync(at('etc/carpool/carpool.conf'), 'utf8'), /^base_path = \/mine$/m);
        assert.equal(sh('stat -c "%U %a" /etc/carpool/carpool.conf'), 'carpool 600\n');
        assert.match(sh('carpoolctl key list'), /first/);
    });
    it('removes its programs and no settings, state or logs', () => {
        sh('apt-get remove -y -qq carpool');
        for (const name of ['usr/bin/carpoolctl', 'usr/libexec/carpool', 'usr/share/carpool', 'etc/lighttpd/conf-enabled/50-carpool.conf']) assert.ok(!fs.lstatSync(at(name), { throwIfNoEntry: false }), name);
        for (const name of ['etc/carpool/carpool.conf', 'var/lib/carpool/data.mdb', 'var/log/carpool']) assert.ok(fs.existsSync(at(name)), name);
        sh('lighttpd -tt -f /etc/lighttpd/lighttpd.conf');
    });
    it('comes back, and purge leaves nothing but the user', () => {
        sh('apt-get install -y -qq --no-install-recommends /packages/carpool.deb && carpoolctl key list | grep -q first');
        sh('apt-get purge -y -qq carpool');
        const left = sh("find / -xdev \\( -path /proc -o -path /packages -o -path /dev -o -path /tmp -o -path /var/lib/apt -o -path /var/log/apt -o -path /var/cache \\) -prune -o -name '*carpool*' -print");
        assert.equal(left, '');
        assert.match(sh('getent passwd carpool'), /^carpool:/);
    });
});
