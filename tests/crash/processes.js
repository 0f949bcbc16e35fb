'use strict';
/* Ends a whole instance as a power cut does. */
const { until } = require('../integration/harness');

/* The coordinator first: what it did not do by now, it never did. Again and again,
 * since a worker may have started another one just then, and a process in the middle of exec shows no environment
 * to be known by. */
async function killAll(stack) {
    let looks = 0;
    await until('all are gone', () => {
        const pids = [stack.coordinatorPid(), ...stack.processes().map((p) => p.pid)].filter(Boolean);
        for (const pid of pids) {
            try {
                process.kill(pid, 'SIGKILL');
            } catch {
                /* gone */
            }
        }
        looks = pids.length ? 0 : looks + 1;
        return looks === 4;
    });
}

module.exports = { killAll };
