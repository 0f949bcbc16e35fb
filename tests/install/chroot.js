'use strict';
/*
 * A clean Debian for a test, from CHROOT (a tree made by debootstrap) or made by the script "chroot" beside this, once.
 * Each test works in a copy of its own. Who may not make one at all is told so and goes without; a mirror that does not
 * answer fails the test.
 */
const assert = require('node:assert/strict');
const { execFileSync, spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');

const { ROOT } = require('../integration/harness');
const SCRIPT = path.join(__dirname, 'chroot');

/* Why this user can have none, or false. */
function noChroot() {
    if (process.getuid() !== 0) return 'chroot needs root';
    const may = spawnSync('unshare', ['--mount', '--pid', '--fork', '--', 'mount', '--make-rprivate', '/'], { encoding: 'utf8' });
    return may.status === 0 ? false : `name spaces need a right (CAP_SYS_ADMIN) that is not given here: ${(may.stderr || String(may.error)).trim()}`;
}

function make() {
    if (process.env.CHROOT) return process.env.CHROOT;
    const made = spawnSync(SCRIPT, { encoding: 'utf8', timeout: 600000 });
    const why = () => (made.stderr || String(made.error)).trim().split('\n').slice(-3).join(' ');
    assert.equal(made.status, 0, `There is no Debian to install into: debootstrap could not make one from Debian's mirror (${why()}). CHROOT=DIR takes one that is there.`);
    return path.join(ROOT, made.stdout.trim());
}

/* Names and routes of this machine, and no service that starts by itself. */
function copyTo(tree) {
    execFileSync('cp', ['-a', make(), tree]);
    fs.copyFileSync('/etc/resolv.conf', path.join(tree, 'etc/resolv.conf'));
    fs.writeFileSync(path.join(tree, 'usr/sbin/policy-rc.d'), '#!/bin/sh\nexit 101\n', { mode: 0o755 });
    /* The tree lives as long as the test: nothing of it has to survive a power cut. */
    fs.writeFileSync(path.join(tree, 'etc/dpkg/dpkg.cfg.d/fast'), 'force-unsafe-io\n');
    fs.writeFileSync(path.join(tree, 'etc/apt/apt.conf.d/retries'), 'Acquire::Retries "3";\n');
    fs.mkdirSync(path.join(tree, 'packages'));
}

module.exports = { SCRIPT, noChroot, copyTo };
