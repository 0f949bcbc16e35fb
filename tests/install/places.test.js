'use strict';
/*
 * Where etc/install/shared-hosting lays carpool, and where it refuses to: nothing that Apache may serve gets settings or
 * store, and nothing of anybody else is overwritten. No server runs.
 */
const { describe, test, before, after } = require('node:test');
const assert = require('node:assert/strict');
const { execFileSync, spawnSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { copyCheckout, asNobody } = require('./site');
const { cleanEnvironment } = require('../integration/harness');

describe('make shared-hosting', () => {
    let home, checkout;
    before(() => {
        home = fs.mkdtempSync(path.join(os.tmpdir(), 'cpp-'));
        checkout = path.join(home, 'checkout');
        copyCheckout(checkout);
        own();
    });
    /* A coordinator that made a key may just be leaving. */
    after(() => fs.rmSync(home, { recursive: true, maxRetries: 20 }));

    const own = () => asNobody.uid && execFileSync('chown', ['-R', `${asNobody.uid}:${asNobody.gid}`, home]);
    const at = (...names) => path.join(home, ...names);
    const lay = (dest, ...more) => {
        const env = { ...cleanEnvironment(), BUILD: path.join(checkout, 'build'), HOME: home };
        return spawnSync(path.join(checkout, 'etc/install/shared-hosting'), [`--dest=${dest}`, ...more], { encoding: 'utf8', env, cwd: home, ...asNobody });
    };
    const refused = (pattern, dest, ...more) => {
        const said = lay(dest, ...more);
        assert.equal(said.status, 1, `${dest} ${more.join(' ')}: ${said.stdout}${said.stderr}`);
        assert.match(said.stderr, pattern);
        assert.equal(said.stdout, '');
    };
    const write = (file, text) => {
        fs.mkdirSync(path.dirname(file), { recursive: true });
        fs.writeFileSync(file, text);
        own();
    };

    test('refuses places that would give something away, and makes nothing there', () => {
        fs.mkdirSync(at('public_html'));
        fs.symlinkSync('public_html', at('www'));
        own();
        const everybody = /could (be )?read/;
        refused(everybody, 'public_html/a', `--data=${at('public_html/a')}`);
        refused(everybody, 'public_html/a', `--data=${at('public_html/a/data')}`);
        refused(everybody, 'public_html/a', `--data=${at('www/a/data')}`);
        refused(everybody, 'public_html/a', '--data=public_html/b');
        refused(everybody, 'www/a', '--data=public_html/b');
        refused(everybody, './public_html/../public_html/', '--data=public_html/b');
        refused(/cannot be reached/, 'data/public_html', '--data=data');
        refused(/cannot be reached/, 'public_html/a', `--data=${home}`);
        refused(/where carpool comes from/, checkout);
        refused(/where carpool comes from/, path.join(checkout, 'web'));
        refused(/letters, digits/, 'public_html/with space');
        refused(/letters, digits/, 'public_html/a', '--base-path=/a|b');
        refused(/must begin with a slash/, 'public_html/a', '--base-path=a');
        refused(/PROCESSES must be/, 'public_html/a', '--processes=2');
        assert.deepEqual(fs.readdirSync(home).sort(), ['checkout', 'public_html', 'www']);
        assert.deepEqual(fs.readdirSync(at('public_html')), []);
    });

    test('refuses root, as whom no site of anybody works', { skip: asNobody.uid ? false : 'this is not root' }, () => {
        const said = spawnSync(path.join(checkout, 'etc/install/shared-hosting'), ['--dest=public_html/a'], { encoding: 'utf8', env: { ...cleanEnvironment(), HOME: home }, cwd: home });
        assert.equal(said.status, 1);
        assert.match(said.stderr, /not as root.*make install/);
        assert.deepEqual(fs.readdirSync(at('public_html')), []);
    });

    test('leaves another site alone, and a directory of other things', () => {
        for (const name of ['.htaccess', 'index.html', 'assets/style.css', 'prompt.fcgi']) {
            const site = at('public_html', `other-${path.basename(name)}`);
            write(path.join(site, name), 'theirs');
            refused(/of another site/, site, '--data=fresh');
            assert.equal(fs.readFileSync(path.join(site, name), 'utf8'), 'theirs');
            assert.deepEqual(fs.readdirSync(site), [name.split('/')[0]]);
        }
        write(at('private/letter'), 'theirs');
        fs.chmodSync(at('private'), 0o755);
        refused(/holds other things/, 'public_html/a', '--data=private');
        assert.equal(fs.statSync(at('private')).mode & 0o777, 0o755);
        assert.ok(!fs.existsSync(at('fresh')));
    });

    test('what it says to do next can be done, before anybody has asked for a page', () => {
        const said = lay('public_html/next', `--data=${at('next')}`);
        assert.equal(said.status, 0, said.stderr);
        const commands = said.stdout.match(/^ {4}\S+carpoolctl .*$/gm);
        assert.equal(commands.length, 2);
        for (const command of commands) {
            const made = spawnSync('sh', ['-c', command], { encoding: 'utf8', env: cleanEnvironment(), cwd: '/', ...asNobody });
            assert.equal(made.status, 0, made.stderr);
            assert.match(made.stdout, /^cp_\S+\n$/);
        }
        assert.equal(fs.statSync(at('next/var')).mode & 0o777, 0o700);
    });

    test('beside what a host puts there itself, relative or with a tilde; again, and changes are kept', () => {
        write(at('public_html/llm/.well-known/x'), 'theirs');
        write(at('public_html/llm/blog/index.html'), 'theirs');
        const first = lay('public_html/llm');
        assert.equal(first.status, 0, first.stderr);
        assert.match(first.stderr, /not served any more: blog\n/);
        const htaccess = at('public_html/llm/.htaccess'), kept = at('carpool-data/htaccess.before');
        assert.match(fs.readFileSync(at('carpool-data/carpool.conf'), 'utf8'), /^base_path = \/llm$/m);
        assert.match(fs.readFileSync(at('public_html/llm/prompt.fcgi'), 'utf8'), new RegExp(`exec "${home}/carpool-data/bin/carpool\\.fcgi"`));
        assert.equal(fs.readFileSync(at('carpool-data/.htaccess'), 'utf8'), 'Require all denied\n');

        const written = fs.readFileSync(htaccess, 'utf8');
        const same = lay('~/x/../public_html/./llm//');
        assert.deepEqual([same.status, same.stderr], [0, '']);
        assert.ok(!fs.existsSync(kept), 'nothing was changed');
        const changed = `Require ip 192.0.2.1\n${written}`, own = 'Require ip 192.0.2.2\n';
        fs.writeFileSync(htaccess, changed + own);
        write(at('carpool-data/carpool.conf'), '[server]\nbase_path = /llm\n');
        const again = lay(at('www/llm'));
        assert.equal(again.status, 0, again.stderr);
        assert.match(again.stderr, new RegExp(`is in ${kept}`));
        assert.equal(fs.readFileSync(kept, 'utf8'), changed + own);
        assert.equal(fs.readFileSync(htaccess, 'utf8'), written + own, 'what stands below the mark stays');
        assert.equal(fs.readFileSync(at('carpool-data/carpool.conf'), 'utf8'), '[server]\nbase_path = /llm\n');
        assert.deepEqual(fs.readdirSync(at('public_html/llm')).filter((name) => name.includes('new')), []);
    });
});
