'use strict';
/*
 * Which processes belong to a running instance, from /proc: those that carry its storage directory in their
 * environment. Used by the harness to kill, and to see that nothing is left over. Carpool's programs close themselves
 * to tracing, so that only root may read theirs; to others, one belongs to the instance that holds the lock there, has a
 * parent that belongs to it, or did so when it was seen before.
 */
const fs = require('node:fs');
const path = require('node:path');

function environmentOf(pid) {
    try {
        return fs.readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0');
    } catch (e) {
        if (e.code === 'EACCES') return null;
        throw e;
    }
}

function readProcess(pid) {
    try {
        const stat = fs.readFileSync(`/proc/${pid}/stat`, 'latin1');
        const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
        return {
            pid,
            ppid: Number(fields[1]),
            state: fields[0],
            born: fields[19],
            name: stat.slice(stat.indexOf('(') + 1, stat.lastIndexOf(')')),
            args: fs.readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').filter(Boolean),
            environment: environmentOf(pid),
        };
    } catch {
        return null;
    } /* it ended meanwhile, or belongs to somebody else */
}

/* A pool brings back its own parent as nobody's child, but says whose it is. */
const belongsTo = (p, pid) => p.ppid === pid || p.args.includes(`--server=${pid}`);

const seen = new Map(); /* by the value looked for: "pid born" of those whose environment cannot be read */

/* Adds to found those of closed that belong to it by what else is known. */
function addClosed(found, closed, value) {
    if (!seen.has(value)) seen.set(value, new Set());
    const known = seen.get(value);
    let holder = 0;
    try {
        holder = Number.parseInt(fs.readFileSync(path.join(value, 'coordinator.lock'), 'utf8'), 10);
    } catch {
        /* none yet */
    }
    for (let before = -1; before !== found.length; ) {
        before = found.length;
        for (const p of closed.filter((c) => !found.includes(c)))
            if (p.pid === holder || known.has(`${p.pid} ${p.born}`) || found.some((of) => belongsTo(p, of.pid))) found.push(p);
    }
    for (const p of found) if (!p.environment) known.add(`${p.pid} ${p.born}`);
}

function findProcesses(variable, value) {
    const all = fs
        .readdirSync('/proc')
        .filter((name) => /^\d+$/.test(name))
        .map((name) => readProcess(Number(name)))
        .filter((p) => p && p.state !== 'Z');
    const found = all.filter((p) => p.environment?.includes(`${variable}=${value}`));
    const closed = all.filter((p) => !p.environment && /^carpool/.test(p.name));
    if (closed.length) addClosed(found, closed, value);
    return found.map(({ environment, born, ...p }) => p);
}

/* A zombie does not count as alive. */
function isAlive(pid) {
    const p = readProcess(pid);
    return p !== null && p.state !== 'Z';
}

module.exports = { findProcesses, isAlive };
