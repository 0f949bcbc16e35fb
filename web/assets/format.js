/* Numbers, times and amounts in the reader's own way of writing them. The locale is an argument for tests only. */

const made = new Map();

/** Intl objects are dear to make and the same each time. */
function formatter(Kind, locale, options) {
    const name = `${Kind.name} ${locale} ${JSON.stringify(options)}`;
    if (!made.has(name)) made.set(name, new Kind(locale, options));
    return made.get(name);
}

const numbers = (locale, options) => formatter(Intl.NumberFormat, locale, options);
const dates = (locale, options) => formatter(Intl.DateTimeFormat, locale, options);

const known = (n) => typeof n === 'number' && Number.isFinite(n);

export const NOTHING = '–';

export const whole = (n, locale) => (known(n) ? numbers(locale, { maximumFractionDigits: 0 }).format(n) : NOTHING);

/** Up to so many digits behind the point. */
export const decimal = (n, digits = 2, locale) =>
    known(n) ? numbers(locale, { maximumFractionDigits: digits }).format(n) : NOTHING;

/** 1,234 as it is, 12,345 as 12.3K. */
export const compact = (n, locale) =>
    !known(n) ? NOTHING : Math.abs(n) < 10000 ? whole(n, locale)
        : numbers(locale, { notation: 'compact', maximumFractionDigits: 1 }).format(n);

/** A share of the whole; of nothing there is none. */
export const percent = (part, all, locale) =>
    all > 0 ? numbers(locale, { style: 'percent', maximumFractionDigits: part / all < 0.1 ? 1 : 0 }).format(part / all) : NOTHING;

/** Small amounts keep what makes them differ. Nobody's price is nothing, so an unknown one is said. */
export function usd(n, locale) {
    if (!known(n)) return 'no price';
    const digits = n === 0 || n >= 1 ? 2 : n >= 0.01 ? 4 : 6;
    return numbers(locale, { style: 'currency', currency: 'USD', minimumFractionDigits: 2, maximumFractionDigits: digits }).format(n);
}

const unit = (n, name, digits, locale) =>
    numbers(locale, { style: 'unit', unit: name, unitDisplay: 'short', maximumFractionDigits: digits }).format(n);

/** Milliseconds in the unit they are easiest to read in. */
export function duration(ms, locale) {
    if (!known(ms)) return NOTHING;
    if (ms < 1) return unit(ms, 'millisecond', 2, locale);
    if (ms < 10) return unit(ms, 'millisecond', 1, locale);
    if (ms < 1000) return unit(ms, 'millisecond', 0, locale);
    if (ms < 60000) return unit(ms / 1000, 'second', ms < 10000 ? 2 : 1, locale);
    if (ms < 3600000) return unit(ms / 60000, 'minute', 1, locale);
    if (ms < 86400000) return unit(ms / 3600000, 'hour', 1, locale);
    return unit(ms / 86400000, 'day', 1, locale);
}

/** A day as the API names it (2026-02-01, UTC), without being moved by the reader's time zone. */
export const day = (date, locale, options = { day: 'numeric', month: 'short' }) =>
    dates(locale, { ...options, timeZone: 'UTC' }).format(new Date(`${date}T00:00:00Z`));

export const dayLong = (date, locale) =>
    day(date, locale, { weekday: 'short', day: 'numeric', month: 'short', year: 'numeric' });

/** A moment, in the reader's time zone. */
export const moment = (text, locale) => {
    const at = new Date(text);
    return Number.isNaN(at.getTime()) ? String(text) : dates(locale, { dateStyle: 'medium', timeStyle: 'medium' }).format(at);
};

export const timeOfDay = (at, locale) => dates(locale, { timeStyle: 'medium' }).format(at);

/** "1 change", "2 changes", with the number as the reader writes it. */
export const count = (n, one, many, locale) => `${whole(n, locale)} ${n === 1 ? one : many}`;

/** What can be read out of COUNTER_NAMES: "when_all_wait" as "when all wait". */
export const words = (name) => name.replace(/[_.]/g, ' ');
