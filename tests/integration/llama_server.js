'use strict';
/* A real llama-server for tests and the bench: LLAMA_SERVER is the command, LLAMA_MODEL a model file. */
const { spawn, execFileSync } = require('node:child_process');
const fs = require('node:fs');

const { LLAMA_SERVER, LLAMA_MODEL } = process.env;
const missing = LLAMA_SERVER && LLAMA_MODEL ? false : 'LLAMA_SERVER and LLAMA_MODEL are not set';

const running = new Set();
process.on('exit', () => running.forEach((server) => server.kill()));

class LlamaServer {
    /* at: a port, or the path of a socket; slots and context (of each) as -np and -c; slow: it takes seconds to load
     * its model (by strace). */
    constructor(at, { slots = 16, context = 256, slow = false } = {}) {
        const host = typeof at === 'string' ? ['--host', at] : ['--host', '127.0.0.1', '--port', String(at)];
        const sizes = ['-np', String(slots), '-c', String(slots * context), '-t', '1', '-tb', '1', '-cram', '0'];
        const what = ['-m', LLAMA_MODEL, '--alias', 'stories15m', '--offline', '--no-ui'];
        const delay = slow ? ['strace', '-f', '-qq', '-e', 'trace=mmap', '-e', 'inject=mmap:delay_enter=20000'] : [];
        const [program, ...args] = [...delay, ...LLAMA_SERVER.split(' '), ...what, ...host, ...sizes];
        this.url = typeof at === 'string' ? null : `http://127.0.0.1:${at}`;
        this.socket = typeof at === 'string' ? at : null;
        this.process = spawn(program, args, { stdio: 'ignore', detached: true });
        this.exited = new Promise((resolve) => this.process.on('exit', resolve).on('error', resolve));
        running.add(this);
    }

    /* The status of GET /health; 0: nobody is there. */
    async health() {
        if (this.socket) return fs.existsSync(this.socket) ? 200 : 0;
        try {
            return (await fetch(`${this.url}/health`)).status;
        } catch {
            return 0;
        }
    }

    kill(signal = 'SIGKILL') {
        running.delete(this);
        try {
            process.kill(-this.process.pid, signal);
        } catch {
            /* it is gone, or never started */
        }
        return this.exited;
    }
}

function hasStrace() {
    try {
        execFileSync('strace', ['-V'], { stdio: 'ignore' });
        return true;
    } catch {
        return false;
    }
}

module.exports = { LlamaServer, missing, hasStrace };
