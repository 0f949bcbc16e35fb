'use strict';
/* Workers without a web server: each listens at a socket of its own, tests talk FastCGI to it, and the
 * coordinator is started by whichever worker needs it first. All in a temporary directory. */
const assert = require('node:assert/strict');
const { spawn } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { cleanEnvironment, until, BUILD } = require('./harness');
const { findProcesses } = require('./processes');
const { fcgiRequest } = require('./fcgi_client');

const TICKS = 100; /* a second, of /proc/<pid>/stat */

class Crowd {
    /* n workers; env: more environment; user: {uid, gid}; args: of the program; command: what runs it, such as
     * prlimit with its options; pool: a pool as under lighttpd, not a process as under mod_fcgid. */
    constructor({ n = 1, env = {}, user = {}, args = [], command = [], pool = false } = {}) {
        this.dir = fs.mkdtempSync(path.join(os.tmpdir(), 'cr-'));
        this.storage = path.join(this.dir, 's');
        fs.mkdirSync(this.storage, { mode: 0o700 });
        this.socket = path.join(this.storage, 'coordinator.sock');
        this.lock = path.join(this.storage, 'coordinator.lock');
        this.n = n;
        this.user = user;
        this.args = args;
        this.command = command;
        this.pool = pool;
        this.env = {
            ...cleanEnvironment(),
            HOME: this.dir,
            CARPOOL_STORAGE_DIR: this.storage,
            CARPOOL_PROVIDER_KIND: 'mock',
            CARPOOL_CACHE_MODE: 'off',
            CARPOOL_BATCH_HIGH_WINDOW_MS: '20',
            ASAN_OPTIONS: `log_path=${this.dir}/sanitizer`,
            TSAN_OPTIONS: `log_path=${this.dir}/sanitizer`,
            UBSAN_OPTIONS: `log_path=${this.dir}/sanitizer`,
            ...env,
        };
    }

    async start() {
        if (this.user.uid) for (const dir of [this.dir, this.storage]) fs.chownSync(dir, this.user.uid, this.user.gid);
        const log = fs.openSync(path.join(this.dir, 'workers.log'), 'a');
        this.workers = Array.from({ length: this.n }, (_, i) => {
            /* A worker knows mod_fcgid by the name of its socket. */
            const socket = path.join(this.dir, this.pool ? `pool${i}.sock` : `${process.pid}.${i}`);
            const [program, ...args] = [...this.command, path.join(BUILD, 'carpool.fcgi'), `--socket=${socket}`, ...this.args];
            const child = spawn(program, args, {
                env: this.env,
                stdio: ['ignore', log, log],
                ...this.user,
            });
            const exited = new Promise((resolve) => child.on('exit', (code, signal) => resolve({ code, signal })));
            return { socket, child, exited };
        });
        fs.closeSync(log);
        await until('all workers listen', () => this.workers.every((w) => isListening(w.socket)), 10000);
    }

    askAll(tag) {
        return Promise.all(
            this.workers.map((w, i) =>
                fcgiRequest(w.socket, 'POST', '/v1/query', {
                    request_id: `${tag}-${i}`,
                    prompt: `${tag} ${i}`,
                    priority: 'HIGH',
                }),
            ),
        );
    }

    processes(name) {
        return findProcesses('CARPOOL_STORAGE_DIR', this.storage).filter((p) => p.name === name);
    }
    read(...name) {
        try {
            return fs.readFileSync(path.join(this.dir, ...name), 'utf8');
        } catch {
            return '';
        }
    }
    workersLog() {
        return this.read('workers.log');
    }
    coordinatorLog() {
        return this.read('s', 'logs', 'coordinator.log');
    }

    /* Processor seconds of each worker with what it started and waited for; no children, zombies included. */
    inspectWorkers() {
        const parents = new Map();
        for (const pid of fs.readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
            try {
                const stat = fs.readFileSync(`/proc/${pid}/stat`, 'latin1');
                const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
                parents.set(Number(pid), { ppid: Number(fields[1]), ticks: fields.slice(11, 15).map(Number) });
            } catch {
                /* gone */
            }
        }
        return this.workers.map(({ child }) => ({
            cpuS: parents.get(child.pid).ticks.reduce((a, b) => a + b) / TICKS,
            children: [...parents.values()].filter((p) => p.ppid === child.pid).length,
        }));
    }

    async stop() {
        for (const w of this.workers ?? []) w.child.kill('SIGTERM');
        const ends = await Promise.all((this.workers ?? []).map((w) => w.exited));
        for (const { pid } of this.processes('carpoold')) process.kill(pid, 'SIGTERM');
        await until('no coordinator is left', () => this.processes('carpoold').length === 0, 10000);
        const reports = fs.readdirSync(this.dir).filter((name) => name.startsWith('sanitizer'));
        const said = reports.map((name) => this.read(name).slice(0, 3000));
        fs.rmSync(this.dir, { recursive: true, force: true });
        assert.deepEqual(said, []);
        for (const end of ends) assert.deepEqual(end, { code: 0, signal: null }, 'an idle worker leaves when told');
    }
}

/* A socket has its name a moment before it listens. Without connecting: that would be a request. */
function isListening(socket) {
    const lines = fs.readFileSync('/proc/net/unix', 'utf8').split('\n');
    return lines.some((line) => line.endsWith(` ${socket}`) && line.split(' ')[3] === '00010000');
}

module.exports = { Crowd };
