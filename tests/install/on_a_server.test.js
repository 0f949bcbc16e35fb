'use strict';
/*
 * make install into a DESTDIR under a prefix of its own, run from there: behind mod_proxy_fcgi, mod_fcgid and lighttpd,
 * by the snippets that it installs. Programs find each other and their configuration. Uninstall leaves what was changed.
 */
const { describe, test, before, after } = require('node:test');
const assert = require('node:assert/strict');
const { execFileSync, spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { Installed, until, STRETCH, asNobody } = require('./site');
const { ROOT, cleanEnvironment } = require('../integration/harness');
const { user, listen, inTurn, chunksOf, textOf } = require('../integration/openai');
const { everyEndpoint, makeKeys, keysInEachWay, pages, noOtherFile, bodyOf } = require('./endpoints');

const QUICK = '[batch_high]\nwindow_ms = 50\n[batch_medium]\nwindow_ms = 100\n';

for (const front of ['proxy', 'fcgid', 'lighttpd'])
    describe(`make install, behind ${{ proxy: 'mod_proxy_fcgi', fcgid: 'mod_fcgid', lighttpd: 'lighttpd' }[front]}`, () => {
        let s;
        before(async () => {
            s = await Installed.start({ front, provider: 'openai', conf: QUICK });
        });
        after(() => s?.stop());
        const it = (name, run) =>
            test(name, { timeout: 90000 * STRETCH }, async (t) => {
                s.fake.reset();
                try {
                    await run(t);
                } catch (e) {
                    for (const line of s.logs().split('\n')) t.diagnostic(line);
                    throw e;
                }
            });

        it('all endpoints', () => everyEndpoint(s));
        it('a stream comes piece by piece', async () => {
            const { each, read, late } = inTurn('Answer to: a b c d e f');
            s.fake.next({ each });
            const result = await listen(s, { messages: [user('a b c d e f')] }, { path: '/carpool/v1/chat/completions', read });
            assert.equal(textOf(chunksOf(result)), 'Answer to: a b c d e f');
            assert.deepEqual(late, []);
        });
        it('pages come with their headers, and no other file comes', async () => {
            await pages(s);
            const plain = await s.request('GET', '/carpool', { check: false });
            if (front !== 'lighttpd') assert.equal(plain.status, 308);
            await noOtherFile(s, ['/.htaccess', '/carpool.conf', '/assets/', '/assets/.x.js', '/../lighttpd.conf', '/lighttpd.conf']);
        });
        it('programs and configuration were found by where the programs are', () => {
            const coordinator = s.named('carpoold')[0];
            assert.equal(coordinator.args[0], `${s.prefix}/libexec/carpool/carpoold`);
            const said = spawnSync(s.programs.ctl, ['key', 'list', '--json'], { encoding: 'utf8', env: s.ctlEnvironment(), ...asNobody });
            assert.equal(said.status, 0, said.stderr);
            assert.ok(JSON.parse(said.stdout));
        });
        it('a body of 131,073 bytes, and one of a megabyte', async () => {
            for (const bytes of [131073, 1048576]) {
                const res = await s.ask('POST', '/v1/query', { body: bodyOf(bytes), check: false });
                assert.equal(res.status, 200, res.text.slice(0, 300));
            }
            const over = await s.ask('POST', '/v1/query', { body: bodyOf(1048577), check: false });
            assert.equal(over.status, 413);
            assert.ok(over.json.error, over.text);
        });
        it('keys go through in each way', async () => {
            const { client } = makeKeys(s);
            await keysInEachWay(s, client);
        });
        if (front === 'proxy')
            it('graceful restart and stop while prompts wait: the pools answer who asks next', async () => {
                s.fake.latencyMs = 3000;
                const asked = [0, 1, 2].map((i) => s.query(`graceful ${i}`, { priority: 'HIGH' }, { headers: s.asAdmin, fresh: true }));
                await until('they are at the provider', () => s.fake.calls.length > 0);
                s.front.kill('SIGUSR1');
                for (const res of await Promise.all(asked)) assert.equal(res.status, 200, res.text);
                const ids = ['stop-0', 'stop-1'];
                const cut = ids.map((id) => s.query(`prompt of ${id}`, { request_id: id, priority: 'HIGH' }, { headers: s.asAdmin, fresh: true, check: false }).catch(() => null));
                await until('they are at the provider', () => ids.every((id) => s.fake.callsWith(id).length));
                s.front.kill('SIGTERM');
                await s.frontExit;
                await Promise.all(cut);
                await s.launch();
                for (const id of ids) {
                    const done = await until(`${id} is done`, async () => {
                        const r = await s.ask('GET', `/v1/requests/${id}`, { headers: s.asAdmin, fresh: true, check: false });
                        return r.json?.status === 'done' && r.json;
                    }, 15000);
                    assert.equal(done.response.text, `Answer to: prompt of ${id}`);
                    assert.equal(s.fake.callsWith(id).length, 1);
                }
            });
    });

describe('the installed tree', () => {
    let s;
    before(() => {
        s = new Installed();
        s.make();
    });
    after(() => fs.rmSync(s.dir, { recursive: true, force: true }));
    const tree = () => execFileSync('find', [s.tree, '-type', 'f', '-printf', '%P\n'], { encoding: 'utf8' }).split('\n').filter(Boolean).sort();

    test('files are where the FHS has them', () => {
        const all = tree();
        for (const name of [
            'bin/carpoolctl', 'libexec/carpool/carpoold', 'libexec/carpool/carpool.fcgi', 'share/carpool/web/index.html', 'etc/carpool/carpool.conf',
            'lib/systemd/system/carpoold.service', 'lib/systemd/system/carpool-prompt.socket', 'lib/sysusers.d/carpool.conf', 'lib/tmpfiles.d/carpool.conf',
            'etc/logrotate.d/carpool', 'etc/lighttpd/conf-available/50-carpool.conf', 'etc/apache2/conf-available/carpool.conf',
            'etc/apache2/conf-available/carpool-fcgid.conf', 'share/doc/carpool/examples/nginx.conf', 'share/doc/carpool/security.md', 'share/man/man8/carpoold.8.gz',
            'share/man/man8/carpool.fcgi.8.gz', 'share/man/man5/carpool.conf.5.gz',
        ])
            assert.ok(all.includes(`opt/carpool/${name}`), name);
        for (const name of all.filter((file) => /\.(service|conf)$/.test(file))) {
            const text = fs.readFileSync(path.join(s.tree, name), 'utf8');
            assert.doesNotMatch(text, /\/usr\/(libexec|share)\/carpool/, `${name} names the prefix it was installed under`);
        }
        assert.equal(fs.statSync(path.join(s.tree, 'opt/carpool/etc/carpool/carpool.conf')).mode & 0o777, 0o640, 'a key may stand in it');
        const shut = execFileSync('find', [s.tree, '!', '-perm', '-0444', '!', '-name', 'carpool.conf', '-o', '-type', 'd', '!', '-perm', '-0555'], { encoding: 'utf8' });
        assert.equal(shut, '', 'all others can be read by the web server, whatever the umask');
    });
    test('a place that no unit could name is refused', () => {
        const env = { ...cleanEnvironment(), DESTDIR: `${s.dir}/elsewhere`, BUILD: 'x' };
        for (const name of ['PREFIX', 'LIBEXECDIR', 'DATADIR', 'MANDIR', 'DOCDIR', 'SYSCONFDIR', 'UNITDIR']) env[name] = '/opt/x y';
        const said = spawnSync(path.join(ROOT, 'etc/install/install'), { encoding: 'utf8', env });
        assert.equal(said.status, 1);
        assert.match(said.stderr, /letters, digits.*\/opt\/x y/);
        assert.ok(!fs.existsSync(env.DESTDIR));
    });
    test('systemd finds no fault in the installed units', { skip: spawnSync('systemd-analyze', ['--version']).status === 0 ? false : 'systemd-analyze is not here' }, () => {
        const units = path.join(s.prefix, 'lib/systemd/system'), dir = path.join(s.dir, 'units');
        fs.mkdirSync(dir);
        for (const name of fs.readdirSync(units))
            fs.writeFileSync(path.join(dir, name), fs.readFileSync(path.join(units, name), 'utf8').replaceAll('=/opt/carpool', `=${s.prefix}`).replace(/^Documentation=.*\n/m, ''));
        const verify = () => spawnSync('systemd-analyze', ['verify', ...fs.readdirSync(dir).map((name) => path.join(dir, name))], { encoding: 'utf8' });
        const said = verify();
        assert.deepEqual([said.status, said.stdout + said.stderr], [0, '']);
        fs.rmSync(`${s.prefix}/libexec/carpool/carpoold`);
        assert.match(verify().stderr, /carpoold is not executable|No such file/, 'and would, about a program that is not there');
        s.make();
    });
    test('again: a configuration that was changed stays, the new one lies beside it', () => {
        const file = path.join(s.tree, 'opt/carpool/etc/carpool/carpool.conf');
        fs.appendFileSync(file, '# mine\n');
        assert.match(s.make(), /kept .*carpool\.conf/);
        assert.match(fs.readFileSync(file, 'utf8'), /# mine/);
        assert.ok(fs.existsSync(`${file}.new`));
    });
    test('uninstall takes all but what was changed', () => {
        const enabled = path.join(s.tree, 'opt/carpool/etc/apache2/conf-enabled'), links = ['carpool.conf', 'other.conf'];
        fs.mkdirSync(enabled);
        for (const name of links) fs.symlinkSync(`../conf-available/${name}`, path.join(enabled, name));
        s.make('uninstall');
        assert.deepEqual(tree(), ['opt/carpool/etc/carpool/carpool.conf']);
        assert.deepEqual(fs.readdirSync(enabled), ['other.conf'], 'a link of ours to nothing would keep Apache from starting');
    });
});
