// The seed of a random run: SEED when it is given, else one that follows from the committed code under test. So the runs
// of the same code throw the same dice, whatever happens to its tests, other code throws others, and a checkout without git
// throws any.
'use strict';
const { execFileSync } = require('node:child_process');
const { createHash } = require('node:crypto');
const path = require('node:path');

const CODE = ['lib', 'fcgi_app'];

function seedOf(given) {
    if (given && !/^\d+$/.test(given)) throw new Error(`SEED=${given} is not a whole number.`);
    if (given) return Number(given);
    try {
        const cwd = path.join(__dirname, '..');
        const trees = execFileSync('git', ['ls-tree', 'HEAD', ...CODE], { cwd, stdio: ['ignore', 'pipe', 'ignore'] });
        return createHash('sha256').update(trees).digest().readUInt32BE() >>> 4;
    } catch {
        return Math.floor(Math.random() * 1e9);
    }
}

module.exports = { SEED: seedOf(process.env.SEED) };
