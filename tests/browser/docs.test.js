'use strict';
/* /docs: Swagger UI on our own document, trying things out with and without a key, and what is said without it. */
const assert = require('node:assert/strict');
const { describe } = require('node:test');
const { useBrowser, assertAccessible, PHONE } = require('./browser');
const { openapi } = require('../integration/harness');

const KEYS = { API_KEY: 'client-key-0001-of-the-docs-test', ADMIN_KEY: 'admin-key-0001-of-the-docs-test' };
const FAST = { CARPOOL_BATCH_HIGH_WINDOW_MS: '20', CARPOOL_BATCH_MEDIUM_WINDOW_MS: '20' };

async function openDocs(visitor, path = '/docs') {
    const page = await visitor.open(path);
    await page.getByRole('heading', { name: 'carpool', exact: false }).first().waitFor();
    return page;
}

/* The block of an operation, opened and ready to be filled in. */
async function tryOut(page, method, path) {
    const block = page.locator('.opblock', { has: page.locator(`[data-path="${path}"]`) }).filter({
        has: page.getByText(method, { exact: true }),
    });
    /* The address remembers which one was open. */
    if (!(await block.getAttribute('class')).includes('is-open')) await block.locator('.opblock-summary-control').click();
    await block.getByRole('button', { name: 'Try it out' }).click();
    return block;
}

async function execute(page, block, path) {
    const answered = page.waitForResponse((r) => new URL(r.url()).pathname === path);
    await block.getByRole('button', { name: 'Execute' }).click();
    const response = await answered;
    await block.locator('.live-responses-table .response-col_status').first().waitFor();
    return response;
}

describe('without keys', () => {
    const b = useBrowser({ env: FAST });

    b.test('shows every operation of the document', async (visitor) => {
        const page = await openDocs(visitor);
        const wanted = Object.entries(openapi.document.paths).flatMap(([path, item]) =>
            Object.keys(item)
                .filter((m) => ['get', 'post', 'put', 'delete'].includes(m))
                .map((m) => `${m.toUpperCase()} ${path}`),
        );
        const shown = await page.locator('.opblock-summary').evaluateAll((blocks) =>
            blocks.map(
                (block) =>
                    `${block.querySelector('.opblock-summary-method').textContent} ${block.querySelector('[data-path]').dataset.path}`,
            ),
        );
        assert.deepEqual(shown.sort(), wanted.sort());
        assert.equal(await page.locator('#missing').isVisible(), false);
    });

    b.test('tries a prompt', async (visitor) => {
        const page = await openDocs(visitor);
        const block = await tryOut(page, 'POST', '/query');
        await block.getByRole('textbox').last().fill('{"query":"What is AI?"}');
        assert.equal((await execute(page, block, '/query')).status(), 200);
        await block.getByText('Processed: What is AI?').first().waitFor();
    });

    b.test('comes with a policy, and no other spec can be put into its address', async (visitor, stack) => {
        const page = await openDocs(visitor, '/docs?url=https://example.org/openapi.json');
        assert.ok((await page.locator('.opblock').count()) > 10);
        const res = await stack.get('/docs');
        assert.match(res.headers['content-security-policy'], /^default-src 'none'; script-src 'self';/);
        assert.equal((await stack.request('HEAD', '/docs')).text, '');
        assert.equal((await stack.post('/docs', {})).status, 405);
    });

    for (const [name, options] of [
        ['light', { colorScheme: 'light' }],
        ['dark', { colorScheme: 'dark' }],
        ['on a phone', { viewport: PHONE }],
    ])
        b.test(`is accessible around the viewer: ${name}`, options, async (visitor) => {
            const page = await openDocs(visitor);
            await assertAccessible(page, `/docs ${name}`, { exclude: ['.swagger-ui'] });
            assert.ok(
                await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth),
                'nothing is wider than the window',
            );
        });

    b.test('says what is missing where the viewer is not installed', async (visitor) => {
        visitor.excuse(/status of 404/);
        await visitor.context.route('**/vendor/*', (route) => route.fulfill({ status: 404, body: '' }));
        const page = await visitor.open('/docs');
        await page.getByRole('alert').getByText('is not installed').waitFor();
        await assertAccessible(page, '/docs without its viewer');
        await page.getByRole('link', { name: 'openapi.json' }).click();
        await page.waitForURL('**/openapi.json');
    });
});

describe('with keys', () => {
    const b = useBrowser({ env: { ...FAST, ...KEYS } });

    b.test('a key entered under Authorize is sent, and kept nowhere', async (visitor) => {
        visitor.excuse(/status of 401/);
        const page = await openDocs(visitor);
        const block = await tryOut(page, 'GET', '/v1/settings');
        assert.equal((await execute(page, block, '/v1/settings')).status(), 401);

        await page.getByRole('button', { name: 'Authorize' }).first().click();
        const dialog = page.locator('.modal-ux');
        const field = dialog.locator('.auth-container', { hasText: 'X-API-Key' });
        await field.getByRole('textbox').or(field.locator('input')).first().fill(KEYS.ADMIN_KEY);
        await field.getByRole('button', { name: /Authorize|Apply/ }).click();
        await dialog.getByRole('button', { name: 'Close' }).first().click();
        assert.equal((await execute(page, block, '/v1/settings')).status(), 200);

        assert.ok(visitor.requests.every((request) => !request.url().includes(KEYS.ADMIN_KEY)));
        const kept = await page.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie]));
        assert.equal(kept, JSON.stringify([{}, {}, '']));
        await page.reload();
        const again = await tryOut(page, 'GET', '/v1/settings');
        assert.equal((await execute(page, again, '/v1/settings')).status(), 401);
    });
});

describe('under a base path', () => {
    const b = useBrowser({ base: '/llm', env: { ...FAST, CARPOOL_SERVER_BASE_PATH: '/llm' } });

    b.test('is whole, and asks under it', async (visitor) => {
        const page = await openDocs(visitor);
        const block = await tryOut(page, 'POST', '/query');
        await block.getByRole('textbox').last().fill('{"query":"Where?"}');
        assert.equal((await execute(page, block, '/llm/query')).status(), 200);
        await block.getByText('Processed: Where?').first().waitFor();
        assert.deepEqual(
            (await page.evaluate(() => fetch('openapi.json').then((r) => r.json()))).servers,
            [{ url: '/llm' }],
        );
    });
});
