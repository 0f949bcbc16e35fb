'use strict';
/*
 * Shared hosting as hosts do it: in a clean Debian, Apache with mod_fcgid and suexec, so that a site's programs run as its
 * owner. The tarball of make dist-bin is unpacked and laid out by that owner, and used through ~/public_html.
 */
const { describe, test, before, after } = require('node:test');
const assert = require('node:assert/strict');
const { execFileSync, spawn, spawnSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { Client } = require('../integration/http_client');
const { ROOT, STRETCH, freePort, until, cleanEnvironment } = require('../integration/harness');
const { SCRIPT: CHROOT, noChroot, copyTo } = require('./chroot.js');

describe('suexec', { skip: noChroot() }, () => {
    const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'cp-suexec-'));
    const tree = path.join(dir, 'tree');
    const sh = (script) => {
        const said = spawnSync(CHROOT, ['--enter', tree, 'sh', '-ec', script], { encoding: 'utf8', timeout: 300000, maxBuffer: 1 << 26 });
        assert.equal(said.status, 0, `${script}\n${said.stdout.slice(-2000)}${said.stderr.slice(-2000)}`);
        return said.stdout;
    };
    let server, client;
    const errors = () => fs.readFileSync(path.join(tree, 'var/log/apache2/error.log'), 'utf8').slice(-3000);

    before(async () => {
        const made = spawnSync('flock', [path.join(ROOT, 'build'), 'make', '-s', '-C', ROOT, 'dist-bin', `DIST=${dir}/dist`], { encoding: 'utf8', env: cleanEnvironment(), timeout: 900000 });
        assert.equal(made.status, 0, made.stdout + made.stderr);
        copyTo(tree);
        execFileSync('cp', [path.join(dir, 'dist', fs.readdirSync(path.join(dir, 'dist'))[0]), path.join(tree, 'packages/carpool.tar.gz')]);
        const port = await freePort();
        sh(`apt-get update -qq && apt-get install -y -qq --no-install-recommends apache2 apache2-suexec-custom libapache2-mod-fcgid
            a2enmod -q suexec fcgid rewrite headers
            printf '/srv\\npublic_html\\n' >/etc/apache2/suexec/www-data
            useradd --create-home --home-dir /srv/alice --uid 1500 --shell /bin/sh alice && chmod 755 /srv/alice
            echo 'Listen 127.0.0.1:${port}' >/etc/apache2/ports.conf
            echo 'ServerName localhost' >>/etc/apache2/apache2.conf
            cat >/etc/apache2/sites-enabled/000-default.conf <<END
<VirtualHost 127.0.0.1:${port}>
    DocumentRoot /srv/alice/public_html
    SuexecUserGroup alice alice
    <Directory /srv/alice/public_html>
        AllowOverride All
        Require all granted
    </Directory>
</VirtualHost>
END
            cd / && setpriv --reuid alice --regid alice --clear-groups env HOME=/srv/alice sh -ec '
                umask 002
                mkdir -p /srv/alice/unpacked /srv/alice/public_html
                chmod 755 /srv/alice/public_html
                tar -C /srv/alice/unpacked --strip-components=1 -xzf /packages/carpool.tar.gz
                /srv/alice/unpacked/install.sh --dest=/srv/alice/public_html/llm'`);
        const log = fs.openSync(path.join(dir, 'log'), 'a');
        /* Not exec: Apache changes its user, and would no longer end with the name space. */
        server = spawn(CHROOT, ['--enter', tree, 'bash', '-c', 'mkdir -p /run/apache2 && apache2ctl -D FOREGROUND & wait $!'], { stdio: ['ignore', log, log] });
        client = new Client(port);
        await until('it serves', async () => (await client.get('/llm/health', { check: false, timeoutMs: 3000 })).json?.status === 'ok', 30000).catch((e) => {
            throw new Error(`${e.message}\n${errors()}`);
        });
    });
    after(() => {
        client?.close();
        server?.kill('SIGKILL');
        fs.rmSync(dir, { recursive: true, force: true });
    });

    test('programs run as the site’s owner, with a umask that lets groups write', { timeout: 60000 * STRETCH }, async () => {
        const res = await client.post('/llm/query', { query: 'What is AI?' }, { check: false });
        assert.equal(res.json?.result, 'Processed: What is AI?', res.text + errors());
        assert.equal((await client.get('/llm/', { check: false })).status, 200);
        const owners = new Set();
        for (const pid of fs.readdirSync('/proc').filter((name) => /^\d+$/.test(name)))
            try {
                if (fs.readlinkSync(`/proc/${pid}/root`) === tree && /^carpool/.test(fs.readFileSync(`/proc/${pid}/comm`, 'utf8'))) owners.add(/^Uid:\s+(\d+)/m.exec(fs.readFileSync(`/proc/${pid}/status`, 'utf8'))[1]);
            } catch {
                /* it ended meanwhile */
            }
        assert.deepEqual([...owners], ['1500']);
        assert.equal(sh('find /srv/alice/carpool-data /srv/alice/public_html -not -user alice -o -not -type l -perm /022'), '', 'all of it is the owner’s, and nobody else may write');
    });
    test('suexec does look: a program that its group may write is not run', { timeout: 60000 * STRETCH }, async () => {
        sh('chmod g+w /srv/alice/public_html/llm; touch /srv/alice/public_html/llm/prompt.fcgi; cp -p /srv/alice/public_html/llm/prompt.fcgi /srv/alice/x; mv /srv/alice/x /srv/alice/public_html/llm/prompt.fcgi');
        const res = await client.post('/llm/query', { query: 'again' }, { check: false });
        assert.ok(res.status >= 500, res.text);
        sh('chmod g-w /srv/alice/public_html/llm');
    });
});
