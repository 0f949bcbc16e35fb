'use strict';
/*
 * make dist-bin: what the tarball carries, what it says of glibc, and that its programs use the libraries that came along:
 * unpacked and laid out by its install.sh as an ordinary user, a prompt goes through under mod_fcgid.
 */
const { describe, test, before, after } = require('node:test');
const assert = require('node:assert/strict');
const { execFileSync, spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { SharedHost, asNobody, STRETCH } = require('./site');
const { everyEndpoint, pages } = require('./endpoints');
const { ROOT, cleanEnvironment } = require('../integration/harness');

/* The newest glibc of the hosts that it is for: RHEL 9 and its relatives. Debian 12, where it is built, has 2.36. */
const GLIBC = [2, 34];
const isNewer = (version) => version[0] > GLIBC[0] || (version[0] === GLIBC[0] && version[1] > GLIBC[1]);

class Unpacked extends SharedHost {
    lay() {
        const top = path.join(this.dir, 'unpacked');
        fs.mkdirSync(top);
        execFileSync('tar', ['-C', top, '--strip-components=1', '-xzf', this.options.tarball]);
        if (asNobody.uid) execFileSync('chown', ['-R', `${asNobody.uid}:${asNobody.gid}`, this.dir]);
        const said = spawnSync(path.join(top, 'install.sh'), [`--dest=${this.site}`, `--data=${this.data}`], { encoding: 'utf8', env: { ...cleanEnvironment(), HOME: this.dir }, ...asNobody });
        assert.equal(said.status, 0, said.stderr);
        fs.rmSync(top, { recursive: true }); /* nothing is used from there any more */
    }
}

describe('the tarball', () => {
    let s, dir, tarball, names;
    before(async () => {
        dir = fs.mkdtempSync('/tmp/cp-dist-');
        const said = spawnSync('flock', [path.join(ROOT, 'build'), 'make', '-s', '-C', ROOT, 'dist-bin', `DIST=${dir}`], { encoding: 'utf8', env: cleanEnvironment(), timeout: 900000 });
        assert.equal(said.status, 0, said.stdout + said.stderr);
        tarball = path.join(dir, fs.readdirSync(dir)[0]);
        names = execFileSync('tar', ['-tzf', tarball], { encoding: 'utf8' }).trim().split('\n');
        s = await Unpacked.start({ provider: 'openai', tarball, conf: '[batch_high]\nwindow_ms = 50\n[batch_medium]\nwindow_ms = 100\n', apache: 'FcgidSpawnScoreUpLimit 100' });
    });
    after(async () => {
        await s?.stop();
        fs.rmSync(dir, { recursive: true, force: true });
    });
    const it = (name, run) => test(name, { timeout: 90000 * STRETCH }, run);

    it('carries libraries, but nothing of glibc, Redis or Kafka', () => {
        const libraries = names.map((name) => name.split('/lib/')[1]).filter(Boolean);
        for (const name of ['libfcgi', 'libcurl', 'liblmdb', 'libsodium', 'libuv', 'libssl', 'libcjson', 'libinih']) assert.ok(libraries.some((file) => file.startsWith(`${name}.so`)), name);
        assert.deepEqual(libraries.filter((file) => /^(ld-|libc\.|libm\.|libpthread|libresolv|libhiredis|librdkafka)/.test(file)), []);
        assert.ok(names.some((name) => name.includes('/share/licenses/')), 'their licences come along');
    });
    it('says which glibc it needs, and that is one that hosts have', () => {
        const readme = execFileSync('tar', ['-xzOf', tarball, names.find((name) => name.endsWith('/README.txt'))], { encoding: 'utf8' });
        const said = /with glibc (\d+)\.(\d+) or newer/.exec(readme).slice(1).map(Number);
        assert.ok(!isNewer(said), `glibc ${said.join('.')}`);
        const programs = ['carpool.fcgi', 'carpoold', 'carpoolctl'].map((name) => path.join(s.data, 'bin', name));
        const libraries = fs.readdirSync(path.join(s.data, 'bin/lib')).map((name) => path.join(s.data, 'bin/lib', name));
        let newest = [2, 0];
        for (const file of [...programs, ...libraries])
            for (const [, major, minor] of execFileSync('objdump', ['-T', file], { encoding: 'utf8', maxBuffer: 1 << 26 }).matchAll(/GLIBC_(\d+)\.(\d+)/g))
                if (Number(major) > newest[0] || (Number(major) === newest[0] && Number(minor) > newest[1])) newest = [Number(major), Number(minor)];
        assert.deepEqual(newest, said);
    });
    it('runs from what it carries: all endpoints, pages', async (t) => {
        await everyEndpoint(s);
        await pages(s);
        const lib = `${s.data}/bin/lib/`;
        if (process.getuid() !== 0) return t.diagnostic('what processes have loaded is only shown to root, since they close themselves to others');
        for (const p of [...s.named('carpool.fcgi'), ...s.named('carpoold')]) {
            const loaded = [...new Set(fs.readFileSync(`/proc/${p.pid}/maps`, 'utf8').split('\n').map((line) => line.slice(73)).filter((name) => /\.so(\.|$)/.test(name)))];
            assert.ok(loaded.some((name) => name.startsWith(lib)), p.name);
            assert.deepEqual(loaded.filter((name) => !name.startsWith(lib) && !/\/(ld-linux[^/]*|lib(c|m|resolv|pthread|nss_[a-z]+)\.so[^/]*)$/.test(name)), [], `${p.name} loads nothing else of the host`);
        }
    });
});
