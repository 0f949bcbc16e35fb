/* From the documents of the API to what the analytics view shows. Pure: no element is touched here. */
import { compact, count, day, dayLong, decimal, duration, percent, usd, whole, words } from './format.js';
import { fillDays } from './ranges.js';

export const LEVELS = ['high', 'medium', 'low'];
export const LEVEL_TITLES = { high: 'High', medium: 'Medium', low: 'Low' };
const PAINTS = { high: '--high', medium: '--medium', low: '--low' };

export const sum = (table) => Object.values(table).reduce((n, value) => n + value, 0);
const ranked = (table) => Object.entries(table).sort(([, a], [, b]) => b - a);
const byLevel = (row) => LEVELS.map((level) => row[level]);
const series = (rows) => LEVELS.map((level) => ({ name: LEVEL_TITLES[level], paint: PAINTS[level], values: rows.map((row) => row[level]) }));
const spoken = (row) => LEVELS.map((level) => `${LEVEL_TITLES[level]} ${whole(row[level])}`).join(' · ');
const levelColumns = [...LEVELS.map((level) => ({ title: LEVEL_TITLES[level], num: true, format: (n) => whole(n) })), { title: 'All', num: true, format: (n) => whole(n) }];

/** The figures at a glance. raw: as the API says it. */
export function tiles(a) {
    const errors = sum(a.errors);
    const saved = a.calls_saved + a.calls;
    return [
        { id: 'requests', title: 'Requests', raw: a.requests.total, text: compact(a.requests.total), note: LEVELS.map((l) => `${compact(a.requests[l])} ${l}`).join(' · ') },
        { id: 'batches', title: 'Batches', raw: a.total_requests, text: compact(a.total_requests), note: count(a.calls, 'call to the provider', 'calls to the provider') },
        { id: 'calls-saved', title: 'Calls saved', raw: a.calls_saved, text: compact(a.calls_saved), note: saved ? `${percent(a.calls_saved, saved)} of what it would have taken` : 'none was needed yet' },
        { id: 'mean-fill', title: 'Mean batch fill', raw: a.mean_batch_fill, text: decimal(a.mean_batch_fill, 2), note: 'prompts a batch' },
        { id: 'tokens', title: 'Tokens', raw: a.tokens.total, text: compact(a.tokens.total), note: `${compact(a.tokens.prompt)} in · ${compact(a.tokens.completion)} out` },
        { id: 'cost', title: 'Cost', raw: a.cost_usd, text: usd(a.cost_usd), note: a.unpriced_models.length ? `without a price: ${a.unpriced_models.join(', ')}` : 'by the prices configured' },
        { id: 'given-again', title: 'Given again', raw: a.replays + a.joined, text: compact(a.replays + a.joined), note: `${compact(a.replays)} by request id · ${compact(a.joined)} joined` },
        { id: 'errors', title: 'Errors', raw: errors, text: compact(errors), note: errors ? `most: ${words(ranked(a.errors)[0][0].toLowerCase())}` : 'none' },
    ];
}

export const shapes = [
    { id: 'over-time', title: 'Requests over time', wide: true, columns: [{ title: 'Day (UTC)', format: (d) => dayLong(d) }, ...levelColumns] },
    { id: 'distribution', title: 'Requests by priority', columns: [{ title: 'Priority' }, { title: 'Requests', num: true, format: (n) => whole(n) }, { title: 'Batches', num: true, format: (n) => whole(n) }] },
    { id: 'latency', title: 'Latency', note: 'From arrival to answer: half of the answers came within p50, nine of ten within p90, 99 of 100 within p99. Each step of the line is ten times the one before.',
        columns: [{ title: 'Priority' }, ...['p50', 'p90', 'p99'].map((p) => ({ title: p, num: true, format: (ms) => duration(ms) })), { title: 'Answers', num: true, format: (n) => whole(n) },
            ...['p50', 'p90', 'p99'].map((p) => ({ title: `Queue ${p}`, num: true, format: (ms) => duration(ms) }))] },
    { id: 'batch-fill', title: 'Batch fill', note: 'Batches by how many prompts rode in them.', columns: [{ title: 'Prompts', format: (n) => whole(n) }, ...levelColumns] },
    { id: 'queue-wait', title: 'Wait in the queue', note: 'Prompts by how long they waited for their batch to leave.', columns: [{ title: 'Shorter than', format: (ms) => (ms === null ? 'any time' : duration(ms)) }, ...levelColumns] },
    { id: 'flush-reasons', title: 'Why batches left', columns: [{ title: 'Reason', format: words }, { title: 'Batches', num: true, format: (n) => whole(n) }] },
    { id: 'error-codes', title: 'Errors by kind', columns: [{ title: 'Code' }, { title: 'Errors', num: true, format: (n) => whole(n) }] },
    { id: 'models', title: 'Tokens and cost by model', wide: true, picture: false,
        columns: [{ title: 'Model' }, ...['Prompt tokens', 'Answer tokens', 'Tokens'].map((title) => ({ title, num: true, format: (n) => whole(n) })), { title: 'Cost (USD)', num: true, format: (n) => usd(n) }] },
];

const days = (a, range, today) => fillDays(a.requests_over_time, range, today, (date) => ({ date, count: 0, high: 0, medium: 0, low: 0 }));

/* Rows with nothing at either end say nothing. */
function trimmed(rows) {
    const first = rows.findIndex((row) => row.count > 0);
    const last = rows.findLastIndex((row) => row.count > 0);
    return first < 0 ? [] : rows.slice(first, last + 1);
}

/* Sizes in between that did not occur belong to the picture. */
function everySize(rows) {
    if (!rows.length) return [];
    const bySize = new Map(rows.map((row) => [row.size, row]));
    return Array.from({ length: rows.at(-1).size }, (_, i) => bySize.get(i + 1) ?? { size: i + 1, count: 0, high: 0, medium: 0, low: 0 });
}

const stacked = (rows, label, longLabel) => ({
    kind: 'stack', labels: rows.map(label), series: series(rows),
    points: rows.map((row) => `${longLabel(row)}: ${whole(row.count)} (${spoken(row)})`),
});

function latencyRows(a) {
    return LEVELS.filter((level) => a.latency_ms[level].count > 0).map((level) => ({
        name: LEVEL_TITLES[level], kind: level,
        marks: ['p50', 'p90', 'p99'].map((label) => ({ label, value: a.latency_ms[level][label], text: duration(a.latency_ms[level][label]) })),
    }));
}

/**
 * What each panel shows.
 * @returns {Object<string, {rows: Array, summary: string, empty: string|null, picture: Object|null}>}
 */
export function contents(a, range, today) {
    const perDay = days(a, range, today), fills = everySize(a.batch_fill), waits = trimmed(a.queue_ms_histogram);
    const requests = a.requests, errors = ranked(a.errors), reasons = ranked(a.flush_reasons), latency = latencyRows(a);
    const busiest = perDay.reduce((best, row) => (row.count > (best?.count ?? -1) ? row : best), null);
    const batches = { high: a.high_priority, medium: a.medium_priority, low: a.low_priority };
    const nothing = 'Nothing yet in these days.';
    return {
        'over-time': {
            rows: perDay.map((row) => [row.date, ...byLevel(row), row.count]),
            summary: `${count(requests.total, 'request', 'requests')} on ${count(perDay.length, 'day', 'days')}; the most on ${busiest ? dayLong(busiest.date) : 'none'}, ${whole(busiest?.count)}.`,
            empty: requests.total ? null : nothing,
            picture: stacked(perDay, (row) => day(row.date), (row) => dayLong(row.date)),
        },
        distribution: {
            rows: LEVELS.map((level) => [LEVEL_TITLES[level], requests[level], batches[level]]),
            summary: `Requests: ${LEVELS.map((l) => `${LEVEL_TITLES[l]} ${percent(requests[l], requests.total)}`).join(', ')}.`,
            empty: requests.total ? null : nothing,
            picture: { kind: 'divided', rows: LEVELS.map((l) => ({ name: LEVEL_TITLES[l], value: requests[l], kind: l, text: `${whole(requests[l])}, ${percent(requests[l], requests.total)}` })) },
        },
        latency: {
            rows: LEVELS.map((l) => [LEVEL_TITLES[l], a.latency_ms[l].p50, a.latency_ms[l].p90, a.latency_ms[l].p99, a.latency_ms[l].count, a.queue_ms[l].p50, a.queue_ms[l].p90, a.queue_ms[l].p99]),
            summary: latency.map(({ name, marks }) => `${name}: ${marks.map(({ label, text }) => `${label} ${text}`).join(', ')}.`).join(' '),
            empty: latency.length ? null : nothing,
            picture: { kind: 'ranges', rows: latency, format: duration },
        },
        'batch-fill': {
            rows: a.batch_fill.map((row) => [row.size, ...byLevel(row), row.count]),
            summary: `${count(a.total_requests, 'batch', 'batches')} with ${decimal(a.mean_batch_fill)} prompts in the mean.`,
            empty: fills.length ? null : nothing,
            picture: stacked(fills, (row) => whole(row.size), (row) => count(row.size, 'prompt', 'prompts')),
        },
        'queue-wait': {
            rows: a.queue_ms_histogram.map((row) => [row.below_ms, ...byLevel(row), row.count]),
            summary: LEVELS.map((l) => `${LEVEL_TITLES[l]}: half waited up to ${duration(a.queue_ms[l].p50)}.`).join(' '),
            empty: waits.length ? null : nothing,
            picture: stacked(waits, (row) => (row.below_ms === null ? 'more' : `< ${duration(row.below_ms)}`), (row) => (row.below_ms === null ? 'longer' : `shorter than ${duration(row.below_ms)}`)),
        },
        'flush-reasons': {
            rows: reasons,
            summary: reasons.map(([name, n]) => `${words(name)} ${whole(n)}`).join(', '),
            empty: reasons.length ? null : nothing,
            picture: { kind: 'bars', rows: reasons.map(([name, n]) => ({ name: words(name), value: n, text: `${whole(n)}, ${percent(n, sum(a.flush_reasons))}` })) },
        },
        'error-codes': {
            rows: errors,
            summary: errors.map(([name, n]) => `${name} ${whole(n)}`).join(', '),
            empty: errors.length ? null : 'No errors in these days.',
            picture: { kind: 'bars', rows: errors.slice(0, 8).map(([name, n]) => ({ name: words(name.toLowerCase()), value: n, text: whole(n), kind: 'bad' })) },
        },
        models: {
            rows: a.tokens.by_model.map((m) => [m.model, m.prompt, m.completion, m.total, m.cost_usd]),
            summary: '',
            empty: a.tokens.by_model.length ? null : nothing,
            picture: null,
        },
    };
}

/** What is going on at this moment, out of /stats. */
export function now(stats) {
    const waiting = LEVELS.map((level) => ({
        id: `depth-${level}`, level, title: `${LEVEL_TITLES[level]} waiting`, raw: stats.queue[level].depth, text: whole(stats.queue[level].depth),
        note: stats.queue[level].depth ? `the oldest for ${duration(stats.queue[level].oldest_ms)}` : ' ',
    }));
    return [
        ...waiting,
        { id: 'in-flight', title: 'Prompts inside', raw: stats.in_flight, text: whole(stats.in_flight), note: 'waiting or being answered' },
        { id: 'calls-in-flight', title: 'Calls running', raw: stats.calls.in_flight, text: whole(stats.calls.in_flight), note: stats.breaker.state && stats.breaker.state !== 'closed' ? 'the provider is left alone for a moment' : 'at the provider' },
        { id: 'rate', title: 'Prompts a second', raw: stats.requests.per_second, text: decimal(stats.requests.per_second, 1), note: 'over the last minute' },
    ];
}
