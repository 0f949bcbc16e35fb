'use strict';
/* Ends a whole instance as a power cut does. */
const { until } = require('../integration/harness');

function kill(pid) {
    try {
        process.kill(pid, 'SIGKILL');
    } catch {
        /* gone */
    }
}

/*
 * The coordinator first and at once: what it did not do by now, it never did. Again and again, since a worker may
 * have started another one just then, and a process in the middle of exec shows no environment to be known by.
 */
async function killAll(stack) {
    let looks = 0;
    await until('all are gone', () => {
        const coordinator = stack.coordinatorPid();
        if (coordinator) kill(coordinator);
        const others = stack.processes();
        for (const { pid } of others) kill(pid);
        looks = coordinator || others.length ? 0 : looks + 1;
        return looks === 4;
    });
}

module.exports = { killAll };
