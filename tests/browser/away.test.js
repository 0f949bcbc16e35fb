'use strict';
/* The server stopped and back: what is said, what is tried again by itself and on request, and nothing typed is lost. */
const assert = require('node:assert/strict');
const { useBrowser, assertAccessible } = require('./browser');
const { until } = require('../integration/harness');

const b = useBrowser({ env: { CARPOOL_BATCH_MEDIUM_WINDOW_MS: '20' } });

/* lighttpd and all workers as an administrator stops them; the coordinator ends by itself or stays. */
async function stopServer(stack) {
    stack.front.kill('SIGTERM');
    await stack.frontExit;
    await until('the workers are gone', () => !stack.processes().some((p) => p.name === 'carpool.fcgi'), 10000);
}
async function startServer(stack) {
    await stack.launch();
    await until('it is back', async () => (await stack.get('/health', { check: false })).status === 200, 10000);
}

for (const view of ['analytics', 'settings', 'overview'])
    b.test(`${view}: away and back`, async (visitor, stack) => {
        visitor.excuse(/Failed to load resource: net::ERR_/);
        const page = await visitor.open(`/#${view}`);
        await page.locator(`#view-${view}`).waitFor();
        const window = page.getByRole('group', { name: 'Window' }).getByLabel('Low', { exact: true });
        if (view === 'settings') {
            await window.fill('3210');
            await page.getByText('1 unsaved change').waitFor();
        }
        if (view === 'overview') await page.getByText('Well', { exact: true }).waitFor();

        await stopServer(stack);
        try {
            await page.getByRole('alert').filter({ hasText: 'The server cannot be reached.' }).first().waitFor({ timeout: 30000 });
            if (view === 'settings') {
                await page.getByRole('button', { name: 'Save', exact: true }).click();
                await page.getByText('Nothing was saved.').waitFor();
                assert.equal(await window.inputValue(), '3210');
            }
            if (view === 'overview') {
                await page.getByRole('textbox', { name: 'Prompt' }).fill('Anyone there?');
                await page.getByRole('button', { name: 'Send', exact: true }).click();
                await page.getByText('There is no answer; below it says why.').waitFor();
                assert.equal(await page.getByRole('textbox', { name: 'Prompt' }).inputValue(), 'Anyone there?');
            }
            await assertAccessible(page, `${view} without a server`);
        } finally {
            await startServer(stack);
        }

        /* By itself within its interval, sooner on request. */
        const again = page.getByRole('button', { name: 'Try again' });
        if (view === 'analytics' && (await again.first().isVisible())) await again.first().click();
        await page
            .getByRole('region', { name: 'Notices' })
            .getByText('cannot be reached')
            .waitFor({ state: 'detached', timeout: 30000 });
        if (view !== 'overview') /* where answers are kept, the missing one is, too */
            await page.getByRole('alert').filter({ hasText: 'cannot be reached' }).waitFor({ state: 'detached', timeout: 30000 });
        if (view === 'settings') {
            assert.equal(await window.inputValue(), '3210', 'what was typed is still there');
            await page.getByRole('button', { name: 'Save', exact: true }).click();
            await page.getByRole('status').filter({ hasText: 'and in force' }).waitFor();
            assert.equal((await stack.get('/v1/settings')).json.low_priority.window_ms, 3210);
        }
        if (view === 'overview') {
            await page.getByRole('button', { name: 'Send', exact: true }).click();
            await page.getByText('Processed: Anyone there?').first().waitFor();
        }
    });

b.test('a device without network says so', async (visitor) => {
    visitor.excuse(/Failed to load resource: net::ERR_/);
    const page = await visitor.open('/#settings');
    await page.getByRole('heading', { name: 'Provider', exact: true }).waitFor();
    await visitor.context.setOffline(true);
    await page.getByRole('alert').filter({ hasText: 'offline' }).first().waitFor({ timeout: 30000 });
    await visitor.context.setOffline(false);
    await page.getByRole('alert').filter({ hasText: 'offline' }).first().waitFor({ state: 'detached', timeout: 30000 });
});
