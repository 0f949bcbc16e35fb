'use strict';
/* The coordinator's socket vanishes under it (a cleaner of temporary files, a wrong rm): prompts are served
 * again by themselves, and /health does not call that well as long as they are not. */
const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { useStack, until } = require('./harness');

const s = useStack({ env: { CARPOOL_BATCH_HIGH_WINDOW_MS: '20' } });

s.test('the coordinator brings its socket back when it is removed', async () => {
    const ask = (prompt) => s.ask(prompt, { priority: 'HIGH' }, { fresh: true, check: false });
    assert.equal((await ask('before')).status, 200);
    fs.unlinkSync(path.join(s.storage, 'coordinator.sock'));
    const first = await ask('just after');
    if (first.status !== 200) {
        const health = await s.get('/health', { check: false });
        assert.equal(health.status, 503, `prompts are refused (${first.status}), /health says ${health.text}`);
    }
    await until('prompts are served again', async () => (await ask('again')).status === 200, 5000);
});
