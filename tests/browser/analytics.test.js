'use strict';
/* Analytics: every number, table and CSV file equal to what the API says; range, pause, charts; the chats. */
const assert = require('node:assert/strict');
const fs = require('node:fs');
const { useBrowser } = require('./browser');
const { seed, SEEDED, PROMPTS } = require('./seed');
const { until } = require('../integration/harness');

const b = useBrowser({ ...SEEDED, seed });
const LEVELS = ['high', 'medium', 'low'];
const TITLES = { high: 'High', medium: 'Medium', low: 'Low' };

const today = () => new Date().toISOString().slice(0, 10);
const plusDays = (date, n) => new Date(Date.parse(date) + n * 86400000).toISOString().slice(0, 10);

async function openAnalytics(visitor) {
    const page = await visitor.open('/#analytics');
    await page.locator('#analytics-body[aria-busy=false]').waitFor();
    await page.locator('.uplot canvas').first().waitFor();
    return page;
}

const panel = (page, title) => page.getByRole('region', { name: title, exact: true });

/* The rows of a panel's table as the page holds them: <data value> where there is a number, text elsewhere. */
async function tableOf(page, title) {
    const summary = panel(page, title).getByText('Table', { exact: true });
    if ((await summary.count()) && !(await panel(page, title).locator('details').getAttribute('open'))) await summary.click();
    return panel(page, title)
        .locator('tbody tr')
        .evaluateAll((rows) =>
            rows.map((row) => [...row.cells].map((cell) => {
                const data = cell.querySelector('data');
                return data ? Number(data.value) : cell.textContent;
            })),
        );
}

/* RFC 4180, of which a file has a mark and a head. */
function parseCsv(text) {
    const rows = [[]];
    for (const [, quoted, bare, end] of text.replace(/^\ufeff/, '').matchAll(/(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r\n|$)/g)) {
        rows.at(-1).push(quoted === undefined ? bare : quoted.replaceAll('""', '"'));
        if (end === '\r\n') rows.push([]);
        if (end === '') break;
    }
    return rows.slice(0, -1);
}

async function download(page, button) {
    const [file] = await Promise.all([page.waitForEvent('download'), button.click()]);
    return { name: file.suggestedFilename(), rows: parseCsv(fs.readFileSync(await file.path(), 'utf8')) };
}

/* What each panel's table must hold, straight from the document of the API. */
function expected(a) {
    const levels = (row) => [...LEVELS.map((l) => row[l]), row.count];
    const ranked = (table) => Object.entries(table).sort(([, x], [, y]) => y - x);
    return {
        'Requests by priority': LEVELS.map((l) => [TITLES[l], a.requests[l], a[`${l}_priority`]]),
        Latency: LEVELS.map((l) => [
            TITLES[l], a.latency_ms[l].p50, a.latency_ms[l].p90, a.latency_ms[l].p99, a.latency_ms[l].count,
            a.queue_ms[l].p50, a.queue_ms[l].p90, a.queue_ms[l].p99,
        ]),
        'Batch fill': a.batch_fill.map((row) => [row.size, ...levels(row)]),
        'Why batches left': ranked(a.flush_reasons),
        'Errors by kind': ranked(a.errors),
        'Tokens and cost by model': a.tokens.by_model.map((m) => [m.model, m.prompt, m.completion, m.total, m.cost_usd]),
    };
}

b.test('figures at a glance are those of the API', async (visitor, stack) => {
    const page = await openAnalytics(visitor);
    const a = (await stack.get('/v1/analytics')).json;
    assert.ok(a.requests.total >= PROMPTS && a.calls_saved > 0 && a.cost_usd > 0, 'there is something to show');
    const errors = Object.values(a.errors).reduce((n, v) => n + v, 0);
    for (const [title, value] of [
        ['Requests', a.requests.total],
        ['Batches', a.total_requests],
        ['Calls saved', a.calls_saved],
        ['Mean batch fill', a.mean_batch_fill],
        ['Tokens', a.tokens.total],
        ['Cost', a.cost_usd],
        ['Errors', errors],
    ]) {
        const tile = page.locator('.tile', { has: page.getByText(title, { exact: true }) });
        assert.equal(Number(await tile.locator('data').getAttribute('value')), value, title);
        /* As this reader writes it, rounded. */
        const shown = Number((await tile.locator('data').textContent()).replaceAll(/[^0-9.]/g, ''));
        const scale = /k/i.test(await tile.locator('data').textContent()) ? 1000 : 1;
        assert.ok(Math.abs(shown * scale - value) <= Math.max(0.005, value * 0.01), `${title}: ${shown}`);
    }
    for (const level of LEVELS) assert.equal(await page.locator(`#tile-depth-${level} data`).getAttribute('value'), '0');
});

b.test('every table and CSV file holds the numbers of the API', async (visitor, stack) => {
    const page = await openAnalytics(visitor);
    const a = (await stack.get('/v1/analytics')).json;
    for (const [title, rows] of Object.entries(expected(a))) {
        const shown = await tableOf(page, title);
        const numbers = (table) => table.map((row) => row.filter((value) => typeof value === 'number'));
        assert.deepEqual(numbers(shown), numbers(rows), title);
        assert.equal(shown.length, rows.length, title);
        const file = await download(page, panel(page, title).getByRole('button', { name: `${title}: download as CSV` }));
        assert.match(file.name, /^carpool-[a-z-]+\.csv$/);
        assert.deepEqual(file.rows.slice(1), rows.map((row) => row.map((value) => (value === null ? '' : String(value)))), title);
        const heads = await panel(page, title).locator('thead th').allTextContents();
        assert.deepEqual(file.rows[0], heads, title);
    }
});

b.test('requests over time: each day of the range, and the sum is the total', async (visitor, stack) => {
    const page = await openAnalytics(visitor);
    for (const [choice, days, query] of [
        ['Today', 1, `?from=${today()}&to=${today()}`],
        ['7 days', 7, `?from=${plusDays(today(), -6)}&to=${today()}`],
        ['30 days', 30, `?from=${plusDays(today(), -29)}&to=${today()}`],
        ['All', null, ''],
    ]) {
        const asked = page.waitForResponse((r) => r.url().includes('/v1/analytics'));
        const radio = page.getByRole('radio', { name: choice });
        if (await radio.isChecked()) await page.getByRole('radio', { name: 'Today' }).check();
        await radio.check();
        assert.equal(new URL((await asked).url()).pathname, '/v1/analytics');
        const a = (await stack.get(`/v1/analytics${query}`)).json;
        await until(`${choice} is shown`, async () => {
            const rows = await tableOf(page, 'Requests over time');
            return rows.length === (days ?? a.requests_over_time.length);
        });
        const rows = await tableOf(page, 'Requests over time');
        assert.equal(rows.reduce((n, row) => n + row.at(-1), 0), a.requests.total, choice);
        const last = a.requests_over_time.at(-1);
        assert.deepEqual(rows.at(-1).slice(1), [...LEVELS.map((l) => last[l]), last.count], choice);
    }
});

b.test('days of one’s own, and what cannot be days', async (visitor) => {
    const page = await openAnalytics(visitor);
    await page.getByRole('radio', { name: 'Custom' }).check();
    await page.getByLabel('First day').fill(today());
    await page.getByLabel('Last day').fill(plusDays(today(), -1));
    await page.getByRole('button', { name: 'Show', exact: true }).click();
    await page.getByRole('alert').getByText('The last day lies before the first one.').waitFor();
    assert.equal(await page.getByLabel('Last day').getAttribute('aria-invalid'), 'true');

    await page.getByLabel('First day').fill(plusDays(today(), -40));
    await page.getByLabel('Last day').fill(plusDays(today(), -30));
    await page.getByRole('button', { name: 'Show', exact: true }).click();
    await page.getByText('Nothing was asked in these days.').waitFor();
    assert.equal(await page.locator('#tile-requests data').getAttribute('value'), '0');
    assert.ok(await panel(page, 'Latency').getByText('Nothing yet in these days.').isVisible());
    await page.getByRole('radio', { name: '7 days' }).check();
    await until('figures are back', async () => Number(await page.locator('#tile-requests data').getAttribute('value')) >= PROMPTS);
});

b.test('it lives, and pauses', async (visitor, stack) => {
    const page = await openAnalytics(visitor);
    const shown = async () => Number(await page.locator('#tile-requests data').getAttribute('value'));
    const before = await shown();
    await stack.ask('One more for the live view', { priority: 'HIGH' });
    await until('it is counted on the page by itself', async () => (await shown()) === before + 1, 12000);

    const live = page.getByRole('button', { name: 'Live updates' });
    assert.equal(await live.getAttribute('aria-pressed'), 'true');
    await live.click();
    assert.equal(await live.getAttribute('aria-pressed'), 'false');
    await page.getByText('paused, as of').waitFor();
    const asked = visitor.requests.length;
    await stack.ask('And one nobody sees', { priority: 'HIGH' });
    await page.waitForTimeout(7000);
    assert.equal(await shown(), before + 1);
    const since = visitor.requests.slice(asked).filter((r) => /analytics|stats/.test(r.url()));
    assert.equal(since.length, 0, 'nothing is asked while it is paused');
    await live.click();
    await until('it goes on', async () => (await shown()) === before + 2, 12000);
});

b.test('what waits right now is to be seen', async (visitor, stack) => {
    const window = (window_ms) => stack.put('/v1/settings', { low_priority: { window_ms } });
    await window(60000);
    try {
        const page = await openAnalytics(visitor);
        const asked = Array.from({ length: 3 }, (_, i) => stack.ask(`Waiting ${i}`, { priority: 'LOW' }));
        const depth = page.locator('#tile-depth-low');
        await until('three wait', async () => (await depth.locator('data').getAttribute('value')) === '3', 12000);
        assert.match(await depth.textContent(), /the oldest for/);
        await window(90);
        await Promise.all(asked);
        await until('and none any more', async () => (await depth.locator('data').getAttribute('value')) === '0', 12000);
    } finally {
        await window(90);
    }
});

b.test('a chart says in words what it shows, and what the pointer is at', async (visitor, stack) => {
    const page = await openAnalytics(visitor);
    const chart = panel(page, 'Requests over time').getByRole('img');
    const a = (await stack.get(`/v1/analytics?from=${plusDays(today(), -6)}&to=${today()}`)).json;
    assert.match(await chart.getAttribute('aria-label'), new RegExp(`^${a.requests.total} requests on 7 days; the most on .*${today().slice(0, 4)}`));
    /* Today's bar is the last one, and tall. */
    const over = chart.locator('.u-over');
    const box = await over.boundingBox();
    await page.mouse.move(box.x + box.width * (6.6 / 7.2), box.y + box.height / 2);
    const counts = LEVELS.map((l) => `${TITLES[l]} ${a.requests[l]}`).join(' · ');
    await panel(page, 'Requests over time').getByText(`: ${a.requests.total} (${counts})`).waitFor();
    for (const row of await panel(page, 'Requests by priority').locator('.legend li').allTextContents()) {
        const level = LEVELS.find((l) => row.includes(TITLES[l]));
        assert.match(row, new RegExp(` ${a.requests[level]}, \\d+%`));
    }
});

b.test('chats: the newest first, page by page, and each has all of it inside', async (visitor, stack) => {
    const page = await openAnalytics(visitor);
    const rows = page.locator('#chats-table tbody tr');
    await rows.first().waitFor();
    const newest = (await stack.get('/v1/chat?order=newest&limit=60')).json.chats;
    const titles = async () => (await rows.locator('summary').allTextContents()).map((text) => text.trim());
    assert.deepEqual(await titles(), newest.slice(0, 25).map((c) => c.request.prompt.trim()));
    await page.getByRole('button', { name: 'Show older ones' }).click();
    await rows.nth(49).waitFor();
    assert.deepEqual(await titles(), newest.slice(0, 50).map((c) => c.request.prompt.trim()));
    await page.getByText('50 chats, and there are older ones.').waitFor();

    const chat = newest[3];
    await rows.nth(3).locator('summary').click();
    const inside = await rows.nth(3).locator('.chat-body').innerText();
    for (const text of [chat.response.text.trim().slice(0, 40), chat.request.request_id, chat.endpoint]) assert.ok(inside.includes(text), text);
    await rows.nth(3).locator('summary').press('Enter');
    assert.equal(await rows.nth(3).locator('.chat-body').isVisible(), false);
});

b.test('chats: searched by person, priority, days and text', async (visitor, stack) => {
    const page = await openAnalytics(visitor);
    const rows = page.locator('#chats-table tbody tr:visible');
    const search = page.getByRole('search', { name: 'Chats' });
    await rows.first().waitFor();

    await search.getByLabel('User name').fill('ada');
    await search.getByRole('button', { name: 'Search' }).click();
    const ada = (await stack.get('/v1/chat?order=newest&limit=1000&username=ada')).json.chats;
    await page.getByText(ada.length > 25 ? '25 chats, and there are older ones.' : `${ada.length} chats.`).waitFor();
    assert.deepEqual([...new Set(await rows.locator('td:nth-child(4)').allTextContents())], ['ada']);
    while (await page.getByRole('button', { name: 'Show older ones' }).isVisible()) {
        const n = await rows.count();
        await page.getByRole('button', { name: 'Show older ones' }).click();
        await until('the next page', async () => (await rows.count()) > n);
    }
    assert.equal(await rows.count(), ada.length);

    await search.getByLabel('Text, in what is loaded').fill(ada[0].request.prompt.slice(0, 12));
    await page.getByText('have this text').waitFor();
    assert.ok((await rows.count()) >= 1 && (await rows.count()) < ada.length);
    await search.getByLabel('Text, in what is loaded').fill('');

    await search.getByLabel('User name').fill('');
    await search.getByLabel('Priority').selectOption('Low');
    await until('only LOW', async () => {
        const chips = new Set(await rows.locator('.chip').allTextContents());
        return chips.size === 1 && chips.has('low');
    });
    await search.getByLabel('User name').fill('nobody of that name');
    await search.getByRole('button', { name: 'Search' }).click();
    await page.getByText('No chat passes this search.').waitFor();
    assert.equal(await page.getByRole('region', { name: 'Last chats' }).getByRole('button', { name: 'CSV' }).isDisabled(), true);
});

b.test('chats: the CSV file is what is shown, and holds no formula', async (visitor, stack) => {
    await stack.ask('=HYPERLINK("http://x","y"), "quoted",\nsecond line', { priority: 'HIGH', username: '+1' });
    const page = await openAnalytics(visitor);
    await page.locator('#chats-table tbody tr').first().waitFor();
    const newest = (await stack.get('/v1/chat?order=newest&limit=25')).json.chats;
    const file = await download(page, page.getByRole('region', { name: 'Last chats' }).getByRole('button', { name: 'CSV' }));
    const [head, ...rows] = file.rows;
    const column = (name) => rows.map((row) => row[head.indexOf(name)]);
    assert.deepEqual(column('request_id'), newest.map((c) => c.request.request_id));
    assert.deepEqual(column('tokens'), newest.map((c) => String(c.response.tokens_used)));
    assert.deepEqual(column('prompt').slice(1), newest.slice(1).map((c) => c.request.prompt));
    assert.equal(column('prompt')[0], `'${newest[0].request.prompt}`, 'an apostrophe in front of what a spreadsheet would run');
    assert.equal(column('username')[0], "'+1");
});

b.test('without uPlot there are tables', async (visitor) => {
    visitor.excuse(/status of 404/);
    await visitor.context.route('**/vendor/uPlot*', (route) => route.fulfill({ status: 404, body: '' }));
    const page = await visitor.open('/#analytics');
    await page.getByText('Charts are not installed on this server').waitFor();
    await panel(page, 'Requests over time').getByRole('table').waitFor();
    assert.equal((await tableOf(page, 'Requests over time')).length, 7);
});

b.test('numbers and dates are written as the reader does', { locale: 'de-DE' }, async (visitor, stack) => {
    const page = await openAnalytics(visitor);
    const a = (await stack.get('/v1/analytics')).json;
    const fill = await page.locator('#tile-mean-fill data').textContent();
    assert.equal(fill, new Intl.NumberFormat('de-DE', { maximumFractionDigits: 2 }).format(a.mean_batch_fill));
    assert.match(await page.locator('#tile-cost data').textContent(), /^\d+,\d+\s\$$/);
});
