'use strict';
/*
 * A clean Debian for a test, from CHROOT (a tree made by debootstrap) or made by the script "chroot" beside this, once.
 * Each test works in a copy of its own.
 */
const { execFileSync, spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');

const { ROOT } = require('../integration/harness');
const SCRIPT = path.join(__dirname, 'chroot');

/* Why there is none, or false. */
function noChroot() {
    if (process.getuid() !== 0) return 'chroot needs root';
    if (process.env.CHROOT) return false;
    const made = spawnSync(SCRIPT, { encoding: 'utf8', timeout: 600000 });
    if (made.status !== 0) return `no Debian to install into: ${(made.stderr || String(made.error)).trim().split('\n').pop()}`;
    process.env.CHROOT = path.join(ROOT, made.stdout.trim());
    return false;
}

/* Names and routes of this machine, and no service that starts by itself. */
function copyTo(tree) {
    execFileSync('cp', ['-a', process.env.CHROOT, tree]);
    fs.copyFileSync('/etc/resolv.conf', path.join(tree, 'etc/resolv.conf'));
    fs.writeFileSync(path.join(tree, 'usr/sbin/policy-rc.d'), '#!/bin/sh\nexit 101\n', { mode: 0o755 });
    fs.mkdirSync(path.join(tree, 'packages'));
}

module.exports = { SCRIPT, noChroot, copyTo };
