'use strict';
/* What pages compute, without a page: numbers and times in several locales, ranges, CSV, settings, figures. */
const assert = require('node:assert/strict');
const path = require('node:path');
const test = require('node:test');
const { pathToFileURL } = require('node:url');

const load = (name) => import(pathToFileURL(path.join(__dirname, '../../web/assets', name)).href);
/* Intl separates with blanks of several kinds. */
const plain = (text) => text.replace(/\s/g, ' ');

test('numbers are written as the reader writes them', async () => {
    const f = await load('format.js');
    assert.equal(f.whole(1234567, 'en-GB'), '1,234,567');
    assert.equal(f.whole(1234567, 'de-DE'), '1.234.567');
    assert.equal(f.compact(9999, 'en-GB'), '9,999');
    assert.equal(f.compact(12345, 'en-US'), '12.3K');
    assert.equal(f.decimal(3.14159, 2, 'de-DE'), '3,14');
    assert.equal(f.percent(1, 3, 'en-GB'), '33%');
    assert.equal(f.percent(1, 300, 'en-GB'), '0.3%');
    assert.equal(f.percent(0, 0, 'en-GB'), '–', 'of nothing there is no share');
    for (const nothing of [null, undefined, NaN, Infinity])
        for (const write of [f.whole, f.decimal, f.compact, f.duration]) assert.equal(write(nothing), '–');
});

test('an unknown price is no price, and never nothing', async () => {
    const { usd } = await load('format.js');
    assert.equal(usd(null), 'no price');
    assert.equal(usd(NaN), 'no price');
    assert.equal(usd(0, 'en-US'), '$0.00');
    assert.equal(usd(12.5, 'en-US'), '$12.50');
    assert.equal(usd(0.0123, 'en-US'), '$0.0123');
    assert.equal(usd(0.000012, 'en-US'), '$0.000012');
    assert.equal(plain(usd(12.5, 'de-DE')), '12,50 $');
});

test('times take the unit they are easiest to read in', async () => {
    const { duration } = await load('format.js');
    const cases = { 0.05: '0.05 ms', 3.14: '3.1 ms', 123.4: '123 ms', 1500: '1.5 sec', 12345: '12.3 sec', 90000: '1.5 min', 7200000: '2 hr', 172800000: '2 days' };
    for (const [ms, text] of Object.entries(cases)) assert.equal(plain(duration(Number(ms), 'en-US')), text);
    assert.equal(plain(duration(0, 'en-US')), '0 ms');
});

test('days stay the days that the server means, in any time zone', async () => {
    const f = await load('format.js');
    assert.equal(f.day('2026-02-01', 'en-GB'), '1 Feb');
    assert.equal(f.dayLong('2026-12-31', 'en-GB').replace(',', ''), 'Thu 31 Dec 2026');
    assert.equal(f.moment('no time', 'en-GB'), 'no time');
    assert.equal(f.count(1, 'change', 'changes', 'en-GB'), '1 change');
    assert.equal(f.count(1200, 'change', 'changes', 'de-DE'), '1.200 changes');
});

test('ranges of days', async () => {
    const r = await load('ranges.js');
    const now = Date.parse('2026-03-01T00:30:00Z');
    assert.deepEqual(r.rangeOf('today', now), { from: '2026-03-01', to: '2026-03-01' });
    assert.deepEqual(r.rangeOf('7', now), { from: '2026-02-23', to: '2026-03-01' });
    assert.deepEqual(r.rangeOf('30', now), { from: '2026-01-31', to: '2026-03-01' });
    assert.deepEqual(r.rangeOf('all', now), {});
    assert.equal(r.plusDays('2024-02-28', 1), '2024-02-29');
    for (const bad of ['', '2026-02-30', '2026-2-3', '26-02-03', 'x']) assert.equal(r.isDay(bad), false, bad);
    assert.deepEqual(r.customRange('2026-01-01', '2026-01-01'), { range: { from: '2026-01-01', to: '2026-01-01' } });
    assert.equal(r.customRange('2026-01-02', '2026-01-01').field, 'to');
    assert.equal(r.customRange('', '2026-01-01').field, 'from');
    assert.deepEqual(r.momentsOf({ from: '2026-01-01', to: '2026-01-31' }), { from: '2026-01-01', to: '2026-02-01' });
    assert.deepEqual(r.momentsOf({}), { from: undefined, to: undefined });
});

test('a series has every day of its range, and no more than asked for', async () => {
    const { fillDays } = await load('ranges.js');
    const empty = (date) => ({ date, count: 0 });
    const rows = [{ date: '2026-01-02', count: 5 }];
    assert.deepEqual(fillDays(rows, { from: '2026-01-01', to: '2026-01-03' }, '2026-06-01', empty), [empty('2026-01-01'), rows[0], empty('2026-01-03')]);
    assert.deepEqual(fillDays(rows, {}, '2026-01-03', empty), [rows[0], empty('2026-01-03')], 'since ever begins with the first day there is');
    assert.deepEqual(fillDays([], {}, '2026-01-03', empty), [empty('2026-01-03')]);
    assert.equal(fillDays([{ date: '1990-01-01', count: 1 }], {}, '2026-01-03', empty, 100).length, 100);
    assert.deepEqual(fillDays([{ date: '2026-01-04', count: 2 }], {}, '2026-01-03', empty).at(-1).date, '2026-01-04', "the server's clock may be ahead");
});

test('CSV: quotes, line ends, and no formulas of strangers', async () => {
    const { csv, cell } = await load('csv.js');
    assert.equal(csv(['a', 'b'], [[1, 'x,y'], [null, 'say "hi"'], [-2.5, 'two\nlines']]), 'a,b\r\n1,"x,y"\r\n,"say ""hi"""\r\n-2.5,"two\nlines"\r\n');
    for (const text of ['=1+1', '+1', '-1', '@x', '\tx', '\nx', ' =1+1', '\r\n@x', '\u00a0+1', '\uff1d1+1', '\uff20x']) assert.ok(cell(text).includes(`'${text}`), text);
    assert.equal(cell('=HYPERLINK("x")'), '"\'=HYPERLINK(""x"")"');
    for (const text of ['a;=1+1', 'a\t=1+1']) assert.equal(cell(text), `"${text}"`);
    for (const text of ['a=b', ' a', 'a\u00a0=b']) assert.equal(cell(text), text);
});

const priority = (n) => ({ tokens: 1000 * n, latency_ms: 500 * n, window_ms: 200 * n, max_batch: 2 + n, policy: 'window' });
const settings = () => ({ api_key: '***abcd', provider: 'openai', model: 'm1', base_url: 'https://api.example.org/v1', high_priority: priority(1), medium_priority: priority(2), low_priority: priority(3) });

test('settings: only what differs is sent', async () => {
    const m = await load('settings-model.js');
    const base = m.flatten(settings());
    assert.deepEqual(m.patchOf(base, { ...base }, { mode: 'keep' }), {});
    const form = { ...base, 'high_priority.window_ms': 0, 'low_priority.policy': 'adaptive', model: '' };
    const patch = m.patchOf(base, form, { mode: 'keep' });
    assert.deepEqual(patch, { model: '', high_priority: { window_ms: 0 }, low_priority: { policy: 'adaptive' } });
    assert.equal(m.sizeOf(patch), 3);
    assert.deepEqual(m.patchOf(base, base, { mode: 'remove', text: '' }), { api_key: '' });
    assert.deepEqual(m.patchOf(base, base, { mode: 'replace', text: 'k' }), { api_key: 'k' });
    assert.deepEqual(m.patchOf(base, base, { mode: 'replace', text: '' }), {}, 'an empty field is no wish to remove the key');
    assert.deepEqual(m.patchOf(base, { ...base, provider: 'gemini', model: '', base_url: '' }, { mode: 'keep' }), { provider: 'gemini' });
    assert.deepEqual(m.patchOf(base, { ...base, provider: 'gemini', base_url: '' }, { mode: 'keep' }), { provider: 'gemini', model: 'm1' }, 'a model kept by hand is sent');
});

test('settings: what others changed comes in, what was typed stays', async () => {
    const m = await load('settings-model.js');
    const base = m.flatten(settings());
    const theirs = { ...base, model: 'theirs', 'low_priority.tokens': 7, 'high_priority.tokens': 9 };
    const form = { ...base, model: 'mine', 'high_priority.tokens': 9 };
    const { form: merged, conflicts, followed } = m.rebase(base, form, theirs);
    assert.deepEqual(conflicts, ['model'], 'the same change on both sides is none');
    assert.deepEqual(followed, ['low_priority.tokens']);
    assert.equal(merged.model, 'mine');
    assert.equal(merged['low_priority.tokens'], 7);
    assert.deepEqual(m.patchOf(theirs, merged, { mode: 'keep' }), { model: 'mine' });
});

test('settings: faults are named before the server has to', async () => {
    const m = await load('settings-model.js');
    for (const good of ['', 'https://api.example.org/v1', 'http://127.0.0.1:8080', 'http://[::1]:80/x', 'unix:/run/x.sock']) assert.equal(m.urlFault(good), null, good);
    for (const bad of ['ftp://x', 'https://', 'HTTPS://x', 'https://a b', 'https://u:p@h/', 'https://h/?q', 'https://h/#f', 'unix:/', 'example.org', 'https://h:port', 'https://ü.org'])
        assert.ok(m.urlFault(bad), bad);
    for (const [value, good] of [[0, true], [60000, true], [60001, false], [-1, false], [1.5, false], [null, false]])
        assert.equal(m.fault('high_priority.window_ms', value) === null, good, String(value));
    assert.ok(m.fault('low_priority.max_batch', 0));
    assert.ok(m.keyFault('a b') && m.keyFault('') && m.keyFault('k'.repeat(501)) && !m.keyFault('sk-1'));
    assert.equal(m.hostOf('https://API.example.org:443/v1'), 'https://api.example.org:443');
    assert.equal(m.hostOf(''), '');
});

test('Server-Timing is read, whatever else is in it', async () => {
    const { parseTiming } = await load('timing.js');
    assert.deepEqual(parseTiming('accept;dur=0.25, queue;desc="x";dur=12, odd, bad;dur=x'), [{ name: 'accept', ms: 0.25 }, { name: 'queue', ms: 12 }]);
    assert.deepEqual(parseTiming(null), []);
});

test('errors of all shapes become a sentence', async () => {
    const { errorFrom } = await load('api.js');
    assert.deepEqual({ ...errorFrom(400, { error: { message: 'No.', field: 'model', error_code: 'INVALID_SETTING' } }) }, { kind: 'refused', status: 400, field: 'model', code: 'INVALID_SETTING', retryAfter: null });
    assert.equal(errorFrom(400, { error: 'user_prompt required' }).message, 'user_prompt required');
    assert.deepEqual([401, 403, 429, 503, 500].map((status) => errorFrom(status, null).kind), ['key', 'forbidden', 'busy', 'busy', 'refused']);
    assert.match(errorFrom(502, null).message, /502/);
    assert.equal(errorFrom(503, null, '7').retryAfter, 7);
});

test('figures: every number of the API is in a table, and an empty answer says so', async () => {
    const { contents, now, tiles } = await load('figures.js');
    const none = { p50: null, p90: null, p99: null, count: 0 };
    const three = (value) => ({ high: value, medium: value, low: value });
    const a = {
        total_requests: 0, high_priority: 0, medium_priority: 0, low_priority: 0, requests: { ...three(0), total: 0 }, requests_over_time: [], calls: 0, calls_saved: 0,
        mean_batch_fill: null, replays: 0, joined: 0, repairs: 0, tokens: { prompt: 0, completion: 0, total: 0, by_model: [] }, cost_usd: 0, unpriced_models: [],
        latency_ms: three(none), queue_ms: three(none), queue_ms_histogram: [{ below_ms: 0.4, count: 0, ...three(0) }, { below_ms: null, count: 0, ...three(0) }], batch_fill: [], flush_reasons: {}, errors: {},
    };
    for (const [id, { empty }] of Object.entries(contents(a, {}, '2026-01-01'))) assert.ok(empty, id);
    assert.equal(tiles(a).find(({ id }) => id === 'mean-fill').text, '–');
    const used = {
        ...a, requests: { high: 3, medium: 0, low: 1, total: 4 }, requests_over_time: [{ date: '2026-01-01', count: 4, high: 3, medium: 0, low: 1 }], cost_usd: null, unpriced_models: ['m'],
        tokens: { prompt: 5, completion: 6, total: 11, by_model: [{ model: 'm', prompt: 5, completion: 6, total: 11, cost_usd: null }] },
        batch_fill: [{ size: 3, count: 1, high: 1, medium: 0, low: 0 }], errors: { INVALID_PROMPT: 2, OTHER: 5 }, flush_reasons: { full: 1, window: 2 },
    };
    const shown = contents(used, { from: '2025-12-31', to: '2026-01-01' }, '2026-01-01');
    assert.deepEqual(shown['over-time'].rows, [['2025-12-31', 0, 0, 0, 0], ['2026-01-01', 3, 0, 1, 4]]);
    assert.deepEqual(shown['batch-fill'].rows, [[3, 1, 0, 0, 1]]);
    assert.deepEqual(shown['batch-fill'].picture.labels, ['1', '2', '3'], 'sizes between are in the picture');
    assert.deepEqual(shown['error-codes'].rows, [['OTHER', 5], ['INVALID_PROMPT', 2]]);
    assert.deepEqual(shown.models.rows, [['m', 5, 6, 11, null]]);
    const cost = tiles(used).find(({ id }) => id === 'cost');
    assert.deepEqual([cost.raw, cost.text], [null, 'no price']);
    const idle = now({ queue: three({ depth: null, oldest_ms: null }), in_flight: null, calls: { in_flight: null }, breaker: { state: null }, requests: { per_second: null } });
    assert.ok(idle.every(({ text }) => text === '–'), 'without a coordinator nothing is known');
});
