'use strict';
/*
 * A strict reader of Prometheus's text format 0.0.4 (prometheus.io, "Exposition formats"): what a lenient one
 * would let pass, or a scrape would refuse, is an error that names the line. It also holds metrics to the
 * conventions: HELP and TYPE before each family, counters that end in _total, histograms that add up.
 *
 *   const metrics = parseExposition(text);
 *   metrics.families.get('carpool_prompts_total')     { type, help, samples: [{ name, labels, value }] }
 *   metrics.value('carpool_prompts_total', { priority: 'high' })      undefined when there is none
 */
const NAME = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/;
const LABEL_NAME = /^[a-zA-Z_][a-zA-Z0-9_]*$/;
const NUMBER = /^(NaN|[+-]Inf|[+-]?(\d+(\.\d+)?)(e[+-]?\d+)?)$/;
const TYPES = ['counter', 'gauge', 'histogram'];
const PARTS = { histogram: ['_bucket', '_sum', '_count'] };
/* Base units are seconds, bytes and the like. */
const DERIVED_UNITS = /_(ms|us|milliseconds|microseconds|minutes|hours|kib|mib|kilobytes|megabytes|cents|percent)(_|$)/;

const ESCAPES = { '\\': '\\', '"': '"', n: '\n' };

const numberOf = (text) => (/Inf$/.test(text) ? (text[0] === '-' ? -Infinity : Infinity) : Number(text));

class Reader {
    constructor(text) {
        this.lines = text.split('\n');
        this.families = new Map();
        this.family = null;
        this.seen = new Set();
        this.at = 0;
        if (!text.endsWith('\n')) this.fail('the last line does not end');
        if (/\r/.test(text)) this.fail('a carriage return');
        this.lines.pop();
    }

    fail(what) {
        throw new Error(`line ${this.at + 1}: ${what}: ${JSON.stringify(this.lines[this.at] ?? '')}`);
    }

    read() {
        for (; this.at < this.lines.length; this.at++) {
            const line = this.lines[this.at];
            if (line.startsWith('# HELP ')) this.readHelp(line.slice(7));
            else if (line.startsWith('# TYPE ')) this.readType(line.slice(7));
            else if (line.startsWith('#')) this.fail('a comment that is neither HELP nor TYPE');
            else this.readSample(line);
        }
        if (this.family && !this.family.type) this.fail('HELP without TYPE');
        for (const family of this.families.values()) if (family.type === 'histogram') checkHistogram(family);
        return this.families;
    }

    readHelp(rest) {
        const [, name, help] = /^(\S+) (.+)$/.exec(rest) ?? this.fail('HELP without name or text');
        if (!NAME.test(name)) this.fail('a bad name');
        if (this.families.has(name)) this.fail('a family twice, or in two pieces');
        if (this.family && !this.family.type) this.fail('HELP after HELP');
        if (/\\(?![\\n])/.test(help.replaceAll('\\\\', ''))) this.fail('a bad escape');
        this.family = { name, help, samples: [] };
        this.families.set(name, this.family);
    }

    readType(rest) {
        const [, name, type] = /^(\S+) (\S+)$/.exec(rest) ?? this.fail('a bad TYPE');
        if (this.family?.name !== name || this.family.type) this.fail('TYPE does not follow its HELP');
        if (!TYPES.includes(type)) this.fail('an unknown type');
        if ((type === 'counter') !== name.endsWith('_total')) this.fail('counters, and only they, end in _total');
        if (type !== 'histogram' && /_(bucket|sum|count)$/.test(name)) this.fail('a name of a histogram');
        if (DERIVED_UNITS.test(name)) this.fail('not a base unit');
        this.family.type = type;
    }

    readSample(line) {
        const [, name, inner, number] =
            /^([^{ ]+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? this.fail('no sample; are there spaces or a time too many?');
        if (!this.family?.type) this.fail('a sample before its TYPE');
        const parts = PARTS[this.family.type] ?? [''];
        if (!parts.some((part) => name === this.family.name + part)) this.fail('a sample of another family');
        if (!NUMBER.test(number)) this.fail('a bad number');
        const labels = inner === undefined ? {} : this.readLabels(inner);
        if (this.family.type === 'histogram' && name.endsWith('_bucket') !== 'le' in labels)
            this.fail('le belongs to buckets, and to each');
        const value = numberOf(number);
        if (this.family.type === 'counter' && !(value >= 0 && value < Infinity)) this.fail('no value of a counter');
        const key = name + JSON.stringify(Object.entries(labels).sort());
        if (this.seen.has(key)) this.fail('a sample twice');
        this.seen.add(key);
        this.family.samples.push({ name, labels, value });
    }

    readLabels(inner) {
        const labels = {};
        let rest = inner;
        for (;;) {
            const [all, name, raw] = /^([^=]*)="((?:[^"\\]|\\.)*)"/.exec(rest) ?? this.fail('a bad label');
            if (!LABEL_NAME.test(name) || name.startsWith('__')) this.fail('a bad name of a label');
            if (Object.hasOwn(labels, name)) this.fail('a label twice');
            labels[name] = raw.replace(/\\(.)/g, (_, c) => ESCAPES[c] ?? this.fail('a bad escape'));
            rest = rest.slice(all.length);
            if (!rest) return labels;
            if (!rest.startsWith(',')) this.fail('labels without a comma');
            rest = rest.slice(1);
        }
    }
}

function checkHistogram(family) {
    const rows = new Map();
    for (const { name, labels, value } of family.samples) {
        const { le, ...others } = labels;
        const key = JSON.stringify(Object.entries(others).sort());
        const row = rows.get(key) ?? { buckets: [] };
        rows.set(key, row);
        if (le !== undefined) row.buckets.push([numberOf(le), value]);
        else row[name.slice(family.name.length + 1)] = value;
    }
    for (const [key, { buckets, sum, count }] of rows) {
        const fail = (what) => {
            throw new Error(`${family.name}${key}: ${what}: ${JSON.stringify({ buckets, sum, count })}`);
        };
        if (sum === undefined || count === undefined) fail('_sum or _count is missing');
        if (!buckets.length || buckets.at(-1)[0] !== Infinity) fail('the last bucket is not +Inf');
        if (buckets.at(-1)[1] !== count) fail('+Inf is not _count');
        buckets.forEach(([le, n], i) => {
            if (Number.isNaN(le) || !Number.isInteger(n) || n < 0) fail('a bad bucket');
            if (i && (le <= buckets[i - 1][0] || n < buckets[i - 1][1])) fail('buckets that do not grow');
        });
        /* The values are within their buckets, so their sum is, too. */
        const each = buckets.map(([le, n], i) => [i ? buckets[i - 1][0] : 0, le, n - (i ? buckets[i - 1][1] : 0)]);
        const least = each.reduce((a, [low, , n]) => a + low * n, 0);
        const most = each.reduce((a, [, high, n]) => a + (n ? high * n : 0), 0);
        if (sum < least * (1 - 1e-9) || sum > most * (1 + 1e-9)) fail(`the sum is not within ${least} .. ${most}`);
    }
}

function parseExposition(text) {
    const families = new Reader(text).read();
    const samples = [...families.values()].flatMap((family) => family.samples);
    return {
        families,
        samples,
        names: new Set(samples.map((s) => s.name)),
        value: (name, labels = {}) => {
            const found = samples.filter(
                (s) => s.name === name && Object.entries(labels).every(([k, v]) => s.labels[k] === v),
            );
            if (found.length > 1) throw new Error(`${name}${JSON.stringify(labels)} is ${found.length} samples`);
            return found[0]?.value;
        },
        sum: (name, labels = {}) =>
            samples
                .filter((s) => s.name === name && Object.entries(labels).every(([k, v]) => s.labels[k] === v))
                .reduce((n, s) => n + s.value, 0),
    };
}

module.exports = { parseExposition };
