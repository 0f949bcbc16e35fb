'use strict';
/* A pool whose lighttpd died before the program had begun: nobody would ever tell it to leave. */
const { test } = require('node:test');
const assert = require('node:assert/strict');
const { spawn } = require('node:child_process');
const fs = require('node:fs');
const net = require('node:net');
const os = require('node:os');
const path = require('node:path');
const { BUILD, STRETCH, cleanEnvironment, isAlive, sleep, until } = require('./harness');

/* Runs the pool as lighttpd does, behind a shell of a process group of its own; orphaned: the shell has ended when
 * the program begins. Gives the program's pid and a function that ends the shell. */
async function startPool(dir, { orphaned }) {
    const server = net.createServer();
    await new Promise((resolve) => server.listen(path.join(dir, 'pool.sock'), resolve));
    const pidFile = path.join(dir, 'pid');
    const begin = `sh -c 'echo $$ >"${pidFile}"; ${orphaned ? 'sleep 0.3;' : ''} exec "${BUILD}/carpool.fcgi" --pool=manage'`;
    const shell = spawn('sh', ['-c', `${begin} <&3 & ${orphaned ? '' : 'wait'}`], {
        detached: true,
        env: { ...cleanEnvironment(), CARPOOL_STORAGE_DIR: path.join(dir, 's'), PHP_FCGI_CHILDREN: '1' },
        stdio: ['ignore', 'ignore', 'ignore', server._handle],
    });
    const ended = new Promise((resolve) => shell.on('exit', resolve));
    const pid = await until('the program has a pid', () => Number(fs.readFileSync(pidFile, 'utf8')));
    if (orphaned) await ended;
    server.close();
    return { pid, shell };
}

async function inDirectory(body) {
    const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'cp-'));
    try {
        await body(dir);
    } finally {
        fs.rmSync(dir, { recursive: true, force: true });
    }
}

test('it leaves at once', () =>
    inDirectory(async (dir) => {
        const { pid } = await startPool(dir, { orphaned: true });
        try {
            await until('the orphan has left', () => !isAlive(pid), 3000);
        } finally {
            if (isAlive(pid)) process.kill(pid, 'SIGTERM');
        }
    }));

test('with its server it stays, and leaves when that is killed', () =>
    inDirectory(async (dir) => {
        const { pid, shell } = await startPool(dir, { orphaned: false });
        await sleep(1000 * STRETCH);
        assert.ok(isAlive(pid));
        shell.kill('SIGKILL');
        await until('the pool has left', () => !isAlive(pid), 3000);
    }));
