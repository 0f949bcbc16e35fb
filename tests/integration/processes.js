'use strict';
/* Which processes belong to a running instance, from /proc: those that carry its storage directory in their
 * environment. Used by the harness to kill, and to see that nothing is left over. */
const fs = require('node:fs');

function readProcess(pid) {
    try {
        const stat = fs.readFileSync(`/proc/${pid}/stat`, 'latin1');
        const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
        return {
            pid,
            ppid: Number(fields[1]),
            state: fields[0],
            name: stat.slice(stat.indexOf('(') + 1, stat.lastIndexOf(')')),
            args: fs.readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').filter(Boolean),
            environment: fs.readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0'),
        };
    } catch {
        return null;
    } /* it ended meanwhile, or belongs to somebody else */
}

function findProcesses(variable, value) {
    return fs
        .readdirSync('/proc')
        .filter((name) => /^\d+$/.test(name))
        .map((name) => readProcess(Number(name)))
        .filter((p) => p && p.state !== 'Z' && p.environment.includes(`${variable}=${value}`))
        .map(({ environment, ...p }) => p);
}

/* A zombie does not count as alive. */
function isAlive(pid) {
    const p = readProcess(pid);
    return p !== null && p.state !== 'Z';
}

module.exports = { findProcesses, isAlive };
