'use strict';
/*
 * Another user of the same machine: runs small programs as nobody (setpriv) and tells what they could do. Only root can
 * become somebody else, so whoever else runs the tests is told what was left out.
 */
const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');

const NOBODY = 65534;
const AS_NOBODY = ['setpriv', `--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups', '--no-new-privs'];

/* Why no neighbour can be played here; null when one can. */
function cannotPlay() {
    if (process.getuid() !== 0) return 'only root can act as another user; run it as root to see this part';
    const { status, stderr } = spawnSync(AS_NOBODY[0], [...AS_NOBODY.slice(1), process.execPath, '-e', '0'], { cwd: '/' });
    return status === 0 ? null : `setpriv cannot run node as another user here: ${stderr}`;
}

/* Runs the function in a node of its own as nobody, with arguments and result as JSON. It sees nothing of this file. */
function asNobody(job, ...args) {
    const code = `Promise.resolve((${job})(...${JSON.stringify(args)})).then((r) => process.stdout.write(JSON.stringify(r ?? null)))`;
    const { status, stdout, stderr } = spawnSync(AS_NOBODY[0], [...AS_NOBODY.slice(1), process.execPath, '-e', code], {
        cwd: '/',
        env: { PATH: process.env.PATH },
        timeout: 60000,
        maxBuffer: 64 << 20,
    });
    if (status !== 0) throw new Error(`the neighbour could not try: ${stderr}`);
    return JSON.parse(stdout);
}

/* Everything below dir, as this process sees it: {path, kind}, dir itself first. */
function everythingBelow(dir) {
    const kindOf = (e) => (e.isDirectory() ? 'directory' : e.isSocket() ? 'socket' : 'file');
    const inside = fs.readdirSync(dir, { recursive: true, withFileTypes: true });
    return [
        { path: dir, kind: 'directory' },
        ...inside.map((e) => ({ path: path.join(e.parentPath ?? e.path, e.name), kind: kindOf(e) })),
    ];
}

/* What of the paths nobody can list, read, write or connect to; as sentences. */
const tryPaths = (entries) => {
    const fs = require('node:fs');
    const net = require('node:net');
    const can = (what, action) => {
        try {
            action();
            return [what];
        } catch (e) {
            if (!['EACCES', 'EPERM'].includes(e.code)) throw e;
            return [];
        }
    };
    const open = (file, flags) => fs.closeSync(fs.openSync(file, flags));
    const connects = (file) =>
        new Promise((resolve) => {
            const socket = net.connect(file);
            socket.on('connect', () => resolve([`connect to ${file}`]) || socket.destroy());
            socket.on('error', (e) => resolve(['EACCES', 'EPERM'].includes(e.code) ? [] : [`${e.code} from ${file}`]));
        });
    return Promise.all(
        entries.map(({ path, kind }) => {
            if (kind === 'socket') return connects(path);
            if (kind === 'directory')
                return [
                    ...can(`list ${path}`, () => fs.readdirSync(path)),
                    ...can(`write into ${path}`, () => fs.accessSync(path, fs.constants.W_OK)),
                ];
            return [...can(`read ${path}`, () => open(path, 'r')), ...can(`write ${path}`, () => open(path, 'r+'))];
        }),
    ).then((found) => found.flat());
};

/* What of other processes nobody can read; as sentences. */
const tryProcesses = (pids) => {
    const fs = require('node:fs');
    const found = [];
    for (const pid of pids)
        for (const name of ['environ', 'mem', 'maps', 'fd', 'root', 'cwd', 'exe', 'stack', 'io']) {
            const file = `/proc/${pid}/${name}`;
            try {
                if (name === 'fd') fs.readdirSync(file);
                else if (['root', 'cwd', 'exe'].includes(name)) fs.readlinkSync(file);
                else {
                    /* maps of others opens for some kernels and reads empty. */
                    const fd = fs.openSync(file, 'r');
                    const got = name === 'mem' ? 1 : fs.readSync(fd, Buffer.alloc(64), 0, 64, null);
                    fs.closeSync(fd);
                    if (!got) continue;
                }
                found.push(`read ${file}`);
            } catch (e) {
                if (!['EACCES', 'EPERM', 'ENOENT', 'EINVAL'].includes(e.code)) throw e;
            }
        }
    return found;
};

module.exports = { cannotPlay, asNobody, everythingBelow, tryPaths, tryProcesses, NOBODY };
