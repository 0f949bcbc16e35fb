'use strict';
/*
 * Every crash point of the coordinator: kill -9 on entering the Nth call of each kind that leaves a trace
 * outside the process, for every N of a fixed scenario (visit.js), and of a start that has much to recover. The
 * points are counted in runs without injection first, each thread for itself. Of the worker: write and sendto.
 *
 *   POINTS=run:commit:fdatasync:4   that point only (more with commas)
 *   POINTS=run:commit:              every point whose name begins like that
 *   LANES=2                         visits at a time
 *   STOP=1                          end at the first violation
 */
const { performance } = require('node:perf_hooks');
const { inParallel } = require('../integration/harness');
const { Visit } = require('./visit');

/* What lmdb, libcurl, libuv and the coordinator itself use to write, sync, send and rename; those that a dry run
 * does not meet cost nothing. */
const SYSCALLS = [
    'pwrite64',
    'pwritev',
    'fdatasync',
    'fsync',
    'msync',
    'ftruncate',
    'write',
    'writev',
    'sendto',
    'sendmsg',
    'rename',
    'unlink',
    'mkdir',
];
const WORKER_SYSCALLS = ['write', 'sendto'];
/* Timers shift a call from one turn of the loop into another, so that now and then a run has one less. */
const MISSED_MOST = 0.05;

const nameOf = ({ phase, thread, syscall, n }) => `${phase}:${thread}:${syscall}:${n}`;

/* counts: [{phase, thread, syscall, calls}] */
function enumerate(counts) {
    return counts.flatMap(({ phase, thread, syscall, calls }) =>
        Array.from({ length: calls }, (_, i) => ({ phase, thread, syscall, n: i + 1 })),
    );
}

function choose(points, wanted) {
    const fits = (name, w) => name === w || (w.endsWith(':') && name.startsWith(w));
    return points.filter((point) => !wanted || wanted.split(',').some((w) => fits(nameOf(point), w)));
}

async function main() {
    const started = performance.now();
    const counts = await Visit.count(SYSCALLS, WORKER_SYSCALLS);
    const all = enumerate(counts);
    const points = choose(all, process.env.POINTS);
    for (const phase of ['start', 'recover', 'run', 'worker']) {
        const kinds = counts.filter((c) => c.phase === phase);
        const total = kinds.reduce((n, c) => n + c.calls, 0);
        console.log(`${phase}: ${total} points (${kinds.map((c) => `${c.thread} ${c.syscall} ${c.calls}`).join(', ')})`);
    }
    console.log(`visiting ${points.length} of ${all.length} points`);

    const seen = { passed: 0, failed: 0, missed: [] };
    await inParallel(points.length, Number(process.env.LANES || 2), async (i) => {
        if (process.env.STOP && seen.failed) return;
        const name = nameOf(points[i]);
        let result;
        try {
            result = await Visit.run(points[i]);
        } catch (e) {
            result = { reached: true, faults: [e.stack] };
        }
        if (!result.reached) seen.missed.push(name);
        if (!result.faults.length) return seen.passed++;
        seen.failed++;
        console.log(`FAIL ${name}  (again: make crash-points POINTS=${name})`);
        console.log(result.faults.join('\n').replace(/^/gm, '    '));
    });

    if (seen.missed.length) console.log(`not reached: ${seen.missed.join(' ')}`);
    if (seen.missed.length > Math.max(2, points.length * MISSED_MOST)) {
        seen.failed++;
        console.log('FAIL too many points were not reached: the counts are no longer those of the scenario');
    }
    console.log(`${((performance.now() - started) / 1000).toFixed(0)} s`);
    console.log(`${seen.passed} passed, ${seen.failed} failed`);
    process.exitCode = seen.failed ? 1 : 0;
}

main().catch((e) => {
    console.log(e.stack);
    console.log('0 passed, 1 failed');
    process.exit(1);
});
