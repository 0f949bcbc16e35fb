// Prints the event log for people: follow.js EVENTS@BYTES LOG@BYTES…. Follows each file from that offset, across
// rotation, and writes one readable line an event (with source 2's tags) or server complaint. When more happens
// than anyone can read, the rest of that moment is counted instead. etc/run starts it; SIGTERM ends it.
'use strict';
const fs = require('fs');

const POLL_MS = 100;
const LINES_A_POLL = 60;
const READ_MAX = 4 << 20; // bytes a poll; a longer backlog waits for the next one
const LINE_MAX = 1 << 20;

class Follower {
    constructor(place, print) {
        const at = place.lastIndexOf('@');
        this.path = place.slice(0, at);
        this.print = print(this.path);
        this.fd = -1;
        this.rest = '';
        this.open(Number(place.slice(at + 1)));
    }

    open(offset) {
        try {
            this.fd = fs.openSync(this.path, 'r');
        } catch {
            return;
        }
        const stat = fs.fstatSync(this.fd);
        this.inode = stat.ino;
        this.offset = offset;
    }

    // Whole lines written since the last call.
    read() {
        const buffer = Buffer.alloc(64 << 10);
        const chunks = [];
        let got = 0;
        let n;
        while (got < READ_MAX && (n = fs.readSync(this.fd, buffer, 0, buffer.length, this.offset)) > 0) {
            chunks.push(Buffer.from(buffer.subarray(0, n)));
            this.offset += n;
            got += n;
        }
        if (got === 0) {
            return [];
        }
        // latin1 keeps a character that is split between two reads whole until its line is complete.
        const lines = (this.rest + Buffer.concat(chunks).toString('latin1')).split('\n');
        this.rest = lines.pop().slice(0, LINE_MAX);
        return lines.filter((line) => line !== '').map((line) => Buffer.from(line, 'latin1').toString('utf8'));
    }

    // The file behind the name is another one, or was cut: go on with that one from its start.
    replaced() {
        try {
            const stat = fs.statSync(this.path);
            return stat.ino !== this.inode || stat.size < this.offset;
        } catch {
            return false; // between the renames of a rotation
        }
    }

    poll() {
        if (this.fd < 0) {
            this.open(0);
            if (this.fd < 0) {
                return;
            }
        }
        const lines = this.read();
        this.print(lines);
        if (lines.length === 0 && this.replaced()) {
            fs.closeSync(this.fd);
            this.fd = -1;
            this.rest = '';
            this.open(0);
        }
    }
}

const out = [];

function limited(describe) {
    return (path) => (lines) => {
        const texts = [];
        let hidden = 0;
        for (const line of lines) {
            const text = texts.length < LINES_A_POLL ? describe(line) : null;
            if (text) {
                texts.push(text);
            } else if (texts.length >= LINES_A_POLL) {
                hidden++;
            }
        }
        out.push(...texts);
        if (hidden > 0) {
            out.push(`(${hidden} more lines in this moment; all are in ${path})`);
        }
    };
}

const clean = (value) => String(value).replace(/[\u0000-\u001f\u007f-\u009f]/g, ' ').slice(0, 300);
const seconds = (ms) => `${(ms / 1000).toFixed(1)} s`;
const plural = (n, word) => `${n} ${word}${n === 1 ? '' : 's'}`;
const has = (value) => value !== undefined && value !== null && value !== '';

function clock(time) {
    const date = new Date(time);
    if (Number.isNaN(date.getTime())) {
        return '--:--:--.---';
    }
    const two = (n) => String(n).padStart(2, '0');
    const ms = String(date.getMilliseconds()).padStart(3, '0');
    return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}.${ms}`;
}

const describers = {
    ENQUEUE: (e) => [e.request_id, has(e.waiting) && `(${e.waiting} waiting)`],
    DISPATCH: (e) => [has(e.n) && plural(e.n, 'prompt'), waited(e)],
    BATCH_START: (e) => [
        has(e.n) && plural(e.n, 'prompt'),
        has(e.provider) && `to ${list([e.provider, e.model, e.mode && `(${e.mode})`], ' ')}`,
        has(e.batch_id) && `batch ${e.batch_id}`,
    ],
    RETRY: (e) => [has(e.n) && plural(e.n, 'prompt'), `attempt ${e.attempt} in ${seconds(e.delay_ms)}`],
    LLM_BATCH: (e) => [
        list([
            list([e.provider, e.model], ' '),
            has(e.n) && has(e.answered) && `${e.answered} of ${plural(e.n, 'prompt')} answered`,
            has(e.status) && `status ${e.status}`,
            has(e.call_ms) && `${Math.round(e.call_ms)} ms`,
            has(e.tokens) && plural(e.tokens, 'token'),
        ]),
        has(e.batch_id) && `batch ${e.batch_id}`,
    ],
    BATCH_COMPLETE: (e) => [
        list([
            has(e.n) && `${plural(e.n, 'prompt')}${has(e.calls) ? ` in ${plural(e.calls, 'call')}` : ''}`,
            has(e.total_ms ?? e.call_ms) && `${Math.round(e.total_ms ?? e.call_ms)} ms`,
            e.failed > 0 && `${e.failed} failed`,
        ]),
        waited(e),
    ],
};

const list = (parts, separator = ', ') => parts.filter(Boolean).join(separator);

function waited(e) {
    const text = list([has(e.waited_ms) && `waited ${seconds(e.waited_ms)}`, e.reason]);
    return text && `(${text})`;
}

function describeEvent(line) {
    let e;
    try {
        e = JSON.parse(line);
    } catch {
        return null;
    }
    if (e === null || typeof e !== 'object' || !has(e.event)) {
        return null;
    }
    const describe = describers[e.event] || ((x) => [x.batch_id, x.request_id]);
    const parts = [e.priority, ...describe(e), has(e.error) && `error: ${e.error}`];
    return clean(`${clock(e.time)} [${e.event}] ${list(parts, ' ')}`);
}

// The programs log JSON lines; lighttpd logs "2026-01-31 12:00:00: (file.c.123) text".
function describeServer(line) {
    if (!line.startsWith('{')) {
        return /\(server\.c\.\d+\) (server (started|stopped)|\[note\] graceful)|child exited: 0|\(gw_backend\.c\.510\)/.test(line)
            ? null
            : clean(`[SERVER] ${line}`);
    }
    try {
        const e = JSON.parse(line);
        return e.level === 'debug' ? null : clean(list([`${clock(e.time)} [${String(e.level).toUpperCase()}] ${e.program}:`, e.message, has(e.request_id) && `(request ${e.request_id})`], ' '));
    } catch {
        return clean(`[SERVER] ${line}`);
    }
}

function main([events, ...logs]) {
    const followers = [
        new Follower(events, limited(describeEvent)),
        ...logs.map((log) => new Follower(log, limited(describeServer))),
    ];
    const tick = () => {
        for (const follower of followers) {
            follower.poll();
        }
        if (out.length > 0) {
            process.stdout.write(out.splice(0).join('\n') + '\n');
        }
    };
    process.stdout.on('error', () => process.exit(0));
    process.on('SIGTERM', () => {
        tick();
        process.exit(0);
    });
    setInterval(tick, POLL_MS);
}

main(process.argv.slice(2));
