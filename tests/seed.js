// The seed of a random run: SEED when it is given, else the commit's own. So the runs of one commit throw the same dice,
// each commit throws new ones, and a checkout without git throws any.
'use strict';
const { execFileSync } = require('node:child_process');

function seedOf(given) {
    if (given && !/^\d+$/.test(given)) throw new Error(`SEED=${given} is not a whole number.`);
    if (given) return Number(given);
    try {
        const commit = execFileSync('git', ['rev-parse', 'HEAD'], { cwd: __dirname, stdio: ['ignore', 'pipe', 'ignore'] });
        return Number.parseInt(commit.toString().slice(0, 7), 16);
    } catch {
        return Math.floor(Math.random() * 1e9);
    }
}

module.exports = { SEED: seedOf(process.env.SEED) };
