'use strict';
/*
 * What a site on shared hosting can set by itself: the configuration named by FcgidWrapper in .htaccess, keys
 * in headers, and a coordinator that leaves when nobody needs it and comes back with the next prompt.
 */
const { test, before, after } = require('node:test');
const assert = require('node:assert/strict');
const { until, isAlive, STRETCH } = require('../integration/harness');
const { ApacheStack } = require('./apache_stack');

let s;
const it = (name, body) =>
    test(name, { timeout: 60000 * STRETCH }, async (t) => {
        try {
            await body(t);
        } catch (e) {
            for (const line of s.logs().split('\n')) t.diagnostic(line);
            throw e;
        }
    });

before(async () => {
    s = await ApacheStack.start({
        wrapper: true,
        mpm: 'prefork',
        conf: '[batch_high]\nwindow_ms = 50\n[coordinator]\nidle_exit_s = 2\n[server]\napp_name = named by the wrapper\n',
    });
});
after(() => s?.stop());

it('the configuration that FcgidWrapper names is in force, for the coordinator too', async () => {
    const res = await s.ask('hello', { priority: 'HIGH' });
    assert.equal(res.status, 200, res.text);
    const health = (await s.get('/health')).json;
    assert.equal(health.service, 'named by the wrapper');
    const coordinator = s.processes().find((p) => p.name === 'carpoold');
    assert.ok(coordinator.args.includes(`--config=${s.dir}/private/my.conf`), coordinator.args.join(' '));
});

it('the coordinator leaves when nothing is asked, also when Apache has stopped, and comes back', async () => {
    assert.equal((await s.ask('hello', { priority: 'HIGH' })).status, 200);
    const first = s.coordinatorPid();
    await until('it has left', () => !isAlive(first), 10000);
    assert.equal((await s.get('/health')).json.dependencies.coordinator.status, 'idle');
    assert.equal((await s.ask('hello again', { priority: 'HIGH' })).status, 200);
    const second = s.coordinatorPid();
    assert.notEqual(second, first);
    s.front.kill('SIGTERM');
    await s.frontExit;
    await until('nothing is left', () => s.processes().length === 0, 10000);
});
