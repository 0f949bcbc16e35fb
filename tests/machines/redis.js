'use strict';
/*
 * A real redis-server of a test: started in a temporary directory on loopback, killed, paused, restarted on the
 * same data or on none, and asked over its own protocol. By default it keeps what it acknowledges (appendonly
 * yes, appendfsync always).
 *
 *   const redis = await Redis.start({ password: 'secret', appendfsync: 'everysec', args: ['--cluster-enabled', 'yes'] });
 *   await redis.command('CONFIG', 'GET', 'appendfsync');
 *   await redis.kill(); redis.pause(); redis.resume(); await redis.launch(); redis.lose();
 */
const { spawn } = require('node:child_process');
const fs = require('node:fs');
const net = require('node:net');
const os = require('node:os');
const path = require('node:path');
const { freePort, until, isAlive } = require('../integration/harness');

const ANSWER_MS = 5000;

/* One reply at the start of text: {value, rest}, or null when it is not whole yet. */
function parseReply(bytes) {
    const end = bytes.indexOf('\r\n');
    if (end < 0) return null;
    const line = bytes.subarray(1, end).toString();
    let rest = bytes.subarray(end + 2);
    switch (String.fromCharCode(bytes[0])) {
        case '+':
            return { value: line, rest };
        case ':':
            return { value: Number(line), rest };
        case '-':
            return { value: new Error(line), rest };
        case '$': {
            const n = Number(line);
            if (n < 0) return { value: null, rest };
            if (rest.length < n + 2) return null;
            return { value: rest.subarray(0, n).toString(), rest: rest.subarray(n + 2) };
        }
        case '*': {
            const list = [];
            for (let i = 0; i < Number(line); i++) {
                const one = parseReply(rest);
                if (!one) return null;
                list.push(one.value);
                rest = one.rest;
            }
            return { value: list, rest };
        }
        default:
            throw new Error(`no reply of Redis: ${bytes.toString().slice(0, 80)}`);
    }
}

const running = new Set();
process.on('exit', () => {
    for (const redis of running) redis.signal('SIGKILL');
});

class Redis {
    /* password; appendfsync; socket: listen on a Unix socket only; args: further arguments of redis-server. */
    constructor(options = {}) {
        this.options = options;
        this.dir = fs.mkdtempSync(path.join(os.tmpdir(), 'cpr-'));
        this.socket = options.socket ? path.join(this.dir, 'redis.sock') : null;
    }

    static async start(options) {
        const redis = new this(options);
        await redis.launch();
        return redis;
    }

    /* As carpool takes it. password: another one than the right one. */
    url({ password = this.options.password } = {}) {
        const secret = password ? `:${password}@` : '';
        return this.socket ? `unix://${secret}${this.socket}` : `redis://${secret}127.0.0.1:${this.port}`;
    }

    /* Decides the port without starting: for a server that comes later. */
    async reserve() {
        this.port ??= this.socket ? 0 : await freePort();
    }

    async launch() {
        await this.reserve();
        const { password, appendfsync = 'always', args = [] } = this.options;
        const out = fs.openSync(path.join(this.dir, 'redis.log'), 'a');
        this.process = spawn(
            'redis-server',
            [
                ...['--port', String(this.port), '--bind', '127.0.0.1', '--dir', this.dir, '--save', ''],
                ...['--appendonly', 'yes', '--appendfsync', appendfsync],
                ...(this.socket ? ['--unixsocket', this.socket, '--unixsocketperm', '700'] : []),
                ...(password ? ['--requirepass', password] : []),
                ...args,
            ],
            { stdio: ['ignore', out, out] },
        );
        fs.closeSync(out);
        running.add(this);
        this.exited = new Promise((resolve) => {
            this.process.on('exit', resolve);
            this.process.on('error', resolve);
        });
        await until(`redis-server answers (${this.dir})`, async () => {
            if (this.process.exitCode !== null || !this.process.pid) {
                const log = fs.readFileSync(path.join(this.dir, 'redis.log'), 'utf8').slice(-500);
                throw Object.assign(new Error(`it ended: ${log}`), { final: true });
            }
            return (await this.command('PING')) === 'PONG';
        });
    }

    signal(name) {
        if (this.process?.pid && isAlive(this.process.pid)) this.process.kill(name);
    }
    pause() {
        this.signal('SIGSTOP');
    }
    resume() {
        this.signal('SIGCONT');
    }
    async kill() {
        this.signal('SIGKILL');
        await this.exited;
        running.delete(this);
    }
    /* After kill(): what it kept is gone. */
    lose() {
        fs.rmSync(path.join(this.dir, 'appendonlydir'), { recursive: true, force: true });
        fs.rmSync(path.join(this.dir, 'dump.rdb'), { force: true });
    }
    async stop() {
        await this.kill();
        fs.rmSync(this.dir, { recursive: true, force: true });
    }

    /* One command over a connection of its own; an error of the server rejects. */
    async command(...words) {
        const { password } = this.options;
        const commands = [...(password ? [['AUTH', password]] : []), words];
        const socket = this.socket ? net.connect(this.socket) : net.connect(this.port, '127.0.0.1');
        const request = commands
            .map((c) => `*${c.length}\r\n${c.map((w) => `$${Buffer.byteLength(String(w))}\r\n${w}\r\n`).join('')}`)
            .join('');
        const replies = await new Promise((resolve, reject) => {
            let bytes = Buffer.alloc(0);
            const list = [];
            socket.setTimeout(ANSWER_MS, () => socket.destroy(new Error(`Redis did not answer ${words[0]}`)));
            socket.on('error', reject);
            socket.on('close', () => reject(new Error(`Redis closed the connection before it answered ${words[0]}`)));
            socket.on('data', (chunk) => {
                bytes = Buffer.concat([bytes, chunk]);
                for (let one; list.length < commands.length && bytes.length && (one = parseReply(bytes)); bytes = one.rest)
                    list.push(one.value);
                if (list.length === commands.length) resolve(list);
            });
            socket.write(request);
        }).finally(() => socket.destroy());
        const wrong = replies.find((reply) => reply instanceof Error);
        if (wrong) throw wrong;
        return replies.at(-1);
    }

    /* Every command from now on as the server gets it, arguments included: {text(), close()}. */
    async monitor() {
        const socket = this.socket ? net.connect(this.socket) : net.connect(this.port, '127.0.0.1');
        let text = '';
        socket.on('error', () => {});
        socket.on('data', (chunk) => (text += chunk.toString('latin1')));
        socket.write('MONITOR\r\n');
        await until('Redis tells what it is told', () => text.startsWith('+OK'));
        return { text: () => text, close: () => socket.destroy() };
    }

    /* Everything it has on disk, as one text, to look for what must not be there. */
    onDisk() {
        const files = fs
            .readdirSync(this.dir, { recursive: true, withFileTypes: true })
            .filter((entry) => entry.isFile())
            .map((entry) => fs.readFileSync(path.join(entry.parentPath ?? entry.path, entry.name), 'latin1'));
        return files.join('\n');
    }
}

module.exports = { Redis };
