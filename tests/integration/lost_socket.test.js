'use strict';
/* The coordinator's socket vanishes under it (a cleaner of temporary files, a wrong rm): prompts are served
 * again by themselves, and /health does not call that well as long as they are not. */
const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { useStack, until, sleep } = require('./harness');

const s = useStack({ env: { CARPOOL_BATCH_HIGH_WINDOW_MS: '20' } });

s.test('the coordinator brings its socket back when it is removed', async () => {
    const ask = (prompt) => s.ask(prompt, { priority: 'HIGH' }, { fresh: true, check: false });
    assert.equal((await ask('before')).status, 200);
    fs.unlinkSync(path.join(s.storage, 'coordinator.sock'));
    /* What is refused before and after /health was asked was so while it was. */
    await until('prompts are served again', async () => {
        if ((await ask('just after')).status === 200) return true;
        await sleep(300); /* as long as a word of /health is kept */
        const health = await s.get('/health', { check: false });
        const after = await ask('again');
        if (after.status === 200) return true;
        if (health.status === 503) return false;
        throw Object.assign(new Error(`prompts are refused (${after.status}), /health says ${health.text}`), { final: true });
    });
});
