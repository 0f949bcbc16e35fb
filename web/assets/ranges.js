/* Ranges of days. The server counts days in UTC, so they are made and compared in UTC, as texts 2026-02-01. */

export const DAY_MS = 86400000;

export const dayOf = (ms) => new Date(ms).toISOString().slice(0, 10);

export const plusDays = (date, days) => dayOf(Date.parse(`${date}T00:00:00Z`) + days * DAY_MS);

/** Whether a text is a day that exists: 2026-02-30 is not one. */
export const isDay = (text) => {
    const ms = /^\d{4}-\d{2}-\d{2}$/.test(text) ? Date.parse(`${text}T00:00:00Z`) : NaN;
    return !Number.isNaN(ms) && dayOf(ms) === text;
};

/**
 * First and last day of a choice, for /v1/analytics. Nothing of either: since ever.
 * @param {string} choice "today", a number of days, "all"
 * @returns {{from?: string, to?: string}}
 */
export function rangeOf(choice, nowMs) {
    if (choice === 'all') return {};
    const today = dayOf(nowMs);
    const days = choice === 'today' ? 1 : Number(choice);
    return { from: plusDays(today, 1 - days), to: today };
}

/** Of two days as typed. @returns {{range?: {from: string, to: string}, error?: string, field?: 'from'|'to'}} */
export function customRange(from, to) {
    if (!isDay(from)) return { error: 'Please choose the first day.', field: 'from' };
    if (!isDay(to)) return { error: 'Please choose the last day.', field: 'to' };
    if (from > to) return { error: 'The last day lies before the first one.', field: 'to' };
    return { range: { from, to } };
}

/** The same days as moments for /v1/chat, whose end is not part of it. */
export const momentsOf = ({ from, to }) => ({ from, to: to && plusDays(to, 1) });

/**
 * A series with a row for every day, since days without a request are not counted and would be left out of the
 * picture. At most limit rows, the last ones.
 * @param {{date: string}[]} rows in order
 * @param {{from?: string, to?: string}} range
 * @param {(date: string) => *} empty makes the row of a day with nothing
 */
export function fillDays(rows, range, today, empty, limit = 3660) {
    const byDate = new Map(rows.map((row) => [row.date, row]));
    const last = [range.to ?? today, rows.at(-1)?.date ?? ''].reduce((a, b) => (a > b ? a : b));
    let first = range.from ?? rows[0]?.date ?? last;
    const earliest = plusDays(last, 1 - limit);
    if (first < earliest) first = earliest;
    const filled = [];
    for (let date = first; date <= last; date = plusDays(date, 1)) filled.push(byDate.get(date) ?? empty(date));
    return filled;
}
