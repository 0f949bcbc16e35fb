'use strict';
/* carpoolctl in integration tests: run with the environment of a stack, without waiting in the way of servers. */
const { spawn } = require('node:child_process');
const path = require('node:path');
const { BUILD, ROOT, STRETCH } = require('./harness');

const PROGRAM = path.join(BUILD, 'carpoolctl');

/* {status, out, err, json}. input: for standard input; stdout: a descriptor instead of a pipe. */
function ctl(stack, args, { input = '', env = {}, stdout = 'pipe', uid, program = PROGRAM } = {}) {
    return new Promise((resolve, reject) => {
        const child = spawn(program, args, {
            cwd: ROOT,
            env: { ...stack.environment(), ...env },
            stdio: ['pipe', stdout, 'pipe'],
            ...(uid !== undefined && { uid, gid: uid }),
        });
        const result = { out: '', err: '' };
        const timer = setTimeout(() => child.kill('SIGKILL'), 60000 * STRETCH);
        child.stdout?.on('data', (bytes) => (result.out += bytes));
        child.stderr.on('data', (bytes) => (result.err += bytes));
        child.on('error', reject);
        child.on('close', (status, signal) => {
            clearTimeout(timer);
            try {
                result.json = JSON.parse(result.out);
            } catch {
                /* it was none */
            }
            resolve({ ...result, status, signal });
        });
        child.stdin.on('error', () => {});
        child.stdin.end(input);
    });
}

/* Makes a key and gives {id, key}. */
async function makeKey(stack, ...args) {
    const made = await ctl(stack, ['key', 'create', '--json', ...args]);
    if (made.status !== 0) throw new Error(`key create ended with ${made.status}: ${made.err}`);
    return made.json;
}

module.exports = { ctl, makeKey, PROGRAM };
