'use strict';
/* The first view: how the service is, prompts to try alone and together, and the rules in force. */
const assert = require('node:assert/strict');
const { useBrowser } = require('./browser');
const { sleep } = require('../integration/harness');

const b = useBrowser({
    provider: 'openai',
    env: { CARPOOL_CACHE_MODE: 'exact', CARPOOL_BATCH_HIGH_WINDOW_MS: '150', CARPOOL_BATCH_MEDIUM_WINDOW_MS: '150' },
});

const results = (page) => page.getByRole('list', { name: 'Answers' }).locator('> li');
const fact = (result, name) => result.locator('dl > div', { hasText: name }).locator('dd');

async function send(page, text, { priority, times, fresh } = {}) {
    await page.getByRole('textbox', { name: 'Prompt' }).fill(text);
    if (priority) await page.getByRole('radio', { name: priority }).check();
    if (times) await page.getByLabel('Send it').selectOption({ label: times });
    await page.getByLabel('Ask again even if').setChecked(Boolean(fresh));
    await page.getByRole('button', { name: 'Send', exact: true }).click();
}

b.test('says how the service is, and which rules are in force', async (visitor, stack) => {
    const page = await visitor.open('/');
    await page.getByText('Well', { exact: true }).waitFor();
    const health = (await stack.get('/health')).json;
    for (const name of Object.keys(health.dependencies))
        await page.locator('#health dt', { hasText: new RegExp(name, 'i') }).waitFor();
    assert.match(await page.getByRole('contentinfo').textContent(), new RegExp(`carpool ${health.version}`));
    await page.getByText('This is in force now').waitFor();
    const settings = (await stack.get('/v1/settings')).json;
    const row = page.getByRole('row', { name: /High/ });
    assert.deepEqual((await row.getByRole('cell').allTextContents()).slice(-2), ['150 ms', String(settings.high_priority.max_batch)]);
    const curl = await page.locator('pre', { hasText: 'curl' }).textContent();
    assert.ok(curl.includes(`curl -s http://127.0.0.1:${stack.port}/query`), curl);
    await page.locator('#curl-key').waitFor({ state: 'hidden' });
});

b.test('a prompt is answered, with the batch it rode in and where the time went', async (visitor, stack) => {
    const page = await visitor.open('/');
    await send(page, 'What is a carpool?', { priority: 'High' });
    const result = results(page).first();
    await result.getByText('Answer to: What is a carpool?').waitFor();
    await page.getByRole('status').filter({ hasText: 'Answered.' }).waitFor();
    const [chat] = await stack.chats();
    assert.equal(chat.request.prompt, 'What is a carpool?');
    assert.equal(chat.request.priority, 2);
    assert.equal(await fact(result, 'Batch').locator('code').textContent(), chat.batch_id);
    assert.equal(await fact(result, 'Model').textContent(), 'fake-model');
    assert.equal(await fact(result, 'Tokens').textContent(), String(chat.response.tokens_used));
    for (const part of ['queue', 'upstream']) await result.getByText(part, { exact: false }).first().waitFor();
});

b.test('several at once share calls', async (visitor, stack) => {
    const page = await visitor.open('/');
    await send(page, 'Together', { priority: 'Medium', times: '4 times' });
    await page.getByRole('status').filter({ hasText: '4 of 4 answered' }).waitFor();
    assert.equal(await results(page).count(), 4);
    const batches = new Set(await results(page).locator('.batch-id').allTextContents());
    const told = await page.locator('#try-status').textContent();
    assert.ok(told.includes(`in ${batches.size} batch`), told);
    const calls = new Set((await stack.chats()).filter((c) => batches.has(c.batch_id)).map((c) => c.batch_id));
    assert.equal(calls.size, batches.size);
    assert.ok(batches.size < 4, `${batches.size} batches`);
    await send(page, 'Together', { priority: 'Medium', times: '4 times' });
    await page.getByRole('status').filter({ hasText: '4 of 4 answered from the cache: no call was made.' }).waitFor();
});

b.test('the same again comes from the cache, unless it is to be asked anew', async (visitor) => {
    const page = await visitor.open('/');
    await send(page, 'Known?', { priority: 'High' });
    await results(page).first().getByText('Answer to: Known?').waitFor();
    await send(page, 'Known?', { priority: 'High' });
    await fact(results(page).first(), 'From the cache').getByText('yes').waitFor();
    await send(page, 'Known?', { priority: 'High', fresh: true });
    await results(page).nth(2).waitFor();
    assert.equal(await fact(results(page).first(), 'From the cache').textContent(), 'no');
});

b.test('nothing typed, Ctrl + Enter, stopping to wait', async (visitor, stack) => {
    const page = await visitor.open('/');
    const prompt = page.getByRole('textbox', { name: 'Prompt' });
    await page.getByRole('button', { name: 'Send', exact: true }).click();
    await page.getByText('Please type a prompt.').waitFor();
    assert.equal(await prompt.getAttribute('aria-invalid'), 'true');
    assert.ok(await prompt.evaluate((e) => e === document.activeElement), 'the field has the focus');

    await prompt.fill('By keyboard');
    assert.equal(await prompt.getAttribute('aria-invalid'), null);
    await prompt.press('Control+Enter');
    await results(page).first().getByText('Answer to: By keyboard').waitFor();

    stack.fake.when((call) => call.members.some((m) => m.prompt?.includes('Slow')), { do: 'ok', ms: 3000 });
    await send(page, 'Slow one', { priority: 'High' });
    await sleep(500);
    await page.getByRole('button', { name: 'Stop waiting' }).click();
    await results(page).first().getByText('You stopped waiting').waitFor();
    await prompt.fill('Then another');
    await prompt.press('Control+Enter');
    await results(page).first().getByText('Answer to: Then another').waitFor();
    stack.fake.reset();
});

b.test('what a user or a model writes stays text', async (visitor) => {
    const page = await visitor.open('/');
    const text = '<img src=x onerror="document.title=1"><script>document.title=2</script> & "quotes" \u202eabc';
    await send(page, text, { priority: 'High' });
    await results(page).first().locator('.answered').filter({ hasText: '<img src=x' }).waitFor();
    assert.equal(await results(page).locator('img, script').count(), 0);
    assert.equal(await page.title(), 'carpool');
});

b.test('a failure of the provider is told in a sentence', async (visitor, stack) => {
    visitor.excuse(/status of 50\d/);
    const page = await visitor.open('/');
    stack.fake.when(() => true, 'html');
    await send(page, 'Broken', { priority: 'High' });
    const said = results(page).first().getByRole('alert');
    await said.waitFor();
    assert.match(await said.textContent(), /[a-z]{3,} .+\./);
    await page.getByText('There is no answer; below it says why.').waitFor();
    stack.fake.reset();
});
