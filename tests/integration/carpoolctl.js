'use strict';
/* carpoolctl on a stack of a test: keys made, replaced and revoked as an administrator would. */
const { execFile } = require('node:child_process');
const path = require('node:path');
const { promisify } = require('node:util');
const { until, BUILD, ROOT, STRETCH } = require('./harness');

/* carpoolctl with these arguments; gives what it prints. A coordinator that it had to start has left again. */
async function ctl(stack, ...args) {
    const running = stack.coordinatorPid();
    const options = { cwd: ROOT, env: stack.environment(), timeout: 20000 * STRETCH };
    const { stdout } = await promisify(execFile)(path.join(BUILD, 'carpoolctl'), args, options);
    if (!running) await until('its coordinator has left', () => !stack.coordinatorPid());
    return stdout.trim();
}

const createKey = (stack, role, label) => ctl(stack, 'key', 'create', '--role', role, '--label', label);
const rotateKey = (stack, label, grace = '0s') => ctl(stack, 'key', 'rotate', label, '--grace', grace);
const revokeKey = (stack, label) => ctl(stack, 'key', 'revoke', label);

module.exports = { ctl, createKey, rotateKey, revokeKey };
