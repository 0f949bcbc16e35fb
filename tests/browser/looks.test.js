'use strict';
/* Every view in every state, in both palettes and sizes: accessible, no wider than the window, usable by keyboard, light. */
const assert = require('node:assert/strict');
const { describe } = require('node:test');
const { useBrowser, assertAccessible, PHONE, WIDE } = require('./browser');
const { seed, SEEDED } = require('./seed');

const VIEWS = ['overview', 'analytics', 'settings'];
const LOOKS = ['light', 'dark'].flatMap((colorScheme) =>
    [PHONE, WIDE].map((viewport) => [`${colorScheme}, ${viewport.width} px`, { colorScheme, viewport }]),
);
const FIRST_PAINT_MAX = 100 * 1000;

async function settled(page, view) {
    await page.locator(`#view-${view}`).waitFor();
    await page.locator('[aria-busy=true]:visible').first().waitFor({ state: 'detached' });
    await page.locator('#health-state:not(.idle)').waitFor({ state: 'attached' });
}

async function assertFits(page, where) {
    const wide = await page.evaluate(() =>
        document.documentElement.scrollWidth <= innerWidth
            ? []
            : [...document.querySelectorAll('body *')]
                  .filter((e) => e.getBoundingClientRect().right > innerWidth + 1 && !e.closest('.scroll'))
                  .map((e) => `${e.tagName}.${e.className} ${Math.round(e.getBoundingClientRect().right)}`),
    );
    assert.deepEqual(wide, [], `${where} is wider than the window`);
}

function accessible(b) {
    for (const view of VIEWS)
        for (const [look, options] of LOOKS)
            b.test(`${view}: ${look}`, options, async (visitor) => {
                const page = await visitor.open(`/#${view}`);
                await settled(page, view);
                await assertAccessible(page, `${view}, ${look}`);
                await assertFits(page, `${view}, ${look}`);
            });
}

describe('nothing happened yet', () => accessible(useBrowser()));

describe('a day of prompts', () => {
    const b = useBrowser({ ...SEEDED, seed });
    accessible(b);

    for (const [look, options] of LOOKS)
        b.test(`settings with faults and unsaved changes: ${look}`, options, async (visitor) => {
            const page = await visitor.open('/#settings');
            await settled(page, 'settings');
            await page.getByRole('group', { name: 'Batch size' }).getByLabel('High', { exact: true }).fill('0');
            await page.getByLabel('Base URL').fill('example.org');
            await page.getByRole('button', { name: 'Replace' }).click();
            await page.getByRole('button', { name: 'Save', exact: true }).click();
            await assertAccessible(page, `settings with faults, ${look}`);
            await assertFits(page, `settings with faults, ${look}`);
        });

    b.test('the theme is chosen, kept, and the same in /docs', { colorScheme: 'light' }, async (visitor) => {
        const page = await visitor.open('/');
        const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
        const light = await ground();
        const button = page.getByRole('button', { name: 'Dark theme' });
        assert.equal(await button.getAttribute('aria-pressed'), 'false');
        await button.click();
        assert.equal(await button.getAttribute('aria-pressed'), 'true');
        const dark = await ground();
        assert.notEqual(dark, light);
        await assertAccessible(page, 'dark by choice');
        await page.reload();
        assert.equal(await ground(), dark);
        await page.getByRole('link', { name: 'API', exact: true }).click();
        await page.locator('html.dark-mode').waitFor({ state: 'attached' });
        await page.goBack();
        await page.getByRole('button', { name: 'Dark theme' }).click();
        assert.equal(await ground(), light);
        assert.equal(await page.evaluate(() => localStorage.length), 0, "the system's own theme is not kept");
    });

    b.test('by keyboard alone', async (visitor) => {
        const page = await visitor.open('/');
        await settled(page, 'overview');
        /* Where Tab goes, by name, until it leaves the document. */
        const walk = async (most = 80) => {
            const names = [];
            for (let i = 0; i < most; i++) {
                await page.keyboard.press('Tab');
                const at = await page.evaluate(() => {
                    const e = document.activeElement;
                    if (!e || e === document.body) return null;
                    const box = e.getBoundingClientRect();
                    const style = getComputedStyle(e);
                    const marked = style.outlineStyle !== 'none' || style.boxShadow !== 'none' || e.matches('input[type=radio], input[type=checkbox]');
                    return { name: e.id || e.textContent.trim().slice(0, 30), seen: box.width > 0 && box.height > 0, marked };
                });
                if (!at) break;
                assert.ok(at.seen, `${at.name} has the focus and is not to be seen`);
                assert.ok(at.marked, `${at.name} does not show that it has the focus`);
                names.push(at.name);
            }
            return names;
        };
        const names = await walk();
        assert.equal(names[0], 'skip', 'first comes the way past the navigation');
        for (const id of ['key-open', 'theme-toggle', 'try-prompt', 'try-count', 'try-fresh', 'try-send'])
            assert.ok(names.includes(id), `${id} is reached: ${names.join(', ')}`);
        assert.ok(names.length < 60, 'and the walk ends');

        /* Past the navigation, type, choose a priority with the arrows, send. */
        await page.reload();
        await settled(page, 'overview');
        await page.keyboard.press('Tab');
        await page.keyboard.press('Enter');
        assert.equal(await page.evaluate(() => document.activeElement.id), 'main');
        await page.keyboard.press('Tab');
        await page.keyboard.type('By keyboard alone');
        await page.keyboard.press('Tab');
        await page.keyboard.press('ArrowLeft');
        assert.ok(await page.getByRole('radio', { name: 'High' }).isChecked());
        for (let i = 0; i < 5 && (await page.evaluate(() => document.activeElement.id)) !== 'try-send'; i++)
            await page.keyboard.press('Tab');
        await page.keyboard.press('Enter');
        await page.getByText('Answer to: By keyboard alone').first().waitFor();
    });

    for (const view of VIEWS)
        b.test(`${view}: bytes of the first paint`, async (visitor, stack, t) => {
            const page = await visitor.context.newPage();
            const session = await visitor.context.newCDPSession(page);
            await session.send('Network.enable');
            const names = new Map(), sizes = new Map();
            session.on('Network.requestWillBeSent', (e) => names.set(e.requestId, new URL(e.request.url).pathname));
            session.on('Network.loadingFinished', (e) => {
                const name = names.get(e.requestId);
                /* What people asked and were answered comes after the page, and is as long as they made it. */
                if (/^\/(assets|vendor)\/|^\/$/.test(name)) sizes.set(name, e.encodedDataLength);
            });
            await page.goto(`${visitor.origin}/#${view}`);
            await settled(page, view);
            const counted = [...sizes].sort(([, a], [, b]) => b - a);
            const total = counted.reduce((n, [, size]) => n + size, 0);
            const told = `${view}: ${total} bytes (${counted.map((one) => one.join(' ')).join(', ')})`;
            t.diagnostic(told);
            assert.ok(sizes.get('/') > 1000 && sizes.get('/assets/app.js') > 1000, told);
            assert.ok(total < FIRST_PAINT_MAX, told);
        });

    b.test('motion is left out where it is not wanted', { reducedMotion: 'reduce' }, async (visitor) => {
        const page = await visitor.open('/#analytics');
        await settled(page, 'analytics');
        const moving = await page.evaluate(() =>
            document.getAnimations().filter((a) => a.playState === 'running' && a.effect.getComputedTiming().duration > 10).length,
        );
        assert.equal(moving, 0);
    });
});

describe('under a base path', () => {
    const b = useBrowser({ base: '/llm', env: { CARPOOL_SERVER_BASE_PATH: '/llm', CARPOOL_BATCH_MEDIUM_WINDOW_MS: '20' } });
    for (const view of VIEWS)
        b.test(view, async (visitor) => {
            const page = await visitor.open(`/#${view}`);
            await settled(page, view);
            assert.equal(await page.getByRole('alert').count(), 0);
            for (const request of visitor.requests) assert.ok(new URL(request.url()).pathname.startsWith('/llm/'), request.url());
        });
});
