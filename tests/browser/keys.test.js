'use strict';
/* The key of whoever reads the pages: asked for where it is needed, and nowhere but in the memory of the page. */
const assert = require('node:assert/strict');
const { useBrowser, assertAccessible } = require('./browser');

const CLIENT = 'client-key-of-the-browser-tests-01';
const ADMIN = 'admin-key-of-the-browser-tests-02';

const b = useBrowser({ env: { API_KEY: CLIENT, ADMIN_KEY: ADMIN, CARPOOL_BATCH_MEDIUM_WINDOW_MS: '20' } });

const dialog = (page) => page.getByRole('dialog', { name: 'Your API key' });

async function enter(page, key) {
    await dialog(page).getByLabel('Key', { exact: true }).fill(key);
    await dialog(page).getByRole('button', { name: 'Use this key' }).click();
}

/* No storage of any kind, cookie, address or title has one of the keys. */
async function assertNowhere(page, visitor) {
    const kept = await page.evaluate(async () => {
        const databases = (await indexedDB.databases?.()) ?? [];
        const caches_ = 'caches' in window ? await caches.keys() : [];
        return JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie, databases, caches_, location.href, document.title, history.state, name]);
    });
    const html = await page.content();
    for (const key of [CLIENT, ADMIN]) {
        assert.ok(!kept.includes(key), kept);
        assert.ok(!html.includes(key), 'in the document');
        for (const request of visitor.requests) assert.ok(!request.url().includes(key), request.url());
    }
    assert.deepEqual(await visitor.context.cookies(), []);
}

b.test('the request for a program has a key where one is needed', async (visitor) => {
    visitor.excuse(/status of 401/);
    const page = await visitor.open('/');
    await page.locator('#curl-key').waitFor();
    assert.match(await page.locator('pre', { hasText: 'curl' }).innerText(), /json' \\\n {2}-H 'X-API-Key: …' \\\n {2}-d/);
});

b.test('each view says that it needs a key, and comes to life with the right one', async (visitor) => {
    visitor.excuse(/status of 40[13]/);
    for (const view of ['analytics', 'settings']) {
        const page = await visitor.open(`/#${view}`);
        const said = page.getByRole('alert').filter({ hasText: 'A key is needed' });
        await said.first().waitFor();
        await assertAccessible(page, `${view} without a key`);

        await said.first().getByRole('button', { name: 'Enter a key' }).click();
        await dialog(page).waitFor();
        await assertAccessible(page, 'the key dialog');
        await enter(page, 'a-wrong-key');
        await said.first().waitFor();

        /* A key for prompts is not enough here. */
        await page.getByRole('button', { name: 'Key in use' }).click();
        await enter(page, CLIENT);
        await page.getByRole('alert').filter({ hasText: 'Not allowed' }).first().waitFor();

        await page.getByRole('button', { name: 'Key in use' }).click();
        await enter(page, ADMIN);
        await page.getByRole('alert').filter({ hasText: /key/i }).first().waitFor({ state: 'detached' });
        if (view === 'settings') await page.getByRole('heading', { name: 'Provider', exact: true }).waitFor();
        await assertNowhere(page, visitor);
        await page.close();
    }
});

b.test('a prompt with and without a key', async (visitor) => {
    visitor.excuse(/status of 40[13]/); /* the second for settings, which are not for this key */
    const page = await visitor.open('/');
    await page.getByRole('textbox', { name: 'Prompt' }).fill('Who am I?');
    await page.getByRole('button', { name: 'Send', exact: true }).click();
    await page.getByRole('alert').getByRole('button', { name: 'Enter a key' }).click();
    await enter(page, CLIENT);
    await page.getByRole('button', { name: 'Send', exact: true }).click();
    await page.getByText('Processed: Who am I?').first().waitFor();
    await assertNowhere(page, visitor);

    /* One document, so the key stays while one moves about; it is gone after a reload. */
    const pages = page.getByRole('navigation', { name: 'Pages' });
    await pages.getByRole('link', { name: 'Settings' }).click();
    await pages.getByRole('link', { name: 'Overview' }).click();
    await page.getByRole('button', { name: 'Key in use' }).waitFor();
    await page.reload();
    await page.getByRole('button', { name: 'API key', exact: true }).waitFor();
});

b.test('what cannot be a key is refused in the dialog; Escape and Cancel leave it', async (visitor) => {
    visitor.excuse(/status of 401/);
    const page = await visitor.open('/');
    const open = page.getByRole('button', { name: 'API key', exact: true });
    await open.click();
    const field = dialog(page).getByLabel('Key', { exact: true });
    assert.equal(await field.getAttribute('type'), 'password');
    await dialog(page).getByRole('button', { name: 'Use this key' }).click();
    await dialog(page).getByRole('alert').getByText('Please type or paste a key.').waitFor();
    await enter(page, 'two words');
    await dialog(page).getByRole('alert').getByText('no spaces').waitFor();
    await assertAccessible(page, 'the key dialog with an error');
    await field.fill('half a ke');
    await page.keyboard.press('Escape');
    await dialog(page).waitFor({ state: 'hidden' });
    assert.ok(await open.evaluate((e) => e === document.activeElement), 'the focus is back on the button');
    await open.click();
    assert.equal(await field.inputValue(), '', 'what was typed is gone');
    await dialog(page).getByRole('button', { name: 'Cancel' }).click();
    await dialog(page).waitFor({ state: 'hidden' });
});

b.test('a key is forgotten on request', async (visitor) => {
    visitor.excuse(/status of 401/);
    const page = await visitor.open('/#settings');
    await page.getByRole('button', { name: 'API key', exact: true }).click();
    await enter(page, ADMIN);
    await page.getByRole('heading', { name: 'Provider', exact: true }).waitFor();
    await page.getByRole('button', { name: 'Key in use' }).click();
    await dialog(page).getByRole('button', { name: 'Forget it' }).click();
    await page.getByRole('button', { name: 'API key', exact: true }).waitFor();
    await page.getByRole('alert').filter({ hasText: 'A key is needed' }).waitFor();
});
