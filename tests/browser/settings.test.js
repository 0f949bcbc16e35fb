'use strict';
/* Settings: each field there and back, what is refused and where it is said, the provider's key, two tabs. */
const assert = require('node:assert/strict');
const { useBrowser } = require('./browser');
const { PROVIDER_KEY, until } = require('../integration/harness');

const b = useBrowser({ provider: 'openai' });
const NEW_KEY = 'sk-another-canary-key-91bd';

const settingsOf = async (stack) => (await stack.get('/v1/settings')).json;
const saveBar = (page) => page.getByRole('region', { name: 'Unsaved changes' });
const save = (page) => page.getByRole('button', { name: /^(Save|Overwrite)$/ }).click();
const saved = (page) => page.getByRole('status').filter({ hasText: 'and in force' }).waitFor();
const number = (page, group, priority) =>
    page.getByRole('group', { name: group }).getByLabel(priority, { exact: true });

async function openSettings(visitor) {
    const page = await visitor.open('/#settings');
    await page.getByRole('heading', { name: 'Provider', exact: true }).waitFor();
    return page;
}

b.test('shows what is in force, and nothing unsaved', async (visitor, stack) => {
    const page = await openSettings(visitor);
    const json = await settingsOf(stack);
    assert.equal(await page.getByRole('combobox', { name: 'Provider' }).inputValue(), json.provider);
    assert.equal(await page.getByLabel('Model', { exact: true }).inputValue(), json.model);
    assert.equal(await page.getByLabel('Base URL').inputValue(), json.base_url);
    for (const priority of ['High', 'Medium', 'Low']) {
        const own = json[`${priority.toLowerCase()}_priority`];
        for (const [group, value] of [
            ['Window', own.window_ms],
            ['Batch size', own.max_batch],
            ['Answer length', own.tokens],
            ['Latency target', own.latency_ms],
            ['Policy', own.policy],
        ])
            assert.equal(await number(page, group, priority).inputValue(), String(value), `${group} ${priority}`);
    }
    await page.getByText(`ends in ${PROVIDER_KEY.slice(-4)}`).waitFor();
    assert.ok(!(await page.content()).includes(PROVIDER_KEY.slice(0, 12)), 'no key on the page');
    assert.equal(await saveBar(page).isVisible(), false);
});

b.test('each field there and back', async (visitor, stack) => {
    const page = await openSettings(visitor);
    let n = 0;
    for (const [group, member, values] of [
        ['Window', 'window_ms', [111, 222, 333]],
        ['Batch size', 'max_batch', [2, 3, 5]],
        ['Answer length', 'tokens', [321, 432, 543]],
        ['Latency target', 'latency_ms', [1111, 2222, 3333]],
    ])
        for (const [i, priority] of ['High', 'Medium', 'Low'].entries()) {
            await number(page, group, priority).fill(String(values[i]));
            n++;
            await saveBar(page).getByText(`${n} unsaved change`).waitFor();
            if (i === 2) continue;
            assert.notEqual((await settingsOf(stack))[`${priority.toLowerCase()}_priority`][member], values[i], 'not yet');
        }
    for (const priority of ['High', 'Medium', 'Low']) await number(page, 'Policy', priority).selectOption('Adaptive');
    await page.getByLabel('Model', { exact: true }).fill('other-model');
    await saveBar(page).getByText('16 unsaved changes').waitFor();
    await save(page);
    await saved(page);
    assert.equal(await saveBar(page).isVisible(), false);

    const json = await settingsOf(stack);
    assert.deepEqual(json.high_priority, { tokens: 321, latency_ms: 1111, window_ms: 111, max_batch: 2, policy: 'adaptive' });
    assert.deepEqual(json.medium_priority, { tokens: 432, latency_ms: 2222, window_ms: 222, max_batch: 3, policy: 'adaptive' });
    assert.deepEqual(json.low_priority, { tokens: 543, latency_ms: 3333, window_ms: 333, max_batch: 5, policy: 'adaptive' });
    assert.equal(json.model, 'other-model');
    await page.reload();
    await page.getByText('ends in').waitFor();
    assert.equal(await number(page, 'Window', 'Low').inputValue(), '333');
    assert.equal(await page.getByLabel('Model', { exact: true }).inputValue(), 'other-model');

    /* An empty model takes back what was put. */
    await page.getByLabel('Model', { exact: true }).fill('');
    await save(page);
    await saved(page);
    assert.equal(await page.getByLabel('Model', { exact: true }).inputValue(), 'fake-model');
    assert.equal((await settingsOf(stack)).model, 'fake-model');
});

b.test('what is wrong is said beside the field, and nothing is sent', async (visitor, stack) => {
    const page = await openSettings(visitor);
    const before = await settingsOf(stack);
    for (const [field, wrong] of [
        [number(page, 'Batch size', 'High'), '0'],
        [number(page, 'Batch size', 'Medium'), '257'],
        [number(page, 'Window', 'Low'), ''],
        [number(page, 'Latency target', 'High'), '1.5'],
        [page.getByLabel('Base URL'), 'example.org/v1'],
    ]) {
        const right = await field.inputValue();
        await field.fill(wrong);
        await save(page);
        assert.equal(await field.getAttribute('aria-invalid'), 'true', wrong);
        assert.ok(await field.evaluate((e) => e === document.activeElement), 'the field has the focus');
        const described = (await field.getAttribute('aria-describedby')).split(' ').map((id) => `#${id.replaceAll('.', '\\.')}`);
        assert.ok((await page.locator(described.at(-1)).textContent()).length > 10, 'a sentence');
        await field.fill(right);
        assert.equal(await field.getAttribute('aria-invalid'), null);
    }
    assert.equal(await saveBar(page).isVisible(), false);
    assert.deepEqual(await settingsOf(stack), before);
    assert.ok(!visitor.requests.some((request) => request.method() === 'PUT'));
});

b.test('what only the server can judge stands beside the field, too', async (visitor, stack) => {
    visitor.excuse(/status of 400/);
    const page = await openSettings(visitor);
    const before = await settingsOf(stack);
    await page.getByLabel('Base URL').fill('http://example.org/v1');
    await save(page);
    const field = page.getByLabel('Base URL');
    await until('it is marked', async () =>
        (await page.locator('[aria-invalid=true]').count()) > 0 || (await page.locator('#f-api_key').isVisible()));
    assert.deepEqual(await settingsOf(stack), before);
    await page.getByRole('button', { name: 'Discard' }).click();
    assert.equal(await field.inputValue(), before.base_url);
    assert.equal(await page.locator('[aria-invalid=true]').count(), 0);
});

b.test('the key is replaced and removed, and never shown', async (visitor, stack) => {
    stack.secrets.push(NEW_KEY);
    const page = await openSettings(visitor);
    await page.getByRole('button', { name: 'Replace' }).click();
    const field = page.getByLabel("New API key of the provider");
    assert.equal(await field.getAttribute('type'), 'password');
    await save(page);
    await page.getByText('Please type or paste the key').waitFor();
    await field.fill('with blanks in it');
    await save(page);
    await page.getByText('without blanks').waitFor();
    await page.getByRole('button', { name: 'Keep the old one' }).click();
    assert.equal(await saveBar(page).isVisible(), false);

    await page.getByRole('button', { name: 'Replace' }).click();
    await field.fill(NEW_KEY);
    await save(page);
    await saved(page);
    await page.getByText(`ends in ${NEW_KEY.slice(-4)}`).waitFor();
    assert.equal(await page.locator('#f-api_key').inputValue(), '');
    assert.match((await settingsOf(stack)).api_key, new RegExp(`${NEW_KEY.slice(-4)}$`));

    await page.getByRole('button', { name: 'Remove' }).click();
    await page.getByText('will be removed').waitFor();
    await page.getByRole('button', { name: 'Keep it' }).click();
    await page.getByRole('button', { name: 'Remove' }).click();
    await save(page);
    await saved(page);
    /* What the environment gives is in force again. */
    await page.getByText(`ends in ${PROVIDER_KEY.slice(-4)}`).waitFor();
    const bodies = visitor.requests.filter((r) => r.method() !== 'PUT').map((r) => r.url() + JSON.stringify(r.headers()));
    assert.ok(!bodies.some((text) => text.includes(NEW_KEY)));
    const kept = await page.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie]));
    assert.equal(kept, JSON.stringify([{}, {}, '']));
});

b.test('unsaved changes are guarded', async (visitor, stack) => {
    const page = await openSettings(visitor);
    const window = number(page, 'Window', 'High');
    const before = await window.inputValue();
    await window.fill('1234');
    /* To another view and back: it is still there. */
    await page.getByRole('link', { name: 'Overview' }).click();
    await page.getByRole('heading', { name: 'Prompts ride together.' }).waitFor();
    await page.getByRole('link', { name: /Settings.*unsaved changes/ }).click();
    assert.equal(await window.inputValue(), '1234');

    const asked = [];
    page.on('dialog', (dialog) => {
        asked.push(dialog.type());
        dialog.dismiss();
    });
    await page.reload({ timeout: 2000 }).catch(() => {});
    await until('the browser has asked', async () => asked.length === 1);
    assert.deepEqual(asked, ['beforeunload']);
    assert.equal(await window.inputValue(), '1234');

    await page.getByRole('button', { name: 'Discard' }).click();
    assert.equal(await window.inputValue(), before);
    assert.equal(String((await settingsOf(stack)).high_priority.window_ms), before);
    await page.reload();
    assert.equal(asked.length, 1, 'and asks no more');
});

b.test("two tabs see each other's change, and neither overwrites unseen", async (visitor) => {
    const one = await openSettings(visitor);
    const two = await openSettings(visitor);
    await number(one, 'Window', 'High').fill('777');
    await save(one);
    await saved(one);
    await until('the other tab follows', async () => (await number(two, 'Window', 'High').inputValue()) === '777');
    await two.getByText('Settings were changed elsewhere').waitFor();

    await number(two, 'Batch size', 'High').fill('7');
    await number(one, 'Batch size', 'High').fill('9');
    await save(one);
    await saved(one);
    await two.getByText('Changed elsewhere to 9.').waitFor();
    assert.equal(await number(two, 'Batch size', 'High').inputValue(), '7', 'what was typed stays');
    await two.getByRole('button', { name: 'Take it' }).click();
    assert.equal(await number(two, 'Batch size', 'High').inputValue(), '9');
    assert.equal(await saveBar(two).isVisible(), false);

    await number(two, 'Batch size', 'High').fill('8');
    await number(one, 'Batch size', 'High').fill('10');
    await save(one);
    await saved(one);
    await two.getByText('Changed elsewhere to 10.').waitFor();
    await two.getByRole('button', { name: 'Overwrite' }).click();
    await saved(two);
    await until('the first tab follows', async () => (await number(one, 'Batch size', 'High').inputValue()) === '8');
});

b.test("another visitor's change is noticed before anything is overwritten", async (visitor, stack) => {
    const page = await openSettings(visitor);
    await number(page, 'Window', 'Low').fill('2500');
    await stack.put('/v1/settings', { low_priority: { window_ms: 2600 } });
    await save(page);
    await page.getByText('Changed elsewhere to 2600.').waitFor();
    assert.equal((await settingsOf(stack)).low_priority.window_ms, 2600);
    await page.getByRole('button', { name: 'Overwrite' }).click();
    await saved(page);
    assert.equal((await settingsOf(stack)).low_priority.window_ms, 2500);
});

b.test('another provider takes its own model and address', async (visitor, stack) => {
    const page = await openSettings(visitor);
    await page.getByRole('combobox', { name: 'Provider' }).selectOption('mock');
    assert.equal(await page.getByLabel('Model', { exact: true }).inputValue(), '');
    await save(page);
    await saved(page);
    assert.equal((await settingsOf(stack)).provider, 'mock');
    assert.match((await stack.ask('hello', { priority: 'HIGH' })).json.text, /^Processed: hello/);
});

b.test('a stored key goes to no other address: a new one is asked for', async (visitor, stack) => {
    visitor.excuse(/status of 400/);
    stack.secrets.push(NEW_KEY);
    await stack.put('/v1/settings', { provider: 'openai', api_key: NEW_KEY });
    const before = await settingsOf(stack);
    const page = await openSettings(visitor);
    const address = page.getByLabel('Base URL');
    await address.fill('https://llm.example.org/v1');
    await save(page);
    const key = page.getByLabel('New API key of the provider');
    await key.waitFor();
    await until('the field says why', async () => (await page.locator('.field-error:visible').count()) > 0);
    assert.deepEqual(await settingsOf(stack), before, 'nothing is saved');
    await key.fill(NEW_KEY);
    await save(page);
    await saved(page);
    assert.equal((await settingsOf(stack)).base_url, 'https://llm.example.org/v1');
});
